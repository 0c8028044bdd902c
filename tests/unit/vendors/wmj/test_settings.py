"""What an account of wmj takes, and what it says to a mistake."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bridge.pace.limits import Window
from bridge.vendors.wmj import SPEC
from bridge.vendors.wmj.settings import SANITY, WmjSettings
from tests.unit.vendors.wmj.bench import SECRET

LEAST: dict[str, Any] = {
    "id": "shop", "vendor": "wmj", "app_id": "0" * 32, "app_secret": SECRET, "devices": ["W7100000001"],
}  # fmt: skip


def test_the_defaults_are_those_of_the_page() -> None:
    settings = WmjSettings.model_validate(LEAST)
    assert settings.base_url == "https://wdev.wmj.com.cn/deviceApi"
    assert (settings.poll, settings.timeout, settings.online_check) == (60.0, 60.0, 600.0)
    assert settings.read_back == (5.0, 20.0, 60.0)
    assert {name: settings.range_of(name) for name in SANITY} == dict(SANITY)
    assert SPEC.local_inventory


def test_serial_numbers_are_made_upper_case_everywhere() -> None:
    devices = {
        "include": ["w71e0000001", "W71E0000001", "W7200000002"],
        "exclude": ["w72*"],
        "names": {"w71e0000001": "Shop"},
    }
    settings = WmjSettings.model_validate(LEAST | {"devices": devices})
    policy = settings.policy(("*",), ())
    assert policy.include == ("W71E0000001", "W7200000002")
    assert policy.exclude == ("W72*",)
    assert policy.names == {"W71E0000001": "Shop"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"devices": []}, "cannot list them"),
        ({"devices": ["W7300000001"]}, "expected W71 or W72"),
        ({"devices": ["W71*"]}, "expected W71 or W72"),
        ({"timeout": "10s"}, "at least 20s"),
        ({"read_back": []}, "ascending"),
        ({"read_back": ["20s", "5s"]}, "ascending"),
        ({"online_check": "1s"}, "at least 10s"),
        ({"ranges": {"power_w": [1, 2]}}, "no such parameter"),
        ({"ranges": {"overcurrent_a": [0, 63]}}, "within"),
        ({"ranges": {"overcurrent_a": [63, 10]}}, "within"),
        ({"app_id": ""}, "at least 1 character"),
        ({"app_secret": ""}, "at least 1 item"),
        ({"vendor": "saj"}, "wmj"),
        ({"api_key": "x"}, "not permitted"),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WmjSettings.model_validate(LEAST | change)


def test_an_account_needs_its_devices() -> None:
    without = {name: value for name, value in LEAST.items() if name != "devices"}
    with pytest.raises(ValidationError, match="devices"):
        WmjSettings.model_validate(without)


def test_the_secret_shows_nowhere() -> None:
    settings = WmjSettings.model_validate(LEAST)
    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()


def test_the_limits_are_our_own_caution() -> None:
    requests, device = SPEC.limits(WmjSettings.model_validate(LEAST))
    assert (requests.name, requests.endpoint, requests.scope) == ("requests", "all", "account")
    assert (requests.windows, requests.reserve, requests.documented) == ((Window(5, 1.0),), 1, False)
    assert (device.name, device.endpoint, device.scope) == ("device", "send", "device")
    assert (device.windows, device.per_key, device.concurrency) == ((Window(1, 1.0),), True, 1)
    assert not device.documented
