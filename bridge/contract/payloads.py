"""The documents of CONTRACT sections 2 to 5 and 7, as dictionaries ready for `domain.text.dumps`.

Every function is pure. Key order is part of what people read in `mosquitto_sub`, so it is kept as in the contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.domain.command import CommandSpec, Status
from bridge.domain.device import Device
from bridge.domain.metrics import METRICS
from bridge.domain.observation import Value
from bridge.domain.text import Json
from bridge.domain.times import rfc3339


def record(
    *,
    account: str,
    vendor: str,
    device: str,
    kind: str,
    ts: datetime,
    received_ts: datetime,
    source: str,
    metrics: Mapping[str, Value],
    extra: Mapping[str, Json],
    clock_suspect: bool = False,
) -> dict[str, Any]:
    """A record (section 3)."""
    document: dict[str, Any] = {
        "ts": rfc3339(ts),
        "received_ts": rfc3339(received_ts),
        "source": source,
        "account": account,
        "vendor": vendor,
        "device": device,
        "kind": kind,
        "metrics": dict(metrics),
    }
    if extra:
        document["extra"] = dict(extra)
    if clock_suspect:
        document["clock_suspect"] = True
    return document


def state(
    *,
    account: str,
    vendor: str,
    device: str,
    kind: str,
    ts: datetime,
    metrics: Mapping[str, Value],
    alarms: Iterable[str],
) -> dict[str, Any]:
    """The merged state of a device (section 3)."""
    return {
        "ts": rfc3339(ts),
        "account": account,
        "vendor": vendor,
        "device": device,
        "kind": kind,
        "metrics": dict(metrics),
        "alarms": sorted(set(alarms)),
    }


def info(device: Device, commands: Mapping[str, Json], customer_data: bool) -> dict[str, Any]:
    """`info` of a device (section 4). `commands` is what `command_info` gives for each."""
    document: dict[str, Any] = {
        "account": device.account,
        "vendor": device.vendor,
        "device": device.native_id,
        "kind": str(device.kind),
    }
    for key in ("name", "model", "manufacturer", "address", "serial", "firmware", "parent"):
        value = getattr(device, key)
        if value is not None:
            document[key] = value
    document["metrics"] = {
        name: {"unit": device.units.get(name, METRICS[name].unit), "description": METRICS[name].meaning}
        for name in device.metrics
    }
    document["commands"] = dict(commands)
    document["vendor_info"] = {
        **device.vendor_info,
        **(device.customer_info if customer_data else {}),
    }
    return document


def command_info(spec: CommandSpec) -> dict[str, Any]:
    """What `info` says of one command."""
    return {
        "description": spec.description,
        "params": spec.schema(),
        "idempotent": spec.idempotent,
        "needs_id": spec.needs_id,
        "dangerous": spec.dangerous,
    }


def alarm(
    *,
    alarm_id: str,
    ts: datetime,
    received_ts: datetime,
    source: str,
    account: str,
    vendor: str,
    device: str,
    kind: str,
    code: str,
    vendor_code: str,
    message: str,
    severity: str,
    state: str,
    data: Mapping[str, Json],
) -> dict[str, Any]:
    """One alarm change (section 5)."""
    return {
        "id": alarm_id,
        "ts": rfc3339(ts),
        "received_ts": rfc3339(received_ts),
        "source": source,
        "account": account,
        "vendor": vendor,
        "device": device,
        "kind": kind,
        "code": code,
        "vendor_code": vendor_code,
        "message": message,
        "severity": severity,
        "state": state,
        "data": dict(data),
    }


def event(
    *,
    event_id: str,
    ts: datetime,
    received_ts: datetime,
    source: str,
    account: str,
    vendor: str,
    device: str,
    kind: str,
    code: str,
    vendor_code: str,
    message: str,
    data: Mapping[str, Json],
) -> dict[str, Any]:
    """One event (section 5): as an alarm, without severity and state."""
    return {
        "id": event_id,
        "ts": rfc3339(ts),
        "received_ts": rfc3339(received_ts),
        "source": source,
        "account": account,
        "vendor": vendor,
        "device": device,
        "kind": kind,
        "code": code,
        "vendor_code": vendor_code,
        "message": message,
        "data": dict(data),
    }


def occurrence_id(vendor: str, device: str, code: str, at: datetime) -> str:
    """The stable id of an alarm or event (METRICS sections 2 and 3)."""
    return f"{vendor}:{device}:{code}:{int(at.timestamp())}"


def ack(
    *,
    command_id: str,
    command: str,
    account: str,
    device: str | None,
    status: Status,
    at: datetime,
    code: str | None = None,
    message: str = "",
    vendor_code: Json = None,
    vendor_ref: Json = None,
    result: Json = None,
    attempt: int = 0,
    duplicate: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """One acknowledgement (section 7). `attempt` counts how often the command left for the vendor."""
    document: dict[str, Any] = {
        "id": command_id,
        "command": command,
        "account": account,
        "device": device,
        "status": str(status),
        "final": status.final,
        "code": code,
        "message": message,
        "vendor_code": vendor_code,
        "vendor_ref": vendor_ref,
        "result": result,
        "attempt": attempt,
        "duplicate": duplicate,
        "ts": rfc3339(at),
    }
    if dry_run:
        document["dry_run"] = True
    return document


def bridge_info(
    *,
    version: str,
    instance: str,
    started_at: datetime,
    mqtt_protocol: str,
    accounts: Sequence[tuple[str, str, int]],
) -> dict[str, Any]:
    """`bridge/info`; `accounts` are (id, vendor, number of devices)."""
    return {
        "version": version,
        "instance": instance,
        "started_at": rfc3339(started_at),
        "mqtt_protocol": mqtt_protocol,
        "accounts": [{"id": name, "vendor": vendor, "devices": count} for name, vendor, count in accounts],
    }


def bridge_event(
    *,
    ts: datetime,
    code: str,
    severity: str,
    message: str,
    account: str | None = None,
    data: Mapping[str, Json] | None = None,
) -> dict[str, Any]:
    """What the operator should know (`bridge/event`)."""
    document: dict[str, Any] = {"ts": rfc3339(ts), "code": code, "severity": severity, "message": message}
    if account is not None:
        document["account"] = account
    document["data"] = dict(data or {})
    return document


def account_status(
    state_word: str, message: str, since: datetime, last_success: datetime | None
) -> dict[str, Any]:
    """`{account}/status`."""
    return {
        "state": state_word,
        "message": message,
        "since": rfc3339(since),
        "last_success": rfc3339(last_success) if last_success else None,
    }


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One rate-limit window in use. `resets_at`: when the oldest call leaves the window, None if it is empty.
    `blocked`: the vendor has said that nothing is left before `resets_at`."""

    endpoint: str
    limit: int
    scope: str
    window_s: float
    used: int
    resets_at: datetime | None
    blocked: bool = False

    @property
    def remaining(self) -> int:
        """Calls that may leave now."""
        return 0 if self.blocked else max(0, self.limit - self.used)


def budget(at: datetime, rows: Sequence[BudgetRow]) -> dict[str, Any]:
    """`{account}/budget`: the tightest rows first, at most 50."""

    def tightness(row: BudgetRow) -> tuple[float, float]:
        return (min(row.remaining, row.limit - row.used) / row.limit, -row.window_s)

    return {
        "ts": rfc3339(at),
        "windows": [
            {
                "endpoint": row.endpoint,
                "limit": row.limit,
                "scope": row.scope,
                "window_s": int(row.window_s) if row.window_s == int(row.window_s) else row.window_s,
                "used": row.used,
                "remaining": row.remaining,
                "resets_at": rfc3339(row.resets_at) if row.resets_at else None,
            }
            for row in sorted(rows, key=tightness)[:50]
        ],
    }
