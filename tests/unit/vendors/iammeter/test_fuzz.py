"""Whatever a cloud sends, reading it raises nothing but BadReply, and gives only catalogued metrics."""

from __future__ import annotations

import contextlib
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.domain.errors import AuthFailed, BadReply, RateLimited, Refused
from bridge.domain.metrics import METRICS
from bridge.domain.observation import Origin
from bridge.domain.text import dumps, loads
from bridge.vendors.iammeter import analysis, codec, history
from bridge.vendors.iammeter.faults import data_of
from bridge.vendors.iammeter.rows import Layout, measured
from tests.unit.vendors.iammeter.bench import FIXTURES, NOW, POLICY

numbers = st.integers() | st.decimals(allow_nan=True) | st.sampled_from(["", "1e9999", "-3.5", "x"])
times = st.sampled_from(
    [
        "2020/8/28 5:27:33",
        "0001/1/1 0:00:00",
        "9999/12/31 23:59:59",
        "2020/2/30 1:00:00",
        "",
        "2026-02-24 10:00",
    ]
)
scalars = st.none() | st.booleans() | numbers | times | st.text(max_size=8)
keys = st.sampled_from(
    [
        "sn", "values", "gmtTime", "localTime", "rtcTime", "id", "name", "meters", "time", "yield", "fromGrid",
        "startTime", "endTime", "average", "avgDaytime", "min", "offlineCount", "totalCount", "list", "duration",
    ]
) | st.text(max_size=5)  # fmt: skip
pages = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=40,
)
ZONES = [timezone(timedelta(minutes=minutes)) for minutes in (-720, 0, 330, 840)]
READERS: list[Any] = [
    *(lambda page, layout=layout: codec.latest(page, layout) for layout in Layout),
    *(lambda page, layout=layout: codec.all_latest(page, layout) for layout in (None, *Layout)),
    codec.sites,
    history.advanced,
    *(lambda page, offset=offset: history.basic(page, offset, "local_first") for offset in (None, 0, -210)),
    *(lambda page, zone=zone: history.balance(page, zone) for zone in ZONES),
    analysis.power_analysis,
    *(lambda page, zone=zone: analysis.offline_analysis(page, zone) for zone in ZONES),
]


@given(pages)
@settings(max_examples=300, deadline=None)
def test_no_page_raises_anything_but_a_bad_reply(page: Any) -> None:
    for read in READERS:
        with contextlib.suppress(BadReply):
            read(page)


@given(st.lists(st.lists(scalars, max_size=9) | scalars, max_size=6), st.sampled_from(list(Layout)))
@settings(deadline=None)
def test_rows_give_only_catalogued_metrics_that_are_finite(rows: list[Any], layout: Layout) -> None:
    found = measured(rows, layout)
    for name, value in found.metrics.items():
        assert METRICS[name].takes(value)
        assert Decimal(value).is_finite()
    dumps(dict(found.metrics))


@given(pages)
@settings(deadline=None)
def test_what_was_read_can_be_observed(page: Any) -> None:
    with contextlib.suppress(BadReply):
        sample = codec.latest(page, Layout.BASIC)
        online = codec.is_fresh(sample, NOW, 900)
        codec.observed("SN", sample, NOW, Origin.POLL, POLICY, online=online)


@given(st.integers(100, 499), st.binary(max_size=60))
@example(200, b"")
@example(401, b"{}")
@example(404, b"{}")
@example(200, b'{"data":{},"successful":false,"message":"token"}')
def test_no_body_raises_anything_but_a_vendor_error(status: int, body: bytes) -> None:
    with contextlib.suppress(BadReply, RateLimited, AuthFailed, Refused):
        data_of(status, body, "x")


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.json")), ids=lambda path: path.stem)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_fixture_with_a_byte_changed_is_read_or_a_vendor_error(path: Any, data: st.DataObject) -> None:
    body = bytearray(path.read_bytes())
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        page = data_of(200, bytes(body), "x")
    except (BadReply, RateLimited, AuthFailed, Refused):
        return
    for read in READERS:
        with contextlib.suppress(BadReply):
            read(page)
    with contextlib.suppress(ValueError):
        loads(bytes(body))
