"""The simulated iotmeter platform as a client sees it, mounted in httpx, under hand-driven time."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx

from bridge.simulators.iotmeter import Account, IotMeterCloud, app
from bridge.simulators.simtime import HandTime

METER = "12345678901234"
OTHER = "0012345678"
RTU = "R000000001"
NOW_S = 1_617_753_600.0
"""2021-04-07 00:00:00 UTC, 08:00 on the platform's clock."""

KEYS = {"company_no": "1001", "data_api_key": "0" * 32}


class Receiver:
    """The gateway's end of the pushes: keeps them and answers as told."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.status = 200
        self.page: str | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, text=self.page or json.dumps(self._good(request)))

    def _good(self, request: httpx.Request) -> dict[str, Any]:
        data: Any = 7
        if request.url.path.endswith("MeterData/Add"):
            data = "LA6owvN3SECEP2zL2fkYxg=="
        if request.url.path.endswith("Report"):
            data = [
                {
                    "ctrl_id": item["ctrl_id"],
                    "meter_comm_no": item["meter_comm_no"],
                    "result": True,
                    "message": "",
                }
                for item in json.loads(request.content)
            ]
        return {"Data": data, "State": "success", "Message": ""}

    @property
    def told(self) -> list[tuple[str, Any]]:
        """(last part but one of the path, body) of every push."""
        return [
            (request.url.path.rsplit("/", 2)[1], json.loads(request.content)) for request in self.requests
        ]


class Platform:
    """A platform with two meters and an RTU that wake up every hour, and a client with the right keys."""

    def __init__(self, **options: Any) -> None:
        self.time = HandTime(NOW_S)
        self.receiver = Receiver()
        self.cloud = IotMeterCloud(
            Account("1001", KEYS["data_api_key"], "demo_admin", "FAKE0000"),
            [METER, OTHER],
            time=self.time,
            rng=random.Random(7),
            rtus=[RTU],
            **{
                "push_url": "http://gateway.example.invalid/push/gas/FAKE",
                "client": httpx.AsyncClient(transport=httpx.MockTransport(self.receiver)),
                "wake_every_s": 3600.0,
                **options,
            },
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app(self.cloud)), base_url="http://simulator.invalid"
        )
        self.token = ""

    async def post(
        self, path: str, page: Any = None, headers: dict[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        sent = {"content-type": "application/json", **({} if headers is None else headers)}
        content = b"" if page is None else json.dumps(page).encode()
        return await self.client.post(path, content=content, headers=sent, params=query)

    async def data(self, path: str, page: Any = None, **query: Any) -> Any:
        return (await self.post(f"/api/Data/{path}", page, KEYS, **query)).json()

    async def login(self, digest: str | None = None) -> Any:
        pwd = self.cloud.account.digest if digest is None else digest
        answer = (await self.post("/api/Conf/Account/Login", loginName="demo_admin", pwd=pwd)).json()
        if answer["State"] == "success":
            self.token = answer["Data"]["token"]
        return answer

    async def conf(self, path: str, page: Any = None, **query: Any) -> Any:
        if not self.token:
            await self.login()
        return (await self.post(f"/api/Conf/{path}", page, {"token": self.token}, **query)).json()

    async def wake(self, device: str = METER) -> None:
        self.cloud.wake(device)
        await self.cloud.pushes.settled()

    async def pass_time(self, seconds: float) -> None:
        self.time.advance(seconds)
        self.cloud.tick()
        await self.cloud.pushes.settled()

    def effects(self) -> list[str]:
        return [entry.effect for entry in self.cloud.ledger.entries() if entry.effect != "login"]


def task(suffix: str = "common.setvalveoff", data: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "processor_name": "iotmeterv1",
        "ctrl_define_no": "brg-9",
        "target_comm_no": METER,
        "target_devtype": 1,
        "ctrl_time": "2021-04-07 08:00:00",
        "ctrl_timeout": "2021-04-10 08:00:00",
        "ctrl_type": f"iotmeterv1.{suffix}",
        "ctrl_data": json.dumps(data or {}),
        **fields,
    }


def charge(value: float = 100, total: float = 100, times: int = 1) -> dict[str, Any]:
    data = {"charge_value": value, "total_value": total, "charge_times": times}
    return task("prepay.remotecharge", data)
