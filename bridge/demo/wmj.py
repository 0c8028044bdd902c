"""A shop with wmj breakers: loads that change as in a working day, and once a breaker that trips."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bridge.demo.clouds import Suggestion, Tell
from bridge.simulators.serving import served
from bridge.simulators.simtime import RunningTime
from bridge.simulators.wmj import Account, WmjCloud, app

ACCOUNT = "shop"
APP_ID = "0" * 32
NAMES = ("Workshop", "Cold store", "Bakery oven", "Office")
USUAL_W = (900, 350, 2100, 420)
TRIP_AFTER_S = 15.0
TRIP_W = 9900
BACK_AFTER_S = 12.0
LOAD_EVERY_S = 2.0
REPORT_EVERY_S = 20.0
QUICK_POLL_S, SLOW_POLL_S = 4, 8
"""Not 5 s: after that the simulator's server hangs up, and a call that leaves at that moment gets no answer."""
MOST_CALLS_PER_S = 2
"""How often the gateway may ask this cloud in all, so that the vendor's own limit stays far away."""


@dataclass(frozen=True, slots=True)
class Stand:
    """One breaker of the shop."""

    serial: str
    name: str
    usual_w: int


class WmjShop:
    """Implements `demo.clouds.DemoCloud`."""

    account = ACCOUNT
    vendor = "wmj"

    def __init__(self, count: int) -> None:
        self._stands = tuple(_stand(number) for number in range(count))
        self._rng = random.Random()  # noqa: S311 - believable loads, no secrets
        self._secret = secrets.token_hex(16)
        self._cloud = WmjCloud(
            Account(APP_ID, self._secret),
            [stand.serial for stand in self._stands],
            time=RunningTime(),
            rng=self._rng,
            retry=True,
        )
        self._overloaded: set[str] = set()

    def devices(self) -> Sequence[tuple[str, str]]:
        """See `DemoCloud`."""
        return [(stand.serial, stand.name) for stand in self._stands]

    async def start(self, stack: AsyncExitStack, gateway_url: str) -> str:
        """See `DemoCloud`."""
        push_secret = secrets.token_hex(16)
        url = await stack.enter_async_context(served(app(self._cloud)))
        self._cloud.deliveries.url = f"{gateway_url}/push/{ACCOUNT}/{push_secret}"
        names = {stand.serial: stand.name for stand in self._stands}
        poll_s = -(-len(self._stands) // MOST_CALLS_PER_S)
        poll_s = QUICK_POLL_S if poll_s <= QUICK_POLL_S else max(SLOW_POLL_S, poll_s)
        entry = (
            "- id: " + ACCOUNT,
            "  vendor: wmj",
            f"  base_url: {url}/deviceApi",
            f'  app_id: "{APP_ID}"',
            f'  app_secret: "{self._secret}"',
            f"  devices: {json.dumps({'include': list(names), 'names': names}, ensure_ascii=False)}",
            f"  poll: {poll_s}s",
            "  read_back: [2s, 5s, 10s]",
            f'  push: {{secret: "{push_secret}"}}',
        )
        return "\n".join(entry)

    def suggestions(self) -> Sequence[Suggestion]:
        """See `DemoCloud`."""
        first = f"{ACCOUNT}/{self._stands[0].serial}"
        last = f"{ACCOUNT}/{self._stands[-1].serial}"
        name, other = self._stands[0].name, self._stands[-1].name
        return (
            Suggestion(f"switch the {name} off", first, "breaker", "off"),
            Suggestion("and on again", first, "breaker", "on"),
            Suggestion(f"{other}: off, and on again after 5 seconds", last, "pulse_off", {"delay_s": 5}),
            Suggestion(
                "what the vendor would be sent",
                last,
                "set_protection",
                {"overheat_c": 70, "dry_run": True},
            ),
        )

    async def story(self, tell: Tell) -> None:
        """See `DemoCloud`: the loads wander; once the first breaker trips and comes back."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wander(), name="demo-loads")
            group.create_task(self._report(), name="demo-reports")
            group.create_task(self._trip(tell), name="demo-trip")

    async def _wander(self) -> None:
        while True:
            for stand in self._stands:
                if stand.serial not in self._overloaded:
                    self._cloud.set_load(stand.serial, round(stand.usual_w * self._rng.uniform(0.7, 1.3), 1))
            await asyncio.sleep(LOAD_EVERY_S)

    async def _report(self) -> None:
        """The breakers report by themselves, one after the other."""
        for stand in self._stands:
            self._cloud.configure(stand.serial, report_every_s=REPORT_EVERY_S)
            await asyncio.sleep(REPORT_EVERY_S / len(self._stands))

    async def _trip(self, tell: Tell) -> None:
        stand = self._stands[0]
        await asyncio.sleep(TRIP_AFTER_S)
        tell(f"{stand.name}: somebody switches on too much; above 40 A the breaker trips by itself")
        self._overloaded.add(stand.serial)
        self._cloud.set_load(stand.serial, TRIP_W)
        await asyncio.sleep(BACK_AFTER_S)
        tell(f"{stand.name}: the fault is found, the breaker is switched on again on the spot")
        self._overloaded.discard(stand.serial)
        self._cloud.set_load(stand.serial, stand.usual_w)
        self._cloud.hold_by_schedule(stand.serial, on=True)
        self._cloud.release(stand.serial)


def _stand(number: int) -> Stand:
    """W71 are Wi-Fi breakers, W72 cellular ones; every fourth is one of these."""
    model = "W72" if number % 4 == 3 else "W71"
    round_, at = divmod(number, len(NAMES))
    name = NAMES[at] + (f" {round_ + 1}" if round_ else "")
    return Stand(f"{model}E{number + 1:07d}", name, USUAL_W[at])
