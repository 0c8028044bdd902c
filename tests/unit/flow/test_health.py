"""How each account fares, when it is left in peace, and what its status topic is told."""

from __future__ import annotations

import asyncio
import random

import pytest

from bridge.domain.errors import (
    AuthFailed,
    BadReply,
    DeviceOffline,
    DeviceSilent,
    EndpointBarred,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    VendorError,
)
from bridge.flow.health import (
    FAILURES_UNTIL_UNREACHABLE,
    PARK_FIRST_S,
    PARK_MAX_S,
    PART_FIRST_S,
    PAUSE_MAX_S,
    AccountHealth,
    AccountState,
)
from tests.fakes.clock import FakeClock

REFUSED_LOGIN = AuthFailed("wrong password")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def health(clock: FakeClock) -> AccountHealth:
    made = AccountHealth(clock, random.Random(1))
    made.enter("home")
    return made


def state(health: AccountHealth, account: str = "home") -> AccountState:
    found = health.state(account)
    assert found is not None
    return found


def test_new_account_is_degraded_until_its_vendor_answered(health: AccountHealth, clock: FakeClock):
    assert (state(health).word, state(health).since, state(health).last_success) == (
        "degraded",
        clock.now(),
        None,
    )
    assert state(health).message
    assert health.pause_s("home") == 0
    assert health.parked("home") is None


async def test_answer_makes_it_online_and_is_remembered(health: AccountHealth, clock: FakeClock):
    await clock.advance(5)
    health.succeeded("home")
    began = clock.now()
    assert (state(health).word, state(health).message, state(health).since) == ("online", "", began)
    await clock.advance(60)
    health.succeeded("home")
    assert (state(health).since, state(health).last_success) == (began, clock.now())


async def test_what_was_known_of_an_account_before_it_began_again_stays_known(
    health: AccountHealth, clock: FakeClock
):
    health.succeeded("home")
    answered = clock.now()
    await clock.advance(60)
    health.enter("home")
    assert (state(health).word, state(health).last_success, state(health).heard) == (
        "degraded",
        answered,
        False,
    )
    health.reached("home")
    assert (state(health).word, state(health).last_success) == ("online", clock.now())
    health.recalled["roof"] = answered
    health.enter("roof")
    assert state(health, "roof").last_success == answered


@pytest.mark.parametrize(
    ("error", "word", "pauses"),
    [
        (NotSent("no route"), "unreachable", True),
        (LostAnswer("timed out"), "degraded", True),
        (BadReply("no JSON"), "degraded", True),
        (RateLimited("too many", retry_after_s=2), "rate_limited", False),
        (AuthFailed("wrong password"), "auth_failed", True),
        (VendorError("odd"), "degraded", False),
        (DeviceOffline("not there"), "online", False),
        (DeviceSilent("no answer"), "online", False),
        (Refused("no"), "online", False),
    ],
)
def test_each_error_means_something_for_the_account(health: AccountHealth, error, word, pauses):
    health.succeeded("home")
    health.failed("home", error)
    assert state(health).word == word
    assert state(health).message == ("" if word == "online" else error.message)
    assert (health.pause_s("home") > 0) is pauses


@pytest.mark.parametrize("error", [DeviceOffline("not there"), DeviceSilent("no answer"), Refused("no")])
def test_fault_of_a_device_is_a_word_of_a_cloud_that_is_well(health: AccountHealth, clock: FakeClock, error):
    health.failed("home", NotSent("no route"))
    health.failed("home", error)
    assert (state(health).word, state(health).last_success) == ("online", clock.now())
    assert health.pause_s("home") == 0


def test_a_no_to_what_concerns_the_whole_account_is_a_call_that_fails(health: AccountHealth):
    health.declined("home", Refused("code 1001"))
    assert (state(health).word, state(health).message, state(health).last_success) == (
        "degraded",
        "code 1001",
        None,
    )
    assert health.pause_s("home") == 0
    health.succeeded("home")
    assert state(health).word == "online"
    health.declined("gone", Refused("code 1001"))
    assert health.state("gone") is None


def test_an_end_point_without_a_right_is_told_and_changes_nothing_else(health: AccountHealth):
    told = []
    health.on_barred = lambda account, error: told.append((account, error.operation))
    health.succeeded("home")
    health.declined("home", EndpointBarred("no right", operation="cameraRead"))
    assert told == [("home", "cameraRead")]
    assert state(health).word == "online"


