"""What the gateway keeps, as small protocols: the same work runs on SQLite here, on PostgreSQL elsewhere.

All changes happen inside `Store.run(work)`: `work` gets a `Tx`, is plain synchronous code, and either all of it is on
disk when `run` returns or nothing of it. So a state change and the message that tells of it commit together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

from bridge.contract.publication import Publication
from bridge.domain.command import CommandState
from bridge.domain.text import Json

T = TypeVar("T")
Done = Callable[[], None]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A publication that waits for the broker. `seq` grows in the order of taking."""

    seq: int
    publication: Publication


@dataclass(frozen=True, slots=True)
class Tally:
    """The account of one class of publications since the database was made.

    `taken` = `rows` (that wait) + `published` + `refused` (by the broker for good) + `shed` + `superseded` (retained
    messages that a newer one replaced while they waited) + `lost` (with a damaged part of the disk). `first_ms` and
    `last_ms`: Unix milliseconds of the first and the last shedding. `bytes`: what the rows take of the spool.
    """

    taken: int
    published: int
    refused: int
    shed: int
    superseded: int
    lost: int
    first_ms: int | None
    last_ms: int | None
    rows: int
    bytes: int


class OutboxTable(Protocol):
    """Publications that the broker has not confirmed yet."""

    def add(self, publication: Publication) -> int:
        """Appends; returns its `seq`. The publisher sees it after the commit."""
        ...

    def read(self, after: int, limit: int) -> Sequence[OutboxRow]:
        """Up to `limit` rows with a larger `seq`, in order."""
        ...

    def confirm(self, seqs: Iterable[int]) -> None:
        """The broker has them: they go."""
        ...

    def refuse(self, seqs: Iterable[int]) -> None:
        """The broker will never take them: they go, and are counted as that."""
        ...

    def waiting(self) -> tuple[int, int, int | None]:
        """Rows, bytes, and the Unix milliseconds of the oldest (None if there is none)."""
        ...

    def waiting_retained(self) -> set[str]:
        """Topics of the retained messages that wait."""
        ...

    def tallies(self) -> Mapping[int, Tally]:
        """The account of every class of which anything was ever taken."""
        ...

    def full(self) -> bool:
        """Whether nothing more may be taken in: what is never shed fills the spool but for the tenth that is kept
        for acknowledgements and the gateway's own messages."""
        ...


@dataclass(slots=True)
class JournalRow:
    """One command. Times are Unix milliseconds, None where it did not happen.

    `mark` is the canonical JSON of command and parameters (what makes a repetition the same command); `params` the
    parameters as JSON; `evidence` what proves it (JSON, or None). `asks` counts the questions since the last loss,
    `resends` how often it was sent once more. `acts`: what it does to devices (JSON, or None).
    """

    key: int
    account: str
    id: str
    device: str | None
    device_level: str | None
    command: str
    params: Json
    mark: bytes
    state: CommandState
    created_ms: int
    updated_ms: int
    writes: bool
    has_id: bool
    expires_ms: int | None = None
    timeout_s: float | None = None
    dispatched_ms: int | None = None
    sent_ms: int | None = None
    lost_ms: int | None = None
    attempt: int = 0
    asks: int = 0
    resends: int = 0
    vendor_ref: Json = None
    vendor_code: Json = None
    last_ack: Json = None
    reply_topic: str | None = None
    correlation: bytes | None = None
    requester: str | None = None
    evidence: Json = None
    acts: Json = None


@dataclass(frozen=True, slots=True)
class JournalStep:
    """One entry of a command's history. `seq` grows over all commands and is never used twice. `status` and `code`:
    what was acknowledged with it; `request`: what left for the vendor with it. `aside`: of a step that belongs to no
    command, what was asked and by whom."""

    at_ms: int
    state: str
    note: str
    status: str | None = None
    code: str | None = None
    request: Json = None
    seq: int = 0
    aside: Json = None


