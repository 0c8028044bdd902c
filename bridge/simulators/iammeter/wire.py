"""How the cloud writes its answers and reads its requests (page 1.1, 1.2, 4). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from bridge.simulators.iammeter.meter import Options, Values

Json = Any

ENDPOINTS: Mapping[str, frozenset[str]] = {
    "site/meterdata": frozenset(),
    "site/meterdata2": frozenset(),
    "site/meterdatalist": frozenset({"interval", "starttime", "endtime"}),
    "site/meterdatalist2": frozenset({"interval", "starttime", "endtime"}),
    "site/poweranalysis": frozenset({"sn", "starttime", "endtime"}),
    "site/offlineanalysis": frozenset({"sn", "starttime", "endtime", "interval"}),
    "site/metersdata": frozenset(),
    "user/sitelist": frozenset(),
    "site/energyhistory": frozenset({"starttime", "endtime", "groupby"}),
}
"""Path in lower case, less what follows in it → names of its query, in lower case."""

IN_PATH = frozenset(
    {"site/meterdata", "site/meterdata2", "site/meterdatalist", "site/meterdatalist2", "site/energyhistory"}
)
"""Where a serial number or a site's id is the last segment."""

LATEST_MONTH_DAYS = 31
MOST_RECORDS = 2000


class Refusal(Exception):
    """`successful: false` with this message."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A well-formed GET: `endpoint` is the last word of its path, `key` the serial number or site id."""

    endpoint: str
    key: str
    query: Mapping[str, str]


def read(path: str, query: Iterable[tuple[str, str]]) -> Ask | None:
    """A request by its path below the base URL; None for a path that is not there. Raises Refusal for a query
    that is not documented: a client's mistake must not pass here."""
    parts = path.strip("/").split("/")
    if len(parts) < 2 or len(parts) > 3:
        return None
    name = "/".join(parts[:2]).lower()
    if name not in ENDPOINTS or (len(parts) == 3) != (name in IN_PATH):
        return None
    given: dict[str, str] = {}
    for key, value in query:
        word = key.lower()
        if word in given:
            raise Refusal(f"Duplicate parameter {word}.")
        given[word] = value
    given.pop("token", None)
    if unknown := set(given) - ENDPOINTS[name]:
        raise Refusal(f"Invalid parameter {', '.join(sorted(unknown))}.")
    key = parts[2] if len(parts) == 3 else given.pop("sn", "")
    return Ask(name.split("/")[1], key, given)


def success(data: Json) -> dict[str, Json]:
    """The envelope of a good answer."""
    return {"data": data, "successful": True, "message": None}


def failure(message: str) -> dict[str, Json]:
    """The envelope of a refusal."""
    return {"data": None, "successful": False, "message": message}


def time_text(unix_s: float, offset_min: int = 0) -> str:
    """`2020/8/28 5:27:33`: month, day and hour without leading zeros."""
    at = datetime.fromtimestamp(unix_s, UTC) + timedelta(minutes=offset_min)
    return f"{at.year}/{at.month}/{at.day} {at.hour}:{at.minute:02}:{at.second:02}"


def days_of(ask: Ask, *, today: date, longest: int, needed: bool, month: bool = True) -> tuple[date, date]:
    """The days of a request, both included. Raises Refusal."""
    texts = [ask.query.get(name) for name in ("starttime", "endtime")]
    if texts == [None, None] and not needed:
        return today - timedelta(days=6), today
    if not all(text is not None and re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) for text in texts):
        raise Refusal("Invalid startTime or endTime.")
    try:
        first, last = (date.fromisoformat(text or "") for text in texts)
    except ValueError:
        raise Refusal("Invalid startTime or endTime.") from None
    if last < first or last > today:
        raise Refusal("Invalid date range.")
    if month and first < today - timedelta(days=LATEST_MONTH_DAYS):
        raise Refusal("Only the latest month can be queried.")
    if (last - first).days >= longest:
        raise Refusal(f"The date range exceeds {longest} days.")
    return first, last


def whole(ask: Ask, name: str, default: int | None = None) -> int:
    """A positive whole number of the query. Raises Refusal."""
    text = ask.query.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"[1-9]\d{0,6}", text):
        raise Refusal(f"Invalid {name}.")
    return int(text)


def basic_row(values: Values, options: Options) -> list[Json]:
    """Five elements, or seven with frequency and power factor (4.2)."""
    row: list[Json] = [values.volts, values.amperes, values.watts, values.imported, values.exported]
    if options.seven:
        row += [values.hertz, values.factor]
    return _told(row, options)


def advanced_row(values: Values, options: Options) -> list[Json]:
    """Six elements: the power factor stands before the energies (4.3)."""
    row: list[Json] = [values.volts, values.amperes, values.watts, values.factor]
    return _told([*row, values.imported, values.exported], options)


def _told(row: list[Json], options: Options) -> list[Json]:
    if options.nulls:
        row[2] = None
    if options.short:
        return row[:4]
    return row + [7] * options.extra
