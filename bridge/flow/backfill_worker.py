"""Reads the past of one account's devices: which ones now, each step by step, and what trouble means.

A worker makes no call while the broker is behind or the disk full, and none after it was told to stop; a step whose
call was answered is taken in, whatever happens meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
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
from bridge.domain.history import HistoryStep
from bridge.domain.times import unix_ms
from bridge.flow.backfill_book import RANK, BackfillBook, BackfillOrigin, period_of
from bridge.flow.backfill_progress import Pace
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
SHORT_PATIENCE, PATIENCE, LONG_PATIENCE = 3, 12, 100
"""How many failures in a row end it: where somebody waits for a `history` command; usually; where the vendor cannot be
reached at all, which is about a day, or its limit is used up again and again."""
UNREADABLE_TRIES = 3
STORE_RETRY_S = 1.0
LOOK_S = 60.0
ROOM_LOOK_S = 1.0
STOP_LOOK_S, QUIET_LOOKS = 0.05, 3
TELLING = (AuthFailed, RateLimited, NotSent)
"""What tells something of the account. A lost answer of a history may be that of its endpoint alone; polling knows."""


@dataclass(slots=True)
class Source:
    """Where one account's past comes from. `planned`: what polling takes of its `limits`, in calls a second. `calling`
    tells whether a call is on its way."""

    history: History
    limits: Sequence[Limit] = ()
    planned: Callable[[], Mapping[tuple[str, str], float]] = dict
    calling: Callable[[], bool] = lambda: False


@dataclass(slots=True)
class Surroundings:
    """What the workers of all accounts share. `noted` is told of every row as it is on disk now."""

    store: Store
    book: BackfillBook
    roster: Roster
    health: AccountHealth
    clock: Clock
    most_waiting: int
    noted: Callable[[BackfillRow], None]
    waiting: int = 0

    async def kept(self, work: Callable[[Tx], T]) -> T:
        """`store.run` for what a call was spent on: a store that fails is waited for."""
        while True:
            try:
                return await self.store.run(work)
            except StoreError as error:
                log.error("backfill.store_failed", extra={"reason": str(error)})
                await self.clock.sleep(STORE_RETRY_S)

    def policy(self, account: str) -> AccountPolicy | None:
        """The account's rules; None if it is gone."""
        return self.roster.policy(account) if self.roster.has(account) else None

    def now_waiting(self, messages: int) -> None:
        """So many messages wait for the broker."""
        self.waiting = messages


@dataclass(frozen=True, slots=True)
class _Running:
    key: int
    task: asyncio.Task[None]