class JournalTable(Protocol):
    """Commands with every state they went through."""

    def insert(self, row: JournalRow) -> int:
        """Adds a row (its `key` is ignored); returns the key, which no other row ever had, also none that was rolled
        back."""
        ...

    def save(
        self,
        row: JournalRow,
        note: str = "",
        *,
        outcome: tuple[str, str | None] | None = None,
        request: Json = None,
    ) -> None:
        """Writes the row back and appends a step. `outcome`: the status and code that are acknowledged with it."""
        ...

    def state(self, key: int) -> CommandState | None:
        """The state of a row, None if there is none."""
        ...

    def get(self, key: int) -> JournalRow | None:
        """By key."""
        ...

    def find(self, account: str, command_id: str) -> JournalRow | None:
        """By the sender's id."""
        ...

    def unfinished(self, account: str | None = None) -> Sequence[JournalRow]:
        """Rows that are not final, oldest first."""
        ...

    def open_for(self, account: str, device: str) -> Sequence[JournalRow]:
        """Rows of a device that left and are not final."""
        ...

    def pending(self, account: str, device: str | None) -> Sequence[JournalRow]:
        """Not final, of one device (None: of the account itself), oldest first."""
        ...

    def by_vendor_ref(self, account: str, vendor_ref: Json) -> Sequence[JournalRow]:
        """The commands that have to do with what the vendor calls so, the newest first."""
        ...

    def unnamed(self, account: str) -> Sequence[JournalRow]:
        """Rows that left, are not final, and for which the vendor has given no reference yet; oldest first."""
        ...

    def recent(
        self, limit: int, *, account: str | None = None, device: str | None = None, since_ms: int = 0
    ) -> Sequence[JournalRow]:
        """The newest rows first; of this account and device, taken since then."""
        ...

    def note_aside(self, step: JournalStep) -> None:
        """Appends a step that belongs to no command of the journal; its `seq` is ignored."""
        ...

    def history(self, after: int, limit: int) -> Sequence[tuple[JournalRow | None, JournalStep]]:
        """The steps behind this `seq`, in their order, each with its command as it is now; None for one aside."""
        ...

    def steps(self, key: int) -> Sequence[JournalStep]:
        """The history of a command, oldest first."""
        ...

    def last_finished_ms(self, account: str, device: str, commands: Sequence[str]) -> int | None:
        """When one of these commands last left for this device."""
        ...

    def acted(self, account: str, device: str, since_ms: int) -> Sequence[JournalRow]:
        """Rows with `acts`, of this device or of the account itself, that were last changed since then."""
        ...

    def forget_asides(self, ms: int, most: int) -> None:
        """Deletes what was noted aside before `ms`, and all but the newest `most`."""
        ...

    def forget_before(self, ms: int, acted_ms: int = 0, counting: Sequence[str] = ()) -> int:
        """Deletes final rows that were last changed earlier, those with `acts` of the accounts `counting` only if
        also before `acted_ms`; returns how many."""
        ...


@dataclass(frozen=True, slots=True)
class EarlyWord:
    """A vendor's word on a command (a `Confirmation` as JSON) that matched nothing when it came."""

    key: int
    word: Json
    at_ms: int


class EarlyWordTable(Protocol):
    """Words that may have overtaken the answer of the call they belong to."""

    def keep(self, account: str, word: Json, at_ms: int) -> None:
        """Adds one."""
        ...

    def of_account(self, account: str) -> Sequence[EarlyWord]:
        """All of an account, oldest first."""
        ...

    def drop(self, key: int) -> None:
        """It is matched, or told."""
        ...


class DeliveryTable(Protocol):
    """Command messages whose PUBACK the broker may not have: a redelivery (DUP, same packet id, same bytes) of one of
    them is the same command."""

    def matches(self, mid: int, digest: bytes) -> bool:
        """Whether this packet id stands for this very message."""
        ...

    def put(self, mid: int, digest: bytes, at_ms: int) -> None:
        """Notes the message under its packet id."""
        ...

    def settled(self, deliveries: Iterable[tuple[int, bytes]]) -> None:
        """The broker certainly has the PUBACKs of these (packet id, digest): a packet id may stand for something
        else from now on, unless it already does."""
        ...

    def clear(self) -> None:
        """A new session: nothing will be delivered again."""
        ...


