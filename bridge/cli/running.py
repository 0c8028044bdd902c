"""`meterbridge run`: a gateway in this process, with its signals."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from bridge.app.gateway import Gateway, Source
from bridge.cli.first_signals import FirstSignals
from bridge.domain.errors import BridgeError, ConfigError
from bridge.ops.log import Redactor, set_up
from bridge.vendors import VENDORS

log = logging.getLogger("bridge")

YOUNG_OBJECTS = 10_000


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    loop.set_exception_handler(_told)
    return loop


def _told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """aiomqtt asks for a socket to be watched a moment after a broker that died has closed it; that the connection
    is lost is told elsewhere (test_it_stops_with_a_message_when_its_broker_dies). Everything else is logged."""
    error, message = context.get("exception"), str(context.get("message"))
    # closed (-1 or EBADF), or already somebody else's: the number may have been given out again
    gone = isinstance(error, OSError | ValueError) or "is used by transport" in str(error)
    if gone and ("add_writer" in message or "add_reader" in message):
        log.debug("mqtt.socket_gone")
        return
    loop.default_exception_handler(context)


def _collect_rarely() -> None:
    """What is there now stays for good, so the collector need not walk through it again and again; and what a
    command or a reading leaves behind goes by reference counts, so it looks at each few thousand objects only.
    Measured: a tenth of a command's CPU time."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def run_gateway(path: str, log_format: str | None, log_level: str | None, early: FirstSignals) -> int:
    """Runs until SIGTERM or SIGINT; the exit status."""
    source = Source(Path(path), VENDORS, os.environ)
    try:
        configuration = source.read()
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    redactor = Redactor()
    redactor.add(configuration.secrets())
    set_up(log_level or configuration.log.level, log_format or configuration.log.format, redactor)
    gateway = Gateway(source, configuration, redactor=redactor)
    _collect_rarely()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(gateway, early))


async def _serve(gateway: Gateway, early: FirstSignals) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.request_stop)
    reloads: set[asyncio.Task[None]] = set()

    def on_hangup() -> None:
        task = loop.create_task(_reload(gateway), name="reload")
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    if early.hung_up:
        on_hangup()
    try:
        await gateway.run()
    except BridgeError as error:
        log.critical("cannot run: %s", error)
        return 1
    return 0


async def _reload(gateway: Gateway) -> None:
    try:
        await gateway.reload()
    except ConfigError:
        return  # told by the log and on bridge/event; the old configuration goes on
    except BridgeError as error:
        log.error("reload.failed", extra={"reason": str(error)})
