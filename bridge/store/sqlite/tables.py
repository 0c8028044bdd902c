"""Outbox, dead letters, ledger, locks, counters, small values: the tables that do not know a command or a device."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from bridge.contract.publication import SHEDDABLE, Class, Publication
from bridge.domain.text import Json, dumps, restored
from bridge.store.protocols import DeadLetter, LockRow, Loss, OutboxRow, RetainedRow, SlotRow

MAX_DEAD_LETTERS = 1000
_SIZE = "length(body) + length(CAST(topic AS BLOB))"
_OLDEST = f"""seq IN (SELECT seq FROM (
    SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM (
        SELECT seq, {_SIZE} AS size FROM outbox WHERE klass = ? ORDER BY seq LIMIT 500
    )) WHERE before < ?)"""  # noqa: S608 - a fixed text
"""The oldest rows of a class, as few as free so many bytes, at most 500."""

OutboxSums = tuple[int, int, dict[int, int], int]


class SqliteOutbox:
    """OutboxTable. Knows how many bytes wait; sheds telemetry, then history, when they would exceed the bound."""

    def __init__(self, db: sqlite3.Connection, spool_max_bytes: int) -> None:
        self._db = db
        self._max_bytes = spool_max_bytes
        self._rows, self._bytes = db.execute(
            f"SELECT count(*), coalesce(sum({_SIZE}), 0) FROM outbox"  # noqa: S608 - a fixed text
        ).fetchone()
        self.added: list[OutboxRow] = []
        self.shed: dict[int, int] = {}
        self.shed_seqs: list[int] = []
        self.now_ms = 0

    def add(self, publication: Publication) -> int:
        row = self._db.execute(
            "INSERT INTO outbox (topic, body, klass, retain, account, device, correlation, at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                publication.topic,
                publication.body,
                int(publication.klass),
                int(publication.retain),
                publication.account,
                publication.device,
                publication.correlation,
                self.now_ms,
            ),
        )
        seq = int(row.lastrowid or 0)
        self._rows += 1
        self._bytes += len(publication.body) + len(publication.topic.encode())
        self.added.append(OutboxRow(seq, publication))
        if self._bytes > self._max_bytes:
            self._shed()
        return seq

    def read(self, after: int, limit: int) -> Sequence[OutboxRow]:
        rows = self._db.execute(
            "SELECT seq, topic, body, klass, retain, account, device, correlation FROM outbox"
            " WHERE seq > ? ORDER BY seq LIMIT ?",
            (after, limit),
        )
        return [
            OutboxRow(seq, Publication(topic, body, Class(klass), bool(retain), account, device, correlation))
            for seq, topic, body, klass, retain, account, device, correlation in rows
        ]

    def confirm(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            self._delete("seq = ?", (seq,))

    def waiting(self) -> tuple[int, int, int | None]:
        oldest = self._db.execute("SELECT at_ms FROM outbox ORDER BY seq LIMIT 1").fetchone()
        return self._rows, self._bytes, oldest[0] if oldest else None

    def waiting_retained(self) -> set[str]:
        return {topic for (topic,) in self._db.execute("SELECT DISTINCT topic FROM outbox WHERE retain = 1")}

    def waiting_by_class(self) -> Mapping[int, int]:
        return dict(self._db.execute("SELECT klass, count(*) FROM outbox GROUP BY klass").fetchall())

    def losses(self) -> Sequence[Loss]:
        rows = self._db.execute("SELECT klass, count, first_ms, last_ms FROM loss ORDER BY klass")
        return [Loss(*row) for row in rows]

    def sums(self) -> OutboxSums:
        """What is remembered beside the table, for `reset`."""
        return self._rows, self._bytes, dict(self.shed), len(self.shed_seqs)

    def reset(self, sums: OutboxSums) -> None:
        """After a rollback to where `sums` was called."""
        self._rows, self._bytes, shed, shed_count = sums
        self.shed = dict(shed)
        del self.shed_seqs[shed_count:]

    def _delete(self, where: str, args: tuple[int, ...]) -> list[int]:
        gone = self._db.execute(
            f"DELETE FROM outbox WHERE {where} RETURNING seq, {_SIZE}",  # noqa: S608 - fixed texts
            args,
        ).fetchall()
        self._rows -= len(gone)
        self._bytes -= sum(size for _seq, size in gone)
        return [seq for seq, _size in gone]

    def _shed(self) -> None:
        """Drops the oldest of the least important until a tenth of the bound is free again, or nothing is left to
        drop. The rows that the publisher already has in flight may be among them: their confirmation finds nothing."""
        goal = self._max_bytes * 9 // 10
        for klass in SHEDDABLE:
            while self._bytes > goal:
                seqs = self._delete(_OLDEST, (int(klass), self._bytes - goal))
                if not seqs:
                    break
                count = len(seqs)
                self.shed_seqs.extend(seqs)
                self.shed[int(klass)] = self.shed.get(int(klass), 0) + count
                self._db.execute(
                    "INSERT INTO loss (klass, count, first_ms, last_ms) VALUES (?1, ?2, ?3, ?3)"
                    " ON CONFLICT (klass) DO UPDATE SET count = count + ?2, last_ms = ?3",
                    (int(klass), count, self.now_ms),
                )


class SqliteDeadLetters:
    """DeadLetterTable, bounded to MAX_DEAD_LETTERS rows."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, account: str, source: str, reason: str, body: bytes, at_ms: int) -> bool:
        digest = hashlib.sha256(body).digest()
        known = self._db.execute(
            "UPDATE dead_letter SET count = count + 1, last_ms = ?, reason = ?"
            " WHERE account = ? AND source = ? AND digest = ?",
            (at_ms, reason, account, source, digest),
        )
        if known.rowcount:
            return False
        self._db.execute(
            "INSERT INTO dead_letter (account, source, reason, body, digest, count, first_ms, last_ms)"
            " VALUES (?, ?, ?, ?, ?, 1, ?, ?)",
            (account, source, reason, body, digest, at_ms, at_ms),
        )
        self._db.execute(
            "DELETE FROM dead_letter WHERE key <= (SELECT max(key) FROM dead_letter) - ?", (MAX_DEAD_LETTERS,)
        )
        return True

    def list(self, limit: int) -> Sequence[DeadLetter]:
        rows = self._db.execute(
            "SELECT key, account, source, reason, body, count, first_ms, last_ms FROM dead_letter"
            " ORDER BY key DESC LIMIT ?",
            (limit,),
        )
        return [DeadLetter(*row) for row in rows]

    def get(self, key: int) -> DeadLetter | None:
        row = self._db.execute(
            "SELECT key, account, source, reason, body, count, first_ms, last_ms FROM dead_letter WHERE key = ?",
            (key,),
        ).fetchone()
        return DeadLetter(*row) if row else None

    def drop(self, key: int) -> bool:
        return self._db.execute("DELETE FROM dead_letter WHERE key = ?", (key,)).rowcount > 0

    def count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM dead_letter").fetchone()[0])


