"""Control tasks: their types, states and result flags (page iotmeter, sections 6 and 7). Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import Enum
from typing import Any

from bridge.domain.command import Outcome, Status
from bridge.domain.text import Json
from bridge.vendors.iotmeter.wire import Record, decoded, instant, measured, text_of, whole

METER, RTU = 1, 2

WAITING, SENT, ANSWERED, SUCCESS, FAILED, CANCELLED, TIMED_OUT, NOT_DELIVERED, OTHER = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    99,
)
FINAL_STATES = frozenset({SUCCESS, FAILED, CANCELLED, TIMED_OUT, NOT_DELIVERED, OTHER})
DOUBTFUL_STATES = frozenset({TIMED_OUT, NOT_DELIVERED, OTHER})
"""A later report may still turn these into 3 (6.1)."""

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "valve": ("common.setvalveon", "common.setvalveoff"),
    "release_valve": ("common.releaseforce",),
    "set_price": ("prepay.setprice",),
    "get_price": ("prepay.getprice",),
    "set_balance": ("prepay.setremain",),
    "recharge": ("prepay.remotecharge",),
    "get_recharge": ("prepay.getchargestate",),
    "open_account": ("prepay.openaccount",),
    "set_cumulant": ("common.setcumulant",),
}
"""Command → the command types it may be, without the processor's name (6.4)."""

_ALL_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)

DANGEROUS = frozenset({"recharge", "open_account", "set_balance", "set_cumulant"})
"""Never executed a second time (section 7.1)."""

NEVER_AGAIN = DANGEROUS | {"release_valve"}
"""Not queued a second time by the gateway; of `valve` that holds for `open` only."""

CHARGE_GOOD, ACCOUNT_GOOD, ACCOUNT_BAD, CHARGE_BAD = 170, 0, 1, 187
"""`success` in `return_data`: the two structures say the opposite (6.3)."""

GONE = "the task is gone from the platform: nobody can tell what happened"

_TEXT_CHARS = 300


class Verdict(Enum):
    """What a task's state alone does not decide."""

    WORKING = "the platform or the meter works on it"
    UNCLEAR = "ended, and only the meter can tell what happened"


@dataclass(frozen=True, slots=True)
class Task:
    """A control task as `GetModel`, `GetList` or a report tells it."""

    ctrl_id: int
    define_no: str
    target: str
    kind: str
    state: int
    state_text: str
    returned: Json
    created_at: datetime | None
    ends_at: datetime | None

    @property
    def is_final(self) -> bool:
        """Whether the platform does nothing more about it."""
        return self.state in FINAL_STATES

    @property
    def command(self) -> str | None:
        """The command behind the task's type; None for a type that the page does not list."""
        return command_of(self.kind)


def suffix_of(ctrl_type: str) -> str:
    """A command type without the processor's name, which samples write in two ways (Q1) and people leave out."""
    kind = ctrl_type.strip().lower()
    return kind if kind in _ALL_SUFFIXES else kind.partition(".")[2]


def full_type(ctrl_type: str, processor: str) -> str:
    """A command type with the processor's name, which the platform needs: `common.setvalveon` gets the account's."""
    return f"{processor}.{ctrl_type}" if ctrl_type.lower() in _ALL_SUFFIXES else ctrl_type


def command_of(ctrl_type: str) -> str | None:
    """The command that makes tasks of this type."""
    suffix = suffix_of(ctrl_type)
    return next((name for name, kinds in SUFFIXES.items() if suffix in kinds), None)


def task_of(record: Record, zone: tzinfo) -> Task:
    """A record of 4.13 or 4.21 as a task. Raises ValueError without a positive `ctrl_id` or a readable state."""
    ctrl_id, state = whole(record.get("ctrl_id")), whole(record.get("ctrl_state"))
    if ctrl_id is None or ctrl_id <= 0:
        raise ValueError("ctrl_id is missing or unreadable")
    if state is None:
        raise ValueError("ctrl_state is missing or unreadable")
    texts = (text_of(record.get("ctrl_state_msg")), text_of(record.get("ctrl_feedback_msg")))
    return Task(
        ctrl_id=ctrl_id,
        define_no=text_of(record.get("ctrl_define_no")),
        target=text_of(record.get("target_comm_no")) or text_of(record.get("meter_comm_no")),
        kind=text_of(record.get("ctrl_type")),
        state=state,
        state_text="; ".join(text for text in texts if text)[:_TEXT_CHARS],
        returned=decoded(record.get("return_data")),
        created_at=instant(record.get("ctrl_time"), zone),
        ends_at=instant(record.get("ctrl_timeout"), zone),
    )


