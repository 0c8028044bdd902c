"""Where calls wait for their slot: one gate per account, priorities by lane, counters that survive a restart.

Invariant: a slot is on disk before the call that uses it leaves (for windows of PERSIST_FROM_S and longer), so not
even ten restarts in a minute exceed a limit. Shorter windows count as used up at the start of a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.domain.errors import StoreError
from bridge.pace.limits import TRANSIT_S, Lane, Limit, SlidingWindows, Slots, Usage, Window
from bridge.pace.queue import Waiter, WaitingCalls
from bridge.ports import Clock

PERSIST_FROM_S = 10.0
TURN_EVERY, STARVED_S = 10, 60.0
SHARED_LOOK_S = 0.25
"""How often a call that waits for another account's call to end looks whether it has."""


@dataclass(frozen=True, slots=True)
class SlotNote:
    """One reservation (or block) as it is kept on disk; times in Unix seconds."""

    owner: str
    limit: str
    key: str
    at: float
    blocked: bool = False


class SlotLedger(Protocol):
    """Where reservations are kept."""

    async def add(self, notes: Sequence[SlotNote]) -> None:
        """On disk when it returns. Raises StoreError; then the call must not leave."""
        ...

    async def remove(self, notes: Sequence[SlotNote]) -> None:
        """Reservations of calls that never left."""
        ...


SharedSlots = dict[tuple[str, str, str], Slots]
"""What accounts share, by owner, limit and key."""


