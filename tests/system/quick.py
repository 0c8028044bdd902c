"""`python -m tests.system.quick SPEED EPOCH …`: the command line, in whose time everything is SPEED times as fast.

Wall clock and monotonic time run from EPOCH (Unix seconds) on, and sleeps are as much shorter: hours of a real process
before simulators with the same `--speed` take seconds. Nothing else is changed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime

from bridge.cli.main import cli
from bridge.ops.clock import SystemClock


def quicken(speed: float, epoch_s: float) -> None:
    """From now on, for every SystemClock."""

    def now(_self: SystemClock) -> datetime:
        return datetime.fromtimestamp(epoch_s + (time.time() - epoch_s) * speed, UTC)

    def monotonic(_self: SystemClock) -> float:
        return time.monotonic() * speed

    async def sleep(_self: SystemClock, seconds: float) -> None:
        await asyncio.sleep(seconds / speed)

    SystemClock.now = now  # type: ignore[method-assign]
    SystemClock.monotonic = monotonic  # type: ignore[method-assign]
    SystemClock.sleep = sleep  # type: ignore[method-assign]


if __name__ == "__main__":
    quicken(float(sys.argv[1]), float(sys.argv[2]))
    cli(sys.argv[3:])
