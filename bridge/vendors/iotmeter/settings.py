"""The settings of an iotmeter account, and what they mean for the pace of its calls."""

from __future__ import annotations

from datetime import tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator

from bridge.domain.quantity import Duration
from bridge.domain.settings import Settings
from bridge.pace.limits import Limit, Window
from bridge.vendorkit.settings import AccountSettings, HeaderSecret, HeaderText, WebAddress

ZONE = "Asia/Shanghai"
"""Where the platform's clock stands (page section 1)."""

MAX_PAGE_ROWS = 200


class DataSettings(Settings):
    """`data`: readings, alarms, events. `page_rows`: records asked for at once."""

    base_url: WebAddress
    company_no: HeaderText = Field(min_length=1, max_length=10)
    api_key: HeaderSecret = Field(min_length=1)
    page_rows: int = Field(default=MAX_PAGE_ROWS, ge=1, le=MAX_PAGE_ROWS)


class ControlSettings(Settings):
    """`control`: the queue of commands. `md5_upper`: the login wants the MD5 of the password in upper case."""

    base_url: WebAddress
    login_name: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)
    md5_upper: bool = False


class IotMeterSettings(AccountSettings):
    """One project company on the platform. Without `control` there are no commands but `read` and `history`.

    `processor` is the prefix of command types (page 11-Q1). `alarm_poll`: how often the lists of alarms and events
    are read (default: as `poll`). `offline_after`: the silence after which a device counts as off line.
    `recharge_check`: the counters of a meter are read, and compared, before each recharge. `purchase_unit`: what
    `purchase_total` counts, where that is known. `timeout` is that of one request.
    """

    vendor: Literal["iotmeter"]
    data: DataSettings
    control: ControlSettings | None = None
    poll: Duration = 3600.0
    alarm_poll: Duration | None = None
    processor: str = Field(default="iotmeterv1", pattern=r"^[A-Za-z0-9_]{1,50}$")
    offline_after: Duration = 48 * 3600.0
    recharge_check: bool = False
    purchase_unit: Literal["CNY", "m3"] | None = None
    timeout: Duration = 30.0

    @field_validator("alarm_poll", "timeout")
    @classmethod
    def _at_least_a_second(cls, value: float | None) -> float | None:
        if value is not None and value < 1:
            raise ValueError("expected at least 1s")
        return value

    @property
    def zone(self) -> tzinfo:
        """The zone of the platform's local times."""
        return ZoneInfo(self.day_zone)

    @property
    def day_zone(self) -> str:
        """Where the platform's clock stands, unless the configuration says otherwise."""
        return self.timezone or ZONE

    @property
    def alarm_interval_s(self) -> float:
        """Seconds between two looks at the lists of alarms and events."""
        return self.poll if self.alarm_poll is None else self.alarm_poll


def limits(settings: IotMeterSettings) -> tuple[Limit, ...]:
    """The page documents no limits (section 3); these are its recommendations."""
    data = Limit(
        "data",
        endpoint="data API",
        scope="account",
        windows=(Window(2, 1.0),),
        concurrency=1,
        documented=False,
    )
    if settings.control is None:
        return (data,)
    control = Limit(
        "control",
        endpoint="control API",
        scope="account",
        windows=(Window(2, 1.0),),
        documented=False,
    )
    return (data, control)
