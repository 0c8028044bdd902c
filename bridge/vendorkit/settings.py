"""The settings that every account has, whatever its vendor (CONTRACT section 10)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator

from bridge.domain.account import AccountPolicy
from bridge.domain.command_names import CommandName, CommandPattern
from bridge.domain.ids import ACCOUNT_ID, GATEWAY
from bridge.domain.interlocks import LONGEST_SWITCH_INTERVAL_S, Interlocks, Rules
from bridge.domain.quantity import Duration, duration_s, duration_text
from bridge.domain.settings import Network, Settings

__all__ = [
    "AccountSettings",
    "CommandRules",
    "DeviceId",
    "DeviceSelection",
    "GapSettings",
    "HeaderSecret",
    "HeaderText",
    "PushSettings",
    "Settings",
    "WebAddress",
    "selection",
]


def _web_address(text: str) -> str:
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("expected an address without user and password")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or no IPv6 address
        usable = False
    if not usable or _NOT_IN_ADDRESS.search(text):
        raise ValueError("expected an address such as https://cloud.example or http://platform.example:2102")
    return text.rstrip("/")


_NOT_IN_ADDRESS = re.compile(r"[\s?#\x00-\x1f\x7f]")

WebAddress = Annotated[str, AfterValidator(_web_address)]
"""A settings field that says where a vendor's HTTP interface is."""


def _header_text(text: str) -> str:
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("expected plain ASCII text without spaces at its ends: it is sent as an HTTP header")
    return text


def _header_secret(secret: SecretStr) -> SecretStr:
    _header_text(secret.get_secret_value())
    return secret


HeaderText = Annotated[str, AfterValidator(_header_text)]
"""A settings field that a vendor is told in an HTTP header."""

HeaderSecret = Annotated[SecretStr, AfterValidator(_header_secret)]
"""A secret that a vendor is told in an HTTP header."""

DeviceId = Annotated[str, Field(min_length=1)]


class DeviceSelection(Settings):
    """`devices`: a list of ids to include, or a mapping with `include`, `exclude` and `names`."""

    include: tuple[DeviceId, ...] = ()
    exclude: tuple[DeviceId, ...] = ()
    names: Mapping[DeviceId, str] = Field(default_factory=dict)


def selection(value: Any) -> Any:
    """A list of ids as the mapping that it is short for."""
    return {"include": value} if isinstance(value, list) else value


Selection = Annotated[
    DeviceSelection,
    BeforeValidator(selection, json_schema_input_type=tuple[str, ...] | DeviceSelection),
]


class CommandRules(Settings):
    """`commands` of an account: names (or patterns) that may be used, and names that need a confirmation."""

    allow: tuple[CommandPattern, ...] | None = None
    confirm: tuple[CommandName, ...] = ()


Amount = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
"""A limit: a number that is not negative."""


class DeviceInterlocks(Settings):
    """What is forbidden for a device beyond the vendor's own rules; what is not written is not forbidden."""

    min_switch_interval: Duration | None = None
    max_recharge: Amount | None = None
    max_recharge_per_day: Amount | None = None
    max_load_w: Amount | None = None
    max_load_a: Amount | None = None
    max_load_age: Duration | None = None
    confirm: tuple[CommandName, ...] = ()

    @field_validator("min_switch_interval")
    @classmethod
    def _at_most_a_day(cls, value: float | None) -> float | None:
        if value is not None and value > LONGEST_SWITCH_INTERVAL_S:
            raise ValueError(f"expected at most {duration_text(LONGEST_SWITCH_INTERVAL_S)}")
        return value

    def rules(self) -> Rules:
        """As the flow reads them."""
        return Rules(
            min_switch_interval_s=self.min_switch_interval,
            max_recharge=self.max_recharge,
            max_recharge_per_day=self.max_recharge_per_day,
            max_load_w=self.max_load_w,
            max_load_a=self.max_load_a,
            max_load_age_s=self.max_load_age,
            confirm=frozenset(self.confirm),
        )


class AccountInterlocks(DeviceInterlocks):
    """`interlocks` of an account: for all its devices, and under `devices` for single ones (ids or patterns)."""

    devices: Mapping[str, DeviceInterlocks] = Field(default_factory=dict)


