"""Holes in the series of a device: found, filled once, given up when nothing can be there, never invented."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import LostAnswer, NotSent, Refused
from bridge.domain.history import Reach
from bridge.domain.observation import Origin, Reading
from bridge.domain.times import rfc3339
from bridge.store.protocols import GapRow, GapState
from bridge.vendorkit.settings import GapSettings
from tests.fakes.harness import START, Harness
from tests.fakes.history import FakePast
from tests.fakes.vendor import ACCOUNT, VENDOR

EVERY = timedelta(minutes=5)
DAY = timedelta(days=1)


@dataclass
class Archive(FakePast):
    """A vendor that keeps records every five minutes, but for those `missing`; `uploaded` come later."""

    window: timedelta = timedelta(hours=1)
    usual_s: int | None = 300
    missing: set[datetime] = field(default_factory=set)
    power: dict[datetime, int] = field(default_factory=dict)

    def reach(self, device: Device) -> Reach | None:
        found = super().reach(device)
        return Reach(self.back, found.calls, found.costs, self.usual_s) if found is not None else None

    def at(self, first: datetime, last: datetime) -> list[datetime]:
        number = -(-(first - START) // EVERY)
        times = []
        while (at := START + number * EVERY) < last:
            times.append(at)
            number += 1
        return [one for one in times if one not in self.missing]

    def _readings(self, device: Device, first: datetime, last: datetime) -> Sequence[Reading]:
        return [
            Reading(
                device.native_id,
                self.clock.now(),
                Origin.BACKFILL,
                metrics(at, self.power or None),
                observed_at=at,
            )
            for at in self.at(first, last)
        ]


def metrics(at: datetime, power: dict[datetime, int] | None = None) -> dict[str, Any]:
    number = (at - START) // EVERY
    found: dict[str, Any] = {"import_energy": 1000 + number}
    if power is not None:
        found["active_power"] = power.get(at, 0)
    return found


@dataclass
class Rig:
    """A gateway whose repair runs; `live(a, b)` takes the archive's records in as they are measured."""

    gateway: Harness
    past: Archive
    solar: bool = False

    async def live(
        self, first_min: float, last_min: float, device: str = "D1", skip: Sequence[float] = ()
    ) -> None:
        for at in self.past.at(START + timedelta(minutes=first_min), START + timedelta(minutes=last_min)):
            if (at - START) / timedelta(minutes=1) in skip:
                continue
            await self.until(at)
            values = metrics(at, self.past.power if self.solar else None)
            await self.gateway.take(
                Reading(device, self.gateway.clock.now(), Origin.POLL, values, observed_at=at)
            )
            self.gateway.health.succeeded(ACCOUNT)

    async def until(self, at: datetime) -> None:
        ahead = (at - self.gateway.clock.now()).total_seconds()
        if ahead > 0:
            await self.gateway.advance(ahead)

    async def rounds(self, minutes: float = 5, step_s: float = 30.0) -> None:
        """Time passes, the repair working."""
        for _ in range(int(minutes * 60 / step_s)):
            await self.gateway.repair.round()
            await self.gateway.advance(step_s)

    async def known(self, **params: Any) -> list[tuple[str, str, str]]:
        await self.gateway.command("bridge/cmd/gaps", {"id": f"g{self.gateway._mid}", **params})
        await self.gateway.clock.settle()
        ack = self.gateway.docs("bridge/ack")[-1]
        assert ack["status"] == "succeeded", ack
        assert all(one.keys() == {"account", "device", "start", "end"} for one in ack["result"]["gaps"])
        return [(one["device"], one["start"], one["end"]) for one in ack["result"]["gaps"]]

    async def rows(self) -> list[GapRow]:
        return list(await self.gateway.store.run(lambda tx: tx.gaps.find()))

    def told(self, device: str = "D1") -> list[str]:
        docs = [*self.gateway.docs(f"home/{device}/telemetry"), *self.gateway.docs(f"home/{device}/history")]
        return sorted(doc["ts"] for doc in docs)


