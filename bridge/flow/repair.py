"""Fills gaps from the vendors' past: the lowest lane, as far as the budgets allow, until nothing can be missing.

A gap is asked for soon after it is found. What the vendor does not have then is asked for again, less and less often,
because meters upload late; after `late_s` it is `unfillable`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bridge.domain.errors import StoreError
from bridge.domain.history import Period, Reach
from bridge.domain.times import from_unix_ms, unix_ms
from bridge.flow.backfill import Backfill, BackfillOrigin, Wish
from bridge.flow.gaps import GapLedger
from bridge.flow.health import AccountHealth
from bridge.ports import Clock
from bridge.store.protocols import BackfillRow, BackfillState, GapRow, GapState, Store, Tx

log = logging.getLogger("bridge.gaps")

ROUND_S = 5.0
AT_ONCE = 200
"""How many gaps of one account are handed to the backfill in one round."""
AGAIN_MS = (3_600_000, 6 * 3_600_000, 24 * 3_600_000)
"""When a gap that is still there is asked for again."""
UNKNOWN_MS = 300_000
FAILURES_UNTIL_UNFILLABLE = 10
UNFILLABLE_FOR_MS = 366 * 86_400_000
_ALONE, _TOGETHER = "gap:", "gap-"
"""How the names of backfills begin that are for one gap, and for several."""


class Repairs(Protocol):
    """An account's settings of gap repair."""

    @property
    def fill(self) -> bool: ...
    @property
    def late(self) -> float: ...
    @property
    def back(self) -> float: ...


