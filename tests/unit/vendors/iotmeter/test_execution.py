"""Commands of a meter against a scripted platform: lost answers, searches, questions (page section 7)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from bridge.domain.command import Status
from bridge.domain.errors import LostAnswer, NotSent, Refused, Rejection, Withdrawn
from bridge.domain.observation import Availability, Origin, Reading, Words
from bridge.ports import OWN_REFERENCES
from bridge.vendors.iotmeter.checks import check_name
from tests.fakes.adapters import FakeEffect
from tests.unit.vendors.iotmeter.bench import (
    METER,
    NOW,
    OTHER,
    Scripted,
    bad,
    fixture,
    fixture_bytes,
    good,
    page,
)

CLOSE, OPEN = {"state": "close"}, {"state": "open"}
CHARGE = {"charge_value": 100, "total_value": 260, "charge_times": 3}
TIMEOUT = httpx.ReadTimeout("x")
GOOD_CHARGE = '{"success": 170, "reason": 0, "calc_type": 0, "remain": 188.5}'


def task(state: int = 0, suffix: str = "common.setvalveoff", **fields: Any) -> dict[str, Any]:
    record = {
        "ctrl_id": 15, "ctrl_define_no": "brg-9", "target_comm_no": METER, "target_devtype": 1,
        "ctrl_time": "2021-04-07T08:00:00", "ctrl_timeout": "2021-04-10T08:00:00", "ctrl_state": state,
        "ctrl_type": f"iotmeterv1.{suffix}", "ctrl_data": "{}", "return_data": "{}",
    }  # fmt: skip
    return record | fields


def charge(state: int = 0, returned: str = "{}", **fields: Any) -> dict[str, Any]:
    return task(state, "prepay.remotecharge", return_data=returned, **fields)


async def asked(
    bench: Scripted, command: str, params: dict[str, Any] | None, *replies: Any, **more: Any
) -> Any:
    """One question about a task that is known as 15, a minute after it left."""
    bench.cloud.will(*replies)
    fields = {"vendor_ref": 15, "dispatched_at": NOW} | more
    return await bench.probe(command, params, **fields)


async def test_v12_a_valve_close_is_queued_with_the_body_of_the_page(bench: Scripted) -> None:
    bench.cloud.will(good(15))
    outcome = await bench.run("valve", CLOSE)
    assert (outcome.status, outcome.vendor_ref, bench.effect.count) == (Status.SENT, 15, 1)
    assert bench.cloud.paths == ["Account/Login", "CtrlData/Add"]
    assert bench.cloud.body() == fixture("v12")


async def test_a_withdrawn_command_does_not_leave(bench: Scripted) -> None:
    bench.effect = FakeEffect(allowed=0)
    with pytest.raises(Withdrawn):
        await bench.run("recharge", CHARGE)
    assert bench.cloud.paths == ["Account/Login"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(bad(data=0), Refused), (TIMEOUT, LostAnswer), (httpx.Response(500), LostAnswer), (b"x", LostAnswer),
     (good(0), LostAnswer), (good(None), LostAnswer), (good("x"), LostAnswer), (httpx.ConnectError("x"), NotSent)],
)  # fmt: skip
async def test_an_add_ends_in_one_of_few_ways_and_is_not_repeated(
    bench: Scripted, reply: Any, kind: type[Exception]
) -> None:
    bench.cloud.will(reply)
    with pytest.raises(kind):
        await bench.run("recharge", CHARGE)
    assert bench.cloud.paths.count("CtrlData/Add") == 1


async def test_a_refused_token_makes_the_gateway_look_before_it_queues_again(bench: Scripted) -> None:
    bench.cloud.will(httpx.Response(401), page(), good(15))
    outcome = await bench.run("recharge", CHARGE)
    assert (outcome.status, outcome.vendor_ref) == (Status.SENT, 15)
    assert bench.cloud.paths[1:] == [
        "CtrlData/Add", "Account/Login", "CtrlData/GetList", "CtrlData/Add",
    ]  # fmt: skip
    assert bench.effect.count == 2


async def test_what_was_queued_in_spite_of_a_refusal_is_not_queued_again(bench: Scripted) -> None:
    bench.cloud.will(httpx.Response(401), page(charge()))
    assert (await bench.run("recharge", CHARGE)).vendor_ref == 15
    assert bench.cloud.paths.count("CtrlData/Add") == 1


async def test_a_second_attempt_looks_for_the_first_ones_task(bench: Scripted) -> None:
    bench.cloud.will(page(task()))
    outcome = await bench.run("valve", CLOSE, dispatched_at=NOW)
    assert (outcome.status, outcome.vendor_ref, bench.effect.count) == (Status.SENT, 15, 0)
    assert bench.cloud.body() == {"ctrl_define_no": "brg-9", "target_comm_no": METER}
    bench.cloud.will(page(), good(16))
    assert (await bench.run("valve", CLOSE, dispatched_at=NOW)).vendor_ref == 16
    bench.cloud.will(TIMEOUT)
    with pytest.raises(NotSent):
        await bench.run("valve", CLOSE, dispatched_at=NOW)


# after a lost answer of Add -------------------------------------------------------------------------------


async def searched(bench: Scripted, command: str, params: Any, *rows: Any) -> Any:
    bench.cloud.will(page(*rows))
    return await bench.probe(command, params, dispatched_at=NOW)


async def test_a_task_that_is_found_goes_on(bench: Scripted) -> None:
    outcome = await searched(bench, "recharge", CHARGE, charge(0))
    assert (outcome.status, outcome.vendor_ref) == (Status.SENT, 15)
    outcome = await searched(bench, "recharge", CHARGE, charge(3, GOOD_CHARGE))
    assert (outcome.status, outcome.vendor_ref, outcome.vendor_code) == (Status.SUCCEEDED, 15, 3)


@pytest.mark.parametrize(
    "row",
    [
        task(ctrl_define_no="brg-8"), task(target_comm_no=OTHER), task(suffix="common.setvalveon"),
        task(ctrl_time="2021-04-05T08:00:00"), task(ctrl_id=0), {"ctrl_id": 15}, 5,
    ],
)  # fmt: skip
async def test_the_platforms_filter_is_not_relied_upon(bench: Scripted, row: Any) -> None:
    assert await searched(bench, "valve", CLOSE, row) is None


async def test_of_several_tasks_the_first_counts(bench: Scripted) -> None:
    rows = [task(0, ctrl_id=17), task(0, ctrl_id=15), task(0, ctrl_id=16)]
    assert (await searched(bench, "valve", CLOSE, *rows)).vendor_ref == 15


async def test_all_pages_of_a_search_are_read(bench: Scripted) -> None:
    bench.cloud.will(page(task(ctrl_define_no="a"), task(ctrl_define_no="b"), total=3), page(task(), total=3))
    outcome = await bench.probe("valve", CLOSE, dispatched_at=NOW)
    assert outcome.vendor_ref == 15
    assert [request.url.params["startrow"] for request in bench.cloud.requests[1:]] == ["0", "2"]


@pytest.mark.parametrize(
    ("command", "params"),
    [("recharge", CHARGE), ("set_balance", {"remain_value": 1}), ("open_account", {}),
     ("set_cumulant", {"std_sum": 1, "work_sum": 1}), ("release_valve", {}), ("valve", OPEN)],
)  # fmt: skip
async def test_what_must_not_be_repeated_is_searched_for_a_minute_then_failed(
    bench: Scripted, command: str, params: dict[str, Any]
) -> None:
    assert await searched(bench, command, params) is None
    bench.time.advance(59)
    assert await searched(bench, command, params) is None
    bench.time.advance(1)
    outcome = await searched(bench, command, params)
    assert (outcome.status, outcome.code) == (Status.FAILED, "vendor_unreachable")
    assert "not queued" in outcome.message
    assert "CtrlData/Add" not in bench.cloud.paths


async def test_a_search_that_fails_does_not_count_as_not_found(bench: Scripted) -> None:
    for _ in range(3):
        bench.cloud.will(TIMEOUT)
        with pytest.raises(LostAnswer):
            await bench.probe("recharge", CHARGE, dispatched_at=NOW)
        bench.time.advance(120)
    assert await searched(bench, "recharge", CHARGE) is None


@pytest.mark.parametrize(("command", "params"), [("valve", CLOSE), ("get_price", {}), ("get_recharge", {})])
async def test_what_may_be_repeated_is_left_to_the_flow(
    bench: Scripted, command: str, params: dict[str, Any]
) -> None:
    for _ in range(3):
        assert await searched(bench, command, params) is None
        bench.time.advance(120)


async def test_a_search_without_end_is_a_bad_answer(bench: Scripted) -> None:
    bench.cloud.will(*[page(task(ctrl_define_no="a"), total=9999)] * 50)
    with pytest.raises(LostAnswer, match="no end"):
        await bench.probe("valve", CLOSE, dispatched_at=NOW)


# following a task -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [0, 1, 2, 50])
async def test_a_task_under_way_decides_nothing(bench: Scripted, state: int) -> None:
    assert await asked(bench, "valve", CLOSE, good(task(state))) is None
    assert bench.cloud.paths[-1] == "CtrlData/GetModel/15"


async def test_a_task_that_the_platform_never_ends_counts_as_timed_out(bench: Scripted) -> None:
    bench.time.advance(72 * 3600 + 600)
    assert await asked(bench, "valve", CLOSE, good(task(1))) is None
    bench.time.advance(1)
    outcome = await asked(bench, "valve", CLOSE, good(task(1)))
    assert (outcome.status, outcome.vendor_code) == (Status.TIMED_OUT, 6)
    outcome = await asked(bench, "set_balance", {"remain_value": 1}, good(task(1, "prepay.setremain")))
    assert outcome.status is Status.INDETERMINATE


async def test_a_deleted_task_tells_nothing_any_more(bench: Scripted) -> None:
    for reply in (bad("找不到数据"), good(None)):
        outcome = await asked(bench, "valve", CLOSE, reply)
        assert outcome.status is Status.INDETERMINATE


async def test_an_unreadable_task_is_no_answer(bench: Scripted) -> None:
    with pytest.raises(LostAnswer):
        await asked(bench, "valve", CLOSE, *[good({"ctrl_id": 15})] * 3)


@pytest.mark.parametrize("reply", [httpx.Response(502), b"<html>", bad("系统繁忙"), good({"ctrl_id": 15})])
async def test_a_look_that_fails_is_made_again_at_once(bench: Scripted, reply: Any) -> None:
    outcome = await asked(bench, "valve", CLOSE, reply, reply, good(task(4)))
    assert outcome.status is Status.FAILED
    assert bench.cloud.paths.count("CtrlData/GetModel/15") == 3


async def test_a_result_is_handed_on(bench: Scripted) -> None:
    outcome = await asked(
        bench, "get_price", {}, good(task(3, "prepay.getprice", return_data='{"price1": 3}'))
    )
    assert (outcome.status, outcome.result, outcome.vendor_ref) == (Status.SUCCEEDED, {"price1": 3}, 15)


async def test_v7_a_refused_recharge_failed_although_its_state_is_3(bench: Scripted) -> None:
    outcome = await asked(bench, "recharge", CHARGE, good(fixture("v7")[0]))
    assert (outcome.status, outcome.result["reason"]) == (Status.FAILED, 2)


async def test_v8_an_account_opening_is_a_success_and_a_new_state(bench: Scripted) -> None:
    record = task(3, "prepay.openaccount", return_data=fixture_bytes("v8").decode())
    outcome = await asked(bench, "open_account", {}, good(record), bad("找不到数据"))
    assert (outcome.status, outcome.result["remain"]) == (Status.SUCCEEDED, 100)
    (reading,) = outcome.observations
    assert (reading.metrics, reading.origin) == ({"account_open": True}, Origin.COMMAND)


async def test_a_closed_valve_is_proved_by_the_reading_of_the_same_wake_up(bench: Scripted) -> None:
    bench.time.advance(3600)
    record = {
        "meter_comm_no": METER, "acquisition_time": "2021-04-07T08:59:00", "std_sum": 7,
        "ext_data": '{"valve_open": false}',
    }  # fmt: skip
    outcome = await asked(bench, "valve", CLOSE, good(task(3)), good(record))
    (reading,) = outcome.observations
    assert reading.metrics == {"gas_volume": 7, "valve_state": "closed"}
    assert reading.observed_at == NOW + timedelta(minutes=59)
    assert reading.origin is Origin.COMMAND


async def test_an_older_state_in_a_fresh_reading_does_not_hide_the_new_one(bench: Scripted) -> None:
    bench.time.advance(3600)
    record = {
        "meter_comm_no": METER,
        "acquisition_time": "2021-04-07T08:01:00",
        "ext_data": {"valve_open": True},
    }
    outcome = await asked(bench, "valve", CLOSE, good(task(3)), good(record))
    assert isinstance(outcome.observations[0], Reading)
    assert outcome.observations[1] == Words(
        METER, bench.clock.now(), Origin.COMMAND, {"valve_state": "closed"}
    )


@pytest.mark.parametrize(
    "reply",
    [TIMEOUT, bad("找不到数据"), good({"meter_comm_no": METER}),
     good({"meter_comm_no": METER, "acquisition_time": "2021-04-07T08:00:00"}),
     good({"meter_comm_no": METER, "acquisition_time": "2022-04-07T08:00:00"})],
)  # fmt: skip
async def test_without_a_fresh_reading_the_commanded_state_is_told(bench: Scripted, reply: Any) -> None:
    bench.time.advance(60)
    outcome = await asked(bench, "valve", OPEN, good(task(3, "common.setvalveon")), reply)
    (reading,) = outcome.observations
    assert isinstance(reading, Reading)
    assert (reading.metrics, reading.observed_at) == ({"valve_state": "open"}, None)


# the questions about money -------------------------------------------------------------------------------


def counters(state: int, returned: str = "{}", **fields: Any) -> dict[str, Any]:
    more = {"ctrl_id": 16, "ctrl_define_no": check_name("after", "brg-9"), "return_data": returned} | fields
    return task(state, "prepay.getchargestate", **more)


@pytest.mark.parametrize("ended", [charge(6), charge(7), charge(99), charge(3), charge(3, '{"success": 5}')])
async def test_an_unclear_recharge_has_the_counters_read(bench: Scripted, ended: dict[str, Any]) -> None:
    bench.time.advance(60)
    assert await asked(bench, "recharge", CHARGE, good(ended), page(), good(16)) is None
    body = bench.cloud.body()
    assert bench.cloud.paths[-2:] == ["CtrlData/GetList", "CtrlData/Add"]
    assert (body["ctrl_type"], body["ctrl_define_no"]) == (
        "iotmeterv1.prepay.getchargestate", check_name("after", "brg-9"),
    )  # fmt: skip
    assert len(body["ctrl_define_no"]) <= 50
    assert bench.effect.count == 0
    assert bench.vault.kept[OWN_REFERENCES] == [16], "a report of the question is about nobody else's task"


async def test_the_counters_are_asked_for_once(bench: Scripted) -> None:
    assert await asked(bench, "recharge", CHARGE, good(charge(6)), page(counters(0))) is None
    bench.restart()
    assert await asked(bench, "recharge", CHARGE, good(charge(6)), page(counters(1))) is None
    assert "CtrlData/Add" not in bench.cloud.paths


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (counters(3, '{"remote_charge_times": 3}'), Status.SUCCEEDED),
        (counters(3, '{"remote_charge_times": 4}'), Status.SUCCEEDED),
        (counters(3, '{"remote_charge_times": 2}'), Status.FAILED),
        (counters(3, "{}"), Status.INDETERMINATE),
        (counters(4), Status.INDETERMINATE), (counters(5), Status.INDETERMINATE),
        (counters(6), Status.INDETERMINATE), (counters(99), Status.INDETERMINATE),
    ],
)  # fmt: skip
async def test_the_counter_decides(bench: Scripted, answer: dict[str, Any], status: Status) -> None:
    outcome = await asked(bench, "recharge", CHARGE, good(charge(6)), page(answer))
    assert (outcome.status, outcome.vendor_ref, outcome.vendor_code) == (status, 15, 6)
    if status is not Status.INDETERMINATE:
        assert "remote_charge_times" in outcome.result


async def test_a_question_that_the_platform_never_ends_is_given_up(bench: Scripted) -> None:
    bench.time.advance(74 * 3600)
    outcome = await asked(bench, "recharge", CHARGE, good(charge(6)), page(counters(1)))
    assert outcome.status is Status.INDETERMINATE


async def test_a_refused_question_leaves_it_open(bench: Scripted) -> None:
    outcome = await asked(bench, "recharge", CHARGE, good(charge(6)), page(), bad())
    assert outcome.status is Status.INDETERMINATE


async def test_a_recharge_that_turns_out_well_after_all_is_a_success(bench: Scripted) -> None:
    assert await asked(bench, "recharge", CHARGE, good(charge(6)), page(counters(0))) is None
    outcome = await asked(bench, "recharge", CHARGE, good(charge(3, GOOD_CHARGE)))
    assert (outcome.status, outcome.result["remain"]) == (Status.SUCCEEDED, pytest.approx(188.5, abs=0))


async def test_a_found_task_that_ended_unclear_is_followed(bench: Scripted) -> None:
    bench.cloud.will(page(charge(6)), page(), good(16))
    outcome = await bench.probe("recharge", CHARGE, dispatched_at=NOW)
    assert (outcome.status, outcome.vendor_ref) == (Status.SENT, 15)


@pytest.mark.parametrize("state", [6, 7, 99])
@pytest.mark.parametrize(
    ("command", "params", "suffix"),
    [("set_balance", {"remain_value": 1}, "prepay.setremain"),
     ("set_cumulant", {"std_sum": 1, "work_sum": 1}, "common.setcumulant"), ("open_account", {}, "prepay.openaccount")],
)  # fmt: skip
async def test_other_money_commands_without_answer_are_for_a_person(
    bench: Scripted, command: str, params: dict[str, Any], suffix: str, state: int
) -> None:
    outcome = await asked(bench, command, params, good(task(state, suffix)))
    assert (outcome.status, outcome.code) == (Status.INDETERMINATE, "no_answer")


@pytest.mark.parametrize(
    ("before", "now", "status"),
    [(False, True, Status.SUCCEEDED), (False, False, None), (True, True, None), (None, True, None)],
)
async def test_an_account_that_opened_meanwhile_proves_the_opening(
    bench: Scripted, before: Any, now: Any, status: Status | None
) -> None:
    bench.cloud.will(good(15))
    known = {} if before is None else {"account_open": before}
    await bench.run("open_account", {}, known=known)
    record = task(1, "prepay.openaccount")
    outcome = await asked(bench, "open_account", {}, good(record), known={"account_open": now})
    assert (outcome.status if outcome else None) is status


async def test_an_unclear_opening_is_decided_by_a_reading(bench: Scripted) -> None:
    bench.cloud.will(good(15))
    await bench.run("open_account", {}, known={"account_open": False})
    bench.time.advance(7200)
    bench.restart()
    reading = {
        "meter_comm_no": METER,
        "acquisition_time": "2021-04-07 09:00:00",
        "ext_data": {"open_state": True},
    }
    record = task(6, "prepay.openaccount")
    outcome = await asked(
        bench, "open_account", {}, good(record), good(reading), known={"account_open": False}
    )
    assert outcome.status is Status.SUCCEEDED
    assert "opening:brg-9" not in bench.vault.kept


# the check before a recharge -------------------------------------------------------------------------------


async def checked(make: Callable[..., Scripted], returned: str, state: int = 3) -> tuple[Scripted, Any]:
    bench = make(recharge_check=True)
    name = check_name("before", "brg-9")
    waits, ends = (counters(one, ctrl_define_no=name, return_data=returned) for one in (0, state))
    bench.cloud.will(page(), good(16), page(waits), page(ends), good(15))
    return bench, bench.run("recharge", CHARGE)


async def test_a_recharge_that_fits_the_counters_leaves(make: Callable[..., Scripted]) -> None:
    bench, run = await checked(make, '{"remote_charge_times": 2, "remote_total_value": 160}')
    assert (await run).vendor_ref == 15
    assert bench.cloud.body()["ctrl_type"] == "iotmeterv1.prepay.remotecharge"
    assert (bench.effect.count, bench.clock.slept) == (1, [5.0, 10.0])


@pytest.mark.parametrize(
    ("returned", "state", "code"),
    [('{"remote_charge_times": 3, "remote_total_value": 160}', 3, "values_differ"),
     ('{"remote_charge_times": 2, "remote_total_value": 100}', 3, "values_differ"),
     ("{}", 3, "no_answer"), ("{}", 6, "no_answer")],
)  # fmt: skip
async def test_a_recharge_that_does_not_fit_is_refused(
    make: Callable[..., Scripted], returned: str, state: int, code: str
) -> None:
    bench, run = await checked(make, returned, state)
    with pytest.raises(Refused) as refused:
        await run
    assert (refused.value.code, bench.effect.count) == (code, 0)
    assert "nothing was sent" in str(refused.value)


async def test_a_check_that_cannot_be_made_sends_nothing(make: Callable[..., Scripted]) -> None:
    bench = make(recharge_check=True)
    bench.cloud.will(TIMEOUT)
    with pytest.raises(NotSent):
        await bench.run("recharge", CHARGE)
    assert bench.effect.count == 0


# cancel and retry -------------------------------------------------------------------------------


async def test_a_cancel_is_a_success_once_the_task_shows_it(bench: Scripted) -> None:
    bench.cloud.will(good(task(0)), good(15), good(task(5)))
    outcome = await bench.run("cancel", {"ctrl_id": 15})
    assert (outcome.status, outcome.vendor_code, outcome.vendor_ref) == (Status.SUCCEEDED, 5, 15)
    assert bench.cloud.paths[1:] == [
        "CtrlData/GetModel/15", "CtrlData/Cancel/15", "CtrlData/GetModel/15",
    ]  # fmt: skip


async def test_a_task_is_cancelled_by_the_id_of_its_command(bench: Scripted) -> None:
    bench.cloud.will(page(task(0, ctrl_define_no="pay-1")), good(15), good(task(3)))
    outcome = await bench.run("cancel", {"command_id": "pay-1"})
    assert (outcome.status, outcome.code) == (Status.FAILED, "device_refused")


async def test_a_cancel_that_shows_no_effect_yet_is_followed(bench: Scripted) -> None:
    bench.cloud.will(good(task(1)), good(15), good(task(1)))
    outcome = await bench.run("cancel", {"ctrl_id": 15})
    assert (outcome.status, outcome.vendor_ref) == (Status.SENT, 15)
    assert await asked(bench, "cancel", {"ctrl_id": 15}, good(task(1))) is None
    assert (await asked(bench, "cancel", {"ctrl_id": 15}, good(task(5)))).status is Status.SUCCEEDED
    assert (await asked(bench, "cancel", {"ctrl_id": 15}, good(task(3)))).status is Status.FAILED
    assert (await asked(bench, "cancel", {"ctrl_id": 15}, bad("找不到"))).status is Status.INDETERMINATE


@pytest.mark.parametrize(("state", "status"), [(5, Status.SUCCEEDED), (3, Status.FAILED), (6, Status.FAILED)])
async def test_a_task_that_has_ended_is_not_cancelled_any_more(
    bench: Scripted, state: int, status: Status
) -> None:
    bench.cloud.will(good(task(state)))
    assert (await bench.run("cancel", {"ctrl_id": 15})).status is status
    assert bench.effect.count == 0


@pytest.mark.parametrize("command", ["cancel", "retry"])
async def test_tasks_of_other_devices_are_left_alone(bench: Scripted, command: str) -> None:
    bench.cloud.will(good(task(0, target_comm_no=OTHER)))
    with pytest.raises(Refused, match="another device"):
        await bench.run(command, {"ctrl_id": 15})
    bench.cloud.will(page())
    with pytest.raises(Refused, match="no task"):
        await bench.run(command, {"command_id": "x"})
    bench.cloud.will(bad("找不到数据"))
    with pytest.raises(Refused, match="does not find"):
        await bench.run(command, {"ctrl_id": 15})
    bench.cloud.will(TIMEOUT)
    with pytest.raises(NotSent):
        await bench.run(command, {"ctrl_id": 15})
    assert bench.effect.count == 0


async def test_a_cancel_refused_by_the_platform_fails(bench: Scripted) -> None:
    bench.cloud.will(good(task(1)), bad("任务已发送", 0))
    with pytest.raises(Refused, match="任务已发送"):
        await bench.run("cancel", {"ctrl_id": 15})


async def test_a_cancel_with_a_refused_token_is_repeated_once(bench: Scripted) -> None:
    bench.cloud.will(good(task(0)), httpx.Response(401), good(15), good(task(5)))
    assert (await bench.run("cancel", {"ctrl_id": 15})).status is Status.SUCCEEDED
    assert bench.effect.count == 2


async def test_a_cancel_whose_task_cannot_be_read_again_is_open(bench: Scripted) -> None:
    for reply in (TIMEOUT, httpx.ConnectError("x"), bad()):
        bench.cloud.will(good(task(0)), good(15), reply)
        with pytest.raises(LostAnswer):
            await bench.run("cancel", {"ctrl_id": 15})


async def test_a_retry_hands_the_task_back_to_the_platform(bench: Scripted) -> None:
    bench.cloud.will(good(task(6)), good(15))
    outcome = await bench.run("retry", {"ctrl_id": 15})
    assert (outcome.status, outcome.result) == (Status.SUCCEEDED, {"ctrl_id": 15})
    assert bench.cloud.paths[-1] == "CtrlData/Retry/15"


@pytest.mark.parametrize(
    "suffix", ["prepay.remotecharge", "prepay.openaccount", "prepay.setremain", "common.setcumulant"]
)
async def test_money_is_not_retried(bench: Scripted, suffix: str) -> None:
    for named, reply in (
        ({"ctrl_id": 15}, good(task(6, suffix))),
        ({"command_id": "brg-9"}, page(task(6, suffix))),
    ):
        bench.cloud.will(reply)
        with pytest.raises(Rejection) as rejected:
            await bench.run("retry", named)
        assert rejected.value.code == "not_allowed"
    assert bench.effect.count == 0


@pytest.mark.parametrize("rule", [{"min_switch_interval": "5m"}, {"devices": {METER: {"max_load_w": "1"}}}])
async def test_a_retry_is_no_way_around_the_interlocks_for_switching(
    make: Callable[..., Scripted], rule: dict[str, Any]
) -> None:
    bench = make(interlocks=rule)
    for suffix in ("common.setvalveon", "common.setvalveoff", "common.releaseforce"):
        bench.cloud.will(good(task(6, suffix)))
        with pytest.raises(Rejection, match="under interlocks") as rejected:
            await bench.run("retry", {"ctrl_id": 15})
        assert rejected.value.code == "interlock"
        bench.cloud.will(good(task(6, suffix)))
        with pytest.raises(Rejection, match="under interlocks"):
            await bench.run("retry_tasks", {"ctrl_ids": [15]}, device=None)
    bench.cloud.will(good(task(6, "prepay.getprice")), good(15))
    assert (await bench.run("retry", {"ctrl_id": 15})).status is Status.SUCCEEDED
    assert bench.effect.count == 1


async def test_a_retry_is_never_repeated(bench: Scripted) -> None:
    bench.cloud.will(good(task(6)), httpx.Response(401))
    with pytest.raises(Refused) as refused:
        await bench.run("retry", {"ctrl_id": 15})
    assert refused.value.code == "auth_failed"
    assert bench.cloud.paths.count("CtrlData/Retry/15") == 1


@pytest.mark.parametrize(("state", "decided"), [(0, True), (1, True), (3, True), (6, False), (4, False)])
async def test_a_lost_retry_shows_in_the_tasks_state(bench: Scripted, state: int, decided: bool) -> None:
    outcome = await asked(bench, "retry", {"ctrl_id": 15}, good(task(state)), vendor_ref=None)
    assert (outcome is not None and outcome.status is Status.SUCCEEDED) is decided


# reading -------------------------------------------------------------------------------


async def test_read_gives_the_platforms_latest_reading(bench: Scripted) -> None:
    bench.cloud.will(fixture("get_real_model"))
    outcome = await bench.run("read", {}, device=bench.device("1234567890"))
    assert outcome.status is Status.SUCCEEDED
    assert [type(one).__name__ for one in outcome.observations] == ["Described", "Reading", "Availability"]
    assert outcome.observations[1].origin is Origin.COMMAND
    assert bench.cloud.paths == ["MeterData/GetRealModel/1234567890"]
    assert bench.effect.count == 0


async def test_a_refused_reading_is_asked_for_three_times(bench: Scripted) -> None:
    bench.cloud.will(bad("系统繁忙"), bad("系统繁忙"), fixture("get_real_model"))
    outcome = await bench.run("read", {}, device=bench.device("1234567890"))
    assert outcome.status is Status.SUCCEEDED
    assert len(bench.cloud.requests) == 3


async def test_v10_an_unknown_meter_is_an_answer(bench: Scripted) -> None:
    bench.cloud.will(fixture("v10"))
    outcome = await bench.run("read")
    assert (outcome.status, outcome.code) == (Status.FAILED, "unknown_device")
    (seen,) = outcome.observations
    assert isinstance(seen, Availability)
    assert (seen.online, seen.said) == (False, False)


async def test_a_read_without_usable_reading_is_no_answer(bench: Scripted) -> None:
    bench.cloud.will(good({"meter_comm_no": METER}))
    with pytest.raises(LostAnswer):
        await bench.run("read")


async def test_history_asks_per_month_and_kind_with_all_pages(bench: Scripted) -> None:
    def row(time: str, **fields: Any) -> dict[str, Any]:
        return {"meter_comm_no": METER, "acquisition_time": time, "std_sum": 1} | fields

    bench.cloud.will(
        page(row("2021-03-31T23:59:59"), total=2),
        page(row("2021-03-31T22:00:00"), total=2),
        page(),
        page(
            row("2021-04-01T00:00:00"),
            row("2021-04-01T08:00:00"),
            row("2021-04-01T07:59:59", meter_comm_no="1"),
        ),
        page(row("2021-04-01T07:59:59", data_type=1), row("x")),
    )
    outcome = await bench.run("history", {"start": "2021-03-31T14:30:00Z", "end": "2021-04-01 08:00:00"})
    assert (outcome.status, outcome.result) == (Status.SUCCEEDED, {"records": 3})
    assert {one.origin for one in outcome.observations} == {Origin.BACKFILL}
    bodies = [bench.cloud.body(index) for index in range(5)]
    assert [(body["month"], body["data_type"]) for body in bodies] == [(3, 0), (3, 0), (3, 1), (4, 0), (4, 1)]
    assert (bodies[0]["start_hour"], bodies[0]["start_minute"], bodies[3]["end_minute"]) == (22, 30, 1)
    assert bench.cloud.requests[1].url.params["startrow"] == "1"


async def test_a_device_without_control_api_takes_no_tasks(make: Callable[..., Scripted]) -> None:
    bench, full = make(control=None), make()
    with pytest.raises(Refused, match="no control API"):
        await bench.adapter.execute(full.order("get_price"), bench.effect)
    with pytest.raises(Refused, match="no control API"):
        bench.adapter.preview(full.order("get_price"))
    with pytest.raises(Refused, match="no control API"):
        await bench.adapter.execute(full.order("get_task", {"ctrl_id": 1}, device=None), bench.effect)
    assert await bench.adapter.probe(full.order("get_task", {"ctrl_id": 1}, device=None)) is None
