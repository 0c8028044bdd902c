"""The settings of a wmj account, and what they mean for the vendor's limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator

from bridge.domain.quantity import Duration
from bridge.pace.limits import Limit, Window
from bridge.vendorkit.settings import AccountSettings, DeviceId, DeviceSelection, WebAddress, selection

SANITY: Mapping[str, tuple[int, int]] = {
    "leakage_current_ma": (5, 1000),
    "overcurrent_a": (1, 125),
    "overheat_c": (20, 150),
    "overvoltage_v": (100, 500),
    "undervoltage_v": (50, 400),
    "overload_kw": (1, 100),
    "low_balance_kwh": (0, 65535),
}
"""Lowest and highest threshold per parameter of `set_protection` and `set_alarms` (METRICS 4.1)."""

_SERIAL_PREFIXES = ("W71", "W72")


def _upper(text: str) -> str:
    return text.strip().upper()


def _serial(text: str) -> str:
    serial = _upper(text)
    if not serial.startswith(_SERIAL_PREFIXES) or not serial.isalnum():
        raise ValueError("expected W71 or W72 and what follows: a serial number")
    return serial


def _once(serials: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(serials))


class BreakerSelection(DeviceSelection):
    """`devices` in capitals, whatever is written."""

    include: Annotated[tuple[Annotated[str, AfterValidator(_serial)], ...], AfterValidator(_once)] = ()
    exclude: tuple[Annotated[DeviceId, AfterValidator(_upper)], ...] = ()
    names: Mapping[Annotated[DeviceId, AfterValidator(_upper)], str] = Field(default_factory=dict)


class WmjSettings(AccountSettings):
    """One developer account at wdev.wmj.com.cn.

    The cloud lists no devices, so `devices` names them. `timeout` is that of one request. `read_back` are the
    ages of a lost answer at which `getdevinfo` is asked what became of the command. `online_check`: after how
    long a silence the cloud is asked whether a device is connected. `ranges` narrows `SANITY`.
    """

    reports_steadily: ClassVar[bool] = True

    vendor: Literal["wmj"]
    base_url: WebAddress = "https://wdev.wmj.com.cn/deviceApi"
    app_id: str = Field(min_length=1)
    app_secret: SecretStr = Field(min_length=1)
    devices: Annotated[
        BreakerSelection,
        BeforeValidator(selection, json_schema_input_type=tuple[str, ...] | BreakerSelection),
    ]
    timeout: Duration = 60.0
    read_back: tuple[Duration, ...] = (5.0, 20.0, 60.0)
    online_check: Duration = 600.0
    ranges: Mapping[str, tuple[int, int]] = Field(default_factory=dict)

    @field_validator("devices")
    @classmethod
    def _some(cls, value: BreakerSelection) -> BreakerSelection:
        if not value.include:
            raise ValueError("expected a list of serial numbers: the vendor's cloud cannot list them")
        return value

    @field_validator("timeout")
    @classmethod
    def _timeout(cls, value: float) -> float:
        if value < 20:
            raise ValueError("expected at least 20s: the cloud waits for the device's own answer")
        return value

    @field_validator("read_back")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or list(value) != sorted(set(value)) or value[0] <= 0:
            raise ValueError("expected ascending durations such as [5s, 20s, 60s]")
        return value

    @field_validator("online_check")
    @classmethod
    def _online_check(cls, value: float) -> float:
        if value < 10:
            raise ValueError("expected at least 10s")
        return value

    @field_validator("ranges")
    @classmethod
    def _narrower(cls, value: Mapping[str, tuple[int, int]]) -> Mapping[str, tuple[int, int]]:
        for name, (low, high) in value.items():
            if name not in SANITY:
                raise ValueError(f"{name!r} is no such parameter; expected one of {', '.join(SANITY)}")
            least, most = SANITY[name]
            if not least <= low <= high <= most:
                raise ValueError(f"{name}: expected [lowest, highest] within [{least}, {most}]")
        return value

    def range_of(self, parameter: str) -> tuple[int, int]:
        """Lowest and highest value that this account allows for a threshold."""
        return self.ranges.get(parameter, SANITY[parameter])


def limits(_settings: WmjSettings) -> tuple[Limit, ...]:
    """The page documents no limits (section 3); these are its recommendations."""
    return (
        Limit(
            "requests",
            endpoint="all",
            scope="account",
            windows=(Window(5, 1.0),),
            reserve=1,
            documented=False,
        ),
        Limit(
            "device",
            endpoint="send",
            scope="device",
            windows=(Window(1, 1.0),),
            per_key=True,
            concurrency=1,
            documented=False,
        ),
    )
