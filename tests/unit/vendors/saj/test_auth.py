"""The access token: one for all, kept, renewed in time, never fetched in a loop (page, section 2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import httpx
import pytest

from bridge.domain.errors import AuthFailed, LostAnswer, NotSent, RateLimited, Refused, VendorError
from bridge.pace.gate import AccountGate
from bridge.vendors.saj import limits
from tests.unit.vendors.saj.bench import (
    APP_KEY,
    LATEST,
    OVERVIEW,
    PLANT,
    Account,
    bad,
    body,
    good,
    params,
)
from tests.unit.vendors.saj.test_simulated_day import NoLedger

TOKEN = "accessToken"
UNKNOWN = bad(10012, "token not exist")


async def look(account: Account) -> None:
    """One call that needs a token."""
    account.cloud.will("plant/data", body("plant_data"))
    await account.poll(OVERVIEW)


async def test_the_request_is_that_of_the_page(account: Account) -> None:
    await look(account)
    request = account.cloud.requests[0]
    assert request.method == "GET"
    assert str(request.url) == (
        f"https://cloud.example.invalid/accessToken?client_id=15000&client_secret={APP_KEY}"
        "&grant_type=client_credentials&scope=read"
    )
    assert "token" not in request.headers


async def test_an_issued_grant_type_and_another_separator_are_sent(make: Callable[..., Account]) -> None:
    account = make(grant_type="FAKE-GRANT", scope_separator=",")
    account.cloud.will("user/delete", good({}))
    await account.run("delete_user", {"c_user_id": 1})
    asked = account.cloud.asked(TOKEN)[0]
    assert (asked["grant_type"], asked["scope"]) == ("FAKE-GRANT", "read,write")


async def test_a_blank_in_the_scope_is_sent_as_percent_20(account: Account) -> None:
    account.cloud.will("user/delete", good({}))
    await account.run("delete_user", {"c_user_id": 1})
    assert account.cloud.requests[0].url.query.endswith(b"&scope=read%20write")


async def test_many_calls_at_once_share_one_token_request(account: Account) -> None:
    account.cloud.will("plant/data", *[body("plant_data")] * 5)
    await asyncio.gather(*(account.poll(OVERVIEW) for _ in range(5)))
    assert account.cloud.words.count(TOKEN) == 1


async def test_the_token_survives_a_restart_and_is_not_used_for_another_application(account: Account) -> None:
    await look(account)
    again = account.restarted()
    await look(again)
    assert again.cloud.words == ["plant/data"]
    other = Account(clock=account.clock, vault=account.vault, app_id="15001")
    await look(other)
    assert other.cloud.words[0] == TOKEN


async def test_the_token_is_renewed_at_nine_tenths_of_its_life(account: Account) -> None:
    await look(account)
    account.clock.seconds = 544319
    await look(account)
    assert account.cloud.tokens == 1
    account.clock.seconds = 544321
    await look(account)
    assert account.cloud.tokens == 2


async def test_a_renewal_that_fails_leaves_the_old_token_in_use(account: Account) -> None:
    await look(account)
    account.clock.seconds = 544321
    account.cloud.will(TOKEN, httpx.ReadTimeout("slow"))
    await look(account)
    assert account.cloud.requests[-1].headers["token"] == f"{1:032x}"


async def test_a_token_without_a_lifetime_is_used_until_it_is_refused(account: Account) -> None:
    account.cloud.will(TOKEN, good({"uid": "1", "access_token": "FAKETOKEN", "expires_in": 0}))
    await look(account)
    account.clock.seconds = 10**8
    await look(account)
    assert account.cloud.words.count(TOKEN) == 1


async def test_calls_refused_together_are_repeated_with_one_new_token(account: Account) -> None:
    await look(account)
    account.cloud.rules["plant/data"] = lambda request: (
        UNKNOWN if request.headers["token"] == f"{1:032x}" else body("plant_data")
    )
    await asyncio.gather(*(account.poll(OVERVIEW) for _ in range(5)))
    assert account.cloud.tokens == 2
    assert account.cloud.words.count("plant/data") == 1 + 2 * 5


@pytest.mark.parametrize("code", [10002, 10008, 10010, 10011, 10012])
async def test_every_refusal_of_the_token_is_answered_with_one_new_one(account: Account, code: int) -> None:
    account.cloud.will("plant/data", bad(code))
    await look(account)
    assert account.cloud.words == [TOKEN, "plant/data", TOKEN, "plant/data"]


async def test_more_than_three_early_refusals_in_an_hour_are_a_conflict(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    await look(account)
    for _ in range(3):
        account.clock.seconds += 60
        account.cloud.will("plant/data", UNKNOWN)
        await look(account)
    account.clock.seconds += 60
    account.cloud.will("plant/data", UNKNOWN)
    with pytest.raises(AuthFailed, match=r"^token_conflict: .*10 minutes"):
        await account.poll(OVERVIEW)
    assert account.cloud.tokens == 4
    assert "saj.token_conflict" in caplog.messages
    asked = len(account.cloud.requests)
    with pytest.raises(AuthFailed, match=r"^token_conflict: "):
        await account.poll(OVERVIEW)
    assert len(account.cloud.requests) == asked
    account.clock.seconds += 600
    await look(account)
    assert account.cloud.tokens == 5


async def test_a_conflict_is_remembered_over_a_restart(account: Account) -> None:
    await look(account)
    for _ in range(3):
        account.cloud.will("plant/data", UNKNOWN)
        await look(account)
    again = account.restarted()
    again.cloud.will("plant/data", UNKNOWN)
    with pytest.raises(AuthFailed, match=r"^token_conflict: "):
        await again.poll(OVERVIEW)
    assert again.cloud.words == ["plant/data"]


async def test_refusals_of_tokens_at_the_end_of_their_life_are_no_conflict(account: Account) -> None:
    for number in range(6):
        token = {"uid": 1, "access_token": f"FAKETOKEN{number}", "expires_in": 100}
        account.cloud.will(TOKEN, good(token), httpx.ReadTimeout("slow"))
        await look(account)
        account.clock.seconds += 95
        account.cloud.will("plant/data", bad(10010))
        with pytest.raises(NotSent):
            await account.poll(OVERVIEW)
        account.clock.seconds += 31
    assert "refusals" not in account.vault.kept


async def test_the_pages_cap_on_token_requests_is_kept(account: Account) -> None:
    gate = AccountGate("roof", limits(account.settings), account.clock, NoLedger())
    capped = Account(clock=account.clock, gate=gate)
    for _ in range(6):
        capped.cloud.will(TOKEN, good({"uid": 1, "access_token": "FAKETOKEN", "expires_in": 10}))
        await look(capped)
        account.clock.seconds += 20
    with pytest.raises(RateLimited) as raised:
        await capped.poll(OVERVIEW)
    assert 3000 < raised.value.retry_after_s < 3600
    assert capped.cloud.words.count(TOKEN) == 6
    await gate.aclose()


async def test_wrong_credentials_are_asked_for_once(account: Account) -> None:
    account.cloud.will(TOKEN, bad(10007, "no match"))
    for _ in range(2):
        with pytest.raises(AuthFailed, match="app_id or app_key is refused"):
            await account.poll(OVERVIEW)
        account.clock.seconds += 10**6
    assert account.cloud.words == [TOKEN]


async def test_10099_is_tried_again_more_and_more_slowly_and_then_told(account: Account) -> None:
    for pause_s in (60, 300, 900, 3600):
        account.cloud.will(TOKEN, bad(10099))
        with pytest.raises(NotSent):
            await account.poll(OVERVIEW)
        account.clock.seconds += pause_s - 1
        with pytest.raises(NotSent):
            await account.poll(OVERVIEW)
        account.clock.seconds += 2
    account.cloud.will(TOKEN, bad(10099))
    with pytest.raises(AuthFailed):
        await account.poll(OVERVIEW)
    assert account.cloud.words == [TOKEN] * 5
    account.clock.seconds += 3601
    await look(account)


@pytest.mark.parametrize(
    "reply",
    [httpx.ReadTimeout("slow"), httpx.Response(502), b"<html>", bad(10001), good({}), httpx.Response(404)],
)
async def test_without_an_answer_nothing_is_sent_for_a_while(account: Account, reply: object) -> None:
    account.cloud.will(TOKEN, reply)  # type: ignore[arg-type] # each is a Reply
    for _ in range(2):
        with pytest.raises(NotSent, match="no access token"):
            await account.poll(OVERVIEW)
    assert account.cloud.words == [TOKEN]
    account.clock.seconds += 31
    await look(account)


async def test_no_connection_is_not_a_failure_of_the_token(account: Account) -> None:
    account.cloud.will(TOKEN, httpx.ConnectError("no route"))
    with pytest.raises(NotSent):
        await account.poll(OVERVIEW)
    await look(account)


async def test_the_hour_may_be_used_up_for_tokens_too(account: Account) -> None:
    account.cloud.will(TOKEN, bad(10003))
    with pytest.raises(RateLimited):
        await account.poll(OVERVIEW)
    assert account.gate.blocks


async def test_the_scope_write_is_asked_for_from_the_first_management_command_on(account: Account) -> None:
    await look(account)
    account.cloud.will("user/delete", good({}), good({}))
    await account.run("delete_user", {"c_user_id": 1})
    await account.run("delete_user", {"c_user_id": 1})
    assert [asked["scope"] for asked in account.cloud.asked(TOKEN)] == ["read", "read write"]
    again = account.restarted()
    again.clock.seconds = 700000
    await look(again)
    assert [asked["scope"] for asked in again.cloud.asked(TOKEN)] == ["read write"]


async def test_a_refused_scope_fails_the_command_and_reading_goes_on(account: Account) -> None:
    await look(account)
    account.cloud.will(TOKEN, bad(10099))
    for _ in range(2):
        with pytest.raises(Refused) as raised:
            await account.run("delete_user", {"c_user_id": 1})
        assert raised.value.code == "auth_failed"
    assert [asked["scope"] for asked in account.cloud.asked(TOKEN)] == ["read", "read write", "read"]
    await look(account)
    assert not account.effect.left


async def test_a_lost_answer_to_the_request_for_the_scope_leaves_the_command_unsent(account: Account) -> None:
    account.cloud.will(TOKEN, httpx.ReadTimeout("slow"))
    with pytest.raises(NotSent):
        await account.run("delete_user", {"c_user_id": 1})
    account.clock.seconds += 31
    account.cloud.will("user/delete", good({}))
    await account.run("delete_user", {"c_user_id": 1})
    assert account.cloud.asked(TOKEN)[-1]["scope"] == "read write"


async def test_secrets_stay_out_of_errors_logs_and_reprs(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "bridge")
    caplog.set_level(logging.DEBUG, "test.saj")
    account.cloud.will(TOKEN, bad(10006, f"bad {APP_KEY}"))
    with pytest.raises(AuthFailed) as raised:
        await account.poll(OVERVIEW)
    account.clock.seconds += 901
    account.cloud.will("plant/data", bad(10006, f"bad {1:032x}"))
    with pytest.raises(VendorError) as second:
        await account.poll(OVERVIEW)
    told = raised.value.message + second.value.message + caplog.text + repr(account.settings)
    assert APP_KEY not in told
    assert f"{1:032x}" not in told


async def test_the_token_may_go_into_the_query(make: Callable[..., Account]) -> None:
    account = make(token_in="query")
    await look(account)
    request = account.cloud.requests[-1]
    assert params(request) == {"plant_id": PLANT, "access_token": f"{1:032x}"}
    assert "token" not in request.headers
    assert request.headers["uid"] == "15000"


async def test_a_lost_answer_of_a_read_is_one(account: Account) -> None:
    account.cloud.will("device/inverter/datasigns", httpx.ReadTimeout("slow"))
    with pytest.raises(LostAnswer):
        await account.poll(LATEST)
