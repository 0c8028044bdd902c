"""A full spool: telemetry goes first, then history, never anything else, and every loss is counted."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from bridge.contract.publication import SHEDDABLE, Class
from bridge.store.protocols import Tally
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.outbox import ROW_BYTES
from bridge.store.sqlite.wal import AMPLE_BYTES
from tests.unit.store.bench import opened, publication

TOPIC = "m/a/电/x"
OVERHEAD = len(TOPIC.encode()) + ROW_BYTES


def sized(klass: Class, size: int):
    """A publication that takes exactly so many bytes of the spool."""
    return publication(klass, b"x" * (size - OVERHEAD), topic=TOPIC)


async def add(store: SqliteStore, *klasses: Class, size: int = 1000) -> list[int]:
    return await store.run(lambda tx: [tx.outbox.add(sized(klass, size)) for klass in klasses])


async def tallies(store: SqliteStore) -> dict[int, Tally]:
    return dict(await store.run(lambda tx: tx.outbox.tallies()))


async def waiting(store: SqliteStore) -> dict[int, int]:
    return {klass: tally.rows for klass, tally in (await tallies(store)).items() if tally.rows}


async def lost(store: SqliteStore) -> dict[int, int]:
    return {klass: tally.shed for klass, tally in (await tallies(store)).items() if tally.shed}


async def test_spool_within_its_bound_loses_nothing(path: Path):
    async with opened(path, 10_000) as store:
        await add(store, *[Class.TELEMETRY] * 10)
        assert (await waiting(store), await lost(store)) == ({Class.TELEMETRY: 10}, {})


async def test_oldest_telemetry_goes_until_a_tenth_is_free(path: Path):
    async with opened(path, 10_000) as store:
        seqs = await add(store, *[Class.TELEMETRY] * 11)
        assert await lost(store) == {Class.TELEMETRY: 2}
        assert [row.seq for row in await store.run(lambda tx: tx.outbox.read(0, 99))] == seqs[2:]
        assert (await store.run(lambda tx: tx.outbox.waiting()))[:2] == (9, 9000)


async def test_telemetry_goes_before_history_however_old_history_is(path: Path):
    async with opened(path, 10_000) as store:
        await add(store, *[Class.HISTORY] * 5, *[Class.TELEMETRY] * 5)
        await add(store, Class.ALARM)
        assert await lost(store) == {Class.TELEMETRY: 2}
        await add(store, *[Class.ALARM] * 5)
        assert await waiting(store) == {Class.HISTORY: 4, Class.ALARM: 6}
        assert await lost(store) == {Class.TELEMETRY: 5, Class.HISTORY: 1}


async def test_alarms_events_and_acks_are_never_shed_however_many_there_are(path: Path):
    async with opened(path, 10_000) as store:
        kept = [one for one in Class if one not in SHEDDABLE]
        for _ in range(10):
            await add(store, *kept, Class.TELEMETRY, Class.HISTORY)
        assert {
            klass: count for klass, count in (await waiting(store)).items() if klass in kept
        } == dict.fromkeys(kept, 10)
        counted = Counter(await waiting(store)) + Counter(await lost(store))
        assert counted == dict.fromkeys(Class, 10)


async def test_loss_tells_when_it_began_and_ended_and_survives_a_restart(path: Path):
    now = [1000]
    async with opened(path, 10_000, clock_ms=lambda: now[0]) as store:
        for now[0] in (1000, 2000, 3000):
            await add(store, *[Class.TELEMETRY] * 11)
        now[0] = 500
        first = (await tallies(store))[Class.TELEMETRY]
        await add(store, *[Class.TELEMETRY] * 11)  # the clock was set back
        second = (await tallies(store))[Class.TELEMETRY]
    assert (first.shed, first.first_ms, first.last_ms) == (24, 1000, 3000)
    assert (second.shed, second.first_ms, second.last_ms) == (34, 1000, 3000)
    async with opened(path, 10_000) as again:
        assert (await tallies(again))[Class.TELEMETRY] == second


async def test_what_is_shed_is_told_and_not_announced_as_added(path: Path):
    async with opened(path, 10_000) as store:
        told: list[tuple[list[int], list[int]]] = []
        store.outgoing = lambda added, gone: told.append(([row.seq for row in added], gone))
        first = await add(store, *[Class.TELEMETRY] * 3, *[Class.HISTORY] * 3)
        second = await add(store, *[Class.ACK] * 7)
        third = await add(store, *[Class.TELEMETRY] * 3)
        assert told == [(first, []), (second, first[:4]), (third[2:], third[:2])]
        alive = [row.seq for row in await store.run(lambda tx: tx.outbox.read(0, 99))]
        assert alive == [*first[4:], *second, *third[2:]]


async def test_message_larger_than_the_whole_spool_is_lost_alone_of_its_kind_or_kept(path: Path):
    async with opened(path, 10_000) as store:
        await add(store, Class.TELEMETRY, size=50_000)
        assert (await waiting(store), await lost(store)) == ({}, {Class.TELEMETRY: 1})
        await add(store, Class.ALARM, size=50_000)
        assert await waiting(store) == {Class.ALARM: 1}


async def test_smaller_bound_after_a_restart_takes_effect_with_the_next_message(path: Path):
    async with opened(path, 100_000) as store:
        await add(store, *[Class.TELEMETRY] * 50)
    async with opened(path, 10_000) as again:
        await add(again, Class.TELEMETRY)
        assert (await waiting(again), await lost(again)) == ({Class.TELEMETRY: 9}, {Class.TELEMETRY: 42})


async def test_confirming_what_was_shed_changes_nothing(path: Path):
    async with opened(path, 10_000) as store:
        seqs = await add(store, *[Class.TELEMETRY] * 11)
        await store.run(lambda tx: tx.outbox.confirm(seqs[:2]))
        assert (await store.run(lambda tx: tx.outbox.waiting()))[:2] == (9, 9000)


async def test_thousands_are_shed_at_once(path: Path):
    async with opened(path, 3_000_000) as store:
        await add(store, *[Class.TELEMETRY] * 2999)
        await add(store, Class.ALARM, size=2_000_000)
        assert await waiting(store) == {Class.TELEMETRY: 700, Class.ALARM: 1}
        assert await lost(store) == {Class.TELEMETRY: 2299}


async def test_retained_message_takes_the_place_of_the_one_that_waits(path: Path):
    async with opened(path) as store:
        gone: list[int] = []
        store.outgoing = lambda _added, seqs: gone.extend(seqs)

        def state(body: bytes, topic: str = "s/1"):
            return publication(Class.STATE, body, topic, retain=True)

        first = await store.run(lambda tx: tx.outbox.add(state(b"1")))
        other = await store.run(lambda tx: tx.outbox.add(state(b"x", "s/2")))
        with pytest.raises(ZeroDivisionError):
            await store.run(lambda tx: tx.outbox.add(state(b"never")) / 0)
        second = await store.run(lambda tx: tx.outbox.add(state(b"2")))
        assert gone == [first]
        assert [row.seq for row in await store.run(lambda tx: tx.outbox.read(0, 9))] == [other, second]
        await store.run(lambda tx: tx.outbox.confirm([second]))
        assert await store.run(lambda tx: tx.outbox.waiting_retained()) == {"s/2"}
        third = await store.run(lambda tx: tx.outbox.add(state(b"3")))
        assert gone == [first]
    async with opened(path) as again:
        assert await again.run(lambda tx: tx.outbox.waiting_retained()) == {"s/1", "s/2"}
        fourth = await again.run(lambda tx: tx.outbox.add(state(b"4")))
        assert [row.seq for row in await again.run(lambda tx: tx.outbox.read(0, 9))] == [other, fourth]
        tally = (await tallies(again))[Class.STATE]
        assert (tally.taken, tally.published, tally.superseded, tally.rows) == (5, 1, 2, 2)
        assert third < fourth


async def test_spool_is_full_when_what_is_never_shed_fills_it_but_for_a_tenth(path: Path):
    async with opened(path, 10_000) as store:
        changes: list[tuple[bool, bool]] = []
        store.on_pressure = lambda before, now: changes.append((before.full, now.full))
        await add(store, *[Class.TELEMETRY] * 9)
        seqs = await add(store, *[Class.ALARM] * 9)
        assert not await store.run(lambda tx: tx.outbox.full())
        assert changes == []
        await add(store, Class.ACK, size=200)
        assert await store.run(lambda tx: tx.outbox.full())
        assert store.pressure.full
        await add(store, Class.ACK, Class.EVENT, size=2000)
        assert (await waiting(store))[Class.ACK] == 2
        await store.run(lambda tx: tx.outbox.confirm(seqs))
        await add(store, Class.TELEMETRY, size=200)
        assert changes == [(False, True), (True, False)]


async def test_spool_does_not_grow_while_the_disk_has_too_little_room(path: Path):
    free = [10**9]
    now = [0.0]
    async with opened(
        path, 10**8, min_free_bytes=10**6, disk=lambda _folder: free[0], monotonic=lambda: now[0]
    ) as store:
        changes: list[tuple[bool, int | None]] = []
        store.on_pressure = lambda _before, pressure: changes.append((pressure.disk_low, pressure.free_bytes))
        await add(store, *[Class.TELEMETRY] * 50, size=100_000)
        free[0] = 999_999
        await add(store, *[Class.TELEMETRY] * 2, size=100_000)  # looked at a moment ago
        assert (await lost(store), changes) == ({}, [])
        now[0] = 1.0
        await add(store, *[Class.TELEMETRY] * 10, Class.ALARM, size=100_000)
        held = 52 * 100_000
        assert changes == [(True, 999_999)]
        assert (await store.run(lambda tx: tx.outbox.waiting()))[1] <= held
        assert (await lost(store))[Class.TELEMETRY] >= 11
        free[0], now[0] = 1_040_000, 2.0
        await add(store, Class.ALARM)
        assert store.pressure.disk_low
        assert store.pressure.bound_bytes == held
        free[0], now[0] = 1_050_000, 3.0
        await add(store, Class.ALARM)
        assert changes == [(True, 999_999), (False, 1_050_000)]
        assert store.pressure.bound_bytes == 10**8


async def test_log_does_not_grow_where_that_would_leave_too_little_room(path: Path):
    """Else it could fill a small disk between two looks."""
    free = 10**6 + AMPLE_BYTES - 1
    async with opened(path, 10**8, min_free_bytes=10**6, disk=lambda _folder: free) as store:
        for _ in range(12):
            await add(store, *[Class.TELEMETRY] * 10, size=100_000)
        assert not store.pressure.disk_low
        assert path.with_name(path.name + "-wal").stat().st_size < 5_000_000


async def test_full_disk_leaves_room_for_what_only_passes_through(path: Path):
    async with opened(path, 10**8, min_free_bytes=10**6, disk=lambda _folder: 0) as store:
        await add(store, *[Class.TELEMETRY] * 40, size=100_000)
        assert (await waiting(store), await lost(store)) == ({Class.TELEMETRY: 40}, {})


async def test_database_of_the_first_version_keeps_its_losses_and_what_waits(path: Path):
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(resources.files("bridge.store").joinpath("migrations", "0001_initial.sql").read_text())
    db.execute("INSERT INTO loss VALUES (0, 7, 1000, 2000)")
    for klass in (0, 0, 4):
        db.execute(
            "INSERT INTO outbox (topic, body, klass, retain, account, device, at_ms)"
            " VALUES ('t', x'00', ?, 0, '', '', 1)",
            (klass,),
        )
    db.execute("PRAGMA user_version=1")
    db.close()
    async with opened(path) as store:
        found = await tallies(store)
        assert (found[0].taken, found[0].shed, found[0].rows, found[0].lost) == (9, 7, 2, 0)
        assert (found[0].first_ms, found[0].last_ms) == (1000, 2000)
        assert (found[4].taken, found[4].shed, found[4].rows) == (1, 0, 1)


@pytest.mark.parametrize("seed", range(5))
async def test_published_waiting_and_shed_are_all_that_was_taken(path: Path, seed: int):
    dice = random.Random(seed)
    taken: Counter[int] = Counter()
    published: Counter[int] = Counter()
    async with opened(path, 25_000) as store:
        for _ in range(60):
            batch = [dice.choice(list(Class)[:3]) for _ in range(dice.randrange(1, 12))]
            fails = dice.random() < 0.2

            def work(tx, batch=batch, fails=fails):
                for klass in batch:
                    tx.outbox.add(sized(klass, 300 + len(batch)))
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
        refused = await store.run(lambda tx: tx.outbox.read(0, 1))
        await store.run(lambda tx: tx.outbox.refuse(row.seq for row in refused))
        turned_away = Counter(int(row.publication.klass) for row in refused)
        assert published + Counter(await waiting(store)) + Counter(await lost(store)) + turned_away == taken
        rows = await store.run(lambda tx: tx.outbox.read(0, 10_000))
        size = sum(len(row.publication.body) + OVERHEAD for row in rows)
        assert (await store.run(lambda tx: tx.outbox.waiting()))[:2] == (len(rows), size)
        before = await tallies(store)
    async with opened(path, 25_000) as again:
        assert await tallies(again) == before
    for klass, tally in before.items():
        assert (tally.taken, tally.published, tally.lost) == (taken[klass], published[klass], 0)
        assert tally.refused == turned_away[klass]


async def test_what_is_in_flight_is_spared_as_long_as_the_bound_allows(path: Path):
    async with opened(path, 10_000) as store:
        flying = await add(store, *[Class.TELEMETRY] * 3)
        store.sent_upto = lambda: flying[-1]
        later = await add(store, *[Class.TELEMETRY] * 8)
        assert [row.seq for row in await store.run(lambda tx: tx.outbox.read(0, 99))] == flying + later[2:]
        await add(store, *[Class.ALARM] * 7)
        assert await waiting(store) == {Class.TELEMETRY: 3, Class.ALARM: 7}
        await add(store, Class.ALARM)
        assert await waiting(store) == {Class.TELEMETRY: 2, Class.ALARM: 8}
        store.sent_upto = lambda: 0  # the connection broke
        await add(store, Class.ALARM)
        assert await waiting(store) == {Class.ALARM: 9}
