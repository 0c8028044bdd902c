"""What an account of jrhsz takes, and what it says to a mistake."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.pace.limits import Window
from bridge.vendors.jrhsz import SPEC
from bridge.vendors.jrhsz.settings import JrhszSettings
from tests.unit.vendors.jrhsz.bench import NOW, PASSWORD

LEAST: dict[str, Any] = {"id": "flats", "vendor": "jrhsz", "username": "demo_user", "password": PASSWORD}


def test_the_defaults_are_those_of_the_page() -> None:
    settings = JrhszSettings.model_validate(LEAST)
    assert settings.base_url == "http://imrapi.jrhsz.com"
    assert (settings.poll, settings.inventory, settings.records) == (900.0, 600.0, 3600.0)
    assert settings.read_back == (10.0, 30.0, 60.0, 120.0, 300.0)
    assert (settings.power_scale, settings.body_encoding, settings.daily_type) == (1, "json", None)
    assert settings.zone().utcoffset(NOW) == timedelta(hours=8)
    assert not SPEC.local_inventory


def test_another_zone_and_scale_may_be_configured() -> None:
    settings = JrhszSettings.model_validate(LEAST | {"timezone": "Europe/Berlin", "power_scale": "0.001"})
    assert settings.zone().utcoffset(NOW.replace(tzinfo=None)) == timedelta(hours=2)
    assert settings.power_scale == Decimal("0.001")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"username": ""}, "at least 1 character"),
        ({"password": ""}, "at least 1 item"),
        ({"power_scale": "0"}, "greater than 0"),
        ({"power_scale": "NaN"}, "finite"),
        ({"read_back": []}, "ascending"),
        ({"read_back": ["30s", "10s"]}, "ascending"),
        ({"records": "10ms"}, "at least 1s"),
        ({"body_encoding": "xml"}, "json"),
        ({"daily_type": ""}, "at least 1 character"),
        ({"vendor": "wmj"}, "jrhsz"),
        ({"token": "x"}, "not permitted"),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        JrhszSettings.model_validate(LEAST | change)


def test_the_password_shows_nowhere() -> None:
    settings = JrhszSettings.model_validate(LEAST)
    assert PASSWORD not in repr(settings)
    assert PASSWORD not in settings.model_dump_json()


def test_each_end_point_has_a_documented_limit_of_its_own() -> None:
    limits = {limit.name: limit for limit in SPEC.limits(JrhszSettings.model_validate(LEAST))}
    account = limits.pop("account")
    assert len(limits) == 7
    for name, limit in limits.items():
        assert (limit.endpoint, limit.scope, limit.windows) == (
            f"/meter/{name}",
            "account",
            (Window(1, 2.2),),
        )
        assert (limit.concurrency, limit.per_key, limit.documented) == (1, False, True)
    assert (account.windows, account.documented) == ((Window(1, 2.2),), False)
