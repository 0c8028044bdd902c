"""Where the sun shines now: the simulated roofs stand wherever it is late morning."""

from __future__ import annotations

from datetime import UTC, datetime

LATE_MORNING_H = 11


def sunny_offset_hours(now: datetime) -> int:
    """The UTC offset, -12 to 11, at which it is between 11 and 12 o'clock at this (aware) time."""
    return LATE_MORNING_H - now.astimezone(UTC).hour
