"""Which of a device's many metrics people want to see first, and which are worth a chart."""

from __future__ import annotations

from bridge.domain.metrics import METRICS

HEADLINE = (
    "switch_state",
    "valve_state",
    "plant_status",
    "active_power",
    "gas_flow",
    "gas_volume",
    "water_volume",
    "import_energy",
    "yield_today",
    "yield_total",
    "balance_money",
    "balance_energy",
    "balance_volume",
    "reading",
    "voltage",
    "voltage_a",
    "current",
    "pv1_voltage",
    "temperature",
    "battery_level",
    "battery_voltage",
)
"""Shown in the list of devices, in this order, as many as fit."""

_FIRST = (
    "active_power",
    "gas_flow",
    "water_volume",
    "gas_volume",
    "switch_state",
    "valve_state",
    "import_energy",
    "yield_today",
    "voltage",
    "balance_money",
    "reading",
)

CHARTED = (
    *_FIRST,
    *(
        name
        for name, metric in METRICS.items()
        if metric.state_class is not None and name not in _FIRST and metric.category is None
    ),
)
"""Metrics with a chart, the most telling first."""
