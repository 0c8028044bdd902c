"""Which record goes where: `telemetry` never steps back, nothing is published twice, `state` has the newest values."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.observation import Origin, Words
from tests.fakes.harness import Harness


def times(documents: list[Any]) -> list[str]:
    return [document["ts"][11:19] for document in documents]


async def test_a_record_bears_its_own_time_its_source_and_its_device(harness: Harness) -> None:
    await harness.advance(30)
    taken = await harness.take(
        harness.reading({"voltage": Decimal("233.4")}, 10, origin=Origin.PUSH, extra={"odd": "x"})
    )
    (record,) = harness.docs("home/D1/telemetry")
    assert record == {
        "ts": "2024-01-01T12:00:10Z",
        "received_ts": "2024-01-01T12:00:30Z",
        "source": "push",
        "account": "home",
        "vendor": "fake",
        "device": "D1",
        "kind": "breaker",
        "metrics": {"voltage": Decimal("233.4")},
        "extra": {"odd": "x"},
    }
    assert taken.records[0]["metrics"] == {"voltage": Decimal("233.4")}


async def test_without_a_time_of_its_own_a_record_has_that_of_its_receipt(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 230}))
    (record,) = harness.docs("home/D1/telemetry")
    assert record["ts"] == record["received_ts"]


async def test_an_older_record_goes_to_history(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 230}, 20))
    await harness.take(harness.reading({"voltage": 231}, 10))
    await harness.take(harness.reading({"voltage": 232}, 30))
    assert times(harness.docs("home/D1/telemetry")) == ["12:00:20", "12:00:30"]
    assert times(harness.docs("home/D1/history")) == ["12:00:10"]


async def test_the_clock_of_a_device_survives_a_restart(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 230}, 20))
    await harness.restart()
    await harness.take(harness.reading({"voltage": 231}, 10))
    await harness.take(harness.reading({"voltage": 230}, 20))
    assert times(harness.docs("home/D1/telemetry")) == ["12:00:20"]
    assert times(harness.docs("home/D1/history")) == ["12:00:10"]


async def test_clocks_of_devices_are_their_own(harness: Harness) -> None:
    await harness.take(
        harness.reading({"voltage": 230}, 20), harness.reading({"voltage": 230}, 10, device="D2")
    )
    assert times(harness.docs("home/D2/telemetry")) == ["12:00:10"]


async def test_the_same_record_pushed_five_times_and_polled_once_is_one_record(harness: Harness) -> None:
    for _ in range(5):
        await harness.take(harness.reading({"voltage": 230}, 10, origin=Origin.PUSH))
    taken = await harness.take(harness.reading({"voltage": 230}, 10))
    assert len(harness.docs("home/D1/telemetry")) == 1
    assert harness.docs("home/D1/history") == []
    assert taken.records[0]["metrics"] == {"voltage": 230}  # a read still gets its record


async def test_a_late_record_that_comes_again_is_published_once(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 230}, 20))
    for _ in range(3):
        await harness.take(harness.reading({"voltage": 231}, 10, origin=Origin.PUSH))
    assert len(harness.docs("home/D1/history")) == 1


async def test_a_record_that_was_live_is_not_published_again_as_history(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 230}, 10))
    await harness.take(harness.reading({"voltage": 231}, 20))
    await harness.take(harness.reading({"voltage": 230}, 10, origin=Origin.BACKFILL))
    assert harness.docs("home/D1/history") == []


async def test_the_same_time_with_other_values_is_another_record(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 230}, 10))
    await harness.take(harness.reading({"voltage": 231}, 10))
    await harness.take(harness.reading({"voltage": 230}, 10))
    assert [one["metrics"]["voltage"] for one in harness.docs("home/D1/telemetry")] == [230, 231]


FULL = {"gas_volume": Decimal("1234.567"), "gas_flow": Decimal("0.25"), "valve_state": "open", "rssi": -97}


def form(harness: Harness, metrics: dict[str, Any], origin: Origin, series: str = "0") -> Any:
    return harness.reading(metrics, 10, origin=origin, series=series)


@pytest.mark.parametrize("poll_first", [False, True])
async def test_a_record_pushed_and_polled_in_different_forms_is_published_once(
    harness: Harness, poll_first: bool
) -> None:
    polled = form(harness, {"gas_volume": Decimal("1234.5670"), "valve_state": "open"}, Origin.POLL)
    pushed = form(harness, FULL, Origin.PUSH)
    await harness.take(pushed)
    for _ in range(5):
        await harness.take(*([polled, pushed] if poll_first else [pushed, polled]))
    await harness.restart()
    await harness.take(polled)
    (record,) = harness.docs("home/D1/telemetry")
    assert record["source"] == "push"
    assert harness.docs("home/D1/history") == []


@pytest.mark.parametrize(
    ("change", "series"),
    [({"gas_flow": Decimal("0.26")}, "0"), ({"pressure": 101}, "0"), ({}, "1")],
)
async def test_what_another_form_of_a_record_knows_better_is_published(
    harness: Harness, change: dict[str, Any], series: str
) -> None:
    await harness.take(form(harness, FULL, Origin.PUSH))
    some = {"gas_volume": FULL["gas_volume"], "gas_flow": FULL["gas_flow"]} | change
    for _ in range(2):
        await harness.take(form(harness, some, Origin.POLL, series))
    assert [doc["source"] for doc in harness.docs("home/D1/telemetry")] == ["push", "poll"]


async def test_a_value_that_is_known_better_since_makes_no_old_record_new(harness: Harness) -> None:
    await harness.take(form(harness, FULL, Origin.PUSH))
    await harness.advance(60)
    await harness.take(Words("D1", harness.clock.now(), Origin.COMMAND, {"valve_state": "closed"}))
    await harness.take(form(harness, {"gas_volume": FULL["gas_volume"], "valve_state": "open"}, Origin.POLL))
    assert len(harness.docs("home/D1/telemetry")) == 1
    assert harness.retained()["home/D1/state"]["metrics"]["valve_state"] == "closed"


async def test_a_counter_that_is_held_back_is_not_believed_for_another_form_of_its_record(
    tmp_path: Path,
) -> None:
    async with Harness(tmp_path, counter_guard="hold") as harness:
        await harness.take(harness.reading({"gas_volume": 100, "rssi": -90}, 5, series="0"))
        await harness.take(
            harness.reading({"gas_volume": 10, "rssi": -91}, 10, series="0", origin=Origin.PUSH)
        )
        for _ in range(3):
            await harness.take(harness.reading({"gas_volume": 10}, 10, series="0"))
        assert [doc["metrics"] for doc in harness.docs("home/D1/telemetry")] == [
            {"gas_volume": 100, "rssi": -90},
            {"rssi": -91},
        ]


async def test_records_without_a_time_are_new_each_time(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 230}))
    await harness.advance(1)
    await harness.take(harness.reading({"voltage": 230}))
    assert len(harness.docs("home/D1/telemetry")) == 2


async def test_backfilled_records_never_move_the_clock(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 230}, 20, origin=Origin.BACKFILL))
    await harness.take(harness.reading({"voltage": 231}, 10))
    assert times(harness.docs("home/D1/history")) == ["12:00:20"]
    assert times(harness.docs("home/D1/telemetry")) == ["12:00:10"]


async def test_a_record_from_the_future_is_history_and_moves_nothing(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 250}, 601))
    await harness.take(harness.reading({"voltage": 230}, 10))
    (suspect,) = harness.docs("home/D1/history")
    assert suspect["clock_suspect"] is True
    assert times(harness.docs("home/D1/telemetry")) == ["12:00:10"]
    assert harness.retained()["home/D1/state"]["metrics"] == {"voltage": 230}


async def test_ten_minutes_ahead_is_no_suspicion(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 250}, 600))
    assert "clock_suspect" not in harness.docs("home/D1/telemetry")[0]
    assert harness.docs("home/D1/event") == []


async def test_a_suspect_clock_is_told_once_a_day_and_device(harness: Harness) -> None:
    for minute in range(3):
        await harness.take(harness.reading({"voltage": 250}, 7200 + minute))
    await harness.take(harness.reading({"voltage": 250}, 7200, device="D2"))
    (told,) = harness.docs("home/D1/event")
    assert told["code"] == "clock_suspect"
    assert told["data"] == {"ts": "2024-01-01T14:00:00Z", "received_ts": "2024-01-01T12:00:00Z"}
    assert len(harness.docs("home/D2/event")) == 1
    await harness.advance(86400)
    await harness.take(harness.reading({"voltage": 250}, 2 * 86400))
    assert len(harness.docs("home/D1/event")) == 2


async def test_a_suspect_record_pushed_again_is_published_once(harness: Harness) -> None:
    for _ in range(3):
        await harness.take(harness.reading({"voltage": 250}, 7200))
    assert len(harness.docs("home/D1/history")) == 1


async def test_state_has_the_newest_value_of_every_metric(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 230, "current": 1}, 20))
    await harness.advance(2)
    await harness.take(harness.reading({"voltage": 231, "frequency": 50}, 10))
    await harness.advance(2)
    state = harness.retained()["home/D1/state"]
    assert state["metrics"] == {"voltage": 230, "current": 1, "frequency": 50}
    assert state["ts"] == "2024-01-01T12:00:20Z"
    assert state["alarms"] == []


async def test_words_go_into_state_only_and_do_not_move_the_clock(harness: Harness) -> None:
    await harness.advance(100)
    await harness.take(Words("D1", harness.clock.now(), Origin.POLL, {"switch_state": "on"}))
    assert harness.docs("home/D1/telemetry") == []
    assert harness.retained()["home/D1/state"]["metrics"] == {"switch_state": "on"}
    await harness.take(harness.reading({"voltage": 230}, 50))
    assert times(harness.docs("home/D1/telemetry")) == ["12:00:50"]


async def test_a_changed_word_is_an_event(harness: Harness) -> None:
    await harness.take(Words("D1", harness.clock.now(), Origin.POLL, {"valve_state": "open"}))
    await harness.advance(5)
    await harness.take(Words("D1", harness.clock.now(), Origin.POLL, {"valve_state": "closed"}))
    (event,) = harness.docs("home/D1/event")
    assert (event["code"], event["ts"]) == ("valve_closed", "2024-01-01T12:00:05Z")


async def test_a_name_that_is_not_in_the_catalogue_is_not_published(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    await harness.take(harness.reading({"voltage": 230, "nonsense": 1}))
    assert harness.docs("home/D1/telemetry")[0]["metrics"] == {"voltage": 230}
    assert "nonsense" in str(caplog.records[-1].__dict__)


async def test_a_value_of_the_wrong_kind_is_left_out(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": "much", "switch_state": "on", "healthy": 1}))  # type: ignore[dict-item] # on purpose
    assert harness.docs("home/D1/telemetry")[0]["metrics"] == {"switch_state": "on"}


async def test_a_counter_that_falls_is_published_as_sent_with_an_event(harness: Harness) -> None:
    await harness.take(harness.reading({"import_energy": Decimal("10.5"), "export_energy": 4}, 10))
    await harness.take(harness.reading({"import_energy": Decimal("0.5"), "export_energy": 1}, 20))
    (event,) = harness.docs("home/D1/event")
    assert event["code"] == "counter_reset"
    assert event["ts"] == "2024-01-01T12:00:20Z"
    data = event["data"]
    assert {
        "metric": "import_energy",
        "before": Decimal("10.5"),
        "after": Decimal("0.5"),
    }.items() <= data.items()
    assert data["others"] == [{"metric": "export_energy", "before": 4, "after": 1}]
    assert harness.docs("home/D1/telemetry")[1]["metrics"]["import_energy"] == Decimal("0.5")


async def test_a_late_lower_counter_is_no_reset(harness: Harness) -> None:
    await harness.take(harness.reading({"import_energy": 10}, 20))
    await harness.take(harness.reading({"import_energy": 9}, 10))
    await harness.take(harness.reading({"voltage": 230, "yield_today": 5}, 30))
    await harness.take(harness.reading({"yield_today": 0}, 40))  # starts again every day
    assert harness.docs("home/D1/event") == []


async def test_a_batch_with_the_same_body_within_its_window_is_the_same_message(harness: Harness) -> None:
    body = {"body_key": "b1", "body_window_s": 3.0}
    first = await harness.take(harness.reading({"voltage": 230}), **body)
    await harness.advance(2.9)
    again = await harness.take(harness.reading({"voltage": 230}), **body)
    await harness.advance(0.2)
    later = await harness.take(harness.reading({"voltage": 230}), **body)
    assert [first.duplicate, again.duplicate, later.duplicate] == [False, True, False]
    assert len(harness.docs("home/D1/telemetry")) == 2


async def test_a_batch_is_taken_whole_or_not_at_all(harness: Harness) -> None:
    harness.store.fails = lambda: True
    with pytest.raises(Exception, match="disk"):
        await harness.take(harness.reading({"voltage": 230}), harness.reading({"voltage": 230}, device="D2"))
    harness.store.fails = lambda: False
    assert harness.published("home/+/telemetry") == []


async def test_the_wall_clock_may_step_back(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 230}))
    harness.clock.step_wall(-3600)
    await harness.take(harness.reading({"voltage": 231}))
    assert len(harness.docs("home/D1/telemetry")) == 1
    assert len(harness.docs("home/D1/history")) == 1  # telemetry never steps back in time


async def test_flat_metrics_are_bare_retained_scalars_published_only_when_they_change(tmp_path: Path) -> None:
    async with Harness(tmp_path, flat_metrics=True) as harness:
        await harness.take(
            harness.reading({"voltage": Decimal("230.5"), "healthy": True, "switch_state": "on"}, 1)
        )
        await harness.advance(2)
        await harness.take(harness.reading({"voltage": 231, "healthy": True, "switch_state": "on"}, 2))
        await harness.advance(2)
        flat = [(one.topic.rpartition("/")[2], one.body) for one in harness.published("home/D1/state/+")]
        assert sorted(flat[:3]) == [("healthy", b"true"), ("switch_state", b'"on"'), ("voltage", b"230.5")]
        assert flat[3:] == [("voltage", b"231")]
        assert all(one.retain for one in harness.published("home/D1/state/+"))


@pytest.mark.parametrize("origin", [Origin.POLL, Origin.BACKFILL])
async def test_what_only_fills_gaps_adds_nothing_to_what_was_told_also_after_a_restart(
    harness: Harness, origin: Origin
) -> None:
    live = harness.reading({"import_energy": 5, "switch_state": "on"}, 20, covers=True)
    await harness.take(live, harness.reading({"import_energy": 6, "switch_state": "on"}, 30, covers=True))
    await harness.restart()
    for at, value in ((10, 4), (20, 5), (30, 6)):
        await harness.take(harness.reading({"import_energy": value}, at, origin=origin, fills=True))
    assert times(harness.docs("home/D1/telemetry")) == ["12:00:20", "12:00:30"]
    assert times(harness.docs("home/D1/history")) == ["12:00:10"]
    # another kind of record of that time is told all the same
    await harness.take(harness.reading({"water_volume": 1}, 20))
    assert times(harness.docs("home/D1/history")) == ["12:00:10", "12:00:20"]
