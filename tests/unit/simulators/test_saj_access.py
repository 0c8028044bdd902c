"""Tokens, headers, quotas and parameters of the simulated SAJ cloud: strict as the page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.simulators.saj_bench import DEVICE, NOON, PLANT, SajBench


@pytest.fixture
def saj() -> SajBench:
    return SajBench()


async def test_a_token_has_the_pages_form(saj: SajBench) -> None:
    data = (await saj.token())["data"]
    assert data["uid"] == 15000
    assert (data["scope"], data["token"], data["expires_in"]) == ("read", "bearer", 604800)
    assert len(data["access_token"]) == len(data["refresh_token"]) == 32


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"client_secret": "x"}, 10007), ({"client_id": "x"}, 10007), ({"grant_type": "password"}, 10099),
        ({"scope": "read admin"}, 10099), ({"scope": ""}, 10099), ({"colour": "red"}, 10006),
    ],
)  # fmt: skip
async def test_a_wrong_token_request_is_refused(saj: SajBench, params: dict[str, str], code: int) -> None:
    assert (await saj.token(**params))["error_code"] == code


@pytest.mark.parametrize("scope", ["read write", "read,write"])
async def test_scopes_are_separated_by_blanks_or_commas(saj: SajBench, scope: str) -> None:
    assert (await saj.token(scope=scope))["data"]["scope"] == "read write"


async def test_a_new_token_ends_the_one_before(saj: SajBench) -> None:
    await saj.token()
    old = dict(saj.headers)
    await saj.token()
    assert await saj.code("plant/list") == 0
    saj.headers = old
    assert await saj.code("plant/list") == 10012


async def test_a_token_expires(saj: SajBench) -> None:
    await saj.token()
    saj.time.advance(604799)
    assert await saj.code("plant/list") == 0
    saj.time.advance(1)
    assert await saj.code("plant/list") == 10010


@pytest.mark.parametrize(
    ("header", "value", "code"), [("token", "", 10002), ("token", "x", 10012), ("uid", "1", 10011)]
)
async def test_both_headers_must_fit(saj: SajBench, header: str, value: str, code: int) -> None:
    await saj.token()
    saj.headers[header] = value
    assert await saj.code("plant/list") == code


async def test_the_hour_is_used_up_until_the_next_full_hour() -> None:
    saj = SajBench(hourly_calls=3)
    saj.time.advance(1800)
    assert [await saj.code("plant/list") for _ in range(4)] == [0, 0, 0, 10003]
    saj.time.advance(1799)
    assert await saj.code("plant/list") == 10003
    saj.time.advance(1)
    assert await saj.code("plant/list") == 0


async def test_the_day_is_used_up_until_midnight_in_shanghai() -> None:
    saj = SajBench(daily_calls=2)
    assert [await saj.code("plant/list") for _ in range(3)] == [0, 0, 10004]
    saj.time.advance(12 * 3600 - 1)
    assert await saj.code("plant/list") == 10004
    saj.time.advance(1)
    assert await saj.code("plant/list") == 0


async def test_writing_needs_the_scope(saj: SajBench) -> None:
    await saj.token()
    assert (await saj.post("plant/delete", plant_id=PLANT))["error_code"] == 10014
    assert saj.effects() == []


@pytest.mark.parametrize(
    ("endpoint", "params", "code"),
    [
        ("plant/nothing", {}, 10005),
        ("plant/delete", {"plant_id": PLANT}, 10005),
        ("plant/data", {}, 10006),
        ("plant/data", {"plant_id": "1"}, 10006),
        ("plant/data", {"plant_id": PLANT, "page": "1"}, 10006),
        ("plant/list", {"perpage": "101"}, 10006),
        ("plant/list", {"page": "0"}, 10006),
        ("plant/list", {"search_type": "city"}, 10006),
        ("device/inverter/datasigns", {"device_id": DEVICE, "end_date": "2017-6-7"}, 10006),
        ("device/inverter/datasigns", {"device_id": "1", "end_date": "2017-06-07"}, 10006),
        (
            "device/inverter/data",
            {"device_id": DEVICE, "start_date": "2017-06-01", "end_date": "2017-06-09"},
            10006,
        ),
        (
            "device/inverter/data",
            {"device_id": DEVICE, "start_date": "2017-06-02", "end_date": "2017-06-01"},
            10006,
        ),
        ("device/inverter/plantsdata", {"plant_ids": "1,2,3,4", "end_date": "2017-06-07"}, 10006),
    ],
)
async def test_mistakes_get_the_pages_codes(
    saj: SajBench, endpoint: str, params: dict[str, str], code: int
) -> None:
    assert await saj.code(endpoint, **params) == code


async def test_an_end_point_may_be_closed_for_the_application(saj: SajBench) -> None:
    saj.cloud.configure(closed={"device/list": 10014})
    assert await saj.code("device/list", plant_id=PLANT) == 10014
    assert await saj.code("device/listsign", plant_id=PLANT) == 0


@pytest.mark.parametrize("wrong", [{"alarm_order": "random"}, {"hourly_calls": "5"}, {"speed": 1}])
def test_options_are_checked(saj: SajBench, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=":"):
        saj.cloud.configure(**wrong)


async def test_calls_are_on_record_with_end_point_and_device(saj: SajBench) -> None:
    await saj.get("plant/data", plant_id=PLANT)
    (call,) = saj.cloud.calls.calls(endpoint="plant/data")
    assert (call.device, call.status, call.at) == (PLANT, 200, NOON)
    assert saj.cloud.calls.counts() == {"accessToken": 1, "plant/data": 1}
