"""The rules of backfills, as functions inside a transaction: asking for them, taking a step in, ending them.

Invariant: a step's records and the cursor behind them are on disk together. So a crash between any two lines neither
loses a record nor makes a call necessary again that had been answered and noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from bridge.domain.account import AccountPolicy
from bridge.domain.history import HistoryStep, Period
from bridge.domain.observation import Batch, Observation, Origin, Reading
from bridge.domain.text import Json
from bridge.domain.times import from_unix_ms, unix_ms
from bridge.flow.intake import Intake
from bridge.ports import Clock
from bridge.store.protocols import BackfillRow, BackfillState, HeldReading, Tx


class BackfillOrigin(StrEnum):
    """Who asked. Where several wait for the same account, the earlier in this list goes first."""

    HISTORY = "history"
    """a device's `history` command"""
    COMMAND = "command"
    """the gateway's `backfill` command"""
    CLI = "cli"
    """`meterbridge backfill` without a running gateway; only that verb goes on with it"""
    GAP = "gap"
    """the gap ledger"""


RANK: Mapping[str, int] = {origin.value: rank for rank, origin in enumerate(BackfillOrigin)}


@dataclass(frozen=True, slots=True)
class Wish:
    """The past of one device that somebody wants, in about so many `calls`."""

    account: str
    device: str
    period: Period
    calls: int = 0


Ended = Callable[[Tx, BackfillRow], None]
"""Called in the transaction in which a backfill ends (`row.state` DONE, FAILED or CANCELLED)."""


@dataclass(slots=True)
class BackfillBook:
    """What stands in the table `backfill`, and how it changes. Every method runs inside `Store.run`."""

    intake: Intake
    clock: Clock
    ended: dict[str, list[Ended]] = field(default_factory=dict)
    wants: dict[str, Callable[[Tx, BackfillRow, int], bool]] = field(default_factory=dict)
    """By origin: whether a record of this time (Unix milliseconds) is to be published; absent: all are."""

    def on_ended(self, origin: BackfillOrigin, then: Ended) -> None:
        """`then` runs in the transaction that ends a backfill of this origin: what it writes is on disk with it."""
        self.ended.setdefault(origin.value, []).append(then)

    def submit(
        self,
        tx: Tx,
        ref: str,
        origin: BackfillOrigin,
        wishes: Iterable[Wish],
        *,
        asked_by: str = "",
        expires_at: datetime | None = None,
        anew: bool = True,
    ) -> list[BackfillRow]:
        """Notes wishes under the name `ref`; returns the open rows of that name. One period per device and `ref`.

        The same `ref` again goes on where it stopped: what failed or was cancelled is opened again at its cursor,
        what is done stays done, and a later end adds what is new. Only if all of it is done, another `asked_by`
        asks, and no wish reaches further, it begins anew (`anew`).
        """
        rows, wanted = list(tx.backfills.of_ref(ref)), list(wishes)
        if anew and rows and _is_fulfilled(rows, wanted, asked_by):
            tx.backfills.drop(ref)
            rows = []
        same = bool(rows) and all(row.asked_by == asked_by for row in rows)
        reached: dict[tuple[str, str], int] = {}
        for row in rows:
            device = (row.account, row.device)
            reached[device] = max(reached.get(device, 0), row.end_ms)
        now_ms = unix_ms(self.clock.now())
        expires_ms = unix_ms(expires_at) if expires_at is not None else None
        for row in rows:
            ended_otherwise = row.state in (BackfillState.FAILED, BackfillState.CANCELLED)
            row.state = BackfillState.OPEN if ended_otherwise and row.asked_by != asked_by else row.state
            row.origin, row.asked_by, row.expires_ms, row.updated_ms = origin, asked_by, expires_ms, now_ms
            if row.state is BackfillState.OPEN:
                row.failures, row.next_ms = 0, None
            tx.backfills.save(row)
        for wish in wanted:
            start_ms, end_ms = unix_ms(wish.period.start), unix_ms(wish.period.end)
            if (wish.account, wish.device) in reached:
                # asked for again later, "until now" reaches further: only that much is new
                start_ms = max(start_ms, reached[wish.account, wish.device])
                if same or start_ms >= end_ms:
                    continue
            row = BackfillRow(
                0, ref, origin.value, wish.account, wish.device, start_ms, end_ms, now_ms, now_ms,
                interval_s=wish.period.interval_s, asked_by=asked_by, expires_ms=expires_ms,
            )  # fmt: skip
            row.total = wish.calls
            row.key = tx.backfills.insert(row)
            rows.append(row)
        return [row for row in rows if row.state is BackfillState.OPEN]

    def claim(self, tx: Tx, ref: str, origin: BackfillOrigin, asked_by: str) -> bool:
        """What is open of a group is that of another asker from now on; whether there is any."""
        rows = [row for row in tx.backfills.of_ref(ref) if row.state is BackfillState.OPEN]
        for row in rows:
            row.origin, row.asked_by = origin, asked_by
            tx.backfills.save(row)
        return bool(rows)

    def take(self, tx: Tx, policy: AccountPolicy, row: BackfillRow, step: HistoryStep) -> BackfillRow:
        """Takes one step in: what is complete is published in the order of time, the rest is held; the cursor moves."""
        readings = [one for one in step.observations if isinstance(one, Reading)]
        others: list[Observation] = [one for one in step.observations if not isinstance(one, Reading)]
        complete_ms = row.complete_ms if step.complete_until is None else unix_ms(step.complete_until)
        now = [one for one in readings if complete_ms is not None and _at_ms(one) < complete_ms]
        later = [one for one in readings if complete_ms is None or _at_ms(one) >= complete_ms]
        if complete_ms is not None:
            now += [_restored(row.device, held) for held in tx.backfills.take_held(row.key, complete_ms)]
        tx.backfills.hold(row.key, [HeldReading(_at_ms(one), _kept(one)) for one in later])
        self._publish(tx, policy, row, now, others)
        row.cursor, row.complete_ms = step.cursor, complete_ms
        row.done, row.total = step.done, max(step.total, step.done)
        row.failures, row.next_ms, row.code, row.message = 0, None, None, ""
        row.updated_ms = unix_ms(self.clock.now())
        tx.backfills.save(row)
        return row

    def end(
        self,
        tx: Tx,
        policy: AccountPolicy | None,
        row: BackfillRow,
        state: BackfillState,
        code: str | None = None,
        message: str = "",
    ) -> BackfillRow:
        """The end of a backfill. What it still holds is published: it was read."""
        held = [_restored(row.device, one) for one in tx.backfills.take_held(row.key, None)]
        if policy is not None:
            self._publish(tx, policy, row, held, ())
        row.state, row.code, row.message = state, code, message
        if state is BackfillState.DONE:
            row.complete_ms, row.total = row.end_ms, row.done
        row.updated_ms = unix_ms(self.clock.now())
        tx.backfills.save(row)
        for then in self.ended.get(row.origin, ()):
            then(tx, row)
        return row

    def wait(self, tx: Tx, row: BackfillRow, until_ms: int, code: str, message: str) -> BackfillRow:
        """Not again before `until_ms`; why is noted."""
        row.failures += 1
        row.next_ms, row.code, row.message = until_ms, code, message
        row.updated_ms = unix_ms(self.clock.now())
        tx.backfills.save(row)
        return row

    def _publish(
        self,
        tx: Tx,
        policy: AccountPolicy,
        row: BackfillRow,
        readings: Sequence[Reading],
        others: Sequence[Observation],
    ) -> None:
        wants = self.wants.get(row.origin)
        if wants is not None:
            readings = [one for one in readings if wants(tx, row, _at_ms(one))]
        # of one time the sole record comes first: a yield of the same time does not stand in for it
        in_order = saying_something(sorted(readings, key=lambda one: (_at_ms(one), not one.sole)))
        taken = self.intake.take_in(tx, policy, Batch([*in_order, *others]))
        row.records += taken.fresh
        row.known += len(taken.records) - taken.fresh


