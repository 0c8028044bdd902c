"""The AsyncAPI 3 document: every topic as a channel, every message with its schema, every command with its parameters.

Made from the running models: the payload schemas, and the commands that a gateway with every vendor offers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from bridge import __version__
from bridge.cli.offers import Offer, Offers
from bridge.cli.schemas import RESERVED_KEYS, Schema, payload_schemas
from bridge.domain.text import Json, dumps

DEVICE, ACCOUNT, BRIDGE = "{base}/{account}/{device}", "{base}/{account}", "{base}/bridge"

_PARAMETERS: Mapping[str, Schema] = {
    "base": {"description": "`mqtt.base_topic` of the configuration", "default": "meterbridge"},
    "account": {"description": "id of an account in the configuration"},
    "device": {"description": "the vendor's id of a device; what a topic level forbids is percent-encoded"},
    "metric": {"description": "name of a metric"},
    "prefix": {"description": "`mqtt.discovery.prefix` of the configuration", "default": "homeassistant"},
    "id": {"description": "id of a device at Home Assistant"},
}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that the gateway writes. `message` names the schema of its payload."""

    name: str
    address: str
    message: str
    retained: bool
    says: str


TOPICS: Sequence[Topic] = (
    Topic("bridgeStatus", f"{BRIDGE}/status", "presence", True, "whether the gateway is connected (Last Will)"),
    Topic("bridgeInfo", f"{BRIDGE}/info", "bridge_info", True, "the gateway and its accounts"),
    Topic("bridgeEvent", f"{BRIDGE}/event", "bridge_event", False, "what the operator should know"),
    Topic("bridgeAck", f"{BRIDGE}/ack", "ack", False, "acknowledgements of the gateway's own commands"),
    Topic("accountStatus", f"{ACCOUNT}/status", "account_status", True, "how an account fares"),
    Topic("accountBudget", f"{ACCOUNT}/budget", "account_budget", True, "the vendor's limits and what is left"),
    Topic("accountAck", f"{ACCOUNT}/ack", "ack", False, "acknowledgements of an account's commands"),
    Topic("deviceInfo", f"{DEVICE}/info", "info", True, "what a device is, measures and takes"),
    Topic("deviceAvailability", f"{DEVICE}/availability", "presence", True, "whether a device can be reached"),
    Topic("deviceTelemetry", f"{DEVICE}/telemetry", "telemetry", False, "every live record"),
    Topic("deviceState", f"{DEVICE}/state", "state", True, "the latest value of every metric, and the active alarms"),
    Topic("deviceMetric", f"{DEVICE}/state/{{metric}}", "metric", True, "one metric alone (`mqtt.flat_metrics`)"),
    Topic("deviceHistory", f"{DEVICE}/history", "history", False, "a past record"),
    Topic("deviceAlarm", f"{DEVICE}/alarm", "alarm", False, "an alarm that was raised or cleared"),
    Topic("deviceEvent", f"{DEVICE}/event", "event", False, "something that happened once"),
    Topic("deviceAck", f"{DEVICE}/ack", "ack", False, "acknowledgements of a device's commands"),
    Topic(
        "discovery",
        "{prefix}/device/{id}/config",
        "discovery",
        True,
        "a device for Home Assistant (`mqtt.discovery.enabled`); empty once it is gone",
    ),
)  # fmt: skip

_PLAIN = frozenset({"presence"})
"""Payloads that are bare words, not JSON."""


