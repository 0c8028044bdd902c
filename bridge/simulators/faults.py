"""A fault plan: which of the next requests go wrong, and how. Independent of any vendor.

kind                  acts?      what the caller sees
http_500              no *       HTTP `status` (default 500) with a page that is not JSON
garbage               yes *      HTTP 200 with bytes that are not text
truncated_json        yes *      HTTP 200 with the first half of the right answer
slow                  yes        the right answer after `seconds`; the effect happens at once
lose_reply            yes        the connection cut after `seconds` (large: silence until the caller gives up)
refuse_before_acting  no         the connection cut at once: the same as lose_reply, but nothing happened
native_code           no *       the vendor's own answer with `code`
(* may be turned round with `acts`)
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import httpx
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bridge.simulators.serving import DROP

Kind = Literal[
    "http_500", "garbage", "truncated_json", "slow", "lose_reply", "refuse_before_acting", "native_code"
]
KINDS: tuple[str, ...] = get_args(Kind)
_ACTS = {"garbage", "truncated_json", "slow", "lose_reply"}
_FIXED = {"slow", "lose_reply", "refuse_before_acting"}
_TYPES: dict[str, tuple[type, ...]] = {
    "count": (int, type(None)),
    "probability": (int, float),
    "skip": (int,),
    "seconds": (int, float),
    "code": (int,),
    "status": (int,),
    "acts": (bool, type(None)),
}
_GARBAGE = b"\x00\xff\xfe<html>\x80 garbage"


@dataclass(slots=True)
class Fault:
    """One rule of the plan. `endpoint` and `device` are shell patterns (`send/*`); `count` None: until
    cleared; `skip` lets the first matching requests pass; `probability` is tried per matching request."""

    kind: Kind
    endpoint: str = "*"
    device: str = "*"
    count: int | None = 1
    probability: float = 1.0
    skip: int = 0
    seconds: float = 0.0
    code: int = 0
    status: int = 500
    acts: bool | None = None
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind!r}")
        if self.acts is None:
            self.acts = self.kind in _ACTS
        elif self.kind in _FIXED and self.acts != (self.kind in _ACTS):
            raise ValueError(f"{self.kind} cannot choose whether it acts")

    def matches(self, endpoint: str, device: str) -> bool:
        alive = self.count is None or self.fired < self.count
        return alive and fnmatchcase(endpoint, self.endpoint) and fnmatchcase(device, self.device)


def fault_from_json(value: object) -> Fault:
    """A fault from a JSON object with the fields of `Fault`. Raises ValueError that names the mistake."""
    known = {item.name for item in fields(Fault) if item.init}
    if not isinstance(value, dict) or "kind" not in value:
        raise ValueError("a fault is an object with at least `kind`")
    if unknown := set(value) - known:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    for name, given in value.items():
        if type(given) not in _TYPES.get(name, (str,)):
            raise ValueError(f"{name} has the wrong type")
    return Fault(**value)


class FaultPlan:
    """The faults in force. The first matching one, in order of adding, wins."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def take(self, endpoint: str, device: str) -> Fault | None:
        """The fault that this request meets, used up by one; None: it passes."""
        for fault in self._faults:
            if not fault.matches(endpoint, device):
                continue
            if fault.skip > 0:
                fault.skip -= 1
            elif self._rng.random() < fault.probability:
                fault.fired += 1
                return fault
        return None

    def as_json(self) -> list[dict[str, Any]]:
        return [{item.name: getattr(fault, item.name) for item in fields(fault)} for fault in self._faults]


class Silence(Response):
    """No answer: the connection is cut after `seconds`, or when the caller has gone.

    Without a server (an app mounted in httpx) the caller gets the exception of a real connection.
    """

    def __init__(self, seconds: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        super().__init__()
        self._seconds = seconds
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        drop = (scope.get("extensions") or {}).get(DROP)
        if drop is None:
            await self._sleep(self._seconds)
            if self._seconds:
                raise httpx.ReadTimeout("the simulator keeps silent")
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        gone = asyncio.create_task(_gone(receive), name="simulator:gone")
        waited = asyncio.create_task(_after(self._sleep, self._seconds), name="simulator:silence")
        try:
            await asyncio.wait({gone, waited}, return_when=asyncio.FIRST_COMPLETED)
            drop()
            # Returning before the server knows that the connection is gone would make it answer 500.
            await gone
        finally:
            drop()
            gone.cancel()
            waited.cancel()


async def _after(sleep: Callable[[float], Awaitable[None]], seconds: float) -> None:
    if seconds:
        await sleep(seconds)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def respond(
    fault: Fault | None,
    act: Callable[[], Response],
    native: Callable[[int], Response],
    sleep: Callable[[float], Awaitable[None]],
) -> Response:
    """The answer to one request: `act` does what was asked and gives the right answer, `native` gives the
    vendor's answer with a code. `act` is called at most once, and before any waiting."""
    if fault is None:
        return act()
    healthy = act() if fault.acts else None
    match fault.kind:
        case "http_500":
            return Response(b"<html>internal error</html>", fault.status, media_type="text/html")
        case "garbage":
            return Response(_GARBAGE, media_type="application/json")
        case "truncated_json":
            whole = bytes((native(fault.code) if healthy is None else healthy).body)
            return Response(whole[: len(whole) // 2], media_type="application/json")
        case "native_code":
            return native(fault.code)
        case "lose_reply" | "refuse_before_acting":
            return Silence(fault.seconds, sleep)
        case "slow":
            await sleep(fault.seconds)
    return act() if healthy is None else healthy
