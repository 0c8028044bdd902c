"""A commit stands open for a moment: what its work starts ahead joins it, and falls with it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from bridge.domain.errors import Rejection, StoreError
from bridge.store.protocols import OutboxRow, Tx
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.pause import MOST_S, PATIENT_LEAST_S, SLOW_S, Pause
from tests.unit.store.bench import command, opened, publication


class Commits:
    """Sees the rows of every commit that added some."""

    def __init__(self, store: SqliteStore) -> None:
        self.sizes: list[int] = []
        store.outgoing = self._told

    def _told(self, added: list[OutboxRow], _gone: list[int]) -> None:
        self.sizes.append(len(added))


def on_disk(path: Path) -> int:
    with sqlite3.connect(path) as other:
        (count,) = other.execute("SELECT count(*) FROM outbox").fetchone()
    other.close()
    return int(count)


async def chain(store: SqliteStore, length: int, told: list[str]) -> None:
    """Work that starts its like ahead, so many times; returns when all of it is on disk."""
    tasks: list[asyncio.Task[None]] = []

    def work(tx: Tx, left: int) -> None:
        tx.outbox.add(publication())
        tx.after_commit(lambda: told.append(f"stored {left}"))
        if left:
            tx.ahead(lambda: go(left))

    def go(left: int) -> None:
        told.append(f"ahead {left}")
        tasks.append(
            asyncio.get_running_loop().create_task(store.run(lambda tx: work(tx, left - 1), light=True))
        )

    await store.run(lambda tx: work(tx, length), light=True)
    await asyncio.gather(*tasks)


async def test_what_is_started_ahead_is_in_the_same_commit(store: SqliteStore, path: Path):
    commits, told = Commits(store), list[str]()
    await chain(store, 3, told)
    assert commits.sizes == [4]
    assert told == ["ahead 3", "ahead 2", "ahead 1", "stored 3", "stored 2", "stored 1", "stored 0"]
    assert on_disk(path) == 4


async def test_ahead_is_before_the_disk_and_after_commit_behind_it(store: SqliteStore, path: Path):
    seen: list[tuple[str, int]] = []

    def work(tx: Tx) -> None:
        tx.outbox.add(publication())
        tx.ahead(lambda: seen.append(("ahead", on_disk(path))))
        tx.after_commit(lambda: seen.append(("after", on_disk(path))))

    await store.run(work, light=True)
    assert seen == [("ahead", 0), ("after", 1)]


async def test_work_in_the_writers_thread_goes_ahead_in_the_event_loop_too(store: SqliteStore):
    here, seen = threading.get_ident(), list[bool]()

    def work(tx: Tx) -> None:
        assert threading.get_ident() != here
        tx.ahead(lambda: seen.append(threading.get_ident() == here))
        tx.after_commit(lambda: seen.append(False))

    await store.run(work)
    assert seen == [True, False]


async def test_work_that_fails_starts_nothing_ahead(store: SqliteStore):
    told: list[str] = []

    def fails(tx: Tx) -> None:
        tx.ahead(lambda: told.append("must not be told"))
        raise Rejection("expired", "too late")

    with pytest.raises(Rejection):
        await store.run(fails, light=True)
    with pytest.raises(Rejection):
        await store.run(fails)
    assert told == []


async def test_a_commit_that_fails_takes_what_was_started_ahead_with_it(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    following: list[asyncio.Task[int]] = []

    def follow() -> None:
        told.append("ahead")
        following.append(
            asyncio.get_running_loop().create_task(
                store.run(lambda tx: tx.outbox.add(publication()), light=True)
            )
        )

    def work(tx: Tx) -> None:
        tx.outbox.add(publication())
        tx.ahead(follow)
        tx.after_commit(lambda: told.append("must not be told"))

    outbox = await store.run(lambda tx: tx.outbox)

    def full() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(outbox, "save", full)
    with pytest.raises(StoreError):
        await store.run(work, light=True)
    with pytest.raises(StoreError):
        await following[0]
    assert (told, on_disk(path)) == (["ahead"], 0)
    monkeypatch.undo()
    await store.run(work, light=True)
    await following[1]
    assert on_disk(path) == 2


async def test_heavy_work_that_comes_meanwhile_is_done_in_its_turn(store: SqliteStore):
    order: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    def go() -> None:
        loop = asyncio.get_running_loop()
        tasks.append(loop.create_task(store.run(lambda _tx: order.append("heavy"))))
        tasks.append(loop.create_task(store.run(lambda _tx: order.append("light"), light=True)))

    await store.run(lambda tx: tx.ahead(go), light=True)
    await asyncio.gather(*tasks)
    assert order == ["heavy", "light"]


async def test_a_key_of_the_journal_is_never_given_twice(path: Path, monkeypatch: pytest.MonkeyPatch):
    async with opened(path) as store:
        first = await store.run(lambda tx: tx.journal.insert(command("c1")))
        outbox = await store.run(lambda tx: tx.outbox)

        def full() -> None:
            raise sqlite3.OperationalError("disk I/O error")

        lost: list[int] = []
        monkeypatch.setattr(outbox, "save", full)
        with pytest.raises(StoreError):
            await store.run(lambda tx: lost.append(tx.journal.insert(command("c2"))))
        monkeypatch.undo()
        second = await store.run(lambda tx: tx.journal.insert(command("c3")))
        assert (first, lost, second) == (1, [2], 3)
        assert await store.run(lambda tx: tx.journal.get(2)) is None
    async with opened(path) as store:
        assert await store.run(lambda tx: tx.journal.insert(command("c4"))) == 4


async def test_patient_work_alone_is_done_all_the_same(store: SqliteStore, path: Path):
    await store.run(lambda tx: tx.outbox.add(publication()), light=True, patient=True)
    assert on_disk(path) == 1


async def test_on_a_slow_disk_patient_work_joins_other_work(store: SqliteStore):
    store._pause.took(400.0)  # two commits take minutes
    commits = Commits(store)
    patient = asyncio.get_running_loop().create_task(
        store.run(lambda tx: tx.outbox.add(publication()), light=True, patient=True)
    )
    await asyncio.sleep(
        0.01
    )  # the writer has taken it and waits; where it has not, the next line shows the same
    assert commits.sizes == []
    await store.run(lambda tx: tx.outbox.add(publication()), light=True)
    await patient
    assert commits.sizes == [2]


async def test_closing_does_not_wait_for_patience(path: Path):
    async with opened(path) as store:
        store._pause.took(400.0)
        patient = asyncio.get_running_loop().create_task(
            store.run(lambda tx: tx.outbox.add(publication()), light=True, patient=True)
        )
        await asyncio.sleep(0)
    await patient
    assert on_disk(path) == 1


class Disk:
    """One that takes so long."""

    def __init__(self) -> None:
        self.pause = Pause()

    def commits(self, jobs: int, took_s: float, times: int = 40) -> Pause:
        for _ in range(times):
            self.pause.committed(jobs)
            self.pause.took(took_s)
        return self.pause


def test_a_quick_disk_is_not_waited_for():
    pause = Disk().commits(50, 0.0002)
    assert pause.open_s < 0.001
    assert not pause.is_worth_waiting(1)
    assert pause.patience_s == PATIENT_LEAST_S


def test_a_slow_disk_is_worth_waiting_for_as_much_work_as_lately():
    pause = Disk().commits(50, 0.02)
    assert 0.001 < pause.open_s <= MOST_S
    assert pause.is_worth_waiting(10)
    assert not pause.is_worth_waiting(50)
    assert 0.02 < pause.patience_s < 0.1


def test_who_is_alone_on_a_slow_disk_waits_for_nobody():
    disk = Disk()
    disk.commits(50, 0.02)
    pause = disk.commits(1, 0.02, times=20)
    assert not pause.is_worth_waiting(1)


def test_the_disk_of_today_counts_not_that_of_yesterday():
    disk = Disk()
    disk.commits(50, 10 * SLOW_S)
    assert not disk.commits(50, SLOW_S / 10).is_worth_waiting(1)


async def test_a_loop_that_is_kept_busy_does_not_keep_a_commit_open(store: SqliteStore):
    """Light work without end does not starve whoever came first."""
    stop = False
    done = 0

    async def again() -> None:
        nonlocal done
        while not stop:
            await store.run(lambda tx: tx.vault.put("o", "k", 1), light=True)
            done += 1

    def chained(tx: Tx) -> None:
        if not stop:
            tx.ahead(lambda: tasks.append(asyncio.ensure_future(store.run(chained, light=True))))

    tasks: list[asyncio.Future[None]] = []
    others = [asyncio.ensure_future(again()) for _ in range(5)]
    async with asyncio.timeout(60):
        await store.run(chained, light=True)  # returns though it follows itself for ever
    stop = True
    await asyncio.gather(*others)
    while tasks:
        await tasks.pop()
    assert done
