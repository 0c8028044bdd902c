"""The one door to a vendor's cloud: every call waits for its slot, is timed, and fails in one of few known ways.

A call that did not leave is NotSent; one that left and brought no usable HTTP answer is LostAnswer. What a status
below 500 or a body means is the vendor's business.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import httpx

from bridge import __version__
from bridge.domain.command import Preview
from bridge.domain.errors import LostAnswer, NotSent, RateLimited, VendorError
from bridge.domain.text import Json, dumps
from bridge.pace.limits import Lane, Window
from bridge.ports import Clock, Effect
from bridge.vendorkit.exposure import exposed
from bridge.vendorkit.patience import retry_after_s
from bridge.vendorkit.transport import NOT_WRITTEN, Answer, ClientLine, Line, SessionTransport

PATIENCE_S = 60.0
"""Who would have to wait longer for the end of a block is told so instead; only history has that patience."""
MOST_CONNECTIONS = 64
"""To one vendor at a time. How many calls may be under way at once is a matter of its limits (`pace`), not of this."""
TOO_MANY, UNAVAILABLE = 429, 503
TOO_MANY_FOR_S = 30.0
"""How long a vendor is left alone that says "too many" and not for how long, where its page gives no advice."""

JSON_TYPE = "application/json; charset=utf-8"
_OURS = {
    "User-Agent": f"meterbridge/{__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
}
_OURS_WITH_JSON = {**_OURS, "Content-Type": JSON_TYPE}


@dataclass(frozen=True, slots=True)
class Use:
    """One limit that a call counts against; `key` tells the device (or site) where the limit is per key."""

    limit: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request to the vendor. `path` is appended to the account's base URL. `json` is sent as UTF-8 JSON
    with `Content-Type: application/json; charset=utf-8` unless `headers` names another type; `content` is sent as
    it is. `operation` names the endpoint in metrics and errors. Nothing of it is ever logged but `operation`.
    `any_status`: the vendor's body decides before the HTTP status, so an answer from 500 on is returned as well."""

    operation: str
    method: str
    path: str
    uses: Sequence[Use] = ()
    lane: Lane = Lane.POLL
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Json = None
    content: bytes | None = None
    timeout_s: float = 30.0
    base_url: str | None = None
    any_status: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: any status below 500, or any at all where the call says so."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    received_at: datetime


class Gate(Protocol):
    """Where a call waits for its slot (`pace.gate`)."""

    def slot(
        self, uses: Sequence[tuple[str, str]], lane: Lane
    ) -> contextlib.AbstractAsyncContextManager[Slot]:
        """Waits until all the limits have room, takes one slot of each, and gives back their concurrency at the
        end. Lanes are served in their order, first come first served within one."""
        ...

    def wait_s(self, uses: Sequence[tuple[str, str]], lane: Lane) -> float:
        """Seconds until such a call could start; 0 if it could now. Takes nothing."""
        ...

    def blocked_s(self, uses: Sequence[tuple[str, str]]) -> float:
        """Seconds for which a vendor's own word (`block`) holds such a call; 0 if none does."""
        ...

    def taken_since(self, limit: str, key: str, at: float) -> int:
        """How many calls counted against a limit since then (Unix seconds), those before a restart included."""
        ...

    async def block(self, limit: str, key: str, for_s: float) -> None:
        """The vendor says that this limit is used up: nothing starts for so long, not even after a restart."""
        ...

    def learn(self, limit: str, key: str, window: Window, for_s: float) -> None:
        """The vendor's refusals have taught that it allows no more than this; kept to for so long, or until
        something else is learnt of a window of this length. Not kept over a restart."""
        ...


class Slot(Protocol):
    """A granted slot."""

    def refund(self) -> None:
        """The call never left: the windows are given back when the slot ends."""
        ...


Observer = Callable[[str, str, float], None]
"""Told of every call: operation, outcome (`ok`, `not_sent`, `lost`, `http_<status>`), seconds."""

Waiting = Callable[[Lane, float], None]
"""Told of every slot that was granted: lane, seconds waited."""

_NOT_SENT: tuple[type[httpx.HTTPError], ...] = (*NOT_WRITTEN, httpx.ProxyError)


