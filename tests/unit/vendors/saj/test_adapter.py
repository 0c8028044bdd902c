"""Inventory and polling of one account."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import LostAnswer, RateLimited, Refused
from bridge.domain.observation import AlarmMessage, Availability, Event, Origin, Reading, Words
from bridge.pace.limits import Lane
from tests.unit.vendors.saj.bench import (
    ALARMS,
    DEVICE_ID,
    INVERTER,
    LATEST,
    NOW,
    OVERVIEW,
    PLANT,
    PLANT_DEVICE,
    SERIAL,
    Account,
    bad,
    body,
    good,
)

DETAILS = {"name": "Demo plant", "address1": "1 Road", "city": "Town", "timezone": "+08:00", "plant_type": 1,
           "ownercontact": "private"}  # fmt: skip
EMPTY = good({"count": 0, "datas": []})


def plants(*rows: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    return good({"count": len(rows) if count is None else count, "plants": list(rows)})


def devices(*rows: dict[str, Any]) -> dict[str, Any]:
    return good({"count": len(rows), "devices": list(rows)})


def record(at: str, power: float = 100, **more: Any) -> dict[str, Any]:
    return good({"count": 1, "datas": [{"power": power, "time": at, **more}]})


ONE = {"plant_id": int(PLANT), "name": "Demo plant", "status": 1, "peak_power": 2.75}


async def test_plants_and_inverters_are_described_with_their_links(account: Account) -> None:
    account.cloud.will("plant/list", plants(ONE))
    account.cloud.will("plant/details", good(DETAILS))
    account.cloud.will("device/list", body("devices"))
    plant, inverter = await account.adapter.inventory()
    assert (plant.native_id, plant.kind, plant.name, plant.address) == (
        PLANT, DeviceKind.SOLAR_PLANT, "Demo plant", "1 Road, Town",
    )  # fmt: skip
    assert plant.vendor_info == {"peak_power": Decimal("2.75"), "timezone": "+08:00", "plant_type": 1}
    assert "ownercontact" not in {**plant.vendor_info, **plant.customer_info}
    assert (inverter.native_id, inverter.kind, inverter.parent) == (SERIAL, DeviceKind.INVERTER, PLANT)
    assert account.cloud.asked("plant/list") == [{"page": "1", "perpage": "100", "locale": "en-US"}]
    assert account.cloud.asked("plant/details") == [{"plant_id": PLANT, "locale": "en-US"}]
    assert account.cloud.asked("device/list") == [{"plant_id": PLANT, "page": "1", "perpage": "100"}]
    assert {lane for _, lane in account.gate.calls} == {Lane.INVENTORY}


async def test_master_data_are_read_once_a_day_also_over_restarts(account: Account) -> None:
    for hour in (0, 1, 23):
        account.clock.seconds = hour * 3600
        account.cloud.will("plant/list", plants(ONE))
        account.cloud.will("device/list", devices())
        if hour == 0:
            account.cloud.will("plant/details", good(DETAILS))
        (plant,) = await account.adapter.inventory()
        assert plant.vendor_info["plant_type"] == 1
        account = account.restarted()
    assert "private" not in str(account.vault.kept)
    account.clock.seconds = 86400
    account.cloud.will("plant/list", plants(ONE))
    account.cloud.will("device/list", devices())
    account.cloud.will("plant/details", good(DETAILS))
    await account.adapter.inventory()


async def test_an_inverter_that_moved_is_that_of_the_plant_which_lists_it_now(account: Account) -> None:
    """Also while the list of the plant that it left, which is empty now, is doubted."""
    other = {"plant_id": 20000002, "name": "Other plant", "status": 1}
    mine = {"device_id": int(DEVICE_ID), "device_sn": SERIAL}
    account.cloud.rules = {
        "plant/list": lambda _: plants(ONE, other),
        "plant/details": lambda _: good(DETAILS),
    }
    account.cloud.will("device/list", devices(mine), devices())
    *_, inverter = await account.adapter.inventory()
    assert (inverter.native_id, inverter.parent) == (SERIAL, PLANT)
    account.cloud.will("device/list", good({"devices": []}), devices(mine))
    *_, inverter = await account.adapter.inventory()
    assert (inverter.native_id, inverter.parent) == (SERIAL, "20000002")


@pytest.mark.parametrize("nothing", [{"error_code": 0}, good(None), good({})])
async def test_an_answer_without_master_data_does_not_take_those_of_before_away(
    account: Account, nothing: dict[str, Any]
) -> None:
    await has_one_of_each(account)
    account.clock.seconds = 86400.0
    account.cloud.will("plant/list", plants(ONE), plants(ONE))
    account.cloud.will("plant/details", nothing, good({**DETAILS, "address1": "2 Road"}))
    account.cloud.will("device/list", body("devices"), body("devices"))
    plant, _ = await account.adapter.inventory()
    assert plant.address == "1 Road, Town"
    account.clock.seconds += 3600
    plant, _ = await account.adapter.inventory()
    assert plant.address == "2 Road, Town"


async def test_who_comes_to_want_customer_data_has_those_of_the_plants_at_once(
    account: Account, make: Callable[..., Account]
) -> None:
    await has_one_of_each(account)
    wanting = make(customer_data=True, vault=account.vault)
    for _ in range(2):
        wanting.cloud.will("plant/list", plants(ONE))
        wanting.cloud.will("device/list", body("devices"))
    wanting.cloud.will("plant/details", good(DETAILS))
    for _ in range(2):
        plant, _ = await wanting.adapter.inventory()
        assert plant.customer_info == {"ownercontact": "private"}
    assert len(wanting.cloud.asked("plant/details")) == 1


async def test_all_pages_are_read_and_a_shifted_row_counts_once(account: Account) -> None:
    rows = [{"plant_id": number, "status": 1} for number in range(1, 151)]
    account.cloud.will(
        "plant/list", plants(*rows[:100], count=150), plants(*rows[99:149], rows[149], count=151)
    )
    account.cloud.will("plant/details", *[good({})] * 150)
    account.cloud.will("device/list", *[devices()] * 150)
    assert len(await account.adapter.inventory()) == 150
    assert [asked["page"] for asked in account.cloud.asked("plant/list")] == ["1", "2"]


async def test_a_page_that_repeats_itself_ends_the_list(account: Account) -> None:
    rows = [{"plant_id": number, "current_power": 0} for number in range(1, 101)]
    moved = [{**row, "current_power": 1} for row in rows]
    account.cloud.will("plant/list", plants(*rows, count=900), plants(*moved, count=900))
    account.cloud.will("plant/details", *[good({})] * 100)
    account.cloud.will("device/list", *[devices()] * 100)
    assert len(await account.adapter.inventory()) == 100


@pytest.mark.parametrize("code", [10005, 10014])
async def test_newer_twins_take_the_place_of_closed_end_points(account: Account, code: int) -> None:
    account.cloud.will("plant/list", bad(code))
    account.cloud.will("plant/listsign", body("plants_as_users"))
    account.cloud.will("plant/details", bad(code))
    account.cloud.will("device/list", bad(code))
    account.cloud.will("device/listsign", body("devices"))
    plant, inverter = await account.adapter.inventory()
    assert (plant.native_id, inverter.native_id) == (PLANT, SERIAL)
    account.cloud.will("device/inverter/alarm", httpx.Response(404))
    account.cloud.will("device/inverter/alarmsign", body("alarms"), body("alarms"))
    assert len(await account.poll(ALARMS)) == 3
    assert [one.standing for one in await account.poll(ALARMS) if isinstance(one, AlarmMessage)] == [True]
    assert account.cloud.words.count("device/inverter/alarm") == 1


async def test_a_plant_whose_devices_are_refused_does_not_hide_the_others(account: Account) -> None:
    account.cloud.will("plant/list", plants({"plant_id": 1}, {"plant_id": 2}))
    account.cloud.will("plant/details", good(None), good({}))
    account.cloud.will("device/list", bad(10006), body("devices"))
    found = [device.native_id for device in await account.adapter.inventory()]
    assert found == ["1", "2", SERIAL]


NOTHING: list[dict[str, Any]] = [
    {"error_code": 0}, good(None), good({}), good({"count": 2, "plants": []}), good({"plants": []}),
]  # fmt: skip


async def listed(account: Account) -> list[str]:
    return [one.native_id for one in await account.adapter.inventory()]


async def has_one_of_each(account: Account) -> None:
    account.cloud.will("plant/list", plants(ONE))
    account.cloud.will("plant/details", good(DETAILS))
    account.cloud.will("device/list", body("devices"))
    assert await listed(account) == [PLANT, SERIAL]


@pytest.mark.parametrize("nothing", NOTHING)
async def test_an_account_is_empty_only_when_a_second_list_agrees(account: Account, nothing: Any) -> None:
    await has_one_of_each(account)
    account.cloud.will("plant/list", nothing)
    account.cloud.will("device/list", body("devices"))
    assert await listed(account) == [PLANT, SERIAL]
    again = account.restarted()
    again.cloud.will("plant/list", nothing, nothing, nothing)
    again.cloud.will("device/list", body("devices"), body("devices"))
    for wait_s in (0, 599):
        again.clock.seconds += wait_s
        assert await listed(again) == [PLANT, SERIAL]
    again.clock.seconds += 1
    assert await listed(again) == []
    again.cloud.will("plant/list", nothing)
    assert await listed(again) == []


@pytest.mark.parametrize(
    "nothing", [{"count": 0, "plants": []}, {"count": "0", "plants": None}, {"count": 0}]
)
async def test_an_account_of_which_the_vendor_counts_no_plants_is_empty(
    account: Account, nothing: Any
) -> None:
    await has_one_of_each(account)
    account.cloud.will("plant/list", good(nothing))
    assert await listed(account) == []


async def test_the_status_of_a_doubted_list_is_not_told_again(account: Account) -> None:
    await has_one_of_each(account)
    assert await account.poll("plants")
    account.cloud.will("plant/list", good(None))
    account.cloud.will("device/list", body("devices"))
    await listed(account)
    assert await account.poll("plants") == []


async def test_who_asks_for_the_inventory_waits_for_the_second_empty_list(account: Account) -> None:
    await has_one_of_each(account)
    account.cloud.will("plant/list", good(None), plants(ONE), good(None), good(None))
    account.cloud.will("plant/details", good(DETAILS))
    account.cloud.will("device/list", body("devices"))
    assert (await account.run("refresh_inventory")).result == {"devices": 2}
    assert (await account.run("refresh_inventory")).result == {"devices": 0}
    assert 10 in account.clock.slept


async def test_who_asks_for_the_inventory_waits_once_however_many_lists_are_empty(account: Account) -> None:
    account.cloud.rules = {
        "plant/list": lambda _: plants(ONE, {**ONE, "plant_id": 2}),
        "plant/details": lambda _: good(DETAILS),
    }
    account.cloud.will("device/list", devices({"device_id": 5, "device_sn": "X"}), body("devices"))
    assert await listed(account) == [PLANT, "2", "X", SERIAL]
    account.cloud.rules["device/list"] = lambda _: good(None)
    assert (await account.run("refresh_inventory")).result == {"devices": 2}
    assert account.clock.slept.count(10) == 1
    assert len(account.cloud.asked("device/list")) == 6


@pytest.mark.parametrize("answer", [good(None), bad(10006), bad(10014), bad(10001)])
async def test_a_device_list_that_is_not_to_be_had_takes_no_inverter_away(
    account: Account, answer: dict[str, Any]
) -> None:
    await has_one_of_each(account)
    again = account.restarted()
    again.cloud.will("plant/list", plants(ONE))
    again.cloud.rules = {"device/list": lambda _: answer, "device/listsign": lambda _: answer}
    assert await listed(again) == [PLANT, SERIAL]
    again.cloud.will("device/inverter/datasigns", record("2017-06-07T02:55:00Z"))
    assert await again.poll(LATEST)


async def test_a_plant_that_the_vendor_cannot_serve_does_not_hide_the_others_for_ever(
    account: Account,
) -> None:
    def unless_first(request: httpx.Request) -> Any:
        return body("devices") if f"plant_id={PLANT}&" in str(request.url) else bad(10001)

    account.cloud.rules = {
        "plant/list": lambda _: plants(ONE, {**ONE, "plant_id": 2}),
        "plant/details": lambda _: bad(10001),
        "device/list": unless_first,
    }
    for _ in range(2):
        with pytest.raises(LostAnswer):
            await listed(account)
    assert await listed(account) == [PLANT, "2", SERIAL]
    with pytest.raises(LostAnswer):
        await account.run("refresh_inventory")


async def test_a_closed_end_point_is_told_once_unless_its_twin_takes_its_place(account: Account) -> None:
    account.cloud.will("device/inverter/alarm", bad(10014))
    account.cloud.will("device/inverter/alarmsign", body("alarms"), bad(10005))
    await account.poll(ALARMS)
    assert account.closed == []
    for _ in range(2):
        with pytest.raises(Refused):
            await account.poll(ALARMS)
    (message,) = account.closed
    assert "device/inverter/alarmsign" in message


async def test_an_inventory_that_a_limit_cut_off_goes_on_where_it_was(account: Account) -> None:
    account.cloud.rules["plant/list"] = lambda _: plants(
        *({**ONE, "plant_id": number} for number in (1, 2, 3))
    )
    account.cloud.rules["plant/details"] = lambda _: good(DETAILS)
    account.cloud.will(
        "device/list", devices(), devices({"device_id": 5, "device_sn": "X"}), httpx.Response(429)
    )
    with pytest.raises(RateLimited):
        await listed(account)
    account.clock.seconds += 3700
    account.cloud.will("device/list", devices())
    assert await listed(account) == ["1", "2", "3", "X"]
    assert [asked["plant_id"] for asked in account.cloud.asked("device/list")] == ["1", "2", "3", "3"]
    account.clock.seconds += 3600
    account.cloud.will("device/list", devices(), devices({"device_id": 6, "device_sn": "Y"}), devices())
    assert await listed(account) == ["1", "2", "3", "Y"]


async def test_ids_of_plants_and_inverters_do_not_collide(account: Account) -> None:
    account.cloud.will("plant/list", plants({"plant_id": 7}))
    account.cloud.will("plant/details", good({}))
    account.cloud.will("device/list", devices({"device_id": 7}, {"device_id": 8}))
    found = [device.native_id for device in await account.adapter.inventory()]
    assert found == ["7", "inverter-7", "8"]


async def test_excluded_plants_cost_no_master_data(make: Callable[..., Account]) -> None:
    account = make(devices={"include": [SERIAL]})
    account.cloud.will("plant/list", plants(ONE))
    account.cloud.will("device/list", body("devices"))
    assert len(await account.adapter.inventory()) == 2
    account.clock.seconds = 61
    assert await account.poll("plants") == []


async def test_tasks_and_their_costs(make: Callable[..., Account]) -> None:
    account = make(events=True)
    unknown = Device("roof", "saj", "X", DeviceKind.INVERTER)
    tasks = {task.key: task for task in account.adapter.poll_tasks([PLANT_DEVICE, INVERTER, unknown])}
    assert {key: (task.interval_s, task.lane, task.devices) for key, task in tasks.items()} == {
        "plants": (60, "inventory", ()),
        OVERVIEW: (900, "poll", (PLANT,)),
        LATEST: (300, "poll", (SERIAL,)),
        ALARMS: (900, "alarms", (SERIAL,)),
        f"events:{DEVICE_ID}:{PLANT}": (900, "alarms", (SERIAL,)),
    }
    assert tasks["plants"].costs == {"requests": 60 / 3600}
    assert tasks[LATEST].costs == {"requests": 1.0}
    assert account.adapter.poll_tasks([]) == []
    assert account.adapter.push is None


async def test_the_status_that_the_inventory_saw_is_told_without_a_call(account: Account) -> None:
    account.cloud.will("plant/list", plants(ONE))
    account.cloud.will("plant/details", good(DETAILS))
    account.cloud.will("device/list", devices())
    await account.adapter.inventory()
    rated, words, availability = await account.poll("plants")
    assert rated == Words(PLANT, NOW, Origin.POLL, {"peak_power": 2750})
    assert words == Words(PLANT, NOW, Origin.POLL, {"plant_status": "running"})
    assert availability.said
    assert await account.poll("plants") == []
    account.clock.seconds = 3600
    account.cloud.will("plant/list", plants({**ONE, "status": 10}))
    _, words, availability = await account.poll("plants")
    assert words.metrics == {"plant_status": "communication_error"}
    assert availability.data == {"status": 10}
    assert availability.vendor_code == "10"
    assert not availability.online


async def test_rated_power_counts_until_an_overview_gave_one(account: Account) -> None:
    account.cloud.will("plant/list", plants(ONE))
    rated, *_ = await account.poll("plants")
    assert rated.metrics == {"peak_power": 2750}
    account.cloud.will("plant/data", good({"current_power": 1}), body("plant_data"))
    words, reading = await account.poll(OVERVIEW)
    assert (words.metrics, reading.metrics) == ({"peak_power": 2750}, {"active_power": 1000})
    words, reading = await account.poll(OVERVIEW)
    assert reading.metrics["peak_power"] == 341420
    # the overview's time is before that at which the list was read: without these words the list's would stand
    assert (words.metrics, words.received_at) == ({"peak_power": 341420}, NOW)
    account.cloud.will("plant/data", body("plant_data"), good({"current_power": 1}))
    (reading,) = await account.poll(OVERVIEW)
    assert reading.metrics["peak_power"] == 341420
    (reading,) = await account.poll(OVERVIEW)
    assert reading.metrics == {"active_power": 1000}
    again = account.restarted()
    again.cloud.will("plant/list", plants(ONE))
    assert not any("peak_power" in getattr(one, "metrics", ()) for one in await again.poll("plants"))


async def test_a_plant_listed_without_rated_power_has_that_of_its_master_data(account: Account) -> None:
    account.cloud.will("plant/list", plants({**ONE, "peak_power": None}))
    account.cloud.will("plant/details", good({**DETAILS, "peak_power": "2.5"}))
    account.cloud.will("device/list", devices())
    await account.adapter.inventory()
    rated, *_ = await account.poll("plants")
    assert rated.metrics == {"peak_power": 2500}


async def test_an_overview_without_values_is_no_record(account: Account) -> None:
    account.cloud.will("plant/data", good({}), good(None), {"error_code": 0})
    for _ in range(3):
        assert await account.poll(OVERVIEW) == []


async def test_the_latest_record_is_asked_for_the_plants_day(account: Account) -> None:
    account.cloud.will("plant/list", plants(ONE))
    account.cloud.will("plant/details", good({"timezone": "-12:00"}))
    account.cloud.will("device/list", devices())
    await account.adapter.inventory()
    account.cloud.will("device/inverter/datasigns", record("2017-06-07T02:58:00Z"))
    alive, reading = await account.poll(LATEST)
    assert account.cloud.asked("device/inverter/datasigns") == [
        {"device_id": DEVICE_ID, "end_date": "2017-06-06"}
    ]
    assert alive == Availability(SERIAL, True, NOW, Origin.POLL, said=False)
    assert reading.observed_at == datetime(2017, 6, 7, 2, 58, tzinfo=UTC)


async def test_the_zone_of_a_plant_without_master_data_is_that_of_its_overview(account: Account) -> None:
    account.cloud.will("plant/data", good({"current_power": 1, "timezone": "-10:00"}))
    await account.poll(OVERVIEW)
    account.cloud.will("device/inverter/datasigns", record("2017-06-06 16:55:00"))
    _, reading = await account.poll(LATEST)
    assert reading.observed_at == datetime(2017, 6, 7, 2, 55, tzinfo=UTC)
    assert account.cloud.asked("device/inverter/datasigns")[0]["end_date"] == "2017-06-06"


async def test_of_several_records_the_newest_counts(account: Account) -> None:
    rows = [
        {"power": 1, "time": "2017-06-07T10:55:00"},
        {"power": 2, "time": "2017-06-07T02:56:00Z"},
        {"power": 3},
    ]
    account.cloud.will("device/inverter/datasigns", good({"datas": rows}))
    _alive, reading = await account.poll(LATEST)
    assert reading.metrics == {"active_power": 2}
    account.cloud.will("device/inverter/datasigns", good({"datas": rows[2:]}))
    _alive, reading = await account.poll(LATEST)
    assert (reading.metrics, reading.observed_at) == ({"active_power": 3}, None)


async def test_yesterday_is_asked_after_midnight_and_at_the_first_look(account: Account) -> None:
    day = "device/inverter/datasigns"
    account.cloud.will(day, EMPTY, EMPTY)
    (alive,) = await account.poll(LATEST)
    assert not alive.online
    account.cloud.will(day, EMPTY)
    await account.poll(LATEST)
    account.clock.seconds = 13.5 * 3600
    account.cloud.will(day, EMPTY, record("2017-06-07T15:00:00Z", 0))
    alive, reading = await account.poll(LATEST)
    assert [asked["end_date"] for asked in account.cloud.asked(day)] == [
        "2017-06-07", "2017-06-06", "2017-06-07", "2017-06-08", "2017-06-07",
    ]  # fmt: skip
    assert (reading.metrics, alive.online) == ({"active_power": 0}, False)


@pytest.mark.parametrize(
    ("status", "at", "power", "asleep"),
    [
        (1, "2017-06-07T02:58:00Z", 100, False),
        (5, "2017-06-07T02:58:00Z", 100, False),
        (5, "2017-06-07T02:58:00Z", 0, True),
        (4, "2017-06-07T01:00:00Z", 0, True),
        (1, "2017-06-07T02:58:00Z", 0, False),
        (1, "2017-06-07T01:00:00Z", 0, True),
        (1, "2017-06-07T01:00:00Z", 100, False),
    ],
)
async def test_a_sleeping_inverter_is_read_every_half_hour(
    account: Account, status: int, at: str, power: float, asleep: bool
) -> None:
    account.cloud.will("plant/list", plants({**ONE, "status": status}))
    await account.poll("plants")
    account.cloud.will("device/inverter/datasigns", record(at, power))
    (batch,) = await account.batches(LATEST)
    assert batch.next_in_s == (1800 if asleep else None)


async def test_a_device_list_keeps_an_inverter_on_line(account: Account) -> None:
    account.cloud.will("plant/list", plants(ONE))
    account.cloud.will("plant/details", good({}))
    row = {"device_id": int(DEVICE_ID), "device_sn": SERIAL, "last_update_time": "2017-06-07T02:45:00Z"}
    account.cloud.will("device/list", devices(row))
    await account.adapter.inventory()
    account.cloud.will("device/inverter/datasigns", record("2017-06-07T01:00:00Z"))
    alive, _reading = await account.poll(LATEST)
    assert alive.online


async def test_what_the_vendor_cannot_serve_is_asked_for_less_and_less_often(account: Account) -> None:
    await _is_patient(account, 55555)


async def test_a_code_that_nobody_knows_may_be_as_small_as_a_status(account: Account) -> None:
    await _is_patient(account, 500)


async def _is_patient(account: Account, unknown: int) -> None:
    account.cloud.will("plant/data", bad(10001), bad(10001), bad(unknown), body("plant_data"))
    for wait_s in (30, 60):
        with pytest.raises(LostAnswer):
            await account.poll(OVERVIEW)
        (batch,) = await account.batches(OVERVIEW)
        assert (batch.observations, batch.next_in_s) == ((), wait_s)
        account.clock.seconds += wait_s
    with pytest.raises(LostAnswer):
        await account.poll(OVERVIEW)
    (batch,) = await account.batches(OVERVIEW)
    assert batch.next_in_s == 1200
    account.clock.seconds += 1200
    assert await account.poll(OVERVIEW)


async def test_one_inverter_that_the_vendor_cannot_serve_is_no_fault_of_the_account(account: Account) -> None:
    account.cloud.will("device/inverter/datasigns", bad(10001), bad(10001), bad(10001), body("latest"))
    account.cloud.will("plant/data", body("plant_data"))
    account.cloud.will("plant/list", plants(ONE))
    await account.poll("plants")
    with pytest.raises(LostAnswer):
        await account.poll(LATEST)  # nothing else was served yet: it may be the account
    account.clock.seconds += 30
    await account.poll("plants")  # asks nobody
    with pytest.raises(LostAnswer):
        await account.poll(LATEST)
    await account.poll(OVERVIEW)
    account.clock.seconds += 60
    (batch,) = await account.batches(LATEST)
    assert [(type(one), batch.asked, batch.next_in_s) for one in batch.observations] == [
        (Availability, False, 120)
    ]
    account.clock.seconds += 120
    assert Reading in {type(one) for one in await account.poll(LATEST)}


async def test_a_lost_answer_makes_no_pause_of_its_own(account: Account) -> None:
    account.cloud.will("plant/data", httpx.ReadTimeout("slow"), httpx.Response(500), body("plant_data"))
    for _ in range(2):
        with pytest.raises(LostAnswer):
            await account.poll(OVERVIEW)
    assert await account.poll(OVERVIEW)


async def test_parameters_that_the_vendor_calls_wrong_are_not_sent_again_soon(account: Account) -> None:
    account.cloud.will("plant/data", bad(10006), bad(10006), body("plant_data"))
    for wait_s in (3600, 7200):
        with pytest.raises(Refused):
            await account.poll(OVERVIEW)
        (batch,) = await account.batches(OVERVIEW)
        assert (batch.observations, batch.next_in_s) == ((), wait_s)
        account.clock.seconds += wait_s
    assert await account.poll(OVERVIEW)


@pytest.mark.parametrize("code", [10006, 10014])
async def test_an_inverter_that_may_not_be_read_goes_off_line_when_its_data_are_old(
    account: Account, code: int
) -> None:
    row = {"device_id": int(DEVICE_ID), "device_sn": SERIAL, "last_update_time": "2017-06-07T02:50:00Z"}
    account.cloud.will("plant/list", plants(ONE))
    account.cloud.will("plant/details", good(DETAILS))
    account.cloud.will("device/list", devices(row))
    await account.adapter.inventory()
    account.cloud.will("device/inverter/datasigns", bad(code))
    task = next(one for one in account.adapter.poll_tasks([INVERTER]) if one.key == LATEST)
    online = []
    for _ in range(6):
        with contextlib.suppress(Refused):
            async for batch in account.adapter.poll(task):
                online += [one.online for one in batch.observations]
        account.clock.seconds += 300
    assert online == [True] * 5 + [False]
    assert len(account.cloud.asked("device/inverter/datasigns")) == 1


async def test_a_code_counts_whatever_the_http_status(account: Account) -> None:
    account.cloud.will("plant/data", httpx.Response(500, json=bad(10012)), body("plant_data"))
    assert await account.poll(OVERVIEW)
    assert account.cloud.words == ["accessToken", "plant/data", "accessToken", "plant/data"]
    account.cloud.will("plant/data", httpx.Response(503, json=bad(10004)))
    with pytest.raises(RateLimited):
        await account.poll(OVERVIEW)


async def test_equal_times_may_count_as_cleared(make: Callable[..., Account]) -> None:
    account = make(alarm_equal_times="cleared")
    account.cloud.will("device/inverter/alarm", body("alarms"))
    first, *_ = await account.poll(ALARMS)
    assert first.cleared


async def test_events_are_read_where_the_account_wants_them(make: Callable[..., Account]) -> None:
    account = make(events=True)
    account.cloud.will("device/inverter/eventsign", body("alarms"))
    seen = await account.poll(f"events:{DEVICE_ID}:{PLANT}")
    assert [type(one) for one in seen] == [Event] * 3
    assert (seen[2].code, seen[2].vendor_code) == ("vendor_e_21", "E-21")


async def test_a_position_is_kept_only_when_all_was_taken_in(account: Account) -> None:
    account.cloud.will("device/inverter/alarm", body("alarms"), body("alarms"))
    task = next(task for task in account.adapter.poll_tasks([INVERTER]) if task.key == ALARMS)
    run = account.adapter.poll(task)
    await run.__anext__()
    await run.aclose()  # type: ignore[attr-defined] # an async generator
    assert [type(one) for one in await account.poll(ALARMS)] == [AlarmMessage] * 3


PRIVATE = {"user_id": 7, "c_user_name": "N", "user_name": "N", "wifi_ssid": "S", "WifiSSID": "S", "ownercontact": "C",
           "Email": "E", "nested": {"ssid": "S", "kept": 1}}  # fmt: skip


@pytest.mark.parametrize("wanted", [False, True])
async def test_customer_data_are_told_only_where_the_account_wants_them(
    make: Callable[..., Account], wanted: bool
) -> None:
    account = make(customer_data=wanted, events=True)
    account.cloud.will("plant/list", plants({**ONE, **PRIVATE}))
    account.cloud.will("plant/details", good({**DETAILS, **PRIVATE}))
    account.cloud.will("device/list", devices({"device_id": 1, "device_sn": SERIAL, **PRIVATE}))
    account.cloud.will("plant/data", good({"today_energy": 1, **PRIVATE}))
    account.cloud.will("device/inverter/datasigns", record("2017-06-07T02:55:00Z", **PRIVATE))
    occurrence = {"alarm_code": "bit1", "start_time": "2017-06-07T02:00:00Z", "status": 0, **PRIVATE}
    for endpoint in ("alarm", "eventsign"):
        account.cloud.will(f"device/inverter/{endpoint}", good({"count": "1", "alarms": [occurrence]}))
    page = {"datas": [{"power": 1, "time": "2017-06-07T01:00:00Z", **PRIVATE}]}
    account.cloud.will("device/inverter/data", good(page))
    infos = [one.vendor_info | one.customer_info for one in await account.adapter.inventory()]
    (overview,) = [one.extra for one in await account.poll(OVERVIEW) if isinstance(one, Reading)]
    (latest,) = [one.extra for one in await account.poll(LATEST) if isinstance(one, Reading)]
    (alarm,) = [one.data for one in await account.poll(ALARMS)]
    (event,) = [one.data for one in await account.poll(f"events:{DEVICE_ID}:{PLANT}")]
    span = {"start": "2017-06-07T00:00:00Z", "end": "2017-06-07T02:00:00Z"}
    outcome = await account.run("history", span, INVERTER)
    told = [*infos, overview, latest, alarm, event, *(one.extra for one in outcome.observations)]
    assert len(told) == 7
    for one in told:
        assert {name: one[name] for name in PRIVATE if name in one} == (
            PRIVATE if wanted else {"nested": {"kept": 1}}
        )


async def test_reading_a_device_without_data_fails(account: Account) -> None:
    account.cloud.will("device/inverter/datasigns", EMPTY, EMPTY)
    with pytest.raises(Refused) as raised:
        await account.run("read", device=INVERTER)
    assert raised.value.code == "no_answer"


async def test_reading_goes_before_polling_and_ends_with_the_record(account: Account) -> None:
    account.cloud.will("device/inverter/datasigns", body("latest"))
    outcome = await account.run("read", device=INVERTER)
    assert isinstance(outcome.observations[-1], Reading)
    account.cloud.will("plant/data", body("plant_data"))
    outcome = await account.run("read", device=PLANT_DEVICE)
    assert isinstance(outcome.observations[-1], Reading)
    assert [lane for _, lane in account.gate.calls] == [Lane.READ] * 3
    with pytest.raises(Refused):
        await account.run("read", device=Device("roof", "saj", "X", DeviceKind.INVERTER))


async def test_the_check_counts_the_plants(account: Account) -> None:
    account.cloud.will("plant/list", body("plants"))
    assert await account.adapter.check() == "credentials accepted; 2 plants"
    assert account.cloud.asked("plant/list") == [{"page": "1", "perpage": "1", "locale": "en-US"}]


async def test_dry_runs_of_device_commands_show_the_first_request(account: Account) -> None:
    base = "https://cloud.example.invalid/"
    span = {"start": "2017-06-01", "end": "2017-06-09"}
    shown = [
        account.adapter.preview(account.order(command, given, device)).url.removeprefix(base)
        for command, given, device in (
            ("read", {}, PLANT_DEVICE),
            ("read", {}, INVERTER),
            ("history", span, PLANT_DEVICE),
            ("history", span, INVERTER),
        )
    ]
    assert shown == [
        f"plant/data?plant_id={PLANT}",
        f"device/inverter/datasigns?device_id={DEVICE_ID}&end_date=2017-06-07",
        f"plant/energy?plant_id={PLANT}&start_date=2017-06-01&end_date=2017-06-07&time_unit=day&page=1&perpage=100",
        f"device/inverter/data?device_id={DEVICE_ID}&start_date=2017-05-31&end_date=2017-06-06&perpage=1000",
    ]
    assert account.cloud.requests == []
