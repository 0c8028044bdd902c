"""Holes in the series, seen from outside: a gateway that stood still has one, a broker that was away leaves none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import httpx

from tests.system.fixtures import DEVICES, MakeGateway
from tests.system.polling import until
from tests.system.stage import Broker, Listener

D1 = DEVICES[0]
TELEMETRY = f"meterbridge/shop/{D1}/telemetry"


def gaps(listener: Listener, command_id: str) -> list[dict[str, Any]]:
    listener.send("meterbridge/bridge/cmd/gaps", {"id": command_id, "account": "shop"})
    ack = listener.final("meterbridge/bridge/ack", command_id)
    assert ack["status"] == "succeeded"
    found: list[dict[str, Any]] = ack["result"]["gaps"]
    return found


def records(listener: Listener, count: int, what: str, tail: Any) -> None:
    before = len(listener.all(TELEMETRY))
    until(lambda: len(listener.all(TELEMETRY)) >= before + count, 60, what, tail)


def test_a_stop_leaves_a_gap_that_everybody_can_see_and_a_lost_broker_leaves_none(
    make_gateway: MakeGateway, listener: Listener, broker: Broker
) -> None:
    gateway = make_gateway(account={"devices": [D1], "poll": "1s"})
    records(listener, 6, "the rhythm is learnt", gateway.tail)
    broker.restart(away_s=12.0)
    records(listener, 10, "the outbox arrives", gateway.tail)
    assert gaps(listener, "after the broker") == []
    gateway.terminate()
    last = listener.all(TELEMETRY)[-1].json["ts"]
    time.sleep(13)
    gateway.start()
    records(listener, 1, "it reads again", gateway.tail)
    (gap,) = gaps(listener, "after the stop")
    assert (gap["account"], gap["device"], gap["start"]) == ("shop", D1, last)
    assert gap["start"] < gap["end"]
    listed = subprocess.run(
        [sys.executable, "-m", "bridge", "gaps", "-c", str(gateway.file), "--json"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (shown,) = json.loads(listed.stdout)
    assert {key: shown[key] for key in gap} == gap
    assert (shown["state"], shown["message"]) == ("unfillable", "the vendor keeps no past of this device")
    wanted = 'meterbridge_gaps{account="shop",state="unfillable"} 1.0'

    def counted() -> bool:
        return wanted in httpx.get(f"{gateway.web}/metrics", timeout=15, trust_env=False).text

    until(counted, 60, "the gap is counted", gateway.tail)
