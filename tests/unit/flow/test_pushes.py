"""Pushes that come together are one transaction; each is whole or not at all, whatever becomes of its neighbours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.domain.errors import SpoolFull, StoreError
from bridge.domain.observation import Batch, Observation, Origin
from bridge.flow.intake import Intake
from bridge.flow.pushes import LIGHT_OBSERVATIONS, MOST_TOGETHER, Pushes
from bridge.store.sqlite.outbox import SqliteOutbox
from tests.fakes.harness import ACCOUNT, Harness


@pytest.fixture
def pushes(harness: Harness) -> Pushes:
    return Pushes(harness.store, harness.roster, harness.intake, harness.clock)


def of(harness: Harness, number: int, device: str = "D1") -> Batch:
    return Batch([harness.reading({"import_energy": number}, number, device=device, origin=Origin.PUSH)])


async def together(harness: Harness, pushes: Pushes, batches: list[Batch]) -> list[Any]:
    waiting = [asyncio.ensure_future(pushes.take(ACCOUNT, [batch], (), "/x")) for batch in batches]
    await harness.clock.settle()
    return await asyncio.gather(*waiting, return_exceptions=True)


def energies(harness: Harness, device: str = "D1") -> list[int]:
    return [doc["metrics"]["import_energy"] for doc in harness.docs(f"{ACCOUNT}/{device}/telemetry")]


async def test_what_comes_together_is_one_transaction_in_the_order_of_coming(
    harness: Harness, pushes: Pushes
) -> None:
    before = harness.store.count
    numbers = list(range(MOST_TOGETHER))
    assert await together(harness, pushes, [of(harness, n) for n in numbers]) == [None] * MOST_TOGETHER
    assert energies(harness) == numbers
    assert harness.store.count - before == 1
    assert len(harness.docs(f"{ACCOUNT}/D1/state")) == 1, "one desk, one state"


async def test_more_than_a_group_gives_others_their_turn(harness: Harness, pushes: Pushes) -> None:
    before = harness.store.count
    count = 2 * MOST_TOGETHER + 1
    assert await together(harness, pushes, [of(harness, n) for n in range(count)]) == [None] * count
    assert energies(harness) == list(range(count))
    assert harness.store.count - before == 3


async def test_a_fault_in_one_push_is_that_pushs_alone(
    harness: Harness, pushes: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Intake._take_one

    def faulty(self: Intake, desk: Any, observation: Observation, taken: Any) -> None:
        usual(self, desk, observation, taken)
        if getattr(observation, "device", "") == "D2":
            raise ZeroDivisionError("after its record was taken in")

    monkeypatch.setattr(Intake, "_take_one", faulty)
    told = await together(
        harness, pushes, [of(harness, 1), of(harness, 2, "D2"), of(harness, 3), of(harness, 4, "D2")]
    )
    assert [type(one) for one in told] == [type(None), ZeroDivisionError, type(None), ZeroDivisionError]
    assert energies(harness) == [1, 3]
    assert energies(harness, "D2") == []
    monkeypatch.undo()
    assert await together(harness, pushes, [of(harness, 2, "D2")]) == [None]
    assert energies(harness, "D2") == [2]


async def test_a_disk_that_takes_nothing_is_told_to_every_one(harness: Harness, pushes: Pushes) -> None:
    harness.store.fails = lambda: True
    told = await together(harness, pushes, [of(harness, n) for n in range(3)])
    assert [type(one) for one in told] == [StoreError] * 3
    harness.store.fails = lambda: False
    assert await together(harness, pushes, [of(harness, n) for n in range(3)]) == [None] * 3
    assert energies(harness) == [0, 1, 2]


async def test_a_full_spool_refuses_each_and_takes_nothing(
    harness: Harness, pushes: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SqliteOutbox, "full", lambda _self: True)
        many = Batch([harness.reading({"import_energy": n}, n) for n in range(LIGHT_OBSERVATIONS + 1)])
        told = await together(harness, pushes, [of(harness, 1), many, of(harness, 2)])
        assert [type(one) for one in told] == [SpoolFull] * 3
    assert energies(harness) == []
    assert await together(harness, pushes, [of(harness, 1)]) == [None]


async def test_a_large_push_is_a_transaction_of_its_own(harness: Harness, pushes: Pushes) -> None:
    before = harness.store.count
    many = Batch([harness.reading({"import_energy": n}, n) for n in range(LIGHT_OBSERVATIONS + 1)])
    assert await together(harness, pushes, [of(harness, 0, "D2"), many]) == [None, None]
    assert energies(harness) == list(range(LIGHT_OBSERVATIONS + 1))
    assert harness.store.count - before == 2


async def test_parts_put_aside_are_told_once_each(harness: Harness, pushes: Pushes) -> None:
    told: list[tuple[str, str, int]] = []
    pushes.on_aside = lambda *one: told.append(one)
    for _ in range(2):
        taking = asyncio.ensure_future(pushes.take(ACCOUNT, [of(harness, 1)], [(b"{}", "no time")], ""))
        await harness.clock.settle()
        await taking
    assert told == [(ACCOUNT, "no time", 1)], "the same part again is only counted"


async def test_an_account_that_is_gone_takes_nothing(harness: Harness, pushes: Pushes) -> None:
    with pytest.raises(StoreError, match="reloaded"):
        await pushes.take("nobody", [of(harness, 1)], (), "")


async def test_one_who_no_longer_waits_does_not_disturb_the_others(harness: Harness, pushes: Pushes) -> None:
    first = asyncio.ensure_future(pushes.take(ACCOUNT, [of(harness, 1)], (), ""))
    second = asyncio.ensure_future(pushes.take(ACCOUNT, [of(harness, 2)], (), ""))
    await asyncio.sleep(0)
    first.cancel()
    await harness.clock.settle()
    await second
    assert energies(harness) == [1, 2], "what was begun is finished"