class VendorHttp:
    """The HTTP client of one account."""

    def __init__(
        self,
        base_url: str,
        gate: Gate,
        clock: Clock,
        *,
        observer: Observer = lambda _operation, _outcome, _seconds: None,
        waiting: Waiting = lambda _lane, _seconds: None,
        transport: httpx.AsyncBaseTransport | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._gate = gate
        self._clock = clock
        self._observer = observer
        self._waiting = waiting
        self.answers = 0
        """How many calls brought an answer below 400."""
        self._held: dict[str, float] = {}
        self._under_way = 0
        # shorter than the five seconds after which many servers close: a request on a connection that is just being
        # closed would be a lost answer, and a command of unknown outcome, for nothing
        self._line: Line = (
            ClientLine(transport)
            if transport is not None
            else SessionTransport(tls, most=MOST_CONNECTIONS, idle_s=4.0)
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._line.aclose()

    @property
    def calling(self) -> bool:
        """Whether a request is on its way, or its answer."""
        return self._under_way > 0

    def url(self, call: Call) -> str:
        """The full URL of a call, without its query."""
        return (call.base_url or self._base_url).rstrip("/") + call.path

    def shown(self, call: Call, explain: Json = None) -> Preview:
        """The request of a call as people may see it."""
        headers, body = dict(call.headers), call.json if call.content is None else call.content
        if call.json is not None:
            headers.setdefault("Content-Type", JSON_TYPE)
        return exposed(call.method, self.url(call), call.params, headers, body, explain)

    def wait_s(self, uses: Sequence[Use], lane: Lane) -> float:
        """Seconds until such a call could start; 0 if it could now. Takes nothing."""
        return self._gate.wait_s([(use.limit, use.key) for use in uses], lane)

    def taken_since(self, use: Use, at: float) -> int:
        """See `Gate.taken_since`."""
        return self._gate.taken_since(use.limit, use.key, at)

    async def block(self, use: Use, for_s: float) -> None:
        """The vendor says that this limit is used up: nothing that counts against it starts for so long."""
        await self._gate.block(use.limit, use.key, for_s)

    async def too_many(self, call: Call) -> RateLimited:
        """The error for an answer 429 without `Retry-After` of a vendor whose page knows none: what counts against
        the same limits is left alone for TOO_MANY_FOR_S."""
        for use in call.uses:
            await self._gate.block(use.limit, use.key, TOO_MANY_FOR_S)
        return RateLimited(
            f"HTTP status {TOO_MANY}",
            retry_after_s=TOO_MANY_FOR_S,
            operation=call.operation,
            native_code=TOO_MANY,
        )

    def learn(self, use: Use, window: Window, for_s: float) -> None:
        """What the vendor's refusals have taught; see `Gate.learn`."""
        self._gate.learn(use.limit, use.key, window, for_s)

    async def call(self, call: Call, effect: Effect | None = None) -> Reply:
        """Sends one request when its slot has come and returns the answer.

        With `effect`, `effect.leaving()` is awaited after the slot was granted and right before the request
        leaves; if it raises, the slot is given back. An answer 429 or 503 with `Retry-After` holds everything that
        counts against the same limits for so long. Raises NotSent, LostAnswer (time-out, reset, HTTP 5xx unless the
        call takes `any_status`), RateLimited (429 with `Retry-After`; nothing sent while such a wait lasts longer
        than PATIENCE_S) or what `leaving` raises.
        """
        uses = [(use.limit, use.key) for use in call.uses]
        self._refuse_waiting(call, uses)
        asked = self._clock.monotonic()
        async with self._gate.slot(uses, call.lane) as slot:
            self._waiting(call.lane, self._clock.monotonic() - asked)
            if effect is not None:
                with _refunded(slot):
                    await effect.leaving(self.shown(call).request())
            return await self._send(call, slot)

    async def _send(self, call: Call, slot: Slot) -> Reply:
        started = self._clock.monotonic()
        outcome = "lost"
        self._under_way += 1
        try:
            answer = await self._line.exchange(
                call.method, self._address(call), _headers(call), _content(call), call.timeout_s
            )
            outcome = "ok" if answer.status < 400 else f"http_{answer.status}"
            self.answers += outcome == "ok"
        except httpx.InvalidURL as error:
            slot.refund()
            outcome = "not_sent"
            raise NotSent(f"the address is not usable: {error}", operation=call.operation) from None
        except httpx.HTTPError as error:
            if isinstance(error, _NOT_SENT):
                slot.refund()
                outcome = "not_sent"
            raise _translated(error, call.operation) from None
        finally:
            self._under_way -= 1
            self._observer(call.operation, outcome, self._clock.monotonic() - started)
        await self._heed(call, answer)
        if answer.status >= 500 and not call.any_status:
            raise LostAnswer(
                f"HTTP status {answer.status}", operation=call.operation, native_code=answer.status
            )
        return Reply(answer.status, answer.body, answer.headers, self._clock.now())

    def _refuse_waiting(self, call: Call, uses: Sequence[tuple[str, str]]) -> None:
        blocked_s = self._gate.blocked_s(uses)
        held_s = self._held.get(call.operation, 0.0) - self._clock.monotonic()
        if held_s > 0 or (call.lane is not Lane.HISTORY and blocked_s > PATIENCE_S):
            raise RateLimited(
                "the vendor's limit is used up",
                retry_after_s=max(blocked_s, held_s),
                operation=call.operation,
            )

    async def _heed(self, call: Call, answer: Answer) -> None:
        """What the vendor says about when to come back."""
        if answer.status not in (TOO_MANY, UNAVAILABLE):
            return
        wait_s = retry_after_s(answer.headers, self._clock.now())
        if wait_s is None:
            return
        for use in call.uses:
            await self._gate.block(use.limit, use.key, wait_s)
        if not call.uses:  # a login: no limit counts it
            self._held[call.operation] = self._clock.monotonic() + wait_s
        if answer.status == TOO_MANY:
            raise RateLimited(
                "the vendor answers 429 and says when to come back",
                retry_after_s=wait_s,
                operation=call.operation,
                native_code=TOO_MANY,
            )

    def _address(self, call: Call) -> str:
        """With the query. Raises httpx.InvalidURL."""
        url = self.url(call)
        return str(httpx.URL(url).copy_merge_params(dict(call.params))) if call.params else url


def _headers(call: Call) -> Mapping[str, str]:
    """Ours, each unless the call brings its own."""
    given = {name.lower() for name in call.headers}
    ours = _OURS if call.json is None else _OURS_WITH_JSON
    return {**{name: value for name, value in ours.items() if name.lower() not in given}, **call.headers}


def _content(call: Call) -> bytes | None:
    return dumps(call.json) if call.json is not None else call.content


@contextlib.contextmanager
def _refunded(slot: Slot) -> Any:
    try:
        yield
    except BaseException:
        slot.refund()
        raise


def _translated(error: httpx.HTTPError, operation: str) -> VendorError:
    """httpx's error as one of ours. The text names the kind only: URLs of some vendors carry secrets."""
    kind = type(error).__name__
    if isinstance(error, _NOT_SENT):
        return NotSent(f"the vendor's cloud cannot be reached ({kind})", operation=operation)
    return LostAnswer(f"no answer ({kind})", operation=operation)


@contextlib.asynccontextmanager
async def _free_slot() -> AsyncIterator[Slot]:
    yield _FreeSlot()


class _FreeSlot:
    def refund(self) -> None:
        return None


class OpenGate:
    """A gate without limits, for one-off tools and tests of a vendor's codec."""

    def slot(
        self, uses: Sequence[tuple[str, str]], lane: Lane
    ) -> contextlib.AbstractAsyncContextManager[Slot]:
        """Grants at once."""
        return _free_slot()

    def wait_s(self, uses: Sequence[tuple[str, str]], lane: Lane) -> float:
        """Always 0."""
        return 0.0

    def blocked_s(self, uses: Sequence[tuple[str, str]]) -> float:
        """Always 0."""
        return 0.0

    def taken_since(self, limit: str, key: str, at: float) -> int:
        """Counts nothing."""
        return 0

    async def block(self, limit: str, key: str, for_s: float) -> None:
        """Blocks nothing."""

    def learn(self, limit: str, key: str, window: Window, for_s: float) -> None:
        """Learns nothing."""
