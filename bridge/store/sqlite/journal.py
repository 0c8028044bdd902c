"""The journal of commands, words on them that came early, and the deliveries that tell a redelivered command message
from a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from bridge.domain.command import CommandState
from bridge.domain.text import Json, dumps, restored
from bridge.store.protocols import EarlyWord, JournalRow, JournalStep
from bridge.store.sqlite.kept import Kept

_COLUMNS = tuple(column.name for column in fields(JournalRow))
_DOCUMENTS = frozenset({"params", "vendor_ref", "vendor_code", "last_ack", "evidence", "acts"})
_FLAGS = frozenset({"writes", "has_id"})
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM journal"  # noqa: S608 - column names of our own
_INSERT = (
    f"INSERT INTO journal ({', '.join(_COLUMNS)})"  # noqa: S608 - column names of our own
    f" VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_LASTING = frozenset(
    {"account", "id", "device", "device_level", "command", "params", "mark", "created_ms", "writes", "has_id",
     "expires_ms", "timeout_s", "reply_topic", "correlation", "requester", "evidence", "acts"}
)  # fmt: skip
"""What never changes after the row was inserted."""
_CHANGING = tuple(name for name in _COLUMNS[1:] if name not in _LASTING)
_values = attrgetter(*_COLUMNS)
_STATE = _COLUMNS.index("state")
KEPT_ROWS = 1024
"""Commands kept in memory, the newest: each is read again at every step, and once more before the next one leaves."""
_UPDATE = f"UPDATE journal SET {', '.join(f'{name} = ?' for name in _CHANGING)} WHERE key = ?"  # noqa: S608 - as above


def _stored(name: str, value: Any) -> Any:
    if name in _DOCUMENTS:
        return None if value is None else dumps(value)
    return int(value) if name in _FLAGS else value


def _row(values: Sequence[Any]) -> JournalRow:
    given = dict(zip(_COLUMNS, values, strict=True))
    for name in _DOCUMENTS:
        given[name] = None if given[name] is None else restored(given[name])
    for name in _FLAGS:
        given[name] = bool(given[name])
    given["state"] = CommandState(given["state"])
    return JournalRow(**given)


_STEP = "at_ms, state, note, status, code, request, seq, aside"


def _step_of(values: Sequence[Any]) -> JournalStep:
    at_ms, state, note, status, code, request, seq, aside = values
    documents = [None if one is None else restored(one) for one in (request, aside)]
    return JournalStep(at_ms, state, note, status, code, documents[0], seq, documents[1])


class SqliteJournal:
    """JournalTable."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.kept: Kept[int, Sequence[Any]] = Kept(KEPT_ROWS)
        known = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'").fetchone()
        self._last_key = int(known[0]) if known else 0

    def insert(self, row: JournalRow) -> int:
        # counted here, because SQLite would give the key of a row that was rolled back to another command, and who
        # works on the first one would take the second for it
        self._last_key += 1
        row.key = self._last_key
        self._db.execute(_INSERT, [_stored(name, getattr(row, name)) for name in _COLUMNS])
        ack = row.last_ack or {}
        self._step(row, "", (ack["status"], ack.get("code")) if "status" in ack else None)
        self.kept.keep(row.key, _values(row))
        return row.key

    def save(
        self,
        row: JournalRow,
        note: str = "",
        *,
        outcome: tuple[str, str | None] | None = None,
        request: Json = None,
    ) -> None:
        self._db.execute(_UPDATE, [*(_stored(name, getattr(row, name)) for name in _CHANGING), row.key])
        self._step(row, note, outcome, request)
        self.kept.keep(row.key, _values(row))

    def state(self, key: int) -> CommandState | None:
        values = self.kept.get(key)
        if values is not None:
            return CommandState(values[_STATE])
        row = self._db.execute("SELECT state FROM journal WHERE key = ?", (key,)).fetchone()
        return CommandState(row[0]) if row else None

    def get(self, key: int) -> JournalRow | None:
        values = self.kept.get(key)
        return JournalRow(*values) if values is not None else self._one(" WHERE key = ?", (key,))

    def find(self, account: str, command_id: str) -> JournalRow | None:
        return self._one(" WHERE account = ? AND id = ?", (account, command_id))

    def unfinished(self, account: str | None = None) -> Sequence[JournalRow]:
        return self._many(" WHERE state <> 'final' AND (?1 IS NULL OR account = ?1) ORDER BY key", (account,))

    def open_for(self, account: str, device: str) -> Sequence[JournalRow]:
        return self._many(
            " WHERE state <> 'final' AND state <> 'accepted' AND account = ? AND device = ? ORDER BY key",
            (account, device),
        )

    def pending(self, account: str, device: str | None) -> Sequence[JournalRow]:
        return self._many(
            " WHERE state <> 'final' AND account = ? AND device IS ? ORDER BY key", (account, device)
        )

    def by_vendor_ref(self, account: str, vendor_ref: Json) -> Sequence[JournalRow]:
        return self._many(
            " WHERE account = ? AND vendor_ref = ? ORDER BY key DESC", (account, dumps(vendor_ref))
        )

    def unnamed(self, account: str) -> Sequence[JournalRow]:
        return self._many(
            " WHERE state <> 'final' AND state <> 'accepted' AND account = ? AND vendor_ref IS NULL ORDER BY key",
            (account,),
        )

    def recent(
        self, limit: int, *, account: str | None = None, device: str | None = None, since_ms: int = 0
    ) -> Sequence[JournalRow]:
        return self._many(
            " WHERE (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR device = ?2) AND created_ms >= ?3"
            " ORDER BY key DESC LIMIT ?4",
            (account, device, since_ms, limit),
        )

    def note_aside(self, step: JournalStep) -> None:
        self._db.execute(
            "INSERT INTO journal_step (at_ms, state, note, status, code, request, aside) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                step.at_ms,
                step.state,
                step.note,
                step.status,
                step.code,
                None if step.request is None else dumps(step.request),
                dumps(step.aside),
            ),
        )

    def history(self, after: int, limit: int) -> Sequence[tuple[JournalRow | None, JournalStep]]:
        rows = self._db.execute(
            f"SELECT {_STEP}, journal_step.key FROM journal_step WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608 - column names of our own
            (after, limit),
        ).fetchall()
        commands = {key: self.get(key) for key in {values[-1] for values in rows} if key is not None}
        return [(commands.get(values[-1]), _step_of(values[:-1])) for values in rows]

    def steps(self, key: int) -> Sequence[JournalStep]:
        rows = self._db.execute(
            f"SELECT {_STEP} FROM journal_step WHERE key = ? ORDER BY seq",  # noqa: S608 - column names of our own
            (key,),
        )
        return [_step_of(values) for values in rows]

    def last_finished_ms(self, account: str, device: str, commands: Sequence[str]) -> int | None:
        marks = ", ".join("?" * len(commands))
        row = self._db.execute(
            f"SELECT max(dispatched_ms) FROM journal WHERE account = ? AND device = ? AND command IN ({marks})",  # noqa: S608 - only question marks
            (account, device, *commands),
        ).fetchone()
        return row[0] if row else None

    def acted(self, account: str, device: str, since_ms: int) -> Sequence[JournalRow]:
        return self._many(
            " WHERE acts IS NOT NULL AND account = ? AND (device = ? OR device IS NULL)"
            " AND (updated_ms >= ? OR state <> 'final') ORDER BY key",
            (account, device, since_ms),
        )

    def forget_asides(self, ms: int, most: int) -> None:
        self._db.execute(
            "DELETE FROM journal_step WHERE key IS NULL AND (at_ms < ? OR seq <= (SELECT seq FROM journal_step"
            " WHERE key IS NULL ORDER BY seq DESC LIMIT 1 OFFSET ?))",
            (ms, most),
        )

    def forget_before(self, ms: int, acted_ms: int = 0, counting: Sequence[str] = ()) -> int:
        marks = ", ".join("?" * len(counting))
        self.kept.clear()
        return self._db.execute(
            "DELETE FROM journal WHERE state = 'final' AND updated_ms < ?"  # noqa: S608 - only question marks
            f" AND (acts IS NULL OR updated_ms < ? OR account NOT IN ({marks}))",
            (ms, acted_ms, *counting),
        ).rowcount

    def _step(
        self, row: JournalRow, note: str, outcome: tuple[str, str | None] | None = None, request: Json = None
    ) -> None:
        status, code = outcome or (None, None)
        told = dumps(request) if request is not None else None
        self._db.execute(
            "INSERT INTO journal_step (key, at_ms, state, note, status, code, request) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.key, row.updated_ms, str(row.state), note, status, code, told),
        )

    def _one(self, tail: str, args: tuple[Any, ...]) -> JournalRow | None:
        values = self._db.execute(_SELECT + tail + " LIMIT 1", args).fetchone()
        return _row(values) if values else None

    def _many(self, tail: str, args: tuple[Any, ...]) -> Sequence[JournalRow]:
        return [_row(values) for values in self._db.execute(_SELECT + tail, args)]


