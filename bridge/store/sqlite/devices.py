"""Devices with their state, alarms and events, and what was seen before."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from bridge.domain.text import dumps, restored
from bridge.store.protocols import AlarmRow, DeviceRow
from bridge.store.sqlite.kept import Kept

_DEVICE = (
    "SELECT account, device, met_ms, info, metrics, clock_ms, prints, available, said, said_ms, evented, held, dirty,"
    " suspect_day, state_ms, gone FROM device"
)


def _device(values: Sequence[Any]) -> DeviceRow:
    (account, device, met_ms, info, metrics, clock_ms, prints, available, said, said_ms, evented, *rest) = (
        values
    )
    held, dirty, suspect_day, state_ms, gone = rest
    return DeviceRow(
        account=account,
        device=device,
        met_ms=met_ms,
        info=restored(info) if info is not None else None,
        metrics=restored(metrics),
        clock_ms=clock_ms,
        prints=restored(prints),
        available=None if available is None else bool(available),
        said=said,
        said_ms=said_ms,
        evented=restored(evented),
        held=restored(held),
        dirty=bool(dirty),
        suspect_day=suspect_day,
        state_ms=state_ms,
        gone=bool(gone),
    )


_CHANGED = (
    "met_ms", "info", "metrics", "clock_ms", "prints", "available", "said", "said_ms", "evented", "held", "dirty",
    "suspect_day", "state_ms", "gone",
)  # fmt: skip
_SAVE = (
    f"INSERT INTO device (account, device, {', '.join(_CHANGED)}) VALUES (?, ?{', ?' * len(_CHANGED)})"  # noqa: S608 - fixed
    f" ON CONFLICT (account, device) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _CHANGED)}"
)
"""In place: a replaced row would move to another page."""
CACHED_ROWS = 2048
"""Rows that are kept in memory, some 10 kB each: those of a large fleet that pushes."""


class SqliteDevices:
    """DeviceTable. Keeps the rows that were opened last; a rollback forgets those it touched."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.kept: Kept[tuple[str, str], DeviceRow] = Kept(CACHED_ROWS)

    def open(self, account: str, device: str) -> DeviceRow | None:
        key = account, device
        self.kept.touch(key)
        row = self.kept.get(key)
        if row is None:
            row = self.get(account, device)
            if row is not None:
                self.kept.keep(key, row)
        return row

    def get(self, account: str, device: str) -> DeviceRow | None:
        values = self._db.execute(_DEVICE + " WHERE account = ? AND device = ?", (account, device)).fetchone()
        return _device(values) if values else None

    def save(self, row: DeviceRow) -> None:
        key = row.account, row.device
        self.kept.touch(key)
        if self.kept.get(key) is not row:
            self.kept.drop(key)  # another copy of it is the newer one now
        self._db.execute(
            _SAVE,
            (
                row.account,
                row.device,
                row.met_ms,
                dumps(row.info) if row.info is not None else None,
                dumps(row.metrics),
                row.clock_ms,
                dumps(row.prints),
                None if row.available is None else int(row.available),
                row.said,
                row.said_ms,
                dumps(row.evented),
                dumps(row.held),
                int(row.dirty),
                row.suspect_day,
                row.state_ms,
                int(row.gone),
            ),
        )

    def of_account(self, account: str) -> Sequence[DeviceRow]:
        rows = self._db.execute(_DEVICE + " WHERE account = ? AND gone = 0 ORDER BY device", (account,))
        return [_device(values) for values in rows]

    def dirty(self) -> Sequence[tuple[str, str]]:
        return self._db.execute("SELECT account, device FROM device WHERE dirty = 1").fetchall()

    def accounts(self) -> Sequence[str]:
        return [row[0] for row in self._db.execute("SELECT DISTINCT account FROM device WHERE gone = 0")]


_ALARM = "SELECT id, account, device, code, severity, raised_ms, document, is_condition, cleared_ms, silent FROM alarm"


def _alarm(values: Sequence[Any]) -> AlarmRow:
    alarm_id, account, device, code, severity, raised_ms, document, condition, cleared_ms, silent = values
    return AlarmRow(
        alarm_id,
        account,
        device,
        code,
        severity,
        raised_ms,
        restored(document),
        bool(condition),
        cleared_ms,
        bool(silent),
    )


