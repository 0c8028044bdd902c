"""One simulated breaker: its state, how time changes it, when it trips. Pure: time and chance come in.

Every method that may change something returns what happened, in order; the cloud makes callbacks of it.
"""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import dataclass, fields
from typing import Literal, get_args

from bridge.simulators.wmj import frames, load
from bridge.simulators.wmj.frames import ALARM_SET_1, ALARM_SET_2, Limit

_POWER_FACTOR = 0.97

Shape = Literal["documented", "envelope", "data", "bare"]


@dataclass(slots=True)
class Options:
    """How this device and its cloud behave where the vendor page leaves it open; may be changed at any time.

    `shape`: the answer shape of commands (11-Q2); `documented` is that of each command's sample.
    `ack_suffix`: `cmd_type` of answers ends in `_ack` (Q3).
    `info_array`: `info` of answers that carry no values is an array [code, msg] (Q17).
    `on_off_callback`: a switch moved by command or timer is reported.
    `extended_info`: `getdevinfo` has the fields that were seen in vendor code only.
    `escape_slash`: callbacks write `\\/` (Q11).
    `overload_max_kw`: higher overload thresholds are silently limited to it (F8).
    `report_every_s`: interval of `power_report` in simulated seconds, 0 never.
    `restart_for_s`: simulated seconds that a restart takes.
    """

    shape: Shape = "documented"
    ack_suffix: bool = False
    info_array: bool = False
    on_off_callback: bool = True
    extended_info: bool = False
    escape_slash: bool = False
    overload_max_kw: int = 20
    report_every_s: float = 0.0
    restart_for_s: float = 5.0
    sw_ver: str = "71.1.47"

    def set(self, name: str, value: object) -> None:
        """Changes one option. Raises ValueError for another name, type or word."""
        present = getattr(self, name, None) if name in {item.name for item in fields(self)} else None
        if present is None:
            raise ValueError(f"no such option: {name!r}")
        if type(value) is not type(present) and not (type(present) is float and type(value) is int):
            raise ValueError(f"{name} must be {type(present).__name__}")
        if name == "shape" and value not in get_args(Shape):
            raise ValueError(f"shape must be one of {', '.join(get_args(Shape))}")
        if name == "sw_ver" and not re.fullmatch(r"\d+(\.\d+)+", str(value)):
            raise ValueError("sw_ver must be numbers with points between")
        setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something the device tells of. Kind `switch`: `on` and whether a `trip` moved it; `alarm`: which."""

    kind: Literal["online", "offline", "registered", "switch", "alarm", "report"]
    on: bool = False
    trip: bool = False
    alarm: str = ""


@dataclass(frozen=True, slots=True)
class AlarmKind:
    """Where an alarm's limit lives and what its callback says (page 6.4)."""

    dp: int
    code: int
    number: str
    bitmap: str


ALARMS: dict[str, AlarmKind] = {
    "overload": AlarmKind(ALARM_SET_1, 3, "1", "55"),
    "overheat": AlarmKind(ALARM_SET_1, 5, "3", "55"),
    "overcurrent": AlarmKind(ALARM_SET_2, 1, "4", "55AA0307"),
    "overvoltage": AlarmKind(ALARM_SET_2, 3, "6", "0800"),
    "undervoltage": AlarmKind(ALARM_SET_2, 4, "6", "0800"),
    # The page documents no callback for these two (Q19): words, numbers and bitmaps are invented.
    "leakage": AlarmKind(ALARM_SET_1, 4, "2", "0008"),
    "low_balance": AlarmKind(ALARM_SET_2, 8, "7", "8000"),
}
_WHEN_BELOW = ("undervoltage", "low_balance")


