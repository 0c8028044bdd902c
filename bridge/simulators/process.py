"""A simulator at work: time takes effect while its app is served; as a process it lasts until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp

from bridge.simulators.serving import served

_TICK_S = 0.1


def ticking(
    tick: Callable[[], None], close: Callable[[], Awaitable[None]] | None = None
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """An app's lifespan: `tick` is called ten times a second, `close` at the end."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        ticker = asyncio.create_task(_tick(tick), name="simulator:ticker")
        try:
            yield
        finally:
            ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticker
            if close is not None:
                await close()

    return lifespan


async def _tick(tick: Callable[[], None]) -> None:
    while True:
        tick()
        await asyncio.sleep(_TICK_S)


async def until_stopped(app: ASGIApp, port: int, path: str = "") -> None:
    """Serves the app, tells `listening URL` with this path on stdout, and returns after a signal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with served(app, port) as url:
        sys.stdout.write(f"listening {url}{path}\n")
        sys.stdout.flush()
        await stop.wait()


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels the tasks and returns when they have ended, however."""
    running = set(tasks)
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
