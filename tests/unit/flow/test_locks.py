"""Maintenance locks: they reject, they cancel what waits, they survive restarts, and reading goes on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.harness import Harness
from tests.fakes.vendor import Script


async def lock(harness: Harness, **payload: Any) -> dict[str, Any]:
    acks = await harness.command("bridge/cmd/lock", payload)
    assert acks[-1]["status"] == "succeeded"
    return acks[-1]


async def code_of(harness: Harness, topic: str, payload: Any) -> str | None:
    acks = await harness.command(topic, payload)
    code: str | None = acks[-1]["code"]
    return code


async def test_while_locked_every_command_that_changes_a_device_is_rejected(harness: Harness) -> None:
    await lock(harness, reason="works on the line")
    (ack,) = await harness.command("home/D1/cmd/breaker", "on")
    assert (ack["status"], ack["code"]) == ("rejected", "interlock")
    assert "works on the line" in ack["message"]
    assert await code_of(harness, "home/cmd/register", {"device_sn": "D5"}) == "interlock"
    assert harness.vendor.executed == []


async def test_reading_goes_on(harness: Harness) -> None:
    await lock(harness)
    assert await code_of(harness, "home/D1/cmd/read", {}) is None
    assert await code_of(harness, "home/cmd/refresh_inventory", {}) is None
    assert await code_of(harness, "bridge/cmd/diagnostics", {}) is None


@pytest.mark.parametrize(
    ("scope", "locked", "open_"),
    [
        ({"account": "home"}, ["D1", "D2"], []),
        ({"account": "home", "device": "D1"}, ["D1"], ["D2"]),
    ],
)
async def test_a_lock_covers_what_it_names(
    harness: Harness, scope: dict[str, str], locked: list[str], open_: list[str]
) -> None:
    await lock(harness, **scope)
    for name in locked:
        assert await code_of(harness, f"home/{name}/cmd/breaker", "on") == "interlock"
    for name in open_:
        assert await code_of(harness, f"home/{name}/cmd/breaker", "on") is None


async def test_a_lock_of_a_device_that_is_not_there_is_rejected(harness: Harness) -> None:
    assert await code_of(harness, "bridge/cmd/lock", {"account": "home", "device": "D99"}) == "unknown_device"
    assert (await harness.command("bridge/cmd/unlock", {"account": "home", "device": "D99"}))[-1][
        "result"
    ] == {
        "removed": 0,
        "locks": [],
    }


async def test_a_lock_of_one_device_does_not_stop_the_account(harness: Harness) -> None:
    await lock(harness, account="home", device="D1")
    assert await code_of(harness, "home/cmd/register", {"device_sn": "D5"}) is None


async def test_a_lock_of_a_device_stops_the_accounts_commands_that_change_it(harness: Harness) -> None:
    await lock(harness, account="home", device="D1")
    assert await code_of(harness, "home/cmd/register", {"device_sn": "D1"}) == "interlock"
    assert await code_of(harness, "home/cmd/sweep", {}) == "interlock"
    assert await code_of(harness, "home/cmd/register", {"device_sn": "D1", "dry_run": True}) == "interlock"
    await harness.command("bridge/cmd/unlock", {})
    assert await code_of(harness, "home/cmd/sweep", {}) is None


async def test_a_lock_of_a_device_is_seen_by_what_is_about_to_leave_for_it(harness: Harness) -> None:
    harness.vendor.will("register", Script(slow_before_s=10))
    await harness.command("home/cmd/register", {"id": "c1", "device_sn": "D1"})
    await lock(harness, account="home", device="D1")
    await harness.advance(20)
    assert harness.statuses("c1") == ["accepted", "cancelled"]
    assert harness.vendor.effects == []


async def test_a_lock_cancels_what_waits_and_lets_what_has_left_go_on(harness: Harness) -> None:
    harness.vendor.will("breaker", Script(slow_s=10))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.command("home/D1/cmd/pulse_on", {"id": "c2", "delay_s": 5})
    await harness.command("home/D1/cmd/read", {"id": "c3"})
    final = await lock(harness, reason="now")
    assert final["result"] == {
        "cancelled": 1,
        "locks": [{"account": None, "device": None, "reason": "now"}],
    }
    await harness.advance(20)
    assert harness.statuses("c1") == ["accepted", "succeeded"]
    assert harness.statuses("c2") == ["accepted", "cancelled"]
    assert harness.final("c2")["code"] == "interlock"
    assert harness.statuses("c3") == ["accepted", "succeeded"]
    assert harness.vendor.times("c2") == 0


async def test_a_lock_stops_what_is_about_to_leave(harness: Harness) -> None:
    harness.vendor.will("breaker", Script(slow_before_s=10))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await lock(harness)
    await harness.command("bridge/cmd/unlock", {})
    await harness.advance(20)
    assert harness.statuses("c1") == ["accepted", "cancelled"]
    assert harness.vendor.effects == []


async def test_a_lock_survives_a_restart_and_ends_with_unlock(harness: Harness) -> None:
    await lock(harness, account="home", device="D1")
    await harness.restart()
    assert await code_of(harness, "home/D1/cmd/breaker", "on") == "interlock"
    acks = await harness.command("bridge/cmd/unlock", {"account": "home", "device": "D1"})
    assert acks[-1]["result"] == {"removed": 1, "locks": []}
    assert await code_of(harness, "home/D1/cmd/breaker", "on") is None


async def test_unlock_takes_away_all_below_what_it_names(harness: Harness) -> None:
    await lock(harness, account="home", device="D1")
    await lock(harness, account="home", device="D2")
    acks = await harness.command("bridge/cmd/unlock", {"account": "home"})
    assert acks[-1]["result"]["removed"] == 2


async def test_a_lock_holds_for_what_a_crash_left_waiting(harness: Harness) -> None:
    harness.vendor.will("breaker", Script(slow_s=10))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.command("home/D1/cmd/pulse_on", {"id": "c2", "delay_s": 5})
    await harness.crash()
    await harness.start()
    await lock(harness)
    await harness.advance(100)
    assert harness.statuses("c2") == ["accepted", "cancelled"]
    assert harness.vendor.times("c2") == 0
