"""The effect ledger and the call log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulators.ledger import CallLog, Ledger, most_in_window


def test_entries_are_numbered_and_can_be_chosen() -> None:
    ledger = Ledger()
    ledger.add(1.0, "a", "switched_on", "", 1)
    ledger.add(2.0, "b", "switched_on", "no_change", 2)
    ledger.add(3.0, "a", "restart", "", 5)
    assert [entry.n for entry in ledger.entries()] == [1, 2, 3]
    assert [entry.request for entry in ledger.entries(device="a")] == [1, 5]
    assert [entry.device for entry in ledger.entries(effect="switched_on")] == ["a", "b"]
    assert ledger.counts() == {"switched_on": 2, "restart": 1}
    assert ledger.as_json()["entries"][1] == {
        "n": 2,
        "at": 2.0,
        "device": "b",
        "effect": "switched_on",
        "detail": "no_change",
        "request": 2,
    }
    ledger.clear()
    assert ledger.entries() == []


@pytest.mark.parametrize(
    ("times_s", "window_s", "most"),
    [
        ([], 1.0, 0),
        ([5.0], 1.0, 1),
        ([0.0, 1.0, 2.0], 1.0, 1),
        ([0.0, 0.9, 1.0, 1.8], 1.0, 3),
        ([3.0, 0.0, 2.9], 1.0, 2),
    ],
)
def test_the_busiest_window_is_found(times_s: list[float], window_s: float, most: int) -> None:
    assert most_in_window(times_s, window_s) == most


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 20))
def test_the_busiest_window_starts_at_some_call(times_s: list[int], window_s: int) -> None:
    counted = [sum(start <= at < start + window_s for at in times_s) for start in times_s]
    assert most_in_window(times_s, window_s) == max(counted, default=0)


def test_calls_can_be_chosen_by_endpoint_family_and_device() -> None:
    log = CallLog()
    for at, endpoint, device in [
        (0.0, "register", "a"),
        (0.2, "send/turnon", "a"),
        (0.4, "send/turnoff", "b"),
    ]:
        log.open(at, endpoint, device)
    assert [call.n for call in log.calls(endpoint="send")] == [2, 3]
    assert [call.n for call in log.calls(device="a")] == [1, 2]
    assert log.busiest(1.0) == 3
    assert log.busiest(1.0, endpoint="send") == 2
    assert log.busiest(1.0, endpoint="send", device="b") == 1
    assert log.counts() == {"register": 1, "send/turnon": 1, "send/turnoff": 1}


def test_calls_under_way_at_the_same_time_are_counted() -> None:
    log = CallLog()
    first, second = log.open(0.0, "send", "a"), log.open(1.0, "send", "a")
    log.close(first, 2.0, 200)
    log.close(second, 2.0, 200)
    third = log.open(2.0, "send", "a")
    log.close(third, 3.0, 0, "lose_reply")
    assert log.most_at_once(device="a") == 2
    assert (third.status, third.fault) == (0, "lose_reply")


def test_recent_calls_leave_out_those_refused() -> None:
    log = CallLog()
    for at, status in [(0.0, 200), (1.0, 429), (1.5, 200)]:
        log.close(log.open(at, "send", "a"), at, status)
    assert log.recent(0.5) == 1
    log.clear()
    assert log.recent(0.0) == 0