@dataclass(slots=True)
class Worker:
    """One account's. `start` it, `stop` it; `rows` holds what is open, by key."""

    account: str
    source: Source
    around: Surroundings
    rows: dict[int, BackfillRow] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _keeper: asyncio.Task[None] | None = None
    _running: dict[str, _Running] = field(default_factory=dict)
    _expiring: set[int] = field(default_factory=set)
    _closing: bool = False

    def start(self) -> None:
        """Begins to read."""
        if self._keeper is None or self._keeper.done():
            work = self._supervise()
            self._keeper = asyncio.get_running_loop().create_task(work, name=f"backfill-{self.account}")

    def wake(self) -> None:
        """There is something new among the rows."""
        self._wake.set()

    def release(self, row: BackfillRow) -> None:
        """A row has ended from outside: whoever only waits for its next call need not wait."""
        running = self._running.get(row.device)
        if running is not None and running.key == row.key and not self.source.calling():
            running.task.cancel()

    async def stop(self, grace_s: float) -> None:
        """Takes no further step; a call that is on its way gets its answer for at most `grace_s`."""
        self._closing = True
        if self._keeper is not None:
            self._keeper.cancel()
        tasks = [running.task for running in self._running.values()]
        deadline = self.around.clock.monotonic() + grace_s
        quiet = 0
        while any(not task.done() for task in tasks) and quiet < QUIET_LOOKS:
            await asyncio.wait(tasks, timeout=STOP_LOOK_S)
            # a call may have left since the last look, or its answer is just being taken in
            waited_for = self.source.calling() and self.around.clock.monotonic() < deadline
            quiet = 0 if waited_for else quiet + 1
        for task in tasks:
            task.cancel()
        ends = [*tasks, *([self._keeper] if self._keeper is not None else [])]
        await asyncio.gather(*ends, return_exceptions=True)

    # who is next ------------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        while True:
            try:
                await self._serve()
            except Exception:
                log.exception("backfill.crashed", extra={"account": self.account})
            await self.around.clock.sleep(STORE_RETRY_S)

    async def _serve(self) -> None:
        while True:
            self._wake.clear()
            await self._nap(self._begin_due())

    def _begin_due(self) -> float:
        """Begins what may begin; returns the seconds until the next may."""
        now_ms = unix_ms(self.around.clock.now())
        wait_s = LOOK_S
        for row in sorted(self.rows.values(), key=lambda one: (RANK.get(one.origin, len(RANK)), one.key)):
            if row.expires_ms is not None:
                if row.expires_ms <= now_ms and not self.source.calling():
                    self._begin_expiring(row)
                    continue
                wait_s = min(wait_s, max(1.0, (row.expires_ms - now_ms) / 1000))
            if row.device in self._running:
                continue
            if row.next_ms is not None and row.next_ms > now_ms:
                wait_s = min(wait_s, (row.next_ms - now_ms) / 1000)
            elif len(self._running) < CONCURRENCY:
                self._begin(row, self._work(row))
        return wait_s

    def _begin_expiring(self, row: BackfillRow) -> None:
        """Its time is over before its call could leave."""
        if row.key in self._expiring:
            return
        running = self._running.get(row.device)
        if running is not None and running.key != row.key:
            return  # it has not begun: it ends in its turn
        if running is not None:
            running.task.cancel()
        self._expiring.add(row.key)
        self._begin(row, self._end(row, BackfillState.FAILED, "expired", "expires_at has passed"))

    def _begin(self, row: BackfillRow, work: Coroutine[None, None, None]) -> None:
        name = f"backfill-{row.account}/{row.device}"
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running[row.device] = _Running(row.key, task)

        def ended(task: asyncio.Task[None]) -> None:
            if (running := self._running.get(row.device)) is not None and running.task is task:
                del self._running[row.device]
                self._expiring.discard(row.key)
            self._wake.set()

        task.add_done_callback(ended)

    async def _nap(self, seconds: float) -> None:
        waker = asyncio.ensure_future(self._wake.wait())
        sleeper = asyncio.ensure_future(self.around.clock.sleep(max(0.01, seconds)))
        try:
            await asyncio.wait({waker, sleeper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()
            sleeper.cancel()

    # one device -------------------------------------------------------------------------------------------------

    async def _work(self, row: BackfillRow) -> None:
        """Reads one device until it is through, in trouble, or told to stop."""
        try:
            if (pause_s := self.around.health.pause_s(self.account)) > 0:
                await self.around.clock.sleep(pause_s)
            await self._read(row)
        except VendorError as error:
            await self._failed(row, error)
        except Rejection as error:
            await self._end(row, BackfillState.FAILED, error.code, error.message)
        except Exception as error:
            log.exception("backfill.step_crashed", extra={"account": row.account, "device": row.device})
            text = f"a fault of the gateway ({type(error).__name__})"
            await self._again(row, "internal", text, UNREADABLE_TRIES)

    async def _read(self, row: BackfillRow) -> None:
        current = await self.around.kept(lambda tx: tx.backfills.get(row.key))
        if current is None or current.state is not BackfillState.OPEN:
            self.around.noted(current or replace(row, state=BackfillState.CANCELLED))
            return
        device = self.around.roster.device(row.account, row.device)
        if device is None:
            await self._end(row, BackfillState.FAILED, "unknown_device", "the account has no such device")
            return
        await self._until_room()
        steps: AsyncGenerator[HistoryStep, None] = self.source.history.read(  # type: ignore[assignment] # closable
            device, period_of(current), current.cursor
        )
        async with aclosing(steps) as found:
            async for step in found:
                if not await self._go_on(row, step):
                    return
        await self._end(row, BackfillState.DONE)

    async def _go_on(self, row: BackfillRow, step: HistoryStep) -> bool:
        """Takes a step in; whether the next one may follow."""
        taken = await self._take(row, step)
        if taken.state is not BackfillState.OPEN or self._closing:
            return False
        await self._until_room()
        if taken.expires_ms is not None and unix_ms(self.around.clock.now()) >= taken.expires_ms:
            await self._end(row, BackfillState.FAILED, "expired", "expires_at has passed")
            return False
        return True

    async def _take(self, row: BackfillRow, step: HistoryStep) -> BackfillRow:
        policy = self.around.roster.policy(row.account)

        def work(tx: Tx) -> BackfillRow:
            current = tx.backfills.get(row.key)
            if current is None:
                return replace(row, state=BackfillState.CANCELLED)
            if current.state is not BackfillState.OPEN:
                return current
            taken = self.around.book.take(tx, policy, current, step)
            waiting = tx.outbox.waiting()[0]
            tx.after_commit(lambda: self.around.now_waiting(waiting))
            return taken

        taken = await self.around.kept(work)
        self.around.health.succeeded(row.account)
        self.pace.step(self.around.clock.monotonic())
        self.around.noted(taken)
        return taken

    async def _until_room(self) -> None:
        """Waits while the broker is behind or the disk full: what is read now would only lie in the outbox, before
        live records."""
        around = self.around
        while around.waiting > around.most_waiting or around.book.intake.is_refusing():
            await around.clock.sleep(ROOM_LOOK_S)
            around.now_waiting(await around.kept(lambda tx: tx.outbox.waiting()[0]))

    # trouble ----------------------------------------------------------------------------------------------------

    async def _failed(self, row: BackfillRow, error: VendorError) -> None:
        if isinstance(error, TELLING):
            self.around.health.failed(row.account, error)
        is_command = row.origin == BackfillOrigin.HISTORY
        patience = SHORT_PATIENCE if is_command else PATIENCE
        match error:
            case RateLimited():
                await self._wait_for_room(row, error)
            case AuthFailed() if is_command or row.origin == BackfillOrigin.CLI:
                await self._end(row, BackfillState.FAILED, "auth_failed", error.message)
            case AuthFailed():
                await self._again(row, "auth_failed", error.message, patience)
            case BadReply():
                await self._again(row, "vendor_error", error.message, min(patience, UNREADABLE_TRIES))
            case NotSent():
                most = patience if is_command else LONG_PATIENCE
                await self._again(row, "vendor_unreachable", error.message, most)
            case LostAnswer():
                await self._again(row, "no_answer", error.message, patience)
            case Refused():
                await self._end(row, BackfillState.FAILED, error.code, error.message)
            case _:
                await self._end(row, BackfillState.FAILED, "vendor_error", error.message)

    async def _wait_for_room(self, row: BackfillRow, error: RateLimited) -> None:
        """The limit opens again; only a vendor that says so for ever is given up."""
        await self._again(row, "rate_limited", error.message, LONG_PATIENCE, max(1.0, error.retry_after_s))

    async def _again(
        self, row: BackfillRow, code: str, message: str, patience: int, pause_s: float | None = None
    ) -> None:
        """Another try later, or the end of the patience."""
        row = self.rows.get(row.key, row)
        if row.failures + 1 >= patience:
            await self._end(row, BackfillState.FAILED, code, message)
            return
        if pause_s is None:
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(10, row.failures))
        until_ms = unix_ms(self.around.clock.now()) + int(pause_s * 1000)

        def work(tx: Tx) -> BackfillRow | None:
            current = tx.backfills.get(row.key)
            if current is None or current.state is not BackfillState.OPEN:
                return current
            return self.around.book.wait(tx, current, until_ms, code, message)

        waiting = await self.around.kept(work)
        if waiting is not None:
            self.around.noted(waiting)

    async def _end(
        self, row: BackfillRow, state: BackfillState, code: str | None = None, message: str = ""
    ) -> None:
        policy = self.around.policy(row.account)

        def work(tx: Tx) -> BackfillRow | None:
            current = tx.backfills.get(row.key)
            if current is None or current.state is not BackfillState.OPEN:
                return current
            return self.around.book.end(tx, policy, current, state, code, message)

        ended = await self.around.kept(work)
        self.around.noted(ended or replace(row, state=BackfillState.CANCELLED))
