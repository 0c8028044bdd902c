"""`switch_on` and its like come once per change, whoever sees it first: a poll, a callback, a command."""

from __future__ import annotations

import itertools

import pytest

from bridge.domain.observation import Origin
from tests.fakes.harness import Harness
from tests.fakes.vendor import lost

ANNOUNCED = {"switch_state": {"notify_type": "on-off", "state": "1"}}


def codes(harness: Harness) -> list[str]:
    return [one["code"] for one in harness.docs("home/D1/event")]


async def see(harness: Harness, how: str, state: str) -> None:
    if how == "command":
        await harness.command("home/D1/cmd/breaker", state)
        return
    announced = ANNOUNCED if how == "callback" else {}
    origin = Origin.PUSH if how == "callback" else Origin.POLL
    await harness.take(harness.reading({"switch_state": state}, origin=origin, announced=announced))


async def test_the_first_value_ever_polled_is_no_event(harness: Harness) -> None:
    await see(harness, "poll", "on")
    assert codes(harness) == []


async def test_a_first_callback_is_an_event_with_the_vendors_words(harness: Harness) -> None:
    await see(harness, "callback", "on")
    (event,) = harness.docs("home/D1/event")
    assert event["code"] == "switch_on"
    assert event["data"] == ANNOUNCED["switch_state"]
    assert event["source"] == "push"


@pytest.mark.parametrize("order", list(itertools.permutations(["poll", "callback", "command"])))
async def test_a_change_is_one_event_whoever_comes_first(harness: Harness, order: tuple[str, ...]) -> None:
    await see(harness, "poll", "off")
    for how in order:
        await harness.advance(2)
        await see(harness, how, "on")
    await harness.advance(60)
    await see(harness, "poll", "on")
    assert codes(harness) == ["switch_on"]


@pytest.mark.parametrize("order", list(itertools.permutations(["poll", "callback", "command"])))
async def test_every_change_back_is_its_own_event(harness: Harness, order: tuple[str, ...]) -> None:
    await see(harness, "poll", "off")
    for state in ("on", "off", "on"):
        for how in order:
            await harness.advance(2)
            await see(harness, how, state)
    assert codes(harness) == ["switch_on", "switch_off", "switch_on"]


async def test_two_reports_of_the_vendor_are_two_events(harness: Harness) -> None:
    await see(harness, "callback", "on")
    await harness.advance(60)
    await see(harness, "callback", "on")
    assert codes(harness) == ["switch_on", "switch_on"]


async def test_a_report_long_after_the_change_was_seen_is_another_event(harness: Harness) -> None:
    await see(harness, "poll", "off")
    await harness.advance(5)
    await see(harness, "poll", "on")
    await harness.advance(301)
    await see(harness, "callback", "on")
    assert codes(harness) == ["switch_on", "switch_on"]


async def test_a_change_is_not_told_again_after_a_restart(harness: Harness) -> None:
    await see(harness, "poll", "off")
    await harness.advance(5)
    await see(harness, "poll", "on")
    await harness.restart()
    await see(harness, "callback", "on")
    await see(harness, "poll", "on")
    assert codes(harness) == ["switch_on"]


async def test_a_lost_command_that_a_callback_proves_is_one_event(harness: Harness) -> None:
    await see(harness, "poll", "off")
    harness.vendor.will("breaker", lost(acted=True))
    await harness.advance(1)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await harness.advance(1)
    await see(harness, "callback", "on")
    await harness.advance(300)
    assert codes(harness) == ["switch_on"]
    assert harness.final("c1")["status"] == "succeeded"


async def test_a_word_that_nobody_knows_is_no_event(harness: Harness) -> None:
    await see(harness, "poll", "off")
    await harness.advance(1)
    await see(harness, "poll", "unknown_3")
    assert codes(harness) == []


async def test_a_late_record_of_an_older_state_is_no_event(harness: Harness) -> None:
    await harness.take(harness.reading({"switch_state": "on"}, 20))
    await harness.take(harness.reading({"switch_state": "off"}, 10))
    assert codes(harness) == []
    assert harness.retained()["home/D1/state"]["metrics"] == {"switch_state": "on"}
