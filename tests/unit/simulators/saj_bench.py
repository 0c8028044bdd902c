"""The simulated SAJ cloud as a client sees it, mounted in httpx, under hand-driven time."""

from __future__ import annotations

import random
from typing import Any

import httpx

from bridge.simulators.saj import Application, SajCloud, app, demo_fleet
from bridge.simulators.simtime import HandTime

NOON = 1_496_808_000.0
"""2017-06-07 12:00 in the plants' zone."""

KEYS = {"client_id": "15000", "client_secret": "FAKE" + "0" * 28, "grant_type": "client_credentials"}
PLANT, DEVICE, SN = "10000001", "100010101", "INVTEST00101"


class SajBench:
    """A cloud with one plant of two inverters and a client that fetches its token by itself."""

    def __init__(self, **options: Any) -> None:
        self.time = HandTime(NOON)
        fleet = demo_fleet(NOON, plants=options.pop("plants", 1), inverters=2)
        application = Application(KEYS["client_id"], KEYS["client_secret"])
        self.cloud = SajCloud(application, fleet, time=self.time, rng=random.Random(7), **options)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app(self.cloud)), base_url="http://simulator.invalid"
        )
        self.headers: dict[str, str] = {}

    async def token(self, **params: str) -> dict[str, Any]:
        """The answer to a token request; a good one is used from now on."""
        page: dict[str, Any] = (await self.client.get("/accessToken", params={**KEYS, **params})).json()
        if page["error_code"] == 0:
            self.headers = {"token": page["data"]["access_token"], "uid": str(page["data"]["uid"])}
        return page

    async def get(self, endpoint: str, **params: Any) -> dict[str, Any]:
        if not self.headers:
            await self.token(scope="read write")
        answer = await self.client.get(f"/{endpoint}", params=params, headers=self.headers)
        page: dict[str, Any] = answer.json()
        return page

    async def data(self, endpoint: str, **params: Any) -> Any:
        page = await self.get(endpoint, **params)
        assert page["error_code"] == 0, page
        return page["data"]

    async def code(self, endpoint: str, **params: Any) -> int:
        return int((await self.get(endpoint, **params))["error_code"])

    async def post(self, endpoint: str, **form: Any) -> dict[str, Any]:
        if not self.headers:
            await self.token(scope="read write")
        page: dict[str, Any] = (
            await self.client.post(f"/{endpoint}", data=form, headers=self.headers)
        ).json()
        return page

    def effects(self) -> list[tuple[str, str, str]]:
        return [(entry.device, entry.effect, entry.detail) for entry in self.cloud.ledger.entries()]
