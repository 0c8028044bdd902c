"""The process may die at any instant: nothing that must not repeat is done twice, and every command ends once.

The crash points are not chosen: each scenario dies before and after every single transaction that it makes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.command import Outcome, Status
from bridge.domain.observation import Origin
from tests.fakes.harness import Harness
from tests.fakes.vendor import Script, hangs, lost, not_sent, rate_limited, taken

LONG_S = 700.0


@pytest.mark.parametrize("acted", [True, False])
async def test_a_crash_while_an_on_is_under_way_is_resolved_by_asking(harness: Harness, acted: bool) -> None:
    harness.vendor.will("breaker", hangs(acted=acted))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.restart()
    await harness.advance(LONG_S)
    assert harness.statuses("c1") == ["accepted", "succeeded" if acted else "timed_out"]
    assert harness.vendor.executed == ["c1"]


async def test_a_crash_while_an_off_is_under_way_sends_it_once_more(harness: Harness) -> None:
    harness.vendor.will("breaker", hangs(acted=False))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "off"})
    await harness.restart()
    await harness.advance(LONG_S)
    assert harness.statuses("c1") == ["accepted", "succeeded"]
    assert harness.vendor.executed == ["c1", "c1"]


async def test_a_crash_while_a_pulse_is_under_way_is_indeterminate(harness: Harness) -> None:
    harness.vendor.will("pulse_on", hangs(acted=True))
    await harness.command("home/D1/cmd/pulse_on", {"id": "c1", "delay_s": 5})
    await harness.restart()
    assert harness.statuses("c1") == ["accepted", "indeterminate"]
    assert harness.vendor.executed == ["c1"]


async def test_a_crash_before_it_left_loses_nothing(harness: Harness) -> None:
    harness.vendor.will("pulse_on", Script(slow_before_s=50))
    await harness.command("home/D1/cmd/pulse_on", {"id": "c1", "delay_s": 5})
    await harness.restart()
    assert harness.statuses("c1") == ["accepted", "succeeded"]
    assert harness.vendor.times("c1") == 1


async def test_a_crash_while_asking_goes_on_asking(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    harness.vendor.answers_probes = False
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.advance(21)
    assert len(harness.vendor.probed) == 2
    await harness.restart()
    harness.vendor.answers_probes = True
    await harness.advance(38)
    assert len(harness.vendor.probed) == 2
    await harness.advance(2)
    assert harness.final("c1")["status"] == "succeeded"


async def test_the_second_sending_is_not_forgotten_by_a_crash(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False), hangs(acted=False), lost(acted=False))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "off"})
    await harness.advance(63)
    assert len(harness.vendor.executed) == 2
    await harness.restart()
    await harness.advance(LONG_S)
    assert len(harness.vendor.executed) == 2
    assert harness.final("c1")["status"] == "timed_out"


async def test_a_command_that_the_vendor_works_on_is_followed_after_a_crash(harness: Harness) -> None:
    harness.vendor.will("valve", taken("t1"))
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "open"})
    await harness.restart()
    harness.vendor.tasks["t1"] = Outcome(Status.SUCCEEDED)
    await harness.advance(LONG_S)
    assert harness.statuses("v1") == ["accepted", "sent", "succeeded"]


async def test_evidence_works_after_a_crash(harness: Harness) -> None:
    harness.vendor.will("breaker", hangs(acted=True))
    harness.vendor.answers_probes = False
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.restart()
    await harness.advance(1)
    await harness.take(harness.reading({"switch_state": "on"}, origin=Origin.PUSH))
    assert harness.final("c1")["status"] == "succeeded"


async def test_the_order_of_a_device_survives_a_crash(harness: Harness) -> None:
    harness.vendor.will("breaker", hangs(acted=True))
    for number in range(4):
        await harness.command("home/D1/cmd/breaker", {"id": f"c{number}", "state": "on"})
    await harness.restart()
    await harness.advance(LONG_S)
    assert [ack["id"] for ack in harness.acks() if ack["final"]] == ["c0", "c1", "c2", "c3"]
    assert [done.id for done in harness.vendor.effects] == ["c0", "c1", "c2", "c3"]


async def test_a_restart_publishes_nothing_again(harness: Harness) -> None:
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    before = len(harness.published("#"))
    for _ in range(3):
        await harness.restart()
        await harness.advance(10)
    assert len(harness.published("#")) == before


# every crash point ----------------------------------------------------------------------------------------------------

Scenario = Callable[[Harness], Awaitable[None]]


def command(name: str, payload: dict[str, Any], *scripts: Script, **mqtt: Any) -> Scenario:
    async def play(harness: Harness) -> None:
        harness.vendor.will(name, *scripts)
        topic = f"home/D1/cmd/{name}"
        # until the broker has its PUBACK it delivers the message again
        message = harness.message(topic, {"id": "c1", **payload}, mid=7, **mqtt)
        await at_least_once(harness, message)
        await harness.advance(LONG_S)

    return play


async def at_least_once(harness: Harness, message: Any) -> None:
    task = asyncio.ensure_future(harness.admission.admit(message))
    await harness.clock.settle()
    if not task.done():
        await harness.restart()
        again = harness.message(message.topic.removeprefix("mb/"), message.payload, mid=7, dup=True)
        await harness.admit(again)


SCENARIOS: dict[str, tuple[Scenario, int]] = {
    "on": (command("breaker", {"state": "on"}), 1),
    "on lost": (command("breaker", {"state": "on"}, lost(acted=False)), 1),
    "on lost, done": (command("breaker", {"state": "on"}, lost(acted=True)), 1),
    "off lost": (command("breaker", {"state": "off"}, lost(acted=True), lost(acted=True)), 2),
    "pulse": (command("pulse_on", {"delay_s": 5}), 1),
    "pulse lost": (command("pulse_on", {"delay_s": 5}, lost(acted=True)), 1),
    "money": (command("recharge", {"charge_value": 5}), 1),
    "money not sent": (command("recharge", {"charge_value": 5}, not_sent()), 1),
    "money limited": (command("recharge", {"charge_value": 5}, rate_limited(30)), 1),
    "money lost": (command("recharge", {"charge_value": 5}, lost(acted=True)), 1),
    "valve": (command("valve", {"state": "open"}, taken("t1")), 1),
    "read": (command("read", {}), 0),
}


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_crash_at_any_transaction_does_nothing_twice_and_loses_no_ending(
    tmp_path: Path, name: str, after_commit: bool
) -> None:
    play, most = SCENARIOS[name]
    dies_at = 0
    while True:
        dies_at += 1
        folder = tmp_path / str(dies_at)
        folder.mkdir()
        async with Harness(folder) as harness:
            mortal = harness.store
            mortal.dies_at = mortal.count + dies_at
            mortal.dies_after_commit = after_commit
            await play(harness)
            died = mortal.dead
            if harness.store.dead:
                await harness.restart()
                await harness.advance(LONG_S)
            where = f"{name}, transaction {dies_at}"
            finals = [ack for ack in harness.acks("c1") if ack["final"]]
            assert len(finals) == 1, where
            assert harness.statuses("c1")[0] == "accepted", where
            assert harness.vendor.times("c1") <= most, where
            assert all(row.state == "final" for row in harness.journal()), where
        if not died:
            break
    assert dies_at > 2  # it died at more than one
