"""A gateway that a gas platform pushes to, and the question whether everything that was taken has arrived."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from benchmarks.platform import Pushed
from tests.system.stage import HOST, PUSH_SECRET, Broker, Gateway, Listener, free_port

TELEMETRY = "meterbridge/gas/+/telemetry"


def configuration(broker: Broker, database: Path, **sections: Any) -> dict[str, Any]:
    """One iotmeter account `gas`. Its platform only pushes: what would be polled is not there."""
    return {
        "mqtt": {"url": broker.url, "base_topic": "meterbridge"},
        "http": {"listen": f"{HOST}:{free_port()}"},
        "accounts": [
            {
                "id": "gas",
                "vendor": "iotmeter",
                "data": {
                    "base_url": f"http://{HOST}:{free_port()}",
                    "company_no": "1001",
                    "api_key": "FAKE-key",
                },
                "push": {"secret": PUSH_SECRET},
                "poll": "1d",
            }
        ],
        **sections,
        "state": {"url": f"sqlite://{database}", **sections.get("state", {})},
    }


def base_url(gateway: Gateway) -> str:
    """What the platform's administrator is given."""
    return f"{gateway.web}/push/gas/{PUSH_SECRET}"


def arrived(listener: Listener, topic: str = TELEMETRY) -> dict[str, list[int]]:
    """Per meter the numbers of the readings that came, in the order in which they came."""
    came: dict[str, list[int]] = defaultdict(list)
    for one in listener.all(topic):
        record = json.loads(one.payload)
        came[record["device"]].append(int(record["metrics"]["gas_volume"]))
    return came


def missing(listener: Listener, pushed: Pushed) -> int:
    """How many readings that were answered with success have not come yet."""
    came = arrived(listener)
    return sum(len(set(numbers) - set(came.get(meter, ()))) for meter, numbers in pushed.taken.items())


def copies(came: Mapping[str, list[int]]) -> int:
    """How many came more than once."""
    return sum(len(numbers) - len(set(numbers)) for numbers in came.values())


def out_of_order(came: Mapping[str, list[int]]) -> list[str]:
    """Meters whose first arrivals are not in the order of measuring."""
    return [
        meter for meter, numbers in came.items() if (first := list(dict.fromkeys(numbers))) != sorted(first)
    ]


def alarm(meter: str, number: int) -> bytes:
    """The body of a meter's n-th alarm."""
    at = f"2024-01-01 {number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
    return json.dumps(
        {
            "device_comm_no": meter,
            "device_type": 1,
            "alarm_code": 17,
            "alarm_content": "trial",
            "alarm_time": at,
            "alarm_data": {"number": number},
            "receive_time": at,
        }
    ).encode()


def event(meter: str, number: int) -> bytes:
    """The body of a meter's n-th event."""
    at = f"2024-01-01 {number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
    return json.dumps(
        {
            "device_comm_no": meter,
            "device_type": "1",
            "event_time": at,
            "receive_time": at,
            "event_code": 12,
            "event_content": "trial",
            "event_data": {"number": number},
        }
    ).encode()


def metrics(gateway: Gateway) -> dict[str, float]:
    """`/metrics`: name and labels as they stand there → value."""
    text = httpx.get(f"{gateway.web}/metrics", timeout=30, trust_env=False).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def bridge_events(listener: Listener, code: str) -> list[dict[str, Any]]:
    """The gateway's own events of a code."""
    return [one.json for one in listener.all("meterbridge/bridge/event") if one.json["code"] == code]
