"""The control surface of the simulated SAJ cloud, its faults, and its process."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx
import pytest

from tests.unit.simulators.saj_bench import DEVICE, PLANT, SN, SajBench


@pytest.fixture
def saj() -> SajBench:
    return SajBench()


async def do(saj: SajBench, name: str, **page: Any) -> None:
    answer = await saj.client.post(f"/_sim/{name}", json=page)
    assert answer.status_code == 200, answer.text


async def look(saj: SajBench, name: str, **query: Any) -> Any:
    answer = await saj.client.get(f"/_sim/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_faults_come_as_planned_and_go(saj: SajBench) -> None:
    await do(saj, "fault", kind="native_code", code=10003, endpoint="plant/*", device=PLANT, count=1)
    assert await saj.code("plant/list") == 0
    assert await saj.code("plant/data", plant_id=PLANT) == 10003
    assert await saj.code("plant/data", plant_id=PLANT) == 0
    await do(saj, "fault", kind="http_500", count=None)
    assert (await saj.client.get("/plant/list", headers=saj.headers)).status_code == 500
    assert len((await look(saj, "faults"))["faults"]) == 2
    await do(saj, "clear")
    assert await saj.code("plant/list") == 0


async def test_a_lost_reply_has_its_effect_and_a_refused_one_has_not(saj: SajBench) -> None:
    await saj.token(scope="read write")
    form = {"c_user_id": "300000001", "name": "P", "peak_power": "5"}
    for kind in ("lose_reply", "refuse_before_acting"):
        await do(saj, "fault", kind=kind, endpoint="plant/add")
        with pytest.raises(httpx.HTTPError):
            await saj.post("plant/add", **form)
    shown = await look(saj, "ledger")
    assert shown["counts"] == {"plant_added": 1}
    requests = await look(saj, "requests", endpoint="plant/add", window_s="1")
    assert [call["fault"] for call in requests["calls"]] == ["lose_reply", "refuse_before_acting"]
    assert (requests["total"], requests["busiest"], requests["most_at_once"]) == (2, 2, 1)
    await do(saj, "clear", what=["ledger", "requests"])
    assert (await look(saj, "requests"))["total"] == 0
    assert (await look(saj, "ledger"))["entries"] == []


async def test_the_world_can_be_steered(saj: SajBench) -> None:
    await do(saj, "status", plant_id=int(PLANT), status=7)
    assert (await look(saj, "state"))["plants"][0]["status"] == 7
    await do(saj, "silence", sn=SN)
    await do(saj, "silence", sn=SN, silent=False)
    await do(saj, "alarm", sn=SN, code="bit1", message="x", started_s=1496800000.5)
    await do(saj, "end_alarm", sn=SN, code="bit1", handled=True)
    page = await saj.data("device/inverter/alarm", device_id=DEVICE)
    assert page["alarms"][0]["status"] == 1
    await do(saj, "configure", hourly_calls=1)
    assert await saj.code("plant/list") == 10003


async def test_another_program_takes_the_token_away(saj: SajBench) -> None:
    assert await saj.code("plant/list") == 0
    await do(saj, "steal")
    assert await saj.code("plant/list") == 10012
    await saj.token()
    await do(saj, "revoke")
    assert await saj.code("plant/list") == 10012
    assert (await look(saj, "state"))["tokens_issued"] == 3


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("status", {"plant_id": 1, "status": 7}), ("alarm", {"sn": "X", "code": "bit1"}), ("alarm", {"sn": SN}),
        ("end_alarm", {"sn": SN, "code": "bit9"}), ("configure", {"colour": "red"}), ("fault", {"kind": "x"}),
        ("clear", {"what": ["memory"]}), ("silence", []),
    ],
)  # fmt: skip
async def test_a_mistake_is_named(saj: SajBench, name: str, page: Any) -> None:
    answer = await saj.client.post(f"/_sim/{name}", json=page)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_wrong_window_is_named(saj: SajBench) -> None:
    assert (await saj.client.get("/_sim/requests", params={"window_s": "long"})).status_code == 400


async def test_it_runs_as_a_process_of_its_own() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge.simulators.saj", "--read-only", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    word, url = (await process.stdout.readline()).decode().split()
    assert word == "listening"
    keys = {"client_id": "15000", "client_secret": "0" * 32, "grant_type": "client_credentials"}
    async with httpx.AsyncClient(trust_env=False) as client:
        good = (await client.get(f"{url}/accessToken", params=keys)).json()
        refused = (await client.get(f"{url}/accessToken", params={**keys, "scope": "read write"})).json()
    assert (good["error_code"], refused["error_code"]) == (0, 10099)
    process.terminate()
    assert await process.wait() == 0
