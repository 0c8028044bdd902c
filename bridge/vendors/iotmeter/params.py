"""The parameters of the commands (METRICS 4.1 and 4.3, iotmeter; structures of page 6.4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from bridge.domain.command import Params
from bridge.domain.text import Json, plain
from bridge.domain.times import parse_rfc3339
from bridge.vendors.iotmeter.wire import encoded, instant, local_text

MAX_ITEMS = 200
_MOST = 1e12

_TOLD = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\Z", re.ASCII)
_LOCAL = re.compile(r"\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2}:\d{2})?\Z", re.ASCII)


FIRST_YEAR, LAST_YEAR = 1900, 9998
"""What can be written as YYYY in every time zone."""


def _form(text: str) -> datetime:
    """The time in some zone: only the form is checked; the account's zone comes later."""
    try:
        return parse_rfc3339(text)
    except ValueError:
        at = instant(text, UTC) if _LOCAL.match(text) else None
        if at is None:
            raise ValueError(
                "expected a time as in RFC 3339 (2026-11-21T09:30:00Z), or YYYY-MM-DD[ HH:MM:SS] in the "
                "platform's local time"
            ) from None
        return at


def _moment(text: str) -> str:
    if not FIRST_YEAR <= _form(text).year <= LAST_YEAR:
        raise ValueError(f"expected a time of the years {FIRST_YEAR} to {LAST_YEAR}")
    return text


Moment = Annotated[
    str,
    AfterValidator(_moment),
    Field(description="RFC 3339, or YYYY-MM-DD[ HH:MM:SS] in the platform's local time"),
]


def _own_moment(text: str) -> str:
    """A record is given back as `get_task` told it: with a T, and in local time."""
    text = text.replace("T", " ") if _TOLD.match(text) else text
    if not _LOCAL.match(text):
        return _moment(text)
    _form(text)
    return text


OwnMoment = Annotated[
    str,
    AfterValidator(_own_moment),
    Field(description="RFC 3339, or the platform's local time: YYYY-MM-DD[ HH:MM:SS] or YYYY-MM-DDTHH:MM:SS"),
]
Amount = Annotated[float, Field(ge=0, le=_MOST, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=_MOST, allow_inf_nan=False)]
CtrlId = Annotated[int, Field(ge=1, lt=2**31)]
DeviceType = Annotated[int, Field(ge=1, le=2, description="1 meter, 2 RTU")]
Number = Annotated[str, Field(min_length=1, max_length=50, description="communication number")]
Unsigned = Annotated[int, Field(ge=0, le=4294967295)]
_Nothing = Annotated[None, SkipJsonSchema()]


def moment_at(text: str, zone: tzinfo) -> datetime:
    """A validated time parameter as aware UTC."""
    try:
        return parse_rfc3339(text)
    except ValueError:
        at = instant(text, zone)
        if at is None:
            raise ValueError(f"not a time: {text!r}") from None
        return at


def _without_default(schema: dict[str, Any]) -> None:
    for field in schema.get("properties", {}).values():
        if field.get("default", 0) is None:
            del field["default"]


def _one_required(schema: dict[str, Any]) -> None:
    _without_default(schema)
    schema["oneOf"] = [{"required": ["command_id"]}, {"required": ["ctrl_id"]}]


def numeral(value: float) -> int | Decimal:
    """A parameter as the JSON number that its sender wrote: 100.0 → 100, 0.1 → 0.1."""
    found = plain(Decimal(repr(value)))
    if found is None:
        raise ValueError(f"not a number that can be sent: {value}")
    return found


class Valve(Params):
    """`valve`."""

    state: Literal["open", "close"] = Field(description="open: gas may flow; close: shut off")


class History(Params):
    """`history`. `interval_s` has no effect: the platform keeps the records as the meter sent them."""

    model_config = ConfigDict(json_schema_extra=_without_default)
    start: Moment
    end: Moment
    interval_s: Annotated[int, Field(ge=60, le=86400)] | _Nothing = None


