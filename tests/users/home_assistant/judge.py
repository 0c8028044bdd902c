"""Home Assistant's judgement on discovery messages; runs in its environment, not in ours.

Reads `{"documents": {topic: payload}, "states": {topic: [payload, …]}}` and prints `{"version": …, "device_discovery":
bool, "problems": […], "rendered": [[component, template's topic, text], …]}`. What Home Assistant would silently take
out of a component is a problem too.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
import tempfile
from typing import Any

import voluptuous as vol
from homeassistant.components.mqtt import abbreviations
from homeassistant.components.number.const import DEVICE_CLASS_UNITS as NUMBER_UNITS
from homeassistant.components.sensor.const import DEVICE_CLASS_STATE_CLASSES, DEVICE_CLASS_UNITS
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant
from homeassistant.helpers import frame
from homeassistant.helpers.template import Template

PLATFORMS = ("sensor", "binary_sensor", "switch", "valve", "number", "button", "event")
TOPIC = re.compile(r"\w+/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config")
SHARED = {"availability", "availability_mode", "device", "origin"}
NEWER = {"cmps": "components", "o": "origin", "dev": "device"}  # short keys that 2024.3 does not have yet
COMPONENT = {"uniq_id": "unique_id", "p": "platform"}

try:
    from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
except ImportError:
    DEVICE_DISCOVERY_SCHEMA = None

problems: list[str] = []
rendered: list[list[str]] = []


def spelled(config: dict[str, Any], table: dict[str, str]) -> dict[str, Any]:
    """Long keys for short ones."""
    return {table.get(key, key): value for key, value in config.items()}


def long(payload: dict[str, Any]) -> dict[str, Any]:
    """The document as Home Assistant reads it."""
    table = {**abbreviations.ABBREVIATIONS, **NEWER}
    device = spelled(payload["dev"], abbreviations.DEVICE_ABBREVIATIONS)
    origin = spelled(payload["o"], getattr(abbreviations, "ORIGIN_ABBREVIATIONS", {"sw": "sw_version"}))
    whole = {**spelled(payload, table), "device": device, "origin": origin}
    whole["availability"] = [spelled(one, table) for one in whole["availability"]]
    whole["components"] = {
        key: spelled(one, {**table, **COMPONENT}) for key, one in whole["components"].items()
    }
    return whole


def check_component(name: str, config: dict[str, Any]) -> None:
    """By the platform's own schema, and by the tables that Home Assistant's core checks at run time."""
    platform = config["platform"]
    schema = importlib.import_module(f"homeassistant.components.mqtt.{platform}").DISCOVERY_SCHEMA
    given = {key: value for key, value in config.items() if key != "platform"}
    try:
        taken = schema(given)
    except vol.Invalid as error:
        problems.append(f"{name}: {error}")
        return
    problems.extend(f"{name}: {key} is unknown to {platform}" for key in given if key not in taken)
    unit, device_class = config.get("unit_of_measurement"), config.get("device_class")
    state_class = config.get("state_class")
    if platform in ("sensor", "binary_sensor") and config.get("entity_category") == "config":
        problems.append(f"{name}: a {platform} cannot be a setting")
    if platform == "sensor":
        allowed = DEVICE_CLASS_UNITS.get(device_class)
        if allowed is not None and unit not in allowed and device_class != "monetary":
            problems.append(f"{name}: {unit} does not go with {device_class}")
        classes = DEVICE_CLASS_STATE_CLASSES.get(device_class)
        if state_class and classes is not None and state_class not in classes:
            problems.append(f"{name}: {state_class} does not go with {device_class}")
    if platform == "number" and device_class and unit not in NUMBER_UNITS[device_class]:
        problems.append(f"{name}: {unit} does not go with {device_class}")


def render(name: str, config: dict[str, Any], messages: dict[str, list[str]], home: HomeAssistant) -> None:
    """Its templates against what was published on their topics."""
    for where, how in (
        ("state_topic", "value_template"),
        ("json_attributes_topic", "json_attributes_template"),
    ):
        if how not in config:
            continue
        template = Template(config[how], home)
        for text in messages.get(config[where], []):
            value = template.async_render_with_possible_json_value(text, error_value="?", parse_result=False)
            rendered.append([f"{name}:{config['platform']}", how, value])
            if value == "?":
                problems.append(f"{name}: {config[how]} fails for {text}")
            else:
                judge_value(name, config, value)
    if "command_template" in config:
        template = Template(config["command_template"], home)
        text = template.async_render({"value": config["min"]}, parse_result=False)
        rendered.append([f"{name}:{config['platform']}", "command_template", text])


def judge_value(name: str, config: dict[str, Any], value: str) -> None:
    """What the entity would do with it."""
    platform = config["platform"]
    words: set[str] | None = None
    if platform == "binary_sensor":
        words = {config.get("payload_on", "ON"), config.get("payload_off", "OFF"), "None"}
    elif platform == "switch":
        words = {config["state_on"], config["state_off"], "None"}
    elif platform == "valve":
        words = {config["state_open"], config["state_closed"], "None"}
    elif platform == "event" and json.loads(value)["event_type"] not in config["event_types"]:
        problems.append(f"{name}: unknown event type in {value}")
    elif platform in ("sensor", "number") and config.get("unit_of_measurement") and not is_number(value):
        problems.append(f"{name}: {value!r} is no number")
    if words is not None and value not in words and not value.startswith("{"):
        problems.append(f"{name}: {value!r} is none of {sorted(words)}")


def is_number(value: str) -> bool:
    """Whether it is one, or says that none is known."""
    try:
        float(value)
    except ValueError:
        return value == "None"
    return True


async def main() -> None:
    """Judges what standard input holds."""
    asked = json.load(sys.stdin)
    home = HomeAssistant(tempfile.mkdtemp())
    if hasattr(frame, "async_setup"):
        frame.async_setup(home)
    seen: dict[tuple[str, str], str] = {}
    for topic, payload in asked["documents"].items():
        if not TOPIC.fullmatch(topic.partition("/")[2]):
            problems.append(f"{topic}: no topic of discovery")
        document = long(payload)
        if DEVICE_DISCOVERY_SCHEMA is not None:
            try:
                DEVICE_DISCOVERY_SCHEMA(document)
            except vol.Invalid as error:
                problems.append(f"{topic}: {error}")
        for key, config in document["components"].items():
            judge_component(f"{topic}:{key}", config, document, seen)
            if len(config) > 1:
                render(f"{topic}:{key}", config, asked["states"], home)
    told = {
        "version": __version__,
        "device_discovery": DEVICE_DISCOVERY_SCHEMA is not None,
        "problems": problems,
        "rendered": rendered,
    }
    json.dump(told, sys.stdout)


def judge_component(
    name: str, config: dict[str, Any], document: dict[str, Any], seen: dict[tuple[str, str], str]
) -> None:
    """A component with its ids; one that is being withdrawn has only its platform."""
    if config["platform"] not in PLATFORMS:
        problems.append(f"{name}: {config['platform']} is not expected")
    elif len(config) > 1:
        ident = (config["platform"], config["unique_id"])
        if ident in seen:
            problems.append(f"{name}: {ident} is the id of {seen[ident]} too")
        seen[ident] = name
        check_component(name, {**{key: document[key] for key in SHARED}, **config})


if __name__ == "__main__":
    asyncio.run(main())