@dataclass(slots=True)
class Conditions:
    """What a test imposes on a device; None: as it comes."""

    watts: float | None = None
    volts: float | None = None
    celsius: float | None = None
    leakage_ma: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One look at the device: V, A, W, °C, mA."""

    volts: float
    amperes: float
    watts: float
    celsius: float
    leakage_ma: float


@dataclass(slots=True)
class _Timer:
    due_s: float
    on: bool


class Breaker:
    """A W71 (Wi-Fi) or W72 (cellular) breaker, switched on, at `now_s`."""

    def __init__(self, sn: str, now_s: float, rng: random.Random) -> None:
        if sn[:3] not in ("W71", "W72"):
            raise ValueError(f"serial number {sn!r} starts with neither W71 nor W72")
        self.sn = sn
        self.model = sn[:3]
        self.wifi = self.model == "W71"
        self.options = Options(sw_ver=f"{sn[1:3]}.1.47")
        self.conditions = Conditions()
        self.online = True
        self.on = True
        self.healthy = True
        self.retain = True
        self.prepay = False
        self.balance_kwh = 1.0
        self.held_by: int | None = None
        self.held_state = False
        self.limits: dict[int, dict[int, Limit]] = {
            ALARM_SET_1: {3: Limit(True, 13), 4: Limit(True, 30), 5: Limit(True, 80)},
            ALARM_SET_2: {1: Limit(True, 40), 3: Limit(True, 275), 4: Limit(True, 160), 8: Limit(False, 10)},
        }
        self._seed = zlib.crc32(sn.encode())
        self.energy_kwh = (self._seed % 500_000) / 100
        self._rng = rng
        self._timer: _Timer | None = None
        self._back_at_s: float | None = None
        self._since_s = now_s
        self._report_at_s: float | None = None
        self._alarmed: set[str] = set()

    @property
    def rssi_dbm(self) -> int:
        return -45 if self.wifi else -70

    @property
    def iccid(self) -> str:
        """Wi-Fi: SSID/BSSID; cellular: twenty digits."""
        return "EXAMPLE_WIFI/001122334455" if self.wifi else "0" * 20

    @property
    def imei(self) -> str:
        """Wi-Fi: the MAC, whose last four bytes are the serial number; cellular: fifteen digits."""
        return f"0011{self.sn[3:]}" if self.wifi else "0" * 15

    def measure(self, now_s: float, *, noisy: bool = True) -> Measured:
        """What the device would report. Without noise it is what the protection looks at."""
        imposed = self.conditions
        volts = load.volts_at(now_s) if imposed.volts is None else imposed.volts
        watts = load.watts_at(now_s, self._seed) if imposed.watts is None else imposed.watts
        if noisy:
            volts += self._rng.gauss(0, 0.3) if imposed.volts is None else 0.0
            watts *= 1 + (self._rng.gauss(0, 0.004) if imposed.watts is None else 0.0)
        watts = watts if self.on else 0.0
        amperes = watts / (volts * _POWER_FACTOR) if volts > 0 else 0.0
        celsius = load.celsius_at(now_s, amperes) if imposed.celsius is None else imposed.celsius
        leakage_ma = 2.0 if imposed.leakage_ma is None else imposed.leakage_ma
        return Measured(volts, amperes, watts, celsius, leakage_ma if self.on else 0.0)

    def advance(self, now_s: float) -> list[Happening]:
        """Lets time pass up to `now_s`: energy, timers, the end of a restart, protection, periodic report."""
        happened: list[Happening] = []
        if self._timer is not None and self._timer.due_s <= now_s:
            timer, self._timer = self._timer, None
            self._integrate(timer.due_s)
            happened += self.switch_to(timer.on)
        self._integrate(now_s)
        if self._back_at_s is not None and self._back_at_s <= now_s:
            happened += self.go_online()
        happened += self._protect(now_s)
        return happened + self._report(now_s)

    def switch_to(self, on: bool, *, trip: bool = False) -> list[Happening]:
        """Moves the contact; nothing happens if it is there already."""
        if self.on == on:
            return []
        self.on = on
        if on:
            self._alarmed.clear()
        return [Happening("switch", on=on, trip=trip)]

    def pulse(self, now_s: float, first: bool, delay_s: float) -> list[Happening]:
        """Switches to `first` now and to the opposite after `delay_s`; a running timer starts anew."""
        self._timer = _Timer(now_s + delay_s, not first)
        return self.switch_to(first)

    def cancel_timer(self) -> None:
        self._timer = None

    def restart(self, now_s: float) -> list[Happening]:
        """The network module restarts; the contact and its timer stay (the page does not say)."""
        self._back_at_s = now_s + self.options.restart_for_s
        self.online = False
        return [Happening("offline")]

    def go_offline(self) -> list[Happening]:
        self._back_at_s = None
        was_online, self.online = self.online, False
        return [Happening("offline")] if was_online else []

    def go_online(self) -> list[Happening]:
        """Connects, or connects anew: both are told."""
        self._back_at_s = None
        self.online = True
        return [Happening("online"), Happening("registered")]

    def lose_power(self, now_s: float) -> list[Happening]:
        """A power cut: off line, timer lost; on return (`go_online`) the switch is as `retain` demands."""
        self._integrate(now_s)
        self._timer = None
        self.on = self.on and self.retain
        return self.go_offline()

    def hold(self, state: bool, index: int) -> list[Happening]:
        """Schedule `index` takes the switch and sets it to `state`."""
        self.held_by, self.held_state = index, state
        return self.switch_to(state)

    def release(self) -> None:
        self.held_by = None

    def trip(self, alarm: str) -> list[Happening]:
        """The protection `alarm` responds: an alarm and, unless its limit only tells, the switch goes off."""
        kind = ALARMS[alarm]
        self._alarmed.add(alarm)
        happened = [Happening("alarm", alarm=alarm)]
        if self.limits[kind.dp][kind.code].trip:
            self._timer = None
            happened += self.switch_to(False, trip=True)
        return happened

    def set_limits(self, dp: int, limits: dict[int, Limit]) -> None:
        """Takes over the records given; too high an overload threshold is limited without a word."""
        for code, limit in limits.items():
            threshold = limit.threshold
            if (dp, code) == (ALARM_SET_1, ALARMS["overload"].code):
                threshold = min(threshold, self.options.overload_max_kw)
            self.limits[dp][code] = Limit(limit.trip, threshold)

    def report_frame(self, dp: int) -> str:
        """The controller's report of data point 0x10, 0x11 or 0x12 as hex."""
        if dp == frames.SWITCH:
            return frames.report(frames.switch_point(self.on))
        return frames.report(frames.limits_point(dp, self.limits[dp]))

    def _integrate(self, until_s: float) -> None:
        elapsed_s = until_s - self._since_s
        if elapsed_s <= 0:
            return
        if self.on:
            watts = self.conditions.watts
            if watts is None:
                watts = load.mean_watts(self._since_s, until_s, self._seed)
            used_kwh = watts * elapsed_s / 3_600_000
            self.energy_kwh += used_kwh
            if self.prepay:
                self.balance_kwh = max(0.0, self.balance_kwh - used_kwh)
        self._since_s = until_s

    def _protect(self, now_s: float) -> list[Happening]:
        seen = self.measure(now_s, noisy=False)
        values = {
            "overload": seen.watts / 1000,
            "overheat": seen.celsius,
            "overcurrent": seen.amperes,
            "overvoltage": seen.volts,
            "undervoltage": seen.volts,
            "leakage": seen.leakage_ma,
        }
        if self.prepay:
            values["low_balance"] = self.balance_kwh
        happened: list[Happening] = []
        for alarm, value in values.items():
            kind = ALARMS[alarm]
            threshold = self.limits[kind.dp][kind.code].threshold
            exceeded = value < threshold if alarm in _WHEN_BELOW else value > threshold
            if not exceeded:
                self._alarmed.discard(alarm)
            elif alarm not in self._alarmed:
                happened += self.trip(alarm)
                if any(happening.trip for happening in happened):
                    break  # the contact is open: what else was measured is no longer so
        return happened

    def _report(self, now_s: float) -> list[Happening]:
        every_s = self.options.report_every_s
        if every_s <= 0:
            self._report_at_s = None
            return []
        if self._report_at_s is None:
            self._report_at_s = now_s + every_s
        if now_s < self._report_at_s:
            return []
        self._report_at_s = now_s + every_s
        return [Happening("report")]
