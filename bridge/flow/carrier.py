"""Carries one command from `accepted` to its final acknowledgement, through lost answers and restarts.

The rule that everything here serves: a request that changes something leaves only after the journal says DISPATCHED
on disk, and a command of which nobody knows whether it ran goes on only as its `AfterLoss` says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from bridge.domain.command import AfterLoss, CommandSpec, CommandState, Order, Outcome, Status
from bridge.domain.errors import (
    AuthFailed,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    Rejection,
    StoreError,
    VendorError,
    Withdrawn,
)
from bridge.domain.text import dumps
from bridge.domain.times import from_unix_ms, unix_ms
from bridge.flow.effect import JournalEffect, stopped
from bridge.flow.roster import Roster
from bridge.flow.settle import Settler
from bridge.flow.verdicts import asked_at_s, final_no, next_look_s
from bridge.ports import Clock, Executor
from bridge.store.protocols import JournalRow, Store, Tx

log = logging.getLogger("bridge.commands")

T = TypeVar("T")

NOT_SENT_TRIES = 3
MAX_RATE_WAIT_S = 600.0
MIN_RATE_WAIT_S = 1.0
RATE_LIMITED_TRIES = 20
STORE_RETRY_S = 1.0
OWN_FAULT = "a fault of the gateway; see its log"
HOLDING_S = 120.0
"""How long a command with an unknown outcome holds back the others of its device, unless it may be sent once more."""
ORPHAN_WAIT_S = 5.0
"""How long an account may be away before its commands end: a reload takes it out and puts it in again."""


class Health(Protocol):
    """What the account's health makes of a command's calls (`flow.health`)."""

    def parked(self, account: str, part: str = "") -> AuthFailed | None:
        """The reason why no call of this account may leave now, to this part of the vendor's API."""
        ...

    def succeeded(self, account: str, part: str = "") -> None:
        """A call was answered."""
        ...

    def failed(self, account: str, error: VendorError, part: str = "") -> None:
        """A call failed."""
        ...


