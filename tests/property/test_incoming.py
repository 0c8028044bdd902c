"""A PUBLISH packet is read as paho reads it, and nothing that comes over the wire makes the reading raise."""

from __future__ import annotations

from typing import Any

import paho.mqtt.client as paho
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.mqtt.incoming import from_paho, read_publish

# paho refuses U+FEFF, which MQTT 5 allows
TEXTS = st.text(st.characters(exclude_characters="\x00\ufeff", exclude_categories=["Cs"]), max_size=20)
TOPICS = TEXTS.filter(bool)


@st.composite
def properties(draw: st.DrawFn) -> Properties:
    made: Any = Properties(PacketTypes.PUBLISH)
    given_values = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "PayloadFormatIndicator": st.integers(0, 1),
                "MessageExpiryInterval": st.integers(0, 2**32 - 1),
                "ContentType": TEXTS,
                "ResponseTopic": TEXTS,
                "CorrelationData": st.binary(max_size=200),
            },
        )
    )
    for name, value in given_values.items():
        setattr(made, name, value)
    for pair in draw(st.lists(st.tuples(TEXTS, TEXTS), max_size=4)):
        made.UserProperty = pair
    return made


def packet(topic: str, mid: int, qos: int, told: Properties | None, body: bytes) -> bytes:
    name = topic.encode()
    head = len(name).to_bytes(2, "big") + name + (mid.to_bytes(2, "big") if qos else b"")
    return head + (bytes(told.pack()) if told is not None else b"") + body


@given(
    TOPICS,
    st.integers(1, 65535),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
    st.none() | properties(),
    st.binary(max_size=300),
)
def test_a_message_is_read_as_paho_reads_it(
    topic: str, mid: int, qos: int, retain: bool, dup: bool, told: Properties | None, body: bytes
) -> None:
    header = 0x30 | qos << 1 | retain | dup << 3
    raw = packet(topic, mid, qos, told, body)
    protocol = paho.MQTTv311 if told is None else paho.MQTTv5
    theirs = _packet.decode_publish(header, bytearray(raw), protocol)
    message = paho.MQTTMessage(theirs.mid, theirs.topic)
    for name in ("dup", "qos", "retain", "properties", "payload"):
        setattr(message, name, getattr(theirs, name))
    ours = read_publish(header, raw, properties=told is not None)
    assert ours is not None
    expected = from_paho(message)
    assert ours.user == list(expected.user) or (not ours.user and not expected.user)
    for name in expected.__slots__:
        if name != "user":
            assert getattr(ours, name) == getattr(expected, name), name


@given(TOPICS, properties(), st.data())
def test_a_packet_that_is_cut_off_in_its_head_is_left_to_paho(
    topic: str, told: Properties, data: st.DataObject
) -> None:
    raw = packet(topic, 7, 1, told, b"")
    cut = data.draw(st.integers(0, len(raw) - 1))
    assert read_publish(0x32, raw[:cut], properties=True) is None


@given(st.binary(max_size=100), st.integers(0x30, 0x3F), st.booleans())
def test_no_bytes_make_it_raise(raw: bytes, header: int, five: bool) -> None:
    message = read_publish(header, raw, properties=five)
    assert message is None or message.topic


def test_quality_of_service_2_and_topic_aliases_are_left_to_paho() -> None:
    assert read_publish(0x34, packet("a", 1, 2, None, b""), properties=False) is None
    alias: Any = Properties(PacketTypes.PUBLISH)
    alias.TopicAlias = 3
    assert read_publish(0x30, packet("a", 0, 0, alias, b""), properties=True) is None


def test_a_byte_order_mark_in_a_user_property_is_text_like_any_other() -> None:
    told = b"\x0a\x26\x00\x01a\x00\x04\xef\xbb\xbfb"
    message = read_publish(0x30, b"\x00\x01t" + told + b"body", properties=True)
    assert message is not None
    assert list(message.user) == [("a", "\ufeffb")]
    assert message.payload == b"body"