@dataclass(slots=True)
class GapRepair:
    """`run` until cancelled. `settings` gives the accounts whose gaps are repaired."""

    store: Store
    ledger: GapLedger
    backfill: Backfill
    health: AccountHealth
    clock: Clock
    settings: Callable[[], Mapping[str, Repairs]]
    counts: Mapping[tuple[str, GapState], int] = field(default_factory=dict)
    _known: Mapping[str, Repairs] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.backfill.book.on_ended(BackfillOrigin.GAP, self._ended)
        self.backfill.book.wants[BackfillOrigin.GAP] = _lies_in_a_gap

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            try:
                await self.round()
            except StoreError as error:
                log.error("gaps.store_failed", extra={"reason": str(error)})
            except Exception:
                log.exception("gaps.crashed")
            await self.clock.sleep(ROUND_S)

    async def round(self) -> None:
        """Notes who is heard, and hands over what is due."""
        settings = self._known = dict(self.settings())
        accounts = {name: self.health.state(name) for name in settings}

        def work(tx: Tx) -> Mapping[tuple[str, GapState], int]:
            now_ms = unix_ms(self.clock.now())
            for name, state in accounts.items():
                heard = state.last_success if state is not None and state.heard else None
                if heard is not None and state is not None:
                    self.ledger.heard(tx, name, unix_ms(heard), well=state.word == "online")
                self._hand_over(tx, name, settings[name], now_ms)
            self.backfill.adopt(tx)
            return tx.gaps.count()

        self.counts = await self.store.run(work)

    async def recall(self) -> None:
        """At the start: since when nobody was heard, and gaps that nobody works on any more are missing again. Raises
        StoreError."""
        self._known = dict(self.settings())

        def work(tx: Tx) -> None:
            working = {row.ref for row in tx.backfills.unfinished()}
            for gap in tx.gaps.find(states=[GapState.FILLING]):
                if gap.ref not in working:
                    tx.gaps.save(replace(gap, state=GapState.MISSING))
            tx.gaps.forget_before(unix_ms(self.clock.now()) - UNFILLABLE_FOR_MS)
            for name in self._known:
                self.ledger.recall(tx, name)

        await self.store.run(work)

    def _hand_over(self, tx: Tx, account: str, settings: Repairs, now_ms: int) -> None:
        if not settings.fill:
            return
        due: dict[str, list[GapRow]] = {}
        for gap in tx.gaps.due(account, now_ms, AT_ONCE):
            due.setdefault(gap.device, []).append(gap)
        for device, gaps in due.items():
            reach = self.backfill.reach(account, device)
            if reach is None:
                for gap in gaps:
                    self._no_past(tx, gap, settings, now_ms)
                continue
            oldest_ms = now_ms - _back_ms(reach, settings)
            within = [kept for gap in gaps if (kept := self._cut(tx, gap, oldest_ms)) is not None]
            for together in grouped(sorted(within, key=lambda gap: gap.start_ms), reach):
                self._ask(tx, together)

    def _no_past(self, tx: Tx, gap: GapRow, settings: Repairs, now_ms: int) -> None:
        """Perhaps only now: the account is being reloaded, or the device is not known again yet."""
        if now_ms >= gap.noted_ms + int(settings.late * 1000):
            self._settle(tx, gap, GapState.UNFILLABLE, "the vendor keeps no past of this device")
        else:
            self._later(tx, gap, now_ms + UNKNOWN_MS, "no past of this device is known")

    def _cut(self, tx: Tx, gap: GapRow, oldest_ms: int) -> GapRow | None:
        """What of the gap is not too long ago."""
        if gap.start_ms >= oldest_ms:
            return gap
        if gap.end_ms <= oldest_ms:
            self._settle(tx, gap, GapState.UNFILLABLE, "too long ago")
            return None
        tx.gaps.insert(replace(gap, end_ms=oldest_ms, state=GapState.UNFILLABLE, message="too long ago"))
        return replace(gap, start_ms=oldest_ms)

    def _ask(self, tx: Tx, gaps: Sequence[GapRow]) -> None:
        first, last = gaps[0], gaps[-1]
        ref = f"{_ALONE if len(gaps) == 1 else _TOGETHER}{first.key}-{first.tries + 1}"
        for gap in gaps:
            tx.gaps.save(replace(gap, state=GapState.FILLING, tries=gap.tries + 1, ref=ref, message=""))
        wish = Wish(first.account, first.device, _period(first, last))
        self.backfill.book.submit(tx, ref, BackfillOrigin.GAP, [wish])

    def _ended(self, tx: Tx, row: BackfillRow) -> None:
        """A backfill came to its end: what is still missing is asked for again, or never."""
        now_ms = unix_ms(self.clock.now())
        settings = self._known.get(row.account)
        late_ms = int(settings.late * 1000) if settings is not None else 0
        for gap in tx.gaps.of_ref(row.ref, row.account, row.device):
            if row.state is BackfillState.DONE:
                self._not_there(tx, gap, now_ms, late_ms)
            elif gap.tries >= FAILURES_UNTIL_UNFILLABLE:
                self._settle(tx, gap, GapState.UNFILLABLE, row.message)
            else:
                self._later(tx, gap, now_ms + _pause_ms(gap), row.message)

    def _not_there(self, tx: Tx, gap: GapRow, now_ms: int, late_ms: int) -> None:
        """The vendor has told all it has, and this is still missing."""
        if not gap.certain or (gap.start_dim and gap.end_dim):
            tx.gaps.drop(gap.key)  # nothing was missing: it tells that seldom, or it slept
            return
        last_ms = gap.noted_ms + late_ms
        if now_ms >= last_ms:
            self._settle(tx, gap, GapState.UNFILLABLE, "the vendor has nothing there")
        else:
            self._later(tx, gap, min(now_ms + _pause_ms(gap), last_ms), "the vendor has nothing there yet")

    def _later(self, tx: Tx, gap: GapRow, next_ms: int, message: str) -> None:
        tx.gaps.save(replace(gap, state=GapState.MISSING, next_ms=next_ms, ref="", message=message))

    def _settle(self, tx: Tx, gap: GapRow, state: GapState, message: str) -> None:
        tx.gaps.save(replace(gap, state=state, ref="", message=message))
        log.info("gaps.unfillable", extra={"account": gap.account, "device": gap.device, "reason": message})


def grouped(gaps: Sequence[GapRow], reach: Reach) -> list[list[GapRow]]:
    """Gaps of one device, in the order of time, that take no more calls to read together than one by one."""
    groups: list[list[GapRow]] = []
    for gap in gaps:
        if groups:
            group = groups[-1]
            apart = reach.calls(_period(group[0], group[-1])) + reach.calls(_period(gap, gap))
            if reach.calls(_period(group[0], gap)) <= apart:
                group.append(gap)
                continue
        groups.append([gap])
    return groups


def _lies_in_a_gap(tx: Tx, row: BackfillRow, at_ms: int) -> bool:
    """What lies between gaps that are read together went out before, perhaps in another form. In a gap that is read
    alone everything is wanted, also what follows a record of an earlier step so closely that no gap is left."""
    return not row.ref.startswith(_TOGETHER) or tx.gaps.around(row.account, row.device, at_ms) is not None


def _period(first: GapRow, last: GapRow) -> Period:
    """The records at both ends are there already."""
    return Period(from_unix_ms(first.start_ms + 1), from_unix_ms(last.end_ms))


def _back_ms(reach: Reach, settings: Repairs) -> int:
    back_s = settings.back
    if reach.back is not None:
        back_s = min(back_s, reach.back.total_seconds())
    return int(back_s * 1000)


def _pause_ms(gap: GapRow) -> int:
    return AGAIN_MS[min(gap.tries, len(AGAIN_MS)) - 1]
