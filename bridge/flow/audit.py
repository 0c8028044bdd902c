"""The audit trail: every step of every command as one line of JSON, in order, appended to a file as it happens.

Invariant: a line is in the file before the position moves on. After a crash, or while the file was away, the last
lines may come twice; `seq` tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from bridge.domain.command import CommandState
from bridge.domain.errors import StoreError
from bridge.domain.secrecy import masked
from bridge.domain.text import Json, dumps, loads
from bridge.domain.times import from_unix_ms, rfc3339
from bridge.ports import Clock
from bridge.store.protocols import JournalRow, JournalStep, Store

log = logging.getLogger("bridge.audit")

LOOK_EVERY_S = 1.0
RETRY_S = 10.0
BATCH = 500
_OWNER, _KEY = "", "audit.seq"


class Lines(Protocol):
    """Where the trail is kept. All of it may block."""

    def append(self, lines: Sequence[bytes]) -> None:
        """On disk when it returns. Raises OSError."""
        ...

    def last(self) -> bytes | None:
        """The last whole line there. Raises OSError."""
        ...


class AuditTrail:
    """Carries the journal's steps into the trail. `clean` masks known secrets in a text. `on_failed` is told once when
    the trail does not take the lines."""

    def __init__(
        self, store: Store, lines: Lines, clock: Clock, clean: Callable[[str], str] = lambda text: text
    ) -> None:
        self._store = store
        self._lines = lines
        self._clock = clock
        self._clean = clean
        self._position: int | None = None
        self._failing = False
        self._turn = asyncio.Lock()
        self.on_failed: Callable[[str], None] = lambda _reason: None

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            pause_s = LOOK_EVERY_S
            try:
                if await self.carry_over() == BATCH:
                    continue
                self._failing = False
            except (OSError, StoreError) as error:
                pause_s = RETRY_S
                self._tell(str(error))
            await self._clock.sleep(pause_s)

    async def finish(self) -> None:
        """Carries over what is left, as far as that is possible now."""
        with contextlib.suppress(OSError, StoreError):
            while await self.carry_over():
                pass

    async def carry_over(self) -> int:
        """Appends what is new, at most BATCH lines; returns how many. Raises OSError, StoreError."""
        async with self._turn:
            return await self._carry_over()

    async def _carry_over(self) -> int:
        if self._position is None:
            self._position = await self._found_position()
        after = self._position
        steps = await self._store.run(lambda tx: tx.journal.history(after, BATCH))
        if not steps:
            return 0
        lines = [dumps(cleaned(entry(row, step), self._clean)) for row, step in steps]
        await asyncio.get_running_loop().run_in_executor(None, self._lines.append, lines)
        seq = steps[-1][1].seq
        self._position = seq
        await self._store.run(lambda tx: tx.vault.put(_OWNER, _KEY, seq))
        return len(steps)

    async def _found_position(self) -> int:
        """Behind what is noted, and behind the last line of the file."""
        noted = await self._store.run(lambda tx: tx.vault.get(_OWNER, _KEY))
        last = await asyncio.get_running_loop().run_in_executor(None, self._lines.last)
        return max(noted if isinstance(noted, int) else 0, _seq_of(last))

    def _tell(self, reason: str) -> None:
        if not self._failing:
            log.error("audit.failed", extra={"reason": reason})
            self.on_failed(reason)
        self._failing = True


def cleaned(value: Json, clean: Callable[[str], str]) -> Json:
    """The document with `clean` applied to every text in it."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: cleaned(part, clean) for key, part in value.items()}
    return [cleaned(part, clean) for part in value] if isinstance(value, list) else value


def _seq_of(line: bytes | None) -> int:
    try:
        document = loads(line) if line is not None else None
    except ValueError:
        return 0
    seq = document.get("seq") if isinstance(document, dict) else None
    return seq if isinstance(seq, int) else 0


def entry(row: JournalRow | None, step: JournalStep) -> dict[str, Any]:
    """One step as a line: the first of a command bears what was asked, and by whom; one with which a request left
    bears the request, its secrets masked. Without a command: what was rejected or only tried."""
    what = _of_command(row) if row is not None else step.aside
    line: dict[str, Any] = {
        "seq": step.seq,
        "at": rfc3339(from_unix_ms(step.at_ms)),
        **{name: what[name] for name in ("account", "device", "command", "id", "requester")},
        "state": step.state,
        "status": step.status,
        "code": step.code,
        "note": step.note,
    }
    first = step.state == CommandState.ACCEPTED and step.status is not None
    if row is None or first:
        line |= {"params": masked(what["params"]), "expires_at": what["expires_at"]}
    if step.request is not None:
        line["request"] = step.request
    return line


def _of_command(row: JournalRow) -> dict[str, Json]:
    return asked(
        row.account,
        row.device,
        row.command,
        row.id,
        row.requester,
        row.params,
        from_unix_ms(row.expires_ms) if row.expires_ms is not None else None,
    )


def asked(
    account: str,
    device: str | None,
    command: str,
    command_id: str,
    requester: str | None,
    params: Json,
    expires_at: datetime | None,
) -> dict[str, Json]:
    """What was asked, and by whom."""
    return {
        "account": account,
        "device": device,
        "command": command,
        "id": command_id,
        "requester": requester,
        "params": params,
        "expires_at": rfc3339(expires_at) if expires_at is not None else None,
    }
