"""The operator's rules: off unless they are set, decided when the command is taken, and told with rule and measure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.command import Outcome, Status
from bridge.domain.interlocks import Interlocks, Rules
from tests.fakes.harness import Harness
from tests.fakes.vendor import lost, refused, taken

Make = Callable[..., Any]


@pytest.fixture
async def under(tmp_path: Path) -> AsyncIterator[Make]:
    """Starts a gateway under rules: `await under(max_recharge=…, devices={…}, zone=…)`."""
    async with AsyncExitStack() as stack:

        async def make(devices: dict[str, Rules] | None = None, zone: str = "UTC", **rules: Any) -> Harness:
            interlocks = Interlocks(Rules(**rules), devices or {}, zone)
            harness: Harness = await stack.enter_async_context(Harness(tmp_path, interlocks=interlocks))
            return harness

        yield make


async def ack_of(harness: Harness, topic: str, payload: Any) -> dict[str, Any]:
    acks = await harness.command(f"home/{topic}", payload)
    last: dict[str, Any] = acks[-1]
    return last


async def switched(harness: Harness, state: str = "on", device: str = "D1", **more: Any) -> dict[str, Any]:
    return await ack_of(harness, f"{device}/cmd/breaker", {"state": state, **more})


async def charged(harness: Harness, command_id: str, value: Any, device: str = "D1") -> dict[str, Any]:
    return await ack_of(harness, f"{device}/cmd/recharge", {"id": command_id, "charge_value": value})


def refusal(ack: dict[str, Any]) -> tuple[Any, ...]:
    assert (ack["status"], ack["code"], ack["final"]) == ("rejected", "interlock", True)
    return ack["message"], ack["result"]


async def test_without_rules_nothing_is_held_back(harness: Harness) -> None:
    await harness.take(harness.reading({"active_power": 9_999_999}, 0))
    for state in ("on", "off", "on"):
        assert (await switched(harness, state))["status"] == "succeeded"
    assert (await charged(harness, "p1", 1_000_000))["status"] == "succeeded"


# switching ------------------------------------------------------------------------------------------------------------


async def test_a_switching_too_soon_after_the_last_one_is_refused_with_its_age(under: Make) -> None:
    harness = await under(min_switch_interval_s=300.0)
    assert (await switched(harness, "on", id="c1"))["status"] == "succeeded"
    await harness.advance(12)
    message, result = refusal(await switched(harness, "off"))
    assert message == (
        "min_switch_interval: at least 5m between two switchings, the last one (breaker, c1) was 12 s ago"
    )
    assert result == {"rule": "min_switch_interval", "limit": 300, "measured": 12}
    assert (await switched(harness, "off", "D2"))["status"] == "succeeded"
    await harness.advance(288)
    assert (await switched(harness, "off"))["status"] == "succeeded"


async def test_the_time_between_switchings_survives_a_restart(under: Make) -> None:
    harness = await under(min_switch_interval_s=300.0)
    await switched(harness, "on")
    await harness.restart()
    refusal(await switched(harness, "off"))


async def test_a_switching_under_way_holds_back_the_next_until_the_vendor_has_it(under: Make) -> None:
    harness = await under(min_switch_interval_s=60.0)
    harness.vendor.will("breaker", lost(acted=False))
    await switched(harness, "on", id="c1")
    message, result = refusal(await switched(harness, "off"))
    assert message.endswith("'breaker' (c1) is still under way")
    assert result["measured"] == 0
    harness.vendor.will("valve", taken("t-v1"))
    await ack_of(harness, "D2/cmd/valve", {"id": "v1", "state": "open"})
    refusal(await ack_of(harness, "D2/cmd/valve", "close"))
    await harness.advance(61)
    assert (await ack_of(harness, "D2/cmd/valve", "close"))["status"] == "succeeded"
    assert harness.statuses("v1") == ["accepted", "sent"]


async def test_what_the_device_refused_did_not_switch_it(under: Make) -> None:
    harness = await under(min_switch_interval_s=300.0)
    harness.vendor.will("breaker", refused())
    assert (await switched(harness, "on"))["status"] == "failed"
    assert (await switched(harness, "on"))["status"] == "succeeded"


async def test_what_timed_out_may_have_switched_it(under: Make) -> None:
    harness = await under(min_switch_interval_s=300.0)
    harness.vendor.will("breaker", lost(acted=False))
    await switched(harness, "on", id="c1")
    await harness.advance(100)
    assert harness.final("c1")["status"] == "timed_out"
    refusal(await switched(harness, "on"))


async def test_a_pulse_counts_when_it_ends_and_must_not_be_shorter_than_the_rule(under: Make) -> None:
    harness = await under(min_switch_interval_s=300.0)
    message, result = refusal(await ack_of(harness, "D1/cmd/pulse_on", {"delay_s": 5}))
    assert message.endswith("this command switches twice in 5 s")
    assert (await ack_of(harness, "D1/cmd/pulse_on", {"delay_s": 600}))["status"] == "succeeded"
    await harness.advance(100)
    message, result = refusal(await switched(harness, "off"))
    assert message.endswith("is due in 500 s")
    assert result["measured"] == -500
    await harness.advance(801)
    assert (await switched(harness, "off"))["status"] == "succeeded"


async def test_of_two_switchings_at_once_one_is_refused(under: Make) -> None:
    harness = await under(min_switch_interval_s=300.0)
    messages = [harness.message("home/D1/cmd/breaker", {"id": name, "state": "on"}) for name in "abc"]
    await asyncio.gather(*(harness.admission.admit(message) for message in messages))
    await harness.clock.settle()
    assert sorted(ack["status"] for ack in harness.acks() if ack["final"]) == [
        "rejected", "rejected", "succeeded",
    ]  # fmt: skip
    assert len(harness.vendor.effects) == 1


async def test_nothing_is_switched_on_above_the_load(under: Make) -> None:
    harness = await under(max_load_w=Decimal(2000))
    message, result = refusal(await switched(harness, "on"))
    assert message == "max_load_w: nothing is switched on above 2000 W, and active_power is not known"
    assert result == {"rule": "max_load_w", "limit": 2000, "measured": None}
    await harness.take(harness.reading({"active_power": Decimal("2300.5")}, 0))
    await harness.advance(40)
    message, result = refusal(await switched(harness, "on"))
    assert message == (
        "max_load_w: nothing is switched on above 2000 W, active_power is 2300.5 W, measured 40 s ago"
    )
    assert result == {"rule": "max_load_w", "limit": 2000, "measured": 2300.5}
    refusal(await ack_of(harness, "D1/cmd/pulse_on", {"delay_s": 5}))
    assert (await switched(harness, "off"))["status"] == "succeeded"
    await harness.take(harness.reading({"active_power": 2000}, 50))
    assert (await switched(harness, "on"))["status"] == "succeeded"


async def test_a_load_that_is_too_old_counts_as_unknown(under: Make) -> None:
    harness = await under(max_load_a=Decimal(10), max_load_age_s=60.0)
    await harness.take(harness.reading({"current_a": 3, "current_b": 11}, 0))
    message, _ = refusal(await switched(harness, "on"))
    assert "current_b is 11 A" in message
    await harness.take(harness.reading({"current_a": 3, "current_b": 4}, 10))
    assert (await switched(harness, "on"))["status"] == "succeeded"
    await harness.advance(71)
    message, _ = refusal(await switched(harness, "on"))
    assert message.endswith("current_a is 3 A, measured 61 s ago: older than max_load_age 1m")


async def test_a_load_does_not_concern_valves(under: Make) -> None:
    harness = await under(max_load_w=Decimal(1))
    assert (await ack_of(harness, "D1/cmd/valve", "open"))["status"] == "succeeded"


# money ----------------------------------------------------------------------------------------------------------------


async def test_a_recharge_above_the_largest_is_refused(under: Make) -> None:
    harness = await under(max_recharge=Decimal(500))
    assert (await charged(harness, "p1", 500))["status"] == "succeeded"
    message, result = refusal(await charged(harness, "p2", Decimal("500.01")))
    assert message == "max_recharge: at most 500 at once, 500.01 asked for"
    assert result == {"rule": "max_recharge", "limit": 500, "measured": Decimal("500.01")}
    assert (await charged(harness, "p2", 20))["status"] == "succeeded", "a refused id is not used up"


async def test_recharges_of_a_day_add_up_over_restarts_and_each_id_counts_once(under: Make) -> None:
    harness = await under(max_recharge_per_day=Decimal(1000))
    await charged(harness, "p1", 400)
    assert (await charged(harness, "p1", 400))["duplicate"] is True
    await charged(harness, "p2", 400)
    await harness.restart()
    message, result = refusal(await charged(harness, "p3", 300))
    assert message == (
        "max_recharge_per_day: at most 1000 a day; 800 so far on 2024-01-01, UTC, 300 asked for"
    )
    assert result == {"rule": "max_recharge_per_day", "limit": 1000, "measured": 1100}
    assert (await charged(harness, "p4", 200))["status"] == "succeeded"
    assert (await charged(harness, "p5", 300, "D2"))["status"] == "succeeded"
    await harness.advance(12 * 3600)
    assert (await charged(harness, "p6", 1000))["status"] == "succeeded"


async def test_a_day_begins_where_the_account_is(under: Make) -> None:
    harness = await under(max_recharge_per_day=Decimal(100), zone="Asia/Shanghai")
    await charged(harness, "p1", 100)  # 20:00 there
    await harness.advance(4 * 3600 - 1)
    message, _ = refusal(await charged(harness, "p2", 100))
    assert "on 2024-01-01, Asia/Shanghai" in message
    await harness.advance(2)
    assert (await charged(harness, "p2", 100))["status"] == "succeeded"


async def test_what_may_have_happened_counts_and_what_did_not_does_not(under: Make) -> None:
    harness = await under(max_recharge_per_day=Decimal(100))
    harness.vendor.will("recharge", refused())
    assert (await charged(harness, "p1", 100))["status"] == "failed"
    harness.vendor.will("recharge", lost(acted=False))
    await charged(harness, "p2", 60)
    refusal(await charged(harness, "p3", 60))  # p2 is not decided yet
    await harness.advance(200)
    assert harness.final("p2")["status"] == "indeterminate"
    message, _ = refusal(await charged(harness, "p3", 60))
    assert "60 so far" in message
    harness.vendor.will("recharge", lost(acted=True))
    await charged(harness, "p4", 40)
    await harness.advance(200)
    assert harness.final("p4")["status"] == "succeeded"
    refusal(await charged(harness, "p5", 1))


async def test_what_is_remembered_shortly_still_counts_for_its_day(under: Make) -> None:
    harness = await under(max_recharge_per_day=Decimal(100))
    harness.janitor.remember_s = 60.0
    await charged(harness, "p1", 100)
    await switched(harness, "on", id="c1")
    await ack_of(harness, "D1/cmd/read", {"id": "r1"})
    await harness.advance(3600)
    await harness.janitor.round()
    assert {row.id for row in harness.journal()} == {"p1", "c1"}
    refusal(await charged(harness, "p2", 1))
    await harness.advance(48 * 3600)
    await harness.janitor.round()
    assert harness.journal() == []


# single devices, confirmations, dry runs ------------------------------------------------------------------------------


async def test_a_device_has_rules_of_its_own_over_the_accounts(under: Make) -> None:
    harness = await under(
        max_recharge=Decimal(100),
        min_switch_interval_s=60.0,
        devices={"D1": Rules(max_recharge=Decimal(500)), "D*": Rules(max_recharge=Decimal(10))},
    )
    assert (await charged(harness, "p1", 400))["status"] == "succeeded"
    refusal(await charged(harness, "p2", 11, "D2"))
    await switched(harness, "on")
    refusal(await switched(harness, "off"))


async def test_a_confirmation_may_be_asked_for_on_one_device(under: Make) -> None:
    harness = await under(
        confirm=frozenset({"recharge"}), devices={"D1": Rules(confirm=frozenset({"breaker"}))}
    )
    assert (await switched(harness, "on"))["code"] == "confirm_required"
    assert (await charged(harness, "p1", 1))["code"] == "confirm_required"
    assert (await switched(harness, "on", "D2"))["status"] == "succeeded"
    assert (await switched(harness, "on", confirm=True))["status"] == "succeeded"


async def test_a_dry_run_is_told_what_holds_the_command_back(under: Make) -> None:
    harness = await under(max_recharge=Decimal(100))
    refusal(await ack_of(harness, "D1/cmd/recharge", {"charge_value": 101, "dry_run": True}))
    shown = await ack_of(harness, "D1/cmd/recharge", {"charge_value": 100, "dry_run": True})
    assert (shown["status"], shown["dry_run"]) == ("succeeded", True)
    await harness.command("bridge/cmd/lock", {})
    refusal(await ack_of(harness, "D1/cmd/recharge", {"charge_value": 100, "dry_run": True}))
    assert (await ack_of(harness, "D1/cmd/read", {"dry_run": True}))["status"] == "succeeded"
    assert harness.vendor.executed == []


async def test_a_recharge_that_the_vendor_works_on_counts_until_it_has_failed(under: Make) -> None:
    harness = await under(max_recharge_per_day=Decimal(100))
    harness.vendor.will("recharge", taken("t1"))
    await charged(harness, "p1", 100)
    harness.vendor.tasks["t1"] = Outcome(Status.FAILED, "device_refused")
    refusal(await charged(harness, "p2", 1))
    await harness.advance(700)
    assert harness.final("p1")["status"] == "failed"
    assert (await charged(harness, "p2", 100))["status"] == "succeeded"
