"""One simulated meter: its registers, how time changes them, what it reported. Pure: time comes in.

Invariant: the consumptions of its records add up to the difference of their readings, and the tariff registers to
the total register.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from bridge.simulators.jrhsz import load

ELECTRICITY = frozenset({1, 3, 5, 7, 9, 11, 13, 15, 16, 18, 21, 26, 30, 42, 43, 46, 48})
WATER = frozenset(
    {2, 4, 6, 8, 10, 12, 14, 17, 19, 20, 22, 23, 24, 27, 28, 31, 32, *range(35, 42), 44, 45, 47, 49}
)
TIME_OF_USE = frozenset({7, 11, 15})
FREEZE_REPORT_S = 57 * 60 + 5
"""A time-of-use meter tells its registers of midnight at 00:57:05, like that of the page's sample."""

_PRICE = {"electricity": Decimal("0.62"), "water": Decimal("3.45"), "unknown": Decimal(1)}


@dataclass(slots=True)
class Options:
    """How this meter behaves; may be changed at any time. Words of "" are the documented ones.

    `read_every_s`: simulated seconds between readings by itself. `delay_s`: true seconds until an instruction is
    carried out (while the meter is on line). `reads_after_switch`: moving the gate makes a reading, too.
    `valve_words`: a water meter says 开阀 and 关阀. `gate_word`, `net_word`, `image_status`: said instead.
    """

    read_every_s: int = 3600
    delay_s: float = 3.0
    reads_after_switch: bool = False
    valve_words: bool = False
    gate_word: str = ""
    net_word: str = ""
    image_status: str = ""

    def set(self, name: str, value: object) -> None:
        """Changes one option. Raises ValueError for another name or type."""
        present = getattr(self, name, None) if name in {item.name for item in fields(self)} else None
        if present is None:
            raise ValueError(f"no such option: {name!r}")
        if type(value) is not type(present) and not (type(present) is float and type(value) is int):
            raise ValueError(f"{name} must be {type(present).__name__}")
        if name == "read_every_s" and (not isinstance(value, int) or value < 1):
            raise ValueError("read_every_s must be at least 1")
        setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class Record:
    """One reading with what was consumed and paid since the one before."""

    at_s: int
    reading: Decimal
    dosage: Decimal
    amount: Decimal
    status: str = ""


@dataclass(frozen=True, slots=True)
class Hourly:
    """One time-of-use report: registers of `frozen_s`, instantaneous values of `created_s`."""

    frozen_s: int
    created_s: int
    registers: dict[str, Decimal]
    watts: int


