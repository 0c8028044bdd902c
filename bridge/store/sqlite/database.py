"""SqliteStore: one file, one writer thread, many callers; what waits together is committed together.

Invariant: a caller's `run` returns only after the COMMIT that holds its work is on the disk (`flusher`, ADR 0015).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from bridge.contract.publication import Class
from bridge.domain.errors import StoreError
from bridge.store.protocols import Done, OutboxRow, Tx
from bridge.store.sqlite.file import DatabaseFile
from bridge.store.sqlite.flusher import Batch, Flush, Flusher, to_disk
from bridge.store.sqlite.jobs import Job, Look, Turn, safely
from bridge.store.sqlite.outbox import SqliteOutbox
from bridge.store.sqlite.pause import Pause
from bridge.store.sqlite.room import Room, free_bytes
from bridge.store.sqlite.tx import SqliteTx
from bridge.store.sqlite.wal import AMPLE_BYTES, WriteAheadLog

T = TypeVar("T")
MAX_GROUP = 500
TIDY_EVERY, TIDY_PAGES = 500, 1000
BUSY_MS = 5000
LOOP_GONE_S = 1.0
MEND_EVERY_S = 1.0

log = logging.getLogger("bridge.store")


def _system_ms() -> int:
    return int(time.time() * 1000)


@dataclass(frozen=True, slots=True)
class Pressure:
    """How the spool stands after a commit. `full`: nothing more may be taken in. `disk_low`: the disk has less room
    than it should, and the spool does not grow. `free_bytes` None: not looked at yet. `failing`: why the file takes no
    changes."""

    full: bool = False
    disk_low: bool = False
    failing: str | None = None
    free_bytes: int | None = None
    bound_bytes: int = 0

    @property
    def words(self) -> tuple[bool, bool, bool]:
        """What is worth telling when it changes."""
        return self.full, self.disk_low, self.failing is not None


Outgoing = Callable[[list[OutboxRow], list[int]], None]
"""Told in the event loop of every commit that changed the outbox: rows added (in order), and the `seq` of rows that
are gone without having been sent (shed, or superseded)."""


class SqliteStore:
    """Store on one SQLite file. `open` it, `run` work, `close` it."""

    def __init__(
        self,
        path: Path,
        spool_max_bytes: int,
        *,
        min_free_bytes: int = 0,
        busy_ms: int = BUSY_MS,
        clock_ms: Callable[[], int] = _system_ms,
        monotonic: Callable[[], float] = time.monotonic,
        disk: Callable[[Path], int] = free_bytes,
        flush: Flush = to_disk,
    ) -> None:
        """`lost` counts the messages by class that lay on damaged parts of the disk, since the database was made.
        `min_free_bytes`: the spool does not grow while the disk has less room than this. `busy_ms`: how long a
        commit waits for another program that holds the file. `disk` tells the room on the disk of a path, `flush`
        brings a file to it."""
        self._path = path
        self._spool_max_bytes = spool_max_bytes
        self._file = DatabaseFile(path, busy_ms)
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._room = Room(path.parent, min_free_bytes, disk)
        self._closing = False
        self._commits = 0
        self._pause = Pause()
        self._flush = flush
        self._parked: Turn | None = None
        self._jobs: queue.SimpleQueue[Job | Look | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.outgoing: Outgoing = lambda _added, _gone: None
        self.sent_upto: Callable[[], int] = lambda: 0
        self.pressure = Pressure()
        self.on_pressure: Callable[[Pressure, Pressure], None] = lambda _before, _now: None
        self.lost: dict[str, int] = {}
        self.on_replaced: Done = lambda: None
        self._damage: str | None = None
        self.failing: str | None = None
        self._is_refused = False

    async def open(self) -> None:
        """Takes the file for this process, repairs what a crash left, brings the schema up to date, starts the
        writer. A damaged file is moved aside (`moved_aside` names it), and what can be read of it goes into a new one
        (`salvaged`: rows by table). Raises StoreError."""
        self._loop = asyncio.get_running_loop()
        self._closing = False
        ready: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._write, args=(ready,), name="store-writer", daemon=True)
        self._thread.start()
        try:
            await ready
        except StoreError:
            self._closing = True
            raise

    async def close(self) -> None:
        """Finishes what waits and closes the file."""
        if self._thread is None or self._closing:
            return
        self._closing = True
        self._jobs.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._thread = None

    @property
    def moved_aside(self) -> Path | None:
        """The damaged file that was replaced, if any."""
        return self._file.moved_aside

    @property
    def salvaged(self) -> dict[str, int]:
        """How many rows of each table were read of that."""
        return self._file.salvaged

    async def run(self, work: Callable[[Tx], T], *, light: bool = False, patient: bool = False) -> T:
        """See `Store.run`."""
        if self._thread is None or self._closing:
            raise StoreError("the store is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(Job(work, future, light, patient))
        if self._parked is not None:
            self._go_on()
        return await future

    def _park(self, turn: Turn) -> None:
        self._parked = turn

    def _go_on(self) -> None:
        """Something has happened for which an open turn waits."""
        turn, self._parked = self._parked, None
        if turn is not None and self._loop is not None:
            self._loop.call_soon(turn.go, self._loop, self._gather)

    # the writer thread ------------------------------------------------------------------------------------------

    def _write(self, ready: asyncio.Future[None]) -> None:
        try:
            db = self._file.open()
            tx = self._tables(db)
        except (sqlite3.Error, OSError, StoreError) as error:
            self._file.release()
            failure = error if isinstance(error, StoreError) else StoreError(f"{self._path}: {error}")
            self._post(ready.set_exception, failure)
            return
        self._post(ready.set_result, None)
        log_file = WriteAheadLog(db)
        flusher = self._new_flusher()
        while (group := self._next_group(flusher)) is not None:
            if flusher.failed is not None:
                self._mend(db, tx, flusher)
            if not group:
                continue
            self._commit(db, tx, group, flusher)
            if self._damage is not None:
                before = db
                db, tx = self._replaced(db, tx, self._damage)
                if db is not before:
                    flusher.close()
                    log_file, flusher = WriteAheadLog(db), self._new_flusher()
            self._tidy(db)
            log_file.fit(tight=self._room.is_tight(AMPLE_BYTES))
            if self.failing is not None and self._is_refused and flusher.failed is None:
                log_file.give_back(self._monotonic())
        if flusher.failed is not None:
            self._mend(db, tx, flusher)
        flusher.close()
        with contextlib.suppress(sqlite3.Error):
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        self._file.release()

    def _new_flusher(self) -> Flusher:
        def done() -> None:
            self._jobs.put(Look())
            self._post(self._go_on)

        return Flusher(self._file.log_path, self._pause, done, self._flush)

    def _mend(self, db: sqlite3.Connection, tx: SqliteTx, flusher: Flusher) -> None:
        """A flush has failed: of what lies in the log nobody knows what is on the disk. Once all of it has come into
        the database, and that onto the disk, it is known."""
        try:
            _, frames, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            frames, moved = 1, 0
            log.debug("store.not_mended", extra={"reason": str(error)})
        before = self.failing
        if frames == moved:
            self.failing = None
            flusher.mended()
        else:
            self.failing = flusher.failed
        if self.failing != before:
            self._post(self._deliver, [], [], [], self._pressure(tx))

    def _next_group(self, flusher: Flusher) -> list[Job] | None:
        """Empty where there is only to look."""
        try:
            first = self._jobs.get(timeout=None if flusher.failed is None else MEND_EVERY_S)
        except queue.Empty:
            return []
        if first is None:
            return None
        if isinstance(first, Look):
            return []
        group = [first]
        self._gather(group)
        if all(job.patient for job in group):
            self._wait_for_others(group)
        return group

    def _wait_for_others(self, group: list[Job]) -> None:
        until_s = time.monotonic() + self._pause.patience_s
        while not self._closing and (left_s := until_s - time.monotonic()) > 0:
            try:
                job = self._jobs.get(timeout=left_s)
            except queue.Empty:
                return
            if job is None:
                self._jobs.put(None)
                return
            if isinstance(job, Look):
                continue
            group.append(job)
            if not job.patient:
                self._gather(group)
                return

    def _gather(self, group: list[Job]) -> bool:
        """Appends what waits; whether there was any."""
        before = len(group)
        while len(group) < MAX_GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            if not isinstance(job, Look):
                group.append(job)
        return len(group) > before

    def _commit(self, db: sqlite3.Connection, tx: SqliteTx, group: list[Job], flusher: Flusher) -> None:
        tx.begin(self._clock_ms())
        tx.outbox.restrict(self._room.bound_bytes(self._monotonic(), tx.outbox.waiting_bytes()))
        before, changes = tx.outbox.mark(), db.total_changes
        done = False
        try:
            if flusher.failed is not None:
                raise sqlite3.OperationalError(flusher.failed)
            db.execute("BEGIN IMMEDIATE")
            self._do_all(db, tx, group, flusher)
            tx.outbox.save()
            flusher.wait_for_room()
            if flusher.failed is not None:
                raise sqlite3.OperationalError(flusher.failed)
            db.execute("COMMIT")
            done = True
            self._pause.committed(len(group))
            tx.outbox.saved()
            if db.total_changes != changes:  # one that only read proves nothing
                self.failing, self._is_refused = None, False
        except (sqlite3.Error, OSError) as error:
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            tx.rolled_back(before)
            self.failing, self._is_refused = str(error), not _is_held(error)
            self._damage = str(error) if _is_damage(error) else self._damage
            for job in group:
                job.error = StoreError(f"the state database does not take changes: {error}")
                job.hooks, job.goes, job.added = [], [], []
        gone = tx.outbox.gone
        skip = set(gone)
        added = [row for job in group for row in job.added if row.seq not in skip]
        tell = partial(self._post, self._deliver, group, added, gone, self._pressure(tx))
        if done:
            lost = partial(self._post, self._lost, group)
            flusher.add(Batch(tell, lost, changed=db.total_changes != changes))
        else:
            tell()

    def _pressure(self, tx: SqliteTx) -> Pressure:
        return Pressure(
            tx.outbox.full(),
            self._room.is_low,
            self.failing,
            self._room.free_bytes,
            tx.outbox.bound_bytes,
        )

    def _do_all(self, db: sqlite3.Connection, tx: SqliteTx, group: list[Job], flusher: Flusher) -> None:
        """The work of a commit, in order. `group` grows by what joins it, also while the disk has the one before."""
        at = 0
        while at < len(group) or self._more_joins(group, flusher):
            if at == len(group):
                continue
            if group[at].light:
                at = self._in_loop(db, tx, group, at, flusher)
            else:
                self._do(db, tx, group[at])
                at += 1

    def _more_joins(self, group: list[Job], flusher: Flusher) -> bool:
        """Whether to look for more work: the disk is busy, and something has happened."""
        if not flusher.is_busy or self._closing or len(group) >= MAX_GROUP:
            return False
        job = self._jobs.get()
        if job is None:
            self._jobs.put(None)
            return False
        if not isinstance(job, Look):
            group.append(job)
        return True

    def _in_loop(
        self, db: sqlite3.Connection, tx: SqliteTx, group: list[Job], at: int, flusher: Flusher
    ) -> int:
        """Light work runs in the event loop while this thread waits: two threads that both want the interpreter for a
        few microseconds at a time would spend most of it on handing it over. Returns how far it came."""

        def is_busy() -> bool:
            return flusher.is_busy and not self._closing and len(group) < MAX_GROUP

        turn = Turn(lambda job: self._do(db, tx, job), group, at, self._pause, is_busy, self._park)
        try:
            if self._loop is None:
                raise RuntimeError
            self._loop.call_soon_threadsafe(turn.go, self._loop, self._gather)
        except RuntimeError:  # the loop is closed
            self._do(db, tx, group[at])
            return at + 1
        while not turn.over.wait(LOOP_GONE_S):
            if self._loop.is_closed():
                raise sqlite3.OperationalError("the event loop has ended")
        if turn.error is not None:
            raise turn.error
        return turn.at

    def _replaced(
        self, db: sqlite3.Connection, tx: SqliteTx, damage: str
    ) -> tuple[sqlite3.Connection, SqliteTx]:
        """A new file in the place of one that turned out to be damaged. Where that does not succeed, everything fails
        until it does."""
        try:
            db.close()
            db = self._file.begin_anew(damage)
            tx = self._tables(db)
        except (sqlite3.Error, OSError, StoreError) as error:
            log.critical("store.not_replaced", extra={"reason": str(error)})
            return db, tx
        self._damage = None
        self.failing = None
        self._post(safely, self._tell_replaced)
        return db, tx

    def _tell_replaced(self) -> None:
        self.on_replaced()

    def _tidy(self, db: sqlite3.Connection) -> None:
        """Gives freed pages back to the disk, a few now and then: after an outage the file shrinks again."""
        self._commits += 1
        if self._commits % TIDY_EVERY == 0 and self._jobs.empty():
            with contextlib.suppress(sqlite3.Error):
                db.execute(f"PRAGMA incremental_vacuum({TIDY_PAGES})").fetchall()

    def _do(self, db: sqlite3.Connection, tx: SqliteTx, job: Job) -> None:
        tx.hooks, tx.goes, tx.outbox.added = job.hooks, job.goes, job.added
        before = tx.outbox.mark()
        db.execute("SAVEPOINT job")
        try:
            job.result = job.work(tx)
        except BaseException as error:
            if _is_the_disks(error):
                raise
            db.execute("ROLLBACK TO job")
            tx.rolled_back(before)
            job.hooks.clear()
            job.goes.clear()
            job.added.clear()
            # a future does not take StopIteration
            job.error = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
        db.execute("RELEASE job")

    def _deliver(self, group: list[Job], added: list[OutboxRow], gone: list[int], pressure: Pressure) -> None:
        before, self.pressure = self.pressure, pressure
        if before.words != pressure.words:
            safely(lambda: self.on_pressure(before, pressure))
        if added or gone:
            safely(lambda: self.outgoing(added, gone))
        for job in group:
            job.go_ahead()
            for hook in job.hooks:
                safely(hook)
            if job.future.cancelled():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)

    def _lost(self, group: list[Job], reason: str) -> None:
        for job in group:
            if not job.future.done():
                job.future.set_exception(StoreError(f"the state database does not take changes: {reason}"))

    def _post(self, call: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call, *args)

    def _tables(self, db: sqlite3.Connection) -> SqliteTx:
        outbox = SqliteOutbox(db, self._spool_max_bytes)
        outbox.sent_upto = lambda: self.sent_upto()
        self.lost = {
            Class(klass).name.lower(): one.lost for klass, one in outbox.tallies().items() if one.lost
        }
        return SqliteTx(db, outbox)


def _is_damage(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _is_held(error: BaseException) -> bool:
    """Whether another program has the file: to wait for it once more, to empty the log, would only take longer."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _is_the_disks(error: BaseException) -> bool:
    """Whether the whole commit is lost (disk full, locked, damaged), not only one caller's work."""
    return isinstance(error, sqlite3.Error) and not isinstance(
        error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError
    )
