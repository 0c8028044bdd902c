"""Reading the past: each record once and in order, no call twice, whatever stops it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.errors import AuthFailed, BadReply, LostAnswer, NotSent, RateLimited, Refused, Rejection
from bridge.domain.history import Period
from bridge.domain.observation import Origin
from bridge.domain.times import rfc3339
from bridge.flow.backfill import Backfill, Source
from bridge.flow.backfill_book import BackfillOrigin, Wish
from bridge.store.protocols import BackfillRow, Tx
from tests.fakes.harness import START, Harness
from tests.fakes.history import FakePast
from tests.fakes.vendor import ACCOUNT

HOUR = timedelta(hours=1)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness(tmp_path)
    harness.vendor.history = FakePast(harness.clock)
    async with harness:
        yield harness


def past(gateway: Harness) -> FakePast:
    assert isinstance(gateway.vendor.history, FakePast)
    return gateway.vendor.history


def span(hours_back: float = 1.0, length: timedelta = HOUR) -> Period:
    start = START - timedelta(hours=hours_back)
    return Period(start, start + length)


def wish(device: str = "D1", **when: Any) -> Wish:
    return Wish(ACCOUNT, device, span(**when))


async def submit(gateway: Harness, *wishes: Wish, ref: str = "r1", asked_by: str = "a1") -> None:
    await gateway.backfill.submit(ref, BackfillOrigin.GAP, wishes or [wish()], asked_by=asked_by)
    await gateway.clock.settle()


def told(gateway: Harness, device: str = "D1") -> list[str]:
    return [doc["ts"] for doc in gateway.docs(f"home/{device}/history")]


def minutes(first: datetime, count: int) -> list[str]:
    return [rfc3339(first + timedelta(minutes=number)) for number in range(count)]


async def test_every_record_of_the_period_is_told_once_and_oldest_first(gateway: Harness) -> None:
    await submit(gateway, wish(), wish("D2"))
    await gateway.advance(10)
    for device in ("D1", "D2"):
        assert told(gateway, device) == minutes(START - HOUR, 60)
    assert {doc["source"] for doc in gateway.docs("home/+/history")} == {"backfill"}
    progress = await gateway.backfill.ended("r1")
    assert (progress.done, progress.records, progress.calls, progress.calls_total) == (2, 120, 12, 12)


async def test_what_comes_in_no_order_waits_until_its_window_is_complete(gateway: Harness) -> None:
    past(gateway).backwards = True
    await submit(gateway)
    await gateway.advance(1)
    assert told(gateway) == []
    await gateway.advance(1)
    assert told(gateway) == minutes(START - HOUR, 10)
    await gateway.advance(20)
    assert told(gateway) == minutes(START - HOUR, 60)


async def test_a_record_that_was_told_live_is_not_told_again_and_state_keeps_the_newest(
    gateway: Harness,
) -> None:
    at = START - timedelta(minutes=30)
    known = 200 + int(at.timestamp() // 60) % 60
    await gateway.take(gateway.reading({"voltage": known}, -1800), gateway.reading({"voltage": 111}, 0))
    await submit(gateway)
    await gateway.advance(10)
    assert rfc3339(at) not in told(gateway)
    progress = await gateway.backfill.ended("r1")
    assert (progress.records, progress.known) == (59, 1)
    assert gateway.retained()["home/D1/state"]["metrics"] == {"voltage": 111}


@pytest.mark.parametrize("backwards", [False, True])
async def test_a_crash_at_any_transaction_loses_and_repeats_nothing(tmp_path: Path, backwards: bool) -> None:
    """The process dies before and after each of its transactions in turn; what had been answered and noted is not
    asked for again."""
    harness = Harness(tmp_path, devices=("D1",))
    source = harness.vendor.history = FakePast(harness.clock, backwards=backwards)
    async with harness:
        await submit(harness, wish(hours_back=2, length=2 * HOUR))
        deaths = 0
        for after_commit in (False, True) * 6:
            harness.store.dies_at, harness.store.dies_after_commit = harness.store.count + 2, after_commit
            await harness.advance(4)
            deaths += harness.store.dead
            await harness.restart()
        await harness.advance(60)
        assert deaths >= 8
        assert told(harness) == minutes(START - 2 * HOUR, 120)
        needed = {(device, first) for device, first in source.calls}
        # an answer that died with the process before it was on disk is the only reason to ask again
        assert len(source.calls) - len(needed) <= deaths
        assert len(needed) == (24 if backwards else 12)


async def test_an_orderly_stop_repeats_no_call(gateway: Harness) -> None:
    await submit(gateway, wish(), wish("D2"))
    for _ in range(3):
        await gateway.advance(2.5)
        await gateway.backfill.aclose(grace_s=0.0)
        await gateway.restart()
    await gateway.advance(20)
    assert told(gateway) == minutes(START - HOUR, 60)
    assert len(past(gateway).calls) == len(set(past(gateway).calls)) == 12


async def test_trouble_of_one_device_or_account_does_not_stop_the_others(gateway: Harness) -> None:
    past(gateway).trouble("D1", *(LostAnswer("no answer") for _ in range(20)))
    await submit(gateway, wish(), wish("D2"))
    await gateway.advance(120)
    assert told(gateway, "D2") == minutes(START - HOUR, 60)
    progress = await gateway.backfill.progress("r1")
    assert (progress.open, progress.done, progress.trouble) == (1, 1, {"home/D1": "no answer"})


async def test_failures_are_tried_again_ever_more_slowly_and_given_up_at_last(gateway: Harness) -> None:
    past(gateway).trouble("D1", *(LostAnswer("no answer") for _ in range(12)))
    await submit(gateway)
    await gateway.advance(60)
    tries = len(past(gateway).begun)
    assert 3 <= tries <= 5
    await gateway.advance(4 * 3600)
    progress = await gateway.backfill.ended("r1")
    assert (progress.failed, progress.failures[0].code) == (1, "no_answer")
    assert len(past(gateway).begun) == 12
    state = gateway.health.state(ACCOUNT)
    assert state is not None
    assert state.failures == 0, "the account is well: polling knows"


async def test_a_cloud_that_cannot_be_reached_is_waited_for_over_the_night(gateway: Harness) -> None:
    past(gateway).trouble("D1", *(NotSent("cannot connect") for _ in range(40)))
    await submit(gateway)
    await gateway.advance(7 * 3600)
    assert (await gateway.backfill.progress("r1")).open == 1
    await gateway.advance(5 * 3600)
    assert told(gateway) == minutes(START - HOUR, 60)


async def test_what_is_of_an_account_that_is_gone_ends_when_it_is_asked_about(gateway: Harness) -> None:
    past(gateway).call_s = 100.0
    await gateway.backfill.submit("r1", BackfillOrigin.COMMAND, [wish()], asked_by="b1")
    await gateway.advance(10)
    await gateway.backfill.leave(ACCOUNT)
    await gateway.backfill.claim("r1", BackfillOrigin.COMMAND, "b1")
    progress = await gateway.backfill.ended("r1")
    assert progress.failures[0].message == "the account is gone from the configuration"


async def test_a_backfill_that_expires_ends_without_the_one_that_is_being_read(gateway: Harness) -> None:
    past(gateway).call_s = 30.0
    await submit(gateway)
    soon = gateway.clock.now() + timedelta(seconds=50)
    await gateway.backfill.submit("r2", BackfillOrigin.GAP, [wish(hours_back=2)], expires_at=soon)
    await gateway.advance(200)
    assert told(gateway) == minutes(START - HOUR, 60)
    assert (await gateway.backfill.progress("r2")).failures[0].code == "expired"


async def test_a_limit_is_waited_for_and_is_no_failure(gateway: Harness) -> None:
    past(gateway).trouble("D1", *(RateLimited("too many", retry_after_s=1800) for _ in range(15)))
    await submit(gateway)
    await gateway.advance(1790)
    assert len(past(gateway).begun) == 1
    await gateway.advance(15 * 1830)
    assert told(gateway) == minutes(START - HOUR, 60)


@pytest.mark.parametrize(
    ("error", "code", "tries"),
    [
        (Refused("no such meter", code="unknown_device"), "unknown_device", 1),
        (Rejection("invalid_params", "too old"), "invalid_params", 1),
        (BadReply("no JSON"), "vendor_error", 3),
        (AuthFailed("refused"), "auth_failed", 12),
    ],
)
async def test_what_asking_again_does_not_cure_ends_it(
    gateway: Harness, error: Any, code: str, tries: int
) -> None:
    past(gateway).trouble("D1", *([error] * 20))
    await submit(gateway)
    await gateway.advance(20 * 86400)
    progress = await gateway.backfill.ended("r1")
    assert (progress.failures[0].code, len(past(gateway).begun)) == (code, tries)


async def test_the_same_wish_again_goes_on_where_it_failed(gateway: Harness) -> None:
    await submit(gateway)
    await gateway.advance(2.5)
    past(gateway).trouble("D1", Refused("not now"))
    await gateway.advance(10)
    assert (await gateway.backfill.ended("r1")).failed == 1
    await submit(gateway, asked_by="a1")
    await gateway.advance(10)
    assert len(past(gateway).calls) == 2
    await submit(gateway, asked_by="a2")
    await gateway.advance(10)
    assert told(gateway) == minutes(START - HOUR, 60)
    assert len(past(gateway).calls) == 6
    await submit(gateway, asked_by="a2")
    assert len(past(gateway).calls) == 6
    await submit(gateway, asked_by="a3")
    await gateway.advance(10)
    assert (len(past(gateway).calls), len(told(gateway))) == (12, 60)


async def test_until_now_reaches_further_when_it_is_said_later(gateway: Harness) -> None:
    past(gateway).trouble("D1", Refused("not now"))
    await submit(gateway, wish(), wish("D2"))
    await gateway.advance(20)
    later = Period(START - HOUR, START + timedelta(minutes=10))
    await submit(gateway, Wish(ACCOUNT, "D1", later), Wish(ACCOUNT, "D2", later), asked_by="a2")
    await gateway.advance(20)
    for device in ("D1", "D2"):
        assert told(gateway, device) == minutes(START - HOUR, 70)
    assert len(past(gateway).calls) == 14


async def test_the_end_is_told_in_the_transaction_that_makes_it(gateway: Harness) -> None:
    ends: list[tuple[str, int]] = []

    def ended(tx: Tx, row: BackfillRow) -> None:
        tx.vault.put("gaps", row.device, row.state.value)
        ends.append((row.device, row.records + row.known))

    gateway.book.on_ended(BackfillOrigin.GAP, ended)
    past(gateway).empty = True
    await submit(gateway)
    await gateway.advance(10)
    assert ends == [("D1", 0)]
    assert await gateway.store.run(lambda tx: tx.vault.get("gaps", "D1")) == "done"


async def test_a_store_that_fails_keeps_no_call_from_counting(gateway: Harness) -> None:
    await submit(gateway)
    await gateway.advance(2.5)
    gateway.store.fails = lambda: True
    await gateway.advance(30)
    gateway.store.fails = lambda: False
    await gateway.advance(30)
    assert told(gateway) == minutes(START - HOUR, 60)
    assert len(past(gateway).calls) == 6


async def test_what_is_cancelled_makes_no_further_call(gateway: Harness) -> None:
    await submit(gateway)
    await gateway.advance(2.5)
    await gateway.backfill.cancel("r1", "not wanted any more")
    await gateway.advance(30)
    progress = await gateway.backfill.ended("r1")
    assert (progress.open, progress.failures[0].message) == (0, "not wanted any more")
    assert len(past(gateway).calls) == 2
    assert told(gateway) == minutes(START - HOUR, 20)


async def test_backfills_of_the_command_line_are_left_to_it(gateway: Harness) -> None:
    await gateway.backfill.submit("r1", BackfillOrigin.CLI, [wish()])
    await gateway.advance(30)
    assert past(gateway).calls == []
    mine = another(gateway, origins=(BackfillOrigin.CLI,))
    await mine.start()
    await gateway.advance(30)
    assert told(gateway) == minutes(START - HOUR, 60)
    await mine.aclose(0.0)


async def test_what_the_command_line_left_open_is_gone_on_with_by_who_claims_it(gateway: Harness) -> None:
    await gateway.backfill.submit("r1", BackfillOrigin.CLI, [wish()])
    mine = another(gateway, origins=(BackfillOrigin.CLI,))
    await mine.start()
    await gateway.advance(2.5)
    await mine.aclose(0.0)
    await gateway.backfill.claim("r1", BackfillOrigin.COMMAND, "b1")
    await gateway.advance(30)
    assert told(gateway) == minutes(START - HOUR, 60)
    assert len(past(gateway).calls) == 6


async def test_no_call_is_made_while_the_broker_is_far_behind(gateway: Harness) -> None:
    """Nothing confirms the outbox here: the broker is away."""
    mine = another(gateway, origins=(BackfillOrigin.CLI,), most_waiting=25)
    await gateway.backfill.submit("r1", BackfillOrigin.CLI, [wish()])
    await mine.start()
    await gateway.advance(60)
    made = len(past(gateway).calls)
    assert made < 6
    rows = await gateway.store.run(lambda tx: tx.outbox.read(0, 1000))
    await gateway.store.run(lambda tx: tx.outbox.confirm([row.seq for row in rows]))
    await gateway.advance(60)
    assert made < len(past(gateway).calls) <= 6
    await mine.aclose(0.0)


async def test_no_call_is_made_while_the_disk_is_full(gateway: Harness) -> None:
    gateway.intake.is_refusing = lambda: True
    await submit(gateway)
    await gateway.advance(60)
    assert past(gateway).begun == []
    gateway.intake.is_refusing = lambda: False
    await gateway.advance(60)
    assert told(gateway) == minutes(START - HOUR, 60)


def another(gateway: Harness, **options: Any) -> Backfill:
    """A second engine on the same store, as another process has it."""
    mine = Backfill(gateway.store, gateway.book, gateway.roster, gateway.health, gateway.clock, **options)
    mine.enter(ACCOUNT, Source(past(gateway)))
    return mine


async def test_a_sole_record_of_the_past_is_the_one_that_was_told_live_in_another_form(
    gateway: Harness,
) -> None:
    """Polled without a power factor, kept with one (iammeter); a yield of the same time is another record (saj)."""
    await gateway.take(gateway.reading({"voltage": 1}, -60), gateway.reading({"voltage": 2}, 0))
    again = {"origin": Origin.BACKFILL, "sole": True}
    taken = await gateway.take(
        gateway.reading({"voltage": 1, "power_factor": 1}, -60, **again),
        gateway.reading({"voltage": 2, "power_factor": 1}, 0, **again),
        gateway.reading({"voltage": 3, "power_factor": 1}, -30, **again),
        gateway.reading({"yield_interval": 5}, -30, origin=Origin.BACKFILL),
    )
    assert taken.fresh == 2
    told = [doc["metrics"] for doc in gateway.docs("home/D1/history")]
    assert told == [{"voltage": 3, "power_factor": 1}, {"yield_interval": 5}]


async def test_a_record_of_a_series_is_told_once_also_when_the_past_brings_another_form(
    gateway: Harness,
) -> None:
    await gateway.take(
        gateway.reading({"voltage": 1, "current": 1}, -60, series="0"),
        gateway.reading({"voltage": 2}, 0, series="0"),
    )
    taken = await gateway.take(
        gateway.reading({"voltage": 1}, -60, series="0", origin=Origin.BACKFILL),
        gateway.reading({"voltage": 9}, -60, series="1", origin=Origin.BACKFILL),
    )
    assert taken.fresh == 1
    assert [doc["metrics"] for doc in gateway.docs("home/D1/history")] == [{"voltage": 9}]
