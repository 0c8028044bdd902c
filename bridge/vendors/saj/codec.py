"""Plants, inverters and their values as devices and observations (page saj, section 7). Pure: no I/O, no clock.

Units: plant powers and peak powers kW → W, CO₂ t → kg; everything else is ours already (METRICS, rule 2). A value
that is missing, empty or no number is left out. Nothing here raises: what cannot be read is not there. Readings keep
what they are given; who may not publish customer data gives none (`privacy.published`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from bridge.domain.account import AccountPolicy
from bridge.domain.device import Device, DeviceKind
from bridge.domain.observation import Availability, Observation, Origin, Reading, Value, Words
from bridge.domain.text import Json, word_of
from bridge.vendors.saj.privacy import without_private
from bridge.vendors.saj.wire import Row, bucket_start, fields, instant, measured, offset, rows, text, whole

STATUS_WORDS: Mapping[int, str] = {
    1: "running",
    2: "design",
    3: "off_grid",
    4: "standby",
    5: "low_light",
    6: "stopped",
    7: "fault",
    8: "alarm",
    9: "emergency_stop",
    10: "communication_error",
}
"""Plant status → `plant_status` (6.3)."""

OFFLINE = 10
ASLEEP = frozenset({4, 5})

_INVERTER: Mapping[str, str] = {
    **{f"vpv{n}": f"pv{n}_voltage" for n in (1, 2, 3)},
    **{f"ipv{n}": f"pv{n}_current" for n in (1, 2, 3)},
    **{f"vac{n}": f"voltage_{phase}" for n, phase in ((1, "a"), (2, "b"), (3, "c"))},
    **{f"iac{n}": f"current_{phase}" for n, phase in ((1, "a"), (2, "b"), (3, "c"))},
    "power": "active_power",
    "today_energy": "yield_today",
    "month_energy": "yield_month",
    "monthly_energy": "yield_month",
    "year_energy": "yield_year",
    "yearly_energy": "yield_year",
    "total_energy": "yield_total",
    "temperature": "temperature",
    "fac": "frequency",
    "power_factor": "power_factor",
}
"""Field of an inverter's record → metric (7.2)."""

_PLANT: Mapping[str, tuple[str, int]] = {
    "current_power": ("active_power", 1000),
    "today_energy": ("yield_today", 1),
    "month_energy": ("yield_month", 1),
    "monthly_energy": ("yield_month", 1),
    "year_energy": ("yield_year", 1),
    "yearly_energy": ("yield_year", 1),
    "total_energy": ("yield_total", 1),
    "peak_power": ("peak_power", 1000),
    "peak_power_actual": ("peak_power", 1000),
    "efficiency": ("specific_yield", 1),
    "carbon_offset": ("co2_avoided", 1000),
}
"""Field of a plant's overview → metric and factor (7.3). Of two fields of one metric the later one wins."""

INVERTER_METRICS: tuple[str, ...] = tuple(dict.fromkeys(_INVERTER.values()))
PLANT_METRICS: tuple[str, ...] = (*dict.fromkeys(metric for metric, _ in _PLANT.values()), "plant_status")

_ADDRESS = ("address1", "address2", "city", "state", "postal", "country")
_PLANT_USED = frozenset({*_ADDRESS, "plant_id", "name", "status", "current_power", "total_energy"})
_DEVICE_USED = frozenset({"device_sn", "manufacturer", "model", "last_update_time"})


@dataclass(frozen=True, slots=True)
class Plant:
    """A record of the plant list (4.4, 4.24)."""

    id: str
    status: int | None
    row: Row = field(repr=False)


@dataclass(frozen=True, slots=True)
class Inverter:
    """A record of the device list (4.11). `key` is its device id in the gateway, `device_id` the vendor's."""

    key: str
    device_id: str
    updated_at: datetime | None
    row: Row = field(repr=False)


