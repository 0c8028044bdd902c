"""Instants as aware UTC datetimes, and their RFC 3339 text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)\Z",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FUTURE = timedelta(minutes=10)
"""What is told to be later than its receipt by more than this moves no clock (CONTRACT section 2)."""


def rfc3339(at: datetime) -> str:
    """`2023-11-21T06:30:22Z`; with `.250` where the instant has milliseconds."""
    at = at.astimezone(UTC)
    precision = "seconds" if at.microsecond < 1000 else "milliseconds"
    return at.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def parse_rfc3339(text: object) -> datetime:
    """RFC 3339 with offset to aware UTC; a leap second counts as the one before it. Raises ValueError that names
    what was expected."""
    match = _RFC3339.match(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("expected a time as in RFC 3339, with offset: 2026-11-21T09:30:00Z")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    micro = int(((fraction or ".0")[1:] + "000000")[:6])
    try:
        local = datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            59 if second == "60" else int(second),
            micro,
            tzinfo=UTC,
        )
        if offset in "Zz":
            return local
        sign = 1 if offset[0] == "+" else -1
        return local - sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[4:6]))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected a time as in RFC 3339: {error}") from None


def from_unix(seconds: float) -> datetime:
    """Unix seconds to aware UTC. Raises ValueError outside the years 1970 to 9999."""
    if seconds < 0:
        raise ValueError(f"not a Unix time: {seconds}")
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"not a Unix time: {seconds}") from error


def unix_ms(at: datetime) -> int:
    """Whole milliseconds since 1970."""
    since = at - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def from_unix_ms(ms: int) -> datetime:
    """The inverse of `unix_ms`."""
    return _EPOCH + timedelta(milliseconds=ms)
