"""Inventory, polling, positions in lists, devices that only pushes know (vectors V10 and V11)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from bridge.domain.device import DeviceKind
from bridge.domain.errors import LostAnswer, Refused
from bridge.domain.observation import AlarmMessage, Availability, Event, Origin, Reading
from bridge.domain.times import rfc3339
from bridge.ports import PollTask
from tests.unit.vendors.iotmeter.bench import (
    METER,
    NOW,
    OTHER,
    RTU,
    Scripted,
    bad,
    fixture,
    fixture_bytes,
    page,
)
from tests.unit.vendors.iotmeter.test_push import ALARM, DATA, EVENT

ALARMS = f"alarms:1:{METER}"
EVENTS = f"events:1:{METER}"


def row(meter: str = METER, **fields: Any) -> dict[str, Any]:
    times = {"acquisition_time": "2021-04-07T07:00:00", "receive_time": "2021-04-07T07:00:12"}
    return {"meter_comm_no": meter, "device_type": 1, "std_sum": 7, **times, **fields}


def occurrence(word: str, code: int, at: str = "2021-04-06T08:00:00", device: str = METER) -> dict[str, Any]:
    return {
        f"{word}_id": 17, "company_no": "1001", "device_comm_no": device, "device_type": "1",
        f"{word}_time": at, "receive_time": at, f"{word}_code": code, f"{word}_content": "x",
        f"{word}_data": "{}",
    }  # fmt: skip


async def test_the_inventory_reads_all_pages(bench: Scripted) -> None:
    bench.cloud.will(
        page(row(meter_area_no="A01"), {"meter_comm_no": ""}, total=4),
        page(row(OTHER), row("9", device_type="2"), total=4),
    )
    devices = await bench.adapter.inventory()
    assert [(device.native_id, device.kind) for device in devices] == [
        (METER, DeviceKind.GAS_METER), (OTHER, DeviceKind.GAS_METER), ("9", DeviceKind.RTU),
    ]  # fmt: skip
    assert devices[0].vendor_info == {"meter_area_no": "A01"}
    assert devices[0].metrics == ("gas_volume",)
    assert [request.url.params["startrow"] for request in bench.cloud.requests] == ["0", "2"]
    assert bench.cloud.body() == {"orderby": "meter_comm_no", "sequence": "asc"}


async def test_v11_contradictory_counters_do_not_end_a_list_early(bench: Scripted) -> None:
    bench.cloud.will(fixture_bytes("v11"), page())
    assert list(await bench.adapter.inventory()) == []
    assert [request.url.params["startrow"] for request in bench.cloud.requests] == ["0", "2"]


async def test_a_list_without_total_ends_with_an_empty_page(bench: Scripted) -> None:
    bench.cloud.will({"Data": [row()], "State": "success"}, {"Data": None, "State": "success"})
    assert len(await bench.adapter.inventory()) == 1


async def test_a_failed_list_of_meters_does_not_make_them_vanish(bench: Scripted) -> None:
    bench.cloud.will(bad("找不到数据"), page())
    with pytest.raises(Refused):
        await bench.adapter.inventory()
    assert list(await bench.adapter.inventory()) == []


async def test_nothing_found_is_an_empty_list_of_alarms(bench: Scripted) -> None:
    bench.cloud.will(bad("找不到数据"))
    assert await bench.poll(ALARMS) == []
    assert bench.vault.kept[f"alarms:{METER}"] == rfc3339(NOW)


async def test_excluded_devices_are_neither_listed_nor_read(
    make: Callable[..., Scripted],
) -> None:
    bench = make(devices={"exclude": ["00*"]})
    bench.cloud.will(page(row(), row(OTHER)))
    (device,) = await bench.adapter.inventory()
    assert device.native_id == METER
    bench.cloud.will(page(row(OTHER)))
    assert await bench.poll("readings") == []


def test_tasks_cover_readings_and_the_lists_of_each_device(make: Callable[..., Scripted]) -> None:
    bench = make(
        alarm_poll="6h",
        data={"base_url": "http://d.example.invalid", "company_no": "1", "api_key": "1", "page_rows": 2},
    )
    devices = [bench.device(), bench.device(OTHER), bench.device(RTU, DeviceKind.RTU)]
    tasks = {task.key: task for task in bench.adapter.poll_tasks(devices)}
    assert set(tasks) == {
        "readings", "save", ALARMS, EVENTS, f"alarms:1:{OTHER}", f"events:1:{OTHER}", f"alarms:2:{RTU}",
        f"events:2:{RTU}",
    }  # fmt: skip
    assert (tasks["readings"].interval_s, tasks["readings"].costs) == (3600.0, {"data": 2.0})
    assert tasks["readings"].devices == (METER, OTHER, RTU)
    assert (tasks[ALARMS].interval_s, tasks[ALARMS].costs, tasks[ALARMS].lane) == (
        21600.0,
        {"data": 1.0},
        "alarms",
    )
    assert tasks[ALARMS].first_in_s == 2.0
    assert tasks["save"].costs == {}
    assert [task.key for task in bench.adapter.poll_tasks([])] == ["save"]
    assert list(make(push=None).adapter.poll_tasks([])) == []


async def test_of_a_partial_run_only_the_devices_that_did_not_push_are_asked_for(
    make: Callable[..., Scripted],
) -> None:
    bench = make(
        data={"base_url": "http://d.invalid", "company_no": "1001", "api_key": "0" * 32, "page_rows": 2}
    )
    bench.cloud.will(page(row("1"), row("3")), bad("找不到数据"))
    task = PollTask("readings", 3600.0, devices=("1", "3", "5"), pushed=True, partial=True)
    seen = [one async for batch in bench.adapter.poll(task) for one in batch.observations]
    assert [one.device for one in seen if isinstance(one, Reading)] == ["1", "3"]
    numbers = [json.loads(request.content)["meter_comm_nos"] for request in bench.cloud.requests]
    assert numbers == [["1", "3"], ["5"]]


async def test_readings_are_polled_with_what_they_tell_of_the_device(bench: Scripted) -> None:
    bench.cloud.will(page(row(), row(OTHER, acquisition_time=None), 5, total=3))
    described, reading, alive, only_described = await bench.poll("readings")
    assert isinstance(reading, Reading)
    assert (reading.metrics, reading.origin) == ({"gas_volume": 7}, Origin.POLL)
    assert isinstance(alive, Availability)
    assert alive.online
    assert (described.device.native_id, only_described.device.native_id) == (METER, OTHER)


async def test_a_silent_meter_is_off_line(bench: Scripted) -> None:
    bench.cloud.will(page(row(receive_time="2021-04-05T08:00:00")))
    alive = (await bench.poll("readings"))[-1]
    assert (alive.online, alive.said) == (False, False)


async def test_a_batch_is_one_page(bench: Scripted) -> None:
    bench.cloud.will(page(row(), total=2), page(row(OTHER), total=2))
    task = next(iter(bench.adapter.poll_tasks([bench.device()])))
    batches = [batch async for batch in bench.adapter.poll(task)]
    assert [len(batch.observations) for batch in batches] == [3, 3]


async def test_alarms_are_read_from_two_days_before_the_position(bench: Scripted) -> None:
    bench.cloud.will(page(occurrence("alarm", 3)))
    (alarm,) = await bench.poll(ALARMS)
    assert isinstance(alarm, AlarmMessage)
    assert (alarm.code, alarm.origin, alarm.data) == ("vendor_3", Origin.POLL, {})
    assert bench.cloud.body() == {
        "device_comm_no": METER, "device_type": 1, "year": 2021, "month": 4, "start_day": 5, "start_hour": 8,
        "start_minute": 0, "end_day": 7, "end_hour": 8, "end_minute": 1,
    }  # fmt: skip
    assert bench.vault.kept[f"alarms:{METER}"] == rfc3339(NOW)


async def test_after_an_absence_everything_missed_is_read(bench: Scripted) -> None:
    bench.vault.kept[f"events:{METER}"] = "2021-02-27T00:00:00Z"
    bench.cloud.will(
        page(), page(occurrence("event", 12), total=2), page(occurrence("event", 13), total=2), page()
    )
    seen = await bench.poll(EVENTS)
    assert [type(one) for one in seen] == [Event, Event]
    assert [bench.cloud.body(index)["month"] for index in range(4)] == [2, 3, 3, 4]
    assert bench.cloud.body(0)["start_day"] == 25


async def test_the_position_stays_where_a_list_could_not_be_read(bench: Scripted) -> None:
    bench.vault.kept[f"alarms:{METER}"] = "2021-04-06T00:00:00Z"
    bench.cloud.will(page(occurrence("alarm", 3), total=2), *[httpx.ReadTimeout("x")] * 3)
    with pytest.raises(LostAnswer):
        await bench.poll(ALARMS)
    assert bench.vault.kept[f"alarms:{METER}"] == "2021-04-06T00:00:00Z"


async def test_useless_entries_of_a_list_are_left_out(bench: Scripted) -> None:
    rows = [
        occurrence("alarm", 1, device=OTHER),
        {},
        5,
        occurrence("alarm", 2, at="x"),
        occurrence("alarm", 3),
    ]
    bench.cloud.will(page(*rows))
    assert [one.code for one in await bench.poll(ALARMS)] == ["vendor_3"]


async def test_a_device_that_only_pushes_know_stays_in_the_inventory(bench: Scripted) -> None:
    bench.push(EVENT, {**fixture("v6"), "receive_time": "2021-04-07 08:00:00"})
    bench.push(DATA, fixture("v1"))
    bench.cloud.will(page(row()))
    devices = await bench.adapter.inventory()
    assert [(device.native_id, device.kind) for device in devices] == [
        (METER, DeviceKind.GAS_METER), (RTU, DeviceKind.RTU),
    ]  # fmt: skip
    bench.restart()
    bench.cloud.will(page(row()))
    assert [device.native_id for device in await bench.adapter.inventory()] == [METER, RTU]
    assert set(bench.vault.kept["met"]) == {RTU}


async def test_a_device_that_nobody_else_knows_is_kept_before_its_push_is_answered(bench: Scripted) -> None:
    bench.cloud.will(page(row()), page(row()))
    await bench.adapter.inventory()
    assert bench.push(DATA, {**fixture("v1"), "meter_comm_no": METER}).keep is None
    keep = bench.push(EVENT, fixture("v6")).keep
    assert keep is not None
    await asyncio.gather(keep(), keep())
    assert bench.push(EVENT, fixture("v6")).keep is None
    bench.restart()
    assert [device.native_id for device in await bench.adapter.inventory()] == [METER, RTU]


async def test_what_pushes_know_is_saved_without_an_inventory(bench: Scripted) -> None:
    bench.push(EVENT, fixture("v6"))
    assert await bench.poll("save") == []
    assert list(bench.vault.kept["met"]) == [RTU]
    bench.vault.kept.clear()
    await bench.poll("save")
    assert bench.vault.kept == {}


async def test_a_device_that_only_pushes_knew_is_forgotten_after_a_month(bench: Scripted) -> None:
    bench.push(ALARM, {**fixture("v5"), "receive_time": "2021-04-07 08:00:00"})
    bench.cloud.will(page(), page())
    assert len(await bench.adapter.inventory()) == 1
    bench.time.advance(31 * 86400)
    assert len(await bench.adapter.inventory()) == 0


async def test_a_device_that_pushes_what_is_long_past_is_in_the_inventory(bench: Scripted) -> None:
    bench.time.advance(365 * 86400)
    bench.push(EVENT, fixture("v6"))
    bench.cloud.will(page(), page(), page())
    assert [device.native_id for device in await bench.adapter.inventory()] == [RTU]
    bench.restart()
    assert [device.native_id for device in await bench.adapter.inventory()] == [RTU]
    bench.time.advance(31 * 86400)
    assert await bench.adapter.inventory() == []


async def test_a_silent_device_that_only_pushes_know_is_off_line(bench: Scripted) -> None:
    bench.push(EVENT, {**fixture("v6"), "receive_time": "2021-04-07 08:00:00"})
    bench.cloud.will(page(), page())
    assert await bench.poll("readings") == []
    bench.time.advance(48 * 3600)
    (seen,) = await bench.poll("readings")
    assert (seen.device, seen.online, seen.at) == (RTU, False, NOW)


async def test_what_the_vault_holds_may_be_anything(bench: Scripted) -> None:
    for kept in ([], {"a": 1}, {"a": []}, {"a": ["x", "rtu"]}, {"a": [rfc3339(NOW), "boat"]}, "x"):
        bench.vault.kept = {"met": kept, f"alarms:{METER}": kept}
        bench.restart()
        bench.cloud.will(page(), page())
        assert list(await bench.adapter.inventory()) == []
        assert await bench.poll(ALARMS) == []


async def test_a_position_in_the_future_is_none(bench: Scripted) -> None:
    bench.vault.kept[f"alarms:{METER}"] = rfc3339(NOW + timedelta(days=30))
    bench.cloud.will(page())
    assert await bench.poll(ALARMS) == []
    assert bench.cloud.body()["start_day"] == 5
