"""Whatever way a push takes through the server, it gets the same answer: compared over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.push import express
from bridge.push import receiver as receiving
from bridge.push.server import HttpServer, build_app
from tests.fakes.receiver import DATA, GAS, REPORT, Receiver
from tests.unit.vendors.iotmeter.bench import METER, fixture_bytes

BODY = fixture_bytes("v1")
LIMIT = 200_000


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection, byte by byte as a test wants it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Each piece leaves by itself."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0.02)

    async def answer(self) -> Answer:
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 20)).decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in head[1:] if line]
        assert len({name for name, _ in pairs}) == len(pairs), "no header comes twice"
        headers = dict(pairs)
        body = await asyncio.wait_for(self._reader.readexactly(int(headers["content-length"])), 20)
        return Answer(int(head[0].split()[1]), headers, body)

    async def is_closed(self) -> bool:
        return await asyncio.wait_for(self._reader.read(), 20) == b""

    def close(self) -> None:
        self._writer.close()


class Stage:
    """The gateway's receiver behind a real server; counts which pushes took the short way."""

    def __init__(self, receiver: Receiver, port: int, short: list[bytes]) -> None:
        self.receiver = receiver
        self.short = short
        self._port = port
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self._port))
        self._clients.append(client)
        return client

    async def ask(self, *pieces: bytes) -> Answer:
        client = await self.connect()
        await client.send(*pieces)
        return await client.answer()

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    short: list[bytes] = []
    whole = receiving.Receiver.whole

    async def noted(self: receiving.Receiver, call: receiving.Call, body: bytes) -> receiving.Reply:
        short.append(body)
        return await whole(self, call, body)

    monkeypatch.setattr(receiving.Receiver, "whole", noted)
    async with Receiver(tmp_path, http="max_body: 200000") as receiver:
        gateway = receiver.gateway
        app = build_app(gateway.doors, gateway._pages(), gateway.push_limits, receiver.clock)
        http = HttpServer(app, "127.0.0.1", 0)
        await http.start()
        staged = Stage(receiver, http.port, short)
        yield staged
        staged.close()
        await http.stop()


def post(body: bytes, *headers: str, path: str = GAS + DATA, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def same(one: Answer, other: Answer) -> None:
    assert (one.status, one.body) == (other.status, other.body)
    assert one.headers.keys() == other.headers.keys()
    assert {**one.headers, "date": ""} == {**other.headers, "date": ""}


async def test_a_push_that_comes_in_one_piece_takes_the_short_way_and_is_on_disk(stage: Stage) -> None:
    answer = await stage.ask(post(BODY))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert b'"State":"success"' in answer.body
    assert stage.short == [BODY]
    assert len(stage.receiver.docs(f"gas/{METER}/telemetry")) == 1


@pytest.mark.parametrize(
    "pieces",
    [
        [post(BODY)[:40], post(BODY)[40:]],
        [post(BODY)[: -len(BODY)], BODY],
        [post(BODY)[:-1], post(BODY)[-1:]],
        [post(BODY, "Expect: 100-continue")],
        [post(BODY, path=GAS + DATA.replace("Meter", "%4Deter"))],
        [post(BODY, path=GAS + DATA + "?x=1")],
        [
            f"POST {GAS}{DATA} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode(),
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
        ],
    ],
    ids=["head in two", "body later", "last byte later", "expect", "escaped", "query", "chunked"],
)
async def test_every_way_of_sending_it_gets_the_same_answer(stage: Stage, pieces: list[bytes]) -> None:
    short = await stage.ask(post(BODY))
    client = await stage.connect()
    await client.send(*pieces)
    if b"Expect" in pieces[0]:
        assert await client._reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    same(short, await client.answer())
    assert len(stage.receiver.docs(f"gas/{METER}/telemetry")) == 1


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [
        (b"{", GAS + DATA, 400),
        (b"[]", GAS + REPORT, 200),
        (b"", GAS + DATA, 400),
        (BODY, GAS + "/api/nothing", 404),
        (BODY, GAS.rstrip("0") + "1" + DATA, 404),
        (b" " * (LIMIT + 1), GAS + DATA, 413),
    ],
)
async def test_refusals_are_the_same_on_both_ways(stage: Stage, body: bytes, path: str, status: int) -> None:
    whole = await stage.ask(post(body, path=path))
    raw = post(body, path=path)
    split = await stage.ask(raw[:30], raw[30:])
    later = await stage.ask(raw[: len(raw) - len(body)], body)
    assert whole.status == status
    same(whole, split)
    same(whole, later)


async def test_a_body_beyond_the_limit_is_refused_on_the_short_way_too(tmp_path: Path) -> None:
    async with Receiver(tmp_path, http="max_body: 1KiB") as receiver:
        gateway = receiver.gateway
        app = build_app(gateway.doors, gateway._pages(), gateway.push_limits, receiver.clock)
        call = receiving.Call("gas", GAS.rpartition("/")[2], DATA[1:], "127.0.0.1", ())
        reply = await app.receiver.whole(call, b" " * 1025)
        assert reply.status == 413
        assert b'"State":"failed"' in reply.body
        assert gateway.push_limits.room.under_way == 0


