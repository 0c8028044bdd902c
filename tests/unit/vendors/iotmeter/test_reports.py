"""Command reports from the simulated platform to acks and events: on time, early, late, twice, of others' tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.app.ledgers import StoreVault
from bridge.ports import PushRequest
from bridge.simulators.faults import Fault
from tests.fakes.vendor import ACCOUNT
from tests.unit.vendors.iotmeter.bench import METER, OTHER
from tests.unit.vendors.iotmeter.platform import Platform

URL = "http://gateway.example.invalid/push/home/FAKE0000FAKE0000"
CHARGE = {"charge_value": 100, "total_value": 100, "charge_times": 1}


class Reporting(Platform):
    """A platform that pushes to the gateway."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, push={"secret": "FAKE0000FAKE0000"})
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._receive))
        self.sim.pushes.url = URL
        self.sim.pushes._carrier._client = self.client
        self.reports = 0

    async def enter_account(self) -> None:
        self.vault = StoreVault(self.store, ACCOUNT)  # type: ignore[assignment] # where the flow looks too
        await super().enter_account()

    async def _receive(self, request: httpx.Request) -> httpx.Response:
        door = self.vendor.push
        assert door is not None
        tail = request.url.path.removeprefix("/push/home/FAKE0000FAKE0000")
        pushed = door.parse(PushRequest(tail, {}, request.content, self.clock.now()))
        await self.intake.take(ACCOUNT, pushed.batches)
        self.reports += tail.endswith("Report")
        return httpx.Response(pushed.answer.status, content=pushed.answer.body)

    async def settle(self, ctrl_id: int, state: int, returned: str = "{}") -> None:
        """The platform says so, and everything rests again."""
        self.sim.settle(ctrl_id, state, returned)
        await self.arrived()

    async def arrived(self) -> None:
        """Every push has arrived."""
        await self.sim.pushes.settled()
        await self.clock.settle()

    def events(self, code: str, device: str = METER) -> list[Any]:
        return [doc["data"] for doc in self.docs(f"home/{device}/event") if doc["code"] == code]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Reporting]:
    async with Reporting(tmp_path) as running:
        yield running
        await running.sim.aclose()
        await running.client.aclose()


async def order(gateway: Reporting, command: str, params: dict[str, Any]) -> None:
    await gateway.command(f"home/{METER}/cmd/{command}", {"id": "brg-9", **params})


async def test_a_report_brings_the_end_also_where_the_platform_stumbles_over_the_question(
    gateway: Reporting,
) -> None:
    await order(gateway, "recharge", CHARGE)
    gateway.sim.faults.add(Fault("http_500", endpoint="CtrlData/GetModel"))
    gateway.sim.faults.add(Fault("native_code", endpoint="CtrlData/GetModel"))
    await gateway.settle(1, 3, '{"success": 170, "remain": 88.5}')
    await gateway.advance(4)
    assert gateway.final("brg-9")["status"] == "succeeded"


async def test_the_answer_to_the_gateways_own_question_ends_the_recharge_at_once(gateway: Reporting) -> None:
    await order(gateway, "recharge", CHARGE)
    await gateway.advance(70)
    await gateway.settle(1, 6)
    assert gateway.statuses("brg-9") == ["accepted", "sent"]
    await gateway.settle(2, 3, '{"remote_charge_times": 1, "remote_total_value": 100}')
    final = gateway.final("brg-9")
    assert (final["status"], final["result"]["remote_charge_times"]) == ("succeeded", 1)
    assert gateway.events("foreign_command") == []


async def test_v7_a_report_brings_the_end_at_once_and_the_result_flag_counts(gateway: Reporting) -> None:
    await order(gateway, "recharge", CHARGE)
    for _ in range(2):
        await gateway.settle(1, 3, '{"success": 187, "reason": 2, "calc_type": 0, "remain": 88.5}')
    final = gateway.final("brg-9")
    assert (final["status"], final["vendor_code"], final["vendor_ref"]) == ("failed", 3, 1)
    assert (final["result"]["reason"], float(final["result"]["remain"])) == (2, 88.5)
    assert (gateway.reports, gateway.docs("home/+/event")) == (2, [])