class SqliteEarlyWords:
    """EarlyWordTable. Knows when there are none, which is nearly always: each end of a command asks."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._none = False

    def rolled_back(self) -> None:
        """What is known may not be what is on disk."""
        self._none = False

    def keep(self, account: str, word: Json, at_ms: int) -> None:
        self._none = False
        self._db.execute(
            "INSERT INTO early_word (account, word, at_ms) VALUES (?, ?, ?)", (account, dumps(word), at_ms)
        )

    def of_account(self, account: str) -> Sequence[EarlyWord]:
        if self._none:
            return []
        rows = self._db.execute(
            "SELECT key, word, at_ms FROM early_word WHERE account = ? ORDER BY key", (account,)
        )
        words = [EarlyWord(key, restored(word), at_ms) for key, word, at_ms in rows]
        if not words:
            self._none = self._db.execute("SELECT 1 FROM early_word LIMIT 1").fetchone() is None
        return words

    def drop(self, key: int) -> None:
        self._db.execute("DELETE FROM early_word WHERE key = ?", (key,))


class SqliteDeliveries:
    """DeliveryTable."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def matches(self, mid: int, digest: bytes) -> bool:
        row = self._db.execute("SELECT digest FROM delivery WHERE mid = ?", (mid,)).fetchone()
        return row is not None and row[0] == digest

    def put(self, mid: int, digest: bytes, at_ms: int) -> None:
        self._db.execute(
            "INSERT INTO delivery (mid, digest, at_ms) VALUES (?, ?, ?)"
            " ON CONFLICT (mid) DO UPDATE SET digest = excluded.digest, at_ms = excluded.at_ms",
            (mid, digest, at_ms),
        )

    def settled(self, deliveries: Iterable[tuple[int, bytes]]) -> None:
        self._db.executemany("DELETE FROM delivery WHERE mid = ? AND digest = ?", list(deliveries))

    def clear(self) -> None:
        self._db.execute("DELETE FROM delivery")
