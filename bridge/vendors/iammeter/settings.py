"""The settings of an iammeter account, and the vendor's limits for it (page iammeter, section 3)."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from bridge.domain.quantity import Duration
from bridge.pace.limits import Limit, Window
from bridge.vendorkit.settings import AccountSettings, HeaderSecret, WebAddress

HOUR_S = 3600.0
DAY_S = 86400.0

LATEST = "meterdata"
LATEST_ADVANCED = "meterdata2"
ALL_LATEST = "metersdata"
LOGIN = "login"
POWER_ANALYSIS = "power_analysis"
OFFLINE_ANALYSIS = "offline_analysis"
HISTORY = "history"
SITES = "sitelist"
ENERGY_HISTORY = "energyhistory"


class IammeterSettings(AccountSettings):
    """One account of IAMMETER-cloud: a `token` copied from its web page, or `username` and `password` to fetch
    one; with both, the token is used until it is refused.

    `stale_after`: a meter whose newest sample is older counts as offline. `share_latest_budget`: the basic and
    the advanced latest data count against one limit. `metersdata_layout`: what a row of six elements means there.
    `history_time_order`: which of the two times of a basic history record comes first, where they do not tell.
    `site_history`: sites become devices, whose energy balance goes to `history`.
    """

    reports_steadily: ClassVar[bool] = True

    vendor: Literal["iammeter"]
    base_url: WebAddress = "https://www.iammeter.com/api/v1"
    token: HeaderSecret | None = Field(default=None, min_length=1)
    username: str | None = Field(default=None, min_length=1)
    password: SecretStr | None = Field(default=None, min_length=1)
    token_in: Literal["header", "query"] = "header"  # noqa: S105 # a place, no secret
    poll: Duration = 300.0
    stale_after: Duration = 900.0
    share_latest_budget: bool = True
    metersdata_layout: Literal["auto", "basic", "advanced"] = "auto"
    history_time_order: Literal["local_first", "utc_first"] = "local_first"
    site_history: bool = False
    timeout: Duration = 30.0

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("expected username and password: they belong together")
        if self.token is None and self.username is None:
            raise ValueError("expected a token, or username and password")
        return self

    @field_validator("stale_after", "timeout")
    @classmethod
    def _not_nothing(cls, value: float) -> float:
        if value < 1:
            raise ValueError("expected at least 1s")
        return value


def limits(settings: IammeterSettings) -> tuple[Limit, ...]:
    """The table of section 3. What the vendor does not document has the page's defaults."""
    hourly, daily = Window(12, HOUR_S), Window(288, DAY_S)
    latest = [LATEST] if settings.share_latest_budget else [LATEST, LATEST_ADVANCED]
    five_a_day = (Window(5, DAY_S),)
    return (
        Limit(LOGIN, "/user/login", "ip", (Window(5, HOUR_S), Window(30, DAY_S))),
        *(Limit(name, f"/site/{name}/{{sn}}", "device", (hourly, daily), per_key=True) for name in latest),
        Limit(ALL_LATEST, "/site/metersdata", "account", (Window(1, 300.0), hourly, daily)),
        Limit(POWER_ANALYSIS, "/site/powerAnalysis", "device", five_a_day, per_key=True),
        Limit(OFFLINE_ANALYSIS, "/site/offlineAnalysis", "device", five_a_day, per_key=True),
        Limit(HISTORY, "/site/meterdatalist/{sn}", "device", (hourly,), per_key=True, documented=False),
        Limit(SITES, "/user/sitelist", "account", (Window(12, DAY_S),), reserve=2, documented=False),
        Limit(ENERGY_HISTORY, "/site/energyhistory/{id}", "site", (hourly,), per_key=True, documented=False),
    )
