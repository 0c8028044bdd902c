"""The HTTP side: push receiver, health, metrics. uvicorn serves, starlette routes, signals stay ours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.domain.errors import BridgeError, PushDenied
from bridge.domain.text import Json, dumps
from bridge.ports import Clock, PushAnswer, PushRequest
from bridge.push.doors import Door, Doors, lower_headers

START_TIMEOUT_S = 10.0


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


def build_app(doors: Doors, pages: Pages, max_body_bytes: int, clock: Clock) -> Starlette:
    """The ASGI application."""

    async def push(request: Request) -> Response:
        return await _push(request, doors, max_body_bytes, clock)

    async def healthz(_request: Request) -> Response:
        return _health(await pages.healthz())

    async def readyz(_request: Request) -> Response:
        return _health(await pages.readyz())

    async def metrics(_request: Request) -> Response:
        body, content_type = await pages.metrics()
        return Response(body, media_type=None, headers={"Content-Type": content_type})

    return Starlette(
        routes=[
            Route("/push/{account}/{secret}", push, methods=["POST"]),
            Route("/push/{account}/{secret}/{tail:path}", push, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *pages.more,
        ]
    )


async def _push(request: Request, doors: Doors, max_body_bytes: int, clock: Clock) -> Response:
    peer = doors.peer(
        request.client.host if request.client else "", ",".join(request.headers.getlist("x-forwarded-for"))
    )
    try:
        door = doors.admit(request.path_params["account"], request.path_params["secret"], peer)
    except PushDenied as denied:
        return Response(status_code=denied.status)
    try:
        body = await _read(request, max_body_bytes)
    except ClientDisconnect:
        return Response(status_code=400)
    if body is None:
        doors.counters.add(door.account, "too_large")
        return _answer(door.door.failure(None, 413, f"the body is larger than {max_body_bytes} bytes"))
    tail = request.path_params.get("tail", "")
    pushed = PushRequest(
        tail=f"/{tail}" if tail else "",
        headers=lower_headers(request.scope["headers"]),
        body=body,
        received_at=clock.now(),
    )
    return _answer(await _take(doors, door, pushed))


async def _take(doors: Doors, door: Door, pushed: PushRequest) -> PushAnswer:
    """A push that was begun is finished even if its sender goes away: shielded, its effect is never half."""
    return await asyncio.shield(asyncio.ensure_future(doors.take(door, pushed)))


async def _read(request: Request, max_body_bytes: int) -> bytes | None:
    """The body, None if it is too large."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_body_bytes:
        return None
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_body_bytes:
            return None
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

    def __init__(self, app: Starlette, host: str, port: int) -> None:
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
