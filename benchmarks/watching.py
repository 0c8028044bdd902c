"""What a trial sees: every MQTT message counted, memory and CPU of the gateway, the lag of its event loop."""

from __future__ import annotations

import math
import re
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho

from benchmarks.processes import HOST, Process, Usage
from bridge.domain.text import loads

BASE = "fleet"


class Listener:
    """Counts messages per account and kind, and notes which devices have a retained `state`. Keeps no bodies but
    those of account `status` and gateway events."""

    def __init__(self, port: int, expected: dict[str, int]) -> None:
        self.began = time.monotonic()
        self.kinds: Counter[tuple[str, str]] = Counter()
        self.states: dict[str, set[str]] = {account: set() for account in expected}
        self.full_after_s: dict[str, float] = {}
        self.first_after_s: dict[str, float] = {}
        self.statuses: dict[str, list[tuple[float, str]]] = {account: [] for account in expected}
        self.events: list[str] = []
        self._expected = expected
        self._lock = threading.Lock()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._received
        self._client.on_connect = lambda client, *_: client.subscribe(f"{BASE}/#", qos=1)
        self._client.connect(HOST, port)
        self._client.loop_start()

    def end(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def missing(self) -> dict[str, int]:
        """Devices without a `state`, per account."""
        with self._lock:
            return {
                account: count - len(self.states[account])
                for account, count in self._expected.items()
                if len(self.states[account]) < count
            }

    def _received(self, _client: Any, _data: Any, message: Any) -> None:
        after_s = time.monotonic() - self.began
        levels = message.topic.split("/")[1:]
        account, leaf = levels[0], levels[-1]
        with self._lock:
            self.kinds[(account, leaf)] += 1
            if account == "bridge":
                if leaf == "event":
                    self.events.append(message.payload.decode())
                return
            if leaf == "state" and message.payload and account in self.states:
                self.first_after_s.setdefault(account, after_s)
                self.states[account].add(levels[1])
                if len(self.states[account]) >= self._expected[account]:
                    self.full_after_s.setdefault(account, after_s)
            elif leaf == "status" and message.payload:
                told = loads(message.payload)
                word = f"{told.get('state')} {told.get('message') or ''}".strip()
                self.statuses[account].append((after_s, word))


@dataclass(slots=True)
class Gauges:
    """Samples of the gateway: (seconds since the start, value)."""

    usages: list[tuple[float, Usage]] = field(default_factory=list)
    lags_s: list[tuple[float, float]] = field(default_factory=list)
    metrics: str = ""
    _lag_counts: dict[float, float] = field(default_factory=dict)

    def sample(self, began: float, gateway: Process, port: int) -> None:
        """One look at `/proc` and one at `/metrics`."""
        used = gateway.usage()
        if used is not None:
            self.usages.append((time.monotonic() - began, used))
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
                self.metrics = answer.read().decode()
        except OSError:
            return
        self._look_at_lag(time.monotonic() - began)

    def _look_at_lag(self, at_s: float) -> None:
        """The bucket of the worst lag since the last look: what it was at most."""
        found = re.findall(r'meterbridge_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', self.metrics)
        counts = {float(bound): float(count) for bound, count in found}
        more = {bound: count - self._lag_counts.get(bound, 0.0) for bound, count in counts.items()}
        worst = [bound for bound, count in more.items() if count == more.get(math.inf)]
        if more.get(math.inf) and worst:
            self.lags_s.append((at_s, min(worst)))
        self._lag_counts = counts
