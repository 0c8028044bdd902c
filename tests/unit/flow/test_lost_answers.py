"""A command that left and whose answer never came: what the gateway asks, when it sends once more, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.command import Outcome, Status
from bridge.domain.errors import LostAnswer, RateLimited
from bridge.domain.observation import Availability, Event, Origin, Reading, Words
from bridge.domain.times import rfc3339
from tests.fakes.harness import Harness
from tests.fakes.vendor import auth_failed, lost, not_sent, offline, rate_limited, refused, taken


async def switch(harness: Harness, state: str, **payload: Any) -> None:
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": state, **payload})


# asking ---------------------------------------------------------------------------------------------------------------


async def test_an_on_that_was_carried_out_is_found_by_asking(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    await switch(harness, "on")
    assert harness.statuses("c1") == ["accepted"]
    await harness.advance(4.9)
    assert harness.vendor.probed == []
    await harness.advance(0.2)
    assert harness.final("c1")["status"] == "succeeded"
    assert harness.vendor.times("c1") == 1
    assert harness.retained()["home/D1/state"]["metrics"] == {"switch_state": "on"}


async def test_an_on_that_does_not_show_is_asked_for_thrice_and_never_sent_again(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await switch(harness, "on")
    seen = []
    for until_s in (4.9, 5.1, 19.9, 20.1, 59.9, 60.1):
        await harness.advance(until_s - (harness.clock.monotonic() - 1000))
        seen.append(len(harness.vendor.probed))
    assert seen == [0, 1, 1, 2, 2, 3]
    final = harness.final("c1")
    assert (final["status"], final["code"], final["attempt"]) == ("timed_out", "no_answer", 1)
    assert final["vendor_code"] == 504
    await harness.advance(1000)
    assert harness.vendor.executed == ["c1"]


async def test_an_off_that_does_not_show_is_sent_once_more(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await switch(harness, "off")
    await harness.advance(61)
    assert harness.vendor.executed == ["c1"]
    await harness.advance(2)
    assert (harness.final("c1")["status"], harness.final("c1")["attempt"]) == ("succeeded", 2)
    assert harness.vendor.times("c1") == 1


async def test_an_off_is_sent_at_most_once_more(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False), lost(acted=False))
    await switch(harness, "off")
    await harness.advance(130)
    final = harness.final("c1")
    assert (final["status"], final["attempt"]) == ("timed_out", 2)
    assert harness.vendor.executed == ["c1", "c1"]
    assert len(harness.vendor.probed) == 6


@pytest.mark.parametrize("acted", [True, False])
async def test_a_pulse_is_never_asked_for_and_never_sent_again(harness: Harness, acted: bool) -> None:
    harness.vendor.will("pulse_on", lost(acted=acted))
    await harness.command("home/D1/cmd/pulse_on", {"id": "c1", "delay_s": 5})
    final = harness.final("c1")
    assert (final["status"], final["code"]) == ("indeterminate", "no_answer")
    await harness.advance(1000)
    assert harness.vendor.executed == ["c1"]


async def test_money_is_asked_for_and_never_sent_again(harness: Harness) -> None:
    harness.vendor.will("recharge", lost(acted=True), lost(acted=False))
    await harness.command("home/D1/cmd/recharge", {"id": "p1", "charge_value": 5})
    await harness.advance(100)
    await harness.command("home/D1/cmd/recharge", {"id": "p2", "charge_value": 5})
    await harness.advance(100)
    assert harness.final("p1")["status"] == "succeeded"
    assert harness.final("p2")["status"] == "indeterminate"
    assert harness.vendor.executed == ["p1", "p2"]


async def test_a_question_that_fails_is_asked_again(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    harness.vendor.probe_error = LostAnswer("no answer either")
    await switch(harness, "on")
    await harness.advance(6)
    harness.vendor.probe_error = None
    await harness.advance(20)
    assert harness.final("c1")["status"] == "succeeded"


async def test_a_question_on_which_the_adapter_stumbles_decides_nothing(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    harness.vendor.probe_error = RuntimeError("a bug")
    await switch(harness, "on")
    await harness.advance(61)
    assert harness.final("c1")["status"] == "timed_out"
    assert len(harness.vendor.probed) == 3


async def test_a_question_can_end_it_as_failed(harness: Harness) -> None:
    harness.vendor.will("valve", lost(acted=False))
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "close"})
    await harness.advance(6)
    assert (harness.final("v1")["status"], harness.final("v1")["code"]) == ("failed", "no_answer")


async def test_a_question_can_find_that_the_vendor_works_on_it(harness: Harness) -> None:
    harness.vendor.will("valve", lost(acted=False))
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "close"})
    harness.vendor.tasks[None] = None
    probe = harness.vendor.probe

    async def found(_order: Any) -> Outcome | None:
        harness.vendor.probed.append("v1")
        return Outcome(Status.SENT, vendor_ref="t1")

    harness.vendor.probe = found  # type: ignore[method-assign] # the vendor lists the task
    await harness.advance(6)
    harness.vendor.probe = probe  # type: ignore[method-assign] # as before
    assert harness.statuses("v1") == ["accepted", "sent"]
    harness.vendor.tasks["t1"] = Outcome(Status.SUCCEEDED)
    await harness.advance(10)  # the first look is 10 s after `sent`
    assert harness.final("v1")["status"] == "succeeded"


async def test_asking_goes_on_while_the_account_is_locked(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    await switch(harness, "on")
    await harness.command("bridge/cmd/lock", {})
    await harness.advance(6)
    assert harness.final("c1")["status"] == "succeeded"


async def test_a_lost_read_is_read_again(harness: Harness) -> None:
    harness.vendor.will("read", lost(acted=True), lost(acted=True))
    await harness.command("home/D1/cmd/read", {"id": "r1"})
    await harness.advance(60)
    assert harness.final("r1")["status"] == "succeeded"
    assert harness.vendor.executed == ["r1"] * 3


async def test_a_read_that_is_lost_thrice_times_out(harness: Harness) -> None:
    harness.vendor.will("read", *[lost(acted=True)] * 3)
    await harness.command("home/D1/cmd/read", {"id": "r1"})
    await harness.advance(60)
    assert (harness.final("r1")["status"], harness.final("r1")["code"]) == ("timed_out", "no_answer")
    assert harness.vendor.executed == ["r1"] * 3


# sending once more ----------------------------------------------------------------------------------------------------


async def test_what_has_expired_is_not_sent_once_more(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await switch(harness, "off", expires_at=rfc3339(harness.at(30)))
    await harness.advance(100)
    assert harness.final("c1")["status"] == "timed_out"  # not `expired`: it did leave
    assert harness.vendor.executed == ["c1"]


async def test_what_is_locked_is_not_sent_once_more(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await switch(harness, "off")
    await harness.command("bridge/cmd/lock", {})
    await harness.advance(100)
    assert harness.final("c1")["status"] == "timed_out"  # not `cancelled`: it did leave
    assert harness.vendor.executed == ["c1"]


async def test_a_device_that_refuses_the_second_time_has_refused(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False), refused())
    await switch(harness, "off")
    await harness.advance(100)
    assert (harness.final("c1")["status"], harness.final("c1")["code"]) == ("failed", "device_refused")


@pytest.mark.parametrize("second", [offline(), auth_failed(), not_sent(), rate_limited(10000)])
async def test_a_repetition_that_was_not_carried_out_says_nothing_of_the_first(
    harness: Harness, second: Any
) -> None:
    harness.vendor.answers_probes = False
    harness.vendor.will("breaker", lost(acted=True), second)
    await switch(harness, "off")
    await harness.advance(200)
    final = harness.final("c1")
    assert (final["status"], final["code"]) == ("timed_out", "no_answer")
    assert harness.vendor.times("c1") == 1


async def test_a_parked_account_says_nothing_of_what_has_left(harness: Harness) -> None:
    harness.vendor.answers_probes = False
    harness.vendor.will("breaker", lost(acted=True))
    await switch(harness, "off")
    harness.vendor.will("breaker", auth_failed())
    await harness.command("home/D2/cmd/breaker", {"id": "c2", "state": "on"})
    assert harness.final("c2")["code"] == "auth_failed"
    await harness.advance(200)
    assert harness.statuses("c1") == ["accepted"]
    assert harness.vendor.executed == ["c1", "c2"]
    harness.vendor.answers_probes = True
    await harness.advance(1000)
    assert harness.final("c1")["status"] == "succeeded"
    assert harness.vendor.times("c1") == 1


async def test_a_question_that_the_limit_does_not_let_through_is_put_again(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    harness.vendor.probe_error = RateLimited("too many", retry_after_s=300.0)
    await switch(harness, "on")
    await harness.advance(400)
    assert harness.statuses("c1") == ["accepted"]
    harness.vendor.probe_error = None
    await harness.advance(70)
    assert harness.final("c1")["status"] == "succeeded"


async def test_a_limit_that_never_ends_does_not_keep_a_command_open_for_ever(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    harness.vendor.probe_error = RateLimited("too many", retry_after_s=300.0)
    await switch(harness, "on")
    await harness.advance(1300)
    assert harness.final("c1")["status"] == "timed_out"
    assert harness.vendor.times("c1") == 0


@pytest.mark.parametrize("step_s", [86400.0, -86400.0])
async def test_a_clock_that_is_set_does_not_shorten_the_search_for_the_truth(
    harness: Harness, step_s: float
) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    harness.vendor.answers_probes = False
    await switch(harness, "on")
    await harness.advance(1)
    harness.clock.step_wall(step_s)
    await harness.advance(15)
    assert harness.vendor.probed == ["c1"]
    harness.vendor.answers_probes = True
    await harness.advance(46)
    assert harness.final("c1")["status"] == "succeeded"


@pytest.mark.parametrize("step_s", [86400.0, -86400.0])
async def test_a_clock_that_is_set_does_not_change_how_long_a_device_has(
    harness: Harness, step_s: float
) -> None:
    harness.vendor.will("valve", taken("t1"))
    await harness.command("home/D1/cmd/valve", {"id": "c1", "state": "open"})
    harness.clock.step_wall(step_s)
    await harness.advance(590)
    assert harness.statuses("c1") == ["accepted", "sent"]
    await harness.advance(15)
    assert harness.final("c1")["status"] == "timed_out"


# evidence -------------------------------------------------------------------------------------------------------------


async def test_a_callback_proves_a_command_whose_answer_was_lost(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    await switch(harness, "on")
    await harness.advance(1)
    await harness.take(harness.reading({"switch_state": "on"}, origin=Origin.PUSH))
    final = harness.final("c1")
    assert (final["status"], final["message"]) == ("succeeded", "seen at the device")
    await harness.advance(100)
    assert harness.vendor.probed == []


async def test_words_prove_too(harness: Harness) -> None:
    harness.vendor.will("valve", lost(acted=True))
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "close"})
    await harness.advance(1)
    await harness.take(Words("D1", harness.clock.now(), Origin.POLL, {"valve_state": "closed"}))
    assert harness.final("v1")["status"] == "succeeded"


async def test_another_state_proves_nothing(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await switch(harness, "on")
    await harness.advance(1)
    await harness.take(harness.reading({"switch_state": "off"}), harness.reading({"voltage": 230}))
    await harness.take(harness.reading({"switch_state": "on"}, device="D2"))
    assert harness.statuses("c1") == ["accepted"]


async def test_what_was_measured_before_the_command_left_proves_nothing(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await harness.advance(100)
    await switch(harness, "on")
    await harness.advance(1)
    old = Reading("D1", harness.clock.now(), Origin.POLL, {"switch_state": "on"}, observed_at=harness.at(-50))
    await harness.take(old)
    assert harness.statuses("c1") == ["accepted"]
    await harness.advance(60)
    assert harness.final("c1")["status"] == "timed_out"


async def test_a_state_known_before_the_command_left_proves_nothing(harness: Harness) -> None:
    await harness.take(harness.reading({"switch_state": "on"}))
    await harness.advance(10)
    harness.vendor.will("breaker", lost(acted=False))
    await switch(harness, "on")
    assert harness.statuses("c1") == ["accepted"]


async def test_evidence_that_came_before_the_loss_was_noticed_counts(harness: Harness) -> None:
    script = lost(acted=True)
    script.slow_s = 30.0
    harness.vendor.will("breaker", script)
    await switch(harness, "on")
    await harness.advance(10)
    await harness.take(harness.reading({"switch_state": "on"}, origin=Origin.PUSH))
    assert harness.statuses("c1") == ["accepted"]  # its answer may still come
    await harness.advance(20)
    assert harness.final("c1")["status"] == "succeeded"
    assert harness.vendor.probed == []


async def test_an_answer_wins_over_evidence(harness: Harness) -> None:
    script = refused()
    script.slow_s = 30.0
    harness.vendor.will("breaker", script)
    await switch(harness, "on")
    await harness.advance(10)
    await harness.take(harness.reading({"switch_state": "on"}, origin=Origin.PUSH))
    await harness.advance(20)
    assert harness.statuses("c1") == ["accepted", "failed"]


async def test_a_restart_waits_for_the_device_to_report_back(harness: Harness) -> None:
    harness.vendor.will("restart", lost(acted=True))
    await harness.command("home/D1/cmd/restart", {"id": "r1"})
    await harness.advance(100)
    await harness.take(
        Availability(
            "D1", True, harness.clock.now(), Origin.PUSH, said=True, at=harness.at(-1), announced=True
        )
    )
    assert harness.final("r1")["status"] == "succeeded"


@pytest.mark.parametrize("slow_s", [0.0, 30.0])
async def test_a_vendors_whole_second_is_not_before_the_restart_within_it(
    harness: Harness, slow_s: float
) -> None:
    script = lost(acted=True)
    script.slow_s = slow_s
    harness.vendor.will("restart", script)
    await harness.advance(0.4)
    await harness.command("home/D1/cmd/restart", {"id": "r1"})
    await harness.advance(0.3)
    now = harness.clock.now()
    at = now.replace(microsecond=0)
    await harness.take(Availability("D1", True, now, Origin.PUSH, said=True, at=at, announced=True))
    await harness.advance(60)
    assert harness.final("r1")["status"] == "succeeded"


async def test_a_registration_proves_a_restart_even_before_the_loss_is_noticed(harness: Harness) -> None:
    script = lost(acted=True)
    script.slow_s = 60.0
    harness.vendor.will("restart", script)
    await harness.command("home/D1/cmd/restart", {"id": "r1"})
    await harness.advance(20)
    await harness.take(Event("D1", "registered", harness.clock.now(), Origin.PUSH))
    await harness.advance(40)
    assert harness.final("r1")["status"] == "succeeded"


async def test_a_device_that_does_not_report_back_in_time_is_indeterminate(harness: Harness) -> None:
    harness.vendor.will("restart", lost(acted=True))
    await harness.command("home/D1/cmd/restart", {"id": "r1"})
    await harness.advance(1)
    await harness.take(
        Availability("D1", True, harness.clock.now(), Origin.POLL, said=False),  # it only answered something
        Availability("D1", True, harness.clock.now(), Origin.POLL, said=True),
    )
    await harness.advance(118)
    assert harness.statuses("r1") == ["accepted"]
    await harness.advance(2)
    assert harness.final("r1")["status"] == "indeterminate"


@pytest.mark.parametrize("slow_s", [0.0, 30.0])
async def test_a_report_from_before_the_restart_that_comes_late_proves_nothing(
    harness: Harness, slow_s: float
) -> None:
    script = lost(acted=True)
    script.slow_s = slow_s
    harness.vendor.will("restart", script)
    await harness.advance(100)
    await harness.command("home/D1/cmd/restart", {"id": "r1"})
    await harness.advance(1)
    now = harness.clock.now()
    await harness.take(
        Availability("D1", True, now, Origin.PUSH, said=True, at=harness.at(-60), announced=True),
        Event("D1", "registered", now, Origin.PUSH, happened_at=harness.at(-60)),
    )
    await harness.advance(200)
    assert harness.final("r1")["status"] == "indeterminate"


async def test_evidence_settles_only_once(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    await switch(harness, "on")
    await harness.advance(1)
    for _ in range(3):
        await harness.take(harness.reading({"switch_state": "on"}, origin=Origin.PUSH))
    await harness.advance(100)
    assert harness.statuses("c1") == ["accepted", "succeeded"]


async def test_evidence_after_the_end_changes_nothing(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await switch(harness, "on")
    await harness.advance(61)
    await harness.take(harness.reading({"switch_state": "on"}, origin=Origin.PUSH))
    assert harness.statuses("c1") == ["accepted", "timed_out"]
