"""Whatever comes when, and whoever asks: no window is ever exceeded, and nobody waits for nothing."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bridge.pace.limits import TRANSIT_S, Lane, Limit, SlidingWindows, Window

QUARTER = 0.25  # exact in binary, so that the edges of windows are exact too

WINDOWS = st.lists(
    st.builds(Window, st.integers(1, 6), st.integers(1, 400).map(lambda quarters: quarters * QUARTER)),
    min_size=1,
    max_size=3,
)
LIMITS = st.builds(
    lambda windows, reserve: Limit("calls", "calls", "account", tuple(windows), reserve=reserve),
    WINDOWS,
    st.integers(0, 4),
)


@dataclass(frozen=True)
class Arrival:
    gap_s: float
    lane: Lane
    patient: bool
    refunded: bool
    block_s: float


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        st.integers(0, 200).map(lambda quarters: quarters * QUARTER),
        st.sampled_from(Lane),
        st.booleans(),
        st.sampled_from([False, False, False, True]),
        st.sampled_from([0.0, 0.0, 0.0, 0.0, 2.5, 40.0]),
    ),
    max_size=40,
)


def played(limit: Limit, arrivals: list[Arrival]) -> list[tuple[float, Lane]]:
    """The calls that left. A patient one waits as long as it is told to; the others go away."""
    windows, now, left = SlidingWindows(limit), 1000.0, []
    for arrival in arrivals:
        now += arrival.gap_s
        if arrival.block_s:
            windows.block_until(now + arrival.block_s)
        wait = windows.wait_s(now, arrival.lane)
        if wait > 0 and not arrival.patient:
            continue
        now += wait
        assert windows.wait_s(now, arrival.lane) == 0, "the wait was told too short"
        at = windows.reserve(now)
        assert at == now
        if arrival.refunded:
            windows.refund(at)
        else:
            windows.release(at, at)
            left.append((at, arrival.lane))
    return left


@given(LIMITS, ARRIVALS)
def test_no_stretch_of_a_window_holds_more_than_its_count(limit: Limit, arrivals: list[Arrival]):
    times = [at for at, _ in played(limit, arrivals)]
    for window in limit.windows:
        for first, last in zip(times, times[window.count :], strict=False):
            assert last - first >= window.seconds


@given(LIMITS, ARRIVALS)
def test_all_but_commands_leave_the_reserve_free(limit: Limit, arrivals: list[Arrival]):
    left = played(limit, arrivals)
    for index, (at, lane) in enumerate(left):
        if lane is Lane.COMMAND:
            continue
        for window in limit.windows:
            used = sum(1 for earlier, _ in left[:index] if earlier > at - window.seconds)
            assert used < max(1, window.count - limit.reserve)


@given(LIMITS, ARRIVALS, st.sampled_from(Lane))
def test_told_wait_is_the_shortest_that_keeps_the_windows(limit: Limit, arrivals: list[Arrival], lane: Lane):
    windows, now = SlidingWindows(limit), 1000.0
    for arrival in arrivals:
        now += arrival.gap_s
        if windows.wait_s(now, arrival.lane) == 0:
            windows.release(windows.reserve(now), now)
    wait = windows.wait_s(now, lane)
    if wait > 0:
        sooner = now + wait - QUARTER
        keep = 0 if lane is Lane.COMMAND else limit.reserve
        assert any(
            sum(1 for at in windows.slots.taken if at > sooner - window.seconds)
            >= max(1, window.count - keep)
            for window in limit.windows
        )


@given(LIMITS, ARRIVALS, st.integers(0, 2000))
def test_usage_counts_exactly_what_left_within_the_window(limit: Limit, arrivals: list[Arrival], later: int):
    windows, now, left = SlidingWindows(limit), 1000.0, []
    for arrival in arrivals:
        now += arrival.gap_s
        if windows.wait_s(now, arrival.lane) == 0:
            left.append(windows.reserve(now))
            windows.release(left[-1], now)
    now += later * QUARTER
    for row in windows.usage(now, "k"):
        inside = [at for at in left if at > now - row.window.seconds]
        assert row.used == len(inside) <= row.window.count
        assert row.resets_at == (inside[0] + row.window.seconds if inside else None)


@given(
    LIMITS,
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 2), st.floats(0, 1)), max_size=60),
)
def test_vendor_that_counts_arrivals_never_sees_a_window_exceeded(
    limit: Limit, calls: list[tuple[float, float, float]]
):
    """Each call leaves after a while, lasts so long, and arrives somewhere in between, within TRANSIT_S."""
    windows, now, arrivals = SlidingWindows(limit), 1000.0, []
    under_way: list[tuple[float, float]] = []
    for gap_s, lasts_s, where in calls:
        now += gap_s
        for end, at in [one for one in under_way if one[0] <= now]:
            windows.release(at, end)
            under_way.remove((end, at))
        now += windows.wait_s(now, Lane.COMMAND)
        at = windows.reserve(now)
        under_way.append((at + lasts_s, at))
        arrivals.append(at + where * min(lasts_s, TRANSIT_S))
    arrivals.sort()
    for window in limit.windows:
        for first, last in zip(arrivals, arrivals[window.count :], strict=False):
            assert last - first >= window.seconds - 1e-6


@given(LIMITS, st.lists(st.integers(-2000, 2000), max_size=40))
def test_clock_that_jumps_about_never_widens_a_window(limit: Limit, jumps: list[int]):
    windows, now = SlidingWindows(limit), 1000.0
    for jump in jumps:
        now += jump * QUARTER
        if windows.wait_s(now, Lane.COMMAND) == 0:
            windows.reserve(now)
    taken = windows.slots.taken
    assert taken == sorted(taken)
    for window in limit.windows:
        for first, last in zip(taken, taken[window.count :], strict=False):
            assert last - first >= window.seconds
