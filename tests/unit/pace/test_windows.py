"""The arithmetic of sliding windows."""

from __future__ import annotations

import pytest

from bridge.pace.limits import TRANSIT_S, Lane, Limit, SlidingWindows, Usage, Window, exhausted_at
from tests.unit.pace.bench import limit


def windows(*pairs: tuple[int, float], **more: object) -> SlidingWindows:
    return SlidingWindows(limit("calls", *pairs, **more))


def called(one: SlidingWindows, now: float) -> float:
    """A call that takes no time."""
    at = one.reserve(now)
    one.release(at, now)
    return at


def test_calls_up_to_the_count_start_at_once_and_the_next_waits_for_the_first_to_leave():
    one = windows((3, 60.0))
    for now in (100.0, 110.0, 120.0):
        assert one.wait_s(now, Lane.POLL) == 0
        assert called(one, now) == now
    assert one.wait_s(130.0, Lane.POLL) == 30.0
    assert one.wait_s(159.0, Lane.POLL) == 1.0
    assert one.wait_s(160.0, Lane.POLL) == 0
    called(one, 160.0)
    assert one.wait_s(160.0, Lane.POLL) == 10.0


def test_longest_wait_of_several_windows_counts():
    one = windows((2, 1.0), (3, 60.0))
    called(one, 0.0)
    called(one, 0.0)
    assert one.wait_s(0.25, Lane.POLL) == 0.75
    called(one, 1.0)
    assert one.wait_s(1.5, Lane.POLL) == 58.5


def test_reserve_is_kept_for_commands():
    one = windows((5, 60.0), reserve=2)
    for _ in range(3):
        assert one.wait_s(0.0, Lane.POLL) == 0
        called(one, 0.0)
    for lane in Lane:
        assert one.wait_s(0.0, lane) == (0 if lane is Lane.COMMAND else 60.0)
    called(one, 0.0)
    assert one.wait_s(0.0, Lane.COMMAND) == 0
    called(one, 0.0)
    assert one.wait_s(0.0, Lane.COMMAND) == 60.0


def test_reserve_never_leaves_the_others_without_any_slot():
    one = windows((2, 60.0), reserve=5)
    assert one.wait_s(0.0, Lane.HISTORY) == 0
    called(one, 0.0)
    assert one.wait_s(0.0, Lane.HISTORY) == 60.0
    assert one.wait_s(0.0, Lane.COMMAND) == 0


def test_refund_gives_the_slot_back_and_the_call_is_no_longer_under_way():
    one = windows((1, 60.0), concurrency=1)
    at = one.reserve(10.0)
    assert one.wait_s(10.0, Lane.COMMAND) == float("inf")
    one.refund(at)
    assert one.wait_s(10.0, Lane.COMMAND) == 0
    assert (list(one.slots.taken), one.slots.under_way) == ([], 0)


def test_refund_of_one_of_several_at_the_same_time_gives_back_one():
    one = windows((3, 60.0))
    at = one.reserve(10.0)
    one.reserve(10.0)
    one.reserve(10.0)
    one.refund(at)
    assert one.slots.taken == [10.0 + TRANSIT_S, 10.0 + TRANSIT_S]


def test_refund_of_a_slot_that_is_forgotten_changes_nothing():
    one = windows((2, 10.0))
    at = one.reserve(0.0)
    called(one, 100.0)
    one.refund(at)
    assert one.slots.taken == [100.0]


def test_release_ends_the_call_but_its_slot_stays_used():
    one = windows((2, 60.0), concurrency=1)
    at = one.reserve(0.0)
    assert one.wait_s(0.0, Lane.POLL) == float("inf")
    one.release(at, 0.0)
    one.release(at, 0.0)
    assert one.slots.under_way == 0
    assert one.wait_s(0.0, Lane.POLL) == 0
    called(one, 0.0)
    assert one.wait_s(0.0, Lane.POLL) == 60.0


def test_call_counts_from_its_end_or_from_when_it_must_have_arrived():
    one = windows((1, 60.0))
    quick = one.reserve(100.0)
    assert one.wait_s(100.0, Lane.POLL) == 60.0 + TRANSIT_S
    one.release(quick, 100.125)
    assert one.wait_s(100.0, Lane.POLL) == 60.125
    slow = one.reserve(200.0)
    one.release(slow, 230.0)
    assert one.wait_s(230.0, Lane.POLL) == 30.0 + TRANSIT_S


