"""Readings to records: `telemetry`, `history` and `state` of one record are made here and nowhere else.

Per device, `telemetry` never steps back in time; what is older goes to `history`; the same record is published
once (CONTRACT sections 2 and 3, METRICS rules 6 and 7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bridge.contract import payloads
from bridge.contract.publication import Class
from bridge.domain.metrics import LIFETIME_COUNTERS, METRICS, SWITCH_EVENTS
from bridge.domain.observation import Event, Origin, Reading, Value, Words
from bridge.domain.text import Json, canonical
from bridge.domain.times import FUTURE, from_unix_ms, unix_ms
from bridge.flow.desk import Desk
from bridge.flow.guard import guard_counters
from bridge.flow.occurrences import check_conditions, clear_message_alarms, take_event
from bridge.store.protocols import DeviceRow

_SPECIMENS: dict[type, Value] = {int: 1, Decimal: Decimal(1), bool: True, str: ""}
_TYPES = {
    name: frozenset(kind for kind, one in _SPECIMENS.items() if metric.takes(one))
    for name, metric in METRICS.items()
}
"""The types of which every value fits a metric."""
_SERIES = "series:"
_COVERED = "covered"
CLAIM_MS = 5 * 60 * 1000
"""How long a vendor's own report of a switch may come after the gateway saw the change by itself."""


def take_reading(desk: Desk, reading: Reading) -> dict[str, Any]:
    """Takes one reading in; returns its record, whether or not it was new."""
    row = desk.row(reading.device)
    metrics = known_metrics(desk, reading.metrics)
    ts_ms = unix_ms(reading.observed_at or reading.received_at)
    if from_unix_ms(ts_ms) > reading.received_at + FUTURE:
        return _take_suspect(desk, row, reading, metrics, ts_ms)
    mark = fingerprint(metrics)
    if not _is_new(desk, row, reading, metrics, ts_ms, mark):
        if desk.series is not None and reading.origin is Origin.BACKFILL:
            desk.series.past(desk, row, ts_ms, metrics)
        return _record(desk, row, reading, metrics, ts_ms)
    late = reading.origin is Origin.BACKFILL or (row.clock_ms is not None and ts_ms < row.clock_ms)
    if late:
        record = _record(desk, row, reading, metrics, ts_ms)
        desk.publish(row, "history", record, Class.HISTORY)
        if desk.series is not None:
            desk.series.past(desk, row, ts_ms, metrics)
    else:
        if desk.series is not None:
            desk.series.live(desk, row, row.clock_ms, ts_ms, metrics)
        _advance_clock(row, mark, ts_ms, reading.series)
        metrics = guard_counters(desk, row, metrics, ts_ms)
        record = _record(desk, row, reading, metrics, ts_ms)
        desk.publish(row, "telemetry", record, Class.TELEMETRY)
    desk.fresh += 1
    is_past = row.clock_ms is not None and ts_ms < row.clock_ms
    _merge(
        desk, row, metrics, ts_ms, reading.origin, reading.received_at, reading.announced, reading.sent,
        is_past=is_past,
    )  # fmt: skip
    return record


def take_words(desk: Desk, words: Words) -> None:
    """Values without a time of their own: into `state`, with their events, without a record."""
    row = desk.row(words.device)
    metrics = known_metrics(desk, words.metrics)
    _merge(desk, row, metrics, unix_ms(words.received_at), words.origin, words.received_at, {}, {})


def known_metrics(desk: Desk, metrics: Mapping[str, Value]) -> dict[str, Value]:
    """Only catalogued names with values of their type; anything else is a codec's mistake and is counted."""
    good = {name: value for name, value in metrics.items() if type(value) in _TYPES.get(name, ())}
    if len(good) == len(metrics):
        return good
    good = {}
    for name, value in metrics.items():
        if type(value) in _TYPES.get(name, ()) or (name in METRICS and METRICS[name].takes(value)):
            good[name] = value
        else:
            desk.anomalies.append(f"metric {name!r} of {desk.policy.vendor} is not in the catalogue")
    return good


