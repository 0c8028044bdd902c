"""Alarms, events and availability: once each, with stable ids (CONTRACT section 5, METRICS sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bridge.contract import payloads
from bridge.contract.publication import Class
from bridge.domain.alarms import CONDITIONS, Condition, severity_of
from bridge.domain.observation import AlarmMessage, AlarmState, Availability, Event, Origin, Value
from bridge.domain.times import FUTURE, from_unix_ms, parse_rfc3339, rfc3339, unix_ms
from bridge.flow.desk import Desk
from bridge.store.protocols import AlarmRow, DeviceRow


def take_event(desk: Desk, event: Event) -> None:
    """Publishes an event that was not published before."""
    row = desk.row(event.device)
    at = event.happened_at or event.received_at
    _note_time(row, event.code, unix_ms(at))
    if _is_first(desk, event, at):
        _publish_event(desk, row, event, at)


def take_keyed_event(desk: Desk, event: Event, key: str) -> None:
    """Publishes an event that `key` tells from all others, once. Ids end in whole seconds: where another event of its
    code and device has its second, it is told under the next free one, so that none of the two is lost."""
    if not desk.tx.alarms.first_sight(key, desk.now_ms):
        return
    row = desk.row(event.device)
    at = event.happened_at or event.received_at
    while not _is_first(desk, event, at):
        at += timedelta(seconds=1)
    _publish_event(desk, row, event, at)


def _is_first(desk: Desk, event: Event, at: datetime) -> bool:
    event_id = payloads.occurrence_id(desk.policy.vendor, event.device, event.code, at)
    return desk.tx.alarms.first_sight(event_id, desk.now_ms)


def _publish_event(desk: Desk, row: DeviceRow, event: Event, at: datetime) -> None:
    document = payloads.event(
        event_id=payloads.occurrence_id(desk.policy.vendor, event.device, event.code, at),
        ts=at,
        received_ts=event.received_at,
        source=str(event.origin),
        account=desk.policy.account,
        vendor=desk.policy.vendor,
        device=event.device,
        kind=desk.kind_of(row),
        code=event.code,
        vendor_code=event.vendor_code,
        message=event.message,
        data=event.data,
    )
    desk.publish(row, "event", document, Class.EVENT)


def _note_time(row: DeviceRow, code: str, at_ms: int) -> None:
    """When this event last happened: it may prove a command."""
    key = f"event:{code}"
    before = int(row.evented[key][2]) if key in row.evented else at_ms
    row.evented[key] = [code, "", max(before, at_ms)]


def take_availability(desk: Desk, seen: Availability) -> None:
    """`availability`, and the event where the vendor itself says it. A vendor's statement that is older than the
    last one applied is ignored: a quick reconnect delivers both in any order (wmj page, section 8)."""
    row = desk.row(seen.device)
    word = "online" if seen.online else "offline"
    if seen.at is not None:
        at_ms = unix_ms(seen.at)
        if row.said_ms is not None and at_ms < row.said_ms:
            return
        if seen.at <= seen.received_at + FUTURE:  # what lies in the future would outlast all that follows
            row.said_ms = at_ms
    was_available, row.available = row.available, seen.online
    desk.retain(row, "availability", word.encode(), Class.META)
    if not seen.said:
        return
    # the first word ever is no change; a first "offline" is still worth telling
    changed = row.said != word and (row.said is not None or not seen.online)
    # its last word was "offline" too, but the device was heard of since then: it is gone anew
    changed = changed or (was_available is True and not seen.online)
    row.said = word
    if seen.announced or changed:
        take_event(
            desk,
            Event(
                seen.device,
                word,
                seen.received_at,
                seen.origin,
                happened_at=seen.at,
                vendor_code=seen.vendor_code,
                data=seen.data,
            ),
        )


def take_alarm(desk: Desk, alarm: AlarmMessage) -> None:
    """One alarm as the vendor tells it: raised once, cleared once, both under one id."""
    row = desk.row(alarm.device)
    started = alarm.started_at or alarm.received_at
    alarm_id = payloads.occurrence_id(desk.policy.vendor, alarm.device, alarm.code, started)
    over = alarm.cleared or alarm.ended_at is not None
    known = desk.tx.alarms.get(alarm_id)
    if known is None:
        backlog_from = from_unix_ms(row.met_ms) - timedelta(seconds=desk.policy.alarm_backlog_s)
        severity = severity_of(alarm.code, alarm.vendor_code, desk.policy.severities)
        known = AlarmRow(
            id=alarm_id,
            account=desk.policy.account,
            device=alarm.device,
            code=alarm.code,
            severity=str(severity),
            raised_ms=unix_ms(started),
            document=_document(
                desk,
                row,
                alarm_id,
                started,
                alarm.received_at,
                alarm.origin,
                alarm.code,
                alarm.vendor_code,
                alarm.message,
                str(severity),
                alarm.data,
            ),
            condition=False,
            silent=over and started < backlog_from,
        )
        _raise(desk, row, known)
    elif alarm.standing and known.cleared_ms is None:
        known.document = {**known.document, "received_ts": rfc3339(alarm.received_at)}
        desk.tx.alarms.save(known)
    if over and known.cleared_ms is None:
        ended = alarm.ended_at or alarm.received_at
        _clear(desk, row, known, ended, alarm.received_at, sent=alarm.data, origin=alarm.origin)


def check_conditions(
    desk: Desk,
    row: DeviceRow,
    before: Mapping[str, Value | None],
    newer: Mapping[str, Value],
    ts_ms: int,
    origin: Origin,
    received_at: datetime,
) -> None:
    """The alarms that are read from records: raised on the change to a bad value, cleared on the change back."""
    active = [alarm for alarm in desk.tx.alarms.active(row.account, row.device) if alarm.condition]
    concerned = [
        condition
        for condition in CONDITIONS
        if condition.metric in newer and (active or newer[condition.metric] in condition.bad)
    ]
    if not concerned:
        return
    at = from_unix_ms(ts_ms)
    rising: list[Condition] = []
    for condition in concerned:
        mine = [a for a in active if a.code == condition.code and a.severity == condition.severity]
        if newer[condition.metric] not in condition.bad:
            for alarm in mine:
                sent = condition.told(newer[condition.metric])
                _clear(desk, row, alarm, at, received_at, sent=sent, origin=origin)
        elif not mine and not (
            condition.needs_good_first and before[condition.metric] in (None, *condition.bad)
        ):
            rising.append(condition)
    for condition in rising:
        alarm_id = payloads.occurrence_id(desk.policy.vendor, row.device, condition.code, at)
        if desk.tx.alarms.get(alarm_id) is not None:
            continue
        severity = str(condition.severity)
        document = _document(
            desk,
            row,
            alarm_id,
            at,
            received_at,
            origin,
            condition.code,
            condition.vendor_code,
            "",
            severity,
            condition.told(newer[condition.metric]) or {},
        )
        alarm = AlarmRow(
            alarm_id, row.account, row.device, condition.code, severity, ts_ms, document, condition=True
        )
        _raise(desk, row, alarm)


def clear_message_alarms(desk: Desk, row: DeviceRow, at: datetime, reason: str) -> None:
    """Clears the alarms of a vendor that never tells an end (METRICS section 2)."""
    for alarm in desk.tx.alarms.active(row.account, row.device):
        if not alarm.condition:
            _clear(desk, row, alarm, at, at, reason)


def clear_old_alarms(desk: Desk) -> None:
    """Clears what the vendor told last longer than `alarm_clear_after` ago. A device that is gone stays gone."""
    before_ms = desk.now_ms - int(desk.policy.alarm_clear_after_s * 1000)
    for alarm in desk.tx.alarms.raised_before(desk.policy.account, before_ms):
        if unix_ms(parse_rfc3339(alarm.document["received_ts"])) >= before_ms:
            continue  # it began long ago, but was told lately
        row = desk.known_row(alarm.device) or DeviceRow(alarm.account, alarm.device, met_ms=desk.now_ms)
        _clear(desk, row, alarm, desk.now, desk.now, "no longer reported")


def _raise(desk: Desk, row: DeviceRow, alarm: AlarmRow) -> None:
    desk.tx.alarms.save(alarm)
    if alarm.silent:
        return
    desk.publish(row, "alarm", alarm.document, Class.ALARM)
    desk.mark_dirty(row)


def _clear(
    desk: Desk,
    row: DeviceRow,
    alarm: AlarmRow,
    at: datetime,
    received_at: datetime,
    message: str = "",
    sent: Mapping[str, Any] | None = None,
    origin: Origin | None = None,
) -> None:
    # `sent`: what the vendor said of the end; where it said nothing, the alarm's own data stand
    alarm.cleared_ms = unix_ms(at)
    desk.tx.alarms.save(alarm)
    if alarm.silent:
        return
    document = {
        **alarm.document,
        "ts": rfc3339(at),
        "received_ts": rfc3339(received_at),
        "source": str(origin) if origin is not None else alarm.document["source"],
        "message": message or alarm.document["message"],
        "state": str(AlarmState.CLEARED),
        "data": dict(sent) if sent else alarm.document["data"],
    }
    desk.publish(row, "alarm", document, Class.ALARM)
    desk.mark_dirty(row)


def _document(
    desk: Desk,
    row: DeviceRow,
    alarm_id: str,
    at: datetime,
    received_at: datetime,
    origin: Origin,
    code: str,
    vendor_code: str,
    message: str,
    severity: str,
    data: Mapping[str, Any],
) -> dict[str, Any]:
    return payloads.alarm(
        alarm_id=alarm_id,
        ts=at,
        received_ts=received_at,
        source=str(origin),
        account=desk.policy.account,
        vendor=desk.policy.vendor,
        device=row.device,
        kind=desk.kind_of(row),
        code=code,
        vendor_code=vendor_code,
        message=message,
        severity=severity,
        state=str(AlarmState.RAISED),
        data=data,
    )
