"""A broker that does what a test says and writes down what a client does: limits, refusals, breaks, repetitions.

Speaks as much of MQTT 5 and 3.1.1 as one client needs. It never forgives: a client that sends more than the receive
maximum, or more than the packet size allows, is noted in `sins` and cut off, as the standard demands.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 10, 11, 12, 13, 14


@dataclass(frozen=True, slots=True)
class Taken:
    """A message from the client."""

    topic: str
    body: bytes
    mid: int
    dup: bool
    retain: bool
    properties: bytes


@dataclass(slots=True)
class Script:
    """How the broker behaves. `reason_for` gives the reason code of a PUBACK, None: no PUBACK at all.

    `refuse_protocol`: answers a CONNECT of this protocol level with `refuse_with` (5: reason code in an MQTT 5
    CONNACK; with `old_connack` as a 3.1.1 broker writes it). `silent`: reads CONNECT and never answers;
    `silent_for`: one of this protocol level; `hangs_up`: closes instead of answering.
    """

    receive_maximum: int | None = None
    maximum_packet_size: int | None = None
    session_present: bool = False
    refuse_protocol: int | None = None
    refuse_with: int = 0x84
    old_connack: bool = False
    silent: bool = False
    silent_for: int | None = None
    hangs_up: bool = False
    puback_after_s: float = 0.0
    hangs_up_on: Callable[[Taken], bool] = lambda _taken: False
    reason_for: Callable[[Taken], int | None] = lambda _taken: 0


@dataclass(slots=True)
class ScriptedBroker:
    """One listening socket; the latest connection counts."""

    script: Script = field(default_factory=Script)
    port: int = 0
    connects: list[int] = field(default_factory=list)
    clean_starts: list[bool] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    pubacks: list[int] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)
    sins: list[str] = field(default_factory=list)
    most_in_flight: int = 0
    protocol: int = 5
    _writer: asyncio.StreamWriter | None = None
    _in_flight: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[ScriptedBroker]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Breaks the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    @property
    def connected(self) -> bool:
        return self._writer is not None

    async def until(self, condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
        """Returns when the condition holds; looked at whenever the client did something."""

        async def wait() -> None:
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)

        try:
            await asyncio.wait_for(wait(), timeout_s)
        except TimeoutError:
            topics = [taken.topic for taken in self.taken[-10:]]
            raise AssertionError(
                f"not within {timeout_s} s: {what}; sins {self.sins}, last {topics}"
            ) from None

    def bodies(self, topic: str) -> list[bytes]:
        """What was published on a topic."""
        return [taken.body for taken in self.taken if taken.topic == topic]

    def publish(self, topic: str, body: bytes, mid: int, *, dup: bool = False, retain: bool = False) -> None:
        """Sends a message with QoS 1 to the client."""
        properties = b"\x00" if self.protocol == 5 else b""
        rest = _text(topic) + mid.to_bytes(2, "big") + properties + body
        self._send((PUBLISH << 4) | (8 if dup else 0) | 2 | (1 if retain else 0), rest)

    def puback(self, mid: int, reason: int = 0) -> None:
        """Confirms a message of the client's by hand."""
        self._in_flight -= 1
        rest = mid.to_bytes(2, "big")
        self._send(PUBACK << 4, rest + bytes([reason, 0]) if self.protocol == 5 and reason else rest)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self._writer, self._in_flight = writer, 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readexactly(1))[0]
                size, length_bytes = await _length(reader)
                await self._handle(head, await reader.readexactly(size), 1 + length_bytes + size)
                self._changed.set()
        if self._writer is writer:
            self._writer = None
        writer.close()
        self._changed.set()

    async def _handle(self, head: int, body: bytes, packet_size: int) -> None:
        kind = head >> 4
        most = self.script.maximum_packet_size
        if most is not None and packet_size > most:
            self.sins.append(f"a packet of {packet_size} bytes")
            self.cut()
        elif kind == CONNECT:
            self._connect(body)
        elif kind == PUBLISH:
            self._take(head, body)
        elif kind == SUBSCRIBE:
            self._subscribe(body)
        elif kind == UNSUBSCRIBE:
            self._send(UNSUBACK << 4, body[:2] + (b"\x00\x00" if self.protocol == 5 else b""))
        elif kind == PUBACK:
            self.pubacks.append(int.from_bytes(body[:2], "big"))
        elif kind == PINGREQ:
            self._send(PINGRESP << 4, b"")

    def _connect(self, body: bytes) -> None:
        self.protocol = body[6]
        self.connects.append(self.protocol)
        self.clean_starts.append(bool(body[7] & 2))
        script = self.script
        if script.hangs_up:
            self.cut()
            return
        if script.silent or script.silent_for == self.protocol:
            return
        if script.refuse_protocol == self.protocol:
            old = script.old_connack or self.protocol != 5
            self._send(CONNACK << 4, bytes([0, script.refuse_with]) + (b"" if old else b"\x00"))
            if self._writer is not None:
                self._writer.close()
            return
        if self.protocol != 5:
            self._send(CONNACK << 4, b"\x00\x00")
            return
        properties = b""
        if script.receive_maximum is not None:
            properties += b"\x21" + script.receive_maximum.to_bytes(2, "big")
        if script.maximum_packet_size is not None:
            properties += b"\x27" + script.maximum_packet_size.to_bytes(4, "big")
        self._send(CONNACK << 4, bytes([int(script.session_present), 0, len(properties)]) + properties)

    def _take(self, head: int, body: bytes) -> None:
        taken = _message(head, body, self.protocol)
        self.taken.append(taken)
        if not head & 6:
            return
        if self.script.hangs_up_on(taken):
            self.cut()
            return
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        most = self.script.receive_maximum
        if most is not None and self._in_flight > most:
            self.sins.append(f"{self._in_flight} messages in flight")
            self._send(DISCONNECT << 4, b"\x93\x00")
            self.cut()
            return
        reason = self.script.reason_for(taken)
        if reason is None:
            return
        if self.script.puback_after_s:
            loop = asyncio.get_running_loop()
            loop.call_later(self.script.puback_after_s, self.puback, taken.mid, reason)
        else:
            self.puback(taken.mid, reason)

    def _subscribe(self, body: bytes) -> None:
        position = 2
        if self.protocol == 5:
            size, used = _varint(body[position:])
            position += used + size
        count = 0
        while position < len(body):
            length = int.from_bytes(body[position : position + 2], "big")
            self.subscriptions.append(body[position + 2 : position + 2 + length].decode())
            position += 3 + length
            count += 1
        self._send(SUBACK << 4, body[:2] + (b"\x00" if self.protocol == 5 else b"") + b"\x01" * count)

    def _send(self, head: int, rest: bytes) -> None:
        if self._writer is not None:
            self._writer.write(bytes([head]) + _as_varint(len(rest)) + rest)


def _message(head: int, body: bytes, protocol: int) -> Taken:
    length = int.from_bytes(body[:2], "big")
    topic, position = body[2 : 2 + length].decode(), 2 + length
    mid = 0
    if head & 6:
        mid = int.from_bytes(body[position : position + 2], "big")
        position += 2
    properties = b""
    if protocol == 5:
        size, used = _varint(body[position:])
        properties = body[position + used : position + used + size]
        position += used + size
    return Taken(topic, body[position:], mid, bool(head & 8), bool(head & 1), properties)


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (128 if value else 0))
        if not value:
            return bytes(out)


def _varint(raw: bytes) -> tuple[int, int]:
    value = 0
    for index in range(4):
        value |= (raw[index] & 127) << (7 * index)
        if not raw[index] & 128:
            return value, index + 1
    raise ValueError("no length")


async def _length(reader: asyncio.StreamReader) -> tuple[int, int]:
    raw = b""
    while True:
        raw += await reader.readexactly(1)
        if not raw[-1] & 128:
            return _varint(raw)