def _record(
    desk: Desk,
    row: DeviceRow,
    reading: Reading,
    metrics: Mapping[str, Value],
    ts_ms: int,
    clock_suspect: bool = False,
) -> dict[str, Any]:
    return payloads.record(
        account=desk.policy.account,
        vendor=desk.policy.vendor,
        device=row.device,
        kind=desk.kind_of(row),
        ts=from_unix_ms(ts_ms),
        received_ts=reading.received_at,
        source=str(reading.origin),
        metrics=metrics,
        extra=reading.extra,
        clock_suspect=clock_suspect,
    )


def fingerprint(metrics: Mapping[str, Value]) -> str:
    """Equal values give equal fingerprints."""
    return hashlib.blake2b(canonical(metrics), digest_size=8).hexdigest()


def _is_new(
    desk: Desk, row: DeviceRow, reading: Reading, metrics: Mapping[str, Value], ts_ms: int, mark: str
) -> bool:
    if row.clock_ms == ts_ms and (mark in row.prints or _says_nothing_new(row, reading, metrics, ts_ms)):
        return False
    if reading.observed_at is None:
        return True  # its time is that of its receipt: nothing earlier can be the same record
    return not _was_told(desk, row, reading, ts_ms) and desk.tx.seen.record(
        desk.policy.account, row.device, ts_ms, mark, desk.now_ms
    )


def _was_told(desk: Desk, row: DeviceRow, reading: Reading, ts_ms: int) -> bool:
    """Whether a record of the past, or one that only fills gaps, is one that was published before, in whatever form.
    Notes the series of this one, and what it covers."""
    seen, account = desk.tx.seen, desk.policy.account
    is_past = reading.origin is Origin.BACKFILL
    if reading.covers:
        seen.record(account, row.device, ts_ms, _COVERED, desk.now_ms)
    elif reading.fills and seen.has_record(account, row.device, ts_ms, _COVERED):
        return True
    if reading.series:
        first = seen.record(account, row.device, ts_ms, _SERIES + reading.series, desk.now_ms)
        if is_past and not first:
            return True
    return is_past and reading.sole and seen.any_record(account, row.device, ts_ms)


def _says_nothing_new(row: DeviceRow, reading: Reading, metrics: Mapping[str, Value], ts_ms: int) -> bool:
    """Whether it is the newest record in another form: polled with fewer fields than it was pushed with."""
    if not reading.series or _SERIES + reading.series not in row.prints:
        return False
    return all(_is_known(row, name, value, ts_ms) for name, value in metrics.items())


def _is_known(row: DeviceRow, name: str, value: Value, ts_ms: int) -> bool:
    entry = row.metrics.get(name)
    overtaken = entry is not None and int(entry[1]) > ts_ms
    return overtaken or [value, ts_ms] in (entry, row.held.get(name))


def _advance_clock(row: DeviceRow, mark: str, ts_ms: int, series: str) -> None:
    if row.clock_ms != ts_ms:
        row.clock_ms = ts_ms
        row.prints = []
    marks = [mark, _SERIES + series] if series else [mark]
    row.prints += [one for one in marks if one not in row.prints]


def _take_suspect(
    desk: Desk, row: DeviceRow, reading: Reading, metrics: Mapping[str, Value], ts_ms: int
) -> dict[str, Any]:
    record = _record(desk, row, reading, metrics, ts_ms, clock_suspect=True)
    if not desk.tx.seen.record(desk.policy.account, row.device, ts_ms, fingerprint(metrics), desk.now_ms):
        return record
    desk.publish(row, "history", record, Class.HISTORY)
    desk.fresh += 1
    today = desk.now_ms // 86_400_000
    if row.suspect_day != today:
        row.suspect_day = today
        take_event(
            desk,
            Event(
                row.device,
                "clock_suspect",
                reading.received_at,
                reading.origin,
                message="the record's time lies in the future: check the device's clock",
                data={"ts": record["ts"], "received_ts": record["received_ts"]},
            ),
        )
    return record


