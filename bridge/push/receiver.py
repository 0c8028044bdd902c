"""One push from its address to its answer: who may, as much as there is room for, whole or not at all."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bridge.domain.errors import PushDenied
from bridge.ports import Clock, PushAnswer, PushRequest
from bridge.push.doors import Door, Doors, lower_headers
from bridge.push.room import NoRoom, Place, Room

READ_TIMEOUT_S = 30.0
"""How long a sender may take to send a body: a stuck one must not hold a place for ever."""

RawHeaders = Sequence[tuple[bytes, bytes]]
Body = Callable[[Place], Awaitable[bytes | None]]
"""Reads a body into a place; None if it is larger than any may be. Raises NoRoom."""


@dataclass(frozen=True, slots=True)
class Call:
    """What the head of a request says. `client`: the address of the connection; `tail`: the path below the secret,
    without its slash."""

    account: str
    secret: str
    tail: str
    client: str
    headers: RawHeaders


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back, but for what every answer has (date, length)."""

    status: int
    body: bytes = b""
    headers: RawHeaders = ()


@dataclass(frozen=True, slots=True)
class PushLimits:
    """What a push may be and how many may be under way; `room` is shared with whoever tells of it."""

    max_body_bytes: int
    room: Room


@dataclass(frozen=True, slots=True)
class Receiver:
    """Takes pushes."""

    doors: Doors
    limits: PushLimits
    clock: Clock

    async def push(self, call: Call, read: Body) -> Reply:
        """A push whose body is still to be read."""
        return await self._placed(call, lambda door, place: self._received(call, door, place, read))

    async def whole(self, call: Call, body: bytes) -> Reply:
        """A push that is there already, with its body. Finished even if nobody waits for the answer any more."""
        return await self._placed(call, lambda door, place: self._taken(call, door, place, body))

    async def _placed(self, call: Call, take: Callable[[Door, Place], Awaitable[PushAnswer]]) -> Reply:
        """`take` for one who may, in a place of its own."""
        try:
            door = self._admitted(call)
        except PushDenied as denied:
            return _denied(denied)
        try:
            with self.limits.room.place() as place:
                return _reply(await take(door, place))
        except NoRoom:
            return self._no_room(call, door)

    async def _taken(self, call: Call, door: Door, place: Place, body: bytes) -> PushAnswer:
        """Raises NoRoom."""
        if len(body) > self.limits.max_body_bytes:
            return self._too_large(call, door)
        place.grow(len(body))
        return await self.doors.take(door, self._pushed(call, body))

    def _admitted(self, call: Call) -> Door:
        """Raises PushDenied."""
        forwarded = None
        if self.doors.trusts_proxies:
            sent = [value.decode("latin-1") for name, value in call.headers if name == b"x-forwarded-for"]
            forwarded = ",".join(sent)
        return self.doors.admit(call.account, call.secret, self.doors.peer(call.client, forwarded))

    async def _received(self, call: Call, door: Door, place: Place, read: Body) -> PushAnswer:
        """Raises NoRoom."""
        try:
            # a sender's pace is real time, whatever the clock of the gateway says
            async with asyncio.timeout(READ_TIMEOUT_S):
                body = await read(place)
        except TimeoutError:
            return self._late(call, door)
        if body is None:
            return self._too_large(call, door)
        # one that was begun is finished even if its sender goes away: shielded, its effect is never half
        return await asyncio.shield(asyncio.ensure_future(self.doors.take(door, self._pushed(call, body))))

    def _late(self, call: Call, door: Door) -> PushAnswer:
        self.doors.counters.add(door.account, "too_slow")
        reason = f"the body did not come within {READ_TIMEOUT_S:g} seconds"
        return door.door.failure(self._pushed(call, b""), 408, reason)

    def _too_large(self, call: Call, door: Door) -> PushAnswer:
        self.doors.counters.add(door.account, "too_large")
        reason = f"the body is larger than {self.limits.max_body_bytes} bytes"
        return door.door.failure(self._pushed(call, b""), 413, reason)

    def _no_room(self, call: Call, door: Door) -> Reply:
        self.doors.no_room(door)
        return _reply(door.door.failure(self._pushed(call, b""), 503, "temporarily unavailable"))

    def _pushed(self, call: Call, body: bytes) -> PushRequest:
        return PushRequest(
            tail=f"/{call.tail}" if call.tail else "",
            headers=lower_headers(call.headers),
            body=body,
            received_at=self.clock.now(),
        )


def _denied(denied: PushDenied) -> Reply:
    wait_s = math.ceil(denied.retry_after_s)
    return Reply(denied.status, headers=((b"retry-after", str(wait_s).encode()),) if wait_s else ())


def _reply(answer: PushAnswer) -> Reply:
    headers: list[tuple[bytes, bytes]] = []
    if answer.body:
        headers.append((b"content-type", answer.content_type.encode("latin-1")))
    if answer.status == 408:  # the rest of the body is not waited for
        headers.append((b"connection", b"close"))
    if answer.status == 503:
        headers.append((b"retry-after", b"5"))
    return Reply(answer.status, answer.body, headers)
