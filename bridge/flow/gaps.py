"""The gap ledger: where the series of each device has a hole that only the vendor's past could fill.

Every record that is taken in passes here, in the same transaction. A live one that comes long after the one before
leaves a gap between them; any record that falls into a gap, by whatever way, divides or closes it. So the ledger is
as true as the records that went out, also over a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bridge.domain.cadence import LEARN_FROM, LONGEST_NIGHT_S, expected_s, is_dim, is_hole, remembered
from bridge.domain.observation import Value
from bridge.domain.text import Json
from bridge.domain.times import from_unix_ms, rfc3339, unix_ms
from bridge.flow.desk import Desk
from bridge.store.protocols import CadenceRow, DeviceRow, GapRow, GapState, Tx

SETTLE_MS = 60_000
"""How long after it is found a gap is left alone: what is late by itself may come meanwhile."""
NOTE_EVERY_MS = 60_000
OUTAGES_FOR_MS = 45 * 86_400_000
_OUTAGES = "gaps.outages"


@dataclass(slots=True)
class Rhythm:
    """What is known of one account beside its records. `planned_s`: how often a device is asked; `usual_s`: the
    vendor's own distance of its records, None if it does not say; `keeps_past`: whether it could fill a gap."""

    planned_s: Callable[[str], float] = lambda _device: 0.0
    usual_s: Callable[[str], float | None] = lambda _device: None
    keeps_past: Callable[[str], bool] = lambda _device: False


@dataclass(slots=True)
class _Outages:
    """When an account could not be read: [from, until] in Unix milliseconds, and since when it cannot now."""

    spans: list[list[int]] = field(default_factory=list)
    since_ms: int | None = None
    noted_ms: int = 0

    def touch(self, start_ms: int, end_ms: int) -> bool:
        """Whether part of such a stretch was one."""
        if self.since_ms is not None and self.since_ms < end_ms:
            return True
        return any(begin < end_ms and until > start_ms for begin, until in self.spans)


