"""One jrhsz account against a scripted platform: what left the gateway is compared exactly."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bridge.domain.command import Order
from bridge.domain.device import Device, DeviceKind
from bridge.vendorkit.http import VendorHttp
from bridge.vendors.jrhsz import SPEC
from bridge.vendors.jrhsz.adapter import JrhszAdapter
from bridge.vendors.jrhsz.settings import JrhszSettings
from tests.fakes.adapters import FakeEffect, FakeVault, RecordingGate, Reply, ScriptedCloud, SleptClock, kit
from tests.fakes.past import past

NOW = datetime(2023, 7, 14, 2, 30, tzinfo=UTC)
"""10:30 in China."""
USERNAME = "demo_user"
PASSWORD = "FAKE-PASSWORD-0000"
TOKEN = "RkFLRS0wMDAw+/8="
ENERGY, WATER, OTHER = "000000000002", "000000000001", "t3"
FIXTURES = Path(__file__).parents[3] / "fixtures" / "jrhsz"

LOGIN = {"code": 200, "data": TOKEN, "msg": "登录成功"}
OK = {"code": 200, "msg": "操作成功"}
TOO_FAST = {"code": 1011, "msg": "访问过快"}
EXPIRED = {"code": 1007, "msg": "Token已过期"}
NO_RIGHT = {"code": 1009, "msg": "无权限"}


def fixture(name: str) -> dict[str, Any]:
    """A test vector of the page, section 12."""
    page: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    return page


def rows(*data: Any) -> dict[str, Any]:
    return {"code": 200, "data": list(data), "msg": "操作成功", "totalCount": 1}


def nothing(data: Any = None, **more: Any) -> dict[str, Any]:
    """No rows, and no word of how many there are."""
    return {"code": 200, "data": data, "msg": "操作成功", **more}


def listed(table_no: str, type_code: Any = "11", **fields: Any) -> dict[str, Any]:
    """A row of 4.2."""
    row = {"project_code": "demo", "deviceId": f"D{table_no}", "deviceName": "m", "tableNo": table_no}
    return row | {"tableType": type_code, "onlineAt": "", "netStatis": "在线", "gate": "合闸"} | fields


def latest(table_no: str, reading: str, at: str, gate: str = "合闸") -> dict[str, Any]:
    """A row of 4.3."""
    row = {"deviceId": f"D{table_no}", "tableNo": table_no, "reading": reading}
    return row | {"readTime": at, "gate": gate}


class FakeCloud(ScriptedCloud):
    """Logins have a script of their own, by default good."""

    def __init__(self) -> None:
        super().__init__()
        self.logins: list[Reply] = []
        self.stale: set[str] = set()

    def reply(self, request: httpx.Request) -> Reply:
        if request.url.path == "/user/login":
            return self.logins.pop(0) if self.logins else LOGIN
        if any(f'"{token}"'.encode() in request.content for token in self.stale):
            return EXPIRED
        return super().reply(request)

    @property
    def words(self) -> list[str]:
        """What was asked, in short: the end points."""
        return [request.url.path.rpartition("/")[2] for request in self.requests]

    def bodies(self, endpoint: str) -> list[dict[str, Any]]:
        """The parameters of the calls of an end point, without token and name where there are any."""
        found = []
        for request in self.requests:
            if request.url.path.endswith(f"/{endpoint}"):
                body = json.loads(request.content)
                if endpoint != "login":
                    assert list(body)[:2] == ["token", "admin_user_name"]
                    assert body.pop("admin_user_name") == USERNAME
                    body.pop("token")
                found.append(body)
        return found

    def tokens(self) -> list[str]:
        return [
            json.loads(request.content)["token"]
            for request in self.requests
            if request.url.path != "/user/login"
        ]


class Account:
    """The adapter of one account and everything it touches."""

    def __init__(self, vault: FakeVault | None = None, **options: Any) -> None:
        fields: dict[str, Any] = {
            "id": "flats", "vendor": "jrhsz", "base_url": "http://cloud.example.invalid",
            "username": USERNAME, "password": PASSWORD,
        }  # fmt: skip
        self.settings = JrhszSettings.model_validate(fields | options)
        self.policy = self.settings.policy(("*",), ())
        self.cloud, self.clock, self.gate = FakeCloud(), SleptClock(NOW), RecordingGate()
        self.vault = vault or FakeVault()
        self.effect = FakeEffect()
        self.http = VendorHttp(
            self.settings.base_url, self.gate, self.clock, transport=httpx.MockTransport(self.cloud)
        )
        adapter = SPEC.build(self.settings, kit(self, "test.jrhsz"))
        assert isinstance(adapter, JrhszAdapter)
        self.adapter = adapter

    def device(
        self, table_no: str = ENERGY, kind: DeviceKind = DeviceKind.ELECTRICITY_METER, **info: Any
    ) -> Device:
        vendor_info = {"deviceId": f"D{table_no}", "tableType": "5"} | info
        return Device("flats", "jrhsz", table_no, kind, vendor_info=vendor_info)

    def water(self) -> Device:
        return self.device(WATER, DeviceKind.WATER_METER, tableType="2")

    def order(self, command: str, params: dict[str, Any] | None = None, **fields: Any) -> Order:
        device = fields.pop("device", self.device())
        spec = self.adapter.commands(device)[command]
        fields.setdefault("dispatched_at", NOW)
        return Order("c1", "flats", device, spec, spec.params.model_validate(params or {}), **fields)

    async def run(self, command: str, params: dict[str, Any] | None = None, **fields: Any) -> Any:
        order = self.order(command, params, **fields)
        if command == "history":
            return await past(self.adapter, order)
        return await self.adapter.execute(order, self.effect)

    async def know(self, *meters: dict[str, Any]) -> list[Device]:
        """The inventory, read once."""
        self.cloud.will(rows(*meters))
        return list(await self.adapter.inventory())

    async def batches(self, key: str, *devices: Device) -> list[Any]:
        chosen = devices or (self.device(tableType="11"), self.water())
        tasks = {task.key: task for task in self.adapter.poll_tasks(chosen)}
        return [batch async for batch in self.adapter.poll(tasks[key])]

    async def poll(self, key: str, *devices: Device) -> list[Any]:
        """The observations of one run of a task."""
        return [one for batch in await self.batches(key, *devices) for one in batch.observations]

    async def aclose(self) -> None:
        await self.http.aclose()
