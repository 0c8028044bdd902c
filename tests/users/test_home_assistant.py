"""What Home Assistant itself says of our announcements: its schemas, its tables, its template engine."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from typing import Any

import pytest

from bridge.contract import payloads
from bridge.contract.discovery import Scheme
from bridge.contract.topics import Topics
from bridge.domain.command import CommandSpec
from bridge.domain.device import Device, DeviceKind
from bridge.domain.metrics import METRICS
from bridge.domain.text import dumps
from bridge.vendors.wmj.params import RetainState, protection_model
from tests.fakes.vendor import Breaker, Valve
from tests.system.polling import until
from tests.unit.contract.test_discovery import SETTINGS
from tests.users.conftest import HOME_ASSISTANT, World

ACCOUNTS = {"shop": 3, "home": 2, "flats": 3, "roof": 2, "gas": 4}
"""What the demo has at least: account → devices."""


def judged(documents: dict[str, Any], states: dict[str, list[str]]) -> dict[str, Any]:
    judge = HOME_ASSISTANT.parents[2].parent / "tests" / "users" / "home_assistant" / "judge.py"
    done = subprocess.run(
        [str(HOME_ASSISTANT), str(judge)],
        input=json.dumps({"documents": documents, "states": states}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_the_judge_sees_what_is_wrong() -> None:
    scheme = Scheme("homeassistant", Topics("mb"), "1.0")
    device = Device("shop", "wmj", "D1", DeviceKind.BREAKER, metrics=("voltage", "healthy", "retain_state"))
    made = json.loads(dumps(scheme.document(payloads.info(device, {}, customer_data=False))))
    made["cmps"]["sensor_voltage"] |= {"unit_of_meas": "kWh", "nonsense": 1}
    made["cmps"]["sensor_retain_state"]["ent_cat"] = "config"
    made["cmps"]["binary_sensor_healthy"]["dev_cla"] = "sick"
    made["cmps"]["binary_sensor_alarms"]["uniq_id"] = made["cmps"]["binary_sensor_alarm_overload"]["uniq_id"]
    del made["cmps"]["event_event"]["evt_typ"]
    state = '{"metrics": {"voltage": "much", "healthy": "well"}, "alarms": []}'
    told = judged({"homeassistant/device/a b/config": made}, {"mb/shop/D1/state": [state]})
    for word in (
        "no topic",
        "kWh",
        "nonsense",
        "setting",
        "BinarySensorDeviceClass",
        "id of",
        "event_types",
        "'well'",
        "'much'",
    ):
        assert any(word in problem for problem in told["problems"]), (word, told["problems"])


@pytest.mark.parametrize("allowed", [True, False])
def test_home_assistant_takes_every_metric_of_the_catalogue_on_every_kind_of_device(allowed: bool) -> None:
    specs = (
        CommandSpec("breaker", "", Breaker),
        CommandSpec("valve", "", Valve),
        CommandSpec("retain_state", "", RetainState),
        CommandSpec("set_protection", "", protection_model(SETTINGS)),
        CommandSpec("read", ""),
        CommandSpec("restart", ""),
    )
    commands = {spec.name: payloads.command_info(spec) for spec in specs if allowed}
    scheme = Scheme("homeassistant", Topics("mb"), "1.0")
    documents = {}
    for kind in DeviceKind:
        device = Device("acc_1", "wmj", f"{kind} ü/1", kind, metrics=tuple(METRICS), parent="P")
        info = payloads.info(device, commands, customer_data=False)
        topic = scheme.topic(device.account, device.native_id)
        documents[topic] = json.loads(dumps(scheme.document(info, expire_after_s=3600)))
    told = judged(documents, {})
    assert told["problems"] == []
    numbers = {text for _, how, text in told["rendered"] if how == "command_template"}
    assert numbers == (
        {
            f'{{"{name}": {least} }}'
            for name, least in (
                ("leakage_current_ma", 5), ("overcurrent_a", 6), ("overheat_c", 20), ("overvoltage_v", 100),
                ("undervoltage_v", 50),
            )
        }
        if allowed
        else set()
    )  # fmt: skip


def test_home_assistant_reads_every_device_of_the_demo(world: World) -> None:
    def announced() -> dict[str, Any]:
        latest = {one.topic: one for one in world.listener.all("homeassistant/device/+/config")}
        return {topic: one.json for topic, one in latest.items() if one.payload}

    def complete() -> bool:
        count = Counter(document["avty"][1]["t"].split("/")[1] for document in announced().values())
        states = {one.topic.split("/")[1] for one in world.listener.all("meterbridge/+/+/state")}
        enough = all(count[account] >= least for account, least in ACCOUNTS.items())
        return enough and states >= set(ACCOUNTS)

    until(complete, 60, "every device is announced", lambda: str(sorted(announced())))
    world.listener.wait("meterbridge/shop/+/alarm", timeout_s=60)
    world.listener.wait("meterbridge/+/+/event", timeout_s=60)
    messages: dict[str, list[str]] = {}
    for one in world.listener.all("meterbridge/#"):
        if one.topic.rpartition("/")[2] in ("state", "alarm", "event"):
            messages.setdefault(one.topic, []).append(one.text)
    documents = announced()
    told = judged(documents, messages)
    assert told["problems"] == []
    shown = {name for name, _, text in told["rendered"] if text != "None"}
    platforms = {name.rpartition(":")[2] for name in shown}
    assert platforms >= {"sensor", "binary_sensor", "switch", "valve", "event"}
    breaker = next(topic for topic in documents if "W71E0000001" in topic)
    assert documents[breaker]["cmps"]["number_threshold_overcurrent"]["cmd_t"].endswith("/cmd/set_protection")


def test_every_device_of_the_demo_has_said_whether_it_can_be_reached(world: World) -> None:
    """Else Home Assistant would never show it."""

    def missing() -> list[str]:
        documents = [one.json for one in world.listener.all("homeassistant/device/+/config") if one.payload]
        wanted = {where["t"] for document in documents for where in document["avty"]}
        return sorted(wanted - {one.topic for one in world.listener.all() if one.payload})

    until(lambda: not missing(), 60, "every availability", lambda: str(missing()))
