"""Small pushes straight from the HTTP parser to their receiver. Over ASGI, with its scope, its messages and their
checks, the HTTP of a push costs three times as much as its conversion; everything else still goes that way.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from bridge.push.receiver import Call, Receiver, Reply

MOST_BYTES = 65536
"""Larger ones go the usual way."""
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
    _reading: Push | None = None
    """The one whose body comes now."""

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
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
        push, self._reading = self._reading, None
        if push is not None and not self.transport.is_closing():
            self._begin_usual()
            super().on_body(push.body)

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