@dataclass(slots=True)
class Meter:
    """A meter of a type of the page's table, on line, with its gate open for supply; `since_s` in Unix seconds."""

    table_no: str
    type_code: int
    since_s: int
    device_id: str = ""
    camera: bool = False
    options: Options = field(default_factory=Options)
    on: bool = True
    online: bool = True
    records: list[Record] = field(default_factory=list)
    hourly: list[Hourly] = field(default_factory=list)
    lost_s: int = 0
    profile: load.Profile = field(init=False)
    _registers: dict[str, int] = field(init=False)
    _next_read_s: int = field(init=False)
    _next_freeze_s: int = field(init=False)

    def __post_init__(self) -> None:
        self.device_id = self.device_id or f"D{self.table_no}"
        seed = zlib.crc32(self.table_no.encode())
        self.profile = load.profile(seed, water=self.medium == "water")
        names = tuple(load.PERIODS) if self.time_of_use else ("total",)
        start = (seed % 5000) * load.PER_UNIT // len(names)
        self._registers = dict.fromkeys(names, start)
        self._next_read_s = self.since_s + seed % min(600, self.options.read_every_s)
        self._next_freeze_s = load.midnight_after(self.since_s)

    @property
    def medium(self) -> str:
        """`electricity`, `water` or `unknown`."""
        if self.type_code in ELECTRICITY:
            return "electricity"
        return "water" if self.type_code in WATER else "unknown"

    @property
    def time_of_use(self) -> bool:
        """Whether it has tariff registers."""
        return self.type_code in TIME_OF_USE

    @property
    def registers(self) -> dict[str, Decimal]:
        """What it shows now, in kWh or m³; a single register is called `total`."""
        return {name: load.shown(amount) for name, amount in self._registers.items()}

    def reading(self) -> Decimal:
        """The total register as it shows it."""
        return sum(self.registers.values(), Decimal(0))

    def advance(self, now_s: int) -> None:
        """Lets time pass up to `now_s`: consumption, readings by itself, freezes at midnight."""
        while (due_s := min(self._next_read_s, self._next_freeze_s)) <= now_s:
            self._count(due_s)
            if due_s == self._next_freeze_s:
                self._freeze(due_s)
                self._next_freeze_s += load.DAY_S
            else:
                self._next_read_s = due_s + self.options.read_every_s
                if self.online:
                    self.read(due_s)
        self._count(now_s)

    def configure(self, **options: object) -> None:
        """Sets options; another interval counts from now. Raises ValueError for another name or type."""
        for name, value in options.items():
            self.options.set(name, value)
        if "read_every_s" in options:
            self._next_read_s = self.since_s + self.options.read_every_s

    def read(self, now_s: int) -> None:
        """Makes a record of the present reading; a time-of-use meter also of its registers and powers."""
        self._count(now_s)
        reading = self.reading()
        before = self.records[-1].reading if self.records else reading
        dosage = max(Decimal(0), reading - before)
        amount = (dosage * _PRICE[self.medium]).quantize(Decimal("0.01"))
        self.records.append(Record(now_s, reading, dosage, amount, self.options.image_status))
        if self.time_of_use:
            self.hourly.append(Hourly(now_s, now_s, self.registers, self._watts(now_s)))

    def switch(self, on: bool, now_s: int) -> bool:
        """Moves relay or valve; whether it moved."""
        self._count(now_s)
        moved, self.on = self.on != on, on
        if self.options.reads_after_switch:
            self.read(now_s)
        return moved

    def go_offline(self, now_s: int) -> None:
        """The platform does not hear it any more; it goes on counting."""
        self.online, self.lost_s = False, now_s

    def replace_register(self, value: Decimal) -> None:
        """A new meter at the same place, say: the reading jumps."""
        names = list(self._registers)
        amount = int(value * load.PER_UNIT)
        self._registers = dict.fromkeys(names, 0) | {names[-1]: amount}

    def records_between(self, begin_s: int, end_s: int) -> Sequence[Record]:
        """The records of a period, both ends included, newest first."""
        since = bisect_left(self.records, begin_s, key=lambda record: record.at_s)
        until = bisect_right(self.records, end_s, key=lambda record: record.at_s)
        return self.records[since:until][::-1]

    def hourly_between(self, begin_s: int, end_s: int) -> Sequence[Hourly]:
        """The time-of-use reports of a period, by the time of the report, newest first."""
        return [one for one in reversed(self.hourly) if begin_s <= one.created_s <= end_s]

    def _count(self, until_s: int) -> None:
        if until_s <= self.since_s:
            return
        if self.on:
            for name in self._registers:
                hours = load.PERIODS.get(name, range(24))
                self._registers[name] += self.profile.used(self.since_s, until_s, hours)
        self.since_s = until_s

    def _freeze(self, at_s: int) -> None:
        if self.time_of_use and self.online:
            created_s = at_s + FREEZE_REPORT_S
            self.hourly.append(Hourly(at_s, created_s, self.registers, self._watts(created_s)))

    def _watts(self, at_s: int) -> int:
        return self.profile.rate_at(at_s) if self.on else 0


_MIX: tuple[tuple[int, bool], ...] = ((5, False), (2, False), (11, False), (24, True), (3, False), (4, False))


def fleet(count: int, now_s: float, past_s: int = 2 * load.DAY_S, **options: Any) -> list[Meter]:
    """So many meters of mixed types with `past_s` of records, numbered `000000000001` and so on. Every third
    electricity meter is time-of-use, every second water meter has a camera."""
    meters = []
    for index in range(count):
        type_code, camera = _MIX[index % len(_MIX)]
        number = index + 1
        meters.append(
            Meter(
                f"{number:012d}",
                type_code,
                int(now_s) - past_s,
                device_id=f"1{number:011d}",
                camera=camera,
                options=Options(**options),
            )
        )
        meters[-1].advance(int(now_s))
    return meters
