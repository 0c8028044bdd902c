"""State databases with something in them, made by the gateway's own store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge.domain.command import CommandState
from bridge.store.protocols import DeviceRow, JournalRow, LockRow, SlotRow, Tx
from bridge.store.sqlite.database import SqliteStore

AT_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
SPOOL_BYTES = 1_000_000


def stored(folder: Path, *works: Callable[[Tx], Any]) -> Path:
    """The database `state.db` after these transactions."""
    path = folder / "state.db"

    async def run() -> None:
        store = SqliteStore(path, SPOOL_BYTES)
        await store.open()
        try:
            for work in works:
                await store.run(work)
        finally:
            await store.close()

    asyncio.run(run())
    return path


def read(folder: Path, look: Callable[[Tx], Any]) -> Any:
    """What a transaction sees."""
    found: list[Any] = []
    stored(folder, lambda tx: found.append(look(tx)))
    return found[0]


def command(identity: str, *, account: str = "shop", **values: Any) -> Callable[[Tx], Any]:
    """A command in the journal."""

    def work(tx: Tx) -> None:
        row = JournalRow(
            key=0,
            account=account,
            id=identity,
            device="W71E0000001",
            device_level="W71E0000001",
            command="breaker",
            params={"state": "off"},
            mark=b"m",
            state=CommandState.ACCEPTED,
            created_ms=AT_MS,
            updated_ms=AT_MS,
            writes=True,
            has_id=True,
        )
        for name, value in values.items():
            setattr(row, name, value)
        # what a command is stands from the start, what becomes of it comes with the second step
        row.key = tx.journal.insert(replace(row, state=CommandState.ACCEPTED, last_ack=None))
        if values:
            row.updated_ms = AT_MS + 1000
            tx.journal.save(row, "done")

    return work


def letter(
    body: bytes, reason: str = "no such field", account: str = "shop", source: str = "/"
) -> Callable[[Tx], Any]:
    """A dead letter."""
    return lambda tx: tx.dead_letters.add(account, source, reason, body, AT_MS)


def device(native_id: str, **values: Any) -> Callable[[Tx], Any]:
    """A device that is known."""
    return lambda tx: tx.devices.save(DeviceRow("shop", native_id, met_ms=AT_MS, **values))


def slot(limit: str, at: float, *, blocked: bool) -> Callable[[Tx], Any]:
    """A reservation, or a block."""
    return lambda tx: tx.budgets.add([SlotRow("shop", limit, "", at, blocked)])


def lock() -> Callable[[Tx], Any]:
    """A maintenance lock."""
    return lambda tx: tx.locks.put(LockRow("shop", "", "by Erika Mustermann", AT_MS))
