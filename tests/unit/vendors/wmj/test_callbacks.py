"""Callbacks (4.6): every sample of the page, vectors V6 to V11, and what else may come."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.account import AccountPolicy
from bridge.domain.errors import PushDenied, PushMalformed, PushUnusable
from bridge.domain.metrics import METRICS
from bridge.domain.observation import AlarmMessage, Availability, Described, Event, Origin, Reading
from bridge.ports import PushRequest
from bridge.vendors.wmj.callbacks import fault_bits
from bridge.vendors.wmj.notes import Notes
from bridge.vendors.wmj.push import CallbackDoor
from tests.unit.vendors.wmj.bench import NOW, SERIAL, Account

DEV_REG_INFO = {
    "hw_ver": "1.0.0", "iccid": "EXAMPLE_WIFI/001122334455", "imei": "001100000001", "model": "W71",
    "project": "W71", "rssi": "-45", "sw_ver": "71.1.47", "username": "W7100000001",
}  # fmt: skip
REPORT_INFO = {
    "device_sn": "W7100000001", "total_electricity": "12.34", "balance": "", "switch_state": "0",
    "heartbeat": "1", "voltage": "229.8", "electric_current": "0", "power": "0", "temperature": "31",
    "prepay": "false", "retainstate": "1",
}  # fmt: skip


def callback(word: str, info: Any, **fields: Any) -> bytes:
    body = {"device_sn": SERIAL, "msg_id": "0", "type": "2", "cmd": word, "app_id": "", "cmd_type": word}
    return json.dumps(body | {"info": info} | fields).encode()


def alarm(detail: str, code: str, bitmap: str) -> bytes:
    info = {"alarm_detail": detail, "bitmap": bitmap, "code": code, "msg": "", "notify_type": "alarm"}
    return callback("notify", info)


def taken(account: Account, body: bytes, tail: str = "") -> list[Any]:
    door = account.adapter.push
    assert door is not None
    pushed = door.parse(PushRequest(tail, {}, body, NOW))
    (batch,) = pushed.batches
    assert pushed.answer.status == 200
    assert pushed.answer.body == b'{"code":0,"msg":"success"}'
    return list(batch.observations)


def test_off_line_carries_the_vendors_time(account: Account) -> None:
    (seen,) = taken(account, callback("OffLine", {"time": "1725825680"}, type="0"))
    assert seen == Availability(
        SERIAL, False, NOW, Origin.PUSH, True,
        at=datetime(2024, 9, 8, 20, 1, 20, tzinfo=UTC), announced=True, vendor_code="OffLine",
        data={"time": "1725825680"},
    )  # fmt: skip


def test_on_line_leaves_the_address_out_unless_the_account_publishes_it(
    account: Account, make: Callable[..., Account]
) -> None:
    body = callback("OnLine", {"ipaddress": "203.0.113.10", "time": "1725825684"}, type="0")
    (seen,) = taken(account, body)
    assert (seen.online, seen.said, seen.announced) == (True, True, True)
    assert seen.at == datetime(2024, 9, 8, 20, 1, 24, tzinfo=UTC)
    assert seen.data == {"time": "1725825684"}
    (open_one,) = taken(make(customer_data=True), body)
    assert open_one.data == {"ipaddress": "203.0.113.10", "time": "1725825684"}


@pytest.mark.parametrize("time", ["", "soon", "99999999999999999999", "1e400", None, []])
def test_a_connection_message_with_an_unusable_time_has_none(account: Account, time: Any) -> None:
    (seen,) = taken(account, callback("OnLine", {"time": time}))
    assert seen.at is None


def test_a_device_report_describes_the_device_and_keeps_the_wifi_private(account: Account) -> None:
    body = callback("dev_reg", DEV_REG_INFO).replace(b"/", b"\\/")
    event, described, reading, alive = taken(account, body)
    assert isinstance(event, Event)
    assert (event.code, event.device) == ("registered", SERIAL)
    assert "iccid" not in event.data
    assert "imei" not in event.data
    assert event.data["sw_ver"] == "71.1.47"
    assert isinstance(described, Described)
    device = described.device
    assert (device.model, device.firmware, device.serial) == ("W71", "71.1.47", SERIAL)
    assert device.vendor_info == {"hw_ver": "1.0.0", "project": "W71"}
    assert device.customer_info == {"iccid": "EXAMPLE_WIFI/001122334455", "imei": "001100000001"}
    assert reading == Reading(SERIAL, NOW, Origin.PUSH, {"signal_strength": -45})
    assert (alive.online, alive.said) == (True, False)


def test_a_cellular_iccid_and_imei_are_no_secret(account: Account) -> None:
    info = DEV_REG_INFO | {"iccid": "00000000000000000000", "imei": "000000000000000"}
    event, described, _, _ = taken(account, callback("dev_reg", info))
    assert described.device.vendor_info["iccid"] == "00000000000000000000"
    assert described.device.vendor_info["imei"] == "000000000000000"
    assert described.device.customer_info == {}
    assert event.data == info


@pytest.mark.parametrize(
    ("state", "frame", "word"),
    [("1", "55AA03070005100100010121", "on"), ("0", "55AA03070005100100010020", "off")],
)
def test_a_switch_report_announces_the_state(account: Account, state: str, frame: str, word: str) -> None:
    info = {"data": frame, "notify_type": "on-off", "state": state}
    assert taken(account, callback("notify", info)) == [
        Reading(SERIAL, NOW, Origin.PUSH, {"switch_state": word}, announced={"switch_state": info})
    ]


def test_the_state_decides_where_the_frame_disagrees(account: Account) -> None:
    info = {"data": "55AA03070005100100010020", "notify_type": "on-off", "state": "1"}
    (seen,) = taken(account, callback("notify", info))
    assert seen.metrics == {"switch_state": "on"}
    assert seen.extra["anomaly"] == "the state is 1, but the frame says 0"
    assert seen.extra["data"] == "55AA03070005100100010020"


def test_a_frame_that_cannot_be_read_is_an_anomaly_and_no_obstacle(account: Account) -> None:
    (seen,) = taken(account, callback("notify", {"data": "55AA", "notify_type": "on-off", "state": "0"}))
    assert seen.metrics == {"switch_state": "off"}
    assert "cannot be read" in seen.extra["anomaly"]


def test_without_a_state_the_frame_is_believed_and_without_both_nothing(account: Account) -> None:
    info = {"data": "55AA03070005100100010121", "notify_type": "on-off", "state": ""}
    (seen,) = taken(account, callback("notify", info))
    assert seen.metrics == {"switch_state": "on"}
    with pytest.raises(PushUnusable, match="without a state"):
        taken(account, callback("notify", {"notify_type": "on-off"}))


@pytest.mark.parametrize(
    ("detail", "code", "bitmap", "bits"),
    [
        ("overload", "1", "55", None),
        ("overheat", "3", "55", None),
        ("overcurrent", "4", "55AA0307", None),
        ("undervoltage", "6", "0800", ["undervoltage"]),
        ("overvoltage", "6", "0800", ["undervoltage"]),
    ],
)
def test_only_the_detail_decides_the_kind_of_an_alarm(
    account: Account, detail: str, code: str, bitmap: str, bits: list[str] | None
) -> None:
    (seen,) = taken(account, alarm(detail, code, bitmap))
    assert isinstance(seen, AlarmMessage)
    assert (seen.code, seen.vendor_code) == (detail, code)
    assert seen.started_at is None
    assert seen.data["bitmap"] == bitmap
    assert seen.data.get("fault_bits") == bits


@pytest.mark.parametrize(
    ("detail", "code", "word"),
    [
        ("leakage", "2", "vendor_leakage"),
        ("Low-Balance ", "9", "vendor_low_balance"),
        ("", "7", "vendor_7"),
        ("漏电", "2", "vendor_2"),
        ("", "", "vendor_unknown"),
    ],
)
def test_an_unknown_alarm_keeps_the_vendors_word(account: Account, detail: str, code: str, word: str) -> None:
    (seen,) = taken(account, alarm(detail, code, ""))
    assert (seen.code, seen.vendor_code) == (word, code)


def test_the_kind_is_read_from_cmd_type_where_cmd_is_missing(account: Account) -> None:
    body = json.loads(alarm("overcurrent", "4", "55AA0307"))
    del body["cmd"]
    (seen,) = taken(account, json.dumps(body).encode())
    assert (seen.code, seen.vendor_code) == ("overcurrent", "4")


@pytest.mark.parametrize(
    ("bitmap", "bits"),
    [
        ("0400", ["overvoltage"]), ("00000800", ["undervoltage"]), ("00", []), ("080", None), ("zz", None),
        ("", None), (None, None), ("55aa", None), (" 0800 ", ["undervoltage"]), ("0" * 10, None),
    ],
)  # fmt: skip
def test_a_bitmap_is_decoded_only_if_it_is_one(bitmap: Any, bits: list[str] | None) -> None:
    assert fault_bits(bitmap) == bits


def test_a_periodic_report_of_strings_becomes_a_reading(account: Account) -> None:
    reading, alive = taken(account, callback("power_report", REPORT_INFO))
    assert reading == Reading(
        SERIAL,
        NOW,
        Origin.PUSH,
        {
            "import_energy": Decimal("12.34"), "voltage": Decimal("229.8"), "current": 0, "active_power": 0,
            "temperature": 31, "switch_state": "off", "healthy": True, "prepay_enabled": False,
            "retain_state": True,
        },
    )  # fmt: skip
    assert (alive.online, alive.said, alive.origin) == (True, False, Origin.PUSH)


def test_credit_counts_only_while_prepay_is_on(account: Account) -> None:
    info = REPORT_INFO | {"prepay": "true", "balance": "5.5", "volt": "3.6"}
    reading, _ = taken(account, callback("power_report", info))
    assert reading.metrics["balance_energy"] == Decimal("5.5")
    assert reading.extra == {"volt": "3.6"}
    off, _ = taken(account, callback("power_report", REPORT_INFO | {"balance": "5.5"}))
    assert "balance_energy" not in off.metrics


@pytest.mark.parametrize(
    ("word", "info", "code", "native"),
    [
        ("lock_open", {"a": "1"}, "vendor_lock_open", "lock_open"),
        ("notify", {"notify_type": "Door-Open", "x": 1}, "vendor_door_open", "Door-Open"),
        ("notify", {}, "vendor_notify", "notify"),
        ("警报", {}, "vendor_unknown", "警报"),
    ],
)
def test_unknown_callbacks_become_events(
    account: Account, word: str, info: dict[str, Any], code: str, native: str
) -> None:
    (seen,) = taken(account, callback(word, info))
    assert isinstance(seen, Event)
    assert (seen.code, seen.vendor_code, seen.data) == (code, native, info)


@pytest.mark.parametrize("iccid", ["8986112021402010A123", "898604a6102070123456"])
def test_a_sim_card_number_may_have_letters(account: Account, iccid: str) -> None:
    _, described, _, _ = taken(account, callback("dev_reg", DEV_REG_INFO | {"iccid": iccid}))
    assert described.device.vendor_info["iccid"] == iccid
    assert "iccid" not in described.device.customer_info


def test_what_describes_the_device_may_be_a_number(account: Account) -> None:
    sent = DEV_REG_INFO | {"hw_ver": 1.1, "imei": 860000000000001, "project": True}
    _, described, _, _ = taken(account, callback("dev_reg", sent))
    assert described.device.vendor_info == {"hw_ver": Decimal("1.1"), "imei": 860000000000001}


def test_the_raw_info_of_a_connection_message_is_kept_less_customer_data(account: Account) -> None:
    (seen,) = taken(account, callback("OnLine", [{"ipaddress": "203.0.113.10", "cell": 7}]))
    assert (seen.online, seen.vendor_code, seen.data) == (True, "OnLine", {"info": [{"cell": 7}]})


def test_an_info_that_is_no_object_is_empty_and_kept(account: Account) -> None:
    (seen,) = taken(account, callback("other", ["a", 2]))
    assert seen.data == {"info": ["a", 2]}
    (alive,) = taken(account, callback("power_report", ["a"]))
    assert isinstance(alive, Availability)


def test_a_form_is_read_where_the_body_is_no_json(account: Account) -> None:
    info = {"notify_type": "on-off", "state": "1", "data": "55AA03070005100100010121"}
    body = urlencode({"device_sn": SERIAL.lower(), "cmd": "notify", "info": json.dumps(info)}).encode()
    (seen,) = taken(account, body)
    assert seen.metrics == {"switch_state": "on"}
    (bare,) = taken(account, urlencode({"device_sn": SERIAL, "cmd": "thing", "info": "text"}).encode())
    assert bare.data == {"info": "text"}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"hello", b"\xff\xfe", b"a=1&b=2", b"{'a': 1}", b"&".join([b"cmd=1"] * 99)]
)
def test_a_body_that_is_neither_is_malformed(account: Account, body: bytes) -> None:
    with pytest.raises(PushMalformed):
        taken(account, body)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"1",
        b"null",
        b"{}",
        callback("OnLine", {}, device_sn="W7200000009"),
        callback("OnLine", {}, device_sn=7),
        callback("", {}),
    ],
)
def test_a_body_that_says_nothing_of_our_devices_is_unusable(account: Account, body: bytes) -> None:
    with pytest.raises(PushUnusable):
        taken(account, body)


def test_an_excluded_device_is_unusable(make: Callable[..., Account]) -> None:
    account = make(devices={"include": [SERIAL, "W7200000002"], "exclude": ["w72*"]})
    with pytest.raises(PushUnusable, match="none of the account's devices"):
        taken(account, callback("OnLine", {}, device_sn="W7200000002"))


def test_nothing_is_taken_below_the_accounts_address(account: Account) -> None:
    body = callback("OnLine", {})
    assert taken(account, body, tail="/")
    with pytest.raises(PushDenied) as denied:
        taken(account, body, tail="/api")
    assert denied.value.status == 404


def test_equal_bodies_have_equal_keys_for_three_seconds(account: Account) -> None:
    door = account.adapter.push
    assert door is not None

    def key(body: bytes) -> Any:
        (batch,) = door.parse(PushRequest("", {}, body, NOW)).batches
        assert batch.body_window_s == 3
        return batch.body_key

    assert key(callback("OnLine", {})) == key(callback("OnLine", {}))
    assert key(callback("OnLine", {})) != key(callback("OffLine", {}))


def test_answers_are_the_vendors_words(account: Account) -> None:
    door = account.adapter.push
    assert door is not None
    request = PushRequest("", {}, b"", NOW)
    assert (door.success(request).status, door.success(request).body) == (200, b'{"code":0,"msg":"success"}')
    failed = door.failure(None, 503, "no room")
    assert (failed.status, failed.body) == (503, b'{"code":1,"msg":"no room"}')


def test_an_account_without_push_settings_has_no_door(make: Callable[..., Account]) -> None:
    assert make(push=None).adapter.push is None


FUZZED = CallbackDoor(frozenset({SERIAL}), AccountPolicy("shop", "wmj"), Notes(lambda: 0.0))
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
NAMES = [
    "notify_type", "state", "data", "alarm_detail", "code", "bitmap", "msg", "time", "rssi", "iccid", "imei",
    "prepay", "balance", "switch_state", "controlled_by_schedule", "voltage", "sw_ver", "heartbeat", "other",
]  # fmt: skip
infos = st.dictionaries(st.sampled_from(NAMES), values | st.sampled_from(["on-off", "alarm", "1", "0", "-1"]))
WORDS = ["OnLine", "OffLine", "dev_reg", "notify", "power_report", "x"]
messages = st.fixed_dictionaries(
    {"device_sn": st.just(SERIAL) | values, "cmd": st.sampled_from(WORDS) | values, "info": infos | values}
)


@given(messages.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=80))
def test_no_body_raises_anything_but_the_known_errors(body: bytes) -> None:
    try:
        pushed = FUZZED.parse(PushRequest("", {}, body, NOW))
    except (PushMalformed, PushUnusable):
        return
    for one in pushed.batches[0].observations:
        if isinstance(one, Reading):
            assert all(METRICS[name].takes(value) for name, value in one.metrics.items())


def test_a_byte_order_mark_is_no_fault(account: Account) -> None:
    (seen,) = taken(account, b"\xef\xbb\xbf" + callback("OnLine", {"time": "1725825684"}))
    assert (seen.online, seen.data) == (True, {"time": "1725825684"})
