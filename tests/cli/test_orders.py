"""What the words of `send` become."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import click
import pytest

from bridge.cli.orders import Offer, Target, Wish, read_words, write
from bridge.contract.topics import Topics

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TOPICS = Topics("base")
BREAKER = Offer(("state",), needs_id=False, texts=frozenset({"state"}))


def _written(wish: Wish, offer: Offer | None = None, protocol: int = 5) -> tuple[object, str | None]:
    letter = write(wish, offer, protocol, "cli-made-up", NOW)
    try:
        return json.loads(letter.payload), letter.id
    except ValueError:
        return letter.payload.decode(), letter.id


def test_values_are_json_where_they_read_as_json() -> None:
    params, bare = read_words(["a=1", "b=on", "c=true", 'd={"x": 0.10}', "e=", "f=x=y", "g=007"])
    assert params == {
        "a": 1, "b": "on", "c": True, "d": {"x": Decimal("0.10")}, "e": "", "f": "x=y", "g": "007"
    }  # fmt: skip
    assert bare is None


def test_a_value_alone_stands_for_the_only_parameter() -> None:
    assert read_words(["off"]) == ({}, "off")
    assert read_words(['{"state": "off"}']) == ({"state": "off"}, None)
    for words in (["off", "now"], ["a=1", "off"], ["a=1", "a=2"]):
        with pytest.raises(click.UsageError):
            read_words(words)


def test_a_known_command_gets_an_id_made_up() -> None:
    assert _written(Wish("breaker", bare="off"), BREAKER) == (
        {"state": "off", "id": "cli-made-up"},
        "cli-made-up",
    )


def test_an_id_that_the_sender_must_choose_is_never_made_up() -> None:
    offer = Offer(("amount",), needs_id=True)
    assert _written(Wish("recharge", {"amount": 5}), offer) == ({"amount": 5}, None)
    assert _written(Wish("recharge", {"amount": 5}), None) == ({"amount": 5}, None)
    assert _written(Wish("recharge", {"amount": 5}, id="pay-7"), offer) == (
        {"amount": 5, "id": "pay-7"},
        "pay-7",
    )
    assert _written(Wish("recharge", {"amount": 5, "id": "pay-8"}), offer)[1] == "pay-8"


def test_a_text_that_looks_like_a_number_stays_a_text_where_text_is_wanted() -> None:
    offer = Offer(("device_sn",), needs_id=False, texts=frozenset({"device_sn"}))
    assert _written(Wish("register", bare="123", id="x"), offer)[0] == {"device_sn": "123", "id": "x"}
    number = Offer(("delay_s",), needs_id=False)
    assert _written(Wish("pulse_on", bare="5", id="x"), number)[0] == {"delay_s": 5, "id": "x"}


def test_a_bare_value_of_an_unknown_command_is_sent_as_it_is() -> None:
    assert _written(Wish("breaker", bare="off")) == ("off", None)
    assert _written(Wish("breaker", bare="off", id="one")) == ("off", "one")
    assert write(Wish("breaker", bare="off", expires_in_s=30.0), None, 5, "", NOW).expiry_s == 30


@pytest.mark.parametrize(
    ("wish", "protocol"),
    [
        (Wish("breaker", bare="off", confirm=True), 5),
        (Wish("breaker", bare="off", dry_run=True), 5),
        (Wish("breaker", bare="off", timeout_s=3.0), 5),
        (Wish("breaker", bare="off", id="one"), 4),
        (Wish("breaker", bare="off", expires_in_s=3.0), 4),
    ],
)
def test_options_need_the_name_of_the_parameter(wish: Wish, protocol: int) -> None:
    with pytest.raises(click.UsageError, match="NAME=off"):
        _written(wish, None, protocol)


def test_options_become_reserved_keys() -> None:
    wish = Wish("x", {"a": 1}, id="i", timeout_s=90.0, expires_in_s=30.0, confirm=True, dry_run=True)
    assert _written(wish)[0] == {
        "a": 1, "id": "i", "timeout_s": 90, "expires_at": "2026-03-01T12:00:30Z", "confirm": True, "dry_run": True
    }  # fmt: skip


def test_targets_become_topics() -> None:
    assert Target.parse("shop/W71E0000001").topic(TOPICS, "breaker") == "base/shop/W71E0000001/cmd/breaker"
    assert Target.parse("shop/A+B").ack(TOPICS) == "base/shop/A%2BB/ack"
    assert Target.parse("shop").topic(TOPICS, "register") == "base/shop/cmd/register"
    assert Target.parse("bridge").ack(TOPICS) == "base/bridge/ack"
    assert Target.parse("bridge").info(TOPICS) is None
    for text in ("", "/x", "shop/", "bridge/x"):
        with pytest.raises(click.UsageError):
            Target.parse(text)


def test_a_command_with_a_wildcard_is_refused() -> None:
    for command in ("+", "a/b", "#", ""):
        with pytest.raises(click.UsageError):
            Target.parse("shop").topic(TOPICS, command)


def test_the_offer_is_read_from_info() -> None:
    schema = {"required": ["state"], "properties": {"state": {"type": "string"}}}
    info = {"commands": {"breaker": {"params": schema, "needs_id": False}, "odd": {"params": 3}}}
    assert Offer.of(info, "breaker") == BREAKER
    assert Offer.of(info, "odd") == Offer((), needs_id=False)
    assert Offer.of(info, "other") is None
    assert Offer.of("nonsense", "breaker") is None
