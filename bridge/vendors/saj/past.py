"""What the vendor keeps of inverters (page saj 4.12) and plants (4.7, 4.8), one request per step (7.5).

Of a plant the yields per day, month and year come first and its power curve afterwards, day by day: all of them are
complete up to the day that was read last.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from bridge.domain.account import AccountPolicy
from bridge.domain.command import Order
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import Rejection
from bridge.domain.history import HistoryStep, Period, Reach
from bridge.domain.observation import Reading
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.ports import Clock
from bridge.vendorkit.period import period_of
from bridge.vendors.saj import codec, wire
from bridge.vendors.saj.api import PER_PAGE, Request, SajApi
from bridge.vendors.saj.inventory import Inventory
from bridge.vendors.saj.notes import Notes
from bridge.vendors.saj.privacy import published
from bridge.vendors.saj.settings import REQUESTS

WINDOW_DAYS = 6
"""At most 7 days are documented; whether they count inclusively is not (8)."""

LONGEST = timedelta(days=366)
"""Of a `history` command; a backfill may ask for more."""

UNITS = ("day", "month", "year")
POWER = "power"
_USUAL_PAGES = 3
"""Of a window of an inverter that tells a record every five minutes."""

_DAY = timedelta(days=1)
VendorId = Callable[[Device], str]


@dataclass(frozen=True, slots=True)
class Past:
    """What the vendor keeps of one account's plants and inverters. Implements `ports.History`. `vendor_id` tells the
    id by which the vendor knows a device, or raises Refused."""

    api: SajApi
    inventory: Inventory
    notes: Notes
    default_zone: tzinfo
    clock: Clock
    policy: AccountPolicy
    vendor_id: VendorId

    def reach(self, device: Device) -> Reach:
        """No bound is documented."""
        zone = self._known_zone(device)

        def calls(period: Period) -> int:
            first, last = _days(period, UTC, zone)
            if device.kind is DeviceKind.SOLAR_PLANT:
                return (last - first).days + 1 + len(_units(period, zone, self.clock.now()))
            return _USUAL_PAGES * sum(1 for _ in windows(first, last))

        return Reach(None, calls, {REQUESTS: 1.0})

    def period(self, order: Order) -> Period:
        """As the port says."""
        if order.device is None:
            raise Rejection("unknown_device", "history is a command of a plant or an inverter")
        zone = self._known_zone(order.device)
        start, end = order.params.moments(zone)
        return period_of(start, end, self.clock.now(), longest=LONGEST)

    def first(self, device: Device, period: Period) -> Request:
        """The first request."""
        zone = self._known_zone(device)
        if device.kind is DeviceKind.SOLAR_PLANT:
            units = _units(period, zone, self.clock.now())
            if not units:
                day = _days(period, UTC)[0]
                return Request("plant/power", {"plant_id": device.native_id, "date": day.isoformat()})
            first, last = _days(period, zone)
            days = {"start_date": first.isoformat(), "end_date": last.isoformat(), "time_unit": units[0]}
            pages = {"page": "1", "perpage": str(PER_PAGE)}
            return Request("plant/energy", {"plant_id": device.native_id, **days, **pages})
        first, last = next(windows(*_days(period, UTC, zone)))
        days = {"start_date": first.isoformat(), "end_date": last.isoformat()}
        return Request(
            "device/inverter/data", {"device_id": self.vendor_id(device), **days, "perpage": "1000"}
        )

    async def read(self, device: Device, period: Period, cursor: Json) -> AsyncIterator[HistoryStep]:
        """As the port says."""
        is_plant = device.kind is DeviceKind.SOLAR_PLANT
        zone = await self.inventory.zone(device.native_id if is_plant else device.parent)
        reading = self._plant if is_plant else self._inverter
        async for step in reading(device, period, zone, cursor or {}):
            yield step

    async def _inverter(
        self, device: Device, period: Period, zone: tzinfo, cursor: dict[str, Any]
    ) -> AsyncIterator[HistoryStep]:
        """`cursor`: {"day": first day of the window, "start_id": of its next page, "done": calls made}."""
        device_id = self.vendor_id(device)
        first, last = _days(period, UTC, zone)
        if "day" in cursor:
            first = date.fromisoformat(cursor["day"])
        start_id, done, pages, page = cursor.get("start_id"), int(cursor.get("done", 0)), _USUAL_PAGES, 0
        spans = list(windows(first, last)) if first <= last and not cursor.get("end") else []
        while spans:
            since, until = spans[0]
            told = await self.api.inverter_history(device_id, since, until, start_id, Lane.HISTORY)
            done, page = done + 1, page + 1
            following = codec.next_cursor(told.data)
            ended = (
                following in (None, start_id) or not wire.rows(told.data, "datas") or page >= wire.MAX_PAGES
            )
            complete: datetime | None = None
            start_id = following
            if ended:
                spans, start_id, pages, page = spans[1:], None, page, 0
                complete = _end_of(until, UTC, zone) if spans else period.end
            day = spans[0][0] if spans else until
            shown = published(told.data, self.policy)
            records = codec.inverter_records(device.native_id, shown, UTC, told.received_at)
            yield HistoryStep(
                _within(period, records),
                {"day": day.isoformat(), "start_id": start_id, "done": done, "end": not spans},
                complete,
                done,
                done + max(0, len(spans) * pages - page),
            )

    async def _plant(
        self, device: Device, period: Period, zone: tzinfo, cursor: dict[str, Any]
    ) -> AsyncIterator[HistoryStep]:
        """`cursor`: {"unit": that of the next yields, or "power", "page": of them, "day": of the next power curve,
        "done": calls made}."""
        plant, done = device.native_id, int(cursor.get("done", 0))
        first, last = _days(period, UTC)
        units = _units(period, zone, self.clock.now())
        unit = cursor.get("unit")
        left = list(units if unit is None else units[units.index(unit) :] if unit in units else ())
        day = date.fromisoformat(cursor["day"]) if "day" in cursor else first
        number, before = int(cursor.get("page", 1)), None
        while left:
            told = await self.api.plant_energy(plant, *_days(period, zone), left[0], number, Lane.HISTORY)
            done += 1
            page = wire.page_of(told.data, "energys")
            found = codec.energy_records(plant, page.rows, left[0], zone, told.received_at)
            seen = (
                _over(_within(period, found), left[0], zone, self.clock.now()) if page.rows != before else []
            )
            ended = page.is_last(number, PER_PAGE) or page.rows == before
            number, before = (1, None) if ended else (number + 1, page.rows)
            left = left[1:] if ended else left
            place = {"unit": left[0] if left else POWER, "page": number, "day": day.isoformat(), "done": done}
            yield HistoryStep(seen, place, None, done, done + len(left) + (last - day).days + 1)
        while day <= last:
            told = await self.api.plant_power(plant, day, Lane.HISTORY)
            done += 1
            found = codec.power_records(plant, told.data, zone, told.received_at)
            day += _DAY
            place = {"unit": POWER, "page": 1, "day": day.isoformat(), "done": done}
            complete = _end_of(day - _DAY, UTC) if day <= last else period.end
            yield HistoryStep(_within(period, found), place, complete, done, done + (last - day).days + 1)

    def _known_zone(self, device: Device) -> tzinfo:
        plant_id = device.native_id if device.kind is DeviceKind.SOLAR_PLANT else device.parent or ""
        return self.notes.zones.get(plant_id, self.default_zone)


def windows(first: date, last: date) -> Iterator[tuple[date, date]]:
    """First and last days of the calls that cover a span: each begins with the day that the one before ends with,
    as the zone of the dates is not documented (8)."""
    while True:
        end = min(last, first + timedelta(days=WINDOW_DAYS))
        yield first, end
        if end >= last:
            return
        first = end


def _days(period: Period, *zones: tzinfo) -> tuple[date, date]:
    """First and last day of a period, the widest in these zones."""
    last = period.end - timedelta(milliseconds=1)
    return (
        min(period.start.astimezone(zone).date() for zone in zones),
        max(last.astimezone(zone).date() for zone in zones),
    )


def _end_of(day: date, *zones: tzinfo) -> datetime:
    """Where a day ends, the earliest in these zones."""
    following = day + _DAY
    return min(
        datetime(following.year, following.month, following.day, tzinfo=zone).astimezone(UTC)
        for zone in zones
    )


def _within(period: Period, readings: Sequence[Reading]) -> list[Reading]:
    return [
        one
        for one in readings
        if one.observed_at is not None and period.start <= one.observed_at < period.end
    ]


def _over(readings: Sequence[Reading], unit: str, zone: tzinfo, now: datetime) -> list[Reading]:
    """The yields of the buckets that are over: those of the others still grow."""
    return [
        one
        for one in readings
        if one.observed_at is not None and _bucket_end(one.observed_at, unit, zone) <= now
    ]


def _units(period: Period, zone: tzinfo, now: datetime) -> list[str]:
    """The units of which at least one bucket began in the period and is over."""
    return [
        unit
        for unit in UNITS
        if (began := _first_bucket(period.start, unit, zone)) < period.end
        and _bucket_end(began, unit, zone) <= now
    ]


def _first_bucket(since: datetime, unit: str, zone: tzinfo) -> datetime:
    """The start of the first bucket that does not begin before `since`."""
    began = _bucket_start(since.astimezone(zone).date(), unit, zone)
    return began if began >= since else _bucket_end(began, unit, zone)


def _bucket_end(began: datetime, unit: str, zone: tzinfo) -> datetime:
    longest = {"day": 1, "month": 31, "year": 366}[unit]
    inside = began.astimezone(zone).date() + timedelta(days=longest)
    return _bucket_start(inside, unit, zone)


def _bucket_start(day: date, unit: str, zone: tzinfo) -> datetime:
    month = day.month if unit != "year" else 1
    return datetime(day.year, month, day.day if unit == "day" else 1, tzinfo=zone).astimezone(UTC)
