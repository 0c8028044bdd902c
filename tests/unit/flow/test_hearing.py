"""Which devices a poll leaves out because they were heard by push."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bridge.domain.observation import AlarmMessage, Availability, Event, Observation, Origin, Reading
from bridge.flow.hearing import Hearing
from bridge.ports import PollTask

AT = datetime(2024, 1, 1, tzinfo=UTC)
READINGS = PollTask("readings", 60.0, devices=("A", "B"), pushed=True)
ALARMS = PollTask("alarms:A", 60.0, devices=("A",), lane="alarms", pushed=True)


def reading(device: str = "A", age_s: float = 0.0, origin: Origin = Origin.PUSH) -> Reading:
    return Reading(device, AT, origin, {}, observed_at=AT - timedelta(seconds=age_s))


def told(observation: Observation, *, read_at: float = 0.0, factor: float = 4.0) -> Hearing:
    """Everything was read at `read_at`, and at 50 this was heard."""
    hearing = Hearing(factor)
    hearing.done(READINGS, read_at)
    hearing.done(ALARMS, read_at)
    hearing.heard(observation, 50.0)
    return hearing


def test_a_device_that_was_heard_within_its_interval_is_left_out() -> None:
    hearing = told(reading())
    left = hearing.narrowed(READINGS, 60.0)
    assert left is not None
    assert (left.devices, left.partial, left.key) == (("B",), True, "readings")
    assert hearing.spared == 1


def test_a_task_of_which_all_devices_were_heard_is_not_run() -> None:
    hearing = told(reading())
    hearing.heard(reading("B"), 55.0)
    assert hearing.narrowed(READINGS, 60.0) is None


def test_a_run_that_failed_is_not_left_out_the_next_time() -> None:
    hearing = told(reading())
    assert hearing.narrowed(READINGS, 110.0) is READINGS
    hearing.heard(reading(), 111.0)
    hearing.heard(reading("B"), 111.0)
    assert hearing.narrowed(READINGS, 112.0) is READINGS, "it was never done"
    hearing.done(READINGS, 113.0)
    assert hearing.narrowed(READINGS, 114.0) is None


def test_silence_of_one_interval_brings_the_device_back() -> None:
    hearing = told(reading())
    assert hearing.narrowed(READINGS, 110.0) is READINGS


@pytest.mark.parametrize(("now", "is_read"), [(180.0, False), (233.9, False), (234.0, True), (240.0, True)])
def test_however_much_it_pushes_a_device_is_read_now_and_then(now: float, is_read: bool) -> None:
    hearing = told(reading())
    hearing.done(READINGS, 0.0)
    hearing.heard(reading(), now)
    left = hearing.narrowed(READINGS, now)
    assert left is not None
    assert ("A" in left.devices) is is_read


def test_what_was_never_read_is_read() -> None:
    hearing = Hearing(4.0)
    hearing.heard(reading(), 50.0)
    hearing.heard(reading("B"), 50.0)
    assert hearing.narrowed(READINGS, 51.0) is READINGS


@pytest.mark.parametrize(
    "observation",
    [
        reading(age_s=60.0),
        reading(age_s=7 * 86400),
        reading(origin=Origin.POLL),
        Availability("A", True, AT, Origin.PUSH, said=False),
        AlarmMessage("A", "vendor_3", "3", AT, Origin.PUSH),
        reading("C"),
    ],
)
def test_what_stands_for_no_reading_of_now_spares_none(observation: Observation) -> None:
    assert told(observation).narrowed(READINGS, 60.0) is READINGS


def test_an_old_push_after_a_new_one_changes_nothing() -> None:
    hearing = told(reading())
    hearing.heard(reading(age_s=1000), 55.0)
    left = hearing.narrowed(READINGS, 60.0)
    assert left is not None
    assert left.devices == ("B",)


@pytest.mark.parametrize(
    "observation",
    [
        AlarmMessage("A", "vendor_3", "3", AT, Origin.PUSH, started_at=AT),
        Event("A", "vendor_3", AT, Origin.PUSH),
    ],
)
def test_alarms_and_events_stand_for_the_lists_of_alarms_and_events(observation: Observation) -> None:
    assert told(observation).narrowed(ALARMS, 60.0) is None
    assert told(reading()).narrowed(ALARMS, 60.0) is ALARMS


def test_factor_one_and_tasks_that_are_not_pushed_are_left_alone() -> None:
    assert told(reading(), factor=1.0).narrowed(READINGS, 60.0) is READINGS
    task = PollTask("save", 5.0, devices=("A",))
    assert told(reading()).narrowed(task, 60.0) is task


def test_what_is_no_longer_planned_is_forgotten() -> None:
    hearing = told(reading())
    hearing.keep([ALARMS])
    hearing.done(READINGS, 51.0)
    assert hearing.narrowed(READINGS, 60.0) == PollTask(
        "readings", 60.0, devices=("B",), pushed=True, partial=True
    ), "A is still a device of a task, so what was heard of it still holds"
    hearing.keep([])
    assert hearing.narrowed(READINGS, 60.0) is READINGS