@dataclass(slots=True)
class DeviceRow:
    """What is known of a device. `info` is its description as JSON; `metrics` maps a metric to [value, ts in ms].

    `clock_ms` is the newest `ts` published on `telemetry`, `prints` the marks (values, series) of the records with it.
    `available` None: not known yet. `said` is the last word (`online`/`offline`) that the vendor itself said and
    `said_ms` its time. `evented` maps a metric to [value, how] of the last change event. `dirty`: the state topic
    is behind. `held` maps a counter that fell to [value, ts in ms] while it is held back. `met_ms`: when the
    gateway first met it. `suspect_day`: last day of a `clock_suspect` event.
    """

    account: str
    device: str
    met_ms: int
    info: Json = None
    metrics: dict[str, list[Json]] = field(default_factory=dict)
    clock_ms: int | None = None
    prints: list[str] = field(default_factory=list)
    available: bool | None = None
    said: str | None = None
    said_ms: int | None = None
    evented: dict[str, list[Json]] = field(default_factory=dict)
    held: dict[str, list[Json]] = field(default_factory=dict)
    dirty: bool = False
    suspect_day: int | None = None
    state_ms: int = 0
    gone: bool = False


class DeviceTable(Protocol):
    """Devices, their state and their clocks."""

    def get(self, account: str, device: str) -> DeviceRow | None:
        """By account and native id: a copy of its own."""
        ...

    def open(self, account: str, device: str) -> DeviceRow | None:
        """The row to change in this transaction: what is changed must be saved, and nothing of it kept beyond."""
        ...

    def save(self, row: DeviceRow) -> None:
        """Adds or replaces."""
        ...

    def of_account(self, account: str) -> Sequence[DeviceRow]:
        """All of an account that are not gone."""
        ...

    def dirty(self) -> Sequence[tuple[str, str]]:
        """(account, device) whose state topic is behind."""
        ...

    def accounts(self) -> Sequence[str]:
        """Accounts of which devices are known."""
        ...


@dataclass(slots=True)
class AlarmRow:
    """One alarm. `document` is what was published on raising."""

    id: str
    account: str
    device: str
    code: str
    severity: str
    raised_ms: int
    document: Json
    condition: bool
    cleared_ms: int | None = None
    silent: bool = False


class AlarmTable(Protocol):
    """Alarms, raised and cleared, and the events that were published."""

    def get(self, alarm_id: str) -> AlarmRow | None:
        """By id."""
        ...

    def save(self, row: AlarmRow) -> None:
        """Adds or replaces."""
        ...

    def active(self, account: str, device: str) -> Sequence[AlarmRow]:
        """Not cleared and not silent."""
        ...

    def raised_before(self, account: str, ms: int) -> Sequence[AlarmRow]:
        """Active message alarms of an account raised earlier."""
        ...

    def first_sight(self, event_id: str, at_ms: int) -> bool:
        """True once per event id (or another key that tells one event from the next): the event is new."""
        ...


class SeenTable(Protocol):
    """What was taken before: records by time and values, messages by their body."""

    def record(self, account: str, device: str, ts_ms: int, fingerprint: str, at_ms: int) -> bool:
        """True if this record is new; it is noted."""
        ...

    def has_record(self, account: str, device: str, ts_ms: int, fingerprint: str) -> bool:
        """Whether this record is noted."""
        ...

    def any_record(self, account: str, device: str, ts_ms: int) -> bool:
        """Whether any record of this time is noted."""
        ...

    def body(self, account: str, key: str, at_ms: int, window_s: float) -> bool:
        """True if no equal body was taken as new within the window; then it is noted."""
        ...

    def forget_bodies_before(self, ms: int) -> None:
        """Drops notes of bodies made earlier: their windows are seconds."""
        ...

    def forget_before(self, ms: int) -> None:
        """Drops notes (of records, bodies and events) made earlier."""
        ...

    def forget_events_before(self, ms: int) -> None:
        """Drops notes of events made earlier."""
        ...

    def forget_records_before(self, ms: int) -> None:
        """Drops notes of records made earlier."""
        ...

    def oldest_of(self, count: int) -> int | None:
        """When the oldest of the newest `count` notes of records was made; None if there are no more than those."""
        ...


