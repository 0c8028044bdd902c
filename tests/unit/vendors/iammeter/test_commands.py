"""Commands: what is refused before it costs anything, what is asked, what comes of it (section 7.3, METRICS 4)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from bridge.domain.command import ACK_CODES, Status
from bridge.domain.errors import LostAnswer, RateLimited, Refused, Rejection
from bridge.domain.observation import Availability, Event, Origin, Reading
from bridge.pace.limits import Lane
from tests.unit.vendors.iammeter.bench import NOTHING, NOW, SN, SN2, Account, bad, data, good, latest, raw

KNOWN = {"utc_offset_minutes": 60}
PAST = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-01T12:00:00Z"}


def record(gmt: str, local: str) -> dict[str, Any]:
    return {"rtcTime": local, "gmtTime": gmt, "values": [[233, 1, 111, 0.66, 5724.85, 0]]}


def days(*utc_hours: tuple[int, int]) -> dict[str, Any]:
    return good(
        [record(f"2026/3/{day} {hour}:00:20", f"2026/3/{day} {hour + 1}:00:20") for day, hour in utc_hours]
    )


def test_every_command_only_reads(account: Account) -> None:
    specs = [*account.adapter.commands(account.device()).values(), *account.adapter.commands(None).values()]
    assert {spec.name for spec in specs} == {
        "read", "history", "power_analysis", "offline_analysis", "refresh_inventory",
    }  # fmt: skip
    assert all(spec.idempotent and not (spec.writes or spec.needs_id or spec.dangerous) for spec in specs)
    assert account.adapter.push is None


def test_reading_is_repeated_after_a_lost_answer_and_an_analysis_is_not(account: Account) -> None:
    meter = account.adapter.commands(account.device())
    for name, again, end in (
        ("read", 2, Status.TIMED_OUT),
        ("history", 2, Status.TIMED_OUT),
        ("power_analysis", 0, Status.FAILED),
        ("offline_analysis", 0, Status.FAILED),
    ):
        after = meter[name].after_loss(None)
        assert (after.send_again, after.otherwise) == (again, end)


async def test_a_read_gives_the_sample_of_a_command(account: Account) -> None:
    account.admit("read")
    account.cloud.will(latest())
    outcome = await account.run("read")
    reading, alive, described = outcome.observations
    assert (outcome.status, outcome.result) == (Status.SUCCEEDED, None)
    assert (reading.origin, alive.online, described.device.native_id) == (Origin.COMMAND, True, SN)
    assert await account.adapter.probe(account.order("read")) is None


async def test_a_read_without_a_free_slot_is_rejected_with_the_time_of_the_next(account: Account) -> None:
    account.cloud.will(*[latest()] * 12)
    for _ in range(12):
        await account.run("read")
    account.clock.seconds = 10.5
    with pytest.raises(Rejection, match="2026-03-04T13:00:00") as caught:
        account.admit("read")
    assert caught.value.code == "rate_limited"
    with pytest.raises(RateLimited) as late:
        await account.run("read")
    assert late.value.retry_after_s == 3589.5
    assert len(account.cloud.requests) == 12
    account.admit("read", device=account.device("OTHER123"))


async def test_a_read_of_a_meter_without_data_says_so(account: Account) -> None:
    account.cloud.will(raw("meterdata__no_data_yet"))
    outcome = await account.run("read")
    assert (outcome.status, outcome.code) == (Status.FAILED, "device_offline")
    assert [type(one) for one in outcome.observations] == [Availability]


async def test_a_read_of_an_unknown_meter_is_refused(account: Account) -> None:
    account.cloud.will(bad("SN not found"))
    with pytest.raises(Refused) as caught:
        await account.run("read")
    assert caught.value.code == "unknown_device"
    assert caught.value.code in ACK_CODES


async def test_the_inventory_is_read_anew_by_command(account: Account) -> None:
    account.admit("refresh_inventory", device=None)
    account.cloud.will(raw("sitelist"))
    outcome = await account.run("refresh_inventory", device=None)
    assert (outcome.status, outcome.result) == (Status.SUCCEEDED, {"devices": 2})
    assert len(outcome.inventory or ()) == 2


async def test_an_inventory_by_command_counts_the_devices_that_are_wanted(
    make: Callable[..., Account],
) -> None:
    account = make(devices=[SN])
    account.cloud.will(raw("sitelist"))
    assert (await account.run("refresh_inventory", device=None)).result == {"devices": 1}


async def test_an_inventory_without_a_free_slot_is_rejected(account: Account) -> None:
    account.cloud.will(*[raw("sitelist")] * 12)
    for _ in range(12):
        await account.run("refresh_inventory", device=None)
    with pytest.raises(Rejection) as caught:
        account.admit("refresh_inventory", device=None)
    assert caught.value.code == "rate_limited"


# analyses -----------------------------------------------------------------------------------------------------------


async def test_the_power_analysis_of_the_last_seven_days_needs_no_dates(account: Account) -> None:
    account.admit("power_analysis")
    account.cloud.will(raw("poweranalysis"))
    outcome = await account.run("power_analysis")
    assert outcome.result["power_avg"] == data("poweranalysis")["average"]
    assert account.cloud.paths == [f"/site/powerAnalysis?sn={SN}"]


@pytest.mark.parametrize(
    ("params", "asked"),
    [
        ({"start": "2026-02-21", "end": "2026-02-21"}, ("2026-02-21", "2026-02-21")),
        ({"start": "2026-02-21"}, ("2026-02-21", "2026-02-27")),
        ({"start": "2026-03-02"}, ("2026-03-02", "2026-03-04")),
        ({"end": "2026-02-27"}, ("2026-02-21", "2026-02-27")),
        ({"start": "2026-02-20T23:30:00Z", "end": "2026-02-22T22:59:59Z"}, ("2026-02-21", "2026-02-22")),
        ({"start": "2026-02-21 10:00:00", "end": "2026-02-22"}, ("2026-02-21", "2026-02-22")),
    ],
)
async def test_an_analysis_is_asked_for_by_days_of_the_site(
    account: Account, params: dict[str, Any], asked: tuple[str, str]
) -> None:
    device = account.device(vendor_info=KNOWN)
    account.admit("power_analysis", params, device=device)
    account.cloud.will(good({"average": 1}))
    outcome = await account.run("power_analysis", params, device=device)
    assert account.cloud.paths == [f"/site/powerAnalysis?sn={SN}&startTime={asked[0]}&endTime={asked[1]}"]
    assert outcome.result == {"window_start": asked[0], "window_end": asked[1], "power_avg": 1}


@pytest.mark.parametrize("name", ["power_analysis", "offline_analysis"])
@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"start": "2026-03-02", "end": "2026-03-01"}, "after start"),
        ({"start": "2026-02-20", "end": "2026-02-27"}, "at most 7 days"),
        ({"start": "2026-03-04", "end": "2026-03-05"}, "not come yet"),
        ({"start": "2026-01-31", "end": "2026-02-01"}, "latest month"),
        ({"start": "2026-03-06"}, "not come yet"),
        ({"start": "9999-12-31"}, "start: .*not come yet"),
        ({"start": "9999-12-31T23:59:59Z"}, "start: "),
        ({"end": "0001-01-01"}, "end: .*latest month"),
        ({"end": "0001-01-01T00:00:00Z"}, "end: "),
        ({"end": "2026-02-03"}, "end: .*latest month"),
    ],
)
def test_an_analysis_out_of_bounds_is_rejected_before_it_costs_one_of_five(
    account: Account, name: str, params: dict[str, Any], words: str
) -> None:
    with pytest.raises(Rejection, match=words) as caught:
        account.admit(name, params, device=account.device(vendor_info=KNOWN))
    assert caught.value.code == "invalid_params"


@pytest.mark.parametrize(
    "params",
    [{"start": "yesterday"}, {"end": "2026-02-30"}, {"interval_min": 0}, {"interval_min": 1.5}, {"days": 7}],
)
def test_parameters_of_the_wrong_kind_are_refused(account: Account, params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        account.order("offline_analysis", params)


async def test_the_sixth_analysis_of_a_day_is_rejected_per_meter_and_kind(account: Account) -> None:
    account.cloud.will(*[raw("poweranalysis")] * 5)
    for _ in range(5):
        account.admit("power_analysis")
        await account.run("power_analysis")
    with pytest.raises(Rejection, match="2026-03-05T12:00:00Z") as caught:
        account.admit("power_analysis")
    assert caught.value.code == "rate_limited"
    account.admit("offline_analysis")
    account.admit("power_analysis", device=account.device("OTHER123"))


async def test_an_analysis_answered_with_nothing_is_left_alone_for_a_day(account: Account) -> None:
    account.cloud.will(NOTHING)
    with pytest.raises(RateLimited) as caught:
        await account.run("power_analysis")
    assert caught.value.retry_after_s == 86400
    account.clock.seconds = 86399
    with pytest.raises(Rejection):
        account.admit("power_analysis")


@pytest.mark.parametrize("command", ["power_analysis", "offline_analysis", "history", "read"])
async def test_a_forbidden_end_point_does_not_stop_the_reading_of_the_account(
    account: Account, command: str
) -> None:
    account.cloud.will(httpx.Response(403))
    device = account.device(vendor_info=KNOWN)
    with pytest.raises(Refused, match="403") as caught:
        await account.run(command, PAST if command == "history" else {}, device=device)
    assert caught.value.code == "auth_failed"


async def test_the_offline_analysis_gives_gaps_as_result_and_as_events(account: Account) -> None:
    device = account.device(vendor_info={"utc_offset_minutes": 480})
    account.cloud.will(raw("offlineanalysis"))
    outcome = await account.run("offline_analysis", {"interval_min": 10}, device=device)
    start, end = "2023-09-04T16:00:00Z", "2023-09-05T07:06:14Z"
    gap = {"start": start, "end": end, "duration_minutes": 906}
    assert account.cloud.paths == [f"/site/offlineAnalysis?sn={SN}&interval=10"]
    assert outcome.result["gaps"] == [gap]
    happened_at = datetime(2023, 9, 4, 16, tzinfo=UTC)
    assert list(outcome.observations) == [
        Event(SN, "offline_gap", NOW, Origin.COMMAND, happened_at=happened_at, data=gap)
    ]


async def test_the_offset_of_the_site_is_read_where_it_is_not_known(account: Account) -> None:
    account.cloud.will(latest(local="2026/3/4 19:59:30"), raw("offlineanalysis"), raw("offlineanalysis"))
    first = await account.run("offline_analysis")
    await account.run("offline_analysis")
    assert first.result["gaps"][0]["start"] == "2023-09-04T16:00:00Z"
    assert [path.split("?")[0] for path in account.cloud.paths] == [
        f"/site/meterdata2/{SN}", "/site/offlineAnalysis", "/site/offlineAnalysis",
    ]  # fmt: skip


async def test_a_meter_without_data_has_the_offset_of_its_site(account: Account) -> None:
    account.cloud.will(raw("sitelist"), latest(local="2026/3/4 19:59:30"), raw("offlineanalysis"))
    await account.adapter.inventory()
    await account.run("read", device=account.device(SN))
    outcome = await account.run("offline_analysis", device=account.device(SN2))
    assert outcome.result["gaps"][0]["start"] == "2023-09-04T16:00:00Z"
    assert account.cloud.paths[-1].startswith(f"/site/offlineAnalysis?sn={SN2}")


async def test_the_accounts_time_zone_wins(make: Callable[..., Account]) -> None:
    account = make(timezone="Europe/Berlin")
    account.cloud.will(raw("offlineanalysis"))
    outcome = await account.run("offline_analysis", device=account.device(vendor_info=KNOWN))
    assert outcome.result["gaps"][0]["start"] == "2023-09-04T22:00:00Z"


async def test_an_analysis_in_an_unknown_zone_is_not_spent(account: Account) -> None:
    account.cloud.will(raw("meterdata__no_data_yet"))
    with pytest.raises(Refused, match="timezone"):
        await account.run("offline_analysis")
    assert account.gate.wait_s([("offline_analysis", SN)], Lane.COMMAND) == 0


async def test_unknown_keys_of_an_analysis_are_logged_once(account: Account) -> None:
    account.cloud.will(good({"average": 1, "median": 2}), good({"average": 1, "median": 2}))
    await account.run("power_analysis")
    await account.run("power_analysis")
    assert sum("analysis.unknown_keys" in line for line in account.log.lines) == 1


# history ------------------------------------------------------------------------------------------------------------


async def test_a_history_is_trimmed_ordered_and_counted(account: Account) -> None:
    device = account.device(vendor_info=KNOWN)
    account.admit("history", PAST, device=device)
    account.cloud.will(days((1, 13), (1, 12), (1, 11), (1, 0), (1, 11)))
    outcome = await account.run("history", PAST, device=device)
    assert account.cloud.paths == [
        f"/site/meterdatalist2/{SN}?startTime=2026-03-01&endTime=2026-03-01&interval=300"
    ]
    assert outcome.result == {"records": 2}
    assert [(one.observed_at.hour, one.origin) for one in outcome.observations] == [
        (0, Origin.BACKFILL),
        (11, Origin.BACKFILL),
    ]


async def test_a_long_history_is_read_in_chunks_of_whole_days(account: Account) -> None:
    device = account.device(vendor_info=KNOWN)
    span = {"start": "2026-02-20T23:00:00Z", "end": "2026-03-04T23:00:00Z"}
    account.cloud.will(days((1, 1)), days((1, 1), (1, 2)), days())
    outcome = await account.run("history", span, device=device)
    assert [path.partition("?")[2] for path in account.cloud.paths] == [
        "startTime=2026-02-21&endTime=2026-02-26&interval=300",
        "startTime=2026-02-27&endTime=2026-03-04&interval=300",
    ]
    assert outcome.result == {"records": 2}


@pytest.mark.parametrize(
    ("now_min", "then_min", "span", "asked", "hours"),
    [
        (60, 120, ("2026-03-01T12:00:00Z", "2026-03-02T22:30:00Z"), [(1, 2), (3, 3)], [12, 22]),
        (120, 60, ("2026-03-01T22:30:00Z", "2026-03-02T12:00:00Z"), [(2, 2), (1, 1)], [22, 8]),
        (60, 60, ("2026-03-01T12:00:00Z", "2026-03-02T22:30:00Z"), [(1, 2)], [12]),
    ],
)
async def test_a_history_from_before_the_clocks_were_changed_has_no_hole(
    account: Account,
    now_min: int,
    then_min: int,
    span: tuple[str, str],
    asked: list[tuple[int, int]],
    hours: list[int],
) -> None:
    def page(utc: str) -> dict[str, Any]:
        local = datetime.fromisoformat(utc) + timedelta(minutes=then_min)
        return good([record(utc.replace("-", "/"), f"{local:%Y/%m/%d %H:%M:%S}")])

    device = account.device(vendor_info={"utc_offset_minutes": now_min})
    records = {1: "2026-03-01 22:45:20", 2: "2026-03-02 08:00:20", 3: "2026-03-02 22:15:20"}
    first = "2026-03-01 12:00:20" if hours[0] == 12 else records[2]
    account.cloud.will(*[page(first), page(records[asked[-1][0]])][: len(asked)])
    outcome = await account.run("history", {"start": span[0], "end": span[1]}, device=device)
    assert [path.partition("?")[2] for path in account.cloud.paths] == [
        f"startTime=2026-03-0{since}&endTime=2026-03-0{until}&interval=300" for since, until in asked
    ]
    assert sorted(one.observed_at.hour for one in outcome.observations) == sorted(hours)


async def test_a_day_that_has_left_the_latest_month_is_not_asked_for(account: Account) -> None:
    device = account.device(vendor_info={"utc_offset_minutes": 120})
    account.cloud.will(good([record("2026/2/1 8:00:20", "2026/2/1 9:00:20")]))
    await account.run(
        "history", {"start": "2026-01-31T22:30:00Z", "end": "2026-02-01T12:00:00Z"}, device=device
    )
    assert len(account.cloud.requests) == 1


async def test_a_cloud_without_named_times_is_asked_for_the_basic_history(account: Account) -> None:
    device = account.device(vendor_info={"utc_offset_minutes": 600})
    row = [230, 1, 172, 13121, 0]
    page = good([[*row, "2026/3/1 15:00:34", "2026/3/1 5:00:34"]])
    account.cloud.will(httpx.Response(404), page, good([]))
    span = PAST | {"interval_s": 60}
    outcome = await account.run("history", span, device=device)
    assert [path.split("?")[0] for path in account.cloud.paths] == [
        f"/site/meterdatalist2/{SN}", f"/site/meterdatalist/{SN}",
    ]  # fmt: skip
    assert [one.observed_at.hour for one in outcome.observations] == [5]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"start": "2026-03-02T00:00:00Z", "end": "2026-03-01T00:00:00Z"}, "after start"),
        ({"start": "2026-01-20", "end": "2026-03-01"}, "latest 31 days"),
        ({"start": "2026-03-05", "end": "2026-03-06"}, "not come yet"),
    ],
)
def test_a_history_out_of_bounds_is_rejected(account: Account, params: dict[str, Any], words: str) -> None:
    with pytest.raises(Rejection, match=words) as caught:
        account.admit("history", params, device=account.device(vendor_info=KNOWN))
    assert caught.value.code == "invalid_params"


@pytest.mark.parametrize("interval_s", [30, 90, 86460])
def test_the_interval_of_a_history_is_a_multiple_of_a_minute(account: Account, interval_s: int) -> None:
    with pytest.raises(ValidationError):
        account.order("history", PAST | {"interval_s": interval_s})


async def test_a_limit_that_is_used_up_stops_a_history_at_a_place_to_go_on_from(account: Account) -> None:
    device = account.device(vendor_info=KNOWN)
    order = account.order("history", {"start": "2026-02-21", "end": "2026-03-04"}, device=device)
    account.cloud.will(days((1, 1)), NOTHING)
    past = account.adapter.history
    period = past.period(order)
    reading = past.read(device, period, None)
    steps = [await anext(reading)]
    with pytest.raises(RateLimited):
        await anext(reading)
    assert [(one.done, one.total, len(one.observations)) for one in steps] == [(1, 2, 1)]
    account.cloud.will(days((1, 1)))
    (rest,) = [step async for step in past.read(device, period, steps[0].cursor)]
    assert account.cloud.paths[-1].endswith("?startTime=2026-02-27&endTime=2026-03-04&interval=300")
    assert (rest.done, rest.total, rest.complete_until) == (2, 2, period.end)
    assert [step async for step in past.read(device, period, rest.cursor)] == []


async def test_that_only_the_basic_history_is_there_is_remembered_before_it_is_asked(
    make: Callable[..., Account],
) -> None:
    account, restarted = make(), make()
    device = account.device(vendor_info={"utc_offset_minutes": 600})
    account.cloud.will(httpx.Response(404), NOTHING)
    past = account.adapter.history
    period = past.period(account.order("history", PAST, device=device))
    reading = past.read(device, period, None)
    steps = [await anext(reading)]
    with pytest.raises(RateLimited):
        await anext(reading)
    restarted.cloud.will(good([]))
    assert len([step async for step in restarted.adapter.history.read(device, period, steps[0].cursor)]) == 1
    assert [path.split("?")[0] for path in restarted.cloud.paths] == [f"/site/meterdatalist/{SN}"]


async def test_a_lost_chunk_is_a_lost_answer(account: Account) -> None:
    account.cloud.will(httpx.ReadTimeout("x"))
    with pytest.raises(LostAnswer):
        await account.run("history", PAST, device=account.device(vendor_info=KNOWN))


async def test_the_history_of_a_site_is_its_energy_balance(make: Callable[..., Account]) -> None:
    account = make(site_history=True, timezone="UTC")
    site = account.site()
    params = {"start": "2026-02-24T10:00:00Z", "end": "2026-02-24T11:00:00Z", "interval_s": 3600}
    account.admit("history", params, device=site)
    account.cloud.will(raw("energyhistory__hour"))
    outcome = await account.run("history", params, device=site)
    assert outcome.result == {"records": 1}
    (reading,) = outcome.observations
    assert isinstance(reading, Reading)
    assert (reading.device, reading.metrics["special_load_energy_interval"]) == ("12345", 0)
    account.cloud.will(good([]), good([]))
    daily = {"start": "2025-11-01", "end": "2026-02-24", "interval_s": 86400}
    assert (await account.run("history", daily, device=site)).result == {"records": 0}
    assert [path.partition("?")[2] for path in account.cloud.paths] == [
        "startTime=2026-02-24&endTime=2026-02-24&groupby=hour",
        "startTime=2025-11-01&endTime=2026-01-29&groupby=day",
        "startTime=2026-01-30&endTime=2026-02-24&groupby=day",
    ]


async def test_the_history_of_a_site_needs_its_time_zone(make: Callable[..., Account]) -> None:
    account = make(site_history=True)
    params = {"start": "2026-02-24", "end": "2026-02-24"}
    with pytest.raises(Refused, match="timezone"):
        await account.run("history", params, device=account.site())


# previews -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "params", "path"),
    [
        ("read", {}, f"/site/meterdata2/{SN}"),
        ("power_analysis", {}, f"/site/powerAnalysis?sn={SN}"),
        ("offline_analysis", {"start": "2026-03-01", "end": "2026-03-02"},
         f"/site/offlineAnalysis?sn={SN}&startTime=2026-03-01&endTime=2026-03-02&interval=5"),
        ("history", PAST, f"/site/meterdatalist2/{SN}?startTime=2026-03-01&endTime=2026-03-01&interval=300"),
    ],
)  # fmt: skip
def test_a_preview_shows_the_request_with_the_token_masked(
    make: Callable[..., Account], command: str, params: dict[str, Any], path: str
) -> None:
    account = make(token_in="query")
    preview = account.adapter.preview(account.order(command, params))
    mark = "&" if "?" in path else "?"
    assert preview.url == f"https://cloud.example.invalid/api/v1{path}{mark}token=***"
    assert (preview.method, dict(preview.headers), preview.body) == ("GET", {}, None)
    assert account.cloud.requests == []


def test_a_preview_tells_how_many_requests_there_will_be(account: Account) -> None:
    span = {"start": "2026-02-21", "end": "2026-03-04"}
    device = account.device(vendor_info=KNOWN)
    assert account.adapter.preview(account.order("history", span, device=device)).explain == {"requests": 2}
    site = account.adapter.preview(account.order("history", span, device=account.site()))
    assert site.url.endswith("/site/energyhistory/12345?startTime=2026-02-21&endTime=2026-02-27&groupby=hour")
    listed = account.adapter.preview(account.order("refresh_inventory", device=None))
    assert (listed.url, listed.explain) == ("https://cloud.example.invalid/api/v1/user/sitelist", None)


def test_the_latest_month_ends_today(account: Account) -> None:
    device = account.device(vendor_info=KNOWN)
    oldest = (NOW - timedelta(days=31)).date().isoformat()
    account.admit("history", {"start": oldest, "end": "2026-03-04"}, device=device)
    account.admit("power_analysis", {"start": oldest}, device=device)
    before = (NOW - timedelta(days=32)).date().isoformat()
    with pytest.raises(Rejection, match="latest month"):
        account.admit("power_analysis", {"start": before}, device=device)
