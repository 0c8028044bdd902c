"""`python -m benchmarks.contenders.reference PORT BROKER_PORT`: the same by hand on raw sockets, the floor of Python.

An asyncio protocol that reads just the HTTP that the load sends, another one that speaks just the MQTT 3.1.1 that QoS 1
needs. Answers after the PUBACK. No duplicates, no order, no state, no disk, no errors handled: not for use.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import msgspec

from benchmarks.contenders.message import TOPIC, message_of

_CONNECT = b"\x10\x15\x00\x04MQTT\x04\x02\x00\x00\x00\x09reference"


class Broker(asyncio.Protocol):
    """One connection to the broker."""

    def __init__(self) -> None:
        self._waiting: dict[int, Callable[[], None]] = {}
        self._mid = 0
        self._buffer = b""
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = transport
        transport.write(_CONNECT)  # type: ignore[attr-defined] # a stream

    def publish(self, topic: bytes, payload: bytes, done: Callable[[], None]) -> None:
        """Sends with QoS 1; `done` when it is acknowledged."""
        self._mid = self._mid % 65535 + 1
        self._waiting[self._mid] = done
        size = 2 + len(topic) + 2 + len(payload)
        length = bytearray()
        while True:
            size, low = divmod(size, 128)
            length.append(low | (0x80 if size else 0))
            if not size:
                break
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(
            b"\x32"
            + bytes(length)
            + len(topic).to_bytes(2, "big")
            + topic
            + self._mid.to_bytes(2, "big")
            + payload
        )

    def _flush(self) -> None:
        out, self._out = self._out, []
        self._wire.write(b"".join(out))  # type: ignore[attr-defined] # a stream

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at = 0
        while len(buffer) - at >= 4:
            if buffer[at] == 0x40:
                self._waiting.pop(int.from_bytes(buffer[at + 2 : at + 4], "big"))()
            at += 4
        self._buffer = buffer[at:]


class Web(asyncio.Protocol):
    """One connection of the platform."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        head = buffer.find(b"\r\n\r\n")
        at = buffer.find(b"Content-Length: ")
        if head < 0 or len(buffer) < head + 4 + int(buffer[at + 16 : buffer.index(b"\r\n", at)]):
            self._buffer = buffer
            return
        self._buffer = b""
        device, message = message_of(msgspec.json.decode(buffer[head + 4 :]))
        self._broker.publish(TOPIC.format(device).encode(), msgspec.json.encode(message), self._answer)

    def _answer(self) -> None:
        self._wire.write(  # type: ignore[attr-defined] # a stream
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n"
            b'{"Data": "", "State": "success", "M": ""}\n'
        )


async def serve(port: int, broker_port: int) -> None:
    """Until it is ended."""
    loop = asyncio.get_running_loop()
    _, broker = await loop.create_connection(Broker, "127.0.0.1", broker_port)
    await loop.create_server(lambda: Web(broker), "127.0.0.1", port)
    print("listening", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """See the module's first lines."""
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
