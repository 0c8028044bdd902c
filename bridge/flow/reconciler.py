"""Finds out what became of a command: one whose answer was lost, and one that the vendor works on.

Invariant: it only asks. What may be sent once more, and how it ends when nobody can tell, is what the command's
`AfterLoss` says; a question that could not be put to the vendor is no answer, and for a while it is put again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bridge.domain.command import AfterLoss, CommandSpec, CommandState, Outcome
from bridge.domain.errors import AuthFailed, NotSent, RateLimited, StoreError, VendorError
from bridge.flow.casebook import Casebook, is_over
from bridge.flow.effect import stopped
from bridge.flow.verdicts import next_look_s
from bridge.store.protocols import JournalRow, Tx

log = logging.getLogger("bridge.commands")

HOLDING_S = 120.0
"""How long a command with an unknown outcome holds back the others of its device, unless it may be sent once more."""
UNHEARD_S = 1000.0
"""For so long after it was due, a question that the vendor's limit or an account's credentials do not let through does
not count as asked: longer than an account is parked for the first time."""
UNREACHED_S = 120.0
"""The same where the vendor's cloud cannot be reached."""
UNHEARD_PAUSE_S = (2.0, 60.0)
"""The shortest and longest pause before such a question is put again."""

Attempt = Callable[[JournalRow, CommandSpec], Awaitable[JournalRow | None]]


@dataclass(slots=True)
class Reconciler:
    """`attempt` sends a command (once more): the carrier's."""

    book: Casebook
    attempt: Attempt

    async def resolve(self, row: JournalRow, spec: CommandSpec) -> JournalRow | None:
        """One step towards the truth about a command whose answer was lost. Returns the row as it stands then, None
        where it must be read again."""
        after = spec.after_loss(self.book.params(row, spec))
        age_s = self.book.age_s(row, row.lost_ms)
        if row.asks < len(after.ask_at_s):
            if await self.book.woken(row, after.ask_at_s[row.asks] - age_s):
                return None
            return await self._ask(row, spec, after.ask_at_s[row.asks])
        if age_s < (wait_s := (row.timeout_s or after.wait_s) if after.wait_s else 0.0):
            # in two pieces, so that the next command of the device need not wait for all of it
            rest_s = HOLDING_S - age_s if age_s < HOLDING_S < wait_s else wait_s - age_s
            await self.book.woken(row, rest_s)
            return None
        if row.resends < after.send_again:
            return await self._send_again(row, spec, after)
        return await self.book.settle(row, Outcome(after.otherwise, after.code, after.message))

    def lets_pass(self, row: JournalRow, spec: CommandSpec) -> bool:
        """Whether the next command of the device may begin: the vendor has this one; or nobody knows for some time
        already, and it will not be sent again in any case."""
        if row.state is CommandState.SENT:
            return True
        if row.state is not CommandState.UNKNOWN or self.book.age_s(row, row.lost_ms) < HOLDING_S:
            return False
        return row.resends >= spec.after_loss(self.book.params(row, spec)).send_again

    async def follow(self, row: JournalRow, spec: CommandSpec) -> JournalRow | None:
        """One look at a command that the vendor works on. Returns as `resolve`."""
        plan = spec.follow(self.book.roster.device(row.account, row.device) if row.device else None)
        age_s = self.book.age_s(row, row.sent_ms)
        last_look_s = age_s - self.book.age_s(row, row.updated_ms)
        until_s = plan.until_s if row.timeout_s is None else row.timeout_s + plan.grace_s
        if age_s >= until_s:
            if last_look_s < until_s:
                return await self._ask(row, spec, until_s)  # the gateway was away when it was due
            return await self.book.settle(row, Outcome(plan.otherwise, "no_answer", await self._in_vain(row)))
        due_s = next_look_s(plan, row.asks)
        if due_s > age_s:
            await self.book.woken(row, min(due_s, until_s) - age_s)
            current = await self.book.row(row.key)
            if is_over(current) or current is None or current.state is not CommandState.SENT:
                return current
            row = current
        return await self._ask(row, spec, min(due_s, until_s))

    async def _in_vain(self, row: JournalRow) -> str:
        """Why nothing was seen of a command that the vendor took: perhaps another one came after it."""
        if row.acts is not None and row.device is not None:
            account, device, since_ms = row.account, row.device, row.created_ms
            acted = await self.book.kept(lambda tx: tx.journal.acted(account, device, since_ms))
            later = next((one for one in acted if one.key > row.key and one.attempt > 0), None)
            if later is not None:
                return f"not seen at the device in the vendor's time; {later.command!r} ({later.id}) was sent after it"
        return "the device did not answer in the vendor's time"

    async def _ask(self, row: JournalRow, spec: CommandSpec, due_s: float) -> JournalRow | None:
        """Puts the question to the vendor. For a while after the age `due_s`, one that did not reach it does not
        count."""
        outcome: Outcome | None = None
        note = f"asked, {row.asks + 1}: not decided"
        try:
            self.book.refuse_parked(row, spec)
            outcome = await self.book.executor(row).probe(await self.book.order(row, spec))
            self.book.health.succeeded(row.account, spec.part)
        except VendorError as error:
            self.book.health.failed(row.account, error, spec.part)
            if await self._unheard(row, error, due_s):
                return None
            note = f"asked, {row.asks + 1}: {error.message}"
        except StoreError:
            raise
        except Exception as error:
            log.exception("command.asking_crashed", extra={"command": row.command, "account": row.account})
            note = f"asked, {row.asks + 1}: a fault of the gateway ({type(error).__name__})"
        if outcome is not None:
            return await self.book.settle(row, outcome)

        def work(tx: Tx) -> JournalRow | None:
            current = tx.journal.get(row.key)
            if current is not None and current.state is row.state:
                current.asks += 1
                self.book.settler.move(tx, current, row.state, note)
            return current

        return await self.book.kept(work)

    async def _unheard(self, row: JournalRow, error: VendorError, due_s: float) -> bool:
        """Whether the question did not reach the vendor and is put again; then after a pause."""
        since_ms = row.lost_ms if row.state is CommandState.UNKNOWN else row.sent_ms
        over_s = self.book.age_s(row, since_ms) - due_s
        least_s, most_s = UNHEARD_PAUSE_S
        match error:
            case RateLimited() if over_s < UNHEARD_S:
                pause_s = min(max(least_s, error.retry_after_s), most_s)
            case AuthFailed() if over_s < UNHEARD_S:
                pause_s = most_s
            case NotSent() if over_s < UNREACHED_S:
                pause_s = most_s / 4
            case _:
                return False
        await self.book.woken(row, pause_s)
        return True

    async def _send_again(self, row: JournalRow, spec: CommandSpec, after: AfterLoss) -> JournalRow | None:
        if await self.book.woken(row, after.again_after_s):
            return None

        params = self.book.params(row, spec)

        def work(tx: Tx) -> JournalRow | None:
            current = tx.journal.get(row.key)
            now = self.book.clock.now()
            if current is None or current.state is not row.state:
                return None
            if self.book.late(current) or stopped(tx, current, spec, params, now, self.book.roster):
                return None
            current.resends += 1
            tx.journal.save(current, "sent once more")
            return current

        current = await self.book.store.run(work)
        if current is None:
            return await self.book.settle(row, Outcome(after.otherwise, after.code, after.message))
        return await self.attempt(current, spec)
