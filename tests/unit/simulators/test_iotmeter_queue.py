"""The simulated control API: login, queue, life of a task, what a meter does (page 2.2, 4.10 to 4.20, 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.simulators.iotmeter_bench import METER, OTHER, RTU, Platform, charge, task

NOT_TO_CHANGE = {"Data": 0, "State": "failed", "Message": "找不到要修改的数据"}
NOT_TO_DELETE = {"Data": 0, "State": "failed", "Message": "找不到要删除的数据"}
PRICE: dict[str, Any] = {
    **{f"price{n}": 1 for n in range(1, 6)}, **{f"ladder{n}": n for n in range(1, 5)}, "cycle_month": 1,
}  # fmt: skip
OPENING = {**PRICE, "charge_value": 50, "total_value": 50, "cycle_start_time": "2021-04-01 00:00:00"}


async def test_the_login_answers_with_seven_fraction_digits() -> None:
    platform = Platform(token_life_s=3600.0)
    answer = await platform.login()
    assert answer["State"] == "success"
    data = answer["Data"]
    assert list(data) == [
        "token", "expiration", "admin_id", "company_no", "admin_name", "admin_remark", "admin_ext_data",
    ]  # fmt: skip
    assert data["expiration"] == "2021-04-07T09:00:00.0000003+08:00"
    assert (await platform.login("0" * 32))["State"] == "failed"
    assert (await platform.login(platform.cloud.account.digest.upper()))["State"] == "failed"
    answer = await platform.post("/api/Conf/Account/Login", loginName="demo_admin")
    assert answer.json()["State"] == "failed"


async def test_without_a_good_token_nothing_is_done() -> None:
    platform = Platform(token_life_s=100.0)
    answer = await platform.post("/api/Conf/CtrlData/Add", task(), {"token": "FAKE"})
    assert (answer.status_code, answer.json()["State"]) == (401, "failed")
    assert (await platform.conf("Constants/CompanyInfo"))["State"] == "success"
    platform.time.advance(100)
    assert (await platform.conf("CtrlData/Add", task()))["State"] == "failed"
    assert platform.effects() == []


async def test_a_session_may_end_with_the_next_login() -> None:
    platform = Platform()
    platform.cloud.sessions.single = True
    await platform.login()
    first = platform.token
    await platform.login()
    answer = await platform.post("/api/Conf/Constants/CompanyInfo", {}, {"token": first})
    assert answer.status_code == 401


async def test_a_task_waits_for_the_meters_wake_up() -> None:
    platform = Platform()
    assert await platform.conf("CtrlData/Add", task()) == {"Data": 1, "State": "success", "Message": ""}
    record = (await platform.conf("CtrlData/GetModel/1"))["Data"]
    assert record == {
        "ctrl_id": 1, "upper_ctrl_id": 0, "company_no": "1001", "processor_name": "iotmeterv1",
        "ctrl_define_no": "brg-9", "target_comm_no": METER, "target_devtype": 1,
        "ctrl_time": "2021-04-07T08:00:00", "ctrl_timeout": "2021-04-10T08:00:00", "ctrl_state": 0,
        "ctrl_state_msg": "等待发送", "ctrl_feedback_msg": "", "ctrl_type": "iotmeterv1.common.setvalveoff",
        "ctrl_data": "{}", "return_data": "{}", "sync_flag": 0, "sync_time": "2021-04-07T08:00:00", "sync_msg": "",
    }  # fmt: skip
    assert platform.cloud.fleet[METER].valve_open
    await platform.pass_time(3600)
    record = (await platform.conf("CtrlData/GetModel/1"))["Data"]
    assert (record["ctrl_state"], record["ctrl_state_msg"]) == (3, "任务成功")
    assert not platform.cloud.fleet[METER].valve_open
    assert platform.effects() == ["task_queued", "valve_closed"]


@pytest.mark.parametrize(
    ("suffix", "data", "effect", "returned"),
    [
        ("common.setvalveon", {}, "valve_opened", {}), ("common.releaseforce", {}, "force_released", {}),
        ("common.setcumulant", {"std_sum": 5, "work_sum": 4.5}, "cumulant_set", {}),
        ("prepay.setremain", {"remain_value": 7}, "balance_set", {"remain_value": 7}),
        ("prepay.setprice", {**PRICE, "cycle_start": "2021-04-01"}, "price_set", {}),
        ("prepay.remotecharge", {"charge_value": 100, "total_value": 100, "charge_times": 1}, "recharged",
         {"success": 170, "reason": 0, "calc_type": 0, "remain": 188.5}),
        ("prepay.openaccount", OPENING, "account_opened",
         {"success": 0, "reason": 0, "reason_msg": "", "remain": 50.0}),
        ("prepay.getchargestate", {}, None,
         {"card_charge_times": 0, "card_charge_value": 0, "card_total_value": 0, "remote_charge_times": 0,
          "remote_charge_value": 0.0, "remote_total_value": 0.0}),
    ],
)  # fmt: skip
async def test_each_type_does_its_work_once(
    suffix: str, data: Any, effect: str | None, returned: Any
) -> None:
    platform = Platform()
    await platform.conf("CtrlData/Add", task(suffix, data))
    await platform.wake()
    await platform.wake()
    record = (await platform.conf("CtrlData/GetModel/1"))["Data"]
    assert (record["ctrl_state"], json.loads(record["return_data"])) == (3, returned)
    assert platform.effects() == ["task_queued", *([effect] if effect else [])]


async def test_prices_are_read_back_as_they_were_set() -> None:
    platform = Platform()
    prices = {**PRICE, "cycle_start": "2021-04-01 00:00:00", "price2": 2.63}
    await platform.conf("CtrlData/Add", task("prepay.setprice", prices))
    await platform.conf("CtrlData/Add", task("prepay.getprice"))
    await platform.wake()
    record = (await platform.conf("CtrlData/GetModel/2"))["Data"]
    assert json.loads(record["return_data"]) == prices


async def test_a_recharge_that_ran_twice_shows() -> None:
    platform = Platform()
    for _ in range(2):
        await platform.conf("CtrlData/Add", charge())
    await platform.wake()
    assert platform.effects().count("recharged") == 2
    meter = platform.cloud.fleet[METER]
    assert (meter.remote_times, meter.remote_total, round(meter.remain, 3)) == (2, 200.0, 288.5)


async def test_a_careful_meter_refuses_a_repeated_recharge() -> None:
    platform = Platform()
    platform.cloud.configure(METER, checks_counter=True)
    for _ in range(2):
        await platform.conf("CtrlData/Add", charge())
    await platform.wake()
    returned = json.loads((await platform.conf("CtrlData/GetModel/2"))["Data"]["return_data"])
    assert (returned["success"], returned["reason"]) == (187, 2)
    assert platform.effects().count("recharged") == 1


@pytest.mark.parametrize(
    ("options", "state", "flag"),
    [({"fails": True}, 4, None), ({"refuses": True}, 3, 187), ({"mute_flag": True}, 3, None)]
)  # fmt: skip
async def test_a_meter_may_misbehave(options: dict[str, bool], state: int, flag: int | None) -> None:
    platform = Platform()
    platform.cloud.configure(METER, **options)
    await platform.conf("CtrlData/Add", charge())
    await platform.wake()
    record = (await platform.conf("CtrlData/GetModel/1"))["Data"]
    assert (record["ctrl_state"], json.loads(record["return_data"]).get("success")) == (state, flag)


async def test_a_deaf_meter_acts_and_its_task_times_out() -> None:
    platform = Platform()
    platform.cloud.configure(METER, deaf=True)
    await platform.conf("CtrlData/Add", charge())
    await platform.wake()
    assert (await platform.conf("CtrlData/GetModel/1"))["Data"]["ctrl_state"] == 1
    await platform.pass_time(72 * 3600)
    await platform.login()
    record = (await platform.conf("CtrlData/GetModel/1"))["Data"]
    assert (record["ctrl_state"], record["ctrl_state_msg"]) == (6, "任务超时")
    assert platform.effects() == ["task_queued", "recharged"]


async def test_a_sleeping_meter_does_nothing() -> None:
    platform = Platform()
    platform.cloud.configure(METER, asleep=True)
    await platform.conf("CtrlData/Add", charge())
    await platform.pass_time(72 * 3600)
    assert platform.effects() == ["task_queued"]


async def test_a_task_may_be_cancelled_while_it_waits() -> None:
    platform = Platform()
    await platform.conf("CtrlData/Add", task())
    assert await platform.conf("CtrlData/Cancel/1") == {"Data": 1, "State": "success", "Message": ""}
    assert (await platform.conf("CtrlData/GetModel/1"))["Data"]["ctrl_state"] == 5
    assert (await platform.conf("CtrlData/Cancel/1"))["State"] == "failed"
    assert await platform.conf("CtrlData/Cancel/9") == NOT_TO_CHANGE
    await platform.wake()
    assert platform.effects() == ["task_queued", "task_cancelled"]


async def test_a_task_that_ended_badly_may_be_retried() -> None:
    platform = Platform()
    platform.cloud.configure(METER, fails=True)
    await platform.conf("CtrlData/Add", task())
    assert (await platform.conf("CtrlData/Retry/1"))["State"] == "failed"
    await platform.wake()
    platform.cloud.configure(METER, fails=False)
    assert (await platform.conf("CtrlData/Retry/1"))["Data"] == 1
    await platform.wake()
    assert platform.effects() == ["task_queued", "task_retried", "valve_closed"]
    assert await platform.conf("CtrlData/Retry/9") == NOT_TO_CHANGE


async def test_tasks_are_searched_by_all_conditions() -> None:
    platform = Platform()
    await platform.conf("CtrlData/Add", task())
    await platform.conf("CtrlData/Add", task(ctrl_define_no="brg-8", target_comm_no=OTHER))

    async def found(**conditions: Any) -> list[int]:
        answer = await platform.conf("CtrlData/GetList", conditions, startrow=0, rowcount=200)
        return [row["ctrl_id"] for row in answer["Data"]]

    assert await found() == [1, 2]
    assert await found(ctrl_define_no="brg-9") == [1]
    assert await found(target_comm_no=OTHER, ctrl_state=0) == [2]
    assert await found(ctrl_time_from="2021-04-08") == []
    assert await found(ctrl_time_to="2021-04-08", processor_name="iotmeterv1") == [1, 2]
    answer = await platform.conf("CtrlData/GetList", {}, startrow=1, rowcount=1)
    assert (answer["Totalcount"], answer["Rowcount"], answer["Data"][0]["ctrl_id"]) == (2, 1, 2)


async def test_a_task_is_overwritten_described_and_deleted() -> None:
    platform = Platform()
    await platform.conf("CtrlData/Add", task())
    record = (await platform.conf("CtrlData/GetModel/1"))["Data"]
    changed = record | {"ctrl_state": 6, "sync_msg": "x"}
    assert (await platform.conf("CtrlData/Update", changed))["Data"] == 1
    assert (await platform.conf("CtrlData/GetModel/1"))["Data"] == changed | {"ctrl_state_msg": "任务超时"}
    assert "任务状态:6 (任务超时) </br>" in (await platform.conf("CtrlData/GetDetial/1"))["Data"]
    assert await platform.conf("CtrlData/Update", changed | {"ctrl_id": 9}) == NOT_TO_CHANGE
    assert (await platform.conf("CtrlData/Delete/1"))["Data"] == 1
    assert await platform.conf("CtrlData/Delete/1") == NOT_TO_DELETE
    assert (await platform.conf("CtrlData/GetModel/1"))["Data"] is None
    assert (await platform.conf("CtrlData/GetDetial/1"))["State"] == "failed"


async def test_batches_answer_item_by_item() -> None:
    platform = Platform()
    answer = await platform.conf("CtrlData/AddMulti", [task(), task(target_comm_no=OTHER)])
    assert answer["Data"] == [
        {"ctrl_id": 1, "target_comm_no": METER, "result": True, "message": ""},
        {"ctrl_id": 2, "target_comm_no": OTHER, "result": True, "message": ""},
    ]
    assert (answer["Totalcount"], answer["Startrow"], answer["Rowcount"]) == (2, 0, 2)
    records = [(await platform.conf(f"CtrlData/GetModel/{n}"))["Data"] for n in (1, 2)]
    answer = await platform.conf("CtrlData/UpdateMulti", [*records, records[0] | {"ctrl_id": 9}])
    assert [item["result"] for item in answer["Data"]] == [True, True, False]
    assert answer["Message"] == "操作完成"
    for deed in ("Cancel", "Retry", "Delete"):
        answer = await platform.conf(f"CtrlData/{deed}Multi", [1, 9])
        assert [item["result"] for item in answer["Data"]] == [True, False]
    platform.cloud.desk.false_results = True
    assert (await platform.conf("CtrlData/AddMulti", [task()]))["Data"][0]["result"] is False


BAD_TASKS = {
    "a field too few": {name: value for name, value in task().items() if name != "ctrl_timeout"},
    "a field too many": task(expires="x"),
    "number as text": task(target_devtype="1"),
    "an RTU": task(target_devtype=2, target_comm_no=RTU),
    "unknown processor": task(processor_name="x"),
    "another prefix": task(ctrl_type="iotmeter.common.setvalveoff"),
    "unknown type": task("common.explode"),
    "no number of our own": task(ctrl_define_no=""),
    "a long number of our own": task(ctrl_define_no="x" * 51),
    "an RFC 3339 time": task(ctrl_time="2021-04-07T08:00:00Z"),
    "no such day": task(ctrl_timeout="2021-02-30 00:00:00"),
    "data as object": task(ctrl_data={}),
    "data that is no JSON": task(ctrl_data="{"),
    "data where there is none": task(data={"x": 1}),
    "data incomplete": task("prepay.remotecharge", {"charge_value": 1}),
    "data as text": task("prepay.setremain", {"remain_value": "1"}),
    "data true": task("prepay.setremain", {"remain_value": True}),
    "a ladder with point": task("prepay.openaccount", {**OPENING, "ladder1": 1.5}),
    "no object": [],
}


@pytest.mark.parametrize("name", BAD_TASKS)
async def test_an_undocumented_task_is_refused(name: str) -> None:
    platform = Platform()
    answer = await platform.conf("CtrlData/Add", BAD_TASKS[name])
    assert (answer["State"], answer["Message"][:4]) == ("failed", "参数错误")
    assert platform.effects() == []


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("CtrlData/GetModel/x", None), ("CtrlData/GetModel/1", {"x": 1}), ("CtrlData/GetList", {"state": 0}),
        ("CtrlData/AddMulti", task()), ("CtrlData/AddMulti", []), ("CtrlData/CancelMulti", ["1"]),
        ("CtrlData/Update", task()),
    ],
)  # fmt: skip
async def test_other_undocumented_requests_are_refused(path: str, page: Any) -> None:
    assert (await Platform().conf(path, page))["State"] == "failed"


@pytest.mark.parametrize("endpoint", ["GetModel", "Cancel", "Retry", "Delete", "GetDetial"])
async def test_calls_on_one_task_take_no_body_not_even_an_empty_object(endpoint: str) -> None:
    platform = Platform()
    await platform.conf("CtrlData/Add", task())
    assert (await platform.conf(f"CtrlData/{endpoint}/1", {}))["State"] == "failed"
    assert platform.effects()[-1] == "task_queued"