def plants_of(found: Sequence[Row]) -> list[Plant]:
    """The plant records of a list; those of users, without `plant_id`, are left out (4.23)."""
    plants = []
    for row in found:
        known = fields(row)
        plant_id = text(known.get("plant_id"))
        if plant_id is not None:
            plants.append(Plant(plant_id, whole(known.get("status")), row))
    return plants


def inverters_of(found: Sequence[Row], zone: tzinfo) -> list[Inverter]:
    """The devices of a list; without `device_id` a device cannot be asked for anything and is left out."""
    inverters = []
    for row in found:
        known = fields(row)
        device_id = text(known.get("device_id"))
        if device_id is not None:
            key = text(known.get("device_sn")) or device_id
            inverters.append(Inverter(key, device_id, instant(known.get("last_update_time"), zone), row))
    return inverters


def plant_device(plant: Plant, details: Json, policy: AccountPolicy) -> Device:
    """A plant with its master data (4.5); `details` may be None."""
    merged = {**_present(plant.row), **_present(details)}
    known = fields(merged)
    address = ", ".join(part for key in _ADDRESS if (part := text(known.get(key))) is not None)
    public, private = _sorted_out(merged, _PLANT_USED)
    return Device(
        account=policy.account,
        vendor=policy.vendor,
        native_id=plant.id,
        kind=DeviceKind.SOLAR_PLANT,
        name=text(known.get("name")),
        address=address or None,
        metrics=PLANT_METRICS,
        vendor_info=public,
        customer_info=private if policy.customer_data else {},
    )


def inverter_device(inverter: Inverter, plant_id: str, policy: AccountPolicy) -> Device:
    """An inverter of a plant. `vendor_info` has its `device_id`, which every end point wants."""
    known = fields(inverter.row)
    public, private = _sorted_out(_present(inverter.row), _DEVICE_USED)
    return Device(
        account=policy.account,
        vendor=policy.vendor,
        native_id=inverter.key,
        kind=DeviceKind.INVERTER,
        model=text(known.get("model")),
        manufacturer=text(known.get("manufacturer")),
        serial=text(known.get("device_sn")),
        parent=plant_id,
        metrics=INVERTER_METRICS,
        vendor_info=public,
        customer_info=private if policy.customer_data else {},
    )


def _present(row: Json) -> dict[str, Json]:
    return (
        {key: value for key, value in row.items() if value not in (None, "")} if isinstance(row, dict) else {}
    )


def _sorted_out(row: Row, used: frozenset[str]) -> tuple[dict[str, Json], dict[str, Json]]:
    """What is left for `vendor_info`, as sent, and what of it is customer data (METRICS 1.9)."""
    rest = {key: value for key, value in row.items() if key.lower() not in used}
    public = without_private(rest)
    return public, {key: value for key, value in rest.items() if public.get(key) != value}


def zone_of(data: Json) -> tzinfo | None:
    """The plant's offset as its details and its overview tell it (4.5, 4.6)."""
    return offset(fields(data).get("timezone"))


def plant_said(plant: Plant, received_at: datetime) -> list[Observation]:
    """The status word and the availability that the plant list tells, without a time of their own (rule 7)."""
    if plant.status is None:
        return []
    word = STATUS_WORDS.get(plant.status, f"unknown_{word_of(plant.status)}")
    words = Words(plant.id, received_at, Origin.POLL, {"plant_status": word})
    availability = Availability(
        plant.id,
        online=plant.status != OFFLINE,
        received_at=received_at,
        origin=Origin.POLL,
        said=True,
        vendor_code=str(plant.status),
        data={"status": fields(plant.row).get("status")},
    )
    return [words, availability]


def rated_power(plant_id: str, peak_w: Value, received_at: datetime) -> list[Words]:
    """The rated power, without a time of its own (rule 7)."""
    return [Words(plant_id, received_at, Origin.POLL, {"peak_power": peak_w})]


def rated_w(data: Json) -> Value | None:
    """The rated power of a plant in W, as its list or its master data tell it (4.4, 4.5)."""
    return _scaled(fields(data).get("peak_power"), 1000)


