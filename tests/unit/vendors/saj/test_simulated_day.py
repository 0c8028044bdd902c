"""The adapter against the simulated cloud over a day, behind the real gate: limits kept, one token, a full curve."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest

from bridge.domain.device import DeviceKind
from bridge.domain.errors import AuthFailed, RateLimited, VendorError
from bridge.domain.metrics import METRICS
from bridge.domain.observation import AlarmMessage, Availability, Observation, Reading, Words
from bridge.flow.schedule import Schedule, stretch
from bridge.pace.gate import AccountGate
from bridge.simulators.ledger import most_in_window
from bridge.simulators.saj import Application, SajCloud, app, demo_fleet
from bridge.vendors.saj import limits
from bridge.vendors.saj.settings import SajSettings
from tests.fakes.adapters import CloudTime, FakeVault, NoLedger, SleptClock
from tests.unit.vendors.saj.bench import APP_ID, APP_KEY, NOW, Account

DAWN_OF_DAY = datetime(2017, 6, 6, 16, 5, tzinfo=UTC)
"""Five minutes past midnight in Shanghai."""

DAY_S = 86400.0


class Day:
    """A simulated cloud with its account, read as the poller reads it."""

    def __init__(
        self, start: datetime = DAWN_OF_DAY, fleet: dict[str, Any] | None = None, **options: Any
    ) -> None:
        self.clock = SleptClock(start)
        self.time = CloudTime(self.clock)
        self.cloud = SajCloud(
            Application(APP_ID, APP_KEY),
            demo_fleet(self.time.now(), **(fleet or {})),
            time=self.time,
            rng=random.Random(3),
            **options,
        )
        self.vault = FakeVault()
        self.seen: list[Observation] = []
        self.errors: list[VendorError] = []
        self.account = self.open()

    def open(self) -> Account:
        settings = SajSettings.model_validate({"id": "roof", "vendor": "saj", "app_id": "1", "app_key": "1"})
        self.limits = limits(settings)
        gate = AccountGate("roof", self.limits, self.clock, NoLedger())
        transport = httpx.ASGITransport(app(self.cloud))
        return Account(clock=self.clock, vault=self.vault, gate=gate, transport=transport)

    async def pass_by(self, seconds: float, inventory_every_s: float = 3600.0) -> None:
        """Reads everything for so long, one task after the other."""
        schedule, until, inventory_at = Schedule(), self.clock.monotonic() + seconds, self.clock.monotonic()
        while self.clock.monotonic() < until:
            if self.clock.monotonic() >= inventory_at:
                inventory_at = self.clock.monotonic() + inventory_every_s
                await self._plan(schedule)
            started = self.clock.monotonic()
            task = schedule.take(started)
            if task is None:
                due = schedule.next_due()
                wake_at = min(inventory_at, until if due is None else due)
                await self.clock.sleep(max(0.01, wake_at - started))
                continue
            schedule.done(task, started, self.clock.monotonic(), await self._read(task))

    async def _plan(self, schedule: Schedule) -> None:
        try:
            tasks = list(self.account.adapter.poll_tasks(await self.account.adapter.inventory()))
        except VendorError as error:
            self.errors.append(error)
            return
        assert stretch(tasks, self.limits) is None
        schedule.plan(tasks, self.clock.monotonic())

    async def _read(self, task: Any) -> float | None:
        next_in_s = None
        try:
            async for batch in self.account.adapter.poll(task):
                self.seen += batch.observations
                next_in_s = batch.next_in_s
        except VendorError as error:
            self.errors.append(error)
        return next_in_s

    def readings(self, device: str) -> list[Reading]:
        return [one for one in self.seen if isinstance(one, Reading) and one.device == device]


async def test_a_day_costs_one_token_and_keeps_every_limit() -> None:
    day = Day(hourly_calls=500, daily_calls=6000)
    await day.pass_by(DAY_S)
    assert day.errors == []
    assert day.cloud.tokens_issued == 1
    calls = day.cloud.calls
    assert calls.busiest(3600) <= 500
    assert calls.busiest(86400) <= 6000
    assert calls.busiest(0.199) == 1
    assert calls.most_at_once() <= 2
    assert set(calls.counts()) == {
        "accessToken", "plant/list", "plant/details", "plant/data", "device/list",
        "device/inverter/datasigns", "device/inverter/alarm",
    }  # fmt: skip
    assert calls.counts()["plant/details"] == 2
    assert 24 <= calls.counts()["plant/list"] <= 49


async def test_a_day_shows_the_whole_curve_and_sleeps_at_night() -> None:
    day = Day(fleet={"plants": 1, "inverters": 1})
    await day.pass_by(DAY_S)
    (_plant, inverter), *_ = day.cloud.fleet.inverters()
    readings = day.readings(inverter.sn)
    today = [one for one in readings if one.observed_at and one.observed_at > DAWN_OF_DAY]
    times = sorted({one.observed_at for one in today if one.observed_at})
    assert len(times) > 150
    gaps = [(late - early).total_seconds() for early, late in pairwise(times)]
    assert max(gaps[10:]) <= 600
    yields = [one.metrics["yield_today"] for one in today]
    assert yields == sorted(yields)
    assert yields[-1] > 5
    assert all(METRICS[name].takes(value) for one in readings for name, value in one.metrics.items())
    asked = len(day.cloud.calls.calls(endpoint="device/inverter/datasigns"))
    assert asked < 0.85 * DAY_S / 300
    told = [one.metrics for one in day.seen if isinstance(one, Words)]
    words = [metrics["plant_status"] for metrics in told if "plant_status" in metrics]
    assert {"low_light", "running"} == set(words)
    online = [one.online for one in day.seen if isinstance(one, Availability) and one.device == inverter.sn]
    assert (online[0], True in online, online[-1]) == (False, True, False)


async def test_plant_and_inverters_agree() -> None:
    day = Day(fleet={"plants": 1, "inverters": 2})
    await day.pass_by(DAY_S)
    plant_id = str(next(iter(day.cloud.fleet.plants)))
    total = day.readings(plant_id)[-1].metrics["yield_today"]
    parts = [
        day.readings(inverter.sn)[-1].metrics["yield_today"] for _, inverter in day.cloud.fleet.inverters()
    ]
    assert total == sum(parts)


async def test_the_vendors_hourly_quota_is_met_once_and_learnt() -> None:
    day = Day(NOW, hourly_calls=40, fleet={"plants": 1, "inverters": 3})
    await day.pass_by(6 * 3600.0, inventory_every_s=3600.0)
    assert all(isinstance(one, RateLimited) for one in day.errors)
    assert len([one for one in day.errors if one.native_code == 10003]) == 1
    later = [call for call in day.cloud.calls.calls() if call.at > NOW.timestamp() + 3600]
    assert 5 * 20 < len(later) <= 5 * 36
    assert most_in_window([call.at for call in later], 3600) <= 36


async def test_a_restart_in_between_needs_no_new_token() -> None:
    day = Day()
    await day.pass_by(1800.0)
    day.account = day.open()
    await day.pass_by(1800.0)
    assert (day.errors, day.cloud.tokens_issued) == ([], 1)
    assert day.cloud.calls.counts()["plant/details"] == 2


async def test_a_token_is_renewed_before_it_ends() -> None:
    day = Day(expires_in=7200)
    await day.pass_by(4 * 3600.0)
    assert day.errors == []
    assert 2 <= day.cloud.tokens_issued <= 3


async def test_another_program_with_the_same_application_is_noticed_and_gets_its_way() -> None:
    day = Day(fleet={"plants": 1, "inverters": 1})
    for _ in range(6):
        await day.pass_by(300.0)
        day.cloud.issue()
    conflicts = [one for one in day.errors if isinstance(one, AuthFailed)]
    assert conflicts
    assert all(one.message.startswith("token_conflict: ") for one in conflicts)
    assert len(day.cloud.calls.calls(endpoint="accessToken")) <= 6
    await day.pass_by(1800.0)
    assert isinstance(day.seen[-1], Reading | Availability | Words)
    assert not [one for one in day.errors[len(conflicts) + 6 :] if one.native_code != 10012]


async def test_alarms_are_told_once_and_cleared_once() -> None:
    day = Day(fleet={"plants": 1, "inverters": 1})
    (_plant, inverter), *_ = day.cloud.fleet.inverters()
    day.cloud.raise_alarm(inverter.sn, "bit7", "Grid Over Voltage")
    await day.pass_by(3600.0)
    day.cloud.end_alarm(inverter.sn, "bit7")
    await day.pass_by(3600.0)
    changes = [one for one in day.seen if isinstance(one, AlarmMessage) and not one.standing]
    told = [(one.code, one.cleared) for one in changes]
    assert told == [("vendor_bit7", False), ("vendor_bit7", True)]


@pytest.mark.parametrize("cursor_end", ["repeat", "zero", "empty"])
async def test_history_is_complete_and_within_the_budget(cursor_end: str) -> None:
    day = Day(fleet={"plants": 1, "inverters": 1}, cursor_end=cursor_end)
    devices = await day.account.adapter.inventory()
    for device in devices:
        given = {"start": "2017-05-20T00:00:00Z", "end": "2017-06-05T00:00:00Z"}
        outcome = await day.account.run("history", given, device)
        records = list(outcome.observations)
        assert outcome.result == {"records": len(records)}
        times = [one.observed_at for one in records]
        assert times == sorted(times)
        power = [one for one in records if "active_power" in one.metrics]
        assert len({one.observed_at for one in power}) == len(power)
        assert len(power) > 16 * 150
        days = {one.observed_at.date() for one in power}
        assert len(days) >= 16
        if device.kind is DeviceKind.SOLAR_PLANT:
            yields = [one for one in records if "yield_interval" in one.metrics]
            assert len(yields) == 16
    assert day.cloud.calls.busiest(0.199) == 1


async def test_every_management_command_reaches_the_cloud_as_the_page_says() -> None:
    day = Day(fleet={"plants": 1, "inverters": 1})
    run = day.account.run
    given = {"user_email": "new@example.com", "user_password": "FAKE0000", "user_name": "N", "user_tel": "1"}
    user = (await run("add_user", given)).result["c_user_id"]
    await run("modify_user", {"c_user_id": user, "name": "M"})
    await run("modify_user", {"c_user_id": user, "user_City": "Town"})
    plant = (await run("add_plant", {"c_user_id": user, "name": "Roof", "peak_power": 5.5})).result[
        "plant_id"
    ]
    await run("modify_plant", {"plant_id": plant, "name": "Roof 2", "peak_power": 6})
    await run("modify_plant", {"plant_id": plant, "name": "Roof 3", "peak_power": 6, "City": "Town"})
    await run("assign_plant", {"plant_id": plant, "user_id": 300000001})
    await run("add_datalogger", {"plant_id": plant, "sn": "L1"})
    await run("modify_datalogger", {"plant_id": plant, "original_sn": "L1", "sn": "L2"})
    await run("delete_datalogger", {"plant_id": plant, "sn": "L2"})
    await run("delete_plant", {"plant_id": plant})
    await run("delete_user", {"c_user_id": user})
    assert day.cloud.ledger.counts() == {
        "user_added": 1, "user_modified": 2, "plant_added": 1, "plant_modified": 2, "plant_assigned": 1,
        "datalogger_added": 1, "datalogger_modified": 1, "datalogger_deleted": 1, "plant_deleted": 1,
        "user_deleted": 1,
    }  # fmt: skip
    assert day.cloud.tokens_issued == 1
    assert day.account.effect.count == 12


async def test_reading_by_command_brings_the_record() -> None:
    day = Day(fleet={"plants": 1, "inverters": 1})
    for device in await day.account.adapter.inventory():
        outcome = await day.account.run("read", device=device)
        assert isinstance(outcome.observations[-1], Reading)
    outcome = await day.account.run("refresh_inventory")
    assert outcome.result == {"devices": 2}
    assert len(outcome.inventory or ()) == 2
    assert await day.account.adapter.check() == "credentials accepted; 1 plants"
