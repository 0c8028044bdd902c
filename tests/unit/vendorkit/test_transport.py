"""The HTTP connections to a vendor: what was certainly not sent, what may have been, and nothing ever twice."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import httpx
import pytest

from bridge.vendorkit.transport import NOT_WRITTEN, SessionTransport, translated

HOST = "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers as a test tells it; keeps every request and counts connections."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.answers: list[bytes] = []
        self.hangs_up = False
        self.url = ""

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._talk, HOST, 0, ssl=tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{HOST}:{port}"

    def stop(self) -> None:
        self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next(
                    (
                        int(line[15:])
                        for line in head.lower().split(b"\r\n")
                        if line.startswith(b"content-length:")
                    ),
                    0,
                )
                self.requests.append(head + await reader.readexactly(size))
                answer = self.answers.pop(0) if self.answers else OK
                writer.write(answer)
                await writer.drain()
                if self.hangs_up:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    await one.start()
    yield one
    one.stop()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=SessionTransport(most=2), trust_env=False, timeout=5) as one:
        yield one


async def test_requests_follow_each_other_on_one_connection(
    server: Server, client: httpx.AsyncClient
) -> None:
    for number in range(3):
        answer = await client.post(f"{server.url}/a?n={number}", content=b"body")
        assert (answer.status_code, answer.text) == (200, "ok")
    assert server.connections == 1
    first = server.requests[0]
    assert first.startswith(b"POST /a?n=0 HTTP/1.1\r\n")
    assert first.endswith(b"\r\n\r\nbody")
    assert f"host: {server.url.removeprefix('http://')}".encode() in first.lower()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
            % (len(gzip.compress(b"packed", mtime=0)), gzip.compress(b"packed", mtime=0)),
            "packed",
        ),
    ],
    ids=["chunked", "after an announcement", "without a body", "packed"],
)
async def test_every_form_of_an_answer_is_read(
    server: Server, client: httpx.AsyncClient, answer: bytes, text: str
) -> None:
    server.answers = [answer]
    assert (await client.get(server.url)).text == text
    assert (await client.get(server.url)).text == "ok"
    assert server.connections == 1


async def test_a_body_without_a_length_ends_with_its_connection(
    server: Server, client: httpx.AsyncClient
) -> None:
    server.answers, server.hangs_up = [b"HTTP/1.1 200 OK\r\n\r\nuntil the end"], True
    assert (await client.get(server.url)).text == "until the end"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"garbage\r\n\r\n",
    ],
    ids=["none", "half a head", "half a body", "no HTTP"],
)
async def test_a_broken_answer_is_a_lost_one_and_the_request_is_not_repeated(
    server: Server, client: httpx.AsyncClient, answer: bytes
) -> None:
    server.answers, server.hangs_up = [answer], True
    with pytest.raises(httpx.HTTPError) as caught:
        await client.post(server.url, content=b"once")
    assert not isinstance(caught.value, NOT_WRITTEN)
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_breaks_does_not_make_a_request_go_out_twice(
    server: Server, client: httpx.AsyncClient, method: str
) -> None:
    await client.request(method, server.url)
    server.answers, server.hangs_up = [b""], True
    with pytest.raises(httpx.TransportError) as caught:
        await client.request(method, server.url)
    assert not isinstance(caught.value, NOT_WRITTEN)
    assert len(server.requests) == 2
    assert server.connections == 1


async def test_an_address_leaves_as_it_is_written(server: Server, client: httpx.AsyncClient) -> None:
    await client.get(f"{server.url}/post%20api/a%2Fb?scope=read%20write&sign=a%2Bb%3D&word=%E4%B8%AD*")
    (request,) = server.requests
    assert request.startswith(
        b"GET /post%20api/a%2Fb?scope=read%20write&sign=a%2Bb%3D&word=%E4%B8%AD* HTTP/1.1\r\n"
    )


async def test_nothing_is_added_to_what_the_vendor_is_to_get(
    server: Server, client: httpx.AsyncClient
) -> None:
    await client.post(server.url, headers={"Token": "t"}, content=b"{}")
    (request,) = server.requests
    names = {line.partition(b":")[0].lower() for line in request.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]}
    assert names == {
        b"host", b"accept", b"accept-encoding", b"connection", b"user-agent", b"token", b"content-length",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (aiohttp.ConnectionTimeoutError(), httpx.ConnectTimeout),
        (aiohttp.ServerDisconnectedError(), httpx.ReadError),
        (aiohttp.ClientConnectionResetError(), httpx.ReadError),
        (aiohttp.ClientConnectionError(), httpx.ReadError),
        (aiohttp.ClientOSError(), httpx.ReadError),
        (aiohttp.ClientPayloadError(), httpx.ReadError),
        (aiohttp.SocketTimeoutError(), httpx.ReadTimeout),
        (aiohttp.ServerTimeoutError(), httpx.ReadError),
        (ConnectionResetError(), httpx.ReadError),
    ],
)
def test_only_what_failed_while_connecting_was_certainly_not_sent(
    error: Exception, kind: type[httpx.HTTPError]
) -> None:
    assert type(translated(error)) is kind
    assert (kind in NOT_WRITTEN) is isinstance(error, aiohttp.ConnectionTimeoutError)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used(
    server: Server, client: httpx.AsyncClient
) -> None:
    server.hangs_up = True
    for _ in range(3):
        assert (await client.post(server.url, content=b"x")).text == "ok"
    assert (len(server.requests), server.connections) == (3, 3)


async def test_a_server_that_says_close_is_taken_at_its_word(
    server: Server, client: httpx.AsyncClient
) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]
    await client.get(server.url)
    await client.get(server.url)
    assert server.connections == 2


async def test_no_more_connections_than_allowed_are_open_at_once(
    server: Server, client: httpx.AsyncClient
) -> None:
    answers = await asyncio.gather(*(client.get(server.url) for _ in range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert server.connections <= 2


async def test_a_silent_server_is_a_lost_answer(client: httpx.AsyncClient) -> None:
    silent = await asyncio.start_server(lambda _reader, _writer: None, HOST, 0)
    port = silent.sockets[0].getsockname()[1]
    with pytest.raises(httpx.ReadTimeout):
        await client.get(f"http://{HOST}:{port}", timeout=0.05)
    silent.close()


async def test_who_waits_for_a_connection_too_long_has_sent_nothing() -> None:
    silent = await asyncio.start_server(lambda _reader, _writer: None, HOST, 0)
    url = f"http://{HOST}:{silent.sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient(transport=SessionTransport(most=1), trust_env=False) as client:
        first = asyncio.ensure_future(client.get(url, timeout=5))
        await asyncio.sleep(0.01)
        with pytest.raises(NOT_WRITTEN):
            await client.get(url, timeout=0.02)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    silent.close()


async def test_nobody_listening_means_nothing_was_sent(server: Server, client: httpx.AsyncClient) -> None:
    server.stop()
    with pytest.raises(httpx.ConnectError):
        await client.post(server.url, content=b"x")


@pytest.mark.parametrize("url", ["ftp://host.invalid/", "https:///nowhere"])
async def test_an_unusable_address_means_nothing_was_sent(client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises((*NOT_WRITTEN, httpx.InvalidURL)):
        await client.get(url)


async def test_a_line_break_in_a_header_never_leaves(server: Server, client: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        await client.get(server.url, headers={"X-Token": "a\r\nX-Other: b"})
    assert server.requests == []


async def test_a_certificate_that_nobody_vouches_for_means_nothing_was_sent(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    making = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"
    paths = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        [*making.split(), *paths, "-addext", f"subjectAltName=IP:{HOST}"], check=True, capture_output=True
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = Server()
    await server.start(tls)
    known = ssl.create_default_context(cafile=str(certificate))
    async with httpx.AsyncClient(transport=SessionTransport(known), trust_env=False) as trusting:
        assert (await trusting.get(server.url)).text == "ok"
        assert (await trusting.get(server.url)).text == "ok"
    assert server.connections == 1
    async with httpx.AsyncClient(transport=SessionTransport(), trust_env=False) as careful:
        with pytest.raises(httpx.ConnectError):
            await careful.post(server.url, content=b"secret")
    assert len(server.requests) == 2
    server.stop()
