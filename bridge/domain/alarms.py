"""The catalogue of alarms (METRICS.md section 2): severities, and the conditions that are read from records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bridge.domain.device import DeviceKind
from bridge.domain.observation import Value


class Severity(StrEnum):
    """CONTRACT section 5."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


MESSAGE_SEVERITY: dict[str, Severity] = {
    "overload": Severity.CRITICAL,
    "overheat": Severity.CRITICAL,
    "overcurrent": Severity.CRITICAL,
    "overvoltage": Severity.CRITICAL,
    "undervoltage": Severity.CRITICAL,
}
"""Alarms that a vendor sends one by one; any other code is `vendor_<code>` and a warning unless mapped."""

ALARMS_OF_KIND: dict[DeviceKind, tuple[str, ...]] = {
    DeviceKind.BREAKER: tuple(MESSAGE_SEVERITY),
    DeviceKind.GAS_METER: (),
    DeviceKind.RTU: (),
    DeviceKind.INVERTER: (),
    DeviceKind.SOLAR_PLANT: (),
}
"""Kinds of device whose vendors tell alarms, each with the alarms that it sends one by one under a known code."""


@dataclass(frozen=True, slots=True)
class Condition:
    """An alarm that holds while a metric of a record has a bad value.

    `bad` are the values that raise it; `vendor_code` is the name of the vendor's field, or the value where that is the
    code; `sent` what the vendor says then, by its own name (None: the value itself, under `vendor_code`).
    `needs_good_first`: a first bad value raises nothing (METRICS, `mains_power_lost`).
    """

    code: str
    severity: Severity
    metric: str
    bad: frozenset[Value]
    vendor_code: str
    sent: Mapping[str, Value] | None = None
    needs_good_first: bool = False

    def told(self, value: Value) -> Mapping[str, Value] | None:
        """What the vendor says when the metric has this value; None where nobody knows (the code of a good word)."""
        if self.sent is None:
            return {self.vendor_code: value}
        if value in self.bad:
            return self.sent
        return dict.fromkeys(self.sent, int(value)) if isinstance(value, bool) else None


def _when(
    code: str,
    severity: Severity,
    metric: str,
    bad: Value | frozenset[Value],
    field: str,
    *,
    sent: Mapping[str, Value] | None = None,
    first: bool = True,
) -> Condition:
    values = bad if isinstance(bad, frozenset) else frozenset({bad})
    return Condition(code, severity, metric, values, field, sent, needs_good_first=not first)


_SECOND_LEVEL: frozenset[Value] = frozenset(range(2, 256))
"""Levels beyond the second one are not documented, and hardly better than it."""

_W, _C = Severity.WARNING, Severity.CRITICAL

CONDITIONS: tuple[Condition, ...] = (
    _when("unhealthy", _C, "healthy", False, "heartbeat", sent={"heartbeat": 0}),
    _when("plant_fault", _C, "plant_status", "fault", "7", sent={"status": 7}),
    _when("plant_alarm", _W, "plant_status", "alarm", "8", sent={"status": 8}),
    _when("plant_emergency_stop", _C, "plant_status", "emergency_stop", "9", sent={"status": 9}),
    _when("battery_low", _W, "battery_low_level", 1, "power_level"),
    _when("battery_low", _C, "battery_low_level", _SECOND_LEVEL, "power_level"),
    _when("battery_disconnected", _C, "battery_disconnected", True, "battery_cut"),
    _when("magnetic_attack", _C, "magnetic_attack", True, "magnetic_attack"),
    _when("pulse_fault", _W, "pulse_fault", True, "pulse_fault"),
    _when("valve_forced_open", _C, "valve_forced_open", True, "force_valve_on"),
    _when("valve_closed_dismantled", _C, "valve_closed_dismantled", True, "apart_valve_off"),
    _when("valve_closed_overflow", _C, "valve_closed_overflow", True, "max_flow_valve_off"),
    _when("valve_closed_leak_flow", _C, "valve_closed_leak_flow", True, "min_flow_valve_off"),
    _when("valve_closed_stalled", _W, "valve_closed_stalled", True, "dead_valve_off"),
    _when("door_open", _W, "door_open", True, "rtu_door_open"),
    _when("fence_alarm", _C, "fence_alarm", True, "rtu_fence_alarm"),
    _when("vibration_alarm", _W, "vibration_alarm", True, "rtu_vibrate_alarm"),
    _when("mains_power_lost", _W, "mains_power", False, "rtu_power", first=False),
)

CONDITION_METRICS: frozenset[str] = frozenset(condition.metric for condition in CONDITIONS)


def severity_of(code: str, vendor_code: str, mapped: Mapping[str, str]) -> Severity:
    """The severity of an alarm message: the table's, else the account's mapping by vendor code, else warning."""
    if code in MESSAGE_SEVERITY:
        return MESSAGE_SEVERITY[code]
    return Severity(mapped.get(vendor_code, mapped.get(code, Severity.WARNING)))
