"""The system's clock, and the fake that stands for it in tests."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from bridge.ops.clock import SystemClock
from tests.fakes.clock import FakeClock


async def test_system_clock_is_aware_and_never_steps_back():
    clock = SystemClock()
    before, wall = clock.monotonic(), clock.now()
    await clock.sleep(0)
    assert clock.monotonic() >= before
    assert wall.tzinfo is UTC
    assert abs(wall - datetime.now(UTC)) < timedelta(minutes=1)


async def test_fake_sleepers_wake_in_order_each_at_its_own_time():
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.monotonic() - 1000))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("long", 5))
        group.create_task(sleeper("short", 2, 2, 2))
        await clock.advance(4.5)
        assert woken == [("short", 2), ("short", 4)]
        assert clock.next_due_s() == 0.5
        await clock.advance(10)
    assert woken[2:] == [("long", 5), ("short", 6)]
    assert (clock.monotonic(), clock.sleeping(), clock.next_due_s()) == (1014.5, 0, None)


async def test_fake_wall_clock_jumps_without_waking_anybody():
    clock = FakeClock(datetime(2024, 1, 1, tzinfo=UTC))
    task = asyncio.get_running_loop().create_task(clock.sleep(10))
    await clock.advance(1)
    clock.step_wall(-3600)
    assert clock.now() == datetime(2023, 12, 31, 23, 0, 1, tzinfo=UTC)
    assert not task.done()
    await clock.advance(9)
    assert task.done()
    assert clock.now() == datetime(2023, 12, 31, 23, 0, 10, tzinfo=UTC)


async def test_fake_sleeper_that_is_cancelled_is_forgotten():
    clock = FakeClock()
    task = asyncio.get_running_loop().create_task(clock.sleep(10))
    await clock.settle()
    assert clock.sleeping() == 1
    task.cancel()
    await clock.settle()
    assert clock.sleeping() == 0
    await clock.advance(20)
    assert task.cancelled()
