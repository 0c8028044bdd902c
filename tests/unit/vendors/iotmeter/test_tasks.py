"""Control tasks: vectors V7, V8, V11, the states and the opposite result flags (page section 6)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.domain.command import Outcome, Status
from bridge.vendors.iotmeter.params import Recharge, SetBalance
from bridge.vendors.iotmeter.tasks import (
    Verdict,
    charge_mistake,
    charged,
    command_of,
    public_record,
    suffix_of,
    task_of,
    verdict,
)
from bridge.vendors.iotmeter.wire import answer_of, records_of
from tests.unit.vendors.iotmeter.bench import METER, fixture, fixture_bytes

CHINA = ZoneInfo("Asia/Shanghai")
RECHARGE = Recharge(charge_value=100.0, total_value=260.0, charge_times=3)


def task(state: Any, returned: Any = "{}", **fields: Any) -> Any:
    record = {"ctrl_id": 15, "ctrl_state": state, "return_data": returned, "ctrl_type": "iotmeterv1.x.y"}
    return task_of(record | fields, CHINA)


def decided(command: str, state: int, returned: Any = "{}", params: Any = None) -> Outcome:
    outcome = verdict(command, params, task(state, returned))
    assert isinstance(outcome, Outcome)
    return outcome


def test_v7_a_recharge_that_the_meter_refused_failed_although_its_state_is_3() -> None:
    outcome = verdict("recharge", RECHARGE, task_of(fixture("v7")[0], CHINA))
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.code, outcome.vendor_code, outcome.vendor_ref) == (
        Status.FAILED, "device_refused", 3, 15,
    )  # fmt: skip
    assert outcome.result == {"success": 187, "reason": 2, "calc_type": 0, "remain": pytest.approx(88.5)}
    assert "reason 2" in outcome.message


def test_v8_an_account_opening_succeeds_with_0() -> None:
    outcome = decided("open_account", 3, fixture_bytes("v8").decode())
    assert (outcome.status, outcome.result["remain"]) == (Status.SUCCEEDED, 100)


def test_v11_states_become_words() -> None:
    first, second = (task_of(record, CHINA) for record in records_of(answer_of(fixture_bytes("v11")).data))
    assert verdict("valve", None, first) is Verdict.WORKING
    outcome = verdict("valve", None, second)
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.code, outcome.vendor_code) == (Status.TIMED_OUT, "no_answer", 6)


@pytest.mark.parametrize("state", [0, 1, 2, 8, 50, -1])
@pytest.mark.parametrize("command", ["valve", "recharge"])
def test_a_state_that_is_not_final_decides_nothing(command: str, state: int) -> None:
    assert verdict(command, RECHARGE, task(state)) is Verdict.WORKING


@pytest.mark.parametrize("command", ["valve", "release_valve", "set_price", "get_price", "get_recharge"])
@pytest.mark.parametrize(
    ("state", "status"),
    [(3, Status.SUCCEEDED), (4, Status.FAILED), (5, Status.CANCELLED), (6, Status.TIMED_OUT),
     (7, Status.FAILED), (99, Status.TIMED_OUT)],
)  # fmt: skip
def test_a_harmless_command_ends_as_its_state_says(command: str, state: int, status: Status) -> None:
    assert decided(command, state).status is status


@pytest.mark.parametrize("command", ["recharge", "open_account", "set_balance", "set_cumulant"])
@pytest.mark.parametrize("state", [6, 7, 99])
def test_a_dangerous_command_without_answer_is_unclear(command: str, state: int) -> None:
    assert verdict(command, RECHARGE, task(state)) is Verdict.UNCLEAR


@pytest.mark.parametrize("command", ["recharge", "open_account", "set_balance", "set_cumulant"])
@pytest.mark.parametrize(("state", "status"), [(4, Status.FAILED), (5, Status.CANCELLED)])
def test_a_dangerous_command_that_was_refused_is_clear(command: str, state: int, status: Status) -> None:
    assert decided(command, state).status is status


@pytest.mark.parametrize(
    ("command", "flag", "status"),
    [
        ("recharge", 170, Status.SUCCEEDED), ("recharge", "170", Status.SUCCEEDED),
        ("recharge", 187, Status.FAILED), ("open_account", 0, Status.SUCCEEDED),
        ("open_account", 1, Status.FAILED), ("recharge", 0, None), ("recharge", None, None),
        ("open_account", 170, None), ("open_account", None, None), ("recharge", True, None),
    ],
)  # fmt: skip
def test_the_result_flags_say_the_opposite(command: str, flag: Any, status: Status | None) -> None:
    found = verdict(command, RECHARGE, task(3, {"success": flag}))
    if status is None:
        assert found is Verdict.UNCLEAR
    else:
        assert isinstance(found, Outcome)
        assert found.status is status


@pytest.mark.parametrize("returned", ["", "{}", None, "text", "[1]"])
def test_a_recharge_without_readable_result_is_unclear(returned: Any) -> None:
    assert verdict("recharge", RECHARGE, task(3, returned)) is Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("returned", "status"),
    [({"remain_value": 50.0}, Status.SUCCEEDED), ({"remain_value": "50.00"}, Status.SUCCEEDED), ({}, Status.SUCCEEDED),
     ({"remain_value": 49.9}, Status.FAILED)],
)  # fmt: skip
def test_a_balance_must_come_back_as_it_was_sent(returned: Any, status: Status) -> None:
    outcome = decided("set_balance", 3, json.dumps(returned), SetBalance(remain_value=50.0))
    assert outcome.status is status
    assert outcome.code == (None if status is Status.SUCCEEDED else "values_differ")


def test_what_a_task_returns_is_the_result() -> None:
    assert decided("get_price", 3, '{"price1": 2.63}').result == {"price1": Decimal("2.63")}
    assert decided("valve", 3, "{}").result is None
    assert decided("valve", 4, "").result is None


def test_the_platforms_words_are_part_of_the_message() -> None:
    found = verdict("valve", None, task(4, ctrl_state_msg="任务失败", ctrl_feedback_msg="阀门卡住"))
    assert isinstance(found, Outcome)
    assert found.message == "the task failed (任务失败; 阀门卡住)"


def test_a_task_is_read_from_a_record_and_from_a_report() -> None:
    read = task_of(fixture("v7")[0], CHINA)
    assert (read.ctrl_id, read.target, read.state, read.command) == (15, METER, 3, "recharge")
    assert read.created_at == datetime(2018, 8, 11, 2, 37, 56, tzinfo=UTC)
    assert read.ends_at == datetime(2018, 8, 15, 4, 37, 56, tzinfo=UTC)


@pytest.mark.parametrize(
    "change", [{"ctrl_id": 0}, {"ctrl_id": None}, {"ctrl_state": ""}, {"ctrl_state": "x"}]
)
def test_a_record_without_id_or_state_cannot_be_read(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="missing"):
        task_of({"ctrl_id": 1, "ctrl_state": 0} | change, CHINA)


@pytest.mark.parametrize(
    ("kind", "command"),
    [("iotmeterv1.common.setvalveoff", "valve"), ("iotmeter.common.setvalveon", "valve"),
     ("iotmeterv1.prepay.RemoteCharge", "recharge"), ("iotmeter.openvalve", None), ("", None)],
)  # fmt: skip
def test_a_type_is_known_by_its_group_and_name(kind: str, command: str | None) -> None:
    assert command_of(kind) == command
    assert "." not in suffix_of("iotmeter.openvalve")


@pytest.mark.parametrize(
    ("returned", "arrived"),
    [({"remote_charge_times": 3}, True), ({"remote_charge_times": "4"}, True), ({"remote_charge_times": 2}, False),
     ({}, None), ("text", None), (None, None)],
)  # fmt: skip
def test_the_counter_shows_whether_a_recharge_arrived(returned: Any, arrived: bool | None) -> None:
    assert charged(returned, 3) is arrived


def test_a_recharge_must_follow_the_counters() -> None:
    counters = {"remote_charge_times": 2, "remote_total_value": 160}
    assert charge_mistake(counters, 100.0, 260.0, 3) is None
    assert charge_mistake(counters, 100.0, 260.0, 4) == "charge_times must be 3"
    assert charge_mistake(counters, 100.0, 250.0, 3) == "total_value must be 260.000"
    with pytest.raises(ValueError, match="cannot be read"):
        charge_mistake({}, 1.0, 1.0, 1)


def test_a_record_is_shown_with_its_json_decoded() -> None:
    record = {"ctrl_id": 2, "ctrl_data": "{}", "return_data": '{"a":1}', "sync_msg": "{}"}
    assert public_record(record) == {"ctrl_id": 2, "ctrl_data": {}, "return_data": {"a": 1}, "sync_msg": "{}"}
