"""One account of any vendor before a cloud of the test's choice, under the vendor's real limits."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from bridge.domain.command import CommandSpec, Order
from bridge.domain.device import Device
from bridge.domain.errors import VendorError
from bridge.domain.text import Json, dumps
from bridge.pace.gate import AccountGate, SlotNote
from bridge.ports import PollTask
from bridge.simulators.simtime import HandTime
from bridge.vendorkit.http import VendorHttp
from bridge.vendorkit.spec import Kit
from bridge.vendors import VENDORS
from tests.contract.cases import CASES, Row
from tests.fakes.past import past

NOW_S = 1_725_825_600.0
"""2024-09-08, 20:00 UTC."""


class SkippingClock:
    """Implements `ports.Clock`: a sleep takes no time, but the simulated clouds see it pass."""

    def __init__(self) -> None:
        self.time = HandTime(NOW_S)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time.now(), UTC)

    def monotonic(self) -> float:
        return self.time.now() - NOW_S

    async def sleep(self, seconds: float) -> None:
        self.time.advance(max(0.0, seconds))
        await asyncio.sleep(0)


class NoLedger:
    """Nothing outlives the test."""

    async def add(self, notes: Sequence[SlotNote]) -> None:
        return None

    async def remove(self, notes: Sequence[SlotNote]) -> None:
        return None


class Vault:
    """Small values, as JSON."""

    def __init__(self) -> None:
        self.kept: dict[str, Json] = {}

    async def get(self, key: str) -> Json:
        return self.kept.get(key)

    async def put(self, key: str, value: Json) -> None:
        dumps(value)
        self.kept[key] = value


class Effect:
    """Counts what leaves."""

    def __init__(self) -> None:
        self.count = 0
        self.requests: list[Json] = []

    @property
    def left(self) -> bool:
        return self.count > 0

    async def leaving(self, request: Json = None) -> None:
        self.count += 1
        self.requests.append(request)


class Recorder(httpx.AsyncBaseTransport):
    """Passes on, and remembers every request."""

    def __init__(self, cloud: httpx.AsyncBaseTransport) -> None:
        self.cloud = cloud
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await self.cloud.handle_async_request(request)


class Always(httpx.AsyncBaseTransport):
    """Answers everything alike, or raises."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        answer = self.answer(request) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        status, body, *headers = answer
        return httpx.Response(status, content=body, headers=dict(*headers), request=request)


class World:
    """`async with World("wmj") as world: …`."""

    def __init__(self, vendor: str, **options: Any) -> None:
        self.case = CASES[vendor]
        self.spec = VENDORS[vendor]
        self.settings = self.spec.settings.model_validate({**self.case.settings, **options})
        self.policy = self.settings.policy(("*",), ())
        self.clock = SkippingClock()
        self.cloud = self.case.cloud(self.clock.time)
        self.recorder = Recorder(httpx.ASGITransport(self.case.app(self.cloud)))
        self.limits = self.spec.limits(self.settings)
        account = self.settings.id
        self.gate = AccountGate(account, self.limits, self.clock, NoLedger(), vendor=vendor)
        base_url = getattr(self.settings, "base_url", "")
        self.http = VendorHttp(base_url, self.gate, self.clock, transport=self.recorder)
        self.vault = Vault()
        log = logging.getLogger(f"bridge.vendors.{vendor}")
        kit = Kit(self.http, self.clock, random.Random(1), log, self.vault, self.policy)
        self.adapter = self.spec.build(self.settings, kit)
        self.effect = Effect()

    async def __aenter__(self) -> World:
        return self

    async def __aexit__(self, *_reason: object) -> None:
        await self.gate.aclose()
        await self.http.aclose()

    def ruin(self, answer: Any) -> None:
        """From now on the cloud answers everything so."""
        self.recorder.cloud = Always(answer)

    async def devices(self) -> list[Device]:
        """The inventory."""
        return list(await self.adapter.inventory())

    def commands(self, devices: Sequence[Device]) -> list[tuple[Device | None, CommandSpec, Row]]:
        """Every command of one device of each kind, and of the account."""
        kinds = {device.kind: device for device in reversed(devices)}
        targets: list[Device | None] = [None, *kinds.values()]
        found = []
        for device in targets:
            rows = self.case.account_commands if device is None else self.case.device_commands
            found += [(device, spec, rows[spec.name]) for spec in self.adapter.commands(device).values()]
        return found

    def order(self, device: Device | None, spec: CommandSpec, params: dict[str, Any]) -> Order:
        """As the carrier makes one: parameters that went through the journal."""
        model = spec.params.model_validate_json(dumps(params))
        kept = model.model_dump_json(exclude_unset=True)
        return Order(
            "c1",
            self.settings.id,
            device,
            spec,
            spec.params.model_validate_json(kept),
            dispatched_at=self.clock.now(),
            expires_at=self.clock.now() + timedelta(days=1),
        )

    async def failures(
        self, devices: Sequence[Device], tasks: Sequence[PollTask] | None = None
    ) -> list[BaseException]:
        """What everything raises that the gateway asks of an adapter; a command that does not raise is left out.
        With `tasks` only those are run."""
        raised: list[BaseException] = []

        async def attempt(work: Any) -> None:
            try:
                await work
            except VendorError as error:
                raised.append(error)

        if tasks is not None:
            for task in tasks:
                await attempt(self.drain(task))
            return raised
        if not self.spec.local_inventory:
            await attempt(self.adapter.inventory())
        await attempt(self.adapter.check())
        for task in self.adapter.poll_tasks(devices):
            await attempt(self.drain(task))
        for device, spec, row in self.commands(devices):
            order = self.order(device, spec, row.examples[0])
            if spec.name == "history":
                await attempt(past(self.adapter, order))
                continue
            await attempt(self.adapter.execute(order, self.effect))
            await attempt(self.adapter.probe(self.order(device, spec, row.examples[0])))
        return raised

    async def drain(self, task: Any) -> None:
        """Runs a poll task to its end."""
        async for _batch in self.adapter.poll(task):
            pass
