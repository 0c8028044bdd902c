"""Time that tests own: it moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

SETTLE_ROUNDS = 40


class FakeClock:
    """Implements `bridge.ports.Clock`. Sleepers lie on a heap and wake in the order of their times.

    `now()` follows `monotonic()` until `step_wall` makes the wall clock jump.
    """

    def __init__(self, start: datetime | None = None, monotonic: float = 1000.0) -> None:
        self._wall = start or datetime(2024, 1, 1, tzinfo=UTC)
        self._began = monotonic
        self._monotonic = monotonic
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self._monotonic - self._began)

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._sleepers, (self._monotonic + seconds, self._number, future))
        await future

    def step_wall(self, seconds: float) -> None:
        """The wall clock jumps; `monotonic` and the sleepers do not notice."""
        self._wall += timedelta(seconds=seconds)

    def sleeping(self) -> int:
        """How many sleepers there are."""
        return sum(1 for _due, _number, future in self._sleepers if not future.done())

    def next_due_s(self) -> float | None:
        """Seconds until the next sleeper wakes, None if nobody sleeps."""
        self._drop_finished()
        return self._sleepers[0][0] - self._monotonic if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Lets so much time pass: wakes every sleeper that falls due, in order, each at its own time, and lets the
        tasks settle after each, so that what they start to wait for on the way falls due too."""
        target = self._monotonic + seconds
        await self.settle()
        while True:
            self._drop_finished()
            if not self._sleepers or self._sleepers[0][0] > target:
                break
            due, _number, future = heapq.heappop(self._sleepers)
            self._monotonic = max(self._monotonic, due)
            future.set_result(None)
            await self.settle()
        self._monotonic = max(self._monotonic, target)
        await self.settle()

    async def settle(self, rounds: int = SETTLE_ROUNDS) -> None:
        """Lets every task run until it waits for something. Work in threads needs waiting of the test's own."""
        for _ in range(rounds):
            await asyncio.sleep(0)

    def _drop_finished(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
