"""The whole flow around the real adapter and the simulated platform: messages in, acks out, real journal."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import httpx

from bridge.domain.device import DeviceKind
from bridge.simulators.iotmeter import Account, IotMeterCloud, app
from bridge.vendorkit.http import OpenGate, VendorHttp
from bridge.vendors.iotmeter import SPEC
from bridge.vendors.iotmeter.settings import IotMeterSettings
from tests.fakes.adapters import CloudTime, FakeVault, kit
from tests.fakes.harness import Harness
from tests.fakes.vendor import ACCOUNT
from tests.unit.vendors.iotmeter.bench import COMPANY, KEY, METER, OTHER, PASSWORD

WAKE_S = 3600.0


class Recorder(httpx.AsyncBaseTransport):
    """Passes on; keeps path and body of every request that changes something or asks for a task."""

    def __init__(self, cloud: httpx.AsyncBaseTransport) -> None:
        self._cloud = cloud
        self.sent: list[tuple[str, Any]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/Conf/").removeprefix("/api/Data/")
        self.sent.append((path, json.loads(request.content or b"null")))
        return await self._cloud.handle_async_request(request)


class Platform(Harness):
    """`async with Platform(tmp_path) as gateway: …`; meters wake up once an hour."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, devices=())
        fields = {
            "id": ACCOUNT,
            "vendor": "iotmeter",
            "data": {"base_url": "http://data.example.invalid", "company_no": COMPANY, "api_key": KEY},
            "control": {"base_url": "http://ctrl.example.invalid", "login_name": "u", "password": PASSWORD},
        }
        self.settings = IotMeterSettings.model_validate(fields | options)
        self.policy = self.settings.policy(("*",), ())
        self.vault = FakeVault()
        self.sim = IotMeterCloud(
            Account(COMPANY, KEY, "u", PASSWORD),
            [METER, OTHER],
            time=CloudTime(self.clock),
            rng=random.Random(7),
            wake_every_s=WAKE_S,
        )
        self.recorder = Recorder(httpx.ASGITransport(app(self.sim)))
        self.http = VendorHttp("", OpenGate(), self.clock, transport=self.recorder)

    async def enter_account(self) -> None:
        """A new process: only store and vault remember."""
        adapter = SPEC.build(self.settings, kit(self, "test.iotmeter"))
        self.vendor = adapter  # type: ignore[assignment] # the real thing in the place of the fake
        self.roster.enter(self.policy, adapter, DeviceKind.GAS_METER)
        self.health.enter(ACCOUNT)
        await self.intake.take_inventory(ACCOUNT, await adapter.inventory())

    async def hours(self, count: float) -> None:
        """Lets time pass, for the gateway and for the platform."""
        for _ in range(round(count * 6)):
            await self.advance(600)
            self.sim.tick()

    def sent_to(self, endpoint: str) -> list[tuple[str, Any]]:
        """The requests to an end point, oldest first: path and body."""
        return [(path, body) for path, body in self.recorder.sent if path.startswith(endpoint)]

    def effects(self) -> list[str]:
        """What really happened, but for logins."""
        return [one.effect for one in self.sim.ledger.entries() if one.effect != "login"]

    def states(self, command_id: str) -> list[tuple[str, Any, Any]]:
        """Status, vendor code and vendor ref of each acknowledgement."""
        return [(doc["status"], doc["vendor_code"], doc["vendor_ref"]) for doc in self.acks(command_id)]
