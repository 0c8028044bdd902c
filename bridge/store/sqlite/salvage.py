"""What can still be read of a damaged database goes into the new one: whole tables, or all rows but those of the
damaged pages. Without it, a single bad page would lose every acknowledged message and every used command `id`.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bridge.domain.text import restored

log = logging.getLogger("bridge.store")

HEADER_BYTES = 100
PAGE_BYTES = 4096
"""SQLite's default, which our files have."""
PROBES = 20_000
"""How often a table may be tried: each damaged page costs a few tries per row that lay on it."""
ROWS_AT_ONCE = 500
_NO_JSON = frozenset({("outbox", "correlation"), ("journal", "correlation"), ("delivery", "digest")})
_NO_JSON_TABLES = frozenset({"dead_letter"})
_WORDS = (b"", b"online", b"offline")
_PARENTS_FIRST = {"journal": 0, "journal_step": 2}

Row = tuple[Any, ...]


def salvage(damaged: Path, fresh: Path, db: sqlite3.Connection) -> dict[str, int]:
    """Copies what is readable of `damaged` (with its -wal beside it) into `db`, which is open on `fresh` and has the
    newest schema and no rows; rows saved by table. Never raises: what cannot be read is not there."""
    tables = _tables(db)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the attempts take pages from the file
    for attempt in (_as_it_is, _with_header, _with_first_page):
        copy = damaged.with_name(f"{damaged.name}.salvage")
        try:
            attempt(damaged, fresh, copy)
            saved = _copy_all(copy, db, tables)
        except (sqlite3.Error, OSError) as error:
            log.debug("store.salvage_failed", extra={"attempt": attempt.__name__, "reason": str(error)})
            continue
        finally:
            _remove(copy)
        if saved:
            return saved
    return {}


# the file made readable -------------------------------------------------------------------------------------------


def _as_it_is(damaged: Path, _fresh: Path, copy: Path) -> None:
    shutil.copyfile(damaged, copy)
    wal = damaged.with_name(damaged.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        shutil.copyfile(wal, copy.with_name(copy.name + "-wal"))
        return
    whole, said = copy.stat().st_size // PAGE_BYTES, int.from_bytes(copy.read_bytes()[28:32], "big")
    if 0 < whole < said:  # cut off: SQLite would refuse all of it
        with copy.open("r+b") as file:
            file.truncate(whole * PAGE_BYTES)
            file.seek(28)
            file.write(whole.to_bytes(4, "big"))


def _with_header(damaged: Path, fresh: Path, copy: Path) -> None:
    """The header of a new database of the same schema: all of it but the counters is the same."""
    _as_it_is(damaged, fresh, copy)
    _patch(fresh, copy, HEADER_BYTES)


def _with_first_page(damaged: Path, fresh: Path, copy: Path) -> None:
    """The whole first page: where the tables begin is decided by the order in which the migrations made them."""
    _as_it_is(damaged, fresh, copy)
    _patch(fresh, copy, PAGE_BYTES)


def _patch(fresh: Path, copy: Path, count: int) -> None:
    head = bytearray(fresh.read_bytes()[:count])
    pages = copy.stat().st_size // PAGE_BYTES
    head[28:32] = pages.to_bytes(4, "big")
    head[32:40] = bytes(8)  # no list of free pages: it is not needed for reading
    with copy.open("r+b") as file:
        file.write(head)


def _remove(copy: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)


# rows -------------------------------------------------------------------------------------------------------------


def _tables(db: sqlite3.Connection) -> list[str]:
    names = [
        name
        for (name,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        )
    ]
    return sorted(names, key=lambda name: (_PARENTS_FIRST.get(name, 1), name))


def _copy_all(copy: Path, db: sqlite3.Connection, tables: Sequence[str]) -> dict[str, int]:
    source = sqlite3.connect(copy, isolation_level=None)
    saved: dict[str, int] = {}
    try:
        source.execute("PRAGMA cell_size_check=ON")  # else garbage may pass for rows
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        db.execute("BEGIN IMMEDIATE")
        try:
            for table in tables:
                count = _copy_table(source, db, table)
                if count:
                    saved[table] = count
            _go_on_counting(source, db)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
    finally:
        source.close()
    return saved


def _copy_table(source: sqlite3.Connection, db: sqlite3.Connection, table: str) -> int:
    try:
        known = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
        key = [row[1] for row in sorted(db.execute(f"PRAGMA table_info({table})"), key=_key_place) if row[5]]
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] in known]
    except sqlite3.DatabaseError:
        return 0
    if not columns:
        return 0
    ordered = "rowid" if _has_rowid(db, table) else ", ".join(key)
    rows = _Rows(source, table, columns, ordered)
    marks = ", ".join("?" for _ in columns)
    documents = [
        place
        for place, column in enumerate(columns)
        if table not in _NO_JSON_TABLES and (table, column) not in _NO_JSON
    ]
    count = 0
    for row in rows.all() if ordered == "rowid" else rows.from_both_ends():
        if not all(_is_sound(row[place]) for place in documents):
            continue
        try:
            added = db.execute(
                f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})",  # noqa: S608 - names of our schema
                row,
            )
        except sqlite3.Error:
            continue  # a row of garbage that breaks a rule of the table
        count += added.rowcount
    return count


