"""One wmj account against a scripted cloud: what left the gateway is compared byte by byte."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx

from bridge.domain.command import CommandSpec, Order
from bridge.domain.device import Device, DeviceKind
from bridge.vendorkit.http import VendorHttp
from bridge.vendors.wmj import SPEC
from bridge.vendors.wmj.adapter import WmjAdapter
from bridge.vendors.wmj.settings import WmjSettings
from tests.fakes.adapters import FakeEffect, FakeVault, RecordingGate, ScriptedCloud, SleptClock, kit

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


class FakeCloud(ScriptedCloud):
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


class Account:
    """The adapter of one account and everything it touches."""

    def __init__(self, **options: Any) -> None:
        fields: dict[str, Any] = {
            "id": "shop", "vendor": "wmj", "base_url": "https://cloud.example.invalid/deviceApi",
            "app_id": APP_ID, "app_secret": SECRET, "devices": [SERIAL], "push": {"secret": "FAKE0000"},
        }  # fmt: skip
        self.settings = WmjSettings.model_validate(fields | options)
        self.policy = self.settings.policy(("*",), ())
        self.cloud, self.clock, self.vault = FakeCloud(), SleptClock(NOW), FakeVault()
        self.gate, self.effect = RecordingGate(), FakeEffect()
        self.http = VendorHttp(
            self.settings.base_url, self.gate, self.clock, transport=httpx.MockTransport(self.cloud)
        )
        adapter = SPEC.build(self.settings, kit(self, "test.wmj"))
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

    async def aclose(self) -> None:
        await self.http.aclose()


def sent(command: str, info: str = "{}", serial: str = SERIAL) -> bytes:
    """The exact bytes of a `/send` request."""
    return (
        f'{{"app_id":"{APP_ID}","app_secret":"{SECRET}","device_sn":"{serial}","type":1,'
        f'"data":{{"cmd_type":"{command}","info":{info}}}}}'
    ).encode()


def plain(serial: str = SERIAL) -> bytes:
    """The exact bytes of the other requests."""
    return f'{{"app_id":"{APP_ID}","app_secret":"{SECRET}","device_sn":"{serial}"}}'.encode()
