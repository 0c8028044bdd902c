"""Any bytes on a command topic are either understood or refused with a code; what is understood goes round."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field

from bridge.contract import payloads
from bridge.contract.commands import CommandMessage, fingerprint_of, open_envelope, readable_id, validate
from bridge.contract.payloads import BudgetRow
from bridge.domain.command import ACK_CODES, CommandSpec, NoParams, Params, Status
from bridge.domain.device import DeviceKind
from bridge.domain.errors import Rejection
from bridge.domain.ids import is_command_id
from bridge.domain.text import canonical, dumps, loads
from bridge.domain.times import parse_rfc3339

NOW = datetime(2024, 1, 1, tzinfo=UTC)
TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
TIMES = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.just(UTC))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False, places=4)
    | TEXT
    | st.sampled_from(["on", "off", "2024-01-01T00:00:10Z"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    st.sampled_from(["id", "expires_at", "timeout_s", "confirm", "dry_run", "state", "delay_s", "hex"]) | TEXT
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)
METRICS = st.dictionaries(
    st.sampled_from(["voltage", "current", "import_energy", "switch_state", "healthy"]),
    st.integers() | st.booleans() | TEXT | st.decimals(allow_nan=False, allow_infinity=False, places=6),
)


class _Switch(Params):
    state: Literal["on", "off"]


class _Pulse(Params):
    delay_s: int = Field(ge=1, le=900)


class _Frame(Params):
    hex: str
    threshold: Decimal | None = None
    deep: dict[str, object] = Field(default_factory=dict)


def outcome(spec: CommandSpec, message: CommandMessage) -> tuple[Params | None, Rejection | None]:
    """What becomes of a message: parameters, or the refusal."""
    try:
        return validate(spec, open_envelope(message)), None
    except Rejection as refused:
        return None, refused


SPECS = [
    CommandSpec("breaker", "", _Switch),
    CommandSpec("pulse_on", "", _Pulse),
    CommandSpec("hex_frame", "", _Frame),
    CommandSpec("read", "", NoParams),
]


@given(
    st.binary(max_size=60) | OBJECTS.map(dumps) | VALUES.map(dumps) | TEXT.map(str.encode),
    st.none() | st.binary(max_size=60),
    st.none() | st.integers(0, 2**32 - 1),
    st.sampled_from(SPECS),
)
@example(b"\xc2\xa0", None, None, SPECS[0])
@example(b"[" * 600 + b"]" * 600, None, None, SPECS[2])
@example(b'{"hex": "", "deep": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}", None, None, SPECS[2])
@example(b'{"hex": "", "threshold": 1e999}', None, None, SPECS[2])
def test_any_payload_is_understood_or_refused_with_a_code(payload, correlation, expiry_s, spec):
    message = CommandMessage("b/a/cmd/x", payload, NOW, correlation=correlation, expiry_s=expiry_s)
    readable = readable_id(message)
    assert readable is None or len(readable) <= 200
    params, refused = outcome(spec, message)
    if refused is not None:
        assert refused.code in ACK_CODES
        assert refused.message
        return
    envelope = open_envelope(message)
    assert envelope.id is None or is_command_id(envelope.id)
    assert envelope.id == readable
    assert expiry_s is None or envelope.expires_at <= NOW + timedelta(seconds=expiry_s)
    assert canonical(fingerprint_of(spec.name, params))


@given(st.sampled_from(["on", "off"]), st.sampled_from(["{}", '"{}"', '{{"state": "{}"}}', " {}\n"]))
def test_every_way_to_write_a_state_is_the_same_command(state, writing):
    envelope = open_envelope(CommandMessage("t", writing.format(state).encode(), NOW))
    mark = fingerprint_of("breaker", validate(SPECS[0], envelope))
    assert mark == {"command": "breaker", "params": {"state": state}}


@given(st.text("0123456789ABCDEFabcdef", min_size=1, max_size=40))
@example("1e5")
@example("00")
@example("0.5")
def test_bare_digits_for_a_text_parameter_stay_the_text_that_was_sent(digits):
    envelope = open_envelope(CommandMessage("t", digits.encode(), NOW))
    assert validate(SPECS[2], envelope).hex == digits


@given(st.integers(-(10**20), 10**20), st.sampled_from(["", ".0", ".000", "e0"]))
def test_whole_number_is_taken_by_its_value_not_by_its_writing(value, writing):
    message = CommandMessage("t", f'{{"delay_s": {value}{writing}}}'.encode(), NOW)
    params, refused = outcome(SPECS[1], message)
    if 1 <= value <= 900:
        assert params == _Pulse(delay_s=value)
    else:
        assert refused is not None
        assert refused.code == "invalid_params"


@given(METRICS, OBJECTS, TIMES, TIMES, st.booleans())
def test_record_goes_round_with_every_digit(metrics, extra, ts, received_ts, clock_suspect):
    document = payloads.record(
        account="a",
        vendor="v",
        device="d",
        kind=DeviceKind.METER,
        ts=ts,
        received_ts=received_ts,
        source="poll",
        metrics=metrics,
        extra=extra,
        clock_suspect=clock_suspect,
    )
    back = loads(dumps(document))
    assert back == document
    assert list(back) == list(document)
    assert back["metrics"] == metrics
    assert back.get("extra", {}) == extra
    assert timedelta(0) <= ts - parse_rfc3339(back["ts"]) < timedelta(milliseconds=1)
    assert json.loads(dumps(document))["kind"] == "meter"


@given(st.sampled_from(Status), VALUES, VALUES, TIMES, TEXT)
def test_acknowledgement_goes_round_with_the_same_keys_in_the_same_order(
    status, result, vendor_ref, at, text
):
    document = payloads.ack(
        command_id=text,
        command="read",
        account="a",
        device=None,
        status=status,
        at=at,
        message=text,
        vendor_ref=vendor_ref,
        result=result,
    )
    assert loads(dumps(document)) == document
    assert ",".join(document) == (
        "id,command,account,device,status,final,code,message,vendor_code,vendor_ref,result,attempt,duplicate,ts"
    )


@given(
    st.lists(
        st.builds(
            BudgetRow,
            TEXT,
            st.integers(1, 1000),
            st.just("account"),
            st.floats(0.001, 1e7),
            st.integers(0, 2000),
            st.none() | TIMES,
        ),
        max_size=80,
    )
)
def test_budget_is_sorted_bounded_and_never_negative(rows):
    shown = loads(dumps(payloads.budget(NOW, rows)))["windows"]
    assert len(shown) == min(50, len(rows))
    free = [Decimal(row["limit"] - row["used"]) / row["limit"] for row in shown]
    assert free == sorted(free)
    assert all(row["remaining"] == max(0, row["limit"] - row["used"]) for row in shown)
