"""One simulated meter. Everything it measured, now or weeks ago, follows from its curves: counters are the sum of
the powers, minute by minute, so that what a client reads adds up.

Minutes are whole minutes since 1970 (UTC) unless a name says otherwise. A meter uploads once a minute, some seconds
into it, and nothing while it is off line; it counts all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from bridge.simulators.iammeter import load

DAY_MIN = load.DAY_MIN
MONDAY_SHIFT = 3
"""1970-01-01 was a Thursday."""

_HISTORY_DAYS = 60


@dataclass(frozen=True, slots=True)
class Phase:
    """What hangs on one phase: a `house` (less the generation of `peak_w` on its roof), an `inverter`, nothing."""

    role: Literal["house", "inverter", "unused"] = "house"
    peak_w: float = 0.0
    seed: int = 1


@dataclass(slots=True)
class Options:
    """How the cloud tells of this meter. `seven`: rows with frequency and power factor at their end; `flat`: its
    row is not wrapped in `metersdata`; `extra`: so many elements more; `no_data`: it never uploaded; `short`: rows
    of four elements; `nulls`: the powers are null; `no_time`: times are null."""

    seven: bool = False
    flat: bool = False
    extra: int = 0
    no_data: bool = False
    short: bool = False
    nulls: bool = False
    no_time: bool = False


@dataclass(frozen=True, slots=True)
class Values:
    """One row of one sample."""

    volts: float
    amperes: float
    watts: float
    factor: float
    imported: float
    exported: float
    hertz: float


class Meter:
    """`offset_min` is the site's UTC offset, `now_s` the time at which it has been counting for two months."""

    def __init__(
        self,
        sn: str,
        name: str,
        phases: tuple[Phase, ...],
        *,
        offset_min: int,
        now_s: float,
        nem: bool = False,
    ) -> None:
        self.sn = sn
        self.name = name
        self.phases = phases
        self.nem = nem
        self.offset_min = offset_min
        self.options = Options()
        self.outages: list[tuple[float, float | None]] = []
        self._first_day = (int(now_s // 60) + offset_min) // DAY_MIN - _HISTORY_DAYS
        self._imposed: list[tuple[int, float | None]] = []
        self._zero: tuple[float, ...] | None = None
        self._days: dict[tuple[int, int], tuple[float, ...]] = {}
        self._sums: dict[tuple[int | None, int, bool], tuple[float, ...]] = {}

    # what a test may do to it -----------------------------------------------------------------------------------

    def configure(self, **options: object) -> None:
        """Sets fields of `options`. Raises ValueError for an unknown one."""
        known = {item.name for item in fields(Options)}
        if unknown := set(options) - known:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        for name, value in options.items():
            setattr(self.options, name, value)

    def go_offline(self, since_s: float) -> None:
        """Uploads nothing from `since_s` on."""
        if self.is_online():
            self.outages.append((since_s, None))

    def go_online(self, at_s: float) -> None:
        """Uploads again."""
        if not self.is_online():
            self.outages[-1] = (self.outages[-1][0], at_s)

    def is_online(self) -> bool:
        return not self.outages or self.outages[-1][1] is not None

    def impose(self, watts: float | None, now_s: float) -> None:
        """From the next minute on the first phase has this power; None: as it comes."""
        self._imposed.append((int(now_s // 60) + 1, watts))

    def replace(self, now_s: float) -> None:
        """A new meter under the same number: all counters start at zero."""
        minute = int(now_s // 60)
        self._zero = tuple(part for index in self._indices() for part in self._counters(index, minute))

    # what it measured ---------------------------------------------------------------------------------------------

    def uploaded_s(self, minute: int) -> float:
        """When the sample of this minute was taken: some seconds into it, not always the same."""
        return minute * 60 + 20 + (len(self.sn) * 13 + minute * 7) % 11

    def has_sample(self, minute: int, now_s: float) -> bool:
        """Whether the cloud got the sample of this minute by now."""
        at = self.uploaded_s(minute)
        if at > now_s or self.options.no_data or self._local_day(minute) < self._first_day:
            return False
        return not any(start <= at < (end if end is not None else at + 1) for start, end in self.outages)

    def latest(self, now_s: float) -> int | None:
        """The minute of the newest sample; None if there is none."""
        if self.options.no_data:
            return None
        minute = int(now_s // 60)
        while self._local_day(minute) >= self._first_day:
            if self.has_sample(minute, now_s):
                return minute
            minute -= 1
        return None

    def values(self, minute: int) -> list[Values]:
        """The rows of a sample: one per phase, and the net one of a meter in net-metering mode."""
        return [self._values(index, minute) for index in self._indices()]

    def watts(self, minute: int, index: int | None = None) -> float:
        """Power of a phase, or of all (None), in W; negative is fed in."""
        if index is None:
            return round(sum(self.watts(minute, one) for one in range(len(self.phases))), 1)
        if index == 0:
            imposed = [watts for since, watts in self._imposed if since <= minute]
            if imposed and imposed[-1] is not None:
                return imposed[-1]
        return self._curve(index, minute)

    def generated_w(self, minute: int) -> float:
        """What the roofs behind this meter generate, in W."""
        local = self._local(minute)
        return sum(
            load.sun_day(phase.peak_w, phase.seed, _weekday(local))[local % DAY_MIN]
            for phase in self.phases
            if phase.role == "house" and phase.peak_w
        )

    def _values(self, index: int | None, minute: int) -> Values:
        watts = self.watts(minute, index)
        local = self._local(minute) % DAY_MIN
        unused = index is not None and self.phases[index].role == "unused"
        volts = 3.1 if unused else load.volts_at(local, watts)
        factor = load.power_factor_at(local, watts)
        amperes = round(abs(watts) / (volts * factor), 3) if factor and index is not None else 0.0
        imported, exported = self._counters(index, minute)
        if self._zero is not None:
            at = 2 * self._indices().index(index)
            imported, exported = imported - self._zero[at], exported - self._zero[at + 1]
        return Values(
            volts, amperes, watts, factor, round(imported, 3), round(exported, 3), load.hertz_at(local)
        )

    def _indices(self) -> list[int | None]:
        return [*range(len(self.phases)), *([None] if self.nem else [])]

    def _local(self, minute: int) -> int:
        return minute + self.offset_min

    def _local_day(self, minute: int) -> int:
        return self._local(minute) // DAY_MIN

    def _curve(self, index: int, minute: int) -> float:
        local = self._local(minute)
        return self._day(index, _weekday(local))[local % DAY_MIN]

    def _day(self, index: int, weekday: int) -> tuple[float, ...]:
        if (index, weekday) not in self._days:
            self._days[index, weekday] = self._drawn(index, weekday)
        return self._days[index, weekday]

    def _drawn(self, index: int, weekday: int) -> tuple[float, ...]:
        phase = self.phases[index]
        if phase.role == "unused":
            return (0.0,) * DAY_MIN
        sun = load.sun_day(phase.peak_w, phase.seed, weekday)
        if phase.role == "inverter":
            return tuple(-watts for watts in sun)
        house = load.house_day(phase.seed, weekday)
        return tuple(round(used - made, 1) for used, made in zip(house, sun, strict=True))

    def _counters(self, index: int | None, minute: int) -> tuple[float, float]:
        """Import and export in kWh since the meter began to count."""
        imported = self._counted(index, minute, out=False)
        exported = self._counted(index, minute, out=True)
        more_in, more_out = self._imposed_more(index, minute)
        return (imported + more_in) / 60_000, (exported + more_out) / 60_000

    def _counted(self, index: int | None, minute: int, *, out: bool) -> float:
        """Watt minutes by the curves alone."""
        local = self._local(minute)
        whole = sum(
            self._prefix(index, (day + MONDAY_SHIFT) % 7, out)[DAY_MIN]
            for day in range(self._first_day, local // DAY_MIN)
        )
        return whole + self._prefix(index, _weekday(local), out)[local % DAY_MIN + 1]

    def _prefix(self, index: int | None, weekday: int, out: bool) -> tuple[float, ...]:
        """Watt minutes from midnight to each minute's end."""
        key = (index, weekday, out)
        if key not in self._sums:
            days = [
                self._day(one, weekday) for one in (range(len(self.phases)) if index is None else [index])
            ]
            total, sums = 0.0, [0.0]
            for powers in zip(*days, strict=True):
                watts = sum(powers)
                total += max(0.0, -watts if out else watts)
                sums.append(total)
            self._sums[key] = tuple(sums)
        return self._sums[key]

    def _imposed_more(self, index: int | None, minute: int) -> tuple[float, float]:
        """What imposed powers added to the curves, in watt minutes."""
        if not self._imposed or index not in (0, None):
            return 0.0, 0.0
        more_in = more_out = 0.0
        for at in range(self._imposed[0][0], minute + 1):
            real = self.watts(at, index)
            others = sum(self._curve(one, at) for one in range(1, len(self.phases))) if index is None else 0.0
            curve = self._curve(0, at) + others
            more_in += max(0.0, real) - max(0.0, curve)
            more_out += max(0.0, -real) - max(0.0, -curve)
        return more_in, more_out


def _weekday(local_minute: int) -> int:
    return (local_minute // DAY_MIN + MONDAY_SHIFT) % 7
