"""Money at a gas meter moves one command at a time, by whichever command it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.simulators.faults import Fault
from tests.unit.vendors.iotmeter.bench import METER, OTHER
from tests.unit.vendors.iotmeter.platform import Platform

CHARGE = {"charge_value": 100.5, "total_value": 100.5, "charge_times": 1}
OPENING = {
    "charge_value": 0, "total_value": 0, **{f"price{n}": 0 for n in range(1, 6)},
    **{f"ladder{n}": 0 for n in range(1, 5)},
    "cycle_start_time": "2024-01-01 20:00:00", "cycle_month": 0,
}  # fmt: skip
DATA: dict[str, dict[str, Any]] = {
    "prepay.remotecharge": CHARGE,
    "iotmeterv1.prepay.openaccount": OPENING,
    "prepay.setremain": {"remain_value": 5},
    "common.setcumulant": {"std_sum": 1, "work_sum": 1},
    "common.setvalveoff": {},
}
MONEY = list(DATA)[:4]


def task(meter: str, kind: str = MONEY[0]) -> dict[str, Any]:
    return {"target_comm_no": meter, "ctrl_type": kind, "ctrl_data": DATA[kind]}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Platform]:
    async with Platform(tmp_path) as running:
        yield running


async def batch(gateway: Platform, command_id: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    payload = {"id": command_id, "tasks": list(tasks), "confirm": True}
    last: dict[str, Any] = (await gateway.command("home/cmd/add_tasks", payload))[-1]
    return last


async def charge(gateway: Platform, command_id: str, meter: str = METER) -> list[dict[str, Any]]:
    return await gateway.command(f"home/{meter}/cmd/recharge", {"id": command_id, **CHARGE})


@pytest.mark.parametrize("kind", MONEY)
async def test_a_batch_with_money_is_refused_while_a_recharge_of_its_meter_is_open(
    gateway: Platform, kind: str
) -> None:
    gateway.sim.configure(METER, asleep=True)
    await charge(gateway, "pay-1")
    ack = await batch(gateway, "b-1", task(OTHER), task(METER, kind))
    assert (ack["status"], ack["code"]) == ("rejected", "interlock")
    assert f"'recharge' (pay-1) is under way at {METER}" in ack["message"]
    assert ack["result"]["command_id"] == "pay-1"
    assert gateway.sent_to("CtrlData/AddMulti") == []
    gateway.sim.configure(METER, asleep=False)
    await gateway.hours(3)
    assert gateway.final("pay-1")["status"] == "succeeded"
    assert (await batch(gateway, "b-1", task(OTHER), task(METER, kind)))["status"] == "succeeded"


async def test_a_batch_for_other_meters_or_without_money_goes_on(gateway: Platform) -> None:
    gateway.sim.configure(METER, asleep=True)
    await charge(gateway, "pay-1")
    ack = await batch(gateway, "b-1", task(OTHER))
    assert ack["status"] == "succeeded", ack
    assert (await batch(gateway, "b-2", task(METER, "common.setvalveoff")))["status"] == "succeeded"


async def test_a_recharge_is_refused_while_a_batch_with_money_for_its_meter_is_not_decided(
    gateway: Platform,
) -> None:
    gateway.sim.faults.add(Fault("lose_reply", endpoint="CtrlData/AddMulti"))
    assert (await batch(gateway, "b-1", task(METER)))["status"] == "accepted"
    (ack,) = await charge(gateway, "pay-1")
    assert (ack["status"], ack["code"], ack["result"]["command_id"]) == ("rejected", "interlock", "b-1")
    assert (await charge(gateway, "pay-2", OTHER))[-1]["status"] == "sent"
    assert (await gateway.command(f"home/{METER}/cmd/read", {}))[-1]["status"] == "succeeded"
    await gateway.hours(1)
    assert gateway.final("b-1")["status"] == "succeeded"
    assert (await charge(gateway, "pay-1"))[-1]["status"] == "sent"


async def test_it_holds_over_a_restart(gateway: Platform) -> None:
    gateway.sim.configure(METER, asleep=True)
    await charge(gateway, "pay-1")
    await gateway.restart()
    assert (await batch(gateway, "b-1", task(METER)))["code"] == "interlock"
