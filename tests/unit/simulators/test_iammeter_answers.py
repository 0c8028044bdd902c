"""The simulated cloud's answers have the shapes of the vendor page (section 4) and its refusals (sections 2, 3, 5)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bridge.simulators.faults import Fault
from tests.unit.simulators.iammeter_bench import GRID, INVERTER, WORKSHOP, IammeterBench

TIME = re.compile(r"\d{4}/\d{1,2}/\d{1,2} \d{1,2}:\d{2}:\d{2}\Z")
DAYS = {"startTime": "2026-03-01", "endTime": "2026-03-02"}


@pytest.fixture
def cloud() -> IammeterBench:
    return IammeterBench()


async def test_latest_data_are_rows_of_five_or_six_with_two_times(cloud: IammeterBench) -> None:
    for path, length in (("site/meterdata", 5), ("site/meterdata2", 6)):
        data = await cloud.data(f"{path}/{GRID}")
        assert [len(row) for row in data["values"]] == [length]
        assert TIME.match(data["gmtTime"])
        assert data["gmtTime"].startswith("2026/3/4 10:59:")
        assert data["localTime"].startswith("2026/3/4 11:59:")
    basic = (await cloud.data(f"site/meterdata/{GRID}"))["values"][0]
    advanced = (await cloud.data(f"site/meterdata2/{GRID}"))["values"][0]
    assert [*advanced[:3], *advanced[4:]] == basic
    assert 0 <= advanced[3] <= 1


async def test_a_workshop_has_three_phases_and_the_net_row(cloud: IammeterBench) -> None:
    values = (await cloud.data(f"site/meterdata/{WORKSHOP}"))["values"]
    assert len(values) == 4
    assert round(sum(row[2] for row in values[:3]), 1) == values[3][2]
    assert values[2][1:] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "length"),
    [({"seven": True}, 7), ({"extra": 2}, 7), ({"short": True}, 4), ({"nulls": True}, 5)],
)
async def test_rows_can_be_as_odd_as_the_page_says(
    cloud: IammeterBench, options: dict[str, Any], length: int
) -> None:
    cloud.cloud.meter(GRID).configure(**options)
    (row,) = (await cloud.data(f"site/meterdata/{GRID}"))["values"]
    assert len(row) == length
    assert (row[2] is None) is ("nulls" in options)


async def test_all_meters_come_in_one_answer_flat_or_empty(cloud: IammeterBench) -> None:
    cloud.cloud.meter(GRID).configure(flat=True)
    cloud.cloud.meter(INVERTER).configure(no_data=True)
    first, second, third = await cloud.data("site/metersdata")
    assert (first["sn"], len(first["values"]), set(first)) == (GRID, 5, {"sn", "values", "gmtTime"})
    assert second == {"sn": INVERTER, "values": None, "gmtTime": None}
    assert len(third["values"]) == 4
    empty = await cloud.data(f"site/meterdata/{INVERTER}")
    assert empty == {"values": [], "localTime": None, "gmtTime": None}


async def test_the_site_list_has_sites_and_meters(cloud: IammeterBench) -> None:
    first, second = await cloud.data("user/sitelist")
    assert (first["id"], first["name"]) == (12345, "Demo site")
    assert first["meters"] == [{"name": "Grid meter", "sn": GRID}, {"name": "Inverter meter", "sn": INVERTER}]
    assert [meter["sn"] for meter in second["meters"]] == [WORKSHOP]


async def test_histories_are_local_days_with_the_local_time_first(cloud: IammeterBench) -> None:
    flat = await cloud.data(f"site/meterdatalist/{GRID}", interval="300", **DAYS)
    assert (len(flat), {len(record) for record in flat}) == (576, {7})
    assert flat[0][5].startswith("2026/3/1 0:00:")
    assert flat[0][6].startswith("2026/2/28 23:00:")
    three = await cloud.data(f"site/meterdatalist/{WORKSHOP}", interval="3600", **DAYS)
    assert {len(record) for record in three} == {17}
    named = await cloud.data(f"site/meterdatalist2/{GRID}", interval="86400", **DAYS)
    assert [set(record) for record in named] == [{"rtcTime", "gmtTime", "values"}] * 2


async def test_a_history_of_today_ends_now(cloud: IammeterBench) -> None:
    today = {"startTime": "2026-03-04", "endTime": "2026-03-04"}
    records = await cloud.data(f"site/meterdatalist/{GRID}", interval="60", **today)
    assert len(records) == 12 * 60


async def test_an_analysis_covers_the_last_seven_days_unless_told(cloud: IammeterBench) -> None:
    power = await cloud.data("site/powerAnalysis", sn=GRID)
    assert (power["startTime"], power["endTime"]) == ("2026-02-26", "2026-03-04")
    assert power["min"] < power["average"] < power["max"]
    one_day = await cloud.data("site/offlineAnalysis", sn=GRID, startTime="2026-03-02", endTime="2026-03-02")
    assert (one_day["offlineCount"], one_day["totalCount"], one_day["list"]) == (0, 1440, [])
    cloud.cloud.spelling = "short"
    other = await cloud.data("site/powerAnalysis", sn=GRID)
    assert (other["avg"], other["maximum"]) == (power["average"], power["max"])


async def test_gaps_are_told_in_local_time_with_whole_minutes(cloud: IammeterBench) -> None:
    meter = cloud.cloud.meter(GRID)
    meter.go_offline(cloud.time.now() - 1000)
    meter.go_online(cloud.time.now() - 100)
    found = await cloud.data("site/offlineAnalysis", sn=GRID, interval="10")
    assert found["offlineCount"] == 15
    assert found["list"] == [
        {"startTime": "2026/3/4 11:43:20", "endTime": "2026/3/4 11:58:20", "duration": 15}
    ]
    assert (await cloud.data("site/offlineAnalysis", sn=GRID, interval="15"))["list"] == []


async def test_the_energy_balance_adds_up(cloud: IammeterBench) -> None:
    hours = await cloud.data("site/energyhistory/12345", groupby="hour", **DAYS)
    days = await cloud.data("site/energyhistory/12345", groupby="day", **DAYS)
    assert (len(hours), [day["time"] for day in days]) == (48, ["2026-03-01", "2026-03-02"])
    for key in ("yield", "fromGrid", "toGrid", "selfUse"):
        assert abs(sum(hour[key] for hour in hours) - sum(day[key] for day in days)) < 0.1
    assert all(abs(day["yield"] - day["toGrid"] - day["selfUse"]) < 0.002 for day in days)


async def test_paths_and_query_names_know_no_case(cloud: IammeterBench) -> None:
    assert await cloud.data("Site/PowerAnalysis", SN=GRID, STARTTIME="2026-03-01", endtime="2026-03-01")
    assert await cloud.data(f"SITE/MeterDataList/{GRID}", Interval="300", **DAYS)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("site/meterdata/UNKNOWN1", {}),
        (f"site/meterdata/{GRID}", {"interval": "5"}),
        (f"site/meterdatalist/{GRID}", DAYS),
        (f"site/meterdatalist/{GRID}", {**DAYS, "interval": "90"}),
        (f"site/meterdatalist/{GRID}", {**DAYS, "interval": "60"}),
        (f"site/meterdatalist/{GRID}", {"interval": "300", "startTime": "2026-3-1", "endTime": "2026-03-02"}),
        (
            f"site/meterdatalist/{GRID}",
            {"interval": "300", "startTime": "2026-01-01", "endTime": "2026-01-02"},
        ),
        ("site/powerAnalysis", {"sn": GRID, "startTime": "2026-02-24", "endTime": "2026-03-03"}),
        ("site/powerAnalysis", {"sn": GRID, "startTime": "2026-03-03"}),
        ("site/powerAnalysis", {"sn": GRID, "startTime": "2026-03-03", "endTime": "2026-03-05"}),
        ("site/powerAnalysis", {"sn": GRID, "startTime": "2026-03-03", "endTime": "2026-03-02"}),
        ("site/powerAnalysis", {}),
        ("site/energyhistory/99999", DAYS),
        ("site/energyhistory/12345", {}),
        ("site/energyhistory/12345", {**DAYS, "groupby": "week"}),
    ],
)
async def test_what_is_not_documented_is_refused(
    cloud: IammeterBench, path: str, query: dict[str, str]
) -> None:
    assert await cloud.refusal(path, **query)


async def test_a_parameter_given_twice_is_refused(cloud: IammeterBench) -> None:
    headers = {"token": "0" * 32}
    answer = await cloud.client.get(f"/api/v1/site/powerAnalysis?sn={GRID}&SN={GRID}", headers=headers)
    assert answer.json()["successful"] is False


@pytest.mark.parametrize(
    "path", ["site/meterdata", "site/metersdata/x", "site", "user/logout", "site/meterdata/a/b"]
)
async def test_paths_that_are_not_there_are_not_found(cloud: IammeterBench, path: str) -> None:
    assert (await cloud.get(path)).status_code == 404


async def test_endpoints_can_be_missing(cloud: IammeterBench) -> None:
    assert (await IammeterBench(missing=["metersdata"]).get("site/metersdata")).status_code == 404
    assert (await cloud.client.post(f"/api/v1/site/meterdata/{GRID}")).status_code == 404
    assert (await cloud.client.put("/api/v1/user/login")).status_code == 405


async def test_the_token_is_taken_from_header_or_query(cloud: IammeterBench) -> None:
    assert (await cloud.get("user/sitelist", token=None)).json()["successful"] is False
    headerless = await cloud.client.get("/api/v1/user/sitelist", params={"Token": "0" * 32})
    assert headerless.json()["successful"] is True
    wrong = await cloud.get("user/sitelist", token="FAKE")
    assert (wrong.status_code, wrong.json()["message"]) == (200, "Invalid token.")
    cloud.cloud.denial = "401"
    assert (await cloud.get("user/sitelist", token="FAKE")).status_code == 401


async def test_a_login_ends_earlier_tokens(cloud: IammeterBench) -> None:
    data = (await cloud.login()).json()["data"]
    assert set(data) == {"id", "token", "refreshToken"}
    assert await cloud.refusal("user/sitelist") == "Invalid token."
    answer = await cloud.get("user/sitelist", token=data["token"])
    assert answer.json()["successful"] is True
    keeping = IammeterBench(keep_tokens=True)
    await keeping.login()
    assert await keeping.data("user/sitelist")


@pytest.mark.parametrize("fields", [{"password": "FAKE"}, {"userName": "x"}, {"remember": True}])
async def test_a_wrong_login_is_refused(cloud: IammeterBench, fields: dict[str, Any]) -> None:
    answer = await cloud.login(**fields)
    assert answer.json()["successful"] is False
    assert await cloud.data("user/sitelist")
    form = await cloud.client.post(
        "/api/v1/user/login", data={"userName": "demo-user", "password": "FAKEPASSWORD"}
    )
    assert form.json()["successful"] is False


async def test_over_a_limit_nothing_is_returned_and_the_call_counts(cloud: IammeterBench) -> None:
    for _ in range(6):
        assert await cloud.data(f"site/meterdata/{GRID}")
        assert await cloud.data(f"site/meterdata2/{GRID}")
    for path in (f"site/meterdata/{GRID}", f"site/meterdata2/{GRID}"):
        answer = await cloud.get(path)
        assert (answer.status_code, answer.content) == (200, b"")
    assert await cloud.data(f"site/meterdata/{INVERTER}")
    cloud.time.advance(1800)
    assert (await cloud.get(f"site/meterdata/{GRID}")).content == b""
    cloud.time.advance(1800)
    assert await cloud.data(f"site/meterdata/{GRID}")
    assert cloud.cloud.refused() == 3


@pytest.mark.parametrize(
    ("path", "query", "count", "window_s"),
    [
        ("site/powerAnalysis", {"sn": GRID}, 5, 86400),
        ("site/offlineAnalysis", {"sn": GRID}, 5, 86400),
        ("site/metersdata", {}, 1, 300),
        ("user/sitelist", {}, 12, 86400),
        (f"site/meterdatalist2/{GRID}", {**DAYS, "interval": "86400"}, 12, 3600),
        ("site/energyhistory/12345", {**DAYS, "groupby": "day"}, 12, 3600),
    ],
)
async def test_every_limit_of_the_table_is_enforced(
    cloud: IammeterBench, path: str, query: dict[str, str], count: int, window_s: int
) -> None:
    for _ in range(count):
        assert await cloud.data(path, **query)
    assert (await cloud.get(path, **query)).content == b""
    cloud.time.advance(window_s)
    assert await cloud.data(path, **query)


async def test_five_logins_an_hour_and_no_sixth(cloud: IammeterBench) -> None:
    for _ in range(5):
        await cloud.login()
    assert (await cloud.login()).content == b""
    assert cloud.cloud.ledger.counts() == {"login": 5}


async def test_limits_can_be_off() -> None:
    cloud = IammeterBench(enforce=False)
    for _ in range(20):
        assert await cloud.data("site/metersdata")


@pytest.mark.parametrize(
    ("code", "status", "body"),
    [(0, 200, b""), (401, 401, b""), (429, 429, b""), (404, 404, b"")],
)
async def test_faults_can_be_the_vendors_own(
    cloud: IammeterBench, code: int, status: int, body: bytes
) -> None:
    cloud.cloud.faults.add(Fault("native_code", code=code, endpoint="meterdata", device=GRID))
    answer = await cloud.get(f"site/meterdata/{GRID}")
    assert (answer.status_code, answer.content) == (status, body)
    assert await cloud.data(f"site/meterdata/{GRID}")


async def test_faults_can_be_messages(cloud: IammeterBench) -> None:
    cloud.cloud.faults.add(Fault("native_code", code=1))
    cloud.cloud.faults.add(Fault("native_code", code=77))
    assert await cloud.refusal("user/sitelist") == "Invalid token."
    assert await cloud.refusal("user/sitelist") == "Error 77."
