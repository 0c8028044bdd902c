"""Command messages from the broker to the admission. Each gets its PUBACK only after that has it on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bridge.contract.commands import CommandMessage
from bridge.domain.errors import StoreError
from bridge.mqtt.connection import Connection
from bridge.mqtt.incoming import Incoming
from bridge.mqtt.publisher import Publisher
from bridge.ports import Clock

log = logging.getLogger("bridge.mqtt")

RECEIVE_MAXIMUM = 200
"""Commands that the broker may send before we acknowledged the earlier ones: our memory's bound."""
STORE_RETRY_S = 1.0

Admit = Callable[[CommandMessage], Awaitable[None]]


class Arrivals:
    """`put` what comes, `run` it."""

    def __init__(self, admit: Admit, publisher: Publisher, clock: Clock) -> None:
        self._admit = admit
        self._publisher = publisher
        self._clock = clock
        self._commands: asyncio.Queue[tuple[Connection, Incoming, CommandMessage]] = asyncio.Queue()

    def put(self, connection: Connection, message: Incoming) -> None:
        """A command message came."""
        self._commands.put_nowait((connection, message, self._as_command(message)))

    async def run(self) -> None:
        """Admissions run side by side and commit together; PUBACKs leave in the order of the messages."""
        under_way: asyncio.Queue[tuple[Connection, Incoming, CommandMessage, asyncio.Future[None]]] = (
            asyncio.Queue(RECEIVE_MAXIMUM)
        )

        async def start() -> None:
            while True:
                connection, message, command = await self._commands.get()
                task = asyncio.ensure_future(self._admit(command))
                await under_way.put((connection, message, command, task))

        async def finish() -> None:
            while True:
                connection, message, command, task = await under_way.get()
                await self._until_stored(command, task)
                if message.qos and connection is self._live(connection):
                    connection.paho.ack(message.mid, message.qos)
                    self._publisher.command_acked(message.mid, command.digest)

        async with asyncio.TaskGroup() as group:
            group.create_task(start())
            group.create_task(finish())

    def _live(self, connection: Connection) -> Connection | None:
        return None if connection.lost.is_set() else connection

    async def _until_stored(self, command: CommandMessage, task: Awaitable[None]) -> None:
        """Waits for the admission; a store that does not take it is tried again: without PUBACK nothing is lost."""
        while True:
            try:
                await task
            except StoreError as error:
                log.error("command.store_failed", extra={"reason": str(error)})
                await self._clock.sleep(STORE_RETRY_S)
                task = self._admit(command)
            except Exception:
                log.exception("command.admission_crashed", extra={"topic": command.topic})
                return
            else:
                return

    def _as_command(self, message: Incoming) -> CommandMessage:
        requester = None
        for key, value in message.user:
            if key == "requester":
                requester = value[:200]
        return CommandMessage(
            topic=message.topic,
            payload=message.payload,
            received_at=self._clock.now(),
            retained=message.retained,
            dup=message.dup,
            mid=message.mid,
            response_topic=message.response_topic,
            correlation=message.correlation,
            expiry_s=message.expiry_s,
            requester=requester,
        )
