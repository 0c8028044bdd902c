"""`history` of a device and `backfill` of the gateway: one final acknowledgement, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.errors import LostAnswer, Refused
from bridge.domain.times import rfc3339
from tests.fakes.harness import START, Harness
from tests.fakes.history import FakePast

HOUR = timedelta(hours=1)
SPAN = {"start": rfc3339(START - HOUR), "end": rfc3339(START)}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness(tmp_path)
    harness.vendor.history = FakePast(harness.clock)
    async with harness:
        yield harness


def past(gateway: Harness) -> FakePast:
    assert isinstance(gateway.vendor.history, FakePast)
    return gateway.vendor.history


def told(gateway: Harness, device: str = "D1") -> list[str]:
    return [doc["ts"] for doc in gateway.docs(f"home/{device}/history")]


async def test_a_history_is_sent_when_its_wish_is_kept_and_final_when_it_is_read(gateway: Harness) -> None:
    await gateway.command("home/D1/cmd/history", {"id": "h1", **SPAN})
    assert gateway.statuses("h1") == ["accepted"]
    await gateway.advance(30)
    assert gateway.statuses("h1") == ["accepted", "succeeded"]
    assert gateway.final("h1")["result"] == {"records": 60}
    assert len(told(gateway)) == 60
    assert gateway.docs("#")[-1]["id"] == "h1", "the final word comes behind the records"


async def test_other_commands_of_the_device_do_not_wait_for_a_history(gateway: Harness) -> None:
    await gateway.command("home/D1/cmd/history", {"id": "h1", **SPAN})
    await gateway.command("home/D1/cmd/breaker", {"id": "b1", "state": "on"})
    assert gateway.final("b1")["status"] == "succeeded"
    assert gateway.statuses("h1") == ["accepted"]


@pytest.mark.parametrize("after_s", [0.0, 2.5, 5.9])
@pytest.mark.parametrize("topic", ["home/D1/cmd/history", "bridge/cmd/backfill"])
async def test_a_restart_changes_nothing(gateway: Harness, topic: str, after_s: float) -> None:
    await gateway.command(topic, {"id": "h1", **SPAN})
    for _ in range(3):
        await gateway.advance(after_s)
        await gateway.restart()
    await gateway.advance(60)
    devices = ["D1", "D2"] if "bridge" in topic else ["D1"]
    assert gateway.statuses("h1") == ["accepted", "succeeded"]
    assert gateway.final("h1")["result"] == {"records": 60 * len(devices)}
    for device in devices:
        assert told(gateway, device) == sorted(set(told(gateway, device)))
        assert len(told(gateway, device)) == 60


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("step", range(1, 12))
async def test_a_crash_at_any_transaction_leaves_one_final_word(
    tmp_path: Path, step: int, after_commit: bool
) -> None:
    harness = Harness(tmp_path, devices=("D1",))
    harness.vendor.history = FakePast(harness.clock)
    async with harness:
        message = harness.message("home/D1/cmd/history", {"id": "h1", **SPAN})
        harness.store.dies_at = harness.store.count + step
        harness.store.dies_after_commit = after_commit
        task = asyncio.ensure_future(harness.admission.admit(message))
        await harness.advance(8)
        await harness.restart()
        if not harness.acks("h1"):
            await harness.admit(message)  # the broker has no PUBACK and delivers again
        await harness.advance(60)
        task.cancel()
        assert harness.final("h1")["status"] == "succeeded"
        assert harness.final("h1")["result"] == {"records": 60}
        assert len(told(harness)) == 60


async def test_a_history_that_the_vendor_refuses_fails_with_its_reason(gateway: Harness) -> None:
    past(gateway).trouble("D1", Refused("no such meter", code="unknown_device"))
    await gateway.command("home/D1/cmd/history", {"id": "h1", **SPAN})
    await gateway.advance(5)
    ack = gateway.final("h1")
    assert (ack["status"], ack["code"], ack["message"]) == ("failed", "unknown_device", "no such meter")
    assert ack["result"] == {"records": 0}


async def test_a_history_is_given_up_after_three_lost_answers(gateway: Harness) -> None:
    past(gateway).trouble("D1", *(LostAnswer("no answer") for _ in range(5)))
    await gateway.command("home/D1/cmd/history", {"id": "h1", **SPAN})
    await gateway.advance(300)
    assert gateway.final("h1")["code"] == "no_answer"
    assert len(past(gateway).begun) == 3


async def test_a_history_ends_when_it_expires(gateway: Harness) -> None:
    past(gateway).call_s = 600.0
    order = {"id": "h1", **SPAN, "expires_at": rfc3339(START + timedelta(seconds=90))}
    await gateway.command("home/D1/cmd/history", order)
    await gateway.advance(200)
    assert gateway.final("h1")["status"] == "expired"
    assert past(gateway).calls == []


async def test_a_history_that_has_no_time_left_ends_and_calls_no_more(gateway: Harness) -> None:
    past(gateway).call_s = 20.0
    await gateway.command("home/D1/cmd/history", {"id": "h1", **SPAN, "timeout_s": 50})
    await gateway.advance(120)
    assert gateway.final("h1")["status"] == "timed_out"
    made = len(past(gateway).calls)
    await gateway.advance(600)
    assert len(past(gateway).calls) == made < 6


async def test_a_backfill_reads_all_devices_or_those_named(gateway: Harness) -> None:
    await gateway.command("bridge/cmd/backfill", {"id": "b1", **SPAN})
    await gateway.advance(30)
    assert gateway.final("b1")["result"] == {"records": 120}
    longer = {"start": rfc3339(START - 2 * HOUR), "end": rfc3339(START)}
    await gateway.command("bridge/cmd/backfill", {"id": "b2", **longer, "devices": ["home/D1"]})
    await gateway.advance(30)
    ack = gateway.final("b2")
    assert ack["result"] == {"records": 60}
    assert "60 more had been published before" in ack["message"]
    assert (len(told(gateway, "D1")), len(told(gateway, "D2"))) == (120, 60)


async def test_a_backfill_tells_which_device_failed_and_reads_the_others(gateway: Harness) -> None:
    past(gateway).trouble("D1", Refused("no such meter", code="unknown_device"))
    await gateway.command("bridge/cmd/backfill", {"id": "b1", **SPAN, "account": "home"})
    await gateway.advance(30)
    ack = gateway.final("b1")
    assert (ack["status"], ack["code"], ack["result"]) == ("failed", "unknown_device", {"records": 60})
    assert ack["message"] == "1 of 2 devices: home/D1: no such meter"
    await gateway.command("bridge/cmd/backfill", {"id": "b2", **SPAN, "account": "home"})
    await gateway.advance(30)
    assert gateway.final("b2")["result"] == {"records": 120}, "the same wish, fulfilled as a whole"
    assert len(past(gateway).calls) == 12


async def test_a_backfill_reaches_back_as_far_as_the_vendor_does(gateway: Harness) -> None:
    past(gateway).back = HOUR
    await gateway.command("bridge/cmd/backfill", {"id": "b1", **SPAN, "start": "2020-01-01T00:00:00Z"})
    await gateway.advance(60)
    assert gateway.final("b1")["result"]["records"] == 120


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"start": SPAN["end"], "end": SPAN["start"]}, "invalid_params", "after start"),
        ({"start": "2999-01-01T00:00:00Z", "end": "2999-01-02T00:00:00Z"}, "invalid_params", "not come yet"),
        ({"start": "yesterday", "end": SPAN["end"]}, "invalid_params", "RFC 3339"),
        ({"start": SPAN["start"]}, "invalid_params", "end"),
        ({**SPAN, "account": "nowhere"}, "invalid_params", "no 'nowhere'"),
        ({**SPAN, "devices": ["D9"]}, "unknown_device", "no 'D9'"),
        ({**SPAN, "devices": []}, "invalid_params", "devices"),
        ({**SPAN, "devices": ["D2"]}, "unsupported", "keeps no past"),
        ({**SPAN, "days": 3}, "invalid_params", "days"),
    ],
)
async def test_a_backfill_that_cannot_be_is_rejected(
    gateway: Harness, params: dict[str, Any], code: str, words: str
) -> None:
    past(gateway).without = {"D2"}
    (ack,) = await gateway.command("bridge/cmd/backfill", {"id": "b1", **params})
    assert (ack["status"], ack["code"]) == ("rejected", code)
    assert words in ack["message"]
    assert past(gateway).begun == []
