"""Every test vector of the page (jrhsz, section 12), from the bytes to what is observed and sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bridge.domain.command import Status
from bridge.domain.device import DeviceKind
from bridge.domain.errors import Refused
from bridge.domain.metrics import METRICS
from bridge.domain.observation import Availability, Event, Origin, Reading, Words
from bridge.vendors.jrhsz.codec import Codec, device_id_of
from bridge.vendors.jrhsz.wire import answer_of, rows_of, token_of
from tests.fakes.adapters import FakeEffect
from tests.unit.vendors.jrhsz.bench import ENERGY, NOW, WATER, Account, fixture, listed


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def raw(name: str) -> bytes:
    return json.dumps(fixture(name)).encode()


def said(device: str, word: str, *, online: bool) -> Availability:
    return Availability(device, online, NOW, Origin.POLL, True, vendor_code=word, data={"netStatis": word})


async def polled(account: Account, key: str, name: str, *meters: dict[str, Any]) -> list[Any]:
    devices = await account.know(*meters)
    account.cloud.will(fixture(name))
    return await account.poll(key, *devices)


def test_v1_the_login_gives_a_token_of_two_hours() -> None:
    token = token_of(answer_of(raw("v01_login"), "login"), NOW)
    assert token.text == "ZmFrZS10b2tlbg=="
    assert token.expires_at == NOW + timedelta(seconds=7200)


async def test_v2_the_inventory_becomes_devices_words_and_availability(account: Account) -> None:
    account.cloud.will(fixture("v02_inventory"))
    devices = {device.native_id: device for device in await account.adapter.inventory()}
    water, energy = devices[WATER], devices[ENERGY]
    assert (water.kind, water.vendor_info["tableType"], device_id_of(water)) == (
        DeviceKind.WATER_METER,
        "2",
        "100000000001",
    )
    assert (energy.kind, energy.vendor_info["tableType"]) == (DeviceKind.ELECTRICITY_METER, "11")
    assert (energy.name, energy.model, energy.address, energy.serial) == (
        "m2",
        "4G time-of-use electricity meter",
        "7栋",
        ENERGY,
    )
    assert set(water.vendor_info) == {"deviceId", "project_code", "tableType"}
    assert set(energy.metrics) | set(water.metrics) <= METRICS.keys()
    seen = await account.poll("meters", *devices.values())
    online_at = {"last_online": "2023-07-14T02:00:08Z"}
    assert seen == [
        said(WATER, "不在线", online=False),
        Words(WATER, NOW, Origin.POLL, {"valve_state": "closed", **online_at}),
        said(ENERGY, "在线", online=True),
        Words(ENERGY, NOW, Origin.POLL, {"switch_state": "on", **online_at}),
    ]


async def test_v3_an_unknown_type_and_unknown_words_say_nothing_but_are_kept(account: Account) -> None:
    account.cloud.will(fixture("v03_inventory_unknown"))
    (device,) = await account.adapter.inventory()
    assert (device.kind, device.vendor_info["tableType"], device.model) == (DeviceKind.METER, 25, None)
    assert await account.poll("meters", device) == []
    account.cloud.will(
        {
            "code": 200,
            "data": [{"deviceId": "d3", "tableNo": "t3", "reading": "5", "readTime": "2023-07-14 10:00:00"}],
        }
    )
    (reading,) = await account.poll("readings", device)
    assert (reading.metrics, reading.extra) == ({"reading": 5}, {"gate": "未知"})


async def test_v4_one_object_is_one_record_and_no_further_page(account: Account) -> None:
    (reading,) = await polled(account, "readings", "v04_latest_object", listed(ENERGY))
    assert reading == Reading(
        ENERGY,
        NOW,
        Origin.POLL,
        {"import_energy": Decimal("346.9"), "switch_state": "off"},
        observed_at=at("2023-04-22T02:31:53"),
        covers=True,
    )
    assert account.cloud.bodies("readMeter") == [{"pageNo": 1, "pageSize": 1000}]


async def test_v5_empty_values_are_left_out_without_an_error(account: Account) -> None:
    (reading,) = await polled(account, "readings", "v05_latest_list", listed(WATER, "2"), listed(ENERGY))
    assert (reading.device, reading.metrics) == (WATER, {"water_volume": 12, "valve_state": "open"})
    assert reading.observed_at == at("2023-04-21T16:00:00")


async def test_v6_the_misspelled_cost_is_read(account: Account) -> None:
    (reading,) = await polled(account, "consumption", "v06_consumption_amout", listed(ENERGY))
    assert reading.metrics == {
        "import_energy": 71,
        "import_energy_interval": Decimal("1.25"),
        "cost_interval": Decimal("0.78"),
    }
    assert (reading.observed_at, reading.extra) == (at("2023-04-05T02:31:42"), {})


async def test_v7_the_documented_cost_wins_and_codes_may_be_text(account: Account) -> None:
    (reading,) = await polled(account, "consumption", "v07_consumption_amount", listed(WATER, "24"))
    assert reading.metrics == {
        "water_volume": Decimal("8.5"),
        "water_volume_interval": 0,
        "cost_interval": 0,
    }
    assert reading.observed_at == at("2023-04-05T15:59:59")


def test_v7_the_medium_comes_from_the_type_where_the_inventory_has_none(account: Account) -> None:
    answer = answer_of(raw("v07_consumption_amount"), "readMeterDataList")
    codec = Codec(account.policy, account.settings.zone())
    (row,) = rows_of(answer, "readMeterDataList")
    (reading,) = codec.consumed(row, DeviceKind.METER, NOW, Origin.POLL)
    assert "water_volume" in reading.metrics  # type: ignore[union-attr] # it is a Reading


async def test_v8_registers_and_instantaneous_values_have_their_own_times(account: Account) -> None:
    registers, now = await polled(account, "time_of_use", "v08_time_of_use", listed("t7", "7"))
    assert registers.observed_at == at("2025-06-30T16:00:00")
    assert registers.metrics == {
        "import_energy": Decimal("106222.5"),
        "import_energy_sharp": Decimal("24863.7"),
        "import_energy_peak": Decimal("31086.9"),
        "import_energy_flat": 41868,
        "import_energy_valley": Decimal("8403.9"),
    }
    assert now.observed_at == at("2025-06-30T16:57:05")
    assert now.metrics == {
        "voltage_a": Decimal("238.9"),
        "current_a": Decimal("3.78"),
        "active_power": 29500,
    }


async def test_v9_a_picture_that_could_not_be_read_is_an_event_without_a_reading(account: Account) -> None:
    good, bad = await polled(account, "camera", "v09_camera", listed("200000000001", "24"))
    assert good == Reading(
        "200000000001",
        NOW,
        Origin.POLL,
        {"water_volume": Decimal("24863.7")},
        observed_at=at("2025-07-01T04:00:00"),
        extra={"imageStatus": "解析正常", "imageUrl": "https://images.example.invalid/1.jpg"},
    )
    assert bad == Event(
        "200000000001",
        "image_unreadable",
        NOW,
        Origin.POLL,
        happened_at=at("2025-07-01T05:00:00"),
        vendor_code="解析异常",
        data={"imageStatus": "解析异常", "imageUrl": "https://images.example.invalid/2.jpg"},
    )


async def test_v10_too_fast_repeats_the_same_request_later_and_logs_in_no_second_time(
    account: Account,
) -> None:
    devices = await account.know(listed(ENERGY))
    account.cloud.will(fixture("v10_too_fast"), fixture("v10_too_fast"), fixture("v04_latest_object"))
    assert len(await account.poll("readings", *devices)) == 1
    assert account.clock.slept == [2.2, 4.4]
    assert account.cloud.bodies("readMeter") == [{"pageNo": 1, "pageSize": 1000}] * 3
    assert account.cloud.words.count("login") == 1


async def test_v11_an_expired_token_costs_one_login_and_one_repetition(account: Account) -> None:
    account.cloud.will(fixture("v11_token_expired"), fixture("v12_accepted"))
    outcome = await account.run("breaker", {"state": "off"})
    assert account.cloud.words == ["login", "meterInstruct", "login", "meterInstruct"]
    assert outcome.status is Status.SENT
    account.cloud.will(fixture("v11_token_expired"), fixture("v11_token_expired"))
    with pytest.raises(Refused, match="expired"):
        await account.run("breaker", {"state": "off"})
    assert account.cloud.words[4:] == ["meterInstruct", "login", "meterInstruct"]


async def test_v12_an_accepted_command_is_sent_and_followed_by_reading(
    make: Callable[..., Account],
) -> None:
    account = make()
    account.effect = FakeEffect()
    account.cloud.will(fixture("v12_accepted"))
    outcome = await account.run("breaker", {"state": "off"})
    assert (outcome.status, outcome.vendor_code, list(outcome.observations)) == (Status.SENT, 200, [])
    assert account.cloud.bodies("meterInstruct") == [{"deviceId": f"D{ENERGY}", "type": "1"}]
    plan = account.order("breaker", {"state": "off"}).spec.follow(account.device())
    assert plan.ask_at_s == (10, 30, 60, 120, 300)
    assert plan.until_s == 600
