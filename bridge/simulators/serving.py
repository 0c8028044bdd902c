"""Serves an ASGI app on a port of 127.0.0.1 in the running event loop and leaves the signals alone."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

DROP = "bridge.drop"
"""Name of an ASGI extension: `scope["extensions"][DROP]()` cuts the request's connection at once."""


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, keeps its hands off the signals, and can cut a connection."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    def drop(self, client: tuple[str, int]) -> None:
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == client:
                connection.transport.abort()


class _Droppable:
    """Adds the extension DROP to every HTTP request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.drop: Callable[[tuple[str, int]], None] = lambda _client: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            drop = functools.partial(self.drop, tuple(scope["client"]))
            scope["extensions"] = {**(scope.get("extensions") or {}), DROP: drop}
        await self._app(scope, receive, send)


@contextlib.asynccontextmanager
async def served(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """The app on 127.0.0.1; gives its URL without trailing slash, e.g. `http://127.0.0.1:40123`.

    `port` 0 takes a free one. The app's lifespan runs. On leaving, requests under way get one second.
    Raises OSError if the port is taken, RuntimeError if the app does not start.
    """
    listener = _listener(port)
    bound_port = listener.getsockname()[1]
    droppable = _Droppable(app)
    server = _Server(
        uvicorn.Config(
            droppable,
            http="httptools",
            ws="none",
            loop="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
        )
    )
    droppable.drop = server.drop
    task = asyncio.create_task(_serve(server, listener), name=f"simulator:{bound_port}")
    try:
        await _listening(server, task)
        yield f"http://127.0.0.1:{bound_port}"
    finally:
        server.should_exit = True
        await asyncio.wait({task})
        listener.close()
    task.result()


def _listener(port: int) -> socket.socket:
    # With the protocol left at 0 asyncio does not set TCP_NODELAY, and every answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener


async def _serve(server: _Server, listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    except SystemExit as error:
        # uvicorn leaves this way when the app's lifespan fails; it would take the whole loop along.
        raise RuntimeError("the app did not start") from error


async def _listening(server: _Server, task: asyncio.Task[None]) -> None:
    ready = asyncio.create_task(server.listening.wait())
    await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if task.done():
        task.result()
        raise RuntimeError("the app ended before it listened")
