"""The receivers for the platform's pushes: vectors V1 to V7, the answers, the headers, the paths."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.device import DeviceKind
from bridge.domain.errors import PushDenied, PushMalformed, PushUnusable
from bridge.domain.observation import AlarmMessage, Confirmation, Described, Event, Reading
from bridge.domain.text import dumps, loads
from bridge.ports import PushRequest
from bridge.vendors.iotmeter.push import guid, positive_int
from bridge.vendors.iotmeter.tasks import SUFFIXES
from tests.unit.vendors.iotmeter.bench import (
    COMPANY,
    KEY,
    METER,
    NOW,
    OTHER,
    Scripted,
    fixture,
    fixture_bytes,
    page,
)
from tests.unit.vendors.iotmeter.test_codec import json_values, records

DATA = "/api/Data/MeterData/Add"
ALARM = "/api/Data/DeviceAlarm/Add"
EVENT = "/api/Data/DeviceEvent/Add"
REPORT = "/api/Conf/CtrlData/Report"
ENDPOINTS = [DATA, ALARM, EVENT, REPORT]
KEYS = {"company_no": COMPANY, "data_api_key": KEY}
BODIES = {DATA: fixture("v1"), ALARM: fixture("v5"), EVENT: fixture("v6"), REPORT: fixture("v7")}


def observations(pushed: Any) -> list[Any]:
    return [one for batch in pushed.batches for one in batch.observations]


def told(pushed: Any) -> Any:
    assert pushed.answer.content_type == "application/json; charset=utf-8"
    return json.loads(pushed.answer.body)


def test_v1_a_reading_is_taken_and_answered_with_a_guid(bench: Scripted) -> None:
    pushed = bench.push(DATA, fixture_bytes("v1"), **KEYS)
    kinds = [type(one).__name__ for one in observations(pushed)]
    assert kinds == ["Described", "Reading", "Availability"]
    answer = told(pushed)
    assert list(answer) == ["Data", "State", "Message"]
    assert (answer["State"], answer["Message"], pushed.answer.status) == ("success", "", 200)
    assert len(answer["Data"]) == 24
    assert answer["Data"].endswith("==")
    assert len(base64.b64decode(answer["Data"], validate=True)) == 16


def test_v3_the_same_push_again_gets_the_same_answer(bench: Scripted) -> None:
    first = bench.push(DATA, fixture_bytes("v2"))
    bench.restart()
    again = bench.push(DATA, fixture_bytes("v2"))
    assert again.answer == first.answer
    assert observations(again) == observations(first)


def test_another_way_of_writing_the_same_reading_gets_the_same_answer(bench: Scripted) -> None:
    other = {**fixture("v2"), "data_type": 1, "acquisition_time": "2021-04-01 00:00:00"}
    assert told(bench.push(DATA, other)) == told(bench.push(DATA, fixture("v2")))
    for change in ({"data_type": 0}, {"acquisition_time": "2021-04-01 00:00:01"}, {"meter_comm_no": "1"}):
        assert told(bench.push(DATA, {**fixture("v2"), **change})) != told(bench.push(DATA, fixture("v2")))


def test_v4_a_reading_with_broken_ext_data_is_a_success(bench: Scripted) -> None:
    pushed = bench.push(DATA, fixture_bytes("v4"))
    reading = observations(pushed)[1]
    assert isinstance(reading, Reading)
    assert (reading.metrics, reading.extra["ext_data"]) == ({"gas_volume": 1}, "not json")
    assert told(pushed)["State"] == "success"


def test_v5_an_alarm_is_answered_with_a_positive_number(bench: Scripted) -> None:
    pushed = bench.push(ALARM, fixture_bytes("v5"))
    assert isinstance(observations(pushed)[-1], AlarmMessage)
    answer = told(pushed)
    assert answer == {"Data": answer["Data"], "State": "success", "Message": ""}
    assert type(answer["Data"]) is int
    assert 0 < answer["Data"] < 2**31
    assert told(bench.push(ALARM, {**fixture("v5"), "device_type": 1})) == answer
    assert told(bench.push(ALARM, {**fixture("v5"), "alarm_code": 4})) != answer


def test_v6_an_event_of_an_rtu_describes_it(bench: Scripted) -> None:
    described, _, event = observations(bench.push(EVENT, fixture_bytes("v6")))
    assert isinstance(described, Described)
    assert described.device.kind is DeviceKind.RTU
    assert isinstance(event, Event)


def test_v7_a_report_is_one_confirmation_and_two_answers(bench: Scripted) -> None:
    pushed = bench.push(REPORT, fixture_bytes("v7"))
    (word,) = observations(pushed)
    assert isinstance(word, Confirmation)
    assert (word.vendor_ref, word.command_id, word.device, word.native_state) == (15, None, METER, 3)
    assert word.data["return_data"]["success"] == 187
    item = {"ctrl_id": 15, "meter_comm_no": METER, "result": True, "message": ""}
    assert told(pushed) == {"Data": [item, item], "State": "success", "Message": ""}


def test_a_report_that_bears_our_id_hands_it_on(bench: Scripted) -> None:
    item = {**fixture("v7")[0], "ctrl_define_no": "brg-9", "ctrl_id": "15"}
    (word,) = observations(bench.push(REPORT, item))
    assert (word.command_id, word.vendor_ref) == ("brg-9", 15)


@pytest.mark.parametrize(
    ("change", "commands", "replaces"),
    [
        ({}, {"recharge"}, {6, 7, 99}),
        ({"ctrl_state": "3"}, {"recharge"}, {6, 7, 99}),
        ({"ctrl_state": 6}, {"recharge"}, set()),
        ({"ctrl_type": "iotmeter.common.setvalveoff", "ctrl_state": 1}, {"valve"}, set()),
        ({"ctrl_type": "iotmeter.openvalve"}, set(SUFFIXES), {6, 7, 99}),
        ({"ctrl_type": None, "ctrl_state": 4}, set(SUFFIXES), set()),
    ],
)
def test_a_report_tells_whose_task_it_may_be_and_what_it_turns_over(
    bench: Scripted, change: dict[str, Any], commands: set[str], replaces: set[int]
) -> None:
    (word,) = observations(bench.push(REPORT, [fixture("v7")[0] | change]))
    assert (word.commands, word.replaces) == (commands, replaces)


def test_reports_of_one_task_keep_their_order(bench: Scripted) -> None:
    items = [fixture("v7")[0] | {"ctrl_state": state} for state in (1, 2, 3, 2)]
    assert [one.native_state for one in observations(bench.push(REPORT, items))] == [1, 2, 3]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "shape",
    [
        str.lower,
        str.upper,
        lambda path: "/" + path,
        lambda path: path.replace("/api", "//api", 1).replace("/Add", "//Add"),
        lambda path: path + "/",
        lambda path: "/post%20" + path.lstrip("/"),
        lambda path: "/post " + path.lstrip("/"),
        lambda path: "/POST" + path,
    ],
)
def test_a_path_may_be_written_in_many_ways(
    bench: Scripted, endpoint: str, shape: Callable[[str], str]
) -> None:
    assert (
        bench.push(shape(endpoint), BODIES[endpoint]).answer == bench.push(endpoint, BODIES[endpoint]).answer
    )


@pytest.mark.parametrize(
    "tail", ["", "/", "/api/Data/MeterData", "/api/Data/MeterData/Add/x", "/api/Data/DeviceAlarm/Delete"]
)
def test_another_path_is_nobody(bench: Scripted, tail: str) -> None:
    with pytest.raises(PushDenied) as denied:
        bench.push(tail, {})
    assert denied.value.status == 404


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "headers",
    [{"company_no": "1002"}, {"data_api_key": "1"}, KEYS | {"company_no": ""}, KEYS | {"data_api_key": "ü"}],
)
def test_a_wrong_key_is_denied(bench: Scripted, endpoint: str, headers: dict[str, str]) -> None:
    with pytest.raises(PushDenied) as denied:
        bench.push(endpoint, BODIES[endpoint], **headers)
    assert denied.value.status == 401


def test_absent_headers_are_let_pass_and_logged_once(
    bench: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="test.iotmeter"):
        bench.push(DATA, fixture("v1"))
        bench.push(DATA, fixture("v1"), company_no=COMPANY)
        bench.push(DATA, fixture("v1"), **KEYS)
    assert [record.message for record in caplog.records] == ["push.without_key_headers"]


@pytest.mark.parametrize("missing", ["company_no", "data_api_key"])
def test_absent_headers_are_denied_where_they_are_required(
    make: Callable[..., Scripted], missing: str
) -> None:
    bench = make(push={"secret": "FAKE0000FAKE0000", "require_key_headers": True})
    assert bench.push(DATA, fixture("v1"), **KEYS).answer.status == 200
    with pytest.raises(PushDenied) as denied:
        bench.push(DATA, fixture("v1"), **{name: KEYS[name] for name in KEYS if name != missing})
    assert denied.value.status == 401


def test_a_dead_letter_that_comes_again_needs_no_key_headers(make: Callable[..., Scripted]) -> None:
    door = make(push={"secret": "FAKE0000FAKE0000", "require_key_headers": True}).adapter.push
    assert door is not None
    with pytest.raises(PushDenied):
        door.parse(request(DATA, fixture_bytes("v1")))
    assert door.parse(replace(request(DATA, fixture_bytes("v1")), vouched=True)).batches


def test_a_report_without_its_device_is_put_aside(bench: Scripted) -> None:
    with pytest.raises(PushUnusable, match="communication number"):
        bench.push(REPORT, {"ctrl_id": 15, "ctrl_state": 3})


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1,]", b"a=b"])
def test_a_body_that_is_no_json_is_malformed(bench: Scripted, endpoint: str, body: bytes) -> None:
    with pytest.raises(PushMalformed):
        bench.push(endpoint, body)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("body", [1, "x", None, {}, [1], [{}, {}]])
def test_json_of_no_use_is_put_aside(bench: Scripted, endpoint: str, body: Any) -> None:
    with pytest.raises(PushUnusable):
        bench.push(endpoint, body)


def test_an_excluded_device_is_put_aside(make: Callable[..., Scripted]) -> None:
    bench = make(devices={"exclude": ["123*"]})
    for endpoint in ENDPOINTS:
        with pytest.raises(PushUnusable, match="excludes"):
            bench.push(
                endpoint,
                BODIES[endpoint] if endpoint != EVENT else {**BODIES[EVENT], "device_comm_no": "1234"},
            )


def test_of_an_array_the_good_part_is_taken(bench: Scripted) -> None:
    pushed = bench.push(DATA, [fixture("v1"), {"meter_comm_no": OTHER}, fixture("v2"), 7])
    devices = [one.device for one in observations(pushed) if isinstance(one, Reading)]
    assert devices == [METER, OTHER]
    assert [loads(body) for body, _ in pushed.unusable] == [{"meter_comm_no": OTHER}, 7]
    assert "acquisition_time" in pushed.unusable[0][1]
    assert told(pushed)["Data"] == told(bench.push(DATA, fixture("v1")))["Data"]


def test_of_an_array_with_much_rubbish_the_whole_is_put_aside_once(bench: Scripted) -> None:
    body = dumps([fixture("v1"), *range(500)])
    pushed = bench.push(DATA, body)
    assert [one.device for one in observations(pushed) if isinstance(one, Reading)] == [METER]
    assert pushed.unusable == [
        (body, "500 of 501 parts could not be used, the first: expected a JSON object")
    ]


def test_a_single_object_is_taken_where_an_array_is_due_and_the_reverse(bench: Scripted) -> None:
    assert len(told(bench.push(REPORT, fixture("v7")[0]))["Data"]) == 1
    assert observations(bench.push(ALARM, [fixture("v5")])) == observations(bench.push(ALARM, fixture("v5")))


def test_a_report_answers_also_what_it_puts_aside(bench: Scripted) -> None:
    pushed = bench.push(REPORT, [fixture("v7")[0], {"ctrl_id": 0, "meter_comm_no": METER}, 5])
    assert [(item["ctrl_id"], item["result"]) for item in told(pushed)["Data"]] == [
        (15, True), (0, True), (0, True),
    ]  # fmt: skip
    assert len(pushed.unusable) == 2


def test_an_empty_report_is_a_success_and_nothing_else(bench: Scripted) -> None:
    pushed = bench.push(REPORT, [])
    assert (observations(pushed), told(pushed)["Data"]) == ([], [])


def request(tail: str, body: bytes) -> PushRequest:
    return PushRequest(tail, {}, body, NOW)


def test_the_success_of_a_useless_push_has_the_form_of_its_receiver(bench: Scripted) -> None:
    door = bench.adapter.push
    assert door is not None
    answers = {path: json.loads(door.success(request(path, b"{}")).body) for path in ENDPOINTS}
    assert {answer["State"] for answer in answers.values()} == {"success"}
    assert len(answers[DATA]["Data"]) == 24
    assert 0 < answers[ALARM]["Data"] < 2**31
    assert 0 < answers[EVENT]["Data"] < 2**31
    assert answers[REPORT]["Data"] == [{"ctrl_id": 0, "meter_comm_no": "", "result": True, "message": ""}]
    assert door.success(request(DATA, b"{}")) == door.success(request(DATA, b"{}"))
    assert json.loads(door.success(request(REPORT, b"1")).body)["Data"] == []


@pytest.mark.parametrize(("path", "empty"), [(DATA, None), (ALARM, 0), (EVENT, 0), (REPORT, [])])
def test_a_failure_has_the_empty_data_of_its_receiver(bench: Scripted, path: str, empty: Any) -> None:
    door = bench.adapter.push
    assert door is not None
    answer = door.failure(request(path, b""), 503, "temporarily unavailable")
    assert answer.status == 503
    assert json.loads(answer.body) == {
        "Data": empty, "State": "failed", "Message": "temporarily unavailable",
    }  # fmt: skip


def test_a_failure_before_the_path_is_known_has_null(bench: Scripted) -> None:
    door = bench.adapter.push
    assert door is not None
    assert json.loads(door.failure(None, 413, "too large").body)["Data"] is None


def test_without_push_settings_there_is_no_door(make: Callable[..., Scripted]) -> None:
    assert make(push=None).adapter.push is None


def test_a_push_without_type_does_not_forget_that_the_device_is_an_rtu(bench: Scripted) -> None:
    bench.push(EVENT, fixture("v6"))
    untyped = {name: value for name, value in fixture("v6").items() if name != "device_type"}
    described, *_ = observations(bench.push(EVENT, untyped))
    assert described.device.kind is DeviceKind.RTU


@given(st.text(max_size=40))
def test_ids_are_of_the_wanted_form_for_every_key(key: str) -> None:
    assert len(guid(key)) == 24
    assert len(base64.b64decode(guid(key), validate=True)) == 16
    assert 0 < positive_int(key) < 2**31


bodies = (
    st.binary(max_size=40)
    | json_values.map(dumps)
    | records.map(dumps)
    | st.lists(records | json_values, max_size=3).map(dumps)
)
tails = st.sampled_from([*ENDPOINTS, "/post%20api/Data/DeviceAlarm/Add"]) | st.text(max_size=20)
headers = st.dictionaries(st.sampled_from(sorted(KEYS)), st.sampled_from([COMPANY, KEY, "x"]), max_size=2)


@given(tails, bodies, headers)
def test_no_push_makes_the_door_stumble(tail: str, body: bytes, sent: dict[str, str]) -> None:
    bench = Scripted()
    door = bench.adapter.push
    assert door is not None
    try:
        pushed = door.parse(PushRequest(tail, sent, body, NOW))
    except (PushDenied, PushMalformed):
        return
    except PushUnusable:
        assert door.success(PushRequest(tail, sent, body, NOW)).status == 200
        return
    assert json.loads(pushed.answer.body)["State"] == "success"
    assert all(reason and loads(part) is not ... for part, reason in pushed.unusable)


async def test_a_device_of_which_only_a_report_tells_is_in_the_inventory(bench: Scripted) -> None:
    bench.push(REPORT, fixture_bytes("v7"), **KEYS)
    bench.cloud.will(page())
    assert [(one.native_id, one.kind) for one in await bench.adapter.inventory()] == [
        (METER, DeviceKind.GAS_METER)
    ]
