"""Thirty days of twenty meters, interrupted three times: what the simulated cloud has against what was published, and
its ledger of calls against what was needed. The real adapters under the vendors' real limits; only time is virtual."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.domain.account import AccountPolicy
from bridge.domain.device import Device
from bridge.domain.times import rfc3339
from bridge.pace.gate import AccountGate, SlotNote
from bridge.ports import VendorAdapter
from bridge.simulators import iammeter, jrhsz
from bridge.simulators.iammeter.cloud import Site
from bridge.simulators.iammeter.meter import Meter, Phase
from bridge.vendorkit.http import VendorHttp
from bridge.vendorkit.spec import Kit
from bridge.vendors import VENDORS
from tests.fakes.adapters import CloudTime, FakeVault
from tests.fakes.harness import START, Harness, HarnessClock
from tests.fakes.vendor import ACCOUNT

METERS = 20
DAYS = 30
SINCE = START - timedelta(days=DAYS)
TOKEN = "0" * 32


class Watched(httpx.AsyncBaseTransport):
    """Time stands still while the cloud works; an answer is half a second on its way."""

    def __init__(self, app: Any, clock: HarnessClock) -> None:
        self._inner = httpx.ASGITransport(app)
        self._clock = clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = asyncio.ensure_future(self._inner.handle_async_request(request))
        self._clock.pending.add(answer)
        answer.add_done_callback(self._clock.pending.discard)
        reply = await answer
        await self._clock.sleep(0.5)
        return reply


class Ledger:
    """The slots on disk: they outlive the process."""

    def __init__(self) -> None:
        self.notes: list[SlotNote] = []

    async def add(self, notes: Sequence[SlotNote]) -> None:
        self.notes += notes

    async def remove(self, notes: Sequence[SlotNote]) -> None:
        self.notes = [note for note in self.notes if note not in notes]


class Hourly(Meter):
    """A meter that uploads a sample an hour."""

    def has_sample(self, minute: int, now_s: float) -> bool:
        return minute % 60 == 0 and super().has_sample(minute, now_s)


@dataclass(frozen=True)
class Scene:
    """A vendor's cloud with twenty meters, and the truth: the times of the records that each of them has."""

    vendor: str
    settings: dict[str, Any]
    make: Callable[[CloudTime], Any]
    app: Callable[[Any], Any]
    truth: Callable[[Any], dict[str, list[str]]]
    endpoints: frozenset[str]


def _iammeter(time: CloudTime) -> Any:
    meters = [
        Hourly(f"M{number:03d}", "", (Phase("house", 0.0, number),), offset_min=0, now_s=time.now())
        for number in range(METERS)
    ]
    account = iammeter.Account("u", "p", TOKEN)
    return iammeter.IammeterCloud(
        account, [Site(1, "Site", list(meters), 0)], time=time, rng=random.Random(1)
    )