def clock_at(minutes: float) -> str:
    return rfc3339(START + timedelta(minutes=minutes))


def grid(first_min: int, last_min: int) -> list[str]:
    return [clock_at(minute) for minute in range(first_min, last_min, 5)]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    harness = Harness(tmp_path)
    harness.planned_s = 60.0
    past = Archive(harness.clock)
    harness.vendor.history = past
    async with harness:
        yield Rig(harness, past)


async def test_a_stop_of_six_hours_is_known_filled_and_gone(rig: Rig) -> None:
    await rig.live(0, 60)
    await rig.gateway.crash()
    await rig.gateway.clock.advance(6 * 3600)
    await rig.gateway.start()
    await rig.live(425, 440)
    assert await rig.known() == [("D1", clock_at(55), clock_at(425))]
    assert rig.told() == grid(0, 60) + grid(425, 440)
    await rig.rounds()
    assert rig.told() == grid(0, 440)
    assert await rig.known() == []
    filled = rig.gateway.docs("home/D1/history")
    assert [doc["ts"] for doc in filled] == grid(60, 425)
    assert {doc["source"] for doc in filled} == {"backfill"}
    assert rig.gateway.retained()["home/D1/state"]["metrics"] == metrics(START + timedelta(minutes=435))


async def test_one_record_that_was_missed_is_filled_too(rig: Rig) -> None:
    await rig.live(0, 120, skip=(60,))
    await rig.rounds()
    assert rig.told() == grid(0, 120)
    assert len(rig.past.calls) == 1


async def test_a_regular_series_has_no_gaps_and_asks_for_nothing(rig: Rig) -> None:
    await rig.live(0, 240)
    await rig.rounds()
    assert (await rig.known(), rig.past.calls) == ([], [])


async def test_what_the_vendor_does_not_have_is_asked_for_less_and_less_and_then_unfillable(rig: Rig) -> None:
    rig.past.missing = set(rig.past.at(START + timedelta(minutes=60), START + timedelta(minutes=90)))
    await rig.live(0, 180)
    assert await rig.known() == [("D1", clock_at(55), clock_at(90))]
    for _ in range(30):
        await rig.rounds(2)
        await rig.gateway.advance(3480)
    (row,) = await rig.rows()
    assert (row.state, row.tries) == (GapState.UNFILLABLE, 4)
    assert row.message == "the vendor has nothing there"
    assert len(rig.past.calls) == 4
    assert ("D1", clock_at(55), clock_at(90)) in await rig.known()
    await rig.gateway.restart()
    assert (await rig.rows()) == [row]


async def test_a_late_upload_closes_what_was_not_there_at_first(rig: Rig) -> None:
    late = set(rig.past.at(START + timedelta(minutes=60), START + timedelta(minutes=90)))
    rig.past.missing = set(late)
    await rig.live(0, 180)
    await rig.rounds()
    assert len(await rig.rows()) == 1
    rig.past.missing.clear()
    await rig.gateway.advance(3600)
    await rig.rounds()
    assert await rig.rows() == []
    assert rig.told() == grid(0, 180)


async def test_a_gap_that_is_filled_in_part_becomes_the_parts_that_are_left(rig: Rig) -> None:
    rig.past.missing = {START + timedelta(minutes=one) for one in (100, 105, 150, 155, 160)}
    await rig.live(0, 60)
    await rig.live(240, 250)
    await rig.rounds()
    assert await rig.known() == [
        ("D1", clock_at(95), clock_at(110)),
        ("D1", clock_at(145), clock_at(165)),
    ]
    assert {row.state for row in await rig.rows()} == {GapState.MISSING}


