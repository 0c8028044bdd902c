"""Polling: which call for how many meters, what becomes of failures, when a poll slips (sections 3, 4.8, 5, 7.2)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from bridge.domain.errors import AuthFailed, BadReply, LostAnswer, NotSent, RateLimited, Refused
from bridge.domain.observation import Availability, Described, Origin, Reading
from bridge.flow.schedule import lengthened, stretch
from bridge.pace.limits import Lane
from bridge.ports import PollTask
from bridge.vendors.iammeter import SPEC
from tests.unit.vendors.iammeter.bench import (
    NOTHING,
    NOW,
    SN,
    SN2,
    SN3,
    Account,
    bad,
    data,
    everyone,
    good,
    latest,
    plain,
    raw,
)

METER = f"meter:{SN}"
ROW = [230.1, 5.2, 1196.5, 320.44, 12.01]


def basic(at: str = "2026/3/4 11:59:30", local: str = "2026/3/4 12:59:30") -> dict[str, Any]:
    return good({"values": [ROW], "localTime": local, "gmtTime": at})


async def test_one_meter_is_read_by_itself_with_power_factor(account: Account) -> None:
    account.cloud.will(latest(local="2026/3/4 12:59:30"))
    reading, alive, described = await account.seen(METER)
    assert isinstance(reading, Reading)
    assert (reading.device, reading.origin, reading.received_at) == (SN, Origin.POLL, NOW)
    assert reading.observed_at == datetime(2026, 3, 4, 11, 59, 30, tzinfo=UTC)
    assert set(reading.metrics) == {
        "voltage", "current", "active_power", "power_factor", "import_energy", "export_energy",
    }  # fmt: skip
    assert alive == Availability(SN, True, NOW, Origin.POLL, False)
    assert isinstance(described, Described)
    assert described.device.vendor_info == {"phases": 1, "utc_offset_minutes": 60}
    assert set(described.device.metrics) == set(reading.metrics)


async def test_several_meters_are_read_by_one_call(account: Account) -> None:
    account.cloud.will(everyone(SN, SN2, "UNKNOWN1"))
    seen = await account.seen("metersdata", SN, SN2)
    assert account.cloud.paths == ["/site/metersdata"]
    assert {one.device for one in seen if isinstance(one, Reading)} == {SN, SN2}
    assert [one.online for one in seen if isinstance(one, Availability)] == [True, True]
    assert await account.poll(f"spare:{SN}", SN, SN2) == []


async def test_tasks_are_named_costed_and_paced(account: Account) -> None:
    assert list(account.adapter.poll_tasks([])) == []
    (one,) = account.tasks(SN).values()
    assert one == PollTask(METER, 301, {"meterdata": 1}, (SN,), wanted_s=300)
    many = account.tasks(SN, SN2)
    assert set(many) == {"metersdata", f"spare:{SN}", f"spare:{SN2}", f"offset:{SN}", f"offset:{SN2}"}
    assert many["metersdata"].devices == (SN, SN2)
    assert many["metersdata"].costs.keys() == {"metersdata"}
    assert many[f"offset:{SN}"].interval_s == 86400


@pytest.mark.parametrize(
    ("options", "interval_s", "stretched"),
    [
        ({}, 301, False),
        ({"poll": "301s"}, 301, False),
        ({"poll": "1h"}, 3600, False),
        ({"poll": "1m"}, 300.75, True),
    ],
)
def test_the_planner_warns_only_where_the_wanted_interval_is_too_short(
    make: Callable[..., Account], options: dict[str, Any], interval_s: float, stretched: bool
) -> None:
    account = make(**options)
    tasks = account.tasks(SN, SN2)
    too_much = stretch(list(tasks.values()), SPEC.limits(account.settings))
    assert (too_much is not None) is stretched
    factor = too_much.factor if too_much else 1.0
    assert tasks["metersdata"].interval_s * factor == pytest.approx(interval_s)


def test_one_meter_is_never_planned_faster_than_its_limit(make: Callable[..., Account]) -> None:
    account = make(poll="1m")
    task = account.tasks(SN)[METER]
    assert (task.interval_s, task.wanted_s) == (301, 60)
    slowed = lengthened([task], SPEC.limits(account.settings))
    assert slowed is not None
    assert (slowed.limit.name, slowed.factor) == ("meterdata", 301 / 60)
    assert lengthened([make(poll="5m").tasks(SN)[METER]], SPEC.limits(account.settings)) is None
    assert make(limits={"meterdata": "6/1h"}).tasks(SN)[METER].interval_s == 600
    assert make(poll="1h").tasks(SN)[METER].interval_s == 3600


@pytest.mark.parametrize("age_s", [30, 900])
async def test_a_fresh_sample_is_on_line_and_a_stale_one_off_line(account: Account, age_s: int) -> None:
    account.clock.seconds = age_s - 30
    account.cloud.will(latest())
    _, alive, _ = await account.seen(METER)
    assert (alive.online, alive.said) == (True, False)
    account.clock.seconds = 871
    account.cloud.will(latest())
    reading, alive, _ = await account.seen(METER)
    assert not alive.online
    assert reading.observed_at == datetime(2026, 3, 4, 11, 59, 30, tzinfo=UTC)


async def test_how_old_is_stale_is_a_setting(make: Callable[..., Account]) -> None:
    account = make(stale_after="20s")
    account.cloud.will(latest())
    assert not (await account.seen(METER))[1].online


async def test_without_a_readable_time_the_receipt_counts(account: Account) -> None:
    account.cloud.will(latest(at="soon"))
    reading, alive, described = await account.seen(METER)
    assert (reading.observed_at, alive.online) == (None, True)
    assert described.device.vendor_info == {"phases": 1}


async def test_an_older_sample_does_not_set_a_meter_off_line(account: Account) -> None:
    account.clock.seconds = 1000
    account.cloud.will(
        latest(at="2026/3/4 12:16:00"), latest(at="2026/3/4 11:30:00"), latest(at="2026/3/4 11:31:00")
    )
    for _ in range(2):
        assert (await account.seen(METER))[1].online
    outcome = await account.run("read")
    assert [one.online for one in outcome.observations if isinstance(one, Availability)] == [True]


async def test_a_meter_that_the_common_answer_leaves_out_is_judged_by_its_last_sample(
    account: Account,
) -> None:
    account.cloud.will(everyone(SN, SN2), everyone(SN), everyone(SN))
    await account.poll("metersdata", SN, SN2, SN3)
    states = []
    for seconds in (301, 1000):
        account.clock.seconds = seconds
        seen = await account.seen("metersdata", SN, SN2, SN3)
        states.append({one.device: one.online for one in seen if isinstance(one, Availability)})
    assert states == [{SN: True, SN2: True, SN3: False}, {SN: False, SN2: False, SN3: False}]


async def test_a_poll_without_a_slot_ends_at_once_and_says_when_there_is_one(account: Account) -> None:
    account.cloud.will(*[latest()] * 12)
    for _ in range(12):
        await account.poll(METER)
    account.clock.seconds = 100
    (batch,) = await account.poll(METER)
    assert (list(batch.observations), batch.next_in_s) == ([], 3501)
    assert len(account.cloud.requests) == 12
    account.cloud.will(everyone(SN, SN2))
    await account.poll("metersdata", SN, SN2)
    (batch,) = await account.poll("metersdata", SN, SN2)
    assert (list(batch.observations), batch.next_in_s) == ([], 301)


@pytest.mark.parametrize(
    "answer", [NOTHING, b" \n", b"null", httpx.Response(429, text="slow down"), httpx.Response(204)]
)
async def test_nothing_is_a_used_up_limit_and_no_outage(account: Account, answer: Any) -> None:
    account.cloud.will(answer)
    with pytest.raises(RateLimited):
        await account.poll(METER)
    account.clock.seconds = 3599
    assert await account.seen(METER) == []
    account.clock.seconds = 3600
    account.cloud.will(latest(at="2026/3/4 12:59:30"))
    assert await account.seen(METER)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(500), LostAnswer),
        (httpx.Response(400, text="x"), BadReply),
        (httpx.Response(302), BadReply),
        (httpx.ReadTimeout("x"), LostAnswer),
        (httpx.ConnectError("x"), NotSent),
        (b"<html>maintenance</html>", BadReply),
        (b'{"data":', BadReply),
        (b"[1]", BadReply),
        (httpx.Response(403), AuthFailed),
        (bad("Internal error"), Refused),
        (bad(None), Refused),
    ],
)
async def test_failures_are_told_by_what_is_to_be_done(
    account: Account, answer: Any, kind: type[Exception]
) -> None:
    account.cloud.will(answer)
    with pytest.raises(kind):
        await account.poll(METER)
    assert len(account.cloud.requests) == 1


@pytest.mark.parametrize("answer", [httpx.Response(404), good([1, 2]), good({"values": "x"})])
async def test_a_cloud_without_power_factor_is_asked_without(account: Account, answer: Any) -> None:
    account.cloud.will(answer, basic(), basic())
    assert len(await account.seen(METER)) == 3
    await account.poll(METER)
    assert account.cloud.paths == [f"/site/meterdata2/{SN}", f"/site/meterdata/{SN}", f"/site/meterdata/{SN}"]


async def test_a_fault_that_passed_costs_the_power_factor_for_a_day_only(account: Account) -> None:
    account.cloud.will(httpx.Response(404), basic(), basic(), latest())
    for hour in (0, 1, 24.1):
        account.clock.seconds = hour * 3600
        await account.poll(METER)
    assert account.cloud.paths[2:] == [f"/site/meterdata/{SN}", f"/site/meterdata2/{SN}"]


@pytest.mark.parametrize("answer", [httpx.Response(404), good({"sn": SN}), good([{"values": [ROW]}])])
async def test_a_cloud_without_the_common_call_is_read_meter_by_meter_for_a_day(
    account: Account, answer: Any
) -> None:
    account.cloud.will(answer, latest(), latest())
    seen = await account.seen("metersdata", SN, SN2)
    assert {one.device for one in seen if isinstance(one, Reading)} == {SN, SN2}
    assert await account.poll("metersdata", SN, SN2) == []
    account.clock.seconds = 301
    account.cloud.will(latest())
    assert await account.seen(f"spare:{SN2}", SN, SN2)
    account.clock.seconds = 86401
    assert await account.poll(f"spare:{SN2}", SN, SN2) == []
    account.cloud.will(everyone(SN, SN2))
    await account.poll("metersdata", SN, SN2)
    assert account.cloud.paths == [
        "/site/metersdata",
        f"/site/meterdata2/{SN}",
        f"/site/meterdata2/{SN2}",
        f"/site/meterdata2/{SN2}",
        "/site/metersdata",
    ]


async def test_an_unreadable_common_answer_is_made_up_for_once_and_asked_again_next_time(
    account: Account,
) -> None:
    account.cloud.will(b"<html>", latest(), latest())
    assert await account.seen("metersdata", SN, SN2)
    account.clock.seconds = 301
    account.cloud.will(everyone(SN, SN2))
    assert await account.seen("metersdata", SN, SN2)
    assert account.cloud.paths[-1] == "/site/metersdata"


async def test_the_layout_of_the_common_answer_can_be_told(make: Callable[..., Account]) -> None:
    rows = {"sn": SN, "values": [[230, 1, 119, 0.66, 5724.85, 0]], "gmtTime": "2026/3/4 11:59:30"}
    found = {}
    for layout in ("auto", "basic", "advanced"):
        account = make(metersdata_layout=layout)
        account.cloud.will(good([rows]))
        (reading, *_) = await account.seen("metersdata", SN, SN2)
        found[layout] = float(reading.metrics["import_energy"])
    assert found == {"auto": 5724.85, "basic": 0.66, "advanced": 5724.85}


async def test_an_unknown_meter_is_off_line_and_asked_for_once_a_day(account: Account) -> None:
    account.cloud.will(bad("Invalid SN."))
    (batch,) = await account.poll(METER)
    assert [one.online for one in batch.observations] == [False]
    account.clock.seconds = 86399
    assert await account.seen(METER) == []
    account.clock.seconds = 86400
    account.cloud.will(latest())
    assert await account.seen(METER)


@pytest.mark.parametrize("command", ["read", "refresh_inventory"])
async def test_an_unknown_meter_that_a_command_finds_is_read_again_within_an_hour(
    account: Account, command: str
) -> None:
    account.cloud.will(bad("Invalid SN."))
    (batch,) = await account.poll(METER)
    assert batch.next_in_s == 3601
    account.cloud.will(
        latest() if command == "read" else good([{"id": 1, "name": "s", "meters": [{"sn": SN}]}])
    )
    await account.run(command, **({} if command == "read" else {"device": None}))
    account.clock.seconds = 3601
    account.cloud.will(latest())
    assert await account.seen(METER)


async def test_five_refusals_in_a_row_slow_the_polling_to_once_an_hour(account: Account) -> None:
    for _ in range(5):
        account.cloud.will(bad("busy"))
        with pytest.raises(Refused):
            await account.poll(METER)
    (batch,) = await account.poll(METER)
    assert batch.next_in_s == 3600
    account.clock.seconds = 3600
    account.cloud.will(latest())
    await account.poll(METER)
    account.cloud.will(bad("busy"))
    with pytest.raises(Refused):
        await account.poll(METER)


async def test_offsets_and_phases_are_learned_once_a_day_where_the_common_call_does_not_tell(
    account: Account,
) -> None:
    account.cloud.will(basic())
    (described,) = await account.seen(f"offset:{SN}", SN, SN2)
    assert described.device.vendor_info == {"phases": 1, "utc_offset_minutes": 60}
    assert account.cloud.paths == [f"/site/meterdata/{SN}"]


@pytest.mark.parametrize(
    ("at", "local", "hours"),
    [
        ("2026/3/4 11:59:30", "2026/3/4 12:59:30", 15),
        ("2026/3/4 11:59:30", "2026/3/4 22:59:30", 5),
        ("2026/3/4 11:59:30", "2026/3/4 3:59:30", 0),
    ],
)
async def test_the_next_look_at_an_offset_is_after_the_hours_in_which_clocks_are_changed(
    account: Account, at: str, local: str, hours: int
) -> None:
    account.cloud.will(basic(at, local))
    (batch,) = await account.poll(f"offset:{SN}", SN, SN2)
    ten_past_four = hours * 3600 + 600
    assert ten_past_four <= batch.next_in_s < ten_past_four + 600


async def test_a_look_at_an_offset_that_is_not_answered_is_taken_again_soon(account: Account) -> None:
    task = account.tasks(SN, SN2)[f"offset:{SN}"]
    account.cloud.will(httpx.Response(503), httpx.ReadTimeout("slow"), basic())
    waits: list[float | None] = []

    async def run() -> None:
        async for batch in account.adapter.poll(task):
            assert not batch.observations
            waits.append(batch.next_in_s)

    for _ in range(2):
        with pytest.raises(LostAnswer):
            await run()
    assert waits == [30, 60]
    assert await account.seen(f"offset:{SN}", SN, SN2)


async def test_the_offset_task_neither_waits_nor_fails_for_an_unknown_meter(account: Account) -> None:
    account.cloud.will(bad("Invalid SN."))
    (batch,) = await account.poll(f"offset:{SN}", SN, SN2)
    assert [one.online for one in batch.observations] == [False]
    (batch,) = await account.poll(f"offset:{SN}", SN, SN2)
    assert batch.next_in_s == 86400


@pytest.mark.parametrize("answer", [httpx.Response(403), httpx.Response(404), good([1])])
async def test_an_offset_that_cannot_be_had_is_no_trouble_of_the_account(
    account: Account, answer: Any
) -> None:
    account.cloud.will(answer)
    assert await account.poll(f"offset:{SN}", SN, SN2) == []
    assert any("meter.no_offset" in line for line in account.log.lines)


async def test_a_cloud_without_energy_history_is_asked_for_it_once_a_day(
    make: Callable[..., Account],
) -> None:
    account = make(site_history=True, timezone="Europe/Berlin")
    account.cloud.will(httpx.Response(404))
    (task,) = account.adapter.poll_tasks([account.site()])
    (batch,) = [batch async for batch in account.adapter.poll(task)]
    assert (list(batch.observations), batch.next_in_s) == ([], 86400)


async def test_short_rows_are_logged(account: Account) -> None:
    account.cloud.will(good({"values": [[1, 2, 3]], "gmtTime": "2026/3/4 11:59:30"}))
    assert [type(one) for one in await account.seen(METER)] == [Availability, Described]
    assert any("meter.short_rows" in line for line in account.log.lines)


async def test_a_limit_without_room_holds_nobody_else_up(account: Account) -> None:
    account.cloud.will(NOTHING)
    with pytest.raises(RateLimited):
        await account.poll("metersdata", SN, SN2)
    assert account.gate.wait_s([("meterdata", SN)], Lane.READ) == 0
    account.cloud.will(basic())
    assert await account.seen(f"offset:{SN}", SN, SN2)


async def test_a_site_tells_its_hours_that_are_over(make: Callable[..., Account]) -> None:
    account = make(site_history=True, timezone="Europe/Berlin")
    buckets = [{**data("energyhistory__hour")[0], "time": f"2026-03-04 {hour}:00"} for hour in (11, 12, 13)]
    page = [
        {**bucket, "yield": 2.31, "fromGrid": 0, "toGrid": 1, "specialLoad": 0, "selfUse": 1}
        for bucket in buckets
    ]
    account.cloud.will(good(page))
    tasks = {task.key: task for task in account.adapter.poll_tasks([account.site()])}
    seen = [one async for batch in account.adapter.poll(tasks["site:12345"]) for one in batch.observations]
    assert account.cloud.paths == [
        "/site/energyhistory/12345?startTime=2026-03-03&endTime=2026-03-04&groupby=hour"
    ]
    assert [(one.device, one.origin, one.observed_at.hour) for one in seen] == [
        ("12345", Origin.BACKFILL, 10),
        ("12345", Origin.BACKFILL, 11),
    ]
    assert plain(seen[0].metrics)["yield_interval"] == plain({"x": "2.31"})["x"]


async def test_a_site_is_on_line_while_one_of_its_meters_is(make: Callable[..., Account]) -> None:
    account = make(site_history=True)
    account.cloud.will(raw("sitelist"), everyone(SN, SN2), everyone(SN, SN2))
    devices = await account.adapter.inventory()
    (task,) = [one for one in account.adapter.poll_tasks(devices) if one.key == "metersdata"]
    told = []
    for seconds in (0, 1200):
        account.clock.seconds = seconds
        seen = [one async for batch in account.adapter.poll(task) for one in batch.observations]
        told += [one.online for one in seen if isinstance(one, Availability) and one.device == "12345"]
    assert told == [True, False]


async def test_a_site_whose_time_zone_is_unknown_is_not_asked(make: Callable[..., Account]) -> None:
    account = make(site_history=True)
    tasks = account.adapter.poll_tasks([account.site()])
    (batch,) = [batch async for batch in account.adapter.poll(tasks[0])]
    assert (list(batch.observations), batch.next_in_s) == ([], 60)
    assert account.cloud.requests == []
