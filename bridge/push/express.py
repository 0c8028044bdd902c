"""Small pushes straight from the HTTP parser to their receiver. Over ASGI, with its scope, its messages and their
checks, the HTTP of a push costs three times as much as its conversion; everything else still goes that way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from bridge.push.receiver import Call, Receiver, Reply

MOST_BYTES = 65536
"""Larger ones go the usual way."""
MOST_HEAD_BYTES = 65536
"""Of the lines before a body. The parser has no bound of its own: without one a connection could fill the memory."""
HEAD_TIMEOUT_S = 30.0
"""How long a connection may take to send a head: silent ones must not use up the open files."""
_SLOW_MARKS = (b"%", b"?", b"#")

log = logging.getLogger("bridge.push")


class _Unread:
    """In the place of the event by which uvicorn wakes a reader of the body: there is none."""

    def set(self) -> None:
        """Nobody waits."""


class Push:
    """One such request, in the place of uvicorn's own cycle: what uvicorn looks at there has its names."""

    __slots__ = ("body", "call", "disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, call: Call, *, keep_alive: bool) -> None:
        self.call = call
        self.keep_alive = keep_alive
        self.body = b""
        self.response_complete = False
        self.disconnected = False
        self.message_event = _UNREAD


_UNREAD = _Unread()


class ExpressProtocol(HttpToolsProtocol):
    """uvicorn's connection, with a shorter way for what `_push` takes, as far as its body comes together with its head:
    whoever sends a body piece by piece has a place among the pushes under way and a time for it (`push.receiver`).
    A request that comes before the answer to the one before it waits, as it does in uvicorn."""

    receiver: Receiver
    head_timeout_s = HEAD_TIMEOUT_S
    _reading: Push | None = None
    """The one whose body comes now."""
    _head_bytes = 0
    """Of the head that comes now, as far as it filled whole pieces."""
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_is_there()
        self._reading = self._push()
        if self._reading is None:
            self._begin_usual()

    def on_body(self, body: bytes) -> None:
        push = self._reading
        if push is None:
            super().on_body(body)
        else:
            push.body = push.body + body if push.body else body

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, -1  # what follows in this piece is not counted
        push, self._reading = self._reading, None
        if push is None:
            super().on_message_complete()
            return
        self.cycle = push  # type: ignore[assignment] # it stands in for one
        task = self.loop.create_task(self._answer(push))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._count_head(len(data))
        push, self._reading = self._reading, None
        if push is not None and not self.transport.is_closing():
            self._begin_usual()
            super().on_body(push.body)

    def _count_head(self, size: int) -> None:
        if self._head_bytes < 0:
            self._head_bytes = 0
            return
        self._head_bytes += size
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(431)
        elif self._head_timer is None:
            self._expect_head()

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_is_late)

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        before: RequestResponseCycle | None = self.cycle
        if before is not None and not before.response_complete:
            self._expect_head()  # the answer to the request before has not gone yet
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        self._head_is_there()
        head = (STATUS_LINE[status], b"connection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.write(b"".join(head))
        self.transport.close()

    def _begin_usual(self) -> None:
        """Hands the request over to uvicorn, as if its head had just come."""
        url, expects, headers = self.url, self.expect_100_continue, self.headers
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers[:] = headers
        super().on_headers_complete()

    def _push(self) -> Push | None:
        """This request, if it is a push with a small body whose length is told and that nothing else is asked of."""
        before: RequestResponseCycle | None = self.cycle
        url = self.url
        if self.parser.get_method() != b"POST" or not url.startswith(b"/push/"):
            return None
        parts = url.split(b"/", 4)
        if len(parts) < 4 or not (parts[2] and parts[3]) or any(mark in url for mark in _SLOW_MARKS):
            return None
        if before is not None and not before.response_complete:
            return None
        if self.expect_100_continue or self.parser.should_upgrade() or not _is_small(self.headers):
            return None
        if self.parser.get_http_version() != "1.1" or not url.isascii():
            return None
        call = Call(
            account=parts[2].decode(),
            secret=parts[3].decode(),
            tail=parts[4].decode() if len(parts) > 4 else "",
            client=self.client[0] if self.client else "",
            headers=self.headers,
        )
        return Push(call, keep_alive=self.parser.should_keep_alive())

    async def _answer(self, push: Push) -> None:
        try:
            reply = await self.receiver.whole(push.call, push.body)
        except Exception:
            log.exception("push.crashed")
            reply = Reply(500, b"Internal Server Error")
        self._send(push, reply)

    def _send(self, push: Push, reply: Reply) -> None:
        push.response_complete = True
        if push.disconnected:
            return
        head = [STATUS_LINE[reply.status]]
        for name, value in (*self.server_state.default_headers, *reply.headers):
            head += (name, b": ", value, b"\r\n")
        if not push.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(b"content-length: %d\r\n\r\n" % len(reply.body))
        head.append(reply.body)
        self.transport.write(b"".join(head))
        if not push.keep_alive:
            self.transport.close()
        self.on_response_complete()


def _is_small(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    size = b""
    for name, value in headers:
        if name == b"content-length":
            size = value
        elif name == b"transfer-encoding":
            return False
    return size.isdigit() and int(size) <= MOST_BYTES


def express(receiver: Receiver) -> type[ExpressProtocol]:
    """The connection class of a server with this receiver: uvicorn makes its connections itself."""
    return type("Express", (ExpressProtocol,), {"receiver": receiver})
