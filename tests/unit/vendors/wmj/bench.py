"""One wmj account against a scripted cloud: what left the gateway is compared byte by byte."""

from __future__ import annotations

import json
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from bridge.domain.command import CommandSpec, Order
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import Withdrawn
from bridge.pace.limits import Lane
from bridge.vendorkit.http import OpenGate, VendorHttp
from bridge.vendorkit.spec import Kit
from bridge.vendors.wmj import SPEC
from bridge.vendors.wmj.adapter import WmjAdapter
from bridge.vendors.wmj.settings import WmjSettings

SERIAL = "W7100000001"
APP_ID = "00000000000000000000000000000000"
SECRET = "FAKE0000000000000000000000000000"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

INFO: dict[str, Any] = {
    "balance": 1, "code": 0, "electric_current": 2.5, "heartbeat": 1, "iccid": "00000000000000000000",
    "imei": "000000000000000", "leakage_current": 30, "msg": "", "overcurrent": 40, "overheat": 80,
    "overvoltage": 275, "power": 560.5, "prepay": False, "rssi": -70, "switch_state": 1, "temperature": 14,
    "total_electricity": 1234.56, "undervoltage": 160, "version": "1.0.4", "voltage": 229.1,
}  # fmt: skip
"""`info` of vector V1."""


def answer(info: dict[str, Any], code: int | None = 0) -> dict[str, Any]:
    """An answer of `/send` in its full shape."""
    body: dict[str, Any] = {} if code is None else {"code": code}
    return body | {"data": {"device_sn": SERIAL, "cmd_type": "x", "info": info}}


OK = answer({"code": 0, "msg": ""})
SILENT = {"code": 1001, "msg": "网络超时"}
OFFLINE = {"code": 1002, "msg": "设备离线"}
UNREGISTERED = {"code": 1004, "msg": "设备未注册"}


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


class FakeEffect:
    """Counts how often something left; refuses from the given time on."""

    def __init__(self, allowed: int = 9) -> None:
        self.count = 0
        self.allowed = allowed

    @property
    def left(self) -> bool:
        return self.count > 0

    async def leaving(self) -> None:
        if self.count >= self.allowed:
            raise Withdrawn("expired")
        self.count += 1


class FakeVault:
    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        return self.kept.get(key)

    async def put(self, key: str, value: Any) -> None:
        self.kept[key] = value


Reply = dict[str, Any] | bytes | httpx.Response | Exception


class FakeCloud:
    """Answers from a script, in order; keeps every request."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.requests: list[httpx.Request] = []

    def will(self, *replies: Reply) -> None:
        self.script.extend(replies)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert self.script, f"nothing scripted for {request.content!r}"
        reply = self.script.pop(0)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, httpx.Response):
            return reply
        return httpx.Response(200, content=reply if isinstance(reply, bytes) else json.dumps(reply).encode())

    @property
    def bodies(self) -> list[bytes]:
        return [request.content for request in self.requests]

    @property
    def words(self) -> list[str]:
        """What was asked, in short: `cmd_type`, or the end point."""
        return [
            json.loads(request.content).get("data", {}).get("cmd_type") or request.url.path.rpartition("/")[2]
            for request in self.requests
        ]


class RecordingGate(OpenGate):
    def __init__(self) -> None:
        self.calls: list[tuple[tuple[tuple[str, str], ...], Lane]] = []

    def slot(self, uses: Any, lane: Lane) -> Any:
        self.calls.append((tuple(uses), lane))
        return super().slot(uses, lane)


class Account:
    """The adapter of one account and everything it touches."""

    def __init__(self, **options: Any) -> None:
        fields: dict[str, Any] = {
            "id": "shop", "vendor": "wmj", "base_url": "https://cloud.example.invalid/deviceApi",
            "app_id": APP_ID, "app_secret": SECRET, "devices": [SERIAL], "push": {"secret": "FAKE0000"},
        }  # fmt: skip
        self.settings = WmjSettings.model_validate(fields | options)
        self.policy = self.settings.policy(("*",), ())
        self.cloud, self.clock, self.vault, self.gate = FakeCloud(), FakeClock(), FakeVault(), RecordingGate()
        self.effect = FakeEffect()
        self.http = VendorHttp(
            self.settings.base_url, self.gate, self.clock, transport=httpx.MockTransport(self.cloud)
        )
        log = logging.getLogger("test.wmj")
        kit = Kit(self.http, self.clock, random.Random(1), log, self.vault, self.policy)
        adapter = SPEC.build(self.settings, kit)
        assert isinstance(adapter, WmjAdapter)
        self.adapter = adapter

    def device(self, **fields: Any) -> Device:
        return Device("shop", "wmj", SERIAL, DeviceKind.BREAKER, **fields)

    def spec(self, name: str) -> CommandSpec:
        return self.adapter.commands(self.device())[name]

    def order(self, command: str, params: dict[str, Any] | None = None, **fields: Any) -> Order:
        device = fields.pop("device", self.device())
        spec = self.adapter.commands(device)[command]
        return Order("c1", "shop", device, spec, spec.params.model_validate(params or {}), **fields)

    async def run(self, command: str, params: dict[str, Any] | None = None, **fields: Any) -> Any:
        return await self.adapter.execute(self.order(command, params, **fields), self.effect)

    async def poll(self, key: str) -> list[Any]:
        """The observations of one run of a task."""
        tasks = {task.key: task for task in self.adapter.poll_tasks(await self.adapter.inventory())}
        return [one async for batch in self.adapter.poll(tasks[key]) for one in batch.observations]


def sent(command: str, info: str = "{}", serial: str = SERIAL) -> bytes:
    """The exact bytes of a `/send` request."""
    return (
        f'{{"app_id":"{APP_ID}","app_secret":"{SECRET}","device_sn":"{serial}","type":1,'
        f'"data":{{"cmd_type":"{command}","info":{info}}}}}'
    ).encode()


def plain(serial: str = SERIAL) -> bytes:
    """The exact bytes of the other requests."""
    return f'{{"app_id":"{APP_ID}","app_secret":"{SECRET}","device_sn":"{serial}"}}'.encode()
