"""A backfill where no gateway runs: the same store, accounts and limits, but no polling, no HTTP, no commands.

What it publishes passes the outbox; what it has read is on disk with the place to go on from, so that whoever takes
the store next (this verb again, or a gateway that is asked) goes on there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets as tokens
from collections.abc import Mapping, Sequence

from bridge.app.accounts import Surroundings
from bridge.app.fleet import Fleet
from bridge.config import Configuration
from bridge.contract.topics import Topics
from bridge.domain.errors import BridgeError, VendorError
from bridge.flow.backfill import Backfill
from bridge.flow.backfill_book import BackfillBook, BackfillOrigin
from bridge.flow.backfill_progress import Progress
from bridge.flow.gaps import GapLedger
from bridge.flow.health import AccountHealth
from bridge.flow.history import BackfillParams, GatewayBackfill, backfill_ref, wished
from bridge.flow.intake import Intake, IntakeOptions
from bridge.flow.roster import Roster
from bridge.mqtt.publisher import Publisher
from bridge.mqtt.session import Session
from bridge.ops.clock import SystemClock
from bridge.ops.metrics import Metrics
from bridge.store.protocols import OutboxRow
from bridge.store.sqlite.database import SqliteStore
from bridge.vendorkit.spec import VendorSpec

log = logging.getLogger("bridge.backfill")

BROKER_S = 15.0
REFUSED_S = 3.0
"""A broker that is just being restarted may be there at the second try."""
STOP_S = 15.0
"""Longer than a gateway has: an answer that is on its way need not be asked for again."""


class NoBroker(BridgeError):
    """The broker is not there, so nothing is read: it would only fill the disk."""


class Backfilling:
    """`open` it, `begin` a backfill, look at its `progress`, `stop` it: that in any case."""

    def __init__(self, configuration: Configuration, vendors: Mapping[str, VendorSpec]) -> None:
        self._configuration = configuration
        self._clock = SystemClock()
        self._topics = Topics(configuration.mqtt.base_topic)
        self._tasks: list[asyncio.Task[None]] = []
        self.store = SqliteStore(
            configuration.state.path,
            configuration.state.spool_max,
            min_free_bytes=configuration.state.min_free,
        )
        rng = random.Random()  # noqa: S311 - spreads load, hides nothing
        self._roster = Roster()
        self._health = AccountHealth(self._clock, rng)
        options = IntakeOptions(configuration.mqtt.state_interval, configuration.mqtt.flat_metrics)
        self._intake = Intake(self.store, self._roster, self._topics, self._clock, options)
        ledger = self._intake.series = GapLedger()
        book = BackfillBook(self._intake, self._clock)
        self._backfill = Backfill(
            self.store, book, self._roster, self._health, self._clock, origins=(BackfillOrigin.CLI,)
        )
        around = Surroundings(
            self.store,
            self._roster,
            self._intake,
            self._health,
            Metrics(),
            self._clock,
            rng,
            backfill=self._backfill,
            ledger=ledger,
        )
        self._fleet = Fleet(vendors, around)
        self._publisher = Publisher(self.store, self._clock)
        self._session = Session(
            configuration.mqtt,
            self._topics,
            f"meterbridge-backfill-{tokens.token_hex(4)}",
            0.0,
            self._publisher,
            _nothing,
            self._clock,
            rng,
            visiting=True,
        )
        self._wishes = GatewayBackfill(
            self._backfill, self._roster, lambda: sorted(self._fleet.accounts), self._clock
        )

    async def open(self) -> None:
        """Takes the store, connects to the broker. Raises StoreInUse, StoreError, NoBroker."""
        await self.store.open()
        self.store.outgoing = self._outgoing
        ready = asyncio.Event()
        self._session.on_ready = ready.set
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._publisher.run()), loop.create_task(self._session.run())]
        await self._connected(ready)
        await self._fleet.begin(self._configuration)

    async def _connected(self, ready: asyncio.Event) -> None:
        began = self._clock.monotonic()
        while not ready.is_set():
            waited_s = self._clock.monotonic() - began
            refused = self._session.last_error
            if waited_s > BROKER_S or (refused and waited_s > REFUSED_S):
                where = f"{self._configuration.mqtt.host}:{self._configuration.mqtt.port}"
                silent = f"cannot connect to the broker at {where}: it does not answer"
                raise NoBroker(self._session.refusal or silent)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await ready.wait()

    async def learn_devices(self, accounts: Sequence[str]) -> Mapping[str, str]:
        """Asks the vendors of these accounts for their devices where none is known; says what went wrong, by account.
        Where they are known, polling is planned, though it does not happen: its part of the limits is left free."""
        trouble = {}
        for name in accounts:
            account = self._fleet.accounts[name]
            known = self._roster.devices(name)
            try:
                if known:
                    account.poller.plan(known)
                elif account.adapter.history is not None:
                    await account.poller.refresh()
            except VendorError as error:
                trouble[name] = error.message
        return trouble

    async def begin(self, params: BackfillParams, *, anew: bool) -> str:
        """Begins, or goes on; the name to ask the progress of. Raises Rejection, StoreError."""
        ref = backfill_ref(wished(params))
        wishes = self._wishes.wishes(params)
        await self._backfill.submit(
            ref, BackfillOrigin.CLI, wishes, asked_by=f"cli-{tokens.token_hex(8)}", anew=anew
        )
        await self._backfill.start()
        return ref

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._session.connected

    async def progress(self, ref: str) -> Progress:
        """How far it is. Raises StoreError."""
        return await self._backfill.progress(ref)

    async def unsent(self) -> int:
        """How many messages the broker has not confirmed yet."""
        return await self.store.run(lambda tx: tx.outbox.waiting()[0])

    async def drain(self, for_s: float) -> bool:
        """Gives the broker what waits, for at most so long; whether nothing does any more."""
        for account, device in await self.store.run(lambda tx: list(tx.devices.dirty())):
            if self._roster.has(account):
                await self._intake.flush_states(account, [device])
        return await self._publisher.drain(for_s)

    def _outgoing(self, added: list[OutboxRow], gone: list[int]) -> None:
        self._publisher.gone(gone)
        self._publisher.added(added)

    async def halt(self) -> None:
        """Takes no further step; a call that is on its way still counts."""
        await self._backfill.aclose(STOP_S)

    async def stop(self) -> None:
        """Ends all of it; what is not done stays on disk."""
        await self.halt()
        await self._session.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._fleet.aclose()
        await self.store.close()


async def _nothing(_message: object) -> None:
    return None
