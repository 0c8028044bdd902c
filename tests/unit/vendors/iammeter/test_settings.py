"""What an account of iammeter takes, what it says to a mistake, and the limits that follow (section 3)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bridge.pace.limits import Limit, Window
from bridge.vendors.iammeter import SPEC
from bridge.vendors.iammeter.settings import IammeterSettings
from tests.unit.vendors.iammeter.bench import PASSWORD, TOKEN

LEAST: dict[str, Any] = {"id": "home", "vendor": "iammeter", "token": TOKEN}
BY_LOGIN: dict[str, Any] = {"id": "home", "vendor": "iammeter", "username": "demo", "password": PASSWORD}


def limits(**options: Any) -> dict[str, Limit]:
    return {limit.name: limit for limit in SPEC.limits(IammeterSettings.model_validate(LEAST | options))}


def test_the_defaults_are_those_of_the_page() -> None:
    settings = IammeterSettings.model_validate(LEAST)
    assert settings.base_url == "https://www.iammeter.com/api/v1"
    assert (settings.poll, settings.stale_after, settings.token_in) == (300.0, 900.0, "header")
    assert (settings.share_latest_budget, settings.site_history) == (True, False)
    assert (settings.metersdata_layout, settings.history_time_order) == ("auto", "local_first")
    assert not SPEC.local_inventory


@pytest.mark.parametrize("fields", [LEAST, BY_LOGIN, LEAST | BY_LOGIN])
def test_a_token_a_login_or_both_will_do(fields: dict[str, Any]) -> None:
    shown = repr(IammeterSettings.model_validate(fields))
    assert TOKEN not in shown
    assert PASSWORD not in shown


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": "home", "vendor": "iammeter"}, "expected a token, or username and password"),
        ({"id": "home", "vendor": "iammeter", "username": "demo"}, "belong together"),
        (LEAST | {"password": PASSWORD}, "belong together"),
        (LEAST | {"token": ""}, "at least 1"),
        (LEAST | {"token": f"{TOKEN}\n"}, "ASCII text without spaces at its ends"),
        (LEAST | {"token": "a\u00fcb"}, "ASCII"),
        (LEAST | {"token_in": "body"}, "'header' or 'query'"),
        (LEAST | {"stale_after": "0s"}, "at least 1s"),
        (LEAST | {"metersdata_layout": "both"}, "'auto', 'basic' or 'advanced'"),
        (LEAST | {"vendor": "saj"}, "iammeter"),
        (LEAST | {"app_id": "x"}, "not permitted"),
    ],
)
def test_mistakes_are_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        IammeterSettings.model_validate(fields)
    assert PASSWORD not in str(caught.value)


def test_the_limits_are_those_of_the_table() -> None:
    hour, day = Window(12, 3600), Window(288, 86400)
    found = limits()
    assert set(found) == {
        "login", "meterdata", "metersdata", "power_analysis", "offline_analysis", "history", "sitelist",
        "energyhistory",
    }  # fmt: skip
    assert (found["login"].scope, found["login"].windows) == ("ip", (Window(5, 3600), Window(30, 86400)))
    assert (found["meterdata"].per_key, found["meterdata"].windows) == (True, (hour, day))
    assert (found["metersdata"].per_key, found["metersdata"].windows) == (False, (Window(1, 300), hour, day))
    for name in ("power_analysis", "offline_analysis"):
        assert (found[name].per_key, found[name].windows) == (True, (Window(5, 86400),))
    assert (found["history"].per_key, found["history"].windows) == (True, (hour,))
    assert (found["sitelist"].per_key, found["sitelist"].windows) == (False, (Window(12, 86400),))
    assert (found["energyhistory"].per_key, found["energyhistory"].windows) == (True, (hour,))
    assert {name for name, limit in found.items() if not limit.documented} == {
        "history",
        "sitelist",
        "energyhistory",
    }


def test_the_advanced_latest_data_may_have_a_limit_of_their_own() -> None:
    found = limits(share_latest_budget=False)
    assert found["meterdata2"].windows == found["meterdata"].windows
    assert found["meterdata2"].per_key
