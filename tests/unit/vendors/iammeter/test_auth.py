"""Tokens: where they come from, where they go, and how rarely anybody logs in (section 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bridge.domain.errors import AuthFailed, BadReply, LostAnswer, RateLimited, VendorError
from bridge.pace.limits import Lane
from bridge.vendorkit.transport import ClientLine
from tests.fakes.adapters import FakeVault
from tests.unit.vendors.iammeter.bench import (
    BAD_TOKEN,
    LOGGED_IN,
    NEW_TOKEN,
    NOTHING,
    PASSWORD,
    SN,
    SN2,
    TOKEN,
    Account,
    bad,
    good,
    latest,
)

METER = f"meter:{SN}"
LOGIN = {"username": "demo-user", "password": PASSWORD}


def tokens(account: Account) -> list[str | None]:
    return [request.headers.get("token") for request in account.cloud.requests]


async def test_the_token_goes_in_a_header_and_nowhere_else(account: Account) -> None:
    account.cloud.will(latest())
    await account.poll(METER)
    (request,) = account.cloud.requests
    assert request.headers["token"] == TOKEN
    assert str(request.url) == f"https://cloud.example.invalid/api/v1/site/meterdata2/{SN}"
    assert "authorization" not in request.headers


async def test_the_token_may_go_in_the_query(make: Callable[..., Account]) -> None:
    account = make(token_in="query")
    account.cloud.will(latest())
    await account.poll(METER)
    (request,) = account.cloud.requests
    assert "token" not in request.headers
    assert dict(request.url.params) == {"token": TOKEN}


async def test_without_a_token_the_account_logs_in_once_and_keeps_the_token(
    make: Callable[..., Account],
) -> None:
    vault = FakeVault()
    account = make(vault=vault, **LOGIN)
    account.cloud.will(LOGGED_IN, latest(), latest())
    await account.poll(METER)
    await account.poll(METER)
    login = account.cloud.requests[0]
    assert login.content == b'{"userName":"demo-user","password":"FAKEPASSWORD"}'
    assert login.headers["content-type"] == "application/json; charset=utf-8"
    assert account.cloud.paths[0] == "/user/login"
    assert tokens(account) == [None, NEW_TOKEN, NEW_TOKEN]
    assert (vault.kept["token"]["token"], vault.kept["token"]["at"]) == (NEW_TOKEN, "2026-03-04T12:00:00Z")
    assert PASSWORD not in str(vault.kept)


async def test_a_restart_needs_no_login(make: Callable[..., Account]) -> None:
    vault = FakeVault()
    first = make(vault=vault, **LOGIN)
    first.cloud.will(LOGGED_IN, latest())
    await first.poll(METER)
    second = make(vault=vault, **LOGIN)
    second.cloud.will(latest())
    await second.poll(METER)
    assert tokens(second) == [NEW_TOKEN]


@pytest.mark.parametrize(
    "change", [{"username": "other"}, {"base_url": "https://other.example.invalid/api/v1"}]
)
async def test_the_token_of_another_user_or_cloud_is_not_used(
    make: Callable[..., Account], change: dict[str, Any]
) -> None:
    vault = FakeVault()
    first = make(vault=vault, **LOGIN)
    first.cloud.will(LOGGED_IN, latest())
    await first.poll(METER)
    second = make(vault=vault, **(LOGIN | change))
    second.cloud.will(LOGGED_IN, latest())
    await second.poll(METER)
    assert second.cloud.paths[0] == "/user/login"


async def test_a_refused_token_of_the_settings_is_not_tried_again_after_a_restart_but_a_new_one_is(
    make: Callable[..., Account],
) -> None:
    vault = FakeVault()
    first = make(vault=vault, token=TOKEN, **LOGIN)
    first.cloud.will(BAD_TOKEN, LOGGED_IN, latest())
    await first.poll(METER)
    assert tokens(first) == [TOKEN, None, NEW_TOKEN]
    second = make(vault=vault, token=TOKEN, **LOGIN)
    second.cloud.will(latest())
    await second.poll(METER)
    third = make(vault=vault, token="FAKE" * 8, **LOGIN)
    third.cloud.will(latest())
    await third.poll(METER)
    assert (tokens(second), tokens(third)) == ([NEW_TOKEN], ["FAKE" * 8])


async def test_http_401_is_a_refused_token(make: Callable[..., Account]) -> None:
    account = make(token=TOKEN, **LOGIN)
    account.cloud.will(httpx.Response(401), LOGGED_IN, latest())
    await account.poll(METER)
    assert tokens(account) == [TOKEN, None, NEW_TOKEN]


async def test_many_refused_calls_make_one_login(make: Callable[..., Account]) -> None:
    account = make(token=TOKEN, **LOGIN)
    sns = [f"SN{number:06}" for number in range(6)]

    async def cloud(request: httpx.Request) -> httpx.Response:
        account.cloud.requests.append(request)
        await asyncio.sleep(0)
        if request.url.path.endswith("login"):
            return httpx.Response(200, json=LOGGED_IN)
        return httpx.Response(200, json=latest() if request.headers["token"] == NEW_TOKEN else BAD_TOKEN)

    account.http._line = ClientLine(httpx.MockTransport(cloud))
    await asyncio.gather(*(account.poll(f"meter:{sn}", sn) for sn in sns))
    assert account.cloud.paths.count("/user/login") == 1


@pytest.mark.parametrize("answer", [bad("Invalid username or password"), bad(None), httpx.Response(401)])
async def test_wrong_credentials_are_not_tried_twice(make: Callable[..., Account], answer: Any) -> None:
    account = make(**LOGIN)
    account.cloud.will(answer)
    for _ in range(3):
        with pytest.raises(AuthFailed, match="username or password"):
            await account.poll(METER)
    assert account.cloud.paths == ["/user/login"]
    account.clock.seconds += 3601
    account.cloud.will(LOGGED_IN, latest())
    assert await account.seen(METER)


async def test_a_failed_login_is_shared_by_all_who_wait_for_it(make: Callable[..., Account]) -> None:
    account = make(**LOGIN)
    account.cloud.will(httpx.ReadTimeout("x"))
    outcomes = await asyncio.gather(
        account.poll(METER), account.poll(f"meter:{SN2}", SN2), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [LostAnswer, LostAnswer]
    assert account.cloud.paths == ["/user/login"]


async def test_a_cancelled_login_does_not_cancel_who_waits_for_it(make: Callable[..., Account]) -> None:
    account = make(**LOGIN)
    entered, never = asyncio.Event(), asyncio.Event()

    async def cloud(request: httpx.Request) -> httpx.Response:
        entered.set()
        await never.wait()
        return httpx.Response(200)

    account.http._line = ClientLine(httpx.MockTransport(cloud))
    leader = asyncio.create_task(account.poll(METER))
    await entered.wait()
    follower = asyncio.create_task(account.poll(f"meter:{SN2}", SN2))
    await asyncio.sleep(0)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    with pytest.raises(VendorError, match="interrupted"):
        await follower


async def test_a_new_token_that_is_refused_too_ends_it(make: Callable[..., Account]) -> None:
    account = make(token=TOKEN, **LOGIN)
    account.cloud.will(BAD_TOKEN, LOGGED_IN, BAD_TOKEN, BAD_TOKEN)
    for _ in range(2):
        with pytest.raises(AuthFailed):
            await account.poll(METER)
    assert account.cloud.paths.count("/user/login") == 1


async def test_a_login_that_brings_no_token_is_a_bad_reply(make: Callable[..., Account]) -> None:
    for page in (good({"id": 1}), good(None), b"<html>"):
        account = make(**LOGIN)
        account.cloud.will(page)
        with pytest.raises(BadReply):
            await account.poll(METER)


async def test_logins_are_limited_over_restarts(make: Callable[..., Account]) -> None:
    account = make(**LOGIN)
    for _ in range(5):
        account.cloud.will(httpx.ReadTimeout("x"))
        with pytest.raises(LostAnswer):
            await account.poll(METER)
    again = make(ledger=account.ledger, clock=account.clock, **LOGIN)
    with pytest.raises(RateLimited) as caught:
        await again.poll(METER)
    assert again.cloud.requests == []
    assert caught.value.retry_after_s > 3000


async def test_a_login_answered_with_nothing_is_left_alone_for_an_hour(make: Callable[..., Account]) -> None:
    account = make(**LOGIN)
    account.cloud.will(NOTHING)
    with pytest.raises(RateLimited) as caught:
        await account.poll(METER)
    assert caught.value.retry_after_s == 3600
    with pytest.raises(RateLimited):
        await account.poll(METER)
    assert len(account.cloud.requests) == 1


async def test_a_repetition_that_finds_no_slot_is_told_to_come_again(make: Callable[..., Account]) -> None:
    account = make(token=TOKEN, **LOGIN)
    account.cloud.will(*[latest()] * 11, BAD_TOKEN, LOGGED_IN)
    for _ in range(11):
        await account.poll(METER)
    with pytest.raises(RateLimited, match="no room"):
        await account.poll(METER)
    account.clock.seconds += 3601
    account.cloud.will(latest())
    assert await account.seen(METER)
    assert tokens(account)[-1] == NEW_TOKEN


async def test_secrets_are_in_no_message_no_log_and_no_record(make: Callable[..., Account]) -> None:
    account = make(token=TOKEN, **LOGIN)
    echoing = latest()
    echoing["data"]["echo"] = f"?token={TOKEN}"
    account.cloud.will(echoing)
    seen = await account.seen(METER)
    account.cloud.will(bad(f"no rights for token {TOKEN}"), bad(f"{PASSWORD} is wrong"))
    with pytest.raises(AuthFailed) as caught:
        await account.poll(METER)
    preview = account.adapter.preview(account.order("read"))
    for text in (
        str(seen),
        repr(caught.value),
        str(caught.value.message),
        str(account.log.lines),
        repr(preview),
    ):
        assert TOKEN not in text
        assert PASSWORD not in text
    assert preview.headers == {"token": "***"}
    assert account.gate.wait_s([("login", "")], Lane.COMMAND) == 0
