"""What time brings: states held back go out, old alarms are cleared, words that matched nothing are told, what need
not be remembered is forgotten."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from bridge.domain.account import AccountPolicy
from bridge.domain.errors import StoreError
from bridge.domain.times import unix_ms
from bridge.flow.intake import Intake
from bridge.flow.interlocks import REMEMBERED_S
from bridge.flow.occurrences import clear_old_alarms
from bridge.flow.roster import Roster
from bridge.ports import Clock
from bridge.store.protocols import Store, Tx

log = logging.getLogger("bridge.janitor")

SEEN_FOR_S = 9 * 86400.0
"""Longer than the eight days for which the gas platform may repeat a push (iotmeter 9.5)."""
RECORDS_FOR_S = 35 * 86400.0
"""Longer than the month that a meter's past reaches back (iammeter 4.4): a backfill tells nothing that was told."""
RECORDS_AT_MOST = 1_000_000
"""About 120 MB of notes. Beyond that the oldest go, but none younger than SEEN_FOR_S."""
ASIDES_AT_MOST = 10_000
"""Rejections and dry runs for the audit: whoever sends nonsense for days does not fill the disk."""
COUNT_EVERY_S = 3600.0
BODIES_FOR_S = 3600.0
ROUND_S = 60.0
MIN_PAUSE_S = 1.0


@dataclass(slots=True)
class StateFlusher:
    """Publishes the states that were held back, one interval after the last one of their device."""

    intake: Intake
    roster: Roster
    clock: Clock
    _heap: list[tuple[float, str, str]] = field(default_factory=list)
    _waiting: set[tuple[str, str]] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def behind(self, account: str, device: str, in_s: float) -> None:
        """The state of this device is due in so many seconds."""
        if (account, device) in self._waiting:
            return
        self._waiting.add((account, device))
        heapq.heappush(self._heap, (self.clock.monotonic() + in_s, account, device))
        self._wake.set()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            if not self._heap:
                self._wake.clear()
                await self._wake.wait()
            wait_s = self._heap[0][0] - self.clock.monotonic()
            if wait_s > 0:
                # a later entry is never due before this one by more than the interval: no need to wake for it
                await self.clock.sleep(min(wait_s, 0.25))
                continue
            await self._flush(self._take_due())

    def _take_due(self) -> dict[str, list[str]]:
        now = self.clock.monotonic()
        due: dict[str, list[str]] = {}
        while self._heap and self._heap[0][0] <= now:
            _, account, device = heapq.heappop(self._heap)
            self._waiting.discard((account, device))
            due.setdefault(account, []).append(device)
        return due

    async def _flush(self, due: dict[str, list[str]]) -> None:
        for account, devices in due.items():
            if not self.roster.has(account):
                continue
            try:
                await self.intake.flush_states(account, devices)
            except StoreError as error:
                log.error("state.store_failed", extra={"reason": str(error)})
                for device in devices:
                    self.behind(account, device, 1.0)
                await self.clock.sleep(1.0)
            except Exception:
                log.exception("state.crashed", extra={"account": account})


@dataclass(slots=True)
class Janitor:
    """Rounds once a minute; between them it looks after the alarms of accounts that clear theirs sooner."""

    store: Store
    intake: Intake
    roster: Roster
    clock: Clock
    remember_s: float
    _surplus_ms: int | None = None
    _counted_ms: int | None = None

    async def run(self) -> None:
        """Runs until it is cancelled."""
        due = self.clock.monotonic()
        while True:
            pause_s = ROUND_S
            try:
                pause_s = self._pause_s()
                if self.clock.monotonic() >= due:
                    due = self.clock.monotonic() + ROUND_S
                    await self.round()
                else:
                    await self._look_after([one for one in self.roster.accounts() if _clears_soon(one)])
            except StoreError as error:
                log.error("janitor.store_failed", extra={"reason": str(error)})
            except Exception:
                log.exception("janitor.crashed")
            await self.clock.sleep(min(pause_s, max(0.0, due - self.clock.monotonic())))

    def _pause_s(self) -> float:
        """So that no alarm stands much longer than its account wants."""
        wanted = [one.alarm_clear_after_s / 10 for one in self.roster.accounts() if _clears_soon(one)]
        return max(MIN_PAUSE_S, min(wanted, default=ROUND_S))

    async def round(self) -> None:
        """One round."""
        await self._look_after(self.roster.accounts())
        now_ms = unix_ms(self.clock.now())
        counting = [policy.account for policy in self.roster.accounts() if policy.interlocks.watching]

        def forget(tx: Tx) -> None:
            tx.journal.forget_before(
                now_ms - int(self.remember_s * 1000), now_ms - int(REMEMBERED_S * 1000), counting
            )
            tx.journal.forget_asides(now_ms - int(self.remember_s * 1000), ASIDES_AT_MOST)
            tx.backfills.forget_before(now_ms - int(self.remember_s * 1000))
            tx.seen.forget_bodies_before(now_ms - int(BODIES_FOR_S * 1000))
            tx.seen.forget_events_before(now_ms - int(SEEN_FOR_S * 1000))

        await self.store.run(forget)
        await self._forget_records(now_ms)

    async def _look_after(self, policies: Sequence[AccountPolicy]) -> None:
        """Clears alarms that are old enough, and tells the words that matched nothing."""
        for policy in policies:

            def clear(tx: Tx, policy: AccountPolicy = policy) -> None:
                desk = self.intake.desk(tx, policy)
                clear_old_alarms(desk)
                if self.intake.confirms is not None:
                    self.intake.confirms.review(desk)
                self.intake.close(desk)

            await self.store.run(clear)

    async def _forget_records(self, now_ms: int) -> None:
        """Notes of records are kept for as long as a vendor's past may bring them again, unless they are too many."""
        if self._counted_ms is None or abs(now_ms - self._counted_ms) >= COUNT_EVERY_S * 1000:
            self._surplus_ms = await self.store.run(lambda tx: tx.seen.oldest_of(RECORDS_AT_MOST))
            self._counted_ms = now_ms
        until_ms = now_ms - int(RECORDS_FOR_S * 1000)
        if self._surplus_ms is not None:
            grown_ms = self._surplus_ms + now_ms - self._counted_ms
            until_ms = max(until_ms, min(grown_ms, now_ms - int(SEEN_FOR_S * 1000)))
        await self.store.run(lambda tx: tx.seen.forget_records_before(until_ms))


def _clears_soon(policy: AccountPolicy) -> bool:
    return policy.alarm_clear_after_s < 10 * ROUND_S
