"""One account of a real vendor adapter in the whole flow, before its simulated cloud, in time that the test owns.

The cloud goes on while the gateway is stopped; the call log is the cloud's view: when each request arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.app.ledgers import StoreLedger, StoreVault
from bridge.domain.device import DeviceKind
from bridge.domain.times import parse_rfc3339
from bridge.flow import poller as polling
from bridge.flow.backfill import Source
from bridge.flow.desk import device_from
from bridge.flow.gaps import Rhythm
from bridge.flow.history import HistoryExecutor
from bridge.flow.poller import Poller
from bridge.pace.gate import AccountGate
from bridge.store.protocols import OutboxRow
from bridge.store.sqlite.outbox import SqliteOutbox
from bridge.vendorkit.http import VendorHttp
from bridge.vendorkit.spec import Kit
from bridge.vendors import VENDORS
from tests.contract.cases import CASES
from tests.fakes.harness import SPOOL_BYTES, START, Harness, HarnessClock, Published
from tests.unit.pace.bench import most_in_any

QUIET_ROUNDS = 6


class LongClock(HarnessClock):
    """Fewer rounds until all is quiet: what is slower takes a moment of virtual time, as it does in life."""

    async def settle(self, rounds: int = QUIET_ROUNDS) -> None:
        await super().settle(rounds)


class CloudTime:
    """The simulator's time is the gateway's, in Unix seconds."""

    def __init__(self, clock: HarnessClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now().timestamp()

    real = now

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    at: float
    path: str
    query: str
    body: str


class Line(httpx.AsyncBaseTransport):
    """The way to the cloud; `cut`: nobody gets through."""

    def __init__(self, app: Any, clock: HarnessClock) -> None:
        self._cloud = httpx.ASGITransport(app)
        self._clock = clock
        self.calls: list[Call] = []
        self.cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = (await request.aread()).decode("utf-8", "replace")
        if self.cut:
            raise httpx.ConnectError("no way there")
        url = request.url
        self.calls.append(Call(self._clock.now().timestamp(), url.path, url.query.decode(), body))
        inner = asyncio.ensure_future(self._cloud.handle_async_request(request))
        self._clock.pending.add(inner)  # time stands still while the cloud works
        try:
            return await inner
        finally:
            self._clock.pending.discard(inner)


class LongRun(Harness):
    """`async with LongRun(tmp_path, "saj", start) as run: await run.pass_time(…)`."""

    def __init__(self, folder: Path, vendor: str, start: datetime, cloud: Any = None, **options: Any) -> None:
        self.case, self.spec = CASES[vendor], VENDORS[vendor]
        self.settings = self.spec.settings.model_validate({**self.case.settings, **options})
        super().__init__(folder, devices=())
        self.clock = LongClock()
        self._read: list[OutboxRow] = []
        self.clock.step_wall((start - START).total_seconds())
        self.policy = self.settings.policy(("*",), ())
        self.gaps = self.settings.gaps
        self.cloud = cloud(CloudTime(self.clock)) if cloud else self.case.cloud(CloudTime(self.clock))
        self.line = Line(self.case.app(self.cloud), self.clock)
        self.account = self.settings.id
        self._own_tasks: list[asyncio.Task[Any]] = []

    async def enter_account(self) -> None:
        """As `app.fleet` does it, and the polling begins."""
        limits = self.spec.limits(self.settings)
        notes = await StoreLedger(self.store).read()
        gate = AccountGate(
            self.account, limits, self.clock, StoreLedger(self.store), notes=notes, fresh=not notes,
            vendor=self.spec.name,
        )  # fmt: skip
        http = VendorHttp(getattr(self.settings, "base_url", ""), gate, self.clock, transport=self.line)
        log = logging.getLogger(f"bridge.vendors.{self.spec.name}")
        vault = StoreVault(self.store, self.account)
        adapter = self.spec.build(
            self.settings, Kit(http, self.clock, random.Random(1), log, vault, self.policy)
        )
        self.gate, self.adapter = gate, adapter
        kind = next(iter(self.spec.kinds)) if len(self.spec.kinds) == 1 else DeviceKind.METER
        self.roster.enter(self.policy, HistoryExecutor(self.account, adapter, self.backfill), kind)
        self.health.enter(self.account)
        rows = await self.store.run(lambda tx: list(tx.devices.of_account(self.account)))
        self.roster.replace(self.account, [device_from(self.policy, row, kind) for row in rows])
        self.poller = Poller(
            self.account, adapter, limits, self.intake, self.roster, self.health, self.clock, random.Random(1),
            on_planned=gate.plan, answers=lambda: http.answers,
        )  # fmt: skip
        if adapter.history is not None:
            self.backfill.enter(self.account, Source(adapter.history, limits, lambda: http.calling))
        self.ledger.enter(self.account, self._rhythm_of())
        self.repair.settings = lambda: {self.account: self.gaps}
        await self.repair.recall()
        self._own_tasks = [asyncio.ensure_future(one) for one in (self.poller.run(), self.repair.run())]

    def _rhythm_of(self) -> Rhythm:
        def usual_s(device: str) -> float | None:
            reach = self.backfill.reach(self.account, device)
            return reach.interval_s if reach is not None else None

        return Rhythm(
            lambda device: self.poller.interval_s(device),
            usual_s,
            lambda device: self.backfill.reach(self.account, device) is not None,
        )

    async def pass_time(self, seconds: float) -> None:
        """The gateway runs for so long."""
        await self.clock.advance(seconds)

    async def away(self, seconds: float) -> None:
        """The gateway is stopped for so long; the cloud goes on."""
        await self.crash()
        await self.clock.advance(seconds)
        await self.start()

    def published(self, pattern: str) -> list[Published]:
        """As in the harness, but each message is read once: there are many."""
        with self._database() as db:
            last = self._read[-1].seq if self._read else 0
            self._read += SqliteOutbox(db, SPOOL_BYTES).read(last, 1_000_000)
        wanted = re.compile(f"{self.base}/{pattern}".replace("+", "[^/]+").replace("#", ".*"))
        found = (row.publication for row in self._read if wanted.fullmatch(row.publication.topic))
        return [Published(one.topic, one.body, one.retain, one.klass, one.correlation) for one in found]

    def records(self, device: str, *, leaf: str = "+") -> list[dict[str, Any]]:
        """What went out of a device on `telemetry` and `history` (or one of them), in the order of time."""
        found = [
            one.doc
            for one in self.published(f"{self.account}/{device}/{leaf}")
            if one.topic.endswith(("/telemetry", "/history"))
        ]
        return sorted(found, key=lambda doc: parse_rfc3339(doc["ts"]))

    def docs_in_order(self, device: str) -> list[dict[str, Any]]:
        """`telemetry` in the order in which it left."""
        return self.docs(f"{self.account}/{device}/telemetry")

    def devices(self) -> list[str]:
        """All that are known."""
        return sorted(device.native_id for device in self.roster.devices(self.account))


@contextlib.contextmanager
def one_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One poller task in place of eight: they only look at the clock, and a virtual month has many seconds."""
    with monkeypatch.context() as patch:
        patch.setattr(polling, "CONCURRENCY", 1)
        yield


def utc(text: str) -> datetime:
    """`2024-03-31T12:00` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def most_within(calls: list[Call], seconds: float, pattern: str = "") -> int:
    """The largest number of matching calls that arrived in any stretch that long."""
    return most_in_any(
        (call.at for call in calls if re.search(pattern, f"{call.path}?{call.query}")), seconds
    )
