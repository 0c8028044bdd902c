"""`python -m benchmarks.instant`: a wmj cloud that answers at once and does nothing else. Prints `listening URL`.

Not a simulator: it checks nothing and keeps no state but the count of the commands (`GET /count`) and when which kind
of request came (`GET /log`: lines of seconds and `command` or `read`). It is written on
bare asyncio, so that it costs as little as possible of a machine that it shares with what is measured.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from typing import ClassVar

import httptools
import uvloop

HOST = "127.0.0.1"
_SWITCHED = b'{"data":{"device_sn":"","msg_id":54,"type":1,"cmd_type":"turnon","info":{"code":0,"msg":""}}}'
_READ = (
    b'{"code":0,"data":{"device_sn":"","cmd_type":"getdevinfo","info":{"code":0,"switch_state":0,"power":0,'
    b'"total_electricity":1.5,"voltage":230,"electric_current":0}}}'
)
_ONLINE = b'{"code":0,"data":{"on_line":1}}'


class Answers(asyncio.Protocol):
    """One connection."""

    count = 0
    log: ClassVar[list[str]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        line = transport.get_extra_info("socket")
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.body = b"", b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        answer = self._answer()
        self.body = b""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
            answer
        )
        self.transport.write(head + answer)  # type: ignore[attr-defined] # a stream's transport

    def _answer(self) -> bytes:
        if self.url == b"/count":
            return b"%d" % Answers.count
        if self.url == b"/log":
            return "\n".join(Answers.log).encode()
        reads = self.url.endswith(b"/getOnLine") or b"getdevinfo" in self.body
        Answers.log.append(f"{time.time():.4f} {'read' if reads else 'command'}")
        if self.url.endswith(b"/getOnLine"):
            return _ONLINE
        if b"getdevinfo" in self.body:
            return _READ
        Answers.count += 1
        return _SWITCHED


async def serve() -> None:
    """Until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Answers, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"listening http://{HOST}:{port}/deviceApi\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
