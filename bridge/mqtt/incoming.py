"""What the broker sends us: a PUBLISH packet read at once, as much of it as anybody here wants to know.

paho reads each field into an object of its own, which costs more than all of this; and it ends the connection at a
U+FEFF in a user property, upon which the broker sends the same again. What is not understood here is left to paho.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho

_RETAIN, _QOS, _DUP = 0x01, 0x06, 0x08
_EXPIRY, _RESPONSE_TOPIC, _CORRELATION, _USER = 0x02, 0x08, 0x09, 0x26
_NUMBERS = {0x01: 1, _EXPIRY: 4}
"""Properties of a fixed length: payload format, expiry."""
_TEXTS = frozenset({0x03, _RESPONSE_TOPIC, _CORRELATION})
"""Properties with their length in front: content type, and two that we want."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message. `expiry_s`: the rest of its Message Expiry Interval; `user`: its user properties in their order."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    retained: bool
    dup: bool
    response_topic: str | None = None
    correlation: bytes | None = None
    expiry_s: int | None = None
    user: Sequence[tuple[str, str]] = ()


def from_paho(message: paho.MQTTMessage) -> Incoming:
    """The same of paho's object. Raises UnicodeDecodeError for a topic that is no text."""
    properties: Any = message.properties
    return Incoming(
        topic=message.topic,
        payload=bytes(message.payload),
        mid=message.mid,
        qos=message.qos,
        retained=bool(message.retain),
        dup=bool(message.dup),
        response_topic=getattr(properties, "ResponseTopic", None),
        correlation=getattr(properties, "CorrelationData", None),
        expiry_s=getattr(properties, "MessageExpiryInterval", None),
        user=tuple(getattr(properties, "UserProperty", None) or ()),
    )


def read_publish(header: int, packet: bytes, *, properties: bool) -> Incoming | None:
    """A PUBLISH packet without its fixed header, of which `header` is the first byte. `properties`: whether there are
    any, as in MQTT 5. None where it is not as expected, or has QoS 2."""
    qos = (header & _QOS) >> 1
    end = len(packet)
    at = 2 + int.from_bytes(packet[:2], "big")
    try:
        topic = packet[2:at].decode()
        mid = 0
        if qos:
            mid = int.from_bytes(packet[at : at + 2], "big")
            at += 2
        told: dict[str, Any] = {}
        if properties:
            size, at = _length(packet, at)
            if size:
                told = _read_properties(packet, at, at + size)
                at += size
    except (ValueError, IndexError):
        return None
    if qos > 1 or not topic or at > end:
        return None
    return Incoming(topic, packet[at:], mid, qos, bool(header & _RETAIN), bool(header & _DUP), **told)


def _read_properties(packet: bytes, at: int, end: int) -> dict[str, Any]:
    """Raises ValueError for what is not understood, IndexError where they end too early."""
    told: dict[str, Any] = {}
    user: list[tuple[str, str]] = []
    while at < end:
        kind = packet[at]
        at += 1
        if kind in _TEXTS:
            value, at = _text(packet, at)
            if kind == _CORRELATION:
                told["correlation"] = value
            elif kind == _RESPONSE_TOPIC:
                told["response_topic"] = value.decode()
        elif kind == _USER:
            name, at = _text(packet, at)
            value, at = _text(packet, at)
            user.append((name.decode(), value.decode()))
        elif kind in _NUMBERS:
            size = _NUMBERS[kind]
            if kind == _EXPIRY:
                told["expiry_s"] = int.from_bytes(packet[at : at + size], "big")
            at += size
        else:
            raise ValueError(kind)
    if at != end:
        raise ValueError(at)
    if user:
        told["user"] = user
    return told


def _text(packet: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + (packet[at] << 8 | packet[at + 1])
    return packet[at + 2 : end], end


def _length(packet: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer, and where it ends."""
    size = packet[at]
    if size < 128:
        return size, at + 1
    size, shift = 0, 0
    while True:
        byte = packet[at]
        at += 1
        size |= (byte & 127) << shift
        if byte < 128:
            return size, at
        shift += 7
        if shift > 21:
            raise ValueError(size)
