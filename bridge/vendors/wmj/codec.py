"""Measurements and descriptions as observations (page wmj, sections 4.4.2, 6 and 8). Pure: no I/O, no clock.

Units: the vendor's are ours, but for the overload threshold of frames (kW → W). A value that is missing,
empty or no number is left out. Every metric name is one of `domain.metrics`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from bridge.domain.account import AccountPolicy
from bridge.domain.device import Device, DeviceKind
from bridge.domain.observation import Availability, Described, Observation, Origin, Reading, Value
from bridge.domain.text import Json, flag, number, word_of
from bridge.vendors.wmj import frame as frames
from bridge.vendors.wmj.points import LOAD_ALARMS, VOLTAGE_ALARMS, Frame

_LARGEST = 10**30
"""As `domain.text.plain`: beyond it are no measurements."""


def measured(value: Json) -> int | Decimal | None:
    """A measured number, sent as number or text; None where it is none or beyond what any device measures."""
    found = number(value)
    return found if found is not None and -_LARGEST < found < _LARGEST else None


def _switch_word(value: Json) -> Value | None:
    state = flag(value)
    if state is not None:
        return "on" if state else "off"
    code = word_of(value) if isinstance(value, str | int) else ""
    return f"unknown_{code}" if code else None


_FIELDS: Mapping[str, tuple[str, Callable[[Json], Value | None]]] = {
    "voltage": ("voltage", measured),
    "electric_current": ("current", measured),
    "power": ("active_power", measured),
    "total_electricity": ("import_energy", measured),
    "balance": ("balance_energy", measured),
    "prepay": ("prepay_enabled", flag),
    "temperature": ("temperature", measured),
    "rssi": ("signal_strength", measured),
    "switch_state": ("switch_state", _switch_word),
    "heartbeat": ("healthy", flag),
    "leakage_current": ("threshold_leakage_current", measured),
    "overcurrent": ("threshold_overcurrent", measured),
    "overheat": ("threshold_temperature", measured),
    "overvoltage": ("threshold_overvoltage", measured),
    "undervoltage": ("threshold_undervoltage", measured),
    "retainstate": ("retain_state", flag),
    "controlled_by_schedule": ("schedule_index", measured),
    "scheduled_state": ("scheduled_state", _switch_word),
}
"""Vendor field → metric and converter (section 8)."""

DECLARED: tuple[str, ...] = (
    "voltage", "current", "active_power", "import_energy", "temperature", "signal_strength", "switch_state",
    "healthy", "prepay_enabled", "threshold_leakage_current", "threshold_overcurrent",
    "threshold_temperature", "threshold_overvoltage", "threshold_undervoltage",
)  # fmt: skip
"""The metrics that every `getdevinfo` delivers."""

PROTECTION: Mapping[str, str] = {
    "leakage_current_ma": "leakage_current",
    "overcurrent_a": "overcurrent",
    "overheat_c": "overheat",
    "overvoltage_v": "overvoltage",
    "undervoltage_v": "undervoltage",
}
"""Parameter of `set_protection` → vendor field of `setting` and `getdevinfo` (4.4.5)."""

PROTECTION_METRIC: Mapping[str, str] = {name: _FIELDS[field][0] for name, field in PROTECTION.items()}

_VENDOR_INFO = ("version", "hw_ver", "project", "iccid", "imei")
_DESCRIPTION = frozenset({"model", "sw_ver", "username", *_VENDOR_INFO})
TRANSPORT = frozenset({"code", "msg", "status", "device_sn", "time"})
"""Fields of an `info` that the gateway uses itself (METRICS 1.9)."""

_ALWAYS_PRIVATE = frozenset({"ipaddress", "ip", "ssid", "bssid", "mac"})
_CARD_NUMBER = re.compile(r"[0-9]{19,20}|89[0-9A-Fa-f]{17,18}")
"""The number of a SIM card. Chinese cards have letters in it too; a slash, as in `SSID/BSSID`, none has."""

_ALARM_METRICS: Mapping[tuple[int, int], tuple[str, int]] = {
    (LOAD_ALARMS, 0x03): ("overload", 1000),
    (LOAD_ALARMS, 0x04): ("leakage_current", 1),
    (LOAD_ALARMS, 0x05): ("temperature", 1),
    (VOLTAGE_ALARMS, 0x01): ("overcurrent", 1),
    (VOLTAGE_ALARMS, 0x03): ("overvoltage", 1),
    (VOLTAGE_ALARMS, 0x04): ("undervoltage", 1),
    (VOLTAGE_ALARMS, 0x08): ("low_balance", 1),
}
"""Data point and record code → the word behind `threshold_` and `trip_`, and the threshold's factor."""


def metrics_of(info: Mapping[str, Json]) -> dict[str, Value]:
    """The metrics of an `info` of `getdevinfo`, `power_report` or `dev_reg`; numbers may be text (Q8)."""
    found: dict[str, Value] = {}
    for field, (metric, convert) in _FIELDS.items():
        value = convert(info.get(field))
        if value is not None:
            found[metric] = value
    if found.get("prepay_enabled") is not True:
        found.pop("balance_energy", None)
    index = found.get("schedule_index")
    if isinstance(index, int):
        found["schedule_active"] = index >= 0
    else:
        found.pop("schedule_index", None)
    return found


