"""What hangs on a simulated breaker: a believable consumption over the day, mains voltage, temperature. Pure.

All times are Unix seconds; the day is that of China (UTC+8), where the devices stand.
"""

from __future__ import annotations

import math

_UTC_OFFSET_S = 8 * 3600
_DAY_S = 86_400
_BASE_W = 90.0
_PEAKS = ((7.5, 1.0, 650.0), (12.5, 1.2, 500.0), (19.5, 1.8, 1400.0))
"""Hour of the day, width in hours, height in watts."""
_FRIDGE_W = 120.0
_FRIDGE_CYCLE_S = 2400.0
_FRIDGE_ON_S = 840.0


def _hour(unix_s: float) -> float:
    return ((unix_s + _UTC_OFFSET_S) % _DAY_S) / 3600


def watts_at(unix_s: float, seed: int) -> float:
    """Consumption in W of the customer `seed`: base load, three peaks a day, a fridge that cycles."""
    scale = 0.6 + (seed % 7) / 10
    hour = _hour(unix_s - (seed % 5) * 720)
    peaks = sum(height * math.exp(-(((hour - at) / width) ** 2)) for at, width, height in _PEAKS)
    fridge = _FRIDGE_W if (unix_s + seed % 997) % _FRIDGE_CYCLE_S < _FRIDGE_ON_S else 0.0
    return scale * (_BASE_W + peaks) + fridge


def volts_at(unix_s: float) -> float:
    """Mains voltage in V without noise: lowest in the evening."""
    return 229.5 + 2.0 * math.cos((_hour(unix_s) - 7.5) * math.pi / 12)


def celsius_at(unix_s: float, amperes: float) -> float:
    """Temperature in °C inside the device: that of the cabinet and the heat of the current."""
    return 24.0 + 4.0 * math.sin((_hour(unix_s) - 9.0) * math.pi / 12) + 0.008 * amperes**2


def mean_watts(since_s: float, until_s: float, seed: int) -> float:
    """Mean consumption in W over an interval, sampled at least once a minute and at most 240 times."""
    steps = min(240, max(1, math.ceil((until_s - since_s) / 60)))
    step_s = (until_s - since_s) / steps
    return sum(watts_at(since_s + (index + 0.5) * step_s, seed) for index in range(steps)) / steps
