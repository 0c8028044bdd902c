"""What is told is on the disk: quick disks, slow ones whose flushes run beside the work, and some that fail."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.domain.errors import StoreError
from bridge.store.protocols import Tx
from bridge.store.sqlite.database import Pressure, SqliteStore
from bridge.store.sqlite.flusher import MOST_AT_ONCE, to_disk
from bridge.store.sqlite.pause import SLOW_S
from tests.unit.store.bench import opened, publication


def slow(store: SqliteStore) -> SqliteStore:
    """The same, and it takes the disk for a slow one whatever it sees."""
    store._pause.took = lambda _seconds: None
    store._pause._usual_s = 2 * SLOW_S
    return store


def noted(number: int) -> Callable[[Tx], None]:
    return lambda tx: tx.vault.put("test", str(number), number)


class Disk:
    """A disk that has, of the files beside a path, what they held when a flush of them began that has returned."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self._path = path
        self._dice = dice
        self._lock = threading.Lock()
        self._begun = 0
        self._held: tuple[int, bytes, bytes] = 0, b"", b""
        self.flushes = 0
        self.at_once = self.most_at_once = 0

    def flush(self, _file: int) -> None:
        with self._lock:
            self._begun += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            log = self._path.with_name(self._path.name + "-wal").read_bytes()
            held = self._begun, self._path.read_bytes(), log
            pause_s = self._dice.random() * 0.01
        time.sleep(pause_s)
        with self._lock:
            self.at_once -= 1
            self.flushes += 1
            self._held = max(self._held, held)

    def after_a_power_failure(self, folder: Path) -> set[int]:
        """The numbers that a new process finds in what this disk has."""
        with self._lock:
            number, database, log = self._held
        if not number:
            return set()  # nothing was flushed yet
        copy = folder / f"power-{number}.db"
        copy.write_bytes(database)
        copy.with_name(copy.name + "-wal").write_bytes(log)
        with sqlite3.connect(copy) as other:
            found = {
                int(key) for (key,) in other.execute("SELECT key FROM vault WHERE owner = 'test'").fetchall()
            }
        other.close()
        return found


@pytest.mark.parametrize("is_slow", [True, False])
@pytest.mark.parametrize("seed", range(4))
async def test_what_was_told_survives_a_power_failure(
    path: Path, tmp_path: Path, seed: int, *, is_slow: bool
):
    dice = random.Random(seed)
    disk = Disk(path, dice)
    told: set[int] = set()
    async with opened(path, flush=disk.flush) as store:
        if is_slow:
            slow(store)

        async def caller(number: int) -> None:
            await asyncio.sleep(dice.random() * 0.2)
            await store.run(noted(number), light=number % 3 != 0, patient=number % 7 == 0)
            told.add(number)

        async def power_failures() -> None:
            for _ in range(12):
                await asyncio.sleep(0.02)
                before = set(told)
                assert before <= await asyncio.to_thread(disk.after_a_power_failure, tmp_path)

        await asyncio.gather(power_failures(), *(caller(number) for number in range(150)))
        assert told == set(range(150)) == disk.after_a_power_failure(tmp_path)
    assert disk.flushes < 150, "those that wait together share a flush"
    assert disk.most_at_once <= MOST_AT_ONCE


