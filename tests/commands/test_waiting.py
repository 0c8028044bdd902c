"""What happens to a command between the door and its end: it expires, a lock comes, the configuration changes, the
process ends. On the real pipeline with a real adapter; only the cloud is simulated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.account import AccountPolicy
from bridge.simulators.faults import Fault
from tests.commands.jrhsz import POWER, WATER
from tests.commands.stage import Stage
from tests.commands.wmj import CELL, WIFI

OFF = {"state": "off"}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path, "wmj") as stage:
        stage.wire.requests.clear()
        yield stage


@pytest.fixture
async def flats(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path, "jrhsz") as stage:
        yield stage


def told(stage: Stage, command_id: str) -> tuple[list[str], Any]:
    return stage.statuses(command_id), stage.acks(command_id)[-1]["code"]


async def reload(stage: Stage, **policy: Any) -> None:
    """As `app.accounts` does it when the account's entry changed: out, and in again."""
    stage.leave_account()
    stage.set_policy(**policy)
    await stage.enter_account()


async def lock(stage: Stage, verb: str = "lock", **scope: Any) -> None:
    acks = await stage.command(f"bridge/cmd/{verb}", scope)
    assert acks[-1]["status"] == "succeeded"


# expiry ---------------------------------------------------------------------------------------------------------------


async def test_what_expires_before_its_slot_is_never_sent(flats: Stage) -> None:
    """One instruction in 2.2 s: the third one's time is over before its turn."""
    meters = [one for one in flats.cloud.meters if flats.cloud.meters[one].medium == "electricity"]
    for number, meter in enumerate(meters):
        payload = {"id": f"c-{number}", **OFF, "expires_at": "2024-01-01T12:00:03Z"}
        await flats.order(meter, "breaker", payload)
    for number in range(len(meters)):
        await flats.carried(f"c-{number}")
    ends = {number: flats.statuses(f"c-{number}")[-1] for number in range(len(meters))}
    assert ends == {0: "succeeded", 1: "succeeded", 2: "expired"}
    assert told(flats, "c-2") == (["accepted", "expired"], "expired")
    assert flats.effects() == ["tripped", "tripped"]


async def test_what_waits_behind_a_silent_breaker_expires_without_being_sent(shop: Stage) -> None:
    shop.cloud.faults.add(Fault("refuse_before_acting", endpoint="send/turnon"))
    shop.cloud.fleet[WIFI].switch_to(False)
    await shop.order(WIFI, "breaker", {"id": "c-1", "state": "on"})
    await shop.order(
        WIFI, "retain_state", {"id": "c-2", "enabled": False, "expires_at": "2024-01-01T12:00:30Z"}
    )
    await shop.carried("c-1")
    await shop.carried("c-2")
    assert told(shop, "c-1") == (["accepted", "timed_out"], "no_answer")
    assert told(shop, "c-2") == (["accepted", "expired"], "expired")
    assert shop.effects() == []


async def test_a_command_whose_outcome_is_unknown_is_not_sent_again_after_its_time(shop: Stage) -> None:
    shop.cloud.faults.add(Fault("refuse_before_acting", endpoint="send/turnoff"))
    await shop.order(WIFI, "breaker", {"id": "c-1", **OFF, "expires_at": "2024-01-01T12:00:30Z"})
    await shop.carried("c-1")
    assert told(shop, "c-1") == (["accepted", "timed_out"], "no_answer")
    assert shop.cloud.calls.counts()["send/turnoff"] == 1


async def test_an_answer_that_was_lost_is_still_found_after_the_commands_time(shop: Stage) -> None:
    shop.cloud.faults.add(Fault("lose_reply", endpoint="send/turnoff"))
    shop.cloud.faults.add(Fault("http_500", endpoint="send/getdevinfo", count=2))
    await shop.order(WIFI, "breaker", {"id": "c-1", **OFF, "expires_at": "2024-01-01T12:00:10Z"})
    await shop.carried("c-1")
    assert told(shop, "c-1") == (["accepted", "succeeded"], None)
    assert shop.effects() == ["switched_off"]


# locks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("acts", [True, False])
async def test_a_lock_lets_the_vendor_be_asked_and_nothing_be_sent_again(shop: Stage, acts: bool) -> None:
    shop.cloud.faults.add(Fault("http_500", endpoint="send/turnoff", acts=acts))
    await shop.order(WIFI, "breaker", {"id": "c-1", **OFF})
    assert shop.statuses("c-1") == ["accepted"]
    await lock(shop, account="home", reason="works")
    await shop.carried("c-1")
    end = (["accepted", "succeeded"], None) if acts else (["accepted", "timed_out"], "no_answer")
    assert told(shop, "c-1") == end
    assert shop.cloud.calls.counts()["send/turnoff"] == 1
    assert shop.effects() == ["switched_off"] * acts
    await shop.order(WIFI, "breaker", {"id": "c-2", **OFF})
    assert told(shop, "c-2") == (["rejected"], "interlock")
    await lock(shop, "unlock", account="home")
    await shop.order(WIFI, "breaker", {"id": "c-2", **OFF})
    await shop.carried("c-2")
    assert shop.statuses("c-2") == ["rejected", "accepted", "succeeded"], "a rejection leaves the id free"


