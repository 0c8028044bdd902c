"""One iotmeter account against a scripted platform, and one against the simulator under shared, hand-driven time."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bridge.domain.command import CommandSpec, Order, Status
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import LostAnswer
from bridge.ports import PushRequest
from bridge.simulators.iotmeter import Account as SimAccount
from bridge.simulators.iotmeter import IotMeterCloud, app
from bridge.simulators.simtime import HandTime
from bridge.vendorkit.http import OpenGate, VendorHttp
from bridge.vendors.iotmeter import SPEC
from bridge.vendors.iotmeter.adapter import IotMeterAdapter
from bridge.vendors.iotmeter.settings import IotMeterSettings
from tests.fakes.adapters import FakeEffect, FakeVault, Reply, ScriptedCloud, kit
from tests.fakes.past import past

METER = "12345678901234"
OTHER = "0012345678"
RTU = "R000000001"
COMPANY = "1001"
KEY = "0" * 32
PASSWORD = "FAKE0000"
NOW = datetime(2021, 4, 7, 0, 0, tzinfo=UTC)
FIXTURES = Path(__file__).parents[3] / "fixtures" / "iotmeter"


def fixture_bytes(name: str) -> bytes:
    return (FIXTURES / f"{name}.json").read_bytes()


def fixture(name: str) -> Any:
    return json.loads(fixture_bytes(name))


def good(data: Any, **more: Any) -> dict[str, Any]:
    return {"Data": data, "State": "success", "Message": "", **more}


def page(*rows: Any, total: int | None = None) -> dict[str, Any]:
    return good(list(rows), Totalcount=len(rows) if total is None else total, Startrow=0, Rowcount=len(rows))


def bad(message: str = "不行", data: Any = None) -> dict[str, Any]:
    return {"Data": data, "State": "failed", "Message": message}


LOGIN = good({"token": "FAKE0000TOKEN", "expiration": "2021-04-07T10:00:00.0000000+08:00"})


class BenchClock:
    """`ports.Clock` over a simulator's time, so that both sides agree what time it is."""

    def __init__(self, time: HandTime) -> None:
        self.time = time
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time.now(), UTC)

    def monotonic(self) -> float:
        return self.time.real()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.time.sleep(seconds)


class FakeCloud(ScriptedCloud):
    """Logins are answered by themselves unless scripted."""

    def __init__(self) -> None:
        super().__init__()
        self.logins: list[Reply] = []

    def reply(self, request: httpx.Request) -> Reply:
        if request.url.path.endswith("/Account/Login"):
            return self.logins.pop(0) if self.logins else LOGIN
        return super().reply(request)

    @property
    def paths(self) -> list[str]:
        """What was asked: the path behind `/api/Data/` or `/api/Conf/`."""
        return [request.url.path.split("/", 3)[3] for request in self.requests]

    def body(self, index: int = -1) -> Any:
        return json.loads(self.requests[index].content)