class Wall:
    """Unix seconds that never step back within a process: the wall clock at the start plus monotonic time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.now().timestamp() - clock.monotonic()

    def now(self) -> float:
        return self._clock.monotonic() + self._offset


@dataclass(slots=True)
class Granted:
    """A slot that was granted; `refund` before its end gives it back."""

    refunded: bool = False

    def refund(self) -> None:
        """The call never left."""
        self.refunded = True


class AccountGate:
    """The gate of one account. Implements `vendorkit.http.Gate`."""

    def __init__(
        self,
        account: str,
        limits: Iterable[Limit],
        clock: Clock,
        ledger: SlotLedger,
        *,
        notes: Sequence[SlotNote] = (),
        fresh: bool = True,
        shared: SharedSlots | None = None,
        vendor: str = "",
    ) -> None:
        """`notes` are what the ledger held at the start; `fresh` says that no earlier process can have made calls.
        `shared` holds the slots of limits with scope "ip", which all accounts of `vendor` share."""
        self.account = account
        self._limits = {limit.name: limit for limit in limits}
        self._clock = clock
        self._wall = Wall(clock)
        self._ledger = ledger
        self._vendor = vendor
        self._fresh = fresh
        self._started = self._wall.now()
        self._table: dict[tuple[str, str], SlidingWindows] = {}
        self._planned: Mapping[tuple[str, str], float] = {}
        self._shared = shared if shared is not None else {}
        self._waiting = WaitingCalls()
        self._count = 0
        self._commands_since = 0
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = math.inf
        self.changes = 0
        """Grows whenever `usage` became another by a call or a vendor's word; it also changes with time alone."""
        self.hits = 0
        """How often the vendor has said that a limit is used up."""
        self._restore(notes)

    def slot(self, uses: Sequence[tuple[str, str]], lane: Lane) -> _Visit:
        """See `vendorkit.http.Gate.slot`."""
        return _Visit(self, uses, lane)

    async def take(
        self, uses: Sequence[tuple[str, str]], lane: Lane
    ) -> tuple[Sequence[SlidingWindows], Sequence[float], Sequence[SlotNote]]:
        """Waits for a slot of each; the windows, the times under which they know it, what is noted of it on disk."""
        windows = [self._windows(limit, key) for limit, key in uses]
        times = await self._wait(windows, lane)
        notes = self._notes(uses, windows, times)
        if notes:
            try:
                await self._ledger.add(notes)
            except BaseException:
                await self.give_back(windows, times, (), refunded=True)
                raise
        return windows, times, notes

    async def give_back(
        self,
        windows: Sequence[SlidingWindows],
        times: Sequence[float],
        notes: Sequence[SlotNote],
        *,
        refunded: bool,
    ) -> None:
        """The call that `take` let go is over, or never left."""
        now = self._wall.now()
        for one, at in zip(windows, times, strict=True):
            if refunded:
                one.refund(at)
            else:
                one.release(at, now)
        self.changes += 1
        self._pump()
        if refunded and notes:
            # a note that stays only counts a call too many; the call's own error is what matters
            with contextlib.suppress(StoreError):
                await self._ledger.remove(notes)

    def wait_s(self, uses: Sequence[tuple[str, str]], lane: Lane) -> float:
        """See `vendorkit.http.Gate.wait_s`."""
        now = self._wall.now()
        return max((self._windows(limit, key).wait_s(now, lane) for limit, key in uses), default=0.0)

    def blocked_s(self, uses: Sequence[tuple[str, str]]) -> float:
        """See `vendorkit.http.Gate.blocked_s`."""
        now = self._wall.now()
        return max((self._windows(limit, key).blocked_s(now) for limit, key in uses), default=0.0)

    def taken_since(self, limit: str, key: str, at: float) -> int:
        """See `vendorkit.http.Gate.taken_since`."""
        taken = self._windows(limit, key).slots.taken
        return len(taken) - bisect_left(taken, at)

    async def block(self, limit: str, key: str, for_s: float) -> None:
        """See `vendorkit.http.Gate.block`."""
        windows = self._windows(limit, key)
        until = self._wall.now() + for_s
        windows.block_until(until)
        self.changes += 1
        self.hits += 1
        await self._ledger.add([SlotNote(self._owner(windows.limit), limit, key, until, blocked=True)])

    def learn(self, limit: str, key: str, window: Window, for_s: float) -> None:
        """See `vendorkit.http.Gate.learn`."""
        self._windows(limit, key).learn(window, self._wall.now() + for_s)
        self.changes += 1

    def plan(self, per_s: Mapping[tuple[str, str], float]) -> None:
        """How many calls a second regular polling takes of which limit (and key): history leaves room for them."""
        self._planned = dict(per_s)
        for (name, key), windows in self._table.items():
            windows.planned_per_s = self._planned.get((name, key), 0.0)

    def planned(self) -> Mapping[tuple[str, str], float]:
        """What was planned."""
        return self._planned

    def usage(self) -> list[Usage]:
        """Every window in use now."""
        now = self._wall.now()
        rows: list[Usage] = []
        for (_name, key), windows in self._seen().items():
            rows.extend(row for row in windows.usage(now, key) if row.used or row.resets_at)
        return rows

    def next_change_in_s(self) -> float:
        """Seconds until `usage` becomes another by time alone; infinite if it does not."""
        now = self._wall.now()
        times = (windows.next_change(now) for windows in self._seen().values())
        return min((max(0.0, at - now) for at in times if at is not None), default=math.inf)

    def outdated(self) -> list[tuple[str, str, float]]:
        """(owner, limit, Unix seconds): notes that are older matter no longer to this account."""
        now = self._wall.now()
        horizons: dict[str, float] = {}
        for (name, _key), windows in self._table.items():
            horizons[name] = max(horizons.get(name, 0.0), windows.slots.horizon_s)
        return [
            (self._owner(limit), name, now - max(PERSIST_FROM_S, horizons[name]))
            for name, limit in self._limits.items()
            if name in horizons
        ]

    def limits(self) -> Sequence[Limit]:
        """The limits in force."""
        return tuple(self._limits.values())

    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return len(self._waiting)

    async def aclose(self) -> None:
        """Ends the timer; whoever waits is cancelled by its own task."""
        if self._timer is not None:
            self._timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._timer

    async def _wait(self, windows: Sequence[SlidingWindows], lane: Lane) -> list[float]:
        now = self._wall.now()
        if not self._waiting and all(one.wait_s(now, lane) <= 0 for one in windows):
            return self._reserved(windows, lane, lane, now)
        self._count += 1
        future: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
        waiter = Waiter(lane, self._count, windows, future, now)
        self._waiting.add(waiter)
        self._pump()
        try:
            return await future
        except asyncio.CancelledError:
            self._waiting.remove(waiter)
            if future.done() and not future.cancelled():
                for one, at in zip(windows, future.result(), strict=True):
                    one.refund(at)
                self._pump()
            raise

    def _pump(self) -> None:
        """Grants what can start now, most urgent first, and sets the timer for the next that can."""
        now = self._wall.now()
        soonest = math.inf
        for waiter, line in self._waiting.candidates():
            soonest = min(soonest, self._grant_starved(now))
            if waiter.granted.done():
                continue
            wait = waiter.shared_wait_s(now)
            if wait > 0:
                line.close()
            else:
                wait = waiter.wait_s(now, waiter.lane)
            soonest = min(soonest, self._grant(waiter, waiter.lane, wait, now))
        if soonest < math.inf:
            self._set_timer(now + soonest)

    def _grant(self, waiter: Waiter, lane: Lane, wait: float, now: float) -> float:
        """Lets it start if it need not wait; else in how many seconds to look again."""
        if wait > 0:
            return SHARED_LOOK_S if _is_shared_hold(waiter, wait) else wait
        self._waiting.remove(waiter)
        waiter.granted.set_result(self._reserved(waiter.uses, waiter.lane, lane, now))
        return math.inf

    def _reserved(self, windows: Sequence[SlidingWindows], of: Lane, lane: Lane, now: float) -> list[float]:
        """Takes the slots, counted as of `lane`, for a call of the lane `of`."""
        self.changes += 1
        self._commands_since = self._commands_since + 1 if of is Lane.COMMAND else 0
        return [one.reserve(now, lane) for one in windows]

    def _grant_starved(self, now: float) -> float:
        """While commands take slot after slot, every TURN_EVERY-th goes to who has waited for STARVED_S: a thousand
        commands must not end the polling."""
        if self._commands_since < TURN_EVERY - 1:
            return math.inf
        starved = self._waiting.oldest_below(Lane.COMMAND)
        if starved is None or now - starved.since < STARVED_S:
            return math.inf
        self._commands_since = 0
        return self._grant(starved, Lane.COMMAND, starved.wait_s(now, Lane.COMMAND), now)

    def _set_timer(self, due: float) -> None:
        if self._timer is not None and not self._timer.done():
            if self._timer_due <= due + 0.001:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().create_task(
            self._ring(due - self._wall.now()), name=f"gate-{self.account}"
        )

    async def _ring(self, seconds: float) -> None:
        await self._clock.sleep(max(0.0, seconds))
        self._timer = None
        self._timer_due = math.inf
        self._pump()

    def _owner(self, limit: Limit) -> str:
        return f"@{self._vendor}" if limit.scope == "ip" else self.account

    def _seen(self) -> dict[tuple[str, str], SlidingWindows]:
        """The windows of this account, with those that only other accounts of its address have used so far."""
        for owner, name, key in list(self._shared):
            limit = self._limits.get(name)
            if limit is not None and owner == self._owner(limit):
                self._windows(name, key)
        return self._table

    def _windows(self, name: str, key: str) -> SlidingWindows:
        limit = self._limits[name]
        key = key if limit.per_key else ""
        found = self._table.get((name, key))
        if found is None:
            planned_per_s = self._planned.get((name, key), 0.0)
            found = self._table[name, key] = SlidingWindows(limit, self._slots(limit, key), planned_per_s)
        return found

    def _slots(self, limit: Limit, key: str) -> Slots:
        name = (self._owner(limit), limit.name, key)
        if limit.scope == "ip" and name in self._shared:
            return self._shared[name]
        slots = Slots()
        if not self._fresh:
            short = [window.seconds for window in limit.windows if window.seconds < PERSIST_FROM_S]
            slots.blocked_until = self._started + max(short) + TRANSIT_S if short else 0.0
        if limit.scope == "ip":
            self._shared[name] = slots
        return slots

    def _restore(self, notes: Sequence[SlotNote]) -> None:
        now = self._wall.now()
        # what is there was restored by another account of this vendor, from the same notes
        known = set(self._shared)
        for note in sorted(notes, key=lambda one: one.at):
            limit = self._limits.get(note.limit)
            if limit is None or note.owner != self._owner(limit):
                continue
            windows = self._windows(note.limit, note.key)
            if note.blocked:
                # a block cannot outlast its longest window: guards against a clock that was wrong once
                windows.block_until(min(note.at, now + max(86400.0, windows.horizon_s())))
            elif (note.owner, note.limit, note.key) not in known and note.at > now - windows.slots.horizon_s:
                windows.remember(note.at, now)

    def _notes(
        self, uses: Sequence[tuple[str, str]], windows: Sequence[SlidingWindows], times: Sequence[float]
    ) -> list[SlotNote]:
        return [
            SlotNote(self._owner(one.limit), name, key if one.limit.per_key else "", at)
            for (name, key), one, at in zip(uses, windows, times, strict=True)
            if one.slots.horizon_s >= PERSIST_FROM_S
        ]


class _Visit:
    """`async with` it: a slot of each use from the beginning to the end."""

    __slots__ = ("_gate", "_lane", "_notes", "_slot", "_times", "_uses", "_windows")

    def __init__(self, gate: AccountGate, uses: Sequence[tuple[str, str]], lane: Lane) -> None:
        self._gate = gate
        self._uses = uses
        self._lane = lane

    async def __aenter__(self) -> Granted:
        self._windows, self._times, self._notes = await self._gate.take(self._uses, self._lane)
        self._slot = Granted()
        return self._slot

    async def __aexit__(self, *_raised: object) -> None:
        await self._gate.give_back(self._windows, self._times, self._notes, refunded=self._slot.refunded)


def _is_shared_hold(waiter: Waiter, wait: float) -> bool:
    """Whether only the end of a call ends this wait, perhaps one of another account, whose end nobody tells us."""
    return math.isinf(wait) and any(one.limit.scope == "ip" and one.limit.concurrency for one in waiter.uses)
