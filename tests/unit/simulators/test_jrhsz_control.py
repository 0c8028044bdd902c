"""The control surface of the simulated jrhsz platform, and the platform as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import httpx
import pytest

from tests.unit.simulators.jrhsz_bench import CAMERA, ENERGY, PASSWORD, USERNAME, WATER, Bench


@pytest.fixture
def jrhsz() -> Bench:
    return Bench()


async def do(bench: Bench, name: str, **page: Any) -> Any:
    answer = await bench.client.post(f"/_sim/{name}", json=page)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def look(bench: Bench, name: str, **query: Any) -> Any:
    answer = await bench.client.get(f"/_sim/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_ledger_and_requests_are_shown_and_cleared(jrhsz: Bench) -> None:
    await jrhsz.instruct("100000000001", "1")
    jrhsz.time.advance(5)
    await jrhsz.rows("meterList")
    shown = await look(jrhsz, "ledger")
    assert shown["counts"] == {"tripped": 1}
    assert (shown["entries"][0]["device"], shown["entries"][0]["request"]) == (ENERGY, 2)
    calls = await look(jrhsz, "requests", endpoint="meterInstruct", window_s="2")
    assert (calls["total"], calls["busiest"], calls["most_at_once"]) == (1, 1, 1)
    assert calls["counts"] == {"login": 1, "meterInstruct/1": 1, "meterList": 1}
    await do(jrhsz, "clear", what=["ledger", "requests"])
    assert (await look(jrhsz, "ledger"))["entries"] == []
    assert (await look(jrhsz, "requests"))["total"] == 0


async def test_faults_are_planned_and_cleared(jrhsz: Bench) -> None:
    await do(jrhsz, "fault", kind="native_code", code=1011, endpoint="meterList", count=None)
    assert (await jrhsz.ask("meterList"))["code"] == 1011
    assert (await look(jrhsz, "faults"))["faults"][0]["fired"] == 1
    await do(jrhsz, "clear")
    assert (await jrhsz.ask("meterList"))["code"] == 200


async def test_meters_are_steered(jrhsz: Bench) -> None:
    await do(jrhsz, "gate", device=ENERGY, on=False)
    await do(jrhsz, "offline", device=WATER)
    await do(jrhsz, "register", device=ENERGY, value=1.5)
    await do(jrhsz, "read", device=ENERGY)
    await do(jrhsz, "configure", device=CAMERA, net_word="离线", read_every_s=5)
    (row,) = await jrhsz.rows("readMeter", tableNo=ENERGY)
    assert (row["gate"], row["reading"], row["readTime"]) == ("跳闸", "1.50", "2025-07-01 12:00:00")
    listed = {row["tableNo"]: row for row in await jrhsz.rows("meterList")}
    assert [listed[number]["netStatis"] for number in (ENERGY, WATER, CAMERA)] == ["在线", "不在线", "离线"]
    await do(jrhsz, "online", device=WATER)
    shown = {row["device"]: row for row in (await look(jrhsz, "devices"))["devices"]}
    assert (shown[ENERGY]["on"], shown[WATER]["online"], shown[CAMERA]["camera"]) == (False, True, True)
    assert shown[CAMERA]["options"]["read_every_s"] == 5
    before = len(jrhsz.cloud.meters[CAMERA].records)
    jrhsz.time.advance(10)
    await jrhsz.rows("readMeter", tableNo=CAMERA)
    assert len(jrhsz.cloud.meters[CAMERA].records) == before + 3


async def test_meters_come_and_go(jrhsz: Bench) -> None:
    await do(jrhsz, "add", device="new", type=7, device_id="D7")
    await do(jrhsz, "remove", device=ENERGY)
    listed = {row["tableNo"]: row["deviceId"] for row in await jrhsz.rows("meterList")}
    assert listed["new"] == "D7"
    assert ENERGY not in listed
    assert (await jrhsz.rows("readMeter", tableNo="new"))[0]["readTime"] == "2025-07-01 12:00:00"


async def test_tokens_accounts_and_quirks_are_steered(jrhsz: Bench) -> None:
    await jrhsz.log_in()
    await do(jrhsz, "expire")
    assert (await jrhsz.ask("meterList"))["code"] == 1007
    await jrhsz.log_in()
    await do(jrhsz, "expire", code=1006)
    assert (await jrhsz.ask("meterList"))["code"] == 1006
    await do(jrhsz, "account", username=USERNAME, password="FAKE-NEW", forbidden=["readMeter"])
    assert (await jrhsz.log_in(PASSWORD))["code"] == 1005
    assert (await jrhsz.log_in("FAKE-NEW"))["code"] == 200
    assert (await jrhsz.ask("readMeter"))["code"] == 1009
    await do(jrhsz, "quirks", spacing_s=0, type_key="typeType")
    assert [("typeType" in row) for row in await jrhsz.rows("meterList")] == [True] * 5


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("gate", {"device": "nobody", "on": True}),
        ("gate", {"device": ENERGY}),
        ("configure", {"device": ENERGY, "colour": "red"}),
        ("register", {"device": ENERGY, "value": "much"}),
        ("fault", {"kind": "explode"}),
        ("clear", {"what": ["memory"]}),
        ("quirks", {"spacing_s": "x"}),
        ("quirks", {"speed": 1}),
        ("account", {"username": "nobody"}),
        ("online", []),
    ],
)
async def test_a_mistake_is_named(jrhsz: Bench, name: str, page: Any) -> None:
    answer = await jrhsz.client.post(f"/_sim/{name}", json=page)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_the_control_surface_is_neither_counted_nor_met_by_faults(jrhsz: Bench) -> None:
    await do(jrhsz, "fault", kind="http_500", count=None)
    await look(jrhsz, "devices")
    assert (await look(jrhsz, "requests"))["total"] == 0


async def test_the_platform_runs_as_a_process_until_it_is_told_to_stop() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge.simulators.jrhsz", "--devices", "m1:5,m2:24:camera", "--delay", "0.1",
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        await _look_and_switch(process)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _look_and_switch(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    url = line.removeprefix("listening ").strip()
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        login = {"admin_user_name": "demo_user", "api_password": "not-a-real-password"}
        token = (await client.post("/user/login", json=login)).json()["data"]
        session = {"token": token, "admin_user_name": "demo_user"}
        instruction = session | {"deviceId": "Dm1", "type": "1"}
        assert (await client.post("/meter/meterInstruct", json=instruction)).json()["code"] == 200
        while not (await client.get("/_sim/ledger")).json()["entries"]:
            await asyncio.sleep(0.05)
        listed = (await client.post("/meter/meterList", json=session)).json()["data"]
    assert [(row["tableNo"], row["gate"]) for row in listed] == [("m1", "跳闸"), ("m2", "合闸")]
