"""The life of a command, and what a spec says about its parameters."""

from __future__ import annotations

from typing import Literal

import pytest

from bridge.domain.command import (
    ACK_CODES,
    TRANSITIONS,
    CommandSpec,
    CommandState,
    NoParams,
    Params,
    Status,
    advance,
)


class _Switch(Params):
    """Parameters of a switch."""

    state: Literal["on", "off"]


class _Chosen(Params):
    start: str
    end: str
    interval_s: int = 300


class _Optional(Params):
    account: str | None = None


def test_only_accepted_and_sent_are_not_final():
    assert {status for status in Status if not status.final} == {Status.ACCEPTED, Status.SENT}


@pytest.mark.parametrize("before", list(CommandState))
@pytest.mark.parametrize("after", list(CommandState))
def test_states_change_along_the_table_only(before, after):
    if after in TRANSITIONS[before]:
        assert advance(before, after) is after
    else:
        with pytest.raises(ValueError, match=f"from {before} to {after}"):
            advance(before, after)


def test_nothing_follows_the_end_and_everything_reaches_it():
    assert TRANSITIONS[CommandState.FINAL] == frozenset()
    assert all(
        CommandState.FINAL in TRANSITIONS[one] for one in CommandState if one is not CommandState.FINAL
    )


def test_command_that_left_never_becomes_accepted_again_once_its_answer_is_lost():
    assert [one for one in CommandState if CommandState.ACCEPTED in TRANSITIONS[one]] == [
        CommandState.DISPATCHED
    ]


@pytest.mark.parametrize(
    ("params", "key"), [(_Switch, "state"), (_Chosen, None), (_Optional, None), (NoParams, None)]
)
def test_bare_payload_stands_for_the_single_required_parameter(params, key):
    assert CommandSpec("x", "does x", params).bare_key() == key


def test_schema_shows_the_parameters_without_the_class():
    schema = CommandSpec("breaker", "switches", _Switch).schema()
    assert schema["properties"]["state"]["enum"] == ["on", "off"]
    assert (schema["required"], schema["additionalProperties"]) == (["state"], False)
    assert "title" not in schema
    assert "description" not in schema


def test_ack_codes_are_the_closed_list_of_the_contract():
    closed = (
        "invalid_payload invalid_params unknown_device unknown_command id_required id_reused retained expired"
        " not_allowed confirm_required interlock unsupported bad_frame rate_limited no_answer device_refused"
        " values_differ auth_failed device_offline vendor_error vendor_unreachable internal"
    )
    assert sorted(ACK_CODES) == sorted(closed.split(" "))
    assert all(ACK_CODES.values())
