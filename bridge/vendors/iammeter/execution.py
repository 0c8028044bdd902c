"""Carrying out commands (page iammeter 7.3). Nothing here changes anything at the vendor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import RateLimited, Refused
from bridge.domain.observation import Described, Event, Observation, Origin, Reading
from bridge.pace.limits import Lane
from bridge.vendorkit.spec import Kit
from bridge.vendors.iammeter import analysis, codec, history, requests
from bridge.vendors.iammeter.api import IammeterApi
from bridge.vendors.iammeter.codec import Sample
from bridge.vendors.iammeter.faults import WrongShape
from bridge.vendors.iammeter.inventory import Inventory
from bridge.vendors.iammeter.latest import Latest
from bridge.vendors.iammeter.params import LATEST_MONTH, LONGEST_BALANCE, analysis_days, history_span
from bridge.vendors.iammeter.polling import bucket_reading
from bridge.vendors.iammeter.requests import Days
from bridge.vendors.iammeter.settings import IammeterSettings
from bridge.vendors.iammeter.zones import Zones

DAY_INTERVAL_S = 86400


@dataclass(slots=True)
class Execution:
    """The commands of one account."""

    api: IammeterApi
    latest: Latest
    inventory: Inventory
    zones: Zones
    settings: IammeterSettings
    kit: Kit
    _logged: set[str] = field(default_factory=set)
    _only_basic: set[str] = field(default_factory=set)

    async def run(self, order: Order) -> Outcome:
        """As `VendorAdapter.execute`. May raise Rejection where only the site's time zone tells that a range is out
        of bounds."""
        if order.device is None:
            return await self._refresh_inventory()
        actions: Mapping[str, Callable[[Order, Device], Awaitable[Outcome]]] = {
            "read": self._read,
            "history": self._history,
            "power_analysis": self._power_analysis,
            "offline_analysis": self._offline_analysis,
        }
        return await actions[order.spec.name](order, order.device)

    async def _refresh_inventory(self) -> Outcome:
        found = await self.inventory.read(Lane.COMMAND)
        mine = [device for device in found if self.kit.policy.exposes(device.native_id)]
        return Outcome(
            Status.SUCCEEDED,
            result={"devices": len(mine)},
            observations=[Described(device) for device in mine],
        )

    async def _read(self, _order: Order, device: Device) -> Outcome:
        sn, policy = device.native_id, self.kit.policy
        self.api.refuse_waiting(self.latest.ask(sn), Lane.READ)
        sample, at = await self.latest.read(sn, Lane.READ)
        seen = codec.observed(sn, sample, at, Origin.COMMAND, policy, self.settings.stale_after)
        if not sample.measured.metrics:
            return Outcome(
                Status.FAILED, "device_offline", "the cloud has no data of this meter yet", observations=seen
            )
        return Outcome(Status.SUCCEEDED, observations=seen)

    async def _power_analysis(self, order: Order, device: Device) -> Outcome:
        zone = await self._zone(device) if order.params.needs_zone else self.zones.of_meter(device)
        slack = timedelta() if zone is not None else timedelta(days=1)
        days = analysis_days(order.params, zone or UTC, self.kit.clock.now(), slack=slack)
        ask = requests.power_analysis(device.native_id, days)
        self.api.refuse_waiting(ask, Lane.COMMAND)
        told = await self.api.get(ask, Lane.COMMAND)
        found = analysis.power_analysis(told.data)
        self._log_unknown(ask.operation, found.unknown)
        return Outcome(Status.SUCCEEDED, result=_echo(days) | found.result)

    async def _offline_analysis(self, order: Order, device: Device) -> Outcome:
        zone = await self._zone(device)
        days = analysis_days(order.params, zone, self.kit.clock.now())
        ask = requests.offline_analysis(device.native_id, days, order.params.interval_min)
        self.api.refuse_waiting(ask, Lane.COMMAND)
        told = await self.api.get(ask, Lane.COMMAND)
        found = analysis.offline_analysis(told.data, zone)
        self._log_unknown(ask.operation, found.unknown)
        gaps = [
            Event(
                device.native_id,
                "offline_gap",
                told.received_at,
                Origin.COMMAND,
                happened_at=gap.start,
                data=gap.as_json(),
            )
            for gap in found.gaps
        ]
        return Outcome(Status.SUCCEEDED, result=_echo(days) | found.result, observations=gaps)

    async def _history(self, order: Order, device: Device) -> Outcome:
        if device.kind is DeviceKind.SOLAR_PLANT:
            return await self._balance(order, device)
        sn, zone = device.native_id, await self._zone(device)
        start, end = history_span(order.params, zone, self.kit.clock.now(), reach=LATEST_MONTH)
        interval_s: int = order.params.interval_s
        found: dict[datetime, Reading] = {}
        for days in _chunks(start, end, zone, history.whole_days(interval_s)):
            try:
                samples, at = await self._samples(device, days, interval_s)
            except RateLimited as error:
                if not found:
                    raise
                return _cut_short(error, found)
            for sample in samples:
                when = sample.observed_at
                if when is not None and start <= when <= end and when not in found:
                    for one in codec.reading(sn, sample, at, Origin.BACKFILL, self.kit.policy):
                        found[when] = one
        return _published(found)

    async def _samples(self, device: Device, days: Days, interval_s: int) -> tuple[list[Sample], datetime]:
        """One stretch of samples, by 4.5 where the times are named, else by 4.4."""
        sn = device.native_id
        if sn not in self._only_basic:
            try:
                told = await self.api.get(requests.history(sn, days, interval_s, advanced=True), Lane.HISTORY)
                return history.advanced(told.data), told.received_at
            except WrongShape:
                self._only_basic.add(sn)
        told = await self.api.get(requests.history(sn, days, interval_s, advanced=False), Lane.HISTORY)
        offset_min = self.zones.offset_min(device)
        order = self.settings.history_time_order
        return history.basic(told.data, offset_min, order), told.received_at

    async def _balance(self, order: Order, device: Device) -> Outcome:
        """Buckets of a site that lie within the span as a whole (4.10)."""
        zone = self.zones.of_site(device.native_id)
        if zone is None:
            raise _no_zone()
        start, end = history_span(order.params, zone, self.kit.clock.now(), reach=LONGEST_BALANCE)
        grouping: history.Grouping = "day" if order.params.interval_s == DAY_INTERVAL_S else "hour"
        found: dict[datetime, Reading] = {}
        for days in _chunks(start, end, zone, history.LONGEST_DAYS[grouping]):
            try:
                told = await self.api.get(
                    requests.energy_history(device.native_id, days, grouping), Lane.HISTORY
                )
            except RateLimited as error:
                if not found:
                    raise
                return _cut_short(error, found)
            for bucket in history.balance(told.data, zone):
                if start <= bucket.start and bucket.start + history.LENGTH[grouping] <= end:
                    found[bucket.start] = bucket_reading(device.native_id, bucket, told.received_at)
        return _published(found)

    async def _zone(self, device: Device) -> tzinfo:
        """The site's time zone, by a look at the meter's latest sample where nothing else told it."""
        zone = self.zones.of_meter(device)
        if zone is None:
            self.api.refuse_waiting(self.latest.ask(device.native_id), Lane.COMMAND)
            await self.latest.read(device.native_id, Lane.COMMAND)
            zone = self.zones.of_meter(device)
        if zone is None:
            raise _no_zone()
        return zone

    def _log_unknown(self, operation: str, keys: Sequence[str]) -> None:
        new = [key for key in keys if f"{operation}.{key}" not in self._logged]
        self._logged.update(f"{operation}.{key}" for key in new)
        if new:
            self.kit.log.warning("analysis.unknown_keys", extra={"operation": operation, "keys": sorted(new)})


def _no_zone() -> Refused:
    return Refused("the site's time zone is not known yet: give the account a `timezone`", code="unsupported")


def _echo(days: Days | None) -> dict[str, str]:
    """The window that was asked for; the vendor's own words on it win."""
    return {"window_start": days[0].isoformat(), "window_end": days[1].isoformat()} if days else {}


def _chunks(start: datetime, end: datetime, zone: tzinfo, days: int) -> list[Days]:
    return history.chunks(start.astimezone(zone).date(), end.astimezone(zone).date(), days)


def _oldest_first(found: Mapping[datetime, Reading]) -> list[Observation]:
    return [found[when] for when in sorted(found)]


def _published(found: Mapping[datetime, Reading]) -> Outcome:
    return Outcome(Status.SUCCEEDED, result={"records": len(found)}, observations=_oldest_first(found))


def _cut_short(error: RateLimited, found: Mapping[datetime, Reading]) -> Outcome:
    """What was read until the limit was used up is published all the same."""
    return Outcome(
        Status.FAILED,
        "rate_limited",
        f"not everything could be read: {error.message}",
        vendor_code=error.native_code,
        result={"records": len(found)},
        observations=_oldest_first(found),
    )
