"""What is read of the devices' past, and what of it waits for its turn."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from bridge.domain.text import dumps, restored
from bridge.store.protocols import BackfillRow, BackfillState, HeldReading

_COLUMNS = [field.name for field in fields(BackfillRow)]
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM backfill"  # noqa: S608 - fixed names
_INSERT = f"INSERT INTO backfill ({', '.join(_COLUMNS[1:])}) VALUES ({', '.join('?' * (len(_COLUMNS) - 1))})"  # noqa: S608
_UPDATE = f"UPDATE backfill SET {', '.join(f'{name} = ?' for name in _COLUMNS[1:])} WHERE key = ?"  # noqa: S608
_CURSOR = _COLUMNS.index("cursor")


class SqliteBackfills:
    """BackfillTable."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def insert(self, row: BackfillRow) -> int:
        return int(self._db.execute(_INSERT, _values(row)[1:]).lastrowid or 0)

    def save(self, row: BackfillRow) -> None:
        self._db.execute(_UPDATE, (*_values(row)[1:], row.key))

    def get(self, key: int) -> BackfillRow | None:
        values = self._db.execute(_SELECT + " WHERE key = ?", (key,)).fetchone()
        return _row(values) if values else None

    def of_ref(self, ref: str) -> Sequence[BackfillRow]:
        return [_row(values) for values in self._db.execute(_SELECT + " WHERE ref = ? ORDER BY key", (ref,))]

    def unfinished(self) -> Sequence[BackfillRow]:
        return [_row(values) for values in self._db.execute(_SELECT + " WHERE state = 'open' ORDER BY key")]

    def drop(self, ref: str) -> None:
        self._db.execute("DELETE FROM backfill WHERE ref = ?", (ref,))

    def hold(self, key: int, readings: Iterable[HeldReading]) -> None:
        for reading in readings:
            body = dumps(reading.body)
            digest = hashlib.blake2b(body, digest_size=8).digest()
            self._db.execute(
                "INSERT INTO backfill_held (key, at_ms, digest, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (key, reading.at_ms, digest, body),
            )

    def take_held(self, key: int, before_ms: int | None) -> Sequence[HeldReading]:
        tail, args = (" AND at_ms < ?", (key, before_ms)) if before_ms is not None else ("", (key,))
        where = f"FROM backfill_held WHERE key = ?{tail}"
        rows = self._db.execute(f"SELECT at_ms, body {where} ORDER BY at_ms, digest", args).fetchall()
        self._db.execute(f"DELETE {where}", args)
        return [HeldReading(at_ms, restored(body)) for at_ms, body in rows]

    def forget_before(self, ms: int) -> None:
        self._db.execute("DELETE FROM backfill WHERE state <> 'open' AND updated_ms < ?", (ms,))


def _values(row: BackfillRow) -> list[Any]:
    values = [getattr(row, name) for name in _COLUMNS]
    values[_CURSOR] = dumps(row.cursor) if row.cursor is not None else None
    return values


def _row(values: Sequence[Any]) -> BackfillRow:
    row = BackfillRow(*values)
    row.cursor = restored(row.cursor) if row.cursor is not None else None
    row.state = BackfillState(row.state)
    return row
