"""What the contenders make of a push: checked a little, renamed, one message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

PATH = "/push/gas/FAKE-push-secret-0000/api/Data/MeterData/Add"
TOPIC = "contender/gas/{}/telemetry"
NAMES = {
    "std_sum": "gas_volume",
    "work_sum": "gas_volume_uncorrected",
    "std_flow": "gas_flow",
    "work_flow": "gas_flow_uncorrected",
    "temperature": "temperature",
    "pressure": "pressure",
    "this_month_sum": "gas_volume_this_month",
    "last_month_sum": "gas_volume_last_month",
    "remain_money": "balance_money",
    "remain_volume": "balance_volume",
    "curr_price": "price",
    "meter_state": "status_bits",
    "rssi": "rssi",
    "battery_voltage": "battery_voltage",
    "battery_level": "battery_level",
}


class Wrong(Exception):
    """A push that cannot be used."""


def message_of(body: Any) -> tuple[str, dict[str, Any]]:
    """The meter and its message."""
    if not isinstance(body, dict) or not isinstance(body.get("meter_comm_no"), str):
        raise Wrong("meter_comm_no is missing")
    if not isinstance(body.get("acquisition_time"), str):
        raise Wrong("acquisition_time is missing")
    device = body["meter_comm_no"]
    metrics = {name: body[field] for field, name in NAMES.items() if isinstance(body.get(field), int | float)}
    return device, {
        "ts": body["acquisition_time"],
        "received_ts": datetime.now(UTC).isoformat(),
        "source": "push",
        "account": "gas",
        "vendor": "iotmeter",
        "device": device,
        "kind": "gas_meter",
        "metrics": metrics,
    }
