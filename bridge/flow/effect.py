"""The moment before a command's request leaves: the journal says so first, or the request does not leave.

`Effect.leaving` is the only place where a command becomes DISPATCHED.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.domain.command import CommandSpec, CommandState, Outcome, Status
from bridge.domain.errors import StoreError, Withdrawn
from bridge.domain.text import Json
from bridge.domain.times import unix_ms
from bridge.flow.interlocks import refusal
from bridge.flow.locks import lock_on
from bridge.flow.roster import Roster
from bridge.flow.settle import Settler
from bridge.ports import Clock
from bridge.store.protocols import JournalRow, Store, Tx

TOO_LATE = Outcome(Status.EXPIRED, "expired", "expires_at has passed before the command could be sent")


@dataclass(slots=True)
class JournalEffect:
    """`ports.Effect` for one attempt at one command. `after`: commands that have to be settled on disk before it."""

    store: Store
    settler: Settler
    clock: Clock
    roster: Roster
    row: JournalRow
    spec: CommandSpec
    params: Any
    late: Callable[[JournalRow], Outcome | None]
    after: Collection[int] = ()
    times: int = 0
    """How often something left in this attempt. Unless its outcome is unknown, all but the last were refused before
    they were carried out: a token that was not taken, a newer end point instead of the older."""

    @property
    def left(self) -> bool:
        """See `ports.Effect.left`."""
        return self.times > 0

    async def leaving(self, request: Json = None) -> None:
        """See `ports.Effect.leaving`. Raises StoreError also where what it builds upon did not get onto the disk."""
        reason, row = await self.store.run(lambda tx: self._leave(tx, request), light=True)
        # only now: a transaction that is undone must not show here
        self.row = row or self.row
        if reason is not None:
            raise Withdrawn(reason)
        self.times += 1

    def _leave(self, tx: Tx, request: Json) -> tuple[str | None, JournalRow | None]:
        row = tx.journal.get(self.row.key)
        if row is None or row.state is CommandState.FINAL:
            return "the command has ended", row
        for key in self.after:
            if tx.journal.state(key) is CommandState.DISPATCHED:
                raise StoreError("the end of the command before it is not on disk yet")
        stop = self.late(row)
        stop = stop or stopped(tx, row, self.spec, self.params, self.clock.now(), self.roster)
        if stop is not None:
            if row.attempt == 0:
                self.settler.settle(tx, row, stop)
            return stop.message, row
        row.attempt += 1
        row.dispatched_ms = unix_ms(self.clock.now())
        self.settler.move(tx, row, CommandState.DISPATCHED, f"attempt {row.attempt} leaves", request)
        return None, row


def stopped(
    tx: Tx, row: JournalRow, spec: CommandSpec, params: Any, now: datetime, roster: Roster
) -> Outcome | None:
    """Why a command that is in time must not leave (any more), or None. What was looked at when it was taken is looked
    at again: it may have waited long, and locks, loads and the configuration change."""
    lock = lock_on(tx, spec, params, row.account, row.device)
    if lock is not None:
        return Outcome(Status.CANCELLED, "interlock", f"locked: {lock.reason or 'no reason given'}")
    if not roster.has(row.account):
        return (
            None  # a reload puts the account in again, or the carrier ends what nobody carries out any more
        )
    policy = roster.policy(row.account)
    if not policy.allows(row.command):
        text = f"the configuration does not allow {row.command!r} any more"
        return Outcome(Status.CANCELLED, "not_allowed", text)
    held = refusal(tx, policy.interlocks, row.account, row.device, spec.acts(params), now, row)
    return (
        Outcome(Status.CANCELLED, held.code, held.message, result=held.result) if held is not None else None
    )


def expired(row: JournalRow, now: datetime) -> Outcome | None:
    """Why it is too late for a command to leave by the clock of the wall, or None."""
    if row.expires_ms is None or unix_ms(now) < row.expires_ms:
        return None
    return TOO_LATE
