"""One iammeter account: against a scripted cloud, or against the simulator with real limits and hand-driven time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from bridge.domain.account import AccountPolicy
from bridge.domain.command import CommandSpec, Order
from bridge.domain.device import Device, DeviceKind
from bridge.domain.text import loads
from bridge.pace.gate import AccountGate, SlotNote
from bridge.ports import PollTask
from bridge.simulators.iammeter import Account as Customer
from bridge.simulators.iammeter import IammeterCloud, app, household
from bridge.vendorkit.http import VendorHttp
from bridge.vendors.iammeter import SPEC
from bridge.vendors.iammeter.adapter import IammeterAdapter
from bridge.vendors.iammeter.settings import IammeterSettings
from tests.fakes.adapters import CloudTime, FakeVault, ScriptedCloud, SleptClock, kit
from tests.fakes.past import past

FIXTURES = Path(__file__).parents[3] / "fixtures" / "iammeter"
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
TOKEN = "00000000000000000000000000000000"
NEW_TOKEN = "00000000000000000000000000000001"
PASSWORD = "FAKEPASSWORD"
SN, SN2, SN3 = "A1B2C3D4", "E5F6A7B8", "C9D0E1F2"
POLICY = AccountPolicy("home", "iammeter")
BASE_URL = "https://cloud.example.invalid/api/v1"


def fixture(name: str) -> Any:
    """A JSON file, numbers as the gateway reads them."""
    return loads((FIXTURES / f"{name}.json").read_bytes())


def data(name: str) -> Any:
    return fixture(name)["data"]


def raw(name: str) -> bytes:
    return (FIXTURES / f"{name}.json").read_bytes()


def everyone(*sns: str, at: str = "2026/3/4 11:59:30") -> dict[str, Any]:
    """An answer of 4.8."""
    row = [230.1, 5.2, 1196.5, 320.44, 12.01]
    return good([{"sn": sn, "values": [row], "gmtTime": at} for sn in sns])


def good(payload: Any) -> dict[str, Any]:
    return {"data": payload, "successful": True, "message": None}


def bad(message: str | None) -> dict[str, Any]:
    return {"data": None, "successful": False, "message": message}


def latest(watts: float = 119, at: str = "2026/3/4 11:59:30", local: str | None = None) -> dict[str, Any]:
    """An answer of 4.3."""
    values = [[233.41, 0.718, watts, 0.66, 5724.85, 0]]
    return good({"values": values, "localTime": local or at, "gmtTime": at})


BAD_TOKEN = bad("Invalid token.")
LOGGED_IN = good({"id": 2025, "token": NEW_TOKEN, "refreshToken": "0" * 31 + "2"})
NOTHING = b""


class FakeLedger:
    """Survives a restart of the account that wrote it."""

    def __init__(self) -> None:
        self.notes: list[SlotNote] = []

    async def add(self, notes: Sequence[SlotNote]) -> None:
        self.notes += notes

    async def remove(self, notes: Sequence[SlotNote]) -> None:
        self.notes = [note for note in self.notes if note not in notes]


class NoEffect:
    """Nothing of this vendor ever changes anything."""

    left = False

    async def leaving(self, request: Any = None) -> None:
        raise AssertionError("a reading command must not announce an effect")


class ListHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(str(value) for value in vars(record).values()))


class FakeCloud(ScriptedCloud):
    async def answer(self, request: httpx.Request) -> httpx.Response:
        """An answer takes its time: others come in meanwhile."""
        for _ in range(5):
            await asyncio.sleep(0)
        return self(request)

    @property
    def paths(self) -> list[str]:
        return [request.url.raw_path.decode().removeprefix("/api/v1") for request in self.requests]


class Account:
    """The adapter of one account and everything it touches."""

    def __init__(
        self,
        *,
        clock: SleptClock | None = None,
        vault: FakeVault | None = None,
        ledger: FakeLedger | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        **options: Any,
    ) -> None:
        fields: dict[str, Any] = {"id": "home", "vendor": "iammeter", "base_url": BASE_URL}
        if not {"token", "username"} & options.keys():
            fields["token"] = TOKEN
        self.settings = IammeterSettings.model_validate(fields | options)
        self.policy = self.settings.policy(("*",), ())
        self.cloud = FakeCloud()
        self.clock = clock or SleptClock(NOW)
        self.vault = vault or FakeVault()
        self.ledger = ledger or FakeLedger()
        self.log = ListHandler()
        logging.getLogger("test.iammeter").handlers = [self.log]
        self.gate = AccountGate(
            "home",
            SPEC.limits(self.settings),
            self.clock,
            self.ledger,
            notes=list(self.ledger.notes),
            vendor="iammeter",
        )
        self.http = VendorHttp(
            self.settings.base_url,
            self.gate,
            self.clock,
            transport=transport or httpx.MockTransport(self.cloud.answer),
        )
        adapter = SPEC.build(self.settings, kit(self, "test.iammeter"))
        assert isinstance(adapter, IammeterAdapter)
        self.adapter = adapter
        self.effect = NoEffect()

    def device(self, sn: str = SN, **fields: Any) -> Device:
        return Device("home", "iammeter", sn, DeviceKind.ELECTRICITY_METER, **fields)

    def site(self, site_id: str = "12345") -> Device:
        return Device("home", "iammeter", site_id, DeviceKind.SOLAR_PLANT)

    def spec(self, name: str, device: Device | None) -> CommandSpec:
        return self.adapter.commands(device)[name]

    def order(self, command: str, params: dict[str, Any] | None = None, **fields: Any) -> Order:
        device = fields.pop("device", self.device())
        spec = self.spec(command, device)
        return Order("c1", "home", device, spec, spec.params.model_validate(params or {}), **fields)

    async def run(self, command: str, params: dict[str, Any] | None = None, **fields: Any) -> Any:
        order = self.order(command, params, **fields)
        if command == "history":
            return await past(self.adapter, order)
        return await self.adapter.execute(order, self.effect)

    def admit(self, command: str, params: dict[str, Any] | None = None, **fields: Any) -> None:
        order = self.order(command, params, **fields)
        assert order.spec.check is not None
        order.spec.check(order)

    def tasks(self, *sns: str) -> dict[str, PollTask]:
        return {task.key: task for task in self.adapter.poll_tasks([self.device(sn) for sn in sns])}

    async def poll(self, key: str, *sns: str) -> list[Any]:
        """The batches of one run of a task."""
        return [batch async for batch in self.adapter.poll(self.tasks(*(sns or (SN,)))[key])]

    async def seen(self, key: str, *sns: str) -> list[Any]:
        """Their observations."""
        return [one for batch in await self.poll(key, *sns) for one in batch.observations]

    async def aclose(self) -> None:
        await self.gate.aclose()
        await self.http.aclose()


class Stage:
    """An account in front of the simulated cloud, both on one clock."""

    def __init__(self, *, only: Sequence[str] | None = None, **options: Any) -> None:
        self.clock = SleptClock(NOW)
        self.vault, self.ledger = FakeVault(), FakeLedger()
        sites = household(NOW.timestamp())
        if only is not None:
            for site in sites:
                site.meters = [meter for meter in site.meters if meter.sn in only]
        self.cloud = IammeterCloud(
            Customer("demo-user", PASSWORD, TOKEN), sites, time=CloudTime(self.clock), rng=random.Random(3)
        )
        self.options = options
        self.account = self.start()

    def start(self, **options: Any) -> Account:
        """The account anew, as after a restart: only vault and ledger are what they were."""
        self.account = Account(
            clock=self.clock,
            vault=self.vault,
            ledger=self.ledger,
            transport=httpx.ASGITransport(app(self.cloud)),
            **(self.options | options),
        )
        return self.account


def plain(metrics: Any) -> dict[str, Any]:
    return {name: Decimal(value) for name, value in metrics.items()}
