"""The simulated data API, compared with the samples of the vendor page (2.1, 4.2 to 4.8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.simulators.iotmeter_bench import KEYS, METER, OTHER, RTU, Platform

WINDOW = {
    "year": 2021, "month": 4, "start_day": 7, "start_hour": 0, "start_minute": 0, "end_day": 7, "end_hour": 23,
    "end_minute": 59,
}  # fmt: skip
FIELDS = [
    "data_guid",
    "company_no",
    "meter_comm_no",
    "device_type",
    "device_type_name",
    "factory_code",
    "meter_area_no",
    "meter_define_no1",
    "meter_define_no2",
    "meter_define_no3",
    "meter_define_no4",
    "data_type",
    "data_type_name",
    "acquisition_time",
    "receive_time",
    "std_sum",
    "work_sum",
    "std_flow",
    "work_flow",
    "temperature",
    "pressure",
    "magatt_times",
    "this_month_sum",
    "last_month_sum",
    "this_cycle_sum",
    "last_cycle_sum",
    "remain_money",
    "remain_volume",
    "curr_price",
    "meter_state",
    "meter_stat_emsg",
    "rssi",
    "battery_voltage",
    "battery_level",
    "ext_data",
]


async def test_the_latest_reading_has_the_fields_of_the_sample() -> None:
    platform = Platform()
    answer = await platform.data(f"MeterData/GetRealModel/{METER}", {})
    assert list(answer) == ["Data", "State", "Message"]
    assert list(answer["Data"]) == FIELDS
    assert answer["Data"]["acquisition_time"] == "2021-04-07T08:00:00"
    assert json.loads(answer["Data"]["ext_data"])["valve_open"] is True
    assert await platform.data(f"MeterData/GetRealModel/{METER}") == answer


async def test_an_unknown_meter_is_answered_as_the_vector() -> None:
    expected = {"Data": None, "State": "failed", "Message": "找不到数据"}
    assert await Platform().data("MeterData/GetRealModel/99", {}) == expected


async def test_the_list_has_a_row_per_meter_and_counters() -> None:
    platform = Platform()
    answer = await platform.data(
        "MeterData/GetRealList2", {"orderby": "meter_comm_no"}, startrow=1, rowcount=1
    )
    assert [row["meter_comm_no"] for row in answer["Data"]] == [METER]
    assert (answer["Totalcount"], answer["Startrow"], answer["Rowcount"]) == (2, 1, 1)
    descending = {"orderby": "meter_comm_no", "sequence": "desc"}
    answer = await platform.data("MeterData/GetRealList2", descending)
    assert [row["meter_comm_no"] for row in answer["Data"]] == [METER, OTHER]
    platform.cloud.data.lower_counters = True
    assert (await platform.data("MeterData/GetRealList2", {}))["totalcount"] == 2


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        ({"meter_comm_nos": [METER]}, 1), ({"acq_start_time": "2021-04-07 08:00:01"}, 0),
        ({"acq_end_time": "2021-04-07 08:00:00"}, 2), ({"rec_start_time": "2021-04-07"}, 2),
        ({"rec_end_time": "2021-04-06 08:00:00"}, 0),
    ],
)  # fmt: skip
async def test_conditions_filter(conditions: dict[str, Any], count: int) -> None:
    assert (await Platform().data("MeterData/GetRealList2", conditions))["Totalcount"] == count


async def test_history_has_what_the_meter_measured_at_its_wake_ups() -> None:
    platform = Platform()
    for _ in range(24):
        await platform.pass_time(3600)
    real = await platform.data(
        "MeterData/GetHistoryList2", {"meter_comm_no": METER, "data_type": 0, **WINDOW}
    )
    assert real["Totalcount"] == 16
    volumes = [row["std_sum"] for row in real["Data"]]
    assert volumes == sorted(volumes)
    assert volumes[0] < volumes[-1]
    tomorrow = {**WINDOW, "start_day": 8, "end_day": 8}
    frozen = await platform.data(
        "MeterData/GetHistoryList2", {"meter_comm_no": METER, "data_type": 1, **tomorrow}
    )
    assert [row["acquisition_time"] for row in frozen["Data"]] == ["2021-04-08T00:00:00"]


@pytest.mark.parametrize(("word", "path"), [("alarm", "DeviceAlarm"), ("event", "DeviceEvent")])
async def test_alarms_and_events_are_listed_as_the_samples(word: str, path: str) -> None:
    platform = Platform()
    getattr(platform.cloud, word)(RTU, 12, "门开", {})
    answer = await platform.data(f"{path}/GetList2", {"device_comm_no": RTU, "device_type": 2, **WINDOW})
    assert answer["Data"] == [
        {
            f"{word}_id": 1, "company_no": "1001", "device_comm_no": RTU, "device_type": "2",
            f"{word}_time": "2021-04-07T08:00:00", "receive_time": "2021-04-07T08:00:00", f"{word}_code": 12,
            f"{word}_content": "门开", f"{word}_data": "{}",
        }
    ]  # fmt: skip
    other = {"device_comm_no": METER, "device_type": 1, **WINDOW}
    assert (await platform.data(f"{path}/GetList2", other))["Data"] == []


@pytest.mark.parametrize("change", [{"company_no": "1002"}, {"data_api_key": "x"}, {"data_api_key": ""}])
async def test_a_wrong_key_is_refused(change: dict[str, str]) -> None:
    platform = Platform()
    answer = await platform.post("/api/Data/MeterData/GetRealList2", {}, KEYS | change)
    assert (answer.status_code, answer.json()["State"]) == (401, "failed")
    platform.cloud.refuse_by_body = True
    answer = await platform.post("/api/Data/MeterData/GetRealList2", {}, KEYS | change)
    assert (answer.status_code, answer.json()["Data"]) == (200, None)


@pytest.mark.parametrize(
    ("path", "page", "query"),
    [
        ("MeterData/GetRealList2", {"meter": METER}, {}), ("MeterData/GetRealList2", [], {}),
        ("MeterData/GetRealList2", {"orderby": "std_sum"}, {}), ("MeterData/GetRealList2", {"sequence": "up"}, {}),
        ("MeterData/GetRealList2", {"meter_comm_nos": METER}, {}), ("MeterData/GetRealList2", {}, {"pageno": "1"}),
        ("MeterData/GetRealList2", {}, {"rowcount": "0"}), ("MeterData/GetRealList2", {}, {"startrow": "-1"}),
        ("MeterData/GetRealList2", {"acq_start_time": "2021/04/07"}, {}),
        ("MeterData/GetHistoryList2", {"meter_comm_no": METER, "data_type": 0}, {}),
        ("MeterData/GetHistoryList2", {"meter_comm_no": METER, "data_type": "0", **WINDOW}, {}),
        ("MeterData/GetHistoryList2", {"meter_comm_no": METER, "data_type": 0, **WINDOW, "end_day": 31}, {}),
        ("DeviceAlarm/GetList2", {"device_comm_no": METER, **WINDOW}, {}),
        (f"MeterData/GetRealModel/{METER}", {"x": 1}, {}),
    ],
)  # fmt: skip
async def test_an_undocumented_request_is_refused(path: str, page: Any, query: dict[str, str]) -> None:
    answer = await Platform().data(path, page, **query)
    assert (answer["State"], answer["Message"][:4]) == ("failed", "参数错误")


async def test_only_json_and_post_are_taken() -> None:
    platform = Platform()
    headers = {**KEYS, "content-type": "text/plain"}
    answer = await platform.post("/api/Data/MeterData/GetRealList2", {}, headers)
    assert answer.json()["State"] == "failed"
    answer = await platform.client.post(
        "/api/Data/MeterData/GetRealList2", content=b"{", headers=KEYS | {"content-type": "application/json"}
    )
    assert answer.json()["State"] == "failed"
    assert (await platform.client.get("/api/Data/MeterData/GetRealList2")).status_code == 405
    assert (await platform.post("/api/Data/MeterData/GetRealList", {}, KEYS)).status_code == 404
