"""How far a group of backfills is, how fast it goes, and when it will be through as far as the budgets allow. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.pace.limits import PLANNED_FROM_S, Limit, Window
from bridge.store.protocols import BackfillRow, BackfillState

SMOOTHING = 0.2
"""The weight of the newest step in the mean duration of one."""

Planned = Mapping[tuple[str, str], float]
Costs = Callable[[BackfillRow], Mapping[str, float]]
"""What one call of a row takes of which limit."""


@dataclass(slots=True)
class Pace:
    """How one account's steps go, and how many calls a second its polling takes of which limit and key. Times are
    monotonic seconds."""

    limits: Sequence[Limit] = ()
    step_s: float | None = None
    planned: Callable[[], Planned] = dict
    _last: float | None = None

    def step(self, now: float) -> None:
        """One more step is taken in."""
        if self._last is not None:
            took = max(0.0, now - self._last)
            self.step_s = took if self.step_s is None else SMOOTHING * took + (1 - SMOOTHING) * self.step_s
        self._last = now


@dataclass(frozen=True, slots=True)
class Progress:
    """A group of backfills: devices by state, calls made of about how many, records published and known before.
    `eta_s`: seconds until the last call, as far as limits and pace tell; None while nothing tells. `trouble`: the
    messages of what failed or waits, by `account/device`."""

    open: int = 0
    done: int = 0
    failed: int = 0
    calls: int = 0
    calls_total: int = 0
    records: int = 0
    known: int = 0
    eta_s: float | None = None
    trouble: Mapping[str, str] = field(default_factory=dict)
    failures: Sequence[BackfillRow] = ()

    @property
    def share(self) -> float:
        """Of the calls, 0 to 1."""
        if not self.open:
            return 1.0
        return min(1.0, self.calls / self.calls_total) if self.calls_total else 0.0


def progress_of(rows: Sequence[BackfillRow], costs: Costs, paces: Mapping[str, Pace]) -> Progress:
    """Sums a group up."""
    totals = {row.key: max(row.total, row.done) for row in rows}
    open_rows = [row for row in rows if row.state is BackfillState.OPEN]
    failures = [row for row in rows if row.state in (BackfillState.FAILED, BackfillState.CANCELLED)]
    return Progress(
        open=len(open_rows),
        done=sum(row.state is BackfillState.DONE for row in rows),
        failed=len(failures),
        calls=sum(row.done for row in rows),
        calls_total=sum(totals.values()),
        records=sum(row.records for row in rows),
        known=sum(row.known for row in rows),
        eta_s=_eta_s(open_rows, totals, costs, paces),
        trouble={f"{row.account}/{row.device}": row.message for row in rows if row.message},
        failures=failures,
    )


def _eta_s(
    rows: Sequence[BackfillRow], totals: Mapping[int, int], costs: Costs, paces: Mapping[str, Pace]
) -> float | None:
    """Until the slowest account is through."""
    by_account: dict[str, list[BackfillRow]] = defaultdict(list)
    for row in rows:
        by_account[row.account].append(row)
    ends: list[float] = []
    for account, mine in by_account.items():
        pace = paces.get(account, Pace())
        left = {row.key: max(1, totals[row.key] - row.done) for row in mine}
        by_budget = max(
            (_budget_s(limit, mine, left, costs, pace.planned()) for limit in pace.limits), default=0.0
        )
        if pace.step_s is None and by_budget == 0.0:
            return None
        ends.append(max(by_budget, (pace.step_s or 0.0) * sum(left.values())))
    return max(ends, default=0.0)


def _budget_s(
    limit: Limit, rows: Sequence[BackfillRow], left: Mapping[int, int], costs: Costs, planned: Planned
) -> float:
    """How long the windows of a limit make these calls take, if it is unused now and polling takes its part."""
    per_key: dict[str, float] = defaultdict(float)
    for row in rows:
        per_key[row.device if limit.per_key else ""] += left[row.key] * costs(row).get(limit.name, 0.0)
    ends = [
        (math.ceil(calls / _room(limit, window, planned.get((limit.name, key), 0.0))) - 1) * window.seconds
        for key, calls in per_key.items()
        for window in limit.windows
        if calls > 0
    ]
    return float(max(ends, default=0.0))


def _room(limit: Limit, window: Window, planned_per_s: float) -> int:
    """How many calls of a window are for history (`pace.limits`)."""
    polling = math.ceil(planned_per_s * window.seconds) if window.seconds >= PLANNED_FROM_S else 0
    return max(1, window.count - limit.reserve - polling)
