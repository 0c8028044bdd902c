"""`counter_guard: hold`: one low value is held back, a counter that really began anew is believed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.harness import Harness


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path, counter_guard="hold") as running:
        yield running


async def read(harness: Harness, *values: int) -> list[int | None]:
    """What is published of these readings."""
    first = len(harness.docs("home/D1/telemetry"))
    for value in values:
        await harness.advance(10)
        await harness.take(harness.reading({"import_energy": value, "voltage": 230}))
    return [one["metrics"].get("import_energy") for one in harness.docs("home/D1/telemetry")[first:]]


def codes(harness: Harness) -> list[str]:
    return [one["code"] for one in harness.docs("home/D1/event")]


async def test_a_glitch_is_held_back_and_dropped(guarded: Harness) -> None:
    assert await read(guarded, 100, 0, 101) == [100, None, 101]
    assert codes(guarded) == []
    assert guarded.docs("home/D1/telemetry")[1]["metrics"] == {"voltage": 230}


async def test_a_counter_that_goes_on_from_its_new_value_is_believed(guarded: Harness) -> None:
    assert await read(guarded, 100, 0, 1, 2) == [100, None, 1, 2]
    assert codes(guarded) == ["counter_reset"]


async def test_a_value_lower_again_is_held_in_its_turn(guarded: Harness) -> None:
    assert await read(guarded, 100, 5, 3, 4) == [100, None, None, 4]


async def test_what_is_held_survives_a_restart(guarded: Harness) -> None:
    await read(guarded, 100, 5)
    await guarded.restart()
    assert await read(guarded, 6) == [6]


async def test_without_the_guard_the_value_is_published_as_sent(harness: Harness) -> None:
    assert await read(harness, 100, 0) == [100, 0]
    assert codes(harness) == ["counter_reset"]
