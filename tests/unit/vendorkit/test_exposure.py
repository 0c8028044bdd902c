"""A request as people may see it, against what httpx really sends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from bridge.vendorkit.http import Call, OpenGate, VendorHttp
from tests.fakes.adapters import FakeEffect, SleptClock

CALLS: list[tuple[Call, str, Any]] = [
    (Call("o", "GET", "/a"), "https://v.example.invalid/api/a", None),
    (
        Call("o", "GET", "/a", params={"q": "a b/ü&=", "token": "FAKEsecret", "x": ""}),
        "https://v.example.invalid/api/a?q=a+b%2F%C3%BC%26%3D&token=***&x=",
        None,
    ),
    (Call("o", "GET", "/a?pwd=FAKEsecret&n=1"), "https://v.example.invalid/api/a?pwd=***&n=1", None),
    (
        Call("o", "POST", "/a", json={"app_secret": "FAKEsecret", "data": [{"v": 1}]}),
        "https://v.example.invalid/api/a",
        {"app_secret": "***", "data": [{"v": 1}]},
    ),
    (
        Call("o", "POST", "/a", headers={"Content-Type": "application/json"}, content=b'{"v":1.50}'),
        "https://v.example.invalid/api/a",
        {"v": 1.5},
    ),
    (
        Call(
            "o", "POST", "/a",
            headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
            content=b"user_password=FAKEsecret&name=a+b&empty=",
        ),
        "https://v.example.invalid/api/a",
        {"user_password": "***", "name": "a b", "empty": ""},
    ),
    (Call("o", "POST", "/a", content=b"plain"), "https://v.example.invalid/api/a", "plain"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "url", "body"), CALLS)
async def test_what_is_shown_is_what_is_sent_but_for_secrets(call: Call, url: str, body: Any) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    clock = SleptClock(datetime(2024, 1, 1, tzinfo=UTC))
    http = VendorHttp(
        "https://v.example.invalid/api/", OpenGate(), clock, transport=httpx.MockTransport(answer)
    )
    effect = FakeEffect()
    await http.call(call, effect)
    await http.aclose()
    shown = http.shown(call)
    assert (shown.method, shown.url, shown.body) == (call.method, url, body)
    assert str(sent[0].url) == url.replace("***", "FAKEsecret")
    assert effect.requests == [shown.request()]
    assert all(sent[0].headers[name] == value for name, value in shown.headers.items())


def test_headers_of_secrets_are_masked() -> None:
    clock = SleptClock(datetime(2024, 1, 1, tzinfo=UTC))
    http = VendorHttp("https://v.example.invalid", OpenGate(), clock)
    call = Call(
        "o", "POST", "/a", json={}, headers={"token": "FAKE", "company_no": "1001", "data_api_key": "FAKE"}
    )
    assert http.shown(call).headers == {
        "token": "***",
        "company_no": "1001",
        "data_api_key": "***",
        "Content-Type": "application/json; charset=utf-8",
    }
