"""Alarms and events: raised once, cleared once, both under one id that is the same after every restart."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.observation import AlarmMessage, Event, Origin, Value, Words
from tests.fakes.harness import START, Harness


def changes(harness: Harness) -> list[tuple[str, str, str]]:
    return [(one["code"], one["severity"], one["state"]) for one in harness.docs("home/D1/alarm")]


def active(harness: Harness) -> list[str]:
    found: list[str] = harness.retained()["home/D1/state"]["alarms"]
    return found


async def see(harness: Harness, metrics: dict[str, Value], at_s: float | None = None) -> None:
    await harness.advance(2)
    await harness.take(harness.reading(metrics, at_s))


def message(harness: Harness, code: str = "overcurrent", **fields: Any) -> AlarmMessage:
    return AlarmMessage(
        "D1", code, fields.pop("vendor_code", "4"), harness.clock.now(), Origin.PUSH, **fields
    )


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(START.timestamp() + seconds, tz=START.tzinfo)


# conditions -----------------------------------------------------------------------------------------------------------


async def test_a_condition_raises_when_bad_and_clears_when_good_under_one_id(harness: Harness) -> None:
    await see(harness, {"healthy": True}, 10)
    await see(harness, {"healthy": False}, 20)
    await see(harness, {"healthy": False}, 30)
    assert active(harness) == ["unhealthy"]
    await see(harness, {"voltage": 230}, 40)  # a missing value changes nothing
    await see(harness, {"healthy": True}, 50)
    await harness.advance(2)
    raised, cleared = harness.docs("home/D1/alarm")
    assert changes(harness) == [("unhealthy", "critical", "raised"), ("unhealthy", "critical", "cleared")]
    assert raised["id"] == cleared["id"] == f"fake:D1:unhealthy:{int(START.timestamp()) + 20}"
    assert (raised["ts"], cleared["ts"]) == ("2024-01-01T12:00:20Z", "2024-01-01T12:00:50Z")
    assert raised["vendor_code"] == "heartbeat"
    assert raised["data"] == {"heartbeat": 0}, "what the vendor sent, by its own name"
    assert cleared["data"] == {"heartbeat": 1}, "what it sent with the end"
    assert active(harness) == []


async def test_a_first_value_raises_if_it_is_bad_and_says_nothing_if_good(harness: Harness) -> None:
    await see(harness, {"door_open": False, "fence_alarm": True})
    assert changes(harness) == [("fence_alarm", "critical", "raised")]


async def test_a_record_older_than_the_last_one_looked_at_does_not_count(harness: Harness) -> None:
    await see(harness, {"healthy": True}, 20)
    await see(harness, {"healthy": False}, 10)
    await see(harness, {"door_open": True}, 10)  # of this the newer record said nothing
    assert changes(harness) == []
    await see(harness, {"door_open": True}, 30)
    assert changes(harness) == [("door_open", "warning", "raised")]


async def test_a_word_without_a_time_counts_though_the_devices_clock_is_ahead(harness: Harness) -> None:
    await see(harness, {"voltage": 230}, 300)
    await harness.take(Words("D1", harness.clock.now(), Origin.POLL, {"healthy": False}))
    assert changes(harness) == [("unhealthy", "critical", "raised")]


async def test_a_condition_that_holds_is_not_raised_again_after_a_restart(harness: Harness) -> None:
    await see(harness, {"magnetic_attack": True})
    await harness.restart()
    await see(harness, {"magnetic_attack": True})
    await see(harness, {"magnetic_attack": False})
    assert changes(harness) == [
        ("magnetic_attack", "critical", "raised"),
        ("magnetic_attack", "critical", "cleared"),
    ]


async def test_the_end_of_an_alarm_bears_what_the_vendor_sent_with_the_end(harness: Harness) -> None:
    started = moment(-60)
    await harness.take(message(harness, started_at=started, data={"status": 0}))
    await harness.take(message(harness, started_at=started, cleared=True, data={"status": 1}))
    told = [(one["state"], one["data"]) for one in harness.docs("home/D1/alarm")]
    assert told == [("raised", {"status": 0}), ("cleared", {"status": 1})]


async def test_the_source_of_an_end_is_where_the_end_was_seen(harness: Harness) -> None:
    await harness.take(Words("D1", harness.clock.now(), Origin.PUSH, {"healthy": False}))
    await harness.advance(1)
    await harness.take(Words("D1", harness.clock.now(), Origin.POLL, {"healthy": True}))
    assert [one["source"] for one in harness.docs("home/D1/alarm")] == ["push", "poll"]


async def test_the_levels_of_a_low_battery_clear_the_one_and_raise_the_other(harness: Harness) -> None:
    for level in (0, 1, 2, 1, 0):
        await see(harness, {"battery_low_level": level})
    assert changes(harness) == [
        ("battery_low", "warning", "raised"),
        ("battery_low", "warning", "cleared"),
        ("battery_low", "critical", "raised"),
        ("battery_low", "critical", "cleared"),
        ("battery_low", "warning", "raised"),
        ("battery_low", "warning", "cleared"),
    ]
    told = [one["data"]["power_level"] for one in harness.docs("home/D1/alarm")]
    assert told == [1, 2, 2, 1, 1, 0]
    ids = [one["id"] for one in harness.docs("home/D1/alarm")]
    assert ids[0] == ids[1]
    assert ids[2] == ids[3]
    assert len(set(ids)) == 3


async def test_a_first_false_of_the_mains_raises_nothing_and_a_fall_does(harness: Harness) -> None:
    await see(harness, {"mains_power": False})
    await see(harness, {"mains_power": False})
    assert changes(harness) == []
    await see(harness, {"mains_power": True})
    await see(harness, {"mains_power": False})
    await see(harness, {"mains_power": True})
    assert changes(harness) == [
        ("mains_power_lost", "warning", "raised"),
        ("mains_power_lost", "warning", "cleared"),
    ]


async def test_one_word_raises_its_own_condition_and_clears_the_others(harness: Harness) -> None:
    for word in ("running", "fault", "alarm", "running"):
        await see(harness, {"plant_status": word})
    assert changes(harness) == [
        ("plant_fault", "critical", "raised"),
        ("plant_fault", "critical", "cleared"),
        ("plant_alarm", "warning", "raised"),
        ("plant_alarm", "warning", "cleared"),
    ]


async def test_a_condition_is_not_cleared_by_time(harness: Harness) -> None:
    await see(harness, {"healthy": False})
    await harness.advance(3 * 86400)
    await harness.janitor.round()
    assert changes(harness) == [("unhealthy", "critical", "raised")]


# messages -------------------------------------------------------------------------------------------------------------


async def test_a_message_is_published_as_the_contract_says(harness: Harness) -> None:
    await harness.take(message(harness, started_at=moment(-60), message="too much", data={"bitmap": "04"}))
    (alarm,) = harness.docs("home/D1/alarm")
    assert alarm == {
        "id": f"fake:D1:overcurrent:{int(START.timestamp()) - 60}",
        "ts": "2024-01-01T11:59:00Z",
        "received_ts": "2024-01-01T12:00:00Z",
        "source": "push",
        "account": "home",
        "vendor": "fake",
        "device": "D1",
        "kind": "breaker",
        "code": "overcurrent",
        "vendor_code": "4",
        "message": "too much",
        "severity": "critical",
        "state": "raised",
        "data": {"bitmap": "04"},
    }
    assert active(harness) == ["overcurrent"]


async def test_the_same_alarm_polled_and_pushed_again_is_published_once(harness: Harness) -> None:
    for _ in range(3):
        await harness.take(message(harness, started_at=moment(-60)))
        await harness.advance(10)
    await harness.restart()
    await harness.take(message(harness, started_at=moment(-60)))
    assert changes(harness) == [("overcurrent", "critical", "raised")]


async def test_an_end_told_by_the_vendor_clears_once(harness: Harness) -> None:
    await harness.take(message(harness, started_at=moment(-60)))
    for _ in range(2):
        await harness.take(message(harness, started_at=moment(-60), ended_at=moment(-10)))
    cleared = harness.docs("home/D1/alarm")[-1]
    assert changes(harness) == [("overcurrent", "critical", "raised"), ("overcurrent", "critical", "cleared")]
    assert cleared["ts"] == "2024-01-01T11:59:50Z"


async def test_an_alarm_first_seen_when_it_is_over_is_raised_and_cleared(harness: Harness) -> None:
    await harness.take(message(harness, started_at=moment(-60), ended_at=moment(-10)))
    assert [state for _, _, state in changes(harness)] == ["raised", "cleared"]


async def test_an_old_alarm_that_is_over_is_only_noted(harness: Harness) -> None:
    old = {"started_at": moment(-90000), "ended_at": moment(-80000)}
    await harness.take(message(harness, **old))
    await harness.take(message(harness, **old))
    assert changes(harness) == []


async def test_the_backlog_counts_from_the_first_meeting_with_the_device(harness: Harness) -> None:
    await harness.advance(3 * 86400)
    await harness.take(message(harness, started_at=moment(3600), ended_at=moment(7200)))
    assert [state for _, _, state in changes(harness)] == ["raised", "cleared"]


async def test_an_old_alarm_that_goes_on_is_raised(harness: Harness) -> None:
    await harness.take(message(harness, started_at=moment(-90000)))
    assert [state for _, _, state in changes(harness)] == ["raised"]


async def test_messages_are_cleared_when_the_switch_goes_on_again(harness: Harness) -> None:
    await see(harness, {"switch_state": "on", "healthy": False})
    await harness.take(message(harness), message(harness, "overheat"))
    await see(harness, {"switch_state": "off"})
    assert sorted(active(harness)) == ["overcurrent", "overheat", "unhealthy"]
    await see(harness, {"switch_state": "on"})
    await harness.advance(2)
    assert [state for code, _, state in changes(harness) if code != "unhealthy"] == [
        "raised",
        "raised",
        "cleared",
        "cleared",
    ]
    assert active(harness) == ["unhealthy"]


async def test_messages_are_cleared_after_the_accounts_time(tmp_path: Path) -> None:
    async with Harness(tmp_path, alarm_clear_after_s=3600.0) as harness:
        await harness.take(message(harness))
        await harness.advance(3600)
        await harness.janitor.round()
        assert [state for _, _, state in changes(harness)] == ["raised"]
        await harness.advance(1)
        await harness.janitor.round()
        await harness.janitor.round()
        raised, cleared = harness.docs("home/D1/alarm")
        assert (cleared["state"], cleared["id"]) == ("cleared", raised["id"])
        await harness.advance(2)
        assert active(harness) == []


async def test_what_began_long_ago_is_cleared_when_it_was_told_long_ago(tmp_path: Path) -> None:
    async with Harness(tmp_path, alarm_clear_after_s=3600.0) as harness:
        await harness.take(message(harness, started_at=moment(-86400)))
        await harness.advance(3000)
        await harness.janitor.round()
        assert [state for _, _, state in changes(harness)] == ["raised"]
        assert active(harness) == ["overcurrent"]
        await harness.take(message(harness, started_at=moment(-86400)))  # the same report once more
        await harness.advance(601)
        await harness.janitor.round()
        assert [state for _, _, state in changes(harness)] == ["raised", "cleared"]


async def test_what_the_vendor_calls_active_is_not_cleared_by_time(tmp_path: Path) -> None:
    async with Harness(tmp_path, alarm_clear_after_s=3600.0) as harness:
        for seconds in range(0, 10000, 1000):
            await harness.take(message(harness, started_at=moment(-60), standing=seconds > 0))
            await harness.advance(1000)
            await harness.janitor.round()
        assert [state for _, _, state in changes(harness)] == ["raised"]
        assert active(harness) == ["overcurrent"]
        await harness.advance(2601)
        await harness.janitor.round()
        assert [state for _, _, state in changes(harness)] == ["raised", "cleared"]


async def test_an_alarm_that_was_cleared_by_time_is_not_raised_by_the_same_report(harness: Harness) -> None:
    await harness.take(message(harness, started_at=moment(0)))
    await harness.advance(90000)
    await harness.janitor.round()
    await harness.take(message(harness, started_at=moment(0)))
    assert [state for _, _, state in changes(harness)] == ["raised", "cleared"]


async def test_an_identical_message_without_id_and_time_within_three_seconds_is_the_same(
    harness: Harness,
) -> None:
    for _ in range(3):
        await harness.take(message(harness), body_key="same", body_window_s=3.0)
        await harness.advance(1.4)
    assert len(changes(harness)) == 1
    await harness.take(message(harness), body_key="same", body_window_s=3.0)
    assert len(changes(harness)) == 2


async def test_an_unknown_code_is_a_warning_unless_the_account_says_otherwise(tmp_path: Path) -> None:
    async with Harness(tmp_path, severities={"E-21": "critical"}) as harness:
        await harness.take(
            message(harness, "vendor_e_21", vendor_code="E-21"),
            message(harness, "vendor_3", vendor_code="3"),
        )
        assert changes(harness) == [("vendor_e_21", "critical", "raised"), ("vendor_3", "warning", "raised")]
        assert [one["vendor_code"] for one in harness.docs("home/D1/alarm")] == ["E-21", "3"]


async def test_an_alarm_of_a_device_that_is_gone_ends_without_bringing_the_device_back(
    harness: Harness,
) -> None:
    await harness.take(message(harness))
    await harness.intake.take_inventory("home", harness.vendor.devices[1:])
    await harness.advance(90000)
    await harness.janitor.round()
    await harness.advance(5)
    assert [state for _, _, state in changes(harness)] == ["raised", "cleared"]
    assert not [topic for topic in harness.retained() if topic.startswith("home/D1/")]


# events ---------------------------------------------------------------------------------------------------------------


async def test_an_event_is_published_once_also_after_a_restart(harness: Harness) -> None:
    for _ in range(2):
        await harness.take(
            Event("D1", "registered", harness.clock.now(), Origin.PUSH, happened_at=moment(5), data={"a": 1})
        )
        await harness.advance(60)
    await harness.restart()
    await harness.take(Event("D1", "registered", harness.clock.now(), Origin.PUSH, happened_at=moment(5)))
    (event,) = harness.docs("home/D1/event")
    assert event["id"] == f"fake:D1:registered:{int(START.timestamp()) + 5}"
    assert "severity" not in event
    assert "state" not in event


@pytest.mark.parametrize("seconds", [0, 1])
async def test_events_of_other_seconds_are_other_events(harness: Harness, seconds: int) -> None:
    await harness.take(Event("D1", "vendor_x", harness.clock.now(), Origin.PUSH))
    await harness.advance(seconds)
    await harness.take(Event("D1", "vendor_x", harness.clock.now(), Origin.PUSH))
    assert len(harness.docs("home/D1/event")) == 1 + seconds


async def test_an_account_that_clears_alarms_soon_does_not_wait_for_the_minute(tmp_path: Path) -> None:
    async with Harness(tmp_path, alarm_clear_after_s=20.0) as harness:
        running = asyncio.ensure_future(harness.janitor.run())
        await harness.advance(5)
        await harness.take(message(harness))
        for seconds, states in ((19, ["raised"]), (4, ["raised", "cleared"])):
            for _ in range(seconds):
                await harness.advance(1)
            assert [one["state"] for one in harness.docs("home/D1/alarm")] == states
        running.cancel()
