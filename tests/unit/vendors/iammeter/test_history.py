"""Past records: time order, chunks, the energy balance of a site (sections 4.4, 4.5, 4.7, 4.10)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.domain.errors import BadReply
from bridge.vendors.iammeter import analysis, history
from bridge.vendors.iammeter.history import TimeOrder
from tests.unit.vendors.iammeter.bench import data

LOCAL, UTC_TIME = "2023/9/12 0:00:34", "2023/9/11 14:00:34"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("ahead_min", "offset_min", "order", "local_first"),
    [
        (600, 600, "utc_first", True),
        (-600, 600, "local_first", False),
        (601, 600, "utc_first", True),
        (660, 600, "utc_first", True),
        (540, 600, "utc_first", True),
        (-660, 600, "local_first", False),
        (60, 0, "local_first", True),
        (60, 0, "utc_first", False),
        (0, 0, "utc_first", False),
        (30, -30, "local_first", False),
        (123, 600, "local_first", True),
        (123, 600, "utc_first", False),
        (-600, None, "local_first", True),
        (600, None, "utc_first", False),
    ],
)
def test_the_distance_of_the_two_times_tells_which_is_utc(
    ahead_min: int, offset_min: int | None, order: TimeOrder, local_first: bool
) -> None:
    second = datetime(2023, 9, 11, 14)
    first = second + timedelta(minutes=ahead_min)
    assert history.local_is_first(first, second, offset_min, order) is local_first


def test_records_of_other_lengths_are_left_out() -> None:
    row = [230, 0, 0, 468, 0]
    records = [
        [*row, LOCAL],
        [*row, *row, 1, LOCAL, UTC_TIME],
        [*row, LOCAL, "x"],
        [*row, *row, LOCAL, UTC_TIME],
    ]
    (sample,) = history.basic(records, 600, "local_first")
    assert set(sample.measured.metrics) >= {"voltage_a", "voltage_b"}
    assert sample.utc_offset_min == 600


def test_advanced_records_name_their_times() -> None:
    samples = history.advanced(data("meterdatalist2__three_phase"))
    assert [sample.observed_at for sample in samples] == [
        at("2023-08-31T16:00:22+00:00"),
        at("2023-09-01T00:00:49+00:00"),
        at("2023-09-01T08:00:24+00:00"),
    ]
    assert {sample.utc_offset_min for sample in samples} == {480}
    assert samples[0].measured.metrics["import_energy"] == Decimal("210.21")
    assert samples[0].measured.metrics["power_factor_a"] == Decimal("0.57")


@pytest.mark.parametrize("read", [history.advanced, lambda page: history.basic(page, 0, "local_first")])
def test_a_history_without_records_is_empty_and_one_of_another_shape_a_bad_reply(read: Any) -> None:
    assert read(None) == read([]) == []
    for page in ({}, "x", [5], 1):
        with pytest.raises(BadReply):
            read(page)


@pytest.mark.parametrize(("interval_s", "days"), [(60, 1), (300, 6), (900, 20), (86400, 2000)])
def test_a_request_covers_as_many_days_as_2000_records_allow(interval_s: int, days: int) -> None:
    assert history.whole_days(interval_s) == days


def test_chunks_cover_every_day_once() -> None:
    found = history.chunks(date(2023, 9, 1), date(2023, 9, 15), 6)
    assert found == [
        (date(2023, 9, 1), date(2023, 9, 6)),
        (date(2023, 9, 7), date(2023, 9, 12)),
        (date(2023, 9, 13), date(2023, 9, 15)),
    ]


def test_the_energy_balance_of_a_site() -> None:
    (bucket,) = history.balance(data("energyhistory__hour"), timezone(timedelta(hours=1)))
    assert bucket.start == at("2026-02-24T09:00:00+00:00")
    assert bucket.metrics == {
        "yield_interval": Decimal("2.31"),
        "import_energy_interval": Decimal("0.12"),
        "export_energy_interval": Decimal("1.05"),
        "special_load_energy_interval": 0,
        "self_use_energy_interval": Decimal("1.26"),
    }


def test_the_hour_that_the_clocks_show_twice_is_two_hours() -> None:
    items = [{"time": f"2026-10-25 {hour:02}:00", "yield": hour} for hour in (1, 2, 2, 3)]
    found = history.balance(items, ZoneInfo("Europe/Berlin"))
    assert [bucket.start.isoformat()[8:13] for bucket in found] == ["24T23", "25T00", "25T01", "25T02"]


def test_buckets_that_cannot_be_read_are_left_out() -> None:
    items = [
        {"time": "x", "yield": 1},
        {"time": "2026", "yield": None},
        {"time": "2026", "yield": 1, "co2": 3},
    ]
    (bucket,) = history.balance(items, UTC)
    assert (bucket.metrics, bucket.extra) == ({"yield_interval": 1}, {"co2": 3})
    with pytest.raises(BadReply):
        history.balance({}, UTC)


def test_gaps_are_found_under_other_names() -> None:
    page = {
        "start_time": "2023-09-05",
        "End Time": "2023/9/11 0:00:00",
        "offlineMinutes": "906",
        "Total": 10080,
        "gaps": [
            {"StartTime": "2023/9/5 0:00:00", "EndTime": "2023/9/5 15:06:14", "spell": 906},
            {"start": "2023/9/6 0:00:00", "end": "2023/9/6 0:10:59"},
            {"start": "x", "end": "2023/9/6 0:10:59"},
            5,
        ],
        "note": "hello",
    }
    found = analysis.offline_analysis(page, UTC)
    assert {name: found.result[name] for name in ("window_start", "window_end")} == {
        "window_start": "2023-09-05",
        "window_end": "2023-09-11",
    }
    assert (found.result["offline_minutes"], found.result["window_minutes"]) == (906, 10080)
    assert [gap["duration_minutes"] for gap in found.result["gaps"]] == [906, 10]
    assert found.unknown == ("note", "gaps[]"), "a gap that cannot be read is not dropped in silence"


def test_daytime_is_tested_before_average() -> None:
    found = analysis.power_analysis(
        {"Avg_Power": 1, "avg_day_power": 2, "MinPower": 3, "max power": 4, "x": 5}
    )
    assert found.result == {"power_avg": 1, "power_avg_daytime": 2, "power_min": 3, "power_max": 4}
    assert found.unknown == ("x",)


@pytest.mark.parametrize("page", [None, [], {}, {"startTime": "2023-09-05"}, {"average": None}])
def test_an_analysis_without_anything_known_is_a_bad_reply(page: Any) -> None:
    with pytest.raises(BadReply):
        analysis.power_analysis(page)
    with pytest.raises(BadReply):
        analysis.offline_analysis(page, UTC)


@pytest.mark.parametrize(
    ("start", "end", "minutes", "utc"),
    [
        ("1:50:00", "2:30:00", 40, ("2026-10-24T23:50:00Z", "2026-10-25T00:30:00Z")),
        ("1:50:00", "2:30:00", 100, ("2026-10-24T23:50:00Z", "2026-10-25T01:30:00Z")),
        ("2:40:00", "2:10:00", 30, ("2026-10-25T00:40:00Z", "2026-10-25T01:10:00Z")),
        ("2:40:00", "2:10:00", None, ("2026-10-25T00:40:00Z", "2026-10-25T01:10:00Z")),
        ("2:40:00", "3:10:00", 30, ("2026-10-25T01:40:00Z", "2026-10-25T02:10:00Z")),
        ("2:40:00", "3:10:00", 90, ("2026-10-25T00:40:00Z", "2026-10-25T02:10:00Z")),
        ("2:00:00", "2:59:59", 59, ("2026-10-25T00:00:00Z", "2026-10-25T00:59:59Z")),
    ],
)
def test_the_duration_of_a_gap_tells_which_of_two_equal_hours_is_meant(
    start: str, end: str, minutes: int | None, utc: tuple[str, str]
) -> None:
    gap = {"startTime": f"2026/10/25 {start}", "endTime": f"2026/10/25 {end}", "duration": minutes}
    found = analysis.offline_analysis({"list": [gap]}, ZoneInfo("Europe/Berlin"))
    assert [(one["start"], one["end"]) for one in found.result["gaps"]] == [utc]
