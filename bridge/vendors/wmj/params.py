"""The parameters of the commands (METRICS 4.1 and 4.3, wmj), thresholds in the ranges of the account."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from bridge.domain.command import Params
from bridge.vendors.wmj.codec import PROTECTION
from bridge.vendors.wmj.frame import alarm_frame, decode_one, with_checksum
from bridge.vendors.wmj.points import GROUPS, Frame
from bridge.vendors.wmj.settings import WmjSettings

_ALARM_PARAMETERS = tuple(name for group in GROUPS.values() for name in group)


class Breaker(Params):
    """`breaker`."""

    state: Literal["on", "off"] = Field(description="on: contact closed, supply on; off: contact open")


class Pulse(Params):
    """`pulse_on` and `pulse_off`."""

    delay_s: int = Field(ge=1, le=900, description="seconds until the breaker goes back")


class RetainState(Params):
    """`retain_state`."""

    enabled: bool = Field(description="true: the former state returns after a power cut; false: stays off")


class Registration(Params):
    """`register` of an account."""

    device_sn: str = Field(pattern="^W7[12]", description="serial number, beginning with W71 or W72")


class Protection(Params):
    """Base of `set_protection`: the thresholds are fields of the account's own model (`protection_model`)."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _something(self) -> Protection:
        if not self.given():
            raise ValueError(f"expected at least one of {', '.join(PROTECTION)}")
        return self

    def given(self) -> dict[str, int]:
        """Parameter → threshold, of those that were given."""
        return {name: value for name in PROTECTION if (value := getattr(self, name, None)) is not None}


class Alarm(Params):
    """Base of one setting of `set_alarms`; the account's own model narrows `threshold`."""

    threshold: int
    trip: bool = Field(description="true: alarm and trip; false: alarm only, the breaker stays closed")


class Alarms(Params):
    """Base of `set_alarms`: the settings are fields of the account's own model (`alarms_model`)."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": list(group)} for group in GROUPS.values()]}
    )

    @model_validator(mode="after")
    def _one_group(self) -> Alarms:
        if set(self.given()) not in [set(group) for group in GROUPS.values()]:
            groups = " or ".join(", ".join(group) for group in GROUPS.values())
            raise ValueError(f"expected one complete group: {groups}")
        return self

    def given(self) -> dict[str, Alarm]:
        """Parameter → setting, of those that were given."""
        return {name: value for name in _ALARM_PARAMETERS if (value := getattr(self, name, None)) is not None}

    def frame(self) -> Frame:
        """The frame that sets them."""
        return alarm_frame({name: (one.threshold, one.trip) for name, one in self.given().items()})


class HexFrame(Params):
    """`hex_frame`."""

    hex: str = Field(description="one frame as hex digits, blanks allowed")
    fix_checksum: bool = Field(default=False, description="compute the checksum instead of verifying it")

    @field_validator("hex")
    @classmethod
    def _digits(cls, value: str) -> str:
        digits = "".join(value.split())
        if not digits or len(digits) % 2 or set(digits.upper()) - set("0123456789ABCDEF"):
            raise ValueError("expected an even number of hex digits")
        return value

    def frame(self) -> Frame:
        """The frame to send. Raises FrameError where header, length or checksum is wrong."""
        return decode_one(with_checksum(self.hex) if self.fix_checksum else self.hex)


def protection_model(settings: WmjSettings) -> type[Protection]:
    """The parameters of `set_protection` within the account's ranges."""
    fields: dict[str, Any] = {name: _optional(_threshold(settings, name)) for name in PROTECTION}
    return create_model(f"SetProtection{_narrowing(settings)}", __base__=Protection, **fields)


def alarms_model(settings: WmjSettings) -> type[Alarms]:
    """The parameters of `set_alarms` within the account's ranges."""
    fields: dict[str, Any] = {}
    for name in _ALARM_PARAMETERS:
        narrowed = create_model(f"Alarm_{name}", __base__=Alarm, threshold=_threshold(settings, name))
        fields[name] = _optional(narrowed)
    return create_model(f"SetAlarms{_narrowing(settings)}", __base__=Alarms, **fields)


def _narrowing(settings: WmjSettings) -> str:
    """Part of a model's name: other ranges make another model, to whoever keeps schemas."""
    return "".join(f"_{name}_{low}_{high}" for name, (low, high) in sorted(settings.ranges.items()))


def _threshold(settings: WmjSettings, parameter: str) -> Any:
    low, high = settings.range_of(parameter)
    return Annotated[int, Field(ge=low, le=high, description=f"threshold, {_unit(parameter)}")]


def _optional(kind: Any) -> Any:
    """A field that may be absent. Its JSON Schema does not offer null, which only the model's default is."""
    nothing = Annotated[None, SkipJsonSchema()]
    return (kind | nothing, Field(default=None, json_schema_extra=_without_default))


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def _unit(parameter: str) -> str:
    return {"ma": "mA", "a": "A", "c": "°C", "v": "V", "kw": "kW", "kwh": "kWh"}[parameter.rpartition("_")[2]]
