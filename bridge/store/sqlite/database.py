"""SqliteStore: one file, one writer thread, many callers; what waits together is committed together.

Invariant: a caller's `run` returns only after the COMMIT that holds its work (synchronous=FULL) has succeeded.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from bridge.contract.publication import Class
from bridge.domain.errors import StoreError, StoreInUse
from bridge.store.protocols import Done, OutboxRow, Tx
from bridge.store.sqlite.backfills import SqliteBackfills
from bridge.store.sqlite.charts import SqliteCharts
from bridge.store.sqlite.devices import SqliteAlarms, SqliteDevices, SqliteSeen
from bridge.store.sqlite.gaps import SqliteCadences, SqliteGaps
from bridge.store.sqlite.journal import SqliteDeliveries, SqliteEarlyWords, SqliteJournal
from bridge.store.sqlite.outbox import Mark, SqliteOutbox
from bridge.store.sqlite.pause import Pause
from bridge.store.sqlite.room import Room, free_bytes
from bridge.store.sqlite.salvage import salvage
from bridge.store.sqlite.tables import (
    SqliteBudgets,
    SqliteDeadLetters,
    SqliteLocks,
    SqliteRetained,
    SqliteVault,
)
from bridge.store.sqlite.wal import AMPLE_BYTES, WriteAheadLog

T = TypeVar("T")
MAX_GROUP = 500
TIDY_EVERY, TIDY_PAGES = 500, 1000
BUSY_MS = 5000
CACHE_KIB = 16 * 1024
"""Pages kept in memory: the rows of a fleet that pushes all the time."""
LIGHT_S = 0.01
"""How long light work may hold the event loop at a time."""
QUIET_ROUNDS = 3
"""So many turns of the event loop without new work end a commit that stands open: what follows at once has come."""
MOST_OPEN_S = 0.01
LOOK_S = 0.001
LOOP_GONE_S = 1.0

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


class SqliteTx:
    """Tx on one connection; the tables live as long as the connection, the lists as long as one commit."""

    def __init__(self, db: sqlite3.Connection, outbox: SqliteOutbox) -> None:
        self.outbox = outbox
        self.journal = SqliteJournal(db)
        self.early_words = SqliteEarlyWords(db)
        self.deliveries = SqliteDeliveries(db)
        self.devices = SqliteDevices(db)
        self.alarms = SqliteAlarms(db)
        self.seen = SqliteSeen(db)
        self.retained = SqliteRetained(db)
        self.dead_letters = SqliteDeadLetters(db)
        self.locks = SqliteLocks(db)
        self.budgets = SqliteBudgets(db)
        self.vault = SqliteVault(db)
        self.gaps = SqliteGaps(db)
        self.cadences = SqliteCadences(db)
        self.backfills = SqliteBackfills(db)
        self.charts = SqliteCharts(db)
        self.hooks: list[Done] = []
        self.goes: list[Done] = []

    def after_commit(self, done: Done) -> None:
        self.hooks.append(done)

    def ahead(self, go: Done) -> None:
        self.goes.append(go)

    def begin(self, now_ms: int) -> None:
        """A commit begins."""
        self.outbox.begin(now_ms)
        self.journal.kept.begin()
        self.devices.kept.begin()
        self.retained.begin()
        self.cadences.kept.begin()

    def rolled_back(self, mark: Mark) -> None:
        """All or the last part of the commit is undone, to where the outbox was marked."""
        self.outbox.reset(mark)
        self.journal.kept.rolled_back()
        self.early_words.rolled_back()
        self.locks.rolled_back()
        self.devices.kept.rolled_back()
        self.retained.rolled_back()
        self.cadences.kept.rolled_back()


@dataclass(slots=True)
class _Job:
    work: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    light: bool = False
    patient: bool = False
    result: Any = None
    error: BaseException | None = None
    hooks: list[Done] = field(default_factory=list)
    goes: list[Done] = field(default_factory=list)
    added: list[OutboxRow] = field(default_factory=list)

    def go_ahead(self) -> None:
        """Calls, once, what is to go on before the commit."""
        goes, self.goes = self.goes, []
        for go in goes:
            _safely(go)


Outgoing = Callable[[list[OutboxRow], list[int]], None]
"""Told in the event loop of every commit that changed the outbox: rows added (in order), and the `seq` of rows that
are gone without having been sent (shed, or superseded)."""


class _Turn:
    """Light jobs of a group, from `at` on, run in the event loop while the writer waits for `over`. At the end of the
    group it stays open for a moment: what these jobs have started ahead, and what comes meanwhile, joins it."""

    def __init__(self, do: Callable[[_Job], None], group: list[_Job], at: int, pause: Pause) -> None:
        self._do = do
        self._group = group
        self._pause = pause
        self._rounds = QUIET_ROUNDS
        self._until_s = time.monotonic() + pause.open_s
        self._at_most_until_s: float | None = None
        self.at = at
        self.over = threading.Event()
        self.error: BaseException | None = None

    def go(self, loop: asyncio.AbstractEventLoop, more: Callable[[list[_Job]], bool]) -> None:
        """`more` appends to a group what has come; whether there was any."""
        try:
            next_s = self._some(more)
        except BaseException as error:  # noqa: BLE001 - what spoils the commit is the writer's to handle
            self.error = error
            next_s = None
        if next_s is None:
            self.over.set()
        elif next_s:
            loop.call_later(next_s, self.go, loop, more)
        else:
            loop.call_soon(self.go, loop, more)  # others have their turn between

    def _some(self, more: Callable[[list[_Job]], bool]) -> float | None:
        """In how many seconds to go on; None if this turn is over."""
        until_s = time.monotonic() + LIGHT_S
        while self.at < len(self._group):
            job = self._group[self.at]
            if not job.light:
                return None
            self._do(job)
            if job.goes:
                job.go_ahead()
                self._rounds = QUIET_ROUNDS  # what it has started follows in one of the next
            self.at += 1
            if time.monotonic() >= until_s:
                return 0.0
        now_s = time.monotonic()
        if self._at_most_until_s is None:
            self._at_most_until_s = now_s + MOST_OPEN_S
        if now_s >= self._at_most_until_s:
            return None
        self._rounds -= 1
        if more(self._group) and now_s < self._until_s:
            self._rounds = QUIET_ROUNDS
        if self._rounds > 0:
            return 0.0
        waits = now_s < self._until_s and self._pause.is_worth_waiting(len(self._group))
        return LOOK_S if waits else None


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
    ) -> None:
        """`lost` counts the messages by class that lay on damaged parts of the disk, since the database was made.
        `min_free_bytes`: the spool does not grow while the disk has less room than this. `busy_ms`: how long a
        commit waits for another program that holds the file. `disk` tells the room on the disk of a path."""
        self._path = path
        self._spool_max_bytes = spool_max_bytes
        self._busy_ms = busy_ms
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._room = Room(path.parent, min_free_bytes, disk)
        self._closing = False
        self._commits = 0
        self._pause = Pause(monotonic)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock_file: Any = None
        self.outgoing: Outgoing = lambda _added, _gone: None
        self.pressure = Pressure()
        self.on_pressure: Callable[[Pressure, Pressure], None] = lambda _before, _now: None
        self.moved_aside: Path | None = None
        self.salvaged: dict[str, int] = {}
        self.lost: dict[str, int] = {}
        self.on_replaced: Done = lambda: None
        self._damage: str | None = None
        self.failing: str | None = None

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

    async def run(self, work: Callable[[Tx], T], *, light: bool = False, patient: bool = False) -> T:
        """See `Store.run`."""
        if self._thread is None or self._closing:
            raise StoreError("the store is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, future, light, patient))
        return await future

    # the writer thread ------------------------------------------------------------------------------------------

    def _write(self, ready: asyncio.Future[None]) -> None:
        try:
            db = self._open_file()
            tx = self._tables(db)
        except (sqlite3.Error, OSError, StoreError) as error:
            if self._lock_file is not None:
                self._lock_file.close()
            failure = error if isinstance(error, StoreError) else StoreError(f"{self._path}: {error}")
            self._post(ready.set_exception, failure)
            return
        self._post(ready.set_result, None)
        log_file = WriteAheadLog(db)
        while (group := self._next_group()) is not None:
            self._commit(db, tx, group)
            if self._damage is not None:
                before = db
                db, tx = self._replaced(db, tx, self._damage)
                log_file = WriteAheadLog(db) if db is not before else log_file
            self._tidy(db)
            log_file.fit(tight=self._room.is_tight(AMPLE_BYTES))
            if self.failing is not None:
                log_file.give_back(self._monotonic())
        with contextlib.suppress(sqlite3.Error):
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        self._lock_file.close()

    def _next_group(self) -> list[_Job] | None:
        first = self._jobs.get()
        if first is None:
            return None
        group = [first]
        self._gather(group)
        if all(job.patient for job in group):
            self._wait_for_others(group)
        return group

    def _wait_for_others(self, group: list[_Job]) -> None:
        until_s = time.monotonic() + self._pause.patience_s
        while not self._closing and (left_s := until_s - time.monotonic()) > 0:
            try:
                job = self._jobs.get(timeout=left_s)
            except queue.Empty:
                return
            if job is None:
                self._jobs.put(None)
                return
            group.append(job)
            if not job.patient:
                self._gather(group)
                return

    def _gather(self, group: list[_Job]) -> bool:
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
            group.append(job)
        return len(group) > before

    def _commit(self, db: sqlite3.Connection, tx: SqliteTx, group: list[_Job]) -> None:
        tx.begin(self._clock_ms())
        tx.outbox.restrict(self._room.bound_bytes(self._monotonic(), tx.outbox.waiting_bytes()))
        before, changes = tx.outbox.mark(), db.total_changes
        try:
            db.execute("BEGIN IMMEDIATE")
            self._do_all(db, tx, group)
            tx.outbox.save()
            self._pause.begin(len(group))
            db.execute("COMMIT")
            self._pause.end()
            tx.outbox.saved()
            if db.total_changes != changes:  # one that only read proves nothing
                self.failing = None
        except (sqlite3.Error, OSError) as error:
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            tx.rolled_back(before)
            self.failing = str(error)
            self._damage = str(error) if _is_damage(error) else self._damage
            for job in group:
                job.error = StoreError(f"the state database does not take changes: {error}")
                job.hooks, job.goes, job.added = [], [], []
        gone = tx.outbox.gone
        skip = set(gone)
        added = [row for job in group for row in job.added if row.seq not in skip]
        now = Pressure(
            tx.outbox.full(),
            self._room.is_low,
            self.failing,
            self._room.free_bytes,
            tx.outbox.bound_bytes,
        )
        self._post(self._deliver, group, added, gone, now)

    def _do_all(self, db: sqlite3.Connection, tx: SqliteTx, group: list[_Job]) -> None:
        """The work of a commit, in order. `group` grows by what joins it."""
        at = 0
        while at < len(group):
            if group[at].light:
                at = self._in_loop(db, tx, group, at)
            else:
                self._do(db, tx, group[at])
                at += 1

    def _in_loop(self, db: sqlite3.Connection, tx: SqliteTx, group: list[_Job], at: int) -> int:
        """Light work runs in the event loop while this thread waits: two threads that both want the interpreter for a
        few microseconds at a time would spend most of it on handing it over. Returns how far it came."""
        turn = _Turn(lambda job: self._do(db, tx, job), group, at, self._pause)
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
            db = self._begin_anew(damage)
            tx = self._tables(db)
        except (sqlite3.Error, OSError, StoreError) as error:
            log.critical("store.not_replaced", extra={"reason": str(error)})
            return db, tx
        self._damage = None
        self.failing = None
        self._post(_safely, self._tell_replaced)
        return db, tx

    def _tell_replaced(self) -> None:
        self.on_replaced()

    def _tidy(self, db: sqlite3.Connection) -> None:
        """Gives freed pages back to the disk, a few now and then: after an outage the file shrinks again."""
        self._commits += 1
        if self._commits % TIDY_EVERY == 0 and self._jobs.empty():
            with contextlib.suppress(sqlite3.Error):
                db.execute(f"PRAGMA incremental_vacuum({TIDY_PAGES})").fetchall()

    def _do(self, db: sqlite3.Connection, tx: SqliteTx, job: _Job) -> None:
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

    def _deliver(
        self, group: list[_Job], added: list[OutboxRow], gone: list[int], pressure: Pressure
    ) -> None:
        before, self.pressure = self.pressure, pressure
        if before.words != pressure.words:
            _safely(lambda: self.on_pressure(before, pressure))
        if added or gone:
            _safely(lambda: self.outgoing(added, gone))
        for job in group:
            job.go_ahead()
            for hook in job.hooks:
                _safely(hook)
            if job.future.cancelled():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)

    def _post(self, call: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call, *args)

    def _tables(self, db: sqlite3.Connection) -> SqliteTx:
        outbox = SqliteOutbox(db, self._spool_max_bytes)
        self.lost = {
            Class(klass).name.lower(): one.lost for klass, one in outbox.tallies().items() if one.lost
        }
        return SqliteTx(db, outbox)

    # the file ---------------------------------------------------------------------------------------------------

    def _open_file(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock_file = self._path.with_name(self._path.name + ".lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreInUse(f"{self._path} is in use by another meterbridge") from None
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise
            return self._begin_anew(str(error))

    def _connect(self) -> sqlite3.Connection:
        # before SQLite opens it: the files beside it (-wal, -shm) take its mode, and they hold tokens too
        self._path.touch(mode=0o600)
        self._path.chmod(0o600)
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            db.execute(f"PRAGMA busy_timeout={self._busy_ms}")
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            if not db.execute("PRAGMA user_version").fetchone()[0]:
                db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA foreign_keys=ON")
            db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _begin_anew(self, reason: str) -> sqlite3.Connection:
        """A new file with all that can be read of the damaged one."""
        aside = self._move_aside(reason)
        db = self._connect()
        self.salvaged = salvage(aside, self._path, db)
        log.warning("store.salvaged", extra={"rows": self.salvaged})
        self.moved_aside = aside
        return db

    def _move_aside(self, reason: str) -> Path:
        aside = self._path.with_name(f"{self._path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
        log.error("the state database is damaged and moved aside: %s", aside, extra={"reason": reason})
        os.replace(self._path, aside)
        for suffix in ("-wal", "-shm"):
            other = self._path.with_name(self._path.name + suffix)
            if other.exists():
                os.replace(other, aside.with_name(aside.name + suffix))
        return aside


def _safely(hook: Done) -> None:
    """What is committed must be told to everyone who waits, whatever one of them makes of it."""
    try:
        hook()
    except Exception:
        log.exception("a hook after a commit failed")


def _is_damage(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _is_the_disks(error: BaseException) -> bool:
    """Whether the whole commit is lost (disk full, locked, damaged), not only one caller's work."""
    return isinstance(error, sqlite3.Error) and not isinstance(
        error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError
    )


def migrate(db: sqlite3.Connection) -> None:
    """Runs the numbered files of `store/migrations` that this database has not seen, each in a transaction of its
    own. Raises StoreError for a database from a newer version."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    files = sorted(
        (entry for entry in resources.files("bridge.store").joinpath("migrations").iterdir()),
        key=lambda entry: entry.name,
    )
    scripts = {int(entry.name[:4]): entry.read_text() for entry in files if entry.name.endswith(".sql")}
    if version > max(scripts):
        raise StoreError(
            f"the state database is of a newer version ({version}); this one knows {max(scripts)}"
        )
    for number in sorted(scripts):
        if number > version:
            db.executescript(f"BEGIN;\n{scripts[number]}\nPRAGMA user_version={number};\nCOMMIT;")