@dataclass(slots=True)
class Carrier:
    """Knows how to bring commands to their end. One for all accounts."""

    store: Store
    roster: Roster
    settler: Settler
    clock: Clock
    health: Health
    wakes: dict[int, asyncio.Event] = field(default_factory=dict)
    on_sent: Callable[[JournalRow], None] = lambda _row: None

    def wake(self, key: int) -> None:
        """Something happened to this command: whoever waits for it looks again."""
        if key in self.wakes:
            self.wakes[key].set()

    def is_exclusive(self, row: JournalRow) -> bool:
        """Whether other exclusive commands of its device wait for its end."""
        spec = self._spec(row)
        return spec is not None and spec.exclusive

    async def carry(self, key: int, until_free: bool = False) -> bool:
        """Works on a command until it is final (True), or with `until_free` until the next one of its device may
        begin (False).

        Raises nothing but cancellation: a store that does not take changes is waited for.
        """
        # a wake-up between `sent` and the one who follows it must not be lost: the event is handed over
        self.wakes.setdefault(key, asyncio.Event())
        handed_over = False
        try:
            while True:
                row = await self._kept(lambda tx: tx.journal.get(key))
                if row is None or row.state is CommandState.FINAL:
                    return True
                try:
                    spec = self._spec(row)
                    if spec is None:
                        await self._orphaned(row)
                    elif until_free and self._lets_pass(row, spec):
                        handed_over = True
                        return False
                    else:
                        await self._step(row, spec)
                except StoreError as error:
                    log.error("command.store_failed", extra={"key": key, "reason": str(error)})
                    await self.clock.sleep(STORE_RETRY_S)
                except Exception:
                    log.exception("command.crashed", extra={"command": row.command, "account": row.account})
                    await self._own_fault(row)
        finally:
            if not handed_over:
                self.wakes.pop(key, None)

    def _lets_pass(self, row: JournalRow, spec: CommandSpec) -> bool:
        """The vendor has it; or nobody knows for some time already, and it will not be sent again in any case."""
        if row.state is CommandState.SENT:
            return True
        if row.state is not CommandState.UNKNOWN or self._age_s(row.lost_ms) < HOLDING_S:
            return False
        return row.resends >= spec.after_loss(self._params(row, spec)).send_again

    async def _step(self, row: JournalRow, spec: CommandSpec) -> None:
        match row.state:
            case CommandState.ACCEPTED:
                await self._attempt(row, spec)
            case CommandState.DISPATCHED:
                # only a restart finds a row so: the request may have left, nobody waits for its answer
                await self._lost(row, "the gateway was restarted while the command was under way")
            case CommandState.UNKNOWN:
                await self._resolve(row, spec)
            case CommandState.SENT:
                await self._follow(row, spec)

    # sending ----------------------------------------------------------------------------------------------------

    async def _attempt(self, row: JournalRow, spec: CommandSpec) -> None:
        stop = await self.store.run(lambda tx: stopped(tx, row, self.clock.now()))
        if stop is not None:
            await (self._settle(row, stop) if row.attempt == 0 else self._give_up_repeating(row))
            return
        executor = self._executor(row)
        effect = JournalEffect(self.store, self.settler, self.clock, row)
        try:
            self._refuse_parked(row, spec)
            order = await self._order(row, spec)
            outcome = await self._in_time(effect, spec, executor.execute(order, effect))
            self.health.succeeded(row.account, spec.part)
            await self._settle(effect.row, outcome)
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
                await self._lost(effect.row, f"a fault of the gateway ({type(error).__name__})")
            else:
                await self._not_done(effect, spec, Outcome(Status.FAILED, "internal", OWN_FAULT))

    async def _in_time(
        self, effect: JournalEffect, spec: CommandSpec, work: Coroutine[Any, Any, Outcome]
    ) -> Outcome:
        """A reading command that waits for its slot ends when it expires; one that writes is checked by `leaving`, and
        one that has left gets its answer."""
        expires_ms = effect.row.expires_ms
        if spec.writes or expires_ms is None:
            return await work
        rest_s = expires_ms / 1000 - self.clock.now().timestamp()
        worker = asyncio.ensure_future(work)
        sleeper = asyncio.ensure_future(self.clock.sleep(max(0.0, rest_s)))
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
        row = await self.store.run(lambda tx: tx.journal.get(effect.row.key))
        if row is not None and row.state is not CommandState.FINAL and row.attempt > 0:
            await self._give_up_repeating(row)

    async def _failed(self, effect: JournalEffect, spec: CommandSpec, error: VendorError) -> None:
        row = effect.row
        self.health.failed(row.account, error, spec.part)
        match error:
            case NotSent():
                await self._not_sent(effect, error)
            case LostAnswer() if effect.left:
                await self._lost(row, error.message, error.native_code)
            case LostAnswer():
                await self._unanswered_read(row, spec, error)
            case RateLimited():
                await self._rate_limited(effect, spec, error)
            case Refused():
                await self._settle(row, final_no(error, row, self.clock.now()))
            case _:
                await self._not_done(effect, spec, final_no(error, row, self.clock.now()))

    async def _not_done(self, effect: JournalEffect, spec: CommandSpec, outcome: Outcome) -> None:
        """The end of a command that this attempt did not carry out. Of an earlier attempt, whose answer was lost, that
        says nothing: then it ends as if it had not been repeated."""
        row = effect.row
        if row.attempt > int(effect.left):
            after = spec.after_loss(self._params(row, spec))
            message = f"{after.message}; sent once more: {outcome.message}"
            outcome = replace(outcome, status=after.otherwise, code=after.code, message=message)
        await self._settle(row, outcome)

    async def _not_sent(self, effect: JournalEffect, error: NotSent) -> None:
        """The request did not leave: harmless to try again, a few times."""
        row = effect.row
        tries = row.resends + 1
        if tries >= NOT_SENT_TRIES and row.attempt <= int(effect.left):
            await self._settle(row, Outcome(Status.FAILED, "vendor_unreachable", error.message))
            return
        await self._back(effect, error.message)
        await self._pause(row, 2.0 ** (tries - 1))

    async def _rate_limited(self, effect: JournalEffect, spec: CommandSpec, error: RateLimited) -> None:
        """The vendor did not process it: wait for the next slot, if that is in sight."""
        row = effect.row
        wait_s = max(MIN_RATE_WAIT_S, error.retry_after_s)
        expires_s = (row.expires_ms or float("inf")) / 1000 - self.clock.now().timestamp()
        if wait_s > min(MAX_RATE_WAIT_S, expires_s) or row.resends >= RATE_LIMITED_TRIES:
            outcome = Outcome(Status.FAILED, "rate_limited", error.message, vendor_code=error.native_code)
            await self._not_done(effect, spec, outcome)
            return
        await self._back(effect, error.message)
        await self._pause(row, wait_s)

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
            row.attempt -= 1
            if row.attempt <= 0:
                self.settler.move(tx, row, CommandState.ACCEPTED, note)
                return
            row.lost_ms = row.lost_ms if row.lost_ms is not None else unix_ms(self.clock.now())
            self.settler.move(tx, row, CommandState.UNKNOWN, note)

        await self._kept(work)

    async def _unanswered_read(self, row: JournalRow, spec: CommandSpec, error: LostAnswer) -> None:
        """Nothing that changes anything left: asking again is harmless, as often as the command says."""
        after = spec.after_loss(self._params(row, spec))
        if row.resends >= after.send_again:
            never_left = row.attempt == 0 and after.otherwise is Status.INDETERMINATE
            status = Status.FAILED if never_left else after.otherwise
            await self._settle(
                row, Outcome(status, "no_answer", error.message, vendor_code=error.native_code)
            )
            return

        def work(tx: Tx) -> None:
            current = tx.journal.get(row.key)
            if current is not None and current.state is row.state:
                current.resends += 1
                tx.journal.save(current, error.message)

        await self._kept(work)
        await self._pause(row, after.again_after_s * 2.0**row.resends)

    # unknown outcome --------------------------------------------------------------------------------------------

    async def _lost(self, row: JournalRow, note: str, native_code: object = None) -> None:
        """The outcome is unknown from now on, unless the device has shown it already."""

        def work(tx: Tx) -> None:
            current = tx.journal.get(row.key)
            if current is None or current.state is CommandState.FINAL:
                return
            if native_code is not None:
                current.vendor_code = native_code
            if self.settler.seen_since(tx, current):
                self.settler.settle(tx, current, Outcome(Status.SUCCEEDED, message="seen at the device"))
                return
            current.lost_ms = unix_ms(self.clock.now())
            current.asks = 0
            if current.attempt <= 1:
                current.resends = 0  # counted attempts to connect so far; from here on repetitions
            self.settler.move(tx, current, CommandState.UNKNOWN, note)

        await self._kept(work)

    async def _resolve(self, row: JournalRow, spec: CommandSpec) -> None:
        """One step towards the truth about a command whose answer was lost."""
        after = spec.after_loss(self._params(row, spec))
        age_s = self._age_s(row.lost_ms)
        if row.asks < len(after.ask_at_s):
            if await self._woken(row, after.ask_at_s[row.asks] - age_s):
                return
            await self._ask(row, spec)
        elif age_s < (wait_s := (row.timeout_s or after.wait_s) if after.wait_s else 0.0):
            # in two pieces, so that the next command of the device need not wait for all of it
            rest_s = HOLDING_S - age_s if age_s < HOLDING_S < wait_s else wait_s - age_s
            await self._woken(row, rest_s)
        elif row.resends < after.send_again:
            await self._send_again(row, spec, after)
        else:
            await self._settle(row, Outcome(after.otherwise, after.code, after.message))

    async def _ask(self, row: JournalRow, spec: CommandSpec) -> None:
        outcome: Outcome | None = None
        note = f"asked, {row.asks + 1}: not decided"
        try:
            self._refuse_parked(row, spec)
            outcome = await self._executor(row).probe(await self._order(row, spec))
            self.health.succeeded(row.account, spec.part)
        except VendorError as error:
            self.health.failed(row.account, error, spec.part)
            note = f"asked, {row.asks + 1}: {error.message}"
        except StoreError:
            raise
        except Exception as error:
            log.exception("command.asking_crashed", extra={"command": row.command, "account": row.account})
            note = f"asked, {row.asks + 1}: a fault of the gateway ({type(error).__name__})"
        if outcome is not None:
            await self._settle(row, outcome)
            return

        def work(tx: Tx) -> None:
            current = tx.journal.get(row.key)
            if current is not None and current.state is row.state:
                current.asks += 1
                self.settler.move(tx, current, row.state, note)

        await self._kept(work)

    async def _send_again(self, row: JournalRow, spec: CommandSpec, after: AfterLoss) -> None:
        if await self._woken(row, after.again_after_s):
            return

        def work(tx: Tx) -> JournalRow | None:
            current = tx.journal.get(row.key)
            if current is None or current.state is not row.state or stopped(tx, current, self.clock.now()):
                return None
            current.resends += 1
            tx.journal.save(current, "sent once more")
            return current

        current = await self.store.run(work)
        if current is None:
            await self._settle(row, Outcome(after.otherwise, after.code, after.message))
            return
        await self._attempt(current, spec)

    async def _give_up_repeating(self, row: JournalRow) -> None:
        spec = self._spec(row)
        after = spec.after_loss(self._params(row, spec)) if spec else AfterLoss()
        await self._settle(row, Outcome(after.otherwise, after.code, after.message))

    # a vendor that works on it ----------------------------------------------------------------------------------

    async def _follow(self, row: JournalRow, spec: CommandSpec) -> None:
        """One look at a command that the vendor works on."""
        plan = spec.follow(self.roster.device(row.account, row.device) if row.device else None)
        age_s = self._age_s(row.sent_ms)
        until_s = plan.until_s if row.timeout_s is None else row.timeout_s + plan.grace_s
        if age_s >= until_s:
            if asked_at_s(row) < until_s:
                await self._ask(row, spec)  # the gateway was away when it was due
                return
            await self._settle(
                row, Outcome(plan.otherwise, "no_answer", "the device did not answer in the vendor's time")
            )
            return
        due_s = next_look_s(plan, row.asks)
        if due_s > age_s:
            await self._woken(row, min(due_s, until_s) - age_s)
            key = row.key
            current = await self.store.run(lambda tx: tx.journal.get(key))
            if current is None or current.state is not CommandState.SENT:
                return
            row = current
        await self._ask(row, spec)

    # small parts ------------------------------------------------------------------------------------------------

    async def _settle(self, row: JournalRow, outcome: Outcome) -> None:
        def work(tx: Tx) -> None:
            current = tx.journal.get(row.key)
            if current is not None:
                self.settler.settle(tx, current, outcome)

        await self._kept(work)

    async def _kept(self, work: Callable[[Tx], T]) -> T:
        """`store.run` for what must not be forgotten, as an answer that comes only once: a store that fails is waited
        for. `work` reads its rows itself, because what it changed in them may be undone."""
        while True:
            try:
                return await self.store.run(work)
            except StoreError as error:
                log.error("command.store_failed", extra={"reason": str(error)})
                await self.clock.sleep(STORE_RETRY_S)

    async def _own_fault(self, row: JournalRow) -> None:
        """A fault of ours, of which it is not known when it happened."""
        waits = row.state is CommandState.ACCEPTED
        status = Status.FAILED if waits else Status.INDETERMINATE
        await self._settle(row, Outcome(status, "internal", OWN_FAULT))

    async def _orphaned(self, row: JournalRow) -> None:
        """Nobody carries out such a command any more: the account, the device or the command is gone."""
        if await self._woken(row, ORPHAN_WAIT_S) or self._spec(row) is not None:
            return
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
        await self._settle(row, outcome)

    async def _order(self, row: JournalRow, spec: CommandSpec) -> Order:
        device = self.roster.device(row.account, row.device) if row.device else None
        known = {}
        if row.device is not None:
            native_id = row.device
            kept = await self.store.run(lambda tx: tx.devices.get(row.account, native_id))
            known = {name: entry[0] for name, entry in kept.metrics.items()} if kept else {}
        return Order(
            id=row.id,
            account=row.account,
            device=device,
            spec=spec,
            params=self._params(row, spec),
            known=known,
            vendor_ref=row.vendor_ref,
            expires_at=from_unix_ms(row.expires_ms) if row.expires_ms is not None else None,
            timeout_s=row.timeout_s,
            dispatched_at=from_unix_ms(row.dispatched_ms) if row.dispatched_ms is not None else None,
            attempt=row.attempt,
        )

    def _params(self, row: JournalRow, spec: CommandSpec) -> object:
        return spec.params.model_validate_json(dumps(row.params))

    def _spec(self, row: JournalRow) -> CommandSpec | None:
        executor = self.roster.executor(row.account)
        if executor is None:
            return None
        device = self.roster.device(row.account, row.device) if row.device else None
        if row.device and device is None:
            return None
        return executor.commands(device).get(row.command)

    def _executor(self, row: JournalRow) -> Executor:
        executor = self.roster.executor(row.account)
        if executor is None:
            raise Rejection("unknown_device", "the account is gone")
        return executor

    def _refuse_parked(self, row: JournalRow, spec: CommandSpec) -> None:
        reason = self.health.parked(row.account, spec.part)
        if reason is not None:
            raise reason

    async def _woken(self, row: JournalRow, seconds: float) -> bool:
        """Waits; True if something happened to the command meanwhile."""
        if seconds <= 0:
            return False
        event = self.wakes.setdefault(row.key, asyncio.Event())
        waiter = asyncio.ensure_future(event.wait())
        sleeper = asyncio.ensure_future(self.clock.sleep(seconds))
        try:
            await asyncio.wait({waiter, sleeper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
            sleeper.cancel()
        woken = event.is_set()
        event.clear()
        return woken

    async def _pause(self, row: JournalRow, seconds: float) -> None:
        await self._woken(row, seconds)

    def _age_s(self, since_ms: int | None) -> float:
        """Seconds since then; a clock that stepped back makes it 0, never negative."""
        now_ms = unix_ms(self.clock.now())
        return max(0.0, (now_ms - (since_ms if since_ms is not None else now_ms)) / 1000)
