"""The file of the database: taken for this process, opened, brought up to date, moved aside where it is damaged."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from importlib import resources
from pathlib import Path
from typing import IO

from bridge.domain.errors import StoreError, StoreInUse
from bridge.store.sqlite.salvage import salvage

CACHE_KIB = 16 * 1024
"""Pages kept in memory: the rows of a fleet that pushes all the time."""

log = logging.getLogger("bridge.store")


class DatabaseFile:
    """One file and its lock. `moved_aside` names the damaged one that it replaces, `salvaged` the rows by table that
    were read of that."""

    def __init__(self, path: Path, busy_ms: int) -> None:
        self._path = path.resolve()  # SQLite puts its files beside the file itself, not beside a link to it
        self._busy_ms = busy_ms
        self._lock: IO[str] | None = None
        self.moved_aside: Path | None = None
        self.salvaged: dict[str, int] = {}

    @property
    def log_path(self) -> Path:
        """SQLite's write-ahead log."""
        return self._path.with_name(self._path.name + "-wal")

    def open(self) -> sqlite3.Connection:
        """Takes the file for this process. Raises StoreInUse, sqlite3.Error, OSError, StoreError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._path.with_name(self._path.name + ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreInUse(f"{self._path} is in use by another meterbridge") from None
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise
            return self.begin_anew(str(error))

    def release(self) -> None:
        """Another process may take it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def begin_anew(self, reason: str) -> sqlite3.Connection:
        """A new file with all that can be read of the damaged one."""
        aside = self._move_aside(reason)
        db = self._connect()
        self.salvaged = salvage(aside, self._path, db)
        log.warning("store.salvaged", extra={"rows": self.salvaged})
        self.moved_aside = aside
        return db

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
            db.execute("PRAGMA synchronous=NORMAL")  # each COMMIT is flushed by us
            db.execute("PRAGMA foreign_keys=ON")
            db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            migrate(db, self._path)
        except BaseException:
            db.close()
            raise
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


def newest_version() -> int:
    """The version of the database that this meterbridge writes."""
    return max(_scripts())


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Runs the numbered files of `store/migrations` that this database has not seen, each in a transaction of its
    own. Raises StoreError, which names `path`, for a database from a newer version."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    scripts = _scripts()
    if version > max(scripts):
        raise StoreError(too_new(path, version))
    for number in sorted(scripts):
        if number > version:
            db.executescript(f"BEGIN;\n{scripts[number]}\nPRAGMA user_version={number};\nCOMMIT;")


def too_new(path: Path, version: int) -> str:
    """What is said of a database that a newer meterbridge has written."""
    return (
        f"the state database {path} is of a newer version ({version}); this meterbridge knows {newest_version()}: "
        "run the newer one, or name another file"
    )


def _scripts() -> dict[int, str]:
    entries = resources.files("bridge.store").joinpath("migrations").iterdir()
    return {int(entry.name[:4]): entry.read_text() for entry in entries if entry.name.endswith(".sql")}