def plant_reading(
    plant_id: str, data: Json, zone: tzinfo, received_at: datetime, origin: Origin
) -> Reading | None:
    """The overview of a plant (4.6). None where it holds no value. Times without designator are in `zone`."""
    known = fields(data)
    metrics: dict[str, Value] = {}
    for name, (metric, factor) in _PLANT.items():
        value = _scaled(known.get(name), factor)
        if value is not None:
            metrics[metric] = value
    if not metrics:
        return None
    observed_at = instant(known.get("last_update_time"), zone_of(data) or zone)
    used = _PLANT.keys() | {"last_update_time", "timezone"}
    extra = {key: value for key, value in _present(data).items() if key.lower() not in used}
    return Reading(
        plant_id,
        received_at,
        origin,
        metrics,
        observed_at=observed_at,
        extra=extra,
    )


def inverter_reading(
    key: str, row: Row, zone: tzinfo, received_at: datetime, origin: Origin
) -> Reading | None:
    """One record of an inverter (4.12, 4.20). None where it holds no value."""
    known = fields(row)
    metrics: dict[str, Value] = {}
    for name, metric in _INVERTER.items():
        value = measured(known.get(name))
        if value is not None:
            metrics[metric] = value
    if not metrics:
        return None
    used = _INVERTER.keys() | {"time"}
    extra = {name: value for name, value in _present(row).items() if name.lower() not in used}
    return Reading(
        key,
        received_at,
        origin,
        metrics,
        observed_at=instant(known.get("time"), zone),
        extra=extra,
        sole=origin is Origin.BACKFILL,
    )


def latest_reading(key: str, data: Json, zone: tzinfo, received_at: datetime) -> Reading | None:
    """The record with the greatest time (4.20); None where there is none with a value."""
    readings = [
        reading
        for row in rows(data, "datas")
        if (reading := inverter_reading(key, row, zone, received_at, Origin.POLL)) is not None
    ]
    timed = [reading for reading in readings if reading.observed_at is not None]
    if timed:
        return max(timed, key=lambda reading: reading.observed_at or received_at)
    return readings[0] if readings else None


def inverter_records(key: str, data: Json, zone: tzinfo, received_at: datetime) -> list[Reading]:
    """The records of one page of history that have a time (4.12)."""
    readings = (inverter_reading(key, row, zone, received_at, Origin.BACKFILL) for row in rows(data, "datas"))
    return [reading for reading in readings if reading is not None and reading.observed_at is not None]


def next_cursor(data: Json) -> str | None:
    """The cursor of the next page; None where there is none (4.12)."""
    cursor = text(fields(data).get("next_page_start_id"))
    return None if cursor == "0" else cursor


def power_records(plant_id: str, data: Json, zone: tzinfo, received_at: datetime) -> list[Reading]:
    """The power curve of a day, in W as sent (4.8). A sample without a value gives no record."""
    records = []
    for row in rows(data, "powers"):
        known = fields(row)
        at, power = instant(known.get("time"), zone), measured(known.get("power"))
        if at is not None and power is not None:
            metrics = {"active_power": power}
            records.append(
                Reading(plant_id, received_at, Origin.BACKFILL, metrics, observed_at=at, sole=True)
            )
    return records


def energy_records(
    plant_id: str, found: Sequence[Row], time_unit: str, zone: tzinfo, received_at: datetime
) -> list[Reading]:
    """Yields per bucket of plant-local time (4.7); the time of a record is the start of its bucket."""
    records = []
    for row in found:
        known = fields(row)
        at, energy = bucket_start(known.get("date"), zone), measured(known.get("energy"))
        if at is not None and energy is not None:
            metrics = {"yield_interval": energy}
            extra = {"time_unit": time_unit}
            records.append(
                Reading(plant_id, received_at, Origin.BACKFILL, metrics, observed_at=at, extra=extra)
            )
    return records


def _scaled(value: Json, factor: int) -> Value | None:
    """A number times a factor, in decimal and without trailing zeros: 0.726 × 1000 is 726."""
    found = measured(value)
    return None if found is None else measured(found * factor)
