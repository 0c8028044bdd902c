"""How long a server asks to be left alone: `Retry-After` (RFC 9110, section 10.2.3). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MOST_S = 86400.0
"""No vendor's window is longer than a day, so neither is a wait that makes sense."""

_SECONDS = re.compile(r"\d{1,9}")


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from now, at most MOST_S; None where the header is absent, means nothing, or lies in the past.

    A date is measured against the answer's own `Date`, so that a difference of the clocks does not matter.
    """
    told = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(told):
        return min(MOST_S, float(told)) or None
    until = _date(told)
    if until is None:
        return None
    wait_s = (until - (_date(headers.get("Date", "")) or now)).total_seconds()
    return min(MOST_S, wait_s) if wait_s > 0 else None


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
