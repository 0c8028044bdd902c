"""The login, its token, and what becomes of the codes about them (page jrhsz, sections 2 and 5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from bridge.domain.errors import AuthFailed, EndpointBarred, NotSent, RateLimited, Refused, VendorError
from bridge.pace.limits import Lane
from bridge.vendors.jrhsz.flight import SharedCall
from bridge.vendors.jrhsz.wire import Query
from tests.fakes.adapters import FakeEffect
from tests.unit.vendors.jrhsz.bench import (
    ENERGY,
    EXPIRED,
    LOGIN,
    NO_RIGHT,
    OK,
    PASSWORD,
    TOKEN,
    TOO_FAST,
    USERNAME,
    Account,
    fixture,
    listed,
    rows,
)

READ = Query("readMeter")
SECOND = LOGIN | {"data": "c2Vjb25kIHRva2Vu"}


async def ask(account: Account, effect: FakeEffect | None = None) -> Any:
    return await account.adapter._api.ask(READ, Lane.POLL, effect)


async def test_the_login_and_the_token_travel_in_the_body(account: Account) -> None:
    account.cloud.will(rows())
    await ask(account)
    login, call = account.cloud.requests
    assert (login.method, str(login.url)) == ("POST", "http://cloud.example.invalid/user/login")
    assert json.loads(login.content) == {"admin_user_name": USERNAME, "api_password": PASSWORD}
    assert call.content == f'{{"token":"{TOKEN}","admin_user_name":"{USERNAME}"}}'.encode()
    assert call.headers["content-type"] == "application/json; charset=utf-8"
    assert account.gate.calls == [((), Lane.POLL), ((("readMeter", ""),), Lane.POLL)]


async def test_many_callers_share_one_login(account: Account) -> None:
    account.cloud.will(*[rows()] * 5)
    await asyncio.gather(*(ask(account) for _ in range(5)))
    assert account.cloud.words == ["login"] + ["readMeter"] * 5


async def test_many_callers_with_an_expired_token_share_one_login(account: Account) -> None:
    account.cloud.will(rows())
    await ask(account)
    account.cloud.logins = [SECOND]
    account.cloud.stale = {TOKEN}
    account.cloud.will(rows(), rows())
    await asyncio.gather(ask(account), ask(account))
    assert account.cloud.words.count("login") == 2
    assert account.cloud.tokens()[-1] == SECOND["data"]


async def test_a_token_is_renewed_at_110_minutes(account: Account) -> None:
    account.cloud.will(*[rows()] * 3)
    await ask(account)
    account.clock.seconds = 110 * 60 - 1
    await ask(account)
    account.clock.seconds = 110 * 60
    await ask(account)
    assert account.cloud.words == ["login", "readMeter", "readMeter", "login", "readMeter"]


async def test_a_token_survives_a_restart(make: Callable[..., Account]) -> None:
    first = make()
    first.cloud.will(rows())
    await ask(first)
    second = make(vault=first.vault)
    second.cloud.will(rows())
    await ask(second)
    assert second.cloud.words == ["readMeter"]
    assert second.cloud.tokens() == [TOKEN]


@pytest.mark.parametrize(
    "change", [{"password": "FAKE-OTHER"}, {"username": "other"}, {"base_url": "http://b.invalid"}]
)
async def test_a_token_of_other_credentials_is_not_used(
    make: Callable[..., Account], change: dict[str, Any]
) -> None:
    first = make()
    first.cloud.will(rows())
    await ask(first)
    second = make(vault=first.vault, **change)
    second.cloud.will(rows())
    await ask(second)
    assert second.cloud.words == ["login", "readMeter"]


@pytest.mark.parametrize("kept", ["x", {"of": 1}, {"token": 1, "expires": "x"}, [], {"token": TOKEN}])
async def test_a_damaged_token_in_the_vault_is_not_used(account: Account, kept: Any) -> None:
    account.vault.kept["token"] = kept
    account.cloud.will(rows())
    await ask(account)
    assert account.cloud.words == ["login", "readMeter"]


@pytest.mark.parametrize("code", [1006, 1007, 1009])
async def test_a_token_that_is_refused_is_renewed_once(account: Account, code: int) -> None:
    account.cloud.will({"code": code}, rows(), {"code": code}, {"code": code})
    await ask(account)
    with pytest.raises(Refused) as raised:
        await ask(account)
    assert (raised.value.code, raised.value.native_code) == ("auth_failed", code)
    assert account.cloud.words == [
        "login", "readMeter", "login", "readMeter", "readMeter", "login", "readMeter",
    ]  # fmt: skip


async def test_a_token_that_ends_in_the_middle_of_pages_costs_no_page(account: Account) -> None:
    full = [listed(f"{number:012d}") for number in range(1000)]
    account.cloud.will(rows(*full), EXPIRED, rows(listed("last")))
    devices = await account.adapter.inventory()
    assert len(devices) == 1001
    assert [body["pageNo"] for body in account.cloud.bodies("meterList")] == [1, 2, 2]


@pytest.mark.parametrize(("code", "rest_s"), [(1002, 900.0), (1005, 10**9)])
async def test_refused_credentials_are_not_tried_again_at_once(
    account: Account, code: int, rest_s: float
) -> None:
    account.cloud.logins = [{"code": code, "msg": f"no: {PASSWORD}"}]
    for seconds in (0.0, rest_s - 1):
        account.clock.seconds = seconds
        with pytest.raises(AuthFailed) as raised:
            await ask(account)
        assert raised.value.native_code == code
        assert PASSWORD not in str(raised.value)
    assert account.cloud.words == ["login"]


async def test_an_unknown_account_is_tried_again_after_a_quarter_of_an_hour(account: Account) -> None:
    account.cloud.logins = [{"code": 1002}]
    with pytest.raises(AuthFailed):
        await ask(account)
    account.clock.seconds = 900
    account.cloud.will(rows())
    await ask(account)
    assert account.cloud.words == ["login", "login", "readMeter"]


@pytest.mark.parametrize(("code", "rest_s"), [(1002, 900), (1005, 3600)])
async def test_a_restart_is_no_way_round_a_refusal(
    make: Callable[..., Account], code: int, rest_s: int
) -> None:
    first = make()
    first.cloud.logins = [{"code": code, "msg": f"no: {PASSWORD}"}]
    with pytest.raises(AuthFailed):
        await ask(first)
    assert PASSWORD not in str(first.vault.kept)
    for seconds in (1.0, rest_s - 1.0):
        again = make(vault=first.vault)
        again.clock.seconds = seconds
        with pytest.raises(AuthFailed) as raised:
            await ask(again)
        assert raised.value.native_code == code
        assert again.cloud.words == []
    later = make(vault=first.vault)
    later.clock.seconds = rest_s
    later.cloud.will(rows())
    await ask(later)
    assert later.cloud.words == ["login", "readMeter"]
    assert "refusal" not in first.vault.kept


async def test_a_refusal_ends_with_other_credentials(make: Callable[..., Account]) -> None:
    first = make()
    first.cloud.logins = [{"code": 1005}]
    with pytest.raises(AuthFailed):
        await ask(first)
    second = make(vault=first.vault, password="FAKE-ANOTHER-0000")
    second.cloud.will(rows())
    await ask(second)
    assert second.cloud.words == ["login", "readMeter"]


@pytest.mark.parametrize("kept", ["x", {}, {"of": 1}, {"of": "0", "code": 1005}])
async def test_a_damaged_refusal_in_the_vault_holds_nobody_up(account: Account, kept: Any) -> None:
    account.vault.kept["refusal"] = kept
    account.cloud.will(rows())
    await ask(account)
    assert account.cloud.words == ["login", "readMeter"]


async def test_a_person_who_checks_the_connection_may_try_refused_credentials(
    make: Callable[..., Account],
) -> None:
    first = make()
    first.cloud.logins = [{"code": 1005}]
    with pytest.raises(AuthFailed):
        await ask(first)
    second = make(vault=first.vault)
    second.cloud.will(rows())
    await second.adapter.check()
    assert second.cloud.words == ["login", "meterList"]


async def test_refused_credentials_on_any_end_point_stop_the_logins(account: Account) -> None:
    account.cloud.will({"code": 1005}, {"code": 1007})
    with pytest.raises(AuthFailed):
        await ask(account)
    with pytest.raises(AuthFailed):
        await ask(account)
    assert account.cloud.words == ["login", "readMeter", "readMeter"]


@pytest.mark.parametrize(
    "reply", [b"<html>", httpx.ReadTimeout("slow"), httpx.Response(500), {"code": 200, "data": ""}]
)
async def test_without_an_answer_to_the_login_nothing_was_sent(account: Account, reply: Any) -> None:
    account.cloud.logins = [reply]
    with pytest.raises(NotSent):
        await ask(account, account.effect)
    assert account.effect.count == 0


async def test_the_login_is_tried_as_a_form_and_that_is_kept(make: Callable[..., Account]) -> None:
    account = make()
    account.cloud.logins = [{"code": 1008}, LOGIN]
    account.cloud.will(rows())
    await ask(account)
    _, login, call = account.cloud.requests
    assert login.headers["content-type"] == "application/x-www-form-urlencoded"
    assert login.content == f"admin_user_name={USERNAME}&api_password={PASSWORD}".encode()
    assert b"%2B%2F8%3D" in call.content
    assert parse_qs(call.content.decode())["token"] == [TOKEN]
    again = make(vault=account.vault)
    again.cloud.will(rows())
    await ask(again)
    assert again.cloud.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"


async def test_a_form_that_is_refused_too_changes_nothing(account: Account) -> None:
    account.cloud.logins = [{"code": 1008}, {"code": 1008}]
    with pytest.raises(Refused, match="body_encoding"):
        await ask(account)
    assert account.adapter._api.session.encoding == "json"
    assert account.cloud.words == ["login", "login"]


async def test_a_configured_form_is_used_from_the_start(make: Callable[..., Account]) -> None:
    account = make(body_encoding="form")
    account.cloud.will(rows())
    await ask(account)
    kinds = {request.headers["content-type"] for request in account.cloud.requests}
    assert kinds == {"application/x-www-form-urlencoded"}


async def test_a_missing_parameter_is_not_repeated(account: Account) -> None:
    account.cloud.will({"code": 1008})
    with pytest.raises(Refused):
        await ask(account)
    assert account.cloud.words == ["login", "readMeter"]


async def test_too_fast_is_waited_for_longer_and_longer_and_then_told(account: Account) -> None:
    account.cloud.will(*[TOO_FAST] * 6)
    with pytest.raises(RateLimited) as raised:
        await ask(account)
    waits = [2.2, 4.4, 8.8, 17.6, 35.2, 60.0]
    assert account.clock.slept == waits[:5]
    assert raised.value.retry_after_s == 60.0
    assert account.gate.blocks == [("readMeter", "", wait) for wait in waits]
    account.cloud.will(rows(), TOO_FAST, rows())
    await ask(account)
    await ask(account)
    assert account.clock.slept[5:] == [2.2]


async def test_too_fast_on_a_command_is_handed_back_at_once(account: Account) -> None:
    account.cloud.will(TOO_FAST, TOO_FAST, OK)
    for wait_s in (2.2, 4.4):
        with pytest.raises(RateLimited) as raised:
            await account.run("breaker", {"state": "on"})
        assert raised.value.retry_after_s == wait_s
    await account.run("breaker", {"state": "on"})
    assert account.clock.slept == []


async def test_after_too_fast_all_calls_share_one_limit_for_an_hour(account: Account) -> None:
    account.cloud.will(TOO_FAST, *[rows()] * 3)
    await ask(account)
    await ask(account)
    account.clock.seconds += 3600
    await ask(account)
    own = (("readMeter", ""),)
    shared = (*own, ("account", ""))
    assert [uses for uses, _ in account.gate.calls[1:]] == [own, shared, shared, own]


async def test_a_command_that_may_not_be_repeated_after_a_refusal_did_not_happen(account: Account) -> None:
    account.cloud.will(EXPIRED)
    with pytest.raises(Refused) as raised:
        await ask(account, FakeEffect(allowed=1))
    assert raised.value.code == "expired"


async def test_no_right_to_an_end_point_stops_its_poll_and_no_other(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    account.cloud.will(NO_RIGHT, NO_RIGHT)
    with pytest.raises(EndpointBarred, match="no right") as raised:
        await account.batches("consumption", *devices)
    assert (raised.value.operation, raised.value.native_code) == ("readMeterDataList", 1009)
    assert await account.batches("consumption", *devices) == []
    assert account.cloud.words.count("readMeterDataList") == 2
    account.cloud.will(fixture("v04_latest_object"))
    assert await account.poll("readings", *devices)
    account.clock.seconds += 86_400
    account.cloud.will(rows(), rows(), rows())
    await account.batches("consumption", *devices)
    assert account.cloud.words.count("readMeterDataList") > 2


async def test_no_right_to_the_inventory_is_told_as_failed_credentials(account: Account) -> None:
    devices = await account.know(listed(ENERGY))
    account.clock.seconds += 61
    account.cloud.will(NO_RIGHT, NO_RIGHT)
    with pytest.raises(AuthFailed):
        await account.batches("meters", *devices)
    for call in (account.adapter.inventory(), account.adapter.check()):
        account.cloud.will(NO_RIGHT, NO_RIGHT)
        with pytest.raises(AuthFailed):
            await call


async def test_no_error_and_no_repr_holds_a_secret(account: Account) -> None:
    account.cloud.will({"code": 1001, "msg": f"bad token {TOKEN} of {PASSWORD}"}, f"<{TOKEN}".encode())
    for _ in range(2):
        with pytest.raises(VendorError) as raised:
            await ask(account)
        assert TOKEN not in str(raised.value)
        assert PASSWORD not in str(raised.value)
    assert TOKEN not in repr(account.adapter._api.session._token)
    assert PASSWORD not in repr(account.settings)


async def test_a_shared_call_ends_when_nobody_waits_for_it() -> None:
    ended = []

    async def work() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return 1

    shared = SharedCall(work, "test")
    first, second = asyncio.create_task(shared.result()), asyncio.create_task(shared.result())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert not ended
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await asyncio.sleep(0)
    assert ended == [True]
