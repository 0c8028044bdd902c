"""The platform's JSON read tolerantly: envelopes, times, JSON inside strings, windows of months (page 1, 4, 11).

Pure. Nothing here decides what a value means; text that has none of the known shapes is a ValueError or None.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache

from bridge.domain.text import Json, dumps, loads_sent, number

Record = Mapping[str, Json]
"""One object as the platform sends it."""

_LARGEST = 10**30
_TIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:[Tt ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?\s*([Zz]|[+-]\d{2}:?\d{2})?)?\Z",
    re.ASCII,
)
_FIRST_YEAR = 1971
"""Earlier ones are a .NET `DateTime.MinValue` or a device that never had a clock."""

_ID_CHARS = 50


@dataclass(frozen=True, slots=True)
class Answer:
    """The common envelope. `total` is `Totalcount`, None where it is missing."""

    good: bool
    data: Json
    message: str
    total: int | None


def answer_of(body: bytes) -> Answer:
    """An answer of the platform, names in any case (Q6). Raises ValueError."""
    root = loads_sent(body)
    if not isinstance(root, dict):
        raise ValueError("expected a JSON object")
    fields = {name.lower(): value for name, value in root.items()}
    state = fields.get("state")
    word = state.strip().lower() if isinstance(state, str) else ""
    if word not in ("success", "failed"):
        raise ValueError("expected State success or failed")
    message = fields.get("message")
    return Answer(
        word == "success",
        fields.get("data"),
        message if isinstance(message, str) else "",
        whole(fields.get("totalcount")),
    )


def records_of(data: Json) -> list[Record]:
    """The records of a list answer; a single one counts as a list of one, null as none. Raises ValueError."""
    if data is None:
        return []
    if isinstance(data, dict):
        return [data]
    if not isinstance(data, list):
        raise ValueError("expected a list of records")
    return [item if isinstance(item, dict) else {} for item in data]


def measured(value: Json) -> int | Decimal | None:
    """A number sent as number or text (Q4), None where it is none or beyond what any device measures."""
    kind = type(value)
    if kind is int:
        return value if -_LARGEST < value < _LARGEST else None
    if kind is Decimal and value.is_finite():
        return _measured(value)
    found = number(value)
    return found if found is not None and -_LARGEST < found < _LARGEST else None


@lru_cache(maxsize=8192)
def _measured(value: Decimal) -> int | Decimal | None:
    """Kept: meters send the same numbers again and again."""
    found = number(value)
    return found if found is not None and -_LARGEST < found < _LARGEST else None


def whole(value: Json) -> int | None:
    """A whole number, sent as number or text."""
    found = measured(value)
    return found if isinstance(found, int) else None


def text_of(value: Json) -> str:
    """Text without blanks at its ends; whole numbers as their digits; empty for anything else."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def device_id(value: Json) -> str:
    """A communication number, leading zeros kept. Raises ValueError where it is missing or unusable."""
    text = text_of(value)
    if not text:
        raise ValueError("the communication number is missing")
    if len(text) > _ID_CHARS or not text.isprintable():
        raise ValueError("the communication number is longer than 50 characters or not printable")
    return text


def decoded(value: Json) -> Json:
    """JSON that the platform may send inside a string (Q2): objects as they are, `""` and null as `{}`, text that is
    no JSON as that text."""
    if value is None:
        return {}
    if not isinstance(value, str):
        return value
    if not value.strip():
        return {}
    try:
        return loads_sent(value)
    except ValueError:
        return value


def encoded(value: Json) -> str:
    """JSON as the text that goes into `ctrl_data`."""
    return dumps(value).decode()


def instant(value: Json, zone: tzinfo) -> datetime | None:
    """A time of the platform as aware UTC; without offset it is local in `zone`; fractions cut to six digits (Q16).

    Shapes: `2017-04-17`, `2018-08-11 10:37[:56[.…]]`, the same with `T`, with an offset or `Z`. None for
    anything else and for years before 1971 (the platform's "never").
    """
    return _instant(value, zone) if isinstance(value, str) else None


@lru_cache(maxsize=4096)
def _instant(text: str, zone: tzinfo) -> datetime | None:
    """Kept: a push tells the same time several times, a platform's clock that of many meters."""
    match = _TIME.match(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if int(year) < _FIRST_YEAR:
        return None
    micro = int(((fraction or "") + "000000")[:6])
    try:
        local = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), micro,
            tzinfo=_offset(offset) if offset else zone,
        )  # fmt: skip
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _offset(text: str) -> tzinfo:
    if text in "Zz":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def local_text(at: datetime, zone: tzinfo) -> str:
    """`YYYY-MM-DD HH:MM:SS` on the platform's clock."""
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


_NEAR = timedelta(hours=2)
"""Longer than clocks are put back anywhere."""


def month_windows(start: datetime, end: datetime, zone: tzinfo) -> list[dict[str, int]]:
    """The `year` … `end_minute` of the calls that cover start to end: one per calendar month (4.4, Q9, Q10).

    Whether the end minute counts is not known, so the last window reaches a minute further. Where the clocks are put
    back near the start or the end, local times beyond it belong to the period as well.
    """
    before = _put_back(start, min(end, start + _NEAR), zone)
    after = _put_back(max(start, end - _NEAR), end, zone)
    cursor = _local_minute(start, zone) - before
    last = _local_minute(end, zone) + timedelta(minutes=1) + after
    windows = []
    while cursor <= last:
        days = monthrange(cursor.year, cursor.month)[1]
        month_end = cursor.replace(day=days, hour=23, minute=59)
        windows.append(_window(cursor, min(last, month_end)))
        cursor = month_end + timedelta(minutes=1)
    return windows


def _local_minute(at: datetime, zone: tzinfo) -> datetime:
    """What a clock there shows, without its seconds."""
    return at.astimezone(zone).replace(second=0, microsecond=0, tzinfo=None)


def _put_back(start: datetime, end: datetime, zone: tzinfo) -> timedelta:
    """By how much the clocks are put back between two instants."""
    first, last = (at.astimezone(zone).utcoffset() or timedelta() for at in (start, end))
    return max(timedelta(), first - last)


def _window(start: datetime, end: datetime) -> dict[str, int]:
    return {
        "year": start.year,
        "month": start.month,
        "start_day": start.day,
        "start_hour": start.hour,
        "start_minute": start.minute,
        "end_day": end.day,
        "end_hour": end.hour,
        "end_minute": end.minute,
    }


@dataclass(frozen=True, slots=True)
class Login:
    """What a login brings; `expires_at` None where it cannot be read."""

    token: str
    expires_at: datetime | None


def login_of(data: Json, zone: tzinfo) -> Login:
    """`Data` of a login (2.2). Raises ValueError where it has no token that a header can carry."""
    token = data.get("token") if isinstance(data, dict) else None
    if not isinstance(token, str) or not token.strip():
        raise ValueError("the login brought no token")
    if not token.isascii() or not token.isprintable():
        raise ValueError("the token cannot be sent in a header")
    return Login(token.strip(), instant(data.get("expiration"), zone))
