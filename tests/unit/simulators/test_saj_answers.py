"""What the simulated SAJ cloud tells: lists with pages, a day of sun, energies that add up, effects."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from bridge.simulators.saj import sun
from tests.unit.simulators.saj_bench import DEVICE, PLANT, SN, SajBench

ZONE = timezone(timedelta(hours=8))
TODAY = "2017-06-07"


@pytest.fixture
def saj() -> SajBench:
    return SajBench()


async def latest(saj: SajBench, device: str = DEVICE, day: str = TODAY) -> Any:
    return await saj.data("device/inverter/datasigns", device_id=device, end_date=day)


async def test_lists_have_pages() -> None:
    saj = SajBench(plants=5)
    pages = [await saj.data("plant/list", page=page, perpage=2) for page in (1, 2, 3, 4)]
    assert [page["count"] for page in pages] == [5] * 4
    assert [len(page["plants"]) for page in pages] == [2, 2, 1, 0]
    found = await saj.data("plant/list", search_type="name", search_keyword="PLANT 3")
    assert [plant["name"] for plant in found["plants"]] == ["Demo plant 3"]
    newer = await saj.data("plant/listsign")
    assert "InstallerName" in newer["c_user"][0]


async def test_kilowatts_and_watts_stand_where_the_page_has_them(saj: SajBench) -> None:
    (plant,) = (await saj.data("plant/list"))["plants"]
    overview = await saj.data("plant/data", plant_id=PLANT)
    devices = (await saj.data("device/list", plant_id=PLANT))["devices"]
    watts = [(await latest(saj, str(one["device_id"])))["datas"][0]["power"] for one in devices]
    assert plant["status"] == 1
    assert sum(watts) > 500
    assert overview["current_power"] == plant["current_power"] == sum(watts) / 1000


async def test_energies_add_up(saj: SajBench) -> None:
    overview = await saj.data("plant/data", plant_id=PLANT)
    devices = (await saj.data("device/list", plant_id=PLANT))["devices"]
    records = [(await latest(saj, str(one["device_id"])))["datas"][0] for one in devices]
    for plants, inverters in (
        ("today_energy",) * 2,
        ("monthly_energy", "month_energy"),
        ("total_energy",) * 2,
    ):
        assert overview[plants] == pytest.approx(sum(record[inverters] for record in records))
    span = {"plant_id": PLANT, "start_date": "2017-06-01", "end_date": TODAY}
    days = (await saj.data("plant/energy", **span))["energys"]
    assert [day["date"] for day in days][-1] == TODAY
    assert sum(day["energy"] for day in days) == pytest.approx(overview["monthly_energy"])
    assert days[-1]["energy"] == overview["today_energy"]
    (month,) = (await saj.data("plant/energy", **span, time_unit="month"))["energys"]
    assert (month["date"], month["energy"]) == ("2017-06", overview["monthly_energy"])


async def test_energy_is_the_integral_of_power(saj: SajBench) -> None:
    span = {"device_id": DEVICE, "start_date": "2017-06-05", "end_date": "2017-06-05"}
    records = (await saj.data("device/inverter/data", **span, perpage=1000))["datas"]
    assert len(records) > 100
    assert records[0]["time"].endswith("Z")
    day = [one for one in records if "2017-06-05T05:00:00Z" < one["time"] < "2017-06-05T14:00:00Z"]
    gained = day[-1]["today_energy"] - day[0]["today_energy"]
    assert gained == pytest.approx(sum(one["power"] for one in day[1:]) / 12 / 1000, abs=0.02)
    totals = [one["total_energy"] for one in records]
    assert totals == sorted(totals)


def test_a_day_has_one_hill_and_dark_ends() -> None:
    watts = [sun.watts_at(5000, 3, date(2017, 6, 7), step) for step in range(288)]
    assert watts[:55] == [0] * 55
    assert watts[-50:] == [0] * 50
    assert max(watts) > 1000
    assert max(watts) <= 5000
    assert watts.index(max(watts)) in range(110, 190)
    winter = [sun.watts_at(5000, 3, date(2017, 12, 20), step) > 0 for step in range(288)]
    assert sum(winter) < sum(watt > 0 for watt in watts) - 48


async def test_at_night_plants_sleep_and_inverters_keep_silent(saj: SajBench) -> None:
    saj.time.advance(11 * 3600)
    (plant,) = (await saj.data("plant/list"))["plants"]
    assert (plant["status"], plant["current_power"]) == (5, 0)
    (record,) = (await latest(saj))["datas"]
    at = datetime.fromisoformat(record["time"])
    assert (record["power"], at.utcoffset()) == (0, timedelta(hours=8))
    assert datetime.fromtimestamp(saj.time.now(), UTC) - at > timedelta(hours=3)
    saj.time.advance(2 * 3600)
    saj.cloud.configure(latest="day")
    assert (await latest(saj, day="2017-06-08"))["datas"] == []
    assert (await latest(saj))["datas"] == [record]


async def test_a_plant_out_of_reach_freezes_its_inverters(saj: SajBench) -> None:
    before = (await latest(saj))["datas"]
    saj.cloud.set_status(int(PLANT), 10)
    saj.time.advance(3600)
    assert (await latest(saj))["datas"] == before
    assert (await saj.data("plant/details", plant_id=PLANT))["status"] == 10
    saj.cloud.set_status(int(PLANT), None)
    assert (await latest(saj))["datas"] != before


@pytest.mark.parametrize(("option", "end"), [("repeat", None), ("zero", 0), ("empty", "")])
async def test_history_is_paged_by_a_cursor(saj: SajBench, option: str, end: Any) -> None:
    saj.cloud.configure(cursor_end=option)
    span = {"device_id": DEVICE, "start_date": "2017-05-31", "end_date": "2017-06-07", "perpage": 500}
    found, cursor, pages = [], None, 0
    while True:
        page = await saj.data("device/inverter/data", **span, **({"start_id": cursor} if cursor else {}))
        found += [record["time"] for record in page["datas"]]
        pages += 1
        if page["next_page_start_id"] in (cursor, 0, ""):
            break
        cursor = page["next_page_start_id"]
    assert page["next_page_start_id"] == (cursor if end is None else end)
    assert (pages, found) == (3, sorted(set(found)))
    assert await saj.code("device/inverter/data", **span, start_id="nonsense") == 10006


async def test_the_power_curve_is_of_one_utc_day(saj: SajBench) -> None:
    powers = (await saj.data("plant/power", plant_id=PLANT, date="2017-06-06"))["powers"]
    assert {one["time"][:10] for one in powers} == {"2017-06-06"}
    assert max(one["power"] for one in powers) > 500


async def test_alarms_are_listed_in_either_order_with_a_count_as_text(saj: SajBench) -> None:
    for number in range(3):
        saj.cloud.raise_alarm(SN, f"bit{number}", "x")
        saj.time.advance(60)
    saj.cloud.end_alarm(SN, "bit1")
    saj.cloud.end_alarm(SN, "bit0", handled=True)
    page = await saj.data("device/inverter/alarm", device_id=DEVICE, locale="en-US", perpage=2)
    assert page["count"] == "3"
    assert [(one["alarm_code"], one["status"]) for one in page["alarms"]] == [("bit2", 0), ("bit1", 0)]
    assert page["alarms"][1]["end_time"] > page["alarms"][1]["start_time"]
    saj.cloud.configure(alarm_order="oldest_first")
    page = await saj.data("device/inverter/eventsign", device_id=DEVICE)
    assert [(one["alarm_code"], one["status"]) for one in page["alarms"]] == [
        ("bit0", 1),
        ("bit1", 0),
        ("bit2", 0),
    ]
    with pytest.raises(ValueError, match="no open alarm"):
        saj.cloud.end_alarm(SN, "bit0")


async def test_every_post_has_its_effect_once(saj: SajBench) -> None:
    user = {
        "user_email": "a@example.com",
        "user_password": "FAKE",
        "user_type": 1,
        "user_name": "A",
        "user_tel": "1",
    }
    user_id = (await saj.post("user/user_register", **user))["data"]["c_user_id"]
    assert (await saj.post("user/user_register", **user))["error_code"] == 10006
    assert await saj.post("user/modifysign", c_user_id=user_id, user_City="X") == {"data": {}}
    plant = {"c_user_id": user_id, "name": "P", "peak_power": "5.5", "is_public": "false"}
    plant_id = (await saj.post("plant/add", **plant))["data"]["plant_id"]
    assert await saj.post("device/datalogger/add", plant_id=plant_id, sn="L1") == {
        "error_code": 0,
        "error_msg": "",
    }
    await saj.post("device/datalogger/modify", plant_id=plant_id, original_sn="L1", sn="L2")
    assert (await saj.post("device/datalogger/modify", plant_id=plant_id, original_sn="L1", sn="L3"))[
        "error_code"
    ]
    await saj.post("device/datalogger/delete", plant_id=plant_id, sn="L2")
    await saj.post("device/datalogger/addPlantUser", plant_id=plant_id, user_id=300000001)
    await saj.post("plant/modify", plant_id=plant_id, name="Q", peak_power="6")
    await saj.post("plant/delete", plant_id=plant_id)
    await saj.post("user/delete", c_user_id=user_id)
    assert (await saj.post("user/delete", c_user_id=user_id))["error_code"] == 10006
    assert [effect for _, effect, _ in saj.effects()] == [
        "user_added", "user_modified", "plant_added", "datalogger_added", "datalogger_modified",
        "datalogger_deleted", "plant_assigned", "plant_modified", "plant_deleted", "user_deleted",
    ]  # fmt: skip
    assert "FAKE" not in str(saj.cloud.ledger.as_json())


async def test_a_spare_inverter_appears_with_its_logger(saj: SajBench) -> None:
    plant = saj.cloud.fleet.plants[int(PLANT)]
    saj.cloud.fleet.spares["L9"] = plant.inverters.pop()
    await saj.post("device/datalogger/add", plant_id=PLANT, sn="L9")
    devices = (await saj.data("device/list", plant_id=PLANT))["devices"]
    assert [one["datalogger_sn"] for one in devices][-1] == "L9"


async def test_users_are_told_in_both_forms(saj: SajBench) -> None:
    (row,) = (await saj.data("user/c_user_list"))["c_user"]
    assert row["c_user_id"] == "300000001"
    (whole,) = (await saj.data("user/sigleuser", c_user_id="300000001"))["c_user"]
    assert whole["c_user_Phone"] == row["c_user_tel"]
    assert (await saj.data("user/sigleuser", c_user_id="5")) == {"count": 0, "c_user": []}
    assert (await saj.data("device/inverter/plantsdata", plant_ids=PLANT, end_date=TODAY))["count"] == 1