def public_record(record: Record) -> dict[str, Json]:
    """A record for people and programs: `ctrl_data` and `return_data` decoded, the rest as sent."""
    return {
        name: decoded(value) if name in ("ctrl_data", "return_data") else value
        for name, value in record.items()
    }


def verdict(command: str, params: Any, task: Task) -> Outcome | Verdict:
    """What a task says about its command: an Outcome once it is decided (6.1, 6.3; METRICS 4.1)."""
    if not task.is_final:
        return Verdict.WORKING
    match task.state:
        case 3:
            return _succeeded(command, params, task)
        case 4:
            return outcome(task, Status.FAILED, "device_refused", "the task failed")
        case 5:
            return outcome(task, Status.CANCELLED, None, "the task was cancelled")
        case _ if command in DANGEROUS:
            return Verdict.UNCLEAR
        case 7:
            return outcome(task, Status.FAILED, "no_answer", "the platform could not send it to the meter")
        case _:
            return outcome(task, Status.TIMED_OUT, "no_answer", "the meter did not answer in time")


def _succeeded(command: str, params: Any, task: Task) -> Outcome | Verdict:
    """State 3 alone is not enough: the result flag counts (7.2)."""
    returned = task.returned if isinstance(task.returned, dict) else {}
    flag = whole(returned.get("success"))
    reason = text_of(returned.get("reason_msg")) or f"reason {text_of(returned.get('reason')) or 'unknown'}"
    if command in ("recharge", "open_account"):
        good, bad = (CHARGE_GOOD, CHARGE_BAD) if command == "recharge" else (ACCOUNT_GOOD, ACCOUNT_BAD)
        if flag == bad:
            return outcome(task, Status.FAILED, "device_refused", f"the meter refused it: {reason}")
        if flag != good:
            return Verdict.UNCLEAR
    if command == "set_balance":
        kept = measured(returned.get("remain_value"))
        if kept is not None and float(kept) != params.remain_value:
            return outcome(task, Status.FAILED, "values_differ", f"the meter's balance is {kept}")
    return outcome(task, Status.SUCCEEDED, None, "")


def outcome(task: Task, status: Status, code: str | None, message: str) -> Outcome:
    """An end of a command with what the task tells."""
    told = f" ({task.state_text})" if message and task.state_text else ""
    return Outcome(
        status,
        code=code,
        message=f"{message}{told}",
        vendor_code=task.state,
        vendor_ref=task.ctrl_id,
        result=task.returned if task.returned not in ({}, "") else None,
    )


def charged(returned: Json, charge_times: int) -> bool | None:
    """Whether a `remote_charge_state` shows that a recharge arrived; None where it cannot be read (7.2)."""
    times = whole(returned.get("remote_charge_times")) if isinstance(returned, dict) else None
    return None if times is None else times >= charge_times


def charge_mistake(returned: Json, charge_value: float, total_value: float, charge_times: int) -> str | None:
    """Why a recharge does not follow the meter's counters (7.2, rule 3); None if it does. Raises ValueError where
    the counters cannot be read."""
    fields = returned if isinstance(returned, dict) else {}
    times, total = whole(fields.get("remote_charge_times")), measured(fields.get("remote_total_value"))
    if times is None or total is None:
        raise ValueError("the meter's counters cannot be read")
    if charge_times != times + 1:
        return f"charge_times must be {times + 1}"
    if abs(float(total) + charge_value - total_value) > 0.0005:
        return f"total_value must be {float(total) + charge_value:.3f}"
    return None
