"""The two analyses of the cloud as results of commands (page iammeter 4.6, 4.7; METRICS 4.2). Pure.

The vendor's key spellings are not confirmed, so keys are matched by their meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from bridge.domain.text import Json, number
from bridge.domain.times import rfc3339
from bridge.vendors.iammeter.faults import WrongShape
from bridge.vendors.iammeter.history import utc_of
from bridge.vendors.iammeter.wire import date_of, time_of

_AVERAGE = frozenset({"average", "avg", "avgpower", "averagepower", "mean"})
_LEAST = frozenset({"min", "minimum", "minpower"})
_MOST = frozenset({"max", "maximum", "maxpower"})
_DURATION = frozenset({"duration", "timespan", "minutes", "count", "length"})
_WINDOW = {"starttime": "window_start", "endtime": "window_end"}


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without samples; `minutes` is None where nothing tells it."""

    start: datetime
    end: datetime
    minutes: Any

    def as_json(self) -> dict[str, Json]:
        """As it stands in the result and in the event's data."""
        told: dict[str, Json] = {"start": rfc3339(self.start), "end": rfc3339(self.end)}
        return told if self.minutes is None else told | {"duration_minutes": self.minutes}


@dataclass(frozen=True, slots=True)
class Analysis:
    """`result` of the command, the gaps as values, and the vendor's keys that stand for nothing known."""

    result: dict[str, Json]
    gaps: tuple[Gap, ...] = ()
    unknown: tuple[str, ...] = ()


def power_analysis(data: Json) -> Analysis:
    """Powers in W over the days analysed (4.6). Raises WrongShape if there is no number at all in it."""
    fields = _object(data)
    result, unknown = _window(fields), []
    for key, value in fields.items():
        word, found = _word(key), number(value)
        if word in _WINDOW:
            continue
        name = _power_name(word)
        if name is None or found is None:
            unknown.append(key)
        else:
            result.setdefault(name, found)
    if not any(name.startswith("power_") for name in result):
        raise WrongShape("no known statistic in the answer", operation="powerAnalysis")
    return Analysis(_ordered(result, _POWER_ORDER), unknown=tuple(unknown))


def offline_analysis(data: Json, zone: tzinfo) -> Analysis:
    """Minutes without samples and the gaps (4.7), whose times are the site's own. Raises WrongShape."""
    fields = _object(data)
    result, unknown = _window(fields), []
    listed: list[Json] = []
    list_key: str | None = None
    for key, value in fields.items():
        word, found = _word(key), number(value)
        if word in _WINDOW:
            continue
        if isinstance(value, list) and list_key is None:
            listed, list_key = value, key
        elif "offline" in word and found is not None:
            result.setdefault("offline_minutes", found)
        elif "total" in word and found is not None:
            result.setdefault("window_minutes", found)
        else:
            unknown.append(key)
    if list_key is None and "offline_minutes" not in result:
        raise WrongShape("neither minutes nor gaps in the answer", operation="offlineAnalysis")
    gaps = tuple(gap for item in listed if (gap := _gap(item, zone)) is not None)
    if len(gaps) < len(listed):
        unknown.append(f"{list_key}[]")  # at least one that cannot be read
    result = _ordered(result, _OFFLINE_ORDER) | {"gaps": [gap.as_json() for gap in gaps]}
    return Analysis(result, gaps, tuple(unknown))


_POWER_ORDER = ("window_start", "window_end", "power_avg", "power_avg_daytime", "power_min", "power_max")
_OFFLINE_ORDER = ("window_start", "window_end", "offline_minutes", "window_minutes")


def _object(data: Json) -> Mapping[str, Json]:
    if not isinstance(data, dict):
        raise WrongShape("expected an object as data")
    return data


def _word(key: str) -> str:
    return re.sub(r"[_\s]", "", key).lower()


def _window(fields: Mapping[str, Json]) -> dict[str, Json]:
    """The analysed days as echoed; a time of day behind them is dropped."""
    found: dict[str, Json] = {}
    for key, value in fields.items():
        name = _WINDOW.get(_word(key))
        if name is None or not isinstance(value, str):
            continue
        at = time_of(value)
        day = at.date() if at is not None else date_of(value)
        if day is not None:
            found.setdefault(name, day.isoformat())
    return found


def _power_name(word: str) -> str | None:
    """ "daytime" comes first: its key also looks like an average."""
    if "day" in word and ("avg" in word or "average" in word):
        return "power_avg_daytime"
    for name, words in (("power_avg", _AVERAGE), ("power_min", _LEAST), ("power_max", _MOST)):
        if word in words:
            return name
    return None


def _gap(item: Json, zone: tzinfo) -> Gap | None:
    if not isinstance(item, dict):
        return None
    start = _first(item, lambda key, value: time_of(value) if "start" in key else None)
    end = _first(item, lambda key, value: time_of(value) if "end" in key else None)
    if start is None or end is None:
        return None
    told = _minutes(item)
    since, until = _bounds(start, end, told, zone)
    return Gap(since, until, int((until - since).total_seconds() // 60) if told is None else told)


def _bounds(start: datetime, end: datetime, minutes: Any, zone: tzinfo) -> tuple[datetime, datetime]:
    """Both in UTC. An hour that the clocks show twice is told by the duration; without one, the end is not before
    the start."""
    readings = [
        (utc_of(start.replace(fold=first), zone), utc_of(end.replace(fold=last), zone))
        for first in (0, 1)
        for last in (0, 1)
    ]
    return min(readings, key=lambda bounds: _error_min(bounds, minutes))


def _error_min(bounds: tuple[datetime, datetime], minutes: Any) -> tuple[bool, int]:
    apart = int((bounds[1] - bounds[0]).total_seconds() // 60)
    return apart < 0, 0 if minutes is None else abs(apart - int(minutes))


def _minutes(item: Mapping[str, Json]) -> Any:
    """The duration as sent, under a known name or as the only number; None where nothing tells it."""
    named = _first(item, lambda key, value: number(value) if key in _DURATION else None)
    if named is not None:
        return named
    numbers = [found for value in item.values() if (found := number(value)) is not None]
    return numbers[0] if len(numbers) == 1 else None


def _first(item: Mapping[str, Json], read: Callable[[str, Json], Any]) -> Any:
    return next(
        (found for key, value in item.items() if (found := read(_word(key), value)) is not None), None
    )


def _ordered(result: dict[str, Json], order: tuple[str, ...]) -> dict[str, Json]:
    return {name: result[name] for name in order if name in result}