@dataclass(frozen=True, slots=True)
class RetainedRow:
    """A retained topic of ours, as last published."""

    topic: str
    account: str
    device: str
    body: bytes


class RetainedTable(Protocol):
    """The ledger of retained topics: what is ours, exactly, so that it can be cleared exactly."""

    def get(self, topic: str) -> bytes | None:
        """The body last published there."""
        ...

    def holds(self, topic: str, body: bytes | None = None) -> bool:
        """Whether exactly this (None: anything) is published there."""
        ...

    def put(self, row: RetainedRow) -> None:
        """Notes what is published."""
        ...

    def drop(self, topic: str) -> None:
        """The topic is cleared."""
        ...

    def all(self, account: str | None = None, device: str | None = None) -> Sequence[RetainedRow]:
        """All of ours, or of one account or device."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Input that could not be used."""

    key: int
    account: str
    source: str
    reason: str
    body: bytes
    count: int
    first_ms: int
    last_ms: int


class DeadLetterTable(Protocol):
    """Unusable input, bounded; the same body is kept once and counted."""

    def add(
        self, account: str, source: str, reason: str, body: bytes, at_ms: int, *, replacing: bool = False
    ) -> bool:
        """True if it is new. The oldest ones go when there are too many, or their bodies are too large together.
        `replacing`: others of this source go too, only the latest counts."""
        ...

    def list(self, limit: int) -> Sequence[DeadLetter]:
        """The newest first."""
        ...

    def get(self, key: int) -> DeadLetter | None:
        """By key."""
        ...

    def drop(self, key: int) -> bool:
        """False if there is none."""
        ...

    def count(self) -> int:
        """How many there are."""
        ...

    def size(self) -> int:
        """Bytes of their bodies."""
        ...

    def evicted(self) -> int:
        """How many ever had to go for newer ones."""
        ...


@dataclass(frozen=True, slots=True)
class LockRow:
    """A maintenance lock; empty account or device: all of them."""

    account: str
    device: str
    reason: str
    at_ms: int


class LockTable(Protocol):
    """Maintenance locks; they survive restarts."""

    def put(self, row: LockRow) -> None:
        """Sets a lock."""
        ...

    def drop(self, account: str, device: str) -> int:
        """Takes a lock away, and with an empty account or device all below it; returns how many."""
        ...

    def covering(self, account: str, device: str | None) -> LockRow | None:
        """The lock that stops writing to this device (or account), if there is one."""
        ...

    def all(self) -> Sequence[LockRow]:
        """All locks."""
        ...


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One reservation in a rate-limit window (Unix seconds), or a block until `at` (`blocked`)."""

    owner: str
    limit: str
    key: str
    at: float
    blocked: bool = False


class BudgetTable(Protocol):
    """Rate-limit counters."""

    def add(self, rows: Iterable[SlotRow]) -> None:
        """Notes reservations and blocks."""
        ...

    def remove(self, row: SlotRow) -> None:
        """A reservation is given back."""
        ...

    def all(self) -> Sequence[SlotRow]:
        """Everything noted, oldest first."""
        ...

    def forget_before(self, owner: str, limit: str, at: float) -> None:
        """Drops what lies before the window of a limit."""
        ...


class VaultTable(Protocol):
    """Small values by owner and key: tokens, positions, the gateway's own identity."""

    def get(self, owner: str, key: str) -> Json:
        """The value or None."""
        ...

    def put(self, owner: str, key: str, value: Json) -> None:
        """None forgets the key."""
        ...