async def test_a_lock_ends_what_waits_and_follows_what_the_vendor_has(flats: Stage) -> None:
    flats.cloud.go_offline(WATER)
    await flats.order(WATER, "valve", {"id": "v-1", "state": "close"})
    await flats.advance(1)
    await flats.order(POWER, "breaker", {"id": "c-1", **OFF})
    assert (flats.statuses("v-1"), flats.statuses("c-1")) == (["accepted", "sent"], ["accepted"])
    await lock(flats, reason="works on the line")
    assert told(flats, "c-1") == (["accepted", "cancelled"], "interlock")
    assert "works on the line" in flats.final("c-1")["message"]
    await flats.advance(600)
    flats.cloud.go_online(WATER)
    await flats.carried("v-1")
    assert told(flats, "v-1") == (["accepted", "sent", "succeeded"], None)
    assert flats.effects() == ["valve_closed"]


async def test_a_lock_survives_a_restart_with_an_unknown_outcome(shop: Stage) -> None:
    shop.cloud.faults.add(Fault("refuse_before_acting", endpoint="send/turnoff"))
    await shop.order(WIFI, "breaker", {"id": "c-1", **OFF})
    await lock(shop, account="home", device=WIFI)
    await shop.restart()
    await shop.carried("c-1")
    assert told(shop, "c-1") == (["accepted", "timed_out"], "no_answer")
    assert shop.cloud.calls.counts()["send/turnoff"] == 1
    await shop.order(CELL, "breaker", {"id": "c-2", **OFF})
    assert (await shop.carried("c-2"))["status"] == "succeeded"


# the configuration ----------------------------------------------------------------------------------------------------


async def test_a_reload_carries_on_with_what_waits_and_with_what_is_unknown(shop: Stage) -> None:
    shop.cloud.faults.add(Fault("lose_reply", endpoint="send/turnoff", device=WIFI))
    shop.wire.refuse(lambda one: CELL in str(one) and "turnoff" in str(one), 2)
    await shop.order(WIFI, "breaker", {"id": "c-1", **OFF})
    await shop.order(CELL, "breaker", {"id": "c-2", **OFF})
    assert (shop.statuses("c-1"), shop.statuses("c-2")) == (["accepted"], ["accepted"])
    await reload(shop, allow=("*",))
    for name in ("c-1", "c-2"):
        assert (await shop.carried(name))["status"] == "succeeded"
    assert sorted(shop.effects()) == ["switched_off", "switched_off"]


async def test_a_reload_that_forbids_what_waits_ends_it_and_asks_on_for_what_is_out(shop: Stage) -> None:
    shop.cloud.faults.add(Fault("lose_reply", endpoint="send/turnoff", device=WIFI))
    shop.wire.refuse(lambda one: CELL in str(one) and "turnoff" in str(one), 1)
    await shop.order(WIFI, "breaker", {"id": "c-1", **OFF})
    await shop.order(CELL, "breaker", {"id": "c-2", **OFF})
    await reload(shop, allow=("read", "online"))
    await shop.carried("c-1")
    await shop.carried("c-2")
    assert told(shop, "c-1") == (["accepted", "succeeded"], None)
    assert told(shop, "c-2") == (["accepted", "cancelled"], "not_allowed")
    assert shop.effects() == ["switched_off"]


async def test_an_account_that_is_gone_ends_its_commands_honestly(shop: Stage) -> None:
    shop.cloud.faults.add(Fault("lose_reply", endpoint="send/delayturnon", device=WIFI))
    shop.wire.refuse(lambda one: CELL in str(one) and "turnoff" in str(one), 1)
    await shop.order(WIFI, "pulse_off", {"id": "c-1", "delay_s": 5})
    await shop.order(CELL, "breaker", {"id": "c-2", **OFF})
    shop.leave_account()
    for name in ("c-1", "c-2"):
        await shop.carried(name)
    assert shop.statuses("c-1") == ["accepted", "indeterminate"]
    assert told(shop, "c-2") == (["accepted", "cancelled"], "unknown_command")


