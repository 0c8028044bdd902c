"""Reads the past of devices, durably: the lowest lane, one step after the other, going on where it stopped.

How to have something read (gap ledger, commands, command line):

    await backfill.submit(ref, BackfillOrigin.GAP, [Wish(account, device, Period(start, end))])
    backfill.book.submit(tx, ref, …)            inside a transaction that is under way; then `backfill.adopt(tx)`
    backfill.book.on_ended(BackfillOrigin.GAP, then)    `then(tx, row)` in the transaction in which one device's ends
    await backfill.progress(ref), backfill.cancel(ref), backfill.ended(ref)

`row.state` DONE with `row.records` + `row.known` 0: the vendor has nothing of that period. FAILED: `row.code` and
`row.message` say why; the same `ref` with another `asked_by` goes on at the cursor. Whether a device's vendor keeps
a past at all, and how far back, says `backfill.reach(account, device)`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from bridge.domain.errors import StoreError
from bridge.domain.history import Reach
from bridge.domain.ids import GATEWAY
from bridge.flow.backfill_book import BackfillBook, BackfillOrigin, Wish
from bridge.flow.backfill_progress import Pace, Progress, progress_of
from bridge.flow.backfill_worker import Source, Surroundings, Worker
from bridge.flow.health import AccountHealth
from bridge.flow.roster import Roster
from bridge.ports import Clock
from bridge.store.protocols import BackfillRow, BackfillState, Store, Tx

log = logging.getLogger("bridge.backfill")

GATEWAYS_OWN = (BackfillOrigin.HISTORY, BackfillOrigin.COMMAND, BackfillOrigin.GAP)
_COMMANDS = (BackfillOrigin.HISTORY, BackfillOrigin.COMMAND)
MOST_WAITING = 5000


class Backfill:
    """One for all accounts. `enter` accounts, `start`; `aclose` before the store closes."""

    def __init__(
        self,
        store: Store,
        book: BackfillBook,
        roster: Roster,
        health: AccountHealth,
        clock: Clock,
        origins: Collection[BackfillOrigin] = GATEWAYS_OWN,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """`origins`: whose backfills this process works on. `most_waiting`: with more messages than that in the outbox
        no further call is made."""
        self.book = book
        self._store = store
        self._roster = roster
        self._around = Surroundings(store, book, roster, health, clock, most_waiting, self._note)
        self._origins = frozenset(origins)
        self._open: dict[int, BackfillRow] = {}
        self._workers: dict[str, Worker] = {}
        self._paces: dict[str, Pace] = {}
        self._waiters: dict[str, asyncio.Event] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self._started = False

    # what is to be read -----------------------------------------------------------------------------------------

    def reach(self, account: str, device: str) -> Reach | None:
        """How far back the vendor keeps this device's past, and what that costs; None where it keeps none, or nobody
        knows the device."""
        worker, known = self._workers.get(account), self._roster.device(account, device)
        return worker.source.history.reach(known) if worker is not None and known is not None else None

    async def submit(
        self,
        ref: str,
        origin: BackfillOrigin,
        wishes: Iterable[Wish],
        *,
        asked_by: str = "",
        expires_at: datetime | None = None,
        anew: bool = True,
    ) -> None:
        """As `BackfillBook.submit`, in a transaction of its own. Raises StoreError."""
        asked = list(wishes)

        def work(tx: Tx) -> None:
            self.book.submit(tx, ref, origin, asked, asked_by=asked_by, expires_at=expires_at, anew=anew)
            self.adopt(tx)

        await self._store.run(work)

    async def claim(self, ref: str, origin: BackfillOrigin, asked_by: str) -> None:
        """What another process left open of this group is worked on here; what is of an account that is gone ends.
        Raises StoreError."""

        def work(tx: Tx) -> None:
            if not self.book.claim(tx, ref, origin, asked_by):
                return
            for row in tx.backfills.of_ref(ref):
                if row.state is BackfillState.OPEN and row.account not in self._workers:
                    text = "the account is gone from the configuration"
                    ended = self.book.end(tx, None, row, BackfillState.FAILED, "unknown_device", text)
                    tx.after_commit(lambda row=ended: self._note(row))  # type: ignore[misc] # bound now
            self.adopt(tx)

        await self._store.run(work)

    def adopt(self, tx: Tx) -> None:
        """After the commit of `tx` what it submitted is worked on."""
        rows = [row for row in tx.backfills.unfinished() if row.origin in self._origins]

        def after() -> None:
            for row in rows:
                self._note(row)
            for worker in self._workers.values():
                worker.wake()

        tx.after_commit(after)

    async def progress(self, ref: str) -> Progress:
        """How far a group is. Raises StoreError."""
        rows = await self._store.run(lambda tx: list(tx.backfills.of_ref(ref)))
        return progress_of(rows, self._costs, self._paces)

    def counts(self) -> Mapping[tuple[str, str], int]:
        """How many devices are being read, by account and origin."""
        return Counter((row.account, str(row.origin)) for row in self._open.values())

    async def ended(self, ref: str) -> Progress:
        """Waits until nothing of the group is open any more."""
        while True:
            event = self._waiters.setdefault(ref, asyncio.Event())
            event.clear()
            progress = await self.progress(ref)
            if not progress.open:
                self._waiters.pop(ref, None)
                return progress
            await event.wait()

    async def cancel(self, ref: str, message: str = "") -> None:
        """Ends what is open of a group, after the step that is under way."""

        def work(tx: Tx) -> list[BackfillRow]:
            return [
                self.book.end(
                    tx, self._around.policy(row.account), row, BackfillState.CANCELLED, "interlock", message
                )
                for row in tx.backfills.of_ref(ref)
                if row.state is BackfillState.OPEN
            ]

        for row in await self._store.run(work):
            self._note(row)
            if (worker := self._workers.get(row.account)) is not None:
                worker.release(row)

    def unwanted(self, account: str, asked_by: str) -> None:
        """The command `asked_by` of `account` (or of the gateway) is final: what is still open of it is cancelled."""
        for row in list(self._open.values()):
            asker = row.account if row.origin == BackfillOrigin.HISTORY else GATEWAY
            if row.origin in _COMMANDS and (asker, row.asked_by) == (account, asked_by):
                task = asyncio.get_running_loop().create_task(self._cancel_quietly(row.ref))
                self._aside.add(task)
                task.add_done_callback(self._aside.discard)
                return

    async def _cancel_quietly(self, ref: str) -> None:
        try:
            await self.cancel(ref, "the command ended before it")
        except StoreError as error:
            log.error("backfill.store_failed", extra={"reason": str(error)})

    # accounts ---------------------------------------------------------------------------------------------------

    def enter(self, account: str, source: Source) -> None:
        """An account begins, or begins anew after `leave`."""
        rows = {row.key: row for row in self._open.values() if row.account == account}
        pace = self._paces.setdefault(account, Pace())
        pace.limits, pace.planned = tuple(source.limits), source.planned
        self._workers[account] = worker = Worker(account, source, self._around, rows, pace)
        if self._started:
            worker.start()

    async def leave(self, account: str, grace_s: float = 2.0) -> None:
        """An account ends; what it was reading goes on when it is there again."""
        worker = self._workers.pop(account, None)
        if worker is not None:
            await worker.stop(grace_s)

    async def start(self) -> None:
        """Begins with what is open in the store. Raises StoreError."""
        self._started = True
        await self._store.run(self.adopt)
        for worker in self._workers.values():
            worker.start()

    async def aclose(self, grace_s: float) -> None:
        """Takes no further step; a call that is on its way gets its answer for at most `grace_s`."""
        self._started = False
        await asyncio.gather(*(worker.stop(grace_s) for worker in self._workers.values()))

    # small parts ------------------------------------------------------------------------------------------------

    def _note(self, row: BackfillRow) -> None:
        """The row as it is on disk now."""
        worker = self._workers.get(row.account)
        if row.state is BackfillState.OPEN and row.origin in self._origins:
            self._open[row.key] = row
            if worker is not None:
                worker.rows[row.key] = row
            return
        self._open.pop(row.key, None)
        if worker is not None:
            worker.rows.pop(row.key, None)
        if (waiter := self._waiters.get(row.ref)) is not None:
            waiter.set()

    def _costs(self, row: BackfillRow) -> Mapping[str, float]:
        reach = self.reach(row.account, row.device)
        return reach.costs if reach is not None else {}


__all__ = ["Backfill", "BackfillBook", "BackfillOrigin", "Progress", "Source", "Wish"]