def _iammeter_truth(cloud: Any) -> dict[str, list[str]]:
    first, last = int(SINCE.timestamp() // 60), int(START.timestamp() // 60)
    return {
        meter.sn: [
            rfc3339(datetime.fromtimestamp(meter.uploaded_s(minute), UTC))
            for minute in range(first - 1, last + 1)
            if meter.has_sample(minute, START.timestamp())
            and SINCE.timestamp() <= meter.uploaded_s(minute) < START.timestamp()
        ]
        for meter in cloud.sites[0].meters
    }


def _jrhsz(time: CloudTime) -> Any:
    account = jrhsz.Account("u", "p")
    meters = jrhsz.fleet(METERS, time.now(), (DAYS + 2) * 86400)
    return jrhsz.JrhszCloud(account, meters, time=time, rng=random.Random(1))


def _jrhsz_truth(cloud: Any) -> dict[str, list[str]]:
    span = int(SINCE.timestamp()), int(START.timestamp()) - 1
    found = {}
    for meter in cloud.meters.values():
        times = {record.at_s for record in meter.records_between(*span)}
        if meter.time_of_use:
            for hourly in meter.hourly_between(*span):
                times |= {at for at in (hourly.frozen_s, hourly.created_s) if span[0] <= at <= span[1]}
        found[meter.table_no] = [rfc3339(datetime.fromtimestamp(at, UTC)) for at in sorted(times)]
    return found


SCENES = {
    "iammeter": Scene(
        "iammeter",
        {"base_url": "https://cloud.invalid/api/v1", "token": TOKEN, "timezone": "UTC"},
        _iammeter,
        iammeter.app,
        _iammeter_truth,
        frozenset({"meterdatalist2"}),
    ),
    "jrhsz": Scene(
        "jrhsz",
        {"base_url": "http://cloud.invalid", "username": "u", "password": "p"},
        _jrhsz,
        jrhsz.app,
        _jrhsz_truth,
        frozenset({"readMeterList", "readMeterDataList", "peaksValleysRead", "cameraRead"}),
    ),
}


@dataclass
class Account:
    """The real adapter of one account in the place of the harness's vendor; made anew with every process."""

    scene: Scene
    clock: HarnessClock
    devices: list[Device] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    vault: FakeVault = field(default_factory=FakeVault)

    def __post_init__(self) -> None:
        self.cloud = self.scene.make(CloudTime(self.clock))
        self.app = self.scene.app(self.cloud)
        self.begin()

    def begin(self) -> None:
        """A new process: what it knows is what is on disk."""
        spec = VENDORS[self.scene.vendor]
        given = {"id": ACCOUNT, "vendor": self.scene.vendor, **self.scene.settings}
        settings = spec.settings.model_validate(given)
        gate = AccountGate(
            ACCOUNT, spec.limits(settings), self.clock, self.ledger, notes=self.ledger.notes, fresh=False
        )
        self.http = VendorHttp(
            self.scene.settings["base_url"], gate, self.clock, transport=Watched(self.app, self.clock)
        )
        policy = AccountPolicy(ACCOUNT, self.scene.vendor)
        log = logging.getLogger("bridge.vendors.test")
        kit = Kit(self.http, self.clock, random.Random(1), log, self.vault, policy)
        self.adapter: VendorAdapter = spec.build(settings, kit)

    @property
    def history(self) -> Any:
        return self.adapter.history

    def __getattr__(self, name: str) -> Any:
        return getattr(self.adapter, name)

    def calls(self) -> Counter[tuple[str, str]]:
        """The history calls by endpoint and device, refused ones too."""
        return Counter(
            (call.endpoint, call.device)
            for call in self.cloud.calls.calls()
            if call.endpoint in self.scene.endpoints
        )


class Twenty(Harness):
    """The flow around that account."""

    def __init__(self, folder: Path, scene: Scene) -> None:
        super().__init__(folder)
        self.account = Account(scene, self.clock)
        self.vendor = self.account  # type: ignore[assignment] # it has what the harness asks for
        self.policy = AccountPolicy(ACCOUNT, scene.vendor)

    async def learn(self) -> None:
        """The inventory, asked for before anything is measured."""
        asking = asyncio.ensure_future(self.account.adapter.inventory())
        while not asking.done():
            await self.advance(5)
        self.account.devices = list(asking.result())

    async def restart(self) -> None:
        await self.crash()
        self.account.begin()
        await self.start()

    def noted(self) -> int:
        """The calls whose answers are on disk."""
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            return int(db.execute("SELECT coalesce(sum(done), 0) FROM backfill").fetchone()[0])


@pytest.mark.parametrize("vendor", SCENES)
async def test_each_record_comes_once_and_no_call_is_made_needlessly(tmp_path: Path, vendor: str) -> None:
    harness = Twenty(tmp_path, SCENES[vendor])
    account = harness.account
    await harness.learn()
    truth = account.scene.truth(account.cloud)
    assert len(truth) == METERS
    account.cloud.calls.clear()
    lost = 0
    async with harness:
        span = {"start": rfc3339(SINCE), "end": rfc3339(START)}
        await harness.admission.admit(harness.message("bridge/cmd/backfill", {"id": "b1", **span}))
        for after_commit, transactions in ((False, 40), (True, 30), (False, 35)):
            harness.store.dies_at = harness.store.count + transactions
            harness.store.dies_after_commit = after_commit
            for _ in range(2000):
                await harness.advance(2)
                if harness.store.dead:
                    break
            assert harness.store.dead, "it was not interrupted"
            lost = sum(account.calls().values()) - harness.noted()
            await harness.restart()
        for _ in range(2000):
            if any(ack["final"] for ack in harness.acks("b1")):
                break
            await harness.advance(5)
        ack = harness.final("b1")
        assert (ack["status"], ack["message"]) == ("succeeded", "")
        told: dict[str, list[str]] = {name: [] for name in truth}
        for doc in harness.docs("home/+/history"):
            told[doc["device"]].append(doc["ts"])
        assert ack["result"]["records"] == sum(map(len, told.values()))
        for name, times in told.items():
            assert times == sorted(times), name
            assert sorted(set(times)) == truth[name], name
        if vendor == "iammeter":
            assert all(len(times) == len(set(times)) for times in told.values())
        needed = harness.noted()
        # only what was answered and died with the process before it was on disk is asked for again
        assert sum(account.calls().values()) == needed + lost
        assert lost <= 3 * METERS
        assert not [call.fault for call in account.cloud.calls.calls() if call.fault == "limit"]
