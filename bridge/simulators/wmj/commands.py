"""What a breaker does with each `cmd_type` of `send` (page 4.4). Pure: device and time in, reply out.

The parameters' names and types were checked before; their ranges are the device's business, here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bridge.simulators.wmj import frames
from bridge.simulators.wmj.device import Breaker, Happening
from bridge.simulators.wmj.frames import ALARM_SET_1, ALARM_SET_2, DataPoint, Limit

HELD_BY_SCHEDULE = 2
_ERROR = 1
_DELAY_FIRMWARE = (71, 0, 33)
_MAX_DELAY_S = 900

SETTINGS: dict[str, tuple[int, int, range]] = {
    "leakage_current": (ALARM_SET_1, 4, range(5, 501)),
    "overcurrent": (ALARM_SET_2, 1, range(1, 126)),
    "overheat": (ALARM_SET_1, 5, range(10, 121)),
    "overvoltage": (ALARM_SET_2, 3, range(230, 301)),
    "undervoltage": (ALARM_SET_2, 4, range(100, 221)),
}
"""Parameter → data point, record code, accepted thresholds (not documented, 11-Q21: a wide guess)."""


@dataclass(frozen=True, slots=True)
class Done:
    """The device's reply. `effect` is empty if nothing was done; `detail` `no_change`: it was so already."""

    code: int = 0
    msg: str = ""
    values: tuple[tuple[str, Any], ...] = ()
    effect: str = ""
    detail: str = ""
    happened: tuple[Happening, ...] = ()


Info = dict[str, Any]


def execute(device: Breaker, cmd_type: str, info: Info, now_s: float) -> Done:
    """Carries out one command of an on-line device."""
    return _COMMANDS[cmd_type](device, info, now_s)


def _refused(msg: str) -> Done:
    return Done(_ERROR, msg)


def _switch(device: Breaker, on: bool) -> Done:
    if device.held_by is not None:
        return Done(HELD_BY_SCHEDULE, "controlled by schedule")
    device.cancel_timer()
    happened = device.switch_to(on)
    effect = "switched_on" if on else "switched_off"
    return Done(effect=effect, detail="" if happened else "no_change", happened=tuple(happened))


def _pulse(device: Breaker, info: Info, now_s: float, *, first: bool) -> Done:
    delay_s = info["delaytime"]
    if tuple(int(part) for part in device.options.sw_ver.split(".")) < _DELAY_FIRMWARE:
        return _refused("unsupported command")
    if not 1 <= delay_s <= _MAX_DELAY_S:
        return _refused("delaytime out of range")
    if device.held_by is not None:
        return Done(HELD_BY_SCHEDULE, "controlled by schedule")
    happened = device.pulse(now_s, first, delay_s)
    word = "turnoff" if first else "turnon"
    return Done(
        msg=f"Auto {word} after {delay_s} seconds",
        effect="pulse_on" if first else "pulse_off",
        detail=f"{delay_s} s" if happened else f"{delay_s} s, no_change",
        happened=tuple(happened),
    )


def _restart(device: Breaker, _info: Info, now_s: float) -> Done:
    return Done(effect="restart", happened=tuple(device.restart(now_s)))


def _wifi_config(device: Breaker, _info: Info, _now_s: float) -> Done:
    if not device.wifi:
        return _refused("unsupported command")
    return Done(effect="wifi_config", happened=tuple(device.go_offline()))


def _getdevinfo(device: Breaker, _info: Info, now_s: float) -> Done:
    seen = device.measure(now_s)
    values: Info = {
        "balance": rounded(device.balance_kwh),
        "electric_current": rounded(seen.amperes),
        "heartbeat": int(device.healthy),
        "iccid": device.iccid,
        "imei": device.imei,
        "power": rounded(seen.watts),
        "prepay": device.prepay,
        "rssi": device.rssi_dbm,
        "switch_state": int(device.on),
        "temperature": rounded(seen.celsius),
        "total_electricity": rounded(device.energy_kwh),
        "version": "1.0.4",
        "voltage": rounded(seen.volts),
    }
    values |= {name: device.limits[dp][code].threshold for name, (dp, code, _) in SETTINGS.items()}
    if device.options.extended_info or device.held_by is not None:
        values["retainstate"] = int(device.retain)
        values["controlled_by_schedule"] = -1 if device.held_by is None else device.held_by
        values["scheduled_state"] = int(device.held_state)
    return Done(values=tuple(values.items()))