class PushSettings(Settings):
    """`push` of an account whose vendor calls us. `poll_factor`: a device that pushes what would be polled is polled
    this many times less often."""

    secret: SecretStr
    allow_from: tuple[Network, ...] = ()
    require_key_headers: bool = False
    poll_factor: float = Field(default=4.0, ge=1, le=1000)

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if len(text) < 8 or not re.fullmatch(r"[A-Za-z0-9._~-]+", text):
            raise ValueError(
                "expected at least 8 characters out of letters, digits, '-', '.', '_', '~' "
                "(128 random bits are better: `openssl rand -hex 16`)"
            )
        return value


class GapSettings(Settings):
    """`gaps` of an account: whether holes are filled from the vendor's past, for how long after it was found one may
    still be filled by a late upload, and how far back it is worth it."""

    fill: bool = True
    late: Duration = 86400.0
    back: Duration = 31 * 86400.0


EXPIRE_AFTER_S, EXPIRE_AFTER_POLLS = 3600, 10

_RATE = re.compile(r"\s*(\d{1,9})\s*/\s*(.+?)\s*\Z")


def _rate_text(text: str) -> str:
    AccountSettings.rate(text)
    return text


class AccountSettings(Settings):
    """Base of each vendor's account settings. `reports_steadily`: its devices have a new value at every poll, day and
    night, so that an old one says nothing."""

    reports_steadily: ClassVar[bool] = False

    id: str
    vendor: str
    poll: Duration = 60.0
    timezone: str | None = None
    devices: Selection = DeviceSelection()
    commands: CommandRules = CommandRules()
    interlocks: AccountInterlocks = AccountInterlocks()
    limits: Mapping[str, Annotated[str, AfterValidator(_rate_text)]] = Field(default_factory=dict)
    limits_unsafe: bool = False
    customer_data: bool = False
    counter_guard: Literal["publish", "hold"] = "publish"
    alarm_clear_after: Duration = 86400.0
    alarm_backlog: Duration = 86400.0
    alarm_severity: Mapping[str, Literal["info", "warning", "critical"]] = Field(default_factory=dict)
    push: PushSettings | None = None
    gaps: GapSettings = GapSettings()

    @field_validator("id")
    @classmethod
    def _account_id(cls, value: str) -> str:
        if not ACCOUNT_ID.match(value):
            raise ValueError("expected 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter or digit")
        if value == GATEWAY:
            raise ValueError(f"{GATEWAY!r} is the gateway's own name; choose another")
        return value

    @field_validator("poll")
    @classmethod
    def _poll(cls, value: float) -> float:
        if value < 1:
            raise ValueError("expected at least 1s")
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (KeyError, ValueError, OSError):
                raise ValueError("expected a time zone such as Europe/Berlin") from None
        return value

    @staticmethod
    def rate(text: str) -> tuple[int, float]:
        """`10/1h` as (10, 3600.0). Raises ValueError that says what was expected."""
        match = _RATE.match(text)
        if match is None or int(match.group(1)) < 1:
            raise ValueError("expected a rate such as 4/1s, 10/1h or 200/1d")
        period = match.group(2)
        seconds = duration_s(period if period[:1].isdigit() else "1" + period)
        if seconds == 0:
            raise ValueError("expected a rate over some time, such as 4/1s, 10/1h or 200/1d")
        return int(match.group(1)), seconds

    def policy(self, allow: tuple[str, ...], confirm: tuple[str, ...]) -> AccountPolicy:
        """The account's rules; `allow` and `confirm` are those of the section `commands`, used where the
        account does not say (`allow`) and in addition (`confirm`)."""
        return AccountPolicy(
            account=self.id,
            vendor=self.vendor,
            allow=self.commands.allow if self.commands.allow is not None else allow,
            confirm=frozenset((*confirm, *self.commands.confirm)),
            customer_data=self.customer_data,
            alarm_clear_after_s=self.alarm_clear_after,
            alarm_backlog_s=self.alarm_backlog,
            counter_guard=self.counter_guard,
            severities=dict(self.alarm_severity),
            include=self.devices.include,
            exclude=self.devices.exclude,
            names=dict(self.devices.names),
            interlocks=Interlocks(
                self.interlocks.rules(),
                {name: one.rules() for name, one in self.interlocks.devices.items()},
                self.day_zone,
            ),
            expire_after_s=self._expire_after_s(),
        )

    @property
    def day_zone(self) -> str:
        """Where the days begin that interlocks count by."""
        return self.timezone or "UTC"

    def _expire_after_s(self) -> int | None:
        """Far beyond what the vendor's limits may stretch `poll` to; narrower limits of the account may stretch it
        to anything."""
        if not self.reports_steadily or self.limits:
            return None
        return max(EXPIRE_AFTER_S, int(EXPIRE_AFTER_POLLS * self.poll))
