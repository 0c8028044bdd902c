"""The header key and the login token (page section 2)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from bridge.domain.command import Status
from bridge.domain.errors import AuthFailed, LostAnswer, NotSent, RateLimited, Refused
from bridge.vendors.iotmeter.auth import Token
from tests.unit.vendors.iotmeter.bench import KEY, METER, NOW, PASSWORD, Scripted, bad, good, page

MD5 = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
TASK = {"ctrl_id": 2, "ctrl_state": 0, "target_comm_no": METER, "ctrl_type": "iotmeterv1.prepay.getprice"}


def login(token: str, expiration: str) -> dict[str, Any]:
    return good({"token": token, "expiration": expiration})


async def look(bench: Scripted) -> Any:
    return await bench.run("get_task", {"ctrl_id": 2}, device=None)


async def test_the_data_api_gets_the_key_headers_on_its_own_address(bench: Scripted) -> None:
    bench.cloud.will(page())
    await bench.adapter.inventory()
    request = bench.cloud.requests[0]
    assert str(request.url) == (
        "http://data.example.invalid:2102/api/Data/MeterData/GetRealList2?startrow=0&rowcount=200"
    )
    assert request.method == "POST"
    sent = {name: request.headers[name] for name in ("content-type", "company_no", "data_api_key")}
    assert sent == {"content-type": "application/json", "company_no": "1001", "data_api_key": KEY}
    assert "token" not in request.headers


async def test_the_login_sends_the_md5_and_the_token_is_used_and_kept(bench: Scripted) -> None:
    bench.cloud.will(good(TASK), good(TASK))
    await look(bench)
    bench.restart()
    await look(bench)
    first, second, third = bench.cloud.requests
    assert str(first.url) == (
        f"http://ctrl.example.invalid:2101/api/Conf/Account/Login?loginName=demo_admin&pwd={MD5}"
    )
    assert first.content == b"{}"
    assert "token" not in first.headers
    for request in (second, third):
        assert str(request.url) == "http://ctrl.example.invalid:2101/api/Conf/CtrlData/GetModel/2"
        assert request.headers["token"] == "FAKE0000TOKEN"
        assert "data_api_key" not in request.headers


async def test_the_md5_may_be_wanted_in_upper_case(make: Callable[..., Scripted]) -> None:
    control = {
        "base_url": "http://ctrl.example.invalid", "login_name": "a&b=c", "password": PASSWORD,
        "md5_upper": True,
    }  # fmt: skip
    bench = make(control=control)
    bench.cloud.will(good(TASK))
    await look(bench)
    assert dict(bench.cloud.requests[0].url.params) == {"loginName": "a&b=c", "pwd": MD5.upper()}


async def test_other_credentials_do_not_use_the_kept_token(
    bench: Scripted, make: Callable[..., Scripted]
) -> None:
    bench.cloud.will(good(TASK))
    await look(bench)
    control = {"base_url": "http://ctrl.example.invalid:2101", "login_name": "x", "password": PASSWORD}
    other = make(control=control)
    other.vault.kept = bench.vault.kept
    other.cloud.will(good(TASK))
    await look(other)
    assert other.cloud.paths[0] == "Account/Login"


async def test_many_at_once_log_in_once(bench: Scripted) -> None:
    bench.cloud.will(*[good(TASK)] * 5)
    await asyncio.gather(*(look(bench) for _ in range(5)))
    assert bench.cloud.paths.count("Account/Login") == 1


async def test_a_token_is_renewed_before_its_end(bench: Scripted) -> None:
    bench.cloud.logins = [login("T1", "2021-04-07T10:00:00+08:00"), login("T2", "2021-04-07T20:00:00+08:00")]
    bench.cloud.will(*[good(TASK)] * 3)
    await look(bench)
    bench.time.advance(2 * 3600 - 721)  # 10 % of two hours are 720 s
    await look(bench)
    bench.time.advance(2)
    await look(bench)
    tokens = [request.headers.get("token") for request in bench.cloud.requests]
    assert tokens == [None, "T1", "T1", None, "T2"]


@pytest.mark.parametrize(
    ("life_s", "age_s", "fresh"),
    [(86400, 77759, True), (86400, 77760, False), (1800, 1499, True), (1800, 1500, False),
     (240, 119, True), (240, 120, False), (240, -1, False)],
)  # fmt: skip
def test_the_margin_is_ten_percent_or_five_minutes(life_s: int, age_s: int, fresh: bool) -> None:
    token = Token("FAKE", NOW, NOW + timedelta(seconds=life_s))
    assert token.is_fresh(NOW + timedelta(seconds=age_s)) is fresh


async def test_a_refused_token_is_renewed_once_and_the_read_repeated(bench: Scripted) -> None:
    bench.cloud.logins = [login("T1", "2021-04-08T00:00:00+08:00"), login("T2", "2021-04-08T00:00:00+08:00")]
    for refusal in (httpx.Response(401), httpx.Response(403), bad("token无效"), bad("请重新登录")):
        bench.vault.kept.clear()
        bench.restart()
        bench.cloud.requests.clear()
        bench.cloud.logins = [
            login("T1", "2021-04-08T00:00:00+08:00"), login("T2", "2021-04-08T00:00:00+08:00"),
        ]  # fmt: skip
        bench.cloud.will(refusal, good(TASK))
        assert (await look(bench)).status is Status.SUCCEEDED
        tokens = [request.headers.get("token") for request in bench.cloud.requests]
        assert tokens == [None, "T1", None, "T2"]


@pytest.mark.parametrize("told", ["token不存在", "登录信息不存在,请重新登录", "Token not found"])
async def test_a_token_that_is_not_found_is_a_refused_token_and_no_missing_task(
    bench: Scripted, told: str
) -> None:
    bench.cloud.will(bad(told), good(TASK))
    assert (await look(bench)).status is Status.SUCCEEDED
    assert bench.cloud.paths.count("Account/Login") == 2


async def test_a_token_that_is_refused_twice_is_a_matter_of_credentials(bench: Scripted) -> None:
    bench.cloud.will(httpx.Response(401), httpx.Response(401))
    with pytest.raises(AuthFailed):
        await look(bench)
    assert len(bench.cloud.requests) == 4


async def test_a_refused_login_is_tried_again_after_30_s_then_60_s(bench: Scripted) -> None:
    refused = bad("用户名或密码错误")
    bench.cloud.logins = [refused, refused, refused, login("T", "2021-04-08T00:00:00+08:00")]
    bench.cloud.will(good(TASK))
    for pause_s in (29, 1, 59, 1, 119):
        with pytest.raises(AuthFailed) as failed:
            await look(bench)
        assert MD5 not in str(failed.value)
        bench.time.advance(pause_s)
    assert bench.cloud.paths == ["Account/Login"] * 3
    bench.time.advance(1)
    assert (await look(bench)).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    "reply",
    [httpx.ReadTimeout("x"), httpx.Response(500), httpx.Response(429), b"garbage", good({}), good({"token": ""}),
     good({"token": "ü"}), good(None)],
)  # fmt: skip
async def test_a_login_without_result_means_that_nothing_was_sent(bench: Scripted, reply: Any) -> None:
    bench.cloud.logins = [reply]
    with pytest.raises(NotSent):
        await look(bench)
    assert bench.cloud.paths == ["Account/Login"]


async def test_a_login_without_expiration_counts_for_an_hour(bench: Scripted) -> None:
    bench.cloud.logins = [good({"token": "T"}), good({"token": "U"})]
    bench.cloud.will(*[good(TASK)] * 3)
    await look(bench)
    bench.time.advance(3000)
    await look(bench)
    bench.time.advance(600)
    await look(bench)
    assert bench.cloud.paths.count("Account/Login") == 2


async def test_a_login_whose_expiration_has_passed_is_used_all_the_same(bench: Scripted) -> None:
    bench.cloud.logins = [login("T1", "2017-05-17T11:17:31.6895023+08:00")]
    bench.cloud.will(*[good(TASK)] * 3)
    for _ in range(3):
        await look(bench)
    assert [request.headers.get("token") for request in bench.cloud.requests] == [None, "T1", "T1", "T1"]


async def test_what_the_vault_holds_may_be_anything(bench: Scripted) -> None:
    for kept in (None, 1, {}, {"owner": 1}, {"token": "x"}, []):
        bench.vault.kept = {"token": kept}
        bench.restart()
        bench.cloud.will(good(TASK))
        assert (await look(bench)).status is Status.SUCCEEDED
    assert bench.cloud.paths.count("Account/Login") == 6


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (httpx.Response(401), AuthFailed), (httpx.Response(403), AuthFailed), (bad("密钥错误"), AuthFailed),
        (httpx.Response(429), RateLimited),
    ],
)  # fmt: skip
async def test_a_refused_key_is_not_tried_again(bench: Scripted, reply: Any, kind: type[Exception]) -> None:
    bench.cloud.will(reply)
    with pytest.raises(kind):
        await bench.adapter.inventory()
    assert len(bench.cloud.requests) == 1


async def test_a_read_is_tried_three_times_with_growing_pauses(bench: Scripted) -> None:
    bench.cloud.will(httpx.ReadTimeout("x"), httpx.Response(502), page())
    assert list(await bench.adapter.inventory()) == []
    first, second = bench.clock.slept
    assert 0.5 <= first <= 1 <= second <= 2
    bench.cloud.will(*[b"garbage"] * 3)
    with pytest.raises(LostAnswer):
        await bench.adapter.inventory()
    assert len(bench.cloud.requests) == 6


async def test_a_platform_that_refuses_everything_does_not_know_the_key(bench: Scripted) -> None:
    bench.cloud.will(bad("不行"), bad("不行"), bad("不行"))
    with pytest.raises(AuthFailed, match="company_no"):
        await bench.adapter.inventory()


async def test_a_key_that_was_good_is_doubted_only_after_many_refusals(bench: Scripted) -> None:
    bench.cloud.will(page(), *[bad("不行")] * 12)
    await bench.adapter.inventory()
    for _ in range(3):
        with pytest.raises(Refused):
            await bench.adapter.inventory()
    with pytest.raises(AuthFailed, match="company_no"):
        await bench.adapter.inventory()


async def test_an_echoed_key_is_masked(make: Callable[..., Scripted]) -> None:
    bench = make()
    bench.cloud.will(bad(f"bad {KEY}"), bad(f"bad {KEY}"), bad(f"bad {KEY}"))
    with pytest.raises(AuthFailed) as failed:
        await bench.adapter.inventory()
    assert KEY not in str(failed.value)
    bench.cloud.will(bad("no FAKE0000TOKEN here"))
    with pytest.raises(Refused) as refused:
        await look(bench)
    assert "FAKE0000TOKEN" not in str(refused.value)


async def test_the_check_proves_both_credentials(bench: Scripted, make: Callable[..., Scripted]) -> None:
    bench.cloud.will(page({"meter_comm_no": METER}, total=12))
    assert await bench.adapter.check() == "data API: key accepted, 12 meters; control API: logged in"
    assert bench.cloud.paths == ["MeterData/GetRealList2", "Account/Login"]
    only_data = make(control=None)
    only_data.cloud.will(page())
    assert "no control API" in await only_data.adapter.check()
