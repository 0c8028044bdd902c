"""The state database, read without disturbing the gateway that may be writing it. Never makes or changes a file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bridge.cli.failures import Failure
from bridge.pace.gate import SlotNote
from bridge.store.protocols import (
    BackfillRow,
    BudgetTable,
    DeadLetterTable,
    DeviceTable,
    GapTable,
    JournalTable,
    LockTable,
    VaultTable,
)
from bridge.store.sqlite.backfills import SqliteBackfills
from bridge.store.sqlite.devices import SqliteDevices
from bridge.store.sqlite.file import newest_version, too_new
from bridge.store.sqlite.gaps import SqliteGaps
from bridge.store.sqlite.journal import SqliteJournal
from bridge.store.sqlite.tables import SqliteBudgets, SqliteDeadLetters, SqliteLocks, SqliteVault

BUSY_S = 5.0


@dataclass(frozen=True, slots=True)
class Archive:
    """The tables as they are at the first look. Only their reading methods work."""

    path: Path
    version: int
    journal: JournalTable
    devices: DeviceTable
    dead_letters: DeadLetterTable
    budgets: BudgetTable
    vault: VaultTable
    locks: LockTable
    gaps: GapTable
    rows: dict[str, int]
    losses: dict[int, int]

    def slots(self) -> list[SlotNote]:
        """The reservations in the vendors' limits that count."""
        return [SlotNote(row.owner, row.limit, row.key, row.at, row.blocked) for row in self.budgets.all()]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive | None]:
    """The archive in this file; None if there is no file yet, or nothing in it. Raises Failure."""
    if not _exists(path):
        yield None
        return
    try:
        with contextlib.closing(_connect(path)) as db:
            yield _archive(path, db)
    except sqlite3.Error as error:
        raise Failure(f"the state database {path} cannot be read: {error}") from None


def backfill_rows(path: Path, ref: str) -> Sequence[BackfillRow]:
    """How far a backfill is, at little cost: this is looked at again and again. Raises Failure."""
    if not _exists(path):
        return []
    try:
        with contextlib.closing(_connect(path)) as db:
            return SqliteBackfills(db).of_ref(ref)
    except sqlite3.Error as error:
        raise Failure(f"the state database {path} cannot be read: {error}") from None


def required(archive: Archive | None, path: Path) -> Archive:
    """The archive, or a Failure that says that there is none."""
    if archive is None:
        raise Failure(f"there is no state database {path} yet: `meterbridge run` makes it")
    return archive


def _exists(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Failure(
            f"the state database {path} cannot be read: {error.strerror} (only the gateway's own user and root may)"
        ) from None


def _connect(path: Path) -> sqlite3.Connection:
    # without a write-ahead log nobody writes, and `immutable` keeps SQLite from making one beside the file
    still = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
    uri = f"file:{quote(str(path.absolute()))}?mode=ro{still}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)


def _archive(path: Path, db: sqlite3.Connection) -> Archive | None:
    db.execute("BEGIN")  # one view of everything, however long it is looked at
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if not version:
        return None
    if version > newest_version():
        raise Failure(too_new(path, version))
    names = [
        row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    ]
    counted = {
        name: int(db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])  # noqa: S608 - names of its own schema
        for name in names
        if not name.startswith("sqlite_")
    }
    # a database that the newest version has not opened yet still counts in the old table
    dropped = "SELECT klass, shed FROM tally" if "tally" in names else "SELECT klass, count FROM loss"
    losses = {int(klass): int(count) for klass, count in db.execute(dropped) if count}
    return Archive(
        path=path,
        version=version,
        journal=SqliteJournal(db),
        devices=SqliteDevices(db),
        dead_letters=SqliteDeadLetters(db),
        budgets=SqliteBudgets(db),
        vault=SqliteVault(db),
        locks=SqliteLocks(db),
        gaps=SqliteGaps(db),
        rows=counted,
        losses=losses,
    )
