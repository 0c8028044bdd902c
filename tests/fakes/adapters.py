"""What an adapter of one account stands on in its tests: clock, effect, vault, gate, scripted answers."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import httpx

from bridge.domain.account import AccountPolicy
from bridge.domain.errors import Withdrawn
from bridge.domain.text import dumps, loads
from bridge.pace.gate import SlotNote
from bridge.pace.limits import Lane
from bridge.ports import Clock
from bridge.vendorkit.http import OpenGate, VendorHttp
from bridge.vendorkit.spec import Kit

Reply = dict[str, Any] | bytes | httpx.Response | Exception


class SleptClock:
    """Implements `ports.Clock`; a sleep takes no time but moves the clock."""

    def __init__(self, start: datetime) -> None:
        self.start = start
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


class CloudTime:
    """A simulator's `SimTime` by the gateway's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now().timestamp()

    real = now

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class FakeEffect:
    """Counts how often something left; refuses after `allowed` times."""

    def __init__(self, allowed: int = 9) -> None:
        self.count = 0
        self.requests: list[Any] = []
        self.allowed = allowed

    @property
    def left(self) -> bool:
        return self.count > 0

    async def leaving(self, request: Any = None) -> None:
        self.requests.append(request)
        if self.count >= self.allowed:
            raise Withdrawn("expired")
        self.count += 1


class FakeVault:
    """Keeps what a store would: what JSON makes of a value."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        return loads(dumps(self.kept[key])) if key in self.kept else None

    async def put(self, key: str, value: Any) -> None:
        if value is None:
            self.kept.pop(key, None)
        else:
            self.kept[key] = loads(dumps(value))


class NoLedger:
    """Remembers no slot beyond the process."""

    async def add(self, notes: Sequence[SlotNote]) -> None:
        return None

    async def remove(self, notes: Sequence[SlotNote]) -> None:
        return None


class RecordingGate(OpenGate):
    """Grants everything at once; notes calls and blocks."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[tuple[str, str], ...], Lane]] = []
        self.blocks: list[tuple[str, str, float]] = []

    def slot(self, uses: Any, lane: Lane) -> Any:
        self.calls.append((tuple(uses), lane))
        return super().slot(uses, lane)

    async def block(self, limit: str, key: str, for_s: float) -> None:
        self.blocks.append((limit, key, for_s))


def given(reply: Reply) -> httpx.Response:
    """The answer that a script means: JSON, bytes, a response, or an error to raise."""
    if isinstance(reply, Exception):
        raise reply
    if isinstance(reply, httpx.Response):
        return reply
    return httpx.Response(200, content=reply if isinstance(reply, bytes) else json.dumps(reply).encode())


class ScriptedCloud:
    """Answers from a script, in order; keeps every request."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.requests: list[httpx.Request] = []

    def will(self, *replies: Reply) -> None:
        self.script.extend(replies)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return given(self.reply(request))

    def reply(self, request: httpx.Request) -> Reply:
        """What comes next; a cloud with more than one script chooses here."""
        assert self.script, f"nothing scripted for {request.method} {request.url} {request.content!r}"
        return self.script.pop(0)


class Stand(Protocol):
    """What a bench has of which an adapter's kit is made."""

    http: VendorHttp
    vault: FakeVault
    policy: AccountPolicy

    @property
    def clock(self) -> Clock: ...


def kit(stand: Stand, logger: str) -> Kit:
    """The kit of a bench's adapter, with dice that always fall alike."""
    rng, log = random.Random(1), logging.getLogger(logger)
    closed: list[str] = getattr(stand, "closed", [])
    return Kit(stand.http, stand.clock, rng, log, stand.vault, stand.policy, closed.append)
