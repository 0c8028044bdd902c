"""The envelope of every answer (page iammeter 1.1) and its ways to write a time (1.2). Pure."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from dataclasses import dataclass
from datetime import date, datetime

from bridge.domain.text import Json, flag, loads_sent

_TIME = re.compile(
    r"([0-9]{4})[/-]([0-9]{1,2})[/-]([0-9]{1,2})[ T]([0-9]{1,2}):([0-9]{2}):([0-9]{2})\Z", re.ASCII
)
_BUCKET = re.compile(
    r"([0-9]{4})(?:[-/]([0-9]{1,2})(?:[-/]([0-9]{1,2})(?:[ T]([0-9]{1,2})(?::([0-9]{2}))?(?::[0-9]{2})?)?)?)?\Z"
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})\Z")


@dataclass(frozen=True, slots=True)
class Envelope:
    """`successful` is None where the answer does not say; `message` is empty where there is none."""

    successful: bool | None
    message: str
    data: Json


def envelope_of(body: bytes) -> Envelope | None:
    """The parts of an answer; None for nothing at all: an empty body or a bare `null`. Raises ValueError."""
    body = body.removeprefix(BOM_UTF8)
    if not body.strip():
        return None
    root = loads_sent(body)
    if root is None:
        return None
    if not isinstance(root, dict):
        raise ValueError("expected a JSON object")
    message = root.get("message")
    return Envelope(
        flag(root.get("successful")), message if isinstance(message, str) else "", root.get("data")
    )


def time_of(value: Json) -> datetime | None:
    """`2020/8/28 5:27:33` as a time without zone: month, day and hour are not zero-padded. None if it is none."""
    match = _TIME.match(value.strip()) if isinstance(value, str) else None
    return _time(*match.groups()) if match else None


def bucket_of(value: Json) -> datetime | None:
    """The start of a bucket (4.10): a year with as much of month, day, hour and minute as there is."""
    match = _BUCKET.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    year, month, day, hour, minute = match.groups()
    return _time(year, month or "1", day or "1", hour or "0", minute or "0")


def date_of(value: Json) -> date | None:
    """`2023-09-01`, as requests have it and the analyses echo it. None if it is none."""
    match = _DATE.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        return date(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def _time(*parts: str) -> datetime | None:
    try:
        return datetime(*(int(part) for part in parts))  # type: ignore[arg-type] # noqa: DTZ001 # zone is added later
    except ValueError:
        return None
