"""A year in virtual time: leap day, ends of months and of the year, changes of daylight saving, steps of the clock.

One gateway lives through all of it on one database. Around each of these instants it runs for a while, stands still
over the instant itself, and runs again; in between it sleeps for weeks. What arrived is compared with the truth.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from datetime import timezone as fixed
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.times import parse_rfc3339
from bridge.simulators import jrhsz
from bridge.store.protocols import GapState
from tests.contract.cases import SECRETS
from tests.longrun.rig import LongRun, one_worker, utc
from tests.longrun.test_six_hour_stop import (
    HOUR,
    arrived,
    check_each_once,
    check_limits,
    check_truth,
    measuring,
    running,
)
from tests.longrun.truth import TRUTHS

MIDNIGHTS = [
    "2024-02-28", "2024-02-29", "2024-03-31", "2024-04-30", "2024-10-27", "2024-12-31", "2025-02-28",
]  # fmt: skip
"""Each day ends (by the vendor's clock) while the gateway stands still; on two of them the clocks of Europe change."""

DAY_ENDS_AT = {
    "iammeter": 23.0,  # the simulated site is an hour ahead of UTC
    "jrhsz": 16.0,
    "iotmeter": 16.0,
    "saj": 24.0,  # the vendor's own days are UTC days, and 24:00 is a morning with sun in Shanghai
}
OPTIONS: dict[str, dict[str, Any]] = {
    "iammeter": {"timezone": None},
    "jrhsz": {
        "cloud": lambda time: jrhsz.JrhszCloud(
            jrhsz.Account("demo_user", SECRETS["jrhsz"][0]),
            jrhsz.fleet(3, time.now()),
            time=time,
            rng=random.Random(1),
        )
    },
}
RUNS_FOR, STANDS_FOR = 1.25 * HOUR, 3 * HOUR


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Any:
    with one_worker(monkeypatch):
        yield


async def until(run: LongRun, at: datetime) -> None:
    """Weeks in which nobody looks."""
    await run.away((at - run.clock.now()).total_seconds())


@pytest.mark.parametrize("vendor", sorted(DAY_ENDS_AT))
async def test_no_end_of_day_month_or_year_and_no_leap_day_costs_or_doubles_a_record(
    tmp_path: Path, vendor: str
) -> None:
    ends = [utc(f"{day}T00:00") + timedelta(hours=DAY_ENDS_AT[vendor]) for day in MIDNIGHTS]
    start = ends[0] - timedelta(seconds=RUNS_FOR + STANDS_FOR / 2)
    options: dict[str, Any] = {"timezone": None} if vendor == "iammeter" else {}
    async with running(tmp_path, vendor, start=start.isoformat()[:16], gaps={"back": "6h"}, **options) as run:
        count = 0
        for end in ends:
            begins = end - timedelta(seconds=RUNS_FOR + STANDS_FOR / 2)
            if run.clock.now() < begins:
                await until(run, begins)
            count += await _over(run, end)
        assert count > 10 * len(ends)
        for device in measuring(run):
            check_each_once(run, device)
            for record in run.records(device):
                assert parse_rfc3339(record["ts"]) <= parse_rfc3339(record["received_ts"])
        check_limits(run)
        events = {doc["code"] for doc in run.docs(f"{run.account}/+/event")}
        assert not events & {"counter_reset", "clock_suspect"}
        left = await run.store.run(lambda tx: list(tx.gaps.find(states=[GapState.MISSING, GapState.FILLING])))
        assert left == []


async def _over(run: LongRun, end: datetime) -> int:
    """Over one of these instants; returns how many records were compared."""
    await run.pass_time(RUNS_FOR)
    stopped = run.clock.now().timestamp()
    await run.away(STANDS_FOR)
    back = run.clock.now().timestamp()
    assert stopped < end.timestamp() < back
    await run.pass_time(RUNS_FOR)
    count = 0
    for device in measuring(run):
        live = [parse_rfc3339(one["ts"]).timestamp() for one in run.records(device, leaf="telemetry")]
        since = max((at for at in live if at <= stopped), default=stopped)
        until = min((at for at in live if at > back - 1800), default=back)
        count += check_truth(run, device, since, until)
    return count


@pytest.mark.parametrize("step_s", [-3600, 3600, -40, 40])
async def test_steps_of_the_clock_invent_no_gap_and_exceed_no_limit(tmp_path: Path, step_s: int) -> None:
    async with running(tmp_path, "jrhsz") as run:
        await run.pass_time(4 * HOUR)
        calls = len(run.line.calls)
        run.clock.step_wall(step_s)
        await run.pass_time(3 * HOUR)
        assert len(run.line.calls) > calls
        assert await run.store.run(lambda tx: list(tx.gaps.find())) == []
        for device in measuring(run):
            check_each_once(run, device)
        state = run.health.state(run.account)
        assert state is not None
        assert state.word == "online"


@pytest.mark.parametrize("timezone", [None, "Europe/Berlin"])
@pytest.mark.parametrize(("change", "offset_min"), [("2024-03-31T01:00", 120), ("2024-10-27T01:00", 60)])
async def test_a_site_whose_clocks_change_while_the_gateway_stands_still_loses_nothing(
    tmp_path: Path, change: str, offset_min: int, timezone: str | None
) -> None:
    """iammeter counts days as the site does: one of 23 or 25 hours is asked for as a whole."""
    begins = utc(change) - timedelta(hours=2)
    async with running(
        tmp_path, "iammeter", start=begins.isoformat()[:16], timezone=timezone, site_history=False
    ) as run:
        _shift(run, 180 - offset_min)
        await run.pass_time(HOUR)
        stopped = run.clock.now().timestamp()
        await run.crash()
        await run.clock.advance(HOUR)
        _shift(run, offset_min)
        await run.clock.advance(25 * HOUR)
        await run.start()
        back = run.clock.now().timestamp()
        await run.pass_time(HOUR)
        for device in measuring(run):
            live = [parse_rfc3339(one["ts"]).timestamp() for one in run.records(device, leaf="telemetry")]
            since = max(at for at in live if at <= stopped)
            until = min(at for at in live if at > back - 1800)
            truth = TRUTHS["iammeter"](run.cloud, device, since, until)
            assert len(truth) > 300
            assert arrived(run, device, since, until).keys() == truth.keys()
            check_each_once(run, device)
        assert await run.store.run(lambda tx: list(tx.gaps.find())) == []


def _shift(run: LongRun, offset_min: int) -> None:
    """The site's clocks are so many minutes ahead of UTC from now on."""
    for site in run.cloud.sites:
        site.offset_min = offset_min
        for meter in site.meters:
            meter.offset_min = offset_min


async def test_a_plant_with_daylight_saving_goes_through_the_night_of_the_change(tmp_path: Path) -> None:
    """saj: the plant's offset is another one in the morning; its records have their true times all the same."""
    async with running(tmp_path, "saj", start="2024-03-30T14:00") as run:
        plant, _inverter = run.cloud.fleet.by_sn("INVTEST00101")
        plant.zone = fixed(timedelta(hours=1))
        await run.pass_time(11 * HOUR)
        plant.zone = fixed(timedelta(hours=2))
        changed = run.clock.now().timestamp()
        await run.pass_time(9 * HOUR)
        for device in measuring(run):
            assert check_truth(run, device, changed, changed + 8 * HOUR) > 30
            check_each_once(run, device)
        events = {doc["code"] for doc in run.docs(f"{run.account}/+/event")}
        assert not events & {"counter_reset", "clock_suspect"}
        assert await run.store.run(lambda tx: list(tx.gaps.find())) == []


async def test_a_night_of_an_inverter_costs_no_record_and_shows_no_gap(tmp_path: Path) -> None:
    async with running(tmp_path, "saj", start="2024-06-11T09:00") as run:
        await run.pass_time(18 * HOUR)
        since = run.clock.now().timestamp() - 17 * HOUR
        for device in measuring(run):
            assert check_truth(run, device, since, since + 16 * HOUR) > 60
            check_each_once(run, device)
        assert await run.store.run(lambda tx: list(tx.gaps.find())) == []
        check_limits(run)
