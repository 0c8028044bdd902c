"""Latest data and the inventory as samples, devices and observations (page iammeter 4.2, 4.3, 4.8, 4.9, 7). Pure.

Nothing that a vendor sends makes a function here raise anything but BadReply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bridge.domain.account import AccountPolicy
from bridge.domain.device import Device, DeviceKind
from bridge.domain.observation import Availability, Described, Observation, Origin, Reading
from bridge.domain.text import Json
from bridge.vendors.iammeter.faults import WrongShape
from bridge.vendors.iammeter.privacy import published, sorted_out
from bridge.vendors.iammeter.rows import Layout, Measured, guessed_layout, measured, rows_of
from bridge.vendors.iammeter.wire import time_of

MANUFACTURER = "IAMMETER"

BALANCE: Mapping[str, str] = {
    "yield": "yield_interval",
    "fromGrid": "import_energy_interval",
    "toGrid": "export_energy_interval",
    "specialLoad": "special_load_energy_interval",
    "selfUse": "self_use_energy_interval",
}
"""Field of a bucket of 4.10 → metric, kWh."""

_FARTHEST_OFFSET_MIN = 15 * 60
_SAMPLE_KEYS = frozenset({"sn", "values", "gmtTime", "localTime", "rtcTime"})
_METER_KEYS = frozenset({"sn", "name"})
_SITE_KEYS = frozenset({"id", "name", "meters"})


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one meter. `observed_at` is the vendor's UTC time, None where it cannot be read;
    `utc_offset_min` is the site's, where a local time came with it."""

    measured: Measured
    observed_at: datetime | None = None
    utc_offset_min: int | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)

    @property
    def phases(self) -> int | None:
        """1 or 3; None where there are no rows to tell by (8.8)."""
        if self.measured.rows == 0:
            return None
        return 1 if self.measured.rows == 1 else 3


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter of the inventory; `rest` as sent."""

    sn: str
    name: str | None = None
    rest: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Site:
    """A site of the inventory; `id` as text, `sent_id` and `rest` as the vendor sent them."""

    id: str
    name: str | None
    meters: tuple[Meter, ...]
    sent_id: Json = None
    rest: Mapping[str, Json] = field(default_factory=dict)


def sample(item: Mapping[str, Json], layout: Layout | None) -> Sample:
    """An object with `values`, `gmtTime` and perhaps `localTime` or `rtcTime`; `layout` None: guess it (6.2).

    No `values`, or empty ones, make a sample without rows: no data yet. Raises WrongShape if `values` is no array.
    """
    rows = rows_of(item.get("values"))
    if rows is None:
        raise WrongShape("values is no array")
    at = time_of(item.get("gmtTime"))
    local = time_of(item.get("localTime")) or time_of(item.get("rtcTime"))
    found = measured(rows, layout or guessed_layout(rows))
    beyond = {key: value for key, value in item.items() if key not in _SAMPLE_KEYS}
    return Sample(
        found,
        at.replace(tzinfo=UTC) if at is not None else None,
        _offset_min(local, at),
        {**beyond, **found.extra},
    )


def latest(data: Json, layout: Layout) -> Sample:
    """`data` of `meterdata` or `meterdata2` (4.2, 4.3); none at all means no data yet. Raises WrongShape."""
    if data is None:
        return Sample(Measured(0))
    if not isinstance(data, dict):
        raise WrongShape("expected an object as data")
    return sample(data, layout)


def all_latest(data: Json, layout: Layout | None) -> dict[str, Sample]:
    """`data` of `metersdata` by serial number (4.8). Items that cannot be read are left out.

    Raises WrongShape if it is no array, or if none of its items can be read.
    """
    if not isinstance(data, list):
        raise WrongShape("expected an array as data")
    found: dict[str, Sample] = {}
    for item in data:
        sn = _text(item.get("sn")) if isinstance(item, dict) else None
        if sn is None:
            continue
        try:
            found[sn] = sample(item, layout)
        except WrongShape:
            continue
    if data and not found:
        raise WrongShape("no item of data can be read")
    return found


def sites(data: Json) -> list[Site]:
    """`data` of `sitelist` (4.9). A meter without serial number is left out, one that comes twice counts once.

    Raises WrongShape where it is anything but an array of sites: an inventory that is only half read would look
    as if meters were gone.
    """
    if not isinstance(data, list):
        raise WrongShape("expected an array of sites")
    seen: set[str] = set()
    found = []
    for item in data:
        if not isinstance(item, dict) or not isinstance(item.get("meters") or [], list):
            raise WrongShape("expected sites with an array of meters")
        meters = []
        for entry in item.get("meters") or []:
            sn = _text(entry.get("sn")) if isinstance(entry, dict) else None
            if sn is not None and sn not in seen:
                seen.add(sn)
                meters.append(Meter(sn, _text(entry.get("name")), _beyond(entry, _METER_KEYS)))
        sent_id, rest = item.get("id"), _beyond(item, _SITE_KEYS)
        found.append(Site(_text(sent_id) or "", _text(item.get("name")), tuple(meters), sent_id, rest))
    return found


def devices(found: Sequence[Site], policy: AccountPolicy, *, with_sites: bool) -> list[Device]:
    """The meters of the sites, and with `with_sites` the sites themselves as solar plants. What the page does not know
    of a site is told of it and its meters, as `site_<key>`."""
    listed: list[Device] = []
    for site in found:
        public, private = sorted_out(site.rest)
        site_info = _of_site(public) | ({"site_id": site.sent_id} if site.id else {})
        customer = _of_site(private) | ({"site_name": site.name} if site.name else {})
        if with_sites and site.id:
            listed.append(
                Device(
                    policy.account,
                    policy.vendor,
                    site.id,
                    DeviceKind.SOLAR_PLANT,
                    manufacturer=MANUFACTURER,
                    metrics=tuple(BALANCE.values()),
                    vendor_info=site_info,
                    customer_info=customer,
                )
            )
        listed += [meter_device(meter, policy, site_info, customer) for meter in site.meters]
    return listed


def meter_device(
    meter: Meter,
    policy: AccountPolicy,
    vendor_info: Mapping[str, Json] | None = None,
    customer_info: Mapping[str, Json] | None = None,
) -> Device:
    """A meter; its model is nowhere told (6.4)."""
    public, private = sorted_out(meter.rest)
    return Device(
        policy.account,
        policy.vendor,
        meter.sn,
        DeviceKind.ELECTRICITY_METER,
        name=meter.name,
        manufacturer=MANUFACTURER,
        serial=meter.sn,
        vendor_info={**public, **(vendor_info or {})},
        customer_info={**private, **(customer_info or {})},
    )


def reading(
    sn: str, taken: Sample, received_at: datetime, origin: Origin, policy: AccountPolicy
) -> list[Reading]:
    """The record of a sample; nothing where it holds no measurement."""
    if not taken.measured.metrics:
        return []
    return [
        Reading(
            sn,
            received_at,
            origin,
            taken.measured.metrics,
            observed_at=taken.observed_at,
            extra=published(taken.extra, policy),
            sole=origin is Origin.BACKFILL,
        )
    ]


def described(sn: str, taken: Sample, policy: AccountPolicy) -> list[Described]:
    """What a sample tells about the meter itself: phases, the site's UTC offset, what it measures."""
    info: dict[str, Json] = {}
    if taken.phases is not None:
        info["phases"] = taken.phases
    if taken.utc_offset_min is not None:
        info["utc_offset_minutes"] = taken.utc_offset_min
    if not info:
        return []
    device = Device(
        policy.account,
        policy.vendor,
        sn,
        DeviceKind.ELECTRICITY_METER,
        metrics=tuple(taken.measured.metrics),
        vendor_info=info,
    )
    return [Described(device)]


