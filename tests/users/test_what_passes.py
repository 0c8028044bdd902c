"""Every message of a long run of all five vendors is what the AsyncAPI document says of its channel."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest

from tests.cli.bench import meterbridge
from tests.system.polling import until
from tests.system.stage import Listener, Message
from tests.users.conftest import OFFICIAL, World

BREAKER, GAS, BASE = "shop/W71E0000001", "gas/00000000000002", "meterbridge"
NEVER_HERE = {"deviceMetric"}
"""The demo leaves `flat_metrics` off."""

ORDERS: tuple[tuple[str, Any], ...] = (
    (f"{BREAKER}/cmd/breaker", {"state": "off", "id": "off-1"}),
    (f"{BREAKER}/cmd/breaker", {"state": "off", "id": "off-1"}),
    (f"{BREAKER}/cmd/breaker", "on"),
    (f"{BREAKER}/cmd/retain_state", {"enabled": True}),
    (f"{BREAKER}/cmd/set_protection", {"overheat_c": 70, "dry_run": True}),
    (f"{BREAKER}/cmd/set_protection", {"overheat_c": 71}),
    (f"{BREAKER}/cmd/online", {}),
    (f"{GAS}/cmd/get_price", {"id": "price-1"}),
    (f"{GAS}/cmd/valve", {"state": "close", "id": "valve-1"}),
    (f"{GAS}/cmd/recharge", {"charge_value": 20, "total_value": 20, "charge_times": 1, "id": "pay-1"}),
    ("gas/cmd/list_tasks", {"startrow": 0, "rowcount": 10}),
    ("bridge/cmd/refresh", {}),
    ("bridge/cmd/lock", {"account": "flats", "reason": "work"}),
    ("bridge/cmd/unlock", {}),
    ("bridge/cmd/diagnostics", {}),
    ("bridge/cmd/reload", {}),
)
REFUSED: tuple[tuple[str, Any], ...] = (
    (f"{BREAKER}/cmd/breaker", {"state": "maybe"}),
    (f"{BREAKER}/cmd/breaker", {"state": "off", "volume": 11}),
    (f"{BREAKER}/cmd/pulse_on", {"delay_s": 0}),
    (f"{GAS}/cmd/recharge", {"charge_value": 20, "total_value": 20, "charge_times": 1}),
)
UNREADABLE: tuple[tuple[str, Any], ...] = (
    (f"{BREAKER}/cmd/breaker", "{"),
    (f"{BREAKER}/cmd/sing", {}),
    ("shop/W71E0999999/cmd/read", {}),
    ("bridge/cmd/sing", {}),
)


@dataclass(frozen=True)
class Book:
    """The AsyncAPI document, as somebody reads it who validates."""

    whole: dict[str, Any]

    def channel(self, topic: str) -> str:
        """The channel of a topic: that with the most levels that are spelled out."""
        fitting = [
            name
            for name, channel in self.whole["channels"].items()
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", channel["address"]), topic)
        ]
        assert fitting, f"no channel has {topic}"
        return max(fitting, key=lambda name: -self.whole["channels"][name]["address"].count("{"))

    def message(self, channel: str) -> dict[str, Any]:
        """Its one message."""
        (name,) = self.whole["channels"][channel]["messages"]
        message: dict[str, Any] = self.whole["components"]["messages"][name]
        return message

    def mistakes(self, channel: str, payload: Any) -> list[str]:
        """What is wrong with a payload there."""
        schema = {**self.message(channel)["payload"], "components": closed(self.whole["components"])}
        found = jsonschema.Draft7Validator(schema).iter_errors(payload)
        return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in found]


def closed(components: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas as strictly as the gateway keeps them: no key that they do not name."""
    schemas = {
        name: {"additionalProperties": False, **schema} if "required" in schema else schema
        for name, schema in components["schemas"].items()
        if name != "discovery"
    }
    return {"schemas": {**components["schemas"], **schemas}}


@pytest.fixture(scope="module")
def book() -> Book:
    told = meterbridge("asyncapi", "--json")
    assert told.exit_code == 0, told.output
    return Book(json.loads(told.stdout))


@pytest.fixture(scope="module")
def run(world: World) -> list[Message]:
    """Everything that passed: each vendor read, commanded, refused; alarms raised and cleared."""
    listener = world.listener
    until(lambda: len(known(listener)) >= 14, 60, "all devices", lambda: str(sorted(known(listener))))
    for topic, payload in (*ORDERS, *REFUSED, *UNREADABLE):
        listener.send(f"{BASE}/{topic}", payload)
    hour = {"end": stamp(0), "start": stamp(-3600)}
    for device, commands in known(listener).items():
        for name, payload in (("read", {}), ("history", hour)):
            if name in commands:
                listener.send(f"{BASE}/{device}/cmd/{name}", {**payload, "id": f"{name}-{device[-20:]}"})
    answered = (*ORDERS, *REFUSED, *UNREADABLE)
    places = {f"{BASE}/{topic.partition('/cmd/')[0]}/ack" for topic, _ in answered}
    for place in sorted(places):
        listener.wait(place, lambda one: one.json["final"], 60)
    listener.final(f"{BASE}/{GAS}/ack", "pay-1", 60)
    for word in ("raised", "cleared"):
        listener.wait(f"{BASE}/shop/+/alarm", lambda one, word=word: one.json["state"] == word, 90)
    listener.wait(f"{BASE}/+/+/history", timeout_s=60)
    refused_reload(world)
    time.sleep(1)
    return listener.all()