class ChartTable(Protocol):
    """What the charts of the status page show after a restart."""

    def put(self, account: str, at_ms: int, body: bytes) -> None:
        """The numbers of an account's devices as of a time."""
        ...

    def of_account(self, account: str) -> Sequence[bytes]:
        """Those of an account, the oldest first."""
        ...

    def forget_outside(self, first_ms: int, last_ms: int) -> None:
        """Of all accounts."""
        ...


class BackfillState(StrEnum):
    """Where a backfill of one device stands."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class BackfillRow:
    """The reading of one device's past, from `start_ms` until before `end_ms` (Unix milliseconds).

    `ref` groups what was asked for together; `asked_by` names the latest wish (a command's id). `origin` is a
    `flow.backfill.BackfillOrigin`. `cursor` is the vendor's place to go on from. `records` counts what was published,
    `known` what had been published before. `done` of about `total` calls are made. `complete_ms`: everything before
    is published. `failures` in a row; not again before `next_ms`. `code`, `message`: the last trouble, or why it
    failed. `expires_ms`: no call leaves after that.
    """

    key: int
    ref: str
    origin: str
    account: str
    device: str
    start_ms: int
    end_ms: int
    created_ms: int
    updated_ms: int
    interval_s: int | None = None
    asked_by: str = ""
    cursor: Json = None
    state: BackfillState = BackfillState.OPEN
    records: int = 0
    known: int = 0
    done: int = 0
    total: int = 0
    complete_ms: int | None = None
    failures: int = 0
    next_ms: int | None = None
    code: str | None = None
    message: str = ""
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class HeldReading:
    """A reading that waits until all earlier ones are there. `body`: what `flow.backfill` needs to make it again."""

    at_ms: int
    body: Json


class BackfillTable(Protocol):
    """Backfills: of each device and period where it stands, and what waits to be published in order."""

    def insert(self, row: BackfillRow) -> int:
        """Adds a row (its `key` is ignored); returns the key."""
        ...

    def save(self, row: BackfillRow) -> None:
        """Writes the row back."""
        ...

    def get(self, key: int) -> BackfillRow | None:
        """By key."""
        ...

    def of_ref(self, ref: str) -> Sequence[BackfillRow]:
        """All that were asked for together, in the order of asking."""
        ...

    def unfinished(self) -> Sequence[BackfillRow]:
        """Open ones, in the order of asking."""
        ...

    def drop(self, ref: str) -> None:
        """Forgets a group, with what it holds."""
        ...

    def hold(self, key: int, readings: Iterable[HeldReading]) -> None:
        """Keeps readings until they are taken; the same one once."""
        ...

    def take_held(self, key: int, before_ms: int | None) -> Sequence[HeldReading]:
        """Removes and returns what is held from before this instant (None: all), in the order of time."""
        ...

    def forget_before(self, ms: int) -> None:
        """Deletes those that ended earlier."""
        ...


class GapState(StrEnum):
    """Where the repair of a gap stands."""

    MISSING = "missing"
    FILLING = "filling"
    UNFILLABLE = "unfillable"


@dataclass(slots=True)
class GapRow:
    """A hole in the series of a device: between the records at `start_ms` and `end_ms` (Unix milliseconds) at least one
    is missing.

    `certain` False: perhaps nothing is missing, because it is not known how often the device tells something, or
    because a solar device slept. `start_dim`, `end_dim`: it was next to dark there. `tries` to fill it so far; not
    again before `next_ms`; `ref` of the backfill that works on it. `noted_ms`: when the gap was first known.
    """

    key: int
    account: str
    device: str
    start_ms: int
    end_ms: int
    state: GapState = GapState.MISSING
    certain: bool = True
    start_dim: bool = False
    end_dim: bool = False
    tries: int = 0
    next_ms: int = 0
    ref: str = ""
    noted_ms: int = 0
    message: str = ""


class GapTable(Protocol):
    """The known holes. Those of a device never overlap: only a record divides two of them."""

    def insert(self, row: GapRow) -> int:
        """Adds a row (its `key` is ignored); returns the key."""
        ...

    def save(self, row: GapRow) -> None:
        """Writes the row back."""
        ...

    def drop(self, key: int) -> None:
        """It is filled, or was none."""
        ...

    def around(self, account: str, device: str, at_ms: int) -> GapRow | None:
        """The one in which this instant lies, both ends excluded."""
        ...

    def of_ref(self, ref: str, account: str, device: str) -> Sequence[GapRow]:
        """Those of a device that this backfill works on, in the order of time."""
        ...

    def due(self, account: str, now_ms: int, limit: int) -> Sequence[GapRow]:
        """Missing ones whose time has come, the longest waiting first."""
        ...

    def find(
        self,
        account: str | None = None,
        device: str | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        states: Iterable[GapState] | None = None,
    ) -> Sequence[GapRow]:
        """Those that overlap a stretch of time, by account, device and time."""
        ...

    def count(self) -> Mapping[tuple[str, GapState], int]:
        """How many there are, by account and state; nights of solar devices are not counted."""
        ...

    def forget_before(self, ms: int) -> None:
        """Deletes unfillable ones that ended earlier."""
        ...


@dataclass(slots=True)
class CadenceRow:
    """How a device tells: the distances of its newest live records in seconds, whether the newest was `dim`
    (`domain.cadence`), and the highest power seen."""

    account: str
    device: str
    distances: list[int] = field(default_factory=list)
    dim: bool = False
    brightest_w: float = 0.0


class CadenceTable(Protocol):
    """What is learnt of each device's rhythm."""

    def get(self, account: str, device: str) -> CadenceRow | None:
        """By device."""
        ...

    def save(self, row: CadenceRow) -> None:
        """Adds or replaces."""
        ...


class Tx(Protocol):
    """One transaction under way."""

    @property
    def outbox(self) -> OutboxTable: ...
    @property
    def journal(self) -> JournalTable: ...
    @property
    def early_words(self) -> EarlyWordTable: ...
    @property
    def deliveries(self) -> DeliveryTable: ...
    @property
    def devices(self) -> DeviceTable: ...
    @property
    def alarms(self) -> AlarmTable: ...
    @property
    def seen(self) -> SeenTable: ...
    @property
    def retained(self) -> RetainedTable: ...
    @property
    def dead_letters(self) -> DeadLetterTable: ...
    @property
    def locks(self) -> LockTable: ...
    @property
    def budgets(self) -> BudgetTable: ...
    @property
    def vault(self) -> VaultTable: ...
    @property
    def gaps(self) -> GapTable: ...
    @property
    def cadences(self) -> CadenceTable: ...
    @property
    def backfills(self) -> BackfillTable: ...
    @property
    def charts(self) -> ChartTable: ...

    def after_commit(self, done: Done) -> None:
        """`done` runs in the event loop, in order, once this is on disk; not at all if it is rolled back."""
        ...

    def ahead(self, go: Done) -> None:
        """`go` runs in the event loop once the work has returned, which may be before it is on disk: what it starts
        may become part of the same commit. Nobody outside may see anything of that before its own transaction is on
        disk, and it must look at what it builds upon: if the commit fails, that is not there."""
        ...


class Store(Protocol):
    """Where the transactions run."""

    async def run(self, work: Callable[[Tx], T], *, light: bool = False, patient: bool = False) -> T:
        """Runs `work` in a transaction and returns its result when that is on disk. What `work` raises undoes all
        of it and is raised here. Raises StoreError if the disk does not take it. `light`: it takes well under a
        millisecond and reads little, so it may run in the event loop. `patient`: nobody waits for it, so it waits for a
        commit that somebody waits for, 20 ms or as long as two commits take."""
        ...
