"""Parameters of the commands and the stretches of time they mean (METRICS 4.1, iammeter). Pure.

Times are RFC 3339, or a day (with or without a time of day) as the meter's site counts it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated

from pydantic import AfterValidator, Field

from bridge.domain.command import Params
from bridge.domain.errors import Rejection
from bridge.domain.times import parse_rfc3339
from bridge.vendors.iammeter.wire import date_of, time_of

LONGEST_ANALYSIS_DAYS = 7
LATEST_MONTH = timedelta(days=31)
UNSURE = timedelta(days=1)
"""By how much a day may be wrong while the site's time zone is not known."""

_DAY = timedelta(days=1)
_MONTH_ONLY = "the vendor has data of the latest month only"


def _moment_text(text: str) -> str:
    if date_of(text) is None and time_of(text) is None:
        parse_rfc3339(text)
    return text


_FORM = "RFC 3339, or YYYY-MM-DD[ HH:MM:SS] as the site counts it"
Moment = Annotated[str, AfterValidator(_moment_text), Field(description=_FORM)]


class AnalysisSpan(Params):
    """Of `power_analysis` and `offline_analysis`: whole days, the last seven where none are given."""

    start: Moment | None = None
    end: Moment | None = None
    interval_min: int = Field(5, ge=1, le=10080, description="offline_analysis: gaps longer than this")

    @property
    def needs_zone(self) -> bool:
        """Whether the days cannot be told without knowing the site's time zone."""
        given = [text for text in (self.start, self.end) if text is not None]
        return len(given) == 1 or any(date_of(text) is None for text in given)


class HistorySpan(Params):
    """Of `history`."""

    start: Moment
    end: Moment
    interval_s: int = Field(300, ge=60, le=86400, multiple_of=60)


def moment(name: str, text: str, zone: tzinfo, *, is_end: bool = False) -> datetime:
    """The instant that the parameter `name` means; as an end a day means that it is included. Raises Rejection."""
    day = date_of(text)
    local = time_of(text)
    try:
        if day is not None:
            local = datetime.combine(day + _DAY if is_end else day, time())
        at = local.replace(tzinfo=zone).astimezone(UTC) if local is not None else parse_rfc3339(text)
        at.astimezone(zone)
        return at
    except (OverflowError, ValueError) as error:
        raise Rejection("invalid_params", f"{name}: expected a usable time: {error}") from None


def analysis_days(
    params: AnalysisSpan, zone: tzinfo, now: datetime, *, slack: timedelta = timedelta()
) -> tuple[date, date] | None:
    """The days to analyse; None where the vendor's default, the last seven, is wanted.

    `slack`: by how much the zone may be wrong. Raises Rejection if they are none, more than seven, not over
    yet, or not within the latest month: the vendor counts such a call, too.
    """
    if params.start is None and params.end is None:
        return None
    today = now.astimezone(zone).date()
    start, end = _day("start", params.start, zone), _day("end", params.end, zone)
    for name, day in (("end", end), ("start", start)):
        if day is not None and day > today + slack:
            raise Rejection("invalid_params", f"{name}: that day has not come yet")
        if day is not None and day < today - LATEST_MONTH - slack:
            raise Rejection("invalid_params", f"{name}: {_MONTH_ONLY}")
    week = timedelta(days=LONGEST_ANALYSIS_DAYS - 1)
    if start is not None:
        first, last = start, end if end is not None else min(start + week, max(start, today))
    else:
        last = end or today
        first = last - week
    _verify_order(first, last)
    if last - first > week:
        raise Rejection("invalid_params", f"end: expected at most {LONGEST_ANALYSIS_DAYS} days from start on")
    if first < today - LATEST_MONTH - slack:
        raise Rejection(
            "invalid_params", f"end: without start, the seven days up to it are meant; {_MONTH_ONLY}"
        )
    return first, last


def _day(name: str, text: str | None, zone: tzinfo) -> date | None:
    if text is None:
        return None
    day = date_of(text)
    return day if day is not None else moment(name, text, zone).astimezone(zone).date()


def _verify_order(start: date, end: date) -> None:
    if end < start:
        raise Rejection("invalid_params", "end: expected a time after start")