class SetPrice(Params):
    """`ladder_price`."""

    price1: Amount
    price2: Amount
    price3: Amount
    price4: Amount
    price5: Amount
    ladder1: Amount
    ladder2: Amount
    ladder3: Amount
    ladder4: Amount
    cycle_start: Moment
    cycle_month: int = Field(ge=1, le=12)

    @model_validator(mode="after")
    def _ascending(self) -> SetPrice:
        steps = [self.ladder1, self.ladder2, self.ladder3, self.ladder4]
        if steps != sorted(steps):
            raise ValueError("expected ladder1 to ladder4 in ascending order")
        return self


class SetBalance(Params):
    """`remain_param`."""

    remain_value: Amount = Field(description="money or m³, as the meter counts")


class Recharge(Params):
    """`remote_charge_param`."""

    charge_value: Positive = Field(description="this recharge, money or m³ as the meter counts")
    total_value: Positive = Field(description="all recharges, this one included")
    charge_times: int = Field(ge=1, le=2**31 - 1, description="number of this recharge")

    @model_validator(mode="after")
    def _included(self) -> Recharge:
        if self.total_value < self.charge_value:
            raise ValueError("expected total_value to be at least charge_value")
        return self


class OpenAccount(Params):
    """`open_account_param`; what is not given is 0, `cycle_start_time` now."""

    model_config = ConfigDict(json_schema_extra=_without_default)
    charge_value: Amount = 0.0
    total_value: Amount = 0.0
    price1: Amount = 0.0
    price2: Amount = 0.0
    price3: Amount = 0.0
    price4: Amount = 0.0
    price5: Amount = 0.0
    ladder1: Unsigned = 0
    ladder2: Unsigned = 0
    ladder3: Unsigned = 0
    ladder4: Unsigned = 0
    cycle_start_time: Moment | _Nothing = None
    cycle_month: int = Field(default=0, ge=0, le=12)


class SetCumulant(Params):
    """`cumulant_param`."""

    std_sum: Amount = Field(description="m³ at standard conditions")
    work_sum: Amount = Field(description="m³ at working conditions")


class TaskName(Params):
    """`cancel` and `retry`: a task under way, by the gateway's or the platform's name for it."""

    model_config = ConfigDict(json_schema_extra=_one_required)
    command_id: Annotated[str, Field(min_length=1, max_length=50)] | _Nothing = None
    ctrl_id: CtrlId | _Nothing = None

    @model_validator(mode="after")
    def _one(self) -> TaskName:
        if (self.command_id is None) == (self.ctrl_id is None):
            raise ValueError("expected exactly one of command_id and ctrl_id")
        return self


class CtrlIdParam(Params):
    """`get_task`, `describe_task`, `delete_task`."""

    ctrl_id: CtrlId


class CtrlIds(Params):
    """`delete_tasks`, `cancel_tasks`, `retry_tasks`."""

    ctrl_ids: list[CtrlId] = Field(min_length=1, max_length=MAX_ITEMS)

    @model_validator(mode="after")
    def _different(self) -> CtrlIds:
        if len(set(self.ctrl_ids)) != len(self.ctrl_ids):
            raise ValueError("expected each ctrl_id once")
        return self


class ListTasks(Params):
    """`list_tasks`: the conditions of page 4.14; those not given do not filter."""

    model_config = ConfigDict(json_schema_extra=_without_default)
    upper_ctrl_id: Annotated[int, Field(ge=0)] | _Nothing = None
    processor_name: str | _Nothing = None
    ctrl_define_no: str | _Nothing = None
    target_comm_no: Number | _Nothing = None
    target_devtype: DeviceType | _Nothing = None
    ctrl_state: int | _Nothing = None
    ctrl_type: str | _Nothing = None
    ctrl_time_from: Moment | _Nothing = None
    ctrl_time_to: Moment | _Nothing = None
    startrow: int = Field(default=0, ge=0)
    rowcount: int = Field(default=MAX_ITEMS, ge=1, le=MAX_ITEMS)

    def conditions(self, zone: tzinfo) -> dict[str, Json]:
        """The body of the request."""
        given = self.model_dump(exclude_none=True, exclude={"startrow", "rowcount"})
        return {name: _time_text(name, value, zone) for name, value in given.items()}


