"""The records inside the answers of the simulated SAJ cloud (page 4). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

from bridge.simulators.saj import sun
from bridge.simulators.saj.fleet import Alarm, Inverter, Plant, Sample, User
from bridge.simulators.saj.wire import BAD_PARAMETER, Refusal


def latest_answer(plant: Plant, inverter: Inverter, sample: Sample | None) -> dict[str, Any]:
    datas = [] if sample is None else [record(plant, inverter, sample, plant.zone, periods=True)]
    return {
        "count": len(datas),
        "datalogger_sn": inverter.logger,
        "next_page_start_id": 0,
        "sn": inverter.sn,
        "datas": datas,
    }


def record(
    plant: Plant, inverter: Inverter, sample: Sample, zone: timezone, *, periods: bool
) -> dict[str, Any]:
    """One record. `periods`: with month and year, which only the latest data carry."""
    share = sample.watts / inverter.peak_w
    volts = round(229.0 + 3.0 * share, 1)
    phases, strings = inverter.phases, inverter.strings
    per_string_w = sample.watts / 0.97 / strings
    string_v = round(90.0 + 250.0 * min(1.0, share * 4), 1)
    row: dict[str, Any] = {}
    for index in (1, 2, 3):
        row[f"ipv{index}"] = round(per_string_w / string_v, 2) if index <= strings else 0
    for index in (1, 2, 3):
        row[f"vpv{index}"] = string_v if index <= strings else 0
    for index in (1, 2, 3):
        row[f"iac{index}"] = round(sample.watts / phases / volts, 2) if index <= phases else 0
    for index in (1, 2, 3):
        row[f"vac{index}"] = volts if index <= phases else 0
    units = plant.units(inverter, sample)
    row["power"] = sample.watts
    row["today_energy"] = sun.kwh(units["today"])
    if periods:
        row["month_energy"], row["year_energy"] = sun.kwh(units["month"]), sun.kwh(units["year"])
    row["total_energy"] = sun.kwh(units["total"])
    row["temperature"] = round(22.0 + 30.0 * share, 1)
    row["fac"] = round(49.95 + 0.1 * (sample.step % 7) / 7, 2)
    row["power_factor"] = 1 if sample.watts else 0
    row["time"] = (
        utc_text(sample.at) if zone is UTC else sample.at.astimezone(zone).isoformat(timespec="seconds")
    )
    return row


def samples_of_utc_days(
    plant: Plant, inverter: Inverter, first: date, last: date, now: datetime
) -> list[Sample]:
    start = datetime.combine(first, time(), UTC)
    end = datetime.combine(last + timedelta(days=1), time(), UTC)
    day = max(start.astimezone(plant.zone).date(), plant.born)
    found: list[Sample] = []
    while day <= end.astimezone(plant.zone).date():
        found += [one for one in inverter.samples(day, plant.zone, now) if start <= one.at < end]
        day += timedelta(days=1)
    return found


def span(params: Mapping[str, str], most_days: int) -> tuple[date, date]:
    start, end = date.fromisoformat(params["start_date"]), date.fromisoformat(params["end_date"])
    if not timedelta(0) <= end - start <= timedelta(days=most_days):
        raise Refusal(BAD_PARAMETER, "end_date")
    return start, end


def alarm_row(alarm: Alarm) -> dict[str, Any]:
    return {
        "alarm_code": alarm.code,
        "alarm_message": alarm.message,
        "start_time": utc_text(alarm.started_at),
        "end_time": None if alarm.ended_at is None else utc_text(alarm.ended_at),
        "status": int(alarm.handled),
    }


def whole_user(user: User) -> dict[str, Any]:
    address = {
        f"c_user_{name}": user.address.get(name, "")
        for name in ("Country", "City", "Address", "Postcode", "Fax")
    }
    return {
        "c_user_id": str(user.id),
        "c_user_email": user.email,
        "c_user_name": user.name,
        "c_user_Phone": user.tel,
        **address,
        "c_user_regtime": user.registered_at.isoformat(timespec="seconds"),
    }


def utc_text(at: datetime) -> str:
    """`2015-12-08T11:00:00Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def offset_text(zone: timezone) -> str:
    """`+08:00`."""
    minutes = int((zone.utcoffset(None) or timedelta()).total_seconds() // 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
