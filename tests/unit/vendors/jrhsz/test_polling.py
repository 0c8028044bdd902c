"""Inventory, polling, history and the check of one account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from bridge.domain.device import DeviceKind
from bridge.domain.errors import LostAnswer, NotSent, Refused, VendorError
from bridge.domain.metrics import METRICS
from bridge.domain.observation import Availability, Batch, Described, Origin, Reading, Words
from bridge.pace.limits import Lane
from bridge.ports import PollTask
from bridge.vendors.jrhsz.catalogue import ELECTRICITY, MODELS, WATER
from bridge.vendors.jrhsz.catalogue import kind_of as kind_of_type
from bridge.vendors.jrhsz.codec import Codec
from bridge.vendors.jrhsz.notes import DateStyle
from tests.unit.vendors.jrhsz.bench import (
    ENERGY,
    NOW,
    OTHER,
    TOO_FAST,
    Account,
    FakeVault,
    latest,
    listed,
    nothing,
    rows,
)
from tests.unit.vendors.jrhsz.bench import (
    WATER as WATER_NO,
)


def consumed(table_no: str, reading: str, at: str, dosage: str = "1") -> dict[str, Any]:
    return {
        "tableNo": table_no, "reading": reading, "readTime": at, "dosage": dosage, "amout": "2", "type": 5,
    }  # fmt: skip


def stored(table_no: str, reading: str, at: str, **fields: Any) -> dict[str, Any]:
    row = {"deviceId": "d", "tableNo": table_no, "reading": reading, "readTime": at, "imei": ""}
    return row | {"user_code": "c1", "tableAddress": "x", "deviceName": "x"} | fields


async def _until_it_fails(batches: AsyncIterator[Batch], waits: list[float | None]) -> None:
    async for batch in batches:
        assert not batch.observations
        waits.append(batch.next_in_s)


async def failed(account: Account, task: PollTask, kind: type[VendorError]) -> list[float | None]:
    """Runs a task that fails, and gives what it says about the next time."""
    waits: list[float | None] = []
    batches = account.adapter.poll(task)
    with pytest.raises(kind):
        await _until_it_fails(batches, waits)
    return waits


def test_the_table_of_types_is_that_of_the_page() -> None:
    assert (len(ELECTRICITY), len(WATER), ELECTRICITY & WATER) == (17, 28, frozenset())
    assert set(range(1, 50)) - ELECTRICITY - WATER == {25, 29, 33, 34}
    assert MODELS.keys() <= ELECTRICITY | WATER
    assert [kind_of_type(code) for code in (1, 2, 25, None)] == [
        DeviceKind.ELECTRICITY_METER,
        DeviceKind.WATER_METER,
        DeviceKind.METER,
        DeviceKind.METER,
    ]


async def test_the_inventory_is_read_page_by_page_until_one_is_not_full(account: Account) -> None:
    pages = [[listed(f"{page}{number:05d}") for number in range(1000)] for page in range(2)]
    account.cloud.will(rows(*pages[0]), rows(*pages[1]), rows())
    assert len(await account.adapter.inventory()) == 2000
    assert account.cloud.bodies("meterList") == [{"pageNo": page, "pageSize": 1000} for page in (1, 2, 3)]
    assert account.gate.calls[1][1] is Lane.INVENTORY


@pytest.mark.parametrize(
    "empty", [nothing(), nothing([]), nothing(""), nothing([], totalCount=52), nothing([{}])]
)
async def test_an_account_has_no_meters_only_when_a_second_list_agrees(
    make: Callable[..., Account], account: Account, empty: Any
) -> None:
    await account.know(listed(ENERGY))
    again = make(vault=account.vault)
    again.cloud.will(empty, empty, empty, empty)
    for wait_s in (0, 599):
        again.clock.seconds += wait_s
        with pytest.raises(Refused, match="lists no meters, where"):
            await again.adapter.inventory()
    again.clock.seconds += 1
    assert await again.adapter.inventory() == []
    assert await again.adapter.inventory() == []
    await again.know(listed(ENERGY))
    again.cloud.will(empty)
    with pytest.raises(Refused, match="lists no meters, where"):
        await again.adapter.inventory()
    again.cloud.will(rows(latest(ENERGY, "5", "2023-07-14 10:00:00")))
    assert [type(one) for one in await again.poll("readings")] == [Reading]


async def test_an_empty_page_takes_no_meters_away_unless_a_second_walk_agrees(account: Account) -> None:
    page = rows(*[listed(f"1{number:05d}") for number in range(1000)])
    account.cloud.will(page, rows(listed(ENERGY)))
    assert len(await account.adapter.inventory()) == 1001
    for wait_s in (0, 599):
        account.clock.seconds += wait_s
        account.cloud.will(page, nothing([], totalCount=0))
        with pytest.raises(Refused, match="lists 1000 meters, where it listed more"):
            await account.adapter.inventory()
    account.clock.seconds += 1
    account.cloud.will(page, nothing([], totalCount=0), page, nothing())
    for _ in range(2):
        assert len(await account.adapter.inventory()) == 1000
    account.cloud.will(rows(listed(ENERGY)))  # a page that has some says that the others are gone
    assert len(await account.adapter.inventory()) == 1


async def test_an_account_of_which_the_platform_counts_no_meters_is_empty(account: Account) -> None:
    await account.know(listed(ENERGY))
    account.cloud.will(nothing([], totalCount="0"))
    assert await account.adapter.inventory() == []


async def test_a_platform_that_ignores_page_numbers_is_not_asked_for_ever(account: Account) -> None:
    page = rows(*[listed(f"{number}") for number in range(1000)])
    account.cloud.will(page, page)
    assert len(await account.adapter.inventory()) == 1000


async def test_customers_are_kept_apart_and_unknown_fields_kept(make: Callable[..., Account]) -> None:
    account = make()
    row = listed(ENERGY, user_code="c1", user_name="N", house_number="7", user_phone="1", ratio="40")
    (device,) = await account.know(row)
    assert device.customer_info == {
        "user_code": "c1",
        "user_name": "N",
        "house_number": "7",
        "user_phone": "1",
    }
    assert device.vendor_info["ratio"] == "40"
    assert not device.customer_info.keys() & device.vendor_info.keys()


@pytest.mark.parametrize(
    "spelled",
    [
        {"tableType": None, "typeType": 15},
        {"tableType": "", "typeType": "15"},
        {"tableType": "?", "typeType": "15"},
    ],
)
async def test_a_type_beside_an_empty_table_type_is_not_lost(
    account: Account, spelled: dict[str, Any]
) -> None:
    (device,) = await account.know(listed(ENERGY) | spelled)
    assert (device.kind, str(device.vendor_info["tableType"])) == (DeviceKind.ELECTRICITY_METER, "15")
    assert "time_of_use" in {task.key for task in account.adapter.poll_tasks([device])}


async def test_a_field_that_only_another_end_point_knows_is_kept(account: Account) -> None:
    codec = Codec(account.policy, account.settings.zone())
    at = "2023-07-14 10:00:00"
    row = {
        "tableNo": ENERGY,
        "reading": "5",
        "readTime": at,
        "gate": "合闸",
        "dosage": "1",
        "netStatis": "在线",
    }
    kept = []
    for decode in (codec.latest, codec.stored, codec.consumed):
        (one,) = decode(row, DeviceKind.ELECTRICITY_METER, NOW, Origin.POLL)
        assert isinstance(one, Reading)
        kept.append(set(one.extra))
    assert kept == [{"dosage", "netStatis"}, {"dosage", "gate", "netStatis"}, {"gate", "netStatis"}]
    meter = codec.meter(listed(ENERGY) | {"reading": "5", "readTime": at}, NOW)
    assert meter is not None
    assert (meter.device.vendor_info["reading"], meter.device.vendor_info["readTime"]) == ("5", at)


async def test_a_gate_that_is_known_now_has_no_unknown_word_beside_it(account: Account) -> None:
    await account.know(listed(ENERGY, gate="未知"))
    account.cloud.will(rows(latest(ENERGY, "5", "2023-07-14 10:00:00", gate="合闸")))
    (reading,) = await account.poll("readings")
    assert (reading.metrics["switch_state"], reading.extra) == ("on", {})


async def test_only_wanted_meters_are_told_of(make: Callable[..., Account]) -> None:
    account = make(devices={"include": ["0000*"], "exclude": [WATER_NO]})
    devices = await account.know(listed(ENERGY), listed(WATER_NO, "2"), listed(OTHER), {"tableNo": ""})
    assert [device.native_id for device in devices] == [ENERGY]
    account.cloud.will(rows(*(latest(number, "1", "2023-07-14 10:00:00") for number in (ENERGY, WATER_NO))))
    assert [one.device for one in await account.poll("readings", *devices)] == [ENERGY]
    assert {one.device for one in await account.poll("meters", *devices)} == {ENERGY}


async def test_tasks_are_one_per_end_point_and_only_where_meters_have_them(account: Account) -> None:
    def keys(*devices: Any) -> set[str]:
        return {task.key for task in account.adapter.poll_tasks(devices)}

    plain = {"readings", "meters", "stored", "consumption"}
    assert keys() == {"readings", "meters"}
    assert keys(account.device()) == plain
    assert keys(account.device(tableType=11)) == plain | {"time_of_use"}
    assert keys(account.device(), account.water()) == plain | {"camera"}
    many = [account.device(str(number)) for number in range(2000)]
    tasks = {task.key: task for task in account.adapter.poll_tasks(many)}
    assert (tasks["readings"].interval_s, tasks["readings"].costs) == (900, {"readMeter": 3})
    assert (tasks["meters"].interval_s, tasks["meters"].costs) == (600, {"meterList": 3})
    assert (tasks["stored"].interval_s, tasks["stored"].costs) == (3600, {"readMeterList": 3})


async def test_the_inventory_just_read_is_told_without_asking_again(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    first = await account.poll("meters", *devices)
    assert [type(one) for one in first] == [Availability, Words]
    account.cloud.will(rows(listed(ENERGY, gate="跳闸", deviceName="new"), listed(WATER_NO, "2")))
    second = await account.poll("meters", *devices)
    assert [type(one) for one in second] == [Described, Availability, Words, Described, Availability, Words]
    assert second[2].metrics == {"switch_state": "off"}
    assert account.cloud.words == ["login", "meterList", "meterList"]


@pytest.mark.parametrize(
    ("word", "online"),
    [
        ("在线", True),
        ("不在线", False),
        ("离线", False),
        ("", None),
        ("在", None),
        ("在线吗", None),
        (None, None),
        (1, None),
    ],
)
async def test_the_connection_is_known_by_whole_words_only(
    account: Account, word: Any, online: bool | None
) -> None:
    devices = await account.know(listed(ENERGY, netStatis=word))
    said = [one.online for one in await account.poll("meters", *devices) if isinstance(one, Availability)]
    assert said == ([] if online is None else [online])


@pytest.mark.parametrize(
    ("type_code", "word", "metrics", "extra"),
    [
        ("5", "跳闸", {"switch_state": "off"}, {}),
        ("5", "合闸", {"switch_state": "on"}, {}),
        ("5", "关阀", {}, {"gate": "关阀"}),
        ("2", "跳闸", {"valve_state": "closed"}, {}),
        ("2", "合闸", {"valve_state": "open"}, {}),
        ("2", "关阀", {"valve_state": "closed"}, {}),
        ("2", "开阀", {"valve_state": "open"}, {}),
        ("2", "半开", {}, {"gate": "半开"}),
        ("25", "跳闸", {}, {"gate": "跳闸"}),
        ("5", None, {}, {}),
        ("5", 7, {}, {"gate": 7}),
    ],
)  # fmt: skip
async def test_gate_words_mean_what_the_medium_makes_of_them(
    account: Account, type_code: str, word: Any, metrics: dict[str, Any], extra: dict[str, Any]
) -> None:
    devices = await account.know(listed(ENERGY, type_code, gate=""))
    account.cloud.will(rows(latest(ENERGY, "1", "2023-07-14 10:00:00", word)))
    (reading,) = await account.poll("readings", *devices)
    counter = {"5": "import_energy", "2": "water_volume", "25": "reading"}[type_code]
    assert (reading.metrics, reading.extra) == ({counter: 1, **metrics}, extra)


async def test_a_gate_without_reading_and_time_is_a_word(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    account.cloud.will(rows(latest(ENERGY, "", "", "跳闸")))
    (words,) = await account.poll("readings", *devices)
    assert words == Words(ENERGY, NOW, Origin.POLL, {"switch_state": "off"})


@pytest.mark.parametrize(
    "at", ["", "2023-02-30 10:00:00", "0000-00-00 00:00:00", "1969-12-31 00:00:00", "soon"]
)
async def test_a_reading_without_a_usable_time_has_that_of_its_receipt(account: Account, at: str) -> None:
    devices = await account.know(listed(ENERGY))
    account.cloud.will(rows(latest(ENERGY, "7.10", at)))
    (reading,) = await account.poll("readings", *devices)
    assert (reading.metrics["import_energy"], reading.observed_at) == (Decimal("7.1"), None)


async def test_readings_of_meters_that_the_inventory_does_not_know_wait_for_it(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    account.cloud.will(rows(latest("new", "1", "2023-07-14 10:00:00"), "junk", {"reading": "2"}))
    assert await account.poll("readings", *devices) == []


async def test_readings_ask_for_the_inventory_first_where_there_is_none(account: Account) -> None:
    account.cloud.will(rows(listed(ENERGY)), rows(latest(ENERGY, "1", "2023-07-14 10:00:00")))
    assert len(await account.poll("readings")) == 1
    assert account.cloud.words == ["login", "meterList", "readMeter"]


async def test_powers_are_scaled_in_decimal(make: Callable[..., Account]) -> None:
    account = make(power_scale="0.4")
    devices = await account.know(listed(ENERGY, "15"))
    row = {"tableNo": ENERGY, "createTime": "2025-07-01 00:57:05", "freezeTime": "2025-07-01 00:57:05"}
    row |= {"positiveActivePower": "1", "activePowerA": "0.1", "totalReactivePower": "-1.90", "voltC": "-"}
    account.cloud.will(rows(row | {"newField": 1}))
    (reading,) = await account.poll("time_of_use", *devices)
    assert reading.metrics == {"import_energy": 1, "active_power_a": 40, "reactive_power": -760}
    assert reading.extra == {"newField": 1}


@pytest.mark.parametrize("missing", ["createTime", "freezeTime"])
async def test_time_of_use_values_without_their_time_take_the_other(account: Account, missing: str) -> None:
    devices = await account.know(listed(ENERGY, "7"))
    times = {"createTime": "2025-07-01 00:57:05", "freezeTime": "2025-07-01 00:00:00"} | {missing: ""}
    account.cloud.will(rows({"tableNo": ENERGY, "positiveActivePower": 5, "voltA": "230"} | times))
    (reading,) = await account.poll("time_of_use", *devices)
    assert reading.metrics == {"import_energy": 5, "voltage_a": 230}
    assert reading.observed_at is not None


async def test_registers_without_instantaneous_values_are_one_record_with_all_that_is_unknown(
    account: Account,
) -> None:
    devices = await account.know(listed(ENERGY, "11"))
    row = {
        "tableNo": ENERGY, "freezeTime": "2023-07-14 00:00:00", "createTime": "2023-07-14 00:57:05",
        "positiveActivePower": "5", "voltA": "", "demand": "3.1",
    }  # fmt: skip
    account.cloud.will(rows(row))
    (reading,) = await account.poll("time_of_use", *devices)
    assert (reading.metrics, reading.extra) == ({"import_energy": 5}, {"demand": "3.1"})
    assert reading.observed_at == datetime(2023, 7, 13, 16, tzinfo=UTC)


async def test_every_metric_is_in_the_catalogue_and_of_its_type(account: Account) -> None:
    devices = await account.know(listed(ENERGY, "7"), listed(WATER_NO, "2"), listed(OTHER, "25"))
    names = {name for device in devices for name in device.metrics}
    assert names <= METRICS.keys()
    row = {f"{field}{phase}": "1.5" for field in ("volt", "electric", "activePower") for phase in "ABC"}
    account.cloud.will(rows({"tableNo": ENERGY, "createTime": "2025-07-01 00:57:05"} | row))
    (reading,) = await account.poll("time_of_use", *devices)
    assert len(reading.metrics) == 9
    assert all(METRICS[name].takes(value) for name, value in reading.metrics.items())
    assert set(reading.metrics) <= set(devices[0].metrics)


async def test_windows_begin_two_hours_before_the_last_complete_one_ended(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    account.cloud.will(rows(consumed(ENERGY, "1", "2023-07-14 09:00:00")), rows())
    await account.poll("consumption", *devices)
    account.clock.seconds = 3600
    await account.poll("consumption", *devices)
    page = {"pageNo": 1, "pageSize": 1000, "type": "1"}
    assert account.cloud.bodies("readMeterDataList") == [
        {"BeginDate": "2023-07-13 10:30:00", "EndDate": "2023-07-14 10:30:00"} | page,
        {"BeginDate": "2023-07-14 08:30:00", "EndDate": "2023-07-14 11:30:00"} | page,
    ]


async def test_a_window_that_failed_is_asked_for_again_also_after_a_restart(
    make: Callable[..., Account],
) -> None:
    account = make()
    devices = await account.know(listed(ENERGY))
    account.cloud.will(rows(stored(ENERGY, "1", "2023-07-14 09:00:00")))
    await account.poll("stored", *devices)
    account.clock.seconds = 3600
    account.cloud.will({"code": 1001})
    with pytest.raises(Refused):
        await account.poll("stored", *devices)
    again = make(vault=account.vault)
    again.clock.seconds = 100 * 3600
    found = rows(stored(ENERGY, "1", "2023-07-14 09:00:00"))
    again.cloud.will(rows(listed(ENERGY)), found, rows(), rows())
    await again.poll("stored", *devices)
    windows = [(body["BeginDate"], body["EndDate"]) for body in again.cloud.bodies("readMeterList")]
    assert windows[0] == ("2023-07-14 08:30:00", "2023-07-16 08:30:00")
    assert windows[-1][1] == "2023-07-18 14:30:00"


async def test_time_of_use_and_camera_records_are_asked_for_two_days_back(account: Account) -> None:
    devices = await account.know(listed(ENERGY, "11"), listed(WATER_NO, "2"))
    account.cloud.will(rows(), rows())
    await account.poll("time_of_use", *devices)
    await account.poll("camera", *devices)
    for endpoint in ("peaksValleysRead", "cameraRead"):
        (body,) = account.cloud.bodies(endpoint)
        assert (body["BeginDate"], body["EndDate"]) == ("2023-07-12 10:30:00", "2023-07-14 10:30:00")


async def test_records_leave_in_the_order_of_their_times_and_once(account: Account) -> None:
    devices = await account.know(listed(ENERGY), listed(WATER_NO, "2"))
    late, early = "2023-07-14 10:00:00", "2023-07-14 09:00:00"
    page = [consumed(ENERGY, "3", late), consumed(ENERGY, "2", early), consumed(WATER_NO, "1", early)]
    account.cloud.will(rows(*page, page[0]), rows(*page, consumed(ENERGY, "4", "2023-07-14 10:20:00")))
    seen = await account.poll("consumption", *devices)
    assert [(one.device, one.metrics.get("import_energy")) for one in seen] == [
        (ENERGY, 2), (WATER_NO, None), (ENERGY, 3),
    ]  # fmt: skip
    assert [one.metrics["import_energy"] for one in await account.poll("consumption", *devices)] == [4]


async def test_stored_readings_only_fill_gaps(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    known, gap = "2023-07-14 10:00:00", "2023-07-14 09:00:00"
    account.cloud.will(rows(latest(ENERGY, "5", known)))
    await account.poll("readings", *devices)
    account.cloud.will(
        rows(stored(ENERGY, "5", known, imei="860000000000000"), stored(ENERGY, "4", gap, imei=""))
    )
    reading, described = sorted(await account.poll("stored", *devices), key=lambda one: type(one).__name__)[
        ::-1
    ]
    assert reading == Reading(
        ENERGY,
        NOW,
        Origin.POLL,
        {"import_energy": 4},
        observed_at=datetime(2023, 7, 14, 1, tzinfo=UTC),
        fills=True,
    )
    assert described.device.vendor_info == {"imei": "860000000000000"}


async def test_readings_tell_what_they_cover_and_what_only_fills_gaps(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    at = "2023-07-14 10:00:00"
    account.cloud.will(rows(latest(ENERGY, "5", at)))
    (live,) = await account.poll("readings", *devices)
    account.cloud.will(rows(latest(ENERGY, "", at)))
    (gate,) = await account.poll("readings", *devices)
    account.cloud.will(rows(consumed(ENERGY, "5", at)))
    (used,) = await account.poll("consumption", *devices)
    assert (live.covers, used.covers) == (True, True)
    assert not gate.covers, "without its register a record covers nothing"
    assert not any(one.fills for one in (live, gate, used))


async def test_of_many_meters_only_hours_are_held_in_memory_at_once(account: Account) -> None:
    devices = await account.know(*(listed(f"{number}", "11") for number in range(900)))
    page = rows(consumed("0", "1", "2023-07-14 09:00:00"))
    account.cloud.will(page, *[rows()] * 20)
    await account.poll("consumption", *devices)
    await account.poll("time_of_use", *devices)
    windows = [(body["BeginDate"], body["EndDate"]) for body in account.cloud.bodies("peaksValleysRead")]
    assert windows[0] == ("2023-07-12 10:30:00", "2023-07-12 16:30:00")
    assert len(windows) == 8
    assert [end for _begin, end in windows[:-1]] == [begin for begin, _end in windows[1:]]
    assert windows[-1][1] == "2023-07-14 10:30:00"


async def test_short_windows_without_records_do_not_make_it_try_dates_without_a_time() -> None:
    style = DateStyle(FakeVault())
    hours = timedelta(hours=3)
    assert not any(style.wants_days("readMeterList", hours, found=False) for _ in range(7))
    assert style.wants_days("readMeterList", hours, found=False)
    assert not style.wants_days("readMeterList", hours, found=False)


async def test_batches_stay_small(account: Account) -> None:
    meters = [listed(f"{number}") for number in range(900)]
    devices = await account.know(*meters)
    account.cloud.will(rows(*(latest(row["tableNo"], "1", "2023-07-14 10:00:00") for row in meters)))
    assert [len(batch.observations) for batch in await account.batches("readings", *devices)] == [500, 400]


async def test_dates_without_a_time_are_tried_once_where_answers_stay_empty(
    make: Callable[..., Account],
) -> None:
    account = make()
    devices = await account.know(listed(ENERGY))
    account.cloud.will(rows(), rows(), rows(), rows(consumed(ENERGY, "1", "2023-07-14 09:00:00")))
    for _ in range(2):
        assert await account.poll("consumption", *devices) == []
    assert len(await account.poll("consumption", *devices)) == 1
    assert account.cloud.bodies("readMeterDataList")[-1]["BeginDate"] == "2023-07-14"
    again = make(vault=account.vault)
    again.cloud.will(rows(listed(ENERGY)), rows())
    await again.poll("consumption", *devices)
    assert again.cloud.bodies("readMeterDataList")[-1]["EndDate"] == "2023-07-14"


async def test_dates_without_a_time_are_tried_at_each_end_point_because_one_may_have_no_records(
    account: Account,
) -> None:
    devices = await account.know(listed(ENERGY))
    account.cloud.will(*[rows()] * 5, rows(stored(ENERGY, "1", "2023-07-14 09:00:00")))
    for _ in range(3):
        assert await account.poll("consumption", *devices) == []
    assert len(account.cloud.bodies("readMeterDataList")) == 4
    assert len(await account.poll("stored", *devices)) == 1
    account.cloud.will(rows())
    await account.poll("consumption", *devices)
    assert account.cloud.bodies("readMeterDataList")[-1]["BeginDate"] == "2023-07-14"


async def test_dates_without_a_time_are_not_tried_where_the_others_work(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    account.cloud.will(rows(consumed(ENERGY, "1", "2023-07-14 09:00:00")), *[rows()] * 5)
    for _ in range(6):
        await account.poll("consumption", *devices)
    assert all(len(body["BeginDate"]) == 19 for body in account.cloud.bodies("readMeterDataList"))
    empty = [rows()] * 6
    other = Account()
    devices = await other.know(listed(ENERGY))
    other.cloud.will(*empty)
    for _ in range(5):
        await other.poll("consumption", *devices)
    assert [len(body["BeginDate"]) for body in other.cloud.bodies("readMeterDataList")] == [
        19,
        19,
        19,
        10,
        19,
        19,
    ]
    await other.http.aclose()


async def test_the_daily_data_set_is_read_only_where_its_code_is_configured(
    make: Callable[..., Account],
) -> None:
    account = make(daily_type="2")
    devices = await account.know(listed(ENERGY))
    account.cloud.will(rows(consumed(ENERGY, "1", "2023-07-14 00:00:00")))
    assert len(await account.poll("daily", *devices)) == 1
    assert account.cloud.bodies("readMeterDataList")[0]["type"] == "2"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ({"code": 1001, "msg": "失败"}, Refused),
        ({"code": 1004}, Refused),
        (b'{"code":200 "data":[]}', LostAnswer),
        (b"[]", LostAnswer),
        ({"code": 200, "data": "words"}, LostAnswer),
        (httpx.Response(404, content=b"<html>"), LostAnswer),
        (httpx.Response(503, content=b"{}"), LostAnswer),
        (httpx.ReadTimeout("slow"), LostAnswer),
        (httpx.ConnectError("no route"), NotSent),
    ],
)
async def test_a_failed_poll_says_when_to_try_again(
    account: Account, reply: Any, kind: type[VendorError]
) -> None:
    devices = await account.know(listed(ENERGY))
    task = next(task for task in account.adapter.poll_tasks(devices) if task.key == "readings")
    for wait_s in (5, 30, 300, 300):
        account.cloud.will(reply)
        assert await failed(account, task, kind) == [wait_s]
    account.cloud.will(rows(), reply)
    assert await account.batches("readings", *devices) == []
    assert await failed(account, task, kind) == [5]


async def test_a_missing_parameter_is_not_asked_for_again_before_its_time(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    task = next(task for task in account.adapter.poll_tasks(devices) if task.key == "readings")
    account.cloud.will({"code": 1008, "msg": "缺少参数"})
    assert await failed(account, task, Refused) == []


async def test_an_answer_with_another_http_status_counts_by_its_code(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    body = b'{"code": "200", "data": null}'
    account.cloud.will(httpx.Response(400, content=body))
    assert await account.poll("readings", *devices) == []


async def test_a_poll_that_stays_too_fast_is_tried_again_after_its_pause(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    account.cloud.will(*[TOO_FAST] * 6)
    task = next(task for task in account.adapter.poll_tasks(devices) if task.key == "readings")
    batches = account.adapter.poll(task)
    assert (await anext(batches)).next_in_s == 60
    with pytest.raises(VendorError):
        await anext(batches)


async def test_the_check_counts_the_meters_of_the_first_page(account: Account) -> None:
    account.cloud.will(rows(listed(ENERGY), listed(OTHER)), rows(*[listed(str(n)) for n in range(1000)]))
    assert await account.adapter.check() == "credentials accepted; 2 meters"
    assert await account.adapter.check() == "credentials accepted; 1000 meters on the first page"


def test_the_platform_never_calls(account: Account) -> None:
    assert account.adapter.push is None
