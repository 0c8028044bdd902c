"""The push receiver as a vendor's platform meets it, in process: the real gateway, store and ASGI application, and
neither a broker nor a socket. What would be published stays in the outbox, so it can be counted."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from bridge.app.gateway import Gateway, Source
from bridge.domain.text import dumps, loads
from bridge.push.server import build_app
from bridge.store.sqlite.outbox import SqliteOutbox
from bridge.store.sqlite.tables import SqliteDeadLetters
from bridge.vendors import VENDORS
from tests.fakes.clock import FakeClock
from tests.fakes.harness import matches

SECRET = "FAKE-push-secret-0000"
COMPANY, KEY = "1001", "0" * 32
SERIAL = "W71E0000001"
GAS, SHOP = f"/push/gas/{SECRET}", f"/push/shop/{SECRET}"
DATA = "/api/Data/MeterData/Add"
ALARM = "/api/Data/DeviceAlarm/Add"
EVENT = "/api/Data/DeviceEvent/Add"
REPORT = "/api/Conf/CtrlData/Report"

_CONFIGURATION = """
mqtt: {{url: "mqtt://localhost:1", base_topic: mb}}
http: {{listen: "off", {http}}}
state: {{url: "sqlite:///{path}"}}
accounts:
  - id: gas
    vendor: iotmeter
    data: {{base_url: "http://data.invalid", company_no: "{company}", api_key: "{key}"}}
    push: {{secret: {secret}, {push}}}
  - {{id: shop, vendor: wmj, app_id: a, app_secret: FAKE0000, devices: [{serial}], push: {{secret: {secret}}}}}
"""


@dataclass(frozen=True)
class Message:
    """One message of the outbox."""

    topic: str
    body: bytes

    @property
    def doc(self) -> Any:
        return loads(self.body)


class Receiver:
    """`async with Receiver(tmp_path) as receiver: …`. `http` and `push` are further keys of those sections, as YAML."""

    def __init__(self, folder: Path, *, http: str = "", push: str = "") -> None:
        self.path = folder / "state.db"
        self._file = folder / "config.yaml"
        self._file.write_text(
            _CONFIGURATION.format(
                path=self.path, secret=SECRET, company=COMPANY, key=KEY, serial=SERIAL, http=http, push=push
            )
        )
        self.clock = FakeClock()

    async def __aenter__(self) -> Receiver:
        source = Source(self._file, VENDORS, {})
        self.gateway = Gateway(source, source.read(), clock=self.clock)
        await self.gateway.start()
        app = build_app(self.gateway.doors, self.gateway._pages(), self.gateway.push_limits, self.clock)
        transport = httpx.ASGITransport(app, client=("203.0.113.9", 4711))
        self.web = httpx.AsyncClient(transport=transport, base_url="http://gateway.invalid")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.web.aclose()
        await self.gateway.stop()

    async def restart(self) -> None:
        """A new process on the same disk."""
        await self.__aexit__(None, None, None)
        await self.__aenter__()

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """Posts bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else dumps(body)
        return await self.web.post(path, content=raw, headers=headers)

    async def gas(self, tail: str, body: Any, **headers: str) -> httpx.Response:
        """Posts to one of the gas platform's receivers."""
        return await self.post(GAS + tail, body, **headers)

    def messages(self, pattern: str) -> list[Message]:
        """What waits for the broker, in order; `pattern` is an MQTT filter below the base topic."""
        with self._database() as db:
            rows = [row.publication for row in SqliteOutbox(db, 1 << 30).read(0, 1_000_000)]
        return [Message(one.topic, one.body) for one in rows if matches(f"mb/{pattern}", one.topic)]

    def docs(self, pattern: str) -> list[Any]:
        """The documents of `messages`."""
        return [one.doc for one in self.messages(pattern)]

    def dead_letters(self) -> list[tuple[str, bytes, str]]:
        """Where they came in, their bodies and why they were put aside, the newest first."""
        with self._database() as db:
            return [(one.source, one.body, one.reason) for one in SqliteDeadLetters(db).list(1_000_000)]

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            yield db
