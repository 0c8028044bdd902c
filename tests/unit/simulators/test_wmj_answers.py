"""The simulated cloud's answers, compared with the samples of the vendor page (sections 4 and 5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.simulators.bench import CELLULAR, KEYS, WIFI, Bench, send_page

SETTING = {"leakage_current": 30, "overcurrent": 40, "overheat": 80, "overvoltage": 275, "undervoltage": 160}


@pytest.mark.parametrize("cmd_type", ["turnon", "turnoff", "restart", "wifi_config"])
async def test_switching_answers_have_data_but_no_code(bench: Bench, cmd_type: str) -> None:
    assert await bench.send(cmd_type) == {
        "data": {
            "device_sn": WIFI,
            "msg_id": 1,
            "type": 1,
            "cmd_type": cmd_type,
            "info": {"code": 0, "msg": ""},
        }
    }


@pytest.mark.parametrize("word", ["turnoff", "turnon"])
async def test_delayed_switching_answers_without_envelope(bench: Bench, word: str) -> None:
    assert await bench.send(f"delay{word}", {"delaytime": 15}) == {
        "type": 1,
        "device_sn": WIFI,
        "info": {"code": 0, "msg": f"Auto {word} after 15 seconds"},
        "msg_id": 1,
        "cmd_type": f"delay{word}",
    }


async def test_setting_answers_with_the_brief_envelope(bench: Bench) -> None:
    assert await bench.send("setting", SETTING) == {
        "code": 0,
        "data": {"device_sn": WIFI, "cmd_type": "setting", "info": {"code": 0, "msg": ""}},
    }


async def test_retain_state_answers_with_the_full_envelope(bench: Bench) -> None:
    assert await bench.send("set_retainstate", {"retainstate": 1}) == {
        "code": 0,
        "data": {
            "device_sn": WIFI,
            "msg_id": 1,
            "type": 1,
            "cmd": "",
            "app_id": "",
            "cmd_type": "set_retainstate",
            "info": {"code": 0, "msg": ""},
        },
    }


async def test_measurements_have_exactly_the_fields_of_the_sample(bench: Bench) -> None:
    bench.cloud.impose(CELLULAR, watts=560.5, volts=229.1, celsius=14)
    answer = await bench.send("getdevinfo", sn=CELLULAR)
    info = answer["data"].pop("info")
    assert answer == {"code": 0, "data": {"device_sn": CELLULAR, "cmd_type": "getdevinfo"}}
    assert info == {
        "balance": 1,
        "code": 0,
        "electric_current": 2.52,
        "heartbeat": 1,
        "iccid": "0" * 20,
        "imei": "0" * 15,
        "leakage_current": 30,
        "msg": "",
        "overcurrent": 40,
        "overheat": 80,
        "overvoltage": 275,
        "power": 560.5,
        "prepay": False,
        "rssi": -70,
        "switch_state": 1,
        "temperature": 14,
        "total_electricity": round(bench.cloud.fleet[CELLULAR].energy_kwh, 2),
        "undervoltage": 160,
        "version": "1.0.4",
        "voltage": 229.1,
    }


async def test_a_wifi_device_gives_its_network_as_iccid_and_its_mac_as_imei(bench: Bench) -> None:
    info = await bench.info(WIFI)
    assert (info["iccid"], info["imei"], info["rssi"]) == ("EXAMPLE_WIFI/001122334455", "001100000001", -45)


async def test_extended_measurements_have_the_fields_of_vendor_code(bench: Bench) -> None:
    bench.cloud.configure(WIFI, extended_info=True)
    info = await bench.info()
    assert (info["retainstate"], info["controlled_by_schedule"], info["scheduled_state"]) == (1, -1, 0)


@pytest.mark.parametrize(
    ("shape", "keys"),
    [
        ("envelope", {"code", "data"}),
        ("data", {"data"}),
        ("bare", {"type", "device_sn", "info", "msg_id", "cmd_type"}),
    ],
)
async def test_a_device_may_answer_everything_in_one_shape(bench: Bench, shape: str, keys: set[str]) -> None:
    bench.cloud.configure(WIFI, shape=shape, ack_suffix=True)
    for cmd_type in ("turnon", "getdevinfo"):
        answer = await bench.send(cmd_type)
        inner = answer.get("data", answer)
        assert set(answer) == keys
        assert inner["cmd_type"] == f"{cmd_type}_ack"
        assert inner["info"]["code"] == 0


async def test_info_may_be_an_array(bench: Bench) -> None:
    bench.cloud.configure(WIFI, info_array=True)
    bench.cloud.hold_by_schedule(WIFI)
    assert (await bench.send("turnon"))["data"]["info"] == [2, "controlled by schedule"]


async def test_message_numbers_rise(bench: Bench) -> None:
    numbers = [(await bench.send("turnon"))["data"]["msg_id"] for _ in range(3)]
    assert numbers == [1, 2, 3]


async def test_register_binds_once(bench: Bench) -> None:
    unbound = Bench(bound=False)
    assert await unbound.ask("register") == {"code": 0, "msg": "注册成功"}
    assert await unbound.ask("register") == {"code": 1005, "msg": "设备已注册"}
    assert unbound.effects() == [(WIFI, "registered", "")]


async def test_logout_unbinds_and_everything_but_register_is_refused_then(bench: Bench) -> None:
    assert await bench.ask("logout") == {"code": 0, "msg": "ok"}
    answers = [await bench.ask("logout"), await bench.ask("getOnLine"), await bench.send("turnoff")]
    assert [answer["code"] for answer in answers] == [1004, 1004, 1004]
    assert (await bench.ask("register"))["code"] == 0
    assert [effect for _, effect, _ in bench.effects()] == ["unregistered", "registered"]


async def test_connection_state_follows_the_device(bench: Bench) -> None:
    assert await bench.ask("getOnLine") == {"code": 0, "data": {"on_line": 1}}
    bench.cloud.go_offline(WIFI)
    assert await bench.ask("getOnLine") == {"code": 0, "data": {"on_line": 0}}


async def test_an_off_line_device_takes_no_command(bench: Bench) -> None:
    bench.cloud.go_offline(WIFI)
    assert await bench.send("turnoff") == {"code": 1002, "msg": "设备离线"}
    assert bench.effects() == []


@pytest.mark.parametrize("endpoint", ["register", "logout", "getOnLine"])
async def test_a_device_outside_the_fleet_is_not_registered(bench: Bench, endpoint: str) -> None:
    assert await bench.ask(endpoint, "W7100000099") == {"code": 1004, "msg": "设备未注册"}


@pytest.mark.parametrize("key", ["app_id", "app_secret"])
async def test_wrong_credentials_are_refused_without_effect(bench: Bench, key: str) -> None:
    answer = await bench.post("send", {**send_page("turnoff"), key: "FAKE"})
    assert answer.json() == {"code": 1006, "msg": "认证失败"}
    assert bench.effects() == []


def _without(page: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in page.items() if name != key}


def _data(**data: Any) -> dict[str, Any]:
    return {**send_page("turnon"), "data": data}


BAD_SENDS = {
    "no type": _without(send_page("turnon"), "type"),
    "type as text": {**send_page("turnon"), "type": "1"},
    "type true": {**send_page("turnon"), "type": True},
    "type 2": {**send_page("turnon"), "type": 2},
    "no data": _without(send_page("turnon"), "data"),
    "data as text": {**send_page("turnon"), "data": "{}"},
    "one key more": {**send_page("turnon"), "extra": 1},
    "number as serial number": {**send_page("turnon"), "device_sn": 7100000001},
    "no info": _data(cmd_type="turnon"),
    "info as array": _data(cmd_type="turnon", info=[]),
    "unknown command": _data(cmd_type="explode", info={}),
    "parameter where there is none": send_page("turnon", {"delaytime": 5}),
    "delay missing": send_page("delayturnoff"),
    "delay as text": send_page("delayturnoff", {"delaytime": "15"}),
    "delay with point": send_page("delayturnoff", {"delaytime": 15.5}),
    "partial setting": send_page("setting", {"overcurrent": 40}),
    "retain state as bool": send_page("set_retainstate", {"retainstate": True}),
    "frame as number": send_page("uart_cmd", {"hex_cmd": 55}),
    "array": [],
}


@pytest.mark.parametrize("name", BAD_SENDS)
async def test_an_undocumented_request_is_a_parameter_error(bench: Bench, name: str) -> None:
    answer = (await bench.post("send", BAD_SENDS[name])).json()
    assert (answer["code"], answer["msg"][:4]) == (1003, "参数错误")
    assert bench.effects() == []
    assert KEYS["app_secret"] not in answer["msg"]


async def test_a_parameter_too_many_is_refused_by_register(bench: Bench) -> None:
    answer = await bench.post("register", {**KEYS, "device_sn": WIFI, "type": 1})
    assert answer.json()["code"] == 1003


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_another_content_type_is_a_parameter_error(bench: Bench, content_type: str) -> None:
    answer = await bench.post("send", send_page("turnoff"), headers={"Content-Type": content_type})
    assert answer.json()["code"] == 1003
    assert bench.effects() == []


async def test_broken_json_is_a_parameter_error(bench: Bench) -> None:
    answer = await bench.post("send", None, content=json.dumps(send_page("turnoff"))[:-1])
    assert answer.json()["code"] == 1003


async def test_only_post_is_answered(bench: Bench) -> None:
    assert (await bench.client.get("/deviceApi/send")).status_code == 405
    assert (await bench.client.post("/deviceApi/reboot")).status_code == 404


async def test_calls_above_an_enforced_rate_get_429(bench: Bench) -> None:
    strict = Bench(enforce=(2, 1.0))
    codes = [(await strict.post("send", send_page("turnon"))).status_code for _ in range(4)]
    strict.time.advance(1.0)
    codes.append((await strict.post("send", send_page("turnon"))).status_code)
    assert codes == [200, 200, 429, 429, 200]
    assert len(strict.effects()) == 3