@pytest.mark.parametrize(
    ("allow", "passes", "refused"),
    [
        (["read", "online"], ["read", "online"], ["breaker", "restart", "set_protection", "hex_frame"]),
        (["set_*", "read"], ["set_protection", "set_alarms"], ["breaker", "pulse_on"]),
        ([], [], ["read", "breaker"]),
        (["*"], ["read", "breaker"], []),
    ],
)
async def test_only_what_the_configuration_allows_is_carried_out_or_even_tried(
    tmp_path: Path, allow: list[str], passes: list[str], refused: list[str]
) -> None:
    params: dict[str, dict[str, Any]] = {
        "breaker": OFF, "pulse_on": {"delay_s": 5}, "set_protection": {"overheat_c": 70},
        "hex_frame": {"hex": "55AA0006000510010001011D"},
        "set_alarms": {name: {"threshold": 20, "trip": True}
                       for name in ("overload_kw", "leakage_current_ma", "overheat_c")},
    }  # fmt: skip
    stage = Stage(tmp_path, "wmj", commands={"allow": allow})
    stage.policy = stage.settings.policy(("*",), ())
    async with stage:
        for name in refused:
            for more in ({}, {"dry_run": True}, {"confirm": True}):
                await stage.order(WIFI, name, {"id": f"no-{name}", **params.get(name, {}), **more})
            acks = stage.acks(f"no-{name}")
            assert [(one["status"], one["code"]) for one in acks] == [("rejected", "not_allowed")] * 3
            assert name in acks[0]["message"]
        assert stage.sent() == []
        for name in passes:
            await stage.order(WIFI, name, {"id": f"yes-{name}", **params.get(name, {})})
            assert (await stage.carried(f"yes-{name}"))["status"] == "succeeded", name


async def test_a_confirmation_that_the_configuration_asks_for_is_asked_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "wmj", commands={"confirm": ["breaker"]})
    stage.policy = stage.settings.policy(("*",), ())
    assert isinstance(stage.policy, AccountPolicy)
    async with stage:
        await stage.order(WIFI, "breaker", {"id": "c-1", **OFF})
        assert told(stage, "c-1") == (["rejected"], "confirm_required")
        await stage.order(WIFI, "breaker", {"id": "c-1", **OFF, "confirm": True})
        assert (await stage.carried("c-1"))["status"] == "succeeded"


# how long a device may take -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timeout_s", "ends_after_s"), [(None, 600), (60, 60), (1800, 1800)])
async def test_a_meter_has_the_time_that_the_command_gives_it(
    flats: Stage, timeout_s: int | None, ends_after_s: int
) -> None:
    flats.cloud.go_offline(POWER)
    more = {} if timeout_s is None else {"timeout_s": timeout_s}
    await flats.order(POWER, "breaker", {"id": "c-1", **OFF, **more})
    await flats.advance(ends_after_s - 5)
    assert flats.statuses("c-1") == ["accepted", "sent"]
    await flats.advance(20)
    assert told(flats, "c-1") == (["accepted", "sent", "timed_out"], "no_answer")
    assert "did not answer" in flats.final("c-1")["message"]
    flats.cloud.go_online(POWER)
    await flats.advance(100)
    assert flats.effects() == ["tripped"], "the platform did it later: that is not ours to undo"


async def test_what_timed_out_may_be_sent_again_under_a_new_id(flats: Stage) -> None:
    flats.cloud.go_offline(POWER)
    await flats.order(POWER, "breaker", {"id": "c-1", **OFF, "timeout_s": 60})
    await flats.carried("c-1")
    await flats.order(POWER, "breaker", {"id": "c-1", **OFF, "timeout_s": 60})
    assert flats.acks("c-1", duplicates=True)[-1]["status"] == "timed_out"
    await flats.order(POWER, "breaker", {"id": "c-2", **OFF})
    await flats.advance(3)
    assert flats.told("c-2")[-1] == ("sent", None, 1010), "an equal order waits at the platform already"
    flats.cloud.go_online(POWER)
    await flats.carried("c-2")
    assert flats.effects() == ["tripped"]


async def test_two_orders_for_one_meter_leave_in_turn(flats: Stage) -> None:
    await flats.order(POWER, "breaker", {"id": "c-1", **OFF})
    await flats.order(POWER, "breaker", {"id": "c-2", "state": "on"})
    for name in ("c-1", "c-2"):
        await flats.carried(name)
    assert flats.effects() == ["tripped", "reclosed"]
    assert flats.statuses("c-2") == ["accepted", "sent", "succeeded"]
    assert told(flats, "c-1") == (["accepted", "sent", "timed_out"], "no_answer")
    assert "'breaker' (c-2) was sent after it" in flats.final("c-1")["message"], (
        "it may well have been carried out"
    )
