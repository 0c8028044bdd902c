"""The cloud's request check and its envelope (page 1, 2.2, 4, 5). Pure.

Strict: a parameter that is not documented, missing, or in another form than the page's is refused with 10006,
because a client's mistake must not pass here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import parse_qsl

SERVER_FAULT, NO_TOKEN, HOUR_LIMIT, DAY_LIMIT, NO_API, BAD_PARAMETER, BAD_LOGIN = range(10001, 10008)
TOKEN_EXPIRED, WRONG_UID, TOKEN_UNKNOWN, FORBIDDEN, TOKEN_FAILED = 10010, 10011, 10012, 10014, 10099

_MESSAGES = {
    SERVER_FAULT: "server exception",
    NO_TOKEN: "ACCESS_TOKEN missing",
    HOUR_LIMIT: "hour limit",
    DAY_LIMIT: "day limit",
    NO_API: "no such API",
    BAD_PARAMETER: "parameter invalid",
    BAD_LOGIN: "user and password do not match",
    TOKEN_EXPIRED: "token expired",
    WRONG_UID: "token does not match user id",
    TOKEN_UNKNOWN: "token not exist",
    FORBIDDEN: "no permission",
    TOKEN_FAILED: "getting ACCESS_TOKEN failed",
}

Check = Callable[[str], bool]


def _is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _matches(pattern: str) -> Check:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


def _one_of(*words: str) -> Check:
    return lambda value: value in words


_ID = _matches(r"[1-9]\d{0,17}")
_NUMBER = _matches(r"-?\d+(\.\d+)?")
_BOOL = _one_of("true", "false")
_TEXT = _matches(r"(?s).+")
_PAGE = _matches(r"[1-9]\d{0,5}")
_PER_PAGE = _matches(r"[1-9]\d?|100")
_PER_PAGE_LONG = _matches(r"[1-9]\d{0,2}|1000")
_LOCALE = _one_of("en-US", "zh-Hans")
_PLANT_IDS = _matches(r"\d+(,\d+){0,2}")

_PAGING = {"page": _PAGE, "perpage": _PER_PAGE}
_SEARCH = {"search_type": _one_of("name"), "search_keyword": _TEXT, "locale": _LOCALE}
_ZONE = {"timezone_id": _TEXT, "use_dst": _BOOL}
_SPAN = {"start_date": _is_date, "end_date": _is_date}
_PLANT_OPTIONS = {
    "currency": _one_of("1"), "b_user_id": _ID, "price": _NUMBER, "longitude": _NUMBER, "latitude": _NUMBER,
    "is_public": _BOOL, "postal": _TEXT, **_ZONE,
}  # fmt: skip
_ADDRESS = {f"user_{name}": _TEXT for name in ("Country", "City", "Address", "Postcode", "Fax")}
_PLACE = {"Country": _TEXT, "City": _TEXT}
_ALARMS = ({"device_id": _ID}, {"locale": _LOCALE, **_PAGING})
_LATEST: tuple[dict[str, Check], dict[str, Check]] = ({"device_id": _ID, "end_date": _is_date}, {})
_DEVICES = ({"plant_id": _ID}, _PAGING)
_LOGGER: tuple[dict[str, Check], dict[str, Check]] = ({"plant_id": _ID, "sn": _TEXT}, {})
_REPLACE: tuple[dict[str, Check], dict[str, Check]] = (
    {"plant_id": _ID, "original_sn": _TEXT, "sn": _TEXT},
    {},
)
_NAMED_PLANT = {"name": _TEXT, "peak_power": _NUMBER}

READS: Mapping[str, tuple[Mapping[str, Check], Mapping[str, Check]]] = {
    "user/c_user_list": ({}, _PAGING),
    "user/sigleuser": ({"c_user_id": _ID}, {}),
    "user/c_user_listsign": ({}, _PAGING),
    "plant/list": ({}, {**_PAGING, **_SEARCH}),
    "plant/listsign": ({}, {**_PAGING, **_SEARCH}),
    "plant/details": ({"plant_id": _ID}, {"locale": _LOCALE}),
    "plant/data": ({"plant_id": _ID}, {}),
    "plant/energy": (
        {"plant_id": _ID, **_SPAN}, {"time_unit": _one_of("day", "month", "year"), **_PAGING},
    ),
    "plant/power": ({"plant_id": _ID, "date": _is_date}, _ZONE),
    "device/list": _DEVICES,
    "device/listsign": _DEVICES,
    "device/inverter/data": (
        {"device_id": _ID, **_SPAN}, {**_ZONE, "start_id": _TEXT, "perpage": _PER_PAGE_LONG},
    ),
    "device/inverter/datasigns": _LATEST,
    "device/inverter/plantsdata": ({"plant_ids": _PLANT_IDS, "end_date": _is_date}, {}),
    "device/inverter/alarm": _ALARMS,
    "device/inverter/alarmsign": _ALARMS,
    "device/inverter/eventsign": _ALARMS,
}  # fmt: skip
"""End point → required and optional parameters of the GETs."""

WRITES: Mapping[str, tuple[Mapping[str, Check], Mapping[str, Check]]] = {
    "user/user_register": (
        {"user_email": _TEXT, "user_password": _TEXT, "user_type": _one_of("1"), "user_name": _TEXT,
         "user_tel": _TEXT}, {},
    ),
    "user/modify": ({"c_user_id": _ID}, {"name": _TEXT, "mobile": _TEXT}),
    "user/modifysign": ({"c_user_id": _ID}, {"name": _TEXT, "mobile": _TEXT, **_ADDRESS}),
    "user/delete": ({"c_user_id": _ID}, {}),
    "plant/add": ({"c_user_id": _ID, **_NAMED_PLANT}, _PLANT_OPTIONS),
    "plant/addsign": ({**_NAMED_PLANT, **_PLACE}, {"plant_id": _matches(r"\d+"), **_PLANT_OPTIONS}),
    "plant/modify": ({"plant_id": _ID, **_NAMED_PLANT}, _PLANT_OPTIONS),
    "plant/modifysign": ({"plant_id": _ID, **_NAMED_PLANT, **_PLACE}, _PLANT_OPTIONS),
    "plant/delete": ({"plant_id": _ID}, {}),
    "device/datalogger/add": _LOGGER,
    "device/datalogger/addsign": _LOGGER,
    "device/datalogger/modify": _REPLACE,
    "device/datalogger/modifysign": _REPLACE,
    "device/datalogger/delete": _LOGGER,
    "device/datalogger/addPlantUser": ({"plant_id": _ID, "user_id": _ID}, {}),
}  # fmt: skip
"""End point → required and optional parameters of the POSTs."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to an end point (its path without the first slash), parameters not checked yet."""

    endpoint: str
    method: str
    params: Mapping[str, str] = field(repr=False)
    token: str | None = field(default=None, repr=False)
    uid: str | None = None

    @property
    def device(self) -> str:
        """Whom it is about, for the call log and the faults."""
        for name in ("device_id", "plant_id", "c_user_id", "user_email"):
            if name in self.params:
                return self.params[name]
        return ""


