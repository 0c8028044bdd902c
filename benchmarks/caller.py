"""A caller of commands on bare sockets: MQTT 3.1.1, QoS 1, TCP_NODELAY, several commands outstanding.

It is its own MQTT client because any ready-made one would take more of the machine than the gateway that is measured.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

HOST = "127.0.0.1"


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, low = divmod(size, 128)
        out.append(low | (0x80 if size else 0))
        if not size:
            return bytes(out)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


class Mqtt(asyncio.Protocol):
    """Connects, subscribes to one filter with QoS 1, publishes with QoS 1 and confirms what comes."""

    def __init__(self, name: str, pattern: str, on_message: Callable[[bytes], None]) -> None:
        self._name = name
        self._pattern = pattern
        self._on_message = on_message
        self._rest = b""
        self._mid = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._socket = transport.get_extra_info("socket")
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = _text("MQTT") + b"\x04\x02\x00\x00" + _text(self._name)
        self._write(b"\x10" + _length(len(body)) + body)
        body = b"\x00\x01" + _text(self._pattern) + b"\x01"
        self._write(b"\x82" + _length(len(body)) + body)

    def publish(self, topic: str, payload: bytes) -> None:
        """QoS 1; the PUBACK is not waited for."""
        self._mid = self._mid % 65535 + 1
        body = _text(topic) + struct.pack("!H", self._mid) + payload
        self._write(b"\x32" + _length(len(body)) + body)

    def data_received(self, data: bytes) -> None:
        # else a Mosquitto as it comes (Nagle's algorithm on) would wait for our delayed TCP acknowledgement
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data = self._rest + data
        at, acks = 0, []
        while (packet := _packet(data, at)) is not None:
            kind, start, end = packet
            if kind & 0xF0 == 0x30:
                size = (data[start] << 8) | data[start + 1]
                after = start + 2 + size
                if kind & 0x06:
                    acks.append(b"\x40\x02" + data[after : after + 2])
                    after += 2
                self._on_message(data[after:end])
            elif kind & 0xF0 == 0x90 and not self.ready.done():
                self.ready.set_result(None)
            at = end
        self._rest = data[at:]
        if acks:
            self._write(b"".join(acks))

    def close(self) -> None:
        """Says goodbye."""
        self._write(b"\xe0\x00")
        self._transport.close()

    def _write(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined] # a stream's transport


def _packet(data: bytes, at: int) -> tuple[int, int, int] | None:
    """(first byte, start of the body, end) of the packet that begins at `at`, None while it is not complete."""
    size, shift, position = 0, 0, at + 1
    while True:
        if position >= len(data):
            return None
        byte = data[position]
        size |= (byte & 0x7F) << shift
        shift += 7
        position += 1
        if not byte & 0x80:
            break
    return (data[at], position, position + size) if position + size <= len(data) else None


@dataclass
class Course:
    """What a run of commands took: seconds from publishing to the final acknowledgement, each and all."""

    took_s: list[float] = field(default_factory=list)
    whole_s: float = 0.0
    not_succeeded: int = 0

    @property
    def per_s(self) -> float:
        """Commands that came to their end per second."""
        return len(self.took_s) / self.whole_s

    def percentile_ms(self, share: float) -> float:
        """E.g. 0.5: the median."""
        ordered = sorted(self.took_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


class Caller:
    """Sends commands to breakers and waits for their final acknowledgements."""

    def __init__(self, port: int, base: str, serials: Sequence[str]) -> None:
        self._port = port
        self._base = base
        self._serials = list(serials)
        self._began: dict[bytes, tuple[float, str]] = {}
        self._free: deque[str] = deque()
        self._turn: dict[str, bool] = {}
        self._number = 0
        self._left = 0

    async def run(self, count: int, prefix: str, each: int = 1) -> Course:
        """`count` commands, at most `each` outstanding per device."""
        self._course = Course()
        self._prefix = prefix
        self._left = count
        self._free = deque(self._serials * each)
        self._done = asyncio.Event()
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(
            lambda: Mqtt(f"caller-{prefix}", f"{self._base}/+/+/ack", self._heard), HOST, self._port
        )
        self._line = line
        await line.ready
        began = time.perf_counter()
        self._send_some()
        await self._done.wait()
        self._course.whole_s = time.perf_counter() - began
        line.close()
        return self._course

    def _send_some(self) -> None:
        while self._free and self._left:
            self._left -= 1
            self._number += 1
            serial = self._free.popleft()
            command_id = f"{self._prefix}-{self._number}"
            on = self._turn[serial] = not self._turn.get(serial, False)
            payload = f'{{"id":"{command_id}","state":"{"on" if on else "off"}"}}'
            self._began[command_id.encode()] = time.perf_counter(), serial
            self._line.publish(f"{self._base}/shop/{serial}/cmd/breaker", payload.encode())

    def _heard(self, payload: bytes) -> None:
        if b'"final":true' not in payload:
            return
        start = payload.index(b'"id":"') + 6
        known = self._began.pop(payload[start : payload.index(b'"', start)], None)
        if known is None:
            return
        began, serial = known
        self._course.took_s.append(time.perf_counter() - began)
        self._course.not_succeeded += b'"status":"succeeded"' not in payload
        self._free.append(serial)
        self._send_some()
        if not self._left and not self._began:
            self._done.set()
