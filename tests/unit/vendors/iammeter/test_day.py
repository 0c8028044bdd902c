"""A day against the simulated cloud, with its limits enforced, the real gate and the real schedule."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from bridge.domain.device import Device
from bridge.domain.errors import BadReply, LostAnswer, RateLimited, Rejection, VendorError
from bridge.domain.observation import Availability, Reading
from bridge.flow.schedule import Schedule, stretch
from bridge.simulators.faults import Fault
from bridge.simulators.ledger import most_in_window
from bridge.vendors.iammeter import SPEC
from tests.unit.vendors.iammeter.bench import PASSWORD, SN, SN2, SN3, Stage

HOUR_S, DAY_S = 3600.0, 86400.0
LOGIN = {"username": "demo-user", "password": PASSWORD}


class Day:
    """Lets an account poll as the flow does, and somebody read now and then."""

    def __init__(self, stage: Stage, reads_per_hour: float = 0.0) -> None:
        self.stage = stage
        self.rng = random.Random(5)
        self.every_s = HOUR_S / reads_per_hour if reads_per_hour else float("inf")
        self.seen: list[Any] = []
        self.errors: list[VendorError] = []
        self.reads = self.rejected = 0

    async def plan(self) -> Schedule:
        """What the poller plans (bridge.flow.poller)."""
        account = self.stage.account
        while not (devices := await self._inventory()):
            self.stage.clock.seconds += 30
        tasks = list(account.adapter.poll_tasks(devices))
        too_much = stretch(tasks, SPEC.limits(account.settings))
        assert too_much is None
        schedule = Schedule()
        schedule.plan(tasks, account.clock.monotonic())
        return schedule

    async def run(self, until_s: float) -> None:
        clock = self.stage.clock
        schedule = await self.plan()
        read_at = clock.seconds + self.every_s * self.rng.random()
        inventory_at = clock.seconds + HOUR_S
        while True:
            due = schedule.next_due()
            assert due is not None
            now = min(due, read_at, inventory_at)
            if now >= until_s:
                return
            clock.seconds = max(clock.seconds, now) + 0.001
            if now == read_at:
                await self._read()
                read_at = now + self.every_s * (0.2 + 1.6 * self.rng.random())
            elif now == inventory_at:
                await self._inventory()
                inventory_at = now + HOUR_S
            else:
                await self._poll(schedule)

    async def _inventory(self) -> Sequence[Device]:
        try:
            return await self.stage.account.adapter.inventory()
        except VendorError as error:
            self.errors.append(error)
            return []

    async def _poll(self, schedule: Schedule) -> None:
        started = self.stage.clock.seconds
        task = schedule.take(started)
        assert task is not None
        next_in_s = None
        try:
            async for batch in self.stage.account.adapter.poll(task):
                self.seen += batch.observations
                next_in_s = batch.next_in_s
        except VendorError as error:
            self.errors.append(error)
        schedule.done(task, started, self.stage.clock.seconds, next_in_s)

    async def _read(self) -> None:
        account = self.stage.account
        sn = self.rng.choice(sorted(self.stage.cloud.meters))
        device = account.device(sn)
        self.reads += 1
        try:
            account.admit("read", device=device)
        except Rejection:
            self.rejected += 1
            return
        outcome = await account.run("read", device=device)
        self.seen += outcome.observations


def busiest(stage: Stage, window_s: float, *endpoints: str, device: str | None = None) -> int:
    calls = stage.cloud.calls.calls(device=device)
    return most_in_window([call.at for call in calls if call.endpoint in endpoints], window_s)


def assert_limits_kept(stage: Stage) -> None:
    assert stage.cloud.refused() == 0
    for sn in (SN, SN2, SN3):
        assert busiest(stage, HOUR_S, "meterdata", "meterdata2", device=sn) <= 12
        assert busiest(stage, DAY_S, "meterdata", "meterdata2", device=sn) <= 288
    assert busiest(stage, 300, "metersdata") <= 1
    assert busiest(stage, HOUR_S, "metersdata") <= 12
    assert busiest(stage, DAY_S, "metersdata") <= 288
    assert busiest(stage, DAY_S, "sitelist") <= 12
    assert busiest(stage, HOUR_S, "login") <= 5


async def test_a_day_of_one_meter_keeps_the_limits_and_uses_them(stage: Callable[..., Stage]) -> None:
    here = stage(only=[SN])
    day = Day(here, reads_per_hour=3)
    await day.run(DAY_S)
    assert_limits_kept(here)
    assert day.errors == []
    assert busiest(here, DAY_S, "meterdata2") >= 280
    assert day.rejected > 0
    records = {one.observed_at for one in day.seen if isinstance(one, Reading)}
    assert len(records) >= 280
    assert all(one.online for one in day.seen if isinstance(one, Availability))


async def test_a_day_of_several_meters_leaves_their_own_limits_to_readers(
    stage: Callable[..., Stage],
) -> None:
    here = stage(**LOGIN)
    day = Day(here, reads_per_hour=6)
    await day.run(DAY_S)
    assert_limits_kept(here)
    assert (day.errors, day.rejected) == ([], 0)
    assert busiest(here, DAY_S, "metersdata") >= 280
    assert here.cloud.ledger.counts() == {"login": 1}
    by_meter = {
        sn: [one for one in day.seen if isinstance(one, Reading) and one.device == sn]
        for sn in (SN, SN2, SN3)
    }
    assert all(len(records) >= 280 for records in by_meter.values())
    totals = [record.metrics["import_energy"] for record in by_meter[SN]]
    assert totals == sorted(totals)
    assert {"active_power", "import_energy", "active_power_net", "voltage_c"} <= by_meter[SN3][
        0
    ].metrics.keys()
    assert "current_net" not in by_meter[SN3][0].metrics


async def test_a_day_meter_by_meter_where_the_cloud_cannot_do_better(stage: Callable[..., Stage]) -> None:
    here = stage()
    here.cloud.missing = {"metersdata", "meterdata2"}
    day = Day(here, reads_per_hour=2)
    await day.run(DAY_S)
    assert_limits_kept(here)
    assert day.errors == []
    for sn in (SN, SN2, SN3):
        assert busiest(here, DAY_S, "meterdata", device=sn) >= 270


async def test_restarts_neither_log_in_again_nor_break_a_limit(stage: Callable[..., Stage]) -> None:
    here = stage(only=[SN], **LOGIN)
    day = Day(here)
    for start in range(9):
        await day.run((start + 1) * 1000.0)
        await here.account.aclose()
        here.start()
    assert_limits_kept(here)
    assert here.cloud.ledger.counts() == {"login": 1}
    assert busiest(here, HOUR_S, "meterdata2") == 12


async def test_a_day_full_of_faults_keeps_the_limits(stage: Callable[..., Stage]) -> None:
    here = stage(**LOGIN)
    for kind in ("http_500", "garbage", "truncated_json", "refuse_before_acting"):
        here.cloud.faults.add(Fault(kind, count=None, probability=0.08))
    here.cloud.faults.add(Fault("native_code", code=1, endpoint="met*", count=None, probability=0.01))
    day = Day(here)
    await day.run(DAY_S)
    assert_limits_kept(here)
    assert {type(error) for error in day.errors} >= {LostAnswer, BadReply}
    assert len([one for one in day.seen if isinstance(one, Reading)]) > 500


async def test_a_limit_that_somebody_else_used_up_silences_one_meter_for_an_hour(
    stage: Callable[..., Stage],
) -> None:
    here = stage(only=[SN])
    here.cloud.faults.add(Fault("native_code", code=0, endpoint="meterdata2", skip=3))
    day = Day(here)
    await day.run(3 * HOUR_S)
    (error,) = day.errors
    assert isinstance(error, RateLimited)
    times = [call.at for call in here.cloud.calls.calls(endpoint="meterdata2")]
    assert max(later - earlier for earlier, later in pairwise(times)) >= HOUR_S
    assert all(one.online for one in day.seen if isinstance(one, Availability))


async def test_a_meter_that_stops_uploading_goes_off_line_and_comes_back(stage: Callable[..., Stage]) -> None:
    here = stage()
    day = Day(here)
    await day.run(1000)
    here.cloud.meter(SN2).go_offline(here.clock.now().timestamp())
    await day.run(4000)
    here.cloud.meter(SN2).go_online(here.clock.now().timestamp())
    await day.run(6000)
    states = [one.online for one in day.seen if isinstance(one, Availability) and one.device == SN2]
    changes = [state for state, before in zip(states, [None, *states], strict=False) if state != before]
    assert changes == [True, False, True]
    assert all(one.online for one in day.seen if isinstance(one, Availability) and one.device != SN2)


async def test_a_revoked_token_is_renewed_in_passing(stage: Callable[..., Stage]) -> None:
    here = stage(**LOGIN)
    day = Day(here)
    await day.run(1000)
    here.cloud.revoke()
    here.cloud.denial = "401"
    await day.run(2000)
    assert day.errors == []
    assert here.cloud.ledger.counts() == {"login": 2}


async def test_the_history_of_the_simulated_cloud_adds_up(stage: Callable[..., Stage]) -> None:
    here = stage()
    account = here.account
    params = {"start": "2026-02-20", "end": "2026-03-03"}
    outcome = await account.run("history", params, device=account.device(SN))
    readings = outcome.observations
    assert outcome.result == {"records": 12 * 288}
    assert len({one.observed_at for one in readings}) == 12 * 288
    used = [reading.metrics["import_energy"] for reading in readings]
    assert used == sorted(used)
    assert here.cloud.refused() == 0


async def test_the_balance_of_a_site_matches_its_meters(stage: Callable[..., Stage]) -> None:
    here = stage(site_history=True, timezone="Etc/GMT-1")
    account = here.account
    params = {"start": "2026-03-01", "end": "2026-03-02", "interval_s": 86400}
    buckets = (await account.run("history", params, device=account.site())).observations
    span = {"start": "2026-03-01", "end": "2026-03-01", "interval_s": 60}
    minutes = (await account.run("history", span, device=account.device(SN))).observations
    used = minutes[-1].metrics["import_energy"] - minutes[0].metrics["import_energy"]
    assert abs(float(buckets[0].metrics["import_energy_interval"] - used)) < 0.05


async def test_gaps_are_those_of_the_simulated_cloud(stage: Callable[..., Stage]) -> None:
    here = stage()
    meter = here.cloud.meter(SN)
    now_s = here.clock.now().timestamp()
    meter.go_offline(now_s - 7200)
    meter.go_online(now_s - 3600)
    account = here.account
    outcome = await account.run("offline_analysis", device=account.device(SN))
    assert outcome.result["gaps"] == [
        {"start": "2026-03-04T10:00:00Z", "end": "2026-03-04T11:00:00Z", "duration_minutes": 60}
    ]
    assert outcome.result["offline_minutes"] == 60
    power = await account.run("power_analysis", device=account.device(SN))
    assert set(power.result) == {
        "window_start", "window_end", "power_avg", "power_avg_daytime", "power_min", "power_max",
    }  # fmt: skip
