"""The control surface under `/_sim/`, as a test in another process uses it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.simulators.bench import CELLULAR, WIFI, Bench


async def _do(bench: Bench, name: str, **page: Any) -> Any:
    answer = await bench.client.post(f"/_sim/{name}", json=page)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _look(bench: Bench, name: str, **query: Any) -> Any:
    answer = await bench.client.get(f"/_sim/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_ledger_is_shown(bench: Bench) -> None:
    await bench.send("turnoff")
    shown = await _look(bench, "ledger")
    assert shown["counts"] == {"switched_off": 1}
    assert (shown["entries"][0]["device"], shown["entries"][0]["request"]) == (WIFI, 1)


async def test_requests_are_shown_with_their_density(bench: Bench) -> None:
    for _ in range(3):
        await bench.send("turnon")
        bench.time.advance(0.4)
    await bench.ask("getOnLine", CELLULAR)
    shown = await _look(bench, "requests", endpoint="send", device=WIFI, window_s="1")
    assert (shown["total"], shown["busiest"], shown["most_at_once"]) == (3, 3, 1)
    assert shown["counts"] == {"send/turnon": 3, "getOnLine": 1}
    assert [call["endpoint"] for call in shown["calls"]] == ["send/turnon"] * 3
    assert (await _look(bench, "requests"))["total"] == 4


async def test_deliveries_are_shown(bench: Bench) -> None:
    await _do(bench, "trip", device=WIFI, kind="overload")
    await bench.cloud.deliveries.settled()
    shown = await _look(bench, "deliveries")
    assert (shown["total"], shown["accepted"]) == (2, 2)
    assert [delivery["kind"] for delivery in shown["deliveries"]] == ["notify", "notify"]


async def test_a_fault_is_planned_and_cleared(bench: Bench) -> None:
    await _do(bench, "fault", kind="native_code", code=1001, endpoint="send/*", count=None, probability=1.0)
    assert (await bench.send("turnoff"))["code"] == 1001
    assert (await _look(bench, "faults"))["faults"][0]["fired"] == 1
    await _do(bench, "clear")
    assert "data" in await bench.send("turnoff")
    assert (await _look(bench, "ledger"))["counts"] == {"switched_off": 1}


async def test_everything_recorded_can_be_cleared(bench: Bench) -> None:
    await bench.send("turnoff")
    await bench.cloud.deliveries.settled()
    await _do(bench, "clear", what=["ledger", "requests", "deliveries"])
    assert (await _look(bench, "ledger"))["entries"] == []
    assert (await _look(bench, "requests"))["total"] == 0
    assert (await _look(bench, "deliveries"))["total"] == 0


async def test_devices_are_steered(bench: Bench) -> None:
    await _do(bench, "offline", device=WIFI, power_cut=True)
    assert (await bench.ask("getOnLine"))["data"]["on_line"] == 0
    await _do(bench, "online", device=WIFI)
    await _do(bench, "load", device=WIFI, watts=1234.5)
    assert (await bench.info())["power"] == 1234.5
    await _do(bench, "load", device=WIFI, watts=None)
    assert (await bench.info())["power"] != 1234.5
    await _do(bench, "hold", device=WIFI, on=False, index=4)
    assert (await bench.send("turnon"))["data"]["info"]["code"] == 2
    await _do(bench, "release", device=WIFI)
    await _do(bench, "configure", device=WIFI, shape="bare", restart_for_s=2)
    assert (await bench.send("turnon"))["info"]["code"] == 0
    shown = (await _look(bench, "devices"))["devices"][0]
    assert (shown["device"], shown["online"], shown["on"], shown["held_by"]) == (WIFI, True, True, None)
    assert shown["options"]["shape"] == "bare"


async def test_a_burst_runs_and_is_reported(bench: Bench) -> None:
    shown = await _do(bench, "burst", rate=50, seconds=0.1, devices=[WIFI], parallel=2, wait=True)
    assert (shown["planned"], shown["done"], len(shown["reports"])) == (5, True, 5)
    assert all(report["accepted"] and report["device"] == WIFI for report in shown["reports"])
    assert len({report["total_electricity"] for report in shown["reports"]}) == 5


async def test_a_burst_may_run_in_the_background(bench: Bench) -> None:
    answer = await bench.client.post("/_sim/burst", json={"rate": 10, "seconds": 1})
    assert (answer.status_code, answer.json()) == (202, {"burst": 1, "planned": 10})
    while not (shown := (await _look(bench, "bursts"))["bursts"][0])["done"]:
        await asyncio.sleep(0)
    assert len(shown["reports"]) == 10


async def test_callbacks_can_be_redirected(bench: Bench) -> None:
    await _do(bench, "callback", url="", retry=True)
    bench.cloud.go_offline(WIFI)
    assert await bench.told() == []
    assert bench.cloud.deliveries.retry


async def test_the_control_surface_is_neither_counted_nor_met_by_faults(bench: Bench) -> None:
    await _do(bench, "fault", kind="http_500", count=None)
    await _look(bench, "ledger")
    assert (await _look(bench, "requests"))["total"] == 0


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("trip", {"device": "W7199999999", "kind": "overload"}),
        ("trip", {"device": WIFI, "kind": "flood"}),
        ("trip", {"device": WIFI}),
        ("fault", {"kind": "explode"}),
        ("clear", {"what": ["memory"]}),
        ("load", {"device": WIFI, "hertz": 50}),
        ("configure", {"device": WIFI, "shape": "round"}),
        ("offline", {"device": WIFI, "for": 5}),
        ("burst", {"rate": 1}),
        ("burst", {"rate": 0, "seconds": 1}),
        ("burst", {"rate": 1, "seconds": 1, "devices": ["W7199999999"]}),
        ("online", []),
    ],
)
async def test_a_mistake_is_named(bench: Bench, name: str, page: Any) -> None:
    answer = await bench.client.post(f"/_sim/{name}", json=page)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_wrong_window_is_named(bench: Bench) -> None:
    assert (await bench.client.get("/_sim/requests", params={"window_s": "long"})).status_code == 400
