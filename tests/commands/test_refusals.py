"""What a vendor answers with each code of its page, and how a command ends by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.simulators.faults import Fault
from tests.commands import iammeter, jrhsz, saj, wmj
from tests.commands.rows import Row
from tests.commands.stage import Stage

NO = ("failed", "vendor_error")
AUTH = ("failed", "auth_failed")
USED_UP = ("failed", "rate_limited")
YES = ("succeeded", None)


def _row(rows: tuple[Row, ...], command: str) -> Row:
    return next(row for row in rows if row.command == command)


DELETION = _row(saj.ROWS, "delete_plant")
CUT = _row(jrhsz.ROWS, "breaker")
OFF = next(row for row in wmj.ROWS if row.params == {"state": "off"})
ANALYSIS = _row(iammeter.ROWS, "power_analysis")
SAMPLE, SITES = _row(iammeter.ROWS, "read"), _row(iammeter.ROWS, "refresh_inventory")
INFO, BOUND, FREED = (_row(wmj.ROWS, command) for command in ("read", "register", "unregister"))
PLANT, PLANTS = _row(saj.ROWS, "read"), _row(saj.ROWS, "refresh_inventory")
METERS = _row(jrhsz.ROWS, "refresh_inventory")
NATIVE = "native_code"

# vendor, command, the fault, how often, the end, its vendor code, how often it was sent
CODES: list[tuple[str, Row, dict[str, Any], int, tuple[str, str | None], Any, int]] = [
    *(
        ("saj", DELETION, {"kind": NATIVE, "code": code}, 1, end, code, 1)
        for code, end in {
            10003: USED_UP, 10004: USED_UP, 10005: ("failed", "unsupported"), 10006: NO, 10007: AUTH,
            10014: AUTH, 10099: NO, 12345: NO,
        }.items()
    ),
    *(
        ("saj", DELETION, {"kind": NATIVE, "code": code}, count, *end)
        for code in (10002, 10008, 10010, 10011, 10012)
        for count, end in ((1, (YES, 0, 2)), (2, (AUTH, code, 2)))
    ),
    ("saj", DELETION, {"kind": "http_500", "status": 404}, 1, ("failed", "unsupported"), 10005, 1),
    ("saj", DELETION, {"kind": "http_500", "status": 429}, 1, USED_UP, 10003, 1),
    ("saj", DELETION, {"kind": "http_500", "status": 401}, 1, YES, 0, 2),
    *(
        ("jrhsz", CUT, {"kind": NATIVE, "code": code}, 1, end, code, 1)
        for code, end in {1001: NO, 1002: AUTH, 1005: AUTH, 1008: NO, 1003: NO, 4711: NO}.items()
    ),
    *(
        ("jrhsz", CUT, {"kind": NATIVE, "code": code}, 1, YES, 200, 2)
        for code in (1006, 1007, 1009, 1011)
    ),
    ("jrhsz", CUT, {"kind": NATIVE, "code": 1009}, 2, AUTH, 1009, 2),
    ("jrhsz", CUT, {"kind": NATIVE, "code": 1010, "acts": True}, 1, YES, 1010, 1),
    *(
        ("wmj", OFF, {"kind": NATIVE, "code": code}, 1, end, code, 1)
        for code, end in {1002: ("failed", "device_offline"), 1003: NO, 1005: NO, 1006: AUTH, 100: NO}.items()
    ),
    ("wmj", OFF, {"kind": NATIVE, "code": 1004}, 1, YES, 0, 2),
    ("wmj", OFF, {"kind": NATIVE, "code": 1004}, 2, NO, 1004, 2),
    ("wmj", INFO, {"kind": NATIVE, "code": 1001}, 1, YES, 0, 2),
    ("wmj", INFO, {"kind": NATIVE, "code": 1002}, 1, ("failed", "device_offline"), 1002, 1),
    ("wmj", INFO, {"kind": NATIVE, "code": 1004}, 1, YES, 0, 2),
    ("wmj", INFO, {"kind": NATIVE, "code": 1006}, 1, AUTH, 1006, 1),
    ("wmj", BOUND, {"kind": NATIVE, "code": 1003}, 1, NO, 1003, 1),
    ("wmj", BOUND, {"kind": NATIVE, "code": 1006}, 1, AUTH, 1006, 1),
    ("wmj", FREED, {"kind": NATIVE, "code": 1004}, 1, NO, 1004, 1),
    ("wmj", FREED, {"kind": NATIVE, "code": 1005, "acts": True}, 1, YES, 1005, 1),
    ("saj", PLANT, {"kind": NATIVE, "code": 10001}, 1, YES, 0, 2),
    ("saj", PLANT, {"kind": NATIVE, "code": 10001}, 3, ("timed_out", "no_answer"), 10001, 3),
    ("saj", PLANT, {"kind": NATIVE, "code": 10006}, 1, NO, 10006, 1),
    ("saj", PLANT, {"kind": NATIVE, "code": 10003}, 1, USED_UP, 10003, 1),
    ("saj", PLANT, {"kind": NATIVE, "code": 4711}, 1, YES, 0, 2),
    ("saj", PLANTS, {"kind": NATIVE, "code": 10012}, 1, YES, None, 2),
    ("jrhsz", METERS, {"kind": NATIVE, "code": 1001}, 1, NO, 1001, 1),
    ("jrhsz", METERS, {"kind": NATIVE, "code": 1007}, 1, YES, None, 2),
    ("jrhsz", METERS, {"kind": NATIVE, "code": 1011}, 1, YES, None, 2),
    ("iammeter", SAMPLE, {"kind": NATIVE, "code": 0}, 1, USED_UP, 200, 1),
    ("iammeter", SAMPLE, {"kind": NATIVE, "code": 1}, 1, YES, None, 2),
    ("iammeter", SAMPLE, {"kind": NATIVE, "code": 77}, 1, NO, "Error 77.", 1),
    ("iammeter", SAMPLE, {"kind": "http_500", "status": 503}, 1, YES, None, 2),
    ("iammeter", SITES, {"kind": NATIVE, "code": 0}, 1, USED_UP, 200, 1),
    ("iammeter", SITES, {"kind": NATIVE, "code": 77}, 1, NO, "Error 77.", 1),
    ("iammeter", ANALYSIS, {"kind": NATIVE, "code": 0}, 1, USED_UP, 200, 1),
    ("iammeter", ANALYSIS, {"kind": NATIVE, "code": 77}, 1, NO, "Error 77.", 1),
    ("iammeter", ANALYSIS, {"kind": "http_500", "status": 429}, 1, USED_UP, 429, 1),
    ("iammeter", ANALYSIS, {"kind": "http_500", "status": 401}, 1, YES, None, 2),
    ("iammeter", ANALYSIS, {"kind": "http_500", "status": 403}, 1, AUTH, 403, 1),
    ("iammeter", ANALYSIS, {"kind": "http_500", "status": 404}, 1, ("failed", "no_answer"), 404, 1),
]  # fmt: skip


@pytest.mark.parametrize(("vendor", "row", "fault", "count", "end", "vendor_code", "sends"), CODES)
async def test_each_code_has_its_end(
    tmp_path: Path,
    vendor: str,
    row: Row,
    fault: dict[str, Any],
    count: int,
    end: tuple[str, str | None],
    vendor_code: Any,
    sends: int,
) -> None:
    async with Stage(tmp_path, vendor) as stage:
        row.prepare(stage.cloud)
        stage.cloud.faults.add(Fault(endpoint=row.fault, count=count, **fault))
        await row.ordered(stage)
        final = await stage.carried("c-1")
        assert (final["status"], final["code"], final["vendor_code"]) == (*end, vendor_code)
        assert row.sends(stage) == sends
        assert len([one for one in stage.effects() if one in row.effects]) == (
            end == YES and bool(row.effects)
        )
        assert final["message"] or end == YES
        if end in (AUTH, USED_UP):
            return
        asked = len(stage.wire.requests)
        await row.ordered(stage)
        await stage.advance(700)
        assert len(stage.wire.requests) == asked, "a no is final: the id is used"


async def test_a_breaker_that_a_schedule_holds_says_so(tmp_path: Path) -> None:
    async with Stage(tmp_path, "wmj") as stage:
        stage.cloud.fleet[wmj.WIFI].held_by = 3
        await OFF.ordered(stage)
        final = await stage.carried("c-1")
        assert (final["status"], final["code"], final["vendor_code"]) == ("failed", "device_refused", 2)
        assert "schedule" in final["message"]
        assert (OFF.sends(stage), stage.effects()) == (1, [])


async def test_a_breaker_that_the_cloud_calls_off_line_is_not_online(tmp_path: Path) -> None:
    async with Stage(tmp_path, "wmj") as stage:
        stage.cloud.faults.add(Fault("native_code", endpoint="getOnLine", code=1002))
        await stage.order(wmj.WIFI, "online", {"id": "c-1"})
        final = await stage.carried("c-1")
        assert (final["status"], final["result"]) == ("succeeded", {"online": False})
        assert stage.retained()[f"home/{wmj.WIFI}/availability"] == "offline"


async def test_a_setting_that_was_taken_and_cannot_be_read_back_is_asked_for_until_it_shows(
    tmp_path: Path,
) -> None:
    row = _row(wmj.ROWS, "set_protection")
    async with Stage(tmp_path, "wmj") as stage:
        stage.cloud.faults.add(Fault("http_500", endpoint="send/getdevinfo", count=2))
        await row.ordered(stage)
        final = await stage.carried("c-1")
        assert (final["status"], final["result"]) == ("succeeded", wmj.ALL_FIVE)
        assert row.sends(stage) == 1


async def test_a_setting_that_the_breaker_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    async with Stage(tmp_path, "wmj") as stage:
        await stage.order(wmj.WIFI, "set_protection", {"id": "c-1", **wmj.ALL_FIVE, "overvoltage_v": 500})
        final = await stage.carried("c-1")
        assert (final["status"], final["code"], final["vendor_code"]) == ("failed", "device_refused", 1)
        assert "overvoltage" in final["message"]
        assert stage.effects() == []


async def test_thresholds_that_the_breaker_limits_are_told_as_they_are(tmp_path: Path) -> None:
    """Page 10.3, F8: the device takes another value than the one asked for, silently."""
    async with Stage(tmp_path, "wmj") as stage:
        stage.cloud.fleet[wmj.WIFI].options.overload_max_kw = 6
        await _row(wmj.ROWS, "set_alarms").ordered(stage)
        final = await stage.carried("c-1")
        assert (final["status"], final["code"]) == ("failed", "values_differ")
        assert final["result"]["overload_kw"] == {"threshold": 6, "trip": True}


async def test_an_analysis_over_the_five_of_the_day_is_refused_at_the_door(tmp_path: Path) -> None:
    async with Stage(tmp_path, "iammeter") as stage:
        for number in range(5):
            await ANALYSIS.ordered(stage, id=f"a-{number}")
            assert (await stage.carried(f"a-{number}"))["status"] == "succeeded"
        await ANALYSIS.ordered(stage, id="a-5")
        last = stage.final("a-5")
        assert (last["status"], last["code"]) == ("rejected", "rate_limited")
        assert "2024-01-02T" in last["message"]
        assert ANALYSIS.sends(stage) == 5
        other = ANALYSIS.payload | {"id": "b-1"}
        await stage.order("E5F6A7B8", "power_analysis", other)
        assert (await stage.carried("b-1"))["status"] == "succeeded", "the limit is per meter"


async def test_a_water_meter_is_woken_once_in_a_quarter_of_an_hour(tmp_path: Path) -> None:
    row = next(one for one in jrhsz.ROWS if one.command == "read" and one.target == jrhsz.WATER)
    async with Stage(tmp_path, "jrhsz") as stage:
        await row.ordered(stage)
        assert (await stage.carried("c-1"))["status"] == "succeeded"
        await row.ordered(stage, id="c-2")
        assert (stage.final("c-2")["status"], stage.final("c-2")["code"]) == ("rejected", "rate_limited")
        await stage.advance(900)
        await row.ordered(stage, id="c-3")
        assert (await stage.carried("c-3"))["status"] == "succeeded"
        assert stage.effects().count("read") >= 2
