"""The flow as `app.gateway` wires it, around one fake vendor: no broker, no HTTP, time and crashes under control."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from bridge.contract.commands import CommandMessage
from bridge.contract.discovery import Scheme
from bridge.contract.publication import Class
from bridge.contract.topics import Topics
from bridge.domain.account import AccountPolicy
from bridge.domain.command import CommandState
from bridge.domain.device import DeviceKind
from bridge.domain.errors import StoreError
from bridge.domain.ids import GATEWAY
from bridge.domain.observation import Batch, Observation, Origin, Reading, Value
from bridge.domain.text import Json, dumps, loads
from bridge.flow.admission import Admission
from bridge.flow.backfill import Backfill, Source
from bridge.flow.backfill_book import BackfillBook, BackfillOrigin
from bridge.flow.carrier import Carrier
from bridge.flow.desk import device_from
from bridge.flow.discovery import Announcer
from bridge.flow.dispatcher import Dispatcher
from bridge.flow.gaps import GapLedger, Rhythm
from bridge.flow.gateway import GatewayExecutor
from bridge.flow.health import AccountHealth
from bridge.flow.history import GatewayBackfill, HistoryExecutor, wake_on_end
from bridge.flow.intake import Intake, IntakeOptions, Taken
from bridge.flow.inventory import InventoryExecutor
from bridge.flow.janitor import Janitor, StateFlusher
from bridge.flow.repair import GapRepair
from bridge.flow.roster import Roster
from bridge.flow.settle import Settler
from bridge.store.protocols import JournalRow, Tx
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.journal import SqliteJournal
from bridge.store.sqlite.outbox import SqliteOutbox
from bridge.store.sqlite.tx import SqliteTx
from bridge.vendorkit.settings import GapSettings
from tests.fakes.clock import FakeClock
from tests.fakes.vendor import ACCOUNT, VENDOR, FakeVendor, device

T = TypeVar("T")
START = datetime(2024, 1, 1, 12, 0, tzinfo=UTC)
SPOOL_BYTES = 1 << 30
ROUNDS = 20


class HarnessClock(FakeClock):
    """Time stands still while the store's thread works."""

    def __init__(self) -> None:
        super().__init__(START)
        self.pending: set[asyncio.Future[Any]] = set()

    async def settle(self, rounds: int = ROUNDS) -> None:
        quiet = 0
        while quiet < rounds:
            if self.pending:
                await asyncio.wait(self.pending)
                quiet = 0
            await asyncio.sleep(0)
            quiet += 1


class History(SqliteOutbox):
    """An outbox that nobody drains and in which nothing supersedes: everything that was ever published."""

    def _supersede(self, topic: str) -> None:
        pass


class FragileStore(SqliteStore):
    """A store that can fail for a while, and in which the process can die before or after the n-th transaction."""

    def __init__(self, path: Path, clock: HarnessClock) -> None:
        super().__init__(path, SPOOL_BYTES, flush=lambda _file: None)
        self._clock = clock
        self.count = 0
        self.dies_at: int | None = None
        self.dies_after_commit = False
        self.dead = False
        self.fails: Callable[[], bool] = lambda: False

    def _tables(self, db: sqlite3.Connection) -> SqliteTx:
        return SqliteTx(db, History(db, SPOOL_BYTES))

    async def run(self, work: Callable[[Tx], T], *, light: bool = False, patient: bool = False) -> T:
        if self.dead:
            await asyncio.get_running_loop().create_future()
        self.count += 1
        if self.count == self.dies_at:
            self.dead = True
            if not self.dies_after_commit:
                await asyncio.get_running_loop().create_future()
        if self.fails():
            await asyncio.sleep(0)
            raise StoreError("the disk is full")
        inner = asyncio.ensure_future(super().run(work, light=light, patient=patient))
        self._clock.pending.add(inner)
        inner.add_done_callback(self._ended)
        result = await asyncio.shield(inner)
        if self.dead:
            await asyncio.get_running_loop().create_future()
        return result

    def _ended(self, inner: asyncio.Future[Any]) -> None:
        self._clock.pending.discard(inner)
        if not inner.cancelled():
            inner.exception()


