"""Sliding windows, pure: how long to wait for a slot, and what is used. No clock, no waiting.

Invariant: in any stretch of `Window.seconds`, never more than `Window.count` calls arrive at the vendor, who counts
arrivals: a call counts from the latest moment at which it can have arrived, which is its end or TRANSIT_S after its
start, whichever comes first.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

TRANSIT_S = 0.25
"""How long a call that is under way may take to arrive. Measured without it: of five calls a second that left, up to
eight arrived within one."""


PLANNED_FROM_S = 60.0
"""In shorter windows the order of the lanes is enough."""


class Lane(IntEnum):
    """Priorities of calls, most urgent first."""

    COMMAND = 0
    READ = 1
    ALARMS = 2
    POLL = 3
    INVENTORY = 4
    HISTORY = 5


@dataclass(frozen=True, slots=True)
class Window:
    """At most `count` calls in any `seconds`."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A named limit of a vendor.

    `endpoint` is what it counts, in the vendor's words. `scope` says whom: "account", "device", "site", "ip" …;
    with scope "ip" all accounts of the vendor share it. `per_key`: each key (a device id) has windows of its own.
    `concurrency`: at most so many calls under way at once (0: any number). `reserve`: slots of every window that
    only commands may take. `documented`: the vendor states it; otherwise it is our own caution.
    """

    name: str
    endpoint: str
    scope: str
    windows: tuple[Window, ...]
    per_key: bool = False
    concurrency: int = 0
    reserve: int = 0
    documented: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """One row of the `budget` topic: a window in use. `blocked`: nothing may start before `resets_at`, whatever is
    used. `exhausted_at`: when nothing will be left if calls go on as lately, None if that is not in sight."""

    limit: Limit
    key: str
    window: Window
    used: int
    resets_at: float | None
    blocked: bool = False
    exhausted_at: float | None = None


@dataclass(slots=True)
class Slots:
    """What was taken of one limit and key, by whoever shares it. `taken` holds the latest possible arrivals in
    order, `history` those of them that were in the lane HISTORY (of this process), `horizon_s` how far back they
    matter to anybody."""

    taken: list[float] = field(default_factory=list)
    history: list[float] = field(default_factory=list)
    under_way: int = 0
    blocked_until: float = 0.0
    horizon_s: float = 0.0


@dataclass(slots=True)
class Learnt:
    """What the vendor's refusals have taught: not more than `count` in a window of the limit, until then."""

    count: int
    until: float


