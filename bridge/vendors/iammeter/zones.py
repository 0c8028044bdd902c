"""The time zones of the account's sites: from the settings, else from the offset that the samples show (1.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from bridge.domain.device import Device
from bridge.vendors.iammeter.notes import Notes

OFFSET = "utc_offset_minutes"
"""The key of `vendor_info` that survives a restart."""


@dataclass(frozen=True, slots=True)
class Zones:
    """`name` is the account's `timezone`, `meters_of` tells the serial numbers of a site's meters."""

    notes: Notes
    name: str | None
    meters_of: Callable[[str], Sequence[str]]

    def of_meter(self, device: Device) -> tzinfo | None:
        """The zone in which the meter's site counts days; None while nothing told it."""
        if self.name is not None:
            return ZoneInfo(self.name)
        return _fixed(self.offset_min(device))

    def offset_min(self, device: Device) -> int | None:
        """The offset that the meter's samples showed last, also before a restart."""
        found = self.notes.offset_min(device.native_id)
        told = device.vendor_info.get(OFFSET)
        return told if found is None and isinstance(told, int) else found

    def of_site(self, site: str) -> tzinfo | None:
        """The same for a site."""
        if self.name is not None:
            return ZoneInfo(self.name)
        offsets = (self.notes.offset_min(sn) for sn in self.meters_of(site))
        return _fixed(next((offset for offset in offsets if offset is not None), None))


def _fixed(offset_min: int | None) -> tzinfo | None:
    return timezone(timedelta(minutes=offset_min)) if offset_min is not None else None
