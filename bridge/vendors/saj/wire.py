"""What comes from the cloud, read tolerantly: envelope, lists, texts, times (page saj, section 1). Pure.

Only an answer that is none at all is a BadReply; a value of the wrong kind is as good as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal

from bridge.domain.errors import BadReply
from bridge.domain.text import Json, loads_sent, number
from bridge.domain.times import parse_rfc3339

Row = Mapping[str, Json]
"""A record with its keys as the vendor wrote them."""

MAX_PAGES = 1000
_LARGEST = 10**30
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LOCAL = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?\Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """The envelope (1.1). `data` is None where it is missing or null."""

    code: int
    message: str
    data: Json = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `count` is the total over all pages, None where the answer does not say."""

    rows: Sequence[Row]
    count: int | None

    def is_last(self, page: int, per_page: int) -> bool:
        """Whether nothing follows (section 4, pagination)."""
        if len(self.rows) < per_page or page >= MAX_PAGES:
            return True
        return self.count is not None and page * per_page >= self.count


def answer_of(status: int, body: bytes, operation: str) -> Answer:
    """The envelope of an answer. Without `error_code` it is a success if the HTTP status is 2xx and `data` is
    there (4.27). Raises BadReply."""
    try:
        root = loads_sent(body)
    except ValueError as error:
        raise BadReply(f"the answer cannot be read: {error}", operation=operation) from None
    if not isinstance(root, dict):
        raise BadReply("the answer is no JSON object", operation=operation)
    raw = root.get("error_code")
    code = whole(raw)
    if raw is None and 200 <= status < 300 and "data" in root:
        code = 0
    if code is None:
        raise BadReply("the answer has no error_code", operation=operation)
    return Answer(code, text(root.get("error_msg")) or "", root.get("data"))


def fields(value: Json) -> dict[str, Json]:
    """An object with its keys in lower case: the vendor mixes them (page, section 8)."""
    return {key.lower(): item for key, item in value.items()} if isinstance(value, dict) else {}


def rows(data: Json, *names: str) -> list[Row]:
    """The objects of the first array under one of these names; empty where there is none."""
    found = fields(data)
    for name in names:
        value = found.get(name.lower())
        if isinstance(value, list):
            return [item for item in value if isinstance(item, dict)]
    return []


def page_of(data: Json, *names: str) -> Page:
    """A list as a page."""
    return Page(rows(data, *names), whole(fields(data).get("count")))


def text(value: Json) -> str | None:
    """A text without blanks around it, an id also where it is a number; None where there is nothing to read."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def whole(value: Json) -> int | None:
    """An integer, sent as number or text."""
    found = measured(value)
    return found if isinstance(found, int) else None


def measured(value: Json) -> int | Decimal | None:
    """A number, sent as number or text; None where it is none or beyond what anything measures."""
    found = number(value)
    return found if found is not None and -_LARGEST < found < _LARGEST else None


def instant(value: Json, zone: tzinfo) -> datetime | None:
    """A time as aware UTC; one without designator is local in `zone` (1.2). None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        at: datetime | None = parse_rfc3339(value.strip())
    except ValueError:
        at = _local(value.strip(), zone)
    return at if at is not None and at >= _EARLIEST else None


def _local(value: str, zone: tzinfo) -> datetime | None:
    match = _LOCAL.match(value)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(f"{match[1]}T{match[2]}").replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def bucket_start(value: Json, zone: tzinfo) -> datetime | None:
    """The start of a bucket `YYYY-MM-DD`, `YYYY-MM` or `YYYY` of local time as aware UTC (4.7)."""
    given = text(value) or ""
    padded = {4: f"{given}-01-01", 7: f"{given}-01"}.get(len(given), given)
    if not _DATE.match(padded):
        return instant(value, zone)
    at = _local(f"{padded}T00:00:00", zone)
    return at if at is not None and at >= _EARLIEST else None


def offset(value: Json) -> tzinfo | None:
    """A zone of the form `+08:00` (1.2)."""
    match = _OFFSET.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    if minutes >= 24 * 60:
        return None
    return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
