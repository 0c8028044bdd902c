"""Who may see the page, and who may command from it."""

from __future__ import annotations

import pytest

from bridge.web.access import (
    MAX_SESSIONS,
    SESSION_S,
    TOKEN_HEADER,
    WRONG_PER_MINUTE,
    Access,
    Denied,
    host_name,
)
from tests.fakes.clock import FakeClock

PASSWORD = "a-password-of-the-test"
GOOD = {"content-type": "application/json", "host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def access(clock: FakeClock, mode: str = "control", password: str | None = PASSWORD, *hosts: str) -> Access:
    return Access(mode, password, hosts, clock)


def denied(status: int) -> pytest.RaisesExc[Denied]:
    return pytest.RaisesExc(Denied, check=lambda error: error.status == status)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8080",
        "192.0.2.7",
        "[::1]:8080",
        "localhost:8080",
        "gateway",
        "gateway:8080",
        "page.example.org",
    ],
)
def test_page_without_password_answers_under_names_that_nobody_else_can_own(
    host: str, clock: FakeClock
) -> None:
    access(clock, "read", None, "Page.example.org").check_host(host)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""])
def test_page_without_password_does_not_answer_under_a_name_of_the_world(host: str, clock: FakeClock) -> None:
    with denied(421):
        access(clock, "read", None, "page.example.org").check_host(host)
    access(clock, "read").check_host(host)


def test_host_name_is_what_stands_before_the_port() -> None:
    assert [host_name(one) for one in ("A.b:1", "[::1]:2", "::", "x.")] == ["a.b", "::1", "", "x"]


def test_without_password_everybody_reads_and_nobody_commands(clock: FakeClock) -> None:
    for mode in ("read", "control"):
        rules = access(clock, mode, None)
        rules.check_reader(None)
        with denied(403):
            rules.check_change(None, GOOD)


def test_with_password_reading_needs_a_session_until_it_ends(clock: FakeClock) -> None:
    rules = access(clock, "read")
    with denied(401):
        rules.check_reader(None)
    cookie = rules.log_in(PASSWORD, "peer")
    rules.check_reader(cookie)
    with denied(403):
        rules.check_change(cookie, {**GOOD, TOKEN_HEADER: rules.session(cookie).token})  # type: ignore[union-attr]
    rules.log_out(cookie)
    with denied(401):
        rules.check_reader(cookie)


async def test_session_ends_by_itself(clock: FakeClock) -> None:
    rules = access(clock)
    cookie = rules.log_in(PASSWORD, "peer")
    await clock.advance(SESSION_S - 1)
    rules.check_reader(cookie)
    await clock.advance(2)
    with denied(401):
        rules.check_reader(cookie)


def test_change_needs_the_sessions_own_token(clock: FakeClock) -> None:
    rules = access(clock)
    mine, other = rules.log_in(PASSWORD, "peer"), rules.log_in(PASSWORD, "peer")
    token = rules.session(mine).token  # type: ignore[union-attr]
    rules.check_change(mine, {**GOOD, TOKEN_HEADER: token})
    with denied(401):
        rules.check_change(None, {**GOOD, TOKEN_HEADER: token})
    for wrong in ("", "guess", rules.session(other).token):  # type: ignore[union-attr]
        with denied(403):
            rules.check_change(mine, {**GOOD, TOKEN_HEADER: wrong})


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_change_that_another_site_sends_is_refused(
    changed: dict[str, str], status: int, clock: FakeClock
) -> None:
    rules = access(clock)
    cookie = rules.log_in(PASSWORD, "peer")
    with denied(status):
        rules.check_change(cookie, {**GOOD, TOKEN_HEADER: rules.session(cookie).token, **changed})  # type: ignore[union-attr]


def test_browsers_own_word_holds_behind_a_proxy_that_changes_host(clock: FakeClock) -> None:
    rules = access(clock)
    cookie = rules.log_in(PASSWORD, "peer")
    proxied = {"origin": "https://page.example.org", "sec-fetch-site": "same-origin"}
    rules.check_change(cookie, {**GOOD, TOKEN_HEADER: rules.session(cookie).token, **proxied})  # type: ignore[union-attr]


async def test_wrong_passwords_are_refused_and_many_of_them_make_everybody_wait(clock: FakeClock) -> None:
    rules = access(clock)
    for _ in range(WRONG_PER_MINUTE):
        with denied(401):
            rules.log_in("wrong", "peer")
    with denied(429):
        rules.log_in(PASSWORD, "peer")
    await clock.advance(61)
    assert rules.session(rules.log_in(PASSWORD, "peer")) is not None


def test_sessions_are_bounded(clock: FakeClock) -> None:
    rules = access(clock)
    cookies = [rules.log_in(PASSWORD, "peer") for _ in range(MAX_SESSIONS + 1)]
    assert rules.session(cookies[0]) is None
    assert all(rules.session(cookie) for cookie in cookies[1:])
