"""The settings of a saj account, and the limits that the gateway sets itself for it."""

from __future__ import annotations

from datetime import tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator

from bridge.domain.quantity import Duration
from bridge.pace.limits import Limit, Window
from bridge.vendorkit.settings import AccountSettings, WebAddress

HOME_ZONE = "Asia/Shanghai"
REQUESTS, TOKEN, ENDPOINT = "requests", "token", "endpoint"
"""The names of the limits."""

_RESERVED_FOR_COMMANDS = 5


class SajSettings(AccountSettings):
    """One application at api.saj-solar.com.

    `timezone` is the page's `default_timezone`: of times without designator where the plant's own is unknown.
    `grant_type` only where the vendor issued one. `list_poll`, `plant_poll`, `alarm_poll` are the intervals of plant
    list, plant data and alarms; `night_poll` that of sleeping inverters. After `stale_after` without data an
    inverter counts as offline. `events` also reads the device events, which repeat the alarms.
    """

    vendor: Literal["saj"]
    base_url: WebAddress = "https://api.saj-solar.com"
    app_id: str = Field(min_length=1)
    app_key: SecretStr = Field(min_length=1)
    grant_type: SecretStr | None = Field(default=None, min_length=1)
    scope_separator: str = Field(default=" ", min_length=1, max_length=3)
    token_in: Literal["header", "query"] = "header"  # noqa: S105 # a place, no secret
    post_encoding: Literal["form", "query"] = "form"
    poll: Duration = 300.0
    list_poll: Duration = 3600.0
    plant_poll: Duration = 900.0
    alarm_poll: Duration = 900.0
    night_poll: Duration = 1800.0
    stale_after: Duration = 1800.0
    timeout: Duration = 30.0
    quota_timezone: str = HOME_ZONE
    quota_scope: Literal["account", "endpoint"] = "account"
    alarm_equal_times: Literal["raised", "cleared"] = "raised"
    addsign_plant_id: Literal["omit", "send"] = "omit"
    events: bool = False

    @field_validator("list_poll", "plant_poll", "alarm_poll", "night_poll", "stale_after", "timeout")
    @classmethod
    def _long_enough(cls, value: float) -> float:
        if value < 1:
            raise ValueError("expected at least 1s")
        return value

    @field_validator("quota_timezone")
    @classmethod
    def _quota_zone(cls, value: str) -> str:
        return cls._zone(value) or HOME_ZONE

    @property
    def zone(self) -> tzinfo:
        """Where times without designator are local, unless the plant says."""
        return ZoneInfo(self.timezone or HOME_ZONE)


def limits(settings: SajSettings) -> tuple[Limit, ...]:
    """The page gives no figures (section 3); these are its advice. Token requests count against both."""
    budget = (Window(500, 3600.0), Window(6000, 86400.0))
    account = Limit(
        REQUESTS,
        endpoint="all",
        scope="account",
        windows=(Window(1, 0.2), *budget),
        concurrency=2,
        reserve=_RESERVED_FOR_COMMANDS,
        documented=False,
    )
    token = Limit(
        TOKEN,
        endpoint="accessToken",
        scope="account",
        windows=(Window(6, 3600.0), Window(24, 86400.0)),
        documented=False,
    )
    if settings.quota_scope == "account":
        return account, token
    each = Limit(ENDPOINT, endpoint="each", scope="endpoint", windows=budget, per_key=True, documented=False)
    return account, token, each
