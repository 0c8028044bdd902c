"""The documents of Home Assistant's discovery: METRICS rule 10, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.contract import payloads
from bridge.contract.discovery import Scheme, withdrawn, without_withdrawn
from bridge.contract.topics import Topics
from bridge.domain.command import CommandSpec
from bridge.domain.device import Device, DeviceKind
from bridge.domain.events import EVENTS
from bridge.domain.metrics import METRICS
from bridge.vendors.wmj.params import Breaker, RetainState, protection_model
from bridge.vendors.wmj.settings import WmjSettings
from tests.fakes.vendor import Recharge, Valve

SCHEME = Scheme("homeassistant", Topics("mb"), "1.0")
PLAIN: dict[str, Any] = {
    "id": "shop", "vendor": "wmj", "app_id": "a", "app_secret": "b", "devices": ["W7100000001"],
}  # fmt: skip
SETTINGS = WmjSettings(**PLAIN, ranges={"overcurrent_a": (6, 40)})
COMMANDS = {
    spec.name: spec
    for spec in (
        CommandSpec("breaker", "", Breaker),
        CommandSpec("valve", "", Valve),
        CommandSpec("retain_state", "", RetainState),
        CommandSpec("set_protection", "", protection_model(SETTINGS)),
        CommandSpec("read", ""),
        CommandSpec("restart", ""),
        CommandSpec("recharge", "", Recharge, needs_id=True),
        CommandSpec("wipe", "", dangerous=True),
    )
}


def document(
    *metrics: str,
    commands: tuple[str, ...] = tuple(COMMANDS),
    kind: DeviceKind = DeviceKind.BREAKER,
    confirm: frozenset[str] = frozenset(),
    expire_after_s: int | None = None,
    native_id: str = "D1",
    **known: Any,
) -> dict[str, Any]:
    described = Device("shop", "wmj", native_id, kind, metrics=metrics, **known)
    offered = {name: payloads.command_info(COMMANDS[name]) for name in commands}
    info = payloads.info(described, offered, customer_data=False)
    return SCHEME.document(info, confirm=confirm, expire_after_s=expire_after_s)


def components(*metrics: str, **kwargs: Any) -> dict[str, Any]:
    found: dict[str, Any] = document(*metrics, **kwargs)["cmps"]
    return found


def test_a_device_says_what_it_is_and_when_it_can_be_reached() -> None:
    made = document(
        name="Oven", model="W71", manufacturer="WMJ", serial="D1", firmware="71.0.33", parent="P/1"
    )
    assert made["dev"] == {
        "ids": ["mb_shop_D1"],
        "name": "Oven",
        "mf": "WMJ",
        "mdl": "W71",
        "sn": "D1",
        "sw": "71.0.33",
        "via_device": SCHEME.unique("shop", "P/1"),
    }
    assert made["o"] == {"name": "meterbridge", "sw": "1.0"}
    assert made["avty"] == [{"t": "mb/bridge/status"}, {"t": "mb/shop/D1/availability"}]
    assert made["avty_mode"] == "all"


def test_a_device_of_which_little_is_known_has_a_name_all_the_same() -> None:
    assert document()["dev"] == {"ids": ["mb_shop_D1"], "name": "D1", "mf": "wmj", "mdl": "breaker"}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_of_the_catalogue_is_the_entity_that_its_row_says(name: str) -> None:
    metric = METRICS[name]
    made_of_metrics = {
        key: one
        for key, one in components(name, commands=()).items()
        if one.get("val_tpl", "").startswith("{{ value_json.metrics.")
    }
    ((key, made),) = made_of_metrics.items()
    platform = "binary_sensor" if metric.platform == "binary_sensor" else "sensor"
    assert (key, made["p"], made["uniq_id"]) == (
        f"{platform}_{name}",
        platform,
        f"mb_shop_D1_{platform}_{name}",
    )
    assert made["stat_t"] == "mb/shop/D1/state"
    assert made["val_tpl"] == f"{{{{ value_json.metrics.{name} | default(none) }}}}"
    if metric.platform in ("sensor", "binary_sensor"):
        assert made.get("dev_cla") == metric.device_class
        assert made.get("stat_cla") == metric.state_class
        assert made.get("ent_cat") == metric.category
    if platform == "sensor" and metric.form == "number":
        assert made.get("unit_of_meas", "") == metric.unit


def test_a_unit_that_the_configuration_tells_is_the_entitys() -> None:
    assert "unit_of_meas" not in components("purchase_total")["sensor_purchase_total"]
    made = components("purchase_total", units={"purchase_total": "m³"})
    assert made["sensor_purchase_total"]["unit_of_meas"] == "m³"


def test_a_switch_that_may_be_used_is_a_switch_and_else_a_sensor() -> None:
    made = components("switch_state")["switch_switch_state"]
    assert {key: made[key] for key in ("cmd_t", "pl_on", "pl_off", "stat_on", "stat_off", "dev_cla")} == {
        "cmd_t": "mb/shop/D1/cmd/breaker",
        "pl_on": "on",
        "pl_off": "off",
        "stat_on": "on",
        "stat_off": "off",
        "dev_cla": "switch",
    }
    assert made["qos"] == 1
    assert "ret" not in made
    for forbidden in (
        components("switch_state", commands=("read",)),
        components("switch_state", confirm=frozenset({"breaker"})),
    ):
        assert "switch_switch_state" not in forbidden
        assert forbidden["sensor_switch_state"]["p"] == "sensor"
        assert not [one for one in forbidden.values() if one.get("cmd_t", "").endswith("/breaker")]


@pytest.mark.parametrize(("kind", "word"), [(DeviceKind.GAS_METER, "gas"), (DeviceKind.WATER_METER, "water")])
def test_a_valve_is_one_of_what_flows_through_it(kind: DeviceKind, word: str) -> None:
    made = components("valve_state", kind=kind)["valve_valve_state"]
    assert made["dev_cla"] == word
    assert made["pos"] is False
    assert (made["pl_open"], made["pl_cls"], made["stat_open"], made["stat_clsd"]) == (
        "open", "close", "open", "closed",
    )  # fmt: skip
    assert made["cmd_t"] == "mb/shop/D1/cmd/valve"


def test_retain_state_is_a_switch_among_the_settings() -> None:
    made = components("retain_state")["switch_retain_state"]
    assert (made["pl_on"], made["pl_off"]) == ('{"enabled": true}', '{"enabled": false}')
    assert (made["stat_on"], made["stat_off"]) == ("True", "False")
    assert (made["ent_cat"], made["cmd_t"]) == ("config", "mb/shop/D1/cmd/retain_state")
    as_sensor = components("retain_state", commands=())["sensor_retain_state"]
    assert as_sensor["ent_cat"] == "diagnostic"  # Home Assistant takes no sensor among the settings


def test_a_threshold_is_a_number_in_the_range_of_the_account() -> None:
    made = components("threshold_overcurrent")["number_threshold_overcurrent"]
    assert (made["min"], made["max"], made["step"], made["unit_of_meas"]) == (6, 40, 1, "A")
    assert (made["cmd_t"], made["ent_cat"]) == ("mb/shop/D1/cmd/set_protection", "config")
    assert made["cmd_tpl"] == '{"overcurrent_a": {{ value | int }} }'
    assert (
        components("threshold_overcurrent", commands=())["sensor_threshold_overcurrent"]["dev_cla"]
        == "current"
    )


def test_what_moves_money_or_is_dangerous_has_no_entity() -> None:
    topics = [one["cmd_t"] for one in components(*METRICS).values() if "cmd_t" in one]
    used = {topic.rpartition("/")[2] for topic in topics}
    assert used == {"breaker", "valve", "retain_state", "set_protection", "read", "restart"}
    assert {one["p"] for one in components(*METRICS).values() if "number" in one["p"]} == {"number"}
    numbers = [one for one in components(*METRICS).values() if one["p"] == "number"]
    assert {one["cmd_t"].rpartition("/")[2] for one in numbers} == {"set_protection"}


def test_buttons_send_an_empty_object() -> None:
    made = components()
    assert (made["button_read"]["cmd_t"], made["button_read"]["pl_prs"]) == ("mb/shop/D1/cmd/read", "{}")
    assert (made["button_restart"]["cmd_t"], made["button_restart"]["dev_cla"]) == (
        "mb/shop/D1/cmd/restart",
        "restart",
    )
    assert not {"button_read", "button_restart"} & set(components(commands=()))


def test_alarms_are_problems_each_and_all_together() -> None:
    made = components("healthy", "voltage")
    assert {key for key in made if key.startswith("binary_sensor_alarm")} == {
        "binary_sensor_alarms",
        "binary_sensor_alarm_overload",
        "binary_sensor_alarm_overheat",
        "binary_sensor_alarm_overcurrent",
        "binary_sensor_alarm_overvoltage",
        "binary_sensor_alarm_undervoltage",
    }
    assert all(
        one["dev_cla"] == "problem" for key, one in made.items() if key.startswith("binary_sensor_alarm")
    )
    assert (made["binary_sensor_healthy"]["pl_on"], made["binary_sensor_healthy"]["pl_off"]) == (
        "False",
        "True",
    )
    plant = components("plant_status", kind=DeviceKind.SOLAR_PLANT)
    assert {"binary_sensor_alarm_plant_fault", "binary_sensor_alarm_plant_emergency_stop"} <= set(plant)


def test_a_device_whose_vendor_tells_no_alarms_has_no_entity_for_them() -> None:
    made = components("voltage", kind=DeviceKind.ELECTRICITY_METER)
    assert [key for key in made if "alarm" in key] == []


def test_events_have_the_types_of_the_catalogue_and_one_for_all_others() -> None:
    made = components()["event_event"]
    assert made["evt_typ"] == [*EVENTS, "other"]
    assert made["stat_t"] == "mb/shop/D1/event"
    assert components()["event_alarm"]["evt_typ"] == ["raised", "cleared"]


def test_only_measurements_expire() -> None:
    made = components("voltage", "import_energy", "switch_state", expire_after_s=3600)
    assert [key for key, one in made.items() if "exp_aft" in one] == ["sensor_voltage"]
    assert made["sensor_voltage"]["exp_aft"] == 3600


def test_accounts_whose_devices_report_steadily_have_an_expiry_and_those_with_limits_of_their_own_none() -> (
    None
):
    assert WmjSettings(**PLAIN).policy(("*",), ()).expire_after_s == 3600
    assert WmjSettings(**PLAIN, poll="1h").policy(("*",), ()).expire_after_s == 36000
    assert WmjSettings(**PLAIN, limits={"device": "1/1h"}).policy(("*",), ()).expire_after_s is None


@pytest.mark.parametrize("native_id", ["A/1 +#", "温度", "a_b", "a.b", "x" * 200])
def test_the_topic_has_only_characters_that_home_assistant_takes(native_id: str) -> None:
    prefix, device, unique, config = SCHEME.topic("shop", native_id).split("/")
    assert (prefix, device, config) == ("homeassistant", "device", "config")
    assert unique.replace("_", "").replace("-", "").isascii()
    assert unique.replace("_", "").replace("-", "").isalnum()


def test_no_two_devices_share_an_id() -> None:
    names = [
        ("a", "b_c"),
        ("a_b", "c"),
        ("a", "b-c"),
        ("a-b", "c"),
        ("a", "b/c"),
        ("a", "b c"),
        ("a-b-c", ""),
    ]
    assert len({SCHEME.unique(*name) for name in names}) == len(names)
    assert SCHEME.unique("shop", "D1") != Scheme("homeassistant", Topics("other"), "1").unique("shop", "D1")


def test_a_component_leaves_in_two_steps() -> None:
    before, after = document("voltage", "switch_state"), document("voltage", "switch_state", commands=())
    gone = withdrawn(before, after)
    assert gone == {
        "switch_switch_state": {"p": "switch"},
        "button_read": {"p": "button"},
        "button_restart": {"p": "button"},
    }
    first = {**after, "cmps": {**after["cmps"], **gone}}
    assert withdrawn(first, after) == gone  # it goes on until the second step
    assert without_withdrawn(first) == after
