"""Topics of CONTRACT section 2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.contract.topics import CommandTopic, Topics
from bridge.domain.ids import topic_level

TOPICS = Topics("meterbridge")
DEEP = Topics("site/7/meterbridge")
LEVELS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)


def test_topics_are_built_as_the_contract_writes_them():
    assert TOPICS.bridge("status") == "meterbridge/bridge/status"
    assert TOPICS.account("home", "budget") == "meterbridge/home/budget"
    assert TOPICS.device("home", "SN123", "telemetry") == "meterbridge/home/SN123/telemetry"
    assert TOPICS.device("home", "a/b c", "state") == "meterbridge/home/a%2Fb%20c/state"
    assert TOPICS.device_level("home", "a%2Fb", "ack") == "meterbridge/home/a%2Fb/ack"
    assert DEEP.account("home", "status") == "site/7/meterbridge/home/status"


def test_acknowledgements_go_beside_their_commands():
    assert TOPICS.ack("home", "SN1") == "meterbridge/home/SN1/ack"
    assert TOPICS.ack("home", None) == "meterbridge/home/ack"
    assert TOPICS.ack("bridge", None) == "meterbridge/bridge/ack"


def test_subscriptions_cover_account_and_devices_but_no_devices_of_the_gateway():
    assert TOPICS.commands("home") == ("meterbridge/home/cmd/+", "meterbridge/home/+/cmd/+")
    assert TOPICS.commands("bridge") == ("meterbridge/bridge/cmd/+",)


@pytest.mark.parametrize(
    ("topic", "parts"),
    [
        ("meterbridge/shop/W71E/cmd/breaker", CommandTopic("shop", "W71E", "breaker")),
        ("meterbridge/shop/cmd/refresh_inventory", CommandTopic("shop", None, "refresh_inventory")),
        ("meterbridge/bridge/cmd/reload", CommandTopic("bridge", None, "reload")),
        ("meterbridge/shop/cmd/cmd/read", CommandTopic("shop", "cmd", "read")),
        ("meterbridge/shop/a%2Fb/cmd/read", CommandTopic("shop", "a%2Fb", "read")),
        ("meterbridge/shop/cmd/cmd", CommandTopic("shop", None, "cmd")),
        ("meterbridge/shop/W71E/ack", None),
        ("meterbridge/shop/W71E/cmd/", None),
        ("meterbridge/shop//cmd/read", None),
        ("meterbridge//cmd/read", None),
        ("meterbridge/shop/W71E/cmd/read/more", None),
        ("meterbridge/shop/W71E/CMD/read", None),
        ("meterbridge/cmd/read", None),
        ("meterbridge2/shop/cmd/read", None),
        ("meterbridge", None),
        ("", None),
        ("other/meterbridge/shop/cmd/read", None),
    ],
)
def test_command_topic_is_taken_apart_or_refused(topic, parts):
    assert TOPICS.parse_command(topic) == parts
    assert TOPICS.is_command(topic) is (parts is not None)


@given(LEVELS, LEVELS)
def test_every_device_id_makes_a_topic_that_is_taken_apart_again(native_id, command):
    level, name = topic_level(native_id), topic_level(command)
    for topics in (TOPICS, DEEP):
        found = topics.parse_command(topics.device("shop", native_id, "cmd") + "/" + name)
        assert found == CommandTopic("shop", level, name)
        own = topics.parse_command(topics.account("shop", "cmd") + "/" + name)
        assert own == CommandTopic("shop", None, name)
