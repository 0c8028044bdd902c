"""What the cloud answers to each endpoint (page section 4), from what its meters measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from bridge.simulators.iammeter.cloud import IammeterCloud, Site
from bridge.simulators.iammeter.meter import Meter
from bridge.simulators.iammeter.wire import (
    MOST_RECORDS,
    Ask,
    Refusal,
    advanced_row,
    basic_row,
    days_of,
    time_text,
    whole,
)

Json = Any

_EPOCH = date(1970, 1, 1)
_DAY_MIN = 1440
_DAYTIME = range(8 * 60, 20 * 60)

_SPELLINGS = {
    "documented": ("average", "averageDaytime", "min", "max"),
    "short": ("avg", "avgDaytime", "minimum", "maximum"),
}


def answer(cloud: IammeterCloud, ask: Ask) -> Json:
    """`data` of a good answer. Raises Refusal."""
    if ask.endpoint == "sitelist":
        return _sites(cloud)
    if ask.endpoint == "metersdata":
        return [_everyones(meter, cloud.time.now()) for meter in cloud.meters.values()]
    if ask.endpoint == "energyhistory":
        site = cloud.site(ask.key)
        if site is None:
            raise Refusal("Site not found.")
        return _balance(site, ask, cloud.time.now())
    meter = cloud.meters.get(ask.key)
    if meter is None:
        raise Refusal("Invalid SN.")
    kinds: Mapping[str, Callable[[], Json]] = {
        "meterdata": lambda: _latest(meter, cloud.time.now(), advanced=False),
        "meterdata2": lambda: _latest(meter, cloud.time.now(), advanced=True),
        "meterdatalist": lambda: _history(meter, ask, cloud.time.now(), advanced=False),
        "meterdatalist2": lambda: _history(meter, ask, cloud.time.now(), advanced=True),
        "poweranalysis": lambda: _power(meter, ask, cloud.time.now(), cloud.spelling),
        "offlineanalysis": lambda: _gaps(meter, ask, cloud.time.now()),
    }
    return kinds[ask.endpoint]()


def _sites(cloud: IammeterCloud) -> Json:
    return [
        {
            "id": site.id,
            "name": site.name,
            "meters": [{"name": meter.name, "sn": meter.sn} for meter in site.meters],
        }
        for site in cloud.sites
    ]


def _rows(meter: Meter, minute: int, *, advanced: bool) -> list[list[Json]]:
    row = advanced_row if advanced else basic_row
    return [row(values, meter.options) for values in meter.values(minute)]


def _times(meter: Meter, minute: int, local_key: str) -> dict[str, Json]:
    if meter.options.no_time:
        return {local_key: None, "gmtTime": None}
    at = meter.uploaded_s(minute)
    return {local_key: time_text(at, meter.offset_min), "gmtTime": time_text(at)}


def _latest(meter: Meter, now_s: float, *, advanced: bool) -> Json:
    minute = meter.latest(now_s)
    if minute is None:
        return {"values": [], "localTime": None, "gmtTime": None}
    return {"values": _rows(meter, minute, advanced=advanced), **_times(meter, minute, "localTime")}


def _everyones(meter: Meter, now_s: float) -> Json:
    minute = meter.latest(now_s)
    if minute is None:
        return {"sn": meter.sn, "values": None, "gmtTime": None}
    rows: list[Json] = _rows(meter, minute, advanced=False)
    values = rows[0] if meter.options.flat and len(rows) == 1 else rows
    return {"sn": meter.sn, "values": values, "gmtTime": _times(meter, minute, "localTime")["gmtTime"]}


def _history(meter: Meter, ask: Ask, now_s: float, *, advanced: bool) -> Json:
    interval_s = whole(ask, "interval")
    if interval_s % 60:
        raise Refusal("Invalid interval.")
    days = days_of(ask, today=_today(meter.offset_min, now_s), longest=31, needed=True)
    minutes = list(_sampled(meter, days, interval_s // 60, now_s))
    if len(minutes) > MOST_RECORDS:
        raise Refusal("More than 2000 records.")
    if advanced:
        return [
            {**_times(meter, minute, "rtcTime"), "values": _rows(meter, minute, advanced=True)}
            for minute in minutes
        ]
    return [_flat(meter, minute) for minute in minutes]


def _flat(meter: Meter, minute: int) -> list[Json]:
    """Groups of five and two times, the local one first, as in the page's examples (4.4)."""
    groups = [row[:5] for row in _rows(meter, minute, advanced=False)[:3]]
    times = _times(meter, minute, "localTime")
    return [*(value for group in groups for value in group), times["localTime"], times["gmtTime"]]


