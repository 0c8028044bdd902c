"""One saj account against a scripted cloud, and against the simulated one, under a clock that runs by itself."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx

from bridge.domain.command import Order
from bridge.domain.device import Device, DeviceKind
from bridge.domain.text import loads
from bridge.pace.limits import Lane
from bridge.vendorkit.http import VendorHttp
from bridge.vendors.saj import SPEC
from bridge.vendors.saj.adapter import SajAdapter
from bridge.vendors.saj.settings import SajSettings
from tests.fakes.adapters import FakeEffect, FakeVault, RecordingGate, Reply, SleptClock, given, kit
from tests.fakes.past import past

APP_ID, APP_KEY = "15000", "FAKE0000000000000000000000000000"
NOW = datetime(2017, 6, 7, 3, 0, tzinfo=UTC)
"""11:00 in Shanghai."""

PLANT, DEVICE_ID, SERIAL = "10000001", "100010001", "INVTEST001"
FIXTURES = Path(__file__).parents[3] / "fixtures" / "saj"


def vector(name: str) -> Any:
    """`data` of a test vector of the page, section 9."""
    return loads((FIXTURES / f"{name}.json").read_bytes())["data"]


def body(name: str) -> bytes:
    """A test vector as it comes over the wire."""
    return (FIXTURES / f"{name}.json").read_bytes()


def good(data: Any) -> dict[str, Any]:
    return {"data": data, "error_code": 0, "error_msg": ""}


def bad(code: int, message: str = "") -> dict[str, Any]:
    return {"data": None, "error_code": code, "error_msg": message}


class BlockedGate(RecordingGate):
    """Tells how long a block still lasts."""

    def __init__(self, clock: SleptClock) -> None:
        super().__init__()
        self._clock = clock
        self._until = 0.0

    def wait_s(self, uses: Any, lane: Lane) -> float:
        return max(0.0, self._until - self._clock.monotonic())

    async def block(self, limit: str, key: str, for_s: float) -> None:
        await super().block(limit, key, for_s)
        self._until = max(self._until, self._clock.monotonic() + for_s)


class FakeCloud:
    """Answers each end point from a script of its own, token requests by themselves; keeps every request."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Reply]] = defaultdict(list)
        self.requests: list[httpx.Request] = []
        self.rules: dict[str, Callable[[httpx.Request], Reply]] = {}
        self.tokens = 0

    def will(self, endpoint: str, *replies: Reply) -> None:
        self.scripts[endpoint].extend(replies)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        endpoint = request.url.path.lstrip("/")
        if endpoint in self.rules:
            reply = self.rules[endpoint](request)
        elif self.scripts[endpoint]:
            reply = self.scripts[endpoint].pop(0)
        elif endpoint == "accessToken":
            self.tokens += 1
            reply = good(
                {"uid": 15000, "token": "bearer", "expires_in": 604800, "access_token": f"{self.tokens:032x}"}
            )
        elif "search_keyword" in params(request):
            reply = good({"count": 0})
        else:
            raise AssertionError(f"nothing scripted for {request.url}")
        return given(reply)

    @property
    def words(self) -> list[str]:
        """The end points asked, in order."""
        return [request.url.path.lstrip("/") for request in self.requests]

    def asked(self, endpoint: str) -> list[dict[str, str]]:
        """The parameters of the requests to an end point."""
        return [params(one) for one in self.requests if one.url.path.lstrip("/") == endpoint]


def params(request: httpx.Request) -> dict[str, str]:
    """The parameters of a request, from query and form."""
    return dict(parse_qsl(request.url.query.decode()) + parse_qsl(request.content.decode()))


class Account:
    """The adapter of one account and everything it touches. `transport` None: the scripted cloud."""

    def __init__(
        self,
        *,
        clock: SleptClock | None = None,
        vault: FakeVault | None = None,
        gate: Any = None,
        transport: httpx.AsyncBaseTransport | None = None,
        **options: Any,
    ) -> None:
        fields: dict[str, Any] = {
            "id": "roof", "vendor": "saj", "base_url": "https://cloud.example.invalid",
            "app_id": APP_ID, "app_key": APP_KEY,
        }  # fmt: skip
        self.settings = SajSettings.model_validate(fields | options)
        self.policy = self.settings.policy(("*",), ())
        self.cloud, self.clock = FakeCloud(), clock or SleptClock(NOW)
        self.vault = vault or FakeVault()
        self.gate = gate or BlockedGate(self.clock)
        self.effect = FakeEffect(allowed=99)
        self.closed: list[str] = []
        self.http = VendorHttp(
            self.settings.base_url,
            self.gate,
            self.clock,
            transport=transport or httpx.MockTransport(self.cloud),
        )
        adapter = SPEC.build(self.settings, kit(self, "test.saj"))
        assert isinstance(adapter, SajAdapter)
        self.adapter = adapter

    def restarted(self) -> Account:
        """The same account in a new process."""
        again = Account(clock=self.clock, vault=self.vault, **self.settings.model_dump(exclude_unset=True))
        again.cloud.tokens = self.cloud.tokens
        return again

    def order(
        self, command: str, given: dict[str, Any] | None = None, device: Device | None = None, **fields: Any
    ) -> Order:
        spec = self.adapter.commands(device)[command]
        parameters = spec.params.model_validate_json(json.dumps(given or {}))
        return Order("c1", "roof", device, spec, parameters, **fields)

    async def run(
        self, command: str, given: dict[str, Any] | None = None, device: Device | None = None
    ) -> Any:
        order = self.order(command, given, device)
        if command == "history":
            return await past(self.adapter, order)
        return await self.adapter.execute(order, self.effect)

    async def poll(self, key: str, devices: list[Device] | None = None) -> list[Any]:
        """The observations of one run of a task."""
        return [one for batch in await self.batches(key, devices) for one in batch.observations]

    async def batches(self, key: str, devices: list[Device] | None = None) -> list[Any]:
        tasks = {task.key: task for task in self.adapter.poll_tasks(devices or [PLANT_DEVICE, INVERTER])}
        return [batch async for batch in self.adapter.poll(tasks[key])]

    async def aclose(self) -> None:
        await self.http.aclose()


PLANT_DEVICE = Device("roof", "saj", PLANT, DeviceKind.SOLAR_PLANT)
INVERTER = Device(
    "roof", "saj", SERIAL, DeviceKind.INVERTER, parent=PLANT, vendor_info={"device_id": int(DEVICE_ID)}
)
LATEST, ALARMS, OVERVIEW = f"latest:{DEVICE_ID}:{PLANT}", f"alarms:{DEVICE_ID}:{PLANT}", f"plant:{PLANT}"
