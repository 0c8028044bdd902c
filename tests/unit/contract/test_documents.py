"""The documents of CONTRACT sections 2 to 5 and 7, with the order of their keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

import pytest

from bridge.contract import payloads
from bridge.contract.payloads import BudgetRow
from bridge.domain.command import CommandSpec, Params, Status
from bridge.domain.device import Device, DeviceKind
from bridge.domain.text import dumps

AT = datetime(2023, 11, 21, 6, 30, 22, tzinfo=UTC)
RECEIVED = datetime(2023, 11, 21, 6, 31, 1, 250_000, tzinfo=UTC)


class _Switch(Params):
    state: Literal["on", "off"]


def same(document: dict[str, object], text: str) -> bool:
    """Whether the document is this JSON, key order and digits included."""
    expected = json.dumps(json.loads(text, parse_float=Decimal), default=lambda value: f"<{value}>")
    found = json.dumps(json.loads(dumps(document), parse_float=Decimal), default=lambda value: f"<{value}>")
    assert found == expected
    return True


def a_record(**changed: object) -> dict[str, object]:
    given: dict[str, object] = {
        "account": "home",
        "vendor": "iammeter",
        "device": "SN123",
        "kind": DeviceKind.ELECTRICITY_METER,
        "ts": AT,
        "received_ts": RECEIVED,
        "source": "poll",
        "metrics": {
            "voltage": Decimal("233.41"),
            "current": Decimal("0.718"),
            "active_power": 111,
            "power_factor": Decimal("0.66"),
            "import_energy": Decimal("5724.85"),
            "export_energy": 0,
        },
        "extra": {},
    }
    return payloads.record(**(given | changed))  # type: ignore[arg-type] # the fields above are of its types


def test_record_is_the_one_of_the_contract():
    assert same(
        a_record(),
        """{"ts": "2023-11-21T06:30:22Z", "received_ts": "2023-11-21T06:31:01.250Z", "source": "poll",
        "account": "home", "vendor": "iammeter", "device": "SN123", "kind": "electricity_meter",
        "metrics": {"voltage": 233.41, "current": 0.718, "active_power": 111, "power_factor": 0.66,
                    "import_energy": 5724.85, "export_energy": 0}}""",
    )


def test_record_shows_extra_and_suspicion_only_where_there_is_some():
    assert list(a_record(extra={"raw": [1]}, clock_suspect=True))[-3:] == [
        "metrics",
        "extra",
        "clock_suspect",
    ]
    assert a_record(extra={"raw": [1]})["extra"] == {"raw": [1]}
    assert {"extra", "clock_suspect"}.isdisjoint(a_record())


def test_state_is_the_one_of_the_contract_with_sorted_distinct_alarms():
    document = payloads.state(
        account="home",
        vendor="wmj",
        device="W71E",
        kind=DeviceKind.BREAKER,
        ts=AT,
        metrics={"switch_state": "on", "schedule_active": False},
        alarms=["overheat", "overcurrent", "overheat"],
    )
    assert same(
        document,
        """{"ts": "2023-11-21T06:30:22Z", "account": "home", "vendor": "wmj", "device": "W71E",
        "kind": "breaker", "metrics": {"switch_state": "on", "schedule_active": false},
        "alarms": ["overcurrent", "overheat"]}""",
    )


def test_info_has_known_fields_only_and_units_from_the_catalogue():
    device = Device(
        "shop", "wmj", "W71E", DeviceKind.BREAKER, name="Breaker", serial="W71E", parent="P1",
        metrics=("voltage", "switch_state"), vendor_info={"type": 71}, customer_info={"owner": "somebody"},
    )  # fmt: skip
    spec = CommandSpec("breaker", "switches", _Switch, dangerous=True)
    document = payloads.info(device, {"breaker": payloads.command_info(spec)}, customer_data=False)
    assert list(document) == [
        "account", "vendor", "device", "kind", "name", "serial", "parent", "metrics", "commands", "vendor_info",
    ]  # fmt: skip
    assert list(document["metrics"]) == ["voltage", "switch_state"]
    assert document["metrics"]["voltage"] == {
        "unit": "V",
        "description": "voltage of a single-phase device",
    }
    assert document["metrics"]["switch_state"]["unit"] == ""
    assert document["vendor_info"] == {"type": 71}
    command = document["commands"]["breaker"]
    assert list(command) == ["description", "params", "idempotent", "needs_id", "dangerous"]
    assert (command["description"], command["idempotent"], command["needs_id"], command["dangerous"]) == (
        "switches", True, False, True,
    )  # fmt: skip
    assert command["params"]["required"] == ["state"]


def test_customer_data_is_shown_only_where_the_account_says_so():
    device = Device(
        "a", "jrhsz", "1", DeviceKind.METER, vendor_info={"imei": "0"}, customer_info={"user": "x"}
    )
    assert payloads.info(device, {}, customer_data=False)["vendor_info"] == {"imei": "0"}
    assert payloads.info(device, {}, customer_data=True)["vendor_info"] == {"imei": "0", "user": "x"}


def test_alarm_is_the_one_of_the_contract():
    at = datetime(2024, 9, 8, 20, 1, 24, tzinfo=UTC)
    document = payloads.alarm(
        alarm_id=payloads.occurrence_id("wmj", "W71E0000001", "overcurrent", at),
        ts=at,
        received_ts=at + timedelta(seconds=1),
        source="push",
        account="shop",
        vendor="wmj",
        device="W71E0000001",
        kind=DeviceKind.BREAKER,
        code="overcurrent",
        vendor_code="4",
        message="",
        severity="critical",
        state="raised",
        data={},
    )
    assert same(
        document,
        """{"id": "wmj:W71E0000001:overcurrent:1725825684", "ts": "2024-09-08T20:01:24Z",
        "received_ts": "2024-09-08T20:01:25Z", "source": "push",
        "account": "shop", "vendor": "wmj", "device": "W71E0000001", "kind": "breaker",
        "code": "overcurrent", "vendor_code": "4", "message": "", "severity": "critical", "state": "raised",
        "data": {}}""",
    )


def test_event_is_an_alarm_without_severity_and_state():
    document = payloads.event(
        event_id="wmj:W71E:switch_on:1700548222",
        ts=AT,
        received_ts=RECEIVED,
        source="poll",
        account="shop",
        vendor="wmj",
        device="W71E",
        kind=DeviceKind.BREAKER,
        code="switch_on",
        vendor_code="on-off",
        message="m",
        data={"state": 1},
    )
    assert same(
        document,
        """{"id": "wmj:W71E:switch_on:1700548222", "ts": "2023-11-21T06:30:22Z",
        "received_ts": "2023-11-21T06:31:01.250Z", "source": "poll", "account": "shop", "vendor": "wmj",
        "device": "W71E", "kind": "breaker", "code": "switch_on", "vendor_code": "on-off", "message": "m",
        "data": {"state": 1}}""",
    )


def test_acknowledgement_is_the_one_of_the_contract():
    document = payloads.ack(
        command_id="pay-0007",
        command="recharge",
        account="gas",
        device="12345678901234",
        status=Status.SUCCEEDED,
        at=AT,
        vendor_code=3,
        vendor_ref=4711,
        result={"remain": Decimal("128.5")},
        attempt=1,
    )
    assert same(
        document,
        """{"id": "pay-0007", "command": "recharge", "account": "gas", "device": "12345678901234",
        "status": "succeeded", "final": true, "code": null, "message": "", "vendor_code": 3, "vendor_ref": 4711,
        "result": {"remain": 128.5}, "attempt": 1, "duplicate": false, "ts": "2023-11-21T06:30:22Z"}""",
    )


@pytest.mark.parametrize("status", list(Status))
def test_acknowledgement_says_whether_something_follows(status):
    document = payloads.ack(
        command_id="a", command="read", account="x", device=None, status=status, at=AT, code="no_answer"
    )
    assert (document["status"], document["final"]) == (str(status), status not in ("accepted", "sent"))
    assert (document["device"], document["code"], document["attempt"]) == (None, "no_answer", 0)
    assert "dry_run" not in document


def test_acknowledgement_of_a_dry_run_says_so_at_the_end():
    document = payloads.ack(
        command_id="a", command="read", account="x", device="d", status=Status.SUCCEEDED, at=AT, dry_run=True,
        duplicate=True,
    )  # fmt: skip
    assert list(document)[-3:] == ["duplicate", "ts", "dry_run"]
    assert (document["dry_run"], document["duplicate"]) == (True, True)


def test_gateway_info_and_events_are_the_ones_of_the_contract():
    info = payloads.bridge_info(
        version="0.1.0", instance="one", started_at=AT, mqtt_protocol="5", accounts=[("home", "iammeter", 3)]
    )
    assert same(
        info,
        """{"version": "0.1.0", "instance": "one", "started_at": "2023-11-21T06:30:22Z", "mqtt_protocol": "5",
        "accounts": [{"id": "home", "vendor": "iammeter", "devices": 3}]}""",
    )
    event = payloads.bridge_event(
        ts=AT, code="auth_failed", severity="critical", message="m", account="home", data={"n": 1}
    )
    assert same(
        event,
        """{"ts": "2023-11-21T06:30:22Z", "code": "auth_failed", "severity": "critical", "message": "m",
        "account": "home", "data": {"n": 1}}""",
    )
    plain = payloads.bridge_event(ts=AT, code="data_dropped", severity="warning", message="m")
    assert list(plain) == ["ts", "code", "severity", "message", "data"]
    assert plain["data"] == {}


def test_account_status_is_the_one_of_the_contract():
    assert same(
        payloads.account_status("rate_limited", "wait", AT, None),
        """{"state": "rate_limited", "message": "wait", "since": "2023-11-21T06:30:22Z", "last_success": null}""",
    )
    assert payloads.account_status("online", "", AT, RECEIVED)["last_success"] == "2023-11-21T06:31:01.250Z"


def row(used: int, limit: int = 10, window_s: float = 60.0, resets_at: datetime | None = None) -> BudgetRow:
    return BudgetRow("read", limit, "account", window_s, used, resets_at)


def test_budget_row_is_the_one_of_the_contract():
    assert same(
        payloads.budget(AT, [row(4, resets_at=RECEIVED), row(0, window_s=0.5)]),
        """{"ts": "2023-11-21T06:30:22Z", "windows": [
        {"endpoint": "read", "limit": 10, "scope": "account", "window_s": 60, "used": 4, "remaining": 6,
         "resets_at": "2023-11-21T06:31:01.250Z"},
        {"endpoint": "read", "limit": 10, "scope": "account", "window_s": 0.5, "used": 0, "remaining": 10,
         "resets_at": null}]}""",
    )


def test_budget_shows_the_tightest_windows_first_and_the_longer_of_equal_ones():
    rows = [row(1), row(9), row(50, limit=100), row(5, window_s=3600.0), row(11), row(99, limit=100)]
    shown = payloads.budget(AT, rows)["windows"]
    assert [(one["used"], one["limit"], one["remaining"]) for one in shown] == [
        (11, 10, 0), (99, 100, 1), (9, 10, 1), (5, 10, 5), (50, 100, 50), (1, 10, 9),
    ]  # fmt: skip


def test_budget_shows_at_most_fifty_windows():
    rows = [row(used, limit=100) for used in range(80)]
    shown = payloads.budget(AT, rows)["windows"]
    assert [one["used"] for one in shown] == list(range(79, 29, -1))
    assert payloads.budget(AT, [])["windows"] == []
