"""The past of meters (page iammeter 4.5, else 4.4) and sites (4.10), one request per step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any

from bridge.domain.command import Order
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import Refused, Rejection
from bridge.domain.history import HistoryStep, Period, Reach
from bridge.domain.observation import Observation, Origin
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.vendorkit.period import period_of
from bridge.vendorkit.spec import Kit
from bridge.vendors.iammeter import codec, history, requests
from bridge.vendors.iammeter.api import IammeterApi
from bridge.vendors.iammeter.codec import Sample
from bridge.vendors.iammeter.faults import WrongShape
from bridge.vendors.iammeter.latest import Latest
from bridge.vendors.iammeter.params import LATEST_MONTH, UNSURE, moment
from bridge.vendors.iammeter.polling import bucket_reading
from bridge.vendors.iammeter.requests import Ask, Days
from bridge.vendors.iammeter.settings import DAY_S, ENERGY_HISTORY, HISTORY, IammeterSettings
from bridge.vendors.iammeter.zones import Zones

USUAL_INTERVAL_S = 300
_DAY = timedelta(days=1)


@dataclass(slots=True)
class Past:
    """What the cloud keeps of one account's meters and sites. Implements `ports.History`."""

    api: IammeterApi
    latest: Latest
    zones: Zones
    settings: IammeterSettings
    kit: Kit

    def reach(self, device: Device) -> Reach | None:
        """The latest month of a meter; of a site the vendor names no bound."""
        is_site = device.kind is DeviceKind.SOLAR_PLANT
        return Reach(
            None if is_site else LATEST_MONTH,
            lambda period: len(_windows(device, period, self._known_zone(device) or UTC)),
            {ENERGY_HISTORY if is_site else HISTORY: 1.0},
            interval_s=None if is_site else USUAL_INTERVAL_S,
        )

    def period(self, order: Order) -> Period:
        """As the port says. While the site's zone is not known, a day more is let through."""
        device = order.device
        if device is None:
            raise Rejection("unknown_device", "history is a command of a meter or a site")
        zone = self._known_zone(device)
        slack = timedelta() if zone is not None else UNSURE
        back = None if device.kind is DeviceKind.SOLAR_PLANT else LATEST_MONTH
        start = moment("start", order.params.start, zone or UTC)
        end = moment("end", order.params.end, zone or UTC, is_end=True)
        now = self.kit.clock.now()
        if start > now:
            start = max(now, start - slack)
        return period_of(start, end, now, interval_s=order.params.interval_s, back=back, slack=_DAY + slack)

    def first(self, device: Device, period: Period) -> tuple[Ask, int]:
        """The first request, and how many there will be."""
        windows = _windows(device, period, self._known_zone(device) or UTC)
        if device.kind is DeviceKind.SOLAR_PLANT:
            return requests.energy_history(device.native_id, windows[0], grouping_of(period)), len(windows)
        ask = requests.history(device.native_id, windows[0], _interval_s(period), advanced=True)
        return ask, len(windows)

    def read(self, device: Device, period: Period, cursor: Json) -> AsyncIterator[HistoryStep]:
        """As the port says. `cursor`: {"next": first day that is missing, "done": calls made}."""
        return self._read(device, period, cursor or {})

    async def _read(
        self, device: Device, period: Period, cursor: dict[str, Any]
    ) -> AsyncIterator[HistoryStep]:
        zone = await self._zone(device)
        windows = _windows(device, period, zone)
        first = date.fromisoformat(cursor["next"]) if "next" in cursor else date.min
        if device.kind is not DeviceKind.SOLAR_PLANT:
            # what was within the latest month when it was asked for may have left it while it waited
            first = max(first, self._oldest(zone))
        windows = [(max(since, first), until) for since, until in windows if until >= first]
        done = int(cursor.get("done", 0))
        if cursor.get("basic"):
            self.latest.notes.only_basic(HISTORY, device.native_id)
        for number, days in enumerate(windows, start=1):
            left = len(windows) - number
            async for found, calls in self._window(device, period, days, zone):
                done += calls
                if found is None:
                    again = {"next": days[0].isoformat(), "done": done, "basic": True}
                    yield HistoryStep((), again, done=done, total=done + left + 1)
                    continue
                following = days[1] + _DAY
                yield HistoryStep(
                    found,
                    {"next": following.isoformat(), "done": done},
                    complete_until=min(period.end, _midnight(following, zone)) if left else period.end,
                    done=done,
                    total=done + left,
                )

    async def _window(
        self, device: Device, period: Period, days: Days, zone: tzinfo
    ) -> AsyncIterator[tuple[Sequence[Observation] | None, int]]:
        """The records of some days and the requests they took; before them None where one was spent on learning
        that 4.5 is no use."""
        if device.kind is DeviceKind.SOLAR_PLANT:
            yield await self._balance(device, period, days, zone), 1
            return
        samples: tuple[list[Sample], datetime] | None = None
        if not self.latest.notes.is_only_basic(HISTORY, device.native_id):
            samples = await self._advanced(device, period, days)
            if samples is None:
                yield None, 1
        found, at = samples if samples is not None else await self._basic(device, period, days)
        oldest = self._oldest(zone)
        beside = [day for day in _days_beside(found, period, days, zone) if day >= oldest]
        for day in beside:
            more = await self._advanced(device, period, (day, day)) if samples is not None else None
            found = found + (more or await self._basic(device, period, (day, day)))[0]
        yield (
            [
                one
                for sample in found
                if sample.observed_at is not None and period.start <= sample.observed_at < period.end
                for one in codec.reading(device.native_id, sample, at, Origin.BACKFILL, self.kit.policy)
            ],
            1 + len(beside),
        )

    async def _advanced(
        self, device: Device, period: Period, days: Days
    ) -> tuple[list[Sample], datetime] | None:
        ask = requests.history(device.native_id, days, _interval_s(period), advanced=True)
        try:
            told = await self.api.get(ask, Lane.HISTORY)
            return history.advanced(told.data), told.received_at
        except WrongShape:
            self.latest.notes.only_basic(HISTORY, device.native_id)
            return None

    async def _basic(self, device: Device, period: Period, days: Days) -> tuple[list[Sample], datetime]:
        ask = requests.history(device.native_id, days, _interval_s(period), advanced=False)
        told = await self.api.get(ask, Lane.HISTORY)
        offset_min = self.zones.offset_min(device)
        return history.basic(told.data, offset_min, self.settings.history_time_order), told.received_at

    async def _balance(
        self, device: Device, period: Period, days: Days, zone: tzinfo
    ) -> Sequence[Observation]:
        """Buckets of a site that lie within the period as a whole."""
        grouping = grouping_of(period)
        ask = requests.energy_history(device.native_id, days, grouping)
        told = await self.api.get(ask, Lane.HISTORY)
        return [
            bucket_reading(device.native_id, bucket, told.received_at, self.kit.policy)
            for bucket in history.balance(told.data, zone)
            if period.start <= bucket.start and bucket.start + history.LENGTH[grouping] <= period.end
        ]

    def _oldest(self, zone: tzinfo) -> date:
        return (self.kit.clock.now() - LATEST_MONTH).astimezone(zone).date()

    def _known_zone(self, device: Device) -> tzinfo | None:
        is_site = device.kind is DeviceKind.SOLAR_PLANT
        return self.zones.of_site(device.native_id) if is_site else self.zones.of_meter(device)

    async def _zone(self, device: Device) -> tzinfo:
        """The site's time zone, by a look at the meter's latest sample where nothing else told it."""
        zone = self._known_zone(device)
        if zone is None and device.kind is not DeviceKind.SOLAR_PLANT:
            await self.latest.read(device.native_id, Lane.HISTORY)
            zone = self._known_zone(device)
        if zone is None:
            raise no_zone()
        return zone


