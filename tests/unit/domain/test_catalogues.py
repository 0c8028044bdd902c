"""The tables in code against the documented ones (tests/fixtures/metrics_catalogue.json)."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.domain.alarms import (
    CONDITION_METRICS,
    CONDITIONS,
    MESSAGE_SEVERITY,
    Severity,
    severity_of,
)
from bridge.domain.metrics import LIFETIME_COUNTERS, METRICS, SWITCH_EVENTS, Form

CATALOGUE = json.loads((Path(__file__).parents[2] / "fixtures" / "metrics_catalogue.json").read_text())


def test_metrics_are_exactly_the_documented_ones():
    assert sorted(METRICS) == sorted(row["name"] for row in CATALOGUE["metrics"])


@pytest.mark.parametrize("row", CATALOGUE["metrics"], ids=lambda row: row["name"])
def test_metric_is_as_documented(row):
    metric = METRICS[row["name"]]
    assert {
        "name": metric.name,
        "unit": metric.unit,
        "type": str(metric.form),
        "platform": metric.platform,
        "device_class": metric.device_class,
        "state_class": metric.state_class,
        "category": metric.category,
        "inverted": metric.inverted,
    } == row
    assert metric.meaning


@pytest.mark.parametrize(
    ("form", "fits", "does_not"),
    [
        (Form.NUMBER, [1, Decimal("1.5"), 0], [True, False, "1"]),
        (Form.BOOL, [True, False], [1, 0, "true"]),
        (Form.STRING, ["", "on"], [1, True, Decimal(1)]),
    ],
)
def test_metric_takes_values_of_its_type_only(form, fits, does_not):
    metric = next(metric for metric in METRICS.values() if metric.form is form)
    assert all(metric.takes(value) for value in fits)
    assert not any(metric.takes(value) for value in does_not)


def test_lifetime_counters_are_the_documented_ones():
    counters = {
        row["name"]
        for row in CATALOGUE["metrics"]
        if row["name"].startswith(("import_energy", "export_energy"))
        and not row["name"].endswith("_interval")
    } | {"water_volume", "gas_volume", "gas_volume_uncorrected", "yield_total", "reading"}
    assert counters == LIFETIME_COUNTERS
    assert all(METRICS[name].state_class == "total_increasing" for name in LIFETIME_COUNTERS)


def test_switch_events_belong_to_metrics():
    assert {name: METRICS[name].form for name in SWITCH_EVENTS} == {
        "switch_state": Form.STRING,
        "valve_state": Form.STRING,
    }


def test_alarms_are_exactly_the_documented_ones_with_their_severities():
    documented = {
        (row["code"], severity): row["kind"]
        for row in CATALOGUE["alarms"]
        for severity in row["severities"]
        if row["code"] != "vendor_<code>"
    }
    conditions = {(one.code, str(one.severity)): "C" for one in CONDITIONS}
    messages = {(code, str(severity)): "M" for code, severity in MESSAGE_SEVERITY.items()}
    assert conditions | messages == documented
    assert len(conditions) == len(CONDITIONS)


def test_conditions_look_at_metrics_of_the_right_type():
    for condition in CONDITIONS:
        assert all(METRICS[condition.metric].takes(value) for value in condition.bad), condition.code
    assert {one.metric for one in CONDITIONS} == CONDITION_METRICS


def test_only_lost_mains_power_needs_to_have_been_seen_first():
    assert [one.code for one in CONDITIONS if one.needs_good_first] == ["mains_power_lost"]


@pytest.mark.parametrize(
    ("code", "vendor_code", "mapped", "severity"),
    [
        ("overcurrent", "4", {}, Severity.CRITICAL),
        ("overcurrent", "4", {"4": "info"}, Severity.CRITICAL),
        ("vendor_e_21", "E-21", {}, Severity.WARNING),
        ("vendor_e_21", "E-21", {"E-21": "critical"}, Severity.CRITICAL),
        ("vendor_e_21", "E-21", {"vendor_e_21": "info"}, Severity.INFO),
        ("vendor_e_21", "E-21", {"E-21": "critical", "vendor_e_21": "info"}, Severity.CRITICAL),
        ("vendor_3", "3", {"4": "critical"}, Severity.WARNING),
    ],
)
def test_severity_is_the_tables_then_the_accounts_then_warning(code, vendor_code, mapped, severity):
    assert severity_of(code, vendor_code, mapped) is severity
