"""A home with iammeter meters: one phase for the guest flat, three for the house and its roof."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from bridge.demo.clouds import Suggestion, Tell
from bridge.demo.daylight import sunny_offset_hours
from bridge.simulators.iammeter import Account, IammeterCloud, Meter, Phase, Site, app
from bridge.simulators.serving import served
from bridge.simulators.simtime import RunningTime

ACCOUNT = "home"
USERNAME = "demo-user"
HOUSE, GUESTS = ("C9D0E1F2", "House"), ("A1B2C3D4", "Guest flat")
ROOF_W = 6000.0
OVEN_AFTER_S = 40.0
OVEN_W = 3600.0


class IammeterHome:
    """Implements `demo.clouds.DemoCloud`."""

    account = ACCOUNT
    vendor = "iammeter"

    def __init__(self) -> None:
        time = RunningTime()
        now_s = time.now()
        offset_min = 60 * sunny_offset_hours(datetime.fromtimestamp(now_s, UTC))
        house = (Phase("house", ROOF_W, 5), Phase("house", 0.0, 8), Phase("house", 0.0, 2))
        meters = [
            Meter(sn, name, phases, offset_min=offset_min, now_s=now_s)
            for (sn, name), phases in ((HOUSE, house), (GUESTS, (Phase("house", 0.0, 3),)))
        ]
        self._login = Account(USERNAME, secrets.token_hex(8), secrets.token_hex(16))
        self._cloud = IammeterCloud(
            self._login,
            [Site(12345, "Home", meters, offset_min)],
            time=time,
            rng=random.Random(),  # noqa: S311 - tokens of a simulator on this machine
        )

    def devices(self) -> Sequence[tuple[str, str]]:
        """See `DemoCloud`."""
        return [HOUSE, GUESTS]

    async def start(self, stack: AsyncExitStack, _gateway_url: str) -> str:
        """See `DemoCloud`."""
        url = await stack.enter_async_context(served(app(self._cloud)))
        entry = (
            "- id: " + ACCOUNT,
            "  vendor: iammeter",
            f"  base_url: {url}/api/v1",
            f'  token: "{self._login.token}"',
            f"  username: {USERNAME}",
            f'  password: "{self._login.password}"',
            "  poll: 5m  # the vendor allows no more",
        )
        return "\n".join(entry)

    def suggestions(self) -> Sequence[Suggestion]:
        """See `DemoCloud`."""
        sn, name = GUESTS
        return (
            Suggestion(f"{name}: the meter's newest sample, 12 times an hour", f"{ACCOUNT}/{sn}", "read"),
        )

    async def story(self, tell: Tell) -> None:
        """See `DemoCloud`: once somebody begins to cook."""
        sn, name = GUESTS
        await asyncio.sleep(OVEN_AFTER_S)
        tell(
            f"{name}: the oven heats; the meter tells with its next sample, within two minutes: read it then"
        )
        self._cloud.meter(sn).impose(OVEN_W, self._cloud.time.now())
