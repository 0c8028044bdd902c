"""How long SQLite's write-ahead log may grow, and when it gives its room on the disk back."""

from __future__ import annotations

import contextlib
import sqlite3

AMPLE_BYTES = 16 * 1024**2
"""After so much the log goes into the database: a page that a thousand commits changed is written there once. With
SQLite's own 4 MB every page of a pushing fleet was written twice."""
TIGHT_BYTES = 1024**2
"""The same while the disk has little room."""
GIVE_BACK_EVERY_S = 1.0


class WriteAheadLog:
    """The log of one connection. Not thread-safe: it belongs to the writer."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        (self._page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        self._tight: bool | None = None
        self._gave_back_at: float | None = None
        self.fit(tight=False)

    def fit(self, *, tight: bool) -> None:
        """Between two commits: short while the disk has little room."""
        if tight is self._tight:
            return
        self._tight = tight
        most = TIGHT_BYTES if tight else AMPLE_BYTES
        with contextlib.suppress(sqlite3.Error):
            self._db.execute(f"PRAGMA wal_autocheckpoint={most // self._page_bytes}")
            if tight:
                self._empty()

    def give_back(self, now_s: float) -> None:
        """The disk is full: what lies in the log goes to its place in the database, and the room of the log is free
        for the next commit. Without this nothing could be written any more, not even what makes room."""
        if self._gave_back_at is not None and now_s - self._gave_back_at < GIVE_BACK_EVERY_S:
            return
        self._gave_back_at = now_s
        with contextlib.suppress(sqlite3.Error):
            self._empty()

    def _empty(self) -> None:
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
