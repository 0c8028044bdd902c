"""Session, publisher and a store on disk, joined as the gateway joins them, without the rest of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from bridge.contract.commands import CommandMessage
from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.mqtt.publisher import Publisher
from bridge.mqtt.session import Session
from bridge.mqtt.settings import MqttSettings
from bridge.ops.clock import SystemClock
from bridge.store.protocols import Tx
from bridge.store.sqlite.database import SqliteStore

BASE = "mb"


@dataclass(slots=True)
class Rig:
    """A gateway's broker side. `admit` may be replaced before commands come."""

    store: SqliteStore
    publisher: Publisher
    session: Session
    commands: list[CommandMessage] = field(default_factory=list)
    refused: list[tuple[str, int]] = field(default_factory=list)
    admit: Callable[[CommandMessage], Awaitable[None]] | None = None

    async def publish(self, *publications: Publication) -> None:
        """Puts publications into the outbox, in one transaction."""

        def work(tx: Tx) -> None:
            for publication in publications:
                tx.outbox.add(publication)

        await self.store.run(work)

    async def say(self, topic: str, *bodies: str, retain: bool = False) -> None:
        """Telemetry on a topic below the base."""
        await self.publish(
            *(Publication(f"{BASE}/{topic}", body.encode(), Class.TELEMETRY, retain) for body in bodies)
        )

    async def waiting(self) -> int:
        """Rows that the broker has not confirmed."""
        return (await self.store.run(lambda tx: tx.outbox.waiting()))[0]

    async def until(self, condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s: {what}"
            await asyncio.sleep(0.01)

    async def until_empty(self, timeout_s: float = 10.0) -> None:
        """Returns when everything is confirmed and gone from the outbox."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while await self.waiting() or not self.publisher.idle():
            assert asyncio.get_running_loop().time() < deadline, f"{await self.waiting()} rows wait"
            await asyncio.sleep(0.01)

    async def _admit(self, message: CommandMessage) -> None:
        self.commands.append(message)
        if self.admit is not None:
            await self.admit(message)


@contextlib.asynccontextmanager
async def rigged(
    folder: Path,
    port: int,
    *,
    client_id: str = "rig",
    name: str = "rig",
    knows_mqtt5: bool = False,
    **settings: object,
) -> AsyncIterator[Rig]:
    """A rig that runs against the broker on this port."""
    clock = SystemClock()
    store = SqliteStore(folder / f"{name}.db", 64 * 1024**2)
    await store.open()
    publisher = Publisher(store, clock)
    chosen = MqttSettings.model_validate({"url": f"mqtt://127.0.0.1:{port}", "base_topic": BASE, **settings})
    rig: Rig

    async def admit(message: CommandMessage) -> None:
        await rig._admit(message)

    session = Session(chosen, Topics(BASE), client_id, 300.0, publisher, admit, clock, random.Random(1))
    session.knows_mqtt5 = knows_mqtt5
    rig = Rig(store, publisher, session)
    store.outgoing = lambda added, _shed: publisher.added(added) if added else None
    publisher.on_refused = lambda publication, reason: rig.refused.append((publication.topic, reason))
    await session.set_accounts(["bridge", "shop"])
    tasks = [asyncio.create_task(session.run()), asyncio.create_task(publisher.run())]
    try:
        yield rig
    finally:
        await session.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()
