"""What the account does about 10003 and 10004 (page, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from bridge.domain.device import DeviceKind
from bridge.domain.errors import RateLimited
from bridge.domain.text import dumps
from bridge.pace.limits import Window
from bridge.vendors.saj import limits
from bridge.vendors.saj.quota import Meter, Quota, quota_from
from bridge.vendors.saj.settings import SajSettings
from tests.contract.world import World
from tests.fakes.adapters import SleptClock
from tests.unit.vendors.saj.bench import INVERTER, LATEST, NOW, OVERVIEW, Account, bad, body

SHANGHAI = ZoneInfo("Asia/Shanghai")


def unix(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_the_account_rests_until_the_next_full_hour() -> None:
    quota = Quota().hour_refused(unix("2017-06-07T03:20:00"), 45.0, SHANGHAI)
    assert quota.hour_until == unix("2017-06-07T04:00:45")
    assert quota.hour_refused(unix("2017-06-07T03:20:01"), 60.0, SHANGHAI) is quota


def test_a_refusal_right_after_the_rest_means_a_full_hour() -> None:
    quota = Quota(hour_until=unix("2017-06-07T04:00:45"))
    again = quota.hour_refused(unix("2017-06-07T04:01:00"), 30.0, SHANGHAI)
    assert again.hour_until == unix("2017-06-07T05:01:30")
    later = quota.hour_refused(unix("2017-06-07T04:30:00"), 30.0, SHANGHAI)
    assert later.hour_until == unix("2017-06-07T05:00:30")


def test_half_hour_zones_have_their_own_full_hours() -> None:
    quota = Quota().hour_refused(unix("2017-06-07T03:20:00"), 0.0, ZoneInfo("Asia/Kolkata"))
    assert quota.hour_until == unix("2017-06-07T03:30:00")


def test_the_day_ends_at_midnight_of_the_quotas_zone() -> None:
    quota = Quota().day_refused(unix("2017-06-07T03:20:00"), 45.0, SHANGHAI)
    assert quota.day_until == unix("2017-06-07T16:00:45")


def test_a_daily_refusal_that_comes_back_waits_6_hours_then_until_24_hours_after_the_first() -> None:
    quota = Quota().day_refused(unix("2017-06-07T03:00:00"), 30.0, SHANGHAI)
    second = quota.day_refused(quota.day_until + 1, 30.0, SHANGHAI)
    assert second.day_until == quota.day_until + 1 + 6 * 3600
    third = second.day_refused(second.day_until + 1, 30.0, SHANGHAI)
    assert third.day_until == unix("2017-06-08T03:00:30")
    fourth = third.day_refused(third.day_until + 1, 30.0, SHANGHAI)
    assert fourth.day_until == unix("2017-06-08T16:00:30")


def test_what_is_learnt_is_nine_tenths_and_forgotten_after_a_day() -> None:
    quota = Quota().taught(100, 1000.0)
    assert (quota.budget(1000.0), quota.budget(1000.0 + 86400)) == (90, 0)
    assert quota_from(quota.as_json()) == quota
    assert quota_from("nonsense") == quota_from({"x": 1, "learnt": "2"}) == Quota()


def test_a_meter_counts_since_the_full_hour() -> None:
    meter = Meter(unix("2017-06-07T03:00:00"))
    for minute in range(10):
        meter.count(unix("2017-06-07T03:00:00") + 60 * minute)
    now = unix("2017-06-07T03:30:00")
    assert meter.since_hour(now, SHANGHAI) == 10
    assert (meter.is_whole(now, SHANGHAI), Meter(now).is_whole(now, SHANGHAI)) == (True, False)


async def test_during_the_rest_callers_are_told_at_once(account: Account) -> None:
    account.cloud.will("plant/data", bad(10003))
    with pytest.raises(RateLimited):
        await account.poll(OVERVIEW)
    with pytest.raises(RateLimited) as raised:
        await account.poll(LATEST)
    assert raised.value.retry_after_s > 3500
    assert account.cloud.words == ["accessToken", "plant/data"]


async def test_after_the_rest_a_refusal_at_once_is_remembered_over_a_restart(account: Account) -> None:
    account.cloud.will("plant/data", bad(10003))
    with pytest.raises(RateLimited) as raised:
        await account.poll(OVERVIEW)
    account.clock.seconds += raised.value.retry_after_s + 1
    again = account.restarted()
    again.cloud.will("plant/data", bad(10003))
    with pytest.raises(RateLimited) as raised:
        await again.poll(OVERVIEW)
    assert 3630 <= raised.value.retry_after_s <= 3690


async def test_the_day_is_used_up(account: Account) -> None:
    account.cloud.will("plant/data", bad(10004))
    with pytest.raises(RateLimited) as raised:
        await account.poll(OVERVIEW)
    thirteen_hours = 13 * 3600
    assert thirteen_hours + 30 <= raised.value.retry_after_s <= thirteen_hours + 90


async def test_one_end_point_can_rest_alone(make: Callable[..., Account]) -> None:
    account = make(quota_scope="endpoint")
    account.cloud.will("plant/data", bad(10003))
    with pytest.raises(RateLimited):
        await account.poll(OVERVIEW)
    ((limit, key, _for_s),) = account.gate.blocks
    assert (limit, key) == ("endpoint", "plant/data")
    uses = account.gate.calls[-1][0]
    assert uses == (("requests", ""), ("endpoint", "plant/data"))


async def test_a_learnt_budget_stretches_the_plan(account: Account) -> None:
    account.cloud.will("plant/data", *[body("plant_data")] * 30, bad(10003))
    for _ in range(30):
        await account.poll(OVERVIEW)
        account.clock.seconds += 60
    with pytest.raises(RateLimited):
        await account.poll(OVERVIEW)
    (_list, task, _alarms) = account.adapter.poll_tasks([INVERTER])
    assert (task.key, task.interval_s) == (LATEST, 300.0)
    (_list, task, *_rest) = account.adapter.poll_tasks([INVERTER] * 8)
    assert task.interval_s > 1500.0


@pytest.mark.parametrize(("calls", "is_learnt"), [(30, True), (6, False)])
async def test_a_gateway_that_began_within_the_hour_learns_from_all_but_its_first_few_calls(
    make: Callable[..., Account], calls: int, is_learnt: bool
) -> None:
    account = make(clock=SleptClock(NOW.replace(minute=20)))
    account.cloud.will("plant/data", *[body("plant_data")] * (calls - 1), bad(10003))
    for _ in range(calls - 1):
        await account.poll(OVERVIEW)
    with pytest.raises(RateLimited):
        await account.poll(OVERVIEW)
    (_list, task, *_rest) = account.adapter.poll_tasks([INVERTER] * 8)
    assert (task.interval_s > 1500.0) is is_learnt


async def test_what_is_learnt_shows_in_the_budget_and_after_a_restart() -> None:
    async with World("saj") as world:
        plant = next(one for one in await world.devices() if one.kind is DeviceKind.SOLAR_PLANT)
        (task, *_) = [one for one in world.adapter.poll_tasks([plant]) if one.lane == "poll"]
        for _ in range(40):
            world.clock.time.advance(30)
            await world.drain(task)
        calls = len(world.recorder.requests)
        world.ruin((200, dumps(bad(10003))))
        with pytest.raises(RateLimited):
            await world.drain(task)
        hour = [
            row for row in world.gate.usage() if row.window.seconds == 3600 and row.limit.name == "requests"
        ]
        assert [(row.window.count, row.blocked) for row in hour] == [(int(calls * 0.9), True)]
        vault = world.vault.kept
    async with World("saj") as again:
        again.vault.kept = vault
        await again.devices()
        hour = [
            row for row in again.gate.usage() if row.window.seconds == 3600 and row.limit.name == "requests"
        ]
        assert [row.window.count for row in hour] == [int(calls * 0.9)]


def test_the_limits_are_the_pages_advice() -> None:
    fields = {"id": "roof", "vendor": "saj", "app_id": "1", "app_key": "1"}
    requests, token = limits(SajSettings.model_validate(fields))
    assert requests.windows == (Window(1, 0.2), Window(500, 3600.0), Window(6000, 86400.0))
    assert requests.concurrency == 2
    assert token.windows == (Window(6, 3600.0), Window(24, 86400.0))
    assert not any(limit.documented for limit in (requests, token))
    *_, each = limits(SajSettings.model_validate(fields | {"quota_scope": "endpoint"}))
    assert each.per_key