def test_lost_answers_in_a_row_make_it_unreachable_and_an_answer_starts_anew(health: AccountHealth):
    words = []
    for _ in range(FAILURES_UNTIL_UNREACHABLE + 1):
        health.failed("home", LostAnswer("timed out"))
        words.append(state(health).word)
    assert words == ["degraded", "degraded", "unreachable", "unreachable"]
    health.succeeded("home")
    health.failed("home", LostAnswer("timed out"))
    assert state(health).word == "degraded"


async def test_pauses_double_up_to_a_minute_and_are_scattered(health: AccountHealth, clock: FakeClock):
    pauses = []
    for _ in range(12):
        health.failed("home", NotSent("no route"))
        pauses.append(health.pause_s("home"))
        await clock.advance(pauses[-1])
    for number, pause in enumerate(pauses):
        longest = min(PAUSE_MAX_S, 2.0**number)
        assert longest / 2 <= pause <= longest
    assert len(set(pauses[7:])) > 1
    assert health.pause_s("home") == pytest.approx(0, abs=1e-6)
    health.succeeded("home")
    health.failed("home", NotSent("no route"))
    assert health.pause_s("home") <= 1


def test_success_ends_a_pause(health: AccountHealth):
    for _ in range(5):
        health.failed("home", NotSent("no route"))
    health.succeeded("home")
    assert health.pause_s("home") == 0


async def test_refused_credentials_park_the_account_twice_as_long_each_time(
    health: AccountHealth, clock: FakeClock
):
    parked_s = PARK_FIRST_S
    for _ in range(8):
        health.failed("home", REFUSED_LOGIN)
        assert health.parked("home") is REFUSED_LOGIN
        assert health.pause_s("home") == pytest.approx(parked_s)
        await clock.advance(parked_s - 1)
        assert health.parked("home") is REFUSED_LOGIN
        await clock.advance(2)
        assert health.parked("home") is None
        assert health.pause_s("home") == 0
        assert state(health).word == "auth_failed"
        parked_s = min(PARK_MAX_S, parked_s * 2)
    assert parked_s == PARK_MAX_S


def test_many_calls_that_fail_together_are_one_pause(health: AccountHealth):
    for _ in range(30):
        health.failed("home", LostAnswer("HTTP status 502"))
    assert 0 < health.pause_s("home") <= 1
    assert state(health).word == "unreachable"


async def test_failures_of_calls_under_way_do_not_prolong_the_parking(
    health: AccountHealth, clock: FakeClock
):
    health.failed("home", REFUSED_LOGIN)
    await clock.advance(10)
    for _ in range(20):
        health.failed("home", AuthFailed("again"))
    assert health.parked("home") is REFUSED_LOGIN
    assert health.pause_s("home") == pytest.approx(PARK_FIRST_S - 10)


def test_success_ends_the_parking_and_its_growth(health: AccountHealth):
    health.failed("home", REFUSED_LOGIN)
    health.succeeded("home")
    assert (health.parked("home"), health.pause_s("home"), state(health).word) == (None, 0, "online")
    health.failed("home", REFUSED_LOGIN)
    assert health.pause_s("home") == pytest.approx(PARK_FIRST_S)


async def test_operator_is_told_of_refused_credentials_once(health: AccountHealth, clock: FakeClock, caplog):
    told: list[tuple[str, str]] = []
    health.on_auth_failed = lambda account, message: told.append((account, message))
    for _ in range(5):
        health.failed("home", REFUSED_LOGIN)
        await clock.advance(PARK_MAX_S)
    assert told == [("home", "wrong password")]
    assert [
        record.levelname for record in caplog.records if record.getMessage() == "account.auth_failed"
    ] == ["ERROR"]
    health.succeeded("home")
    health.failed("home", REFUSED_LOGIN)
    assert len(told) == 2


def test_account_that_begins_again_is_tried_at_once(health: AccountHealth):
    health.failed("home", REFUSED_LOGIN)
    health.enter("home")
    assert (health.parked("home"), health.pause_s("home"), state(health).word) == (None, 0, "degraded")


async def test_a_part_with_credentials_of_its_own_is_parked_alone(health: AccountHealth, clock: FakeClock):
    told: list[tuple[str, str]] = []
    health.on_auth_failed = lambda account, message: told.append((account, message))
    health.succeeded("home")
    health.failed("home", REFUSED_LOGIN, "control")
    assert health.parked("home", "control") is REFUSED_LOGIN
    assert (health.parked("home"), health.pause_s("home")) == (None, 0)
    for _ in range(2):
        assert (state(health).word, state(health).message) == ("degraded", "control: wrong password")
        health.succeeded("home")  # what polling says of itself
    await clock.advance(PART_FIRST_S + 1)
    assert health.parked("home", "control") is None
    health.failed("home", REFUSED_LOGIN, "control")
    await clock.advance(PART_FIRST_S + 1)
    assert health.parked("home", "control") is REFUSED_LOGIN
    assert told == [("home", "control: wrong password")]
    health.succeeded("home", "control")
    assert (health.parked("home", "control"), state(health).word) == (None, "online")


