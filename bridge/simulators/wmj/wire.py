"""The cloud's request check and its answers (page 1, 4.1 to 4.4, 5). Pure.

Strict: what is not documented is refused with 1003, because a client's mistake must not pass here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bridge.domain import text
from bridge.simulators.wmj.commands import SETTINGS, Done
from bridge.simulators.wmj.device import Breaker

TIMED_OUT, OFF_LINE, BAD_PARAMETER, NOT_REGISTERED, ALREADY_REGISTERED, DENIED = range(1001, 1007)

_MESSAGES = {
    TIMED_OUT: "网络超时",
    OFF_LINE: "设备离线",
    BAD_PARAMETER: "参数错误",
    NOT_REGISTERED: "设备未注册",
    ALREADY_REGISTERED: "设备已注册",
    DENIED: "认证失败",
}

_COMMON: dict[str, type] = {"app_id": str, "app_secret": str, "device_sn": str}
_SEND: dict[str, type] = {**_COMMON, "type": int, "data": dict}
_DATA: dict[str, type] = {"cmd_type": str, "info": dict}
_INFO: dict[str, dict[str, type]] = {
    "turnon": {},
    "turnoff": {},
    "restart": {},
    "wifi_config": {},
    "getdevinfo": {},
    "delayturnoff": {"delaytime": int},
    "delayturnon": {"delaytime": int},
    "setting": dict.fromkeys(SETTINGS, int),
    "uart_cmd": {"hex_cmd": str},
    "set_retainstate": {"retainstate": int},
}
_DOCUMENTED = {
    "turnon": "data",
    "turnoff": "data",
    "restart": "data",
    "wifi_config": "data",
    "getdevinfo": "brief",
    "setting": "brief",
    "delayturnoff": "bare",
    "delayturnon": "bare",
    "uart_cmd": "envelope",
    "set_retainstate": "envelope",
}
"""cmd_type → the shape of the sample: `brief` is the envelope without msg_id, type, cmd and app_id."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A well-formed request. `endpoint` is `register`, `logout`, `getOnLine` or `send/<cmd_type>`."""

    endpoint: str
    device_sn: str
    app_id: str = field(repr=False)
    app_secret: str = field(repr=False)
    cmd_type: str = ""
    info: dict[str, Any] = field(default_factory=dict)


class Malformed(Exception):
    """A request that gets 1003; the text says why and quotes no value."""


def read(endpoint: str, content_type: str, body: bytes) -> Ask:
    """The request to `/deviceApi/{endpoint}`. Raises Malformed."""
    if content_type.split(";")[0].strip().lower() != "application/json":
        raise Malformed("Content-Type is not application/json")
    try:
        page = text.loads(body)
    except ValueError:
        raise Malformed("not JSON") from None
    _check("request", page, _SEND if endpoint == "send" else _COMMON)
    identity = page["device_sn"], page["app_id"], page["app_secret"]
    if endpoint != "send":
        return Ask(endpoint, *identity)
    if page["type"] != 1:
        raise Malformed("type is not 1")
    _check("data", page["data"], _DATA)
    cmd_type = page["data"]["cmd_type"]
    if cmd_type not in _INFO:
        raise Malformed("unknown cmd_type")
    _check("info", page["data"]["info"], _INFO[cmd_type])
    return Ask(f"send/{cmd_type}", *identity, cmd_type, page["data"]["info"])


def _check(where: str, value: object, wanted: dict[str, type]) -> None:
    if not isinstance(value, dict):
        raise Malformed(f"{where} is no object")
    if set(value) != set(wanted):
        raise Malformed(f"{where} has other keys than {', '.join(wanted) or 'none'}")
    for name, kind in wanted.items():
        # bool is an int in Python, but not in JSON
        if type(value[name]) is not kind:
            raise Malformed(f"{where}.{name} is no {kind.__name__}")


def failure(code: int, detail: str = "") -> dict[str, Any]:
    """The answer with a cloud code other than 0."""
    msg = _MESSAGES.get(code, f"error {code}")
    return {"code": code, "msg": f"{msg}: {detail}" if detail else msg}


def reply(device: Breaker, cmd_type: str, done: Done, msg_id: int) -> dict[str, Any]:
    """The answer to `send`, in the shape that the device's options choose."""
    options = device.options
    shape = _DOCUMENTED[cmd_type] if options.shape == "documented" else options.shape
    word = f"{cmd_type}_ack" if options.ack_suffix else cmd_type
    info: Any = dict(sorted([("code", done.code), ("msg", done.msg), *done.values]))
    if options.info_array and not done.values:
        info = [done.code, done.msg]
    if shape == "bare":
        return {"type": 1, "device_sn": device.sn, "info": info, "msg_id": msg_id, "cmd_type": word}
    if shape == "brief":
        return {"code": 0, "data": {"device_sn": device.sn, "cmd_type": word, "info": info}}
    head: dict[str, Any] = {"device_sn": device.sn, "msg_id": msg_id, "type": 1}
    if shape == "data":
        return {"data": {**head, "cmd_type": word, "info": info}}
    return {"code": 0, "data": {**head, "cmd": "", "app_id": "", "cmd_type": word, "info": info}}
