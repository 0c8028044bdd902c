"""The gas platform's pushes, from the HTTP request to the outbox: V1 to V7 of the page in any form and order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.device import DeviceKind
from bridge.domain.observation import Batch, Origin
from bridge.domain.text import loads
from bridge.vendors.iotmeter.codec import Codec
from tests.fakes.receiver import ALARM, COMPANY, DATA, EVENT, GAS, KEY, REPORT, SHOP, Receiver
from tests.unit.vendors.iotmeter.bench import METER, OTHER, RTU, fixture, fixture_bytes

KEYS = {"company_no": COMPANY, "data_api_key": KEY}


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with Receiver(tmp_path) as running:
        yield running


async def polled(receiver: Receiver, record: dict[str, Any]) -> None:
    """The platform's list of readings shows this record."""
    account = receiver.gateway.fleet.accounts["gas"]
    codec = Codec(account.policy, account.settings.zone, 172_800.0)
    seen = codec.seen(loads(json.dumps(record)), receiver.clock.now(), Origin.POLL, DeviceKind.GAS_METER)
    await receiver.gateway.intake.take("gas", [Batch(seen)])


def good(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    told = answer.json()
    assert list(told) == ["Data", "State", "Message"]
    assert (told["State"], told["Message"]) == ("success", "")
    return told["Data"]


async def test_v1_a_reading_is_telemetry_state_info_and_the_alarm_of_its_condition(
    receiver: Receiver,
) -> None:
    guid = good(await receiver.gas(DATA, fixture_bytes("v1"), **KEYS))
    assert (len(guid), guid[-2:]) == (24, "==")
    (record,) = receiver.docs(f"gas/{METER}/telemetry")
    assert (record["ts"], record["source"], len(record["metrics"])) == ("2021-04-07T00:00:00Z", "push", 24)
    (alarm,) = receiver.docs(f"gas/{METER}/alarm")
    assert (alarm["code"], alarm["severity"], alarm["state"]) == ("battery_low", "warning", "raised")
    assert receiver.docs(f"gas/{METER}/state")[-1]["alarms"] == ["battery_low"]
    (info,) = receiver.docs(f"gas/{METER}/info")
    assert (info["kind"], info["model"], info["manufacturer"]) == ("gas_meter", "物联网表", "F001")


async def test_v2_and_v3_an_old_frozen_reading_is_history_once_and_answered_alike(receiver: Receiver) -> None:
    newer = fixture("v1") | {"meter_comm_no": OTHER}
    good(await receiver.gas(DATA, newer))
    first = good(await receiver.gas(DATA, fixture_bytes("v2")))
    await receiver.restart()
    assert good(await receiver.gas(DATA, fixture_bytes("v2"))) == first
    assert len(receiver.docs(f"gas/{OTHER}/telemetry")) == 1
    (record,) = receiver.docs(f"gas/{OTHER}/history")
    assert (record["ts"], record["extra"]["data_type"]) == ("2021-03-31T16:00:00Z", "1")
    assert json.loads(json.dumps(record["metrics"], default=float)) == {
        "gas_volume": 99.9,
        "valve_state": "closed",
    }
    state = receiver.docs(f"gas/{OTHER}/state")[-1]
    assert (float(state["metrics"]["gas_volume"]), state["metrics"]["valve_state"]) == (1234.567, "open")


async def test_v4_broken_ext_data_stays_text(receiver: Receiver) -> None:
    good(await receiver.gas(DATA, fixture_bytes("v4")))
    (record,) = receiver.docs("gas/1234567890/telemetry")
    assert (record["metrics"], record["extra"]["ext_data"]) == ({"gas_volume": 1}, "not json")


async def test_v5_an_alarm_is_raised_once_whatever_its_form(receiver: Receiver) -> None:
    forms = [
        fixture("v5"),
        fixture("v5") | {"device_type": 1, "alarm_data": {"times": 4}},
        [fixture("v5") | {"alarm_code": "3", "alarm_time": "2021-04-07T23:59:59"}],
        fixture("v5") | {"receive_time": "2021-04-08 01:00:00"},
    ]
    answers = {good(await receiver.gas(ALARM, form)) for form in forms}
    assert len(answers) == 1
    assert 0 < answers.pop() < 2**31
    (alarm,) = receiver.docs("gas/1234567890/alarm")
    assert (alarm["id"], alarm["ts"]) == (
        "iotmeter:1234567890:vendor_3:1617811199",
        "2021-04-07T15:59:59Z",
    )
    assert (alarm["vendor_code"], alarm["message"], alarm["data"]) == ("3", "磁攻击", {"times": 4})


async def test_v6_an_event_makes_an_rtu(receiver: Receiver) -> None:
    for _ in range(2):
        assert 0 < good(await receiver.gas(EVENT, fixture_bytes("v6"))) < 2**31
    (event,) = receiver.docs(f"gas/{RTU}/event")
    assert (event["code"], event["vendor_code"], event["kind"]) == ("vendor_12", "12", "rtu")
    assert event["ts"] == "2021-04-07T00:00:00Z"
    assert [doc["kind"] for doc in receiver.docs(f"gas/{RTU}/info")] == ["rtu"]


async def test_v7_of_a_task_of_somebody_else_is_one_event_and_two_answers(receiver: Receiver) -> None:
    item = {"ctrl_id": 15, "meter_comm_no": METER, "result": True, "message": ""}
    for _ in range(2):
        assert good(await receiver.gas(REPORT, fixture_bytes("v7"))) == [item, item]
    (event,) = receiver.docs(f"gas/{METER}/event")
    assert (event["code"], event["data"]["ctrl_id"], event["data"]["return_data"]["success"]) == (
        "foreign_command", 15, 187,
    )  # fmt: skip
    assert receiver.docs("gas/+/ack") == []


POLLED = {
    "data_guid": "LA6owvN3SECEP2zL2fkYxg==",
    "company_no": "1001",
    "acquisition_time": "2021-04-07T08:00:00",
    "receive_time": "2021-04-07T08:00:13.1200000",
    "std_sum": "1234.5670",
    "last_cycle_sum": "120.000",
    "remain_volume": 0.0,
    "rssi": "-97",
    "ext_data": '{"valve_open": true}',
}


@pytest.mark.parametrize("first", ["push", "poll"])
async def test_a_record_pushed_five_times_and_polled_once_is_published_once(
    receiver: Receiver, first: str
) -> None:
    full = fixture("v1") | POLLED | {"ext_data": json.dumps(fixture("v1")["ext_data"])}
    if first == "poll":
        await polled(receiver, full)
    for _ in range(5):
        good(await receiver.gas(DATA, fixture_bytes("v1")))
    await polled(receiver, full)
    await polled(receiver, fixture("v1") | POLLED)
    await receiver.restart()
    good(await receiver.gas(DATA, fixture_bytes("v1")))
    (record,) = receiver.docs(f"gas/{METER}/telemetry")
    assert record["source"] == first
    assert receiver.docs(f"gas/{METER}/history") == []


async def test_telemetry_never_steps_back_whatever_comes_late(receiver: Receiver) -> None:
    def at(hour: int) -> dict[str, Any]:
        return fixture("v1") | {"acquisition_time": f"2021-04-07 {hour:02}:00", "std_sum": hour}

    for hour in (3, 1, 5, 4, 5, 2, 6, 1):
        good(await receiver.gas(DATA, at(hour)))
    assert [doc["metrics"]["gas_volume"] for doc in receiver.docs(f"gas/{METER}/telemetry")] == [3, 5, 6]
    assert [doc["metrics"]["gas_volume"] for doc in receiver.docs(f"gas/{METER}/history")] == [1, 4, 2]
    assert receiver.docs(f"gas/{METER}/state")[-1]["ts"] == "2021-04-06T19:00:00Z"


@pytest.mark.parametrize("endpoint", [DATA, ALARM, EVENT, REPORT])
@pytest.mark.parametrize("shape", ["/{0}", "{0}/", "/post%20{1}", "/post{0}", "/POST%20{1}"])
async def test_an_address_may_be_written_as_in_the_document_and_otherwise(
    receiver: Receiver, endpoint: str, shape: str
) -> None:
    body = {DATA: "v1", ALARM: "v5", EVENT: "v6", REPORT: "v7"}[endpoint]
    spelled = shape.format(endpoint, endpoint.lstrip("/"))
    for tail in (spelled, spelled.lower(), spelled.replace("/Add", "//ADD").replace("/Report", "//REPORT")):
        good(await receiver.gas(tail, fixture_bytes(body)))


@pytest.mark.parametrize("headers", [KEYS | {"company_no": "1002"}, KEYS | {"data_api_key": "x"}])
async def test_a_wrong_key_header_is_401_and_nothing_is_published(
    receiver: Receiver, headers: dict[str, str]
) -> None:
    before = receiver.messages("#")
    for endpoint in (DATA, ALARM, EVENT, REPORT):
        answer = await receiver.gas(endpoint, fixture_bytes("v1"), **headers)
        assert answer.status_code == 401
    assert receiver.messages("#") == before
    assert receiver.dead_letters() == []


async def test_the_log_says_that_the_keys_are_missing_not_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Receiver(tmp_path, push="require_key_headers: true") as receiver:
        assert (await receiver.gas(DATA, fixture_bytes("v1"))).status_code == 401
        assert (
            await receiver.gas(DATA, fixture_bytes("v1"), **KEYS | {"company_no": "x"})
        ).status_code == 401
        assert (await receiver.gas("/elsewhere", b"{}")).status_code == 404
    told = [record.what for record in caplog.records if record.getMessage() == "push.denied"]  # type: ignore[attr-defined] # a field of this event
    assert told == ["key_missing", "key", "path"]


async def test_key_headers_are_known_in_any_case(receiver: Receiver) -> None:
    headers = {"Company_No": COMPANY, "DATA_API_KEY": KEY}
    good(await receiver.gas(DATA, fixture_bytes("v1"), **headers))


@pytest.mark.parametrize(
    ("endpoint", "empty"),
    [(DATA, None), (ALARM, 0), (EVENT, 0), (REPORT, []), ("/post%20api/Data/DeviceAlarm/Add", 0)],
)
@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"company_no=1"])
async def test_what_is_no_json_is_refused_in_the_form_of_its_receiver(
    receiver: Receiver, endpoint: str, empty: Any, body: bytes
) -> None:
    answer = await receiver.gas(endpoint, body)
    assert answer.status_code == 400
    assert (answer.json()["Data"], answer.json()["State"]) == (empty, "failed")
    assert receiver.dead_letters() == []


