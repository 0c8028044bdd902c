"""What frames hold (page wmj, section 10): data points and alarm records, and their names.

Invariant: a name or code that the page does not know is kept as `code_XX`, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bridge.domain.text import Json

RECORD_BYTES = 4
TO_CONTROLLER, FROM_CONTROLLER = 0x00, 0x03
SET, REPORT = 0x06, 0x07
FAULT, SWITCH, LOAD_ALARMS, VOLTAGE_ALARMS = 0x09, 0x10, 0x11, 0x12
RAW, BOOL, VALUE, STRING, ENUM, BITMAP = range(6)

_TRIP = 0x01
VERSIONS = {TO_CONTROLLER: "towards the breaker controller", FROM_CONTROLLER: "from the breaker controller"}
COMMANDS = {SET: "set data point", REPORT: "report data point"}
POINTS = {FAULT: "fault", SWITCH: "switch", LOAD_ALARMS: "alarm_set_1", VOLTAGE_ALARMS: "alarm_set_2"}
TYPES = {RAW: "raw", BOOL: "bool", VALUE: "value", STRING: "string", ENUM: "enum", BITMAP: "bitmap"}


class Alarm(NamedTuple):
    """A record code of 0x11 or 0x12 (10.1, 10.2): its name, the unit of its threshold, and the parameter of
    `set_alarms` that stands for it (empty: none)."""

    name: str
    unit: str = ""
    parameter: str = ""


ALARMS: Mapping[tuple[int, int], Alarm] = {
    (LOAD_ALARMS, 0x01): Alarm("short_circuit"),
    (LOAD_ALARMS, 0x02): Alarm("surge"),
    (LOAD_ALARMS, 0x03): Alarm("overload", "kW", "overload_kw"),
    (LOAD_ALARMS, 0x04): Alarm("leakage_current", "mA", "leakage_current_ma"),
    (LOAD_ALARMS, 0x05): Alarm("overheat", "°C", "overheat_c"),
    (LOAD_ALARMS, 0x06): Alarm("fire"),
    (LOAD_ALARMS, 0x07): Alarm("high_power", "kW"),
    (LOAD_ALARMS, 0x08): Alarm("self_test"),
    (VOLTAGE_ALARMS, 0x01): Alarm("overcurrent", "A", "overcurrent_a"),
    (VOLTAGE_ALARMS, 0x02): Alarm("current_unbalance"),
    (VOLTAGE_ALARMS, 0x03): Alarm("overvoltage", "V", "overvoltage_v"),
    (VOLTAGE_ALARMS, 0x04): Alarm("undervoltage", "V", "undervoltage_v"),
    (VOLTAGE_ALARMS, 0x05): Alarm("phase_current_loss"),
    (VOLTAGE_ALARMS, 0x06): Alarm("power_failure"),
    (VOLTAGE_ALARMS, 0x07): Alarm("magnetic_interference"),
    (VOLTAGE_ALARMS, 0x08): Alarm("low_balance", "kWh", "low_balance_kwh"),
    (VOLTAGE_ALARMS, 0x09): Alarm("arrears"),
    (VOLTAGE_ALARMS, 0x0A): Alarm("battery_overvoltage", "0.01 V"),
    (VOLTAGE_ALARMS, 0x0B): Alarm("cover_open"),
    (VOLTAGE_ALARMS, 0x0C): Alarm("meter_cover_open"),
    (VOLTAGE_ALARMS, 0x0D): Alarm("fault"),
}

GROUPS: Mapping[int, tuple[str, ...]] = {
    point: tuple(alarm.parameter for (of, _), alarm in ALARMS.items() if of == point and alarm.parameter)
    for point in (LOAD_ALARMS, VOLTAGE_ALARMS)
}
"""The two groups of `set_alarms`, in the vendor's order of records (10, encoding rule 2)."""

_FAULTS = (
    "short_circuit", "surge", "overload", "leakage_current", "temperature", "fire", "high_power", "self_test",
    "overcurrent", "phase_unbalance", "overvoltage", "undervoltage", "missing_phase", "power_outage",
    "magnetic_interference", "low_credit", "no_balance",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """Four bytes of 0x11 or 0x12. `action`: 1 alarm and trip, 0 alarm only. `threshold`: in the unit of
    the alarm."""

    code: int
    action: int
    threshold: int

    @property
    def trips(self) -> bool:
        """Whether the breaker opens; anything but action 1 is taken for "it does not"."""
        return self.action == _TRIP


@dataclass(frozen=True, slots=True)
class DataPoint:
    """One data point with its value as bytes."""

    id: int
    type: int
    value: bytes

    @property
    def sets_alarms(self) -> bool:
        """Whether it is 0x11 or 0x12 in the only form that the page knows."""
        return self.id in GROUPS and self.type == RAW

    @property
    def is_fault(self) -> bool:
        """Whether it is the bitmap of faults."""
        return self.id == FAULT and self.type == BITMAP

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of 0x11 or 0x12; nothing for other data points."""
        if not self.sets_alarms:
            return ()
        rows = (self.value[at : at + RECORD_BYTES] for at in range(0, len(self.value), RECORD_BYTES))
        return tuple(Record(row[0], row[1], int.from_bytes(row[2:])) for row in rows)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame without its checksum, which `encode` computes."""

    version: int
    command: int
    points: tuple[DataPoint, ...]


def alarm_of(point: int, code: int) -> Alarm:
    """The alarm of a record; an unknown one is called `code_XX`."""
    return ALARMS.get((point, code)) or Alarm(f"code_{code:02X}")


def fault_names(bits: int) -> list[str]:
    """The names of the bits of a fault bitmap (6.5), lowest first; an unknown one is called `bit_<n>`."""
    return [
        _FAULTS[at] if at < len(_FAULTS) else f"bit_{at}" for at in range(bits.bit_length()) if bits >> at & 1
    ]


def describe_points(frames: Sequence[Frame]) -> list[Json]:
    """The data points of frames as JSON: ids and codes in hex, values decoded by their type."""
    return [_described(point) for frame in frames for point in frame.points]


def _described(point: DataPoint) -> dict[str, Json]:
    row: dict[str, Json] = {
        "id": f"0x{point.id:02X}",
        "name": point_name(point.id),
        "type": TYPES.get(point.type, f"code_{point.type:02X}"),
    }
    if point.sets_alarms:
        return row | {"records": [_described_record(point.id, record) for record in point.records]}
    row["value"] = plain_value(point)
    if point.is_fault:
        row["faults"] = fault_names(int.from_bytes(point.value))
    return row


def _described_record(point: int, record: Record) -> dict[str, Json]:
    alarm = alarm_of(point, record.code)
    row = {
        "code": f"{record.code:02X}",
        "name": alarm.name,
        "trip": record.trips,
        "threshold": record.threshold,
    }
    return row | ({"unit": alarm.unit} if alarm.unit else {})


def plain_value(point: DataPoint) -> Json:
    value = point.value
    if point.type == BOOL and value in (b"\x00", b"\x01"):
        return value == b"\x01"
    if point.type == VALUE and len(value) == 4:
        return int.from_bytes(value, signed=True)
    if point.type == ENUM and len(value) == 1:
        return value[0]
    if point.type == BITMAP and len(value) in (1, 2, 4):
        return int.from_bytes(value)
    if point.type == STRING:
        return value.decode(errors="replace")
    return value.hex().upper()


def point_name(point: int) -> str:
    return POINTS.get(point, f"code_{point:02X}")