def refused_reload(world: World) -> None:
    """The operator is told of a configuration with mistakes."""
    good = world.config.read_text()
    try:
        world.config.write_text("accounts: nonsense\n")
        world.listener.send(f"{BASE}/bridge/cmd/reload", {"id": "reload-bad"})
        assert world.listener.final(f"{BASE}/bridge/ack", "reload-bad", 60)["status"] == "failed"
        world.listener.wait(f"{BASE}/bridge/event", lambda one: one.json["code"] == "reload_refused", 60)
    finally:
        world.config.write_text(good)


def known(listener: Listener) -> dict[str, Any]:
    """account/device → its commands, as the devices' `info` says."""
    infos = {one.topic: one.json for one in listener.all(f"{BASE}/+/+/info") if one.payload}
    return {
        topic.removeprefix(f"{BASE}/").removesuffix("/info"): doc["commands"] for topic, doc in infos.items()
    }


def stamp(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_every_message_is_what_its_channel_says(run: list[Message], book: Book) -> None:
    wrong: list[str] = []
    seen: set[str] = set()
    for one in run:
        if "/cmd/" in one.topic or not one.topic.startswith((f"{BASE}/", "homeassistant/device/")):
            continue
        channel = book.channel(one.topic)
        seen.add(channel)
        plain = book.message(channel)["contentType"] == "text/plain"
        if one.payload:
            payload = one.text if plain else one.json
            wrong += [f"{one.topic}: {mistake}" for mistake in book.mistakes(channel, payload)]
            properties = (one.properties.ContentType, one.properties.PayloadFormatIndicator)
            assert properties == (book.message(channel)["contentType"], 1), one.topic
    assert wrong == []
    assert len(run) > 200
    sends = {
        operation["channel"]["$ref"].rpartition("/")[2]
        for operation in book.whole["operations"].values()
        if operation["action"] == "send"
    }
    assert sends - seen == NEVER_HERE


def test_what_is_retained_is_what_the_document_calls_retained(run: list[Message], book: Book) -> None:
    retained = {
        operation["channel"]["$ref"].rpartition("/")[2]: operation["bindings"]["mqtt"]["retain"]
        for operation in book.whole["operations"].values()
        if operation["action"] == "send"
    }
    ours = [one for one in run if one.topic.startswith(f"{BASE}/") and "/cmd/" not in one.topic]
    assert [one.topic for one in ours if one.retain != retained[book.channel(one.topic)]] == []


def test_commands_that_were_taken_and_refused_are_so_by_the_document(book: Book) -> None:
    for topic, payload in ORDERS:
        if isinstance(payload, dict):
            assert book.mistakes(book.channel(f"{BASE}/{topic}"), payload) == [], topic
    for topic, payload in REFUSED:
        assert book.mistakes(book.channel(f"{BASE}/{topic}"), payload), topic


def test_every_command_that_a_device_offers_has_a_channel_with_its_parameters(
    run: list[Message], book: Book, world: World
) -> None:
    for device, commands in known(world.listener).items():
        for name in commands:
            channel = book.channel(f"{BASE}/{device}/cmd/{name}")
            assert book.whole["channels"][channel]["address"] == f"{{base}}/{{account}}/{{device}}/cmd/{name}"


def test_a_wrong_message_would_be_seen(run: list[Message], book: Book) -> None:
    (state, *_) = [one.json for one in run if one.topic.endswith(f"{BREAKER}/state")]
    for wrong in (
        {**state, "extra": 1},
        {**state, "metrics": {**state["metrics"], "voltage": "230"}},
        {**state, "metrics": {**state["metrics"], "nonsense": 1}},
        {**state, "ts": "yesterday"},
        {key: value for key, value in state.items() if key != "alarms"},
    ):
        assert book.mistakes("deviceState", wrong)


def test_the_document_is_one_by_the_official_schema(book: Book) -> None:
    official = json.loads(OFFICIAL.read_text(encoding="utf-8"))
    validator = jsonschema.Draft7Validator(official)
    assert [error.message for error in validator.iter_errors(book.whole)] == []
    broken = {**book.whole, "channels": {"x": {"adress": "x"}}}
    assert list(validator.iter_errors(broken))
    for schema in book.whole["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)