async def test_records_that_come_by_themselves_divide_and_close_gaps(rig: Rig) -> None:
    rig.gateway.gaps = GapSettings(fill=False)
    await rig.live(0, 60)
    await rig.live(120, 130)

    async def push(*minutes: int) -> None:
        for minute in minutes:
            at = START + timedelta(minutes=minute)
            reading = Reading("D1", rig.gateway.clock.now(), Origin.PUSH, metrics(at), observed_at=at)
            await rig.gateway.take(reading)

    await push(90)
    assert await rig.known() == [("D1", clock_at(55), clock_at(90)), ("D1", clock_at(90), clock_at(120))]
    await push(*range(60, 90, 5))
    assert await rig.known() == [("D1", clock_at(90), clock_at(120))]
    await push(*range(115, 90, -5))
    assert await rig.known() == []
    await rig.rounds()
    assert rig.past.calls == []


async def test_a_record_that_is_pushed_and_filled_goes_out_once(rig: Rig) -> None:
    await rig.live(0, 60)
    await rig.live(120, 125)
    at = START + timedelta(minutes=75)
    pushed = Reading("D1", START, Origin.PUSH, metrics(at), observed_at=at)
    await rig.gateway.take(pushed)
    await rig.rounds()
    await rig.gateway.take(pushed)
    polled = START + timedelta(minutes=80)
    await rig.gateway.take(Reading("D1", START, Origin.POLL, metrics(polled), observed_at=polled))
    assert rig.told() == grid(0, 125)


async def test_a_crash_while_a_gap_is_filled_loses_and_repeats_no_record(rig: Rig) -> None:
    await rig.live(0, 30)
    await rig.live(600, 605)
    for number in range(8):
        rig.gateway.store.dies_at = rig.gateway.store.count + 1 + number % 4
        rig.gateway.store.dies_after_commit = number % 2 == 0
        running = asyncio.ensure_future(rig.gateway.repair.run())
        await rig.gateway.advance(75)
        running.cancel()
        await rig.gateway.restart()
    await rig.rounds(20)
    assert rig.told() == grid(0, 605)
    assert await rig.rows() == []


async def test_a_failing_vendor_is_asked_again_and_gives_all_in_the_end(rig: Rig) -> None:
    rig.past.trouble("D1", NotSent("away"), LostAnswer("slow"), Refused("no", code="vendor_error"))
    await rig.live(0, 60)
    await rig.live(120, 125)
    await rig.rounds(10)
    (row,) = await rig.rows()
    assert (row.state, row.message) == (GapState.MISSING, "no")
    await rig.gateway.advance(3600)
    await rig.rounds(5)
    assert rig.told() == grid(0, 125)


async def test_devices_that_tell_once_a_day_have_no_gaps_between(rig: Rig) -> None:
    rig.past.usual_s = None
    rig.gateway.planned_s = 3600.0
    for day in range(10):
        at = START + day * DAY + timedelta(minutes=day * 7 % 40)
        await rig.until(at)
        await rig.gateway.take(Reading("D1", at, Origin.POLL, metrics(at), observed_at=at))
    assert await rig.known() == []
    await rig.until(START + 9 * DAY + timedelta(hours=30))
    assert await rig.known() == []
    await rig.until(START + 13 * DAY)
    assert [device for device, *_ in await rig.known()] == ["D1"]


async def test_a_stop_shorter_than_the_rhythm_of_a_device_makes_no_gap(rig: Rig) -> None:
    rig.past.usual_s = None
    for day in range(6):
        at = START + day * DAY
        await rig.until(at)
        await rig.gateway.take(Reading("D1", at, Origin.POLL, metrics(at), observed_at=at))
        rig.gateway.health.succeeded(ACCOUNT)
        await rig.rounds(1)
    await rig.gateway.crash()
    await rig.gateway.clock.advance(6 * 3600)
    await rig.gateway.start()
    at = START + 6 * DAY
    await rig.until(at)
    await rig.gateway.take(Reading("D1", at, Origin.POLL, metrics(at), observed_at=at))
    assert await rig.rows() == []


