"""JSON Schemas (2020-12) of the configuration and of the payloads; `contract.payloads` builds what they describe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bridge.config import schema as configuration_schema
from bridge.domain.alarms import Severity
from bridge.domain.command import ACK_CODES, Status
from bridge.domain.device import DeviceKind
from bridge.domain.metrics import METRICS, Form
from bridge.domain.observation import AlarmState, Origin
from bridge.domain.text import dumps
from bridge.vendorkit.spec import VendorSpec

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TRUTH: Schema = {"type": "boolean"}
_ANYTHING: Schema = {}
_FREE: Schema = {"type": "object"}
_TIME: Schema = {"type": "string", "format": "date-time", "pattern": "Z$"}
_TIME_OR_NULL: Schema = {"anyOf": [_TIME, {"type": "null"}]}
_FORMS: Mapping[Form, str] = {Form.NUMBER: "number", Form.BOOL: "boolean", Form.STRING: "string"}


def _choice(words: Sequence[str]) -> Schema:
    return {"type": "string", "enum": [str(word) for word in words]}


def _object(title: str, required: Mapping[str, Schema], **optional: Schema) -> Schema:
    return {
        "title": title,
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
    }


_OWNER: Mapping[str, Schema] = {
    "account": _TEXT,
    "vendor": _TEXT,
    "device": _TEXT,
    "kind": _choice(list(DeviceKind)),
}
_OCCURRENCE: Mapping[str, Schema] = {
    "id": _TEXT,
    "ts": _TIME,
    "received_ts": _TIME,
    "source": _choice(list(Origin)),
    **_OWNER,
    "code": _TEXT,
    "vendor_code": _TEXT,
    "message": _TEXT,
    "data": _FREE,
}


def _metrics() -> Schema:
    known = {
        metric.name: {
            "type": _FORMS[metric.form],
            "description": metric.meaning + (f", {metric.unit}" if metric.unit else ""),
        }
        for metric in METRICS.values()
    }
    return {"type": "object", "properties": known, "additionalProperties": False}


def _record(title: str) -> Schema:
    required = {
        "ts": _TIME,
        "received_ts": _TIME,
        "source": _choice(list(Origin)),
        **_OWNER,
        "metrics": _metrics(),
    }
    return _object(title, required, extra=_FREE, clock_suspect=_TRUTH)


def _device_info() -> Schema:
    texts = ("name", "model", "manufacturer", "address", "serial", "firmware", "parent")
    metric = _object("metric", {"unit": _TEXT, "description": _TEXT})
    command = _object(
        "command",
        {
            "description": _TEXT,
            "params": _FREE,
            "idempotent": _TRUTH,
            "needs_id": _TRUTH,
            "dangerous": _TRUTH,
        },
    )
    required = {
        **_OWNER,
        "metrics": {"type": "object", "additionalProperties": metric},
        "commands": {"type": "object", "additionalProperties": command},
        "vendor_info": _FREE,
    }
    return _object("what a device is and takes", required, **dict.fromkeys(texts, _TEXT))


def _ack() -> Schema:
    required: dict[str, Schema] = {
        "id": _TEXT,
        "command": _TEXT,
        "account": _TEXT,
        "device": _TEXT_OR_NULL,
        "status": _choice(list(Status)),
        "final": _TRUTH,
        "code": {"anyOf": [_choice(list(ACK_CODES)), {"type": "null"}]},
        "message": _TEXT,
        "vendor_code": _ANYTHING,
        "vendor_ref": _ANYTHING,
        "result": _ANYTHING,
        "attempt": _COUNT,
        "duplicate": _TRUTH,
        "ts": _TIME,
    }
    return _object("acknowledgement of a command", required, dry_run=_TRUTH)


def _budget() -> Schema:
    window = _object(
        "window",
        {
            "endpoint": _TEXT,
            "limit": _COUNT,
            "scope": _TEXT,
            "window_s": {"type": "number"},
            "used": _COUNT,
            "remaining": _COUNT,
            "resets_at": _TIME_OR_NULL,
        },
    )
    windows: Schema = {"type": "array", "items": window, "maxItems": 50}
    return _object("rate limits in use", {"ts": _TIME, "windows": windows})


def _bridge_info() -> Schema:
    account = _object("account", {"id": _TEXT, "vendor": _TEXT, "devices": _COUNT})
    required = {
        "version": _TEXT,
        "instance": _TEXT,
        "started_at": _TIME,
        "mqtt_protocol": _choice(["5", "3.1.1"]),
        "accounts": {"type": "array", "items": account},
    }
    return _object("the gateway", required)


def _bridge_event() -> Schema:
    required = {
        "ts": _TIME,
        "code": _TEXT,
        "severity": _choice(list(Severity)),
        "message": _TEXT,
        "data": _FREE,
    }
    return _object("what the operator should know", required, account=_TEXT)


RESERVED_KEYS: Mapping[str, Schema] = {
    "id": {"type": "string", "minLength": 1, "maxLength": 50},
    "expires_at": {"type": "string", "format": "date-time"},
    "timeout_s": {"type": "number", "exclusiveMinimum": 0},
    "confirm": _TRUTH,
    "dry_run": _TRUTH,
}
"""What every command takes beside its parameters."""


def _command() -> Schema:
    return {
        "title": "a command: its parameters (a device's `info` has their schemas) and these keys",
        "type": "object",
        "properties": dict(RESERVED_KEYS),
        "additionalProperties": True,
    }


def _discovery() -> Schema:
    component = {"type": "object", "required": ["p"], "properties": {"p": _TEXT, "uniq_id": _TEXT}}
    required: dict[str, Schema] = {
        "dev": _object("device", {"ids": {"type": "array", "items": _TEXT}, "name": _TEXT}),
        "o": _object("origin", {"name": _TEXT, "sw": _TEXT}),
        "avty": {"type": "array", "items": _object("topic of availability", {"t": _TEXT})},
        "avty_mode": _choice(["all"]),
        "cmps": {"type": "object", "additionalProperties": component},
    }
    return _object("a device for Home Assistant, with its short keys", required)


def payload_schemas() -> dict[str, Schema]:
    """Kind of message (the last topic level; `bridge_…` and `account_…` where those differ) → schema."""
    status = _choice(["online", "degraded", "auth_failed", "rate_limited", "unreachable"])
    state = {"ts": _TIME, **_OWNER, "metrics": _metrics(), "alarms": {"type": "array", "items": _TEXT}}
    alarm_kind = {"severity": _choice(list(Severity)), "state": _choice(list(AlarmState))}
    return {
        "telemetry": _record("a live record"),
        "history": _record("a past record"),
        "state": _object("the latest known values", state),
        "info": _device_info(),
        "alarm": _object("an alarm that was raised or cleared", {**_OCCURRENCE, **alarm_kind}),
        "event": _object("something that happened once", _OCCURRENCE),
        "cmd": _command(),
        "ack": _ack(),
        "account_status": _object(
            "how an account fares",
            {"state": status, "message": _TEXT, "since": _TIME, "last_success": _TIME_OR_NULL},
        ),
        "account_budget": _budget(),
        "bridge_info": _bridge_info(),
        "bridge_event": _bridge_event(),
        "presence": {"title": "a bare word, no JSON", **_choice(["online", "offline"])},
        "metric": {"title": "the bare value of a metric", "type": ["number", "boolean", "string"]},
        "discovery": _discovery(),
    }


def all_schemas(vendors: Mapping[str, VendorSpec]) -> dict[str, Schema]:
    """`configuration`, and those of the payloads, each a document of its own."""
    payloads = {name: {"$schema": DIALECT, **one} for name, one in payload_schemas().items()}
    return {"configuration": configuration_schema(vendors), **payloads}


def write(schemas: Mapping[str, Schema], folder: Path) -> None:
    """Each as an indented `NAME.json` in the folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas.items():
        text = msgspec.json.format(dumps(schema), indent=1)
        (folder / f"{name}.json").write_bytes(text + b"\n")