def no_zone() -> Refused:
    """Days cannot be told without it."""
    return Refused("the site's time zone is not known yet: give the account a `timezone`", code="unsupported")


def grouping_of(period: Period) -> history.Grouping:
    """Days where days are asked for, else hours."""
    return "day" if period.interval_s == int(DAY_S) else "hour"


def _interval_s(period: Period) -> int:
    return period.interval_s or USUAL_INTERVAL_S


def _windows(device: Device, period: Period, zone: tzinfo) -> list[Days]:
    """The days of the requests that cover the period, as the site counts them."""
    is_site = device.kind is DeviceKind.SOLAR_PLANT
    longest = (
        history.LONGEST_DAYS[grouping_of(period)] if is_site else history.whole_days(_interval_s(period))
    )
    last = period.end - timedelta(milliseconds=1)
    return history.chunks(period.start.astimezone(zone).date(), last.astimezone(zone).date(), longest)


def _days_beside(found: Sequence[Sample], period: Period, days: Days, zone: tzinfo) -> list[date]:
    """The days before and after these into which the period reaches, as the records' own offsets show.

    Without a named zone the offset is that of today, and the clocks may have been changed since."""
    shown = sorted(
        (sample.observed_at, sample.utc_offset_min)
        for sample in found
        if sample.observed_at is not None and sample.utc_offset_min is not None
    )
    if not shown:
        return []
    first, last = (timezone(timedelta(minutes=minutes)) for _, minutes in (shown[0], shown[-1]))
    ends = period.end - timedelta(milliseconds=1)
    beside = []
    if days[0] == period.start.astimezone(zone).date() > period.start.astimezone(first).date():
        beside.append(days[0] - _DAY)
    if days[1] == ends.astimezone(zone).date() < ends.astimezone(last).date():
        beside.append(days[1] + _DAY)
    return beside


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
