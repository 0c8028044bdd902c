"""The account's sites and meters (page iammeter 4.9), read sparingly: the assumed limit is twelve a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bridge.domain.device import Device
from bridge.domain.errors import LostAnswer, RateLimited, Refused, VendorError
from bridge.pace.limits import Lane
from bridge.vendorkit.spec import Kit
from bridge.vendors.iammeter import codec, requests
from bridge.vendors.iammeter.api import IammeterApi
from bridge.vendors.iammeter.codec import Meter, Site
from bridge.vendors.iammeter.faults import Forbidden
from bridge.vendors.iammeter.notes import Notes
from bridge.vendors.iammeter.settings import SITES, IammeterSettings

PLANNED_FROM_S = 3000.0
"""A look that comes so long after the last one is the hourly one, not somebody's wish."""

FRESH_S = 8100.0
"""How long an answer serves the hourly looks, so that they fit into the ten slots a day that commands leave."""

_PATTERN = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class _Kept:
    sites: tuple[Site, ...]
    at_s: float


class Inventory:
    """The devices of the account, from the vendor, from memory, or from the settings."""

    def __init__(self, api: IammeterApi, notes: Notes, settings: IammeterSettings, kit: Kit) -> None:
        self._api = api
        self._notes = notes
        self._settings = settings
        self._kit = kit
        self._kept: _Kept | None = None
        self._looked_at_s: float | None = None
        self._trouble: VendorError | None = None

    async def look(self) -> list[Device]:
        """All devices, as the flow asks for them every hour and when somebody wants it. Raises VendorError."""
        now_s = self._kit.clock.monotonic()
        planned = self._looked_at_s is not None and now_s - self._looked_at_s >= PLANNED_FROM_S
        self._looked_at_s = now_s
        kept = self._kept
        wait_s = self._api.wait_s(requests.sites(), Lane.INVENTORY)
        if kept is not None and (wait_s > 0 or (planned and now_s - kept.at_s < FRESH_S)):
            return self._devices(kept.sites)
        try:
            if wait_s > 0:
                raise RateLimited("the limit of the site list leaves no room", retry_after_s=wait_s)
            return self._devices(await self._ask())
        except (Forbidden, LostAnswer, RateLimited, Refused) as error:
            configured = self._configured()
            if kept is not None or not configured:
                raise  # what is known of the devices goes on, and is more
            self._kit.log.warning("inventory.configured", extra={"reason": error.message})
            return configured

    async def read(self, lane: Lane) -> list[Device]:
        """All devices, asked for now. Raises VendorError."""
        self._api.refuse_waiting(requests.sites(), lane)
        return self._devices(await self._read(lane))

    def meters_of(self, site: str) -> Sequence[str]:
        """The serial numbers of a site's meters as last seen."""
        found = self._kept.sites if self._kept is not None else ()
        return [meter.sn for one in found if one.id == site for meter in one.meters]

    def neighbours_of(self, sn: str) -> Sequence[str]:
        """The serial numbers of all meters of a meter's site as last seen."""
        found = self._kept.sites if self._kept is not None else ()
        at = next((one for one in found if any(meter.sn == sn for meter in one.meters)), None)
        return [meter.sn for meter in at.meters] if at is not None else []

    async def _ask(self) -> tuple[Site, ...]:
        """Not asked again too soon after a failure: each attempt counts."""
        if self._trouble is not None and self._notes.rest_s(SITES) > 0:
            raise self._trouble
        try:
            return await self._read(Lane.INVENTORY)
        except LostAnswer as error:
            self._notes.lost(SITES)
            self._trouble = error
            raise

    async def _read(self, lane: Lane) -> tuple[Site, ...]:
        told = await self._api.get(requests.sites(), lane)
        found = tuple(codec.sites(told.data))
        self._notes.well(SITES)
        self._trouble = None
        self._kept = _Kept(found, self._kit.clock.monotonic())
        return found

    def _devices(self, found: Sequence[Site]) -> list[Device]:
        return codec.devices(found, self._kit.policy, with_sites=self._settings.site_history)

    def _configured(self) -> list[Device]:
        """The meters that the settings name, for a cloud that does not list them (a newer endpoint); none where a
        name may be that of a site."""
        if self._settings.site_history:
            return []
        named = [sn for sn in self._settings.devices.include if not _PATTERN & set(sn)]
        if len(named) < len(self._settings.devices.include):
            return []
        return [codec.meter_device(Meter(sn), self._kit.policy) for sn in named]
