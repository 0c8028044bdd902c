"""The simulated cloud as a client sees it, mounted in httpx, under hand-driven time."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx

from bridge.simulators.simtime import HandTime
from bridge.simulators.wmj import Account, WmjCloud, app

WIFI = "W7100000001"
CELLULAR = "W7200000001"
KEYS = {"app_id": "0" * 32, "app_secret": "FAKE" + "0" * 28}


class Receiver:
    """The gateway's end of the callbacks: keeps the bodies and answers as told."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.status = 200
        self.page = '{"code":0,"msg":"success"}'

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.content.decode())
        return httpx.Response(self.status, text=self.page)

    @property
    def pages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]


class Bench:
    """A cloud with one Wi-Fi and one cellular breaker and a client with the right keys."""

    def __init__(self, **options: Any) -> None:
        self.time = HandTime()
        self.receiver = Receiver()
        self.cloud = WmjCloud(
            Account(KEYS["app_id"], KEYS["app_secret"]),
            [WIFI, CELLULAR],
            time=self.time,
            rng=random.Random(7),
            **{
                "callback_url": "http://gateway.example.invalid/push/shop/FAKE",
                "client": httpx.AsyncClient(transport=httpx.MockTransport(self.receiver)),
                **options,
            },
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app(self.cloud)), base_url="http://simulator.invalid"
        )

    async def post(self, endpoint: str, page: Any, **options: Any) -> httpx.Response:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return await self.client.post(
            f"/deviceApi/{endpoint}", **{"content": json.dumps(page), "headers": headers, **options}
        )

    async def ask(self, endpoint: str, sn: str = WIFI) -> dict[str, Any]:
        return (await self.post(endpoint, {**KEYS, "device_sn": sn})).json()

    async def send(self, cmd_type: str, info: dict[str, Any] | None = None, sn: str = WIFI) -> dict[str, Any]:
        return (await self.post("send", send_page(cmd_type, info, sn))).json()

    async def info(self, sn: str = WIFI) -> dict[str, Any]:
        return (await self.send("getdevinfo", sn=sn))["data"]["info"]

    async def told(self) -> list[dict[str, Any]]:
        """The callbacks that arrived since the last look."""
        await self.cloud.deliveries.settled()
        pages = self.receiver.pages
        self.receiver.bodies.clear()
        return pages

    def effects(self) -> list[tuple[str, str, str]]:
        return [(entry.device, entry.effect, entry.detail) for entry in self.cloud.ledger.entries()]


def send_page(cmd_type: str, info: dict[str, Any] | None = None, sn: str = WIFI) -> dict[str, Any]:
    return {**KEYS, "device_sn": sn, "type": 1, "data": {"cmd_type": cmd_type, "info": info or {}}}
