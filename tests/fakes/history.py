"""A past that a test makes up: one record a minute, some minutes per call, and what each call costs and becomes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.domain.command import Order
from bridge.domain.device import Device
from bridge.domain.errors import Rejection, VendorError
from bridge.domain.history import HistoryStep, Period, Reach
from bridge.domain.observation import Origin, Reading
from bridge.domain.text import Json
from bridge.domain.times import from_unix_ms, parse_rfc3339, unix_ms
from bridge.ports import Clock

MINUTE = timedelta(minutes=1)


@dataclass
class FakePast:
    """Implements `ports.History`. `calls` is the ledger: device and first minute of every call that was answered.
    `troubles` are raised by the next calls; `backwards`: the halves of a window come in two calls, the later first."""

    clock: Clock
    call_s: float = 1.0
    window: timedelta = timedelta(minutes=10)
    back: timedelta | None = None
    backwards: bool = False
    calls: list[tuple[str, datetime]] = field(default_factory=list)
    begun: list[tuple[str, datetime]] = field(default_factory=list)
    troubles: dict[str, deque[Exception]] = field(default_factory=dict)
    without: set[str] = field(default_factory=set)
    empty: bool = False

    def trouble(self, device: str, *errors: VendorError | Rejection) -> None:
        self.troubles.setdefault(device, deque()).extend(errors)

    def reach(self, device: Device) -> Reach | None:
        if device.native_id in self.without:
            return None
        return Reach(
            self.back, lambda period: -(-(period.end - period.start) // self.window), {"past": 1.0}, 60
        )

    def period(self, order: Order) -> Period:
        start, end = parse_rfc3339(order.params.start), parse_rfc3339(order.params.end)
        if end <= start:
            raise Rejection("invalid_params", "end: expected a time after start")
        return Period(start, end, order.params.interval_s)

    async def read(self, device: Device, period: Period, cursor: Json) -> AsyncIterator[HistoryStep]:
        since = from_unix_ms(cursor["next_ms"]) if cursor else period.start
        done, part = (cursor["done"], cursor["part"]) if cursor else (0, 0)
        while since < period.end:
            until = min(period.end, since + self.window)
            parts = self._parts(since, until)
            while part < len(parts):
                first, last, complete = parts[part]
                await self._call(device, first)
                done, part = done + 1, part + 1
                left = -(-(period.end - until) // self.window)
                place = {"next_ms": unix_ms(since), "part": part, "done": done}
                yield HistoryStep(self._readings(device, first, last), place, complete, done, done + left)
            since, part = until, 0

    def _parts(self, since: datetime, until: datetime) -> list[tuple[datetime, datetime, datetime | None]]:
        if not self.backwards:
            return [(since, until, until)]
        middle = since + (until - since) / 2
        return [(middle, until, None), (since, middle, until)]

    async def _call(self, device: Device, first: datetime) -> None:
        self.begun.append((device.native_id, first))
        await self.clock.sleep(self.call_s)
        if waiting := self.troubles.get(device.native_id):
            raise waiting.popleft()
        self.calls.append((device.native_id, first))

    def _readings(self, device: Device, first: datetime, last: datetime) -> Sequence[Reading]:
        if self.empty:
            return []
        count = -(-(last - first) // MINUTE)
        found = [
            Reading(
                device.native_id,
                self.clock.now(),
                Origin.BACKFILL,
                {"voltage": 200 + int((first + number * MINUTE).timestamp() // 60) % 60},
                observed_at=first + number * MINUTE,
            )
            for number in range(count)
        ]
        return found[::-1] if self.backwards else found