def _is_sound(value: object) -> bool:
    """A page has no checksum: what was written over the middle of a document would be taken for it."""
    if not isinstance(value, bytes) or value in _WORDS:
        return True
    try:
        restored(value)
    except ValueError:
        return False
    return True


def _key_place(row: Row) -> int:
    return int(row[5])


def _has_rowid(db: sqlite3.Connection, table: str) -> bool:
    (text,) = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return "WITHOUT ROWID" not in text.upper()


def _go_on_counting(source: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Numbers that were given once are not given again."""
    try:
        rows = source.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    except sqlite3.DatabaseError:
        return
    for name, seq in rows:
        if isinstance(name, str) and isinstance(seq, int):
            done = db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (seq, name))
            if not done.rowcount:
                db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, seq))


class _Rows:
    """The readable rows of one table."""

    def __init__(self, source: sqlite3.Connection, table: str, columns: Sequence[str], ordered: str) -> None:
        self._source = source
        self._select = f"SELECT {ordered}, {', '.join(columns)} FROM {table}"  # noqa: S608 - names of our schema
        self._ordered = ordered
        self._probes = PROBES

    def from_both_ends(self) -> Iterator[Row]:
        """For tables without row numbers: all, or what lies before and after the damage."""
        keys = self._ordered.count(",") + 1
        for direction in ("ASC", "DESC"):
            order = ", ".join(f"{column} {direction}" for column in self._ordered.split(", "))
            try:
                for row in self._source.execute(f"{self._select} ORDER BY {order}"):
                    yield row[keys:]
            except sqlite3.DatabaseError:
                continue
            return

    def all(self) -> Iterator[Row]:
        """For tables with row numbers: everything but what lies on damaged pages, in the order of the numbers."""
        first = self._end("ASC", -(2**63))
        last = self._end("DESC", 2**63 - 1)
        yield from self._between(first, last)

    def _end(self, direction: str, otherwise: int) -> int:
        try:
            found = self._source.execute(f"{self._select} ORDER BY rowid {direction} LIMIT 1").fetchone()
        except sqlite3.DatabaseError:
            # not the number itself, but a bound that halving comes to terms with
            return otherwise if direction == "ASC" and otherwise > 0 else (0 if direction == "ASC" else 2**40)
        return int(found[0]) if found else 0

    def _between(self, low: int, high: int) -> Iterator[Row]:
        """Forwards until a damaged page; then the rest halved until the damage is enclosed."""
        while low <= high and self._probes > 0:
            self._probes -= 1
            try:
                rows = self._source.execute(
                    f"{self._select} WHERE rowid BETWEEN ? AND ? ORDER BY rowid LIMIT {ROWS_AT_ONCE}",
                    (low, high),
                ).fetchall()
            except sqlite3.DatabaseError:
                break
            for row in rows:
                yield row[1:]
            if len(rows) < ROWS_AT_ONCE:
                return
            low = int(rows[-1][0]) + 1
        if low < high and self._probes > 0:
            middle = (low + high) // 2
            yield from self._between(low, middle)
            yield from self._between(middle + 1, high)
