"""The platform's request check and its envelope (page 1, 2, 4, 5). Pure.

Strict: a missing, unknown or mistyped parameter is 1008, because a client's mistake must not pass here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

from bridge.domain import text

GOOD = 200
FAILED, UNKNOWN_ACCOUNT, WRONG_PASSWORD = 1001, 1002, 1005
NO_TOKEN, EXPIRED, MISSING, NO_RIGHT, DUPLICATE, TOO_FAST = range(1006, 1012)
MAX_PAGE_SIZE = 1000
CHINA = timezone(timedelta(hours=8))

MESSAGES = {
    GOOD: "操作成功",
    FAILED: "操作失败",
    UNKNOWN_ACCOUNT: "账号不存在或无接口权限",
    WRONG_PASSWORD: "密码错误",
    NO_TOKEN: "Token不存在",
    EXPIRED: "Token已过期",
    MISSING: "参数缺失",
    NO_RIGHT: "账号与Token不匹配或无权限",
    DUPLICATE: "重复订单",
    TOO_FAST: "访问过快",
}

_Types = dict[str, type]
_SESSION: _Types = {"token": str, "admin_user_name": str}
_PAGE: _Types = {"pageNo": int, "pageSize": int}
_PERIOD: _Types = {"BeginDate": str, "EndDate": str}
_NUMBER: _Types = {"tableNo": str}
REQUIRED: dict[str, _Types] = {
    "login": {"admin_user_name": str, "api_password": str},
    "meterList": _SESSION,
    "readMeter": _SESSION,
    "readMeterList": _SESSION | _PERIOD | _PAGE,
    "readMeterDataList": _SESSION | _PERIOD | _PAGE | {"type": str},
    "meterInstruct": _SESSION | {"deviceId": str, "type": str},
    "peaksValleysRead": _SESSION | _PERIOD | _PAGE,
    "cameraRead": _SESSION | _PERIOD | _PAGE,
}
OPTIONAL: dict[str, _Types] = {
    "meterList": _PAGE,
    "readMeter": _PAGE | _NUMBER,
    "readMeterList": _NUMBER,
    "readMeterDataList": _NUMBER,
    "peaksValleysRead": _NUMBER,
    "cameraRead": _NUMBER,
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A well-formed request."""

    endpoint: str
    params: dict[str, Any] = field(repr=False)

    @property
    def logged(self) -> str:
        """Its name in log and fault plan: instructions with their type."""
        return f"{self.endpoint}/{self.params['type']}" if self.endpoint == "meterInstruct" else self.endpoint

    @property
    def device(self) -> str:
        """The meter number or device id that it names."""
        return str(self.params.get("deviceId") or self.params.get("tableNo") or "")

    @property
    def page(self) -> tuple[int, int]:
        """Number and size; the defaults if either is missing (4.2)."""
        number, size = self.params.get("pageNo"), self.params.get("pageSize")
        return (1, MAX_PAGE_SIZE) if number is None or size is None else (number, size)


class Malformed(Exception):
    """A request that gets 1008; the text says why and quotes no value."""


def read(endpoint: str, content_type: str, body: bytes, encoding: str) -> Ask:
    """The request to an end point. `encoding`: what the platform takes, `json`, `form` or `both`."""
    kind = content_type.split(";")[0].strip().lower()
    if kind == "application/json" and encoding in ("json", "both"):
        params = _json(body)
    elif kind == "application/x-www-form-urlencoded" and encoding in ("form", "both"):
        params = _form(endpoint, body)
    else:
        raise Malformed("another Content-Type")
    required, optional = REQUIRED[endpoint], OPTIONAL.get(endpoint, {})
    for name, kind_wanted in required.items():
        if type(params.get(name)) is not kind_wanted or params[name] == "":
            raise Malformed(f"{name} is missing or no {kind_wanted.__name__}")
    for name, value in params.items():
        wanted = required.get(name) or optional.get(name)
        if wanted is None:
            raise Malformed("an unknown parameter")
        if type(value) is not wanted:
            raise Malformed(f"{name} is no {wanted.__name__}")
    return Ask(endpoint, params)


def _json(body: bytes) -> dict[str, Any]:
    try:
        params = text.loads(body)
    except ValueError:
        raise Malformed("not JSON") from None
    if not isinstance(params, dict):
        raise Malformed("no object")
    return params


def _form(endpoint: str, body: bytes) -> dict[str, Any]:
    try:
        pairs = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
    except ValueError:
        raise Malformed("not a form") from None
    types = REQUIRED[endpoint] | OPTIONAL.get(endpoint, {})
    return {
        name: int(value) if types.get(name) is int and value.isdecimal() else value
        for name, value in pairs.items()
    }


def envelope(code: int = GOOD, *, msg: str = "", **more: Any) -> dict[str, Any]:
    """An answer: `more` may be `data` and `totalCount`."""
    return {"code": code, **more, "msg": msg or MESSAGES.get(code, f"error {code}")}


def local(unix_s: float) -> str:
    """A time as the platform writes it."""
    return datetime.fromtimestamp(unix_s, CHINA).strftime("%Y-%m-%d %H:%M:%S")


def unix(moment: str, *, days: bool = False) -> int | None:
    """A time as the platform reads it: with `days` only dates, else only dates with times; None for others."""
    try:
        at = datetime.strptime(f"{moment} +0800", f"{'%Y-%m-%d' if days else '%Y-%m-%d %H:%M:%S'} %z")
    except ValueError:
        return None
    return int(at.timestamp())
