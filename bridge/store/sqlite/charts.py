"""What the charts of the status page show after a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence


class SqliteCharts:
    """ChartTable."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, account: str, at_ms: int, body: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO chart VALUES (?, ?, ?)", (account, at_ms, body))

    def of_account(self, account: str) -> Sequence[bytes]:
        rows = self._db.execute("SELECT body FROM chart WHERE account = ? ORDER BY at_ms", (account,))
        return [body for (body,) in rows]

    def forget_outside(self, first_ms: int, last_ms: int) -> None:
        self._db.execute("DELETE FROM chart WHERE at_ms NOT BETWEEN ? AND ?", (first_ms, last_ms))
