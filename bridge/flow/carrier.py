"""Carries one command from `accepted` to its final acknowledgement, through lost answers and restarts.

The rule that everything here serves: a request that changes something leaves only after the journal says DISPATCHED
on disk, and a command of which nobody knows whether it ran goes on only as its `AfterLoss` says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from typing import Any

from bridge.domain.command import AfterLoss, CommandSpec, CommandState, Outcome, Status
from bridge.domain.errors import (
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    Rejection,
    StoreError,
    VendorError,
    Withdrawn,
)
from bridge.domain.times import unix_ms
from bridge.flow.casebook import STORE_RETRY_S, Casebook, Health
from bridge.flow.effect import JournalEffect
from bridge.flow.reconciler import Reconciler
from bridge.flow.roster import Roster
from bridge.flow.settle import Settler
from bridge.flow.verdicts import final_no
from bridge.ports import Clock
from bridge.store.protocols import JournalRow, Store, Tx

log = logging.getLogger("bridge.commands")

NOT_SENT_TRIES = 3
MAX_RATE_WAIT_S = 600.0
MIN_RATE_WAIT_S = 1.0
RATE_LIMITED_TRIES = 20
OWN_FAULT = "a fault of the gateway; see its log"
ORPHAN_WAIT_S = 5.0
"""How long an account may be away before its commands end: a reload takes it out and puts it in again."""


class Carrier:
    """Knows how to bring commands to their end. One for all accounts."""

    def __init__(self, store: Store, roster: Roster, settler: Settler, clock: Clock, health: Health) -> None:
        self._book = Casebook(store, roster, settler, clock, health)
        self._store = store
        self._settler = settler
        self._clock = clock
        self._health = health
        self._reconciler = Reconciler(self._book, self._attempt)

    def tell_free(self, told: Callable[[JournalRow], None]) -> None:
        """Who is to know of a command that holds back the next one of its device no longer; see `Tx.ahead`."""
        self._book.on_free = told

    def wake(self, key: int) -> None:
        """Something happened to this command: whoever waits for it looks again."""
        self._book.wake(key)

    def rest_s(self, row: JournalRow) -> float:
        """Seconds until a command expires; to be asked when it is taken up, so that its time begins."""
        return self._book.rest_s(row)

    def is_exclusive(self, row: JournalRow) -> bool:
        """Whether other exclusive commands of its device wait for its end."""
        spec = self._book.spec(row)
        return spec is not None and spec.exclusive

    async def carry(
        self,
        key: int,
        until_free: bool = False,
        fresh: JournalRow | None = None,
        after: Collection[int] = (),
    ) -> bool:
        """Works on a command until it is final (True), or with `until_free` until the next one of its device may
        begin (False). `fresh`: its row, as it was when it was handed over, perhaps not on disk yet. `after`: what
        must be settled on disk before it leaves.

        Raises nothing but cancellation: a store that does not take changes is waited for.
        """
        # a wake-up between `sent` and the one who follows it must not be lost: the event is handed over
        self._book.wakes.setdefault(key, asyncio.Event())
        handed_over = False
        row = fresh if key not in self._book.touched and self._may_begin(fresh) else None
        try:
            while True:
                row = row or await self._book.row(key)
                if row is None or row.state is CommandState.FINAL:
                    return True
                spec = self._book.spec(row)
                if spec is not None and until_free and self._reconciler.lets_pass(row, spec):
                    handed_over = True
                    return False
                row = await self._on(row, spec, after)
        finally:
            if not handed_over:
                self._book.forget(key)

    def _may_begin(self, row: JournalRow | None) -> bool:
        """Whether work on it may begin before it is known to be on disk. Else it is read first, which waits for that:
        a request that nothing notes before it leaves must not be the first sign of a command."""
        spec = self._book.spec(row) if row is not None else None
        return spec is not None and spec.writes and spec.direct

    async def _on(
        self, row: JournalRow, spec: CommandSpec | None, after: Collection[int]
    ) -> JournalRow | None:
        """One step; the row as it stands then, None where it must be read again."""
        try:
            return await (self._orphaned(row) if spec is None else self._step(row, spec, after))
        except StoreError as error:
            log.error("command.store_failed", extra={"key": row.key, "reason": str(error)})
            await self._clock.sleep(STORE_RETRY_S)
        except Exception:
            log.exception("command.crashed", extra={"command": row.command, "account": row.account})
            await self._own_fault(row)
        return None

    async def _step(self, row: JournalRow, spec: CommandSpec, after: Collection[int]) -> JournalRow | None:
        match row.state:
            case CommandState.ACCEPTED:
                return await self._attempt(row, spec, after)
            case CommandState.DISPATCHED:
                # only a restart finds a row so: the request may have left, nobody waits for its answer
                await self._lost(row, "the gateway was restarted while the command was under way")
            case CommandState.UNKNOWN:
                return await self._reconciler.resolve(row, spec)
            case CommandState.SENT:
                return await self._reconciler.follow(row, spec)
        return None

    # sending ----------------------------------------------------------------------------------------------------

    async def _attempt(
        self, row: JournalRow, spec: CommandSpec, after: Collection[int] = ()
    ) -> JournalRow | None:
        # a lock that came meanwhile has ended the command, or `leaving` sees it
        late = self._book.late(row)
        if late is not None and row.attempt == 0:
            return await self._book.settle(row, late)
        if late is not None:
            await self._give_up_repeating(row)
            return None
        executor = self._book.executor(row)
        params = self._book.params(row, spec)
        effect = JournalEffect(
            self._store,
            self._settler,
            self._clock,
            self._book.roster,
            row,
            spec,
            params,
            self._book.late,
            after,
        )
        try:
            self._book.refuse_parked(row, spec)
            order = await self._book.order(row, spec)
            outcome = await self._in_time(effect, spec, executor.execute(order, effect))
            self._health.succeeded(row.account, spec.part)
            return await self._book.settle(effect.row, outcome)
        except Withdrawn:
            await self._withdrawn(effect)
        except VendorError as error:
            await self._failed(effect, spec, error)
        except Rejection as error:
            await self._not_done(effect, spec, Outcome(Status.FAILED, error.code, error.message))
        except StoreError:
            raise
        except Exception as error:
            log.exception("command.crashed", extra={"command": row.command, "account": row.account})
            if effect.left:
                await self._lost(
                    effect.row, f"a fault of the gateway ({type(error).__name__})", times=effect.times
                )
            else:
                await self._not_done(effect, spec, Outcome(Status.FAILED, "internal", OWN_FAULT))
        return None

    async def _in_time(
        self, effect: JournalEffect, spec: CommandSpec, work: Coroutine[Any, Any, Outcome]
    ) -> Outcome:
        """A reading command that waits for its slot ends when it expires; one that writes is checked by `leaving`, and
        one that has left gets its answer."""
        expires_ms = effect.row.expires_ms
        if spec.writes or expires_ms is None:
            return await work
        rest_s = self._book.rest_s(effect.row)
        worker = asyncio.ensure_future(work)
        sleeper = asyncio.ensure_future(self._clock.sleep(max(0.0, rest_s)))
        try:
            await asyncio.wait({worker, sleeper}, return_when=asyncio.FIRST_COMPLETED)
            if worker.done() or effect.left:
                return await worker
        finally:
            worker.cancel()
            sleeper.cancel()
        return Outcome(Status.EXPIRED, "expired", "expires_at has passed before an answer came")

    async def _withdrawn(self, effect: JournalEffect) -> None:
        """`leaving` said no. The first time that ended the command; a repetition is just not made."""
        row = await self._store.run(lambda tx: tx.journal.get(effect.row.key))
        if row is not None and row.state is not CommandState.FINAL and row.attempt > 0:
            await self._give_up_repeating(row)

    async def _give_up_repeating(self, row: JournalRow) -> None:
        spec = self._book.spec(row)
        after = spec.after_loss(self._book.params(row, spec)) if spec else AfterLoss()
        await self._book.settle(row, Outcome(after.otherwise, after.code, after.message))

    async def _failed(self, effect: JournalEffect, spec: CommandSpec, error: VendorError) -> None:
        row = effect.row
        self._health.failed(row.account, error, spec.part)
        match error:
            case NotSent():
                await self._not_sent(effect, error)
            case LostAnswer() if effect.left:
                await self._lost(row, error.message, error.native_code, effect.times)
            case LostAnswer():
                await self._unanswered_read(row, spec, error)
            case RateLimited():
                await self._rate_limited(effect, spec, error)
            case Refused():
                await self._book.settle(row, final_no(error, row, self._clock.now()))
            case _:
                await self._not_done(effect, spec, final_no(error, row, self._clock.now()))

    async def _not_done(self, effect: JournalEffect, spec: CommandSpec, outcome: Outcome) -> None:
        """The end of a command that this attempt did not carry out. Of an earlier attempt, whose answer was lost, that
        says nothing: then it ends as if it had not been repeated."""
        row = effect.row
        if row.attempt > effect.times:
            after = spec.after_loss(self._book.params(row, spec))
            message = f"{after.message}; sent once more: {outcome.message}"
            outcome = replace(outcome, status=after.otherwise, code=after.code, message=message)
        await self._book.settle(row, outcome)

    async def _not_sent(self, effect: JournalEffect, error: NotSent) -> None:
        """The request did not leave: harmless to try again, a few times."""
        row = effect.row
        tries = row.resends + 1
        if tries >= NOT_SENT_TRIES and row.attempt <= effect.times:
            await self._book.settle(row, Outcome(Status.FAILED, "vendor_unreachable", error.message))
            return
        await self._back(effect, error.message)
        await self._book.woken(row, 2.0 ** (tries - 1))

    async def _rate_limited(self, effect: JournalEffect, spec: CommandSpec, error: RateLimited) -> None:
        """The vendor did not process it: wait for the next slot, if that is in sight."""
        row = effect.row
        wait_s = max(MIN_RATE_WAIT_S, error.retry_after_s)
        expires_s = self._book.rest_s(row)
        if wait_s > min(MAX_RATE_WAIT_S, expires_s) or row.resends >= RATE_LIMITED_TRIES:
            outcome = Outcome(Status.FAILED, "rate_limited", error.message, vendor_code=error.native_code)
            await self._not_done(effect, spec, outcome)
            return
        await self._back(effect, error.message)
        await self._book.woken(row, wait_s)

    async def _back(self, effect: JournalEffect, note: str) -> None:
        """The row goes back to where it was before this attempt, which is proved not to have left."""

        def work(tx: Tx) -> None:
            row = tx.journal.get(effect.row.key)
            if row is None or row.state is CommandState.FINAL:
                return  # a lock has ended it meanwhile
            row.resends += 1
            if not effect.left:
                tx.journal.save(row, note)
                return
            row.attempt -= effect.times
            if row.attempt <= 0:
                self._settler.move(tx, row, CommandState.ACCEPTED, note)
                return
            row.lost_ms = row.lost_ms if row.lost_ms is not None else unix_ms(self._clock.now())
            self._settler.move(tx, row, CommandState.UNKNOWN, note)

        await self._book.kept(work)

    async def _unanswered_read(self, row: JournalRow, spec: CommandSpec, error: LostAnswer) -> None:
        """Nothing that changes anything left: asking again is harmless, as often as the command says."""
        after = spec.after_loss(self._book.params(row, spec))
        if row.resends >= after.send_again:
            never_left = row.attempt == 0 and after.otherwise is Status.INDETERMINATE
            status = Status.FAILED if never_left else after.otherwise
            await self._book.settle(
                row, Outcome(status, "no_answer", error.message, vendor_code=error.native_code)
            )
            return

        def work(tx: Tx) -> None:
            current = tx.journal.get(row.key)
            if current is not None and current.state is row.state:
                current.resends += 1
                tx.journal.save(current, error.message)

        await self._book.kept(work)
        await self._book.woken(row, after.again_after_s * 2.0**row.resends)

    # unknown outcome --------------------------------------------------------------------------------------------

    async def _lost(self, row: JournalRow, note: str, native_code: object = None, times: int = 1) -> None:
        """The outcome is unknown from now on, unless the device has shown it already."""

        def work(tx: Tx) -> None:
            current = tx.journal.get(row.key)
            if current is None or current.state is CommandState.FINAL:
                return
            if native_code is not None:
                current.vendor_code = native_code
            if self._settler.seen_since(tx, current):
                self._settler.settle(tx, current, Outcome(Status.SUCCEEDED, message="seen at the device"))
                return
            current.lost_ms = unix_ms(self._clock.now())
            current.asks = 0
            if current.attempt <= times:
                current.resends = 0  # counted attempts to connect so far; from here on repetitions
            self._settler.move(tx, current, CommandState.UNKNOWN, note)

        await self._book.kept(work)

    # small parts ------------------------------------------------------------------------------------------------

    async def _own_fault(self, row: JournalRow) -> None:
        """A fault of ours, of which it is not known when it happened."""
        waits = row.state is CommandState.ACCEPTED
        status = Status.FAILED if waits else Status.INDETERMINATE
        await self._book.settle(row, Outcome(status, "internal", OWN_FAULT))

    async def _orphaned(self, row: JournalRow) -> JournalRow | None:
        """Nobody carries out such a command any more: the account, the device or the command is gone."""
        if await self._book.woken(row, ORPHAN_WAIT_S) or self._book.spec(row) is not None:
            return None
        if row.state is CommandState.ACCEPTED:
            outcome = Outcome(
                Status.CANCELLED,
                "unknown_command",
                "the account or the command is gone from the configuration",
            )
        else:
            outcome = Outcome(
                Status.INDETERMINATE, "unknown_command", "the account is gone: nobody can be asked any more"
            )
        return await self._book.settle(row, outcome)
