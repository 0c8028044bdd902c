"""`state` is coalesced: at most one per device and interval, and the last one always."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.harness import Harness


def voltages(harness: Harness, device: str = "D1") -> list[int]:
    return [one["metrics"]["voltage"] for one in harness.docs(f"home/{device}/state")]


async def test_the_first_state_leaves_at_once(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1))
    assert voltages(harness) == [1]


async def test_within_the_interval_only_the_last_state_leaves(harness: Harness) -> None:
    for value in range(1, 6):
        await harness.take(harness.reading({"voltage": value}, value))
        await harness.advance(0.1)
    assert voltages(harness) == [1]
    await harness.advance(1)
    assert voltages(harness) == [1, 5]
    await harness.advance(10)
    assert voltages(harness) == [1, 5]


async def test_there_is_never_more_than_one_state_per_interval(harness: Harness) -> None:
    for value in range(1, 41):
        await harness.take(harness.reading({"voltage": value}, value))
        await harness.advance(0.25)
    assert 9 <= len(voltages(harness)) <= 11
    await harness.advance(2)
    assert voltages(harness)[-1] == 40
    assert len(harness.docs("home/D1/telemetry")) == 40


async def test_devices_do_not_wait_for_each_other(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1), harness.reading({"voltage": 2}, 1, device="D2"))
    assert voltages(harness) == [1]
    assert voltages(harness, "D2") == [2]


async def test_a_state_that_was_held_back_leaves_after_a_crash(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1))
    await harness.take(harness.reading({"voltage": 2}, 2))
    await harness.restart()
    await harness.advance(1)
    assert voltages(harness) == [1, 2]


async def test_an_unchanged_state_is_not_published_again(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1))
    await harness.advance(2)
    await harness.take(harness.reading({"voltage": 1}, 1))
    await harness.advance(2)
    assert voltages(harness) == [1]


async def test_a_state_waits_for_a_store_that_fails(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1))
    await harness.take(harness.reading({"voltage": 2}, 2))
    harness.store.fails = lambda: True
    await harness.advance(5)
    harness.store.fails = lambda: False
    await harness.advance(5)
    assert voltages(harness) == [1, 2]


async def test_a_clock_that_steps_back_does_not_hold_a_state_back(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1))
    harness.clock.step_wall(-300)
    await harness.take(harness.reading({"voltage": 2}, 2))
    await harness.advance(1.5)
    assert voltages(harness) == [1, 2]


async def test_a_state_that_was_held_back_does_not_return_a_device_that_is_gone(tmp_path: Path) -> None:
    async with Harness(tmp_path) as harness:
        await harness.take(harness.reading({"voltage": 1}, 1))
        await harness.take(harness.reading({"voltage": 2}, 2))
        await harness.intake.take_inventory("home", harness.vendor.devices[1:])
        await harness.advance(5)
        assert not [topic for topic in harness.retained() if topic.startswith("home/D1/")]
        alive = await harness.store.run(lambda tx: [row.device for row in tx.devices.of_account("home")])
        assert alive == ["D2"]