@dataclass(slots=True)
class SlidingWindows:
    """One limit and one key as one account sees them. Times are Unix seconds and only ever grow here.

    Accounts that share a limit share `slots`, and each keeps to its own `limit`: a lowered one binds its account.
    `planned_per_s`: what regular polling takes; the lane HISTORY leaves it in every window."""

    limit: Limit
    slots: Slots = field(default_factory=Slots)
    planned_per_s: float = 0.0
    _learnt: dict[float, Learnt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots.horizon_s = max(self.slots.horizon_s, self.horizon_s())

    def horizon_s(self) -> float:
        """How far back reservations matter."""
        return max((*(window.seconds for window in self.limit.windows), *self._learnt), default=0.0)

    def windows(self, now: float) -> Sequence[Window]:
        """The windows in force: those of the limit, each with the count that was learnt if that is smaller."""
        if not self._learnt:
            return self.limit.windows
        learnt = {seconds: known.count for seconds, known in self._learnt.items() if known.until > now}
        known = {window.seconds for window in self.limit.windows}
        return (
            *(
                Window(min(window.count, learnt.get(window.seconds, window.count)), window.seconds)
                for window in self.limit.windows
            ),
            *(Window(count, seconds) for seconds, count in learnt.items() if seconds not in known),
        )

    def learn(self, window: Window, until: float) -> None:
        """From now on at most so much, until that time; what was learnt before of such a window is replaced."""
        self._learnt[window.seconds] = Learnt(window.count, until)
        self.slots.horizon_s = max(self.slots.horizon_s, window.seconds)

    def wait_s(self, now: float, lane: Lane) -> float:
        """Seconds until one more call may start; 0 if it may now. Infinite while `concurrency` is used up (that
        ends with a release, not with time). Lanes below COMMAND leave `reserve` slots free, HISTORY also those that
        polling will need."""
        if self.limit.concurrency and self.slots.under_way >= self.limit.concurrency:
            return float("inf")
        now = self._not_before(now)
        taken = self.slots.taken
        wait = self.blocked_s(now)
        for window in self.windows(now):
            count = window.count
            if lane is not Lane.COMMAND:
                count = max(1, count - self.limit.reserve)
            if len(taken) >= count:
                wait = max(wait, taken[-count] + window.seconds - now)
            if lane is Lane.HISTORY and window.seconds >= PLANNED_FROM_S:
                wait = max(wait, self._beside_polling_s(window, now))
        return wait

    def blocked_s(self, now: float) -> float:
        """Seconds for which the vendor's own word holds everything."""
        return max(0.0, self.slots.blocked_until - now)

    def reserve(self, now: float, lane: Lane = Lane.POLL) -> float:
        """Takes a slot; returns the time under which it is known (never before the last one). The caller has
        seen `wait_s` return 0 for the same `now`."""
        at = self._not_before(now)
        self.slots.taken.append(at + TRANSIT_S)
        if lane is Lane.HISTORY:
            self.slots.history.append(at + TRANSIT_S)
        self.slots.under_way += 1
        self._forget(at)
        return at

    def release(self, at: float, now: float) -> None:
        """The call that was reserved `at` is over, whatever came of it; its slot stays used.

        It has arrived by `now`. Where calls go one at a time, even a slow one counts from its end: a quick one
        after it would arrive closer to it than they left."""
        self.slots.under_way = max(0, self.slots.under_way - 1)
        latest = at + TRANSIT_S
        arrived = max(at, now) if self.limit.concurrency == 1 else min(latest, max(at, now))
        if arrived != latest and self._drop(latest):
            insort(self.slots.taken, arrived)

    def refund(self, at: float) -> None:
        """The call never left: its slot is given back."""
        self.slots.under_way = max(0, self.slots.under_way - 1)
        self._drop(at + TRANSIT_S)
        if at + TRANSIT_S in self.slots.history:
            self.slots.history.remove(at + TRANSIT_S)

    def remember(self, at: float, now: float) -> None:
        """A call of an earlier process left `at`."""
        insort(self.slots.taken, min(at + TRANSIT_S, now))

    def block_until(self, until: float) -> None:
        """Nothing may start before `until` (a vendor's own "too many")."""
        self.slots.blocked_until = max(self.slots.blocked_until, until)

    def usage(self, now: float, key: str) -> Sequence[Usage]:
        """What is used of every window now."""
        rows = []
        taken = self.slots.taken
        blocked = self.slots.blocked_until > now
        for window in self.windows(now):
            first = bisect_right(taken, now - window.seconds)
            used = len(taken) - first
            resets = taken[first] + window.seconds if used else None
            if blocked:
                full = used >= window.count
                resets = max(resets or 0.0, self.slots.blocked_until) if full else self.slots.blocked_until
            runs_out = None if blocked else exhausted_at(taken[first:], window, now)
            rows.append(Usage(self.limit, key, window, used, resets, blocked, runs_out))
        return rows

    def next_change(self, now: float) -> float | None:
        """When `usage` becomes another without a call: a window slides or a block ends. None if it does not."""
        taken = self.slots.taken
        times = [self.slots.blocked_until] if self.slots.blocked_until > now else []
        for window in self.windows(now):
            first = bisect_right(taken, now - window.seconds)
            if first < len(taken):
                times.append(taken[first] + window.seconds)
        times += [known.until for known in self._learnt.values() if known.until > now]
        return min(times, default=None)

    def _beside_polling_s(self, window: Window, now: float) -> float:
        """Seconds until history has had no more of the window than polling leaves."""
        room = max(1, window.count - self.limit.reserve - math.ceil(self.planned_per_s * window.seconds))
        history = self.slots.history
        return history[-room] + window.seconds - now if len(history) >= room else 0.0

    def _not_before(self, now: float) -> float:
        taken = self.slots.taken
        return max(now, taken[-1] - TRANSIT_S) if taken else now

    def _drop(self, arrival: float) -> bool:
        taken = self.slots.taken
        index = bisect_right(taken, arrival) - 1
        if index < 0 or taken[index] != arrival:
            return False
        del taken[index]
        return True

    def _forget(self, now: float) -> None:
        for times in (self.slots.taken, self.slots.history):
            old = bisect_right(times, now - self.slots.horizon_s)
            if old:
                del times[:old]


FORECAST_FROM_S = 600.0
FORECAST_CALLS = 4
_LATELY = 4
"""The newest quarter of a window tells how calls go lately."""


def exhausted_at(taken: Sequence[float], window: Window, now: float) -> float | None:
    """When the window will be used up if calls go on as in its newest quarter; None if they would fit, if there are
    too few to tell, or if it is so short that nobody could do anything about it. `taken`: what is in the window."""
    if window.seconds < FORECAST_FROM_S or not taken:
        return None
    lately = len(taken) - bisect_right(taken, now - window.seconds / _LATELY)
    per_s = lately * _LATELY / window.seconds
    if lately < FORECAST_CALLS or per_s * window.seconds <= window.count:
        return None
    left = window.count - len(taken)
    for leaves in (at + window.seconds for at in taken):
        runs_out = now + max(0, left) / per_s
        if runs_out <= leaves:
            return runs_out
        left += 1
    return now + max(0, left) / per_s
