"""The effects of the POST end points (page 4). Each changes the fleet at once and names what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from bridge.simulators.saj.fleet import Fleet, Plant, User
from bridge.simulators.saj.wire import BAD_PARAMETER, Refusal

Params = Mapping[str, str]
_HOME = timezone(timedelta(hours=8))


@dataclass(frozen=True, slots=True)
class Done:
    """An effect for the ledger, and the `data` of the answer (`...`: an answer without)."""

    effect: str
    device: str
    detail: str
    data: Any = ...


def write(endpoint: str, params: Params, fleet: Fleet, now: datetime) -> Done:
    """Does what a POST asks. Raises Refusal 10006 where something it names does not exist, or exists already."""
    return _DEEDS[endpoint](params, fleet, now)


def _add_user(params: Params, fleet: Fleet, now: datetime) -> Done:
    if any(user.email == params["user_email"] for user in fleet.users.values()):
        raise Refusal(BAD_PARAMETER, "user_email")
    user = User(fleet.new_id(), params["user_email"], params["user_name"], params["user_tel"], now)
    user.password = params["user_password"]
    fleet.users[user.id] = user
    return Done("user_added", str(user.id), user.email, {"c_user_id": user.id})


def _modify_user(params: Params, fleet: Fleet, _now: datetime) -> Done:
    user = _user(params["c_user_id"], fleet)
    user.name, user.tel = params.get("name", user.name), params.get("mobile", user.tel)
    for name, value in params.items():
        if name.startswith("user_"):
            user.address[name.removeprefix("user_")] = value
    return Done("user_modified", str(user.id), user.name, {})


def _delete_user(params: Params, fleet: Fleet, _now: datetime) -> Done:
    user = _user(params["c_user_id"], fleet)
    del fleet.users[user.id]
    return Done("user_deleted", str(user.id), user.email, {})


def _add_plant(params: Params, fleet: Fleet, now: datetime) -> Done:
    owner = _user(params["c_user_id"], fleet).id if "c_user_id" in params else 0
    born = now.astimezone(_HOME).date()
    plant = Plant(fleet.new_id(), params["name"], owner, params["peak_power"], _HOME, born, dict(params))
    fleet.plants[plant.id] = plant
    return Done("plant_added", str(plant.id), plant.name, {"plant_id": plant.id})


def _add_plant_newer(params: Params, fleet: Fleet, now: datetime) -> Done:
    done = _add_plant(params, fleet, now)
    return Done(done.effect, done.device, done.detail, {})


def _modify_plant(params: Params, fleet: Fleet, _now: datetime) -> Done:
    plant = _plant(params, fleet)
    plant.name, plant.peak_kw = params["name"], params["peak_power"]
    plant.options |= dict(params)
    return Done("plant_modified", str(plant.id), plant.name, {})


def _delete_plant(params: Params, fleet: Fleet, _now: datetime) -> Done:
    plant = _plant(params, fleet)
    del fleet.plants[plant.id]
    return Done("plant_deleted", str(plant.id), plant.name, {})


def _assign_plant(params: Params, fleet: Fleet, _now: datetime) -> Done:
    plant = _plant(params, fleet)
    plant.user_id = _user(params["user_id"], fleet).id
    return Done("plant_assigned", str(plant.id), str(plant.user_id), {})


def _add_logger(params: Params, fleet: Fleet, _now: datetime) -> Done:
    plant = _plant(params, fleet)
    if any(params["sn"] in other.loggers for other in fleet.plants.values()):
        raise Refusal(BAD_PARAMETER, "sn")
    _connect(plant, params["sn"], fleet)
    return Done("datalogger_added", str(plant.id), params["sn"])


def _replace_logger(params: Params, fleet: Fleet, _now: datetime) -> Done:
    plant = _plant(params, fleet)
    if params["original_sn"] not in plant.loggers:
        raise Refusal(BAD_PARAMETER, "original_sn")
    plant.loggers.remove(params["original_sn"])
    plant.loggers.add(params["sn"])
    for inverter in plant.inverters:
        if inverter.logger == params["original_sn"]:
            inverter.logger = params["sn"]
    return Done("datalogger_modified", str(plant.id), f"{params['original_sn']} {params['sn']}")


def _delete_logger(params: Params, fleet: Fleet, _now: datetime) -> Done:
    plant = _plant(params, fleet)
    if params["sn"] not in plant.loggers:
        raise Refusal(BAD_PARAMETER, "sn")
    plant.loggers.remove(params["sn"])
    plant.inverters = [inverter for inverter in plant.inverters if inverter.logger != params["sn"]]
    return Done("datalogger_deleted", str(plant.id), params["sn"])


def _connect(plant: Plant, sn: str, fleet: Fleet) -> None:
    plant.loggers.add(sn)
    spare = fleet.spares.pop(sn, None)
    if spare is not None:
        spare.logger = sn
        plant.inverters.append(spare)


def _user(user_id: str, fleet: Fleet) -> User:
    if int(user_id) not in fleet.users:
        raise Refusal(BAD_PARAMETER, "c_user_id")
    return fleet.users[int(user_id)]


def _plant(params: Params, fleet: Fleet) -> Plant:
    if int(params["plant_id"]) not in fleet.plants:
        raise Refusal(BAD_PARAMETER, "plant_id")
    return fleet.plants[int(params["plant_id"])]


_DEEDS: Mapping[str, Callable[[Params, Fleet, datetime], Done]] = {
    "user/user_register": _add_user,
    "user/modify": _modify_user,
    "user/modifysign": _modify_user,
    "user/delete": _delete_user,
    "plant/add": _add_plant,
    "plant/addsign": _add_plant_newer,
    "plant/modify": _modify_plant,
    "plant/modifysign": _modify_plant,
    "plant/delete": _delete_plant,
    "device/datalogger/add": _add_logger,
    "device/datalogger/addsign": _add_logger,
    "device/datalogger/modify": _replace_logger,
    "device/datalogger/modifysign": _replace_logger,
    "device/datalogger/delete": _delete_logger,
    "device/datalogger/addPlantUser": _assign_plant,
}
