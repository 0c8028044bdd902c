"""The simulated IAMMETER-cloud as a client sees it, mounted in httpx, under hand-driven time."""

from __future__ import annotations

import random
from typing import Any

import httpx

from bridge.simulators.iammeter import Account, IammeterCloud, app, household
from bridge.simulators.simtime import HandTime

GRID, INVERTER, WORKSHOP = "A1B2C3D4", "E5F6A7B8", "C9D0E1F2"
TOKEN = "0" * 32
NOON = 1_772_622_000.0
"""2026-03-04 11:00:00 UTC, noon at the sites."""


class IammeterBench:
    """A cloud with a household and a workshop, and a client with the right token."""

    def __init__(self, **options: Any) -> None:
        self.time = HandTime(NOON)
        self.cloud = IammeterCloud(
            Account("demo-user", "FAKEPASSWORD", TOKEN),
            household(NOON),
            time=self.time,
            rng=random.Random(7),
            **options,
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app(self.cloud)), base_url="http://simulator.invalid"
        )

    async def get(self, path: str, token: str | None = TOKEN, **query: str) -> httpx.Response:
        headers = {} if token is None else {"token": token}
        return await self.client.get(f"/api/v1/{path}", params=query or None, headers=headers)

    async def page(self, path: str, **query: str) -> Any:
        answer = await self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def data(self, path: str, **query: str) -> Any:
        page = await self.page(path, **query)
        assert page["successful"] is True, page
        assert page["message"] is None
        return page["data"]

    async def refusal(self, path: str, **query: str) -> str:
        page = await self.page(path, **query)
        assert (page["data"], page["successful"]) == (None, False)
        return str(page["message"])

    async def login(self, **fields: Any) -> httpx.Response:
        body = {"userName": "demo-user", "password": "FAKEPASSWORD"} | fields
        return await self.client.post("/api/v1/user/login", json=body)