def document(offers: Offers) -> dict[str, Any]:
    """The whole document, ready to be printed as JSON or YAML."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    schemas = _payloads()
    for topic in TOPICS:
        messages[topic.message] = _message(topic.message, schemas[topic.message]["title"])
        channels[topic.name] = _channel(topic.address, topic.message, topic.says)
        operations[f"send{topic.name[0].upper()}{topic.name[1:]}"] = {
            "action": "send",
            "channel": _ref("channels", topic.name),
            "summary": topic.says,
            "bindings": {"mqtt": {"qos": 1, "retain": topic.retained, "bindingVersion": "0.2.0"}},
        }
    for place, base, offered in (
        ("device", DEVICE, offers.device),
        ("account", ACCOUNT, offers.account),
        ("bridge", BRIDGE, offers.gateway),
    ):
        for name, who in offered.items():
            key = f"{place}_{name}"
            schemas[f"cmd_{key}"] = command_schema(who)
            messages[f"cmd_{key}"] = _message(f"cmd_{key}", f"command {name}")
            channels[f"cmd_{key}"] = _channel(f"{base}/cmd/{name}", f"cmd_{key}", who[0].spec.description)
            operations[f"receive_{key}"] = _receiving(key, who, f"{place}Ack")
    return {
        "asyncapi": "3.0.0",
        "info": _info(),
        "defaultContentType": "application/json",
        "servers": {"broker": _server()},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _payloads() -> dict[str, Schema]:
    """The payloads that the gateway writes; the table of metrics stands once."""
    schemas = {name: inlined(schema) for name, schema in payload_schemas().items() if name != "cmd"}
    for name in ("telemetry", "history", "state"):
        properties = schemas[name]["properties"]
        schemas["metrics"] = properties["metrics"]
        schemas[name] = {
            **schemas[name],
            "properties": {**properties, "metrics": _ref("components", "schemas", "metrics")},
        }
    return schemas


def as_yaml(whole: Mapping[str, Any]) -> str:
    """The document as people read it: no anchors, keys in the order of the document."""
    return yaml.dump(dict(whole), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)


def command_schema(offers: Sequence[Offer]) -> Schema:
    """A command's payload: its parameters and the reserved keys; one alternative per set of parameters."""
    alternatives: dict[bytes, Schema] = {}
    for offer in offers:
        schema = inlined(offer.spec.schema())
        whole = {
            **schema,
            "type": "object",
            "properties": {**schema.get("properties", {}), **RESERVED_KEYS},
            "additionalProperties": False,
        }
        if offer.spec.needs_id:
            whole["required"] = [*schema.get("required", ()), "id"]
        alternatives.setdefault(dumps(whole), whole)
    found = list(alternatives.values())
    return {"title": f"command {offers[0].spec.name}", **(found[0] if len(found) == 1 else {"anyOf": found})}


def inlined(schema: Schema) -> Schema:
    """The schema without `$defs`: what stood there stands where it is used, so that it fits anywhere."""
    definitions: Mapping[str, Schema] = schema.get("$defs", {})

    def put(part: Json) -> Json:
        if isinstance(part, list):
            return [put(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            target = definitions[part["$ref"].removeprefix("#/$defs/")]
            return put({**target, **{key: value for key, value in part.items() if key != "$ref"}})
        return {key: put(value) for key, value in part.items() if key != "$defs"}

    done: Schema = put(schema)
    return done


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _info() -> dict[str, Any]:
    return {
        "title": "meterbridge",
        "version": __version__,
        "description": "Meters, breakers, valves and inverters of vendor clouds on MQTT. Everything is QoS 1. The "
        "gateway `sends` records, states, alarms, events and acknowledgements, and `receives` commands. In MQTT 5 "
        "its messages carry content type and payload format indicator, and a command's Response Topic gets a copy "
        "of every acknowledgement, with its Correlation Data.",
        "license": {"name": "MIT"},
    }


def _server() -> dict[str, Any]:
    return {
        "host": "{host}",
        "protocol": "mqtt",
        "protocolVersion": "5",
        "description": "your broker; MQTT 3.1.1 works too",
        "variables": {"host": {"default": "localhost:1883"}},
    }


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "/".join(("#", *path))}


def _message(name: str, title: str) -> dict[str, Any]:
    content_type = "text/plain" if name in _PLAIN else "application/json"
    binding = {"payloadFormatIndicator": 1, "contentType": content_type, "bindingVersion": "0.2.0"}
    return {
        "name": name,
        "title": title,
        "contentType": content_type,
        "payload": _ref("components", "schemas", name),
        "bindings": {"mqtt": binding},
    }


def _channel(address: str, message: str, says: str) -> dict[str, Any]:
    return {
        "address": address,
        "description": says,
        "messages": {message: _ref("components", "messages", message)},
        "parameters": {name: dict(_PARAMETERS[name]) for name in _names(address)},
    }


def _names(address: str) -> Iterator[str]:
    for level in address.split("/"):
        if level.startswith("{"):
            yield level.strip("{}")


def _receiving(key: str, offers: Sequence[Offer], answers: str) -> dict[str, Any]:
    first = offers[0].spec
    return {
        "action": "receive",
        "channel": _ref("channels", f"cmd_{key}"),
        "summary": first.description,
        "description": _remarks(offers),
        "bindings": {"mqtt": {"qos": 1, "retain": False, "bindingVersion": "0.2.0"}},
        "reply": {"channel": _ref("channels", answers)},
    }


def _remarks(offers: Sequence[Offer]) -> str:
    spec = offers[0].spec
    takers = [f"{one.vendor} ({', '.join(one.kinds)})" if one.kinds else one.vendor for one in offers]
    words = [f"Taken by: {'; '.join(str(taker) for taker in takers)}." if offers[0].vendor else ""]
    words.append("A second execution leaves the same end state." if spec.idempotent else "")
    words.append("Needs an `id`." if spec.needs_id else "")
    words.append('Needs `"confirm": true`.' if spec.dangerous else "")
    bare = spec.bare_key()
    words.append(f"The bare value of `{bare}` is taken too." if bare else "")
    return " ".join(word for word in words if word)
