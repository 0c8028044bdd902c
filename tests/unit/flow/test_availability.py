"""Who can be reached: the vendor's words in the order of their times, our own conclusions without events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bridge.domain.observation import Availability, Origin
from tests.fakes.harness import Harness
from tests.fakes.vendor import device, offline


def seen(harness: Harness, online: bool, **fields: Any) -> Availability:
    given: dict[str, Any] = {"origin": Origin.POLL, "said": True, **fields}
    at_s = given.pop("at_s", None)
    at = None if at_s is None else harness.clock.now() + timedelta(seconds=at_s)
    return Availability("D1", online, harness.clock.now(), at=at, **given)


def callback(harness: Harness, online: bool, at_s: float) -> Availability:
    return seen(harness, online, origin=Origin.PUSH, at_s=at_s, announced=True)


def words(harness: Harness) -> list[Any]:
    return harness.docs("home/D1/availability")


def codes(harness: Harness) -> list[str]:
    return [one["code"] for one in harness.docs("home/D1/event")]


async def test_availability_is_a_bare_retained_word(harness: Harness) -> None:
    await harness.take(seen(harness, True))
    (one,) = harness.published("home/D1/availability")
    assert (one.body, one.retain) == (b"online", True)


async def test_nothing_is_published_twice_unchanged(harness: Harness) -> None:
    for online in (True, True, False, False, True):
        await harness.advance(1)
        await harness.take(seen(harness, online))
    assert words(harness) == ["online", "offline", "online"]
    assert codes(harness) == ["offline", "online"]


async def test_what_the_gateway_concludes_is_no_event(harness: Harness) -> None:
    await harness.take(seen(harness, True))
    await harness.take(seen(harness, False, said=False))
    assert words(harness) == ["online", "offline"]
    assert codes(harness) == []


async def test_a_first_offline_is_worth_an_event_and_a_first_online_is_not(harness: Harness) -> None:
    await harness.take(seen(harness, False))
    assert codes(harness) == ["offline"]


async def test_an_offline_older_than_the_online_that_was_applied_is_ignored(harness: Harness) -> None:
    await harness.take(callback(harness, True, -1))
    await harness.take(callback(harness, False, -5))  # vector V6: they come in any order
    assert words(harness) == ["online"]
    assert codes(harness) == ["online"]


async def test_an_offline_and_a_later_online_in_order_are_both_told(harness: Harness) -> None:
    await harness.take(callback(harness, False, -5))
    await harness.take(callback(harness, True, -1))
    assert words(harness) == ["offline", "online"]
    assert codes(harness) == ["offline", "online"]
    assert [one["ts"] for one in harness.docs("home/D1/event")] == [
        "2024-01-01T11:59:55Z",
        "2024-01-01T11:59:59Z",
    ]


async def test_the_order_of_the_vendors_words_holds_after_a_restart(harness: Harness) -> None:
    await harness.take(callback(harness, True, -1))
    await harness.restart()
    await harness.take(callback(harness, False, -5))
    assert words(harness) == ["online"]


async def test_a_message_about_the_change_is_an_event_even_if_it_was_concluded_before(
    harness: Harness,
) -> None:
    await harness.take(seen(harness, True))
    await harness.take(seen(harness, False, said=False))
    await harness.take(callback(harness, False, -1))
    assert words(harness) == ["online", "offline"]
    assert codes(harness) == ["offline"]


async def test_a_command_to_a_device_that_is_off_line_says_so(harness: Harness) -> None:
    await harness.take(seen(harness, True))
    harness.vendor.will("breaker", offline())
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    assert harness.final("c1")["code"] == "device_offline"
    assert harness.retained()["home/D1/availability"] == "offline"
    assert codes(harness) == ["offline"]


async def test_a_device_that_returns_has_its_availability_again(harness: Harness) -> None:
    await harness.take(seen(harness, True))
    await harness.intake.take_inventory("home", [device("D2")])
    assert "home/D1/availability" not in harness.retained()
    await harness.intake.take_inventory("home", [device("D1"), device("D2")])
    await harness.take(seen(harness, True))
    assert harness.retained()["home/D1/availability"] == "online"


async def test_under_another_base_topic_the_availability_is_published_again(harness: Harness) -> None:
    await harness.take(seen(harness, True))
    harness.base = "other"
    await harness.restart()
    await harness.take(seen(harness, True))
    assert harness.retained()["home/D1/availability"] == "online"


async def test_an_offline_is_told_again_where_the_device_was_heard_of_since_the_last_one(
    harness: Harness,
) -> None:
    await harness.take(seen(harness, False))
    await harness.advance(60)
    await harness.take(seen(harness, True, said=False))  # it answered, the vendor was not asked
    await harness.restart()
    await harness.advance(60)
    await harness.take(seen(harness, False))
    assert words(harness) == ["offline", "online", "offline"]
    assert codes(harness) == ["offline", "offline"]


async def test_a_word_of_the_future_does_not_silence_those_that_follow(harness: Harness) -> None:
    await harness.take(callback(harness, False, 86400))
    await harness.take(callback(harness, True, -1))
    assert words(harness) == ["offline", "online"]
    assert codes(harness) == ["offline", "online"]
