"""What time brings, and that one fault does not end it."""

from __future__ import annotations

import asyncio

import pytest

from bridge.domain.observation import Event, Origin
from tests.fakes.harness import Harness
from tests.fakes.vendor import hangs


async def test_rounds_go_on_after_a_failing_disk_and_after_a_fault(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    running = asyncio.ensure_future(harness.janitor.run())
    harness.store.fails = lambda: True
    await harness.advance(61)
    harness.store.fails = lambda: False

    def broken() -> object:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(harness.roster, "accounts", broken)
        await harness.advance(61)
    harness.janitor.remember_s = 60.0
    await harness.advance(61)
    assert not running.done()
    assert harness.journal() == []


async def test_what_is_not_final_is_never_forgotten(harness: Harness) -> None:
    harness.vendor.will("breaker", hangs(acted=True))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "on"})
    await harness.advance(30 * 86400)
    await harness.janitor.round()
    assert [row.id for row in harness.journal()] == ["c2", "c1"]


async def test_an_event_is_remembered_longer_than_any_vendor_repeats_it(harness: Harness) -> None:
    event = Event("D1", "registered", harness.clock.now(), Origin.PUSH)
    await harness.take(event)
    for days, published in ((8, 1), (8, 1), (10, 2)):
        await harness.advance(days * 86400)
        await harness.janitor.round()
        await harness.take(event)
        assert len(harness.docs("home/D1/event")) == published


async def test_a_record_is_remembered_as_long_as_a_backfill_may_bring_it_again(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1), harness.reading({"voltage": 2}, 2))
    old = harness.reading({"voltage": 1}, 1, origin=Origin.BACKFILL)
    for days, published in ((34, 0), (2, 1)):
        await harness.advance(days * 86400)
        await harness.janitor.round()
        await harness.take(old)
        assert len(harness.docs("home/D1/history")) == published


async def test_of_too_many_records_the_oldest_are_forgotten_but_none_of_the_last_days(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.flow.janitor.RECORDS_AT_MOST", 5)
    day = 86400
    for number in range(20):
        await harness.take(harness.reading({"voltage": number}, number * day))
        await harness.advance(day)
    await harness.janitor.round()
    await harness.advance(60)
    await harness.janitor.round()
    again = [
        harness.reading({"voltage": number}, number * day, origin=Origin.BACKFILL) for number in range(20)
    ]
    await harness.take(*again)
    told = [doc["metrics"]["voltage"] for doc in harness.docs("home/D1/history")]
    assert told == list(range(12)), "the nine days before stay known"


async def test_a_state_of_an_account_that_has_left_ends_nothing(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1), harness.reading({"voltage": 1}, 1, device="D2"))
    await harness.take(harness.reading({"voltage": 2}, 2))
    harness.leave_account()
    await harness.advance(5)
    await harness.enter_account()
    await harness.take(harness.reading({"voltage": 3}, 3))
    await harness.advance(5)
    assert harness.docs("home/D1/state")[-1]["metrics"] == {"voltage": 3}


async def test_an_account_that_leaves_while_its_states_are_written_ends_nothing(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1))
    await harness.take(harness.reading({"voltage": 2}, 2))
    flushing = asyncio.ensure_future(harness.intake.flush_states("home", ["D1"]))
    await asyncio.sleep(0)
    harness.leave_account()
    await flushing
    assert harness.docs("home/D1/state")[-1]["metrics"] == {"voltage": 2}


async def test_one_state_that_cannot_be_made_does_not_stop_the_others(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1))
    await harness.take(harness.reading({"voltage": 2}, 2))

    async def broken(_account: str, _devices: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(harness.intake, "flush_states", broken)
        await harness.advance(2)
    await harness.take(harness.reading({"voltage": 3}, 3))
    await harness.take(harness.reading({"voltage": 4}, 4))
    await harness.advance(5)
    assert harness.docs("home/D1/state")[-1]["metrics"] == {"voltage": 4}
