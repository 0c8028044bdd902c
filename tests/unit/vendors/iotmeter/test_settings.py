"""What an account of iotmeter takes, and what it says to a mistake."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.domain.device import DeviceKind
from bridge.pace.limits import Window
from bridge.vendors.iotmeter import SPEC
from bridge.vendors.iotmeter.settings import IotMeterSettings

SECRETS = ("FAKE0000KEY", "FAKE0000PASSWORD")
FULL: dict[str, Any] = {
    "id": "gas",
    "vendor": "iotmeter",
    "data": {"base_url": "http://data.example.invalid:2102/", "company_no": "1001", "api_key": SECRETS[0]},
    "control": {
        "base_url": "http://ctrl.example.invalid:2101", "login_name": "demo_admin", "password": SECRETS[1],
    },
}  # fmt: skip


def test_the_defaults_are_those_of_the_page() -> None:
    settings = IotMeterSettings.model_validate(FULL)
    assert (settings.poll, settings.alarm_interval_s, settings.offline_after) == (3600.0, 3600.0, 172800.0)
    assert (settings.processor, settings.recharge_check, str(settings.zone)) == (
        "iotmeterv1", False, "Asia/Shanghai",
    )  # fmt: skip
    assert settings.data.base_url == "http://data.example.invalid:2102"
    assert settings.data.page_rows == 200
    assert SPEC.kinds == {DeviceKind.GAS_METER, DeviceKind.RTU}
    assert not SPEC.local_inventory


def test_texts_of_a_file_are_taken() -> None:
    changed = deepcopy(FULL)
    changed["data"]["page_rows"] = "50"
    changed["control"]["md5_upper"] = "true"
    more = {"recharge_check": "true", "alarm_poll": "6h", "offline_after": "3d", "purchase_unit": "CNY"}
    settings = IotMeterSettings.model_validate(changed | more)
    assert (settings.data.page_rows, settings.recharge_check, settings.alarm_interval_s) == (
        50,
        True,
        21600.0,
    )
    assert settings.control is not None
    assert settings.control.md5_upper


def test_control_may_be_left_out() -> None:
    without = {name: value for name, value in FULL.items() if name != "control"}
    settings = IotMeterSettings.model_validate(without)
    assert settings.control is None
    assert [limit.name for limit in SPEC.limits(settings)] == ["data"]


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("data", {"base_url": "data.example.invalid"}, "expected an address"),
        ("data", {"base_url": "ftp://x"}, "expected an address"),
        ("control", {"base_url": "http://user:word@x"}, "without user"),
        ("data", {"company_no": ""}, "at least 1"),
        ("data", {"company_no": "公司"}, "ASCII"),
        ("data", {"api_key": ""}, "at least 1"),
        ("data", {"api_key": "a\nb"}, "ASCII"),
        ("data", {"api_key": "ab "}, "without spaces at its ends"),
        ("data", {"page_rows": "0"}, "greater than or equal"),
        ("data", {"key": "x"}, "not permitted"),
        ("control", {"login_name": ""}, "at least 1"),
        ("control", {"password": ""}, "at least 1"),
        (None, {"processor": "a b"}, "pattern"),
        (None, {"alarm_poll": "0.5s"}, "at least 1s"),
        (None, {"timeout": "10ms"}, "at least 1s"),
        (None, {"purchase_unit": "USD"}, "CNY"),
        (None, {"vendor": "wmj"}, "iotmeter"),
        (None, {"timezone": "Moon/Base"}, "time zone"),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(
    part: str | None, change: dict[str, Any], words: str
) -> None:
    changed = deepcopy(FULL)
    (changed if part is None else changed[part]).update(change)
    with pytest.raises(ValidationError, match=words):
        IotMeterSettings.model_validate(changed)


def test_the_secrets_show_nowhere() -> None:
    settings = IotMeterSettings.model_validate(FULL)
    for secret in SECRETS:
        assert secret not in repr(settings)
        assert secret not in settings.model_dump_json()


def test_the_limits_are_our_own_caution() -> None:
    data, control = SPEC.limits(IotMeterSettings.model_validate(FULL))
    assert (data.name, data.windows, data.concurrency) == ("data", (Window(2, 1.0),), 1)
    assert (control.name, control.windows) == ("control", (Window(2, 1.0),))
    assert not data.documented
    assert not control.documented