def test_where_calls_go_one_at_a_time_even_a_slow_one_counts_from_its_end():
    one = windows((1, 2.0), concurrency=1)
    at = one.reserve(100.0)
    one.release(at, 101.5)
    assert one.wait_s(101.5, Lane.POLL) == 2.0


def test_a_call_that_ends_before_one_that_started_earlier_keeps_the_order():
    one = windows((10, 60.0))
    first, second = one.reserve(100.0), one.reserve(100.05)
    one.release(second, 100.1)
    assert one.slots.taken == [100.1, 100.0 + TRANSIT_S]
    one.release(first, 100.15)
    assert one.slots.taken == [100.1, 100.15]


def test_accounts_that_share_slots_keep_each_to_its_own_limit():
    mine = windows((3, 60.0))
    other = SlidingWindows(limit("calls", (5, 60.0)), mine.slots)
    for now in (0.0, 1.0, 2.0):
        called(other, now)
    assert (mine.wait_s(3.0, Lane.POLL), other.wait_s(3.0, Lane.POLL)) == (57.0, 0)
    assert [row.used for row in mine.usage(3.0, "")] == [3]


def test_what_was_learnt_lowers_a_window_until_it_is_forgotten():
    one = windows((1, 0.5), (500, 3600.0))
    for now in range(10):
        called(one, float(now))
    one.learn(Window(10, 3600.0), until=7200.0)
    assert one.wait_s(10.0, Lane.POLL) == 3590.0
    assert [(row.window, row.used) for row in one.usage(10.0, "")] == [
        (Window(1, 0.5), 0),
        (Window(10, 3600.0), 10),
    ]
    one.learn(Window(20, 3600.0), until=7200.0)
    assert one.wait_s(10.0, Lane.POLL) == 0
    assert [row.window.count for row in one.usage(7201.0, "")] == [1, 500]


def test_what_was_learnt_of_a_window_that_the_limit_does_not_name_is_kept_too():
    one = windows((1, 0.5))
    one.learn(Window(2, 3600.0), until=7200.0)
    called(one, 0.0)
    called(one, 10.0)
    assert one.wait_s(20.0, Lane.POLL) == 3580.0
    assert one.horizon_s() == 3600.0


def test_usage_tells_when_it_becomes_another_by_itself():
    one = windows((5, 10.0), (50, 60.0))
    assert one.next_change(0.0) is None
    called(one, 0.0)
    assert (one.next_change(1.0), one.next_change(10.0), one.next_change(60.0)) == (10.0, 60.0, None)
    one.block_until(70.0)
    assert one.next_change(65.0) == 70.0


def test_window_that_will_be_used_up_at_the_present_pace_says_when():
    one = windows((100, 3600.0))
    for minute in range(15):
        for _ in range(3):
            called(one, minute * 60.0)
    now = 900.0
    (row,) = one.usage(now, "")
    assert row.used == 45
    assert row.exhausted_at == pytest.approx(now + 55 / (42 / 900), abs=1)


def test_calls_that_leave_a_window_are_counted_in_its_forecast():
    taken = [float(at) for at in range(0, 3600, 40)]
    assert exhausted_at(taken, Window(100, 3600.0), 3600.0) is None
    faster = sorted([*taken, *(float(at) for at in range(2700, 3600, 60))])
    runs_out = exhausted_at(faster, Window(110, 3600.0), 3600.0)
    assert runs_out is not None
    assert 3600.0 < runs_out < 3600.0 + 900.0


def test_forecast_is_silent_where_calls_are_few_or_the_window_is_short():
    assert exhausted_at([3000.0, 3100.0, 3200.0], Window(3, 3600.0), 3600.0) is None
    assert exhausted_at([0.0] * 50, Window(50, 60.0), 1.0) is None
    assert exhausted_at([], Window(50, 3600.0), 1.0) is None


