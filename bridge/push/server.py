"""The HTTP side: push receiver, health, metrics. uvicorn serves, starlette routes, signals stay ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.domain.errors import BridgeError, PushDenied
from bridge.domain.text import Json, dumps
from bridge.ports import Clock, PushAnswer, PushRequest
from bridge.push.doors import Door, Doors, lower_headers
from bridge.push.room import NoRoom, Place, Room

READ_TIMEOUT_S = 30.0
"""How long a sender may take to send a body: a stuck one must not hold a place for ever."""

log = logging.getLogger("bridge.push")


@dataclass(frozen=True, slots=True)
class Health:
    """An answer of `/healthz` or `/readyz`: whether all is well, and why not."""

    well: bool
    reasons: Json


@dataclass(frozen=True, slots=True)
class Pages:
    """What the app shows over HTTP. `more`: routes beyond, such as the status page's."""

    healthz: Callable[[], Awaitable[Health]]
    readyz: Callable[[], Awaitable[Health]]
    metrics: Callable[[], Awaitable[tuple[bytes, str]]]
    more: Sequence[Route] = ()


class Front:
    """The ASGI application. Pushes go straight to their receiver: starlette's way there would cost as much as the
    rest of a request. Everything else is starlette's."""

    def __init__(self, receiver: Receiver, others: Starlette) -> None:
        self._receiver = receiver
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            parts = scope["path"].split("/", 4)
            if len(parts) >= 4 and parts[:2] == ["", "push"] and parts[2] and parts[3]:
                await self._push(parts, scope, receive, send)
                return
        await self._others(scope, receive, send)

    async def _push(self, parts: Sequence[str], scope: Scope, receive: Receive, send: Send) -> None:
        scope["path_params"] = {"account": parts[2], "secret": parts[3], "tail": "".join(parts[4:])}
        try:
            response = await self._receiver.push(Request(scope, receive))
        except Exception:
            log.exception("push.crashed")
            response = Response("Internal Server Error", status_code=500)
        await response(scope, receive, send)


def build_app(doors: Doors, pages: Pages, limits: PushLimits, clock: Clock) -> Front:
    """The ASGI application."""
    receiver = Receiver(doors, limits, clock)

    async def healthz(_request: Request) -> Response:
        return _health(await pages.healthz())

    async def readyz(_request: Request) -> Response:
        return _health(await pages.readyz())

    async def metrics(_request: Request) -> Response:
        body, content_type = await pages.metrics()
        return Response(body, media_type=None, headers={"Content-Type": content_type})

    others = Starlette(
        routes=[
            Route("/push/{account}/{secret}", receiver.push, methods=["POST"]),
            Route("/push/{account}/{secret}/{tail:path}", receiver.push, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *pages.more,
        ]
    )
    return Front(receiver, others)


@dataclass(frozen=True, slots=True)
class PushLimits:
    """What a push may be and how many may be under way; `room` is shared with whoever tells of it."""

    max_body_bytes: int
    room: Room


@dataclass(frozen=True, slots=True)
class Receiver:
    """Takes pushes: who may, as much as there is room for, whole or not at all."""

    doors: Doors
    limits: PushLimits
    clock: Clock

    async def push(self, request: Request) -> Response:
        """One push, from its address to its answer."""
        client = request.client.host if request.client else ""
        peer = self.doors.peer(client, ",".join(request.headers.getlist("x-forwarded-for")))
        try:
            door = self.doors.admit(request.path_params["account"], request.path_params["secret"], peer)
        except PushDenied as denied:
            wait_s = math.ceil(denied.retry_after_s)
            return Response(status_code=denied.status, headers={"Retry-After": str(wait_s)} if wait_s else {})
        try:
            with self.limits.room.place() as place:
                return _answer(await self._received(request, door, place))
        except NoRoom:
            self.doors.no_room(door)
            return _answer(door.door.failure(self._pushed(request, b""), 503, "temporarily unavailable"))
        except ClientDisconnect:
            return Response(status_code=400)

    async def _received(self, request: Request, door: Door, place: Place) -> PushAnswer:
        """Raises NoRoom, ClientDisconnect."""
        most = self.limits.max_body_bytes
        try:
            # a sender's pace is real time, whatever the clock of the gateway says
            async with asyncio.timeout(READ_TIMEOUT_S):
                body = await _read(request, most, place)
        except TimeoutError:
            self.doors.counters.add(door.account, "too_slow")
            reason = f"the body did not come within {READ_TIMEOUT_S:g} seconds"
            return door.door.failure(self._pushed(request, b""), 408, reason)
        if body is None:
            self.doors.counters.add(door.account, "too_large")
            reason = f"the body is larger than {most} bytes"
            return door.door.failure(self._pushed(request, b""), 413, reason)
        # one that was begun is finished even if its sender goes away: shielded, its effect is never half
        return await asyncio.shield(asyncio.ensure_future(self.doors.take(door, self._pushed(request, body))))

    def _pushed(self, request: Request, body: bytes) -> PushRequest:
        tail = request.path_params.get("tail", "")
        return PushRequest(
            tail=f"/{tail}" if tail else "",
            headers=lower_headers(request.scope["headers"]),
            body=body,
            received_at=self.clock.now(),
        )


async def _read(request: Request, max_body_bytes: int, place: Place) -> bytes | None:
    """The body, None if it is too large. What is announced is reserved before it comes. Raises NoRoom."""
    announced = request.headers.get("content-length", "")
    reserved = int(announced) if announced.isdigit() else 0
    if reserved > max_body_bytes:
        return None
    place.grow(reserved)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_body_bytes:
            return None
        if size > place.size:
            place.grow(size - place.size)
        chunks.append(chunk)
    return b"".join(chunks)


def _answer(answer: PushAnswer) -> Response:
    headers = {"Content-Type": answer.content_type} if answer.body else {}
    if answer.status == 503:
        headers["Retry-After"] = "5"
    return Response(answer.body, status_code=answer.status, headers=headers)


def _health(health: Health) -> Response:
    return Response(
        dumps(health.reasons),
        status_code=200 if health.well else 503,
        media_type="application/json",
    )


class ServerError(BridgeError):
    """The address cannot be listened on."""


class _QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: SIGTERM and SIGHUP are the gateway's."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def] # uvicorn's own has no types
        yield


class HttpServer:
    """Serves an ASGI application on one address."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._server = _QuietServer(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                lifespan="off",
                timeout_keep_alive=30,
                timeout_graceful_shutdown=3,
                http="httptools",
                ws="none",
                proxy_headers=False,
                h11_max_incomplete_event_size=None,
            )
        )
        self._host = host
        self._port = port
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port in use."""
        return self._port

    async def start(self) -> None:
        """Listens. Raises ServerError that names the address."""
        try:
            listener = _listener(self._host, self._port)
        except OSError as error:
            raise ServerError(f"http.listen: cannot listen on {self._host}:{self._port}: {error}") from None
        self._port = listener.getsockname()[1]
        self._task = asyncio.get_running_loop().create_task(
            self._server.serve(sockets=[listener]), name="http"
        )

    async def stop(self) -> None:
        """Stops listening; requests under way are finished."""
        if self._task is None:
            return
        self._server.should_exit = True
        await asyncio.wait({self._task}, timeout=5)
        if not self._task.done():
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None


def _listener(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
