"""The saj codec: whatever comes over the wire, it is a BadReply or it is read; nothing else is raised."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.account import AccountPolicy
from bridge.domain.errors import BadReply, VendorError
from bridge.domain.metrics import METRICS
from bridge.domain.observation import Origin, Reading
from bridge.domain.text import dumps, loads
from bridge.vendors.saj import alarms, codec, tokens, wire
from bridge.vendors.saj.faults import verified
from bridge.vendors.saj.quota import quota_from

NOW = datetime(2017, 6, 7, 12, 0, tzinfo=UTC)
ZONE = timezone(timedelta(hours=8))
POLICY = AccountPolicy("roof", "saj")

NAMES = [
    "datas", "plants", "c_user", "devices", "alarms", "energys", "powers", "count", "plant_id", "device_id",
    "device_sn", "name", "status", "time", "last_update_time", "timezone", "current_power", "power", "peak_power",
    "total_energy", "vpv1", "IAC3", "temperature", "alarm_code", "start_time", "end_time", "date", "energy",
    "next_page_start_id", "access_token", "uid", "expires_in", "installercontact",
]  # fmt: skip
KEYS = st.sampled_from(NAMES) | st.text(max_size=5)
TIMES = st.sampled_from(
    [
        "2017-06-07T22:40:00+08:00",
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59",
        "2015-12-08T11:05:00Z",
        "2015",
        "2015-11",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | TIMES
    | st.sampled_from(["--", "", "1e9", "9" * 60, "-0.0", "+08:00", "+99:99", "1E+400"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)
ROWS = st.lists(st.dictionaries(KEYS, SCALARS, max_size=8), max_size=5)


ENVELOPES = st.dictionaries(st.sampled_from(["data", "error_code", "error_msg"]), JSON, max_size=3)


@given(st.binary(max_size=60) | (JSON | ENVELOPES).map(dumps), st.integers(100, 599))
def test_no_answer_raises_anything_but_a_vendor_error(raw: bytes, status: int) -> None:
    with contextlib.suppress(BadReply):
        wire.answer_of(status, raw, "x")
    with contextlib.suppress(VendorError):
        verified(status, raw, "x", writes=False)


READERS: list[Callable[[Any], object]] = [
    lambda data: codec.plant_reading("P", data, ZONE, NOW, Origin.POLL),
    lambda data: codec.latest_reading("I", data, ZONE, NOW),
    lambda data: codec.inverter_records("I", data, ZONE, NOW),
    lambda data: codec.power_records("P", data, ZONE, NOW),
    codec.next_cursor,
    codec.zone_of,
    lambda data: wire.page_of(data, "plants").is_last(1, 100),
    alarms.position_from,
    tokens.token_from,
    quota_from,
]


@given(JSON)
def test_any_data_are_read_or_passed_over(data: Any) -> None:
    for read in READERS:
        read(data)
    with contextlib.suppress(BadReply):
        tokens.token_of(data, 0.0, "a", writes=False)


@given(ROWS)
def test_any_rows_are_read_or_passed_over(rows: list[dict[str, Any]]) -> None:
    plants, inverters = codec.plants_of(rows), codec.inverters_of(rows, ZONE)
    for plant in plants:
        codec.plant_said(plant, NOW)
        codec.rated_w(plant.row)
        dumps(dict(codec.plant_device(plant, rows[0], POLICY).vendor_info))
    for inverter in inverters:
        codec.inverter_device(inverter, "P", POLICY)
    found = alarms.occurrences_of(rows, ZONE, equal_is_cleared=True)
    scan = alarms.Scan(alarms.Position(), NOW, 2)
    for one, start in scan.take(found, len(rows), NOW):
        dumps(dict(alarms.as_alarm(one, "I", start, NOW).data))
    kept = scan.finished()
    assert alarms.position_from(loads(dumps(kept.as_json()))) == kept
    codec.energy_records("P", rows, "day", ZONE, NOW)


@given(ROWS)
def test_what_is_read_fits_the_catalogue(rows: list[dict[str, Any]]) -> None:
    readings: list[Reading] = codec.inverter_records("I", {"datas": rows}, ZONE, NOW)
    for row in rows:
        overview = codec.plant_reading("P", row, ZONE, NOW, Origin.POLL)
        readings += [overview] if overview is not None else []
    for reading in readings:
        assert reading.metrics
        assert all(METRICS[name].takes(value) for name, value in reading.metrics.items())
        assert reading.observed_at is None or reading.observed_at.tzinfo is UTC


@given(st.decimals(min_value=-1000, max_value=1000, places=3))
def test_kilowatts_become_watts_without_a_rest(kilowatts: Decimal) -> None:
    reading = codec.plant_reading("P", {"current_power": str(kilowatts)}, ZONE, NOW, Origin.POLL)
    assert reading is not None
    assert reading.metrics["active_power"] == kilowatts * 1000
    assert isinstance(reading.metrics["active_power"], int)
