"""What everyone needs who works on a journalled command: its row, what it means, how old it is, how to end it.

Invariant: what must not be forgotten (`kept`, `settle`) is tried until the store takes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from bridge.domain.command import CommandSpec, CommandState, Order, Outcome
from bridge.domain.errors import AuthFailed, Rejection, StoreError, VendorError
from bridge.domain.observation import Value
from bridge.domain.text import dumps
from bridge.domain.times import from_unix_ms, unix_ms
from bridge.flow.effect import TOO_LATE, expired
from bridge.flow.roster import Roster
from bridge.flow.settle import Settler
from bridge.ports import Clock, Executor
from bridge.store.protocols import JournalRow, Store, Tx

log = logging.getLogger("bridge.commands")

T = TypeVar("T")

STORE_RETRY_S = 1.0


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
class Casebook:
    """One for all accounts."""

    store: Store
    roster: Roster
    settler: Settler
    clock: Clock
    health: Health
    wakes: dict[int, asyncio.Event] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    """Commands to which something happened while nobody worked on them."""
    on_free: Callable[[JournalRow], None] = lambda _row: None
    """Told of a command that the vendor has, or has answered, before that is on disk (`Tx.ahead`)."""
    _met: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)

    # the row ----------------------------------------------------------------------------------------------------

    async def kept(self, work: Callable[[Tx], T], *, light: bool = False) -> T:
        """`store.run` for what must not be forgotten, as an answer that comes only once: a store that fails is waited
        for. `work` reads its rows itself, because what it changed in them may be undone."""
        while True:
            try:
                return await self.store.run(work, light=light)
            except StoreError as error:
                log.error("command.store_failed", extra={"reason": str(error)})
                await self.clock.sleep(STORE_RETRY_S)

    async def row(self, key: int) -> JournalRow | None:
        """The row as it stands."""
        return await self.kept(lambda tx: tx.journal.get(key))

    async def settle(self, row: JournalRow, outcome: Outcome) -> JournalRow | None:
        """Applies an outcome; the row as it stands then."""

        def work(tx: Tx) -> JournalRow | None:
            current = tx.journal.get(row.key)
            if current is not None:
                self.settler.settle(tx, current, outcome)
                tx.ahead(lambda: self.on_free(current))
            return current

        return await self.kept(work, light=len(outcome.observations) <= 8)

    # what it means ----------------------------------------------------------------------------------------------

    def spec(self, row: JournalRow) -> CommandSpec | None:
        """What the command is; None where nobody offers it any more."""
        executor = self.roster.executor(row.account)
        if executor is None:
            return None
        device = self.roster.device(row.account, row.device) if row.device else None
        if row.device and device is None:
            return None
        return executor.commands(device).get(row.command)

    def params(self, row: JournalRow, spec: CommandSpec) -> object:
        """Its validated parameters."""
        return spec.params.model_validate_json(dumps(row.params))

    def executor(self, row: JournalRow) -> Executor:
        """Who carries it out. Raises Rejection where the account is gone."""
        executor = self.roster.executor(row.account)
        if executor is None:
            raise Rejection("unknown_device", "the account is gone")
        return executor

    def refuse_parked(self, row: JournalRow, spec: CommandSpec) -> None:
        """Raises AuthFailed while nothing may be asked of this account."""
        reason = self.health.parked(row.account, spec.part)
        if reason is not None:
            raise reason

    async def order(self, row: JournalRow, spec: CommandSpec) -> Order:
        """The command as the vendor's adapter takes it."""
        known: Mapping[str, Value] = {}
        if row.device is not None and spec.uses_state:
            native_id = row.device
            kept = await self.store.run(lambda tx: tx.devices.get(row.account, native_id))
            known = {name: entry[0] for name, entry in kept.metrics.items()} if kept else {}
        return Order(
            id=row.id,
            account=row.account,
            device=self.roster.device(row.account, row.device) if row.device else None,
            spec=spec,
            params=self.params(row, spec),
            known=known,
            vendor_ref=row.vendor_ref,
            expires_at=from_unix_ms(row.expires_ms) if row.expires_ms is not None else None,
            timeout_s=row.timeout_s,
            dispatched_at=from_unix_ms(row.dispatched_ms) if row.dispatched_ms is not None else None,
            attempt=row.attempt,
        )

    # time -------------------------------------------------------------------------------------------------------

    def age_s(self, row: JournalRow, since_ms: int | None) -> float:
        """Seconds since an instant in the life of a command. The wall clock is looked at once per instant, when this
        process first asks; from then on a clock that is set makes nothing older or younger."""
        if since_ms is None:
            return 0.0
        at_s = self.clock.monotonic()
        met_s, age_s = self._met.setdefault(
            (row.key, since_ms), (at_s, max(0.0, (unix_ms(self.clock.now()) - since_ms) / 1000))
        )
        return age_s + at_s - met_s

    def late(self, row: JournalRow) -> Outcome | None:
        """Why it is too late for a command to leave, or None: by the clock of the wall, or by the time that has passed
        since this process met the command; a clock that is set back gives it no second life."""
        return expired(row, self.clock.now()) or (TOO_LATE if self.rest_s(row) <= 0 else None)

    def rest_s(self, row: JournalRow) -> float:
        """Seconds until a command expires, whatever becomes of the clock of the wall meanwhile."""
        if row.expires_ms is None:
            return float("inf")
        return (row.expires_ms - row.created_ms) / 1000 - self.age_s(row, row.created_ms)

    def forget(self, key: int) -> None:
        """Nobody works on this command any more."""
        self.wakes.pop(key, None)
        self.touched.discard(key)
        for known in [known for known in self._met if known[0] == key]:
            del self._met[known]

    def wake(self, key: int) -> None:
        """Something happened to this command: whoever waits for it looks again."""
        if key in self.wakes:
            self.wakes[key].set()
        else:
            self.touched.add(key)

    async def woken(self, row: JournalRow, seconds: float) -> bool:
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


def is_over(row: JournalRow | None) -> bool:
    """Whether nothing is left to do."""
    return row is None or row.state is CommandState.FINAL
