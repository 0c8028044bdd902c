"""One connection to the broker: how messages leave on it, what the broker said of itself, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.contract.publication import Class, Publication
from bridge.mqtt.fast import FastClient

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux has it."""

JSON, WORDS = "application/json", "text/plain"
PRESENCE = (b"online", b"offline")
LONGEST_TOPIC = 65_535
"""Bytes: MQTT has two for the length. A device's id may be of any length."""


@dataclass(slots=True)
class Connection:
    """One connection. Implements `publisher.Line`."""

    client: aiomqtt.Client
    protocol: int
    window: int
    max_packet: int | None = None
    retain_available: bool = True
    qos: int = 1
    session_present: bool = False
    retained_kept: bool = False
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    born: asyncio.Event = field(default_factory=asyncio.Event)
    birth: int | None = None
    end: str = ""
    on_sent: Callable[[int, Publication], None] = lambda _mid, _publication: None
    fast: FastClient | None = None
    _json: Properties = field(default_factory=lambda: described(PacketTypes.PUBLISH, JSON))
    _words: Properties = field(default_factory=lambda: described(PacketTypes.PUBLISH, WORDS))
    _packed: bytes = b""
    _quick: bool = False

    @property
    def paho(self) -> paho.Client:
        """The client underneath."""
        return self.client._client  # noqa: SLF001 - aiomqtt's own publish waits per message (docs/adr/0003)

    def send(self, publication: Publication) -> int | None:
        """See `publisher.Line`."""
        mid = self._sent(publication)
        if mid is not None and publication.retain:
            self.on_sent(mid, publication)
        return mid

    def _sent(self, publication: Publication) -> int | None:
        if self.fast is not None and self.qos == 1:
            retain = publication.retain and self.retain_available
            return self.fast.send(
                publication.topic, publication.body, retain=retain, properties=self._packed_for(publication)
            )
        info = self.paho.publish(
            publication.topic,
            publication.body,
            qos=self.qos,
            retain=publication.retain and self.retain_available,
            properties=self._properties(publication),
        )
        return info.mid if info.rc == paho.MQTT_ERR_SUCCESS else None

    def heard(self) -> None:
        """Something came: the kernel is to say so to the broker at once. A broker with Nagle's algorithm on (Mosquitto,
        as it comes) would hold back the next command for the 40 ms of a delayed TCP acknowledgement. The option
        is forgotten again and again, so it is set again and again, once for all that came together."""
        if not self._quick:
            self._quick = True
            asyncio.get_running_loop().call_soon(self._acknowledge)

    def _acknowledge(self) -> None:
        self._quick = False
        line = self.paho.socket()
        if _QUICKACK is not None and isinstance(line, socket.socket):
            with contextlib.suppress(OSError):
                line.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def too_large(self, publication: Publication) -> bool:
        """See `publisher.Line`; 64 bytes stand for the packet's header and properties but Correlation Data."""
        topic = len(publication.topic.encode())
        size = len(publication.body) + topic + len(publication.correlation or b"") + 64
        return topic > LONGEST_TOPIC or (self.max_packet is not None and size > self.max_packet)

    def _packed_for(self, publication: Publication) -> bytes:
        """The properties as bytes; those of most messages are made once."""
        properties = self._properties(publication)
        if properties is None:
            return b"\x00" if self.protocol == 5 else b""
        if properties is not self._json:
            return bytes(properties.pack())  # type: ignore[no-untyped-call] # paho has no types here
        if not self._packed:
            self._packed = bytes(properties.pack())  # type: ignore[no-untyped-call] # as above
        return self._packed

    def _properties(self, publication: Publication) -> Properties | None:
        """What tells a subscriber how to read the payload; none where there is nothing to read."""
        if self.protocol != 5 or not publication.body:
            return None
        if publication.correlation is not None and publication.klass is Class.ACK:
            properties = described(PacketTypes.PUBLISH, JSON)
            properties.CorrelationData = publication.correlation
            return properties
        return self._words if publication.body in PRESENCE else self._json


def described(packet: int, content_type: str) -> Properties:
    """Properties that tell how to read a payload."""
    properties = Properties(packet)  # type: ignore[no-untyped-call] # paho has no types here
    properties.PayloadFormatIndicator = 1
    properties.ContentType = content_type
    return properties


def read_connack(connection: Connection, flags: Any, properties: Properties | None) -> None:
    """Takes over what the broker says of itself."""
    connection.session_present = bool(getattr(flags, "session_present", False))
    if properties is None:
        return
    connection.window = min(connection.window, getattr(properties, "ReceiveMaximum", None) or 65535)
    connection.max_packet = getattr(properties, "MaximumPacketSize", None)
    connection.retain_available = getattr(properties, "RetainAvailable", 1) != 0
    connection.qos = min(1, getattr(properties, "MaximumQoS", 1))


def is_reset(connection: Connection) -> bool:
    """Whether its socket is dead although nobody was told."""
    sock = connection.paho.socket()
    number = sock.fileno() if sock is not None else -1
    if number < 0:
        return True
    looker = select.poll()
    looker.register(number, 0)  # only what is told unasked: an error, a hang-up
    return bool(looker.poll(0))


def drop(connection: Connection) -> None:
    """Closes the socket if it is still open; after what aiomqtt has scheduled for it (adding a writer) is done."""
    asyncio.get_running_loop().call_soon(connection.paho._sock_close)  # noqa: SLF001 - disconnect() only queues


def ended(connection: Connection, done: asyncio.Future[None]) -> None:
    """It is over, and why."""
    if not done.cancelled():
        connection.end = str(done.exception() or "")
    connection.lost.set()


def code_of(reason: Any) -> int:
    """A reason as a number: paho gives ReasonCode objects (MQTT 5 and 3.1.1) or plain integers."""
    value = getattr(reason, "value", reason)
    return value if isinstance(value, int) else 0x80
