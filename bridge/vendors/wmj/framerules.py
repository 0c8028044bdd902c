"""What may be sent as a frame, and what it does (page wmj, section 7): `set_alarms`, and `hex_frame`, which is no way
around the rules of other commands. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bridge.domain.command import Order
from bridge.domain.errors import Rejection
from bridge.domain.interlocks import Act, Deed
from bridge.vendors.wmj.frame import FrameError, disabled
from bridge.vendors.wmj.points import BOOL, GROUPS, SWITCH, DataPoint, Frame, alarm_of
from bridge.vendors.wmj.settings import WmjSettings


def order_frame(params: Any) -> Frame:
    """The frame of `set_alarms` or `hex_frame`. Raises FrameError for a bad `hex`."""
    frame: Frame = params.frame()
    return frame


def may_repeat(frame: Frame) -> bool:
    """Whether sending the frame twice is the same as once: it sets alarms and nothing else (section 7)."""
    return all(point.sets_alarms for point in frame.points)


def switches_protection_off(params: Any) -> str | None:
    """Why the alarms need a confirmation; None where they need none."""
    names = disabled(order_frame(params))
    return f"it switches a protection off: {', '.join(names)}" if names else None


def is_dangerous(params: Any) -> str | None:
    """The same of a raw frame; None for one that cannot be read, too: `within` rejects that."""
    try:
        frame = order_frame(params)
    except FrameError:
        return None
    unknown = [point for point in frame.points if point.id != SWITCH and not point.sets_alarms]
    if unknown:
        points = ", ".join(f"0x{point.id:02X}" for point in unknown)
        form = " in an unknown form" if any(point.id in GROUPS for point in unknown) else ""
        return f"it writes the data point {points}{form}"
    return switches_protection_off(params)


def within(settings: WmjSettings) -> Callable[[Order], None]:
    """The check of a raw frame: it can be read, and its thresholds are in the ranges that the account names."""

    def check(order: Order) -> None:
        try:
            frame = order_frame(order.params)
        except FrameError as error:
            raise Rejection("bad_frame", str(error)) from None
        for point in frame.points:
            for record in point.records:
                name = alarm_of(point.id, record.code).parameter
                low, high = settings.ranges.get(name, (record.threshold, record.threshold))
                if not low <= record.threshold <= high:
                    text = f"hex: {name} {record.threshold} is outside the account's range of {low} to {high}"
                    raise Rejection("invalid_params", text)

    return check


def acts(params: Any) -> Sequence[Act]:
    """What a raw frame does for the interlocks: what is not plainly "off" may switch on."""
    try:
        points = order_frame(params).points
    except FrameError:
        return ()
    off = DataPoint(SWITCH, BOOL, b"\x00")
    return [Act(Deed.SWITCH_OFF if one == off else Deed.SWITCH_ON) for one in points if one.id == SWITCH]
