"""`history`: windows, cursors, pages, spans (page 4.7, 4.8, 4.12)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from bridge.domain.command import Status
from bridge.domain.errors import Rejection
from bridge.domain.observation import Origin
from bridge.domain.times import rfc3339
from bridge.pace.limits import Lane
from bridge.vendors.saj.past import windows
from tests.unit.vendors.saj.bench import DEVICE_ID, INVERTER, PLANT, PLANT_DEVICE, Account, body, good

DATA, POWER, ENERGY = "device/inverter/data", "plant/power", "plant/energy"


def page(*times: str, cursor: Any = 0) -> dict[str, Any]:
    return good({"next_page_start_id": cursor, "datas": [{"power": 1, "time": at} for at in times]})


def times(outcome: Any) -> list[str]:
    return [rfc3339(one.observed_at) for one in outcome.observations]


def test_windows_overlap_by_a_day_and_are_six_days_long() -> None:
    found = list(windows(date(2017, 5, 1), date(2017, 5, 14)))
    assert [(start.day, end.day) for start, end in found] == [(1, 7), (7, 13), (13, 14)]
    assert list(windows(date(2017, 5, 1), date(2017, 5, 1))) == [(date(2017, 5, 1), date(2017, 5, 1))]


async def test_the_cursor_is_followed_until_it_repeats(account: Account) -> None:
    account.cloud.will(DATA, body("history_first"), body("history_last"))
    given = {"start": "2015-12-08T00:00:00Z", "end": "2015-12-08T12:00:00Z"}
    outcome = await account.run("history", given, INVERTER)
    assert (outcome.status, outcome.result) == (Status.SUCCEEDED, {"records": 2})
    assert times(outcome) == ["2015-12-08T11:00:00Z", "2015-12-08T11:05:00Z"]
    assert {one.origin for one in outcome.observations} == {Origin.BACKFILL}
    first, second = account.cloud.asked(DATA)
    assert first == {
        "device_id": DEVICE_ID, "start_date": "2015-12-08", "end_date": "2015-12-08", "perpage": "1000",
    }  # fmt: skip
    assert second == {**first, "start_id": "1000101_12313"}
    assert {lane for _, lane in account.gate.calls} == {Lane.HISTORY}


@pytest.mark.parametrize("cursor", [None, "", 0, "0"])
async def test_no_cursor_ends_the_pages(account: Account, cursor: Any) -> None:
    account.cloud.will(DATA, page("2017-06-01T03:00:00Z", cursor=cursor))
    given = {"start": "2017-06-01T00:00:00Z", "end": "2017-06-01T12:00:00Z"}
    assert (await account.run("history", given, INVERTER)).result == {"records": 1}


async def test_an_empty_page_ends_the_pages_and_a_short_one_does_not(account: Account) -> None:
    account.cloud.will(DATA, page("2017-06-01T03:00:00Z", cursor="a_1"), page(cursor="a_2"))
    given = {"start": "2017-06-01T00:00:00Z", "end": "2017-06-01T12:00:00Z"}
    assert (await account.run("history", given, INVERTER)).result == {"records": 1}


async def test_long_spans_are_cut_and_records_counted_once(account: Account) -> None:
    account.cloud.will(
        DATA,
        page("2017-05-03T03:00:00Z", "2017-05-07T03:00:00Z", "2017-04-30T23:00:00Z"),
        page("2017-05-07T03:00:00Z", "2017-05-09T00:00:00Z", "2017-05-08T03:00:00Z"),
    )
    given = {"start": "2017-05-01T00:00:00Z", "end": "2017-05-09T00:00:00Z", "interval_s": 300}
    outcome = await account.run("history", given, INVERTER)
    assert times(outcome) == ["2017-05-03T03:00:00Z", "2017-05-07T03:00:00Z", "2017-05-08T03:00:00Z"]
    spans = [(asked["start_date"], asked["end_date"]) for asked in account.cloud.asked(DATA)]
    assert spans == [("2017-05-01", "2017-05-07"), ("2017-05-07", "2017-05-09")]


async def test_local_times_are_those_of_the_plant(account: Account) -> None:
    account.cloud.will(DATA, page("2017-05-31T16:00:00Z", "2017-06-01T04:00:00Z"))
    given = {"start": "2017-06-01", "end": "2017-06-01 12:00:00"}
    outcome = await account.run("history", given, INVERTER)
    assert times(outcome) == ["2017-05-31T16:00:00Z"]
    assert account.cloud.asked(DATA)[0]["start_date"] == "2017-05-31"


async def test_a_plant_has_its_curve_and_its_daily_yields(account: Account) -> None:
    curve = [
        {"time": "2017-06-01T03:00:00Z", "power": 323.12},
        {"time": "2017-06-01T03:05:00Z", "power": None},
    ]
    account.cloud.will(POWER, good({"powers": []}), good({"powers": curve}), good({"powers": []}))
    days = [{"date": f"2017-06-0{day}", "energy": day} for day in (1, 2)]
    account.cloud.will(ENERGY, good({"count": 2, "time_unit": "day", "energys": days}))
    given = {"start": "2017-06-01", "end": "2017-06-03"}
    outcome = await account.run("history", given, PLANT_DEVICE)
    assert outcome.result == {"records": 3}
    assert [dict(one.metrics) for one in outcome.observations] == [
        {"yield_interval": 1}, {"active_power": Decimal("323.12")}, {"yield_interval": 2},
    ]  # fmt: skip
    assert times(outcome)[0] == "2017-05-31T16:00:00Z"
    assert outcome.observations[0].extra == {"time_unit": "day"}
    assert [asked["date"] for asked in account.cloud.asked(POWER)] == [
        "2017-05-31",
        "2017-06-01",
        "2017-06-02",
    ]
    assert account.cloud.asked(ENERGY) == [
        {"plant_id": PLANT, "start_date": "2017-06-01", "end_date": "2017-06-02", "time_unit": "day",
         "page": "1", "perpage": "100"}
    ]  # fmt: skip


async def test_what_lies_in_the_future_is_not_asked_for(account: Account) -> None:
    account.cloud.will(POWER, good({}))
    given = {"start": "2017-06-07T00:00:00Z", "end": "2017-12-31T00:00:00Z"}
    outcome = await account.run("history", given, PLANT_DEVICE)
    assert outcome.result == {"records": 0}
    assert [asked["date"] for asked in account.cloud.asked(POWER)] == ["2017-06-07"]
    given = {"start": "2017-12-01T00:00:00Z", "end": "2017-12-31T00:00:00Z"}
    with pytest.raises(Rejection, match="not come yet"):
        await account.run("history", given, INVERTER)


async def test_all_pages_of_daily_yields_are_read(account: Account) -> None:
    rows = [{"date": f"2017-0{1 + number // 28}-{1 + number % 28:02d}", "energy": 1} for number in range(120)]
    account.cloud.rules[POWER] = lambda _request: good({})
    account.cloud.will(
        ENERGY, good({"count": 120, "energys": rows[:100]}), good({"count": 120, "energys": rows[100:]})
    )
    months = [{"date": f"2017-0{month}", "energy": 28} for month in range(1, 6)]
    account.cloud.will(ENERGY, good({"count": 5, "time_unit": "month", "energys": months}))
    outcome = await account.run("history", {"start": "2017-01-01", "end": "2017-06-01"}, PLANT_DEVICE)
    assert outcome.result == {"records": 125}
    monthly = [one for one in outcome.observations if one.extra == {"time_unit": "month"}]
    assert [one.metrics["yield_interval"] for one in monthly] == [28] * 5
    assert [asked["time_unit"] for asked in account.cloud.asked(ENERGY)] == ["day", "day", "month"]
    assert times(outcome) == sorted(times(outcome))


async def test_months_and_years_are_told_once_they_are_over(account: Account) -> None:
    account.cloud.rules[POWER] = lambda _request: good({})
    account.cloud.will(ENERGY, good({"energys": [{"date": "2016-05-01", "energy": 1}]}))
    account.cloud.will(
        ENERGY, good({"energys": [{"date": "2016-06", "energy": 30}, {"date": "2017-06", "energy": 7}]})
    )
    outcome = await account.run("history", {"start": "2016-06-07", "end": "2017-06-07"}, PLANT_DEVICE)
    assert [asked["time_unit"] for asked in account.cloud.asked(ENERGY)] == ["day", "month"]
    assert outcome.result == {"records": 0}
    account.cloud.requests.clear()
    account.cloud.will(ENERGY, good({}), good({}), good({"energys": [{"date": "2016", "energy": 365}]}))
    outcome = await account.run("history", {"start": "2016-01-01", "end": "2017-01-01"}, PLANT_DEVICE)
    assert [asked["time_unit"] for asked in account.cloud.asked(ENERGY)] == ["day", "month", "year"]
    assert [(dict(one.metrics), one.extra) for one in outcome.observations] == [
        ({"yield_interval": 365}, {"time_unit": "year"})
    ]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2017-06-02", "2017-06-01"),
        ("2017-06-02T00:00:00Z", "2017-06-02T00:00:00Z"),
        ("2015-01-01", "2017-06-01"),
    ],
)
async def test_a_span_without_sense_is_rejected_before_it_is_accepted(
    account: Account, start: str, end: str
) -> None:
    order = account.order("history", {"start": start, "end": end}, INVERTER)
    check = order.spec.check
    assert check is not None
    with pytest.raises(Rejection) as raised:
        check(order)
    assert raised.value.code == "invalid_params"


@pytest.mark.parametrize(
    "wrong", [{"start": "x"}, {"start": "2017-06-01T00:00:00"}, {"interval_s": 61}, {"x": 1}]
)
def test_parameters_of_another_kind_are_refused(account: Account, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        account.order("history", {"start": "2017-06-01", "end": "2017-06-02"} | wrong, INVERTER)
