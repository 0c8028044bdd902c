"""The platform's request check, its times and its envelope (page 1, 4, 6.4). Pure.

Strict: what is not documented is refused with `State` `failed`, because a client's mistake must not pass here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from bridge.domain import text

CHINA = timezone(timedelta(hours=8))

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d):(\d\d))?\Z", re.ASCII)
_MAX_ROWS = 1000

NUMBER = (int, Decimal)
WHOLE = (int,)
TEXT = (str,)

TASK_FIELDS: dict[str, tuple[type, ...]] = {
    "processor_name": TEXT,
    "ctrl_define_no": TEXT,
    "target_comm_no": TEXT,
    "target_devtype": WHOLE,
    "ctrl_time": TEXT,
    "ctrl_timeout": TEXT,
    "ctrl_type": TEXT,
    "ctrl_data": TEXT,
}
RECORD_FIELDS: dict[str, tuple[type, ...]] = {
    "ctrl_id": WHOLE,
    "upper_ctrl_id": WHOLE,
    "company_no": TEXT,
    **TASK_FIELDS,
    "ctrl_state": WHOLE,
    "ctrl_state_msg": TEXT,
    "ctrl_feedback_msg": TEXT,
    "return_data": TEXT,
    "sync_flag": WHOLE,
    "sync_time": TEXT,
    "sync_msg": TEXT,
}
LIST_CONDITIONS: dict[str, tuple[type, ...]] = {
    "upper_ctrl_id": WHOLE,
    "processor_name": TEXT,
    "ctrl_define_no": TEXT,
    "target_comm_no": TEXT,
    "target_devtype": WHOLE,
    "ctrl_state": WHOLE,
    "ctrl_type": TEXT,
    "ctrl_time_from": TEXT,
    "ctrl_time_to": TEXT,
}
WINDOW: dict[str, tuple[type, ...]] = dict.fromkeys(
    (
        "year", "month", "start_day", "start_hour", "start_minute", "end_day", "end_hour", "end_minute",
    ),
    WHOLE,
)  # fmt: skip

_PRICES = dict.fromkeys((f"price{n}" for n in range(1, 6)), NUMBER)
_LADDERS = tuple(f"ladder{n}" for n in range(1, 5))
STRUCTURES: dict[str, dict[str, tuple[type, ...]]] = {
    "prepay.setprice": {
        **_PRICES, **dict.fromkeys(_LADDERS, NUMBER), "cycle_start": TEXT, "cycle_month": WHOLE,
    },
    "prepay.getprice": {},
    "prepay.setremain": {"remain_value": NUMBER},
    "prepay.remotecharge": {"charge_value": NUMBER, "total_value": NUMBER, "charge_times": WHOLE},
    "prepay.getchargestate": {},
    "prepay.openaccount": {
        "charge_value": NUMBER, "total_value": NUMBER, **_PRICES, **dict.fromkeys(_LADDERS, WHOLE),
        "cycle_start_time": TEXT, "cycle_month": WHOLE,
    },
    "common.setvalveon": {},
    "common.setvalveoff": {},
    "common.setcumulant": {"std_sum": NUMBER, "work_sum": NUMBER},
    "common.releaseforce": {},
}  # fmt: skip
"""`ctrl_data` by command type without its processor (6.4)."""


class Malformed(Exception):
    """A request that is answered with `failed`; the text says why."""


def body_of(content_type: str, raw: bytes) -> Any:
    """The JSON body; None if there is none. Raises Malformed."""
    if content_type.split(";")[0].strip().lower() != "application/json":
        raise Malformed("Content-Type is not application/json")
    if not raw:
        return None
    try:
        return text.loads(raw)
    except ValueError:
        raise Malformed("not JSON") from None


def check(
    where: str, value: object, wanted: Mapping[str, tuple[type, ...]], *, complete: bool
) -> dict[str, Any]:
    """The object, with these keys and kinds (`complete`: all of them). Raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed(f"{where} is no object")
    if unknown := set(value) - set(wanted):
        raise Malformed(f"{where} has unknown keys: {', '.join(sorted(unknown))}")
    if complete and (missing := set(wanted) - set(value)):
        raise Malformed(f"{where} lacks {', '.join(sorted(missing))}")
    for name, found in value.items():
        # bool is an int in Python, but not in JSON
        if isinstance(found, bool) or not isinstance(found, wanted[name]):
            raise Malformed(f"{where}.{name} has the wrong type")
    return value


