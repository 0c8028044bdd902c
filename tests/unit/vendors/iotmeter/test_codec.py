"""Readings, alarms and events: vectors V1, V2, V4, V5, V6, and what else the platform may send."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.account import AccountPolicy
from bridge.domain.device import DeviceKind
from bridge.domain.metrics import METRICS
from bridge.domain.observation import AlarmMessage, Availability, Described, Event, Origin, Reading
from bridge.domain.text import dumps, loads
from bridge.vendors.iotmeter.codec import Codec, extra_of, kind_of, metrics_of
from bridge.vendors.iotmeter.tasks import task_of
from bridge.vendors.iotmeter.wire import (
    answer_of,
    decoded,
    instant,
    local_text,
    login_of,
    month_windows,
    records_of,
)
from tests.unit.vendors.iotmeter.bench import METER, NOW, fixture, fixture_bytes

CHINA = ZoneInfo("Asia/Shanghai")
CODEC = Codec(AccountPolicy("gas", "iotmeter"), CHINA, 48 * 3600.0)


def seen(record: Any, at: datetime = NOW) -> tuple[Described, Reading, Availability]:
    described, reading, alive = CODEC.seen(record, at, Origin.PUSH, DeviceKind.GAS_METER)
    assert isinstance(described, Described)
    assert isinstance(reading, Reading)
    assert isinstance(alive, Availability)
    return described, reading, alive


def test_v1_every_field_of_a_real_time_push_becomes_its_metric() -> None:
    described, reading, _ = seen(loads(fixture_bytes("v1")))
    assert (reading.device, reading.observed_at) == (METER, datetime(2021, 4, 7, tzinfo=UTC))
    assert reading.metrics == {
        "gas_volume": Decimal("1234.567"), "gas_volume_uncorrected": Decimal("1200.001"),
        "gas_flow": Decimal("0.25"), "gas_flow_uncorrected": Decimal("0.24"),
        "temperature": Decimal("-3.5"), "pressure": Decimal("101.325"), "magnetic_attack_count": 2,
        "gas_volume_this_month": Decimal("12.3"), "gas_volume_last_month": Decimal("45.6"),
        "gas_volume_this_cycle": Decimal("57.9"), "gas_volume_last_cycle": 120,
        "balance_money": Decimal("88.5"), "balance_volume": 0, "price": Decimal("2.63"), "status_bits": 5,
        "status_text": "低电", "rssi": -97, "battery_voltage": Decimal("3.412"), "battery_level": 41,
        "valve_state": "open", "account_open": True, "battery_low_level": 1, "magnetic_attack": False,
        "billing_type": "ladder",
    }  # fmt: skip
    assert reading.extra == {
        "data_type": 0, "data_type_name": "实时数据", "receive_time": "2021-04-07 08:00:12",
    }  # fmt: skip
    device = described.device
    assert (device.kind, device.model, device.manufacturer, device.serial) == (
        DeviceKind.GAS_METER, "物联网表", "F001", METER,
    )  # fmt: skip
    assert set(device.metrics) == reading.metrics.keys()


def test_every_metric_is_one_of_the_catalogue_with_its_type() -> None:
    record = fixture("meter_data_add")
    metrics = metrics_of(loads(dumps(record)))
    ext = {"rtu_state_msg": "ok", "calc_type": 9, "power_level": 2}
    metrics |= metrics_of({"ext_data": ext})
    assert len(metrics) == 41
    assert all(METRICS[name].takes(value) for name, value in metrics.items())


def test_v2_text_numbers_count_and_null_is_left_out() -> None:
    _, reading, alive = seen(fixture("v2"))
    assert (reading.device, reading.observed_at) == (
        "0012345678", datetime(2021, 3, 31, 16, tzinfo=UTC),
    )  # fmt: skip
    assert reading.metrics == {"gas_volume": Decimal("99.9"), "valve_state": "closed"}
    assert reading.extra == {"data_type": "1", "receive_time": "2021-04-03 07:12:00"}
    assert (alive.online, alive.said, alive.at) == (False, False, datetime(2021, 4, 2, 23, 12, tzinfo=UTC))


def test_v4_text_that_is_no_json_is_kept() -> None:
    _, reading, _ = seen(fixture("v4"))
    assert (reading.metrics, reading.observed_at) == ({"gas_volume": 1}, datetime(2021, 4, 7, tzinfo=UTC))
    assert reading.extra == {"data_type": 0, "ext_data": "not json"}


def test_v5_an_alarm_with_its_type_as_text() -> None:
    described, alive, alarm = CODEC.alarm(fixture("v5"), NOW, Origin.PUSH, DeviceKind.GAS_METER)
    assert alarm == AlarmMessage(
        "1234567890", "vendor_3", "3", NOW, Origin.PUSH,
        started_at=datetime(2021, 4, 7, 15, 59, 59, tzinfo=UTC), message="磁攻击", data={"times": 4},
    )  # fmt: skip
    assert isinstance(described, Described)
    assert described.device.kind is DeviceKind.GAS_METER
    assert isinstance(alive, Availability)


def test_v6_an_event_of_an_rtu() -> None:
    described, _, event = CODEC.event(fixture("v6"), NOW, Origin.PUSH, DeviceKind.GAS_METER)
    assert event == Event(
        "R000000001", "vendor_12", NOW, Origin.PUSH, happened_at=datetime(2021, 4, 7, tzinfo=UTC),
        vendor_code="12", message="门开",
    )  # fmt: skip
    assert isinstance(described, Described)
    assert described.device.kind is DeviceKind.RTU


def test_a_flag_that_is_missing_is_unknown_not_false() -> None:
    assert metrics_of({"ext_data": {}}) == {}
    assert metrics_of({"ext_data": {"valve_open": None, "battery_cut": "", "pulse_fault": "maybe"}}) == {}
    assert metrics_of({"ext_data": {"valve_open": "true", "rtu_power": 0}}) == {
        "valve_state": "open", "mains_power": False,
    }  # fmt: skip


@pytest.mark.parametrize(("code", "word"), [(0, "ladder"), ("1", "metering_only"), (7, "unknown_7")])
def test_a_billing_type_is_a_word(code: Any, word: str) -> None:
    assert metrics_of({"ext_data": {"calc_type": code}}) == {"billing_type": word}


def test_unknown_fields_go_to_extra_as_sent() -> None:
    record = {
        "meter_comm_no": METER, "data_guid": "AAAAAAAAAAAAAAAAAAAAAA==", "new_field": [1], "rssi": 21,
        "company_no": "1001", "meter_define_no1": "U-1", "nothing": None,
        "ext_data": '{"new_flag": 5, "data_guid": 1, "valve_open": true, "other": null}',
    }  # fmt: skip
    assert extra_of(record) == {
        "data_guid": "AAAAAAAAAAAAAAAAAAAAAA==", "new_field": [1], "new_flag": 5, "ext_data.data_guid": 1,
    }  # fmt: skip
    assert extra_of({"ext_data": [1, 2]}) == {"ext_data": [1, 2]}


def test_customer_numbers_are_kept_apart_from_the_rest() -> None:
    device = CODEC.device(fixture("get_real_model")["Data"], DeviceKind.GAS_METER)
    assert device.vendor_info == {"meter_area_no": "A01", "company_no": "1001"}
    assert device.customer_info == {"meter_define_no1": "U-0002"}


def test_a_device_that_is_told_as_before_is_the_same_object_and_any_other_word_another() -> None:
    codec = Codec(AccountPolicy("gas", "iotmeter"), CHINA, 1.0)
    record = loads(dumps(fixture("v1") | {"device_type": 1, "factory_code": "F001"}))
    first = codec.device(record, DeviceKind.GAS_METER)
    assert codec.device(loads(dumps(record)), DeviceKind.GAS_METER) is first
    renamed = codec.device(record | {"factory_code": "F002"}, DeviceKind.GAS_METER)
    assert (first.manufacturer, renamed.manufacturer) == ("F001", "F002")
    assert codec.device(record, DeviceKind.GAS_METER) == first
    assert codec.device(record | {"device_type": 2}, DeviceKind.GAS_METER).kind is DeviceKind.RTU
    # true equals 1 in Python, and is no number of the vendor's
    assert codec.device(record | {"device_type": True}, DeviceKind.RTU).kind is DeviceKind.RTU
    fewer = {name: value for name, value in record.items() if name != "std_sum"}
    assert "gas_volume" not in codec.device(fewer, DeviceKind.GAS_METER).metrics


def test_the_unit_of_purchases_is_told_where_it_is_configured() -> None:
    codec = Codec(AccountPolicy("gas", "iotmeter"), CHINA, 1.0, purchase_unit="m3")
    told = codec.device({"meter_comm_no": METER, "ext_data": {"total_buy_value": 5}}, DeviceKind.GAS_METER)
    assert told.units == {"purchase_total": "m³"}
    assert codec.device({"meter_comm_no": METER, "std_sum": 1}, DeviceKind.GAS_METER).units == {}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, DeviceKind.GAS_METER), ("2", DeviceKind.RTU), (2, DeviceKind.RTU), (9, DeviceKind.GAS_METER),
        (None, None), ("", None), ("x", None), (True, None),
    ],
)  # fmt: skip
def test_a_device_type_is_compared_as_number(value: Any, kind: DeviceKind | None) -> None:
    assert kind_of(value) is kind


@pytest.mark.parametrize(
    ("record", "word"),
    [
        ({"acquisition_time": "2021-04-07 08:00:00"}, "communication number"),
        ({"meter_comm_no": "", "acquisition_time": "2021-04-07"}, "communication number"),
        ({"meter_comm_no": "1" * 51, "acquisition_time": "2021-04-07"}, "longer"),
        ({"meter_comm_no": True, "acquisition_time": "2021-04-07"}, "communication number"),
        ({"meter_comm_no": METER}, "acquisition_time"),
        ({"meter_comm_no": METER, "acquisition_time": "yesterday"}, "acquisition_time"),
        ({"meter_comm_no": METER, "acquisition_time": "0001-01-01T00:00:00"}, "acquisition_time"),
    ],
)
def test_a_reading_without_device_or_time_is_of_no_use(record: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        CODEC.reading(record, NOW, Origin.PUSH)


@pytest.mark.parametrize("missing", ["device_comm_no", "alarm_time", "alarm_code"])
def test_an_alarm_without_device_time_or_code_is_of_no_use(missing: str) -> None:
    record = {name: value for name, value in fixture("v5").items() if name != missing}
    with pytest.raises(ValueError, match=r"missing"):
        CODEC.alarm(record, NOW, Origin.PUSH, DeviceKind.GAS_METER)


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ("{}", {}), ("", {}), (None, {}), ({"a": 1}, {"a": 1}), ("text", {"alarm_data": "text"}),
        ("[1]", {"alarm_data": [1]}), ('{"a": {"b": 2}}', {"a": {"b": 2}}),
    ],
)  # fmt: skip
def test_alarm_data_may_be_an_object_or_its_text(data: Any, kept: Any) -> None:
    *_, alarm = CODEC.alarm({**fixture("v5"), "alarm_data": data}, NOW, Origin.PUSH, DeviceKind.GAS_METER)
    assert isinstance(alarm, AlarmMessage)
    assert alarm.data == kept


def test_a_code_of_letters_becomes_a_name() -> None:
    *_, alarm = CODEC.alarm({**fixture("v5"), "alarm_code": "E-21"}, NOW, Origin.PUSH, DeviceKind.RTU)
    assert isinstance(alarm, AlarmMessage)
    assert (alarm.code, alarm.vendor_code) == ("vendor_e_21", "E-21")


@pytest.mark.parametrize(("age_h", "online"), [(0, True), (47, True), (48, False), (-1, True)])
def test_silence_makes_a_device_off_line(age_h: int, online: bool) -> None:
    heard_at = NOW - timedelta(hours=age_h)
    alive = CODEC.availability(METER, heard_at, NOW, Origin.POLL)
    assert (alive.online, alive.said, alive.at) == (online, False, min(heard_at, NOW))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017-04-17", datetime(2017, 4, 16, 16, tzinfo=UTC)),
        ("2018-08-11 10:37:56", datetime(2018, 8, 11, 2, 37, 56, tzinfo=UTC)),
        ("2018-08-11 10:37", datetime(2018, 8, 11, 2, 37, tzinfo=UTC)),
        ("2017-04-17T10:12:10", datetime(2017, 4, 17, 2, 12, 10, tzinfo=UTC)),
        ("2017-05-17T11:17:31.6895023+08:00", datetime(2017, 5, 17, 3, 17, 31, 689502, tzinfo=UTC)),
        ("2017-05-17T11:17:31Z", datetime(2017, 5, 17, 11, 17, 31, tzinfo=UTC)),
        ("2017-05-17T11:17:31-0330", datetime(2017, 5, 17, 14, 47, 31, tzinfo=UTC)),
        (" 2017-04-17 ", datetime(2017, 4, 16, 16, tzinfo=UTC)),
        ("2017-02-30", None), ("2017-04-17 25:00:00", None), ("0001-01-01T00:00:00", None), ("", None),
        ("17.04.2017", None), (None, None), (1491000000, None), ("9999-12-31T23:59:59-23:59", None),
    ],
)  # fmt: skip
def test_times_of_the_platform_are_read_in_all_their_shapes(text: Any, expected: datetime | None) -> None:
    assert instant(text, CHINA) == expected


def test_a_window_is_split_by_month_and_reaches_a_minute_further() -> None:
    start = datetime(2021, 3, 30, 1, 2, 3, tzinfo=UTC)
    windows = month_windows(start, datetime(2021, 5, 1, 0, 0, 1, tzinfo=UTC), CHINA)
    assert windows == [
        {"year": 2021, "month": 3, "start_day": 30, "start_hour": 9, "start_minute": 2,
         "end_day": 31, "end_hour": 23, "end_minute": 59},
        {"year": 2021, "month": 4, "start_day": 1, "start_hour": 0, "start_minute": 0,
         "end_day": 30, "end_hour": 23, "end_minute": 59},
        {"year": 2021, "month": 5, "start_day": 1, "start_hour": 0, "start_minute": 0,
         "end_day": 1, "end_hour": 8, "end_minute": 1},
    ]  # fmt: skip


@pytest.mark.parametrize("end_min", [20, 50])
def test_windows_around_clocks_that_are_put_back_cover_the_hour_that_comes_twice(end_min: int) -> None:
    start = datetime(
        2021, 10, 31, 0, 30, tzinfo=UTC
    )  # 02:30 in Berlin, half an hour before it is 02:00 again
    (window,) = month_windows(
        start, datetime(2021, 10, 31, 1, end_min, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    )
    begin = window["start_hour"] * 60 + window["start_minute"]
    end = window["end_hour"] * 60 + window["end_minute"]
    assert (window["start_day"], window["end_day"]) == (31, 31)
    assert begin <= 2 * 60
    assert end >= 2 * 60 + 59


instants = st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@given(instants, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_windows_leave_no_minute_out(start: datetime, length: timedelta) -> None:
    end = start + length
    windows = month_windows(start, end, CHINA)
    edges = [
        (
            datetime(w["year"], w["month"], w["start_day"], w["start_hour"], w["start_minute"], tzinfo=CHINA),
            datetime(w["year"], w["month"], w["end_day"], w["end_hour"], w["end_minute"], tzinfo=CHINA),
        )
        for w in windows
    ]
    assert edges[0][0] <= start
    assert edges[-1][1] >= end - timedelta(minutes=1)
    for (_, before), (after, _) in itertools.pairwise(edges):
        assert after - before == timedelta(minutes=1)


@given(instants)
def test_a_time_that_is_sent_reads_back_the_same(at: datetime) -> None:
    assert instant(local_text(at, CHINA), CHINA) == at.replace(microsecond=0)


def test_v9_a_login_with_seven_fraction_digits() -> None:
    answer = answer_of(fixture_bytes("v9"))
    login = login_of(answer.data, CHINA)
    assert (login.token, login.expires_at) == ("FAKE", datetime(2017, 5, 17, 3, 17, 31, 689502, tzinfo=UTC))


def test_counters_are_read_in_any_case() -> None:
    answer = answer_of(fixture_bytes("v11"))
    assert (answer.good, answer.total, len(records_of(answer.data))) == (True, 3, 2)


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{}", b'{"State": "perhaps"}', b'{"State": 1}', b"{"])
def test_an_answer_without_state_cannot_be_read(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        answer_of(body)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, {}), ("", {}), (" ", {}), ("{}", {}), ("x", "x"), ('{"a":1}', {"a": 1}), ({"a": 1}, {"a": 1})],
)
def test_json_inside_strings_is_decoded(value: Any, expected: Any) -> None:
    assert decoded(value) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
FIELDS = sorted({*fixture("meter_data_add"), "ctrl_id", "ctrl_state", "ctrl_time", "return_data"})
EXT_FIELDS = sorted(fixture("meter_data_add")["ext_data"])
ext_objects = st.dictionaries(st.sampled_from(EXT_FIELDS) | st.text(max_size=8), json_values, max_size=8)
times = st.sampled_from(["2021-04-07 08:00:00", "2021-04-07", "9999-12-31 23:59:59", "1970-01-01", "x"])
records = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FIELDS, json_values),
        "meter_comm_no": st.text(max_size=20) | json_values,
        "acquisition_time": times | json_values,
        "ext_data": ext_objects | ext_objects.map(lambda value: dumps(value).decode()) | json_values,
    },
)


@given(records)
def test_no_record_makes_the_codec_stumble(record: dict[str, Any]) -> None:
    sent = loads(dumps(record))
    metrics = metrics_of(sent)
    assert all(METRICS[name].takes(value) for name, value in metrics.items())
    dumps(metrics)
    dumps(extra_of(sent))
    for read in (
        lambda: CODEC.seen(sent, NOW, Origin.PUSH, DeviceKind.GAS_METER),
        lambda: CODEC.alarm(sent, NOW, Origin.PUSH, DeviceKind.GAS_METER),
        lambda: CODEC.event(sent, NOW, Origin.PUSH, DeviceKind.GAS_METER),
        lambda: [task_of(sent, CHINA)],
    ):
        with contextlib.suppress(ValueError):
            assert read()


@given(st.binary(max_size=60) | json_values.map(dumps) | st.text(max_size=60).map(str.encode))
def test_no_body_makes_the_envelope_stumble(body: bytes) -> None:
    """Each reader understands it or raises ValueError, and nothing else."""
    with contextlib.suppress(ValueError):
        answer = answer_of(body)
        assert isinstance(answer.good, bool)
        with contextlib.suppress(ValueError):
            assert all(isinstance(record, Mapping) for record in records_of(answer.data))
        with contextlib.suppress(ValueError):
            assert login_of(answer.data, CHINA).token
