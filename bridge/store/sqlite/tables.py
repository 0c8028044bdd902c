"""Dead letters, ledger, locks, counters, small values: the tables that do not know a command or a device."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence

from bridge.domain.text import Json, dumps, restored
from bridge.store.protocols import DeadLetter, LockRow, RetainedRow, SlotRow

MAX_DEAD_LETTERS = 1000
MAX_DEAD_LETTER_BYTES = 16 * 1024**2
_EVICTED = "dead_letters_evicted"


class SqliteDeadLetters:
    """DeadLetterTable, bounded to MAX_DEAD_LETTERS rows and MAX_DEAD_LETTER_BYTES of bodies."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._vault = SqliteVault(db)

    def add(
        self, account: str, source: str, reason: str, body: bytes, at_ms: int, *, replacing: bool = False
    ) -> bool:
        digest = hashlib.sha256(body).digest()
        if replacing:
            self._db.execute(
                "DELETE FROM dead_letter WHERE account = ? AND source = ? AND digest <> ?",
                (account, source, digest),
            )
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
        gone = self._db.execute(
            "DELETE FROM dead_letter WHERE key IN (SELECT key FROM ("
            " SELECT key, row_number() OVER newest AS place, sum(length(body)) OVER newest AS size FROM dead_letter"
            " WINDOW newest AS (ORDER BY key DESC ROWS UNBOUNDED PRECEDING))"
            " WHERE place > ? OR (size > ? AND place > 1))",
            (MAX_DEAD_LETTERS, MAX_DEAD_LETTER_BYTES),
        ).rowcount
        if gone:
            self._vault.put("", _EVICTED, self.evicted() + gone)
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

    def size(self) -> int:
        return int(self._db.execute("SELECT coalesce(sum(length(body)), 0) FROM dead_letter").fetchone()[0])

    def evicted(self) -> int:
        return int(self._vault.get("", _EVICTED) or 0)


class SqliteRetained:
    """RetainedTable. Knows a fingerprint of every body: what is published again is nearly always the same."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._prints: dict[str, bytes] = {}
        self._touched: set[str] = set()

    def begin(self) -> None:
        """A commit begins."""
        self._touched.clear()

    def rolled_back(self) -> None:
        """What was written since `begin` may not be what is on disk."""
        for topic in self._touched:
            self._prints.pop(topic, None)

    def holds(self, topic: str, body: bytes | None = None) -> bool:
        known = self._prints.get(topic)
        if known is None:
            kept = self.get(topic)
            if kept is None:
                return False
            known = self._prints[topic] = _print(kept)
        return body is None or known == _print(body)

    def get(self, topic: str) -> bytes | None:
        row = self._db.execute("SELECT body FROM retained WHERE topic = ?", (topic,)).fetchone()
        return row[0] if row else None

    def put(self, row: RetainedRow) -> None:
        self._touched.add(row.topic)
        self._prints[row.topic] = _print(row.body)
        self._db.execute(
            "INSERT INTO retained (topic, account, device, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (topic) DO UPDATE SET body = excluded.body",
            (row.topic, row.account, row.device, row.body),
        )

    def drop(self, topic: str) -> None:
        self._touched.add(topic)
        self._prints.pop(topic, None)
        self._db.execute("DELETE FROM retained WHERE topic = ?", (topic,))

    def all(self, account: str | None = None, device: str | None = None) -> Sequence[RetainedRow]:
        rows = self._db.execute(
            "SELECT topic, account, device, body FROM retained"
            " WHERE (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR device = ?2) ORDER BY topic",
            (account, device),
        )
        return [RetainedRow(*row) for row in rows]


def _print(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


class SqliteLocks:
    """LockTable. Knows all of them, few as they are: each command asks twice."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: list[LockRow] | None = None

    def rolled_back(self) -> None:
        """What is known may not be what is on disk."""
        self._known = None

    def put(self, row: LockRow) -> None:
        self._known = None
        self._db.execute(
            "INSERT INTO lock (account, device, reason, at_ms) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (account, device) DO UPDATE SET reason = excluded.reason, at_ms = excluded.at_ms",
            (row.account, row.device, row.reason, row.at_ms),
        )

    def drop(self, account: str, device: str) -> int:
        self._known = None
        return self._db.execute(
            "DELETE FROM lock WHERE (?1 = '' OR account = ?1) AND (?2 = '' OR device = ?2)", (account, device)
        ).rowcount

    def covering(self, account: str, device: str | None) -> LockRow | None:
        name = device or ""
        return next(
            (one for one in self.all() if one.account in ("", account) and one.device in ("", name)), None
        )

    def all(self) -> Sequence[LockRow]:
        if self._known is None:
            rows = self._db.execute(
                "SELECT account, device, reason, at_ms FROM lock ORDER BY account, device"
            )
            self._known = [LockRow(*row) for row in rows]
        return self._known


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
