"""The gap ledger's tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bridge.domain.text import dumps, restored
from bridge.store.protocols import CadenceRow, GapRow, GapState
from bridge.store.sqlite.kept import Kept

_COLUMNS = (
    "key, account, device, start_ms, end_ms, state, certain, start_dim, end_dim, tries, next_ms, ref, noted_ms,"
    " message"
)
_Cadence = tuple[list[int], bool, float]
"""Distances, whether it was dim, the brightest power."""
KEPT_CADENCES = 4096
_SELECT = f"SELECT {_COLUMNS} FROM gap"  # noqa: S608 - a fixed text


class SqliteGaps:
    """GapTable."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def insert(self, row: GapRow) -> int:
        done = self._db.execute(
            f"INSERT INTO gap ({_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a fixed text
            _values(row),
        )
        return int(done.lastrowid or 0)

    def save(self, row: GapRow) -> None:
        self._db.execute(
            "UPDATE gap SET account = ?, device = ?, start_ms = ?, end_ms = ?, state = ?, certain = ?, start_dim = ?,"
            " end_dim = ?, tries = ?, next_ms = ?, ref = ?, noted_ms = ?, message = ? WHERE key = ?",
            (*_values(row), row.key),
        )

    def drop(self, key: int) -> None:
        self._db.execute("DELETE FROM gap WHERE key = ?", (key,))

    def around(self, account: str, device: str, at_ms: int) -> GapRow | None:
        rows = self._rows(
            "WHERE account = ? AND device = ? AND start_ms < ? AND end_ms > ? LIMIT 1",
            (account, device, at_ms, at_ms),
        )
        return rows[0] if rows else None

    def of_ref(self, ref: str, account: str, device: str) -> Sequence[GapRow]:
        return self._rows(
            "WHERE account = ? AND device = ? AND ref = ? ORDER BY start_ms", (account, device, ref)
        )

    def due(self, account: str, now_ms: int, limit: int) -> Sequence[GapRow]:
        return self._rows(
            "WHERE account = ? AND state = 'missing' AND next_ms <= ? ORDER BY next_ms, key LIMIT ?",
            (account, now_ms, limit),
        )

    def find(
        self,
        account: str | None = None,
        device: str | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        states: Iterable[GapState] | None = None,
    ) -> Sequence[GapRow]:
        wanted: list[tuple[str, Any]] = [
            ("account = ?", account),
            ("device = ?", device),
            ("end_ms > ?", start_ms),
            ("start_ms < ?", end_ms),
        ]
        parts = [(text, value) for text, value in wanted if value is not None]
        text = " AND ".join(part for part, _ in parts) or "1"
        found = self._rows(
            f"WHERE {text} ORDER BY account, device, start_ms", tuple(value for _, value in parts)
        )
        chosen = frozenset(states) if states is not None else None
        return [row for row in found if chosen is None or row.state in chosen]

    def count(self) -> Mapping[tuple[str, GapState], int]:
        rows = self._db.execute(
            "SELECT account, state, count(*) FROM gap WHERE certain OR NOT start_dim OR NOT end_dim"
            " GROUP BY account, state"
        )
        return {(account, GapState(state)): int(count) for account, state, count in rows}

    def forget_before(self, ms: int) -> None:
        self._db.execute("DELETE FROM gap WHERE state = 'unfillable' AND end_ms < ?", (ms,))

    def _rows(self, where: str, values: tuple[Any, ...]) -> list[GapRow]:
        return [_row(found) for found in self._db.execute(f"{_SELECT} {where}", values)]


class SqliteCadences:
    """CadenceTable. Keeps what was read or written last: most devices keep their rhythm, and each record asks for it.
    A rollback forgets what it touched."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.kept: Kept[tuple[str, str], _Cadence] = Kept(KEPT_CADENCES)

    def get(self, account: str, device: str) -> CadenceRow | None:
        kept = self.kept.get((account, device))
        if kept is None:
            row = self._db.execute(
                "SELECT distances, dim, brightest_w FROM cadence WHERE account = ? AND device = ?",
                (account, device),
            ).fetchone()
            if row is None:
                return None
            kept = restored(row[0]), bool(row[1]), row[2]
            self.kept.keep((account, device), kept)
        distances, dim, brightest_w = kept
        return CadenceRow(account, device, list(distances), dim, brightest_w)

    def save(self, row: CadenceRow) -> None:
        key = row.account, row.device
        now = list(row.distances), row.dim, row.brightest_w
        if self.kept.get(key) == now:
            return
        self.kept.keep(key, now)
        self._db.execute(
            "INSERT INTO cadence (account, device, distances, dim, brightest_w) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (account, device) DO UPDATE SET distances = excluded.distances, dim = excluded.dim,"
            " brightest_w = excluded.brightest_w",
            (row.account, row.device, dumps(row.distances), int(row.dim), row.brightest_w),
        )


def _values(row: GapRow) -> tuple[Any, ...]:
    return (
        row.account,
        row.device,
        row.start_ms,
        row.end_ms,
        str(row.state),
        int(row.certain),
        int(row.start_dim),
        int(row.end_dim),
        row.tries,
        row.next_ms,
        row.ref,
        row.noted_ms,
        row.message,
    )


def _row(found: tuple[Any, ...]) -> GapRow:
    key, account, device, start_ms, end_ms, state, certain, start_dim, end_dim, *rest = found
    return GapRow(
        key,
        account,
        device,
        start_ms,
        end_ms,
        GapState(state),
        bool(certain),
        bool(start_dim),
        bool(end_dim),
        *rest,
    )
