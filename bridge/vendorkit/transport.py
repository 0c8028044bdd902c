"""aiohttp's connections with httpx's errors, which tell what certainly was not sent from what may have been.

Invariant: errors of `NOT_WRITTEN` are raised only before the first byte of a request is written, any other only
afterwards; and no request is ever written twice. At most one effect of a command rests on it.

Not `httpx-aiohttp`: it calls every lost connection a ConnectTimeout, as if nothing had left. Not httpx's own transport:
it keeps the promise, at four times the cost of a call (ADR 0010).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

NOT_WRITTEN: tuple[type[httpx.HTTPError], ...] = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
"""What is raised only while nothing has left."""

_TABLE: tuple[tuple[type[Exception], type[httpx.TransportError], str], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout, "no connection in time"),
    (aiohttp.ClientConnectorError, httpx.ConnectError, "no connection"),
    (aiohttp.SocketTimeoutError, httpx.ReadTimeout, "no answer in time"),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError, "not HTTP"),
    (aiohttp.ClientError, httpx.ReadError, "the connection broke"),
    (OSError, httpx.ReadError, "the connection broke"),
)
"""The first row that fits counts. What is not known to be harmless is a lost answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole and unpacked. Header names are looked up in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Line(Protocol):
    """How requests reach the vendor."""

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, timeout_s: float
    ) -> Answer:
        """One request and its answer. `url` with its query. Raises httpx.InvalidURL, or httpx.HTTPError as the
        module says."""
        ...

    async def aclose(self) -> None:
        """Closes what is kept open."""
        ...


class ClientLine:
    """A Line over any transport of httpx, as tests and simulated clouds bring them."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._client = httpx.AsyncClient(transport=transport, follow_redirects=False, trust_env=False)

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, timeout_s: float
    ) -> Answer:
        """See `Line`."""
        times = httpx.Timeout(timeout_s, connect=_connect_s(timeout_s), pool=timeout_s)
        answer = await self._client.request(method, url, headers=headers, content=content, timeout=times)
        return Answer(answer.status_code, answer.headers, answer.content)

    async def aclose(self) -> None:
        """See `Line`."""
        await self._client.aclose()


class SessionTransport(httpx.AsyncBaseTransport):
    """At most `most` connections at a time, each kept for `idle_s` after its last answer. A Line, and a transport of
    httpx; the Line spares what httpx's client does around a request (ADR 0013)."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, most: int = 10, idle_s: float = 4.0) -> None:
        self._tls = tls
        self._most = most
        self._idle_s = idle_s
        self._session: aiohttp.ClientSession | None = None

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, timeout_s: float
    ) -> Answer:
        """See `Line`."""
        answer, body = await self._exchanged(
            method, _address(url), _headers(headers.items()), content, _times(timeout_s)
        )
        if "Content-Encoding" in answer.headers:
            body = _plain(answer, body).read()
        return Answer(answer.status, answer.headers, body)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`. The answer is read whole."""
        given = request.extensions.get("timeout", {})
        times = aiohttp.ClientTimeout(
            total=None,
            connect=given.get("pool"),
            sock_connect=given.get("connect"),
            sock_read=given.get("read"),
        )
        sent = _headers(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
        )
        address, content = _address(str(request.url)), await request.aread()
        response = _plain(*await self._exchanged(request.method, address, sent, content, times))
        response.request = request
        return response

    async def _exchanged(
        self,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        content: bytes | None,
        times: aiohttp.ClientTimeout,
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        session = self._opened()
        # a goodbye of the server that lies in the socket is noticed first: two rounds of the loop end the connection
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        try:
            async with session.request(
                method, url, headers=headers, data=content or None, allow_redirects=False, timeout=times
            ) as answer:
                return answer, await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise translated(error) from None

    async def aclose(self) -> None:
        """Closes what is kept open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        """Made when the first request leaves: it belongs to the loop that runs then."""
        if self._session is None:
            tls = self._tls if self._tls is not None else httpx.create_ssl_context(trust_env=False)
            connector = aiohttp.TCPConnector(limit=self._most, keepalive_timeout=self._idle_s, ssl=tls)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            )
            # aiohttp repeats a GET by itself when a kept connection breaks. There is no option for it; a test holds
            # us to it. A repetition would be a call that nobody counted against the vendor's limit.
            self._session._retry_connection = False  # noqa: SLF001 - see above
        return self._session


def translated(error: Exception) -> httpx.TransportError:
    """aiohttp's error as httpx's. Its text names the kind only: addresses of some vendors carry secrets."""
    kind, text = next((ours, text) for theirs, ours, text in _TABLE if isinstance(error, theirs))
    return kind(f"{text} ({type(error).__name__})")


def _plain(answer: aiohttp.ClientResponse, body: bytes) -> httpx.Response:
    """As httpx has it, which unpacks the body when it is read."""
    return httpx.Response(answer.status, headers=answer.raw_headers, stream=httpx.ByteStream(body))


@lru_cache(maxsize=512)
def _address(url: str) -> URL:
    """As it is written, not encoded anew."""
    read = httpx.URL(url)
    if read.scheme not in ("http", "https") or not read.host:
        raise httpx.UnsupportedProtocol(
            "an address of a vendor begins with http:// or https:// and names a host"
        )
    return URL(str(read), encoded=True)


def _headers(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """Raises LocalProtocolError for what would be another request than it seems."""
    sent = CIMultiDict(headers)
    together = "".join(f"{name}{value}" for name, value in sent.items())
    if any(mark in together for mark in "\r\n\0"):
        raise httpx.LocalProtocolError("a header holds a line break")
    if not together.isascii():
        raise httpx.LocalProtocolError("a header holds characters that are not ASCII")
    return sent


@lru_cache(maxsize=64)
def _times(timeout_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None, connect=timeout_s, sock_connect=_connect_s(timeout_s), sock_read=timeout_s
    )


def _connect_s(timeout_s: float) -> float:
    return min(10.0, timeout_s)
