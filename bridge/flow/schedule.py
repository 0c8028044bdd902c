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


NOTICEABLE = 1.01
"""A few seconds between calls, for the way there, are no other interval."""

DRIFT = 0.1
"""How much longer than its interval a task may wait to come nearer to its place in it."""


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


def lengthened(tasks: Sequence[PollTask], limits: Iterable[Limit]) -> Stretch | None:
    """The limit of single devices for which an adapter chose longer intervals than configured, and how much longer;
    None if it did not, or not noticeably. Their tasks have these intervals already."""
    factor, slowed = max(
        ((task.interval_s / task.wanted_s, task) for task in tasks if task.wanted_s > 0),
        key=lambda one: one[0],
        default=(1.0, None),
    )
    if slowed is None or factor <= NOTICEABLE:
        return None
    return next((Stretch(limit, factor) for limit in limits if limit.name in slowed.costs), None)


def calls_per_s(tasks: Iterable[PollTask], limits: Iterable[Limit]) -> dict[tuple[str, str], float]:
    """How many calls these tasks take of each limit in a second, by its name and, where it counts per key, device."""
    per_key = {limit.name for limit in limits if limit.per_key}
    rates: dict[tuple[str, str], float] = {}
    for task in tasks:
        for name, cost in task.costs.items():
            for key in task.devices if name in per_key else ("",):
                rates[name, key] = rates.get((name, key), 0.0) + cost / task.interval_s
    return rates


def intervals(tasks: Iterable[PollTask]) -> dict[str, float]:
    """How often each device is asked for its readings, at the most; "" stands for all that no task names."""
    found: dict[str, float] = {}
    for task in tasks:
        for device in (task.devices or ("",)) if task.lane == "poll" and task.costs else ():
            found[device] = min(found.get(device, task.interval_s), task.interval_s)
    return found


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
        self._tasks: dict[str, PollTask] = {}
        self._places: dict[str, float] = {}
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
        self._tasks = keep
        self._places = _places(tasks)
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
        self._due[task.key] = math.inf  # `done` sets it; until then any other entry of this key is stale
        return task

    def done(self, task: PollTask, started: float, now: float, next_in_s: float | None = None) -> None:
        """The task ran: it is due again one interval after its start, never in the past (no burst to catch up), or
        after `next_in_s` if the poll said so.

        Tasks of one interval drift apart until they are spread evenly over it: each waits for its own place in the
        interval, at most DRIFT of an interval longer at a time. So all are read at once at the start, and there
        is no burst at every interval afterwards."""
        self._running.discard(task.key)
        planned = self._tasks.get(task.key)
        if planned is None:
            return
        if next_in_s is not None:
            self._push(planned, now + next_in_s)
            return
        due = started + planned.interval_s
        self._push(planned, max(now, due + min(self._to_place_s(planned, due), DRIFT * planned.interval_s)))

    def _to_place_s(self, task: PollTask, due: float) -> float:
        """Seconds from `due` until the task's own place in its interval comes round; 0 a little after it, because
        every task starts a little after it is due."""
        place = self._places.get(task.key)
        if place is None:
            return 0.0
        to_place_s = (place - due) % task.interval_s
        return 0.0 if to_place_s > (1 - DRIFT) * task.interval_s else to_place_s

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


def _places(tasks: Sequence[PollTask]) -> dict[str, float]:
    """A place in the interval for each task that makes calls and shares its interval with others; the same whenever
    the same tasks are planned."""
    groups: dict[float, list[str]] = {}
    for task in tasks:
        if task.costs:
            groups.setdefault(task.interval_s, []).append(task.key)
    return {
        key: interval_s * number / len(keys)
        for interval_s, keys in groups.items()
        if len(keys) > 1
        for number, key in enumerate(keys)
    }
