"""Simulated meters: a believable day, counters that add up with the powers, what a test may do to them."""

from __future__ import annotations

import pytest

from bridge.simulators.iammeter import Meter, Phase
from tests.unit.simulators.iammeter_bench import NOON

HOUSE = (Phase("house", 4800.0, 3),)
START = int(NOON // 60)


def meter(phases: tuple[Phase, ...] = HOUSE, *, nem: bool = False) -> Meter:
    return Meter("A1B2C3D4", "Grid meter", phases, offset_min=60, now_s=NOON, nem=nem)


@pytest.mark.parametrize("minutes", [1, 60, 1440, 10080])
def test_counters_are_the_sum_of_the_powers(minutes: int) -> None:
    grid = meter()
    (before,), (after,) = grid.values(START), grid.values(START + minutes)
    watts = [grid.watts(START + 1 + minute) for minute in range(minutes)]
    assert after.imported - before.imported == pytest.approx(
        sum(max(0, w) for w in watts) / 60000, abs=0.0011
    )
    assert after.exported - before.exported == pytest.approx(
        sum(max(0, -w) for w in watts) / 60000, abs=0.0011
    )


def test_the_net_row_counts_the_sum_of_the_phases() -> None:
    workshop = meter((Phase("house", 6000.0, 5), Phase("house", 0.0, 8)), nem=True)
    before, after = workshop.values(START)[2], workshop.values(START + 720)[2]
    watts = [workshop.watts(START + 1 + minute) for minute in range(720)]
    assert after.imported - before.imported == pytest.approx(
        sum(max(0, w) for w in watts) / 60000, abs=0.0011
    )
    assert after.watts == pytest.approx(sum(row.watts for row in workshop.values(START + 720)[:2]))


def test_a_day_is_that_of_a_household() -> None:
    house = meter((Phase("house", 0.0, 3),))
    midnight = START - 12 * 60
    watts = [house.watts(midnight + minute) for minute in range(1440)]
    assert 3 < sum(watts) / 60000 < 30
    assert max(watts[18 * 60 : 21 * 60]) > 1000 > 300 > min(watts)
    assert max(abs(row.volts - 230) for minute in range(1440) for row in house.values(midnight + minute)) < 5


def test_the_sun_shines_by_day_and_is_fed_in() -> None:
    grid, inverter = meter(), meter((Phase("inverter", 4800.0, 3),))
    assert inverter.watts(START) < -1000
    assert grid.watts(START) < 0
    assert inverter.watts(START - 12 * 60) == 0
    assert grid.watts(START - 12 * 60) > 0
    assert grid.generated_w(START) == -inverter.watts(START)


def test_samples_come_once_a_minute_some_seconds_in() -> None:
    grid = meter()
    seconds = {grid.uploaded_s(START + minute) - (START + minute) * 60 for minute in range(20)}
    assert len(seconds) > 5
    assert min(seconds) > 0
    assert max(seconds) < 60
    assert grid.latest(NOON) == START - 1
    assert grid.latest(NOON + 59) == START


def test_an_off_line_meter_uploads_nothing_and_counts_all_the_same() -> None:
    grid = meter((Phase("house", 0.0, 3),))
    grid.go_offline(NOON)
    grid.go_offline(NOON + 60)
    assert grid.latest(NOON + 3600) == START - 1
    grid.go_online(NOON + 3600)
    grid.go_online(NOON + 7200)
    assert grid.outages == [(NOON, NOON + 3600)]
    assert grid.latest(NOON + 3700) == START + 61
    assert grid.values(START + 60)[0].imported > grid.values(START - 1)[0].imported


def test_an_imposed_power_counts_until_it_is_lifted() -> None:
    grid, free = meter(), meter()
    grid.impose(6000.0, NOON)
    assert grid.watts(START) == free.watts(START)
    assert grid.watts(START + 1) == 6000
    grid.impose(None, NOON + 600)
    assert grid.watts(START + 11) == free.watts(START + 11)
    (before,), (after,) = grid.values(START), grid.values(START + 10)
    assert after.imported - before.imported == pytest.approx(1.0, abs=0.002)
    assert after.exported == before.exported


def test_a_replaced_meter_starts_at_zero() -> None:
    grid = meter((Phase("house", 0.0, 3),))
    grid.replace(NOON)
    assert grid.values(START)[0].imported == 0
    assert 0 < grid.values(START + 60)[0].imported < 5


def test_a_meter_has_no_past_before_it_was_there() -> None:
    grid = meter()
    assert not grid.has_sample(START - 61 * 1440, NOON)
    grid.configure(no_data=True)
    assert grid.latest(NOON) is None


def test_an_unknown_option_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="colour"):
        meter().configure(colour="red")