async def test_after_a_stop_even_a_device_of_unknown_rhythm_is_looked_at_and_nothing_is_claimed(
    rig: Rig,
) -> None:
    rig.past.usual_s = None
    await rig.live(0, 10)
    await rig.rounds(1)
    await rig.gateway.crash()
    await rig.gateway.clock.advance(2 * 3600)
    rig.past.missing = set(rig.past.at(START + timedelta(minutes=10), START + timedelta(minutes=60)))
    await rig.gateway.start()
    await rig.live(140, 145)
    assert len(await rig.rows()) == 1
    await rig.rounds()
    assert rig.told() == [*grid(0, 10), *grid(60, 145)]
    assert await rig.rows() == []


@pytest.fixture
async def solar(tmp_path: Path) -> AsyncIterator[Rig]:
    inverter = Device(ACCOUNT, VENDOR, "D1", DeviceKind.INVERTER)
    harness = Harness(tmp_path)
    harness.vendor.devices = [inverter]
    harness.planned_s = 60.0
    past = Archive(harness.clock)
    day = range(0, 8 * 60, 5)  # from noon until 20:00, then from 4:00 on
    past.power = {START + timedelta(minutes=one): max(0, 4000 - 9 * one) for one in day}
    past.power |= {START + timedelta(minutes=one): (one - 960) * 9 for one in range(960, 1440, 5)}
    past.missing = set(past.at(START + timedelta(hours=8), START + timedelta(hours=16)))
    harness.vendor.history = past
    async with harness:
        yield Rig(harness, past, solar=True)


async def test_an_inverter_that_sleeps_at_night_has_no_gap(solar: Rig) -> None:
    await solar.live(0, 1000)
    assert await solar.known() == []
    await solar.rounds()
    assert await solar.rows() == []
    assert solar.gateway.docs("home/D1/history") == []


async def test_what_an_inverter_told_before_its_first_poll_of_the_day_is_looked_for(solar: Rig) -> None:
    await solar.live(0, 480)
    await solar.live(970, 1000)
    assert await solar.known() == []
    assert solar.gateway.repair.counts == {}
    await solar.rounds()
    assert solar.told() == grid(0, 480) + grid(960, 1000)
    assert await solar.rows() == []


async def test_a_sleeping_inverter_is_not_called_silent(solar: Rig) -> None:
    await solar.live(0, 480)
    await solar.until(START + timedelta(hours=15))
    assert await solar.known() == []


async def test_a_stop_from_afternoon_to_morning_is_filled_but_for_the_night(solar: Rig) -> None:
    await solar.live(0, 240)
    await solar.gateway.crash()
    await solar.until(START + timedelta(minutes=1010))
    await solar.gateway.start()
    await solar.live(1010, 1020)
    assert await solar.known() == [("D1", clock_at(235), clock_at(1010))]
    await solar.rounds()
    assert solar.told() == grid(0, 480) + grid(960, 1020)
    assert await solar.rows() == []


async def test_a_device_that_keeps_no_past_shows_its_gaps_as_they_are(rig: Rig) -> None:
    rig.past.without = {"D1"}
    await rig.live(0, 60)
    await rig.live(120, 130)
    assert await rig.known() == [("D1", clock_at(55), clock_at(120))]
    (row,) = await rig.rows()
    assert row.state is GapState.UNFILLABLE
    await rig.rounds()
    assert rig.past.calls == []


async def test_a_silence_that_lasts_is_shown_until_now(rig: Rig) -> None:
    await rig.live(0, 60)
    assert await rig.known() == []
    await rig.until(START + timedelta(minutes=120))
    assert await rig.known() == [("D1", clock_at(55), clock_at(120))]


