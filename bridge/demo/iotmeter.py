"""Gas meters of the iotmeter platform and the RTU at their street's regulator; both call the gateway."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack

from bridge.demo.clouds import Suggestion, Tell
from bridge.simulators.iotmeter import Account, IotMeterCloud, app
from bridge.simulators.serving import served
from bridge.simulators.simtime import RunningTime

ACCOUNT = "gas"
COMPANY = "1001"
LOGIN_NAME = "demo_admin"
METERS = (
    ("00000000000001", "Lane 1"),
    ("00000000000002", "Lane 2"),
    ("00000000000003", "Lane 3"),
)
REGISTERS_M3 = (1872.31, 640.08, 3115.94)
RTU = ("R000000001", "Regulator")
WAKE_EVERY_S = 8.0
"""Real meters wake up once a day; nobody wants to look on for so long."""

RTU_TELLS_AFTER_S = 2.0
ALARM_AFTER_S = 35.0


class IotMeterGas:
    """Implements `demo.clouds.DemoCloud`."""

    account = ACCOUNT
    vendor = "iotmeter"

    def __init__(self) -> None:
        self._keys = Account(COMPANY, secrets.token_hex(16), LOGIN_NAME, secrets.token_hex(8))
        self._cloud = IotMeterCloud(
            self._keys,
            [number for number, _ in METERS],
            time=RunningTime(),
            rng=random.Random(),  # noqa: S311 - tokens of a simulator on this machine
            rtus=[RTU[0]],
            wake_every_s=WAKE_EVERY_S,
        )
        self._cloud.pushes.report_headers = True
        for at, (number, _) in enumerate(METERS):
            self._place(number, REGISTERS_M3[at], WAKE_EVERY_S * at / len(METERS))

    def devices(self) -> Sequence[tuple[str, str]]:
        """See `DemoCloud`."""
        return [*METERS, RTU]

    async def start(self, stack: AsyncExitStack, gateway_url: str) -> str:
        """See `DemoCloud`."""
        push_secret = secrets.token_hex(16)
        self._cloud.pushes.url = f"{gateway_url}/push/{ACCOUNT}/{push_secret}"
        url = await stack.enter_async_context(served(app(self._cloud)))
        data = {"base_url": url, "company_no": COMPANY, "api_key": self._keys.api_key}
        control = {"base_url": url, "login_name": LOGIN_NAME, "password": self._keys.password}
        entry = (
            "- id: " + ACCOUNT,
            "  vendor: iotmeter",
            f"  data: {json.dumps(data)}",
            f"  control: {json.dumps(control)}",
            f"  devices: {json.dumps({'names': dict(self.devices())})}",
            "  poll: 1m",
            f'  push: {{secret: "{push_secret}"}}',
        )
        return "\n".join(entry)

    def suggestions(self) -> Sequence[Suggestion]:
        """See `DemoCloud`."""
        number, name = METERS[-1]
        shows = f"{name}: close the gas valve at the meter's next wake-up"
        return (Suggestion(shows, f"{ACCOUNT}/{number}", "valve", "close"),)

    async def story(self, tell: Tell) -> None:
        """See `DemoCloud`: the RTU makes itself known; later somebody puts a magnet on a meter."""
        await asyncio.sleep(RTU_TELLS_AFTER_S)
        self._cloud.event(RTU[0], 1, "inlet pressure normal")
        await asyncio.sleep(ALARM_AFTER_S - RTU_TELLS_AFTER_S)
        number, name = METERS[0]
        tell(f"{name}: a magnet near the gas meter; it tells the platform, and that the gateway")
        self._cloud.alarm(number, 3, "magnetic interference", {"times": 1})

    def _place(self, number: str, register_m3: float, later_s: float) -> None:
        """A meter has counted so much, and wakes up so much later than the first one."""
        meter = self._cloud.fleet[number]
        meter.std_sum = register_m3
        meter.next_wake_s += later_s
        meter.take_reading(self._cloud.time.now())
