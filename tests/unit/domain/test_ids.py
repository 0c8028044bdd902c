"""Account ids, topic levels, command ids."""

from __future__ import annotations

import hashlib
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.ids import ACCOUNT_ID, id_from_correlation, is_command_id, topic_level


@pytest.mark.parametrize(("text", "fits"), [
    ("home", True),
    ("0", True),
    ("a-b_c9", True),
    ("a" * 63, True),
    ("a" * 64, False),
    ("", False),
    ("-a", False),
    ("_a", False),
    ("Home", False),
    ("a b", False),
    ("a\n", False),
    ("ä", False),
])  # fmt: skip
def test_account_id_is_a_short_lower_case_word(text, fits):
    assert bool(ACCOUNT_ID.match(text)) is fits


@pytest.mark.parametrize(
    ("native_id", "level"),
    [
        ("SN123", "SN123"),
        ("a/b", "a%2Fb"),
        ("a+b#c", "a%2Bb%23c"),
        ("a\x00b", "a%00b"),
        ("a b\tc", "a%20b%09c"),
        ("a\u00a0b", "a%C2%A0b"),
        ("a\u3000b", "a%E3%80%80b"),
        ("a\uffffb", "a%EF%BF%BFb"),
        ("\ufdd0\U0001fffe", "%EF%B7%90%F0%9F%BF%BE"),
        ("a\ud83d", "a%ED%A0%BD"),
        ("100%", "100%"),
        ("电表-1", "电表-1"),
        ("$SYS", "$SYS"),
    ],
)
def test_only_what_a_topic_level_forbids_is_encoded(native_id, level):
    assert topic_level(native_id) == level


@given(st.text(st.characters(codec="utf-8")))
def test_topic_level_holds_nothing_that_mqtt_forbids_and_loses_nothing(native_id):
    level = topic_level(native_id)
    assert not set(level) & set("/+#\x00 \t\r\n")
    assert not any(sign.isspace() for sign in level)
    if "%" not in native_id:
        assert unquote(level) == native_id


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("a", True),
        ("a" * 50, True),
        ("a" * 51, False),
        ("", False),
        ("pay 7", True),
        ("付款-7", True),
        ("a\n", False),
        ("a\x00", False),
        ("\x7f", False),
        ("\u202e", False),
        (7, False),
        (None, False),
        (["a"], False),
    ],
)
def test_command_id_is_1_to_50_printable_characters(value, fits):
    assert is_command_id(value) is fits


def test_correlation_data_that_is_short_text_is_the_id():
    assert id_from_correlation(b"req-1") == "req-1"
    assert id_from_correlation("付".encode() * 50) == "付" * 50


@pytest.mark.parametrize("data", [b"", b"a" * 51, b"\xff\xfe\x00", b"\x00\x01\x02\x03", "付".encode() * 51])
def test_other_correlation_data_becomes_a_digest(data):
    assert id_from_correlation(data) == "cd-" + hashlib.sha256(data).hexdigest()[:32]


@given(st.binary(max_size=80))
def test_every_correlation_data_gives_a_usable_id(data):
    assert is_command_id(id_from_correlation(data))
