"""HTTP/1.1 on plain asyncio connections, under httpx's API: one request at a time per connection, kept open a while.

Invariant: before the first byte of a request is written only errors of `NOT_WRITTEN` are raised, afterwards none of
them; and no request is ever written twice. httpx's own transport keeps that too, at five times the cost per call.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httptools
import httpx

NOT_WRITTEN: tuple[type[httpx.HTTPError], ...] = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
"""What is raised only while nothing has left."""
_PORTS = {"http": 80, "https": 443}
_SWITCHING = 200
"""Answers below this number announce another one."""

Origin = tuple[str, str, int]


@dataclass(slots=True)
class _Answer:
    """What has come of one answer."""

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: list[bytes] = field(default_factory=list)
    status: int = 0
    sized: bool = False


class Line(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: Any = None
        self._waiting: asyncio.Future[_Answer] | None = None
        self._answer = _Answer()
        self._parser: Any = None
        self._poll = select.poll()
        self.heard_at = 0.0
        self.open = False

    # what asyncio tells -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.open = True
        self.heard_at = self._loop.time()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        if self._waiting is None:
            self.close()  # nobody asked: the connection is not what it seems
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(httpx.RemoteProtocolError(f"not HTTP ({type(error).__name__})"))

    def eof_received(self) -> bool:
        self._end(None)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        self.open = False
        answer = self._answer
        if error is None and answer.status >= _SWITCHING and not answer.sized:
            self._complete()  # a body without a length ends with its connection
        elif error is not None:
            self._fail(httpx.ReadError(f"the connection broke ({type(error).__name__})"))
        else:
            self._fail(
                httpx.RemoteProtocolError("the server closed the connection before its answer was complete")
            )

    # what the parser tells --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A next answer begins."""
        self._answer = _Answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._answer.headers.append((name, value))
        self._answer.sized |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        """The status is known."""
        self._answer.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._answer.body.append(body)

    def on_message_complete(self) -> None:
        """The answer is there, unless it only announced one."""
        if self._parser.get_status_code() >= _SWITCHING:
            self._answer.status = self._parser.get_status_code()
            if not self._parser.should_keep_alive():
                self.open = False
            self._complete()

    def _complete(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(self._answer)

    def _fail(self, error: httpx.HTTPError) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
        self.close()

    # what its owner does ----------------------------------------------------------------------------------------

    def usable(self, idle_s: float) -> bool:
        """Whether a request may go out here: not closed, not idle for too long, and nothing to read, which could only
        be the server's goodbye."""
        if not self.open or self._transport.is_closing() or self._loop.time() - self.heard_at > idle_s:
            return False
        return not self._poll.poll(0)

    async def ask(self, request: bytes, silence_s: float | None) -> _Answer:
        """Writes a request and waits for its answer, and for each piece of it at most `silence_s`."""
        self._parser = httptools.HttpResponseParser(self)
        self._answer = _Answer()
        waiting = self._waiting = self._loop.create_future()
        self.heard_at = self._loop.time()
        self._transport.write(request)
        timer = (
            None if silence_s is None else self._loop.call_later(silence_s, self._listen, silence_s, waiting)
        )
        try:
            answer: _Answer = await waiting
        except BaseException:
            self.close()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return answer

    def _listen(self, silence_s: float, waiting: asyncio.Future[_Answer]) -> None:
        rest_s = self.heard_at + silence_s - self._loop.time()
        if waiting.done():
            return
        if rest_s <= 0:
            self._fail(httpx.ReadTimeout("no answer in time"))
        else:
            self._loop.call_later(rest_s, self._listen, silence_s, waiting)

    def close(self) -> None:
        """Closes the connection at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()


class WireTransport(httpx.AsyncBaseTransport):
    """At most `most` connections at a time, each kept for `idle_s` after its last answer."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, most: int = 10, idle_s: float = 4.0) -> None:
        self._tls = tls
        self._idle_s = idle_s
        self._idle: dict[Origin, deque[Line]] = {}
        self._room = asyncio.Semaphore(most)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        times = request.extensions.get("timeout", {})
        content = await request.aread()
        written = _written(request, content)
        async with self._place(times.get("pool")):
            origin = _origin(request.url)
            line = self._kept(origin) or await self._connect(origin, times.get("connect"))
            answer = await line.ask(written, times.get("read"))
            if line.open:
                self._idle.setdefault(origin, deque()).append(line)
            else:
                line.close()
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=httpx.ByteStream(b"".join(answer.body)),
            request=request,
        )

    async def aclose(self) -> None:
        """Closes what is kept open."""
        for lines in self._idle.values():
            for line in lines:
                line.close()
        self._idle.clear()

    @contextlib.asynccontextmanager
    async def _place(self, timeout_s: float | None) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_s if self._room.locked() else None):
                await self._room.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no free connection in time") from None
        try:
            yield
        finally:
            self._room.release()

    def _kept(self, origin: Origin) -> Line | None:
        """The connection used last, of those that still stand."""
        lines = self._idle.get(origin)
        while lines:
            line = lines.pop()
            if line.usable(self._idle_s):
                return line
            line.close()
        return None

    async def _connect(self, origin: Origin, timeout_s: float | None) -> Line:
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        tls = self._context() if scheme == "https" else None
        try:
            async with asyncio.timeout(timeout_s):
                _, line = await loop.create_connection(
                    lambda: Line(loop), host, port, ssl=tls, server_hostname=host if tls is not None else None
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time") from None
        except (OSError, ssl.CertificateError, UnicodeError) as error:
            raise httpx.ConnectError(f"no connection ({type(error).__name__})") from None
        return line

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)
        return self._tls


def _origin(url: httpx.URL) -> Origin:
    if url.scheme not in _PORTS or not url.host:
        raise httpx.UnsupportedProtocol(
            "an address of a vendor begins with http:// or https:// and names a host"
        )
    return url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]


def _written(request: httpx.Request, content: bytes) -> bytes:
    """The request as it goes over the line. Raises LocalProtocolError for what would be another one than it seems."""
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % (name, value) for name, value in request.headers.raw]
    for line in lines:
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise httpx.LocalProtocolError("a header holds a line break")
    return b"\r\n".join([*lines, b"", content])
