"""The entities of Home Assistant that one device becomes (METRICS rule 10), with the short keys of its discovery.

Made from the device's `info`, so an entity that commands exists only where `info` offers the command. What needs a
confirmation or an `id` is never an entity: a tap on a screen gives neither, and a recharge is no `number`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bridge.domain.alarms import ALARMS_OF_KIND, CONDITIONS
from bridge.domain.device import DeviceKind
from bridge.domain.events import EVENTS
from bridge.domain.metrics import METRICS, WATER_VALVE_DEVICE_CLASS, Form, Metric
from bridge.domain.text import Json, dumps

Component = dict[str, Any]

OTHER_EVENT = "other"
"""The type of an event whose code is the vendor's own; Home Assistant takes only types that it was told."""

_SWITCHES: Mapping[str, tuple[str, Component]] = {
    "switch_state": (
        "breaker",
        {"pl_on": "on", "pl_off": "off", "stat_on": "on", "stat_off": "off"},
    ),
    "valve_state": (
        "valve",
        {"pl_open": "open", "pl_cls": "close", "stat_open": "open", "stat_clsd": "closed", "pos": False},
    ),
    "retain_state": (
        "retain_state",
        {
            "pl_on": '{"enabled": true}',
            "pl_off": '{"enabled": false}',
            "stat_on": "True",
            "stat_off": "False",
        },
    ),
}
"""Metric → the command that sets it, and the words of both. A template renders JSON's true as `True`."""

_THRESHOLDS: Mapping[str, str] = {
    "threshold_leakage_current": "leakage_current_ma",
    "threshold_overcurrent": "overcurrent_a",
    "threshold_temperature": "overheat_c",
    "threshold_overvoltage": "overvoltage_v",
    "threshold_undervoltage": "undervoltage_v",
}
"""Metric → the parameter of `set_protection` that sets it."""

_BUTTONS: Mapping[str, Component] = {
    "read": {"name": "Read now", "ent_cat": "diagnostic"},
    "restart": {"name": "Restart", "ent_cat": "config", "dev_cla": "restart"},
}

_SPEAKING_CLASSES = frozenset({"problem", "tamper", "door", "safety", "vibration"})
"""Device classes of binary sensors that say by themselves that something is wrong."""

_SMALL = {"pv1": "PV1", "pv2": "PV2", "pv3": "PV3", "co2": "CO₂", "rtu": "RTU", "rssi": "RSSI"}
_SMALL |= {"a": "A", "b": "B", "c": "C"}


@dataclass(frozen=True, slots=True)
class Places:
    """Where a device speaks and listens: its topics below the base, and the stem of its entities' ids."""

    state: str
    alarm: str
    event: str
    commands: str
    unique: str


def components(
    info: Mapping[str, Json], places: Places, confirm: frozenset[str], expire_after_s: int | None
) -> dict[str, Component]:
    """All entities of a device, by a key that names the platform too (another platform is another entity).

    `info` is the device's document (CONTRACT section 4); `confirm` are the commands that the configuration wants
    confirmed; `expire_after_s` is when a measurement is too old to be shown.
    """
    commands = {
        name: command
        for name, command in info["commands"].items()
        if not command["needs_id"] and not command["dangerous"] and name not in confirm
    }
    found: dict[str, Component] = {}

    def add(platform: str, name: str, component: Component) -> None:
        key = f"{platform}_{name}"
        found[key] = {"p": platform, "uniq_id": f"{places.unique}_{key}", **component}

    kind = DeviceKind(info["kind"])
    for name, told in info["metrics"].items():
        platform, component = _of_metric(replace(METRICS[name], unit=told["unit"]), kind, commands, places)
        if platform == "sensor" and expire_after_s is not None and METRICS[name].state_class == "measurement":
            component["exp_aft"] = expire_after_s
        add(platform, name, component)
    for name, component in _BUTTONS.items():
        if name in commands:
            add("button", name, {**component, **_commanding(places, name), "pl_prs": "{}"})
    for name, component in _alarms(kind, info["metrics"], places):
        add("binary_sensor", name, component)
    if kind in ALARMS_OF_KIND:
        add("event", "alarm", _alarm_event(places))
    add("event", "event", _event(places))
    return found


