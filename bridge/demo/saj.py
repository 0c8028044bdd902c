"""A saj plant with two inverters, somewhere where the sun shines now."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from bridge.demo.clouds import Suggestion, Tell
from bridge.demo.daylight import sunny_offset_hours
from bridge.simulators.saj import Application, SajCloud, app, demo_fleet
from bridge.simulators.serving import served
from bridge.simulators.simtime import RunningTime

ACCOUNT = "roof"
APP_ID = "15000"
PLANT_NAME = "Barn roof"
INVERTER_NAMES = ("East side", "West side")
AGE = timedelta(days=30)
"""Not older: the simulator sums up every day of the plant's life for its first answer."""

ALARM = "bit1"
ALARM_TEXT = "grid voltage high"
ALARM_SINCE_S = 600.0
ALARM_ENDS_AFTER_S = 30.0


class SajRoof:
    """Implements `demo.clouds.DemoCloud`."""

    account = ACCOUNT
    vendor = "saj"

    def __init__(self) -> None:
        time, rng = RunningTime(), random.Random()  # noqa: S311 - weather, and tokens of a simulator
        now = datetime.fromtimestamp(time.now(), UTC)
        fleet = demo_fleet(time.now(), plants=1, offset_hours=sunny_offset_hours(now), rng=rng)
        (self._plant,) = fleet.plants.values()
        self._plant.name = PLANT_NAME
        self._plant.born = (now - AGE).astimezone(self._plant.zone).date()
        self._application = Application(APP_ID, secrets.token_hex(16))
        self._cloud = SajCloud(self._application, fleet, time=time, rng=rng)
        self._cloud.raise_alarm(self._east, ALARM, ALARM_TEXT, started_s=time.now() - ALARM_SINCE_S)

    @property
    def _east(self) -> str:
        return self._plant.inverters[0].sn

    def devices(self) -> Sequence[tuple[str, str]]:
        """See `DemoCloud`."""
        serials = (inverter.sn for inverter in self._plant.inverters)
        return [(str(self._plant.id), PLANT_NAME), *zip(serials, INVERTER_NAMES, strict=True)]

    async def start(self, stack: AsyncExitStack, _gateway_url: str) -> str:
        """See `DemoCloud`. The polls stay within the gateway's own limits for this vendor, 200 calls an hour."""
        url = await stack.enter_async_context(served(app(self._cloud)))
        entry = (
            "- id: " + ACCOUNT,
            "  vendor: saj",
            f"  base_url: {url}",
            f'  app_id: "{APP_ID}"',
            f'  app_key: "{self._application.app_key}"',
            f"  devices: {json.dumps({'names': dict(self.devices())})}",
            "  poll: 3m",
            "  plant_poll: 5m",
            "  alarm_poll: 1m",
        )
        return "\n".join(entry)

    def suggestions(self) -> Sequence[Suggestion]:
        """See `DemoCloud`."""
        target = f"{ACCOUNT}/{self._plant.id}"
        return (Suggestion(f"what the {PLANT_NAME} yields now", target, "read"),)

    async def story(self, tell: Tell) -> None:
        """See `DemoCloud`: the alarm that is there at the beginning ends."""
        await asyncio.sleep(ALARM_ENDS_AFTER_S)
        tell(f"{PLANT_NAME}: the {ALARM_TEXT} alarm is over; the vendor's list says so, read once a minute")
        self._cloud.end_alarm(self._east, ALARM)
