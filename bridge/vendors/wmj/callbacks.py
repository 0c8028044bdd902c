"""Callbacks as observations (page wmj, sections 4.6, 6.2 to 6.5 and 8). Pure: no I/O, no clock."""

from __future__ import annotations

import re
from datetime import datetime

from bridge.domain.account import AccountPolicy
from bridge.domain.alarms import MESSAGE_SEVERITY
from bridge.domain.observation import AlarmMessage, Availability, Event, Observation, Origin, Reading
from bridge.domain.text import Json, flag, word_of
from bridge.domain.times import from_unix
from bridge.vendors.wmj import frame as frames
from bridge.vendors.wmj.codec import TRANSPORT, alive, described, measured, public, published, reading
from bridge.vendors.wmj.points import fault_names
from bridge.vendors.wmj.wire import Callback


def pushed(message: Callback, received_at: datetime, policy: AccountPolicy) -> list[Observation]:
    """A callback (4.6) as observations. Raises ValueError where an `on-off` tells no state."""
    if message.word in ("OnLine", "OffLine"):
        return [_connection(message, received_at, policy)]
    if message.word == "dev_reg":
        return _registered(message, received_at, policy)
    if message.word == "power_report":
        return [
            *reading(message.serial, message.info, received_at, Origin.PUSH, policy),
            alive(message.serial, received_at, Origin.PUSH),
        ]
    if message.word != "notify":
        return [_unknown(message, message.word, received_at, policy)]
    kind = message.info.get("notify_type")
    if kind == "on-off":
        return [_switched(message, received_at, policy)]
    if kind == "alarm":
        return [_alarm(message, received_at, policy)]
    return [_unknown(message, kind or message.word, received_at, policy)]


def _connection(message: Callback, received_at: datetime, policy: AccountPolicy) -> Availability:
    return Availability(
        message.serial,
        online=message.word == "OnLine",
        received_at=received_at,
        origin=Origin.PUSH,
        said=True,
        at=_unix(message.info.get("time")),
        announced=True,
        vendor_code=message.word,
        data=_data(message, policy),
    )


def _unix(value: Json) -> datetime | None:
    seconds = measured(value)
    if seconds is None:
        return None
    try:
        return from_unix(float(seconds))
    except ValueError:
        return None


def _registered(message: Callback, received_at: datetime, policy: AccountPolicy) -> list[Observation]:
    event = Event(
        message.serial,
        "registered",
        received_at,
        Origin.PUSH,
        vendor_code=message.word,
        data=_data(message, policy),
    )
    return [
        event,
        *described(message.serial, message.info, policy),
        *reading(message.serial, message.info, received_at, Origin.PUSH, policy),
        alive(message.serial, received_at, Origin.PUSH),
    ]


def _switched(message: Callback, received_at: datetime, policy: AccountPolicy) -> Reading:
    info = message.info
    told, anomaly = _frame_state(info.get("data"))
    state = flag(info.get("state"))
    closed = told if state is None else state
    if closed is None:
        raise ValueError("an on-off message without a state")
    extra = public(
        {k: v for k, v in info.items() if k not in {"state", "data", "notify_type"} | TRANSPORT}, policy
    )
    if anomaly or told not in (None, closed):
        extra["anomaly"] = anomaly or f"the state is {int(closed)}, but the frame says {int(not closed)}"
        extra["data"] = info.get("data")
    return Reading(
        message.serial,
        received_at,
        Origin.PUSH,
        {"switch_state": "on" if closed else "off"},
        extra=extra,
        announced={"switch_state": public(info, policy)},
    )


def _frame_state(text: Json) -> tuple[bool | None, str]:
    """The state that the frame of an `on-off` message tells, and what is wrong with the frame."""
    if not isinstance(text, str) or not text.strip():
        return None, ""
    try:
        return frames.switch_of(frames.decode(text)), ""
    except frames.FrameError as error:
        return None, f"the frame cannot be read: {error}"


def _alarm(message: Callback, received_at: datetime, policy: AccountPolicy) -> AlarmMessage:
    """Only `alarm_detail` decides the kind: numbers and bitmaps contradict each other (6.4, Q7)."""
    info = message.info
    detail = word_of(_as_text(info.get("alarm_detail")))
    native = _as_text(info.get("code"))
    word = detail if detail in MESSAGE_SEVERITY else f"vendor_{_first_word(detail, native)}"
    data = public(info, policy)
    bits = fault_bits(info.get("bitmap"))
    if bits is not None:
        data["fault_bits"] = bits
    return AlarmMessage(
        message.serial,
        word,
        native,
        received_at,
        Origin.PUSH,
        message=_as_text(info.get("msg")),
        data=data,
    )


def fault_bits(bitmap: Json) -> list[str] | None:
    """The names of a well-formed bitmap's bits (6.5), None for the pieces of frames sent instead (Q6)."""
    text = bitmap.strip().upper() if isinstance(bitmap, str) else ""
    if text == "55" or text.startswith("55AA") or not re.fullmatch(r"([0-9A-F]{2}){1,4}", text):
        return None
    return fault_names(int(text, 16))


def _unknown(message: Callback, kind: Json, received_at: datetime, policy: AccountPolicy) -> Event:
    return Event(
        message.serial,
        f"vendor_{_first_word(kind, message.word)}",
        received_at,
        Origin.PUSH,
        vendor_code=_as_text(kind),
        data=_data(message, policy),
    )


def _data(message: Callback, policy: AccountPolicy) -> dict[str, Json]:
    """The `info` as sent, also where it is no object (9.1), less customer data."""
    raw = message.raw_info
    return public(message.info, policy) if raw is None else {"info": published(raw, policy)}


def _as_text(value: Json) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _first_word(*codes: Json) -> str:
    """The first of the codes that has letters or digits left as part of a name (METRICS section 2)."""
    return next((word for code in codes if (word := word_of(_as_text(code)))), "unknown")