class SqliteRetained:
    """RetainedTable."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, topic: str) -> bytes | None:
        row = self._db.execute("SELECT body FROM retained WHERE topic = ?", (topic,)).fetchone()
        return row[0] if row else None

    def put(self, row: RetainedRow) -> None:
        self._db.execute(
            "INSERT INTO retained (topic, account, device, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (topic) DO UPDATE SET body = excluded.body",
            (row.topic, row.account, row.device, row.body),
        )

    def drop(self, topic: str) -> None:
        self._db.execute("DELETE FROM retained WHERE topic = ?", (topic,))

    def all(self, account: str | None = None, device: str | None = None) -> Sequence[RetainedRow]:
        rows = self._db.execute(
            "SELECT topic, account, device, body FROM retained"
            " WHERE (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR device = ?2) ORDER BY topic",
            (account, device),
        )
        return [RetainedRow(*row) for row in rows]


class SqliteLocks:
    """LockTable."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, row: LockRow) -> None:
        self._db.execute(
            "INSERT INTO lock (account, device, reason, at_ms) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (account, device) DO UPDATE SET reason = excluded.reason, at_ms = excluded.at_ms",
            (row.account, row.device, row.reason, row.at_ms),
        )

    def drop(self, account: str, device: str) -> int:
        return self._db.execute(
            "DELETE FROM lock WHERE (?1 = '' OR account = ?1) AND (?2 = '' OR device = ?2)", (account, device)
        ).rowcount

    def covering(self, account: str, device: str | None) -> LockRow | None:
        row = self._db.execute(
            "SELECT account, device, reason, at_ms FROM lock"
            " WHERE (account = '' OR account = ?1) AND (device = '' OR device = ?2) LIMIT 1",
            (account, device or ""),
        ).fetchone()
        return LockRow(*row) if row else None

    def all(self) -> Sequence[LockRow]:
        rows = self._db.execute("SELECT account, device, reason, at_ms FROM lock ORDER BY account, device")
        return [LockRow(*row) for row in rows]


class SqliteBudgets:
    """BudgetTable."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, rows: Iterable[SlotRow]) -> None:
        self._db.executemany(
            "INSERT INTO slot (owner, limit_name, key, at, blocked) VALUES (?, ?, ?, ?, ?)",
            [(row.owner, row.limit, row.key, row.at, int(row.blocked)) for row in rows],
        )

    def remove(self, row: SlotRow) -> None:
        self._db.execute(
            # one row only: calls that start together are counted under the same time
            "DELETE FROM slot WHERE rowid = (SELECT rowid FROM slot"
            " WHERE owner = ? AND limit_name = ? AND key = ? AND at = ? AND blocked = ? LIMIT 1)",
            (row.owner, row.limit, row.key, row.at, int(row.blocked)),
        )

    def all(self) -> Sequence[SlotRow]:
        rows = self._db.execute("SELECT owner, limit_name, key, at, blocked FROM slot ORDER BY at")
        return [SlotRow(owner, limit, key, at, bool(blocked)) for owner, limit, key, at, blocked in rows]

    def forget_before(self, owner: str, limit: str, at: float) -> None:
        self._db.execute("DELETE FROM slot WHERE owner = ? AND limit_name = ? AND at < ?", (owner, limit, at))


class SqliteVault:
    """VaultTable."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, owner: str, key: str) -> Json:
        row = self._db.execute("SELECT value FROM vault WHERE owner = ? AND key = ?", (owner, key)).fetchone()
        return restored(row[0]) if row else None

    def put(self, owner: str, key: str, value: Json) -> None:
        if value is None:
            self._db.execute("DELETE FROM vault WHERE owner = ? AND key = ?", (owner, key))
            return
        self._db.execute(
            "INSERT INTO vault (owner, key, value) VALUES (?, ?, ?)"
            " ON CONFLICT (owner, key) DO UPDATE SET value = excluded.value",
            (owner, key, dumps(value)),
        )