def rows_of(query: Mapping[str, str]) -> tuple[int, int]:
    """`startrow` and `rowcount`. Raises Malformed."""
    if unknown := set(query) - {"startrow", "rowcount"}:
        raise Malformed(f"unknown query parameters: {', '.join(sorted(unknown))}")
    start, count = query.get("startrow", "0"), query.get("rowcount", "100")
    if not start.isdigit() or not count.isdigit() or not 1 <= int(count) <= _MAX_ROWS:
        raise Malformed("startrow or rowcount is no sensible number")
    return int(start), int(count)


def task_of(value: object, processors: Sequence[str]) -> dict[str, Any]:
    """A task of 4.10 with `ctrl_data` that fits its type. Raises Malformed."""
    task = check("task", value, TASK_FIELDS, complete=True)
    if task["processor_name"] not in processors:
        raise Malformed("unknown processor_name")
    if not task["ctrl_define_no"] or len(task["ctrl_define_no"]) > 50:
        raise Malformed("ctrl_define_no has not 1 to 50 characters")
    prefix, _, suffix = task["ctrl_type"].partition(".")
    if prefix != task["processor_name"] or suffix not in STRUCTURES:
        raise Malformed("unknown ctrl_type")
    if task["target_devtype"] != 1:
        raise Malformed("only meters (1) take tasks")
    unix_of(task["ctrl_time"])
    unix_of(task["ctrl_timeout"])
    try:
        data = text.loads(task["ctrl_data"])
    except ValueError:
        raise Malformed("ctrl_data is no JSON text") from None
    check("ctrl_data", data, STRUCTURES[suffix], complete=True)
    return task


def unix_of(value: object) -> float:
    """A time that the client sent: `YYYY-MM-DD[ HH:MM:SS]`, local. Raises Malformed."""
    match = _TIME.match(value) if isinstance(value, str) else None
    if match is None:
        raise Malformed("a time is not YYYY-MM-DD HH:MM:SS")
    parts = [int(part or 0) for part in match.groups()]
    try:
        year, month, day, hour, minute, second = parts
        return datetime(year, month, day, hour, minute, second, tzinfo=CHINA).timestamp()
    except ValueError as error:
        raise Malformed(str(error)) from None


def spaced(unix_s: float) -> str:
    """`2021-04-07 08:00:00`, as pushes have it."""
    return datetime.fromtimestamp(unix_s, CHINA).strftime("%Y-%m-%d %H:%M:%S")


def joined(unix_s: float) -> str:
    """`2021-04-07T08:00:00`, as answers have it."""
    return datetime.fromtimestamp(unix_s, CHINA).strftime("%Y-%m-%dT%H:%M:%S")


def seven_digits(unix_s: float) -> str:
    """`2017-05-17T11:17:31.6895023+08:00`, as the login has it."""
    at = datetime.fromtimestamp(unix_s, CHINA)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond:06d}3+08:00"


def window_of(body: Mapping[str, int]) -> tuple[float, float]:
    """First and last instant of a window of one month, the end minute included. Raises Malformed."""
    try:
        start = datetime(
            body["year"], body["month"], body["start_day"], body["start_hour"], body["start_minute"],
            tzinfo=CHINA,
        )  # fmt: skip
        end = datetime(
            body["year"], body["month"], body["end_day"], body["end_hour"], body["end_minute"], 59,
            tzinfo=CHINA,
        )  # fmt: skip
    except (ValueError, OverflowError) as error:
        raise Malformed(str(error)) from None
    return start.timestamp(), end.timestamp()


def good(data: Any, message: str = "") -> dict[str, Any]:
    """`State` `success`."""
    return {"Data": data, "State": "success", "Message": message}


def bad(data: Any, message: str) -> dict[str, Any]:
    """`State` `failed`; `data` is null, 0 or a list, by end point."""
    return {"Data": data, "State": "failed", "Message": message}


def listed(rows: Sequence[Any], start: int, count: int, *, lower: bool = False) -> dict[str, Any]:
    """A page of a list; `lower`: counters as the vendor's tables write them (Q6)."""
    page = list(rows[start : start + count])
    names = ("totalcount", "startrow", "rowcount") if lower else ("Totalcount", "Startrow", "Rowcount")
    counters = dict(zip(names, (len(rows), start, len(page)), strict=True))
    return {"Data": page, **counters, "State": "success", "Message": ""}
