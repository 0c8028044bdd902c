"""The account's settings."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from bridge.vendors.saj import SPEC
from bridge.vendors.saj.settings import SajSettings

FIELDS = {"id": "roof", "vendor": "saj", "app_id": "15000", "app_key": "FAKE0000"}


def test_the_defaults_are_the_pages() -> None:
    settings = SajSettings.model_validate(FIELDS)
    assert settings.base_url == "https://api.saj-solar.com"
    assert (settings.poll, settings.plant_poll, settings.alarm_poll, settings.list_poll) == (
        300,
        900,
        900,
        3600,
    )
    assert (settings.night_poll, settings.stale_after) == (1800, 1800)
    assert (settings.quota_timezone, settings.zone) == ("Asia/Shanghai", ZoneInfo("Asia/Shanghai"))
    assert (settings.token_in, settings.post_encoding, settings.scope_separator) == ("header", "form", " ")
    assert SPEC.settings is SajSettings
    assert not SPEC.local_inventory


def test_the_accounts_timezone_is_the_one_of_times_without_designator() -> None:
    assert SajSettings.model_validate(FIELDS | {"timezone": "Europe/Berlin"}).zone == ZoneInfo(
        "Europe/Berlin"
    )


def test_secrets_are_not_shown() -> None:
    settings = SajSettings.model_validate(FIELDS | {"grant_type": "FAKE-GRANT"})
    assert "FAKE" not in repr(settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"app_key": ""}, {"app_id": ""}, {"quota_timezone": "Mars/Base"}, {"quota_scope": "both"},
        {"post_encoding": "json"}, {"alarm_equal_times": "maybe"}, {"alarm_poll": "0s"}, {"poll": "5"},
        {"scope_separator": ""}, {"plant_poll": "x"}, {"colour": "red"},
    ],
)  # fmt: skip
def test_a_mistake_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SajSettings.model_validate(FIELDS | wrong)
