"""The arithmetic of sliding windows."""

from __future__ import annotations

import pytest

from bridge.pace.limits import Lane, Limit, SlidingWindows, Usage, Window
from tests.unit.pace.bench import limit


def windows(*pairs: tuple[int, float], **more: object) -> SlidingWindows:
    return SlidingWindows(limit("calls", *pairs, **more))


def test_calls_up_to_the_count_start_at_once_and_the_next_waits_for_the_first_to_leave():
    one = windows((3, 60.0))
    for now in (100.0, 110.0, 120.0):
        assert one.wait_s(now, Lane.POLL) == 0
        assert one.reserve(now) == now
    assert one.wait_s(130.0, Lane.POLL) == 30.0
    assert one.wait_s(159.0, Lane.POLL) == 1.0
    assert one.wait_s(160.0, Lane.POLL) == 0
    one.reserve(160.0)
    assert one.wait_s(160.0, Lane.POLL) == 10.0


def test_longest_wait_of_several_windows_counts():
    one = windows((2, 1.0), (3, 60.0))
    one.reserve(0.0)
    one.reserve(0.0)
    assert one.wait_s(0.25, Lane.POLL) == 0.75
    one.reserve(1.0)
    assert one.wait_s(1.5, Lane.POLL) == 58.5


def test_reserve_is_kept_for_commands():
    one = windows((5, 60.0), reserve=2)
    for _ in range(3):
        assert one.wait_s(0.0, Lane.POLL) == 0
        one.reserve(0.0)
    for lane in Lane:
        assert one.wait_s(0.0, lane) == (0 if lane is Lane.COMMAND else 60.0)
    one.reserve(0.0)
    assert one.wait_s(0.0, Lane.COMMAND) == 0
    one.reserve(0.0)
    assert one.wait_s(0.0, Lane.COMMAND) == 60.0


def test_reserve_never_leaves_the_others_without_any_slot():
    one = windows((2, 60.0), reserve=5)
    assert one.wait_s(0.0, Lane.HISTORY) == 0
    one.reserve(0.0)
    assert one.wait_s(0.0, Lane.HISTORY) == 60.0
    assert one.wait_s(0.0, Lane.COMMAND) == 0


def test_refund_gives_the_slot_back_and_the_call_is_no_longer_under_way():
    one = windows((1, 60.0), concurrency=1)
    at = one.reserve(10.0)
    assert one.wait_s(10.0, Lane.COMMAND) == float("inf")
    one.refund(at)
    assert one.wait_s(10.0, Lane.COMMAND) == 0
    assert (list(one.taken), one.under_way) == ([], 0)


def test_refund_of_one_of_several_at_the_same_time_gives_back_one():
    one = windows((3, 60.0))
    at = one.reserve(10.0)
    one.reserve(10.0)
    one.reserve(10.0)
    one.refund(at)
    assert list(one.taken) == [10.0, 10.0]


def test_refund_of_a_slot_that_is_forgotten_changes_nothing():
    one = windows((2, 10.0))
    at = one.reserve(0.0)
    one.reserve(100.0)
    one.refund(at)
    assert list(one.taken) == [100.0]


def test_release_ends_the_call_but_its_slot_stays_used():
    one = windows((2, 60.0), concurrency=1)
    one.reserve(0.0)
    assert one.wait_s(0.0, Lane.POLL) == float("inf")
    one.release()
    one.release()
    assert one.under_way == 0
    assert one.wait_s(0.0, Lane.POLL) == 0
    one.reserve(0.0)
    one.release()
    assert one.wait_s(0.0, Lane.POLL) == 60.0


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
    assert one.wait_s(400.0, Lane.POLL) == 60.0
    assert list(one.taken) == [1000.0, 1000.0]


def test_reservations_beyond_the_longest_window_are_forgotten():
    one = windows((100, 10.0), (1000, 60.0))
    for now in range(200):
        one.reserve(float(now))
    assert min(one.taken) == 140.0
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
        one.reserve(now)
    shown = one.usage(50.0, "SN1")
    assert shown == [
        Usage(one.limit, "SN1", Window(5, 10.0), 2, 55.0),
        Usage(one.limit, "SN1", Window(50, 60.0), 3, 60.0),
    ]
    assert [(row.used, row.resets_at) for row in one.usage(200.0, "")] == [(0, None), (0, None)]


def test_usage_of_a_blocked_window_resets_when_the_block_ends():
    one = windows((5, 10.0))
    one.block_until(70.0)
    assert [(row.used, row.resets_at) for row in one.usage(50.0, "")] == [(0, 70.0)]
    one.reserve(65.0)
    assert [(row.used, row.resets_at) for row in one.usage(66.0, "")] == [(1, 75.0)]
    assert [(row.used, row.resets_at) for row in one.usage(80.0, "")] == [(0, None)]


def test_lanes_are_ordered_from_command_to_history():
    assert sorted(Lane) == [
        Lane.COMMAND, Lane.READ, Lane.ALARMS, Lane.POLL, Lane.INVENTORY, Lane.HISTORY,
    ]  # fmt: skip


@pytest.mark.parametrize("field", ["per_key", "concurrency", "reserve"])
def test_limit_is_plain_by_default(field):
    assert not getattr(Limit("a", "b", "account", ()), field)
