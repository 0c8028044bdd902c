"""The control surface of the simulated IAMMETER-cloud, and the simulator as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx
import pytest

from tests.unit.simulators.iammeter_bench import GRID, TOKEN, IammeterBench


@pytest.fixture
def cloud() -> IammeterBench:
    return IammeterBench()


async def _do(bench: IammeterBench, deed: str, **page: Any) -> None:
    answer = await bench.client.post(f"/_sim/{deed}", json=page)
    assert answer.status_code == 200, answer.text


async def _look(bench: IammeterBench, name: str, **query: str) -> Any:
    answer = await bench.client.get(f"/_sim/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_requests_are_shown_with_their_density(cloud: IammeterBench) -> None:
    for _ in range(13):
        await cloud.get(f"site/meterdata/{GRID}")
        cloud.time.advance(10)
    await cloud.get("user/sitelist")
    shown = await _look(cloud, "requests", endpoint="meterdata", device=GRID, window_s="60")
    assert (shown["total"], shown["busiest"], shown["refused"]) == (13, 6, 1)
    assert shown["counts"] == {"meterdata": 13, "sitelist": 1}
    assert shown["calls"][-1]["fault"] == "limit"
    assert TOKEN not in str(shown)


async def test_logins_are_in_the_ledger(cloud: IammeterBench) -> None:
    await cloud.login()
    await cloud.login(password="FAKE")
    assert (await _look(cloud, "ledger"))["counts"] == {"login": 1, "login_refused": 1}


async def test_a_fault_is_planned_and_cleared(cloud: IammeterBench) -> None:
    await _do(cloud, "fault", kind="native_code", code=0, endpoint="meterdata", count=None)
    assert (await cloud.get(f"site/meterdata/{GRID}")).content == b""
    assert (await _look(cloud, "faults"))["faults"][0]["fired"] == 1
    await _do(cloud, "clear")
    assert await cloud.data(f"site/meterdata/{GRID}")


async def test_everything_counted_can_be_cleared(cloud: IammeterBench) -> None:
    await cloud.login()
    await cloud.get("site/metersdata")
    await _do(cloud, "clear", what=["ledger", "requests", "limits"])
    assert (await _look(cloud, "ledger"))["entries"] == []
    assert (await _look(cloud, "requests"))["total"] == 0


async def test_meters_are_steered(cloud: IammeterBench) -> None:
    await _do(cloud, "load", device=GRID, watts=1234.5)
    cloud.time.advance(120)
    assert (await cloud.data(f"site/meterdata/{GRID}"))["values"][0][2] == 1234.5
    await _do(cloud, "load", device=GRID, watts=None)
    await _do(cloud, "offline", device=GRID, for_s=1800)
    before = (await cloud.data(f"site/meterdata/{GRID}"))["gmtTime"]
    await _do(cloud, "online", device=GRID)
    cloud.time.advance(120)
    assert (await cloud.data(f"site/meterdata/{GRID}"))["gmtTime"] != before
    await _do(cloud, "replace", device=GRID)
    cloud.time.advance(120)
    assert (await cloud.data(f"site/meterdata/{GRID}"))["values"][0][3] < 1
    await _do(cloud, "configure", device=GRID, seven=True)
    assert len((await cloud.data(f"site/meterdata/{GRID}"))["values"][0]) == 7
    shown = (await _look(cloud, "devices"))["devices"][0]
    assert (shown["device"], shown["site"], shown["online"], shown["options"]["seven"]) == (
        GRID,
        12345,
        True,
        True,
    )


async def test_meters_come_and_go(cloud: IammeterBench) -> None:
    await _do(cloud, "add", device="NEW00001", site=12345, name="New")
    assert await cloud.data("site/meterdata/NEW00001")
    await _do(cloud, "remove", device="NEW00001")
    assert await cloud.refusal("site/meterdata/NEW00001") == "Invalid SN."


async def test_the_cloud_is_steered(cloud: IammeterBench) -> None:
    await _do(cloud, "configure", missing=["metersData"], enforce=False)
    assert (await cloud.get("site/metersdata")).status_code == 404
    await _do(cloud, "revoke")
    assert await cloud.refusal("user/sitelist") == "Invalid token."


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("offline", {"device": "NOBODY01"}),
        ("offline", {}),
        ("configure", {"colour": "red"}),
        ("configure", {"device": GRID, "colour": "red"}),
        ("fault", {"kind": "fire"}),
        ("clear", {"what": ["everything"]}),
        ("add", {"device": GRID, "site": 12345}),
        ("add", {"device": "NEW00001", "site": 1}),
    ],
)
async def test_mistakes_get_a_reason(cloud: IammeterBench, name: str, page: dict[str, Any]) -> None:
    answer = await cloud.client.post(f"/_sim/{name}", json=page)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)
    assert (await cloud.client.get("/_sim/requests", params={"window_s": "x"})).status_code == 400
    assert (await cloud.client.post("/_sim/clear", content=b"[]")).status_code == 400


async def test_it_runs_as_a_process_and_ends_when_told() -> None:
    arguments = ["--devices", "A1B2C3D4,E5F6A7B8:3", "--missing", "metersdata"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge.simulators.iammeter", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        word, url = (await process.stdout.readline()).decode().split()
        assert word == "listening"
        async with httpx.AsyncClient(headers={"token": TOKEN}) as client:
            answer = await client.get(f"{url}/site/meterdata2/E5F6A7B8")
            missing = await client.get(f"{url}/site/metersdata")
        assert len(answer.json()["data"]["values"]) == 3
        assert missing.status_code == 404
    finally:
        process.terminate()
        assert await process.wait() == 0