def alarm_metrics(answer: Sequence[Frame]) -> dict[str, Value]:
    """The `threshold_*` and `trip_*` that frames report, and `switch_state` where they tell it (8, 10)."""
    found: dict[str, Value] = {}
    for point in (point for frame in answer for point in frame.points):
        for record in point.records:
            if (point.id, record.code) in _ALARM_METRICS:
                name, factor = _ALARM_METRICS[point.id, record.code]
                found[f"threshold_{name}"] = record.threshold * factor
                found[f"trip_{name}"] = record.trips
    closed = frames.switch_of(answer)
    if closed is not None:
        found["switch_state"] = "on" if closed else "off"
    return found


def public(fields: Mapping[str, Json], policy: AccountPolicy) -> dict[str, Json]:
    """The fields as sent, less customer data (section 8) unless the account publishes it."""
    return dict(fields) if policy.customer_data else _without_private(fields)


def published(value: Json, policy: AccountPolicy) -> Json:
    """Any value as sent, less customer data at whatever depth unless the account publishes it."""
    return value if policy.customer_data else _without_private(value)


def _without_private(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {name: _without_private(item) for name, item in value.items() if not _is_private(name, item)}
    return [_without_private(item) for item in value] if isinstance(value, list) else value


def _is_private(name: str, value: Json) -> bool:
    """Wi-Fi devices put SSID and access point into `iccid` and their MAC into `imei` (Q11)."""
    text = str(value)
    if name == "iccid":
        return not _CARD_NUMBER.fullmatch(text)
    if name == "imei":
        return not re.fullmatch(r"[0-9]{15}", text)
    return name in _ALWAYS_PRIVATE


def reading(
    serial: str, info: Mapping[str, Json], received_at: datetime, origin: Origin, policy: AccountPolicy
) -> list[Reading]:
    """The measurements of an `info`, with the unknown fields as `extra`; nothing where it holds neither.

    The vendor sends no time with them (section 8).
    """
    known = _FIELDS.keys() | _DESCRIPTION | TRANSPORT
    extra = public({name: value for name, value in info.items() if name not in known}, policy)
    metrics = metrics_of(info)
    if not metrics and not extra:
        return []
    return [Reading(serial, received_at, origin, metrics, extra=extra)]


def described(serial: str, info: Mapping[str, Json], policy: AccountPolicy) -> list[Described]:
    """What `dev_reg` and `getdevinfo` tell about the device itself; nothing where they tell nothing."""
    texts: dict[str, Json] = {name: info[name] for name in _DESCRIPTION if _tells(name, info.get(name))}
    shown = {name: texts[name] for name in _VENDOR_INFO if name in texts}
    private = {name: value for name, value in shown.items() if _is_private(name, value)}
    if not texts:
        return []
    device = Device(
        account=policy.account,
        vendor=policy.vendor,
        native_id=serial,
        kind=DeviceKind.BREAKER,
        model=texts.get("model"),
        firmware=texts.get("sw_ver"),
        serial=texts.get("username"),
        vendor_info={name: value for name, value in shown.items() if name not in private},
        customer_info=private,
    )
    return [Described(device)]


def _tells(name: str, value: Json) -> bool:
    """Whether a field says something: a text, or a number where any value may be sent."""
    if isinstance(value, str):
        return bool(value.strip())
    return name in _VENDOR_INFO and number(value) is not None


def polled(
    serial: str,
    info: Mapping[str, Json],
    received_at: datetime,
    policy: AccountPolicy,
    origin: Origin = Origin.POLL,
) -> list[Observation]:
    """A successful `getdevinfo` as a poll takes it: the reading, the proof of life, what the device is."""
    return [
        *reading(serial, info, received_at, origin, policy),
        alive(serial, received_at, origin),
        *described(serial, info, policy),
    ]


def alive(serial: str, received_at: datetime, origin: Origin) -> Availability:
    """The device itself reported or answered, so it can be reached; the vendor said nothing of it."""
    return Availability(serial, online=True, received_at=received_at, origin=origin, said=False)


def switched(serial: str, closed: bool, received_at: datetime) -> Reading:
    """The state that a command left the switch in."""
    return Reading(serial, received_at, Origin.COMMAND, {"switch_state": "on" if closed else "off"})


def connected(serial: str, online: bool, received_at: datetime, origin: Origin) -> Availability:
    """The vendor's word on the connection: `getOnLine`, or code 1002 (section 8)."""
    return Availability(serial, online=online, received_at=received_at, origin=origin, said=True)


def protection_of(info: Mapping[str, Json]) -> dict[str, Value]:
    """The thresholds that `getdevinfo` delivers, as parameters of `set_protection`."""
    return {
        name: value for name, field in PROTECTION.items() if (value := measured(info.get(field))) is not None
    }