class Bench:
    """The adapter of one account and everything it touches."""

    def __init__(self, transport: httpx.AsyncBaseTransport, time: HandTime, **options: Any) -> None:
        fields: dict[str, Any] = {
            "id": "gas",
            "vendor": "iotmeter",
            "data": {
                "base_url": "http://data.example.invalid:2102", "company_no": COMPANY, "api_key": KEY,
            },
            "control": {
                "base_url": "http://ctrl.example.invalid:2101", "login_name": "demo_admin",
                "password": PASSWORD,
            },
            "push": {"secret": "FAKE0000FAKE0000"},
        }  # fmt: skip
        self.settings = IotMeterSettings.model_validate(fields | options)
        self.policy = self.settings.policy(("*",), ())
        self.time = time
        self.clock, self.vault, self.effect = BenchClock(time), FakeVault(), FakeEffect()
        self.http = VendorHttp("", OpenGate(), self.clock, transport=transport)
        self.restart()

    def restart(self) -> None:
        """A new process: only the vault remembers."""
        adapter = SPEC.build(self.settings, kit(self, "test.iotmeter"))
        assert isinstance(adapter, IotMeterAdapter)
        self.adapter = adapter

    def device(self, native_id: str = METER, kind: DeviceKind = DeviceKind.GAS_METER) -> Device:
        return Device("gas", "iotmeter", native_id, kind)

    def spec(self, name: str) -> CommandSpec:
        return {**self.adapter.commands(None), **self.adapter.commands(self.device())}[name]

    def order(self, command: str, params: dict[str, Any] | None = None, **fields: Any) -> Order:
        device = fields.pop("device", self.device())
        spec = self.adapter.commands(device)[command]
        validated = spec.params.model_validate_json(json.dumps(params or {}))
        return Order(fields.pop("id", "brg-9"), "gas", device, spec, validated, **fields)

    async def run(self, command: str, params: dict[str, Any] | None = None, **fields: Any) -> Any:
        order = self.order(command, params, **fields)
        if command == "history":
            return await past(self.adapter, order)
        return await self.adapter.execute(order, self.effect)

    async def probe(self, command: str, params: dict[str, Any] | None = None, **fields: Any) -> Any:
        return await self.adapter.probe(self.order(command, params, **fields))

    async def poll(self, key: str, *devices: Device) -> list[Any]:
        """The observations of one run of a task."""
        tasks = {task.key: task for task in self.adapter.poll_tasks(devices or (self.device(),))}
        return [one async for batch in self.adapter.poll(tasks[key]) for one in batch.observations]

    def push(self, tail: str, body: Any, **headers: str) -> Any:
        """Parses one push; gives what the door says."""
        door = self.adapter.push
        assert door is not None
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return door.parse(PushRequest(tail, headers, raw, self.clock.now()))

    async def aclose(self) -> None:
        await self.http.aclose()


class Scripted(Bench):
    """Against a script."""

    def __init__(self, **options: Any) -> None:
        self.cloud = FakeCloud()
        super().__init__(httpx.MockTransport(self.cloud), HandTime(NOW.timestamp()), **options)


class Simulated(Bench):
    """Against the simulated platform; its pushes come in through the door and are kept."""

    def __init__(self, **options: Any) -> None:
        self.pushed: list[Any] = []
        time = HandTime(NOW.timestamp())
        receiver = httpx.AsyncClient(transport=httpx.MockTransport(self._receive))
        self.sim = IotMeterCloud(
            SimAccount(COMPANY, KEY, "demo_admin", PASSWORD),
            [METER, OTHER],
            time=time,
            rng=random.Random(7),
            rtus=[RTU],
            push_url="http://gateway.example.invalid/push/gas/FAKE0000FAKE0000",
            wake_every_s=3600.0,
            client=receiver,
        )
        super().__init__(httpx.ASGITransport(app(self.sim)), time, **options)

    def _receive(self, request: httpx.Request) -> httpx.Response:
        tail = request.url.path.removeprefix("/push/gas/FAKE0000FAKE0000")
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = self.push(tail, request.content, **headers)
        self.pushed += [one for batch in told.batches for one in batch.observations]
        return httpx.Response(told.answer.status, content=told.answer.body)

    def effects(self) -> list[str]:
        return [entry.effect for entry in self.sim.ledger.entries() if entry.effect != "login"]

    def pass_time(self, seconds: float) -> None:
        self.time.advance(seconds)
        self.sim.tick()

    async def carry(
        self, command: str, params: dict[str, Any] | None = None, *, for_s: float = 400_000, **fields: Any
    ) -> Any:
        """Executes, then asks every ten minutes until it is final, as the flow would; the final Outcome."""
        order = self.order(command, params, **fields)
        dispatched_at = self.clock.now()
        outcome = None
        try:
            outcome = await self.adapter.execute(order, self.effect)
        except LostAnswer:
            if not self.effect.left:
                raise
        ref = outcome.vendor_ref if outcome is not None else None
        ends = self.time.now() + for_s
        while (outcome is None or outcome.status is Status.SENT) and self.time.now() < ends:
            self.pass_time(600)
            known = {**fields, "vendor_ref": ref, "dispatched_at": dispatched_at}
            outcome = await self.probe(command, params, **known)
            ref = outcome.vendor_ref if outcome is not None and outcome.vendor_ref else ref
        return outcome

    async def aclose(self) -> None:
        await self.sim.aclose()
        await super().aclose()