def _setting(device: Breaker, info: Info, _now_s: float) -> Done:
    for name, (_, _, accepted) in SETTINGS.items():
        if info[name] not in accepted:
            return _refused(f"{name} out of range")
    before = {dp: dict(limits) for dp, limits in device.limits.items()}
    for name, (dp, code, _) in SETTINGS.items():
        device.set_limits(dp, {code: Limit(device.limits[dp][code].trip, info[name])})
    detail = (
        "no_change" if before == device.limits else ", ".join(f"{name} {info[name]}" for name in SETTINGS)
    )
    return Done(effect="settings_changed", detail=detail)


def _set_retainstate(device: Breaker, info: Info, _now_s: float) -> Done:
    if info["retainstate"] not in (0, 1):
        return _refused("retainstate out of range")
    before, device.retain = device.retain, info["retainstate"] == 1
    return Done(
        effect="retain_set", detail="no_change" if before == device.retain else str(info["retainstate"])
    )


def _uart_cmd(device: Breaker, info: Info, _now_s: float) -> Done:
    try:
        frame = bytes.fromhex(info["hex_cmd"])
    except ValueError:
        return _refused("bad hex")
    points = frames.parse_set(frame)
    if points is None or not all(_understood(point) for point in points):
        return Done(values=(("hex_ack", _unrelated_report(device, frame)),))
    happened: list[Happening] = []
    for point in points:
        happened += _apply(device, point)
    effect, detail = _frame_effect(points, happened, info["hex_cmd"])
    ack = frames.report(*(_actual(device, point) for point in points))
    return Done(values=(("hex_ack", ack),), effect=effect, detail=detail, happened=tuple(happened))


def _understood(point: DataPoint) -> bool:
    if point.dp in (ALARM_SET_1, ALARM_SET_2):
        return frames.limits_of(point) is not None
    return point.dp != frames.SWITCH or frames.switch_of(point) is not None


def _apply(device: Breaker, point: DataPoint) -> list[Happening]:
    if point.dp in (ALARM_SET_1, ALARM_SET_2):
        device.set_limits(point.dp, frames.limits_of(point) or {})
    elif point.dp == frames.SWITCH:
        device.cancel_timer()
        return device.switch_to(bool(frames.switch_of(point)))
    return []


def _actual(device: Breaker, point: DataPoint) -> DataPoint:
    if point.dp in (ALARM_SET_1, ALARM_SET_2):
        return frames.limits_point(point.dp, device.limits[point.dp])
    return frames.switch_point(device.on) if point.dp == frames.SWITCH else point


def _frame_effect(points: list[DataPoint], happened: list[Happening], hex_cmd: str) -> tuple[str, str]:
    written = {point.dp for point in points}
    if written <= {ALARM_SET_1, ALARM_SET_2}:
        return "alarms_set", hex_cmd
    if len(points) == 1 and points[0].dp == frames.SWITCH:
        effect = "switched_on" if frames.switch_of(points[0]) else "switched_off"
        return effect, "by frame" if happened else "by frame, no_change"
    return "frame", hex_cmd


def _unrelated_report(device: Breaker, frame: bytes) -> str:
    # A frame that the controller ignores is followed by what it happens to report next (F1, F2).
    asked = frame[6] if len(frame) > 6 else 0
    return device.report_frame(ALARM_SET_2 if asked == ALARM_SET_1 else ALARM_SET_1)


def rounded(value: float) -> int | float:
    """As the device writes numbers: two decimals, none where they are zero."""
    short = round(value, 2)
    return int(short) if short == int(short) else short


_COMMANDS: dict[str, Callable[[Breaker, Info, float], Done]] = {
    "turnon": lambda device, _info, _now_s: _switch(device, on=True),
    "turnoff": lambda device, _info, _now_s: _switch(device, on=False),
    "restart": _restart,
    "wifi_config": _wifi_config,
    "getdevinfo": _getdevinfo,
    "delayturnoff": lambda device, info, now_s: _pulse(device, info, now_s, first=True),
    "delayturnon": lambda device, info, now_s: _pulse(device, info, now_s, first=False),
    "setting": _setting,
    "uart_cmd": _uart_cmd,
    "set_retainstate": _set_retainstate,
}
