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
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from bridge.domain.account import AccountPolicy
from bridge.domain.errors import (
    AuthFailed,
    BadReply,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    Rejection,
    StoreError,
    VendorError,
)
from bridge.domain.history import HistoryStep, Reach
from bridge.domain.ids import GATEWAY
from bridge.domain.times import unix_ms
from bridge.flow.backfill_book import RANK, BackfillBook, BackfillOrigin, Wish, period_of
from bridge.flow.backfill_progress import Pace, Progress, progress_of
from bridge.flow.health import AccountHealth
from bridge.flow.roster import Roster
from bridge.pace.limits import Limit
from bridge.ports import Clock, History
from bridge.store.protocols import BackfillRow, BackfillState, Store, Tx

log = logging.getLogger("bridge.backfill")

T = TypeVar("T")

CONCURRENCY = 24
"""How many devices of one account are read at once: limits per device let them go on side by side."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 900.0
PATIENCE = {BackfillOrigin.HISTORY: 3}
"""How many failures in a row end it; somebody waits for a `history` command."""
USUAL_PATIENCE = 12
UNREADABLE_TRIES = 3
STORE_RETRY_S = 1.0
_COMMANDS = (BackfillOrigin.HISTORY, BackfillOrigin.COMMAND)
LOOK_S = 60.0
ROOM_LOOK_S = 1.0
MOST_WAITING = 5000


@dataclass(slots=True)
class Source:
    """Where one account's past comes from. `calling` tells whether a call is on its way."""

    history: History
    limits: Sequence[Limit] = ()
    calling: Callable[[], bool] = lambda: False


@dataclass(slots=True)
class _Account:
    source: Source
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None
    running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    expiring: set[int] = field(default_factory=set)
    closing: bool = False