class TaskRecord(Params):
    """The complete record of page 4.11. `ctrl_data` and `return_data` may be given as objects or as their text."""

    ctrl_id: CtrlId
    upper_ctrl_id: Annotated[int, Field(ge=0)]
    company_no: str
    processor_name: str
    ctrl_define_no: Annotated[str, Field(max_length=50)]
    target_comm_no: Number
    target_devtype: DeviceType
    ctrl_time: OwnMoment
    ctrl_timeout: OwnMoment
    ctrl_state: int
    ctrl_state_msg: str
    ctrl_feedback_msg: str
    ctrl_type: str
    ctrl_data: str | dict[str, Any]
    return_data: str | dict[str, Any]
    sync_flag: Annotated[int, Field(ge=0, le=2)]
    sync_time: OwnMoment
    sync_msg: str

    def body(self, zone: tzinfo) -> dict[str, Json]:
        """The record as it is sent."""
        body = {name: _time_text(name, value, zone) for name, value in self.model_dump().items()}
        for name in ("ctrl_data", "return_data"):
            if not isinstance(body[name], str):
                body[name] = encoded(body[name])
        return body


class TaskRecords(Params):
    """`update_tasks`."""

    tasks: list[TaskRecord] = Field(min_length=1, max_length=MAX_ITEMS)

    @model_validator(mode="after")
    def _different(self) -> TaskRecords:
        if len({task.ctrl_id for task in self.tasks}) != len(self.tasks):
            raise ValueError("expected each ctrl_id once")
        return self


class NewTask(Params):
    """One of `add_tasks`."""

    model_config = ConfigDict(json_schema_extra=_without_default)
    target_comm_no: Number
    ctrl_type: Annotated[
        str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)+$")
    ]
    ctrl_data: dict[str, Any]
    target_devtype: DeviceType = 1
    ctrl_timeout: Moment | _Nothing = None


class AddTasks(Params):
    """`add_tasks`."""

    tasks: list[NewTask] = Field(min_length=1, max_length=MAX_ITEMS)

    @model_validator(mode="after")
    def _one_per_meter(self) -> AddTasks:
        if len({task.target_comm_no for task in self.tasks}) != len(self.tasks):
            raise ValueError(
                "expected no two tasks for one meter: the platform's answer does not tell them apart"
            )
        return self


def _time_text(name: str, value: Json, zone: tzinfo) -> Json:
    """RFC 3339 as the platform's local time; its own texts as they are."""
    if name not in ("ctrl_time", "ctrl_timeout", "sync_time", "ctrl_time_from", "ctrl_time_to"):
        return value
    return value if _LOCAL.match(value) else local_text(moment_at(value, zone), zone)


def _amounts(params: Params, *names: str) -> dict[str, Json]:
    return {name: numeral(getattr(params, name)) for name in names}


_PRICES = tuple(f"price{n}" for n in range(1, 6))
_LADDERS = tuple(f"ladder{n}" for n in range(1, 5))


def ctrl_data(params: Params, zone: tzinfo, now: datetime) -> dict[str, Json]:
    """`ctrl_data` of a command: the structures of page 6.4, every field of them."""
    match params:
        case SetPrice():
            start = local_text(moment_at(params.cycle_start, zone), zone)
            return {
                **_amounts(params, *_PRICES, *_LADDERS),
                "cycle_start": start,
                "cycle_month": params.cycle_month,
            }
        case SetBalance():
            return _amounts(params, "remain_value")
        case Recharge():
            return {
                **_amounts(params, "charge_value", "total_value"),
                "charge_times": params.charge_times,
            }
        case OpenAccount():
            given = params.cycle_start_time
            start = local_text(now if given is None else moment_at(given, zone), zone)
            return {
                **_amounts(params, "charge_value", "total_value", *_PRICES),
                **{name: getattr(params, name) for name in _LADDERS},
                "cycle_start_time": start,
                "cycle_month": params.cycle_month,
            }
        case SetCumulant():
            return _amounts(params, "std_sum", "work_sum")
        case _:
            return {}