def _merge(
    desk: Desk,
    row: DeviceRow,
    metrics: Mapping[str, Value],
    ts_ms: int,
    origin: Origin,
    received_at: datetime,
    announced: Mapping[str, Mapping[str, Json]],
    sent: Mapping[str, Mapping[str, Json]],
    *,
    is_past: bool = False,
) -> None:
    """The newest value of every metric, and what follows from a change: events, conditions, a changed state. A record
    of the past (`is_past`) raises no condition, also where newer ones say nothing of its metric."""
    before: dict[str, Value | None] = {}
    first: list[str] = []
    kept = row.metrics
    for name, value in metrics.items():
        entry = kept.get(name)
        if entry is None:
            before[name] = None
            first.append(name)
            kept[name] = [value, ts_ms]
        elif entry[1] <= ts_ms:
            before[name] = entry[0]
            entry[0], entry[1] = value, ts_ms
    if not before:
        return
    desk.met(row, first)
    newer = metrics if len(before) == len(metrics) else {name: metrics[name] for name in before}
    _tell_resets(desk, row, before, newer, ts_ms, origin, received_at)
    for name in SWITCH_EVENTS:
        if name in newer:
            data = announced.get(name) or sent.get(name) or {name: newer[name]}
            _tell_switch(
                desk, row, name, before[name], str(newer[name]), ts_ms, origin, received_at,
                announced=name in announced, data=data,
            )  # fmt: skip
    if not is_past:
        check_conditions(desk, row, before, newer, ts_ms, origin, received_at)
    desk.mark_dirty(row)


def _tell_switch(
    desk: Desk,
    row: DeviceRow,
    name: str,
    before: Value | None,
    value: str,
    ts_ms: int,
    origin: Origin,
    received_at: datetime,
    *,
    announced: bool,
    data: Mapping[str, Json],
) -> None:
    """`switch_on` and its like: once per change, whether the vendor's report or the gateway's own look came first."""
    code = SWITCH_EVENTS[name].get(value)
    changed = before is not None and before != value
    if code is None or not (changed or announced):
        return
    told = row.evented.get(name)
    if (
        not changed
        and told is not None
        and told[0] == value
        and told[1] == "seen"
        and 0 <= desk.now_ms - int(told[2]) < CLAIM_MS
    ):
        row.evented[name] = [value, "announced", desk.now_ms]
        return
    row.evented[name] = [value, "announced" if announced else "seen", desk.now_ms]
    if value == "on":
        clear_message_alarms(desk, row, received_at, "the switch is on again")
    take_event(
        desk,
        Event(
            row.device,
            code,
            received_at,
            origin,
            happened_at=from_unix_ms(ts_ms),
            data=data,
        ),
    )


def _tell_resets(
    desk: Desk,
    row: DeviceRow,
    before: Mapping[str, Value | None],
    newer: Mapping[str, Value],
    ts_ms: int,
    origin: Origin,
    received_at: datetime,
) -> None:
    """`counter_reset`: one event per record; counters beyond the first are listed in `data.others`."""
    falls = [
        {"metric": name, "before": old, "after": newer[name]}
        for name, old in before.items()
        if name in LIFETIME_COUNTERS and old is not None and newer[name] < old  # type: ignore[operator] # counters are numbers
    ]
    if not falls:
        return
    data: dict[str, Any] = dict(falls[0])
    if len(falls) > 1:
        data["others"] = falls[1:]
    take_event(
        desk,
        Event(
            row.device,
            "counter_reset",
            received_at,
            origin,
            happened_at=from_unix_ms(ts_ms),
            message="a counter is lower than before",
            data=data,
        ),
    )