async def test_v8_an_opening_succeeds_with_0(gateway: Reporting) -> None:
    await order(gateway, "open_account", {"charge_value": 5})
    await gateway.settle(1, 3, '{"success": 0, "reason": 0, "reason_msg": "", "remain": 100}')
    final = gateway.final("brg-9")
    assert (final["status"], final["result"]["remain"]) == ("succeeded", 100)


async def test_a_report_alone_moves_nothing(gateway: Reporting) -> None:
    """Anybody who knows the address could send it: the platform itself must say the same."""
    await order(gateway, "recharge", CHARGE)
    forged = {"ctrl_id": 1, "meter_comm_no": METER, "ctrl_state": 3, "return_data": '{"success": 170}'}
    gateway.sim.pushes.post(METER, "/api/Conf/CtrlData/Report", [forged])
    await gateway.arrived()
    assert gateway.statuses("brg-9") == ["accepted", "sent"]
    assert gateway.sent_to("CtrlData/GetModel") == [("CtrlData/GetModel/1", None)]


async def test_a_report_that_overtakes_the_answer_is_matched(gateway: Reporting) -> None:
    gateway.sim.faults.add(Fault("slow", endpoint="CtrlData/Add", seconds=20))
    await order(gateway, "valve", {"state": "close"})
    gateway.sim.wake(METER)
    await gateway.arrived()
    assert (gateway.reports, gateway.statuses("brg-9")) == (1, ["accepted"])
    await gateway.advance(21)
    assert gateway.statuses("brg-9") == ["accepted", "sent", "succeeded"]
    assert gateway.events("foreign_command") == []


async def test_a_report_of_a_call_whose_answer_was_lost_is_not_foreign(gateway: Reporting) -> None:
    gateway.sim.faults.add(Fault("http_500", endpoint="CtrlData/Add", acts=True))
    await order(gateway, "valve", {"state": "open"})
    gateway.sim.wake(METER)
    await gateway.arrived()
    await gateway.restart()
    await gateway.hours(1)
    assert gateway.final("brg-9")["status"] == "succeeded"
    assert gateway.events("foreign_command") == []


async def test_a_late_success_is_an_event_once_and_no_second_final_ack(gateway: Reporting) -> None:
    await order(gateway, "valve", {"state": "close"})
    await gateway.settle(1, 6)
    assert gateway.final("brg-9")["status"] == "timed_out"
    for state in (3, 3, 6, 3):
        await gateway.settle(1, state)
    (told,) = gateway.events("late_result")
    assert (told["ctrl_id"], told["ctrl_state"], told["command_id"], told["command"]) == (
        1,
        3,
        "brg-9",
        "valve",
    )
    assert gateway.final("brg-9")["status"] == "timed_out"


async def test_somebody_elses_task_is_an_event(gateway: Reporting) -> None:
    ctrl_id = gateway.sim.foreign(OTHER, "common.setvalveoff")
    gateway.sim.wake(OTHER)
    await gateway.arrived()
    (told,) = gateway.events("foreign_command", OTHER)
    assert (told["ctrl_id"], told["ctrl_type"]) == (ctrl_id, "iotmeterv1.common.setvalveoff")


async def test_what_the_gateway_queues_beside_a_command_is_not_foreign(gateway: Reporting) -> None:
    """The question for the counters after a recharge, and the tasks of a batch."""
    await order(gateway, "recharge", CHARGE)
    await gateway.settle(1, 6)
    await gateway.hours(2)
    await gateway.arrived()
    assert gateway.final("brg-9")["result"]["remote_charge_times"] == 0
    tasks = [
        {"target_comm_no": target, "ctrl_type": "iotmeterv1.common.setvalveoff", "ctrl_data": {}}
        for target in (METER, OTHER)
    ]
    await gateway.command("home/cmd/add_tasks", {"id": "batch-1", "tasks": tasks, "confirm": True})
    await gateway.restart()
    await gateway.hours(2)
    await gateway.arrived()
    assert gateway.reports == 4
    assert gateway.events("foreign_command") == gateway.events("foreign_command", OTHER) == []
