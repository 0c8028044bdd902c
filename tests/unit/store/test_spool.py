"""A full spool: telemetry goes first, then history, never anything else, and every loss is counted."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from bridge.contract.publication import SHEDDABLE, Class
from bridge.store.sqlite.database import SqliteStore
from tests.unit.store.bench import opened, publication

TOPIC = "m/a/电/x"
OVERHEAD = len(TOPIC.encode())


def sized(klass: Class, size: int):
    """A publication that takes exactly so many bytes of the spool."""
    return publication(klass, b"x" * (size - OVERHEAD), topic=TOPIC)


async def add(store: SqliteStore, *klasses: Class, size: int = 100) -> list[int]:
    return await store.run(lambda tx: [tx.outbox.add(sized(klass, size)) for klass in klasses])


async def waiting(store: SqliteStore) -> dict[int, int]:
    return dict(await store.run(lambda tx: tx.outbox.waiting_by_class()))


async def lost(store: SqliteStore) -> dict[int, int]:
    return {loss.klass: loss.count for loss in await store.run(lambda tx: tx.outbox.losses())}


async def test_spool_within_its_bound_loses_nothing(path: Path):
    async with opened(path, 1000) as store:
        await add(store, *[Class.TELEMETRY] * 10)
        assert (await waiting(store), await lost(store)) == ({Class.TELEMETRY: 10}, {})


async def test_oldest_telemetry_goes_until_a_tenth_is_free(path: Path):
    async with opened(path, 1000) as store:
        seqs = await add(store, *[Class.TELEMETRY] * 11)
        assert await lost(store) == {Class.TELEMETRY: 2}
        assert [row.seq for row in await store.run(lambda tx: tx.outbox.read(0, 99))] == seqs[2:]
        assert (await store.run(lambda tx: tx.outbox.waiting()))[:2] == (9, 900)


async def test_telemetry_goes_before_history_however_old_history_is(path: Path):
    async with opened(path, 1000) as store:
        await add(store, *[Class.HISTORY] * 5, *[Class.TELEMETRY] * 5)
        await add(store, Class.ALARM)
        assert await lost(store) == {Class.TELEMETRY: 2}
        await add(store, *[Class.ALARM] * 5)
        assert await waiting(store) == {Class.HISTORY: 4, Class.ALARM: 6}
        assert await lost(store) == {Class.TELEMETRY: 5, Class.HISTORY: 1}


async def test_alarms_events_and_acks_are_never_shed_however_many_there_are(path: Path):
    async with opened(path, 1000) as store:
        kept = [one for one in Class if one not in SHEDDABLE]
        for _ in range(10):
            await add(store, *kept, Class.TELEMETRY, Class.HISTORY)
        assert {
            klass: count for klass, count in (await waiting(store)).items() if klass in kept
        } == dict.fromkeys(kept, 10)
        counted = Counter(await waiting(store)) + Counter(await lost(store))
        assert counted == dict.fromkeys(Class, 10)


async def test_loss_tells_when_it_began_and_ended_and_survives_a_restart(path: Path):
    async with opened(path, 1000) as store:
        await add(store, *[Class.TELEMETRY] * 11)
        (first,) = await store.run(lambda tx: tx.outbox.losses())
        await add(store, *[Class.TELEMETRY] * 11)
        (second,) = await store.run(lambda tx: tx.outbox.losses())
    assert (first.klass, first.count, second.count) == (Class.TELEMETRY, 2, 12)
    assert second.first_ms == first.first_ms <= first.last_ms <= second.last_ms
    async with opened(path, 1000) as again:
        assert await again.run(lambda tx: tx.outbox.losses()) == [second]


async def test_what_is_shed_is_told_by_class_and_not_announced_as_sent(path: Path):
    async with opened(path, 1000) as store:
        told: list[tuple[list[int], dict[int, int]]] = []
        store.outgoing = lambda added, shed: told.append(([row.seq for row in added], shed))
        first = await add(store, *[Class.TELEMETRY] * 3, *[Class.HISTORY] * 3)
        second = await add(store, *[Class.ACK] * 7)
        third = await add(store, *[Class.TELEMETRY] * 3)
        assert told == [
            (first, {}),
            (second, {Class.TELEMETRY: 3, Class.HISTORY: 1}),
            (third[2:], {Class.TELEMETRY: 2}),
        ]
        alive = [row.seq for row in await store.run(lambda tx: tx.outbox.read(0, 99))]
        assert alive == [*first[4:], *second, *third[2:]]


async def test_message_larger_than_the_whole_spool_is_lost_alone_of_its_kind_or_kept(path: Path):
    async with opened(path, 1000) as store:
        await add(store, Class.TELEMETRY, size=5000)
        assert (await waiting(store), await lost(store)) == ({}, {Class.TELEMETRY: 1})
        await add(store, Class.ALARM, size=5000)
        assert await waiting(store) == {Class.ALARM: 1}


async def test_smaller_bound_after_a_restart_takes_effect_with_the_next_message(path: Path):
    async with opened(path, 10_000) as store:
        await add(store, *[Class.TELEMETRY] * 50)
    async with opened(path, 1000) as again:
        await add(again, Class.TELEMETRY)
        assert (await waiting(again), await lost(again)) == ({Class.TELEMETRY: 9}, {Class.TELEMETRY: 42})


async def test_confirming_what_was_shed_changes_nothing(path: Path):
    async with opened(path, 1000) as store:
        seqs = await add(store, *[Class.TELEMETRY] * 11)
        await store.run(lambda tx: tx.outbox.confirm(seqs[:2]))
        assert (await store.run(lambda tx: tx.outbox.waiting()))[:2] == (9, 900)


async def test_thousands_are_shed_at_once(path: Path):
    async with opened(path, 300_000) as store:
        await add(store, *[Class.TELEMETRY] * 2999)
        await add(store, Class.ALARM, size=200_000)
        assert await waiting(store) == {Class.TELEMETRY: 700, Class.ALARM: 1}
        assert await lost(store) == {Class.TELEMETRY: 2299}


@pytest.mark.parametrize("seed", range(5))
async def test_published_waiting_and_shed_are_all_that_was_taken(path: Path, seed: int):
    dice = random.Random(seed)
    taken: Counter[int] = Counter()
    published: Counter[int] = Counter()
    async with opened(path, 5000) as store:
        for _ in range(60):
            batch = [dice.choice(list(Class)[:3]) for _ in range(dice.randrange(1, 12))]
            fails = dice.random() < 0.2

            def work(tx, batch=batch, fails=fails):
                for klass in batch:
                    tx.outbox.add(sized(klass, 60 + len(batch)))
                if fails:
                    raise ZeroDivisionError

            if fails:
                with pytest.raises(ZeroDivisionError):
                    await store.run(work)
            else:
                await store.run(work)
                taken.update(int(klass) for klass in batch)
            rows = await store.run(lambda tx: tx.outbox.read(0, 1000))
            sent = dice.sample(list(rows), dice.randrange(0, min(6, len(rows) + 1)))
            await store.run(lambda tx, sent=sent: tx.outbox.confirm(row.seq for row in sent))
            published.update(int(row.publication.klass) for row in sent)
        assert published + Counter(await waiting(store)) + Counter(await lost(store)) == taken
        rows = await store.run(lambda tx: tx.outbox.read(0, 10_000))
        size = sum(len(row.publication.body) + OVERHEAD for row in rows)
        assert (await store.run(lambda tx: tx.outbox.waiting()))[:2] == (len(rows), size)
