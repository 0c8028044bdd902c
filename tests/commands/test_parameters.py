"""Parameters that are missing, unknown, of another kind or out of range: rejected with the place, nothing is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.commands import iammeter, jrhsz, saj, wmj
from tests.commands.stage import Stage

ALARM = {"threshold": 10, "trip": True}
LOAD = wmj.LOAD
USER = saj.USER
PLANT = {"c_user_id": saj.OWNER, "name": "Barn", "peak_power": 5.5}
HOUR = {"start": "2024-01-01T10:00:00Z", "end": "2024-01-01T11:00:00Z"}
BAD, NOT_CONFIRMED = "invalid_params", "confirm_required"

# vendor, device, command, payload, code, what the message names
MISTAKES: list[tuple[str, str | None, str, Any, str, tuple[str, ...]]] = [
    ("wmj", wmj.WIFI, "breaker", {}, BAD, ("state",)),
    ("wmj", wmj.WIFI, "breaker", {"state": "ON"}, BAD, ("state", "on", "off")),
    ("wmj", wmj.WIFI, "breaker", {"state": True}, BAD, ("state",)),
    ("wmj", wmj.WIFI, "breaker", {"state": None}, BAD, ("state",)),
    ("wmj", wmj.WIFI, "breaker", "maybe", BAD, ("state",)),
    ("wmj", wmj.WIFI, "valve", {"state": "open"}, "unknown_command", ("valve", "breaker")),
    ("wmj", wmj.WIFI, "pulse_on", {}, BAD, ("delay_s",)),
    *(
        ("wmj", wmj.WIFI, command, {"delay_s": value}, BAD, ("delay_s", expected))
        for command in ("pulse_on", "pulse_off")
        for value, expected in ((0, "1"), (901, "900"), (1.5, ""), ("5", ""), (True, ""), (-3, "1"))
    ),
    ("wmj", wmj.WIFI, "set_protection", {}, BAD, ("leakage_current_ma", "undervoltage_v")),
    *(
        ("wmj", wmj.WIFI, "set_protection", {name: value}, BAD, (name, expected))
        for name, low, high in (
            ("leakage_current_ma", 5, 1000), ("overcurrent_a", 1, 125), ("overheat_c", 20, 150),
            ("overvoltage_v", 100, 500), ("undervoltage_v", 50, 400),
        )
        for value, expected in ((low - 1, str(low)), (high + 1, str(high)), (low + 0.5, ""))
    ),
    ("wmj", wmj.WIFI, "set_alarms", {}, BAD, ("overload_kw", "overcurrent_a")),
    ("wmj", wmj.WIFI, "set_alarms", {"overload_kw": ALARM}, BAD, ("leakage_current_ma",)),
    ("wmj", wmj.WIFI, "set_alarms", {**LOAD, "overcurrent_a": ALARM}, BAD, ("complete group",)),
    ("wmj", wmj.WIFI, "set_alarms", {**LOAD, "overload_kw": {"threshold": 101, "trip": True}}, BAD,
     ("overload_kw", "threshold", "100")),
    ("wmj", wmj.WIFI, "set_alarms", {**LOAD, "overload_kw": {"threshold": 8}}, BAD, ("overload_kw", "trip")),
    ("wmj", wmj.WIFI, "set_alarms", {**LOAD, "overload_kw": {"threshold": 8, "trip": "no"}}, BAD,
     ("overload_kw", "trip")),
    ("wmj", wmj.WIFI, "set_alarms", {**LOAD, "overload_kw": {"threshold": 8, "trip": False}}, NOT_CONFIRMED,
     ("overload", "confirm")),
    ("wmj", wmj.WIFI, "hex_frame", {"hex": "55A"}, BAD, ("hex",)),
    ("wmj", wmj.WIFI, "hex_frame", {"hex": "ZZ"}, BAD, ("hex",)),
    ("wmj", wmj.WIFI, "hex_frame", {"hex": "55AA00060014120000100101003F030100FA040100960800001E32"}, "bad_frame",
     ("checksum",)),
    ("wmj", wmj.WIFI, "hex_frame", {"hex": "55AA000600051001000101"}, "bad_frame", ()),
    ("wmj", wmj.WIFI, "hex_frame", {"hex": "AA55000600051001000101 1D"}, "bad_frame", ("header",)),
    ("wmj", wmj.WIFI, "hex_frame", {"hex": "55AA000600101100000C0300000D0400001E05000050B9"}, NOT_CONFIRMED,
     ("overload", "leakage_current", "overheat")),
    ("wmj", wmj.WIFI, "hex_frame", {"hex": "55AA0006000513010001011F", "fix_checksum": True}, NOT_CONFIRMED,
     ("0x13",)),
    ("wmj", wmj.WIFI, "retain_state", {"enabled": 1}, BAD, ("enabled",)),
    ("wmj", None, "register", {}, BAD, ("device_sn",)),
    ("wmj", None, "register", {"device_sn": "X7100000001"}, BAD, ("device_sn", "W7")),
    ("wmj", None, "breaker", {"state": "on"}, "unknown_command", ("breaker",)),
    ("wmj", "W7100009999", "breaker", {"state": "on"}, "unknown_device", ("W7100009999",)),
    ("jrhsz", jrhsz.POWER, "breaker", {"state": "open"}, BAD, ("state", "on", "off")),
    ("jrhsz", jrhsz.POWER, "valve", {"state": "open"}, "unknown_command", ("valve",)),
    ("jrhsz", jrhsz.WATER, "breaker", {"state": "off"}, "unknown_command", ("breaker",)),
    ("jrhsz", jrhsz.WATER, "valve", {"state": "closed"}, BAD, ("state", "open", "close")),
    ("jrhsz", jrhsz.WATER, "valve", {}, BAD, ("state",)),
    ("jrhsz", jrhsz.POWER, "read", {"state": "on"}, BAD, ("state",)),
    ("jrhsz", jrhsz.POWER, "history", {"start": HOUR["end"], "end": HOUR["start"]}, BAD, ("end",)),
    ("jrhsz", jrhsz.POWER, "history", {"start": HOUR["start"]}, BAD, ("end",)),
    ("jrhsz", jrhsz.POWER, "history", {"start": "0001-01-01", "end": HOUR["end"]}, BAD, ("start: expected",)),
    ("iammeter", iammeter.METER, "power_analysis", {"start": "2023-12-20", "end": "2023-12-30"}, BAD, ("7 days",)),
    ("iammeter", iammeter.METER, "power_analysis", {"start": "2023-11-01", "end": "2023-11-02"}, BAD, ("month",)),
    ("iammeter", iammeter.METER, "power_analysis", {"start": "2023-12-30", "end": "2023-12-29"}, BAD, ("end",)),
    ("iammeter", iammeter.METER, "power_analysis", {"start": "2024-01-05", "end": "2024-01-06"}, BAD, ("end",)),
    ("iammeter", iammeter.METER, "power_analysis", {"start": "yesterday"}, BAD, ("start",)),
    ("iammeter", iammeter.METER, "offline_analysis", {"interval_min": 0}, BAD, ("interval_min", "1")),
    ("iammeter", iammeter.METER, "offline_analysis", {"interval_min": "5"}, BAD, ("interval_min",)),
    ("iammeter", iammeter.METER, "history", {**HOUR, "interval_s": 61}, BAD, ("interval_s", "60")),
    ("iammeter", iammeter.METER, "history", {**HOUR, "interval_s": 86460}, BAD, ("interval_s", "86400")),
    ("iammeter", iammeter.METER, "history", {}, BAD, ("start", "end")),
    ("iammeter", iammeter.METER, "history", {**HOUR, "end": "9999-12-31"}, BAD, ("end: expected",)),
    ("iammeter", iammeter.METER, "breaker", {"state": "on"}, "unknown_command", ("breaker",)),
    ("saj", None, "add_user", {**USER, "user_email": "x"}, BAD, ("user_email",)),
    ("saj", None, "add_user", {**USER, "user_password": ""}, BAD, ("user_password",)),
    ("saj", None, "add_user", {**USER, "user_password": 123456}, BAD, ("user_password",)),
    ("saj", None, "add_user", {**USER, "user_type": "1"}, BAD, ("user_type",)),
    *(
        ("saj", None, "add_user", {key: value for key, value in USER.items() if key != name}, BAD, (name,))
        for name in USER
    ),
    ("saj", None, "modify_user", {"c_user_id": saj.OWNER}, BAD, ("name", "mobile")),
    ("saj", None, "modify_user", {"name": "N"}, BAD, ("c_user_id",)),
    ("saj", None, "delete_user", {"c_user_id": saj.OWNER}, NOT_CONFIRMED, ("confirm",)),
    ("saj", None, "delete_user", {"c_user_id": 0, "confirm": True}, BAD, ("c_user_id",)),
    ("saj", None, "delete_user", {"c_user_id": "8", "confirm": True}, BAD, ("c_user_id",)),
    ("saj", None, "add_plant", {**PLANT, "peak_power": 0}, BAD, ("peak_power", "0")),
    ("saj", None, "add_plant", {**PLANT, "peak_power": "5.5"}, BAD, ("peak_power",)),
    ("saj", None, "add_plant", {**PLANT, "latitude": 90.5}, BAD, ("latitude", "90")),
    ("saj", None, "add_plant", {**PLANT, "longitude": -181}, BAD, ("longitude", "180")),
    ("saj", None, "add_plant", {**PLANT, "is_public": 1}, BAD, ("is_public",)),
    ("saj", None, "add_plant", {**PLANT, "timezone_id": "Mars"}, BAD, ("timezone_id",)),
    ("saj", None, "add_plant", {**PLANT, "price": -1}, BAD, ("price", "0")),
    ("saj", None, "modify_plant", {"plant_id": saj.PLANT, "name": "N"}, BAD, ("peak_power",)),
    ("saj", None, "delete_plant", {"plant_id": saj.PLANT}, NOT_CONFIRMED, ("confirm",)),
    ("saj", None, "assign_plant", {"plant_id": saj.PLANT}, BAD, ("user_id",)),
    ("saj", None, "add_datalogger", {"plant_id": saj.PLANT, "sn": ""}, BAD, ("sn",)),
    ("saj", None, "add_datalogger", {"plant_id": saj.PLANT, "sn": "A B"}, BAD, ("sn",)),
    ("saj", None, "modify_datalogger", {"plant_id": saj.PLANT, "sn": "L"}, BAD, ("original_sn",)),
    ("saj", None, "delete_datalogger", {"plant_id": saj.PLANT, "sn": "L"}, NOT_CONFIRMED, ("confirm",)),
    ("saj", saj.INVERTER, "history", {**HOUR, "interval_s": 59}, BAD, ("interval_s", "60")),
    ("saj", saj.INVERTER, "history", {**HOUR, "interval_s": None}, BAD, ("interval_s: expected", "null")),
    ("saj", saj.INVERTER, "history", {**HOUR, "start": "0001-01-01"}, BAD, ("start: expected",)),
    ("saj", saj.INVERTER, "history", {**HOUR, "end": "2024-02-30"}, BAD, ("end: expected",)),
    ("saj", saj.INVERTER, "breaker", {"state": "on"}, "unknown_command", ("breaker", "read")),
]  # fmt: skip
GAS = "00000000000001"
CHARGE = {"charge_value": 50.25, "total_value": 150, "charge_times": 3}
PRICES = {f"price{number}": number for number in range(1, 6)}
LADDERS = {f"ladder{number}": 100 * number for number in range(1, 5)}
PRICE = {**PRICES, **LADDERS, "cycle_start": "2024-01-01T00:00:00Z", "cycle_month": 12}
TASK = {"target_comm_no": GAS, "ctrl_type": "common.setvalveoff", "ctrl_data": {}}
SURE = {"confirm": True}


def _without(payload: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in payload.items() if key != name}


def _gas(
    command: str, payload: Any, *words: str, code: str = BAD, target: str | None = GAS
) -> tuple[str, str | None, str, Any, str, tuple[str, ...]]:
    return ("iotmeter", target, command, payload, code, words)


def _tasks(command: str, payload: Any, *words: str, code: str = BAD) -> Any:
    return _gas(command, payload, *words, code=code, target=None)


MISTAKES += [
    _gas("valve", {"state": "closed"}, "state", "open", "close"),
    _gas("breaker", {"state": "on"}, "breaker", "valve", code="unknown_command"),
    *(
        _gas("recharge", {**CHARGE, "charge_value": value}, "charge_value")
        for value in (0, -1, "50.25", True, None)
    ),
    _gas("recharge", {**CHARGE, "total_value": 50}, "total_value", "charge_value"),
    *(_gas("recharge", {**CHARGE, "charge_times": value}, "charge_times") for value in (0, 1.5, "3", True)),
    *(_gas("recharge", _without(CHARGE, name), name) for name in CHARGE),
    _gas("recharge", {**CHARGE, "note": "x"}, "note"),
    *(
        _gas("open_account", {"id": "o", name: -1}, name, "0")
        for name in ("charge_value", "price1", "ladder1")
    ),
    _gas("open_account", {"ladder4": 4294967296}, "ladder4", "4294967295"),
    _gas("open_account", {"ladder1": 1.5}, "ladder1"),
    _gas("open_account", {"cycle_month": 13}, "cycle_month", "12"),
    _gas("open_account", {"cycle_start_time": "soon"}, "cycle_start_time"),
    *(_gas("set_price", _without(PRICE, name), name) for name in PRICE),
    _gas("set_price", {**PRICE, "price3": -0.01}, "price3", "0"),
    _gas("set_price", {**PRICE, "ladder2": 50}, "ladder"),
    _gas("set_price", {**PRICE, "cycle_month": 0}, "cycle_month", "1"),
    _gas("set_price", {**PRICE, "cycle_start": 5}, "cycle_start"),
    *(_gas("set_balance", {"remain_value": value}, "remain_value") for value in (-1, "5", None, True)),
    _gas("set_balance", {}, "remain_value"),
    _gas("set_cumulant", {"std_sum": 1}, "work_sum"),
    _gas("set_cumulant", {"std_sum": -1, "work_sum": 1}, "std_sum", "0"),
    _gas("release_valve", {"state": "open"}, "state"),
    _gas("get_price", {"price1": 1}, "price1"),
    _gas("get_recharge", {"n": 1}, "n"),
    *(
        _gas(command, payload, "command_id", "ctrl_id")
        for command in ("cancel", "retry")
        for payload in ({}, {"command_id": "a", "ctrl_id": 1})
    ),
    _gas("cancel", {"ctrl_id": 0}, "ctrl_id", "1"),
    _gas("cancel", {"ctrl_id": "1"}, "ctrl_id"),
    _tasks("list_tasks", {"rowcount": 0}, "rowcount", "1"),
    _tasks("list_tasks", {"rowcount": 201}, "rowcount", "200"),
    _tasks("list_tasks", {"startrow": -1}, "startrow", "0"),
    _tasks("list_tasks", {"colour": "red"}, "colour"),
    *(
        _tasks(command, {"ctrl_id": value, **more}, "ctrl_id")
        for command, more in (("get_task", {}), ("describe_task", {}), ("delete_task", SURE))
        for value in (0, "1", 1.5, None)
    ),
    _tasks("delete_task", {"ctrl_id": 1}, "confirm", code=NOT_CONFIRMED),
    _tasks("update_task", {"ctrl_id": 1, **SURE}, "ctrl_define_no", "is required"),
    _tasks("add_tasks", {"tasks": [TASK]}, "confirm", code=NOT_CONFIRMED),
    _tasks("add_tasks", {"tasks": [], **SURE}, "tasks", "1"),
    _tasks("add_tasks", {"tasks": [TASK, TASK], **SURE}, "no two tasks for one meter"),
    _tasks(
        "add_tasks",
        {"tasks": [{**TASK, "target_comm_no": str(n)} for n in range(201)], **SURE},
        "tasks",
        "200",
    ),
    _tasks("add_tasks", {"id": "x" * 47, "tasks": [TASK], **SURE}, "46"),
    *(_tasks("add_tasks", {"tasks": [_without(TASK, name)], **SURE}, "tasks", name) for name in TASK),
    _tasks("add_tasks", {"tasks": [{**TASK, "ctrl_data": "{}"}], **SURE}, "ctrl_data"),
    _tasks("add_tasks", {"tasks": [{**TASK, "target_devtype": 3}], **SURE}, "target_devtype", "2"),
    _tasks(
        "add_tasks", {"tasks": [{**TASK, "ctrl_timeout": "2023-12-31T00:00:00Z"}], **SURE}, "ctrl_timeout"
    ),
    *(
        _tasks(command, {"ctrl_ids": value, **SURE}, "ctrl_ids")
        for command in ("delete_tasks", "cancel_tasks", "retry_tasks")
        for value in ([], list(range(1, 202)), ["1"], [0], 1)
    ),
    _tasks("delete_tasks", {"ctrl_ids": [1]}, "confirm", code=NOT_CONFIRMED),
]
ONCE = [
    ("recharge", CHARGE), ("open_account", {}), ("set_balance", {"remain_value": 5}), ("set_price", PRICE),
    ("set_cumulant", {"std_sum": 1, "work_sum": 1}),
]  # fmt: skip
NEEDS_ID = [
    ("add_user", USER), ("add_plant", PLANT), ("add_datalogger", {"plant_id": saj.PLANT, "sn": "L"}),
    ("modify_datalogger", {"plant_id": saj.PLANT, "original_sn": "L", "sn": "M"}),
]  # fmt: skip
RESERVED: list[tuple[dict[str, Any], str]] = [
    ({"id": ""}, "id"), ({"id": "x" * 51}, "id"), ({"id": 5}, "id"), ({"expires_at": "soon"}, "expires_at"),
    ({"timeout_s": 0}, "timeout_s"), ({"timeout_s": "5"}, "timeout_s"), ({"confirm": "yes"}, "confirm"),
    ({"dry_run": 1}, "dry_run"),
]  # fmt: skip


@pytest.mark.parametrize("vendor", sorted({one[0] for one in MISTAKES}))
async def test_a_mistake_is_rejected_with_its_place_and_nothing_is_asked(tmp_path: Path, vendor: str) -> None:
    async with Stage(tmp_path, vendor) as stage:
        for number, (_, target, command, payload, code, words) in enumerate(
            one for one in MISTAKES if one[0] == vendor
        ):
            given = {"id": f"m-{number}", **payload} if isinstance(payload, dict) else payload
            before = len(stage.published("#"))
            await stage.order(target, command, given)
            (ack,) = [one.doc for one in stage.published("#")[before:] if one.topic.endswith("/ack")]
            told = f"{command} {payload}: {ack['code']} {ack['message']}"
            assert (ack["status"], ack["code"], ack["final"]) == ("rejected", code, True), told
            assert ack["command"] == command
            missing = [word for word in words if word not in ack["message"]]
            assert not missing, f"{told}: {missing}"
        await stage.advance(60)
        assert (stage.sent(), stage.effects(), stage.journal()) == ([], [], [])


@pytest.mark.parametrize(("keys", "name"), RESERVED)
async def test_a_reserved_key_of_another_kind_is_named(
    tmp_path: Path, keys: dict[str, Any], name: str
) -> None:
    async with Stage(tmp_path, "wmj") as stage:
        await stage.order(wmj.WIFI, "breaker", {"state": "off", **keys})
        (ack,) = stage.acks()
        assert (ack["status"], ack["code"]) == ("rejected", "invalid_params")
        assert ack["message"].startswith(f"{name}: expected")
        assert (stage.sent(), stage.effects()) == ([], [])


@pytest.mark.parametrize(("command", "params"), ONCE)
async def test_money_needs_an_id(tmp_path: Path, command: str, params: dict[str, Any]) -> None:
    async with Stage(tmp_path, "iotmeter") as stage:
        await stage.order(GAS, command, params)
        (ack,) = stage.acks()
        assert (ack["status"], ack["code"]) == ("rejected", "id_required")
        await stage.order(GAS, command, params, correlation=b"as the correlation data say")
        assert stage.acks("as the correlation data say")[0]["status"] == "accepted"


@pytest.mark.parametrize(("command", "params"), NEEDS_ID)
async def test_what_cannot_be_repeated_needs_an_id(
    tmp_path: Path, command: str, params: dict[str, Any]
) -> None:
    async with Stage(tmp_path, "saj") as stage:
        await stage.order(None, command, params)
        (ack,) = stage.acks()
        assert (ack["status"], ack["code"]) == ("rejected", "id_required")
        assert (stage.sent(), stage.effects()) == ([], [])


async def test_a_password_is_in_no_message_ack_or_journal(tmp_path: Path) -> None:
    async with Stage(tmp_path, "saj") as stage:
        for number, bad in enumerate(({"user_tel": 1}, {"extra": 1}, {"dry_run": True}, {})):
            await stage.order(None, "add_user", {**USER, "id": f"u-{number}", **bad})
        assert (await stage.carried("u-3"))["status"] == "succeeded"
        await stage.crash()
        assert b"FAKE0000" not in (tmp_path / "state.db").read_bytes()
        assert "FAKE0000" not in str([one.body for one in stage.published("#")])
        assert b"FAKE0000" not in b"".join(one.read_bytes() for one in tmp_path.glob("state.db*"))
