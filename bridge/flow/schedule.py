"""When each poll task runs next. Pure: times come in, times go out."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bridge.pace.limits import Limit
from bridge.ports import PollTask

SHARE = 0.8
"""The part of a limit that planned polling may take; the rest is for commands and repetitions."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The limit that does not allow the wanted intervals, and how much longer they become."""

    limit: Limit
    factor: float


def stretch(tasks: Sequence[PollTask], limits: Iterable[Limit]) -> Stretch | None:
    """How much the intervals of these tasks must grow so that their calls fit into SHARE of every shared window;
    None if they fit as they are."""
    worst: Stretch | None = None
    for limit in limits:
        if limit.per_key:
            continue
        per_s = sum(task.costs.get(limit.name, 0.0) / task.interval_s for task in tasks)
        for window in limit.windows:
            factor = per_s / (SHARE * window.count / window.seconds)
            if factor > 1 and (worst is None or factor > worst.factor):
                worst = Stretch(limit, factor)
    return worst


@dataclass(order=True, slots=True)
class _Entry:
    due: float
    number: int
    task: PollTask = field(compare=False)


class Schedule:
    """Due times of the poll tasks of one account. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._due: dict[str, float] = {}
        self._running: set[str] = set()
        self._number = 0

    def plan(self, tasks: Sequence[PollTask], now: float) -> None:
        """Takes a new set of tasks: known keys keep their due time (but not later than one new interval away), new
        ones are due at once, others are forgotten."""
        keep = {task.key: task for task in tasks}
        due = {
            key: min(self._due.get(key, now + task.first_in_s), now + max(task.interval_s, task.first_in_s))
            for key, task in keep.items()
        }
        self._due = {}
        self._heap = []
        for key, task in keep.items():
            if key in self._running:
                self._due[key] = math.inf  # `done` sets it
            else:
                self._push(task, due[key])

    def next_due(self) -> float | None:
        """When the next task is due, None if there are none."""
        self._drop_stale()
        return self._heap[0].due if self._heap else None

    def take(self, now: float) -> PollTask | None:
        """The task that has been due for longest, or None. It is out of the schedule until `done`."""
        self._drop_stale()
        if not self._heap or self._heap[0].due > now:
            return None
        task = heapq.heappop(self._heap).task
        self._running.add(task.key)
        return task

    def done(self, task: PollTask, started: float, now: float, next_in_s: float | None = None) -> None:
        """The task ran: it is due again one interval after its start, never in the past (no burst to catch up), or
        after `next_in_s` if the poll said so."""
        self._running.discard(task.key)
        if task.key not in self._due:
            return
        self._push(task, now + next_in_s if next_in_s is not None else max(now, started + task.interval_s))

    def hurry(self, key: str, now: float) -> None:
        """This task is due now."""
        for entry in self._heap:
            if entry.task.key == key and self._due.get(key) == entry.due:
                self._push(entry.task, now)
                return

    def _push(self, task: PollTask, due: float) -> None:
        self._number += 1
        self._due[task.key] = due
        heapq.heappush(self._heap, _Entry(due, self._number, task))

    def _drop_stale(self) -> None:
        while self._heap and self._due.get(self._heap[0].task.key) != self._heap[0].due:
            heapq.heappop(self._heap)
