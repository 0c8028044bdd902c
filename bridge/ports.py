"""The seams: what the flow asks of a vendor, of time, and of a command's journal. Only protocols and plain values."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from bridge.domain.command import CommandSpec, Order, Outcome, Preview
from bridge.domain.device import Device
from bridge.domain.history import HistoryStep, Period, Reach
from bridge.domain.observation import Batch
from bridge.domain.text import Json


class Clock(Protocol):
    """Time, passed in so that tests can own it."""

    def now(self) -> datetime:
        """The wall clock, aware UTC. It may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never steps back; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after so many seconds of `monotonic`."""
        ...


Rng = random.Random

OWN_REFERENCES = "own_references"
"""The key of an account's vault under which its adapter keeps, as a list, the references of what it asked the vendor
for beside the commands themselves (a batch's tasks, a question about a command): words on them are no news."""


@dataclass(frozen=True, slots=True)
class PollTask:
    """Something that is read again and again: one device, one page of devices, one list of alarms.

    `key` is unique within the account and stable over restarts. `interval_s` is what the configuration asks for.
    `costs` says how many calls one run takes from which limit (names of the vendor's `Limit`s), for the planner.
    `lane` is "poll", "alarms" or "inventory". `first_in_s`: earliest start after the gateway's. `wanted_s`: the
    configured interval where the vendor's limit of one device made the adapter choose a longer one (0: it did not).
    `pushed`: the vendor also pushes what this task reads (readings in the lane "poll", alarms and events in
    "alarms"), so devices that were heard lately are left out of a run: then it comes `partial`, with the others only.
    """

    key: str
    interval_s: float
    costs: Mapping[str, float] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    lane: str = "poll"
    first_in_s: float = 0.0
    wanted_s: float = 0.0
    pushed: bool = False
    partial: bool = False


class Effect(Protocol):
    """The journal's side of one command under way."""

    async def leaving(self, request: Json = None) -> None:
        """Called once right before a request that changes something leaves; `request` is what leaves, as a document
        without secrets. When it returns, the journal says so on disk. Raises Withdrawn if the command must not leave
        any more."""
        ...

    @property
    def left(self) -> bool:
        """Whether `leaving` has returned since the command was last taken up."""
        ...


@dataclass(frozen=True, slots=True)
class PushRequest:
    """One HTTP request of a vendor's platform, after secret and address were checked.

    `tail` is the path below `/push/{account}/{secret}`, starting with a slash or empty; header names lower case.
    `vouched`: its key headers were looked at when it came first; a dead letter that is taken in again has none.
    """

    tail: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    vouched: bool = False


@dataclass(frozen=True, slots=True)
class PushAnswer:
    """What the vendor is told."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Pushed:
    """A push, understood: what it says and how to answer once that is safe. `unusable` holds the parts that are
    put aside as dead letters: (body, reason). `keep`: what the door itself has to remember of it, awaited before the
    answer; on disk when it returns. Raises StoreError."""

    batches: Sequence[Batch]
    answer: PushAnswer
    unusable: Sequence[tuple[bytes, str]] = ()
    keep: Callable[[], Awaitable[None]] | None = None


class PushDoor(Protocol):
    """A vendor that calls us."""

    def parse(self, request: PushRequest) -> Pushed:
        """The push as observations. Raises PushDenied (wrong key), PushMalformed, PushUnusable."""
        ...

    def parsing(self, request: PushRequest) -> Generator[None, None, Pushed]:
        """The same for a long one, in pieces of a few milliseconds: others have their turn at each `yield`."""
        ...

    def success(self, request: PushRequest) -> PushAnswer:
        """The answer to a push that was put aside as unusable: the vendor must not send it again."""
        ...

    def failure(self, request: PushRequest | None, status: int, reason: str) -> PushAnswer:
        """The answer that makes the vendor send again (503) or names its mistake (400)."""
        ...


class Executor(Protocol):
    """Who carries out commands: one account's adapter, or the gateway itself for its own commands."""

    def commands(self, device: Device | None) -> Mapping[str, CommandSpec]:
        """The commands of a device; None: those of the account. Pure and quick."""
        ...

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        """Carries the command out. `effect.leaving()` is awaited before anything that changes something leaves.
        Raises VendorError; after `leaving` a LostAnswer means: outcome unknown."""
        ...

    async def probe(self, order: Order) -> Outcome | None:
        """Asks the vendor what became of a command (after a lost answer, or while it works on it). None: it does
        not tell yet. Only reads. Raises VendorError."""
        ...

    def preview(self, order: Order) -> Preview:
        """The request that `execute` would send, secrets masked. Sends nothing."""
        ...


class History(Protocol):
    """The past of an account's devices, as the vendor keeps it. Used by `flow.backfill` and by nobody else: that
    is where the steps are taken in, held in order and continued after a restart."""

    def reach(self, device: Device) -> Reach | None:
        """How far back the vendor keeps this device's past; None where it keeps none. Pure."""
        ...

    def period(self, order: Order) -> Period:
        """What the parameters of a `history` command mean. Pure. Raises Rejection."""
        ...

    def read(self, device: Device, period: Period, cursor: Json) -> AsyncIterator[HistoryStep]:
        """The device's records of the period, one call per step, all in the HISTORY lane, oldest windows first.
        `cursor`: None, or that of the last step taken; the call of that step is not made again, and after the last
        step there is nothing more to call. Each step is on disk before the next call is made. Raises VendorError, and
        Rejection for a period that the vendor cannot serve."""
        ...


class VendorAdapter(Executor, Protocol):
    """One account at one vendor. It returns values; it never publishes and never persists."""

    @property
    def push(self) -> PushDoor | None:
        """The door for the vendor's calls, None where the vendor never calls."""
        ...

    @property
    def history(self) -> History | None:
        """The past of its devices, None where the vendor keeps none."""
        ...

    async def inventory(self) -> Sequence[Device]:
        """Every device of the account, all pages. Raises VendorError."""
        ...

    def poll_tasks(self, devices: Sequence[Device]) -> Sequence[PollTask]:
        """What is to be read regularly for these devices. Pure; called again whenever they change."""
        ...

    def poll(self, task: PollTask) -> AsyncIterator[Batch]:
        """Runs one task. Each batch is taken in before the next is asked for. Raises VendorError."""
        ...

    async def check(self) -> str:
        """Logs in or makes the cheapest call that proves the credentials; a line for people. Raises VendorError."""
        ...