class Backfill:
    """One for all accounts. `open` it, `enter` accounts, `run` until cancelled; `aclose` before the store closes."""

    def __init__(
        self,
        store: Store,
        book: BackfillBook,
        roster: Roster,
        health: AccountHealth,
        clock: Clock,
        origins: Collection[BackfillOrigin] = (
            BackfillOrigin.HISTORY,
            BackfillOrigin.COMMAND,
            BackfillOrigin.GAP,
        ),
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """`origins`: whose backfills this process works on. `most_waiting`: with more messages than that in the outbox
        no further call is made."""
        self._most_waiting = most_waiting
        self._waiting = 0
        self.book = book
        self._store = store
        self._roster = roster
        self._health = health
        self._clock = clock
        self._origins = frozenset(origins)
        self._open: dict[int, BackfillRow] = {}
        self._accounts: dict[str, _Account] = {}
        self._pace: dict[str, Pace] = {}
        self._waiters: dict[str, asyncio.Event] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self._started = False
        self.on_changed: Callable[[BackfillRow], None] = lambda _row: None

    # what is to be read -----------------------------------------------------------------------------------------

    def reach(self, account: str, device: str) -> Reach | None:
        """How far back the vendor keeps this device's past, and what that costs; None where it keeps none, or nobody
        knows the device."""
        entry, known = self._accounts.get(account), self._roster.device(account, device)
        return entry.source.history.reach(known) if entry is not None and known is not None else None

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
        """What another process left open of this group is worked on here. Raises StoreError."""

        def work(tx: Tx) -> None:
            if self.book.claim(tx, ref, origin, asked_by):
                self.adopt(tx)

        await self._store.run(work)

    def adopt(self, tx: Tx) -> None:
        """After the commit of `tx` what it submitted is worked on."""
        rows = [row for row in tx.backfills.unfinished() if row.origin in self._origins]

        def after() -> None:
            self._open.update({row.key: row for row in rows})
            for entry in self._accounts.values():
                entry.wake.set()

        tx.after_commit(after)

    async def progress(self, ref: str) -> Progress:
        """How far a group is. Raises StoreError."""
        rows = await self._store.run(lambda tx: list(tx.backfills.of_ref(ref)))
        return progress_of(rows, self._costs, self._pace)

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
                self.book.end(tx, self._policy(row), row, BackfillState.CANCELLED, "interlock", message)
                for row in tx.backfills.of_ref(ref)
                if row.state is BackfillState.OPEN
            ]

        for row in await self._store.run(work):
            self._forget(row)
            entry = self._accounts.get(row.account)
            task = entry.running.get(row.device) if entry is not None else None
            if entry is not None and task is not None and not entry.source.calling():
                task.cancel()  # it only waits

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
        self._accounts[account] = entry = _Account(source)
        self._pace.setdefault(account, Pace()).limits = tuple(source.limits)
        if self._started:
            self._keep(account, entry)

    async def leave(self, account: str, grace_s: float = 2.0) -> None:
        """An account ends; what it was reading goes on when it is there again."""
        entry = self._accounts.pop(account, None)
        if entry is not None:
            await self._close(entry, grace_s)

    async def start(self) -> None:
        """Begins with what is open in the store. Raises StoreError."""
        self._started = True
        await self._store.run(self.adopt)
        for account, entry in self._accounts.items():
            self._keep(account, entry)

    async def aclose(self, grace_s: float) -> None:
        """Takes no further step; a call that is on its way gets its answer for at most `grace_s`."""
        self._started = False
        await asyncio.gather(*(self._close(entry, grace_s) for entry in self._accounts.values()))

    def _keep(self, account: str, entry: _Account) -> None:
        if entry.keeper is None or entry.keeper.done():
            work = self._supervise(account, entry)
            entry.keeper = asyncio.get_running_loop().create_task(work, name=f"backfill-{account}")

    async def _close(self, entry: _Account, grace_s: float) -> None:
        entry.closing = True
        tasks = list(entry.running.values())
        deadline = self._clock.monotonic() + grace_s
        while any(not task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=0.05)
            if not entry.source.calling() or self._clock.monotonic() >= deadline:
                break
        if any(not task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=0.1)  # an answer that has just come is still being taken in
        ends = [*tasks, *([entry.keeper] if entry.keeper is not None else [])]
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)

    # work -------------------------------------------------------------------------------------------------------

    async def _supervise(self, account: str, entry: _Account) -> None:
        while True:
            try:
                await self._serve(account, entry)
            except Exception:
                log.exception("backfill.crashed", extra={"account": account})
            await self._clock.sleep(STORE_RETRY_S)

    async def _serve(self, account: str, entry: _Account) -> None:
        while True:
            entry.wake.clear()
            due_s = self._begin_due(account, entry)
            await self._nap(entry, due_s)

    def _begin_due(self, account: str, entry: _Account) -> float:
        """Begins what may begin; returns the seconds until the next may."""
        now_ms = unix_ms(self._clock.now())
        wait_s = LOOK_S
        mine = [row for row in self._open.values() if row.account == account]
        for row in sorted(mine, key=lambda one: (RANK.get(one.origin, len(RANK)), one.key)):
            if row.expires_ms is not None:
                if row.expires_ms <= now_ms and not entry.source.calling():
                    self._begin_expiring(entry, row)
                    continue
                wait_s = min(wait_s, max(1.0, (row.expires_ms - now_ms) / 1000))
            if row.device in entry.running:
                continue
            if row.next_ms is not None and row.next_ms > now_ms:
                wait_s = min(wait_s, (row.next_ms - now_ms) / 1000)
            elif len(entry.running) < CONCURRENCY:
                self._begin(entry, row)
        return wait_s

    def _begin_expiring(self, entry: _Account, row: BackfillRow) -> None:
        """Its time is over before its call could leave."""
        if row.key in entry.expiring:
            return
        entry.expiring.add(row.key)
        running = entry.running.pop(row.device, None)
        if running is not None:
            running.cancel()
        self._spawn(entry, row, self._end(row, BackfillState.FAILED, "expired", "expires_at has passed"))

    def _begin(self, entry: _Account, row: BackfillRow) -> None:
        self._spawn(entry, row, self._work(entry, row))

    def _spawn(self, entry: _Account, row: BackfillRow, work: Coroutine[None, None, None]) -> None:
        name = f"backfill-{row.account}/{row.device}"
        task = asyncio.get_running_loop().create_task(work, name=name)
        entry.running[row.device] = task

        def ended(task: asyncio.Task[None]) -> None:
            if entry.running.get(row.device) is task:
                del entry.running[row.device]
            entry.wake.set()

        task.add_done_callback(ended)

    async def _nap(self, entry: _Account, seconds: float) -> None:
        waker = asyncio.ensure_future(entry.wake.wait())
        sleeper = asyncio.ensure_future(self._clock.sleep(max(0.01, seconds)))
        try:
            await asyncio.wait({waker, sleeper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()
            sleeper.cancel()

    async def _work(self, entry: _Account, row: BackfillRow) -> None:
        """Reads one device until it is through, in trouble, or told to stop."""
        try:
            if (pause_s := self._health.pause_s(row.account)) > 0:
                await self._clock.sleep(pause_s)
            await self._read(entry, row)
        except VendorError as error:
            await self._failed(row, error)
        except Rejection as error:
            await self._end(row, BackfillState.FAILED, error.code, error.message)
        except Exception as error:
            log.exception("backfill.step_crashed", extra={"account": row.account, "device": row.device})
            await self._again(
                row, "internal", f"a fault of the gateway ({type(error).__name__})", UNREADABLE_TRIES
            )

    async def _read(self, entry: _Account, row: BackfillRow) -> None:
        current = await self._kept(lambda tx: tx.backfills.get(row.key))
        if current is None or current.state is not BackfillState.OPEN:
            self._forget(row)
            return
        device = self._roster.device(row.account, row.device)
        if device is None:
            await self._end(row, BackfillState.FAILED, "unknown_device", "the account has no such device")
            return
        await self._until_room()
        steps: AsyncGenerator[HistoryStep, None] = entry.source.history.read(  # type: ignore[assignment] # closable
            device, period_of(current), current.cursor
        )
        async with aclosing(steps) as found:
            async for step in found:
                if not await self._go_on(entry, row, step):
                    return
        await self._end(row, BackfillState.DONE)

    async def _go_on(self, entry: _Account, row: BackfillRow, step: HistoryStep) -> bool:
        """Takes a step in; whether the next one may follow."""
        taken = await self._take(row, step)
        if taken.state is not BackfillState.OPEN or entry.closing:
            return False
        await self._until_room()
        if taken.expires_ms is not None and unix_ms(self._clock.now()) >= taken.expires_ms:
            await self._end(row, BackfillState.FAILED, "expired", "expires_at has passed")
            return False
        return True

    async def _take(self, row: BackfillRow, step: HistoryStep) -> BackfillRow:
        policy = self._roster.policy(row.account)

        def work(tx: Tx) -> BackfillRow:
            current = tx.backfills.get(row.key)
            if current is None:
                return replace(row, state=BackfillState.CANCELLED)
            if current.state is not BackfillState.OPEN:
                return current
            taken = self.book.take(tx, policy, current, step)
            waiting = tx.outbox.waiting()[0]
            tx.after_commit(lambda: self._now_waiting(waiting))
            return taken

        taken = await self._kept(work)
        self._health.succeeded(row.account)
        self._pace[row.account].step(self._clock.monotonic())
        self._note(taken)
        return taken

    async def _failed(self, row: BackfillRow, error: VendorError) -> None:
        self._health.failed(row.account, error)
        waited_for = row.origin in (BackfillOrigin.HISTORY, BackfillOrigin.CLI)
        patience = PATIENCE.get(BackfillOrigin(row.origin), USUAL_PATIENCE)
        match error:
            case RateLimited():
                await self._rest(row, max(1.0, error.retry_after_s), "rate_limited", error.message)
            case AuthFailed() if waited_for:
                await self._end(row, BackfillState.FAILED, "auth_failed", error.message)
            case AuthFailed():
                await self._again(row, "auth_failed", error.message, patience)
            case BadReply():
                await self._again(row, "vendor_error", error.message, min(patience, UNREADABLE_TRIES))
            case NotSent():
                await self._again(row, "vendor_unreachable", error.message, patience)
            case LostAnswer():
                await self._again(row, "no_answer", error.message, patience)
            case Refused():
                await self._end(row, BackfillState.FAILED, error.code, error.message)
            case _:
                await self._end(row, BackfillState.FAILED, "vendor_error", error.message)

    async def _again(self, row: BackfillRow, code: str, message: str, patience: int) -> None:
        """Another try later, or the end of the patience."""
        row = self._open.get(row.key, row)
        if row.failures + 1 >= patience:
            await self._end(row, BackfillState.FAILED, code, message)
            return
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**row.failures)
        await self._rest(row, pause_s, code, message, failed=True)

    async def _rest(
        self, row: BackfillRow, seconds: float, code: str, message: str, *, failed: bool = False
    ) -> None:
        until_ms = unix_ms(self._clock.now()) + int(seconds * 1000)

        def work(tx: Tx) -> BackfillRow | None:
            current = tx.backfills.get(row.key)
            if current is None or current.state is not BackfillState.OPEN:
                return current
            return self.book.wait(tx, current, until_ms, code, message, failed=failed)

        waiting = await self._kept(work)
        if waiting is not None:
            self._note(waiting)

    async def _end(
        self, row: BackfillRow, state: BackfillState, code: str | None = None, message: str = ""
    ) -> None:
        policy = self._policy(row)

        def work(tx: Tx) -> BackfillRow | None:
            current = tx.backfills.get(row.key)
            if current is None or current.state is not BackfillState.OPEN:
                return current
            return self.book.end(tx, policy, current, state, code, message)

        ended = await self._kept(work)
        self._note(ended if ended is not None else replace(row, state=BackfillState.CANCELLED))

    async def _until_room(self) -> None:
        """Waits while the broker is behind or the disk full: what is read now would only lie in the outbox, before
        live records."""
        while self._waiting > self._most_waiting or self.book.intake.is_refusing():
            await self._clock.sleep(ROOM_LOOK_S)
            self._now_waiting(await self._kept(lambda tx: tx.outbox.waiting()[0]))

    def _now_waiting(self, messages: int) -> None:
        self._waiting = messages

    # small parts ------------------------------------------------------------------------------------------------

    def _note(self, row: BackfillRow) -> None:
        """The row as it is on disk now."""
        if row.state is BackfillState.OPEN:
            self._open[row.key] = row
        else:
            self._forget(row)
        self.on_changed(row)

    def _forget(self, row: BackfillRow) -> None:
        self._open.pop(row.key, None)
        if (waiter := self._waiters.get(row.ref)) is not None:
            waiter.set()

    def _policy(self, row: BackfillRow) -> AccountPolicy | None:
        return self._roster.policy(row.account) if self._roster.has(row.account) else None

    def _costs(self, row: BackfillRow) -> Mapping[str, float]:
        reach = self.reach(row.account, row.device)
        return reach.costs if reach is not None else {}

    async def _kept(self, work: Callable[[Tx], T]) -> T:
        """`store.run` for what a call was spent on: a store that fails is waited for."""
        while True:
            try:
                return await self._store.run(work)
            except StoreError as error:
                log.error("backfill.store_failed", extra={"reason": str(error)})
                await self._clock.sleep(STORE_RETRY_S)


__all__ = ["Backfill", "BackfillBook", "BackfillOrigin", "Progress", "Source", "Wish"]
