"""Group commit: who waits together is committed together, and nobody spoils it for the others."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from bridge.contract.publication import Class
from bridge.domain.errors import Rejection, StoreError
from bridge.store.protocols import OutboxRow, Tx
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.outbox import size_of
from bridge.store.sqlite.wal import WriteAheadLog
from tests.unit.store.bench import command, opened, publication


class Halt:
    """Holds the writer inside a job until it is let go, so that all that is asked meanwhile forms one group."""

    def __init__(self) -> None:
        self._inside = threading.Event()
        self._go = threading.Event()

    async def hold(self, store: SqliteStore) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(store.run(self._work))
        await asyncio.to_thread(self._inside.wait, 5)
        return task

    def go(self) -> None:
        self._go.set()

    def _work(self, tx: Tx) -> None:
        self._inside.set()
        self._go.wait(5)


async def grouped(store: SqliteStore, *works: object) -> list[object]:
    """Runs these in one group; results and exceptions in their order."""
    halt = Halt()
    first = await halt.hold(store)
    tasks = [asyncio.get_running_loop().create_task(store.run(work)) for work in works]  # type: ignore[arg-type] # callables
    await asyncio.sleep(0)
    halt.go()
    await first
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def keep(key: str, value: object = 1):
    return lambda tx: tx.vault.put("o", key, value)


async def test_result_of_the_work_is_returned_once_it_is_on_disk(store: SqliteStore, path: Path):
    assert await store.run(lambda tx: (tx.vault.put("o", "k", 1), "result")[1]) == "result"
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT value FROM vault").fetchall() == [(b"1",)]
    other.close()


async def test_exception_of_one_job_does_not_disturb_its_neighbours(store: SqliteStore):
    def fails(tx: Tx) -> None:
        tx.vault.put("o", "half", 1)
        tx.outbox.add(publication())
        tx.after_commit(lambda: told.append("must not be told"))
        raise Rejection("expired", "too late")

    told: list[str] = []
    sent: list[OutboxRow] = []
    store.outgoing = lambda added, _gone: sent.extend(added)
    results = await grouped(
        store,
        keep("before"),
        fails,
        lambda tx: (keep("after")(tx), tx.outbox.add(publication(Class.ACK, "kept")))[1],
    )
    assert results[0] is None
    assert isinstance(results[1], Rejection)
    assert (results[1].code, results[1].message) == ("expired", "too late")
    assert [row.seq for row in sent] == [results[2]]
    assert told == []
    assert await store.run(lambda tx: [tx.vault.get("o", key) for key in ("before", "half", "after")]) == [
        1,
        None,
        1,
    ]
    rows, size, _ = await store.run(lambda tx: tx.outbox.waiting())
    assert (rows, size) == (1, size_of(publication(Class.ACK, "kept")))
    assert store.failing is None


async def test_job_that_confirms_and_then_fails_has_confirmed_nothing(store: SqliteStore):
    seqs = await store.run(lambda tx: [tx.outbox.add(publication(body="12345")) for _ in range(3)])
    before = await store.run(lambda tx: tx.outbox.waiting())

    def fails(tx: Tx) -> None:
        tx.outbox.confirm(seqs)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.run(fails)
    assert await store.run(lambda tx: tx.outbox.waiting()) == before
    assert [row.seq for row in await store.run(lambda tx: tx.outbox.read(0, 9))] == seqs


async def test_job_that_sheds_and_then_fails_has_shed_nothing(path: Path):
    async with opened(path, 1000) as store:
        await store.run(lambda tx: tx.outbox.add(publication(body=b"x" * 600)))
        gone: list[int] = []
        store.outgoing = lambda _added, seqs: gone.extend(seqs)

        def fails(tx: Tx) -> None:
            tx.outbox.add(publication(Class.ALARM, b"y" * 600))
            raise ZeroDivisionError

        results = await grouped(store, fails, keep("k"))
        assert isinstance(results[0], ZeroDivisionError)
        assert gone == []
        assert (await store.run(lambda tx: tx.outbox.tallies()))[Class.TELEMETRY].shed == 0
        assert (await store.run(lambda tx: tx.outbox.waiting()))[0] == 1


async def test_broken_rule_of_a_table_is_the_jobs_own_fault(store: SqliteStore):
    def twice(tx: Tx) -> None:
        tx.journal.insert(command("same"))
        tx.journal.insert(command("same"))

    def unbindable(tx: Tx) -> None:
        tx.vault.put("o", object(), 1)  # type: ignore[arg-type] # wrong on purpose

    def too_large(tx: Tx) -> None:
        tx.journal.forget_before(2**70)

    results = await grouped(store, keep("a"), twice, unbindable, too_large, keep("b"))
    assert [results[0], results[4]] == [None, None]
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert isinstance(results[2], sqlite3.Error)
    assert isinstance(results[3], OverflowError)
    assert store.failing is None
    assert await store.run(lambda tx: (tx.journal.recent(9), tx.vault.get("o", "b"))) == ([], 1)


@pytest.mark.parametrize("error", [StopIteration("s"), KeyError("k"), SystemExit(3)])
async def test_whatever_a_job_raises_reaches_its_caller_and_the_writer_goes_on(store: SqliteStore, error):
    def fails(tx: Tx) -> None:
        raise error

    with pytest.raises((RuntimeError, KeyError, SystemExit), match=str(error.args[0])):
        await store.run(fails)
    assert await store.run(lambda tx: 1) == 1


async def test_hooks_run_in_the_loop_after_the_commit_in_order_and_before_the_callers_go_on(
    store: SqliteStore, path: Path
):
    told: list[str] = []
    loop_thread = threading.get_ident()

    def visible() -> int:
        with sqlite3.connect(path) as other:
            (count,) = other.execute("SELECT count(*) FROM vault").fetchone()
        other.close()
        return int(count)

    def outgoing(added: list[OutboxRow], _gone: list[int]) -> None:
        assert threading.get_ident() == loop_thread
        told.append(f"outgoing {len(added)} of {visible()}")

    def work(name: str):
        def run(tx: Tx) -> str:
            tx.vault.put("o", name, 1)
            tx.outbox.add(publication())
            tx.after_commit(lambda: told.append(f"{name}1"))
            tx.after_commit(lambda: told.append(f"{name}2"))
            assert not told
            return name

        return run

    store.outgoing = outgoing
    assert await grouped(store, work("a"), work("b")) == ["a", "b"]
    assert told == ["outgoing 2 of 2", "a1", "a2", "b1", "b2"]


async def test_commits_without_publications_tell_nothing(store: SqliteStore):
    told: list[object] = []
    store.outgoing = lambda added, gone: told.append((added, gone))
    await store.run(keep("k"))
    await store.run(lambda tx: tx.outbox.confirm([1, 2]))
    assert told == []


async def test_publications_are_told_in_the_order_of_their_sequence(store: SqliteStore):
    seen: list[int] = []
    store.outgoing = lambda added, _gone: seen.extend(row.seq for row in added)
    await asyncio.gather(*(store.run(lambda tx: tx.outbox.add(publication())) for _ in range(300)))
    assert len(seen) == 300
    assert seen == sorted(seen)


async def test_hook_that_fails_holds_up_nobody(store: SqliteStore, caplog: pytest.LogCaptureFixture):
    told: list[str] = []

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    def work(tx: Tx) -> str:
        tx.outbox.add(publication())
        tx.after_commit(broken)
        tx.after_commit(lambda: told.append("next"))
        return "done"

    store.outgoing = broken
    assert await asyncio.wait_for(store.run(work), 5) == "done"
    assert told == ["next"]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError] * 2


async def test_caller_that_went_away_does_not_stop_its_work(store: SqliteStore):
    halt = Halt()
    first = await halt.hold(store)
    gone = asyncio.get_running_loop().create_task(store.run(keep("gone")))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    halt.go()
    await first
    assert gone.cancelled()
    assert await store.run(lambda tx: tx.vault.get("o", "gone")) == 1


async def test_what_waits_when_the_store_closes_is_finished_and_later_work_is_refused(path: Path):
    store = SqliteStore(path, 1024**2)
    await store.open()
    halt = Halt()
    first = await halt.hold(store)
    waiting = [asyncio.get_running_loop().create_task(store.run(keep(f"k{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    closing = asyncio.get_running_loop().create_task(store.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreError, match="closed"):
        await store.run(keep("late"))
    halt.go()
    await asyncio.wait_for(asyncio.gather(first, closing, *waiting), 5)
    with pytest.raises(StoreError, match="closed"):
        await store.run(keep("later"))
    await store.close()
    async with opened(path) as again:
        assert await again.run(lambda tx: [tx.vault.get("o", f"k{n}") for n in range(20)]) == [1] * 20
        assert await again.run(lambda tx: tx.vault.get("o", "late")) is None


async def test_store_that_was_never_opened_refuses_work(path: Path):
    store = SqliteStore(path, 1)
    with pytest.raises(StoreError, match="closed"):
        await store.run(keep("k"))
    await store.close()


async def test_file_that_another_program_holds_is_told_as_store_error_and_forgotten_afterwards(path: Path):
    async with opened(path, busy_ms=50) as store:
        sent: list[OutboxRow] = []
        told: list[str] = []
        store.outgoing = lambda added, _gone: sent.extend(added)

        def work(tx: Tx) -> int:
            tx.after_commit(lambda: told.append("done"))
            return tx.outbox.add(publication())

        await store.run(work)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        results = await asyncio.gather(store.run(work), store.run(keep("k")), return_exceptions=True)
        assert [type(one) for one in results] == [StoreError, StoreError]
        assert store.failing is not None
        assert "locked" in store.failing
        other.execute("ROLLBACK")
        other.close()
        assert (len(sent), told) == (1, ["done"])
        await store.run(work)
        assert store.failing is None
        assert (len(sent), told) == (2, ["done", "done"])
        assert (await store.run(lambda tx: tx.outbox.waiting()))[0] == 2
        assert await store.run(lambda tx: tx.vault.get("o", "k")) is None


@pytest.mark.parametrize(("is_held", "emptied"), [(True, 0), (False, 1)])
async def test_the_log_is_emptied_for_a_full_disk_not_for_who_holds_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, emptied: int, *, is_held: bool
):
    """Emptying it waits for the holder once more: pushes would be answered after three such waits, not one or two."""
    calls: list[float] = []
    monkeypatch.setattr(WriteAheadLog, "give_back", lambda _log, now_s: calls.append(now_s))
    async with opened(path, busy_ms=10) as store:
        await store.run(keep("first"))
        other = sqlite3.connect(path, isolation_level=None)
        outbox = await store.run(lambda tx: tx.outbox)
        if is_held:
            other.execute("BEGIN IMMEDIATE")
        else:
            monkeypatch.setattr(outbox, "save", full)
        with pytest.raises(StoreError):
            await store.run(keep("k"))
        other.close()
    assert len(calls) == emptied


def full() -> None:
    raise sqlite3.OperationalError("database or disk is full")


async def test_many_callers_share_few_commits(store: SqliteStore):
    halt = Halt()
    first = await halt.hold(store)
    groups: list[int] = []
    store.outgoing = lambda added, _gone: groups.append(len(added))
    tasks = [
        asyncio.get_running_loop().create_task(store.run(lambda tx: tx.outbox.add(publication())))
        for _ in range(1200)
    ]
    await asyncio.sleep(0)
    halt.go()
    await asyncio.gather(first, *tasks)
    assert groups == [500, 500, 200]