async def test_what_cannot_be_used_is_a_dead_letter_once_and_a_success(receiver: Receiver) -> None:
    timeless = {name: value for name, value in fixture("v1").items() if name != "acquisition_time"}
    for _ in range(3):
        good(await receiver.gas(DATA, timeless))
    ((source, body, reason),) = receiver.dead_letters()
    assert (source, json.loads(body)) == (DATA, timeless)
    assert "acquisition_time" in reason
    (event,) = receiver.docs("bridge/event")
    assert (event["code"], event["account"]) == ("push_dead_letter", "gas")
    good(await receiver.gas(DATA, fixture_bytes("v1")))
    assert len(receiver.docs(f"gas/{METER}/telemetry")) == 1


async def test_a_byte_order_mark_in_front_of_the_json_is_no_damage(receiver: Receiver) -> None:
    good(await receiver.gas(DATA, b"\xef\xbb\xbf" + fixture_bytes("v1")))
    assert len(receiver.docs(f"gas/{METER}/telemetry")) == 1


async def test_breaker_callbacks_are_answered_in_their_own_form(receiver: Receiver) -> None:
    report = {"device_sn": "W71E0000001", "cmd": "power_report", "info": {"total_electricity": "12.34"}}
    answer = await receiver.post(SHOP, report)
    assert (answer.status_code, answer.content) == (200, b'{"code":0,"msg":"success"}')
    stranger = await receiver.post(SHOP, report | {"device_sn": "W71E0000002"})
    assert (stranger.status_code, stranger.content) == (200, b'{"code":0,"msg":"success"}')
    assert len(receiver.dead_letters()) == 1
    broken = await receiver.post(SHOP, b"{")
    assert (broken.status_code, broken.json()["code"]) == (400, 1)


