"""The HTTP side: push receiver, health, metrics. uvicorn serves, starlette routes, signals stay ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bridge.domain.errors import BridgeError
from bridge.domain.text import Json, dumps
from bridge.ports import Clock
from bridge.push.doors import Doors
from bridge.push.express import express
from bridge.push.receiver import Call, PushLimits, Receiver, Reply
from bridge.push.room import Place

log = logging.getLogger("bridge.push")

_PUSH = re.compile(r"/+push/+([^/]+)/+([^/]+)(?:/(.*))?\Z", re.IGNORECASE | re.DOTALL)
"""The address of a push, with slashes doubled where vendors put two halves of it together."""


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
    rest of a request. Everything else is starlette's. Small pushes do not even come here (`push.express`)."""

    def __init__(self, receiver: Receiver, others: Starlette) -> None:
        self.receiver = receiver
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            address = _PUSH.match(scope["path"])
            if address is not None:
                await self._push(address, scope, receive, send)
                return
        await self._others(scope, receive, send)

    async def _push(self, address: re.Match[str], scope: Scope, receive: Receive, send: Send) -> None:
        client = scope["client"][0] if scope.get("client") else ""
        call = Call(address[1], address[2], address[3] or "", client, scope["headers"])
        try:
            read = partial(_read, Request(scope, receive), self.receiver.limits.max_body_bytes)
            reply = await self.receiver.push(call, read)
        except ClientDisconnect:
            reply = Reply(400)
        except Exception:
            log.exception("push.crashed")
            reply = Reply(500, b"Internal Server Error")
        response = Response(reply.body, status_code=reply.status)
        response.raw_headers += reply.headers
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
            # the front takes what these name; here they only refuse other methods
            Route("/push/{account}/{secret}", _no_page, methods=["POST"]),
            Route("/push/{account}/{secret}/{tail:path}", _no_page, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *pages.more,
        ]
    )
    return Front(receiver, others)


async def _no_page(_request: Request) -> Response:
    return Response(status_code=404)


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
    """Serves the application on one address."""

    def __init__(self, app: Front, host: str, port: int) -> None:
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
                http=express(app.receiver),
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
