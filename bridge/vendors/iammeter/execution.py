"""Carrying out commands (page iammeter 7.3). Nothing here changes anything at the vendor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta, tzinfo

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.device import Device
from bridge.domain.observation import Event, Origin
from bridge.pace.limits import Lane
from bridge.vendorkit.spec import Kit
from bridge.vendors.iammeter import analysis, codec, requests
from bridge.vendors.iammeter.api import IammeterApi
from bridge.vendors.iammeter.inventory import Inventory
from bridge.vendors.iammeter.latest import Latest
from bridge.vendors.iammeter.params import analysis_days
from bridge.vendors.iammeter.past import no_zone
from bridge.vendors.iammeter.requests import Days
from bridge.vendors.iammeter.settings import IammeterSettings
from bridge.vendors.iammeter.zones import Zones


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

    async def run(self, order: Order) -> Outcome:
        """As `VendorAdapter.execute`. May raise Rejection where only the site's time zone tells that a range is out
        of bounds."""
        if order.device is None:
            return await self._refresh_inventory()
        actions: Mapping[str, Callable[[Order, Device], Awaitable[Outcome]]] = {
            "read": self._read,
            "power_analysis": self._power_analysis,
            "offline_analysis": self._offline_analysis,
        }
        return await actions[order.spec.name](order, order.device)

    async def _refresh_inventory(self) -> Outcome:
        found = await self.inventory.read(Lane.COMMAND)
        mine = [device for device in found if self.kit.policy.exposes(device.native_id)]
        for device in mine:
            self.latest.notes.well(
                device.native_id
            )  # it is in the account now, and somebody wants to see that
        return Outcome(
            Status.SUCCEEDED,
            result={"devices": len(mine)},
            inventory=mine,
        )

    async def _read(self, _order: Order, device: Device) -> Outcome:
        sn, policy = device.native_id, self.kit.policy
        self.api.refuse_waiting(self.latest.ask(sn), Lane.READ)
        sample, at = await self.latest.read(sn, Lane.READ)
        notes, stale_s = self.latest.notes, self.settings.stale_after
        notes.well(sn)
        online = codec.is_fresh(sample, at, stale_s) or notes.is_there(sn, at, stale_s)
        seen = codec.observed(sn, sample, at, Origin.COMMAND, policy, online=online)
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

    async def _zone(self, device: Device) -> tzinfo:
        """The site's time zone, by a look at the meter's latest sample where nothing else told it."""
        zone = self.zones.of_meter(device)
        if zone is None:
            self.api.refuse_waiting(self.latest.ask(device.native_id), Lane.COMMAND)
            await self.latest.read(device.native_id, Lane.COMMAND)
            zone = self.zones.of_meter(device)
        if zone is None:
            raise no_zone()
        return zone

    def _log_unknown(self, operation: str, keys: Sequence[str]) -> None:
        new = [key for key in keys if f"{operation}.{key}" not in self._logged]
        self._logged.update(f"{operation}.{key}" for key in new)
        if new:
            self.kit.log.warning("analysis.unknown_keys", extra={"operation": operation, "keys": sorted(new)})


def _echo(days: Days | None) -> dict[str, str]:
    """The window that was asked for; the vendor's own words on it win."""
    return {"window_start": days[0].isoformat(), "window_end": days[1].isoformat()} if days else {}
