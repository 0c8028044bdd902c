"""The tables of commands once more with nothing in the place of anything: a real broker, the gateway as a process, the
simulated cloud behind real HTTP. What the cloud got, what it did, and every acknowledgement."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.simulators.serving import served
from bridge.simulators.simtime import RunningTime
from tests.commands import iammeter, jrhsz, saj, wmj
from tests.commands.rows import Row
from tests.commands.stage import Sent, sent
from tests.contract.cases import CASES
from tests.system.stage import Broker, Gateway, Listener

T = TypeVar("T")
QUICK: dict[str, dict[str, Any]] = {
    "saj": {},
    "jrhsz": {
        "read_back": ["500ms", "1s", "2s", "4s"],
        "limits": dict.fromkeys(("meterInstruct", "readMeter", "meterList", "account"), "500/1s"),
    },
    "iammeter": {},
    "wmj": {"limits": {"requests": "500/1s", "device": "500/1s"}},
}
TABLES = {"iammeter": iammeter.ROWS, "jrhsz": jrhsz.ROWS, "saj": saj.ROWS, "wmj": wmj.ROWS}


class Recording:
    """An ASGI app that writes down what it is asked, as the tables write it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.sent: list[Sent] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        message = await receive()
        query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        url = f"http://cloud.example.invalid{scope['path']}{query}"
        self.sent.append(
            sent(httpx.Request(scope["method"], url, headers=scope["headers"], content=message["body"]))
        )
        first: list[Message] = [message]

        async def again() -> Message:
            return first.pop() if first else await receive()

        await self._app(scope, again, send)


class Cloud:
    """A simulated cloud in a thread of its own; `fresh` makes its devices those of the beginning."""

    def __init__(self, vendor: str) -> None:
        self._case, self._vendor = CASES[vendor], vendor
        self.cloud = self._case.cloud(RunningTime())
        self.recording = Recording(self._case.app(self.cloud))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = served(self.recording)
        self.url = self._run(self._server.__aenter__())
        if vendor == "jrhsz":
            self.cloud.quirks.spacing_s = 0.0
            for meter in self.cloud.meters.values():
                meter.options.delay_s = 0.3

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def fresh(self, row: Row) -> None:
        async def change() -> None:
            if self._vendor == "saj":
                self.cloud.fleet = self._case.cloud(RunningTime()).fleet
            if self._vendor == "wmj":
                other = self._case.cloud(RunningTime())
                self.cloud.fleet, self.cloud.bound = other.fleet, other.bound
            row.prepare(self.cloud)
            self.cloud.ledger.clear()
            self.recording.sent.clear()

        self._run(change())

    def effects(self) -> list[str]:
        async def look() -> list[str]:
            return [one.effect for one in self.cloud.ledger.entries() if one.effect != "login"]

        return self._run(look())

    def end(self) -> None:
        self._run(self._server.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def dated(row: Row) -> bool:
    """Whether its requests are of the day of the tables."""
    return any("=202" in line for line, _ in row.requests)


@pytest.mark.parametrize("vendor", sorted(TABLES))
def test_every_command_over_real_connections(
    vendor: str, tmp_path: Path, broker: Broker, stack: ExitStack
) -> None:
    cloud = Cloud(vendor)
    stack.callback(cloud.end)
    settings = {
        key: value for key, value in CASES[vendor].settings.items() if key not in ("base_url", "push")
    }
    base_url = cloud.url + {"iammeter": "/api/v1", "wmj": "/deviceApi"}.get(vendor, "")
    account = {
        **settings,
        **QUICK[vendor],
        "id": "home",
        "base_url": base_url,
        "poll": "1d",
        "limits_unsafe": True,
    }
    gateway = Gateway(
        tmp_path,
        {
            "mqtt": {"url": broker.url, "base_topic": "house"},
            "http": {"listen": "off"},
            "state": {"url": f"sqlite://{tmp_path}/house.db"},
            "accounts": [account],
        },
    )
    stack.callback(gateway.end)
    listener = Listener(broker.port, topic="house/#").start()
    stack.callback(listener.end)
    listener.tails.append(gateway.tail)
    gateway.start()
    rows = [row for row in TABLES[vendor] if not dated(row)]
    for target in {row.target for row in rows if row.target}:
        listener.wait(f"house/home/{target}/info", lambda one: bool(one.payload), 60)
    mistakes: list[str] = []
    for number, row in enumerate(rows):
        cloud.fresh(row)
        name, level = f"c-{number}", f"house/home/{row.target}" if row.target else "house/home"
        listener.send(f"{level}/cmd/{row.command}", {**row.payload, "id": name})
        listener.final(f"{level}/ack", name, 90)
        acks = tuple(
            (one.json["status"], one.json["code"], one.json["vendor_code"])
            for one in listener.all(f"{level}/ack")
            if one.json["id"] == name
        )
        if acks != row.acks:
            mistakes.append(f"{row.command} {row.params}: {acks} instead of {row.acks}")
        asked = [one for one in list(cloud.recording.sent) if one in row.requests]
        if asked[: len(row.requests)] != list(row.requests):
            mistakes.append(f"{row.command} {row.params}: {cloud.recording.sent} instead of {row.requests}")
        if cloud.effects() != list(row.effects):
            mistakes.append(f"{row.command} {row.params}: {cloud.effects()} instead of {row.effects}")
    assert not mistakes, "\n".join(mistakes)
    assert gateway.alive
