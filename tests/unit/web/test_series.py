"""The last day of a number in a bounded number of points."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.web.series import DAY_S, POINTS, Series

START = 1_700_000_000


def filled(*points: tuple[int, float]) -> Series:
    series = Series()
    for at_s, value in points:
        series.add(at_s, value)
    return series


def test_values_come_back_in_order() -> None:
    series = filled((START, 1.0), (START + 60, 2.0), (START + 120, 3.5))
    assert series.points(0) == [(START, 1.0), (START + 60, 2.0), (START + 120, 3.5)]
    assert series.points(START + 60) == [(START + 60, 2.0), (START + 120, 3.5)]


def test_of_values_close_together_the_last_one_stays() -> None:
    assert filled((START, 1.0), (START + 1, 2.0), (START + 2, 3.0)).points(0) == [(START + 2, 3.0)]


def test_an_older_value_is_left_out() -> None:
    assert filled((START, 1.0), (START - 60, 9.0)).points(0) == [(START, 1.0)]


@pytest.mark.parametrize("every_s", [1, 5, 60, 300, 900])
def test_a_day_of_any_interval_stays_bounded_and_covers_the_day(every_s: int) -> None:
    series = Series()
    for at_s in range(START, START + 2 * DAY_S, every_s):
        series.add(at_s, float(at_s % 1000))
    end_s = START + 2 * DAY_S - every_s
    points = series.points(end_s - DAY_S)
    assert POINTS // 3 < len(points) <= POINTS
    assert points[-1] == (end_s, float(end_s % 1000))
    assert points[0][0] - (end_s - DAY_S) <= 2 * DAY_S / POINTS * 2


@given(st.lists(st.tuples(st.integers(0, 4 * DAY_S), st.floats(-1e6, 1e6, width=32)), max_size=600))
def test_never_more_points_than_the_bound_and_always_ascending(added: list[tuple[int, float]]) -> None:
    series = Series()
    newest = -1
    for at_s, value in added:
        series.add(at_s, value)
        newest = max(newest, at_s)
    points = series.points(0)
    times = [at_s for at_s, _ in points]
    assert len(points) <= POINTS
    assert times == sorted(set(times))
    assert not added or times[-1] == newest