class Gate:
    """A flush that returns when it is let through; the first ones or all of them may fail."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.fails: Callable[[int], bool] = lambda _number: False
        self._gates: list[threading.Event] = [threading.Event() for _ in range(100)]

    def flush(self, _file: int) -> None:
        number = len(self.threads)
        self.threads.append(threading.current_thread().name)
        assert self._gates[number].wait(60)
        if self.fails(number):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def let(self, *numbers: int) -> None:
        for number in numbers or range(len(self._gates)):
            self._gates[number].set()

    async def begun(self, count: int) -> None:
        await until(lambda: len(self.threads) >= count)


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not look():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("light", [True, False])
async def test_on_a_slow_disk_the_next_work_is_done_while_the_last_one_is_flushed(path: Path, *, light: bool):
    gate, done = Gate(), list[int]()

    def work(number: int) -> Callable[[Tx], None]:
        return lambda tx: (noted(number)(tx), done.append(number))

    async with opened(path, flush=gate.flush) as store:
        slow(store)
        tasks = []
        for number in range(MOST_AT_ONCE):
            tasks.append(asyncio.create_task(store.run(work(number), light=light)))
            await gate.begun(number + 1)
        for number in range(MOST_AT_ONCE, 9):
            tasks.append(asyncio.create_task(store.run(work(number), light=light)))
            await until(lambda number=number: number in done)  # done, though the disk is busy
        assert not any(task.done() for task in tasks)
        assert len(gate.threads) == MOST_AT_ONCE
        gate.let(MOST_AT_ONCE - 1)  # the later one holds for the one before too
        await asyncio.gather(*tasks[:MOST_AT_ONCE])
        assert not any(task.done() for task in tasks[MOST_AT_ONCE:])
        gate.let()
        await asyncio.gather(*tasks)
    assert len(gate.threads) == MOST_AT_ONCE + 1, "what came meanwhile is one commit"


async def test_what_was_committed_is_told_in_its_order(path: Path):
    gate, order = Gate(), list[str]()
    async with opened(path, flush=gate.flush) as store:
        slow(store)
        store.outgoing = lambda added, _gone: order.extend(row.publication.topic for row in added)
        tasks = []
        for number in range(3):
            one = publication(topic=f"t{number}")
            tasks.append(asyncio.create_task(store.run(lambda tx, one=one: tx.outbox.add(one), light=True)))
            await gate.begun(min(number + 1, MOST_AT_ONCE))
        gate.let(1, 2)
        gate.let()
        await asyncio.gather(*tasks)
    assert order == ["t0", "t1", "t2"]


async def test_who_only_reads_waits_for_what_it_may_have_seen(path: Path):
    gate = Gate()
    async with opened(path, flush=gate.flush) as store:
        slow(store)
        writing = asyncio.create_task(store.run(noted(1), light=True))
        await gate.begun(1)
        seen = []
        reading = asyncio.create_task(store.run(lambda tx: seen.append(tx.vault.get("test", "1"))))
        await until(lambda: seen)
        await asyncio.sleep(0.02)
        assert seen == [1]
        assert not reading.done()
        gate.let()
        await asyncio.gather(writing, reading)
        assert await store.run(lambda tx: tx.vault.get("test", "1")) == 1
    assert len(gate.threads) == 1, "reading needs no flush"


async def test_on_a_quick_disk_the_writer_flushes_itself(path: Path):
    gate = Gate()
    gate.let()
    async with opened(path, flush=gate.flush) as store:
        for number in range(3):
            await store.run(noted(number), light=True)
        assert set(gate.threads) == {"store-writer"}


@pytest.mark.parametrize("is_slow", [True, False])
async def test_flush_that_fails_is_mended_by_bringing_the_log_into_the_database(path: Path, *, is_slow: bool):
    gate = Gate()
    gate.let()
    gate.fails = lambda number: number == 0
    async with opened(path, flush=gate.flush) as store:
        if is_slow:
            slow(store)
        async with asyncio.timeout(60):
            await store.run(noted(1), light=True)
        database = path.read_bytes()
        assert b"test" in database, "it is in the database itself, which SQLite has flushed"
        assert store.failing is None
        await store.run(noted(2))


@pytest.mark.parametrize("is_slow", [True, False])
async def test_while_nobody_knows_what_is_on_the_disk_nothing_is_told_and_nothing_taken(
    path: Path, *, is_slow: bool
):
    gate = Gate()
    gate.let()
    gate.fails = lambda number: number == 1
    told: list[str | None] = []
    async with opened(path, flush=gate.flush) as store:
        if is_slow:
            slow(store)
        store.on_pressure = lambda _before, now: told.append(now.failing)
        await store.run(noted(0))
        with Holding(path):
            pending = asyncio.create_task(store.run(noted(1), light=True))
            await until(lambda: told)
            for _ in range(3):
                with pytest.raises(StoreError, match=r"state\.db-wal"):
                    await store.run(noted(2))
            assert not pending.done()
            assert store.pressure == Pressure(
                failing=store.failing,
                free_bytes=store.pressure.free_bytes,
                bound_bytes=store.pressure.bound_bytes,
            )
        async with asyncio.timeout(60):
            await pending
        await store.run(noted(3))
        assert told == [f"state.db-wal: {os.strerror(errno.EIO)}", None]
        keys = await store.run(lambda tx: [tx.vault.get("test", str(number)) for number in range(4)])
    assert keys == [0, 1, None, 3], "what was refused was not done"


async def test_store_that_closes_while_nobody_knows_says_so(path: Path):
    gate = Gate()
    gate.let()
    gate.fails = lambda number: number >= 1
    async with opened(path, flush=gate.flush, busy_ms=100) as store:
        await store.run(noted(0))
        with Holding(path):
            pending = asyncio.create_task(store.run(noted(1)))
            await until(lambda: store.failing)
            await store.close()
            with pytest.raises(StoreError, match=r"state\.db-wal"):
                await pending


class Holding:
    """A reader that keeps the log from coming into the database."""

    def __init__(self, path: Path) -> None:
        self._reader = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> None:
        self._reader.execute("BEGIN")
        self._reader.execute("SELECT count(*) FROM vault").fetchone()

    def __exit__(self, *_raised: object) -> None:
        self._reader.close()


async def test_log_of_a_database_behind_a_link_lies_beside_the_database(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "state.db").symlink_to(tmp_path / "disk" / "real.db")
    async with opened(tmp_path / "state.db") as store:
        await store.run(noted(1))
        assert store.failing is None
        assert (tmp_path / "disk" / "real.db-wal").exists()


def test_to_disk_takes_a_file_that_is_open_for_reading(tmp_path: Path):
    file = tmp_path / "log"
    file.write_bytes(b"x")
    number = os.open(file, os.O_RDONLY)
    to_disk(number)
    os.close(number)
    with pytest.raises(OSError, match="Bad file descriptor"):
        to_disk(number)