def label(metric: str) -> str:
    """A metric's name for people: `active_power_a` → `Active power A`."""
    words = [_SMALL.get(word, word) for word in metric.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def _of_metric(
    metric: Metric, kind: DeviceKind, commands: Mapping[str, Json], places: Places
) -> tuple[str, Component]:
    """The platform of a metric and its keys."""
    component: Component = {
        "name": label(metric.name),
        "stat_t": places.state,
        "val_tpl": f"{{{{ value_json.metrics.{metric.name} | default(none) }}}}",
    }
    command, words = _SWITCHES.get(metric.name, ("", {}))
    if command in commands:
        device_class = metric.device_class
        if metric.name == "valve_state" and kind is DeviceKind.WATER_METER:
            device_class = WATER_VALVE_DEVICE_CLASS
        component |= {**_classes(metric, device_class), **_commanding(places, command), **words}
        return metric.platform, component
    if _THRESHOLDS.get(metric.name) in _parameters(commands):
        return "number", component | _threshold(metric, commands, places)
    if metric.platform == "binary_sensor":
        on, off = ("False", "True") if metric.inverted else ("True", "False")
        return "binary_sensor", component | {
            **_classes(metric, metric.device_class),
            "pl_on": on,
            "pl_off": off,
        }
    if metric.platform != "sensor":  # a switch or valve that must not be commanded
        return "sensor", component | ({"ent_cat": "diagnostic"} if metric.category else {})
    return "sensor", component | _classes(metric, metric.device_class) | _measured(metric)


def _classes(metric: Metric, device_class: str | None) -> Component:
    given = {"dev_cla": device_class, "ent_cat": metric.category}
    return {key: value for key, value in given.items() if value is not None}


def _measured(metric: Metric) -> Component:
    given = {
        "stat_cla": metric.state_class,
        "unit_of_meas": metric.unit if metric.form is Form.NUMBER else "",
    }
    return {key: value for key, value in given.items() if value}


def _commanding(places: Places, command: str) -> Component:
    """QoS 1: Home Assistant's own default is 0, and a command must not get lost on the way."""
    return {"cmd_t": f"{places.commands}/{command}", "qos": 1}


def _parameters(commands: Mapping[str, Json]) -> Mapping[str, Json]:
    """The parameters of `set_protection` with their ranges, if it may be used."""
    schema = commands["set_protection"]["params"] if "set_protection" in commands else {}
    properties: Mapping[str, Json] = schema.get("properties", {})
    return properties


def _threshold(metric: Metric, commands: Mapping[str, Json], places: Places) -> Component:
    parameter = _THRESHOLDS[metric.name]
    limits = _parameters(commands)[parameter]
    return {
        **_commanding(places, "set_protection"),
        "cmd_tpl": f'{{"{parameter}": {{{{ value | int }}}} }}',
        "min": limits["minimum"],
        "max": limits["maximum"],
        "step": 1,
        "mode": "box",
        "unit_of_meas": metric.unit,
        "dev_cla": metric.device_class,
        "ent_cat": "config",
    }


def _alarms(kind: DeviceKind, metrics: Mapping[str, Json], places: Places) -> Iterator[tuple[str, Component]]:
    """One problem sensor for all alarms, and one for each that a device of this kind may raise and that no metric
    shows as a problem already."""
    if kind not in ALARMS_OF_KIND:
        return
    yield (
        "alarms",
        {
            "name": "Alarms",
            "dev_cla": "problem",
            "stat_t": places.state,
            "val_tpl": "{{ 'ON' if value_json.alarms else 'OFF' }}",
            "json_attr_t": places.state,
            "json_attr_tpl": "{{ {'alarms': value_json.alarms} | tojson }}",
        },
    )
    codes = dict.fromkeys(ALARMS_OF_KIND[kind])
    for condition in CONDITIONS:
        metric = METRICS[condition.metric]
        if condition.metric in metrics and metric.device_class not in _SPEAKING_CLASSES:
            codes[condition.code] = None
    for code in codes:
        yield (
            f"alarm_{code}",
            {
                "name": f"Alarm {label(code).lower()}",
                "dev_cla": "problem",
                "ent_cat": "diagnostic",
                "stat_t": places.state,
                "val_tpl": f"{{{{ 'ON' if '{code}' in value_json.alarms else 'OFF' }}}}",
            },
        )


def _alarm_event(places: Places) -> Component:
    shown = ("code", "severity", "message", "vendor_code", "ts", "id")
    return {
        "name": "Alarm",
        "stat_t": places.alarm,
        "evt_typ": ["raised", "cleared"],
        "val_tpl": _event_template("value_json.state", shown),
        "qos": 1,
    }


def _event(places: Places) -> Component:
    codes = [*EVENTS, OTHER_EVENT]
    known = dumps(list(EVENTS)).decode()
    kind = f"value_json.code if value_json.code in {known} else '{OTHER_EVENT}'"
    return {
        "name": "Event",
        "stat_t": places.event,
        "evt_typ": codes,
        "val_tpl": _event_template(f"({kind})", ("code", "message", "vendor_code", "data", "ts", "id")),
        "qos": 1,
    }


def _event_template(kind: str, shown: tuple[str, ...]) -> str:
    parts = [f"'event_type': {kind}", *(f"'{key}': value_json.{key}" for key in shown)]
    return "{{ {" + ", ".join(parts) + "} | tojson }}"
