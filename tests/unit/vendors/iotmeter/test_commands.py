"""What can be commanded, with which parameters, and the exact requests (METRICS 4.1 and 4.3; vector V12)."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from bridge.contract.commands import CommandMessage, open_envelope, validate
from bridge.domain.command import Status
from bridge.domain.device import DeviceKind
from bridge.domain.errors import Rejection
from bridge.domain.interlocks import Act, Deed
from bridge.domain.text import dumps, loads
from tests.unit.vendors.iotmeter.bench import METER, NOW, OTHER, RTU, Scripted, fixture

PRICE: dict[str, Any] = {
    **{f"price{n}": n for n in range(1, 6)},
    **{f"ladder{n}": n * 10 for n in range(1, 5)},
    "cycle_start": "2021-04-01T00:00:00+08:00",
    "cycle_month": 12,
}
CHARGE = {"charge_value": 100.0, "total_value": 260.0, "charge_times": 3}
RECORD: dict[str, Any] = {
    "ctrl_id": 1, "upper_ctrl_id": 0, "company_no": "1001", "processor_name": "iotmeterv1",
    "ctrl_define_no": "brg-7f3a0c", "target_comm_no": METER, "target_devtype": 1,
    "ctrl_time": "2021-04-07 08:00:00", "ctrl_timeout": "2021-04-10T00:00:00Z", "ctrl_state": 0,
    "ctrl_state_msg": "等待发送", "ctrl_feedback_msg": "", "ctrl_type": "iotmeterv1.common.setvalveoff",
    "ctrl_data": "{}", "return_data": {"a": 1}, "sync_flag": 0, "sync_time": "2021-04-08", "sync_msg": "",
}  # fmt: skip
TASKS = {
    "tasks": [
        {"target_comm_no": METER, "ctrl_type": "iotmeterv1.common.setvalveoff", "ctrl_data": {}},
        {
            "target_comm_no": OTHER,
            "ctrl_type": "iotmeterv1.prepay.setremain",
            "ctrl_data": {"remain_value": 1},
        },
    ]
}
DEVICE = {
    "read", "history", "valve", "release_valve", "get_price", "get_recharge", "set_price", "set_balance",
    "recharge", "open_account", "set_cumulant", "cancel", "retry",
}  # fmt: skip
ACCOUNT = {
    "refresh_inventory", "list_tasks", "get_task", "describe_task", "update_task", "delete_task", "add_tasks",
    "update_tasks", "delete_tasks", "cancel_tasks", "retry_tasks",
}  # fmt: skip


def test_a_meter_an_rtu_and_an_account_take_what_the_page_lists(
    bench: Scripted, make: Callable[..., Scripted]
) -> None:
    assert set(bench.adapter.commands(bench.device())) == DEVICE
    assert set(bench.adapter.commands(bench.device(RTU, DeviceKind.RTU))) == {
        "read", "history", "cancel", "retry",
    }  # fmt: skip
    assert set(bench.adapter.commands(None)) == ACCOUNT
    only_data = make(control=None)
    assert set(only_data.adapter.commands(only_data.device())) == {"read", "history"}
    assert set(only_data.adapter.commands(None)) == {"refresh_inventory"}


@pytest.mark.parametrize(
    ("flag", "names"),
    [
        ("needs_id", {"set_price", "set_balance", "recharge", "open_account", "set_cumulant", "add_tasks"}),
        ("exclusive", {"set_balance", "recharge", "open_account", "set_cumulant"}),
        ("dangerous", {"update_task", "delete_task", "add_tasks", "update_tasks", "delete_tasks"}),
    ],
)
def test_flags_are_those_of_the_catalogue(bench: Scripted, flag: str, names: set[str]) -> None:
    assert {name for name in DEVICE | ACCOUNT if getattr(bench.spec(name), flag)} == names


def test_what_only_reads_goes_on_while_locked(bench: Scripted) -> None:
    reading = {
        "read", "history", "get_price", "get_recharge", "refresh_inventory", "list_tasks", "get_task",
        "describe_task",
    }  # fmt: skip
    assert {name for name in DEVICE | ACCOUNT if not bench.spec(name).writes} == reading


def test_only_what_needs_the_control_login_is_parked_with_it(bench: Scripted) -> None:
    without = {name for name in DEVICE | ACCOUNT if bench.spec(name).part == ""}
    assert without == {"read", "history", "refresh_inventory"}
    assert {bench.spec(name).part for name in DEVICE | ACCOUNT} == {"", "control"}


CHARGING = "iotmeterv1.prepay.remotecharge"


@pytest.mark.parametrize(
    ("kind", "data", "acts"),
    [
        (CHARGING, {"charge_value": 12.5}, [Act(Deed.RECHARGE, Decimal("12.5"), device=METER)]),
        (
            "iotmeter.prepay.openaccount",
            {"charge_value": "7"},
            [Act(Deed.RECHARGE, Decimal(7), device=METER)],
        ),
        (CHARGING, {}, [Act(Deed.RECHARGE, None, device=METER)]),
        (CHARGING, {"charge_value": -5}, [Act(Deed.RECHARGE, None, device=METER)]),
        ("iotmeterv1.common.setvalveon", {}, [Act(Deed.VALVE_OPEN, device=METER)]),
        ("iotmeterv1.common.releaseforce", {}, [Act(Deed.VALVE_OPEN, device=METER)]),
        ("iotmeterv1.prepay.getprice", {}, []),
    ],
)
def test_a_task_counts_for_the_interlocks_whichever_command_brings_it(
    bench: Scripted, kind: str, data: dict[str, Any], acts: list[Act]
) -> None:
    batch = {"tasks": [{"target_comm_no": METER, "ctrl_type": kind, "ctrl_data": data}]}
    record = RECORD | {"target_comm_no": METER, "ctrl_type": kind, "ctrl_data": json.dumps(data)}
    for name, params in (
        ("add_tasks", batch),
        ("update_task", record),
        ("update_tasks", {"tasks": [record]}),
    ):
        assert list(bench.spec(name).acts(given(bench, name, params))) == acts


def test_what_a_recharge_adds_is_counted_to_the_last_digit(bench: Scripted) -> None:
    params = given(bench, "recharge", CHARGE | {"charge_value": 0.1})
    assert bench.spec("recharge").acts(params) == (Act(Deed.RECHARGE, Decimal("0.1")),)


def test_what_is_not_idempotent_says_so(bench: Scripted) -> None:
    once = {
        "set_balance", "recharge", "open_account", "set_cumulant", "retry", "add_tasks", "retry_tasks",
    }  # fmt: skip
    assert {name for name in DEVICE | ACCOUNT if not bench.spec(name).idempotent} == once


@pytest.mark.parametrize("name", ["recharge", "set_balance", "open_account", "set_cumulant", "release_valve"])
def test_money_is_never_sent_again(bench: Scripted, name: str) -> None:
    after = bench.spec(name).after_loss(None)
    assert (after.send_again, after.otherwise) == (0, Status.INDETERMINATE)


def test_a_valve_is_closed_again_but_not_opened_again(bench: Scripted) -> None:
    spec = bench.spec("valve")
    closing, opening = (spec.params.model_validate({"state": word}) for word in ("close", "open"))
    assert spec.after_loss(closing).send_again == 1
    assert spec.after_loss(opening).send_again == 0
    evidence = spec.evidence(closing)
    assert evidence is not None
    assert (evidence.metric, evidence.value) == ("valve_state", "closed")


def test_a_task_is_followed_as_the_page_says(bench: Scripted) -> None:
    follow = bench.spec("valve").follow(None)
    assert follow.ask_at_s[:6] == (5.0, 15.0, 30.0, 60.0, 360.0, 660.0)
    assert (follow.ask_at_s[-1], follow.then_every_s) == (7260.0, 1800.0)
    assert follow.until_s > 72 * 3600 + 600


def given(bench: Scripted, name: str, params: dict[str, Any]) -> Any:
    message = CommandMessage("t", dumps(params), NOW)
    return validate(bench.spec(name), open_envelope(message))


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("valve", {"state": "open"}), ("set_price", PRICE), ("set_balance", {"remain_value": 0}), ("recharge", CHARGE),
    ("open_account", {}), ("open_account", {"ladder4": 4294967295, "cycle_start_time": "2021-04-01"}),
    ("set_cumulant", {"std_sum": 0, "work_sum": 0.5}), ("cancel", {"command_id": "a"}), ("retry", {"ctrl_id": 1}),
    ("history", {"start": "2021-04-01", "end": "2021-04-02T00:00:00Z", "interval_s": 60}), ("read", {}),
    ("list_tasks", {}), ("list_tasks", {"ctrl_state": 0, "startrow": 2, "rowcount": 200}),
    ("get_task", {"ctrl_id": 7}), ("update_task", RECORD), ("update_tasks", {"tasks": [RECORD]}),
    ("add_tasks", TASKS), ("delete_tasks", {"ctrl_ids": [1, 2]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params"), GOOD)
def test_good_parameters_are_taken_and_survive_the_journal(
    bench: Scripted, name: str, params: dict[str, Any]
) -> None:
    taken = given(bench, name, params)
    again = type(taken).model_validate_json(taken.model_dump_json(exclude_unset=True))
    assert again == taken
    jsonschema.validate(json.loads(dumps(params)), bench.spec(name).schema())


BAD: list[tuple[str, dict[str, Any]]] = [
    ("valve", {}), ("valve", {"state": "half"}), ("valve", {"state": "open", "force": True}),
    ("set_price", {name: value for name, value in PRICE.items() if name != "price5"}),
    ("set_price", PRICE | {"price1": -1}), ("set_price", PRICE | {"ladder1": 100}),
    ("set_price", PRICE | {"cycle_month": 0}), ("set_price", PRICE | {"cycle_month": 13}),
    ("set_price", PRICE | {"cycle_start": "0001-01-01T00:00:00Z"}),
    ("set_price", PRICE | {"cycle_start": "9999-12-31T23:59:59Z"}),
    ("open_account", {"cycle_start_time": "9999-12-31 23:59:59"}),
    ("set_price", PRICE | {"cycle_start": "2021-02-30"}), ("set_price", PRICE | {"cycle_start": "01.04.2021"}),
    ("set_price", PRICE | {"price1": "1"}), ("set_balance", {"remain_value": -0.01}), ("set_balance", {}),
    ("set_balance", {"remain_value": 1e13}), ("recharge", CHARGE | {"charge_value": 0}),
    ("recharge", CHARGE | {"total_value": 99.9}), ("recharge", CHARGE | {"charge_times": 0}),
    ("recharge", CHARGE | {"charge_times": 1.5}), ("recharge", CHARGE | {"charge_value": True}),
    ("recharge", CHARGE | {"charge_value": "100"}), ("open_account", {"ladder1": 1.5}),
    ("open_account", {"ladder1": 4294967296}), ("open_account", {"cycle_month": 13}),
    ("open_account", {"price1": -1}), ("set_cumulant", {"std_sum": 1}), ("cancel", {}),
    ("cancel", {"command_id": "a", "ctrl_id": 1}), ("retry", {"ctrl_id": 0}), ("cancel", {"command_id": ""}),
    ("history", {"start": "2021-04-01"}), ("history", {"start": "2021-04-01", "end": "soon"}),
    ("history", {"start": "2021-04-01", "end": "2021-04-02", "interval_s": 1}), ("read", {"x": 1}),
    ("list_tasks", {"rowcount": 201}), ("list_tasks", {"startrow": -1}), ("list_tasks", {"ctrl_time_from": "x"}),
    ("get_task", {"ctrl_id": "7"}), ("update_task", RECORD | {"ctrl_id": 0}),
    ("update_task", {name: value for name, value in RECORD.items() if name != "sync_msg"}),
    ("update_tasks", {"tasks": []}), ("update_tasks", {"tasks": [RECORD, RECORD]}),
    ("add_tasks", {"tasks": []}), ("add_tasks", {"tasks": [TASKS["tasks"][0]] * 2}),
    ("add_tasks", {"tasks": [TASKS["tasks"][0] | {"ctrl_data": "{}"}]}),
    ("add_tasks", {"tasks": [TASKS["tasks"][0] | {"ctrl_type": "x"}]}),
    ("add_tasks", {"tasks": [TASKS["tasks"][0] | {"target_devtype": 3}]}),
    ("delete_tasks", {"ctrl_ids": [1, 1]}), ("delete_tasks", {"ctrl_ids": []}),
    ("retry_tasks", {"ctrl_ids": list(range(1, 202))}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params"), BAD)
def test_bad_parameters_are_rejected(bench: Scripted, name: str, params: dict[str, Any]) -> None:
    with pytest.raises(Rejection) as rejected:
        given(bench, name, params)
    assert rejected.value.code == "invalid_params"
    with pytest.raises(ValidationError):
        bench.spec(name).params.model_validate_json(json.dumps(params))


def test_a_valve_takes_its_state_bare(bench: Scripted) -> None:
    assert bench.spec("valve").bare_key() == "state"


def checked(bench: Scripted, name: str, params: dict[str, Any], **fields: Any) -> None:
    order = bench.order(name, params, **fields)
    assert order.spec.check is not None
    order.spec.check(order)


def test_a_history_must_go_forward(bench: Scripted) -> None:
    checked(bench, "history", {"start": "2021-04-01", "end": "2021-04-01T00:00:00Z"})
    with pytest.raises(Rejection, match="after start"):
        checked(bench, "history", {"start": "2021-04-01 08:00:00", "end": "2021-04-01T00:00:00Z"})


def test_a_batch_needs_an_id_that_leaves_room_for_numbers(bench: Scripted) -> None:
    checked(bench, "add_tasks", TASKS, device=None, id="x" * 46)
    with pytest.raises(Rejection, match="46"):
        checked(bench, "add_tasks", TASKS, device=None, id="x" * 47)


def test_a_batch_is_no_way_around_the_configuration(make: Callable[..., Scripted]) -> None:
    bench = make(devices={"exclude": [OTHER]})
    with pytest.raises(Rejection, match="excludes"):
        checked(bench, "add_tasks", TASKS, device=None)
    bench = make(commands={"allow": ["add_tasks", "valve"]})
    with pytest.raises(Rejection, match="set_balance"):
        checked(bench, "add_tasks", TASKS, device=None)


def test_v12_a_valve_close_is_the_request_of_the_page(bench: Scripted) -> None:
    shown = bench.adapter.preview(bench.order("valve", {"state": "close"}))
    assert (shown.method, shown.url) == ("POST", "http://ctrl.example.invalid:2101/api/Conf/CtrlData/Add")
    assert shown.body == fixture("v12")
    assert shown.headers == {"Content-Type": "application/json", "token": "***"}


@pytest.mark.parametrize(
    ("name", "params", "suffix", "data"),
    [
        ("valve", {"state": "open"}, "common.setvalveon", {}),
        ("valve", {"state": "close"}, "common.setvalveoff", {}),
        ("release_valve", {}, "common.releaseforce", {}),
        ("get_price", {}, "prepay.getprice", {}),
        ("get_recharge", {}, "prepay.getchargestate", {}),
        ("set_price", PRICE, "prepay.setprice", {**PRICE, "cycle_start": "2021-04-01 00:00:00"}),
        ("set_balance", {"remain_value": 0.1}, "prepay.setremain", {"remain_value": 0.1}),
        ("recharge", CHARGE, "prepay.remotecharge", CHARGE),
        ("set_cumulant", {"std_sum": 1.5, "work_sum": 2}, "common.setcumulant", {"std_sum": 1.5, "work_sum": 2}),
        ("open_account", {"charge_value": 100, "ladder1": 7}, "prepay.openaccount", {
            "charge_value": 100, "total_value": 0, **{f"price{n}": 0 for n in range(1, 6)},
            "ladder1": 7, "ladder2": 0, "ladder3": 0, "ladder4": 0,
            "cycle_start_time": "2021-04-07 08:00:00", "cycle_month": 0,
        }),
    ],
)  # fmt: skip
def test_each_command_has_its_type_and_structure(
    bench: Scripted, name: str, params: dict[str, Any], suffix: str, data: dict[str, Any]
) -> None:
    body = bench.adapter.preview(bench.order(name, params)).body
    assert body["ctrl_type"] == f"iotmeterv1.{suffix}"
    assert json.loads(body["ctrl_data"]) == data
    assert list(json.loads(body["ctrl_data"])) == list(data)


def test_numbers_are_sent_as_they_were_written(bench: Scripted) -> None:
    params = {"charge_value": 0.1, "total_value": 123456.78, "charge_times": 3}
    body = bench.adapter.preview(bench.order("recharge", params)).body
    assert body["ctrl_data"] == '{"charge_value":0.1,"total_value":123456.78,"charge_times":3}'


@pytest.mark.parametrize(
    ("name", "params", "timeout_s", "ends"),
    [
        ("valve", {"state": "close"}, None, "2021-04-10 08:00:00"),
        ("valve", {"state": "open"}, None, "2021-04-08 08:00:00"),
        ("release_valve", {}, None, "2021-04-08 08:00:00"),
        ("recharge", CHARGE, None, "2021-04-10 08:00:00"),
        ("recharge", CHARGE, 3600.0, "2021-04-07 09:00:00"),
        ("valve", {"state": "open"}, 0.2, "2021-04-07 08:00:01"),
    ],
)
def test_a_task_has_the_time_of_the_page_or_the_senders(
    bench: Scripted, name: str, params: dict[str, Any], timeout_s: float | None, ends: str
) -> None:
    body = bench.adapter.preview(bench.order(name, params, timeout_s=timeout_s)).body
    assert (body["ctrl_time"], body["ctrl_timeout"]) == ("2021-04-07 08:00:00", ends)


def test_the_processor_can_be_configured(make: Callable[..., Scripted]) -> None:
    bench = make(processor="iotmeter")
    body = bench.adapter.preview(bench.order("get_price")).body
    assert (body["processor_name"], body["ctrl_type"]) == ("iotmeter", "iotmeter.prepay.getprice")


PREVIEWS: list[tuple[str, dict[str, Any], str, Any]] = [
    ("read", {}, f"Data/MeterData/GetRealModel/{METER}", {}),
    ("history", {"start": "2021-03-31", "end": "2021-04-02"},
     "Data/MeterData/GetHistoryList2?startrow=0&rowcount=200",
     {"meter_comm_no": METER, "data_type": 0, "year": 2021, "month": 3, "start_day": 31, "start_hour": 0,
      "start_minute": 0, "end_day": 31, "end_hour": 23, "end_minute": 59}),
    ("cancel", {"ctrl_id": 7}, "Conf/CtrlData/Cancel/7", None),
    ("retry", {"command_id": "x"}, "Conf/CtrlData/Retry/{ctrl_id}", None),
    ("refresh_inventory", {}, "Data/MeterData/GetRealList2?startrow=0&rowcount=200",
     {"orderby": "meter_comm_no", "sequence": "asc"}),
    ("list_tasks", {"target_comm_no": METER, "ctrl_time_from": "2021-04-06T16:00:00Z", "rowcount": 5},
     "Conf/CtrlData/GetList?startrow=0&rowcount=5",
     {"target_comm_no": METER, "ctrl_time_from": "2021-04-07 00:00:00"}),
    ("get_task", {"ctrl_id": 7}, "Conf/CtrlData/GetModel/7", None),
    ("describe_task", {"ctrl_id": 7}, "Conf/CtrlData/GetDetial/7", None),
    ("delete_task", {"ctrl_id": 7}, "Conf/CtrlData/Delete/7", None),
    ("delete_tasks", {"ctrl_ids": [8, 9]}, "Conf/CtrlData/DeleteMulti", [8, 9]),
    ("cancel_tasks", {"ctrl_ids": [8]}, "Conf/CtrlData/CancelMulti", [8]),
    ("retry_tasks", {"ctrl_ids": [8]}, "Conf/CtrlData/RetryMulti", [8]),
    ("update_task", RECORD, "Conf/CtrlData/Update",
     RECORD | {"ctrl_timeout": "2021-04-10 08:00:00", "return_data": '{"a":1}'}),
    ("update_tasks", {"tasks": [RECORD]}, "Conf/CtrlData/UpdateMulti",
     [RECORD | {"ctrl_timeout": "2021-04-10 08:00:00", "return_data": '{"a":1}'}]),
    ("add_tasks", TASKS, "Conf/CtrlData/AddMulti", [
        {"processor_name": "iotmeterv1", "ctrl_define_no": "brg-9-1", "target_comm_no": METER,
         "target_devtype": 1, "ctrl_time": "2021-04-07 08:00:00", "ctrl_timeout": "2021-04-10 08:00:00",
         "ctrl_type": "iotmeterv1.common.setvalveoff", "ctrl_data": "{}"},
        {"processor_name": "iotmeterv1", "ctrl_define_no": "brg-9-2", "target_comm_no": OTHER,
         "target_devtype": 1, "ctrl_time": "2021-04-07 08:00:00", "ctrl_timeout": "2021-04-10 08:00:00",
         "ctrl_type": "iotmeterv1.prepay.setremain", "ctrl_data": '{"remain_value":1}'},
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params", "url", "body"), PREVIEWS)
def test_a_dry_run_shows_the_request_and_sends_nothing(
    bench: Scripted, name: str, params: dict[str, Any], url: str, body: Any
) -> None:
    fields = {} if name in DEVICE else {"device": None}
    shown = bench.adapter.preview(bench.order(name, params, **fields))
    assert shown.url.partition("/api/")[2] == url
    assert loads(dumps(shown.body)) == body
    assert "***" in shown.headers.values()
    assert bench.cloud.requests == []


def test_a_dry_run_explains_what_else_is_asked(make: Callable[..., Scripted]) -> None:
    bench = make(recharge_check=True)
    assert "counters" in bench.adapter.preview(bench.order("recharge", CHARGE)).explain
    assert "looked up" in bench.adapter.preview(bench.order("cancel", {"command_id": "x"})).explain
    assert bench.adapter.preview(bench.order("get_price")).explain is None


def test_a_batch_with_a_time_that_has_passed_is_rejected(bench: Scripted) -> None:
    late = {"tasks": [TASKS["tasks"][0] | {"ctrl_timeout": "2021-04-07 08:00:00"}]}
    with pytest.raises(Rejection, match="has passed"):
        bench.adapter.preview(bench.order("add_tasks", late, device=None))
