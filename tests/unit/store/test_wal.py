"""The write-ahead log: long where the disk has room, short where it has not, gone where it is full."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.store.sqlite.wal import AMPLE_BYTES, GIVE_BACK_EVERY_S, TIGHT_BYTES, WriteAheadLog

MIB = 1024**2


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    opened.execute("PRAGMA journal_mode=WAL")
    opened.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
    yield opened
    opened.close()


def write(db: sqlite3.Connection, mib: int) -> None:
    """The same megabyte again and again."""
    for _ in range(mib):
        db.execute("INSERT OR REPLACE INTO t VALUES (1, randomblob(1048576))")


def size(tmp_path: Path) -> int:
    return (tmp_path / "state.db-wal").stat().st_size


def test_log_is_long_where_there_is_room(db: sqlite3.Connection, tmp_path: Path) -> None:
    WriteAheadLog(db)
    write(db, 10)
    assert size(tmp_path) > 8 * MIB
    write(db, 40)
    assert size(tmp_path) < AMPLE_BYTES + 2 * MIB


def test_log_gives_its_room_back_when_the_disk_runs_low_and_stays_short(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    log = WriteAheadLog(db)
    write(db, 10)
    log.fit(tight=True)
    assert size(tmp_path) == 0
    write(db, 20)
    assert size(tmp_path) < TIGHT_BYTES + 2 * MIB
    log.fit(tight=False)
    write(db, 10)
    assert size(tmp_path) > 8 * MIB


def test_full_disk_gets_the_room_of_the_log_not_more_often_than_it_helps(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    log = WriteAheadLog(db)
    for now_s, is_given in ((100.0, True), (100.5, False), (100.0 + GIVE_BACK_EVERY_S, True)):
        write(db, 2)
        log.give_back(now_s)
        assert (size(tmp_path) == 0) is is_given
    assert db.execute("SELECT length(body) FROM t").fetchone() == (MIB,)


def test_a_closed_file_is_nobodys_trouble(db: sqlite3.Connection, tmp_path: Path) -> None:
    log = WriteAheadLog(db)
    write(db, 2)
    db.close()
    log.fit(tight=True)
    log.give_back(1.0)
    again = sqlite3.connect(tmp_path / "state.db")
    assert again.execute("SELECT length(body) FROM t").fetchone() == (MIB,)
    again.close()
