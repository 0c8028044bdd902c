"""Who may push: secret, address, headers; and what happens to a push once it may. Vendors' formats are theirs."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from bridge.domain.errors import PushDenied, PushMalformed, PushUnusable, StoreError
from bridge.domain.observation import Batch
from bridge.ports import Clock, PushAnswer, PushDoor, Pushed, PushRequest
from bridge.push.guesses import Guesses

log = logging.getLogger("bridge.push")

Network = IPv4Network | IPv6Network
TakeIn = Callable[[str, Sequence[Batch], Sequence[tuple[bytes, str]], str], Awaitable[None]]
"""Takes batches in and puts unusable parts aside, in one transaction: account, batches, unusable, source."""

LOG_EVERY_S = 60.0
MOST_WRONG = 60
LONG_BYTES = 32 * 1024
"""A body that may hold hundreds of records is read in pieces."""


@dataclass(frozen=True, slots=True)
class Door:
    """One account's entrance."""

    account: str
    secret: bytes
    allow_from: tuple[Network, ...]
    door: PushDoor

    @classmethod
    def open(cls, account: str, secret: str, allow_from: Sequence[str], door: PushDoor) -> Door:
        """From settings."""
        return cls(account, secret.encode(), tuple(ip_network(one, strict=False) for one in allow_from), door)


@dataclass(slots=True)
class PushCounters:
    """Pushes by account (empty: none of ours) and outcome, for `/metrics`."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, account: str, outcome: str) -> None:
        """One more."""
        self.counts[account, outcome] = self.counts.get((account, outcome), 0) + 1


class Doors:
    """All entrances. Accounts come and go at run time."""

    def __init__(
        self, take_in: TakeIn, clock: Clock, trusted_proxies: Sequence[str], most_wrong: int = MOST_WRONG
    ) -> None:
        self._take_in = take_in
        self._clock = clock
        self._guesses = Guesses(most_wrong, clock)
        self._trusted = tuple(ip_network(one, strict=False) for one in trusted_proxies)
        self._doors: dict[str, Door] = {}
        self._logged: dict[tuple[str, str], _Line] = {}
        self.counters = PushCounters()

    def set(self, doors: Sequence[Door]) -> None:
        """The entrances from now on."""
        self._doors = {door.account: door for door in doors}

    @property
    def trusts_proxies(self) -> bool:
        """Whether a header of a proxy may tell the sender's address."""
        return bool(self._trusted)

    def peer(self, address: str, forwarded_for: str | None) -> str:
        """The sender's address: behind trusted proxies, the last one of X-Forwarded-For that is none of them."""
        hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
        while hops and self._is_trusted(address):
            address = _without_port(hops.pop())
        return address

    def admit(self, account: str, secret: str, peer: str) -> Door:
        """The entrance that this request may use. Raises PushDenied (404, 403, and 429 while nothing of an address is
        looked at)."""
        wait_s = self._guesses.wait_s(peer)
        if wait_s > 0:
            self._log_denied("guessing", account, peer)
            self.counters.add("", "slowed")
            raise PushDenied(429, "too many wrong secrets", retry_after_s=wait_s)
        door = self._doors.get(account)
        # compared in constant time also where there is no such account: the answer tells nothing
        fits = hmac.compare_digest(door.secret if door else b"\x00" * 32, secret.encode())
        if door is None or not fits:
            self._guesses.wrong(peer)
            self._log_denied("secret", account, peer)
            self.counters.add("", "wrong_secret")
            raise PushDenied(404, "no such address")
        self._guesses.right(peer)
        if door.allow_from and not _inside(peer, door.allow_from):
            self._log_denied("address", account, peer)
            self.counters.add(account, "forbidden")
            raise PushDenied(403, "not from this address")
        return door

    async def take(self, door: Door, request: PushRequest) -> PushAnswer:
        """The answer to a push that came through its entrance; success only when nothing of it can be lost."""
        try:
            if len(request.body) > LONG_BYTES:
                pushed = await _in_turns(door.door.parsing(request))
            else:
                pushed = door.door.parse(request)
            await self._take_in(door.account, pushed.batches, pushed.unusable, request.tail)
            if pushed.keep is not None:
                await pushed.keep()
        except PushDenied as denied:
            self._log_denied(denied.what, door.account, "")
            self.counters.add(door.account, "denied")
            return PushAnswer(denied.status, b"")
        except PushMalformed as error:
            self.counters.add(door.account, "malformed")
            return door.door.failure(request, 400, str(error))
        except PushUnusable as error:
            return await self._put_aside(door, request, str(error))
        except StoreError as error:
            self.counters.add(door.account, "not_stored")
            self._log(logging.ERROR, "push.not_stored", door.account, account=door.account, reason=str(error))
            return door.door.failure(request, 503, "temporarily unavailable")
        except Exception as error:
            # it will not get better by repetition, and must not stop the vendor's queue: kept until the fault is mended
            log.exception("push.crashed", extra={"account": door.account})
            self.counters.add(door.account, "crashed")
            reason = f"a fault of the gateway ({type(error).__name__}): replay it after an update"
            return await self._put_aside(door, request, reason)
        self.counters.add(door.account, "taken")
        if pushed.unusable:
            self.counters.add(door.account, "unusable")
        return pushed.answer

    async def _put_aside(self, door: Door, request: PushRequest, reason: str) -> PushAnswer:
        try:
            await self._take_in(door.account, (), ((request.body, reason),), request.tail)
        except StoreError:
            self.counters.add(door.account, "not_stored")
            return door.door.failure(request, 503, "temporarily unavailable")
        self.counters.add(door.account, "unusable")
        self._log(logging.WARNING, "push.dead_letter", door.account, account=door.account, reason=reason)
        return door.door.success(request)

    def _is_trusted(self, address: str) -> bool:
        return bool(self._trusted) and _inside(address, self._trusted)

    def no_room(self, door: Door) -> None:
        """A push found no room and was refused."""
        self.counters.add(door.account, "no_room")
        self._log(logging.WARNING, "push.no_room", door.account, account=door.account)

    def _log_denied(self, what: str, account: str, peer: str) -> None:
        known = account if account in self._doors else "(unknown)"
        self._log(logging.WARNING, "push.denied", what, what=what, account=known, peer=peer)

    def _log(self, level: int, event: str, key: str, **fields: str) -> None:
        """A line a minute for what may come a thousand times a second; `times`: how often since the last one."""
        now = self._clock.monotonic()
        line = self._logged.setdefault((event, key), _Line(now - LOG_EVERY_S))
        line.times += 1
        if now - line.at >= LOG_EVERY_S:
            log.log(level, event, extra={**fields, "times": line.times})
            line.at, line.times = now, 0


@dataclass(slots=True)
class _Line:
    """When a line was last written, and what came since."""

    at: float
    times: int = 0


def _inside(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address.split("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)


async def _in_turns(parsing: Generator[None, None, Pushed]) -> Pushed:
    while True:
        try:
            next(parsing)
        except StopIteration as end:
            pushed: Pushed = end.value
            return pushed
        await asyncio.sleep(0)


def _without_port(hop: str) -> str:
    """`[2001:db8::1]:4711` and `203.0.113.9:4711` as some proxies write them."""
    if hop.startswith("["):
        return hop[1:].split("]")[0]
    return hop.split(":")[0] if hop.count(":") == 1 else hop


def lower_headers(raw: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Header names in lower case; of repeated ones the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