@pytest.mark.parametrize("error", [NotSent("no route"), LostAnswer("timed out"), VendorError("odd")])
def test_the_trouble_of_a_part_does_not_stop_polling(health: AccountHealth, error):
    health.succeeded("home")
    health.failed("home", error, "control")
    assert (state(health).word, health.pause_s("home"), health.parked("home", "control")) == (
        "online",
        0,
        None,
    )


def test_the_success_of_a_part_says_nothing_about_the_rest(health: AccountHealth):
    health.failed("home", REFUSED_LOGIN)
    health.succeeded("home", "control")
    health.failed("home", Refused("no"), "control")
    assert (state(health).word, health.parked("home")) == ("auth_failed", REFUSED_LOGIN)


async def test_other_accounts_are_not_touched(health: AccountHealth):
    health.enter("other")
    health.failed("home", REFUSED_LOGIN)
    assert (health.parked("other"), health.pause_s("other"), state(health, "other").word) == (
        None,
        0,
        "degraded",
    )
    assert set(health.states()) == {"home", "other"}


@pytest.mark.parametrize("account", ["unknown", "left"])
def test_account_that_is_not_there_is_no_error(health: AccountHealth, account: str):
    health.enter("left")
    health.leave("left")
    health.succeeded(account)
    health.failed(account, REFUSED_LOGIN)
    health.leave(account)
    assert health.state(account) is None
    assert (health.parked(account), health.pause_s(account)) == (None, 0.0)


async def changed(health: AccountHealth) -> list[str]:
    """The accounts whose status is due now."""
    waiting = asyncio.get_running_loop().create_task(health.changed())
    for _ in range(5):
        await asyncio.sleep(0)
    if waiting.done():
        return waiting.result()
    waiting.cancel()
    return []


async def test_status_is_due_when_word_or_message_changed_and_only_then(
    health: AccountHealth, clock: FakeClock
):
    assert await changed(health) == ["home"]
    assert await changed(health) == []
    health.succeeded("home")
    assert await changed(health) == ["home"]
    health.succeeded("home")
    assert await changed(health) == []
    health.failed("home", RateLimited("one", retry_after_s=1))
    health.failed("home", RateLimited("two", retry_after_s=1))
    assert await changed(health) == ["home"]
    health.failed("home", RateLimited("two", retry_after_s=1))
    assert await changed(health) == []
    began = state(health).since
    await clock.advance(5)
    health.failed("home", RateLimited("three", retry_after_s=1))
    assert await changed(health) == ["home"]
    assert state(health).since == began


async def test_status_of_several_accounts_is_due_together_and_of_those_gone_never(health: AccountHealth):
    for name in ("a", "b", "gone"):
        health.enter(name)
    health.leave("gone")
    assert sorted(await changed(health)) == ["a", "b", "home"]


def test_a_used_up_limit_says_when_it_ends_and_says_the_same_end_each_time(
    health: AccountHealth, clock: FakeClock
):
    health.failed("home", RateLimited("too many", retry_after_s=3600))
    first = state(health).message
    assert first == "too many; again from 2024-01-01T01:00:01Z"
    clock.step_wall(60)
    health.failed("home", RateLimited("too many", retry_after_s=3541))
    assert state(health).message == first
    health.failed("home", RateLimited("too many", retry_after_s=7200))
    assert state(health).message == "too many; again from 2024-01-01T02:01:01Z"


def test_who_waits_for_the_end_of_a_used_up_limit_does_not_tell_it_anew(
    health: AccountHealth, clock: FakeClock
):
    health.failed("home", RateLimited("the hour is used up", retry_after_s=3600))
    first = state(health).message
    clock.step_wall(60)
    health.failed("home", RateLimited("no room before 3541 s have passed", retry_after_s=3541))
    assert state(health).message == first
    health.succeeded("home")
    health.failed("home", RateLimited("another reason", retry_after_s=3541))
    assert state(health).message.startswith("another reason; ")


def test_a_list_of_devices_ends_unreachable_but_no_other_trouble(health: AccountHealth):
    health.failed("home", NotSent("no route"))
    health.reached("home")
    assert state(health).word == "online"
    health.failed("home", RateLimited("too many", retry_after_s=60))
    health.reached("home")
    assert state(health).word == "rate_limited"
    health.reached("nobody")
