"""`meterbridge watch`: what passes over MQTT, a line each, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import click

from bridge.cli.broker import BrokerChoice, connected
from bridge.cli.failures import Failure
from bridge.cli.view import Seen, View
from bridge.mqtt.settings import MqttSettings

RECONNECT_S = 2.0


def watch(choice: BrokerChoice, wanted: str | None, for_s: float | None, *, as_json: bool) -> int:
    """Runs until a signal, or for so long; the exit status. Raises Failure where the first connection fails."""
    configuration = choice.configuration()
    settings = choice.spoken(configuration.mqtt if configuration is not None else choice.settings())
    topic = topic_filter(settings.base_topic, wanted)
    view = None if as_json else View(settings.base_topic)
    asyncio.run(until_told(_keep_watching(settings, topic, view), for_s))
    return 0


def topic_filter(base: str, wanted: str | None) -> str:
    """The subscription: `wanted` below the base topic (also if it begins with it), all of it by default.

    Raises UsageError for what MQTT does not take.
    """
    text = wanted or "#"
    levels = text.split("/")
    clean = all(level in ("+", "#") or not set(level) & set("+#\x00") for level in levels)
    if not clean or "#" in levels[:-1]:
        raise click.UsageError(
            f"--filter {text!r}: expected a topic filter such as shop/# or +/+/alarm; "
            "+ and # stand for whole levels, # for the last one only"
        )
    return text if text == base or text.startswith(base + "/") else f"{base}/{text}"


async def until_told(work: Coroutine[Any, Any, None], for_s: float | None) -> None:
    """Runs the work until it ends, a signal says stop, or the time is over; what it raises is raised here."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    working = asyncio.create_task(work, name="work")
    told = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({working, told}, timeout=for_s, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def _keep_watching(settings: MqttSettings, topic: str, view: View | None) -> None:
    connected_before = False
    while True:
        try:
            async with connected(settings, "watch") as line:
                await line.subscribe([topic])
                connected_before = True
                async for message in line.messages:
                    show(message, view)
        except (aiomqtt.MqttError, Failure) as error:
            if isinstance(error, Failure) and not connected_before:
                raise
            click.echo(f"meterbridge: the broker is gone ({error}); trying again", err=True)
        await asyncio.sleep(RECONNECT_S)


def show(message: aiomqtt.Message, view: View | None, colour: bool | None = None) -> None:
    """Prints a message as a line of the view, or as JSON without one."""
    seen = Seen(message.topic.value, message.payload, bool(message.retain), datetime.now(UTC))
    line = seen.as_json() if view is None else view.line(seen)
    if line is not None:
        click.echo(line, color=wants_colour() if colour is None else colour)


def wants_colour() -> bool:
    """Colours for people: on a terminal, unless NO_COLOR is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
