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
    """`name` is the account's `timezone`; `meters_of` tells the serial numbers of a site's meters, `neighbours_of`
    those of all meters at the site of one."""

    notes: Notes
    name: str | None
    meters_of: Callable[[str], Sequence[str]]
    neighbours_of: Callable[[str], Sequence[str]]

    def of_meter(self, device: Device) -> tzinfo | None:
        """The zone in which the meter's site counts days; None while nothing told it."""
        if self.name is not None:
            return ZoneInfo(self.name)
        return _fixed(self.offset_min(device))

    def offset_min(self, device: Device) -> int | None:
        """The offset that the meter's samples showed last, also before a restart; else what those of another meter
        of its site show."""
        found = self.notes.offset_min(device.native_id)
        if found is not None:
            return found
        told = device.vendor_info.get(OFFSET)
        return told if isinstance(told, int) else self._shown_by(self.neighbours_of(device.native_id))

    def of_site(self, site: str) -> tzinfo | None:
        """The same for a site."""
        if self.name is not None:
            return ZoneInfo(self.name)
        return _fixed(self._shown_by(self.meters_of(site)))

    def _shown_by(self, meters: Sequence[str]) -> int | None:
        offsets = (self.notes.offset_min(sn) for sn in meters)
        return next((offset for offset in offsets if offset is not None), None)


def _fixed(offset_min: int | None) -> tzinfo | None:
    return timezone(timedelta(minutes=offset_min)) if offset_min is not None else None