def _is_fulfilled(rows: Sequence[BackfillRow], wishes: Sequence[Wish], asked_by: str) -> bool:
    """Whether all of it is done for somebody else, and no wish reaches further."""
    until_ms = max((unix_ms(wish.period.end) for wish in wishes), default=0)
    return max(row.end_ms for row in rows) >= until_ms and all(
        row.state is BackfillState.DONE and row.asked_by != asked_by for row in rows
    )


def period_of(row: BackfillRow) -> Period:
    """What a row wants."""
    return Period(from_unix_ms(row.start_ms), from_unix_ms(row.end_ms), row.interval_s)


def saying_something(readings: Sequence[Reading]) -> list[Reading]:
    """Readings, in the order of their times, without those that another one of the same time says completely: a
    vendor's lists overlap."""
    kept: list[Reading] = []
    for reading in readings:
        rivals = []
        for other in reversed(kept):
            if _at_ms(other) != _at_ms(reading):
                break
            rivals.append(other)
        if any(reading.metrics.items() <= other.metrics.items() for other in rivals):
            continue
        for other in rivals:
            if other.metrics.items() <= reading.metrics.items():
                kept.remove(other)
        kept.append(reading)
    return kept


def _at_ms(reading: Reading) -> int:
    return unix_ms(reading.observed_at or reading.received_at)


def _kept(reading: Reading) -> Json:
    return {
        "received_ms": unix_ms(reading.received_at),
        "metrics": dict(reading.metrics),
        "extra": dict(reading.extra),
        "series": reading.series,
        "sole": reading.sole,
        "covers": reading.covers,
        "fills": reading.fills,
    }


def _restored(device: str, held: HeldReading) -> Reading:
    body: dict[str, Any] = held.body
    return Reading(
        device,
        from_unix_ms(body["received_ms"]),
        Origin.BACKFILL,
        body["metrics"],
        observed_at=from_unix_ms(held.at_ms),
        extra=body["extra"],
        series=body["series"],
        sole=body["sole"],
        covers=body.get("covers", False),  # not there in what an older version held
        fills=body.get("fills", False),
    )
