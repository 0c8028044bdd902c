"""The demo as a whole: broker, simulated clouds, gateway with a temporary state, all on 127.0.0.1.

The gateway reads its configuration from a file, as everywhere; nothing of it is built for the demo.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bridge.app.gateway import Gateway, Source
from bridge.demo.addresses import HOST, Port, free_port
from bridge.demo.broker import Broker, DemoError, running_broker
from bridge.demo.clouds import DemoCloud, Tell
from bridge.demo.fleet import clouds as fleet
from bridge.ops.log import Redactor, set_up
from bridge.vendors import VENDORS

BASE_TOPIC = "meterbridge"
USUAL_HTTP_PORT = 8080
READY_S = 20.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs."""

    broker: Broker
    http: Port
    clouds: Sequence[DemoCloud]
    gateway: asyncio.Task[None]
    folder: Path

    @property
    def page_url(self) -> str:
        """The status page."""
        return f"http://{HOST}:{self.http.number}/"

    async def play(self, tell: Tell) -> None:
        """Lets the clouds' stories happen; until it is cancelled, or a part ends by itself (DemoError)."""
        async with asyncio.TaskGroup() as group:
            for cloud in self.clouds:
                group.create_task(cloud.story(tell), name=f"story-{cloud.account}")
            group.create_task(self._watch_broker(), name="demo-broker")
            group.create_task(self._watch_gateway(), name="demo-gateway")

    async def _watch_broker(self) -> None:
        await self.broker.process.wait()
        raise DemoError("the broker ended by itself")

    async def _watch_gateway(self) -> None:
        await asyncio.wait({self.gateway})
        raise DemoError("the gateway ended by itself") from (
            None if self.gateway.cancelled() else self.gateway.exception()
        )


@contextlib.asynccontextmanager
async def staged(devices: int, broker_choice: str) -> AsyncIterator[Stage]:
    """Starts everything, gives it once the gateway is ready, and ends everything with the block, whatever ended it.

    `devices`: how many breakers the shop has. Logs from WARNING on go to standard error. Raises DemoError, BridgeError.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meterbridge-demo-")))
        broker = await stack.enter_async_context(running_broker(broker_choice, folder))
        http = free_port(USUAL_HTTP_PORT)
        clouds = fleet(devices)
        entries = await _started(clouds, stack, f"http://{HOST}:{http.number}")
        path = folder / "config.yaml"
        path.write_text(_configuration(broker, http, entries), encoding="utf-8")
        gateway = await stack.enter_async_context(_running_gateway(path))
        yield Stage(broker, http, clouds, gateway, folder)


async def _started(clouds: Sequence[DemoCloud], stack: AsyncExitStack, gateway_url: str) -> Sequence[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(cloud.start(stack, gateway_url), name=f"start-{cloud.account}")
            for cloud in clouds
        ]
    return [task.result() for task in tasks]


def _configuration(broker: Broker, http: Port, entries: Sequence[str]) -> str:
    lines = [
        "mqtt:",
        f"  url: {broker.url}",
        f"  protocol: {broker.protocol}",
        f"  base_topic: {BASE_TOPIC}",
        "  discovery: {enabled: true}",
        "http:",
        f'  listen: "{HOST}:{http.number}"',
        "state:",
        "  url: sqlite:./state.db",
        "log:",
        "  level: warning",
        "accounts:",
    ]
    lines += [f"  {line}" for entry in entries for line in entry.splitlines()]
    return "\n".join(lines) + "\n"


@contextlib.asynccontextmanager
async def _running_gateway(path: Path) -> AsyncIterator[asyncio.Task[None]]:
    source = Source(path, VENDORS, os.environ)
    configuration = source.read()
    redactor = Redactor()
    redactor.add(configuration.secrets())
    set_up(configuration.log.level, configuration.log.format, redactor)
    gateway = Gateway(source, configuration, redactor=redactor)
    task = asyncio.create_task(gateway.run(), name="demo-gateway")
    try:
        await _ready(gateway, task)
        yield task
    finally:
        gateway.request_stop()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def _ready(gateway: Gateway, task: asyncio.Task[None]) -> None:
    waiting = asyncio.create_task(gateway.ready.wait(), name="demo-ready")
    try:
        await asyncio.wait({waiting, task}, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        if not waiting.done():
            raise DemoError(f"the gateway is not ready within {READY_S:g} s")
    finally:
        waiting.cancel()
