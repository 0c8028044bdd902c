"""What runs through a simulated meter: a believable day, the same every day, summed exactly in integers. Pure.

Rates are W (electricity) or l/h (water); amounts are rate × seconds, of which 3 600 000 make a kWh or a m³.
All times are Unix seconds; the day is that of China (UTC+8).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from itertools import accumulate

PER_UNIT = 3_600_000
UTC_OFFSET_S = 8 * 3600
DAY_S = 86_400
PERIODS: dict[str, frozenset[int]] = {
    "sharp": frozenset({19, 20}),
    "peak": frozenset({8, 9, 10, 17, 18, 21}),
    "flat": frozenset({7, 11, 12, 13, 14, 15, 16, 22}),
    "valley": frozenset({23, *range(7)}),
}
"""Hours of the day by tariff period; each hour is in one."""

_WATTS = (
    210, 190, 180, 180, 190, 260, 520, 780, 610, 430, 420, 560,
    740, 520, 430, 420, 520, 860, 1240, 1460, 1380, 980, 560, 310,
)  # fmt: skip
_LITRES = (1, 0, 0, 0, 1, 4, 22, 34, 18, 9, 8, 14, 20, 9, 6, 6, 10, 21, 30, 26, 28, 24, 12, 4)


@dataclass(frozen=True, slots=True)
class Profile:
    """The rate of each hour of the day."""

    rates: tuple[int, ...]

    def rate_at(self, unix_s: int) -> int:
        """W or l/h now."""
        return self.rates[(unix_s + UTC_OFFSET_S) % DAY_S // 3600]

    def used(self, since_s: int, until_s: int, hours: Iterable[int] = range(24)) -> int:
        """What ran through between two times within these hours of the day."""
        counted = frozenset(hours)
        rates = [rate if hour in counted else 0 for hour, rate in enumerate(self.rates)]
        return _total(rates, until_s) - _total(rates, since_s)


def profile(seed: int, *, water: bool) -> Profile:
    """The day of the customer `seed`."""
    percent = 60 + seed % 80
    return Profile(tuple(rate * percent // 100 + (not water) for rate in (_LITRES if water else _WATTS)))


def shown(amount: int) -> Decimal:
    """An amount as a meter shows it: kWh or m³, two decimals, never rounded up."""
    return (Decimal(amount) / PER_UNIT).quantize(Decimal("0.01"), ROUND_DOWN)


def midnight_after(unix_s: int) -> int:
    """The next beginning of a day in China."""
    return (unix_s + UTC_OFFSET_S) // DAY_S * DAY_S + DAY_S - UTC_OFFSET_S


def _total(rates: list[int], unix_s: int) -> int:
    days, rest = divmod(unix_s + UTC_OFFSET_S, DAY_S)
    hour, seconds = divmod(rest, 3600)
    until = [0, *accumulate(rates)]
    return 3600 * (days * until[24] + until[hour]) + rates[hour] * seconds
