"""Answers that are no: not sent, rate limited, off line, refused, credentials, and faults of our own."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from bridge.domain.errors import AuthFailed, LostAnswer, NotSent, RateLimited, Rejection
from bridge.domain.times import rfc3339
from tests.fakes.harness import Harness
from tests.fakes.vendor import (
    Script,
    auth_failed,
    lost,
    never_left,
    not_sent,
    offline,
    rate_limited,
    refused,
    taken,
)


async def switch(harness: Harness, **payload: Any) -> None:
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on", **payload})


@pytest.mark.parametrize("failure", [not_sent, never_left])
async def test_what_did_not_leave_is_tried_three_times(harness: Harness, failure: Any) -> None:
    harness.vendor.will("breaker", failure(), failure(), failure())
    await switch(harness)
    await harness.advance(60)
    final = harness.final("c1")
    assert (final["status"], final["code"]) == ("failed", "vendor_unreachable")
    assert harness.vendor.executed == ["c1"] * 3
    assert harness.vendor.effects == []


@pytest.mark.parametrize("failure", [not_sent, never_left])
async def test_what_did_not_leave_twice_may_succeed_the_third_time(harness: Harness, failure: Any) -> None:
    harness.vendor.will("breaker", failure(), failure())
    await switch(harness)
    await harness.advance(60)
    assert (harness.final("c1")["status"], harness.final("c1")["attempt"]) == ("succeeded", 1)


async def test_what_did_not_leave_can_still_be_lost(harness: Harness) -> None:
    harness.vendor.will("breaker", not_sent(), lost(acted=True))
    await switch(harness)
    await harness.advance(60)
    assert harness.statuses("c1") == ["accepted", "succeeded"]
    assert harness.vendor.times("c1") == 1


async def test_between_two_tries_a_command_can_expire(harness: Harness) -> None:
    harness.vendor.will("breaker", not_sent(), not_sent())
    await switch(harness, expires_at=rfc3339(harness.at(2)))
    await harness.advance(60)
    assert harness.statuses("c1") == ["accepted", "expired"]


async def test_between_two_tries_a_command_can_be_locked(harness: Harness) -> None:
    harness.vendor.will("breaker", not_sent())
    await switch(harness)
    await harness.command("bridge/cmd/lock", {})
    await harness.advance(60)
    assert harness.statuses("c1") == ["accepted", "cancelled"]
    assert harness.vendor.effects == []


@pytest.mark.parametrize(
    "failure", [never_left(), never_left(LostAnswer("a reading before brought no answer"))]
)
async def test_a_command_that_was_cancelled_while_it_waited_stays_cancelled(
    harness: Harness, failure: Script
) -> None:
    failure.slow_before_s = 10.0
    harness.vendor.will("threshold", failure)
    await harness.command("home/D1/cmd/threshold", {"id": "t1", "amps": 5})
    await harness.command("bridge/cmd/lock", {})
    await harness.command("bridge/cmd/unlock", {})
    await harness.advance(100)
    assert harness.statuses("t1") == ["accepted", "cancelled"]
    assert harness.vendor.effects == []


async def test_a_rate_limited_command_waits_as_long_as_the_vendor_says(harness: Harness) -> None:
    harness.vendor.will("breaker", rate_limited(60))
    await switch(harness)
    await harness.advance(59)
    assert harness.vendor.executed == ["c1"]
    await harness.advance(2)
    assert (harness.final("c1")["status"], harness.final("c1")["attempt"]) == ("succeeded", 1)


async def test_a_slot_that_is_not_in_sight_ends_it(harness: Harness) -> None:
    harness.vendor.will("breaker", rate_limited(601))
    await switch(harness)
    final = harness.final("c1")
    assert (final["status"], final["code"], final["vendor_code"]) == ("failed", "rate_limited", 429)


async def test_a_slot_after_its_expiry_ends_it(harness: Harness) -> None:
    harness.vendor.will("breaker", rate_limited(60))
    await switch(harness, expires_at=rfc3339(harness.at(30)))
    assert harness.final("c1")["code"] == "rate_limited"


async def test_a_vendor_that_always_says_too_many_is_not_asked_without_pause_or_end(harness: Harness) -> None:
    harness.vendor.will("breaker", *[rate_limited(0)] * 1000)
    await switch(harness)
    await harness.advance(10)
    assert len(harness.vendor.executed) <= 11
    await harness.advance(3600)
    assert harness.final("c1")["code"] == "rate_limited"


async def test_a_read_without_a_slot_says_so(harness: Harness) -> None:
    harness.vendor.will("read", never_left(RateLimited("used up", retry_after_s=7200)))
    await harness.command("home/D1/cmd/read", {"id": "r1"})
    assert harness.final("r1")["code"] == "rate_limited"


async def test_a_device_that_is_off_line_fails_the_command(harness: Harness) -> None:
    harness.vendor.will("breaker", offline())
    await switch(harness)
    final = harness.final("c1")
    assert (final["status"], final["code"], final["vendor_code"]) == ("failed", "device_offline", 1002)
    assert harness.retained()["home/D1/availability"] == "offline"


async def test_a_no_of_the_device_is_a_no(harness: Harness) -> None:
    harness.vendor.will("breaker", refused())
    await switch(harness)
    final = harness.final("c1")
    assert (final["status"], final["code"], final["vendor_code"]) == ("failed", "device_refused", 2)
    assert final["message"] == "a schedule holds it"


async def test_refused_credentials_park_the_account(harness: Harness) -> None:
    harness.vendor.will("breaker", auth_failed())
    await switch(harness)
    assert harness.final("c1")["code"] == "auth_failed"
    await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "on"})
    assert harness.final("c2")["code"] == "auth_failed"
    assert harness.vendor.executed == ["c1"]
    await harness.advance(900)
    await harness.command("home/D1/cmd/breaker", {"id": "c3", "state": "on"})
    assert harness.final("c3")["status"] == "succeeded"


async def test_a_fault_before_it_left_is_our_own(harness: Harness) -> None:
    harness.vendor.will("breaker", never_left(RuntimeError("a bug")))
    await switch(harness)
    final = harness.final("c1")
    assert (final["status"], final["code"]) == ("failed", "internal")
    assert "a bug" not in final["message"]


async def test_a_fault_after_it_left_leaves_the_outcome_open(harness: Harness) -> None:
    harness.vendor.will("breaker", Script(after=RuntimeError("a bug"), acts=True))
    await switch(harness)
    assert harness.statuses("c1") == ["accepted"]
    await harness.advance(6)
    assert harness.final("c1")["status"] == "succeeded"
    assert harness.vendor.executed == ["c1"]


async def test_a_fault_after_a_pulse_left_is_indeterminate(harness: Harness) -> None:
    harness.vendor.will("pulse_on", Script(after=RuntimeError("a bug"), acts=True))
    await harness.command("home/D1/cmd/pulse_on", {"id": "p1", "delay_s": 5})
    assert harness.final("p1")["status"] == "indeterminate"


async def test_an_adapter_may_reject_what_it_cannot_do_now(harness: Harness) -> None:
    harness.vendor.will("breaker", never_left(Rejection("unsupported", "not with this firmware")))
    await switch(harness)
    assert harness.statuses("c1") == ["accepted", "failed"]
    assert harness.final("c1")["code"] == "unsupported"


async def test_a_command_whose_stored_parameters_are_no_longer_valid_still_ends(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await switch(harness)
    await harness.crash()
    with sqlite3.connect(harness.path) as db:
        db.execute("UPDATE journal SET params = ?", (b'{"state":"sideways"}',))
    await harness.start()
    await harness.advance(1000)
    assert (harness.final("c1")["status"], harness.final("c1")["code"]) == ("indeterminate", "internal")


@pytest.mark.parametrize("error", [NotSent("n"), LostAnswer("l"), AuthFailed("a"), RuntimeError("r")])
async def test_the_next_command_of_the_device_goes_on_after_any_failure(
    harness: Harness, error: Exception
) -> None:
    harness.vendor.will("pulse_on", Script(after=error, acts=False))
    await harness.command("home/D1/cmd/pulse_on", {"id": "c1", "delay_s": 5})
    await harness.command("home/D1/cmd/read", {"id": "c2"})
    await harness.advance(1000)
    assert harness.final("c1")["final"]
    assert harness.final("c2")["final"]
    assert harness.dispatcher.under_way() == 0


async def test_nobody_has_the_gateway_repeat_what_runs_once(harness: Harness) -> None:
    harness.vendor.will("recharge", taken("t-p1"))
    harness.vendor.will("valve", taken(7))
    await harness.command("home/D1/cmd/recharge", {"id": "p1", "charge_value": 5})
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "close"})
    for name in ("p1", "t-p1"):
        (ack,) = await harness.command("home/D1/cmd/again", {"of": name})
        assert (ack["status"], ack["code"]) == ("rejected", "not_allowed")
        assert ack["message"] == "'recharge' (p1) is never executed a second time"
    for other in ("v1", 7, "unheard-of", 99):
        acks = await harness.command("home/D1/cmd/again", {"of": other})
        assert acks[-1]["status"] == "succeeded"


async def test_a_rejection_is_in_the_log_with_who_asked(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bridge.commands")
    harness.admission.requester = "house"
    await harness.command("home/D1/cmd/wipe", {"id": "w1"}, requester="Erika")
    await harness.command("home/D9/cmd/wipe", {})
    lines = [line for line in caplog.records if line.getMessage() == "command.rejected"]
    assert [(line.requester, line.code, line.device) for line in lines] == [  # type: ignore[attr-defined] # extra fields
        ("Erika", "confirm_required", "D1"), ("house", "unknown_device", "D9"),
    ]  # fmt: skip


async def test_a_reading_command_that_the_vendor_refused_had_one_attempt(harness: Harness) -> None:
    harness.vendor.will("read", refused())
    await harness.command("home/D1/cmd/read", {"id": "c1"})
    final = harness.final("c1")
    assert (final["status"], final["code"], final["attempt"]) == ("failed", "device_refused", 1)
