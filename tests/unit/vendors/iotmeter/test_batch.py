"""Commands of the account about control tasks (METRICS 4.3; page 4.11 to 4.20)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from bridge.domain.command import Status
from bridge.domain.errors import BadReply, LostAnswer, NotSent, Refused, Rejection
from bridge.ports import OWN_REFERENCES
from bridge.vendors.iotmeter.deeds import moves_valve
from bridge.vendors.iotmeter.notes import OWN_KEPT
from bridge.vendors.iotmeter.tasks import command_of
from tests.unit.vendors.iotmeter.bench import METER, NOW, OTHER, Scripted, bad, good, page
from tests.unit.vendors.iotmeter.test_commands import RECORD, TASKS
from tests.unit.vendors.iotmeter.test_execution import TIMEOUT, charge, task

IDS = {"ctrl_ids": [8, 9]}


def item(ctrl_id: Any, target: str, result: Any = True, message: str = "") -> dict[str, Any]:
    return {"ctrl_id": ctrl_id, "target_comm_no": target, "result": result, "message": message}


async def run(bench: Scripted, command: str, params: Any, *replies: Any) -> Any:
    bench.cloud.will(*replies)
    return await bench.run(command, params, device=None)


async def asked(bench: Scripted, command: str, params: Any, *replies: Any) -> Any:
    bench.cloud.will(*replies)
    return await bench.probe(command, params, device=None, dispatched_at=NOW)


async def test_tasks_are_listed_with_their_json_decoded(bench: Scripted) -> None:
    rows = page(task(return_data='{"a": 1}'), total=7)
    outcome = await run(bench, "list_tasks", {"ctrl_state": 0, "startrow": 4, "rowcount": 1}, rows)
    assert outcome.status is Status.SUCCEEDED
    assert outcome.result["total"] == 7
    assert outcome.result["tasks"][0]["return_data"] == {"a": 1}
    assert bench.cloud.body() == {"ctrl_state": 0}
    assert dict(bench.cloud.requests[-1].url.params) == {"startrow": "4", "rowcount": "1"}
    outcome = await run(bench, "list_tasks", {}, bad("找不到数据"))
    assert outcome.result == {"tasks": [], "total": 0}


async def test_a_task_is_shown_and_described(bench: Scripted) -> None:
    outcome = await run(bench, "get_task", {"ctrl_id": 15}, good(task(3)))
    assert (outcome.vendor_code, outcome.vendor_ref, outcome.result["ctrl_data"]) == (3, 15, {})
    outcome = await run(bench, "describe_task", {"ctrl_id": 15}, good("事物流水号:15 </br>"))
    assert outcome.result == {"text": "事物流水号:15 </br>"}
    with pytest.raises(Refused):
        await run(bench, "get_task", {"ctrl_id": 15}, bad("找不到数据"))
    assert bench.cloud.paths[1:] == [
        "CtrlData/GetModel/15", "CtrlData/GetDetial/15", "CtrlData/GetModel/15",
    ]  # fmt: skip
    assert bench.effect.count == 0


async def test_a_task_is_overwritten(bench: Scripted) -> None:
    outcome = await run(bench, "update_task", RECORD, good(1))
    assert (outcome.status, outcome.vendor_ref) == (Status.SUCCEEDED, 1)
    assert bench.cloud.body()["ctrl_timeout"] == "2021-04-10 08:00:00"
    with pytest.raises(BadReply):
        await run(bench, "update_task", RECORD, good(2))
    with pytest.raises(Refused):
        await run(bench, "update_task", RECORD, bad("找不到要修改的数据", 0))


async def test_a_task_type_without_the_processor_gets_the_accounts(bench: Scripted) -> None:
    tasks = [{"target_comm_no": METER, "ctrl_type": "common.setvalveoff", "ctrl_data": {}}]
    await run(bench, "add_tasks", {"tasks": tasks}, page(item(8, METER)))
    (sent,) = bench.cloud.body()
    assert (sent["processor_name"], sent["ctrl_type"]) == ("iotmeterv1", "iotmeterv1.common.setvalveoff")
    assert moves_valve("common.setvalveoff")
    assert command_of("prepay.remotecharge") == "recharge"


async def test_a_lost_update_shows_in_the_task(bench: Scripted) -> None:
    shown = RECORD | {"return_data": '{"a":1}', "ctrl_time": "2021-04-07T08:00:00"}
    assert (await asked(bench, "update_task", RECORD, good(shown))).status is Status.SUCCEEDED
    assert await asked(bench, "update_task", RECORD, good(shown | {"ctrl_state": 3})) is None
    assert await asked(bench, "update_task", RECORD, good(shown | {"ctrl_data": '{"x":1}'})) is None
    assert await asked(bench, "update_tasks", {"tasks": [RECORD]}, bad("找不到数据")) is None


async def test_a_task_is_deleted(bench: Scripted) -> None:
    assert (await run(bench, "delete_task", {"ctrl_id": 1}, good(1))).status is Status.SUCCEEDED
    assert bench.cloud.paths[-1] == "CtrlData/Delete/1"
    with pytest.raises(Refused):
        await run(bench, "delete_task", {"ctrl_id": 1}, bad("找不到要删除的数据", 0))


async def test_a_lost_deletion_is_known_by_the_tasks_absence(bench: Scripted) -> None:
    params = {"ctrl_id": 15}
    assert await asked(bench, "delete_task", params, good(task())) is None
    assert (await asked(bench, "delete_task", params, bad("找不到数据"))).status is Status.SUCCEEDED
    bench.time.advance(60)
    outcome = await asked(bench, "delete_task", params, good(task()))
    assert (outcome.status, outcome.result["items"][0]["message"]) == (Status.FAILED, "still there")


async def test_tasks_are_queued_in_one_call_and_matched_by_device(bench: Scripted) -> None:
    outcome = await run(bench, "add_tasks", TASKS, page(item(9, OTHER), item(8, METER)))
    assert outcome.status is Status.SUCCEEDED
    assert [(one["ctrl_id"], one["ctrl_define_no"], one["result"]) for one in outcome.result["items"]] == [
        (8, "brg-9-1", True), (9, "brg-9-2", True),
    ]  # fmt: skip
    assert [one["ctrl_define_no"] for one in bench.cloud.body()] == ["brg-9-1", "brg-9-2"]
    assert bench.effect.count == 1
    assert bench.vault.kept[OWN_REFERENCES] == [8, 9], "reports of them are about nobody else's tasks"


async def test_an_item_with_an_id_but_no_result_is_decided_by_the_task_itself(bench: Scripted) -> None:
    told = page(item(8, METER, False), item(9, OTHER, False))
    outcome = await run(bench, "add_tasks", TASKS, told, good(task()), bad("找不到数据"))
    assert outcome.status is Status.FAILED
    assert [one["result"] for one in outcome.result["items"]] == [True, False]
    told = page(item(0, METER, True), item(0, OTHER, False, "不行"))
    found = page(task(ctrl_define_no="brg-9-1", ctrl_id=8))
    outcome = await run(bench, "add_tasks", TASKS, told, found)
    assert [(one["ctrl_id"], one["result"], one["message"]) for one in outcome.result["items"]] == [
        (8, True, ""), (0, False, "不行"),
    ]  # fmt: skip


async def test_an_item_that_is_missing_was_not_queued(bench: Scripted) -> None:
    outcome = await run(bench, "add_tasks", TASKS, page(item(8, METER)))
    assert (outcome.status, outcome.result["items"][1]["result"]) == (Status.FAILED, False)
    assert bench.vault.kept[OWN_REFERENCES] == [8]


async def test_the_gateways_own_tasks_are_remembered_up_to_a_bound(bench: Scripted) -> None:
    bench.vault.kept[OWN_REFERENCES] = list(range(1, OWN_KEPT + 1))
    await run(bench, "add_tasks", TASKS, page(item(8001, METER), item(8002, OTHER)))
    assert bench.vault.kept[OWN_REFERENCES] == [*range(3, OWN_KEPT + 1), 8001, 8002]


async def test_a_batch_is_never_sent_again(bench: Scripted) -> None:
    with pytest.raises(LostAnswer):
        await run(bench, "add_tasks", TASKS, TIMEOUT)
    with pytest.raises(Refused) as refused:
        await run(bench, "add_tasks", TASKS, httpx.Response(401))
    assert refused.value.code == "auth_failed"
    with pytest.raises(BadReply):
        await run(bench, "add_tasks", TASKS, good(5))
    assert bench.cloud.paths.count("CtrlData/AddMulti") == 3


async def test_a_lost_batch_is_searched_for_name_by_name(bench: Scripted) -> None:
    first = page(task(ctrl_define_no="brg-9-1", ctrl_id=8))
    second = page(task(ctrl_define_no="brg-9-2", ctrl_id=9, target_comm_no=OTHER))
    assert (await asked(bench, "add_tasks", TASKS, first, second)).status is Status.SUCCEEDED
    assert await asked(bench, "add_tasks", TASKS, first, page()) is None
    bench.time.advance(60)
    outcome = await asked(bench, "add_tasks", TASKS, first, page())
    assert outcome.status is Status.FAILED
    assert [one["ctrl_id"] for one in outcome.result["items"]] == [8, 0]


async def test_every_item_of_a_batch_counts(bench: Scripted) -> None:
    for command, endpoint in (("delete_tasks", "DeleteMulti"), ("cancel_tasks", "CancelMulti")):
        outcome = await run(bench, command, IDS, page(item(9, OTHER), item("8", METER)))
        assert outcome.status is Status.SUCCEEDED
        assert (bench.cloud.paths[-1], bench.cloud.body()) == (f"CtrlData/{endpoint}", [8, 9])
        outcome = await run(bench, command, IDS, page(item(8, METER), item(9, OTHER, False, "不行")))
        assert (outcome.status, outcome.code) == (Status.FAILED, "vendor_error")
        assert outcome.result["items"][1] == item(9, OTHER, False, "不行")
    outcome = await run(bench, "update_tasks", {"tasks": [RECORD]}, page(item(1, METER)))
    assert outcome.status is Status.SUCCEEDED


async def test_a_lost_batch_is_known_by_its_tasks(bench: Scripted) -> None:
    gone, five = bad("找不到数据"), good(task(5))
    assert (await asked(bench, "delete_tasks", IDS, gone, gone)).status is Status.SUCCEEDED
    assert (await asked(bench, "cancel_tasks", IDS, five, five)).status is Status.SUCCEEDED
    assert await asked(bench, "cancel_tasks", IDS, five, good(task(1))) is None
    bench.time.advance(60)
    outcome = await asked(bench, "cancel_tasks", IDS, five, good(task(1)))
    assert (outcome.status, outcome.result["items"][1]["message"]) == (Status.FAILED, "state 1")


async def test_a_retry_of_many_refuses_money(bench: Scripted) -> None:
    with pytest.raises(Rejection) as rejected:
        await run(bench, "retry_tasks", IDS, good(task(6)), good(charge(6)))
    assert (rejected.value.code, bench.effect.count) == ("not_allowed", 0)
    told = page(item(8, METER), item(9, METER))
    outcome = await run(bench, "retry_tasks", IDS, good(task(6)), good(task(6)), told)
    assert outcome.status is Status.SUCCEEDED
    with pytest.raises(NotSent):
        await run(bench, "retry_tasks", IDS, TIMEOUT)
    assert (await asked(bench, "retry_tasks", IDS, good(task(0)), good(task(3)))).status is Status.SUCCEEDED
    assert await asked(bench, "retry_tasks", IDS, good(task(0)), good(task(6))) is None
    assert await asked(bench, "retry_tasks", IDS, good(task(0)), bad("找不到数据")) is None


async def test_a_change_with_a_refused_token_is_repeated_once(bench: Scripted) -> None:
    outcome = await run(bench, "cancel_tasks", IDS, httpx.Response(403), page(item(8, METER), item(9, METER)))
    assert outcome.status is Status.SUCCEEDED
    assert bench.effect.count == 2


async def test_the_inventory_is_read_by_command(bench: Scripted) -> None:
    outcome = await run(
        bench, "refresh_inventory", {}, page({"meter_comm_no": METER}, {"meter_comm_no": OTHER})
    )
    assert (outcome.status, outcome.result) == (Status.SUCCEEDED, {"devices": 2})
    assert len(outcome.inventory or ()) == 2


@pytest.mark.parametrize("command", ["list_tasks", "get_task", "describe_task"])
async def test_what_only_looks_has_nothing_to_be_asked_about(bench: Scripted, command: str) -> None:
    params = {} if command == "list_tasks" else {"ctrl_id": 1}
    assert await asked(bench, command, params) is None
