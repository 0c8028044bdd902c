"""The simulated jrhsz platform as a client sees it, mounted in httpx, under hand-driven time."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx

from bridge.simulators.jrhsz import Account, JrhszCloud, Meter, app
from bridge.simulators.simtime import HandTime

USERNAME, PASSWORD = "demo_user", "FAKE-PASSWORD-0000"
ENERGY, WATER, HOURLY, CAMERA, ODD = "000000000001", "000000000002", "000000000003", "200000000001", "t9"
NOON = 1_751_342_400
"""2025-07-01 12:00:00 in China."""
DAY = {"BeginDate": "2025-06-30 12:00:00", "EndDate": "2025-07-01 12:00:00"}
PAGE = {"pageNo": 1, "pageSize": 1000}


class Bench:
    """A platform with five kinds of meters and two days of records, and a client that logs in."""

    def __init__(self, **quirks: Any) -> None:
        self.time = HandTime(NOON)
        since_s = NOON - 2 * 86_400
        meters = [
            Meter(ENERGY, 5, since_s, device_id="100000000001"),
            Meter(WATER, 2, since_s),
            Meter(HOURLY, 11, since_s),
            Meter(CAMERA, 24, since_s, camera=True),
            Meter(ODD, 25, since_s),
        ]
        for meter in meters:
            meter.advance(NOON)
        self.cloud = JrhszCloud(
            Account(USERNAME, PASSWORD), meters, time=self.time, rng=random.Random(7), **quirks
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app(self.cloud)), base_url="http://simulator.invalid"
        )
        self.token = ""

    async def post(self, path: str, page: Any, **options: Any) -> httpx.Response:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return await self.client.post(path, **{"content": json.dumps(page), "headers": headers, **options})

    async def log_in(self, password: str = PASSWORD, username: str = USERNAME) -> dict[str, Any]:
        page = {"admin_user_name": username, "api_password": password}
        answer: dict[str, Any] = (await self.post("/user/login", page)).json()
        self.token = answer.get("data", self.token)
        return answer

    async def ask(self, endpoint: str, **params: Any) -> dict[str, Any]:
        """A call of `/meter/…`, far enough from the last one, with token and name unless they are given."""
        if not self.token:
            await self.log_in()
        self.time.advance(2)
        page = {"token": self.token, "admin_user_name": USERNAME, **params}
        answer: dict[str, Any] = (await self.post(f"/meter/{endpoint}", page)).json()
        return answer

    async def rows(self, endpoint: str, **params: Any) -> list[dict[str, Any]]:
        answer = await self.ask(endpoint, **params)
        assert answer["code"] == 200, answer
        data = answer["data"]
        return data if isinstance(data, list) else [data]

    async def instruct(self, target: str, kind: str) -> int:
        answer = await self.ask("meterInstruct", deviceId=target, type=kind)
        code: int = answer["code"]
        return code

    def effects(self) -> list[tuple[str, str, str]]:
        return [(entry.device, entry.effect, entry.detail) for entry in self.cloud.ledger.entries()]