def available(sn: str, *, online: bool, received_at: datetime, origin: Origin) -> Availability:
    """Concluded from the age of the newest sample: the vendor has no word for it (7.2)."""
    return Availability(sn, online=online, received_at=received_at, origin=origin, said=False)


def is_fresh(taken: Sample, received_at: datetime, stale_after_s: float) -> bool:
    """Whether a sample proves that its meter is connected. One without a readable time counts as of now."""
    if taken.measured.rows == 0:
        return False
    if taken.observed_at is None:
        return True
    return received_at - taken.observed_at <= timedelta(seconds=stale_after_s)


def observed(
    sn: str,
    taken: Sample,
    received_at: datetime,
    origin: Origin,
    policy: AccountPolicy,
    *,
    online: bool,
) -> list[Observation]:
    """Everything that the latest sample of a meter says: record, availability, description."""
    return [
        *reading(sn, taken, received_at, origin, policy),
        available(sn, online=online, received_at=received_at, origin=origin),
        *described(sn, taken, policy),
    ]


def _beyond(fields: Mapping[str, Json], known: frozenset[str]) -> dict[str, Json]:
    return {key: value for key, value in fields.items() if key not in known and value is not None}


def _of_site(fields: Mapping[str, Json]) -> dict[str, Json]:
    return {f"site_{key}": value for key, value in fields.items()}


def _offset_min(local: datetime | None, utc: datetime | None) -> int | None:
    """Minutes that the site's clock is ahead of UTC; None where either time is missing or no zone is so far off."""
    if local is None or utc is None:
        return None
    minutes = round((local - utc).total_seconds() / 60)
    return minutes if abs(minutes) <= _FARTHEST_OFFSET_MIN else None


def _text(value: Json) -> str | None:
    """Text or a whole number as text; None where there is nothing in it."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None
