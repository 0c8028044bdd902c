"""A push that was put aside is told; of a flood of them only the sum."""

from __future__ import annotations

from typing import Any

from bridge.app.asides import MOST, WINDOW_S, Asides
from tests.fakes.clock import FakeClock


class Told:
    """What `Reporter.event` was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def __call__(self, code: str, severity: str, message: str, account: str, **data: Any) -> None:
        assert (code, severity) == ("push_dead_letter", "warning")
        assert data["reason"] in message
        self.events.append((account, data["count"]))


async def test_the_first_ones_are_told_one_by_one_and_the_rest_as_a_sum() -> None:
    clock, told = FakeClock(), Told()
    asides = Asides(told, clock)
    for _ in range(MOST + 25):
        asides.told("gas", "no acquisition_time", 2)
        asides.round()
    assert told.events == [("gas", 2)] * MOST
    await clock.advance(WINDOW_S)
    asides.round()
    asides.round()
    assert told.events[MOST:] == [("gas", 50)]


async def test_the_next_one_after_a_flood_ends_it() -> None:
    clock, told = FakeClock(), Told()
    asides = Asides(told, clock)
    for _ in range(MOST + 1):
        asides.told("gas", "r", 1)
    await clock.advance(WINDOW_S)
    asides.told("gas", "r", 1)
    assert told.events == [("gas", 1)] * (MOST + 2)


async def test_accounts_do_not_silence_each_other() -> None:
    told = Told()
    asides = Asides(told, FakeClock())
    for _ in range(MOST + 1):
        asides.told("gas", "r", 1)
    asides.told("shop", "r", 1)
    assert told.events[-1] == ("shop", 1)
