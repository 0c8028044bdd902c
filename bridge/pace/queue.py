"""Calls that wait for a slot, in the order in which they may start: by lane, then by age.

Those of one lane that use the same limits of the account as a whole stand in one line. When such a limit is used up, no
one in the line can start, so a look at the first is enough: a thousand commands that wait cost no more than one.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bridge.pace.limits import Lane, SlidingWindows


@dataclass(eq=False, slots=True)
class Waiter:
    """A call that waits. `uses`: the windows of which it needs a slot each; `since` in Unix seconds."""

    lane: Lane
    number: int
    uses: Sequence[SlidingWindows]
    granted: asyncio.Future[list[float]]
    since: float

    @property
    def line(self) -> _Line:
        """Where it stands: with those of its lane that share these windows."""
        return self.lane, tuple(id(one) for one in self.uses if not one.limit.per_key)

    def shared_wait_s(self, now: float) -> float:
        """Seconds until the windows that it shares with its whole line let one more call start; 0 for now."""
        return max((one.wait_s(now, self.lane) for one in self.uses if not one.limit.per_key), default=0.0)

    def wait_s(self, now: float, lane: Lane) -> float:
        """Seconds until it may start, counted as of this lane; 0 for now."""
        return max((one.wait_s(now, lane) for one in self.uses), default=0.0)


_Line = tuple[Lane, tuple[int, ...]]


class WaitingCalls:
    """`add` them, take them out with `remove`, look at them with `candidates`."""

    def __init__(self) -> None:
        self._lines: dict[_Line, dict[int, Waiter]] = {}

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def add(self, waiter: Waiter) -> None:
        """Numbers grow: it is the youngest."""
        self._lines.setdefault(waiter.line, {})[waiter.number] = waiter

    def remove(self, waiter: Waiter) -> None:
        """It has started, or given up."""
        line = self._lines.get(waiter.line)
        if line is not None and line.pop(waiter.number, None) is not None and not line:
            del self._lines[waiter.line]

    def candidates(self) -> Iterator[tuple[Waiter, Line]]:
        """All that wait, most urgent first, each with its line, which may be closed. What is taken out meanwhile is
        passed over."""
        heads: list[tuple[Lane, int, Waiter, Line]] = []
        for line in list(self._lines.values()):
            one = Line(line)
            _push(heads, one)
        while heads:
            _, _, waiter, one = heapq.heappop(heads)
            if waiter.number in one.waiters:
                yield waiter, one
            if one.is_open:
                _push(heads, one)

    def oldest_below(self, lane: Lane) -> Waiter | None:
        """The most urgent of the oldest ones of each line whose lane is less urgent."""
        firsts = (next(iter(line.values())) for (of, _), line in self._lines.items() if of > lane)
        return min(firsts, key=lambda one: (one.lane, one.number), default=None)


class Line:
    """One line while it is looked at."""

    def __init__(self, waiters: dict[int, Waiter]) -> None:
        self.waiters = waiters
        self.is_open = True
        self._rest = iter(list(waiters.values()))

    def close(self) -> None:
        """None of those behind can start either."""
        self.is_open = False

    def next(self) -> Waiter | None:
        """The next one of it."""
        return next(self._rest, None)


def _push(heads: list[tuple[Lane, int, Waiter, Line]], line: Line) -> None:
    waiter = line.next()
    if waiter is not None:
        heapq.heappush(heads, (waiter.lane, waiter.number, waiter, line))
