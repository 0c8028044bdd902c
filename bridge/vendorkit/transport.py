"""aiohttp's connections under httpx's API, with errors that tell what certainly was not sent from what may have been.

Invariant: errors of `NOT_WRITTEN` are raised only before the first byte of a request is written, any other only
afterwards; and no request is ever written twice. At most one effect of a command rests on it.

Not `httpx-aiohttp`: it calls every lost connection a ConnectTimeout, as if nothing had left. Not httpx's own transport:
it keeps the promise, at four times the cost of a call (ADR 0010).
"""

from __future__ import annotations

import asyncio
import ssl

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


class SessionTransport(httpx.AsyncBaseTransport):
    """At most `most` connections at a time, each kept for `idle_s` after its last answer."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, most: int = 10, idle_s: float = 4.0) -> None:
        self._tls = tls
        self._most = most
        self._idle_s = idle_s
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`. The answer is read whole."""
        times = request.extensions.get("timeout", {})
        url, headers = _address(request.url), _headers(request)
        content = await request.aread()
        session = self._opened()
        # a goodbye of the server that lies in the socket is noticed first: two rounds of the loop end the connection
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        try:
            async with session.request(
                request.method,
                url,
                headers=headers,
                data=content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    connect=times.get("pool"),
                    sock_connect=times.get("connect"),
                    sock_read=times.get("read"),
                ),
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise translated(error) from None
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=httpx.ByteStream(body), request=request
        )

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


def _address(url: httpx.URL) -> URL:
    """As it is written, not encoded anew."""
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol(
            "an address of a vendor begins with http:// or https:// and names a host"
        )
    return URL(str(url), encoded=True)


def _headers(request: httpx.Request) -> CIMultiDict[str]:
    """Raises LocalProtocolError for what would be another request than it seems."""
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in request.headers.raw:
        if any(mark in name + value for mark in b"\r\n\0"):
            raise httpx.LocalProtocolError("a header holds a line break")
        headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return headers
