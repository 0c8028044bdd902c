"""The breaker controller's side of the serial protocol: reads set frames, writes report frames.

Source: vendor page W71/W72 section 10. Pure; every frame is a `bytes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SWITCH = 0x10
ALARM_SET_1 = 0x11
ALARM_SET_2 = 0x12

_HEADER = b"\x55\xaa"
_TO_CONTROLLER = 0x00
_FROM_CONTROLLER = 0x03
_SET = 0x06
_REPORT = 0x07
_RAW = 0x00
_BOOL = 0x01


@dataclass(frozen=True, slots=True)
class DataPoint:
    """One data point: id, type and the bytes of its value."""

    dp: int
    kind: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Limit:
    """One record of an alarm set: whether it trips or only tells, and above (below) which number."""

    trip: bool
    threshold: int


def checksum(frame: bytes) -> int:
    """The checksum that belongs behind these bytes."""
    return sum(frame) % 256


def parse_set(frame: bytes) -> list[DataPoint] | None:
    """The data points of a set frame; None for anything that the controller does not listen to."""
    if len(frame) < 7 or frame[:2] != _HEADER or frame[2:4] != bytes((_TO_CONTROLLER, _SET)):
        return None
    if len(frame) != 7 + int.from_bytes(frame[4:6], "big") or frame[-1] != checksum(frame[:-1]):
        return None
    return _points(frame[6:-1])


def _points(payload: bytes) -> list[DataPoint] | None:
    points: list[DataPoint] = []
    at = 0
    while at < len(payload):
        if len(payload) < at + 4:
            return None
        end = at + 4 + int.from_bytes(payload[at + 2 : at + 4], "big")
        if end > len(payload):
            return None
        points.append(DataPoint(payload[at], payload[at + 1], payload[at + 4 : end]))
        at = end
    return points or None


def limits_of(point: DataPoint) -> dict[int, Limit] | None:
    """Alarm code → limit of a raw value of 0x11 or 0x12; None if it is no list of such records."""
    value = point.value
    if point.kind != _RAW or not value or len(value) % 4:
        return None
    rows = [value[at : at + 4] for at in range(0, len(value), 4)]
    if any(row[1] > 1 for row in rows):
        return None
    return {row[0]: Limit(row[1] == 1, int.from_bytes(row[2:4], "big")) for row in rows}


def switch_of(point: DataPoint) -> bool | None:
    """The wanted switch state of a bool value of 0x10; None if it is none."""
    if point.kind != _BOOL or point.value not in (b"\x00", b"\x01"):
        return None
    return point.value == b"\x01"


def limits_point(dp: int, limits: Mapping[int, Limit]) -> DataPoint:
    """An alarm set as data point, records in the order of the mapping."""
    rows = (bytes((code, limit.trip)) + limit.threshold.to_bytes(2, "big") for code, limit in limits.items())
    return DataPoint(dp, _RAW, b"".join(rows))


def switch_point(on: bool) -> DataPoint:
    """The switch state as data point."""
    return DataPoint(SWITCH, _BOOL, bytes((on,)))


def report(*points: DataPoint) -> str:
    """A report frame of the controller as upper-case hex."""
    payload = b"".join(
        bytes((point.dp, point.kind)) + len(point.value).to_bytes(2, "big") + point.value for point in points
    )
    frame = _HEADER + bytes((_FROM_CONTROLLER, _REPORT)) + len(payload).to_bytes(2, "big") + payload
    return (frame + bytes((checksum(frame),))).hex().upper()