async def test_pushes_that_do_not_wait_for_answers_are_answered_in_their_order(stage: Stage) -> None:
    client = await stage.connect()
    bodies = [BODY.replace(b"2021-04-07 08:00", b"2021-04-07 08:%02d" % minute) for minute in range(5)]
    assert len(set(bodies)) == 5
    await client.send(b"".join(post(body) for body in bodies) + b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    alone = [(await stage.ask(post(body))).body for body in bodies]
    assert len(set(alone)) == 5, "each has an id of its own"
    assert [(await client.answer()).body for _ in bodies] == alone
    assert (await client.answer()).body.startswith(b'{"status":"ready"')
    assert len(stage.receiver.docs(f"gas/{METER}/telemetry")) == 5


async def test_a_connection_stays_open_unless_its_sender_wants_it_closed(stage: Stage) -> None:
    client = await stage.connect()
    for _ in range(3):
        await client.send(post(BODY))
        assert "connection" not in (await client.answer()).headers
    await client.send(post(BODY, "Connection: close"))
    assert (await client.answer()).headers["connection"] == "close"
    assert await client.is_closed()
    old = await stage.connect()
    await old.send(post(BODY, version="1.0"))
    assert (await old.answer()).status == 200
    assert await old.is_closed()


async def test_what_is_no_http_ends_the_connection_and_no_other(stage: Stage) -> None:
    client = await stage.connect()
    await client.send(post(BODY)[:-5], b"")
    broken = await stage.connect()
    await broken.send(b"NONSENSE\r\n\r\n")
    assert (await broken.answer()).status == 400
    assert await broken.is_closed()
    await client.send(post(BODY)[-5:])
    assert (await client.answer()).status == 200


async def test_a_sender_that_goes_away_leaves_its_push_behind(stage: Stage) -> None:
    client = await stage.connect()
    await client.send(post(BODY))
    client.close()
    for _ in range(200):
        if stage.receiver.docs(f"gas/{METER}/telemetry"):
            break
        await asyncio.sleep(0.05)
    assert len(stage.receiver.docs(f"gas/{METER}/telemetry")) == 1
    assert stage.receiver.gateway.push_limits.room.under_way == 0
    assert (await stage.ask(post(BODY))).status == 200


async def test_a_fault_of_ours_is_answered_and_the_next_push_works(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_arguments: object) -> receiving.Reply:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(receiving.Receiver, "whole", broken)
        assert (await stage.ask(post(BODY))).status == 500
    assert (await stage.ask(post(BODY))).status == 200


def test_only_a_told_and_small_size_is_small() -> None:
    assert not express._is_small([(b"content-length", b"65537")])
    assert express._is_small([(b"content-length", b"65536")])
    assert not express._is_small([(b"content-length", b"-1")])
    assert not express._is_small([])


HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


async def test_a_head_without_end_is_refused_before_it_fills_the_memory(stage: Stage) -> None:
    client = await stage.connect()
    await client.send(HEAD + b"X: ", *[b"a" * 16_384] * 5)
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (431, "close")
    assert await client.is_closed()


async def test_many_requests_on_one_connection_are_no_long_head(stage: Stage) -> None:
    client = await stage.connect()
    long = HEAD + b"X: " + b"a" * 40_000 + b"\r\n\r\n"
    for _ in range(3):
        await client.send(long[:30_000], long[30_000:])
        assert (await client.answer()).status == 200
    await client.send(long + long + long)
    assert [(await client.answer()).status for _ in range(3)] == [200] * 3


async def test_a_connection_that_says_nothing_is_closed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(express.ExpressProtocol, "head_timeout_s", 0.1)
    client = await stage.connect()
    assert (await client.answer()).status == 408
    assert await client.is_closed()


@pytest.mark.parametrize("said", [b"G", HEAD])
async def test_a_connection_that_does_not_end_its_second_head_is_closed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    client = await stage.connect()
    await client.send(HEAD + b"\r\n")
    assert (await client.answer()).status == 200
    monkeypatch.setattr(express.ExpressProtocol, "head_timeout_s", 0.1)
    await client.send(said)
    assert (await client.answer()).status == 408
    assert await client.is_closed()


async def test_a_connection_that_waits_for_its_answer_is_not_closed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head has come: the time of the next one does not run while it says nothing."""
    monkeypatch.setattr(express.ExpressProtocol, "head_timeout_s", 0.1)
    client = await stage.connect()
    await client.send(post(BODY)[:-1])
    await asyncio.sleep(0.5)
    await client.send(post(BODY)[-1:])
    assert (await client.answer()).status == 200
