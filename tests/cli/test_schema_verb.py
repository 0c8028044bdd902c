"""`meterbridge schema`: valid schemas, and true of what the gateway publishes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bridge.contract import payloads
from bridge.contract.discovery import Scheme
from bridge.contract.topics import Topics
from bridge.domain.command import CommandSpec, Status
from bridge.domain.device import Device, DeviceKind
from bridge.domain.text import dumps
from tests.cli.bench import meterbridge

AT = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
OWNER: Any = {"account": "shop", "vendor": "wmj", "device": "W71E0000001", "kind": DeviceKind.BREAKER}
OCCURRENCE: Any = {
    "ts": AT, "received_ts": AT, "source": "push", **OWNER, "code": "overheat", "vendor_code": "3", "message": "",
    "data": {},
}  # fmt: skip
DEVICE = Device("shop", "wmj", "W71E0000001", DeviceKind.BREAKER, name="Cold store", metrics=("voltage",))
PUBLISHED: dict[str, Any] = {
    "telemetry": payloads.record(
        **OWNER, ts=AT, received_ts=AT, source="poll", metrics={"voltage": Decimal("230.1")}, extra={"a": 1}
    ),
    "history": payloads.record(
        **OWNER, ts=AT, received_ts=AT, source="backfill", metrics={}, extra={}, clock_suspect=True
    ),
    "state": payloads.state(**OWNER, ts=AT, metrics={"switch_state": "on"}, alarms=["overheat"]),
    "info": payloads.info(DEVICE, {"read": payloads.command_info(CommandSpec("read", "reads"))}, False),
    "alarm": payloads.alarm(alarm_id="a", severity="critical", state="raised", **OCCURRENCE),
    "event": payloads.event(event_id="e", **OCCURRENCE),
    "cmd": {"id": "x", "state": "off", "confirm": True},
    "ack": payloads.ack(
        command_id="x", command="read", account="shop", device=None, status=Status.REJECTED, at=AT, code="expired"
    ),
    "account_status": payloads.account_status("online", "", AT, None),
    "account_budget": payloads.budget(AT, [payloads.BudgetRow("all", 5, "account", 1.0, 2, AT)]),
    "bridge_info": payloads.bridge_info(
        version="1", instance="i", started_at=AT, mqtt_protocol="5", accounts=[("shop", "wmj", 2)]
    ),
    "bridge_event": payloads.bridge_event(ts=AT, code="c", severity="warning", message="m"),
    "presence": "online",
    "metric": Decimal("230.1"),
    "discovery": Scheme("homeassistant", Topics("mb"), "1").document(payloads.info(DEVICE, {}, False)),
}  # fmt: skip


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    result = meterbridge("schema")
    assert result.exit_code == 0
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_every_schema_is_one(schemas: dict[str, Any]) -> None:
    assert set(schemas) == {"configuration", *PUBLISHED}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_what_is_published_is_what_the_schema_says(schemas: dict[str, Any], kind: str) -> None:
    document = json.loads(dumps(PUBLISHED[kind]))
    jsonschema.validate(document, schemas[kind])
    for name in schemas[kind].get("required", ()):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: part for key, part in document.items() if key != name}, schemas[kind])


def test_an_unknown_metric_is_against_the_schema(schemas: dict[str, Any]) -> None:
    document = json.loads(dumps(PUBLISHED["telemetry"]))
    document["metrics"]["nonsense"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schemas["telemetry"])


def test_the_example_configuration_is_what_the_schema_says(schemas: dict[str, Any]) -> None:
    example = Path(__file__).parents[2] / "config.example.yaml"
    jsonschema.validate(yaml.safe_load(example.read_text(encoding="utf-8")), schemas["configuration"])


def test_one_schema_by_name() -> None:
    assert json.loads(meterbridge("schema", "ack").stdout)["title"] == "acknowledgement of a command"
    assert "known are: configuration, telemetry" in meterbridge("schema", "other").stderr


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = meterbridge("schema", "--into", str(tmp_path / "file" / "below"))
    assert result.exit_code == 1
    assert "--into: cannot write there: Not a directory" in result.stderr
