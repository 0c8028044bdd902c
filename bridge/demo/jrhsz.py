"""A house of flats with jrhsz meters, prepaid: three for electricity, two for water."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bridge.demo.clouds import Suggestion, Tell
from bridge.simulators.jrhsz import Account, JrhszCloud, Meter, Options, app
from bridge.simulators.serving import served
from bridge.simulators.simtime import RunningTime

ACCOUNT = "flats"
USERNAME = "demo_user"
PAST_S = 2 * 3600
READ_EVERY_S = 20
DELAY_S = 1.0
EMPTY_AFTER_S, PAID_AFTER_S = 20.0, 25.0


@dataclass(frozen=True, slots=True)
class Stand:
    """One meter of the house. `type_code` is one of the vendor's table: 5 and 11 are electric, 2 and 4 for water."""

    number: str
    name: str
    type_code: int


STANDS = (
    Stand("000000000101", "Flat 1", 5),
    Stand("000000000102", "Flat 2", 11),
    Stand("000000000103", "Flat 3", 5),
    Stand("000000000201", "Flat 1 water", 2),
    Stand("000000000202", "Flat 2 water", 4),
)


class JrhszFlats:
    """Implements `demo.clouds.DemoCloud`."""

    account = ACCOUNT
    vendor = "jrhsz"

    def __init__(self) -> None:
        time = RunningTime()
        now_s = int(time.now())
        self._login = Account(USERNAME, secrets.token_hex(8))
        self._cloud = JrhszCloud(
            self._login,
            [_meter(stand, now_s) for stand in STANDS],
            time=time,
            rng=random.Random(),  # noqa: S311 - faults of a simulator
        )

    def devices(self) -> Sequence[tuple[str, str]]:
        """See `DemoCloud`."""
        return [(stand.number, stand.name) for stand in STANDS]

    async def start(self, stack: AsyncExitStack, _gateway_url: str) -> str:
        """See `DemoCloud`."""
        url = await stack.enter_async_context(served(app(self._cloud)))
        names = dict(self.devices())
        entry = (
            "- id: " + ACCOUNT,
            "  vendor: jrhsz",
            f"  base_url: {url}",
            f"  username: {USERNAME}",
            f'  password: "{self._login.password}"',
            f"  devices: {json.dumps({'names': names})}",
            "  poll: 10s",
            "  inventory: 10s",
            "  records: 1m",
            "  read_back: [2s, 5s, 10s, 30s]",
        )
        return "\n".join(entry)

    def suggestions(self) -> Sequence[Suggestion]:
        """See `DemoCloud`."""
        stand = STANDS[-1]
        return (Suggestion(f"{stand.name}: close the valve", f"{ACCOUNT}/{stand.number}", "valve", "close"),)

    async def story(self, tell: Tell) -> None:
        """See `DemoCloud`: once a tenant's credit is used up, then paid for."""
        stand = STANDS[1]
        await asyncio.sleep(EMPTY_AFTER_S)
        tell(f"{stand.name}: the prepaid credit is used up, the platform cuts the supply")
        self._cloud.switch(stand.number, on=False)
        await asyncio.sleep(PAID_AFTER_S)
        tell(f"{stand.name}: the tenant paid, the supply is back")
        self._cloud.switch(stand.number, on=True)


def _meter(stand: Stand, now_s: int) -> Meter:
    """A meter that read itself once an hour so far, and more often while people look on."""
    meter = Meter(stand.number, stand.type_code, now_s - PAST_S, options=Options(delay_s=DELAY_S))
    meter.advance(now_s)
    meter.configure(read_every_s=READ_EVERY_S)
    return meter
