"""One command at a time per device, in their order; other devices do not wait; one final acknowledgement each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.domain.command import Outcome, Status
from bridge.domain.observation import Confirmation, Event, Origin, Reading
from bridge.domain.times import rfc3339
from bridge.flow.reconciler import HOLDING_S
from tests.fakes.harness import Harness
from tests.fakes.vendor import Script, hangs, lost, taken

SLOW = Script(slow_s=10.0)


async def test_a_command_is_accepted_and_then_ends_once(harness: Harness) -> None:
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    assert harness.statuses("c1") == ["accepted", "succeeded"]
    final = harness.final("c1")
    assert final == {
        "id": "c1",
        "command": "breaker",
        "account": "home",
        "device": "D1",
        "status": "succeeded",
        "final": True,
        "code": None,
        "message": "",
        "vendor_code": 0,
        "vendor_ref": None,
        "result": None,
        "attempt": 1,
        "duplicate": False,
        "ts": "2024-01-01T12:00:00Z",
    }


async def test_the_new_state_of_the_device_follows_the_command(harness: Harness) -> None:
    await harness.command("home/D1/cmd/breaker", "on")
    (record,) = harness.docs("home/D1/telemetry")
    assert (record["source"], record["metrics"]) == ("command", {"switch_state": "on"})
    assert harness.retained()["home/D1/state"]["metrics"] == {"switch_state": "on"}


async def test_a_read_carries_its_record(harness: Harness) -> None:
    harness.vendor.states["D1"] = {"voltage": 231}
    await harness.command("home/D1/cmd/read", {"id": "r1"})
    assert harness.final("r1")["result"] == harness.docs("home/D1/telemetry")[0]
    assert harness.final("r1")["attempt"] == 1


async def test_a_read_carries_its_record_even_if_it_is_not_new(harness: Harness) -> None:
    reading = Reading("D1", harness.clock.now(), Origin.POLL, {"voltage": 231}, observed_at=harness.at(-60))
    await harness.take(reading)
    harness.vendor.will("read", Script(outcome=Outcome(Status.SUCCEEDED, observations=(reading,))))
    await harness.command("home/D1/cmd/read", {"id": "r1"})
    assert harness.final("r1")["result"]["metrics"] == {"voltage": 231}
    assert len(harness.docs("home/D1/telemetry")) == 1


async def test_commands_of_a_device_go_one_by_one_in_their_order(harness: Harness) -> None:
    harness.vendor.will("breaker", SLOW, SLOW, SLOW)
    for number in range(3):
        await harness.command("home/D1/cmd/breaker", {"id": f"c{number}", "state": "on"})
    assert harness.vendor.executed == ["c0"]
    await harness.advance(10)
    assert harness.vendor.executed == ["c0", "c1"]
    await harness.advance(60)
    assert harness.vendor.executed == ["c0", "c1", "c2"]
    assert harness.vendor.most_under_way == {"D1": 1}
    assert [ack["id"] for ack in harness.acks() if ack["final"]] == ["c0", "c1", "c2"]


async def test_a_hundred_commands_at_once_keep_their_order(harness: Harness) -> None:
    messages = [
        harness.message("home/D1/cmd/breaker", {"id": f"c{number}", "state": "on"}) for number in range(100)
    ]
    await asyncio.gather(*(harness.admission.admit(message) for message in messages))
    await harness.clock.settle()
    assert harness.vendor.executed == [f"c{number}" for number in range(100)]
    assert harness.vendor.most_under_way["D1"] == 1


async def test_other_devices_do_not_wait(harness: Harness) -> None:
    harness.vendor.will("breaker", hangs(acted=True))
    await harness.command("home/D1/cmd/breaker", "on")
    await harness.command("home/D2/cmd/breaker", {"id": "c2", "state": "on"})
    await harness.command("home/cmd/register", {"id": "c3", "device_sn": "D5"})
    await harness.command("bridge/cmd/diagnostics", {"id": "c4"})
    assert [harness.final(name)["status"] for name in ("c2", "c3", "c4")] == ["succeeded"] * 3


async def test_a_command_with_unknown_outcome_holds_the_next_one_of_its_device(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.command("home/D1/cmd/pulse_on", {"id": "c2", "delay_s": 5})
    assert harness.vendor.executed == ["c1"]
    await harness.advance(61)
    assert harness.final("c1")["status"] == "timed_out"
    assert harness.final("c2")["status"] == "succeeded"


async def test_a_command_that_expires_while_it_waits_is_not_sent(harness: Harness) -> None:
    harness.vendor.will("breaker", SLOW)
    await harness.command("home/D1/cmd/breaker", "on")
    await harness.command(
        "home/D1/cmd/pulse_on", {"id": "c2", "delay_s": 5, "expires_at": rfc3339(harness.at(9))}
    )
    await harness.advance(10)
    assert harness.statuses("c2") == ["accepted", "expired"]
    assert (harness.final("c2")["code"], harness.final("c2")["attempt"]) == ("expired", 0)
    assert "c2" not in harness.vendor.executed


async def test_a_command_that_expires_while_it_waits_for_its_slot_does_not_leave(harness: Harness) -> None:
    harness.vendor.will("pulse_on", Script(slow_before_s=10))
    await harness.command(
        "home/D1/cmd/pulse_on", {"id": "c2", "delay_s": 5, "expires_at": rfc3339(harness.at(9))}
    )
    await harness.advance(10)
    assert harness.statuses("c2") == ["accepted", "expired"]
    assert harness.vendor.effects == []


@pytest.mark.parametrize("waits_for", ["its slot", "another command"])
async def test_a_clock_that_is_set_back_gives_a_waiting_command_no_second_life(
    harness: Harness, waits_for: str
) -> None:
    harness.vendor.will("pulse_on" if waits_for == "its slot" else "breaker", Script(slow_before_s=10))
    if waits_for == "another command":
        await harness.command("home/D1/cmd/breaker", "on")
    await harness.command("home/D1/cmd/pulse_on", {"id": "c2", "delay_s": 5}, expiry_s=9)
    harness.clock.step_wall(-3600)
    await harness.advance(11)
    assert harness.statuses("c2") == ["accepted", "expired"]
    assert not [effect for effect in harness.vendor.effects if "pulse" in str(effect)]


async def test_a_read_that_waits_for_its_slot_ends_when_it_expires(harness: Harness) -> None:
    harness.vendor.will("read", Script(slow_before_s=1000))
    await harness.command("home/D1/cmd/read", {"id": "r1", "expires_at": rfc3339(harness.at(9))})
    await harness.advance(8.9)
    assert harness.statuses("r1") == ["accepted"]
    await harness.advance(0.2)
    assert harness.statuses("r1") == ["accepted", "expired"]
    assert harness.vendor.under_way["D1"] == 0


async def test_a_read_that_is_in_time_is_not_expired(harness: Harness) -> None:
    harness.vendor.will("read", Script(slow_before_s=5))
    await harness.command("home/D1/cmd/read", {"id": "r1", "expires_at": rfc3339(harness.at(9))})
    await harness.advance(20)
    assert harness.statuses("r1") == ["accepted", "succeeded"]


async def test_a_question_that_has_left_gets_its_answer_though_it_expires(harness: Harness) -> None:
    harness.vendor.will("ask", Script(slow_s=20))
    await harness.command("home/D1/cmd/ask", {"id": "q1", "expires_at": rfc3339(harness.at(9))})
    await harness.advance(30)
    assert harness.statuses("q1") == ["accepted", "succeeded"]


# a vendor that works on it --------------------------------------------------------------------------------------------


async def sent(harness: Harness, command: str = "valve", command_id: str = "v1", **payload: Any) -> None:
    harness.vendor.will(command, taken("t-" + command_id))
    given = {"state": "open"} if command == "valve" else {}
    await harness.command(f"home/D1/cmd/{command}", {"id": command_id, **given, **payload})


async def test_what_the_vendor_took_is_sent_and_then_asked_for(harness: Harness) -> None:
    await sent(harness)
    assert harness.statuses("v1") == ["accepted", "sent"]
    await harness.advance(10)
    assert harness.vendor.probed == ["v1"]
    harness.vendor.tasks["t-v1"] = Outcome(Status.SUCCEEDED, vendor_code=3)
    await harness.advance(20)
    assert harness.statuses("v1") == ["accepted", "sent", "succeeded"]
    assert (harness.final("v1")["vendor_ref"], harness.final("v1")["vendor_code"]) == ("t-v1", 3)


async def test_what_the_vendor_never_ends_times_out(harness: Harness) -> None:
    await sent(harness)
    await harness.advance(599)
    assert harness.statuses("v1") == ["accepted", "sent"]
    await harness.advance(2)
    assert (harness.final("v1")["status"], harness.final("v1")["code"]) == ("timed_out", "no_answer")
    assert len(harness.vendor.probed) == 12  # 10, 30, then every 60 s, and at the end


async def test_the_senders_timeout_counts(harness: Harness) -> None:
    await sent(harness, timeout_s=25)
    await harness.advance(26)
    assert harness.final("v1")["status"] == "timed_out"
    assert len(harness.vendor.probed) == 2  # at 10 s and, a last time, at the end


async def test_a_vendor_that_still_works_is_asked_again_in_its_time_and_not_at_once(harness: Harness) -> None:
    await sent(harness)
    harness.vendor.tasks["t-v1"] = Outcome(Status.SENT, vendor_ref="t-v1", vendor_code=1)
    await harness.advance(100)
    assert len(harness.vendor.probed) == 3  # at 10, 30 and 90 s
    assert harness.statuses("v1") == ["accepted", "sent"]


async def test_a_command_that_the_vendor_works_on_does_not_hold_the_next(harness: Harness) -> None:
    await sent(harness)
    await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "on"})
    assert harness.final("c2")["status"] == "succeeded"


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_exclusive_command_holds_other_exclusive_ones_until_its_end(
    harness: Harness, restarts: bool
) -> None:
    await sent(harness, "calibrate", "x1")
    harness.vendor.will("calibrate", taken("t-x2"))
    for name in ("x2", "x3"):
        await harness.command("home/D1/cmd/calibrate", {"id": name})
    await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "on"})
    await harness.command("home/D1/cmd/read", {"id": "r1"})
    if restarts:
        await harness.restart()
    await harness.advance(100)
    assert harness.vendor.executed == ["x1", "c2", "r1"]
    harness.vendor.tasks["t-x1"] = Outcome(Status.SUCCEEDED)
    await harness.advance(100)
    assert harness.vendor.executed == ["x1", "c2", "r1", "x2"]
    harness.vendor.tasks["t-x2"] = Outcome(Status.FAILED)
    await harness.advance(100)
    assert harness.vendor.executed[-1] == "x3"
    assert [harness.final(name)["status"] for name in ("x1", "x2", "x3", "c2", "r1")] == [
        "succeeded", "failed", "succeeded", "succeeded", "succeeded",
    ]  # fmt: skip


async def test_an_exclusive_command_does_not_hold_other_devices(harness: Harness) -> None:
    await sent(harness, "calibrate", "x1")
    await harness.command("home/D2/cmd/calibrate", {"id": "x2"})
    assert harness.vendor.executed == ["x1", "x2"]


async def test_an_exclusive_command_that_expires_while_it_is_held_is_told_so_in_time(
    harness: Harness,
) -> None:
    await sent(harness, "calibrate", "x1")
    await harness.command("home/D1/cmd/calibrate", {"id": "x2", "expires_at": rfc3339(harness.at(9))})
    await harness.advance(10)
    assert harness.statuses("x2") == ["accepted", "expired"]
    harness.vendor.tasks["t-x1"] = Outcome(Status.SUCCEEDED)
    await harness.advance(100)
    assert harness.vendor.executed == ["x1"]
    assert harness.dispatcher.under_way() == 0


async def test_a_lock_ends_an_exclusive_command_that_is_held(harness: Harness) -> None:
    await sent(harness, "calibrate", "x1")
    await harness.command("home/D1/cmd/calibrate", {"id": "x2"})
    await harness.command("bridge/cmd/lock", {})
    assert harness.statuses("x2") == ["accepted", "cancelled"]
    harness.vendor.tasks["t-x1"] = Outcome(Status.SUCCEEDED)
    await harness.advance(100)
    assert harness.vendor.executed == ["x1"]
    assert harness.dispatcher.under_way() == 0


async def test_what_stays_unknown_for_long_and_is_not_repeated_lets_the_next_one_go_on(
    harness: Harness,
) -> None:
    harness.vendor.will("restart", lost(acted=False))
    await harness.command("home/D1/cmd/restart", {"id": "x1", "timeout_s": 5000})
    await harness.command("home/D1/cmd/read", {"id": "r1"})
    await harness.advance(HOLDING_S - 1)
    assert harness.statuses("r1") == ["accepted"]
    await harness.advance(2)
    assert harness.final("r1")["status"] == "succeeded"
    assert harness.statuses("x1") == ["accepted"]
    await harness.advance(5000)
    assert harness.final("x1")["status"] == "indeterminate"


async def test_after_a_restart_the_vendor_is_asked_before_a_command_times_out(harness: Harness) -> None:
    await sent(harness)
    await harness.crash()
    harness.vendor.tasks["t-v1"] = Outcome(Status.SUCCEEDED)
    await harness.clock.advance(3600)
    await harness.start()
    await harness.advance(1)
    assert harness.final("v1")["status"] == "succeeded"


async def test_evidence_ends_what_the_vendor_works_on(harness: Harness) -> None:
    await sent(harness)
    await harness.advance(1)
    await harness.take(harness.reading({"valve_state": "open"}, origin=Origin.PUSH))
    assert harness.final("v1")["status"] == "succeeded"
    await harness.advance(700)
    assert harness.vendor.probed == []


async def test_a_word_of_the_vendor_makes_the_gateway_ask_at_once(harness: Harness) -> None:
    await sent(harness)
    harness.vendor.tasks["t-v1"] = Outcome(Status.FAILED, "device_refused")
    await harness.advance(1)
    assert harness.vendor.probed == []
    await harness.take(Confirmation("t-v1", None, "D1", 4, harness.clock.now()))
    assert harness.vendor.probed == ["v1"]
    assert harness.final("v1")["code"] == "device_refused"


async def test_a_word_about_a_command_by_its_id_is_enough(harness: Harness) -> None:
    await sent(harness)
    await harness.take(Confirmation("unknown", "v1", "D1", 4, harness.clock.now()))
    await harness.take(Confirmation("unknown", "nobody", "D1", 4, harness.clock.now()))
    assert harness.vendor.probed == ["v1"]


# ends -----------------------------------------------------------------------------------------------------------------


async def test_a_removed_account_ends_what_waits_and_what_is_unknown(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    harness.vendor.answers_probes = False
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.command("home/D1/cmd/pulse_on", {"id": "c2", "delay_s": 5})
    await sent_on_d2(harness)
    harness.leave_account()
    await harness.advance(700)
    assert harness.final("c1")["status"] == "indeterminate"
    assert harness.final("c2")["status"] == "cancelled"
    assert harness.final("v2")["status"] == "indeterminate"
    assert harness.vendor.executed == ["c1", "v2"]


async def sent_on_d2(harness: Harness) -> None:
    harness.vendor.will("valve", taken("t-v2"))
    await harness.command("home/D2/cmd/valve", {"id": "v2", "state": "open"})


async def test_an_account_that_is_only_reloaded_keeps_its_commands(harness: Harness) -> None:
    harness.vendor.will("breaker", SLOW)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.command("home/D1/cmd/pulse_on", {"id": "c2", "delay_s": 5})
    await harness.advance(9.5)
    harness.leave_account()
    await harness.advance(1)
    await harness.enter_account()
    await harness.advance(30)
    assert [harness.final(name)["status"] for name in ("c1", "c2")] == ["succeeded", "succeeded"]


async def test_an_account_under_other_rules_knows_its_devices_at_once(harness: Harness) -> None:
    harness.roster.enter(harness.policy, harness.vendor, harness.vendor.devices[0].kind)
    assert (await harness.command("home/D1/cmd/breaker", "on"))[-1]["status"] == "succeeded"


async def test_a_device_that_is_gone_ends_what_waits_for_it(harness: Harness) -> None:
    harness.vendor.will("breaker", SLOW)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.command("home/D1/cmd/pulse_on", {"id": "c2", "delay_s": 5})
    await harness.intake.take_inventory("home", harness.vendor.devices[1:])
    await harness.advance(30)
    assert harness.final("c2")["status"] == "cancelled"
    assert harness.vendor.times("c2") == 0


async def test_closing_lets_what_is_being_sent_come_to_its_answer(harness: Harness) -> None:
    harness.vendor.will("breaker", Script(slow_s=0.01))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "on"})
    closing = asyncio.ensure_future(harness.dispatcher.aclose(5.0))
    await harness.advance(1)
    await closing
    assert harness.statuses("c1") == ["accepted", "succeeded"]
    assert harness.statuses("c2") == ["accepted"]
    await harness.restart()
    assert harness.final("c2")["status"] == "succeeded"


async def test_an_event_of_another_device_proves_nothing(harness: Harness) -> None:
    harness.vendor.will("restart", lost(acted=True))
    await harness.command("home/D1/cmd/restart", {"id": "r1"})
    await harness.advance(1)
    await harness.take(Event("D2", "registered", harness.clock.now(), Origin.PUSH))
    await harness.advance(130)
    assert harness.final("r1")["status"] == "indeterminate"
