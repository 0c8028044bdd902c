"""The whole flow around the real adapter and the simulated platform, as `tests.commands.stage` has it for every vendor;
here with two meters that wake up once an hour, and without limits."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from bridge.simulators.iotmeter import Account, IotMeterCloud
from bridge.vendorkit.http import Gate, OpenGate
from tests.commands.stage import Stage
from tests.fakes.adapters import CloudTime
from tests.unit.vendors.iotmeter.bench import COMPANY, KEY, METER, OTHER, PASSWORD

WAKE_S = 3600.0


class Platform(Stage):
    """`async with Platform(tmp_path) as gateway: …`."""

    def __init__(self, folder: Path, **options: Any) -> None:
        fields = {
            "data": {"base_url": "http://data.example.invalid", "company_no": COMPANY, "api_key": KEY},
            "control": {"base_url": "http://ctrl.example.invalid", "login_name": "u", "password": PASSWORD},
        }
        super().__init__(folder, "iotmeter", **(fields | options))
        self.sim = self.cloud

    def made_cloud(self) -> IotMeterCloud:
        return IotMeterCloud(
            Account(COMPANY, KEY, "u", PASSWORD),
            [METER, OTHER],
            time=CloudTime(self.clock),
            rng=random.Random(7),
            wake_every_s=WAKE_S,
        )

    def made_gate(self) -> Gate:
        return OpenGate()

    async def hours(self, count: float) -> None:
        """Lets time pass, for the gateway and for the platform."""
        for _ in range(round(count * 6)):
            await self.advance(600)
            self.sim.tick()

    def asked(self) -> list[tuple[str, Any]]:
        """What the platform was asked, oldest first: path without its head, and body."""
        heads = ("POST /api/Conf/", "POST /api/Data/")
        found = [(line.split("?")[0], body) for line, body in self.sent()]
        for head in heads:
            found = [(line.removeprefix(head), body) for line, body in found]
        return found

    def sent_to(self, endpoint: str) -> list[tuple[str, Any]]:
        """The requests to an end point, oldest first: path and body."""
        return [(path, body) for path, body in self.asked() if path.startswith(endpoint)]

    def states(self, command_id: str) -> list[tuple[str, Any, Any]]:
        """Status, vendor code and vendor ref of each acknowledgement."""
        return [(doc["status"], doc["vendor_code"], doc["vendor_ref"]) for doc in self.acks(command_id)]
