"""Whatever the platform sends, the codec makes observations of it or a BadReply, and nothing else."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.account import AccountPolicy
from bridge.domain.device import DeviceKind
from bridge.domain.errors import BadReply
from bridge.domain.metrics import METRICS
from bridge.domain.observation import Event, Observation, Origin, Reading, Words
from bridge.domain.text import dumps, loads
from bridge.vendors.jrhsz.codec import Codec
from bridge.vendors.jrhsz.notes import Overlap
from bridge.vendors.jrhsz.wire import Row, answer_of, rows_of, token_of
from tests.unit.vendors.jrhsz.bench import FIXTURES, NOW

KINDS = (DeviceKind.ELECTRICITY_METER, DeviceKind.WATER_METER, DeviceKind.METER)
ZONES = (timezone(timedelta(hours=8)), timezone(timedelta(hours=-12)), UTC)


def fields_of_the_page() -> list[str]:
    found = {"typeType", "imei", "reactivePowerC"}
    for path in FIXTURES.glob("*.json"):
        data = json.loads(path.read_text()).get("data")
        for row in data if isinstance(data, list) else [data]:
            found |= set(row) if isinstance(row, dict) else set()
    return sorted(found)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.text(max_size=12)
    | st.sampled_from(
        ["跳闸", "合闸", "在线", "解析正常", "346.90", "1e99", "-", "9" * 60, "0001-01-01 00:00:00",
         "9999-12-31 23:59:59", "2023-04-22 10:31:53", "2023-13-01 00:00:00", "11", 24, 7]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
sent_rows = st.dictionaries(st.sampled_from(fields_of_the_page()) | st.text(max_size=6), values, max_size=14)
codecs = st.builds(
    Codec,
    st.builds(AccountPolicy, st.just("flats"), st.just("jrhsz"), customer_data=st.booleans()),
    st.sampled_from(ZONES),
    st.sampled_from([Decimal(1), Decimal("0.001"), Decimal(1_000_000)]),
)


def observed(codec: Codec, row: Row, kind: DeviceKind) -> list[Observation]:
    meter = codec.meter(row, NOW)
    codec.imei_of(row, kind)
    return [
        *(meter.observations() if meter is not None else ()),
        *codec.latest(row, kind, NOW, Origin.POLL, {"gate": "x"}),
        *codec.stored(row, kind, NOW, Origin.POLL),
        *codec.consumed(row, kind, NOW, Origin.POLL),
        *codec.time_of_use(row, kind, NOW, Origin.POLL),
        *codec.camera(row, kind, NOW, Origin.POLL),
    ]


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_bytes_raise_anything_but_a_bad_reply(body: bytes) -> None:
    with contextlib.suppress(BadReply):
        answer = answer_of(body, "readMeter")
        rows_of(answer, "readMeter")
        token_of(answer, NOW)


def test_a_bad_reply_quotes_nothing_of_what_came() -> None:
    with pytest.raises(BadReply) as raised:
        answer_of(b'{"code": 200 "data": "FAKE-TOKEN"}', "login")
    assert "FAKE-TOKEN" not in str(raised.value)
    assert "34 bytes, SHA-256" in str(raised.value)


@given(values, values, values)
def test_no_envelope_raises_anything_but_a_bad_reply(code: Any, data: Any, message: Any) -> None:
    body = dumps({"code": code, "data": data, "msg": message})
    for read in (rows_of, lambda answer, _operation: token_of(answer, NOW)):
        with contextlib.suppress(BadReply):
            read(answer_of(body, "login"), "login")


@given(codecs, sent_rows, st.sampled_from(KINDS))
def test_no_row_raises_anything_and_only_good_metrics_leave(
    codec: Codec, sent: dict[str, Any], kind: DeviceKind
) -> None:
    row = loads(dumps(sent))
    overlap = Overlap()
    overlap.begin()
    assert overlap.is_new(row)
    assert not overlap.is_new(row)
    for one in observed(codec, row, kind):
        if isinstance(one, Reading | Words):
            assert all(METRICS[name].takes(value) for name, value in one.metrics.items())
        if isinstance(one, Reading):
            dumps({"metrics": dict(one.metrics), "extra": dict(one.extra)})
            assert not one.extra.keys() & {"user_code", "user_name", "house_number"}


@given(codecs.filter(lambda codec: not codec.policy.customer_data), sent_rows, st.sampled_from(KINDS))
def test_customers_are_never_told_of_unless_wanted(
    codec: Codec, sent: dict[str, Any], kind: DeviceKind
) -> None:
    private = {
        "user_code": "PRIVATE-1",
        "user_name": "PRIVATE-2",
        "house_number": "PRIVATE-3",
        "user_x": "PRIVATE-4",
        "User_Name": "PRIVATE-5",
        "houseNumber": "PRIVATE-6",
        "USER_PHONE": "PRIVATE-7",
    }
    row = loads(dumps(sent | {"tableNo": "1", "imageStatus": "x"} | private))
    for one in observed(codec, row, kind):
        assert "PRIVATE" not in repr(one)
    meter = codec.meter(row, NOW)
    assert meter is not None
    assert "PRIVATE" not in repr(meter.device.vendor_info)
    assert any(isinstance(one, Event) for one in observed(codec, row, kind))


@given(st.integers(-(10**9), 10**9), st.integers(0, 6))
def test_numbers_keep_every_digit(digits: int, places: int) -> None:
    codec = Codec(AccountPolicy("flats", "jrhsz"), ZONES[0])
    text = f"{Decimal(digits).scaleb(-places):f}"
    row = {"tableNo": "1", "reading": text, "totalActivePower": text, "createTime": "2023-04-22 10:31:53"}
    (latest,) = codec.latest(row, DeviceKind.METER, NOW, Origin.POLL)
    (power,) = codec.time_of_use(row, DeviceKind.METER, NOW, Origin.POLL)
    assert isinstance(latest, Reading)
    assert isinstance(power, Reading)
    assert latest.metrics["reading"] == Decimal(text)
    assert power.metrics["active_power"] == Decimal(text) * 1000
