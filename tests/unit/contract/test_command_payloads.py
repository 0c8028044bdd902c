"""Command payloads: what is taken, what is refused, and with which words."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import pytest
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from bridge.contract.commands import (
    CommandMessage,
    Envelope,
    fingerprint_of,
    open_envelope,
    readable_id,
    validate,
)
from bridge.domain.command import CommandSpec, NoParams, Params
from bridge.domain.errors import Rejection

NOW = datetime(2024, 1, 1, tzinfo=UTC)


class _Breaker(Params):
    state: Literal["on", "off"]


class _Pulse(Params):
    delay_s: int = Field(ge=1, le=900)


class _Retain(Params):
    enabled: bool


class _Frame(Params):
    hex: str
    fix_checksum: bool = False


class _Recharge(Params):
    charge_value: Decimal = Field(gt=0)
    charge_times: int = Field(ge=1)


class _Threshold(Params):
    threshold: int
    trip: bool


class _Alarms(Params):
    overload: _Threshold | None = None
    tags: tuple[int, ...] = ()


class _Item(Params):
    a: int = 0
    b: int | None = None


class _Listed(Params):
    items: list[_Item]


class _Price(Params):
    price: float


PRICE = CommandSpec("price", "a price", _Price)
LISTED = CommandSpec("listed", "several", _Listed)
BREAKER = CommandSpec("breaker", "switches", _Breaker)
PULSE = CommandSpec("pulse_on", "on, then off", _Pulse)
RETAIN = CommandSpec("retain_state", "after a power cut", _Retain)
FRAME = CommandSpec("hex_frame", "a raw frame", _Frame)
RECHARGE = CommandSpec("recharge", "money", _Recharge)
ALARMS = CommandSpec("set_alarms", "thresholds", _Alarms)
READ = CommandSpec("read", "reads", NoParams)


def message(payload: bytes | str, **changed: object) -> CommandMessage:
    body = payload.encode() if isinstance(payload, str) else payload
    return CommandMessage("meterbridge/shop/W71E/cmd/x", body, NOW, **changed)  # type: ignore[arg-type] # fields of it


def opened(payload: bytes | str, **changed: object) -> Envelope:
    return open_envelope(message(payload, **changed))


def params(spec: CommandSpec, payload: bytes | str) -> dict[str, object]:
    return validate(spec, opened(payload)).model_dump(exclude_unset=True)


def refusal(spec: CommandSpec, payload: bytes | str) -> tuple[str, str]:
    with pytest.raises(Rejection) as caught:
        validate(spec, opened(payload))
    return caught.value.code, caught.value.message


# the payload as a whole ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", ["", " ", "\n\t ", "{}", " {} ", "\u00a0", "\u3000\u2003"])
def test_empty_payload_is_an_empty_object(payload):
    envelope = opened(payload)
    assert (envelope.params, envelope.is_bare, envelope.id) == ({}, False, None)
    assert (envelope.confirm, envelope.dry_run, envelope.expires_at, envelope.timeout_s) == (
        False, False, None, None,
    )  # fmt: skip
    assert validate(READ, envelope) == NoParams()


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ('{"state": "on"', "no valid JSON"),
        ('{"state": "on",}', "no valid JSON"),
        ("{'state': 'on'}", "no valid JSON"),
        ('["on"', "no valid JSON"),
        ('"on', "no valid JSON"),
        ("[" * 5000, "no valid JSON"),
        ('{"a": ' + "[" * 600 + "]" * 600 + "}", "nested too deeply"),
        ("[]", "got a list"),
        ('["on"]', "got a list"),
        ("null", "got null"),
        (b"\xff\xfe\xfd", "neither JSON nor UTF-8"),
        (b'{"state": "\xff"}', "neither JSON nor UTF-8"),
        (b'\xef\xbb\xbf{"state": "on"}', "no valid JSON"),
        ('{"id": "\\ud83d", "state": "on"}', "one half of a character"),
        ('"\\ud800"', "one half of a character"),
        ('{"state": "on', "truncated"),
        ('{"state": "off", "state": "on"}', "'state' stands there twice"),
        ('{"state": "on", "id": "a", "id": "b"}', "'id' stands there twice"),
        ('{"state": "on", "st\\u0061te": "on"}', "'state' stands there twice"),
        ('{"state": {"a": 1, "a": 1}}', "'a' stands there twice"),
    ],
)
def test_payload_that_is_no_object_and_no_bare_value_is_refused(payload, words):
    code, text = refusal(BREAKER, payload)
    assert code == "invalid_payload"
    assert words in text


@pytest.mark.parametrize(
    ("spec", "payload", "expected"),
    [
        (BREAKER, "on", {"state": "on"}),
        (BREAKER, '"on"', {"state": "on"}),
        (BREAKER, " off \n", {"state": "off"}),
        (PULSE, "15", {"delay_s": 15}),
        (PULSE, "15.0", {"delay_s": 15}),
        (PULSE, "1.5e1", {"delay_s": 15}),
        (RETAIN, "true", {"enabled": True}),
        (RETAIN, "false", {"enabled": False}),
        (FRAME, "55AA0006", {"hex": "55AA0006"}),
        (FRAME, "5500", {"hex": "5500"}),
        (FRAME, "0055", {"hex": "0055"}),
        (FRAME, "55e5", {"hex": "55e5"}),
        (FRAME, "5500.0", {"hex": "5500.0"}),
        (FRAME, "55 AA 00", {"hex": "55 AA 00"}),
        (FRAME, "true", {"hex": "true"}),
        (FRAME, "1" * 60, {"hex": "1" * 60}),
        (FRAME, '"5500"', {"hex": "5500"}),
    ],
)
def test_bare_payload_is_the_single_required_parameter(spec, payload, expected):
    found = params(spec, payload)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    ("spec", "payload"),
    [
        (BREAKER, "up"),
        (BREAKER, "ON"),
        (BREAKER, "1"),
        (BREAKER, "true"),
        (BREAKER, '""'),
        (PULSE, "fifteen"),
        (PULSE, '"15"'),
        (PULSE, "15.5"),
        (PULSE, "0"),
        (PULSE, "901"),
        (PULSE, "true"),
        (PULSE, "NaN"),
        (PULSE, "9" * 60),
        (RETAIN, "1"),
        (RETAIN, "yes"),
        (RETAIN, '"true"'),
    ],
)
def test_bare_payload_of_the_wrong_kind_or_range_is_refused(spec, payload):
    code, text = refusal(spec, payload)
    assert code == "invalid_params"
    assert text.startswith(f"{spec.bare_key()}: ")


@pytest.mark.parametrize(("spec", "hint"), [(READ, "none: {}"), (RECHARGE, "charge_value, charge_times")])
@pytest.mark.parametrize("payload", ["on", "15", "true", '"x"'])
def test_bare_payload_for_a_command_without_a_single_required_parameter_is_refused(spec, hint, payload):
    code, text = refusal(spec, payload)
    assert code == "invalid_payload"
    assert spec.name in text
    assert hint in text


# reserved keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command_id", ["a", "x" * 50, "付款 7", "a/b#c"])
def test_id_of_1_to_50_characters_is_taken(command_id):
    assert opened(f'{{"id": "{command_id}", "state": "on"}}').id == command_id


@pytest.mark.parametrize(
    "written",
    [
        '""',
        '"%s"' % ("x" * 51),
        '"a\\nb"',
        '"a\\u0000"',
        '"\\u202e"',
        "7",
        "true",
        "false",
        "[]",
        "{}",
        "1.0",
    ],
)
def test_id_that_is_no_printable_text_of_1_to_50_characters_is_refused(written):
    code, text = refusal(BREAKER, f'{{"id": {written}, "state": "on"}}')
    assert code == "invalid_params"
    assert text.startswith("id: ")


def test_null_for_id_expiry_and_timeout_counts_as_not_given():
    envelope = opened('{"id": null, "expires_at": null, "timeout_s": null, "state": "on"}')
    assert (envelope.id, envelope.expires_at, envelope.timeout_s) == (None, None, None)
    assert envelope.params == {"state": "on"}


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("confirm", '"true"'),
        ("confirm", "1"),
        ("confirm", "null"),
        ("confirm", "[]"),
        ("dry_run", '"yes"'),
        ("dry_run", "0"),
        ("dry_run", "{}"),
        ("expires_at", '"tomorrow"'),
        ("expires_at", '"2024-01-01T00:00:00"'),
        ("expires_at", "1704067200"),
        ("expires_at", "true"),
        ("timeout_s", '"30"'),
        ("timeout_s", "0"),
        ("timeout_s", "-1"),
        ("timeout_s", "true"),
        ("timeout_s", "2592001"),
        ("timeout_s", "1e400"),
        ("timeout_s", "1e-400"),
        ("timeout_s", "[]"),
    ],
)
def test_reserved_key_of_the_wrong_kind_is_refused_by_its_name(key, written):
    code, text = refusal(BREAKER, f'{{"{key}": {written}, "state": "on"}}')
    assert code == "invalid_params"
    assert text.startswith(f"{key}: expected")


def test_reserved_keys_are_no_parameters():
    envelope = opened(
        '{"id": "a", "expires_at": "2024-01-01T00:01:00Z", "timeout_s": 2.5, "confirm": true, "dry_run": true,'
        ' "state": "on"}'
    )
    assert envelope == Envelope(
        "a", NOW + timedelta(minutes=1), 2.5, True, True, {"state": "on"}, None, False
    )  # fmt: skip
    assert validate(BREAKER, envelope).model_dump() == {"state": "on"}


@pytest.mark.parametrize(
    ("body", "expiry_s", "after_s"),
    [
        ("{}", None, None),
        ("{}", 30, 30),
        ("{}", 0, 0),
        ('{"expires_at": "2024-01-01T00:00:10Z"}', None, 10),
        ('{"expires_at": "2024-01-01T00:00:10Z"}', 30, 10),
        ('{"expires_at": "2024-01-01T00:01:00Z"}', 30, 30),
        ('{"expires_at": "2023-12-31T23:59:59Z"}', 30, -1),
        ("on", 5, 5),
        ("{}", 2**32 - 1, 2**32 - 1),
    ],
)
def test_the_earlier_of_expires_at_and_message_expiry_counts(body, expiry_s, after_s):
    found = opened(body, expiry_s=expiry_s).expires_at
    assert found == (None if after_s is None else NOW + timedelta(seconds=after_s))


# ids from elsewhere ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "correlation", "expected"),
    [
        ("on", b"req-1", "req-1"),
        ("{}", b"req-1", "req-1"),
        ('{"id": "own"}', b"req-1", "own"),
        ("{}", None, None),
        ("{}", b"\x00\x01", "cd-" + hashlib.sha256(b"\x00\x01").hexdigest()[:32]),
        ("{}", b"\xff" * 4, "cd-" + hashlib.sha256(b"\xff" * 4).hexdigest()[:32]),
        ("{}", b"x" * 51, "cd-" + hashlib.sha256(b"x" * 51).hexdigest()[:32]),
        ("{}", b"", "cd-" + hashlib.sha256(b"").hexdigest()[:32]),
    ],
)
def test_correlation_data_serves_as_id_where_the_payload_has_none(payload, correlation, expected):
    found = opened(payload, correlation=correlation).id
    assert found == expected
    assert found is None or len(found) <= 50


@pytest.mark.parametrize(
    ("payload", "correlation", "expected"),
    [
        ('{"id": "pay-7", "x": }', None, None),
        ('{"id": "pay-7", "state": 5}', b"req", "pay-7"),
        ('{"id": "%s"}' % ("x" * 300), None, "x" * 200),
        ('{"id": 7}', b"req", "req"),
        ('{"id": 7}', None, None),
        ("[1]", b"req", "req"),
        ("[[[[", b"req", "req"),
        (b"\xff", b"req", "req"),
        ("", b"\x00", "cd-" + hashlib.sha256(b"\x00").hexdigest()[:32]),
        ("", None, None),
        ("null", None, None),
        ("\u00a0", None, None),
    ],
)
def test_refusal_bears_the_id_that_can_be_read(payload, correlation, expected):
    assert readable_id(message(payload, correlation=correlation)) == expected


# parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["15", "15.0", "15.00", "1.5e1", "150e-1"])
def test_whole_number_is_an_integer_however_it_is_written(written):
    assert params(PULSE, f'{{"delay_s": {written}}}') == {"delay_s": 15}
    nested = params(
        ALARMS, f'{{"overload": {{"threshold": {written}, "trip": true}}, "tags": [1.0, {written}]}}'
    )
    assert nested == {"overload": {"threshold": 15, "trip": True}, "tags": (1, 15)}


@pytest.mark.parametrize("digits", ["100.1", "0.1", "1234567890123.45", "0.000001", "19.99"])
def test_decimal_parameter_keeps_the_digits_that_were_written(digits):
    found = params(RECHARGE, f'{{"charge_value": {digits}, "charge_times": 3}}')
    assert found["charge_value"] == Decimal(digits)
    assert isinstance(found["charge_value"], Decimal)


@pytest.mark.parametrize(
    ("spec", "payload", "words"),
    [
        (BREAKER, "{}", "state: is required"),
        (BREAKER, '{"state": "up"}', "state: "),
        (BREAKER, '{"state": null}', "state: "),
        (BREAKER, '{"state": true}', "state: "),
        (ALARMS, '{"overload": null}', "overload: expected a value, got null"),
        (FRAME, '{"hex": "55", "fix_checksum": null, "x": 1}', "fix_checksum: expected a value, got null"),
        (LISTED, '{"items": [{"a": 1}, {"b": null}]}', "items.1.b: expected a value, got null"),
        (BREAKER, '{"state": ["on"]}', "state: "),
        (BREAKER, '{"state": "on", "speed": 3}', "speed: no such parameter (known: state, id, expires_at,"),
        (READ, '{"state": "on"}', "state: no such parameter"),
        (PULSE, '{"delay_s": 15.5}', "delay_s: "),
        (PULSE, '{"delay_s": "15"}', "delay_s: "),
        (PULSE, '{"delay_s": 1e30}', "delay_s: "),
        (PULSE, '{"delay_s": 1e400}', "delay_s: "),
        (PULSE, '{"delay_s": %s}' % ("9" * 100), "delay_s: "),
        (PRICE, '{"price": 0.30000000000000004}', "price: expected a number of at most 15 digits"),
        (PRICE, '{"price": "0.30000000000000004"}', "price: expected a valid number"),
        (RECHARGE, '{"charge_value": "x", "charge_times": 1}', "charge_value: "),
        (RECHARGE, '{"charge_value": -1}', "charge_times: is required"),
        (ALARMS, '{"overload": {"threshold": 1}}', "overload.trip: is required"),
        (ALARMS, '{"overload": {"threshold": 1, "trip": true, "x": 1}}', "overload.x: no such parameter"),
        (ALARMS, '{"tags": [1, "b"]}', "tags.1: "),
    ],
)
def test_wrong_parameter_is_refused_by_its_name(spec, payload, words):
    code, text = refusal(spec, payload)
    assert code == "invalid_params"
    assert words in text


class _Limits(Params):
    heat: Annotated[int, Field(ge=20)] | Annotated[None, SkipJsonSchema()] = None


def test_mistake_of_an_optional_parameter_tells_only_what_the_person_needs():
    _, text = refusal(CommandSpec("limits", "", params=_Limits), '{"heat": 5}')
    assert text == "heat: expected greater than or equal to 20"


def test_at_most_five_mistakes_are_told():
    _, text = refusal(READ, "{" + ", ".join(f'"k{n}": 1' for n in range(20)) + "}")
    assert text.count("no such parameter") == 5


# what makes two messages the same --------------------------------------------------------------------------------


def test_mark_of_a_command_is_its_name_and_the_given_parameters():
    bare = fingerprint_of("breaker", validate(BREAKER, opened("on")))
    assert bare == fingerprint_of("breaker", validate(BREAKER, opened('{"id": "a", "state": "on"}')))
    assert bare == {"command": "breaker", "params": {"state": "on"}}
    assert bare != fingerprint_of("breaker", validate(BREAKER, opened("off")))
    assert bare != fingerprint_of("valve", validate(BREAKER, opened("on")))
    assert fingerprint_of("hex_frame", validate(FRAME, opened("55"))) == {
        "command": "hex_frame",
        "params": {"hex": "55"},
    }


def test_digest_is_that_of_topic_bytes_and_correlation():
    original = message("on", correlation=b"c", mid=4)
    assert original.digest == message("on", correlation=b"c", mid=9, dup=True).digest
    others = [
        message("off", correlation=b"c"),
        message("on"),
        message("on", correlation=b"d"),
        message("on "),
    ]
    assert original.digest not in {other.digest for other in others}