class Refusal(Exception):
    """A request that is answered with a code other than 0."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def read(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Ask:
    """A request as it came. Parameters of a GET are in the query, of a POST in the form body or the query."""
    params = dict(parse_qsl(query, keep_blank_values=True))
    token = params.pop("access_token", None) or headers.get("token")
    is_form = headers.get("content-type", "").split(";")[0].strip() == "application/x-www-form-urlencoded"
    if method == "POST" and is_form:
        params |= dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return Ask(path.strip("/"), method, params, token, headers.get("uid"))


def check(ask: Ask) -> None:
    """Raises Refusal 10005 for an end point or method that does not exist, 10006 for wrong parameters."""
    forms = READS if ask.method == "GET" else WRITES
    if ask.endpoint not in forms:
        raise Refusal(NO_API)
    required, optional = forms[ask.endpoint]
    if missing := required.keys() - ask.params.keys():
        raise Refusal(BAD_PARAMETER, f"missing: {', '.join(sorted(missing))}")
    for name, value in ask.params.items():
        allowed = required.get(name) or optional.get(name)
        if allowed is None or not allowed(value):
            raise Refusal(BAD_PARAMETER, name)


def success(data: Any) -> dict[str, Any]:
    """The envelope of a good answer; `...` stands for an answer without `data`."""
    page = {} if data is ... else {"data": data}
    return {**page, "error_code": 0, "error_msg": ""}


def failure(code: int, detail: str = "") -> dict[str, Any]:
    """The envelope of a bad one."""
    message = _MESSAGES.get(code, f"error {code}")
    return {"data": None, "error_code": code, "error_msg": f"{message}: {detail}" if detail else message}
