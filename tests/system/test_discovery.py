"""Home Assistant's discovery over a real broker: there, exactly gone, and repeated when Home Assistant starts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.system.fixtures import DEVICES, MakeBroker, MakeGateway
from tests.system.polling import until
from tests.system.stage import Broker, Gateway, Listener, retained
from tests.system.test_retained_topics import account, reloaded

D1, D2 = DEVICES[:2]


def topic(device: str, base: str = "meterbridge", prefix: str = "homeassistant") -> str:
    return f"{prefix}/device/{base}_shop_{device}/config"


def announced(broker: Broker) -> dict[str, Any]:
    """What the broker holds of announcements, below any prefix."""
    held = retained(broker.port, quiet_s=0.1)
    return {name: json.loads(body) for name, body in held.items() if body and name.endswith("/config")}


def settles_at(broker: Broker, topics: set[str], gateway: Gateway) -> dict[str, Any]:
    until(lambda: set(announced(broker)) == topics, 20, "exactly these announcements", gateway.tail)
    return announced(broker)


@pytest.fixture
def gateway(make_gateway: MakeGateway, listener: Listener) -> Gateway:
    made = make_gateway(mqtt={"discovery": {"enabled": True}})
    listener.tails.append(made.tail)
    return made


def test_switch_of_home_assistant_switches_the_breaker(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    held = settles_at(broker, {topic(D1), topic(D2)}, gateway)
    switch = held[topic(D1)]["cmps"]["switch_switch_state"]
    for word in ("off", "on"):
        before = listener.mark()
        listener.send(switch["cmd_t"], switch[f"pl_{word}"], qos=switch["qos"])
        found = listener.wait(
            switch["stat_t"], lambda one, word=word: one.json["metrics"]["switch_state"] == word, after=before
        )
        assert found.retain


def test_button_and_number_do_what_they_say(gateway: Gateway, listener: Listener, broker: Broker) -> None:
    components = settles_at(broker, {topic(D1), topic(D2)}, gateway)[topic(D2)]["cmps"]
    acks = f"meterbridge/shop/{D2}/ack"
    listener.send(components["button_read"]["cmd_t"], components["button_read"]["pl_prs"])
    listener.wait(acks, lambda one: one.json["command"] == "read" and one.json["status"] == "succeeded")
    number = components["number_threshold_overcurrent"]
    listener.send(number["cmd_t"], number["cmd_tpl"].replace("{{ value | int }}", "33"))
    done = listener.wait(acks, lambda one: one.json["command"] == "set_protection" and one.json["final"])
    assert done.json["status"] == "succeeded"
    listener.wait(number["stat_t"], lambda one: one.json["metrics"]["threshold_overcurrent"] == 33)


def test_device_that_goes_is_cleared_and_a_forbidden_command_is_withdrawn_first(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    settles_at(broker, {topic(D1), topic(D2)}, gateway)
    rules = {"commands": {"allow": ["read"]}}
    reloaded(gateway, listener, account(gateway, devices=[D2], **rules))
    held = settles_at(broker, {topic(D2)}, gateway)[topic(D2)]["cmps"]
    assert held["switch_switch_state"] == {"p": "switch"}
    assert held["sensor_switch_state"]["p"] == "sensor"


def test_discovery_that_is_switched_off_or_moved_leaves_nothing_behind(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    settles_at(broker, {topic(D1), topic(D2)}, gateway)
    moved = {"enabled": True, "prefix": "ha/discovery"}
    for mqtt, expected in (
        ({"base_topic": "site/meters"}, None),
        ({"discovery": moved}, {topic(one, prefix="ha/discovery") for one in (D1, D2)}),
        ({"discovery": {"enabled": False}}, set[str]()),
    ):
        gateway.terminate()
        gateway.write({**gateway.configuration, "mqtt": {**gateway.configuration["mqtt"], **mqtt}})
        gateway.start()
        if expected is None:
            until(lambda: len(announced(broker)) == 2, 20, "two announcements", gateway.tail)
            held = announced(broker)
            assert {document["avty"][0]["t"] for document in held.values()} == {"site/meters/bridge/status"}
            assert all(name.startswith("homeassistant/device/site-meters_shop_") for name in held)
            mqtt = {**gateway.configuration["mqtt"], "base_topic": "meterbridge"}
            gateway.write({**gateway.configuration, "mqtt": mqtt})
        else:
            settles_at(broker, expected, gateway)


@pytest.mark.parametrize("protocol", [5, 4])
def test_birth_of_home_assistant_is_answered_and_a_retained_one_is_none(
    make_gateway: MakeGateway, make_broker: MakeBroker, listener: Listener, broker: Broker, protocol: int
) -> None:
    listener.send("homeassistant/status", "online", retain=True)
    gateway = make_gateway(mqtt={"discovery": {"enabled": True}, "protocol": protocol})
    settles_at(broker, {topic(D1), topic(D2)}, gateway)
    before = listener.mark()
    listener.send("homeassistant/status", "online")
    listener.wait(topic(D1), lambda one: bool(one.payload), after=before, timeout_s=30)
    listener.wait(topic(D2), lambda one: bool(one.payload), after=before, timeout_s=30)
    assert len([one for one in listener.all(topic(D1)) if one.payload]) <= 3
    assert len(gateway.events("discovery.repeated")) == 1