class GapLedger:
    """One for all accounts."""

    def __init__(self) -> None:
        self._rhythms: dict[str, Rhythm] = {}
        self._outages: dict[str, _Outages] = {}

    # what is known of accounts ----------------------------------------------------------------------------------

    def enter(self, account: str, rhythm: Rhythm) -> None:
        """An account begins, or goes on under other rules."""
        self._rhythms[account] = rhythm

    def recall(self, tx: Tx, account: str) -> None:
        """At the start: since when this gateway has not heard the account."""
        kept = tx.vault.get(account, _OUTAGES)
        outages = self._outages.setdefault(account, _Outages())
        if isinstance(kept, dict):
            outages.spans = [[int(a), int(b)] for a, b in kept.get("spans", [])]
            outages.since_ms = kept.get("heard_ms")

    def heard(self, tx: Tx, account: str, at_ms: int, *, well: bool) -> None:
        """Now and then: when the vendor answered last, and whether it does now. Ends an outage or begins one."""
        outages = self._outages.setdefault(account, _Outages())
        before = list(outages.spans)
        if well and outages.since_ms is not None:
            if at_ms > outages.since_ms:
                outages.spans.append([outages.since_ms, at_ms])
            outages.since_ms = None
        elif not well and outages.since_ms is None:
            outages.since_ms = at_ms
        outages.spans = [span for span in outages.spans if span[1] > at_ms - OUTAGES_FOR_MS]
        heard_ms = at_ms if outages.since_ms is None else outages.since_ms
        if heard_ms >= outages.noted_ms + NOTE_EVERY_MS or outages.spans != before:
            outages.noted_ms = heard_ms
            tx.vault.put(account, _OUTAGES, {"spans": outages.spans, "heard_ms": heard_ms})

    # records ----------------------------------------------------------------------------------------------------

    def live(
        self, desk: Desk, row: DeviceRow, before_ms: int | None, ts_ms: int, metrics: Mapping[str, Value]
    ) -> None:
        """A record that goes to `telemetry`; `before_ms` is the time of the one before it there."""
        account, device = desk.policy.account, row.device
        cadence = desk.tx.cadences.get(account, device) or CadenceRow(account, device)
        kind = desk.kind_of(row)
        cadence.brightest_w = max(cadence.brightest_w, _power_w(metrics))
        dim = is_dim(kind, metrics, cadence.brightest_w)
        if before_ms is not None and ts_ms > before_ms:
            self._look_back(desk, device, cadence, before_ms, ts_ms, dim=dim)
            cadence.distances = remembered(cadence.distances, (ts_ms - before_ms) // 1000)
        cadence.dim = dim
        desk.tx.cadences.save(cadence)

    def past(self, desk: Desk, row: DeviceRow, ts_ms: int, metrics: Mapping[str, Value]) -> None:
        """A record that goes to `history`, or that was known when a backfill brought it."""
        account, device = desk.policy.account, row.device
        gap = desk.tx.gaps.around(account, device, ts_ms)
        if gap is None or not gap.certain:
            return  # of one that is not certain nobody can tell what a part lacks: it is looked at as a whole, once
        cadence = desk.tx.cadences.get(account, device) or CadenceRow(account, device)
        dim = is_dim(desk.kind_of(row), metrics, cadence.brightest_w)
        expected = self._expected_s(account, device, cadence.distances)
        pieces = [
            replace(gap, end_ms=ts_ms, end_dim=dim),
            replace(gap, start_ms=ts_ms, start_dim=dim),
        ]
        kept = [one for one in pieces if expected is None or is_hole(_seconds(one), expected)]
        for piece in kept[:1]:
            desk.tx.gaps.save(piece)
        for piece in kept[1:]:
            desk.tx.gaps.insert(piece)
        if not kept:
            desk.tx.gaps.drop(gap.key)

    def _look_back(
        self, desk: Desk, device: str, cadence: CadenceRow, before_ms: int, ts_ms: int, *, dim: bool
    ) -> None:
        account = desk.policy.account
        distance_s = (ts_ms - before_ms) / 1000
        expected = self._expected_s(account, device, cadence.distances)
        away = self._outages.get(account, _Outages()).touch(before_ms, ts_ms)
        if expected is not None and not is_hole(distance_s, expected):
            return
        if expected is None and not away:
            return
        # it slept, but polls are rare at night: its first records of the day may have been missed
        slept = cadence.dim and dim and distance_s <= LONGEST_NIGHT_S
        certain = expected is not None and not slept
        keeps = self._rhythm(account).keeps_past(device)
        if not keeps and not certain:
            return
        desk.tx.gaps.insert(
            GapRow(
                0,
                account,
                device,
                before_ms,
                ts_ms,
                GapState.MISSING if keeps else GapState.UNFILLABLE,
                certain=certain,
                start_dim=cadence.dim,
                end_dim=dim,
                next_ms=desk.now_ms + SETTLE_MS,
                noted_ms=desk.now_ms,
                message="" if keeps else "the vendor keeps no past of this device",
            )
        )

    # questions --------------------------------------------------------------------------------------------------

    def known(
        self,
        tx: Tx,
        now: datetime,
        accounts: Iterable[str],
        device: str | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> list[Json]:
        """The holes of these accounts that overlap a stretch of time: what the ledger holds, and the silences that
        last. Documents as METRICS 4.2 has them."""
        found: list[tuple[str, str, int, int]] = []
        for account in accounts:
            rows = [
                *(one for one in tx.gaps.find(account, device, start_ms, end_ms) if not is_night(one)),
                *self._silences(tx, account, unix_ms(now)),
            ]
            found += [
                (one.account, one.device, one.start_ms, one.end_ms)
                for one in rows
                if _wanted(one, device, start_ms, end_ms)
            ]
        return [
            {
                "account": account,
                "device": name,
                "start": rfc3339(from_unix_ms(begin)),
                "end": rfc3339(from_unix_ms(end)),
            }
            for account, name, begin, end in sorted(found)
        ]

    def _silences(self, tx: Tx, account: str, now_ms: int) -> Sequence[GapRow]:
        """Devices from which a record is overdue, until now."""
        found = []
        for row in tx.devices.of_account(account):
            cadence = tx.cadences.get(account, row.device) if row.clock_ms is not None else None
            if cadence is None or row.clock_ms is None:
                continue
            silent_s = (now_ms - row.clock_ms) / 1000
            expected = self._expected_s(account, row.device, cadence.distances)
            # a record is under way for up to one interval of asking
            asleep = cadence.dim and silent_s <= LONGEST_NIGHT_S
            slack_s = self._rhythm(account).planned_s(row.device)
            if is_hole(silent_s - slack_s, expected) and not asleep:
                found.append(GapRow(0, account, row.device, row.clock_ms, now_ms))
        return found

    def _expected_s(self, account: str, device: str, distances: Sequence[int]) -> float | None:
        rhythm = self._rhythm(account)
        usual_s = rhythm.usual_s(device) if len(distances) < LEARN_FROM else None
        return expected_s(distances, usual_s, rhythm.planned_s(device))

    def _rhythm(self, account: str) -> Rhythm:
        return self._rhythms.get(account, Rhythm())


def is_night(row: GapRow) -> bool:
    """Whether the device probably slept: that is looked at once, and no gap to anybody."""
    return not row.certain and row.start_dim and row.end_dim


def _wanted(row: GapRow, device: str | None, start_ms: int | None, end_ms: int | None) -> bool:
    return (
        device in (None, row.device)
        and (start_ms is None or row.end_ms > start_ms)
        and (end_ms is None or row.start_ms < end_ms)
    )


def _power_w(metrics: Mapping[str, Value]) -> float:
    power = metrics.get("active_power")
    return float(power) if power is not None and not isinstance(power, bool | str) else 0.0


def _seconds(row: GapRow) -> float:
    return (row.end_ms - row.start_ms) / 1000
