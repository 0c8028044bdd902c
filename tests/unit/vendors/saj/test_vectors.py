"""The test vectors of the page, section 9, and what else the codec must bear."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.domain.errors import AuthFailed, LostAnswer, RateLimited, Refused
from bridge.domain.metrics import METRICS
from bridge.domain.observation import AlarmMessage, Availability, Origin, Reading, Words
from bridge.vendors.saj import alarms, codec, wire
from bridge.vendors.saj.faults import EndpointClosed, TokenRefused, verified
from bridge.vendors.saj.tokens import token_of
from tests.unit.vendors.saj.bench import NOW, Account, body, vector

ZONE = timezone(timedelta(hours=8))
D = Decimal


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_vector_1_the_token_is_due_at_nine_tenths_of_its_life() -> None:
    token = token_of(vector("token"), 1000.0, "app", writes=False)
    assert (token.access, token.uid) == ("00000000000000000000000000000001", "15000")
    assert token.renew_at == 1000.0 + 544320
    assert token.expires_at == 1000.0 + 604800


async def test_vector_1_later_calls_carry_token_and_uid(account: Account) -> None:
    account.cloud.will("accessToken", body("token"))
    account.cloud.will("plant/list", body("plants"))
    await account.adapter.check()
    headers = account.cloud.requests[-1].headers
    assert (headers["token"], headers["uid"]) == ("00000000000000000000000000000001", "15000")
    assert "authorization" not in headers


def test_vector_2_plants_with_mixed_types() -> None:
    page = wire.page_of(vector("plants"), "plants")
    assert page.is_last(1, 100)
    running, dark = codec.plants_of(page.rows)
    assert [(one.id, codec.rated_w(one.row)) for one in (running, dark)] == [
        ("10000001", 2750),
        ("10000002", 5280),
    ]
    assert codec.plant_said(running, NOW) == [
        Words("10000001", NOW, Origin.POLL, {"plant_status": "running"}),
        Availability("10000001", True, NOW, Origin.POLL, said=True, vendor_code="1", data={"status": 1}),
    ]
    words, availability = codec.plant_said(dark, NOW)
    assert isinstance(words, Words)
    assert isinstance(availability, Availability)
    assert (words.metrics, availability.online) == ({"plant_status": "communication_error"}, False)


def test_vector_3_the_overview_of_a_plant() -> None:
    reading = codec.plant_reading("10000001", vector("plant_data"), UTC, NOW, Origin.POLL)
    assert reading == Reading(
        "10000001",
        NOW,
        Origin.POLL,
        {
            "active_power": 17420, "yield_today": D("44.12"), "yield_month": D("1044.5"),
            "yield_year": D("9044.1"), "yield_total": D("19044.3"), "peak_power": 341420,
            "specific_yield": D("4.52"), "co2_avoided": 18990,
        },
        observed_at=at("2015-12-08T11:00:00Z"),
    )  # fmt: skip


def test_vector_4_a_power_curve_in_watts_without_its_null() -> None:
    assert codec.power_records("10000001", vector("plant_power"), UTC, NOW) == [
        Reading(
            "10000001",
            NOW,
            Origin.BACKFILL,
            {"active_power": D("323.12")},
            observed_at=at("2015-11-01T04:00:00Z"),
            sole=True,
        )
    ]


def test_vector_5_the_latest_record_of_an_inverter() -> None:
    reading = codec.latest_reading("INV", vector("latest"), UTC, NOW)
    assert reading is not None
    assert reading.observed_at == at("2017-06-07T14:40:00Z")
    assert reading.metrics == {
        "pv1_voltage": D("115.3"), "pv2_voltage": D("84.1"), "pv3_voltage": 0, "pv1_current": D("0.05"),
        "pv2_current": 0, "pv3_current": 0, "voltage_a": 228, "voltage_b": 0, "voltage_c": 0,
        "current_a": D("0.1"), "current_b": 0, "current_c": 0, "active_power": 1, "yield_today": D("7.3"),
        "yield_month": D("104.2"), "yield_year": D("1297.2"), "yield_total": D("6288.7"),
        "temperature": D("24.2"), "frequency": D("49.93"), "power_factor": 0,
    }  # fmt: skip
    assert reading.extra == {}


def test_vector_6_the_first_and_the_last_page_of_history() -> None:
    first, last = vector("history_first"), vector("history_last")
    (one,) = codec.inverter_records("INV", first, UTC, NOW)
    assert one.observed_at == at("2015-12-08T11:00:00Z")
    assert one.origin is Origin.BACKFILL
    assert one.metrics == {
        "pv1_voltage": D("481.2"), "pv1_current": D("0.2"), "voltage_a": D("238.2"),
        "voltage_b": D("238.2"), "voltage_c": D("238.2"), "current_a": D("1.8"), "current_b": D("1.8"),
        "current_c": D("1.8"), "active_power": 185, "yield_today": D("24.2"), "yield_total": D("157.54"),
        "temperature": D("45.8"), "frequency": D("50.04"), "power_factor": D("0.6"),
    }  # fmt: skip
    (two,) = codec.inverter_records("INV", last, UTC, NOW)
    assert (two.observed_at, two.metrics) == (at("2015-12-08T11:05:00Z"), {"active_power": D("186.5")})
    assert codec.next_cursor(first) == codec.next_cursor(last) == "1000101_12313"


def test_vector_7_alarms_are_raised_ended_or_handled() -> None:
    page = wire.page_of(vector("alarms"), "alarms")
    assert (page.count, page.is_last(1, 100)) == (3, True)
    found = alarms.occurrences_of(page.rows, UTC, equal_is_cleared=False)
    position = alarms.Position()
    news = [alarms.as_alarm(one, "INV", start, NOW) for one, start in position.news(found, NOW)]
    assert [(one.code, one.vendor_code, one.cleared, one.started_at, one.ended_at) for one in news] == [
        ("vendor_bit1", "bit1", False, at("2015-12-08T11:05:00Z"), None),
        ("vendor_bit7", "bit7", True, at("2015-12-08T11:05:00Z"), at("2015-12-08T11:25:00Z")),
        ("vendor_e_21", "E-21", True, at("2015-12-07T01:00:00Z"), None),
    ]
    assert news[0].message == "low Current"
    assert news[0].data["status"] == 0
    assert position.news(found, NOW) == []


async def test_vector_7_polling_the_same_alarms_again_only_tells_what_still_stands(account: Account) -> None:
    for _ in range(2):
        account.cloud.will("device/inverter/alarm", body("alarms"))
    key = "alarms:100010001:10000001"
    first, again = await account.poll(key), await account.poll(key)
    assert [type(one) for one in first] == [AlarmMessage] * 3
    assert [(one.code, one.standing) for one in first if isinstance(one, AlarmMessage)] == [
        ("vendor_bit1", False), ("vendor_bit7", False), ("vendor_e_21", False),
    ]  # fmt: skip
    assert [(one.code, one.standing) for one in again if isinstance(one, AlarmMessage)] == [
        ("vendor_bit1", True)
    ]


def test_vector_8_undocumented_keys_of_devices_are_kept() -> None:
    (inverter,) = codec.inverters_of(wire.page_of(vector("devices"), "devices").rows, UTC)
    assert (inverter.key, inverter.device_id) == ("INVTEST001", "100010001")
    assert inverter.updated_at == at("2015-12-08T11:00:00Z")
    device = codec.inverter_device(inverter, "10000001", Account().policy)
    assert (device.serial, device.manufacturer, device.model, device.parent) == (
        "INVTEST001", "igen", None, "10000001",
    )  # fmt: skip
    assert device.vendor_info == {
        "device_id": 100010001, "datalogger_sn": "601000000", "type": 1, "SysPower": "3.0", "EToday": "7.30",
        "EMonth": "104.20", "ETotal": "6288.70", "TZone": "8", "DType": "1",
        "UpdataDate": "2015-12-08 19:00:00",
    }  # fmt: skip
    assert set(device.metrics) <= METRICS.keys()


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("error_hour", RateLimited, 10003),
        ("error_token", TokenRefused, 10012),
        ("error_forbidden", EndpointClosed, 10014),
    ],
)
def test_vector_9_errors(name: str, kind: type[Exception], code: int) -> None:
    with pytest.raises(kind) as raised:
        verified(200, body(name), "plant/list", writes=False)
    assert raised.value.native_code == code  # type: ignore[attr-defined] # every kind is a VendorError


async def test_vector_9_the_hour_is_used_up_and_the_account_rests(account: Account) -> None:
    account.clock.seconds = 600
    account.cloud.will("plant/data", body("error_hour"))
    with pytest.raises(RateLimited) as raised:
        await account.poll("plant:10000001")
    assert 3000 + 30 <= raised.value.retry_after_s <= 3000 + 90
    assert account.gate.blocks == [("requests", "", raised.value.retry_after_s)]


async def test_vector_9_an_unknown_token_is_replaced_once(account: Account) -> None:
    account.cloud.will("plant/data", body("error_token"), body("plant_data"))
    assert len(await account.poll("plant:10000001")) == 1
    assert account.cloud.words == ["accessToken", "plant/data", "accessToken", "plant/data"]
    account.cloud.will("plant/data", body("error_token"), body("error_token"))
    with pytest.raises(AuthFailed, match=r"^token_conflict: "):
        await account.poll("plant:10000001")
    assert account.cloud.words[4:] == ["plant/data", "accessToken", "plant/data"]


async def test_vector_9_a_forbidden_end_point_is_asked_no_more(account: Account) -> None:
    account.cloud.will("plant/data", body("error_forbidden"))
    for _ in range(2):
        with pytest.raises(Refused) as raised:
            await account.poll("plant:10000001")
        assert raised.value.code == "auth_failed"
    assert account.cloud.words == ["accessToken", "plant/data"]
    account.cloud.will("device/inverter/alarm", body("alarms"))
    assert await account.poll("alarms:100010001:10000001")


def test_vector_10_success_without_a_code() -> None:
    assert verified(200, body("success_bare"), "user/modifysign", writes=True).code == 0
    with pytest.raises(LostAnswer):
        verified(200, b"{}", "user/modifysign", writes=True)


def test_vector_10_a_plant_among_the_users() -> None:
    page = wire.page_of(vector("plants_as_users"), "plants", "c_user")
    assert page.is_last(1, 20)
    (plant,) = codec.plants_of(page.rows)
    assert (plant.id, plant.status, codec.rated_w(plant.row)) == ("10000001", 5, 2750)
    device = codec.plant_device(plant, {"Longitude": "113.0", "Latitude": "23.0"}, Account().policy)
    assert device.vendor_info["Longitude"] == "113.0"


def test_times_become_utc_with_daylight_saving() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert wire.instant("2017-07-01T12:00:00", berlin) == at("2017-07-01T10:00:00Z")
    assert wire.instant("2017-01-01 12:00:00", berlin) == at("2017-01-01T11:00:00Z")
    assert wire.instant("2015-05-02T11:31:00+08:00", berlin) == at("2015-05-02T03:31:00Z")
    assert wire.instant("2015-03-13T12:00:00-04:00", UTC) == at("2015-03-13T16:00:00Z")


@pytest.mark.parametrize(
    "value",
    [
        "2015-12-08T11:05:002",
        "",
        None,
        7,
        "2015-13-01T00:00:00Z",
        "0001-01-01T00:00:00",
        "1970-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_absent(value: Any) -> None:
    assert wire.instant(value, UTC) is None


@pytest.mark.parametrize(
    ("value", "start"),
    [
        ("2015-11-02", "2015-11-01T16:00:00Z"),
        ("2015-11", "2015-10-31T16:00:00Z"),
        ("2015", "2014-12-31T16:00:00Z"),
    ],
)
def test_buckets_start_in_plant_local_time(value: str, start: str) -> None:
    (record,) = codec.energy_records("P", [{"date": value, "energy": "323.120"}], "day", ZONE, NOW)
    assert record.observed_at == at(start)
    assert (record.metrics, record.extra) == ({"yield_interval": D("323.12")}, {"time_unit": "day"})


@pytest.mark.parametrize(("status", "word"), [(7, "fault"), (42, "unknown_42"), ("3", "off_grid")])
def test_a_status_without_a_word_is_unknown_with_its_code(status: Any, word: str) -> None:
    (plant,) = codec.plants_of([{"plant_id": 1, "status": status}])
    words, availability = codec.plant_said(plant, NOW)
    assert isinstance(words, Words)
    assert words.metrics == {"plant_status": word}
    assert isinstance(availability, Availability)
    assert availability.online


def test_a_plant_without_a_status_says_nothing() -> None:
    (plant,) = codec.plants_of([{"plant_id": 1, "status": None}])
    assert codec.plant_said(plant, NOW) == []


def test_the_actual_peak_power_wins_and_both_spellings_of_periods_count() -> None:
    data = {"peak_power": 1, "peak_power_actual": "2.5", "month_energy": 3, "YEARLY_ENERGY": 4, "new": [1]}
    reading = codec.plant_reading("P", data, UTC, NOW, Origin.POLL)
    assert reading is not None
    assert reading.metrics == {"peak_power": 2500, "yield_month": 3, "yield_year": 4}
    assert (reading.observed_at, reading.extra) == (None, {"new": [1]})


def test_customer_data_are_sorted_out_of_the_description() -> None:
    (plant,) = codec.plants_of(
        [{"plant_id": 1, "name": "P", "user_id": 7, "installer": "Firm", "operator_": None}]
    )
    details = {
        "address1": "1 Road", "city": "Town", "postal": "", "country": "China", "ownercontact": "x",
        "installerorganization": "y", "plant_type": 1, "status": 1,
    }  # fmt: skip
    device = codec.plant_device(plant, details, Account(customer_data=True).policy)
    assert device.address == "1 Road, Town, China"
    assert device.vendor_info == {"installer": "Firm", "plant_type": 1}
    assert device.customer_info == {"user_id": 7, "ownercontact": "x", "installerorganization": "y"}
    assert codec.plant_device(plant, details, Account().policy).customer_info == {}


def test_an_inverter_without_a_serial_number_goes_by_its_device_id() -> None:
    rows = [{"device_id": 5, "device_sn": ""}, {"device_sn": "X"}]
    (inverter,) = codec.inverters_of(rows, UTC)
    assert (inverter.key, inverter.device_id) == ("5", "5")


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (401, b"", TokenRefused),
        (403, b"<html>", TokenRefused),
        (404, b"not found", EndpointClosed),
        (429, b"", RateLimited),
        (400, b"?", LostAnswer),
        (302, b"", LostAnswer),
        (200, b"", LostAnswer),
        (200, b"[]", LostAnswer),
        (200, b'{"error_code":"x"}', LostAnswer),
        (404, b'{"error_code":0,"data":{}}', EndpointClosed),
        (500, b'{"error_code":0,"data":{}}', LostAnswer),
        (502, b"<html>", LostAnswer),
        (500, b'{"error_code":10003}', RateLimited),
        (400, b'{"error_code":10004}', RateLimited),
        (200, b'{"error_code":10001}', LostAnswer),
        (200, b'{"error_code":10006}', Refused),
        (200, b'{"error_code":10007}', AuthFailed),
        (200, b'{"error_code":77777,"error_msg":"new"}', LostAnswer),
    ],
)
def test_the_body_decides_before_the_status(status: int, content: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        verified(status, content, "plant/list", writes=False)


def test_an_unknown_code_is_a_no_to_a_write_and_10001_leaves_it_open() -> None:
    with pytest.raises(Refused):
        verified(200, b'{"error_code":77777}', "plant/add", writes=True)
    with pytest.raises(LostAnswer):
        verified(200, b'{"error_code":10001}', "plant/add", writes=True)
