"""The parameters of the commands (METRICS 4.1 and 4.3, saj). Those of management have the vendor's key names."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from bridge.domain.command import Params
from bridge.vendorkit.moments import moment, named_moment
from bridge.vendors.saj.sealed import Wallet
from bridge.vendors.saj.zones import TIMEZONE_IDS

_LARGEST = 10**6


def _moment_text(text: str) -> str:
    moment(text, UTC)
    return text


def _zone_id(text: str) -> str:
    if text not in TIMEZONE_IDS:
        raise ValueError("expected one of the vendor's zone names, such as PRC, UTC or Europe/Amsterdam")
    return text


def _number(**bounds: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "number", **bounds})


def _number_only(value: object) -> Decimal:
    """A number in quotes is none, as the schema says."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("expected a number")
    return value if isinstance(value, Decimal) else Decimal(repr(value))


def _as_number(value: Decimal) -> int | float:
    return int(value) if value == int(value) else float(value)


_Number = Annotated[
    Decimal,
    BeforeValidator(_number_only),
    PlainSerializer(_as_number, when_used="json"),
    Field(allow_inf_nan=False),
]
Nothing = Annotated[None, SkipJsonSchema()]
Moment = Annotated[str, AfterValidator(_moment_text)]
Id = Annotated[int, Field(ge=1, lt=2**63)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Email = Annotated[str, Field(min_length=3, max_length=200, pattern=r"^[^@\s]+@[^@\s]+$")]
Serial = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^\S+$")]
Kilowatts = Annotated[_Number, Field(gt=0, le=_LARGEST), _number(exclusiveMinimum=0, maximum=_LARGEST)]
Price = Annotated[_Number, Field(ge=0, le=_LARGEST), _number(minimum=0, maximum=_LARGEST)]
Longitude = Annotated[_Number, Field(ge=-180, le=180), _number(minimum=-180, maximum=180)]
Latitude = Annotated[_Number, Field(ge=-90, le=90), _number(minimum=-90, maximum=90)]
ZoneId = Annotated[str, AfterValidator(_zone_id)]


def _optional(description: str) -> Any:
    """A field that may be absent; its JSON Schema does not offer the null that is only the model's default."""
    return Field(
        default=None,
        description=description,
        json_schema_extra=lambda schema: _dropped(schema, "default"),
    )


def _dropped(schema: dict[str, Any], key: str) -> None:
    schema.pop(key, None)


class History(Params):
    """`history`."""

    start: Moment = Field(description="RFC 3339, or YYYY-MM-DD[ HH:MM:SS] in the plant's local time")
    end: Moment = Field(description="as start; what is later than now is left out")
    interval_s: Annotated[int, Field(ge=60, le=86400, multiple_of=60)] | Nothing = _optional(
        "has no effect: the vendor sends what it has"
    )

    def moments(self, zone: tzinfo) -> tuple[datetime, datetime]:
        """`start` and `end` as UTC. Raises Rejection where one is not possible in `zone`."""
        return named_moment("start", self.start, zone), named_moment("end", self.end, zone)


class User(Params):
    """`delete_user`."""

    c_user_id: Id = Field(description="end user")


class AddUser(Params):
    """Base of `add_user`: `user_password` is a field of the account's own model (`add_user_model`)."""

    user_email: Email
    user_password: SecretStr
    user_name: Text
    user_tel: Text
    user_type: int = Field(default=1, ge=1, le=99, description="1: end user")


class ModifyUser(Params):
    """`modify_user`."""

    c_user_id: Id = Field(description="end user")
    name: Text | Nothing = _optional("name")
    mobile: Text | Nothing = _optional("mobile number")
    user_Country: Text | Nothing = _optional("country")  # noqa: N815 # the vendor's name
    user_City: Text | Nothing = _optional("city")  # noqa: N815 # the vendor's name
    user_Address: Text | Nothing = _optional("address")  # noqa: N815 # the vendor's name
    user_Postcode: Text | Nothing = _optional("post code")  # noqa: N815 # the vendor's name
    user_Fax: Text | Nothing = _optional("fax number")  # noqa: N815 # the vendor's name

    @model_validator(mode="after")
    def _something(self) -> ModifyUser:
        if not self.changes():
            raise ValueError("expected at least one of name, mobile and the address fields")
        return self

    def changes(self) -> dict[str, str]:
        """Field → value, of those that were given."""
        given = self.model_dump(exclude={"c_user_id"})
        return {name: value for name, value in given.items() if value is not None}


class PlantOptions(Params):
    """What `add_plant` and `modify_plant` may say beyond what they must."""

    currency: Id | Nothing = _optional("1: RMB, the vendor's default")
    b_user_id: Id | Nothing = _optional("installer's user id")
    price: Price | Nothing = _optional("electricity price")
    longitude: Longitude | Nothing = _optional("degrees")
    latitude: Latitude | Nothing = _optional("degrees")
    is_public: bool = Field(default=False, description="whether everybody may see the plant's data")
    postal: Text | Nothing = _optional("post code")
    timezone_id: ZoneId | Nothing = _optional("the vendor's zone name; its default is PRC")
    use_dst: bool | Nothing = _optional("daylight saving; the vendor's default is false")

    def options(self) -> dict[str, Any]:
        """Field → value, of those that were given."""
        given = {name: getattr(self, name) for name in PlantOptions.model_fields}
        return {name: value for name, value in given.items() if value is not None}


class AddPlant(PlantOptions):
    """`add_plant`."""

    c_user_id: Id = Field(description="owner")
    name: Text
    peak_power: Kilowatts = Field(description="kWp")
    Country: Text | Nothing = _optional("only used where the vendor refuses its older end point")
    City: Text | Nothing = _optional("likewise")


class ModifyPlant(PlantOptions):
    """`modify_plant`."""

    plant_id: Id
    name: Text
    peak_power: Kilowatts = Field(description="kWp")
    Country: Text | Nothing = _optional("country")
    City: Text | Nothing = _optional("city")


class Plant(Params):
    """`delete_plant`."""

    plant_id: Id


class AssignPlant(Params):
    """`assign_plant`."""

    plant_id: Id
    user_id: Id = Field(description="the new owner")


class Logger(Params):
    """`add_datalogger` and `delete_datalogger`."""

    plant_id: Id
    sn: Serial = Field(description="serial number of the data logger")


class ReplaceLogger(Params):
    """`modify_datalogger`."""

    plant_id: Id
    original_sn: Serial = Field(description="serial number of the present data logger")
    sn: Serial = Field(description="serial number of the new one")


def add_user_model(wallet: Wallet) -> type[AddUser]:
    """The parameters of `add_user`. The password is journalled as its seal only."""
    password = Annotated[
        SecretStr,
        Field(min_length=1, max_length=200, description="never stored or shown"),
        BeforeValidator(wallet.open),
        PlainSerializer(wallet.seal, return_type=str),
    ]
    fields: dict[str, Any] = {"user_password": (password, ...)}
    return create_model("SajAddUser", __base__=AddUser, **fields)