def _sampled(meter: Meter, days: tuple[date, date], step_min: int, now_s: float) -> Iterator[int]:
    """The first sample of every interval of these days."""
    first, last = _minutes(days, meter.offset_min)
    for start in range(first, min(last, int(now_s // 60) + 1), step_min):
        inside = range(start, min(start + step_min, last))
        found = next((minute for minute in inside if meter.has_sample(minute, now_s)), None)
        if found is not None:
            yield found


def _power(meter: Meter, ask: Ask, now_s: float, spelling: str) -> Json:
    days = days_of(ask, today=_today(meter.offset_min, now_s), longest=7, needed=False)
    first, last = _minutes(days, meter.offset_min)
    seen = {
        minute: meter.watts(minute)
        for minute in range(first, min(last, int(now_s // 60) + 1))
        if meter.has_sample(minute, now_s)
    }
    lit = [watts for minute, watts in seen.items() if (minute + meter.offset_min) % _DAY_MIN in _DAYTIME]
    found = (
        _mean(list(seen.values())),
        _mean(lit),
        min(seen.values(), default=0),
        max(seen.values(), default=0),
    )
    return {**_echo(days), **dict(zip(_SPELLINGS[spelling], found, strict=True))}


def _gaps(meter: Meter, ask: Ask, now_s: float) -> Json:
    longer_than_min = whole(ask, "interval", 5)
    days = days_of(ask, today=_today(meter.offset_min, now_s), longest=7, needed=False)
    first, last = _minutes(days, meter.offset_min)
    end_s = min(last * 60.0, now_s)
    missing = sum(not meter.has_sample(minute, now_s) for minute in range(first, int(end_s // 60)))
    gaps = []
    for start, end in meter.outages:
        since, until = max(start, first * 60.0), min(end if end is not None else end_s, end_s)
        if until - since > longer_than_min * 60:
            gaps.append(
                {
                    "startTime": time_text(since, meter.offset_min),
                    "endTime": time_text(until, meter.offset_min),
                    "duration": int((until - since) // 60),
                }
            )
    return {**_echo(days), "offlineCount": missing, "totalCount": last - first, "list": gaps}


def _balance(site: Site, ask: Ask, now_s: float) -> Json:
    grouping = ask.query.get("groupby", "hour")
    longest = {"hour": 7, "day": 90, "month": 366, "year": 3660}.get(grouping)
    if longest is None:
        raise Refusal("Invalid groupby.")
    today = _today(site.offset_min, now_s)
    days = days_of(ask, today=today, longest=longest, needed=True, month=False)
    first, last = _minutes(days, site.offset_min)
    buckets: dict[str, list[float]] = {}
    grid = [meter for meter in site.meters if any(phase.role == "house" for phase in meter.phases)]
    form = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}[grouping]
    for minute in range(first, min(last, int(now_s // 60))):
        local = datetime.fromtimestamp((minute + site.offset_min) * 60, UTC)
        sums = buckets.setdefault(local.strftime(form), [0.0, 0.0, 0.0])
        watts = sum(meter.watts(minute) for meter in grid)
        sums[0] += sum(meter.generated_w(minute) for meter in grid) / 60_000
        sums[1] += max(0.0, watts) / 60_000
        sums[2] += max(0.0, -watts) / 60_000
    return [
        {
            "time": time,
            "yield": round(made, 3),
            "fromGrid": round(bought, 3),
            "toGrid": round(sold, 3),
            "specialLoad": 0,
            "selfUse": round(made - sold, 3),
        }
        for time, (made, bought, sold) in buckets.items()
    ]


def _today(offset_min: int, now_s: float) -> date:
    return (datetime.fromtimestamp(now_s, UTC) + timedelta(minutes=offset_min)).date()


def _minutes(days: tuple[date, date], offset_min: int) -> tuple[int, int]:
    """First minute of the first local day, and the one after the last."""
    first, last = ((day - _EPOCH).days * _DAY_MIN - offset_min for day in days)
    return first, last + _DAY_MIN


def _echo(days: tuple[date, date]) -> dict[str, Json]:
    return {"startTime": days[0].isoformat(), "endTime": days[1].isoformat()}


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 1) if values else 0
