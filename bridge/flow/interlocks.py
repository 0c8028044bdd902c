"""Interlocks: whether the operator's rules let a command pass now. Decided in the transaction that takes the command,
and again in the one with which it leaves, from what the journal and the devices' rows say; so it holds over restarts,
for commands that arrive together, and for those that wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

from bridge.domain.command import CommandState, Status
from bridge.domain.errors import Rejection
from bridge.domain.interlocks import LONGEST_SWITCH_INTERVAL_S, Act, Deed, Interlocks, Rules
from bridge.domain.quantity import duration_text
from bridge.domain.text import Json, plain
from bridge.domain.times import unix_ms
from bridge.store.protocols import JournalRow, Tx

REMEMBERED_S = 2 * LONGEST_SWITCH_INTERVAL_S
"""How long the journal keeps, at least, what did something to a device: a day of recharges is never longer."""

_LOADS = {"max_load_w": ("active_power",), "max_load_a": ("current", "current_a", "current_b", "current_c")}
_UNITS = {"max_load_w": "W", "max_load_a": "A"}
_CERTAINLY_NOT = frozenset({Status.FAILED, Status.CANCELLED, Status.EXPIRED})


@dataclass(frozen=True, slots=True)
class Past:
    """A deed of an earlier command. `at_ms`: when it happened at the latest, None while it may happen any moment;
    `left_ms`: when the command left for the vendor, None where it still waits."""

    act: Act
    id: str
    command: str
    left_ms: int | None
    at_ms: int | None


def refusal(
    tx: Tx,
    interlocks: Interlocks,
    account: str,
    device: str | None,
    acts: Sequence[Act],
    now: datetime,
    mine: JournalRow | None = None,
) -> Rejection | None:
    """Why a command with these acts must not be accepted, or, with its row (`mine`), must not leave; or None."""
    for target in dict.fromkeys(act.device or device for act in acts):
        here = [act for act in acts if (act.device or device) == target]
        rules = interlocks.of(target)
        found = _switching(tx, rules, account, target, here, now, mine) or _recharging(
            tx, rules, interlocks.zone, account, target, here, now, mine
        )
        if found is not None:
            return found
    return None


# switching ------------------------------------------------------------------------------------------------------------


def _switching(
    tx: Tx,
    rules: Rules,
    account: str,
    device: str | None,
    acts: Sequence[Act],
    now: datetime,
    mine: JournalRow | None,
) -> Rejection | None:
    moves = [act for act in acts if act.deed.switches]
    if not moves or device is None or not rules.watch_switching:
        return None
    if rules.min_switch_interval_s is not None:
        since_ms = unix_ms(now) - int(REMEMBERED_S * 1000)
        past = [one for one in _past(tx, account, device, since_ms, mine) if one.act.deed.switches]
        found = too_soon(rules.min_switch_interval_s, moves, past, now)
        if found is not None:
            return found
    if any(act.deed is Deed.SWITCH_ON for act in moves):
        row = tx.devices.get(account, device)
        return overloaded(rules, row.metrics if row is not None else {}, now)
    return None


def too_soon(
    interval_s: float, moves: Sequence[Act], past: Sequence[Past], now: datetime
) -> Rejection | None:
    """`min_switch_interval`: within one command, and after the last one that switched or still may."""
    rule = f"min_switch_interval: at least {duration_text(interval_s)} between two switchings"
    gaps = [later.after_s - sooner.after_s for sooner, later in pairwise(moves)]
    if gaps and min(gaps) < interval_s:
        return _refused(
            "min_switch_interval",
            f"{rule}, this command switches twice in {min(gaps)} s",
            interval_s,
            min(gaps),
        )
    waiting = next((one for one in past if one.at_ms is None), None)
    if waiting is not None:
        text = f"{rule}, and {waiting.command!r} ({waiting.id}) is still under way"
        return _refused("min_switch_interval", text, interval_s, 0)
    last = max(past, key=lambda one: one.at_ms or 0, default=None)
    if last is None or last.at_ms is None:
        return None
    age_s = (unix_ms(now) - last.at_ms) / 1000
    if age_s >= interval_s:
        return None
    when = f"was {age_s:.0f} s ago" if age_s >= 0 else f"is due in {-age_s:.0f} s"
    text = f"{rule}, the last one ({last.command}, {last.id}) {when}"
    return _refused("min_switch_interval", text, interval_s, round(age_s, 3))


def overloaded(rules: Rules, metrics: dict[str, list[Json]], now: datetime) -> Rejection | None:
    """`max_load_w`, `max_load_a`: by the last known value, unless that is not known or too old."""
    for rule, limit in (("max_load_w", rules.max_load_w), ("max_load_a", rules.max_load_a)):
        if limit is None:
            continue
        unit = _UNITS[rule]
        text = f"{rule}: nothing is switched on above {_plain(limit)} {unit}"
        known = {name: metrics[name] for name in _LOADS[rule] if name in metrics}
        if not known:
            return _refused(rule, f"{text}, and {_LOADS[rule][0]} is not known", limit, None)
        for name, (value, at_ms) in known.items():
            age_s = max(0.0, (unix_ms(now) - int(at_ms)) / 1000)
            told = f"{name} is {_plain(value)} {unit}, measured {age_s:.0f} s ago"
            if abs(value) > limit:
                return _refused(rule, f"{text}, {told}", limit, value)
            if rules.max_load_age_s is not None and age_s > rules.max_load_age_s:
                older = f"older than max_load_age {duration_text(rules.max_load_age_s)}"
                return _refused(rule, f"{text}; {told}: {older}", limit, value)
    return None


# money ----------------------------------------------------------------------------------------------------------------


def _recharging(
    tx: Tx,
    rules: Rules,
    zone: str,
    account: str,
    device: str | None,
    acts: Sequence[Act],
    now: datetime,
    mine: JournalRow | None,
) -> Rejection | None:
    charges = [act for act in acts if act.deed is Deed.RECHARGE]
    if not charges or device is None or not rules.watch_recharges:
        return None
    asked = _total(charges)
    if asked is None:
        return _refused("max_recharge", "max_recharge: the amount cannot be read", rules.max_recharge, None)
    if asked == 0:
        return None
    if rules.max_recharge is not None and asked > rules.max_recharge:
        text = f"max_recharge: at most {_plain(rules.max_recharge)} at once, {_plain(asked)} asked for"
        return _refused("max_recharge", text, rules.max_recharge, asked)
    if rules.max_recharge_per_day is None:
        return None
    local = now.astimezone(ZoneInfo(zone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    # by the wall clock, so that a day with a change of summer time is one day
    since_ms = unix_ms(midnight.astimezone(now.tzinfo))
    past = [one for one in _past(tx, account, device, since_ms, mine) if one.act.deed is Deed.RECHARGE]
    # of the day on which it left: what still waits is of today at the earliest
    before = _total(one.act for one in past if one.left_ms is None or one.left_ms >= since_ms) or Decimal(0)
    return spent(rules.max_recharge_per_day, before, asked, f"{midnight:%Y-%m-%d}, {zone}")


def spent(limit: Decimal, before: Decimal, asked: Decimal, day: str) -> Rejection | None:
    """`max_recharge_per_day`: together with what was recharged, or may have been, since midnight."""
    if before + asked <= limit:
        return None
    text = (
        f"max_recharge_per_day: at most {_plain(limit)} a day; {_plain(before)} so far on {day},"
        f" {_plain(asked)} asked for"
    )
    return _refused("max_recharge_per_day", text, limit, before + asked)


def _total(acts: Iterable[Act]) -> Decimal | None:
    total = Decimal(0)
    for act in acts:
        if act.amount is None:
            return None
        total += act.amount
    return total


# the journal ----------------------------------------------------------------------------------------------------------


def _past(tx: Tx, account: str, device: str, since_ms: int, mine: JournalRow | None) -> list[Past]:
    """What commands did to the device, or may have done or still do, since then. For one that is about to leave, not
    itself, nor what waits behind it."""
    found: list[Past] = []
    for row in tx.journal.acted(account, device, since_ms):
        acts = acts_from(row.acts)
        if did_not_happen(row, acts) or (mine is not None and _is_behind(row, mine)):
            continue
        at_ms = _latest_ms(row)
        for act in acts:
            if (act.device or row.device) == device:
                when = None if at_ms is None else at_ms + act.after_s * 1000
                left_ms = row.dispatched_ms if row.attempt > 0 else None
                found.append(Past(act, row.id, row.command, left_ms, when))
    return found


def _is_behind(row: JournalRow, mine: JournalRow) -> bool:
    return row.key == mine.key or (row.key > mine.key and row.state is CommandState.ACCEPTED)


def did_not_happen(row: JournalRow, acts: Sequence[Act]) -> bool:
    """Whether the command certainly did nothing: a no of the vendor or the device, or it never left. Of a batch that
    failed, single parts may have been done."""
    if row.state is not CommandState.FINAL or (row.last_ack or {}).get("status") not in _CERTAINLY_NOT:
        return False
    return row.attempt == 0 or len({act.device for act in acts}) <= 1


def _latest_ms(row: JournalRow) -> int | None:
    if row.state is CommandState.FINAL:
        return row.updated_ms
    return row.sent_ms if row.state is CommandState.SENT else None


def acts_json(acts: Sequence[Act]) -> Json:
    """As they are kept in the journal; None for none."""
    kept = [
        {
            "deed": str(act.deed),
            "amount": act.amount,
            "after_s": act.after_s,
            "device": act.device,
        }
        for act in acts
    ]
    return kept or None


def acts_from(kept: Json) -> list[Act]:
    """The inverse of `acts_json`."""
    return [
        Act(
            Deed(one["deed"]),
            Decimal(one["amount"]) if one["amount"] is not None else None,
            int(one["after_s"]),
            one["device"],
        )
        for one in kept or ()
    ]


def _refused(rule: str, text: str, limit: Decimal | float | None, measured: Json) -> Rejection:
    numbers = {"limit": limit, "measured": measured}
    return Rejection(
        "interlock", text, result={"rule": rule, **{name: _number(one) for name, one in numbers.items()}}
    )


def _number(value: Json) -> Json:
    return (
        plain(Decimal(repr(value)) if isinstance(value, float) else Decimal(value))
        if value is not None
        else None
    )


def _plain(value: Json) -> str:
    return f"{Decimal(value).normalize():f}" if isinstance(value, Decimal | int) else str(value)