def test_block_holds_every_lane_and_never_becomes_shorter():
    one = windows((10, 60.0))
    one.block_until(50.0)
    one.block_until(30.0)
    assert {one.wait_s(20.0, lane) for lane in Lane} == {30.0}
    assert one.wait_s(50.0, Lane.POLL) == 0


def test_time_that_steps_back_does_not_widen_a_window():
    one = windows((2, 60.0))
    one.reserve(1000.0)
    assert one.reserve(400.0) == 1000.0
    assert one.wait_s(400.0, Lane.POLL) == 60.0 + TRANSIT_S
    assert one.slots.taken == [1000.0 + TRANSIT_S, 1000.0 + TRANSIT_S]


def test_reservations_beyond_the_longest_window_are_forgotten():
    one = windows((100, 10.0), (1000, 60.0))
    for now in range(200):
        called(one, float(now))
    assert min(one.slots.taken) == 140.0
    assert one.horizon_s() == 60.0


def test_limit_without_windows_only_counts_what_is_under_way():
    one = windows(concurrency=2)
    one.reserve(0.0)
    assert one.wait_s(0.0, Lane.POLL) == 0
    one.reserve(0.0)
    assert one.wait_s(0.0, Lane.POLL) == float("inf")
    assert (one.horizon_s(), one.usage(0.0, "")) == (0.0, [])


def test_usage_shows_each_window_with_the_time_when_its_oldest_call_leaves_it():
    one = windows((5, 10.0), (50, 60.0))
    for now in (0.0, 45.0, 48.0):
        called(one, now)
    shown = one.usage(50.0, "SN1")
    assert shown == [
        Usage(one.limit, "SN1", Window(5, 10.0), 2, 55.0),
        Usage(one.limit, "SN1", Window(50, 60.0), 3, 60.0),
    ]
    assert [(row.used, row.resets_at) for row in one.usage(200.0, "")] == [(0, None), (0, None)]


def test_usage_of_a_blocked_window_resets_when_the_block_ends():
    one = windows((5, 10.0))
    one.block_until(70.0)
    assert [(row.used, row.resets_at, row.blocked) for row in one.usage(50.0, "")] == [(0, 70.0, True)]
    called(one, 65.0)
    assert [(row.used, row.resets_at) for row in one.usage(66.0, "")] == [(1, 70.0)]
    assert [(row.used, row.resets_at) for row in one.usage(71.0, "")] == [(1, 75.0)]
    assert [(row.used, row.resets_at) for row in one.usage(80.0, "")] == [(0, None)]


def test_lanes_are_ordered_from_command_to_history():
    assert sorted(Lane) == [
        Lane.COMMAND, Lane.READ, Lane.ALARMS, Lane.POLL, Lane.INVENTORY, Lane.HISTORY,
    ]  # fmt: skip


@pytest.mark.parametrize("field", ["per_key", "concurrency", "reserve"])
def test_limit_is_plain_by_default(field):
    assert not getattr(Limit("a", "b", "account", ()), field)


def test_history_leaves_what_polling_needs_of_every_long_window():
    one = SlidingWindows(limit("calls", (10, 1.0), (20, 3600.0), reserve=2), planned_per_s=12 / 3600)
    history = 0
    for second in range(100):
        now = 100.0 + 2 * second
        if one.wait_s(now, Lane.HISTORY) == 0:
            one.release(one.reserve(now, Lane.HISTORY), now)
            history += 1
    assert history == 20 - 2 - 12
    for minute in range(12):
        now = 400.0 + 60 * minute
        assert one.wait_s(now, Lane.POLL) == 0
        called(one, now)
    assert one.wait_s(1200.0, Lane.POLL) > 0
    assert one.wait_s(1200.0, Lane.COMMAND) == 0
    assert one.wait_s(3500.0, Lane.HISTORY) > 0
    assert one.wait_s(3702.0, Lane.HISTORY) == 0


def test_history_goes_on_however_much_is_planned():
    one = SlidingWindows(limit("calls", (12, 3600.0)), planned_per_s=12 / 3600)
    at = one.reserve(0.0, Lane.HISTORY)
    assert one.wait_s(1.0, Lane.HISTORY) > 3500
    one.refund(at)
    assert one.wait_s(1.0, Lane.HISTORY) == 0
