"""Sums of a group of backfills, and when it will be through as far as limits and pace tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bridge.flow.backfill_progress import Pace, progress_of
from bridge.pace.limits import Limit, Window
from bridge.store.protocols import BackfillRow, BackfillState

HOURLY = Limit("history", "/x", "device", (Window(12, 3600.0),), per_key=True)
SHARED = Limit("requests", "all", "account", (Window(1, 0.2), Window(100, 3600.0)), reserve=10)


def row(key: int, device: str, **fields: Any) -> BackfillRow:
    return BackfillRow(key, "r", "command", "home", device, 0, 1000, 0, 0, **fields)


def costs(_row: BackfillRow) -> Mapping[str, float]:
    return {"history": 1.0, "requests": 1.0}


def test_a_group_is_summed_up() -> None:
    rows = [
        row(1, "A", done=3, total=6, records=30, known=2),
        row(2, "B", done=4, total=4, records=40, state=BackfillState.DONE),
        row(3, "C", done=1, total=4, state=BackfillState.FAILED, code="no_answer", message="no answer"),
        row(4, "D", total=5, message="too many"),
    ]
    progress = progress_of(rows, costs, {})
    assert (progress.open, progress.done, progress.failed) == (2, 1, 1)
    assert (progress.calls, progress.calls_total, progress.records, progress.known) == (8, 19, 70, 2)
    assert progress.trouble == {"home/C": "no answer", "home/D": "too many"}
    assert [one.device for one in progress.failures] == ["C"]
    assert progress.share == pytest.approx(8 / 19)
    assert progress.eta_s is None


def test_what_is_through_is_whole() -> None:
    progress = progress_of([row(1, "A", done=1, total=9, state=BackfillState.DONE)], costs, {})
    assert (progress.share, progress.eta_s) == (1.0, 0.0)
    assert progress_of([], costs, {}).share == 1.0


@pytest.mark.parametrize(
    ("limits", "left", "seconds"),
    [
        ((HOURLY,), (12, 3), 0.0),
        ((HOURLY,), (13, 3), 3600.0),
        ((HOURLY,), (25, 25), 7200.0),
        ((SHARED,), (45, 45), 0.2 * 89),
        ((SHARED,), (46, 45), 3600.0),
        ((HOURLY, SHARED), (100, 81), 8 * 3600.0),
    ],
)
def test_the_end_is_where_the_tightest_limit_lets_the_last_call_go(
    limits: tuple[Limit, ...], left: tuple[int, int], seconds: float
) -> None:
    rows = [
        row(number, name, total=calls) for number, (name, calls) in enumerate(zip("AB", left, strict=True))
    ]
    found = progress_of(rows, costs, {"home": Pace(limits, step_s=0.0)})
    assert found.eta_s == pytest.approx(seconds)


def test_the_end_leaves_polling_its_part() -> None:
    rows = [row(1, "A", total=100)]
    polling = {("requests", ""): 40 / 3600}
    pace = Pace((SHARED,), step_s=0.0, planned=lambda: polling)
    assert progress_of(rows, costs, {"home": pace}).eta_s == pytest.approx(3600.0)
    polling["requests", ""] = 80 / 3600
    assert progress_of(rows, costs, {"home": pace}).eta_s == pytest.approx(9 * 3600.0)


def test_the_end_is_not_before_the_pace_so_far_brings_it() -> None:
    pace = Pace((HOURLY,))
    assert progress_of([row(1, "A", total=10)], costs, {"home": pace}).eta_s is None
    for at in (0.0, 2.0, 4.0):
        pace.step(at)
    assert progress_of([row(1, "A", done=2, total=10)], costs, {"home": pace}).eta_s == pytest.approx(16.0)
