"""A command that waited is judged again when it leaves: by lock, allow-list and rules as they are then, and told so."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from bridge.domain.command import Outcome, Status
from bridge.domain.interlocks import Interlocks, Rules
from tests.fakes.harness import Harness
from tests.fakes.vendor import Script, lost, rate_limited, taken

WAITS = Script(slow_before_s=30.0)
"""It waits so long for its slot."""


def rule(harness: Harness, **rules: Any) -> None:
    """As a reload does it: the account's entry under other rules."""
    harness.set_policy(interlocks=Interlocks(Rules(**rules)))
    harness.roster.enter(harness.policy, harness.vendor, harness.roster.default_kind("home"))
    harness.roster.replace("home", harness.vendor.devices)


def told(harness: Harness, command_id: str) -> tuple[Any, ...]:
    final = harness.final(command_id)
    return final["status"], final["code"], final["message"], final["result"]


async def test_a_load_that_rose_while_the_command_waited_cancels_it(harness: Harness) -> None:
    rule(harness, max_load_w=Decimal(2000))
    await harness.take(harness.reading({"active_power": 1500}, 0))
    harness.vendor.will("breaker", WAITS)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.take(harness.reading({"active_power": 2600}, 10))
    await harness.advance(40)
    status, code, message, result = told(harness, "c1")
    assert (status, code) == ("cancelled", "interlock")
    assert message.startswith("max_load_w: nothing is switched on above 2000 W, active_power is 2600 W")
    assert result == {"rule": "max_load_w", "limit": 2000, "measured": 2600}
    assert harness.statuses("c1") == ["accepted", "cancelled"]
    assert harness.vendor.effects == []


async def test_a_load_that_is_still_low_lets_it_leave(harness: Harness) -> None:
    rule(harness, max_load_w=Decimal(2000))
    await harness.take(harness.reading({"active_power": 1500}, 0))
    harness.vendor.will("breaker", WAITS)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.advance(40)
    assert harness.final("c1")["status"] == "succeeded"


async def test_a_switching_that_ended_meanwhile_is_too_near(harness: Harness) -> None:
    """The first one was sent long ago and turned the valve only when the second one waited."""
    rule(harness, min_switch_interval_s=60.0)
    harness.vendor.will("valve", taken("t1"), WAITS)
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "open"})
    await harness.advance(80)
    await harness.command("home/D1/cmd/valve", {"id": "v2", "state": "close"})
    harness.vendor.tasks["t1"] = Outcome(Status.SUCCEEDED)
    await harness.advance(40)
    assert harness.final("v1")["status"] == "succeeded"
    status, code, message, result = told(harness, "v2")
    assert (status, code, result["rule"]) == ("cancelled", "interlock", "min_switch_interval")
    assert "the last one (valve, v1) was" in message
    assert 0 <= result["measured"] < 60


async def test_rules_that_a_reload_brought_hold_for_what_waits(harness: Harness) -> None:
    harness.vendor.will("recharge", WAITS)
    await harness.command("home/D1/cmd/recharge", {"id": "p1", "charge_value": 500})
    rule(harness, max_recharge=Decimal(100))
    await harness.advance(40)
    assert told(harness, "p1") == (
        "cancelled",
        "interlock",
        "max_recharge: at most 100 at once, 500 asked for",
        {"rule": "max_recharge", "limit": 100, "measured": 500},
    )
    assert harness.vendor.effects == []


async def test_what_the_allow_list_no_longer_names_does_not_leave(harness: Harness) -> None:
    harness.vendor.will("breaker", WAITS)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    harness.policy = replace(harness.policy, allow=("read",))
    rule(harness)
    await harness.advance(40)
    status, code, message, _ = told(harness, "c1")
    assert (status, code) == ("cancelled", "not_allowed")
    assert "breaker" in message
    assert harness.vendor.effects == []


async def test_what_waits_behind_it_and_itself_do_not_count(harness: Harness) -> None:
    rule(harness, max_recharge_per_day=Decimal(100))
    harness.vendor.will("recharge", WAITS)
    await harness.command("home/D1/cmd/recharge", {"id": "p1", "charge_value": 60})
    await harness.command("home/D1/cmd/recharge", {"id": "p2", "charge_value": 40})
    await harness.advance(40)
    assert [harness.final(name)["status"] for name in ("p1", "p2")] == ["succeeded", "succeeded"]


async def test_a_vendors_limit_that_delays_a_recharge_past_midnight_charges_it_to_the_day_it_leaves(
    harness: Harness,
) -> None:
    rule(harness, max_recharge_per_day=Decimal(100))
    await harness.advance(12 * 3600 - 100)
    harness.vendor.will("recharge", rate_limited(200.0))
    await harness.command("home/D1/cmd/recharge", {"id": "p1", "charge_value": 60})
    await harness.advance(120)
    (ack,) = await harness.command("home/D1/cmd/recharge", {"id": "p2", "charge_value": 60})
    assert (ack["status"], ack["result"]["measured"]) == ("rejected", 120)
    await harness.advance(200)
    assert harness.final("p1")["status"] == "succeeded"
    (ack,) = await harness.command("home/D1/cmd/recharge", {"id": "p3", "charge_value": 60})
    assert (ack["status"], ack["result"]["rule"]) == ("rejected", "max_recharge_per_day")


async def test_a_repetition_is_not_held_back_by_its_own_first_attempt(harness: Harness) -> None:
    rule(harness, min_switch_interval_s=300.0)
    harness.vendor.will("breaker", lost(acted=False))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "off"})
    await harness.advance(120)
    assert harness.final("c1")["status"] == "succeeded"
    assert len(harness.vendor.effects) == 1


async def test_a_repetition_that_a_lock_forbids_ends_as_if_it_were_not_made(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "off"})
    await harness.command("bridge/cmd/lock", {"account": "home"})
    assert harness.statuses("c1") == ["accepted"], "what may have happened is not called cancelled"
    await harness.advance(120)
    assert (harness.final("c1")["status"], len(harness.vendor.executed)) == ("timed_out", 1)
