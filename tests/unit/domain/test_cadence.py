"""How often a device tells something, and when it should have."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bridge.domain.cadence import expected_s, is_dim, is_hole, remembered


def test_nothing_is_expected_until_something_is_learnt_or_the_vendor_says_so():
    assert expected_s([], None, 60.0) is None
    assert expected_s([300, 300, 300], None, 60.0) is None
    assert expected_s([], 300.0, 60.0) == 300.0
    assert expected_s([], 300.0, 900.0) == 900.0


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ([300] * 4, 300.0),
        ([300] * 9 + [21600, 600, 600], 300.0),
        ([300] * 8 + [3600] * 4, 3600.0),
        ([86000, 86400, 86900, 86300], 86400.0),
        ([5] * 12, 60.0),
    ],
)
def test_some_holes_do_not_change_what_is_learnt_and_a_new_rhythm_does(distances, expected):
    assert expected_s(distances, 300.0, 60.0) == expected


def test_only_the_newest_distances_are_remembered():
    assert remembered(list(range(12)), 99) == [*range(1, 12), 99]


def test_one_record_that_is_missing_is_a_hole_and_jitter_is_none():
    assert not is_hole(330.0, 300.0)
    assert not is_hole(500.0, 300.0)
    assert is_hole(600.0, 300.0)
    assert not is_hole(1e9, None)


def test_second_by_second_a_few_that_are_late_are_no_hole():
    assert not is_hole(9.0, 1.0)
    assert is_hole(12.0, 1.0)


@pytest.mark.parametrize(
    ("kind", "metrics", "dim"),
    [
        ("inverter", {"active_power": 0}, True),
        ("solar_plant", {"active_power": Decimal("15.5")}, True),
        ("inverter", {"active_power": 100}, True),
        ("inverter", {"active_power": 400}, False),
        ("inverter", {"yield_today": 1}, False),
        ("electricity_meter", {"active_power": 0}, False),
    ],
)
def test_solar_devices_are_dim_with_next_to_no_power(kind, metrics, dim):
    assert is_dim(kind, metrics, brightest_w=5000.0) is dim
