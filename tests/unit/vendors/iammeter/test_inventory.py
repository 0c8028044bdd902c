"""The inventory: read sparingly, never lost for a fault (sections 3, 4.9, 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bridge.domain.device import DeviceKind
from bridge.domain.errors import BadReply, LostAnswer, RateLimited
from tests.unit.vendors.iammeter.bench import NOTHING, SN, SN2, Account, bad, everyone, good, raw

HOUR_S = 3600.0


async def test_the_inventory_lists_the_meters_of_all_sites(account: Account) -> None:
    account.cloud.will(raw("sitelist"))
    devices = await account.adapter.inventory()
    assert [one.native_id for one in devices] == [SN, SN2]
    assert devices[0].vendor_info == {"site_id": 12345}, "as the vendor sent it"
    assert account.cloud.paths == ["/user/sitelist"]


async def test_sites_are_devices_only_where_their_history_is_wanted(make: Callable[..., Account]) -> None:
    account = make(site_history=True)
    account.cloud.will(raw("sitelist"))
    devices = await account.adapter.inventory()
    assert (devices[0].native_id, devices[0].kind) == ("12345", DeviceKind.SOLAR_PLANT)
    assert set(account.adapter.commands(devices[0])) == {"history"}
    assert set(account.adapter.commands(devices[1])) == {
        "read", "history", "power_analysis", "offline_analysis",
    }  # fmt: skip


async def test_hourly_looks_for_a_day_keep_to_the_slots_that_commands_leave(account: Account) -> None:
    account.cloud.will(*[raw("sitelist")] * 10)
    for hour in range(25):
        account.clock.seconds = hour * HOUR_S
        assert len(await account.adapter.inventory()) == 2
    assert 8 <= len(account.cloud.requests) <= 10


async def test_a_look_that_somebody_wants_is_a_look(account: Account) -> None:
    account.cloud.will(raw("sitelist"), good([]))
    assert len(await account.adapter.inventory()) == 2
    account.clock.seconds = 60
    assert await account.adapter.inventory() == []


async def test_without_a_slot_the_last_answer_serves(account: Account) -> None:
    account.cloud.will(*[raw("sitelist")] * 10)
    for minute in range(15):
        account.clock.seconds = minute * 60
        assert len(await account.adapter.inventory()) == 2
    assert len(account.cloud.requests) == 10


async def test_without_a_slot_and_without_an_answer_it_is_a_used_up_limit(
    make: Callable[..., Account],
) -> None:
    first = make()
    first.cloud.will(*[raw("sitelist")] * 10)
    for _ in range(10):
        await first.adapter.inventory()
    second = make(ledger=first.ledger, clock=first.clock)
    with pytest.raises(RateLimited) as caught:
        await second.adapter.inventory()
    assert caught.value.retry_after_s == 86400
    named = make(ledger=first.ledger, clock=first.clock, devices=[SN])
    assert [one.native_id for one in await named.adapter.inventory()] == [SN]


async def test_after_a_fault_it_is_asked_again_with_growing_pauses(account: Account) -> None:
    asked = []
    for second in range(0, 1000, 30):
        account.clock.seconds = second
        account.cloud.script = [httpx.Response(500)]
        with pytest.raises(LostAnswer):
            await account.adapter.inventory()
        if not account.cloud.script:
            asked.append(second)
    assert asked == [0, 30, 90, 210, 450, 930]


async def test_an_unreadable_list_changes_nothing(account: Account) -> None:
    account.cloud.will(good(None))
    with pytest.raises(BadReply):
        await account.adapter.inventory()


async def test_a_cloud_without_a_site_list_has_the_meters_of_the_configuration(
    make: Callable[..., Account],
) -> None:
    account = make(devices={"include": [SN], "names": {SN: "Kitchen"}})
    account.cloud.will(httpx.Response(404))
    (device,) = await account.adapter.inventory()
    assert (device.native_id, device.serial) == (SN, SN)
    patterned = make(devices=["A*"])
    patterned.cloud.will(httpx.Response(404))
    with pytest.raises(BadReply):
        await patterned.adapter.inventory()


@pytest.mark.parametrize("answer", [httpx.Response(403), bad("not for you")])
async def test_a_site_list_that_is_refused_is_no_obstacle_where_the_meters_are_named(
    make: Callable[..., Account], answer: Any
) -> None:
    account = make(devices=[SN])
    account.cloud.will(answer)
    assert [one.native_id for one in await account.adapter.inventory()] == [SN]


async def test_a_fault_does_not_make_named_devices_forget_what_they_are(make: Callable[..., Account]) -> None:
    account = make(devices=[SN, "12345"], site_history=True)
    account.cloud.will(raw("sitelist"), httpx.Response(500))
    assert len(await account.adapter.inventory()) == 3
    account.clock.seconds = 60
    with pytest.raises(LostAnswer):
        await account.adapter.inventory()
    fresh = make(devices=[SN, "12345"], site_history=True)
    fresh.cloud.will(httpx.Response(500))
    with pytest.raises(LostAnswer):
        await fresh.adapter.inventory()


async def test_nothing_for_an_answer_leaves_the_list_alone_for_an_hour(account: Account) -> None:
    account.cloud.will(raw("sitelist"), NOTHING)
    await account.adapter.inventory()
    with pytest.raises(RateLimited):
        await account.adapter.inventory()
    account.clock.seconds = 3599
    assert len(await account.adapter.inventory()) == 2
    assert len(account.cloud.requests) == 2


async def test_the_check_reads_the_site_list_or_all_meters(account: Account) -> None:
    account.cloud.will(raw("sitelist"))
    assert await account.adapter.check() == "token accepted; 1 sites, 2 meters"
    account.cloud.will(httpx.Response(404), everyone(SN, SN2))
    assert await account.adapter.check() == "token accepted; 2 meters"
