"""What flows through simulated meters: a household's day, the sun on its roof, mains voltage. Pure.

Minutes are those of the site's local day, 0 to 1439; weekdays count from Monday.
"""

from __future__ import annotations

import math
from functools import lru_cache

DAY_MIN = 1440

_BASE_W = 110.0
_WORKDAY_PEAKS = ((7.0, 0.9, 900.0), (12.5, 1.0, 450.0), (19.3, 1.7, 1700.0))
_WEEKEND_PEAKS = ((9.5, 1.6, 800.0), (13.0, 1.3, 1300.0), (19.0, 2.0, 1500.0))
"""Hour of the day, width in hours, height in watts."""
_FRIDGE_W = 120.0
_FRIDGE_CYCLE_MIN = 41
_FRIDGE_ON_MIN = 14
_SUNRISE_H, _SUNSET_H = 6.0, 20.0


@lru_cache(maxsize=128)
def house_day(seed: int, weekday: int) -> tuple[float, ...]:
    """Consumption in W for each minute of a day of the household `seed`."""
    scale = 0.7 + (seed % 7) / 10
    peaks = _WEEKEND_PEAKS if weekday >= 5 else _WORKDAY_PEAKS
    watts = []
    for minute in range(DAY_MIN):
        hour = minute / 60
        wave = sum(height * math.exp(-(((hour - at) / width) ** 2)) for at, width, height in peaks)
        fridge = _FRIDGE_W if (minute + seed % 41) % _FRIDGE_CYCLE_MIN < _FRIDGE_ON_MIN else 0.0
        watts.append(round(scale * (_BASE_W + wave) + fridge, 1))
    return tuple(watts)


@lru_cache(maxsize=128)
def sun_day(peak_w: float, seed: int, weekday: int) -> tuple[float, ...]:
    """Generation in W for each minute of a day of a roof with `peak_w`; some days are cloudier than others."""
    clear = 1.0 - ((seed + 3 * weekday) % 5) * 0.12
    watts = []
    for minute in range(DAY_MIN):
        height = math.sin(math.pi * (minute / 60 - _SUNRISE_H) / (_SUNSET_H - _SUNRISE_H))
        is_day = _SUNRISE_H < minute / 60 < _SUNSET_H
        watts.append(round(peak_w * clear * height**1.3, 1) if is_day else 0.0)
    return tuple(watts)


def volts_at(minute: int, watts: float) -> float:
    """Mains voltage in V: lowest in the evening, raised by what is fed in."""
    return round(230.0 + 2.5 * math.cos((minute / 60 - 7.5) * math.pi / 12) - watts / 4000, 1)


def power_factor_at(minute: int, watts: float) -> float:
    """Between 0.8 and 1; 0 where nothing flows."""
    if watts == 0:
        return 0.0
    return round(0.93 + 0.06 * math.cos(minute / 97) - (0.1 if abs(watts) < 150 else 0.0), 2)


def hertz_at(minute: int) -> float:
    """Grid frequency in Hz."""
    return round(50.0 + 0.02 * math.sin(minute / 13), 2)
