"""Every command from the message to the final acknowledgement: the exact request, the acks in order, the result."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.simulators.faults import Fault
from tests.commands.rows import LOSSES, Loss
from tests.unit.vendors.iotmeter.bench import METER, OTHER
from tests.unit.vendors.iotmeter.platform import Platform

NOW = "2024-01-01 20:00:00"
DAY_LATER, THREE_DAYS_LATER = "2024-01-02 20:00:00", "2024-01-04 20:00:00"
PRICES = {f"price{n}": Decimal(f"{n}.25") for n in range(1, 6)}
LADDERS = {f"ladder{n}": 100 * n for n in range(1, 5)}
NO_PRICES = {f"price{n}": 0 for n in range(1, 6)}
NO_LADDERS = {f"ladder{n}": 0 for n in range(1, 5)}
CHARGE = {"charge_value": Decimal("100.5"), "total_value": Decimal("100.5"), "charge_times": 1}
MONEY: dict[str, dict[str, Any]] = {
    "recharge": CHARGE,
    "open_account": {"charge_value": 5},
    "set_balance": {"remain_value": 7},
    "set_cumulant": {"std_sum": 1, "work_sum": 1},
}

# command, parameters, type of the task, its data as text, its end, the keys of `result`
TASKS: list[tuple[str, dict[str, Any], str, str, str, set[str] | None]] = [
    ("valve", {"state": "open"}, "common.setvalveon", "{}", DAY_LATER, None),
    ("valve", {"state": "close"}, "common.setvalveoff", "{}", THREE_DAYS_LATER, None),
    ("release_valve", {}, "common.releaseforce", "{}", DAY_LATER, None),
    (
        "set_price", {**PRICES, **LADDERS, "cycle_start": "2024-01-31T16:00:00Z", "cycle_month": 12},
        "prepay.setprice",
        '{"price1":1.25,"price2":2.25,"price3":3.25,"price4":4.25,"price5":5.25,"ladder1":100,"ladder2":200,'
        '"ladder3":300,"ladder4":400,"cycle_start":"2024-02-01 00:00:00","cycle_month":12}',
        THREE_DAYS_LATER, None,
    ),
    ("get_price", {}, "prepay.getprice", "{}", THREE_DAYS_LATER, {*PRICES, *LADDERS, "cycle_start", "cycle_month"}),
    ("set_balance", {"remain_value": Decimal("12.5")}, "prepay.setremain", '{"remain_value":12.5}',
     THREE_DAYS_LATER, {"remain_value"}),
    (
        "recharge", CHARGE, "prepay.remotecharge", '{"charge_value":100.5,"total_value":100.5,"charge_times":1}',
        THREE_DAYS_LATER, {"success", "reason", "calc_type", "remain"},
    ),
    (
        "get_recharge", {}, "prepay.getchargestate", "{}", THREE_DAYS_LATER,
        {"card_charge_times", "card_charge_value", "card_total_value",
         "remote_charge_times", "remote_charge_value", "remote_total_value"},
    ),
    (
        "open_account", {}, "prepay.openaccount",
        '{"charge_value":0,"total_value":0,"price1":0,"price2":0,"price3":0,"price4":0,"price5":0,"ladder1":0,'
        '"ladder2":0,"ladder3":0,"ladder4":0,"cycle_start_time":"2024-01-01 20:00:00","cycle_month":0}',
        THREE_DAYS_LATER, {"success", "reason", "reason_msg", "remain"},
    ),
    ("set_cumulant", {"std_sum": Decimal("1.5"), "work_sum": 0}, "common.setcumulant",
     '{"std_sum":1.5,"work_sum":0}', THREE_DAYS_LATER, None),
]  # fmt: skip


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Platform]:
    async with Platform(tmp_path) as running:
        yield running


async def order(
    gateway: Platform, command: str, params: dict[str, Any], **reserved: Any
) -> list[dict[str, Any]]:
    payload = {"id": "brg-9", **params, **reserved}
    return await gateway.command(f"home/{METER}/cmd/{command}", payload)


async def account(gateway: Platform, command: str, **payload: Any) -> dict[str, Any]:
    acks = await gateway.command(f"home/cmd/{command}", payload)
    last: dict[str, Any] = acks[-1]
    return last


# commands of a meter --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "params", "kind", "data", "ends", "keys"), TASKS)
async def test_a_task_is_queued_exactly_followed_and_acknowledged_with_its_result(
    gateway: Platform,
    command: str,
    params: dict[str, Any],
    kind: str,
    data: str,
    ends: str,
    keys: set[str] | None,
) -> None:
    await order(gateway, command, params)
    assert gateway.sent_to("CtrlData/Add") == [
        (
            "CtrlData/Add",
            {
                "processor_name": "iotmeterv1",
                "ctrl_define_no": "brg-9",
                "target_comm_no": METER,
                "target_devtype": 1,
                "ctrl_time": NOW,
                "ctrl_timeout": ends,
                "ctrl_type": f"iotmeterv1.{kind}",
                "ctrl_data": data,
            },
        )
    ]
    assert gateway.states("brg-9") == [("accepted", None, None), ("sent", 0, 1)]
    await gateway.hours(2)
    assert gateway.states("brg-9")[2:] == [("succeeded", 3, 1)]
    final = gateway.final("brg-9")
    assert (set(final["result"]) if final["result"] is not None else None) == keys
    assert (final["code"], final["attempt"], final["duplicate"]) == (None, 1, False)
    assert gateway.effects().count("task_queued") == 1


@pytest.mark.parametrize(("command", "params"), [task[:2] for task in TASKS])
async def test_a_task_that_comes_again_or_is_only_tried_is_queued_once(
    gateway: Platform, command: str, params: dict[str, Any]
) -> None:
    (shown,) = await order(gateway, command, params, dry_run=True)
    assert (shown["status"], shown["dry_run"]) == ("succeeded", True)
    assert gateway.sent_to("CtrlData") == []
    await order(gateway, command, params)
    ((_path, body),) = gateway.sent_to("CtrlData/Add")
    assert shown["result"]["request"]["body"] == body
    assert shown["result"]["request"]["url"].endswith("/api/Conf/CtrlData/Add")
    for _ in range(2):
        (again,) = await order(gateway, command, params)
        assert (again["status"], again["duplicate"]) == ("sent", True)
        await gateway.restart()
    await gateway.hours(2)
    (again,) = await order(gateway, command, params)
    assert (again["status"], again["duplicate"]) == ("succeeded", True)
    (other,) = await gateway.command(
        f"home/{METER}/cmd/valve", {"id": "brg-9", "state": "open", "timeout_s": 60}
    )
    same = command == "valve" and params == {"state": "open"}
    assert other["code"] == (None if same else "id_reused")
    assert gateway.effects().count("task_queued") == 1


@pytest.mark.parametrize(("command", "times"), [("recharge", 170), ("open_account", 0)])
async def test_state_3_succeeds_with_its_own_good_flag_and_fails_with_the_bad_one(
    gateway: Platform, command: str, times: int
) -> None:
    gateway.sim.configure(OTHER, refuses=True)
    await order(gateway, command, MONEY[command])
    await gateway.command(f"home/{OTHER}/cmd/{command}", {"id": "bad-1", **MONEY[command]})
    await gateway.hours(2)
    assert gateway.final("brg-9")["result"]["success"] == times
    bad = gateway.final("bad-1")
    assert (bad["status"], bad["code"], bad["vendor_code"]) == ("failed", "device_refused", 3)
    assert bad["result"]["success"] == (187 if command == "recharge" else 1)
    assert "reason" in bad["result"]


ENDS = {
    4: ("failed", "device_refused"), 5: ("cancelled", None), 6: ("timed_out", "no_answer"),
    7: ("failed", "no_answer"), 99: ("timed_out", "no_answer"),
}  # fmt: skip


@pytest.mark.parametrize("state", ENDS)
@pytest.mark.parametrize(
    "command",
    [("valve", {"state": "close"}), ("release_valve", {}), ("get_price", {}), ("set_price", TASKS[3][1])],
)
async def test_what_may_run_twice_ends_as_its_tasks_state_says(
    gateway: Platform, command: tuple[str, dict[str, Any]], state: int
) -> None:
    await order(gateway, *command)
    _end(gateway, 1, state)
    await gateway.hours(0.5)
    final = gateway.final("brg-9")
    assert (final["status"], final["code"], final["vendor_code"], final["vendor_ref"]) == (
        *ENDS[state],
        state,
        1,
    )


def _end(gateway: Platform, ctrl_id: int, state: int) -> None:
    task = gateway.sim.queue.get(ctrl_id)
    assert task is not None
    task.state = state


@pytest.mark.parametrize("state", [4, 5])
@pytest.mark.parametrize("command", MONEY)
async def test_money_ends_without_a_question_where_the_state_is_clear(
    gateway: Platform, command: str, state: int
) -> None:
    await order(gateway, command, MONEY[command])
    _end(gateway, 1, state)
    await gateway.hours(2)
    assert gateway.final("brg-9")["status"] == ENDS[state][0]
    assert len(gateway.sent_to("CtrlData/Add")) == 1


@pytest.mark.parametrize("state", [6, 7, 99])
@pytest.mark.parametrize("command", ["set_balance", "set_cumulant", "open_account"])
async def test_money_that_the_platform_cannot_tell_of_is_for_a_person(
    gateway: Platform, command: str, state: int
) -> None:
    await order(gateway, command, MONEY[command])
    _end(gateway, 1, state)
    await gateway.hours(2)
    final = gateway.final("brg-9")
    assert (final["status"], final["vendor_code"]) == ("indeterminate", state)
    assert len(gateway.sent_to("CtrlData/Add")) == 1


@pytest.mark.parametrize("state", [6, 7, 99])
@pytest.mark.parametrize(("charged", "status"), [(True, "succeeded"), (False, "failed")])
async def test_a_recharge_that_the_platform_cannot_tell_of_is_told_by_the_meters_counter(
    gateway: Platform, state: int, charged: bool, status: str
) -> None:
    await order(gateway, "recharge", CHARGE)
    if charged:
        gateway.sim.wake(METER)
    _end(gateway, 1, state)
    await gateway.hours(2)
    final = gateway.final("brg-9")
    assert (final["status"], final["vendor_code"]) == (status, state)
    assert final["result"]["remote_charge_times"] == int(charged)
    (_first, (_path, question)) = gateway.sent_to("CtrlData/Add")
    assert question["ctrl_type"] == "iotmeterv1.prepay.getchargestate"
    assert gateway.effects().count("recharged") == int(charged)


async def test_a_recharge_whose_counter_nobody_can_read_is_indeterminate(gateway: Platform) -> None:
    await order(gateway, "recharge", CHARGE)
    _end(gateway, 1, 6)
    gateway.sim.configure(METER, asleep=True)
    await gateway.hours(24)
    assert gateway.statuses("brg-9") == ["accepted", "sent"]
    await gateway.hours(50)
    assert gateway.final("brg-9")["status"] == "indeterminate"
    assert gateway.effects().count("recharged") == 0


async def test_a_meter_that_wakes_up_after_days_and_restarts_is_waited_for(gateway: Platform) -> None:
    gateway.sim.configure(METER, asleep=True)
    await order(gateway, "recharge", CHARGE)
    for _ in range(3):
        await gateway.hours(23)
        await gateway.restart()
    assert gateway.statuses("brg-9") == ["accepted", "sent"]
    gateway.sim.configure(METER, asleep=False)
    await gateway.hours(2)
    assert gateway.statuses("brg-9") == ["accepted", "sent", "succeeded"]
    assert gateway.effects() == ["task_queued", "recharged"]


@pytest.mark.parametrize("command", ["valve", "recharge"])
async def test_a_meter_that_never_wakes_up_ends_with_the_tasks_time(gateway: Platform, command: str) -> None:
    gateway.sim.configure(METER, asleep=True)
    await order(gateway, command, {"state": "close"} if command == "valve" else CHARGE, timeout_s=7200)
    assert gateway.sent_to("CtrlData/Add")[0][1]["ctrl_timeout"] == "2024-01-01 22:00:00"
    await gateway.hours(3)
    if command == "valve":
        assert gateway.final("brg-9")["status"] == "timed_out"
    else:
        assert gateway.statuses("brg-9") == ["accepted", "sent"]
        await gateway.hours(80)
        assert gateway.final("brg-9")["status"] == "indeterminate"


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("command", [*MONEY, "valve", "release_valve", "set_price", "get_price"])
async def test_a_lost_answer_is_resolved_by_the_name_of_the_task(
    gateway: Platform, command: str, loss: Loss
) -> None:
    """METRICS 4.1, last column: money and opening are not queued twice, the rest is where the platform has nothing."""
    params = {**MONEY, "valve": {"state": "open"}, "set_price": TASKS[3][1]}.get(command, {})
    acts = loss.acts
    gateway.sim.faults.add(Fault(endpoint="CtrlData/Add", **loss.fault))
    await order(gateway, command, params)
    await gateway.hours(2)
    searches = gateway.sent_to("CtrlData/GetList")
    assert searches[0][1] == {"ctrl_define_no": "brg-9", "target_comm_no": METER}
    again = command in ("set_price", "get_price")
    assert len(gateway.sent_to("CtrlData/Add")) == (2 if again and not acts else 1)
    final = gateway.final("brg-9")
    if acts or again:
        assert gateway.statuses("brg-9") == ["accepted", "sent", "succeeded"]
    else:
        assert (final["status"], final["code"]) == ("failed", "vendor_unreachable")
        assert "not queued" in final["message"]
    assert gateway.effects().count("task_queued") == int(acts or again)


async def test_reading_and_cancelling_do_not_wait_behind_a_recharge(gateway: Platform) -> None:
    gateway.sim.configure(METER, asleep=True)
    await order(gateway, "recharge", CHARGE)
    await gateway.command(f"home/{METER}/cmd/recharge", {"id": "p2", **CHARGE})
    read = await gateway.command(f"home/{METER}/cmd/read", {})
    assert (read[-1]["status"], read[-1]["result"]["device"]) == ("succeeded", METER)
    await gateway.hours(1)
    assert gateway.statuses("p2") == ["accepted"]
    await gateway.command(f"home/{METER}/cmd/cancel", {"id": "x1", "command_id": "brg-9"})
    done = gateway.final("x1")
    assert (done["status"], done["vendor_code"], done["vendor_ref"]) == ("succeeded", 5, 1)
    assert gateway.sent_to("CtrlData/Cancel") == [("CtrlData/Cancel/1", None)]
    # who follows the task is told of it, and need not wait for its next look, half an hour later
    await gateway.advance(1)
    assert gateway.final("brg-9")["status"] == "cancelled"
    assert gateway.statuses("p2") == ["accepted", "sent"]


async def test_a_cancel_of_what_is_over_says_so(gateway: Platform) -> None:
    await order(gateway, "valve", {"state": "close"})
    await gateway.hours(2)
    acks = await gateway.command(f"home/{METER}/cmd/cancel", {"ctrl_id": 1})
    assert (acks[-1]["status"], acks[-1]["code"], acks[-1]["vendor_code"]) == ("failed", "device_refused", 3)
    acks = await gateway.command(f"home/{METER}/cmd/cancel", {"command_id": "nobody"})
    assert acks[-1]["status"] == "failed"


async def test_a_retry_goes_to_the_platform_and_money_is_refused_at_the_door(gateway: Platform) -> None:
    await order(gateway, "valve", {"state": "close"})
    await gateway.command(f"home/{METER}/cmd/recharge", {"id": "p1", **CHARGE})
    for ctrl_id in (1, 2):
        _end(gateway, ctrl_id, 4)
    await gateway.hours(0.5)
    for name in ({"command_id": "p1"}, {"ctrl_id": 2}):
        (ack,) = await gateway.command(f"home/{METER}/cmd/retry", name)
        assert (ack["status"], ack["code"]) == ("rejected", "not_allowed")
    ack = await account(gateway, "retry_tasks", ctrl_ids=[1, 2])
    assert (ack["status"], ack["code"]) == ("rejected", "not_allowed")
    acks = await gateway.command(f"home/{METER}/cmd/retry", {"command_id": "brg-9"})
    assert [ack["status"] for ack in acks] == ["accepted", "succeeded"]
    assert gateway.sent_to("CtrlData/Retry") == [("CtrlData/Retry/1", None)]


async def test_a_refused_login_fails_the_command_and_reading_goes_on(gateway: Platform) -> None:
    gateway.sim.sessions.expire()
    gateway.sim.account = type(gateway.sim.account)("1001", "0" * 32, "u", "another")
    await order(gateway, "valve", {"state": "close"})
    final = gateway.final("brg-9")
    assert (final["status"], final["code"], final["attempt"]) == ("failed", "auth_failed", 0)
    assert gateway.health.pause_s("home") == 0
    read = await gateway.command(f"home/{METER}/cmd/read", {})
    assert read[-1]["status"] == "succeeded"
    assert gateway.effects() == []


async def test_a_refused_login_is_tried_again_after_half_a_minute(gateway: Platform) -> None:
    account = gateway.sim.account
    gateway.sim.sessions.expire()
    gateway.sim.account = type(account)("1001", "0" * 32, "u", "another")
    await order(gateway, "valve", {"state": "close"})
    gateway.sim.account = account
    await gateway.command(f"home/{METER}/cmd/valve", {"id": "early", "state": "close"})
    assert gateway.final("early")["code"] == "auth_failed"
    await gateway.advance(31)
    await gateway.command(f"home/{METER}/cmd/valve", {"id": "later", "state": "close"})
    assert gateway.statuses("later") == ["accepted", "sent"]


# commands of the account ----------------------------------------------------------------------------------------------

NEW = {"ctrl_type": "iotmeterv1.common.setvalveoff", "ctrl_data": {}}
TWO = [
    {"target_comm_no": METER, **NEW},
    {"target_comm_no": OTHER, **NEW, "ctrl_timeout": "2024-01-03T00:00:00Z"},
]


async def test_tasks_are_added_in_a_batch_each_with_its_own_outcome(gateway: Platform) -> None:
    ack = await account(gateway, "add_tasks", id="batch-1", tasks=TWO, confirm=True)
    ((path, body),) = gateway.sent_to("CtrlData/AddMulti")
    assert path == "CtrlData/AddMulti"
    assert body == [
        {
            "processor_name": "iotmeterv1", "ctrl_define_no": f"batch-1-{number}", "target_comm_no": target,
            "target_devtype": 1, "ctrl_time": NOW, "ctrl_timeout": ends,
            "ctrl_type": "iotmeterv1.common.setvalveoff", "ctrl_data": "{}",
        }
        for number, target, ends in ((1, METER, THREE_DAYS_LATER), (2, OTHER, "2024-01-03 08:00:00"))
    ]  # fmt: skip
    assert ack["status"] == "succeeded"
    assert [(one["ctrl_id"], one["target_comm_no"], one["result"]) for one in ack["result"]["items"]] == [
        (1, METER, True), (2, OTHER, True),
    ]  # fmt: skip


async def test_a_task_is_listed_shown_described_changed_and_deleted(gateway: Platform) -> None:
    await order(gateway, "valve", {"state": "close"})
    listed = await account(gateway, "list_tasks", target_comm_no=METER, rowcount=10)
    assert gateway.asked()[-1] == ("CtrlData/GetList", {"target_comm_no": METER})
    assert (listed["status"], listed["result"]["total"]) == ("succeeded", 1)
    assert listed["result"]["tasks"][0]["ctrl_define_no"] == "brg-9"
    shown = await account(gateway, "get_task", ctrl_id=1)
    assert gateway.asked()[-1] == ("CtrlData/GetModel/1", None)
    assert (shown["status"], shown["vendor_code"], shown["vendor_ref"]) == ("succeeded", 0, 1)
    assert shown["result"]["ctrl_data"] == {}
    told = await account(gateway, "describe_task", ctrl_id=1)
    assert gateway.asked()[-1] == ("CtrlData/GetDetial/1", None)
    assert "brg-9" in told["result"]["text"]
    record = {**shown["result"], "ctrl_timeout": "2024-01-05 20:00:00"}
    for name, payload in (("update_task", record), ("update_tasks", {"tasks": [record]})):
        refused = await account(gateway, name, **payload)
        assert (refused["status"], refused["code"]) == ("rejected", "confirm_required")
        changed = await account(gateway, name, confirm=True, **payload)
        assert changed["status"] == "succeeded", changed
    ((_, sent),) = gateway.sent_to("CtrlData/Update")[:1]
    assert (sent["ctrl_timeout"], sent["ctrl_data"]) == ("2024-01-05 20:00:00", "{}")
    deleted = await account(gateway, "delete_task", ctrl_id=1, confirm=True)
    assert gateway.sent_to("CtrlData/Delete") == [("CtrlData/Delete/1", None)]
    assert (deleted["status"], deleted["result"]) == ("succeeded", {"ctrl_id": 1})
    gone = await account(gateway, "get_task", ctrl_id=1)
    assert (gone["status"], gone["code"]) == ("failed", "vendor_error")


@pytest.mark.parametrize("name", ["cancel_tasks", "delete_tasks", "retry_tasks"])
async def test_batches_of_ids_count_item_by_item(gateway: Platform, name: str) -> None:
    await account(gateway, "add_tasks", id="batch-1", tasks=TWO, confirm=True)
    if name == "retry_tasks":
        for ctrl_id in (1, 2):
            _end(gateway, ctrl_id, 4)
    ids = [2, 1] if name == "retry_tasks" else [1, 2, 77]
    ack = await account(gateway, name, ctrl_ids=ids, confirm=True)
    endpoint = {"cancel_tasks": "CancelMulti", "delete_tasks": "DeleteMulti", "retry_tasks": "RetryMulti"}[
        name
    ]
    assert gateway.asked()[-1] == (f"CtrlData/{endpoint}", ids)
    verdicts = {one["ctrl_id"]: one["result"] for one in ack["result"]["items"]}
    assert verdicts == {ctrl_id: ctrl_id != 77 for ctrl_id in ids}
    assert ack["status"] == ("succeeded" if name == "retry_tasks" else "failed")


# lost answers of the commands over tasks ------------------------------------------------------------------------------


def _task_state(gateway: Platform, ctrl_id: int) -> int | None:
    task = gateway.sim.queue.get(ctrl_id)
    return None if task is None else task.state


# command, device or account, parameters, end point, what shows that it was done
CHANGES: list[tuple[str, str | None, dict[str, Any], str, Any]] = [
    ("delete_task", None, {"ctrl_id": 1}, "CtrlData/Delete", lambda gateway: _task_state(gateway, 1) is None),
    ("delete_tasks", None, {"ctrl_ids": [1, 2]}, "CtrlData/DeleteMulti",
     lambda gateway: _task_state(gateway, 1) is None and _task_state(gateway, 2) is None),
    ("cancel_tasks", None, {"ctrl_ids": [1, 2]}, "CtrlData/CancelMulti",
     lambda gateway: _task_state(gateway, 1) == 5 and _task_state(gateway, 2) == 5),
    ("cancel", METER, {"ctrl_id": 1}, "CtrlData/Cancel", lambda gateway: _task_state(gateway, 1) == 5),
    ("add_tasks", None, {"tasks": [{"target_comm_no": OTHER, **NEW}]}, "CtrlData/AddMulti",
     lambda gateway: _task_state(gateway, 3) is not None),
]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize(("command", "target", "params", "endpoint", "is_done"), CHANGES)
async def test_a_lost_answer_about_tasks_is_resolved_by_looking_at_them(
    gateway: Platform,
    command: str,
    target: str | None,
    params: dict[str, Any],
    endpoint: str,
    is_done: Any,
    loss: Loss,
) -> None:
    for meter in (METER, OTHER):
        gateway.sim.configure(meter, asleep=True)
    await account(gateway, "add_tasks", id="batch-1", tasks=TWO, confirm=True)
    gateway.sim.faults.add(Fault(endpoint=endpoint, **loss.fault))
    await gateway.order(target, command, {"id": "c-1", "confirm": True, **params})
    final = await gateway.carried("c-1")
    sends = len([path for path, _body in gateway.sent_to(endpoint) if path.startswith(endpoint)])
    sends -= command == "add_tasks"  # the batch before
    assert (final["status"] == "succeeded") == is_done(gateway), final
    assert final["status"] in ("succeeded", "failed")
    assert final["status"] == "succeeded" or not loss.acts
    assert sends == 1 or (not loss.acts and command != "add_tasks")
