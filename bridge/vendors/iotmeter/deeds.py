"""What control tasks do to a meter, for the operator's interlocks; by whichever command they come. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from bridge.domain.interlocks import Act, Deed
from bridge.domain.text import Json
from bridge.vendors.iotmeter.params import AddTasks, TaskRecord, TaskRecords, Valve
from bridge.vendors.iotmeter.tasks import DANGEROUS, SUFFIXES, suffix_of
from bridge.vendors.iotmeter.wire import decoded, measured

_MOVES: Mapping[str, Deed] = {
    SUFFIXES["valve"][0]: Deed.VALVE_OPEN,
    SUFFIXES["valve"][1]: Deed.VALVE_CLOSE,
    # it may let a locked valve open (page 7.1)
    SUFFIXES["release_valve"][0]: Deed.VALVE_OPEN,
}
_ONCE = frozenset(suffix for command in DANGEROUS for suffix in SUFFIXES[command])
_CHARGES = frozenset({SUFFIXES["recharge"][0], SUFFIXES["open_account"][0]})


def moves_valve(ctrl_type: str) -> bool:
    """Whether a task of this type opens or closes a valve."""
    return suffix_of(ctrl_type) in _MOVES


def valve_acts(params: Valve) -> Sequence[Act]:
    """Of `valve`."""
    return (Act(Deed.VALVE_OPEN if params.state == "open" else Deed.VALVE_CLOSE),)


def release_acts(_params: object) -> Sequence[Act]:
    """Of `release_valve`."""
    return (Act(Deed.VALVE_OPEN),)


def charge_acts(params: Any) -> Sequence[Act]:
    """Of `recharge` and `open_account`."""
    return (Act(Deed.RECHARGE, Decimal(repr(params.charge_value))),)


def batch_acts(params: AddTasks | TaskRecord | TaskRecords) -> Sequence[Act]:
    """Of `add_tasks`, `update_task` and `update_tasks`: a task that is written may be executed."""
    tasks = (params,) if isinstance(params, TaskRecord) else params.tasks
    return tuple(
        act for task in tasks for act in _task_acts(task.ctrl_type, task.ctrl_data, task.target_comm_no)
    )


def batch_targets(params: AddTasks | TaskRecord | TaskRecords) -> Sequence[str]:
    """The devices of `add_tasks`, `update_task` and `update_tasks`."""
    tasks = (params,) if isinstance(params, TaskRecord) else params.tasks
    return tuple(task.target_comm_no for task in tasks)


def batch_claims(params: AddTasks) -> Sequence[str]:
    """The devices of `add_tasks` whose tasks must never run twice."""
    return tuple(task.target_comm_no for task in params.tasks if suffix_of(task.ctrl_type) in _ONCE)


def _task_acts(ctrl_type: str, data: Json, device: str) -> Sequence[Act]:
    suffix = suffix_of(ctrl_type)
    if suffix in _MOVES:
        return (Act(_MOVES[suffix], device=device),)
    return (Act(Deed.RECHARGE, _amount(data), device=device),) if suffix in _CHARGES else ()


def _amount(data: Json) -> Decimal | None:
    fields = decoded(data)
    given = fields.get("charge_value") if isinstance(fields, dict) else None
    amount = measured(repr(given) if isinstance(given, float) else given)
    return None if amount is None or amount < 0 else Decimal(amount)
