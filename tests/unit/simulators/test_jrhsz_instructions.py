"""Instructions of the simulated platform: accepted at once, carried out later, entered into the ledger once."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx
import pytest

from bridge.simulators.faults import KINDS, Fault
from bridge.simulators.jrhsz import Meter, fleet
from bridge.simulators.jrhsz.load import PER_UNIT, PERIODS, midnight_after, profile, shown
from tests.unit.simulators.jrhsz_bench import ENERGY, NOON, USERNAME, WATER, Bench

ENERGY_ID, WATER_ID = "100000000001", f"D{WATER}"


@pytest.fixture
def jrhsz() -> Bench:
    return Bench()


async def gate_of(bench: Bench, table_no: str) -> str:
    (row,) = await bench.rows("readMeter", tableNo=table_no)
    word: str = row["gate"]
    return word


@pytest.mark.parametrize(
    ("table_no", "target", "kind", "effect", "words"),
    [
        (ENERGY, ENERGY_ID, "1", "tripped", ("合闸", "跳闸")),
        (WATER, WATER_ID, "1", "valve_closed", ("合闸", "跳闸")),
        (ENERGY, ENERGY_ID, "2", "reclosed", ("合闸", "合闸")),
        (WATER, WATER_ID, "2", "valve_opened", ("合闸", "合闸")),
    ],
)
async def test_an_instruction_is_carried_out_after_its_delay(
    jrhsz: Bench, table_no: str, target: str, kind: str, effect: str, words: tuple[str, str]
) -> None:
    assert await jrhsz.instruct(target, kind) == 200
    assert (jrhsz.effects(), await gate_of(jrhsz, table_no)) == ([], words[0])
    jrhsz.time.advance(1)
    assert await gate_of(jrhsz, table_no) == words[1]
    detail = "no_change" if kind == "2" else ""
    assert jrhsz.effects() == [(table_no, effect, detail)]
    assert (await jrhsz.rows("meterList"))[0]["tableNo"] == ENERGY


async def test_water_meters_may_say_words_of_their_own(jrhsz: Bench) -> None:
    jrhsz.cloud.configure(WATER, valve_words=True)
    assert await gate_of(jrhsz, WATER) == "开阀"
    jrhsz.cloud.switch(WATER, on=False)
    assert await gate_of(jrhsz, WATER) == "关阀"
    jrhsz.cloud.configure(WATER, gate_word="半开")
    assert await gate_of(jrhsz, WATER) == "半开"


async def test_a_reading_on_demand_is_a_new_record_of_its_time(jrhsz: Bench) -> None:
    before = len(jrhsz.cloud.meters[ENERGY].records)
    await jrhsz.instruct(ENERGY_ID, "3")
    jrhsz.time.advance(3)
    (row,) = await jrhsz.rows("readMeter", tableNo=ENERGY)
    assert row["readTime"] == "2025-07-01 12:00:07"
    assert len(jrhsz.cloud.meters[ENERGY].records) == before + 1
    assert jrhsz.effects() == [(ENERGY, "read", "")]


async def test_switching_makes_a_reading_only_where_that_is_chosen(jrhsz: Bench) -> None:
    for reads, more in ((False, 0), (True, 1)):
        jrhsz.cloud.configure(ENERGY, reads_after_switch=reads)
        before = len(jrhsz.cloud.meters[ENERGY].records)
        await jrhsz.instruct(ENERGY_ID, "1")
        jrhsz.time.advance(3)
        jrhsz.cloud.tick()
        assert len(jrhsz.cloud.meters[ENERGY].records) == before + more


async def test_an_equal_instruction_under_way_is_a_duplicate(jrhsz: Bench) -> None:
    assert [await jrhsz.instruct(ENERGY_ID, kind) for kind in ("1", "1", "2")] == [200, 1010, 200]
    jrhsz.time.advance(10)
    assert await jrhsz.instruct(ENERGY_ID, "1") == 200
    jrhsz.cloud.quirks.set("refuse_duplicates", False)
    assert await jrhsz.instruct(ENERGY_ID, "1") == 200
    jrhsz.time.advance(10)
    jrhsz.cloud.tick()
    assert [effect for _, effect, _ in jrhsz.effects()] == ["tripped", "reclosed", "tripped", "tripped"]


async def test_an_instruction_waits_for_a_meter_that_is_off_line(jrhsz: Bench) -> None:
    jrhsz.cloud.go_offline(WATER)
    assert await jrhsz.instruct(WATER_ID, "1") == 200
    jrhsz.time.advance(7200)
    await jrhsz.log_in()
    row = (await jrhsz.rows("meterList"))[1]
    assert (row["netStatis"], row["onlineAt"]) == ("不在线", "2025-07-01 12:00:00")
    assert (jrhsz.effects(), jrhsz.cloud.under_way()) == ([], 1)
    jrhsz.cloud.go_online(WATER)
    assert jrhsz.effects() == [(WATER, "valve_closed", "")]


@pytest.mark.parametrize(("target", "kind"), [(ENERGY, "1"), ("nobody", "1"), (ENERGY_ID, "4")])
async def test_unknown_targets_and_instructions_fail(jrhsz: Bench, target: str, kind: str) -> None:
    assert await jrhsz.instruct(target, kind) == 1001
    assert jrhsz.cloud.under_way() == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_whether_a_fault_acts_is_as_documented(jrhsz: Bench, kind: Any) -> None:
    await jrhsz.log_in()
    jrhsz.cloud.faults.add(Fault(kind, endpoint="meterInstruct/1", device=ENERGY_ID, code=1001))
    page = {"token": jrhsz.token, "admin_user_name": USERNAME, "deviceId": ENERGY_ID, "type": "1"}
    try:
        answer = await jrhsz.post("/meter/meterInstruct", page)
    except httpx.RemoteProtocolError:
        answer = None
    assert (answer is None) == (kind in ("lose_reply", "refuse_before_acting"))
    acted = kind in ("garbage", "truncated_json", "slow", "lose_reply")
    assert jrhsz.cloud.under_way() == int(acted)
    assert [call.fault for call in jrhsz.cloud.calls.calls(endpoint="meterInstruct")] == [kind]
    if kind == "native_code":
        assert answer is not None
        assert answer.json() == {"code": 1001, "msg": "操作失败"}


def test_every_hour_is_in_one_tariff_period() -> None:
    assert sorted(hour for hours in PERIODS.values() for hour in hours) == list(range(24))


def test_amounts_do_not_depend_on_where_time_is_cut() -> None:
    day = profile(77, water=False)
    cuts = [NOON, NOON + 1, NOON + 4000, NOON + 90_001, NOON + 200_000]
    parts = sum(day.used(since, until) for since, until in pairwise(cuts))
    assert parts == day.used(cuts[0], cuts[-1])
    by_period = sum(day.used(cuts[0], cuts[-1], hours) for hours in PERIODS.values())
    assert by_period == parts
    assert day.rate_at(NOON) * 60 == day.used(NOON, NOON + 60)
    assert shown(PER_UNIT * 3 // 2 - 1) == Decimal("1.49")
    assert midnight_after(NOON) == NOON + 12 * 3600


def test_a_household_uses_a_believable_amount_per_day() -> None:
    for seed in range(80):
        assert 5 < shown(profile(seed, water=False).used(NOON, NOON + 86_400)) < 25
        assert Decimal("0.1") < shown(profile(seed, water=True).used(NOON, NOON + 86_400)) < 1


def test_a_fleet_has_all_kinds_and_distinct_numbers() -> None:
    meters = fleet(12, NOON)
    assert {meter.medium for meter in meters} == {"electricity", "water"}
    assert any(meter.time_of_use for meter in meters)
    assert any(meter.camera for meter in meters)
    assert len({meter.table_no for meter in meters} | {meter.device_id for meter in meters}) == 24
    assert all(len(meter.records) == 48 for meter in meters)


def test_a_replaced_register_shows_the_new_value() -> None:
    for code in (5, 7):
        meter = Meter("m", code, NOON)
        meter.replace_register(Decimal("1.5"))
        assert meter.reading() == Decimal("1.5")


@pytest.mark.parametrize(
    ("name", "value"), [("speed", 1), ("read_every_s", "x"), ("read_every_s", 0), ("gate_word", 1)]
)
def test_a_wrong_option_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Meter("m", 5, NOON).configure(**{name: value})
