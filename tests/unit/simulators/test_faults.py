"""The fault plan, alone and in front of the simulated cloud."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx
import pytest

from bridge.simulators.faults import KINDS, Fault, FaultPlan, fault_from_json
from tests.unit.simulators.bench import CELLULAR, WIFI, Bench, send_page


def _plan(*faults: Fault) -> FaultPlan:
    plan = FaultPlan(random.Random(3))
    for fault in faults:
        plan.add(fault)
    return plan


def _met(plan: FaultPlan, times: int, endpoint: str = "send/turnon", device: str = WIFI) -> list[str]:
    faults = [plan.take(endpoint, device) for _ in range(times)]
    return ["" if fault is None else fault.kind for fault in faults]


def test_a_fault_strikes_as_often_as_it_says() -> None:
    assert _met(_plan(Fault("garbage", count=2)), 4) == ["garbage", "garbage", "", ""]


def test_a_fault_without_count_strikes_until_cleared() -> None:
    plan = _plan(Fault("http_500", count=None))
    assert _met(plan, 5) == ["http_500"] * 5
    plan.clear()
    assert _met(plan, 1) == [""]


def test_a_fault_lets_the_first_ones_pass() -> None:
    assert _met(_plan(Fault("slow", skip=2)), 4) == ["", "", "slow", ""]


@pytest.mark.parametrize(
    ("fault", "struck"),
    [
        (Fault("slow", endpoint="send/*"), True),
        (Fault("slow", endpoint="send/turnon", device="W71*"), True),
        (Fault("slow", endpoint="register"), False),
        (Fault("slow", device=CELLULAR), False),
    ],
)
def test_a_fault_strikes_where_it_matches(fault: Fault, struck: bool) -> None:
    assert _met(_plan(fault), 1) == ["slow" if struck else ""]


def test_probability_strikes_some() -> None:
    met = _met(_plan(Fault("slow", count=None, probability=0.3)), 1000)
    assert 250 < met.count("slow") < 350


def test_the_first_fault_that_matches_wins() -> None:
    plan = _plan(Fault("slow", device=CELLULAR), Fault("garbage"), Fault("http_500"))
    assert _met(plan, 3) == ["garbage", "http_500", ""]


@pytest.mark.parametrize(
    "page",
    [
        {"endpoint": "send"},
        {"kind": "explode"},
        {"kind": "slow", "until": 3},
        {"kind": "slow", "count": "2"},
        {"kind": "slow", "acts": False},
        {"kind": "refuse_before_acting", "acts": True},
        {"kind": "slow", "fired": 1},
        {"kind": ["slow"]},
        [],
    ],
)
def test_a_wrong_fault_is_refused(page: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        fault_from_json(page)


def test_a_fault_from_json_has_all_its_fields() -> None:
    page = {"kind": "native_code", "code": 1001, "acts": True, "count": None, "probability": 0.5, "skip": 1}
    assert fault_from_json(page) == Fault(
        "native_code", code=1001, acts=True, count=None, probability=0.5, skip=1
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_whether_a_fault_acts_is_as_documented(bench: Bench, kind: Any) -> None:
    bench.cloud.faults.add(Fault(kind, code=1001))
    try:
        await bench.post("send", send_page("turnoff"))
    except httpx.RemoteProtocolError:
        assert kind in ("lose_reply", "refuse_before_acting")
    acted = kind in ("garbage", "truncated_json", "slow", "lose_reply")
    assert bench.effects() == ([(WIFI, "switched_off", "")] if acted else [])
    assert [call.fault for call in bench.cloud.calls.calls()] == [kind]


@pytest.mark.parametrize(
    ("kind", "acts"),
    [("http_500", True), ("native_code", True), ("garbage", False), ("truncated_json", False)],
)
async def test_some_faults_can_be_told_whether_to_act(bench: Bench, kind: Any, acts: bool) -> None:
    bench.cloud.faults.add(Fault(kind, code=1001, acts=acts))
    await bench.post("send", send_page("turnoff"))
    assert len(bench.effects()) == int(acts)


async def test_the_caller_sees_the_fault(bench: Bench) -> None:
    page = send_page("getdevinfo")
    whole = (await bench.post("send", page)).content
    bench.cloud.faults.add(Fault("http_500", status=502))
    bench.cloud.faults.add(Fault("garbage"))
    bench.cloud.faults.add(Fault("truncated_json"))
    bench.cloud.faults.add(Fault("native_code", code=1001))
    answers = [await bench.post("send", page) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [502, 200, 200, 200, 200]
    for answer in answers[:3]:
        with pytest.raises(ValueError, match=r"\w"):
            json.loads(answer.content)
    assert answers[2].content[:40] == whole[:40]
    assert answers[3].json() == {"code": 1001, "msg": "网络超时"}
    assert answers[4].json()["code"] == 0


async def test_a_slow_answer_takes_its_time_and_acts_first(bench: Bench) -> None:
    bench.cloud.faults.add(Fault("slow", seconds=30))
    started = bench.time.now()
    assert "data" in await bench.send("turnoff")
    (entry,) = bench.cloud.ledger.entries()
    assert (entry.at - started, bench.time.now() - started) == (0, 30)


async def test_in_process_a_lost_reply_is_what_a_connection_would_raise(bench: Bench) -> None:
    bench.cloud.faults.add(Fault("lose_reply"))
    bench.cloud.faults.add(Fault("lose_reply", seconds=60))
    with pytest.raises(httpx.RemoteProtocolError):
        await bench.send("turnoff")
    with pytest.raises(httpx.ReadTimeout):
        await bench.send("turnoff")
    assert len(bench.effects()) == 2
    assert [call.status for call in bench.cloud.calls.calls()] == [0, 0]
