"""Hex frames of the breaker controller (page wmj, section 10): text to values and back, and in words.

Pure. Whatever `decode` returns, `encode` turns back into the same frame; what is no frame is a FrameError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from bridge.domain.text import Json
from bridge.vendors.wmj.points import (
    ALARMS,
    BOOL,
    COMMANDS,
    GROUPS,
    RAW,
    RECORD_BYTES,
    REPORT,
    SET,
    SWITCH,
    TO_CONTROLLER,
    TYPES,
    VERSIONS,
    VOLTAGE_ALARMS,
    DataPoint,
    Frame,
    Record,
    alarm_of,
    describe_points,
    fault_names,
    plain_value,
    point_name,
)

HEADER = b"\x55\xaa"
_FIXED_BYTES = 7


class FrameError(ValueError):
    """The text is no frame; the message says what was expected."""


class Match(StrEnum):
    """How an answer frame relates to the request: the values asked for, others, or no word about them."""

    EQUAL = "equal"
    DIFFERENT = "different"
    OTHER = "other"


def checksum(data: bytes) -> int:
    """The sum of all bytes before the checksum, header included, modulo 256."""
    return sum(data) % 256


def encode(frame: Frame) -> str:
    """The frame as upper-case hex without separators. Raises FrameError where a field does not fit."""
    try:
        data = b"".join(
            bytes((point.id, point.type)) + len(point.value).to_bytes(2) + point.value
            for point in frame.points
        )
        raw = HEADER + bytes((frame.version, frame.command)) + len(data).to_bytes(2) + data
    except (ValueError, OverflowError):
        raise FrameError(
            "a field is too large: expected bytes of 0 to 255 and at most 65535 of data"
        ) from None
    return (raw + bytes((checksum(raw),))).hex().upper()


def decode(text: str) -> tuple[Frame, ...]:
    """One frame or several in a row, upper or lower case, blanks allowed. Raises FrameError, nothing else."""
    raw = _bytes_of(text)
    frames = []
    at = 0
    while True:
        frame, at = _frame_at(raw, at)
        frames.append(frame)
        if at == len(raw):
            return tuple(frames)


def decode_one(text: str) -> Frame:
    """As `decode`, for exactly one frame."""
    frames = decode(text)
    if len(frames) != 1:
        raise FrameError(f"expected one frame, found {len(frames)} in a row")
    return frames[0]


def with_checksum(text: str) -> str:
    """The same single frame with the right checksum, whether it has a wrong one or none at all.

    Raises FrameError where the header or the length is wrong.
    """
    raw = _bytes_of(text)
    end = _data_end(raw, 0)
    if len(raw) not in (end, end + 1):
        raise FrameError(f"wrong length: the length field asks for {end + 1} bytes, there are {len(raw)}")
    body = raw[:end]
    return (body + bytes((checksum(body),))).hex().upper()


def _bytes_of(text: str) -> bytes:
    digits = re.sub(r"\s+", "", text)
    if not re.fullmatch(r"[0-9A-Fa-f]*", digits) or len(digits) % 2:
        raise FrameError("expected an even number of hex digits")
    return bytes.fromhex(digits)


def _data_end(raw: bytes, at: int) -> int:
    """Where the data part of the frame at `at` ends by its length field."""
    if raw[at : at + 2] != HEADER:
        found = raw[at : at + 2].hex().upper() or "nothing"
        raise FrameError(f"wrong header: expected 55AA at byte {at}, found {found}")
    if len(raw) - at < _FIXED_BYTES - 1:
        raise FrameError(f"too short: expected at least {_FIXED_BYTES} bytes, there are {len(raw) - at}")
    return at + 6 + int.from_bytes(raw[at + 4 : at + 6])


def _frame_at(raw: bytes, at: int) -> tuple[Frame, int]:
    end = _data_end(raw, at)
    if end >= len(raw):
        raise FrameError(
            f"too short: the length field asks for {end + 1 - at} bytes, there are {len(raw) - at}"
        )
    expected = checksum(raw[at:end])
    if raw[end] != expected:
        raise FrameError(f"wrong checksum: expected {expected:02X}, found {raw[end]:02X}")
    return Frame(raw[at + 2], raw[at + 3], _points(raw[at + 6 : end])), end + 1


def _points(data: bytes) -> tuple[DataPoint, ...]:
    points = []
    at = 0
    while at < len(data):
        head = data[at : at + 4]
        length = int.from_bytes(head[2:4])
        value = data[at + 4 : at + 4 + length]
        if len(head) < 4 or len(value) < length:
            raise FrameError("the data points do not exactly fill the data part")
        if head[1] == RAW and length % RECORD_BYTES:
            raise FrameError(f"expected raw data in records of 4 bytes, found {length} bytes")
        points.append(DataPoint(head[0], head[1], value))
        at += 4 + length
    if not points:
        raise FrameError("expected at least one data point")
    return tuple(points)


def alarm_frame(settings: Mapping[str, tuple[int, bool]]) -> Frame:
    """The frame that sets one group of alarms.

    `settings`: parameter of `set_alarms` → (threshold, trip), exactly the parameters of one of `GROUPS`.
    """
    for point, group in GROUPS.items():
        if set(settings) == set(group):
            codes = {alarm.parameter: code for (of, code), alarm in ALARMS.items() if of == point}
            rows = (Record(codes[name], int(settings[name][1]), settings[name][0]) for name in group)
            return Frame(TO_CONTROLLER, SET, (alarm_point(point, rows),))
    raise FrameError(
        f"expected one group of alarms: {' or '.join(', '.join(group) for group in GROUPS.values())}"
    )


def alarm_point(point: int, records: Iterable[Record]) -> DataPoint:
    """A data point 0x11 or 0x12 with these records."""
    try:
        rows = [bytes((row.code, row.action)) + row.threshold.to_bytes(2) for row in records]
    except (ValueError, OverflowError):
        raise FrameError("expected codes and actions of one byte and thresholds of 0 to 65535") from None
    return DataPoint(point, RAW, b"".join(rows))


def alarm_settings(frames: Sequence[Frame]) -> dict[str, Json]:
    """What frames say about alarms, as `set_alarms` takes it: parameter → {"threshold": n, "trip": bool}."""
    return {
        alarm.parameter: {"threshold": row.threshold, "trip": row.trips}
        for frame in frames
        for point in frame.points
        for row in point.records
        if (alarm := alarm_of(point.id, row.code)).parameter
    }


def disabled(frame: Frame) -> list[str]:
    """The names of the protections that the frame switches off: alarm only, other than the low balance."""
    names = [
        alarm_of(point.id, row.code).name
        for point in frame.points
        for row in point.records
        if not row.trips and (point.id, row.code) != (VOLTAGE_ALARMS, 0x08)
    ]
    return list(dict.fromkeys(names))


def compare(request: Frame, answer: Sequence[Frame]) -> Match:
    """Whether an answer reports the records of 0x11 and 0x12 that the request set (section 7).

    Records of codes that were not asked for are no difference: a controller may report its complete set.
    """
    reported = {
        point.id: {row.code: row for row in point.records}
        for frame in answer
        if frame.command == REPORT
        for point in frame.points
        if point.sets_alarms
    }
    wanted = [point for point in request.points if point.sets_alarms]
    if not wanted or any(point.id not in reported for point in wanted):
        return Match.OTHER
    equal = all(reported[point.id].get(row.code) == row for point in wanted for row in _last_by_code(point))
    return Match.EQUAL if equal else Match.DIFFERENT


def _last_by_code(point: DataPoint) -> Iterable[Record]:
    return {row.code: row for row in point.records}.values()


def switch_of(frames: Sequence[Frame]) -> bool | None:
    """The switch state that frames tell (data point 0x10), the last one; None if they do not."""
    states = [
        point.value == b"\x01"
        for frame in frames
        for point in frame.points
        if point.id == SWITCH and point.type == BOOL and point.value in (b"\x00", b"\x01")
    ]
    return states[-1] if states else None


def explain(text: str) -> list[Json]:
    """What each part of the frame (or of several in a row) means, for people. Raises FrameError."""
    return [_explained(frame) for frame in decode(text)]


def _explained(frame: Frame) -> dict[str, Json]:
    text = encode(frame)
    parts = [
        ("55AA", "header"),
        (text[4:6], f"version: {VERSIONS.get(frame.version, 'unknown')}"),
        (text[6:8], f"command: {COMMANDS.get(frame.command, 'unknown')}"),
        (text[8:12], f"{int(text[8:12], 16)} bytes of data"),
    ]
    for point in frame.points:
        parts += _point_parts(point)
    parts.append((text[-2:], "checksum"))
    return {
        "frame": text,
        "version": f"{frame.version:02X}",
        "command": f"{frame.command:02X}",
        "data_points": describe_points([frame]),
        "parts": [{"bytes": part, "meaning": meaning} for part, meaning in parts],
    }


def _point_parts(point: DataPoint) -> list[tuple[str, str]]:
    parts = [
        (f"{point.id:02X}", f"data point: {point_name(point.id)}"),
        (f"{point.type:02X}", f"type: {TYPES.get(point.type, 'unknown')}"),
        (f"{len(point.value):04X}", f"{len(point.value)} bytes of value"),
    ]
    if not point.sets_alarms:
        value = plain_value(point)
        meaning = {True: "on", False: "off"}[value] if _is_switch(point) else f"value: {value}"
        if point.is_fault:
            meaning = f"faults: {', '.join(fault_names(int.from_bytes(point.value))) or 'none'}"
        return [*parts, (point.value.hex().upper(), meaning)]
    return parts + [
        (point.value[at : at + RECORD_BYTES].hex().upper(), _record_meaning(point.id, record))
        for at, record in zip(range(0, len(point.value), RECORD_BYTES), point.records, strict=True)
    ]


def _is_switch(point: DataPoint) -> bool:
    return point.id == SWITCH and isinstance(plain_value(point), bool)


def _record_meaning(point: int, record: Record) -> str:
    alarm = alarm_of(point, record.code)
    side = "below" if alarm.name in ("undervoltage", "low_balance") else "above"
    action = {0: "alarm only, no trip", 1: "alarm and trip"}.get(record.action, f"action {record.action:02X}")
    return f"{alarm.name}: {action} {side} {record.threshold} {alarm.unit}".rstrip()
