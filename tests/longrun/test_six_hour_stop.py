"""The gateway stands still for six hours: what arrived in the end is what the meters measured, and no limit was met.

Time is the test's own. The truth comes straight from the simulators, past their answers and past our codecs; the
calls are counted as they arrived at the cloud.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.times import parse_rfc3339
from bridge.simulators import iotmeter
from tests.contract.cases import SECRETS
from tests.longrun.rig import CloudTime, LongRun, most_within, one_worker, utc
from tests.longrun.truth import METRIC, TRUTHS

HOUR = 3600.0


def gas_cloud(time: CloudTime) -> iotmeter.IotMeterCloud:
    """A gas meter that reads itself every 15 minutes, and nobody is pushed to."""
    account = iotmeter.Account("1001", SECRETS["iotmeter"][0], "demo_admin", SECRETS["iotmeter"][1])
    return iotmeter.IotMeterCloud(
        account, ["00000000000001"], time=time, rng=random.Random(1), wake_every_s=900.0
    )


CASES: dict[str, dict[str, Any]] = {
    "iammeter": {"start": "2024-03-11T04:00", "site_history": False},
    "jrhsz": {"start": "2024-03-11T04:00"},
    "saj": {"start": "2024-06-11T00:30"},
    "iotmeter": {"start": "2024-03-11T04:00", "cloud": gas_cloud, "poll": "15m"},
}

LIMITS: dict[str, list[tuple[str, int, float]]] = {
    # the vendors' own limits (pages, section 3), and where they name none our own caution
    "iammeter": [
        ("/user/login", 5, 3600), ("/site/metersdata", 1, 300), ("/site/metersdata", 12, 3600),
        ("/user/sitelist", 12, 86400), ("A1B2C3D4", 12, 3600), ("C9D0E1F2", 12, 3600),
    ],
    "jrhsz": [
        (rf"/meter/{name}\?", 1, 2)
        for name in ("readMeter", "meterList", "readMeterList", "readMeterDataList", "peaksValleysRead", "cameraRead")
    ],
    "saj": [("", 5, 1), ("", 500, 3600), ("", 6000, 86400)],
    "iotmeter": [("", 4, 1)],
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Any:
    with one_worker(monkeypatch):
        yield


@contextlib.asynccontextmanager
async def running(tmp_path: Path, vendor: str, **options: Any) -> AsyncIterator[LongRun]:
    chosen = {**CASES[vendor], **options}
    run = LongRun(tmp_path, vendor, utc(chosen.pop("start")), chosen.pop("cloud", None), **chosen)
    ticking = asyncio.ensure_future(_tick(run)) if hasattr(run.cloud, "tick") else None
    async with run:
        yield run
    if ticking is not None:
        ticking.cancel()


async def _tick(run: LongRun) -> None:
    """The cloud lives on its own, also while no gateway asks it."""
    while True:
        await run.clock.sleep(900.0)
        run.cloud.tick()


def arrived(run: LongRun, device: str, since: float, until: float) -> dict[int, float]:
    """What went out in between: the main value of every record that has one; two records of one time agree."""
    found: dict[int, float] = {}
    for record in run.records(device):
        at = parse_rfc3339(record["ts"]).timestamp()
        values = [
            float(record["metrics"][name]) for name in METRIC[run.spec.name] if name in record["metrics"]
        ]
        if since < at < until and values:
            assert found.setdefault(int(at), values[0]) == values[0]
    return found


def check_truth(run: LongRun, device: str, since: float, until: float) -> int:
    """Compares; returns how many records there were."""
    truth = TRUTHS[run.spec.name](run.cloud, device, since, until)
    came = arrived(run, device, since, until)
    assert came.keys() == truth.keys(), device
    wrong = {
        at: (came[at], value) for at, value in truth.items() if came[at] != pytest.approx(value, abs=1e-6)
    }
    assert wrong == {}, device
    return len(truth)


def check_each_once(run: LongRun, device: str) -> None:
    told = [(record["ts"], str(record["metrics"])) for record in run.records(device)]
    assert len(told) == len(set(told)), device
    live = [record["ts"] for record in run.docs_in_order(device)]
    assert live == sorted(live), device


def check_limits(run: LongRun) -> None:
    for pattern, count, seconds in LIMITS[run.spec.name]:
        assert most_within(run.line.calls, seconds, pattern) <= count, (pattern, count, seconds)


def check_nothing_twice(run: LongRun) -> None:
    asked = [f"{call.path}?{call.query}{call.body}" for call in run.line.calls]
    history = [
        one for one in asked if re.search(r"datalist2?/|readMeterDataList|inverter/data\?|GetHistory", one)
    ]
    assert len(history) == len(set(history)), "a window of the past was asked for twice"


async def check_ledger_is_empty(run: LongRun) -> None:
    assert await run.store.run(lambda tx: list(tx.gaps.find())) == []


@pytest.mark.parametrize("vendor", sorted(CASES))
async def test_after_a_stop_of_the_gateway_everything_measured_has_arrived_once(
    tmp_path: Path, vendor: str
) -> None:
    async with running(tmp_path, vendor) as run:
        await run.pass_time(2 * HOUR)
        stopped = run.clock.now().timestamp()
        states = {name: run.retained()[f"{run.account}/{name}/state"]["ts"] for name in run.devices()}
        await run.away(6 * HOUR)
        back = run.clock.now().timestamp()
        await run.pass_time(2 * HOUR)
        count = 0
        for device in measuring(run):
            live = [parse_rfc3339(one["ts"]).timestamp() for one in run.records(device, leaf="telemetry")]
            since = max(at for at in live if at <= stopped)
            until = min(at for at in live if at > back - 1800)
            count += check_truth(run, device, since, until)
            check_each_once(run, device)
            assert run.retained()[f"{run.account}/{device}/state"]["ts"] > states[device]
        assert count >= 5 * len(measuring(run))
        check_limits(run)
        check_nothing_twice(run)
        await check_ledger_is_empty(run)


@pytest.mark.parametrize("vendor", sorted(CASES))
async def test_after_an_outage_of_the_vendor_everything_measured_has_arrived_once(
    tmp_path: Path, vendor: str
) -> None:
    async with running(tmp_path, vendor) as run:
        await run.pass_time(2 * HOUR)
        begun = run.clock.now().timestamp()
        run.line.cut = True
        await run.pass_time(3 * HOUR)
        assert run.health.state(run.account).word == "unreachable"  # type: ignore[union-attr] # entered
        run.line.cut = False
        await run.pass_time(2 * HOUR)
        for device in measuring(run):
            live = [parse_rfc3339(one["ts"]).timestamp() for one in run.records(device, leaf="telemetry")]
            since = max(at for at in live if at <= begun)
            check_truth(run, device, since, min(at for at in live if at >= begun + 3 * HOUR - 900))
            check_each_once(run, device)
        check_limits(run)
        check_nothing_twice(run)
        await check_ledger_is_empty(run)


def measuring(run: LongRun) -> list[str]:
    """The devices that have records of their own: a saj plant's follow from its inverters'."""
    return [name for name in run.devices() if run.spec.name != "saj" or name.startswith("INV")]


async def test_without_repair_the_same_stop_leaves_a_hole_that_the_truth_shows(tmp_path: Path) -> None:
    async with running(tmp_path, "saj", gaps={"fill": False}) as run:
        await run.pass_time(2 * HOUR)
        stopped = run.clock.now().timestamp()
        await run.away(6 * HOUR)
        await run.pass_time(HOUR)
        truth = TRUTHS["saj"](run.cloud, "INVTEST00101", stopped, stopped + 6 * HOUR)
        came = arrived(run, "INVTEST00101", stopped, stopped + 6 * HOUR)
        assert len(truth) >= 71
        assert len(came) <= 1
        gaps = await run.store.run(lambda tx: list(tx.gaps.find(device="INVTEST00101")))
        assert [gap.end_ms - gap.start_ms > 5.9 * 3_600_000 for gap in gaps] == [True]


async def test_six_hours_without_a_broker_make_no_gap(tmp_path: Path) -> None:
    """Nothing takes the messages here: the outbox holds all of them, none is missing, and no past is asked for."""
    async with running(tmp_path, "saj") as run:
        await run.pass_time(6 * HOUR)
        since = run.clock.now().timestamp() - 5 * HOUR
        check_truth(run, "INVTEST00101", since, since + 4 * HOUR)
        await check_ledger_is_empty(run)
        assert not [call for call in run.line.calls if call.path.endswith("inverter/data")]
