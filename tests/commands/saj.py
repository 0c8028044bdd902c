"""saj: page 4.2 to 4.33, 7.5; METRICS 4.1 and 4.3."""

from __future__ import annotations

from typing import Any

from bridge.simulators.saj.fleet import demo_fleet
from tests.commands.rows import AGAIN, FAILED, NOBODY_KNOWS, READ_ACKS, Row
from tests.commands.stage import Sent

PLANT, OWNER, OTHER = 10000001, 300000001, 300000002
INVERTER = "INVTEST00101"
USER = {
    "user_email": "new@example.com", "user_password": "FAKE0000", "user_name": "New One", "user_tel": "0100",
}  # fmt: skip
CONFIRMED = {"confirm": True}
KEPT = f"plant_id={PLANT}&longitude=113.0&latitude=23.0&postal=000000&currency=1"
"""What is filled in from the master data (4.5)."""


def _get(path: str) -> tuple[Sent, ...]:
    return ((f"GET {path}", None),)


def _post(path: str, form: str) -> Sent:
    return (f"POST {path}", form)


def _details(plant: int = PLANT) -> tuple[Sent, ...]:
    return _get(f"/plant/details?plant_id={plant}&locale=en-US")


def _devices(plant: int = PLANT) -> tuple[Sent, ...]:
    return _get(f"/device/list?plant_id={plant}&page=1&perpage=100")


def spare(cloud: Any) -> None:
    """A data logger with an inverter: it shows in 4.11 once it is added."""
    inverter = demo_fleet(cloud.time.now(), plants=2).plants[10_000_002].inverters[0]
    cloud.fleet.spares["L-1"] = inverter


def _second_owner(cloud: Any) -> None:
    cloud.fleet.users[OTHER] = demo_fleet(cloud.time.now(), plants=2).users[OTHER]


def _write(
    command: str,
    params: dict[str, Any],
    path: str,
    form: str,
    effect: str,
    before: tuple[Sent, ...] = (),
    **more: Any,
) -> Row:
    given = {"requests": (*before, _post(path, form)), "words": f"POST {path} ", "fault": path[1:], **more}
    return Row(command, params, None, effects=(effect,), **given)


ROWS = (
    Row("read", {}, str(PLANT), _get(f"/plant/data?plant_id={PLANT}"), "/plant/data", "plant/data",
        acted=AGAIN, result={"kind": "solar_plant"}),
    Row("read", {}, INVERTER, _get("/device/inverter/datasigns?device_id=100010101&end_date=2024-01-01"),
        "/datasigns", "device/inverter/datasigns", acted=AGAIN, result={"kind": "inverter"}),
    Row("refresh_inventory", {}, None,
        (*_get("/plant/list?page=1&perpage=100&locale=en-US"), *_details(), *_devices()),
        "/plant/list", "plant/list", acted=AGAIN, result={"devices": 3},
        acks=READ_ACKS),
    _write("add_user", USER, "/user/user_register",
           "user_email=new%40example.com&user_password=FAKE0000&user_type=1&user_name=New%20One&user_tel=0100",
           "user_added", idle=FAILED, result={"c_user_id": 900001}),
    _write("modify_user", {"c_user_id": OWNER, "name": "N", "mobile": "02"}, "/user/modify",
           f"c_user_id={OWNER}&name=N&mobile=02", "user_modified"),
    _write("modify_user", {"c_user_id": OWNER, "user_City": "A B", "user_Country": "C"}, "/user/modifysign",
           f"c_user_id={OWNER}&user_Country=C&user_City=A%20B", "user_modified"),
    _write("delete_user", {"c_user_id": OWNER}, "/user/delete", f"c_user_id={OWNER}", "user_deleted",
           idle=FAILED, reserved=CONFIRMED),
    _write("add_plant", {"c_user_id": OWNER, "name": "Barn", "peak_power": 5.5}, "/plant/add",
           f"c_user_id={OWNER}&name=Barn&peak_power=5.5&is_public=false", "plant_added",
           _get("/plant/list?page=1&perpage=100&search_type=name&search_keyword=Barn&locale=en-US"), idle=FAILED,
           result={"plant_id": 900001}),
    _write("modify_plant", {"plant_id": PLANT, "name": "Barn", "peak_power": 6}, "/plant/modify",
           f"{KEPT}&name=Barn&peak_power=6&is_public=false", "plant_modified", _details()),
    _write("modify_plant", {"plant_id": PLANT, "name": "Barn", "peak_power": 6, "Country": "C", "City": "D"},
           "/plant/modifysign",
           f"{KEPT}&name=Barn&peak_power=6&is_public=false&Country=C&City=D",
           "plant_modified", _details()),
    _write("delete_plant", {"plant_id": PLANT}, "/plant/delete", f"plant_id={PLANT}", "plant_deleted",
           idle=FAILED, reserved=CONFIRMED),
    _write("assign_plant", {"plant_id": PLANT, "user_id": OTHER}, "/device/datalogger/addPlantUser",
           f"plant_id={PLANT}&user_id={OTHER}", "plant_assigned",
           prepare=_second_owner),
    _write("add_datalogger", {"plant_id": PLANT, "sn": "L-1"}, "/device/datalogger/add",
           f"plant_id={PLANT}&sn=L-1", "datalogger_added", idle=NOBODY_KNOWS, prepare=spare),
    _write("add_datalogger", {"plant_id": PLANT, "sn": "L-2"}, "/device/datalogger/add",
           f"plant_id={PLANT}&sn=L-2", "datalogger_added", acted=NOBODY_KNOWS, idle=NOBODY_KNOWS),
    _write("modify_datalogger", {"plant_id": PLANT, "original_sn": "601000101", "sn": "L-3"},
           "/device/datalogger/modify", f"plant_id={PLANT}&original_sn=601000101&sn=L-3", "datalogger_modified",
           idle=NOBODY_KNOWS),
    _write("delete_datalogger", {"plant_id": PLANT, "sn": "601000101"}, "/device/datalogger/delete",
           f"plant_id={PLANT}&sn=601000101", "datalogger_deleted", _devices(), idle=FAILED, reserved=CONFIRMED),
)  # fmt: skip
