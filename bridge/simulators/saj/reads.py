"""The answers of the GET end points (page 4). Pure but for the clock's time that is passed in.

Names, types and oddities are the page's: `count` is text in alarm lists, user ids are text, history is in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from bridge.simulators.saj import sun
from bridge.simulators.saj.fleet import Fleet, Inverter, Plant
from bridge.simulators.saj.rows import (
    alarm_row,
    latest_answer,
    offset_text,
    record,
    samples_of_utc_days,
    span,
    utc_text,
    whole_user,
)
from bridge.simulators.saj.wire import BAD_PARAMETER, Refusal

Params = Mapping[str, str]
_CO2_T_PER_KWH = 0.000997
_ENERGY_DAYS = 3700


class Reads:
    """Answers for a fleet at a time. `shape` holds the cloud's options that change answers."""

    def __init__(self, fleet: Fleet, now: datetime, shape: Any) -> None:
        self._fleet = fleet
        self._now = now
        self._shape = shape
        self._answers: Mapping[str, Callable[[Params], Any]] = {
            "user/c_user_list": lambda params: self._paged("c_user", self._users(), params),
            "user/sigleuser": self._user,
            "user/c_user_listsign": lambda params: self._paged("c_user", self._plants(params, True), params),
            "plant/list": lambda params: self._paged("plants", self._plants(params, False), params),
            "plant/listsign": lambda params: self._paged("c_user", self._plants(params, True), params),
            "plant/details": self._details,
            "plant/data": self._overview,
            "plant/energy": self._energy,
            "plant/power": self._power,
            "device/list": self._devices,
            "device/listsign": self._devices,
            "device/inverter/data": self._history,
            "device/inverter/datasigns": self._latest,
            "device/inverter/plantsdata": self._plantsdata,
            "device/inverter/alarm": self._alarms,
            "device/inverter/alarmsign": self._alarms,
            "device/inverter/eventsign": self._alarms,
        }

    def data(self, endpoint: str, params: Params) -> Any:
        """The `data` of the answer. Raises Refusal."""
        return self._answers[endpoint](params)

    def _paged(self, name: str, rows: Sequence[Any], params: Params, per_page: int = 20) -> dict[str, Any]:
        page, size = int(params.get("page", "1")), int(params.get("perpage", str(per_page)))
        return {"count": len(rows), name: list(rows[(page - 1) * size : page * size])}

    def _plant(self, params: Params) -> Plant:
        plant = self._fleet.plants.get(int(params["plant_id"]))
        if plant is None:
            raise Refusal(BAD_PARAMETER, "plant_id")
        return plant

    def _inverter(self, params: Params) -> tuple[Plant, Inverter]:
        found = self._fleet.inverter(int(params["device_id"]))
        if found is None:
            raise Refusal(BAD_PARAMETER, "device_id")
        return found

    def _users(self) -> list[dict[str, Any]]:
        return [
            {
                "c_user_email": user.email,
                "c_user_id": str(user.id),
                "c_user_name": user.name,
                "c_user_regtime": user.registered_at.date().isoformat(),
                "c_user_tel": user.tel,
            }
            for user in self._fleet.users.values()
        ]

    def _user(self, params: Params) -> dict[str, Any]:
        user = self._fleet.users.get(int(params["c_user_id"]))
        return {"count": int(user is not None), "c_user": [] if user is None else [whole_user(user)]}

    def _plants(self, params: Params, newer: bool) -> list[dict[str, Any]]:
        word = params.get("search_keyword", "").lower()
        found = [plant for plant in self._fleet.plants.values() if word in plant.name.lower()]
        return [self._plant_row(plant, params.get("locale"), newer) for plant in found]

    def _plant_row(self, plant: Plant, locale: str | None, newer: bool) -> dict[str, Any]:
        row = {
            "locale": None if newer else locale or "en-US",
            "plant_id": plant.id,
            "name": plant.name,
            "user_id": plant.user_id,
            "status": plant.status_at(self._now),
            "country": plant.options.get("Country", "China"),
            "city": plant.options.get("City", "Guangzhou"),
            "longitude": plant.options.get("longitude"),
            "latitude": plant.options.get("latitude"),
            "peak_power": float(plant.peak_kw),
            "create_date": plant.born.isoformat(),
            "image_url": "",
            "operator_": None,
            "installer": None,
            "current_power": plant.watts(self._now) / 1000,
            "total_energy": sun.kwh(self._plant_units(plant)["total"]),
        }
        more = {"Address": None, "ExchangeRateForCo2": 0, "InstallerName": None, "Currency": "RMB"}
        return {**row, **more} if newer else row

    def _plant_units(self, plant: Plant) -> dict[str, int]:
        sums = dict.fromkeys(("today", "month", "year", "total"), 0)
        today = self._now.astimezone(plant.zone).date()
        for inverter in plant.inverters:
            sample = plant.latest(inverter, self._now)
            if sample is None:
                continue
            units = plant.units(inverter, sample)
            same = {
                "today": sample.day == today,
                "month": (sample.day.year, sample.day.month) == (today.year, today.month),
                "year": sample.day.year == today.year,
                "total": True,
            }
            for name, value in units.items():
                sums[name] += value if same[name] else 0
        return sums

    def _details(self, params: Params) -> dict[str, Any]:
        plant = self._plant(params)
        return {
            "locale": params.get("locale", "en-US"),
            "name": plant.name,
            "user_id": plant.user_id,
            "description": "",
            "notes": "",
            "status": plant.status_at(self._now),
            "country": plant.options.get("Country", "China"),
            "state": "",
            "city": plant.options.get("City", "Guangzhou"),
            "address1": "1 Example Road",
            "address2": "",
            "longitude": plant.options.get("longitude", "113.0"),
            "latitude": plant.options.get("latitude", "23.0"),
            "postal": plant.options.get("postal", "000000"),
            "elevation": None,
            "plant_type": 1,
            "grid_type": 1,
            "installed_dc_capacity": float(plant.peak_kw),
            "installed_ac_capacity": round(float(plant.peak_kw) * 0.9, 2),
            "installed_panel_area": round(float(plant.peak_kw) * 6.5, 1),
            "create_date": plant.born.isoformat(),
            "image_url": "",
            "peak_power": float(plant.peak_kw),
            "currency": "RMB",
            "timezone": offset_text(plant.zone),
            "ownerorganization": "Demo Owner",
            "ownercontact": "0000000000",
            "tracker_type": 1,
            "arrays": [{"num_modules": 10, "module_man": ""}],
            "inverters": [
                {"inverter_man": "SAJ", "inverter_md": "", "inverter_num": len(plant.inverters)},
            ],
        }

    def _overview(self, params: Params) -> dict[str, Any]:
        plant = self._plant(params)
        units = self._plant_units(plant)
        found = [plant.latest(inverter, self._now) for inverter in plant.inverters]
        newest = max((sample.at for sample in found if sample is not None), default=None)
        return {
            "peak_power_actual": float(plant.peak_kw),
            "efficiency": round(sun.kwh(units["today"]) / float(plant.peak_kw), 2),
            "last_update_time": None if newest is None else utc_text(newest),
            "current_power": plant.watts(self._now) / 1000,
            "today_energy": sun.kwh(units["today"]),
            "monthly_energy": sun.kwh(units["month"]),
            "yearly_energy": sun.kwh(units["year"]),
            "total_energy": sun.kwh(units["total"]),
            "carbon_offset": round(sun.kwh(units["total"]) * _CO2_T_PER_KWH, 3),
            "timezone": offset_text(plant.zone),
        }

    def _energy(self, params: Params) -> dict[str, Any]:
        plant = self._plant(params)
        start, end = span(params, _ENERGY_DAYS)
        unit = params.get("time_unit", "day")
        length = {"day": 10, "month": 7, "year": 4}[unit]
        sums: dict[str, int] = {}
        day = max(start, plant.born)
        while day <= min(end, self._now.astimezone(plant.zone).date()):
            bucket = day.isoformat()[:length]
            sums[bucket] = sums.get(bucket, 0) + plant.day_units(day, self._now)
            day += timedelta(days=1)
        rows = [{"date": bucket, "energy": sun.kwh(units)} for bucket, units in sums.items()]
        page = self._paged("energys", rows, params)
        return {"count": page["count"], "time_unit": unit, "energys": page["energys"]}

    def _power(self, params: Params) -> dict[str, Any]:
        plant = self._plant(params)
        day = date.fromisoformat(params["date"])
        sums: dict[datetime, int] = {}
        for inverter in plant.inverters:
            for sample in samples_of_utc_days(plant, inverter, day, day, self._now):
                sums[sample.at] = sums.get(sample.at, 0) + sample.watts
        rows = [{"time": utc_text(at), "power": watts} for at, watts in sorted(sums.items())]
        return {"count": len(rows), "powers": rows}

    def _devices(self, params: Params) -> dict[str, Any]:
        plant = self._plant(params)
        return self._paged("devices", [self._device(plant, one) for one in plant.inverters], params)

    def _device(self, plant: Plant, inverter: Inverter) -> dict[str, Any]:
        sample = plant.latest(inverter, self._now)
        units = None if sample is None else plant.units(inverter, sample)
        return {
            "device_id": inverter.device_id,
            "datalogger_sn": inverter.logger,
            "device_sn": inverter.sn,
            "type": 1,
            "manufacturer": "SAJ",
            "model": "",
            "last_update_time": None if sample is None else utc_text(sample.at),
            "SysPower": f"{inverter.peak_w / 1000:.1f}",
            "ETotal": None if units is None else f"{sun.kwh(units['total']):.2f}",
            "DType": "1",
        }

    def _history(self, params: Params) -> dict[str, Any]:
        plant, inverter = self._inverter(params)
        start, end = span(params, 7)
        samples = samples_of_utc_days(plant, inverter, start, end, self._now)
        cursor = params.get("start_id")
        first = 0
        if cursor is not None:
            head, _, number = cursor.partition("_")
            if head != str(inverter.device_id) or not number.isdigit():
                raise Refusal(BAD_PARAMETER, "start_id")
            first = int(number)
        size = int(params.get("perpage", "20"))
        page = samples[first : first + size]
        following: str | int = f"{inverter.device_id}_{first + len(page)}"
        if first + size >= len(samples):
            following = {"repeat": cursor or 0, "zero": 0, "empty": ""}[self._shape.cursor_end]
        return {
            "datalogger_sn": inverter.logger,
            "sn": inverter.sn,
            "next_page_start_id": following,
            "datas": [record(plant, inverter, sample, UTC, periods=False) for sample in page],
        }

    def _latest(self, params: Params) -> dict[str, Any]:
        plant, inverter = self._inverter(params)
        upto = date.fromisoformat(params["end_date"])
        sample = plant.latest(inverter, self._now, upto)
        if sample is not None and self._shape.latest == "day" and sample.day != upto:
            sample = None
        return latest_answer(plant, inverter, sample)

    def _plantsdata(self, params: Params) -> dict[str, Any]:
        ids = [int(plant_id) for plant_id in params["plant_ids"].split(",")]
        plants = [
            plant for plant_id in ids if (plant := self._fleet.plants.get(plant_id)) and plant.inverters
        ]
        if not plants:
            raise Refusal(BAD_PARAMETER, "plant_ids")
        plant, inverter = plants[0], plants[0].inverters[0]
        upto = date.fromisoformat(params["end_date"])
        return latest_answer(plant, inverter, plant.latest(inverter, self._now, upto))

    def _alarms(self, params: Params) -> dict[str, Any]:
        _plant, inverter = self._inverter(params)
        newest_first = self._shape.alarm_order == "newest_first"
        found = sorted(inverter.alarms, key=lambda alarm: alarm.started_at, reverse=newest_first)
        page = self._paged("alarms", [alarm_row(alarm) for alarm in found], params)
        return {"count": str(page["count"]), "sn": inverter.sn, "alarms": page["alarms"]}
