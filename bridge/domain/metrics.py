"""The catalogue of metrics (METRICS.md section 1) as one table.

From it come the `metrics` of `info`, the Home Assistant discovery messages, the JSON Schemas and the documents.
A name that is not in `METRICS` is never published; a test holds this table against the documented one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Form(StrEnum):
    """The type of a metric's value (METRICS rule 3)."""

    NUMBER = "number"
    BOOL = "bool"
    STRING = "string"


NUMBER, BOOL, STRING = Form.NUMBER, Form.BOOL, Form.STRING


@dataclass(frozen=True, slots=True)
class Metric:
    """One row: name, unit as published (empty = none), type, meaning, and how Home Assistant shows it.

    `inverted` is for binary sensors that are on when the value is false.
    """

    name: str
    unit: str
    form: Form
    meaning: str
    platform: str = "sensor"
    device_class: str | None = None
    state_class: str | None = None
    category: str | None = None
    inverted: bool = False

    def takes(self, value: object) -> bool:
        """Whether the value is of this metric's type."""
        if self.form is Form.BOOL:
            return isinstance(value, bool)
        if self.form is Form.STRING:
            return isinstance(value, str)
        return not isinstance(value, bool | str)


_ROWS: tuple[Metric, ...] = (
    # 1.1 Electricity
    Metric(
        "voltage",
        "V",
        NUMBER,
        "voltage of a single-phase device",
        device_class="voltage",
        state_class="measurement",
    ),
    Metric("voltage_a", "V", NUMBER, "voltage of phase A", device_class="voltage", state_class="measurement"),
    Metric("voltage_b", "V", NUMBER, "voltage of phase B", device_class="voltage", state_class="measurement"),
    Metric("voltage_c", "V", NUMBER, "voltage of phase C", device_class="voltage", state_class="measurement"),
    Metric(
        "voltage_net",
        "V",
        NUMBER,
        "voltage in the net-metering row",
        device_class="voltage",
        state_class="measurement",
    ),
    Metric(
        "current",
        "A",
        NUMBER,
        "current of a single-phase device",
        device_class="current",
        state_class="measurement",
    ),
    Metric("current_a", "A", NUMBER, "current of phase A", device_class="current", state_class="measurement"),
    Metric("current_b", "A", NUMBER, "current of phase B", device_class="current", state_class="measurement"),
    Metric("current_c", "A", NUMBER, "current of phase C", device_class="current", state_class="measurement"),
    Metric(
        "active_power",
        "W",
        NUMBER,
        "active power of the whole device",
        device_class="power",
        state_class="measurement",
    ),
    Metric(
        "active_power_a",
        "W",
        NUMBER,
        "active power of phase A",
        device_class="power",
        state_class="measurement",
    ),
    Metric(
        "active_power_b",
        "W",
        NUMBER,
        "active power of phase B",
        device_class="power",
        state_class="measurement",
    ),
    Metric(
        "active_power_c",
        "W",
        NUMBER,
        "active power of phase C",
        device_class="power",
        state_class="measurement",
    ),
    Metric(
        "active_power_net",
        "W",
        NUMBER,
        "active power in the net-metering row",
        device_class="power",
        state_class="measurement",
    ),
    Metric(
        "reactive_power",
        "var",
        NUMBER,
        "reactive power, total",
        device_class="reactive_power",
        state_class="measurement",
    ),
    Metric(
        "reactive_power_a",
        "var",
        NUMBER,
        "reactive power of phase A",
        device_class="reactive_power",
        state_class="measurement",
    ),
    Metric(
        "reactive_power_b",
        "var",
        NUMBER,
        "reactive power of phase B",
        device_class="reactive_power",
        state_class="measurement",
    ),
    Metric(
        "reactive_power_c",
        "var",
        NUMBER,
        "reactive power of phase C",
        device_class="reactive_power",
        state_class="measurement",
    ),
    Metric(
        "power_factor",
        "",
        NUMBER,
        "power factor, −1…1",
        device_class="power_factor",
        state_class="measurement",
    ),
    Metric(
        "power_factor_a",
        "",
        NUMBER,
        "power factor of phase A (never summed or averaged)",
        device_class="power_factor",
        state_class="measurement",
    ),
    Metric(
        "power_factor_b",
        "",
        NUMBER,
        "power factor of phase B (never summed or averaged)",
        device_class="power_factor",
        state_class="measurement",
    ),
    Metric(
        "power_factor_c",
        "",
        NUMBER,
        "power factor of phase C (never summed or averaged)",
        device_class="power_factor",
        state_class="measurement",
    ),
    Metric(
        "power_factor_net",
        "",
        NUMBER,
        "power factor in the net-metering row",
        device_class="power_factor",
        state_class="measurement",
    ),
    Metric("frequency", "Hz", NUMBER, "grid frequency", device_class="frequency", state_class="measurement"),
    Metric(
        "frequency_a",
        "Hz",
        NUMBER,
        "grid frequency seen by phase A",
        device_class="frequency",
        state_class="measurement",
    ),
    Metric(
        "frequency_b",
        "Hz",
        NUMBER,
        "grid frequency seen by phase B",
        device_class="frequency",
        state_class="measurement",
    ),
    Metric(
        "frequency_c",
        "Hz",
        NUMBER,
        "grid frequency seen by phase C",
        device_class="frequency",
        state_class="measurement",
    ),
    Metric(
        "frequency_net",
        "Hz",
        NUMBER,
        "frequency in the net-metering row",
        device_class="frequency",
        state_class="measurement",
    ),
    Metric(
        "import_energy",
        "kWh",
        NUMBER,
        "energy taken from the supply, lifetime counter",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "import_energy_a",
        "kWh",
        NUMBER,
        "lifetime counter of phase A",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "import_energy_b",
        "kWh",
        NUMBER,
        "lifetime counter of phase B",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "import_energy_c",
        "kWh",
        NUMBER,
        "lifetime counter of phase C",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "import_energy_net",
        "kWh",
        NUMBER,
        "import counter of the net-metering row",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "export_energy",
        "kWh",
        NUMBER,
        "energy fed back, lifetime counter",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "export_energy_a",
        "kWh",
        NUMBER,
        "lifetime counter of phase A",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "export_energy_b",
        "kWh",
        NUMBER,
        "lifetime counter of phase B",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "export_energy_c",
        "kWh",
        NUMBER,
        "lifetime counter of phase C",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "export_energy_net",
        "kWh",
        NUMBER,
        "export counter of the net-metering row",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "import_energy_sharp",
        "kWh",
        NUMBER,
        "energy taken from the supply, tariff register sharp",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "import_energy_peak",
        "kWh",
        NUMBER,
        "energy taken from the supply, tariff register peak",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "import_energy_flat",
        "kWh",
        NUMBER,
        "energy taken from the supply, tariff register flat",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "import_energy_valley",
        "kWh",
        NUMBER,
        "energy taken from the supply, tariff register valley",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "import_energy_interval",
        "kWh",
        NUMBER,
        "energy taken within the record's own period",
        device_class="energy",
    ),
    Metric(
        "export_energy_interval", "kWh", NUMBER, "energy fed back within the period", device_class="energy"
    ),
    Metric(
        "self_use_energy_interval",
        "kWh",
        NUMBER,
        "own generation used on the spot within the period",
        device_class="energy",
    ),
    Metric(
        "special_load_energy_interval",
        "kWh",
        NUMBER,
        "energy of the monitored special load within the period",
        device_class="energy",
    ),
    # 1.2 Solar
    Metric(
        "pv1_voltage", "V", NUMBER, "voltage of PV input 1", device_class="voltage", state_class="measurement"
    ),
    Metric(
        "pv2_voltage", "V", NUMBER, "voltage of PV input 2", device_class="voltage", state_class="measurement"
    ),
    Metric(
        "pv3_voltage", "V", NUMBER, "voltage of PV input 3", device_class="voltage", state_class="measurement"
    ),
    Metric(
        "pv1_current", "A", NUMBER, "current of PV input 1", device_class="current", state_class="measurement"
    ),
    Metric(
        "pv2_current", "A", NUMBER, "current of PV input 2", device_class="current", state_class="measurement"
    ),
    Metric(
        "pv3_current", "A", NUMBER, "current of PV input 3", device_class="current", state_class="measurement"
    ),
    Metric(
        "yield_today",
        "kWh",
        NUMBER,
        "energy generated today (starts again at 0)",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "yield_month",
        "kWh",
        NUMBER,
        "energy generated this month",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "yield_year",
        "kWh",
        NUMBER,
        "energy generated this year",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "yield_total",
        "kWh",
        NUMBER,
        "energy generated, lifetime counter",
        device_class="energy",
        state_class="total_increasing",
    ),
    Metric(
        "yield_interval",
        "kWh",
        NUMBER,
        "energy generated within the record's own period",
        device_class="energy",
    ),
    Metric("peak_power", "W", NUMBER, "peak power of the plant", device_class="power", category="diagnostic"),
    Metric(
        "specific_yield",
        "kWh/kW",
        NUMBER,
        "yield of the day per kW installed (vendor's efficiency; not a percentage)",
        state_class="measurement",
    ),
    Metric("co2_avoided", "kg", NUMBER, "CO₂ avoided, lifetime", state_class="total_increasing"),
    Metric(
        "plant_status",
        "",
        STRING,
        "state of the plant: running, design, off_grid, standby, low_light, stopped, fault, alarm, emergency_stop, "
        "communication_error or unknown_<code>",
    ),
    # 1.3 Water, and meters of unknown medium
    Metric(
        "water_volume",
        "m³",
        NUMBER,
        "water, lifetime counter",
        device_class="water",
        state_class="total_increasing",
    ),
    Metric(
        "water_volume_interval", "m³", NUMBER, "water within the record's own period", device_class="water"
    ),
    Metric(
        "reading",
        "",
        NUMBER,
        "counter of a meter whose medium is unknown (kind meter), no unit",
        state_class="total_increasing",
    ),
    Metric("reading_interval", "", NUMBER, "the same within the record's own period"),
    # 1.4 Gas
    Metric(
        "gas_volume",
        "m³",
        NUMBER,
        "gas at standard conditions, lifetime counter",
        device_class="gas",
        state_class="total_increasing",
    ),
    Metric(
        "gas_volume_uncorrected",
        "m³",
        NUMBER,
        "gas at working conditions, lifetime counter",
        device_class="gas",
        state_class="total_increasing",
    ),
    Metric(
        "gas_flow",
        "m³/h",
        NUMBER,
        "momentary flow at standard conditions",
        device_class="volume_flow_rate",
        state_class="measurement",
    ),
    Metric(
        "gas_flow_uncorrected",
        "m³/h",
        NUMBER,
        "momentary flow at working conditions",
        device_class="volume_flow_rate",
        state_class="measurement",
    ),
    Metric(
        "gas_volume_this_month",
        "m³",
        NUMBER,
        "consumption of this month, by the meter",
        device_class="gas",
        state_class="total_increasing",
    ),
    Metric("gas_volume_last_month", "m³", NUMBER, "consumption of last month", device_class="gas"),
    Metric(
        "gas_volume_this_cycle",
        "m³",
        NUMBER,
        "consumption of this billing cycle",
        device_class="gas",
        state_class="total_increasing",
    ),
    Metric(
        "gas_volume_last_cycle", "m³", NUMBER, "consumption of the last billing cycle", device_class="gas"
    ),
    Metric(
        "gas_volume_base",
        "m³",
        NUMBER,
        "base reading of the meter",
        device_class="gas",
        category="diagnostic",
    ),
    Metric(
        "magnetic_attack_count",
        "",
        NUMBER,
        "number of magnetic attacks counted by the meter",
        state_class="total_increasing",
        category="diagnostic",
    ),
    # 1.5 Money and credit
    Metric(
        "balance_money",
        "CNY",
        NUMBER,
        "money left in a prepayment meter",
        device_class="monetary",
        state_class="total",
    ),
    Metric(
        "balance_volume",
        "m³",
        NUMBER,
        "volume left in a prepayment meter",
        device_class="volume_storage",
        state_class="measurement",
    ),
    Metric(
        "balance_energy",
        "kWh",
        NUMBER,
        "energy credit left; only while prepay is true",
        device_class="energy_storage",
        state_class="measurement",
    ),
    Metric("price", "CNY/m³", NUMBER, "price in force", state_class="measurement"),
    Metric("purchase_total", "", NUMBER, "accumulated purchase", state_class="total_increasing"),
    Metric(
        "cost_interval",
        "CNY",
        NUMBER,
        "money used up within the record's own period",
        device_class="monetary",
    ),
    Metric(
        "billing_type", "", STRING, "ladder (0), metering_only (1), unknown_<code>", category="diagnostic"
    ),
    Metric(
        "account_open",
        "",
        BOOL,
        "an account is opened on the meter",
        platform="binary_sensor",
        category="diagnostic",
    ),
    Metric(
        "prepay_enabled",
        "",
        BOOL,
        "prepayment (energy credit) is switched on",
        platform="binary_sensor",
        category="diagnostic",
    ),
    # 1.6 Switch and valve
    Metric(
        "switch_state",
        "",
        STRING,
        "on = contact closed, supply on; off = contact open",
        platform="switch",
        device_class="switch",
    ),
    Metric(
        "valve_state", "", STRING, "whether the valve is open or closed", platform="valve", device_class="gas"
    ),
    Metric(
        "valve_closed_remote",
        "",
        BOOL,
        "closed by remote command",
        platform="binary_sensor",
        category="diagnostic",
    ),
    Metric(
        "valve_closed_dismantled",
        "",
        BOOL,
        "closed because the meter was taken off (also an alarm)",
        platform="binary_sensor",
        device_class="problem",
        category="diagnostic",
    ),
    Metric(
        "valve_closed_overflow",
        "",
        BOOL,
        "closed because of excessive flow (also an alarm)",
        platform="binary_sensor",
        device_class="problem",
        category="diagnostic",
    ),
    Metric(
        "valve_closed_leak_flow",
        "",
        BOOL,
        "closed because of small (leak) flow (also an alarm)",
        platform="binary_sensor",
        device_class="problem",
        category="diagnostic",
    ),
    Metric(
        "valve_closed_stalled",
        "",
        BOOL,
        "closed because the meter stalled (also an alarm)",
        platform="binary_sensor",
        device_class="problem",
        category="diagnostic",
    ),
    Metric(
        "valve_forced_open",
        "",
        BOOL,
        "valve forced open (also an alarm)",
        platform="binary_sensor",
        device_class="problem",
        category="diagnostic",
    ),
    Metric(
        "schedule_active",
        "",
        BOOL,
        "a schedule holds the switch",
        platform="binary_sensor",
        category="diagnostic",
    ),
    Metric("schedule_index", "", NUMBER, "its number 0–9; −1 = none", category="diagnostic"),
    Metric("scheduled_state", "", STRING, "on, off: what the schedule wants", category="diagnostic"),
    Metric(
        "retain_state",
        "",
        BOOL,
        "true: after a power cut the switch returns to its former state; false: stays off",
        platform="switch",
        device_class="switch",
        category="config",
    ),
    # 1.7 Environment, supply, radio, health
    Metric(
        "temperature",
        "°C",
        NUMBER,
        "gas temperature (iotmeter), device temperature (wmj, saj inverter)",
        device_class="temperature",
        state_class="measurement",
    ),
    Metric(
        "pressure",
        "kPa",
        NUMBER,
        "gas pressure (absolute or gauge: not stated)",
        device_class="pressure",
        state_class="measurement",
    ),
    Metric(
        "battery_voltage",
        "V",
        NUMBER,
        "battery voltage",
        device_class="voltage",
        state_class="measurement",
        category="diagnostic",
    ),
    Metric(
        "battery_level",
        "%",
        NUMBER,
        "battery charge, as sent",
        device_class="battery",
        state_class="measurement",
        category="diagnostic",
    ),
    Metric(
        "battery_low_level",
        "",
        NUMBER,
        "0 normal, 1 first, 2 second low-battery level (1 and 2 are also an alarm)",
        category="diagnostic",
    ),
    Metric(
        "battery_disconnected",
        "",
        BOOL,
        "battery taken off (also an alarm)",
        platform="binary_sensor",
        device_class="problem",
        category="diagnostic",
    ),
    Metric(
        "external_power",
        "",
        BOOL,
        "external power present",
        platform="binary_sensor",
        device_class="power",
        category="diagnostic",
    ),
    Metric(
        "mains_power",
        "",
        BOOL,
        "mains power of the RTU present (loss is also an alarm)",
        platform="binary_sensor",
        device_class="power",
        category="diagnostic",
    ),
    Metric(
        "signal_strength",
        "dBm",
        NUMBER,
        "radio signal",
        device_class="signal_strength",
        state_class="measurement",
        category="diagnostic",
    ),
    Metric(
        "rssi",
        "",
        NUMBER,
        "radio signal, raw: dBm if negative, CSQ 0–31 if positive; not converted",
        state_class="measurement",
        category="diagnostic",
    ),
    Metric(
        "last_online",
        "",
        STRING,
        "RFC 3339, UTC: last time the platform saw the meter",
        device_class="timestamp",
        category="diagnostic",
    ),
    Metric(
        "healthy",
        "",
        BOOL,
        "breaker works normally (false is also an alarm)",
        platform="binary_sensor",
        device_class="problem",
        category="diagnostic",
        inverted=True,
    ),
    Metric(
        "magnetic_attack",
        "",
        BOOL,
        "magnetic attack present (also an alarm)",
        platform="binary_sensor",
        device_class="tamper",
    ),
    Metric(
        "pulse_fault",
        "",
        BOOL,
        "pulse or reed-switch fault (also an alarm)",
        platform="binary_sensor",
        device_class="problem",
        category="diagnostic",
    ),
    Metric(
        "door_open", "", BOOL, "RTU door open (also an alarm)", platform="binary_sensor", device_class="door"
    ),
    Metric(
        "fence_alarm",
        "",
        BOOL,
        "RTU fence alarm (also an alarm)",
        platform="binary_sensor",
        device_class="safety",
    ),
    Metric(
        "vibration_alarm",
        "",
        BOOL,
        "RTU vibration alarm (also an alarm)",
        platform="binary_sensor",
        device_class="vibration",
    ),
    Metric(
        "status_bits",
        "",
        NUMBER,
        "meter state as a bit field; meaning of the bits not documented",
        category="diagnostic",
    ),
    Metric("status_text", "", STRING, "meter state in the vendor's words", category="diagnostic"),
    Metric("rtu_status", "", NUMBER, "RTU state value", category="diagnostic"),
    Metric("rtu_status_text", "", STRING, "RTU state text", category="diagnostic"),
    # 1.8 Protection settings
    Metric(
        "threshold_leakage_current",
        "mA",
        NUMBER,
        "leakage above which the breaker opens (a setting, not a measurement)",
        device_class="current",
        category="diagnostic",
    ),
    Metric(
        "threshold_overcurrent",
        "A",
        NUMBER,
        "current above which it opens",
        device_class="current",
        category="diagnostic",
    ),
    Metric(
        "threshold_temperature",
        "°C",
        NUMBER,
        "temperature above which it opens",
        device_class="temperature",
        category="diagnostic",
    ),
    Metric(
        "threshold_overvoltage",
        "V",
        NUMBER,
        "voltage above which it opens",
        device_class="voltage",
        category="diagnostic",
    ),
    Metric(
        "threshold_undervoltage",
        "V",
        NUMBER,
        "voltage below which it opens",
        device_class="voltage",
        category="diagnostic",
    ),
    Metric(
        "threshold_overload",
        "W",
        NUMBER,
        "power above which it opens",
        device_class="power",
        category="diagnostic",
    ),
    Metric(
        "threshold_low_balance",
        "kWh",
        NUMBER,
        "credit below which it warns or opens",
        device_class="energy_storage",
        category="diagnostic",
    ),
    Metric(
        "trip_leakage_current",
        "",
        BOOL,
        "leakage current protection: true = alarm and trip, false = alarm only, the protection is off",
        platform="binary_sensor",
        category="diagnostic",
    ),
    Metric(
        "trip_temperature",
        "",
        BOOL,
        "temperature protection: true = alarm and trip, false = alarm only, the protection is off",
        platform="binary_sensor",
        category="diagnostic",
    ),
    Metric(
        "trip_overload",
        "",
        BOOL,
        "overload protection: true = alarm and trip, false = alarm only, the protection is off",
        platform="binary_sensor",
        category="diagnostic",
    ),
    Metric(
        "trip_overcurrent",
        "",
        BOOL,
        "overcurrent protection: true = alarm and trip, false = alarm only, the protection is off",
        platform="binary_sensor",
        category="diagnostic",
    ),
    Metric(
        "trip_overvoltage",
        "",
        BOOL,
        "overvoltage protection: true = alarm and trip, false = alarm only, the protection is off",
        platform="binary_sensor",
        category="diagnostic",
    ),
    Metric(
        "trip_undervoltage",
        "",
        BOOL,
        "undervoltage protection: true = alarm and trip, false = alarm only, the protection is off",
        platform="binary_sensor",
        category="diagnostic",
    ),
    Metric(
        "trip_low_balance",
        "",
        BOOL,
        "low balance protection: true = alarm and trip, false = alarm only, the protection is off",
        platform="binary_sensor",
        category="diagnostic",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ROWS}

WATER_VALVE_DEVICE_CLASS = "water"
"""Device class of `valve_state` on a water meter; on a gas meter it is `gas`, as the table says."""

LIFETIME_COUNTERS: frozenset[str] = frozenset(
    name
    for name in METRICS
    if name in {"water_volume", "gas_volume", "gas_volume_uncorrected", "yield_total", "reading"}
    or (name.startswith(("import_energy", "export_energy")) and not name.endswith("_interval"))
)
"""Metrics whose fall is the event `counter_reset` (METRICS section 3)."""

SWITCH_EVENTS: dict[str, dict[str, str]] = {
    "switch_state": {"on": "switch_on", "off": "switch_off"},
    "valve_state": {"open": "valve_opened", "closed": "valve_closed"},
}
"""Metrics whose change is an event, and the event of each new value (METRICS section 3)."""
