"""The way of a vendor's call to the network, without httpx's client around it: the same bytes, the same errors."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest

from bridge.domain.errors import LostAnswer, NotSent
from bridge.vendorkit.http import Call, OpenGate, VendorHttp
from tests.fakes.clock import FakeClock
from tests.unit.vendorkit.test_transport import Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    await one.start()
    yield one
    one.stop()


@pytest.fixture
async def http(server: Server) -> AsyncIterator[VendorHttp]:
    one = VendorHttp(server.url + "/api", OpenGate(), FakeClock())
    yield one
    await one.aclose()


def head(server: Server) -> dict[bytes, bytes]:
    lines = server.requests[-1].split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}


async def test_a_json_call_leaves_with_our_headers_and_no_others(server: Server, http: VendorHttp) -> None:
    reply = await http.call(Call("op", "POST", "/a", json={"n": 1}, headers={"token": "t"}))
    assert (reply.status, reply.body) == (200, b"ok")
    (request,) = server.requests
    assert request.startswith(b"POST /api/a HTTP/1.1\r\n")
    assert request.endswith(b'\r\n\r\n{"n":1}')
    sent = head(server)
    assert sent.keys() == {
        b"host", b"user-agent", b"accept", b"accept-encoding", b"content-type", b"content-length", b"token",
    }  # fmt: skip
    assert sent[b"content-type"] == b"application/json; charset=utf-8"
    assert sent[b"user-agent"].startswith(b"meterbridge/")


async def test_a_header_of_the_call_wins_whatever_its_case(server: Server, http: VendorHttp) -> None:
    await http.call(
        Call("op", "POST", "/a", json=[], headers={"content-type": "text/json", "ACCEPT": "text/plain"})
    )
    sent = head(server)
    assert (sent[b"content-type"], sent[b"accept"]) == (b"text/json", b"text/plain")


async def test_a_post_without_a_body_says_so(server: Server, http: VendorHttp) -> None:
    await http.call(Call("op", "POST", "/a"))
    assert head(server)[b"content-length"] == b"0"


@pytest.mark.parametrize("path", ["/a", "/a?fixed=1%2F2"])
async def test_the_query_is_the_one_that_a_dry_run_shows(server: Server, http: VendorHttp, path: str) -> None:
    call = Call("op", "GET", path, params={"sn": "A B", "word": "中/+&"})
    await http.call(call)
    target = server.requests[0].split(b" ")[1].decode()
    assert http.shown(call).url == server.url + target
    assert "sn=A+B&word=%E4%B8%AD%2F%2B%26" in target


async def test_a_packed_answer_is_unpacked(server: Server, http: VendorHttp) -> None:
    body = gzip.compress(b"packed", mtime=0)
    server.answers = [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    ]
    assert (await http.call(Call("op", "GET", "/"))).body == b"packed"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone",
    ],
    ids=["none", "half a body", "not packed as it says"],
)
async def test_a_broken_answer_is_a_lost_one_and_the_request_is_not_repeated(
    server: Server, http: VendorHttp, answer: bytes
) -> None:
    await http.call(Call("op", "POST", "/", content=b"first"))
    server.answers, server.hangs_up = [answer], True
    with pytest.raises(LostAnswer):
        await http.call(Call("op", "POST", "/", content=b"once"))
    assert len(server.requests) == 2


async def test_answers_keep_their_header_names_in_any_case(server: Server, http: VendorHttp) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nX-Left: 7\r\nContent-Length: 0\r\n\r\n"]
    reply = await http.call(Call("op", "GET", "/"))
    assert reply.headers["x-left"] == reply.headers["X-Left"] == "7"


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "\0", "wörd"])
async def test_a_header_that_http_cannot_carry_never_leaves(
    server: Server, http: VendorHttp, value: str
) -> None:
    with pytest.raises(NotSent):
        await http.call(Call("op", "GET", "/", headers={"token": value}))
    assert server.requests == []


@pytest.mark.parametrize("base", ["ftp://host.invalid", "https:///nowhere", "http://[1", "nonsense"])
async def test_an_unusable_address_means_nothing_was_sent(base: str) -> None:
    http = VendorHttp(base, OpenGate(), FakeClock())
    with pytest.raises(NotSent):
        await http.call(Call("op", "POST", "/", json={}))
    await http.aclose()


async def test_nobody_listening_means_nothing_was_sent(server: Server, http: VendorHttp) -> None:
    server.stop()
    with pytest.raises(NotSent):
        await http.call(Call("op", "POST", "/", json={}))


async def test_simulated_clouds_see_the_same_request(server: Server, http: VendorHttp) -> None:
    seen: list[httpx.Request] = []

    def cloud(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"ok")

    call = Call("op", "POST", "/a", params={"n": "1"}, json={"n": 1}, headers={"token": "t"})
    await http.call(call)
    simulated = VendorHttp(server.url + "/api", OpenGate(), FakeClock(), transport=httpx.MockTransport(cloud))
    await simulated.call(call)
    (request,) = seen
    assert server.requests[0].startswith(b"POST %s HTTP/1.1\r\n" % request.url.raw_path)
    ours = {name.encode(): value.encode() for name, value in request.headers.items() if name != "connection"}
    assert ours == head(server)
    assert request.content == server.requests[0].split(b"\r\n\r\n")[1]
