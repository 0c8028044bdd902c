"""A simulator's time: the simulated wall clock, which may run faster, and the true one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Protocol


class SimTime(Protocol):
    """Time as a simulator sees it."""

    def now(self) -> float:
        """Simulated Unix seconds: energy, timers, time of day."""
        ...

    def real(self) -> float:
        """Unix seconds of the caller's world, never stepping back: request log, ledger, rate limits."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after so many seconds of `real`."""
        ...


class RunningTime:
    """The machine's time; simulated time runs `speed` times as fast, from now on."""

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError("speed must be positive")
        self._speed = speed
        self._started_unix_s = time.time()
        self._started_s = time.monotonic()

    def now(self) -> float:
        return self._started_unix_s + (time.monotonic() - self._started_s) * self._speed

    def real(self) -> float:
        return self._started_unix_s + (time.monotonic() - self._started_s)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class HandTime:
    """Time that moves only by `advance`, and by `sleep`, which takes no time at all. For tests."""

    def __init__(self, unix_s: float = 1_725_825_600.0) -> None:
        self._unix_s = unix_s

    def now(self) -> float:
        return self._unix_s

    def real(self) -> float:
        return self._unix_s

    def advance(self, seconds: float) -> None:
        self._unix_s += seconds

    async def sleep(self, seconds: float) -> None:
        self._unix_s += seconds
        await asyncio.sleep(0)


async def paced(time: SimTime, rate: float, count: int) -> AsyncIterator[int]:
    """0 to `count` - 1, `rate` a second of `real`; who is late catches up."""
    started = time.real()
    for index in range(count):
        wait_s = started + index / rate - time.real()
        if wait_s > 0:
            await time.sleep(wait_s)
        yield index