class SqliteAlarms:
    """AlarmTable. Knows which devices may have an active alarm: most have none, and each state asks."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._alarmed: set[tuple[str, str]] = set(
            db.execute("SELECT DISTINCT account, device FROM alarm WHERE cleared_ms IS NULL AND silent = 0")
        )

    def get(self, alarm_id: str) -> AlarmRow | None:
        values = self._db.execute(_ALARM + " WHERE id = ?", (alarm_id,)).fetchone()
        return _alarm(values) if values else None

    def save(self, row: AlarmRow) -> None:
        self._alarmed.add((row.account, row.device))
        self._db.execute(
            "INSERT OR REPLACE INTO alarm (id, account, device, code, severity, raised_ms, document, is_condition,"
            " cleared_ms, silent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.id,
                row.account,
                row.device,
                row.code,
                row.severity,
                row.raised_ms,
                dumps(row.document),
                int(row.condition),
                row.cleared_ms,
                int(row.silent),
            ),
        )

    def active(self, account: str, device: str) -> Sequence[AlarmRow]:
        if (account, device) not in self._alarmed:
            return []
        return self._many(
            " WHERE account = ? AND device = ? AND cleared_ms IS NULL AND silent = 0 ORDER BY raised_ms, id",
            (account, device),
        )

    def raised_before(self, account: str, ms: int) -> Sequence[AlarmRow]:
        return self._many(
            " WHERE account = ? AND raised_ms < ? AND cleared_ms IS NULL AND silent = 0 AND is_condition = 0",
            (account, ms),
        )

    def first_sight(self, event_id: str, at_ms: int) -> bool:
        known = self._db.execute("UPDATE event_seen SET at_ms = ? WHERE id = ?", (at_ms, event_id))
        if known.rowcount:
            return False  # seen again, so remembered for longer: a vendor's list may show it for weeks
        self._db.execute("INSERT INTO event_seen (id, at_ms) VALUES (?, ?)", (event_id, at_ms))
        return True

    def _many(self, tail: str, args: tuple[Any, ...]) -> Sequence[AlarmRow]:
        return [_alarm(values) for values in self._db.execute(_ALARM + tail, args)]


class SqliteSeen:
    """SeenTable."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def record(self, account: str, device: str, ts_ms: int, fingerprint: str, at_ms: int) -> bool:
        added = self._db.execute(
            "INSERT INTO seen_record (account, device, ts_ms, fingerprint, at_ms) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (account, device, ts_ms, fingerprint, at_ms),
        )
        return added.rowcount > 0

    def has_record(self, account: str, device: str, ts_ms: int, fingerprint: str) -> bool:
        noted = "SELECT 1 FROM seen_record WHERE account = ? AND device = ? AND ts_ms = ? AND fingerprint = ?"
        return self._db.execute(noted, (account, device, ts_ms, fingerprint)).fetchone() is not None

    def any_record(self, account: str, device: str, ts_ms: int) -> bool:
        noted = "SELECT 1 FROM seen_record WHERE account = ? AND device = ? AND ts_ms = ? LIMIT 1"
        return self._db.execute(noted, (account, device, ts_ms)).fetchone() is not None

    def body(self, account: str, key: str, at_ms: int, window_s: float) -> bool:
        row = self._db.execute(
            "SELECT at_ms FROM seen_body WHERE account = ? AND key = ?", (account, key)
        ).fetchone()
        if row is not None and abs(at_ms - row[0]) < window_s * 1000:
            return False
        self._db.execute(
            "INSERT INTO seen_body (account, key, at_ms) VALUES (?, ?, ?)"
            " ON CONFLICT (account, key) DO UPDATE SET at_ms = excluded.at_ms",
            (account, key, at_ms),
        )
        return True

    def forget_bodies_before(self, ms: int) -> None:
        self._db.execute("DELETE FROM seen_body WHERE at_ms < ?", (ms,))

    def forget_events_before(self, ms: int) -> None:
        self._db.execute("DELETE FROM event_seen WHERE at_ms < ?", (ms,))

    def forget_records_before(self, ms: int) -> None:
        self._db.execute("DELETE FROM seen_record WHERE at_ms < ?", (ms,))

    def oldest_of(self, count: int) -> int | None:
        newest = "SELECT at_ms FROM seen_record ORDER BY at_ms DESC LIMIT 1 OFFSET ?"
        row = self._db.execute(newest, (count,)).fetchone()
        return int(row[0]) if row is not None else None

    def forget_before(self, ms: int) -> None:
        for table in ("seen_record", "seen_body", "event_seen"):
            self._db.execute(f"DELETE FROM {table} WHERE at_ms < ?", (ms,))  # noqa: S608 - fixed names
