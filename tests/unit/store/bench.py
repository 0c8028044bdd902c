"""Rows to put into a store, and a store that is opened and closed around a block."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bridge.contract.publication import Class, Publication
from bridge.domain.command import CommandState
from bridge.store.protocols import AlarmRow, JournalRow
from bridge.store.sqlite.database import SqliteStore


@contextlib.asynccontextmanager
async def opened(path: Path, spool_max_bytes: int = 1024**2, **more: Any) -> AsyncIterator[SqliteStore]:
    """A store on this file, closed at the end."""
    store = SqliteStore(path, spool_max_bytes, **more)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def publication(
    klass: Class = Class.TELEMETRY, body: bytes | str = b"{}", topic: str = "m/a/d/telemetry", **more: object
) -> Publication:
    raw = body.encode() if isinstance(body, str) else body
    return Publication(topic, raw, klass, **more)  # type: ignore[arg-type] # fields of it


def command(command_id: str = "c1", **changed: object) -> JournalRow:
    """A journal row as it is when a command was accepted."""
    given: dict[str, object] = {
        "key": 0,
        "account": "shop",
        "id": command_id,
        "device": "W71E",
        "device_level": "W71E",
        "command": "breaker",
        "params": {"state": "on"},
        "mark": b'{"command":"breaker"}',
        "state": CommandState.ACCEPTED,
        "created_ms": 1000,
        "updated_ms": 1000,
        "writes": True,
        "has_id": True,
    }
    return JournalRow(**(given | changed))  # type: ignore[arg-type] # fields of it


def alarm(alarm_id: str = "a1", **changed: object) -> AlarmRow:
    """An alarm that is raised."""
    given: dict[str, object] = {
        "id": alarm_id,
        "account": "shop",
        "device": "W71E",
        "code": "overcurrent",
        "severity": "critical",
        "raised_ms": 1000,
        "document": {"id": alarm_id},
        "condition": False,
    }
    return AlarmRow(**(given | changed))  # type: ignore[arg-type] # fields of it