async def test_gaps_can_be_asked_for_by_device_and_time(rig: Rig) -> None:
    rig.gateway.gaps = GapSettings(fill=False)
    await rig.live(0, 60)
    await rig.live(120, 150)
    await rig.live(200, 210)
    one, two = ("D1", clock_at(55), clock_at(120)), ("D1", clock_at(145), clock_at(200))
    assert await rig.known(account="home", device="D1") == [one, two]
    assert await rig.known(device="D2") == []
    assert await rig.known(start=clock_at(125)) == [two]
    assert await rig.known(end=clock_at(140)) == [one]
    assert await rig.known(start=clock_at(120), end=clock_at(145)) == []
    (*_, ack) = await rig.gateway.command("bridge/cmd/gaps", {"id": "x1", "account": "nobody"})
    assert (ack["status"], ack["code"]) == ("rejected", "invalid_params")
    for more in ({}, {"account": "home"}):
        (ack,) = await rig.gateway.command("bridge/cmd/gaps", {"device": "D99", **more})
        assert (ack["status"], ack["code"]) == ("rejected", "unknown_device")
    (*_, ack) = await rig.gateway.command("bridge/cmd/gaps", {"id": "x2", "start": "yesterday"})
    assert (ack["status"], ack["code"]) == ("rejected", "invalid_params")
    (*_, ack) = await rig.gateway.command(
        "bridge/cmd/gaps", {"id": "x3", "start": clock_at(9), "end": clock_at(8)}
    )
    assert (ack["status"], ack["code"]) == ("rejected", "invalid_params")


async def test_what_lies_further_back_than_it_is_worth_is_not_asked_for(rig: Rig) -> None:
    rig.gateway.gaps = GapSettings(back=7200.0)
    await rig.live(0, 60)
    await rig.live(360, 365)
    await rig.rounds()
    rows = await rig.rows()
    assert [row.state for row in rows] == [GapState.UNFILLABLE]
    assert rows[0].message == "too long ago"
    first = rig.told()[12]
    assert clock_at(230) < first < clock_at(250)


async def test_two_gaps_of_two_devices_are_filled_side_by_side_and_counted(rig: Rig) -> None:
    for device in ("D1", "D2"):
        at = START
        for minute in (0, 5, 10, 15, 20, 90):
            at = START + timedelta(minutes=minute)
            await rig.gateway.take(Reading(device, at, Origin.POLL, metrics(at), observed_at=at))
    await rig.gateway.repair.round()
    assert rig.gateway.repair.counts == {(ACCOUNT, GapState.MISSING): 2}
    await rig.until(START + timedelta(minutes=95))
    await rig.rounds()
    assert rig.gateway.repair.counts == {}
    assert rig.told("D1") == rig.told("D2") == grid(0, 95)


async def test_gaps_of_one_day_are_read_together_where_that_saves_calls_and_nothing_is_told_twice(
    rig: Rig,
) -> None:
    rig.past.window = timedelta(days=1)
    await rig.live(0, 300, skip=(30, 60, 65, 200))
    before = len(rig.past.calls)
    rig.gateway.gaps = GapSettings()
    await rig.rounds()
    assert rig.told() == grid(0, 300)
    assert len(rig.past.calls) - before == 1


async def test_gaps_that_lie_apart_are_read_apart(rig: Rig) -> None:
    await rig.live(0, 300, skip=(60, 240))
    await rig.rounds()
    assert rig.told() == grid(0, 300)
    assert len(rig.past.calls) == 2


async def test_a_device_that_is_not_known_for_a_moment_keeps_its_gap(rig: Rig) -> None:
    await rig.live(0, 60)
    await rig.live(120, 125)
    rig.past.without = {"D1"}
    await rig.rounds(2)
    (row,) = await rig.rows()
    assert (row.state, row.tries) == (GapState.MISSING, 0)
    rig.past.without = set()
    await rig.rounds(10)
    assert await rig.rows() == []
    assert rig.told() == grid(0, 125)


async def test_a_gap_read_in_several_steps_is_filled_to_its_end_with_records_finer_than_the_polls(
    rig: Rig,
) -> None:
    rig.past.usual_s = None
    between = [minute for minute in range(0, 365, 5) if minute % 60]
    await rig.live(0, 245, skip=between)
    await rig.live(360, 365)
    assert await rig.known() == [("D1", clock_at(240), clock_at(360))]
    await rig.rounds()
    assert [doc["ts"] for doc in rig.gateway.docs("home/D1/history")] == grid(245, 360)
    assert await rig.known() == []