async def test_the_failing_store_is_told_in_the_form_of_the_receiver(receiver: Receiver) -> None:
    receiver.gateway.roster.leave("gas")  # as during a reload
    for endpoint, empty in ((DATA, None), (ALARM, 0), (EVENT, 0), (REPORT, [])):
        answer = await receiver.post(GAS + endpoint, fixture_bytes("v7"))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json() == {"Data": empty, "State": "failed", "Message": "temporarily unavailable"}


async def test_a_third_battery_level_is_no_better_than_the_second(receiver: Receiver) -> None:
    for minute, level in enumerate((1, 2, 3, 3, 0)):
        body = fixture("v1") | {
            "acquisition_time": f"2021-04-07 09:0{minute}:00",
            "ext_data": {"power_level": level},
        }
        good(await receiver.gas(DATA, body))
    alarms = receiver.docs(f"gas/{METER}/alarm")
    assert [(one["severity"], one["state"], one["data"]) for one in alarms] == [
        ("warning", "raised", {"power_level": 1}),
        ("warning", "cleared", {"power_level": 2}),
        ("critical", "raised", {"power_level": 2}),
        ("critical", "cleared", {"power_level": 0}),
    ]


async def test_a_level_beyond_the_known_ones_raises_the_alarm_with_what_was_sent(receiver: Receiver) -> None:
    good(await receiver.gas(DATA, fixture("v1") | {"ext_data": {"power_level": "3"}}))
    (alarm,) = receiver.docs(f"gas/{METER}/alarm")
    assert (alarm["code"], alarm["severity"], alarm["data"]) == (
        "battery_low",
        "critical",
        {"power_level": 3},
    )