@dataclass(frozen=True)
class Published:
    """One message on its way to the broker."""

    topic: str
    body: bytes
    retain: bool
    klass: Class
    correlation: bytes | None

    @property
    def doc(self) -> Any:
        """The body as JSON; text as it stands where it is none."""
        try:
            return loads(self.body)
        except ValueError:
            return self.body.decode()


class Harness:
    """`async with Harness(tmp_path) as gateway: …`."""

    def __init__(
        self,
        folder: Path,
        *,
        base: str = "mb",
        devices: Sequence[str] = ("D1", "D2"),
        flat_metrics: bool = False,
        discovery: bool = False,
        **policy: Any,
    ) -> None:
        self.path = folder / "state.db"
        self.clock = HarnessClock()
        self.vendor = FakeVendor(self.clock, [device(name) for name in devices])
        self.policy = AccountPolicy(ACCOUNT, VENDOR, **policy)
        self.options = IntakeOptions(flat_metrics=flat_metrics)
        self.base = base
        self.discovery = discovery
        self.gaps = GapSettings()
        self.planned_s = 0.0
        self.reloads: list[Callable[[], Json]] = []
        self._outside: set[asyncio.Task[Any]] = set()
        self._mid = 0

    async def __aenter__(self) -> Harness:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.crash()

    # life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Everything as `Gateway._build_flow` and `Gateway.start` do it, with the account if it is there."""
        self._outside = asyncio.all_tasks()
        self.topics = Topics(self.base)
        self.store = FragileStore(self.path, self.clock)
        self.roster = Roster()
        self.health = AccountHealth(self.clock, random.Random(1))
        self.intake = Intake(self.store, self.roster, self.topics, self.clock, self.options)
        self.settler = Settler(self.roster, self.topics, self.intake, self.clock)
        self.carrier = Carrier(self.store, self.roster, self.settler, self.clock, self.health)
        self.dispatcher = Dispatcher(self.store, self.carrier, self.clock)
        self.admission = Admission(self.store, self.roster, self.settler, self.topics, self.clock)
        self.book = BackfillBook(self.intake, self.clock)
        self.backfill = Backfill(
            self.store, self.book, self.roster, self.health, self.clock, most_waiting=1_000_000
        )
        self.ledger = GapLedger()
        self.repair = GapRepair(
            self.store, self.ledger, self.backfill, self.health, self.clock, lambda: {ACCOUNT: self.gaps}
        )
        for origin in (BackfillOrigin.HISTORY, BackfillOrigin.COMMAND):
            self.book.on_ended(origin, wake_on_end(self.carrier.wake))
        self.flusher = StateFlusher(self.intake, self.roster, self.clock)
        self.janitor = Janitor(self.store, self.intake, self.roster, self.clock, remember_s=7 * 86400.0)
        self.announcer = Announcer(
            self.store, Scheme("homeassistant", self.topics, "1.0"), self.clock, random.Random(1)
        )
        self.intake.announces = self.announcer if self.discovery else None
        self.intake.confirms = self.settler
        self.intake.series = self.ledger
        self.intake.on_behind = self.flusher.behind
        self.settler.on_settled = self._settled
        self.settler.on_nudge = self.carrier.wake
        self.admission.on_accepted = self.dispatcher.submit
        await self.store.open()
        self._enter_gateway()
        await self.store.run(self.settler.load_open)
        await self.enter_account()
        await self.repair.recall()
        for account, name in await self.store.run(lambda tx: list(tx.devices.dirty())):
            self.flusher.behind(account, name, 0.0)
        await self.backfill.start()
        self._flushing = asyncio.ensure_future(self.flusher.run())
        await self.announcer.adopt()
        await self.dispatcher.adopt()  # the last: from here on a script may make the disk fail
        self._announcing = asyncio.ensure_future(self.announcer.run())
        await self.clock.settle()

    def _settled(self, row: JournalRow) -> None:
        self.carrier.wake(row.key)
        if row.state is CommandState.FINAL:
            self.backfill.unwanted(row.account, row.id)

    def _enter_gateway(self) -> None:
        executor = GatewayExecutor(
            self.store,
            self.roster,
            self.settler,
            self.clock,
            reload=self._reload,
            refresh=self._refresh,
            diagnostics=self._diagnostics,
            backfill=GatewayBackfill(self.backfill, self.roster, lambda: [ACCOUNT], self.clock),
            gaps=self.ledger.known,
            accounts=lambda: [ACCOUNT],
        )
        self.roster.enter(AccountPolicy(GATEWAY, GATEWAY), executor, DeviceKind.METER)

    async def _reload(self) -> Json:
        return self.reloads.pop(0)()

    async def _refresh(self, account: str) -> int:
        return len(await self.intake.take_inventory(account, await self.vendor.inventory()))

    async def _diagnostics(self) -> Json:
        return {"version": "test"}

    async def enter_account(self) -> None:
        """The account begins: the devices of the database first, then the inventory."""
        executor = InventoryExecutor(
            HistoryExecutor(ACCOUNT, self.vendor, self.backfill),
            lambda devices: self.intake.take_inventory(ACCOUNT, devices),
        )
        self.roster.enter(self.policy, executor, DeviceKind.BREAKER)
        if self.vendor.history is not None:
            self.backfill.enter(ACCOUNT, Source(self.vendor.history))
        self.ledger.enter(ACCOUNT, self._rhythm())
        self.health.enter(ACCOUNT)
        rows = await self.store.run(lambda tx: list(tx.devices.of_account(ACCOUNT)))
        known = [device_from(self.policy, row, DeviceKind.BREAKER) for row in rows]
        self.roster.replace(ACCOUNT, known)
        await self.intake.describe_again(ACCOUNT)
        await self.intake.take_inventory(ACCOUNT, self.vendor.devices)

    def _rhythm(self) -> Rhythm:
        def usual_s(device: str) -> float | None:
            reach = self.backfill.reach(ACCOUNT, device)
            return reach.interval_s if reach is not None else None

        return Rhythm(
            lambda _device: self.planned_s,
            usual_s,
            lambda device: self.backfill.reach(ACCOUNT, device) is not None,
        )

    def leave_account(self) -> None:
        """The account is gone from the configuration."""
        self.roster.leave(ACCOUNT)
        self.health.leave(ACCOUNT)

    async def crash(self) -> None:
        """The process dies: no task ends in order, nothing more reaches the disk."""
        self.store.dead = True
        mine = asyncio.all_tasks() - self._outside - {asyncio.current_task()}
        for task in mine:
            task.cancel()  # type: ignore[union-attr] # the current task is never None here
        await asyncio.gather(*mine, return_exceptions=True)  # type: ignore[arg-type] # as above
        await self.store.close()
        self.clock.pending.clear()

    async def restart(self) -> None:
        """New objects on the same database."""
        await self.crash()
        await self.start()

    # doing --------------------------------------------------------------------------------------------------------

    def message(self, topic: str, payload: Any = b"", **mqtt: Any) -> CommandMessage:
        """A command message; `topic` below the base, `payload` bytes, text or a document."""
        if isinstance(payload, str):
            payload = payload.encode()
        if not isinstance(payload, bytes):
            payload = dumps(payload)
        self._mid += 1
        given = {"mid": self._mid, "received_at": self.clock.now(), **mqtt}
        return CommandMessage(f"{self.base}/{topic}", payload, **given)

    async def admit(self, message: CommandMessage) -> None:
        """Hands a message to the admission and waits until everything rests."""
        await self.admission.admit(message)
        await self.clock.settle()

    async def command(self, topic: str, payload: Any = b"", **mqtt: Any) -> list[dict[str, Any]]:
        """Publishes a command to `topic` (below the base) and returns the acks of its topic that came at once."""
        before = len(self.published("#"))
        message = self.message(topic, payload, **mqtt)
        await self.admit(message)
        ack_topic = message.topic.rsplit("/cmd/", 1)[0] + "/ack"
        return [one.doc for one in self.published("#")[before:] if one.topic == ack_topic]

    async def take(self, *observations: Observation, **batch: Any) -> Taken:
        """Takes one batch in."""
        (taken,) = await self.intake.take(ACCOUNT, [Batch(observations, **batch)])
        await self.clock.settle()
        return taken

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    def at(self, seconds: float) -> Any:
        """An instant so far from now."""
        return self.clock.now() + timedelta(seconds=seconds)

    def reading(
        self,
        metrics: dict[str, Value],
        at_s: float | None = None,
        *,
        device: str = "D1",
        origin: Origin = Origin.POLL,
        **fields: Any,
    ) -> Reading:
        """A reading received now and measured `at_s` from the clock's start; None: without a time of its own."""
        observed_at = None if at_s is None else START + timedelta(seconds=at_s)
        return Reading(device, self.clock.now(), origin, metrics, observed_at=observed_at, **fields)

    def set_policy(self, **changes: Any) -> None:
        """Other rules of the account, from the next start (or `enter_account`) on."""
        self.policy = replace(self.policy, **changes)

    # looking ------------------------------------------------------------------------------------------------------

    def published(self, pattern: str) -> list[Published]:
        """Everything ever published that matches, in order; `pattern` is an MQTT filter below the base. Nothing
        confirms the outbox here, so it is the whole history, and it is read past the gateway."""
        with self._database() as db:
            rows = [row.publication for row in SqliteOutbox(db, SPOOL_BYTES).read(0, 1_000_000)]
        return [
            Published(one.topic, one.body, one.retain, one.klass, one.correlation)
            for one in rows
            if matches(f"{self.base}/{pattern}", one.topic) or (pattern == "#" and one.topic)
        ]

    def docs(self, pattern: str) -> list[Any]:
        """The documents of `published`."""
        return [one.doc for one in self.published(pattern)]

    def acks(self, command_id: str | None = None, *, duplicates: bool = False) -> list[dict[str, Any]]:
        """Acknowledgements on the plain topics, in order; duplicates only if asked for."""
        found = [*self.docs("+/ack"), *self.docs("+/+/ack")]
        return [
            doc for doc in found if command_id in (None, doc["id"]) and (duplicates or not doc["duplicate"])
        ]

    def statuses(self, command_id: str) -> list[str]:
        """The statuses that a command's acknowledgements went through."""
        return [doc["status"] for doc in self.acks(command_id)]

    def final(self, command_id: str) -> dict[str, Any]:
        """The one final acknowledgement of a command."""
        finals = [doc for doc in self.acks(command_id) if doc["final"]]
        assert len(finals) == 1, f"{command_id}: {len(finals)} final acknowledgements"
        return finals[0]

    def retained(self) -> dict[str, Any]:
        """What a broker would hold: topic below the base → document, without what was cleared."""
        kept: dict[str, Any] = {}
        for one in self.published("#"):
            if one.retain and one.body:
                kept[one.topic.removeprefix(self.base + "/")] = one.doc
            elif one.retain:
                kept.pop(one.topic.removeprefix(self.base + "/"), None)
        return kept

    def journal(self) -> list[JournalRow]:
        """Every command that is journalled, the newest first."""
        with self._database() as db:
            return list(SqliteJournal(db).recent(1_000_000))

    @contextlib.contextmanager
    def _database(self) -> Any:
        db = sqlite3.connect(self.path)
        try:
            yield db
        finally:
            db.close()


def matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT filter takes a topic."""
    wanted, given = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given) or level not in ("+", given[index]):
            return False
    return len(wanted) == len(given)
