"""A disk that does not take changes for a while: nothing leaves without its entry, and no ending is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bridge.domain.command import Outcome, Status
from bridge.domain.errors import SpoolFull
from bridge.domain.observation import Origin
from tests.fakes.harness import Harness, History
from tests.fakes.vendor import Done, Script, lost, not_sent, rate_limited, refused, taken


def failing_after_effect(harness: Harness, times: int = 3) -> Callable[[Done], None]:
    """The disk fails `times` times from the moment on in which the device acts."""
    left = [times]

    def fails() -> bool:
        left[0] -= 1
        return left[0] >= 0

    def begin(_done: Done) -> None:
        harness.store.fails = fails

    return begin


async def test_nothing_leaves_while_the_journal_cannot_say_so(harness: Harness) -> None:
    harness.vendor.will("pulse_on", Script(slow_before_s=5))
    await harness.command("home/D1/cmd/pulse_on", {"id": "c1", "delay_s": 5})
    harness.store.fails = lambda: True
    await harness.advance(30)
    assert harness.vendor.effects == []
    harness.store.fails = lambda: False
    await harness.advance(30)
    assert harness.statuses("c1") == ["accepted", "succeeded"]
    assert harness.vendor.times("c1") == 1


@pytest.mark.parametrize("times", [1, 3, 20])
async def test_the_answer_to_a_pulse_is_not_forgotten(harness: Harness, times: int) -> None:
    harness.vendor.on_effect = failing_after_effect(harness, times)
    await harness.command("home/D1/cmd/pulse_on", {"id": "c1", "delay_s": 5})
    await harness.advance(60)
    assert harness.statuses("c1") == ["accepted", "succeeded"]
    assert harness.vendor.times("c1") == 1


async def test_a_refusal_is_not_forgotten(harness: Harness) -> None:
    script = refused()
    script.acts = True  # so that the disk begins to fail
    harness.vendor.will("pulse_on", script)
    harness.vendor.on_effect = failing_after_effect(harness)
    await harness.command("home/D1/cmd/pulse_on", {"id": "c1", "delay_s": 5})
    await harness.advance(60)
    assert harness.statuses("c1") == ["accepted", "failed"]


async def test_the_state_after_a_switch_is_not_forgotten(harness: Harness) -> None:
    harness.vendor.on_effect = failing_after_effect(harness)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.advance(60)
    assert harness.final("c1")["status"] == "succeeded"
    assert harness.retained()["home/D1/state"]["metrics"] == {"switch_state": "on"}
    assert len(harness.docs("home/D1/telemetry")) == 1
    assert harness.vendor.probed == []


async def test_what_a_vendor_took_is_not_forgotten(harness: Harness) -> None:
    script = taken("t1")
    script.acts = True
    harness.vendor.will("valve", script)
    harness.vendor.on_effect = failing_after_effect(harness)
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "open"})
    await harness.advance(5)
    assert harness.statuses("v1") == ["accepted", "sent"]
    harness.vendor.tasks["t1"] = Outcome(Status.SUCCEEDED)
    await harness.advance(60)
    assert harness.statuses("v1") == ["accepted", "sent", "succeeded"]


@pytest.mark.parametrize("script", [not_sent(), rate_limited(5)])
async def test_what_did_not_leave_is_tried_again_and_counted_once(harness: Harness, script: Script) -> None:
    script.acts = True
    harness.vendor.will("pulse_on", script)
    harness.vendor.on_effect = failing_after_effect(harness)
    await harness.command("home/D1/cmd/pulse_on", {"id": "c1", "delay_s": 5})
    await harness.advance(60)
    assert harness.statuses("c1") == ["accepted", "succeeded"]
    assert harness.final("c1")["attempt"] == 1


async def test_a_lost_answer_is_resolved_when_the_disk_is_well_again(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    harness.vendor.on_effect = failing_after_effect(harness)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.advance(60)
    assert harness.statuses("c1") == ["accepted", "succeeded"]
    assert harness.vendor.executed == ["c1"]


async def test_the_answer_of_a_question_is_not_forgotten(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.advance(4)
    harness.store.fails = lambda: True
    await harness.advance(30)
    harness.store.fails = lambda: False
    await harness.advance(100)
    assert harness.statuses("c1") == ["accepted", "timed_out"]


async def test_a_disk_that_fails_every_other_time_loses_no_ending(harness: Harness) -> None:
    turn = [0]

    def fails() -> bool:
        turn[0] += 1
        return turn[0] % 2 == 0

    for number, name in enumerate(("breaker", "pulse_on", "recharge", "read", "threshold")):
        payload: dict[str, Any] = {
            "breaker": {"state": "on"},
            "pulse_on": {"delay_s": 5},
            "recharge": {"charge_value": 1},
            "threshold": {"amps": 5},
        }.get(name, {})
        harness.vendor.will(name, Script(slow_before_s=1))
        await harness.command(f"home/D1/cmd/{name}", {"id": f"c{number}", **payload})
    harness.store.fails = fails
    await harness.advance(1000)
    harness.store.fails = lambda: False
    await harness.advance(10)
    assert [harness.final(f"c{number}")["status"] for number in range(5)] == ["succeeded"] * 5
    assert [done.id for done in harness.vendor.effects] == ["c0", "c1", "c2", "c4"]


async def test_a_push_that_is_not_on_disk_raises_so_that_the_vendor_sends_it_again(harness: Harness) -> None:
    harness.store.fails = lambda: True
    with pytest.raises(Exception, match="disk"):
        await harness.take(harness.reading({"voltage": 230}, 1, origin=Origin.PUSH))
    harness.store.fails = lambda: False
    await harness.take(harness.reading({"voltage": 230}, 1, origin=Origin.PUSH))
    assert len(harness.docs("home/D1/telemetry")) == 1


async def test_full_spool_refuses_what_comes_in_and_lets_everything_else_happen(harness: Harness) -> None:
    outbox = await harness.store.run(lambda tx: tx.outbox)
    assert isinstance(outbox, History)
    outbox.full = lambda: True  # type: ignore[method-assign] # as if alarms filled it
    before = len(harness.published("#"))
    with pytest.raises(SpoolFull):
        await harness.take(harness.reading({"voltage": 1}, 1))
    assert len(harness.published("#")) == before
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.advance(5)
    assert harness.final("c1")["status"] == "succeeded"


async def test_clock_that_is_set_back_an_hour_loses_nothing(harness: Harness) -> None:
    await harness.take(harness.reading({"voltage": 1}, 1))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    harness.clock.step_wall(-3600)
    await harness.take(harness.reading({"voltage": 2}, 2))  # the device's clock was right all the time
    await harness.take(harness.reading({"voltage": 3}))
    await harness.take(harness.reading({"voltage": 4}, -1800))
    await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "off"})
    await harness.janitor.round()
    await harness.advance(60)
    live = [doc["metrics"].get("voltage") for doc in harness.docs("home/D1/telemetry")]
    late = [doc["metrics"].get("voltage") for doc in harness.docs("home/D1/history")]
    assert sorted(value for value in live + late if value is not None) == [1, 2, 3, 4]
    times = [doc["ts"] for doc in harness.docs("home/D1/telemetry")]
    assert times == sorted(times)
    assert [harness.final(one)["status"] for one in ("c1", "c2")] == ["succeeded", "succeeded"]
