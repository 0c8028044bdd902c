"""The simulated platform's pushes, repeated until they succeed, and its control surface under `/_sim/`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.unit.simulators.iotmeter_bench import KEYS, METER, OTHER, RTU, Platform, task


async def test_a_wake_up_pushes_the_reading_as_the_page_has_it() -> None:
    platform = Platform()
    await platform.wake()
    ((kind, record),) = platform.receiver.told
    request = platform.receiver.requests[0]
    assert (kind, request.url.path) == ("MeterData", "/push/gas/FAKE/api/Data/MeterData/Add")
    assert record["acquisition_time"] == "2021-04-07 08:00:00"
    assert isinstance(record["ext_data"], dict)
    assert "company_no" not in record
    assert "data_guid" not in record
    assert {name: request.headers[name] for name in KEYS} == KEYS
    push = platform.cloud.pushes.sent[0]
    assert (push.accepted, push.well_formed, push.attempts) == (True, True, 1)


async def test_alarms_and_events_are_pushed_as_the_page_has_them() -> None:
    platform = Platform()
    platform.cloud.alarm(METER, 3, "磁攻击", {"times": 4}, at_s=platform.time.now() - 1)
    platform.cloud.event(RTU, 12, "门开")
    platform.cloud.event(RTU, 13, push=False)
    await platform.cloud.pushes.settled()
    assert platform.receiver.told == [
        ("DeviceAlarm", {
            "device_comm_no": METER, "device_type": "1", "alarm_time": "2021-04-07 07:59:59",
            "receive_time": "2021-04-07 08:00:00", "alarm_code": 3, "alarm_content": "磁攻击",
            "alarm_data": {"times": 4},
        }),
        ("DeviceEvent", {
            "device_comm_no": RTU, "device_type": "2", "event_time": "2021-04-07 08:00:00",
            "receive_time": "2021-04-07 08:00:00", "event_code": 12, "event_content": "门开", "event_data": {},
        }),
    ]  # fmt: skip


async def test_the_end_of_a_task_is_reported_before_the_reading() -> None:
    platform = Platform()
    await platform.conf("CtrlData/Add", task())
    await platform.wake()
    (report, (item,)), (reading, _) = platform.receiver.told
    assert (report, reading) == ("CtrlData", "MeterData")
    assert list(item) == [
        "ctrl_id", "meter_comm_no", "ctrl_time", "ctrl_timeout", "ctrl_type", "ctrl_state", "ctrl_state_msg",
        "ctrl_feedback_msg", "return_data",
    ]  # fmt: skip
    assert "data_api_key" not in platform.receiver.requests[0].headers
    platform.cloud.pushes.report_headers = True
    platform.cloud.settle(1, 6)
    await platform.cloud.pushes.settled()
    assert platform.receiver.requests[-1].headers["data_api_key"] == KEYS["data_api_key"]


async def test_reports_may_be_withheld() -> None:
    platform = Platform(reports=False)
    await platform.conf("CtrlData/Add", task())
    await platform.wake()
    assert [kind for kind, _ in platform.receiver.told] == ["MeterData"]


@pytest.mark.parametrize(
    ("status", "page"),
    [
        (503, '{"Data": null, "State": "failed", "Message": "x"}'),
        (200, '{"Data": 1, "State": "failed", "Message": ""}'),
        (200, "no json"), (200, '{"State": "success"}'), (404, ""),
    ],
)  # fmt: skip
async def test_what_was_not_answered_with_success_is_pushed_again_in_order(status: int, page: str) -> None:
    platform = Platform(retry_s=10.0)
    platform.receiver.status, platform.receiver.page = status, page
    await platform.wake()
    await platform.pass_time(5)
    await platform.wake()
    assert len(platform.receiver.requests) == 1
    assert platform.cloud.pushes.waiting() == 2
    await platform.pass_time(5)
    assert len(platform.receiver.requests) == 2
    platform.receiver.status, platform.receiver.page = 200, None
    platform.cloud.pushes.repush()
    await platform.cloud.pushes.settled()
    bodies = [request.content for request in platform.receiver.requests]
    assert len(bodies) == 4
    assert bodies[0] == bodies[1] == bodies[2] != bodies[3]
    assert platform.cloud.pushes.waiting() == 0
    assert [push.attempts for push in platform.cloud.pushes.sent] == [3, 1]


async def test_a_push_is_given_up_after_a_week() -> None:
    platform = Platform(retry_s=86_400.0)
    platform.receiver.status = 503
    await platform.wake()
    platform.cloud.configure(METER, asleep=True)
    platform.cloud.configure(OTHER, asleep=True)
    for _ in range(8):
        await platform.pass_time(86_400)
    assert platform.cloud.pushes.waiting() == 0
    (push,) = platform.cloud.pushes.sent
    assert (push.accepted, push.attempts) == (False, 8)


async def test_a_success_of_the_wrong_form_is_noticed() -> None:
    platform = Platform()
    platform.receiver.page = '{"Data": 7, "State": "success", "Message": ""}'
    await platform.wake()
    platform.cloud.alarm(METER, 1)
    await platform.cloud.pushes.settled()
    assert [(push.accepted, push.well_formed) for push in platform.cloud.pushes.sent] == [
        (True, False),
        (True, True),
    ]


async def test_a_receiver_that_cannot_be_reached_is_tried_again() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    platform = Platform(client=httpx.AsyncClient(transport=httpx.MockTransport(refuse)))
    await platform.wake()
    (push,) = platform.cloud.pushes.sent
    assert (push.status, push.answer) == (0, "ConnectError: refused")
    assert platform.cloud.pushes.waiting() == 1
    await platform.cloud.aclose()


async def _do(platform: Platform, name: str, **page: Any) -> Any:
    answer = await platform.client.post(f"/_sim/{name}", json=page)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _look(platform: Platform, name: str, **query: Any) -> Any:
    answer = await platform.client.get(f"/_sim/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_ledger_requests_and_tasks_are_shown() -> None:
    platform = Platform()
    await platform.conf("CtrlData/Add", task())
    await _do(platform, "wake", device=METER)
    shown = await _look(platform, "ledger")
    assert shown["counts"] == {"login": 1, "task_queued": 1, "valve_closed": 1}
    shown = await _look(platform, "requests", endpoint="CtrlData", device=METER, window_s="1")
    assert (shown["total"], shown["busiest"], shown["most_at_once"]) == (1, 1, 1)
    (record,) = (await _look(platform, "tasks"))["tasks"]
    assert (record["ctrl_id"], record["ctrl_state"]) == (1, 3)
    shown = (await _look(platform, "devices"))["devices"][0]
    assert (shown["device"], shown["valve_open"], shown["remote_times"]) == (METER, False, 0)


async def test_a_fault_is_planned_and_cleared() -> None:
    platform = Platform()
    await _do(platform, "fault", kind="http_500", endpoint="CtrlData/Add", acts=True)
    await platform.login()
    answer = await platform.post("/api/Conf/CtrlData/Add", task(), {"token": platform.token})
    assert answer.status_code == 500
    assert platform.effects() == ["task_queued"]
    await _do(platform, "fault", kind="native_code", code=401, count=None)
    assert (await platform.post("/api/Data/MeterData/GetRealList2", {}, KEYS)).status_code == 401
    await _do(platform, "fault", kind="native_code", code=5)
    assert len((await _look(platform, "faults"))["faults"]) == 3
    await _do(platform, "clear", what=["faults", "ledger", "requests", "deliveries"])
    assert (await platform.data("MeterData/GetRealList2", {}))["State"] == "success"
    assert (await _look(platform, "ledger"))["entries"] == []


async def test_the_platform_is_steered() -> None:
    platform = Platform()
    ref = platform.cloud.foreign(OTHER, "common.setvalveoff")
    await _do(platform, "foreign", device=METER, suffix="prepay.setremain", data={"remain_value": 5})
    await _do(platform, "configure", device=METER, wake_every_s=60, deaf=True)
    await _do(platform, "settle", ctrl_id=ref, state=99, report=False)
    await _do(
        platform, "state", device=METER, remain=3.5, valve_open=False, rtu_door_open=True, remote_times=4
    )
    await _do(platform, "platform", lower_counters=True, token_life_s=60, reports=False, single_session=True)
    await _do(platform, "alarm", device=RTU, code=1, content="x", data={"a": 1})
    await _do(platform, "event", device=RTU, code=2, push=False)
    await platform.cloud.pushes.settled()
    await _do(platform, "push", url="", retry_s=1)
    await _do(platform, "repush")
    await _do(platform, "wake")
    await platform.login()
    await _do(platform, "expire")
    assert (await platform.conf("CtrlData/GetModel/1"))["State"] == "failed"
    meter = platform.cloud.fleet[METER]
    assert (meter.remain, meter.valve_open, meter.remote_times) == (5.0, False, 4)
    assert meter.records[-1]["ext_data"]["rtu_door_open"] is True
    assert (await _look(platform, "deliveries"))["total"] == 1
    assert platform.effects() == ["task_queued", "task_queued", "balance_set"]


async def test_a_burst_pushes_different_readings() -> None:
    platform = Platform()
    shown = await _do(platform, "burst", rate=50, seconds=0.1, wait=True)
    assert (shown["planned"], shown["done"], len(shown["readings"])) == (5, True, 5)
    assert all(reading["accepted"] for reading in shown["readings"])
    assert len({request.content for request in platform.receiver.requests}) == 5
    answer = await platform.client.post("/_sim/burst", json={"rate": 10, "seconds": 0.2, "devices": [METER]})
    assert (answer.status_code, answer.json()) == (202, {"burst": 2, "planned": 2})
    while not (await _look(platform, "bursts"))["bursts"][1]["done"]:
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("wake", {"device": "99"}), ("fault", {"kind": "explode"}), ("clear", {"what": ["memory"]}),
        ("settle", {"ctrl_id": 9, "state": 3}), ("foreign", {"device": METER, "suffix": "explode"}),
        ("alarm", {"device": METER}), ("state", {"device": METER, "valve_open": 1}), ("state", {"device": "99"}),
        ("configure", {"device": METER, "mood": "bad"}), ("configure", {"device": METER, "deaf": 1}),
        ("platform", {"reports": 1}), ("platform", {"mood": True}), ("expire", {"x": 1}), ("push", {}),
        ("burst", {"rate": 1}), ("burst", {"rate": 0, "seconds": 1}), ("repush", []),
    ],
)  # fmt: skip
async def test_a_mistake_is_named(name: str, page: Any) -> None:
    answer = await Platform().client.post(f"/_sim/{name}", content=json.dumps(page))
    assert answer.status_code == 400
    assert answer.json()["error"]
