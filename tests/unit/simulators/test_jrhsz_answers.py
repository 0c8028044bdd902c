"""The simulated platform's answers, compared with the samples of the vendor page (sections 2 to 5)."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest

from bridge.simulators.jrhsz import Account, fleet
from tests.unit.simulators.jrhsz_bench import (
    CAMERA,
    DAY,
    ENERGY,
    HOURLY,
    NOON,
    ODD,
    PAGE,
    PASSWORD,
    USERNAME,
    WATER,
    Bench,
)


@pytest.fixture
def jrhsz() -> Bench:
    return Bench()


async def test_the_token_is_like_the_sample_with_the_clear_password(jrhsz: Bench) -> None:
    answer = await jrhsz.log_in()
    assert (answer["code"], answer["msg"]) == (200, "登录成功")
    told = json.loads(base64.b64decode(answer["data"]))
    assert told == {"admin_user_name": USERNAME, "api_password": PASSWORD, "time": NOON}


async def test_wrong_names_and_passwords_are_told_apart(jrhsz: Bench) -> None:
    assert (await jrhsz.log_in(username="nobody"))["code"] == 1002
    assert (await jrhsz.log_in(password="wrong"))["code"] == 1005


async def test_tokens_are_checked_for_life_owner_and_rights(jrhsz: Bench) -> None:
    jrhsz.cloud.accounts["other"] = Account("other", PASSWORD, frozenset({"cameraRead"}))
    assert (await jrhsz.ask("meterList", token="made-up"))["code"] == 1006
    assert (await jrhsz.ask("meterList", admin_user_name="other"))["code"] == 1009
    jrhsz.time.advance(7200)
    assert (await jrhsz.ask("meterList"))["code"] == 1007
    await jrhsz.log_in(username="other")
    own = {"admin_user_name": "other"}
    assert (await jrhsz.ask("meterList", **own))["code"] == 200
    assert (await jrhsz.ask("cameraRead", **own, **DAY, **PAGE))["code"] == 1009


async def test_a_second_login_ends_the_first_token_unless_told_otherwise(jrhsz: Bench) -> None:
    for single, code in ((True, 1006), (False, 200)):
        jrhsz.cloud.quirks.set("single_token", single)
        first = (await jrhsz.log_in())["data"]
        second = (await jrhsz.log_in())["data"]
        assert first != second
        assert (await jrhsz.ask("meterList", token=first))["code"] == code


async def test_an_end_point_is_called_at_most_every_two_seconds(jrhsz: Bench) -> None:
    assert (await jrhsz.ask("meterList"))["code"] == 200
    page = {"token": jrhsz.token, "admin_user_name": USERNAME}
    assert (await jrhsz.post("/meter/readMeter", page)).json()["code"] == 200
    for wait_s, code in ((0, 1011), (1.9, 1011), (0.1, 200)):
        jrhsz.time.advance(wait_s)
        assert (await jrhsz.post("/meter/meterList", page)).json()["code"] == code
    for _ in range(3):
        assert (await jrhsz.log_in())["code"] == 200


@pytest.mark.parametrize(
    ("endpoint", "params"),
    [
        ("meterList", {"pageNo": "1"}),
        ("meterList", {"PageNo": 1}),
        ("meterList", {"token": ""}),
        ("readMeter", {"tableNo": 1}),
        ("readMeterList", DAY),
        ("readMeterList", {"begindate": "2025-07-01 00:00:00", "EndDate": "2025-07-01 00:00:00"} | PAGE),
        ("readMeterDataList", DAY | PAGE),
        ("readMeterDataList", DAY | PAGE | {"type": 1}),
        ("meterInstruct", {"deviceId": "100000000001"}),
        ("meterInstruct", {"deviceId": "100000000001", "type": 1}),
        ("meterInstruct", {"tableNo": ENERGY, "type": "1"}),
    ],
)
async def test_a_mistake_in_the_parameters_is_1008(
    jrhsz: Bench, endpoint: str, params: dict[str, Any]
) -> None:
    assert (await jrhsz.ask(endpoint, **params))["code"] == 1008


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"code":200 "x":1}'])
async def test_what_is_no_json_object_is_1008(jrhsz: Bench, body: bytes) -> None:
    assert (await jrhsz.post("/meter/meterList", None, content=body)).json()["code"] == 1008


async def test_the_body_may_have_to_be_a_form() -> None:
    jrhsz = Bench(encoding="form")
    assert (await jrhsz.log_in())["code"] == 1008
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"admin_user_name={USERNAME}&api_password={PASSWORD}"
    answer = (await jrhsz.post("/user/login", None, content=body, headers=form)).json()
    assert answer["code"] == 200
    token = answer["data"].replace("=", "%3D")
    body = f"token={token}&admin_user_name={USERNAME}&pageNo=1&pageSize=2"
    answer = (await jrhsz.post("/meter/meterList", None, content=body, headers=form)).json()
    assert len(answer["data"]) == 2


async def test_the_inventory_has_the_fields_of_the_sample(jrhsz: Bench) -> None:
    answer = await jrhsz.ask("meterList")
    assert (answer["code"], answer["totalCount"], len(answer["data"])) == (200, 5, 5)
    assert list(answer["data"][0]) == [
        "project_code", "deviceId", "deviceName", "tableNo", "tableAddress", "tableType", "onlineAt",
        "netStatis", "gate", "user_code", "user_name", "house_number",
    ]  # fmt: skip
    first = answer["data"][0]
    assert (first["deviceId"], first["tableNo"], first["tableType"]) == ("100000000001", ENERGY, "5")
    assert (first["netStatis"], first["gate"], first["onlineAt"]) == ("在线", "合闸", "2025-07-01 12:00:02")
    jrhsz.cloud.quirks.set("type_key", "typeType")
    assert (await jrhsz.rows("meterList"))[0]["typeType"] == "5"


async def test_pages_hold_at_most_a_thousand() -> None:
    jrhsz = Bench()
    jrhsz.cloud.meters = {meter.table_no: meter for meter in fleet(1001, NOON, past_s=0)}
    assert len(await jrhsz.rows("meterList")) == 1000
    assert len(await jrhsz.rows("meterList", pageNo=2, pageSize=1000)) == 1
    assert len(await jrhsz.rows("meterList", pageNo=2)) == 1000
    assert await jrhsz.rows("meterList", pageNo=3, pageSize=1000) == []
    for page in ({"pageNo": 1, "pageSize": 1001}, {"pageNo": 0, "pageSize": 10}):
        assert (await jrhsz.ask("meterList", **page))["code"] == 1001


async def test_the_latest_reading_of_one_meter_is_a_single_object(jrhsz: Bench) -> None:
    answer = await jrhsz.ask("readMeter", tableNo=ENERGY)
    assert answer["totalCount"] == 5
    row = answer["data"]
    assert set(row) == {"deviceId", "tableNo", "reading", "readTime", "gate"}
    last = jrhsz.cloud.meters[ENERGY].records[-1]
    assert (row["reading"], row["gate"]) == (str(last.reading), "合闸")
    assert row["readTime"].startswith("2025-07-01 11:")
    assert isinstance((await jrhsz.ask("readMeter"))["data"], list)
    assert (await jrhsz.ask("readMeter", tableNo=f"{ENERGY},{WATER}"))["data"] == []
    jrhsz.cloud.quirks.set("single_object", False)
    assert isinstance((await jrhsz.ask("readMeter", tableNo=ENERGY))["data"], list)


async def test_a_meter_without_readings_has_empty_values(jrhsz: Bench) -> None:
    jrhsz.cloud.meters[ENERGY].records.clear()
    (row,) = await jrhsz.rows("readMeter", tableNo=ENERGY)
    assert (row["reading"], row["readTime"]) == ("", "")


async def test_stored_readings_take_a_comma_list_and_a_window(jrhsz: Bench) -> None:
    both = await jrhsz.rows("readMeterList", tableNo=f"{ENERGY},{WATER}", **DAY, **PAGE)
    assert {row["tableNo"] for row in both} == {ENERGY, WATER}
    assert len(both) == 48
    assert all("2025-06-30 12:00:00" <= row["readTime"] <= "2025-07-01 12:00:00" for row in both)
    assert set(both[0]) == {
        "deviceId", "tableNo", "reading", "readTime", "imei", "user_code", "tableAddress", "deviceName",
    }  # fmt: skip
    assert len(await jrhsz.rows("readMeterList", tableNo=ENERGY, **DAY, pageNo=2, pageSize=20)) == 4


@pytest.mark.parametrize("meter", [ENERGY, WATER, HOURLY, ODD])
async def test_consumption_adds_up(jrhsz: Bench, meter: str) -> None:
    found = await jrhsz.rows("readMeterDataList", type="1", tableNo=meter, **DAY, **PAGE)
    records = sorted(found, key=lambda row: row["readTime"])
    assert len(records) == 24
    used = sum(Decimal(row["dosage"]) for row in records[1:])
    assert used == Decimal(records[-1]["reading"]) - Decimal(records[0]["reading"])
    assert used > 0
    assert all(Decimal(row["amout"]) >= 0 for row in records)
    assert records[0]["type"] == jrhsz.cloud.meters[meter].type_code


async def test_only_the_documented_data_set_exists_and_the_key_may_be_spelt_right(jrhsz: Bench) -> None:
    assert (await jrhsz.ask("readMeterDataList", type="2", **DAY, **PAGE))["code"] == 1001
    jrhsz.cloud.quirks.set("amount_key", "amount")
    assert "amount" in (await jrhsz.rows("readMeterDataList", type="1", **DAY, **PAGE))[0]


async def test_a_meter_that_is_switched_off_consumes_nothing(jrhsz: Bench) -> None:
    jrhsz.cloud.switch(ENERGY, on=False)
    before = jrhsz.cloud.meters[ENERGY].reading()
    jrhsz.time.advance(86_400)
    records = await jrhsz.rows("readMeterDataList", type="1", tableNo=ENERGY, **PAGE,
                               BeginDate="2025-07-01 13:30:00", EndDate="2025-07-02 12:00:00")  # fmt: skip
    assert len(records) == 22
    assert {(row["dosage"], row["reading"]) for row in records} == {("0", str(before))}


async def test_tariff_registers_add_up_and_midnight_is_told_at_57_past(jrhsz: Bench) -> None:
    found = await jrhsz.rows("peaksValleysRead", **DAY, **PAGE)
    assert {row["tableNo"] for row in found} == {HOURLY}
    frozen = [row for row in found if row["createTime"] != row["freezeTime"]]
    assert [(row["freezeTime"], row["createTime"]) for row in frozen] == [
        ("2025-07-01 00:00:00", "2025-07-01 00:57:05")
    ]
    for row in found:
        parts = [Decimal(str(row[f"positiveActivePower{number}"])) for number in range(1, 5)]
        assert sum(parts) == Decimal(str(row["positiveActivePower"]))
    assert isinstance(found[0]["positiveActivePower"], float)
    assert isinstance(found[0]["totalActivePower"], str)
    later = await jrhsz.rows("peaksValleysRead", **PAGE, BeginDate="2025-07-02 00:00:00",
                             EndDate="2025-07-03 00:00:00")  # fmt: skip
    assert later == []


async def test_pictures_exist_of_camera_meters_only_and_have_no_device_id(jrhsz: Bench) -> None:
    jrhsz.cloud.configure(CAMERA, image_status="解析异常")
    jrhsz.cloud.read(CAMERA)
    jrhsz.time.advance(1)
    found = await jrhsz.rows("cameraRead", **DAY | {"EndDate": "2025-07-01 12:00:01"}, **PAGE)
    assert {row["tableNo"] for row in found} == {CAMERA}
    assert "deviceId" not in found[0]
    assert (found[0]["imageStatus"], found[0]["basicReading"]) == ("解析异常", 0)
    assert found[1]["imageStatus"] == "解析正常"
    assert found[1]["basicReading"] > 0


async def test_dates_have_one_form_only(jrhsz: Bench) -> None:
    days = {"BeginDate": "2025-06-30", "EndDate": "2025-06-30"}
    assert await jrhsz.rows("readMeterList", **days, **PAGE) == []
    jrhsz.cloud.quirks.set("days", True)
    assert len(await jrhsz.rows("readMeterList", tableNo=ENERGY, **days, **PAGE)) == 24
    assert await jrhsz.rows("readMeterList", **DAY, **PAGE) == []


async def test_other_methods_and_paths_do_not_exist(jrhsz: Bench) -> None:
    assert (await jrhsz.client.get("/meter/meterList")).status_code == 405
    assert (await jrhsz.post("/meter/recharge", {})).status_code == 404
