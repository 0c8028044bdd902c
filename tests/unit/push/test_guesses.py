"""Guessing a secret is slowed by address, and the platform that knows it is never locked out."""

from __future__ import annotations

import pytest

from bridge.push import guesses
from bridge.push.guesses import Guesses
from tests.fakes.clock import FakeClock

STRANGER = "203.0.113.9"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def tried(clock: FakeClock, count: int, address: str = STRANGER, most: int = 3) -> Guesses:
    made = Guesses(most, clock)
    for _ in range(count):
        made.wrong(address)
    return made


async def test_after_so_many_wrong_ones_an_address_waits_for_the_minute_to_end(clock: FakeClock) -> None:
    slowed = tried(clock, 2)
    await clock.advance(20)
    assert slowed.wait_s(STRANGER) == 0
    slowed.wrong(STRANGER)
    assert slowed.wait_s(STRANGER) == 40
    await clock.advance(40)
    assert slowed.wait_s(STRANGER) == 0
    slowed.wrong(STRANGER)
    assert slowed.wait_s(STRANGER) == 0, "a new minute has begun"


async def test_other_addresses_are_not_slowed(clock: FakeClock) -> None:
    slowed = tried(clock, 3)
    assert slowed.wait_s("203.0.113.10") == 0
    assert slowed.wait_s("") == 0


async def test_zero_is_no_limit(clock: FakeClock) -> None:
    assert tried(clock, 10_000, most=0).wait_s(STRANGER) == 0


async def test_an_address_that_knew_the_secret_lately_is_not_slowed(clock: FakeClock) -> None:
    slowed = tried(clock, 3)
    slowed.right(STRANGER)
    slowed.wrong(STRANGER)
    assert slowed.wait_s(STRANGER) == 0
    await clock.advance(guesses.TRUST_S)
    for _ in range(3):
        slowed.wrong(STRANGER)
    assert slowed.wait_s(STRANGER) == guesses.WINDOW_S


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("no:address", "no:other", False),
    ],
)
async def test_neighbours_in_one_ipv6_network_are_one_address(
    clock: FakeClock, one: str, other: str, *, same: bool
) -> None:
    assert (tried(clock, 3, one).wait_s(other) > 0) is same


async def test_only_so_many_addresses_are_remembered(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guesses, "MOST_ADDRESSES", 5)
    slowed = tried(clock, 3, "10.0.0.0")
    for number in range(1, 5):
        slowed.wrong(f"10.0.0.{number}")
    assert slowed.wait_s("10.0.0.0") > 0
    slowed.wrong("10.0.0.5")
    assert slowed.wait_s("10.0.0.0") == 0, "the one heard of longest ago is forgotten"
    assert len(slowed._tries) == 5