@pytest.mark.parametrize(("opened", "closed"), [(True, False), ("true", "false"), (1, 0)])
async def test_the_event_of_a_valve_holds_what_the_platform_sent(
    receiver: Receiver, opened: Any, closed: Any
) -> None:
    for hour, value in ((9, closed), (10, opened)):
        body = fixture("v1") | {
            "acquisition_time": f"2021-04-07 {hour:02}:00:00",
            "ext_data": json.dumps({"valve_open": value}),
        }
        good(await receiver.gas(DATA, body))
    (event,) = receiver.docs(f"gas/{METER}/event")
    assert (event["code"], event["data"]) == ("valve_opened", {"valve_open": opened})


async def test_a_command_of_somebody_else_for_an_unknown_meter_is_told_of_a_gas_meter(
    receiver: Receiver,
) -> None:
    good(await receiver.gas(REPORT, fixture_bytes("v7")))
    (event,) = receiver.docs(f"gas/{METER}/event")
    assert (event["code"], event["kind"]) == ("foreign_command", "gas_meter")
    (info,) = receiver.docs(f"gas/{METER}/info")
    assert (info["kind"], info["serial"]) == ("gas_meter", METER)


@pytest.mark.parametrize("head", ["//push/gas/", "/push//gas/", "/Push/gas/", "/push/gas//"])
async def test_slashes_may_be_doubled_and_the_head_written_in_any_case(receiver: Receiver, head: str) -> None:
    address = GAS.replace("/push/gas/", head)
    assert len(good(await receiver.post(f"http://gateway.invalid{address}{DATA}", fixture_bytes("v1")))) == 24
