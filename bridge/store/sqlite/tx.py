"""The tables of one connection, as a transaction sees them."""

from __future__ import annotations

import sqlite3

from bridge.store.protocols import Done
from bridge.store.sqlite.backfills import SqliteBackfills
from bridge.store.sqlite.charts import SqliteCharts
from bridge.store.sqlite.devices import SqliteAlarms, SqliteDevices, SqliteSeen
from bridge.store.sqlite.gaps import SqliteCadences, SqliteGaps
from bridge.store.sqlite.journal import SqliteDeliveries, SqliteEarlyWords, SqliteJournal
from bridge.store.sqlite.outbox import Mark, SqliteOutbox
from bridge.store.sqlite.tables import (
    SqliteBudgets,
    SqliteDeadLetters,
    SqliteLocks,
    SqliteRetained,
    SqliteVault,
)


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
