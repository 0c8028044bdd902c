"""Sliding windows, pure: how long to wait for a slot, and what is used. No clock, no waiting.

Invariant: in any stretch of `Window.seconds`, never more than `Window.count` reservations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum


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
    """One row of the `budget` topic: a window in use."""

    limit: Limit
    key: str
    window: Window
    used: int
    resets_at: float | None


@dataclass(slots=True)
class SlidingWindows:
    """The reservations of one limit and one key. Times are Unix seconds and only ever grow here."""

    limit: Limit
    taken: deque[float] = field(default_factory=deque)
    under_way: int = 0
    blocked_until: float = 0.0

    def horizon_s(self) -> float:
        """How far back reservations matter."""
        return max((window.seconds for window in self.limit.windows), default=0.0)

    def wait_s(self, now: float, lane: Lane) -> float:
        """Seconds until one more call may start; 0 if it may now. Infinite while `concurrency` is used up (that
        ends with a release, not with time). Lanes below COMMAND leave `reserve` slots free."""
        if self.limit.concurrency and self.under_way >= self.limit.concurrency:
            return float("inf")
        now = max(now, self.taken[-1] if self.taken else now)
        wait = max(0.0, self.blocked_until - now)
        for window in self.limit.windows:
            count = window.count
            if lane is not Lane.COMMAND:
                count = max(1, count - self.limit.reserve)
            if len(self.taken) >= count:
                wait = max(wait, self.taken[-count] + window.seconds - now)
        return wait

    def reserve(self, now: float) -> float:
        """Takes a slot; returns the time under which it is counted (never before the last one). The caller has
        seen `wait_s` return 0 for the same `now`."""
        at = max(now, self.taken[-1] if self.taken else now)
        self.taken.append(at)
        self.under_way += 1
        self._forget(at)
        return at

    def release(self, now: float | None = None) -> None:
        """The call is over, whatever came of it; its slot stays used.

        Where calls go one at a time, the slot counts from the end of the call (`now`): the vendor counts when a
        request arrives, and a slow one followed by a quick one would arrive closer together than they left."""
        self.under_way = max(0, self.under_way - 1)
        if now is not None and self.limit.concurrency == 1 and self.taken:
            self.taken[-1] = max(self.taken[-1], now)

    def refund(self, at: float) -> None:
        """The call never left: its slot is given back."""
        self.release()
        try:
            self.taken.remove(at)
        except ValueError:
            return

    def block_until(self, until: float) -> None:
        """Nothing may start before `until` (a vendor's own "too many")."""
        self.blocked_until = max(self.blocked_until, until)

    def usage(self, now: float, key: str) -> Sequence[Usage]:
        """What is used of every window now."""
        rows = []
        for window in self.limit.windows:
            inside = [at for at in self.taken if at > now - window.seconds]
            resets = inside[0] + window.seconds if inside else None
            if self.blocked_until > now:
                resets = max(resets or 0.0, self.blocked_until)
            rows.append(Usage(self.limit, key, window, len(inside), resets))
        return rows

    def _forget(self, now: float) -> None:
        oldest = now - self.horizon_s()
        while self.taken and self.taken[0] <= oldest:
            self.taken.popleft()
