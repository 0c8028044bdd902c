"""What goes to the broker: a topic, a body, and what may be dropped first when the disk fills."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Class(IntEnum):
    """What a publication is; its order is the order of shedding, the first ones first. From ALARM on: never."""

    TELEMETRY = 0
    HISTORY = 1
    STATE = 2
    META = 3
    ALARM = 4
    EVENT = 5
    ACK = 6


SHEDDABLE = (Class.TELEMETRY, Class.HISTORY)
"""What a full spool drops, in this order; state and meta are bounded by their coalescing."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One message, QoS 1. An empty body with `retain` clears a retained topic.

    `account` and `device` tell whose it is (empty: the gateway's). `correlation` becomes Correlation Data in MQTT 5.
    """

    topic: str
    body: bytes
    klass: Class
    retain: bool = False
    account: str = ""
    device: str = ""
    correlation: bytes | None = None
