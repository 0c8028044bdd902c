"""Past records: of meters (page iammeter 4.4, 4.5) and energy balances of sites (4.10). Pure.

Every function raises only BadReply; a single record that cannot be read, or has no time, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

from bridge.domain.observation import Value
from bridge.domain.text import Json, number
from bridge.vendors.iammeter.codec import BALANCE, Sample, sample
from bridge.vendors.iammeter.faults import WrongShape
from bridge.vendors.iammeter.rows import SHORTEST_ROW, Layout, measured
from bridge.vendors.iammeter.wire import bucket_of, time_of

TimeOrder = Literal["local_first", "utc_first"]
Grouping = Literal["hour", "day"]

MOST_RECORDS = 2000
"""Per response of 4.4 and 4.5; what lies beyond it is not documented."""

LONGEST_DAYS: dict[Grouping, int] = {"hour": 7, "day": 90}
"""Per request of 4.10."""

LENGTH: dict[Grouping, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
"""Of a bucket of 4.10."""

_DAY_S = 86400
_TOLERANCE_MIN = 1
_DST_MIN = 60


@dataclass(frozen=True, slots=True)
class Bucket:
    """The energies of one hour or day of a site, kWh."""

    start: datetime
    metrics: dict[str, Value]
    extra: dict[str, Json]


def whole_days(interval_s: int) -> int:
    """How many days one request of 4.4 or 4.5 may cover."""
    return max(1, MOST_RECORDS * interval_s // _DAY_S)


def chunks(first: date, last: date, days: int) -> list[tuple[date, date]]:
    """The days from `first` to `last`, both included, in stretches of at most `days`."""
    found = []
    while first <= last:
        end = min(last, first + timedelta(days=days - 1))
        found.append((first, end))
        first = end + timedelta(days=1)
    return found


def advanced(data: Json) -> list[Sample]:
    """`data` of `meterdatalist2` (4.5); none at all is an empty history. Raises WrongShape."""
    found = []
    for item in _list(data):
        if not isinstance(item, dict):
            raise WrongShape("expected records that are objects")
        try:
            taken = sample(item, Layout.ADVANCED)
        except WrongShape:
            continue
        if taken.observed_at is not None and taken.measured.metrics:
            found.append(taken)
    return found


def basic(data: Json, utc_offset_min: int | None, order: TimeOrder) -> list[Sample]:
    """`data` of `meterdatalist` (4.4): flat records of groups of five and two times. Raises WrongShape.

    Which time is UTC follows from the site's offset where that is known, else from `order`.
    """
    found = []
    for item in _list(data):
        if not isinstance(item, list):
            raise WrongShape("expected records that are arrays")
        if len(item) < SHORTEST_ROW + 2 or (len(item) - 2) % SHORTEST_ROW:
            continue
        first, second = time_of(item[-2]), time_of(item[-1])
        if first is None or second is None:
            continue
        utc = second if local_is_first(first, second, utc_offset_min, order) else first
        local = first if utc is second else second
        groups = [item[at : at + SHORTEST_ROW] for at in range(0, len(item) - 2, SHORTEST_ROW)]
        values = measured(groups, Layout.BASIC)
        if values.metrics:
            offset_min = round((local - utc).total_seconds() / 60)
            found.append(Sample(values, utc.replace(tzinfo=UTC), offset_min, values.extra))
    return found


def local_is_first(first: datetime, second: datetime, utc_offset_min: int | None, order: TimeOrder) -> bool:
    """Whether the second of two times is UTC, by their distance and the site's offset (4.4).

    The distance is compared with the offset itself, then with the offset an hour off (daylight saving); where
    that fits both ways or none, `order` decides.
    """
    by_default = order == "local_first"
    if utc_offset_min is None:
        return by_default
    apart_min = (first - second).total_seconds() / 60
    for slips in ((0,), (-_DST_MIN, _DST_MIN)):
        fits = any(abs(apart_min - (utc_offset_min + slip)) <= _TOLERANCE_MIN for slip in slips)
        fits_reversed = any(abs(apart_min + (utc_offset_min + slip)) <= _TOLERANCE_MIN for slip in slips)
        if fits != fits_reversed:
            return fits
    return by_default


def balance(data: Json, zone: tzinfo) -> list[Bucket]:
    """`data` of `energyhistory` (4.10), its times taken as local times of the site; an hour that comes twice is first
    the one before the clocks are put back, then the one after. Raises WrongShape."""
    found = []
    told: set[datetime] = set()
    for item in _list(data):
        if not isinstance(item, dict):
            raise WrongShape("expected buckets that are objects")
        start = bucket_of(item.get("time"))
        metrics: dict[str, Value] = {
            name: value for key, name in BALANCE.items() if (value := number(item.get(key))) is not None
        }
        if start is None or not metrics:
            continue
        extra = {key: value for key, value in item.items() if key not in BALANCE and key != "time"}
        if start in told:
            start = start.replace(fold=1)
        told.add(start)
        found.append(Bucket(utc_of(start, zone), metrics, extra))
    return found


def utc_of(local: datetime, zone: tzinfo) -> datetime:
    """A local time without zone as UTC. Raises WrongShape at the ends of the calendar."""
    try:
        return local.replace(tzinfo=zone).astimezone(UTC)
    except (OverflowError, ValueError):
        raise WrongShape("a time is out of range") from None


def _list(data: Json) -> Sequence[Json]:
    if data is None:
        return []
    if not isinstance(data, list):
        raise WrongShape("expected an array as data")
    return data
