"""wmj: page 4.1 to 4.4, 7, 10; METRICS 4.1 and 4.3. No answer of this cloud is later than the device's own."""

from __future__ import annotations

from typing import Any

from tests.commands.rows import AGAIN, NOBODY_KNOWS, READ_ACKS, TIMED_OUT, Row
from tests.commands.stage import Sent

WIFI, CELL = "W7100000001", "W7200000002"
KEYS = {"app_id": "0" * 32, "app_secret": "FAKEwmjsecret0000000000000000000"}
CONFIRMED = {"confirm": True}


def _plain(path: str, serial: str = WIFI) -> Sent:
    return (f"POST /deviceApi/{path}", {**KEYS, "device_sn": serial})


def _send(word: str, info: dict[str, Any] | None = None, serial: str = WIFI) -> Sent:
    data = {"cmd_type": word, "info": info or {}}
    return ("POST /deviceApi/send", {**KEYS, "device_sn": serial, "type": 1, "data": data})


INFO = _send("getdevinfo")


def _row(command: str, params: dict[str, Any], word: str, info: dict[str, Any] | None, **more: Any) -> Row:
    given = {"requests": (_send(word, info),), "fault": f"send/{word}", **more}
    return Row(command, params, WIFI, words=f"'cmd_type': '{word}'", **given)


def _off(cloud: Any) -> None:
    cloud.fleet[WIFI].switch_to(False)


def _extended(cloud: Any) -> None:
    cloud.fleet[WIFI].options.extended_info = True
    cloud.fleet[WIFI].retain = False


def _kept_off(cloud: Any) -> None:
    cloud.fleet[WIFI].retain = False


def _alarm(threshold: int, *, trip: bool = True) -> dict[str, Any]:
    return {"threshold": threshold, "trip": trip}


LOAD = {"overload_kw": _alarm(8), "leakage_current_ma": _alarm(30), "overheat_c": _alarm(80)}
LOAD_FRAME = "55AA000600101100000C030100080401001E05010050B7"
VOLTAGE = {
    "overcurrent_a": _alarm(63), "overvoltage_v": _alarm(250), "undervoltage_v": _alarm(150),
    "low_balance_kwh": _alarm(30, trip=False),
}  # fmt: skip
VOLTAGE_FRAME = "55AA00060014120000100101003F030100FA040100960800001E3B"
SWITCH_ON = "55AA0006000510010001011D"
ALL_FIVE = {
    "leakage_current_ma": 30, "overcurrent_a": 20, "overheat_c": 70, "overvoltage_v": 270, "undervoltage_v": 165,
}  # fmt: skip
ALL_INFO = {"leakage_current": 30, "overcurrent": 20, "overheat": 70, "overvoltage": 270, "undervoltage": 165}
SOME_INFO = {
    "leakage_current": 30,
    "overcurrent": 40,
    "overheat": 70,
    "overvoltage": 275,
    "undervoltage": 160,
}
FRAME_KEYS = {"hex_ack", "data_points"}

ROWS = (
    _row("breaker", {"state": "on"}, "turnon", None, effects=("switched_on",), idle=TIMED_OUT, prepare=_off),
    _row("breaker", {"state": "off"}, "turnoff", None, effects=("switched_off",)),
    _row("restart", {}, "restart", None, effects=("restart",), acted=NOBODY_KNOWS, idle=NOBODY_KNOWS),
    _row("wifi_config", {}, "wifi_config", None, effects=("wifi_config",), acted=NOBODY_KNOWS, idle=NOBODY_KNOWS),
    _row("pulse_on", {"delay_s": 15}, "delayturnoff", {"delaytime": 15}, effects=("pulse_on",),
         acted=NOBODY_KNOWS, idle=NOBODY_KNOWS, prepare=_off),
    _row("pulse_off", {"delay_s": 900}, "delayturnon", {"delaytime": 900}, effects=("pulse_off",),
         acted=NOBODY_KNOWS, idle=NOBODY_KNOWS),
    _row("set_protection", ALL_FIVE, "setting", ALL_INFO, requests=(_send("setting", ALL_INFO), INFO),
         effects=("settings_changed",), result=ALL_FIVE),
    _row("set_protection", {"overheat_c": 70}, "setting", SOME_INFO,
         requests=(INFO, _send("setting", SOME_INFO), INFO), effects=("settings_changed",),
         result={**ALL_FIVE, "overcurrent_a": 40, "overvoltage_v": 275, "undervoltage_v": 160}),
    _row("set_alarms", LOAD, "uart_cmd", {"hex_cmd": LOAD_FRAME}, effects=("alarms_set",), acted=AGAIN,
         result={*LOAD, *FRAME_KEYS}),
    _row("set_alarms", VOLTAGE, "uart_cmd", {"hex_cmd": VOLTAGE_FRAME}, effects=("alarms_set",), acted=AGAIN,
         result={*VOLTAGE, *FRAME_KEYS}),
    _row("hex_frame", {"hex": LOAD_FRAME}, "uart_cmd", {"hex_cmd": LOAD_FRAME}, effects=("alarms_set",),
         acted=AGAIN, result={*LOAD, *FRAME_KEYS}),
    _row("hex_frame", {"hex": SWITCH_ON}, "uart_cmd", {"hex_cmd": SWITCH_ON}, effects=("switched_on",),
         acted=NOBODY_KNOWS, idle=NOBODY_KNOWS, result=FRAME_KEYS, prepare=_off),
    _row("retain_state", {"enabled": True}, "set_retainstate", {"retainstate": 1}, effects=("retain_set",),
         prepare=_extended),
    _row("retain_state", {"enabled": True}, "set_retainstate", {"retainstate": 1}, effects=("retain_set",),
         acted=AGAIN, prepare=_kept_off),
    _row("read", {}, "getdevinfo", None, acted=AGAIN, result={"kind": "breaker"}),
    Row("online", {}, WIFI, (_plain("getOnLine"),), "/getOnLine", "getOnLine", acted=AGAIN,
        result={"online": True}),
    Row("register", {}, WIFI, (_plain("register"),), "/register", "register", acted=AGAIN,
        acks=(("accepted", None, None), ("succeeded", None, 1005))),
    Row("unregister", {}, WIFI, (_plain("logout"),), "/logout", "logout", acted=AGAIN,
        effects=("unregistered",), leaves_trace=False),
    Row("register", {"device_sn": WIFI}, None, (_plain("register"),), "/register", "register", acted=AGAIN,
        acks=(("accepted", None, None), ("succeeded", None, 1005))),
    Row("refresh_inventory", {}, None,
        (INFO, _plain("getOnLine"), _send("getdevinfo", serial=CELL), _plain("getOnLine", CELL)),
        f"getOnLine {{'app_id': '{'0' * 32}', 'app_secret': '{KEYS['app_secret']}', 'device_sn': '{WIFI}'",
        "getOnLine", acted=AGAIN, acks=READ_ACKS, result={"devices": 2}),
)  # fmt: skip
