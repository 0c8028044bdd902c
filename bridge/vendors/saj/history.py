"""Past records by command: inverters from 4.12, plants from 4.8 and 4.7 (page saj 7.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import Rejection
from bridge.domain.observation import Reading
from bridge.domain.text import Json
from bridge.domain.times import unix_ms
from bridge.pace.limits import Lane
from bridge.ports import Clock
from bridge.vendors.saj import codec, wire
from bridge.vendors.saj.api import PER_PAGE, SajApi
from bridge.vendors.saj.inventory import Inventory
from bridge.vendors.saj.params import moment

WINDOW_DAYS = 6
"""At most 7 days are documented; whether they count inclusively is not (8)."""

LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` until just before `end`, aware UTC."""

    start: datetime
    end: datetime

    def holds(self, reading: Reading) -> bool:
        """Whether the record was measured in it."""
        return reading.observed_at is not None and self.start <= reading.observed_at < self.end

    def days(self, *zones: tzinfo) -> tuple[date, date]:
        """Its first and last day, the widest in these zones."""
        last = self.end - timedelta(milliseconds=1)
        return (
            min(self.start.astimezone(zone).date() for zone in zones),
            max(last.astimezone(zone).date() for zone in zones),
        )


def span_of(params: Any, zone: tzinfo, now: datetime | None) -> Span:
    """The span that the parameters name, without what lies after `now`. Raises Rejection."""
    start, end = moment(params.start, zone), moment(params.end, zone)
    if end <= start:
        raise Rejection("invalid_params", "end: expected a time after start")
    if end - start > LONGEST:
        raise Rejection("invalid_params", f"expected at most {LONGEST.days} days at once")
    return Span(start, end if now is None else min(end, now + timedelta(milliseconds=1)))


def windows(first: date, last: date) -> Iterator[tuple[date, date]]:
    """First and last days of the calls that cover a span: each begins with the day that the one before ends with,
    as the zone of the dates is not documented (8)."""
    while True:
        end = min(last, first + timedelta(days=WINDOW_DAYS))
        yield first, end
        if end >= last:
            return
        first = end


@dataclass(slots=True)
class Historian:
    """Reads what the vendor keeps, patiently: it waits for the budget as long as it takes."""

    api: SajApi
    inventory: Inventory
    clock: Clock

    async def run(self, order: Order, device: Device, device_id: str) -> Outcome:
        """All records of the span, oldest first. Raises VendorError, Rejection."""
        is_plant = device.kind is DeviceKind.SOLAR_PLANT
        zone = await self.inventory.zone(device.native_id if is_plant else device.parent)
        span = span_of(order.params, zone, self.clock.now())
        found: list[Reading] = []
        if span.end > span.start:
            if is_plant:
                found = [
                    *await self._power(device.native_id, span, zone),
                    *await self._energy(device.native_id, span, zone),
                ]
            else:
                found = await self._inverter(device.native_id, device_id, span, zone)
        records = sorted(_once_each(found), key=lambda reading: reading.observed_at or reading.received_at)
        return Outcome(Status.SUCCEEDED, result={"records": len(records)}, observations=records)

    async def _inverter(self, key: str, device_id: str, span: Span, zone: tzinfo) -> list[Reading]:
        found: list[Reading] = []
        for first, last in windows(*span.days(UTC, zone)):
            cursor: str | None = None
            for _page in range(wire.MAX_PAGES):
                told = await self.api.inverter_history(device_id, first, last, cursor, Lane.HISTORY)
                page = codec.inverter_records(key, told.data, UTC, told.received_at)
                found += filter(span.holds, page)
                following = codec.next_cursor(told.data)
                if following in (None, cursor) or not wire.rows(told.data, "datas"):
                    break
                cursor = following
        return found

    async def _power(self, key: str, span: Span, zone: tzinfo) -> list[Reading]:
        first, last = span.days(UTC)
        found: list[Reading] = []
        for number in range((last - first).days + 1):
            told = await self.api.plant_power(key, first + timedelta(days=number), Lane.HISTORY)
            found += filter(span.holds, codec.power_records(key, told.data, zone, told.received_at))
        return found

    async def _energy(self, key: str, span: Span, zone: tzinfo) -> list[Reading]:
        """The yields of the days that began in the span and are over."""
        first, last = span.days(zone)
        today = self.clock.now().astimezone(zone).date()
        last = min(last, today - timedelta(days=1))
        if last < first:
            return []
        found: list[Reading] = []
        before: Json = None
        for number in range(1, wire.MAX_PAGES + 1):
            told = await self.api.plant_energy(key, first, last, number, Lane.HISTORY)
            page = wire.page_of(told.data, "energys")
            records = codec.energy_records(key, page.rows, "day", zone, told.received_at)
            found += filter(span.holds, records)
            if page.is_last(number, PER_PAGE) or page.rows == before:
                break
            before = page.rows
        return found


def _once_each(found: Sequence[Reading]) -> list[Reading]:
    """One record per time and kind: windows overlap by a day."""
    unique: dict[tuple[int, bool], Reading] = {}
    for reading in found:
        at_ms = unix_ms(reading.observed_at or reading.received_at)
        unique.setdefault((at_ms, "yield_interval" in reading.metrics), reading)
    return list(unique.values())
