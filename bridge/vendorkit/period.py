"""What the `start` and `end` of a `history` command mean, the same for every vendor that keeps a past. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from bridge.domain.errors import Rejection
from bridge.domain.history import EARLIEST, Period

_NEXT = timedelta(milliseconds=1)
"""What is measured right now belongs to what has come."""


def period_of(
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    interval_s: int | None = None,
    longest: timedelta | None = None,
    back: timedelta | None = None,
    slack: timedelta = timedelta(),
) -> Period:
    """The period from `start` until before `end`, without what has not come yet.

    `longest`: how much may be asked for at once. `back`: how far back the vendor's records reach; `slack`: by how
    much its idea of days may differ. Raises Rejection for a stretch without length, that has not begun, or that is too
    long or too old.
    """
    if end <= start:
        raise Rejection("invalid_params", "end: expected a time after start")
    if start.year < EARLIEST:
        raise Rejection("invalid_params", f"start: expected the year {EARLIEST} or later")
    if start > now:
        raise Rejection("invalid_params", "start: that time has not come yet")
    if longest is not None and end - start > longest:
        raise Rejection("invalid_params", f"end: expected at most {longest.days} days after start")
    if back is not None and start < now - back - slack:
        raise Rejection("invalid_params", f"start: the vendor keeps the latest {back.days} days only")
    return Period(start, min(end, now + _NEXT), interval_s)
