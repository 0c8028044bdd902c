"""The simulated clouds of all five vendors, as the demo has them, in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack

from bridge.demo.fleet import clouds


class DemoClouds:
    """`with DemoClouds(gateway_url) as made: made.entries` are the accounts, as YAML."""

    def __init__(self, gateway_url: str) -> None:
        self._url = gateway_url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stack = AsyncExitStack()
        self.clouds = clouds(2)
        self.entries: list[str] = []

    def __enter__(self) -> DemoClouds:
        self._thread.start()
        self._run(self._start()).result(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stack.aclose()).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        for cloud in self.clouds:
            self.entries.append(await cloud.start(self._stack, self._url))

    def _run(self, work: object) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type] # a coroutine
