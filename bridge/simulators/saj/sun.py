"""What a simulated inverter yields: a believable day of sun and clouds, and energies that add up. Pure.

Samples lie on a grid of 5 minutes; a sample's power holds for the 5 minutes before it. Energies are whole units of
10 Wh per day, so that days add up to months, years and the lifetime without rest.
"""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache

STEP_S = 300
_STEPS_A_DAY = 86_400 // STEP_S
_UNIT_WH = 10


def _noise(*parts: int) -> float:
    """A number in [0, 1) that looks like chance and is always the same for the same parts."""
    value = 0x9E3779B9
    for part in parts:
        value = (value ^ (part & 0xFFFFFFFF)) * 0x85EBCA6B & 0xFFFFFFFF
        value ^= value >> 13
        value = value * 0xC2B2AE35 & 0xFFFFFFFF
        value ^= value >> 16
    return value / 2**32


def daylight_hours(day: date) -> tuple[float, float]:
    """Sunrise and sunset as hours of local time: a day of 14.6 h in June, of 9.4 h in December."""
    season = math.cos((day.timetuple().tm_yday - 172) / 365.25 * 2 * math.pi)
    half = (12.0 + 2.6 * season) / 2
    return 12.1 - half, 12.1 + half


def watts_at(peak_w: int, seed: int, day: date, step: int) -> int:
    """Output in W at the end of step 0 … 287 of a local day."""
    rise, fall = daylight_hours(day)
    hour = (step + 1) * STEP_S / 3600
    if not rise < hour < fall:
        return 0
    height: float = math.sin((hour - rise) / (fall - rise) * math.pi) ** 1.3
    season = 0.8 + 0.2 * math.cos((day.timetuple().tm_yday - 172) / 365.25 * 2 * math.pi)
    clear: float = 0.35 + 0.65 * _noise(day.toordinal(), 7) ** 0.5
    cloud = 1.0 - 0.6 * (1.0 - clear) * _noise(day.toordinal(), step // 3, seed)
    return round(0.9 * peak_w * height * season * clear * cloud)


@lru_cache(maxsize=20_000)
def day_units(peak_w: int, seed: int, day: date) -> tuple[int, ...]:
    """Energy of the day up to the end of each of its 288 steps, in units of 10 Wh."""
    total_ws, found = 0, []
    for step in range(_STEPS_A_DAY):
        total_ws += watts_at(peak_w, seed, day, step) * STEP_S
        found.append(round(total_ws / 3600 / _UNIT_WH))
    return tuple(found)


def whole_day_units(peak_w: int, seed: int, day: date) -> int:
    """Energy of a whole day in units of 10 Wh."""
    return day_units(peak_w, seed, day)[-1]


def kwh(units: int) -> float:
    """Units of 10 Wh as kWh with two decimals."""
    return round(units * _UNIT_WH / 1000, 2)


def sample_times(day: date, zone: timezone) -> list[tuple[int, datetime]]:
    """The steps of a local day at which an inverter is awake, with the time of each sample. The first and the last
    one have a power of 0."""
    rise, fall = daylight_hours(day)
    first, last = math.floor(rise * 3600 / STEP_S) - 1, math.ceil(fall * 3600 / STEP_S) - 1
    midnight = datetime.combine(day, time(), zone)
    return [(step, midnight + timedelta(seconds=(step + 1) * STEP_S)) for step in range(first, last + 1)]
