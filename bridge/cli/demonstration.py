"""`meterbridge demo`: sets the stage, says what to look at and what to try, then shows what passes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime

import aiomqtt
import click

from bridge.cli.broker import connected
from bridge.cli.failures import Failure, is_of_output
from bridge.cli.running import new_event_loop
from bridge.cli.view import View
from bridge.cli.watching import show, until_told, wants_colour
from bridge.demo.addresses import HOST
from bridge.demo.broker import DemoError
from bridge.demo.clouds import Suggestion
from bridge.demo.stage import BASE_TOPIC, Stage, staged
from bridge.domain.errors import BridgeError
from bridge.domain.text import Json, dumps
from bridge.mqtt.settings import MqttSettings

SHOWN_VALUES = 4
HIDDEN = frozenset({"state", "info", "budget"})
"""What repeats the rest, or says once what stands above."""
OWN = (
    Suggestion(
        "nothing may be switched while somebody works there",
        "bridge",
        "lock",
        {"account": "shop", "reason": "work on the line"},
    ),
    Suggestion("now it may again", "bridge", "unlock"),
)


def demonstrate(for_s: float | None, devices: int, broker: str, *, plain: bool) -> int:
    """Runs until a signal, or for so long; the exit status. Raises Failure where something does not start."""
    colour = not plain and wants_colour()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(until_told(_perform(devices, broker, colour), for_s))
    except BaseExceptionGroup as group:
        broken, _rest = group.split(OSError)
        if broken is not None and is_of_output(first := _first(broken)):
            raise first from None
        raise Failure(_reason(group)) from None
    except BridgeError as error:
        raise Failure(str(error)) from None
    click.echo("meterbridge demo: everything is stopped.")
    return 0


def _reason(group: BaseExceptionGroup[BaseException]) -> str:
    """The text of what was raised on purpose; anything else is a fault of ours and keeps its traceback."""
    known, rest = group.split((BridgeError, Failure))
    if rest is not None or known is None:
        raise group
    return str(_first(known))


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


async def _perform(devices: int, broker: str, colour: bool) -> None:
    click.echo("meterbridge demo: starting a broker, simulated vendor clouds and the gateway …")
    async with staged(devices, broker) as stage:
        click.echo(introduction(stage), color=colour)
        async with asyncio.TaskGroup() as group:
            group.create_task(stage.play(lambda text: _tell(text, colour)), name="stories")
            group.create_task(_watch(stage, colour), name="watch")


async def _watch(stage: Stage, colour: bool) -> None:
    settings = MqttSettings(url=stage.broker.url, protocol=stage.broker.protocol)
    view = View(BASE_TOPIC, most=SHOWN_VALUES, hidden=HIDDEN)
    try:
        async with connected(settings, "demo") as line:
            await line.subscribe([f"{BASE_TOPIC}/#"])
            async for message in line.messages:
                show(message, view, colour)
    except aiomqtt.MqttError as error:
        raise DemoError(f"the broker is gone: {error}") from None


def _tell(text: str, colour: bool) -> None:
    at = datetime.now().astimezone().strftime("%H:%M:%S")
    click.echo(click.style(f"{at}  *** {text}", bold=True), color=colour)


def introduction(stage: Stage) -> str:
    """What runs where, how to look at it, what to try."""
    port = stage.broker.port.number
    lines = ["", *_notes(stage)]
    lines += [
        f"  broker       {stage.broker.url} ({stage.broker.kind})",
        f"  status page  {stage.page_url}",
    ]
    for cloud in stage.clouds:
        names = ", ".join(f"{name} {device}" for device, name in cloud.devices()[:6])
        more = ", …" if len(cloud.devices()) > 6 else ""
        lines.append(f"  account      {cloud.account} ({cloud.vendor}): {names}{more}")
    lines += [
        "",
        "Subscribe, in another terminal (either line):",
        f"  mosquitto_sub -h {HOST} -p {port} -v -t '{BASE_TOPIC}/#'",
        f"  {command_name()} watch --url {stage.broker.url}",
        "",
        "Try (each in two ways):",
    ]
    suggestions = [*(one for cloud in stage.clouds for one in cloud.suggestions()), *OWN]
    for suggestion in suggestions:
        lines += _ways(suggestion, stage)
    return "\n".join([*lines, "", "What passes now (Ctrl-C ends the demo):"])


def _notes(stage: Stage) -> list[str]:
    return [
        f"  Port {port.wanted} is taken on this machine: the {what} uses {port.number} instead."
        for what, port in (("broker", stage.broker.port), ("status page", stage.http))
        if not port.is_usual
    ]


def _ways(suggestion: Suggestion, stage: Stage) -> list[str]:
    topic = f"{BASE_TOPIC}/{suggestion.target}/cmd/{suggestion.command}"
    plain = suggestion.payload
    payload = plain if isinstance(plain, str) else dumps(plain).decode()
    words = " ".join(_words(suggestion.payload))
    return [
        click.style(f"  # {suggestion.shows}", dim=True),
        f"  mosquitto_pub -h {HOST} -p {stage.broker.port.number} -q 1 -t {topic} -m '{payload}'",
        f"  {command_name()} send --url {stage.broker.url} {suggestion.target} {suggestion.command} {words}".rstrip(),
    ]


def _words(payload: dict[str, Json] | str) -> Sequence[str]:
    if isinstance(payload, str):
        return [payload]
    options = {"confirm": "--confirm", "dry_run": "--dry-run"}
    flags = [flag for name, flag in options.items() if payload.get(name) is True]
    return [*(_assignment(name, value) for name, value in payload.items() if name not in options), *flags]


def _assignment(name: str, value: Json) -> str:
    text = value if isinstance(value, str) else dumps(value).decode()
    plain = set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-")
    return f"{name}={text}" if plain else f"{name}='{text}'"


def command_name() -> str:
    """How this command is called from the folder where it was: by its name if that is found, else by its path."""
    if shutil.which("meterbridge") is not None:
        return "meterbridge"
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "meterbridge":
        near = os.path.relpath(script)
        return script if near.startswith("..") else near
    return f"{sys.executable} -m bridge"
