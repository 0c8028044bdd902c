"""The adapter against the simulated platform, end to end: every path, with the ledger as the truth."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from bridge.domain.command import Status
from bridge.domain.errors import LostAnswer, Refused
from bridge.domain.metrics import METRICS
from bridge.domain.observation import AlarmMessage, Confirmation, Event, Reading, Words
from bridge.simulators.faults import Fault
from tests.fakes.adapters import FakeEffect
from tests.unit.vendors.iotmeter.bench import METER, OTHER, RTU, Simulated
from tests.unit.vendors.iotmeter.test_commands import PRICE

CHARGE = {"charge_value": 100, "total_value": 100, "charge_times": 1}


async def test_inventory_readings_and_history_come_from_the_platform(sim: Simulated) -> None:
    devices = await sim.adapter.inventory()
    assert [device.native_id for device in devices] == [OTHER, METER]
    seen = await sim.poll("readings", *devices)
    readings = [one for one in seen if isinstance(one, Reading)]
    assert len(readings) == 2
    assert all(name in METRICS for reading in readings for name in reading.metrics)
    for _ in range(30):
        sim.pass_time(3600)
    outcome = await sim.run("history", {"start": "2021-04-07", "end": "2021-04-09"})
    assert outcome.result == {"records": len(outcome.observations)}
    # the frozen reading of midnight says what the real-time one of the same minute says
    assert {one.extra["data_type"] for one in outcome.observations} == {0}
    assert len(outcome.observations) == 31
    outcome = await sim.run("read")
    assert outcome.observations[1].observed_at == sim.clock.now()


async def test_pages_are_joined(sim: Simulated) -> None:
    small = Simulated(
        data={"base_url": "http://d.invalid", "company_no": "1001", "api_key": "0" * 32, "page_rows": 1}
    )
    assert len(await small.adapter.inventory()) == 2
    await small.aclose()


async def test_pushes_come_through_the_door_and_are_answered_well(sim: Simulated) -> None:
    sim.sim.alarm(METER, 3, "磁攻击", {"times": 4})
    sim.sim.event(RTU, 12, "门开")
    sim.sim.wake(METER)
    await sim.sim.pushes.settled()
    kinds = {type(one) for one in sim.pushed}
    assert {AlarmMessage, Event, Reading} <= kinds
    sent = sim.sim.pushes.sent
    assert len(sent) == 3
    assert all(push.accepted and push.well_formed for push in sent)
    assert sim.sim.pushes.waiting() == 0
    devices = {device.native_id for device in await sim.adapter.inventory()}
    assert devices == {METER, OTHER, RTU}


async def test_alarms_and_events_are_found_in_the_lists_too(sim: Simulated) -> None:
    sim.sim.alarm(METER, 3, "磁攻击", {"times": 4})
    sim.sim.event(METER, 12, "x", at_s=sim.time.now() - 40 * 3600)
    await sim.sim.pushes.settled()
    (alarm,) = await sim.poll(f"alarms:1:{METER}")
    (event,) = await sim.poll(f"events:1:{METER}")
    pushed = {type(one): one for one in sim.pushed}
    assert (alarm.code, alarm.started_at, alarm.data) == (
        "vendor_3", pushed[AlarmMessage].started_at, {"times": 4},
    )  # fmt: skip
    assert event.happened_at == pushed[Event].happened_at


@pytest.mark.parametrize(
    ("command", "params", "effect"),
    [
        ("valve", {"state": "close"}, "valve_closed"), ("valve", {"state": "open"}, "valve_opened"),
        ("release_valve", {}, "force_released"), ("set_price", PRICE, "price_set"),
        ("set_balance", {"remain_value": 12.5}, "balance_set"), ("recharge", CHARGE, "recharged"),
        ("open_account", {"charge_value": 50}, "account_opened"),
        ("set_cumulant", {"std_sum": 1, "work_sum": 1}, "cumulant_set"), ("get_price", {}, None),
        ("get_recharge", {}, None),
    ],
)  # fmt: skip
async def test_every_task_succeeds_at_the_meters_wake_up(
    sim: Simulated, command: str, params: dict[str, Any], effect: str | None
) -> None:
    outcome = await sim.carry(command, params)
    assert outcome.status is Status.SUCCEEDED, outcome
    assert sim.effects() == ["task_queued", *([effect] if effect else [])]
    await sim.sim.pushes.settled()
    assert any(isinstance(one, Confirmation) for one in sim.pushed)


async def test_results_are_those_of_the_meter(sim: Simulated) -> None:
    outcome = await sim.carry("recharge", CHARGE)
    assert outcome.result["success"] == 170
    counters = (await sim.carry("get_recharge", {}, id="brg-10")).result
    assert (counters["remote_charge_times"], counters["remote_total_value"]) == (1, 100)
    prices = (await sim.carry("get_price", {}, id="brg-11")).result
    assert prices["price1"] == Decimal("2.63")


async def test_a_closed_valve_is_told_with_the_reading_of_the_wake_up(sim: Simulated) -> None:
    outcome = await sim.carry("valve", {"state": "close"})
    reading = next(one for one in outcome.observations if isinstance(one, Reading))
    assert reading.metrics["valve_state"] == "closed"
    assert "gas_volume" in reading.metrics
    assert not any(isinstance(one, Words) for one in outcome.observations)


@pytest.mark.parametrize("kind", ["lose_reply", "garbage", "truncated_json", "http_500"])
async def test_a_lost_answer_to_a_recharge_charges_once(sim: Simulated, kind: Any) -> None:
    sim.sim.faults.add(Fault(kind, endpoint="CtrlData/Add", acts=None if kind == "lose_reply" else True))
    outcome = await sim.carry("recharge", CHARGE)
    assert outcome.status is Status.SUCCEEDED
    assert sim.effects() == ["task_queued", "recharged"]


@pytest.mark.parametrize("kind", ["refuse_before_acting", "http_500"])
async def test_a_recharge_that_never_arrived_fails_and_is_not_sent_again(sim: Simulated, kind: Any) -> None:
    sim.sim.faults.add(Fault(kind, endpoint="CtrlData/Add"))
    outcome = await sim.carry("recharge", CHARGE)
    assert (outcome.status, outcome.code) == (Status.FAILED, "vendor_unreachable")
    assert sim.effects() == []


async def test_a_meter_whose_answer_is_lost_is_asked_for_its_counter(sim: Simulated) -> None:
    sim.sim.configure(METER, deaf=True)
    assert await sim.carry("recharge", CHARGE, for_s=7500, timeout_s=7200.0) is None
    sim.sim.configure(METER, deaf=False)
    outcome = None
    for _ in range(12):
        sim.pass_time(600)
        outcome = await sim.probe("recharge", CHARGE, vendor_ref=1, dispatched_at=sim.clock.now())
        if outcome is not None:
            break
    assert outcome is not None
    assert outcome.status is Status.SUCCEEDED
    assert outcome.result["remote_charge_times"] == 1
    assert sim.effects().count("recharged") == 1


async def test_a_meter_that_never_wakes_leaves_a_recharge_indeterminate(sim: Simulated) -> None:
    sim.sim.configure(METER, asleep=True)
    outcome = await sim.carry("recharge", CHARGE, for_s=7 * 86400)
    assert outcome.status is Status.INDETERMINATE
    assert sim.effects() == ["task_queued", "task_queued"]


async def test_a_meter_that_wakes_too_late_did_not_get_the_recharge(sim: Simulated) -> None:
    sim.sim.configure(METER, asleep=True)
    assert await sim.carry("recharge", CHARGE, for_s=74 * 3600) is None
    sim.sim.configure(METER, asleep=False)
    sim.sim.wake(METER)
    outcome = await sim.probe("recharge", CHARGE, vendor_ref=1, dispatched_at=sim.clock.now())
    assert outcome.status is Status.FAILED
    assert outcome.result["remote_charge_times"] == 0
    assert "recharged" not in sim.effects()


@pytest.mark.parametrize(
    ("options", "status"),
    [({"fails": True}, Status.FAILED), ({"refuses": True}, Status.FAILED), ({"mute_flag": True}, Status.SUCCEEDED)],
)  # fmt: skip
async def test_a_meter_may_refuse_a_recharge(
    sim: Simulated, options: dict[str, bool], status: Status
) -> None:
    sim.sim.configure(METER, **options)
    outcome = await sim.carry("recharge", CHARGE)
    assert outcome.status is status
    assert sim.effects().count("recharged") == (status is Status.SUCCEEDED)


async def test_a_late_success_counts_while_the_command_is_open(sim: Simulated) -> None:
    sim.sim.configure(METER, asleep=True)
    assert await sim.carry("recharge", CHARGE, for_s=74 * 3600) is None
    sim.sim.settle(1, 3, '{"success": 170, "reason": 0, "calc_type": 0, "remain": 188.5}')
    outcome = await sim.probe("recharge", CHARGE, vendor_ref=1, dispatched_at=sim.clock.now())
    assert outcome.status is Status.SUCCEEDED


async def test_the_check_before_a_recharge_compares_with_the_meter() -> None:
    sim = Simulated(recharge_check=True)
    sim.sim.set_state(METER, remote_times=2, remote_total=160)
    with pytest.raises(Refused, match="charge_times must be 3"):
        await sim.carry("recharge", CHARGE)
    assert "recharged" not in sim.effects()
    fitting = {"charge_value": 100, "total_value": 260, "charge_times": 3}
    outcome = await sim.carry("recharge", fitting, id="brg-10")
    assert outcome.status is Status.SUCCEEDED
    assert sim.effects().count("recharged") == 1
    await sim.aclose()


async def test_a_waiting_task_is_cancelled_and_never_executed(sim: Simulated) -> None:
    order = sim.order("recharge", CHARGE)
    ref = (await sim.adapter.execute(order, sim.effect)).vendor_ref
    outcome = await sim.run("cancel", {"command_id": "brg-9"}, id="brg-10")
    assert outcome.status is Status.SUCCEEDED
    outcome = await sim.probe("recharge", CHARGE, vendor_ref=ref, dispatched_at=sim.clock.now())
    assert outcome.status is Status.CANCELLED
    sim.pass_time(7200)
    assert sim.effects() == ["task_queued", "task_cancelled"]


async def test_a_timed_out_valve_task_can_be_retried(sim: Simulated) -> None:
    sim.sim.configure(METER, asleep=True)
    assert (await sim.carry("valve", {"state": "close"})).status is Status.TIMED_OUT
    sim.sim.configure(METER, asleep=False)
    outcome = await sim.run("retry", {"command_id": "brg-9"}, id="brg-10")
    assert outcome.status is Status.SUCCEEDED
    assert sim.effects() == ["task_queued", "task_retried"]


async def test_expired_tokens_are_renewed_for_every_kind_of_command(sim: Simulated) -> None:
    for command, params, fields in (
        ("recharge", CHARGE, {}),
        ("list_tasks", {}, {"device": None}),
        ("cancel", {"command_id": "brg-9"}, {}),
    ):
        sim.sim.sessions.expire()
        sim.effect = FakeEffect()
        outcome = await sim.run(command, params, **fields)
        assert outcome.status in (Status.SENT, Status.SUCCEEDED)
    assert sim.effects() == ["task_queued", "task_cancelled"]


async def test_tokens_run_out_and_nobody_notices(sim: Simulated) -> None:
    for number in range(4):
        outcome = await sim.carry("get_price", {}, id=f"brg-{number}")
        assert outcome.status is Status.SUCCEEDED
        sim.pass_time(5400)
    assert sim.sim.sessions.logins > 2
    assert all(call.status == 200 for call in sim.sim.calls.calls(endpoint="CtrlData"))


async def test_account_commands_work_on_the_real_queue(sim: Simulated) -> None:
    tasks = [
        {"target_comm_no": METER, "ctrl_type": "iotmeterv1.prepay.getprice", "ctrl_data": {}},
        {"target_comm_no": OTHER, "ctrl_type": "iotmeterv1.common.setvalveoff", "ctrl_data": {}},
    ]
    outcome = await sim.run("add_tasks", {"tasks": tasks}, device=None)
    assert [one["ctrl_id"] for one in outcome.result["items"]] == [1, 2]
    listed = (await sim.run("list_tasks", {"target_comm_no": OTHER}, device=None)).result
    assert (listed["total"], listed["tasks"][0]["ctrl_define_no"]) == (1, "brg-9-2")
    record = (await sim.run("get_task", {"ctrl_id": 1}, device=None)).result
    for name in ("ctrl_time", "ctrl_timeout", "sync_time"):
        record[name] = record[name].replace("T", " ")
    outcome = await sim.run("update_task", record | {"sync_msg": "seen"}, device=None)
    assert outcome.status is Status.SUCCEEDED
    assert "事物流水号:1 " in (await sim.run("describe_task", {"ctrl_id": 1}, device=None)).result["text"]
    outcome = await sim.run("cancel_tasks", {"ctrl_ids": [1, 2]}, device=None)
    assert outcome.status is Status.SUCCEEDED
    outcome = await sim.run("retry_tasks", {"ctrl_ids": [2]}, device=None)
    assert outcome.status is Status.SUCCEEDED
    outcome = await sim.run("delete_tasks", {"ctrl_ids": [1, 7]}, device=None)
    assert (outcome.status, [one["result"] for one in outcome.result["items"]]) == (
        Status.FAILED,
        [True, False],
    )
    outcome = await sim.run("delete_task", {"ctrl_id": 2}, device=None)
    assert outcome.status is Status.SUCCEEDED
    assert (await sim.run("list_tasks", {}, device=None)).result["total"] == 0


async def test_a_batch_whose_results_are_false_is_decided_by_its_tasks(sim: Simulated) -> None:
    sim.sim.desk.false_results = True
    tasks = [{"target_comm_no": METER, "ctrl_type": "iotmeterv1.prepay.getprice", "ctrl_data": {}}]
    assert (await sim.run("add_tasks", {"tasks": tasks}, device=None)).status is Status.SUCCEEDED


async def test_a_lost_batch_is_found_again(sim: Simulated) -> None:
    sim.sim.faults.add(Fault("lose_reply", endpoint="CtrlData/AddMulti"))
    tasks = {"tasks": [{"target_comm_no": METER, "ctrl_type": "iotmeterv1.prepay.getprice", "ctrl_data": {}}]}
    with pytest.raises(LostAnswer):
        await sim.run("add_tasks", tasks, device=None)
    outcome = await sim.probe("add_tasks", tasks, device=None, dispatched_at=sim.clock.now())
    assert outcome.status is Status.SUCCEEDED
    assert sim.effects() == ["task_queued"]


async def test_a_foreign_task_is_only_a_confirmation(sim: Simulated) -> None:
    sim.sim.foreign(METER, "common.setvalveoff")
    sim.pass_time(3600)
    await sim.sim.pushes.settled()
    (word,) = [one for one in sim.pushed if isinstance(one, Confirmation)]
    assert (word.vendor_ref, word.command_id, word.device, word.native_state) == (1, None, METER, 3)


async def test_a_refused_reading_and_an_unknown_meter_differ(sim: Simulated) -> None:
    outcome = await sim.run("read", {}, device=sim.device("99"))
    assert (outcome.status, outcome.code) == (Status.FAILED, "unknown_device")
    assert (await sim.adapter.check()).startswith("data API: key accepted")
    sim.sim.faults.add(Fault("native_code", endpoint="MeterData/GetRealModel", count=3))
    with pytest.raises(Refused):
        await sim.run("read")


async def test_the_check_accepts_the_platform(sim: Simulated) -> None:
    assert await sim.adapter.check() == "data API: key accepted, 2 meters; control API: logged in"
