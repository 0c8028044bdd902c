"""The settings of a jrhsz account, and the limits of the platform."""

from __future__ import annotations

from datetime import timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator

from bridge.domain.quantity import Duration
from bridge.pace.limits import Limit, Window
from bridge.vendorkit.settings import AccountSettings, WebAddress

SPACING_S = 2.2
"""The platform allows a call of an end point every 2 s (section 3); the rest is for the way there."""

ACCOUNT_LIMIT = "account"
"""The limit that all calls share while somebody else seems to use the account (section 3, rule 3)."""

ENDPOINTS = (
    "meterList",
    "readMeter",
    "readMeterList",
    "readMeterDataList",
    "meterInstruct",
    "peaksValleysRead",
    "cameraRead",
)
"""The end points below `/meter/`; each is counted by itself."""

_CHINA = timezone(timedelta(hours=8))


class JrhszSettings(AccountSettings):
    """One API account of the platform, which sees the meters of one project.

    `inventory`: how often the list of meters with gate and connection is read. `records`: how often stored
    readings, consumption, time-of-use and camera records are. `timeout` is that of one request. `read_back` are
    the ages of an instruction at which the meter's gate or reading is looked at. `power_scale` multiplies powers
    (11-Q9). `daily_type` is the undocumented code of the daily data set (Q16); None: it is not read.
    """

    vendor: Literal["jrhsz"]
    base_url: WebAddress = "http://imrapi.jrhsz.com"
    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)
    poll: Duration = 900.0
    inventory: Duration = 600.0
    records: Duration = 3600.0
    timeout: Duration = 30.0
    read_back: tuple[Duration, ...] = (10.0, 30.0, 60.0, 120.0, 300.0)
    body_encoding: Literal["json", "form"] = "json"
    power_scale: Decimal = Field(default=Decimal(1), gt=0, le=1_000_000)
    daily_type: str | None = Field(default=None, min_length=1)

    @field_validator("inventory", "records", "timeout")
    @classmethod
    def _one_second(cls, value: float) -> float:
        if value < 1:
            raise ValueError("expected at least 1s")
        return value

    @field_validator("read_back")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or list(value) != sorted(set(value)) or value[0] <= 0:
            raise ValueError("expected ascending durations such as [10s, 30s, 60s, 120s, 300s]")
        return value

    def zone(self) -> tzinfo:
        """The zone of the platform's local times: China, without daylight saving, unless configured."""
        return ZoneInfo(self.timezone) if self.timezone is not None else _CHINA


def limits(_settings: JrhszSettings) -> tuple[Limit, ...]:
    """One call per 2 s and end point is documented (section 3); that a single account counts, is not."""
    window = (Window(1, SPACING_S),)
    return (
        *(Limit(name, f"/meter/{name}", "account", window, concurrency=1) for name in ENDPOINTS),
        Limit(ACCOUNT_LIMIT, "all", "account", window, concurrency=1, documented=False),
    )
