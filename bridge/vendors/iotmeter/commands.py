"""The commands of a meter and of its account (METRICS 4.1 and 4.3, iotmeter), and the task that each one queues.

Pure. What happens after a lost answer follows the last columns of METRICS 4: a search by `ctrl_define_no` decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

from bridge.domain.account import AccountPolicy
from bridge.domain.command import (
    AfterLoss,
    Checker,
    CommandSpec,
    Evidence,
    Follow,
    NoParams,
    Order,
    Params,
    Status,
)
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import Refused, Rejection
from bridge.domain.text import Json
from bridge.vendors.iotmeter.deeds import (
    batch_acts,
    batch_claims,
    batch_targets,
    charge_acts,
    release_acts,
    valve_acts,
)
from bridge.vendors.iotmeter.params import (
    AddTasks,
    CtrlIdParam,
    CtrlIds,
    History,
    ListTasks,
    OpenAccount,
    Recharge,
    SetBalance,
    SetCumulant,
    SetPrice,
    TaskName,
    TaskRecord,
    TaskRecords,
    Valve,
    ctrl_data,
)
from bridge.vendors.iotmeter.tasks import METER, RTU, SUFFIXES, command_of
from bridge.vendors.iotmeter.wire import encoded, local_text

DAY_S = 86400.0
TASK_S = 3 * DAY_S
OPENING_S = DAY_S
"""How long a task may take (7.3): a battery-powered meter often wakes up once a day."""

GRACE_S = 600.0
ABSENT_S = 60.0
"""How long a task must stay unfound before it counts as never queued (7.2)."""

LONGEST_BATCH_ID = 46
CONTROL = "control"

_LOOKS = (5.0, 15.0, 30.0, 60.0, *(60.0 + 300.0 * n for n in range(1, 25)))
_SEARCHES = (5.0, 20.0, 60.0)
_PATIENT = (5.0, 66.0, 130.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, DAY_S, 2 * DAY_S)

_ASK_AGAIN = AfterLoss(send_again=2, otherwise=Status.TIMED_OUT, message="no answer, asked three times")
_QUEUE_AGAIN = AfterLoss(
    _SEARCHES,
    send_again=1,
    otherwise=Status.TIMED_OUT,
    message="no answer, and the platform shows no such task; queued twice",
)
_NEVER_AGAIN = AfterLoss(_PATIENT, message="no answer, and the platform does not tell what happened")
_ONCE_MORE = AfterLoss(_SEARCHES, send_again=1, otherwise=Status.TIMED_OUT, message="no answer, sent twice")


def device_commands(in_reach: Checker, *, control: bool) -> Mapping[str, CommandSpec]:
    """What a meter takes; without the control API only what the data API can do. `in_reach` raises Rejection for a
    stretch of the past that makes no sense."""
    specs = [*_reading(in_reach), *(_by_control(_queued() + _steering()) if control else ())]
    return {spec.name: spec for spec in specs}


def rtu_commands(specs: Mapping[str, CommandSpec]) -> Mapping[str, CommandSpec]:
    """What an RTU takes: every task of page 6.4 is one for meters."""
    return {name: spec for name, spec in specs.items() if name not in SUFFIXES}


def _by_control(specs: tuple[CommandSpec, ...]) -> tuple[CommandSpec, ...]:
    """The control API has a login of its own, which may be refused while the data API goes on."""
    return tuple(replace(spec, part=CONTROL) for spec in specs)


def _reading(in_reach: Checker) -> tuple[CommandSpec, ...]:
    return (
        CommandSpec(
            "read",
            "fetches the platform's latest reading; the meter itself cannot be asked",
            writes=False,
            after_loss=lambda _params: _ASK_AGAIN,
        ),
        CommandSpec(
            "history",
            "publishes the readings that the platform keeps of this stretch of time",
            params=History,
            writes=False,
            check=in_reach,
            after_loss=lambda _params: _ASK_AGAIN,
        ),
    )


def _follow(questions_s: float = 0.0, otherwise: Status = Status.TIMED_OUT) -> Follow:
    """The schedule of page 7.3; the task's own time-out, and the questions that follow it, end it before `until_s`
    or `grace_s` do."""
    return Follow(
        _LOOKS,
        then_every_s=1800.0,
        until_s=TASK_S + questions_s + DAY_S,
        grace_s=questions_s + DAY_S,
        otherwise=otherwise,
    )


def _task(name: str, description: str, params: type[Params] = NoParams, **rules: Any) -> CommandSpec:
    again = rules.pop("again", _QUEUE_AGAIN)
    return CommandSpec(
        name,
        description,
        params=params,
        after_loss=again if callable(again) else lambda _params: again,
        follow=rules.pop("follow", lambda _device: _follow()),
        **rules,
    )


def _dangerous(
    name: str, description: str, params: type[Params], questions_s: float = 0.0, **rules: Any
) -> CommandSpec:
    return _task(
        name,
        f"{description}; never executed twice",
        params,
        idempotent=False,
        needs_id=True,
        exclusive=True,
        uses_state=name == "open_account",
        again=_NEVER_AGAIN,
        follow=lambda _device: _follow(questions_s, Status.INDETERMINATE),
        **rules,
    )


def _queued() -> tuple[CommandSpec, ...]:
    return (
        _task(
            "valve",
            "opens or closes the gas valve at the meter's next wake-up",
            Valve,
            again=lambda params: _NEVER_AGAIN if params.state == "open" else _QUEUE_AGAIN,
            evidence=lambda params: Evidence("valve_state", "open" if params.state == "open" else "closed"),
            acts=valve_acts,
        ),
        _task(
            "release_valve", "releases the forced state of the valve", again=_NEVER_AGAIN, acts=release_acts
        ),
        _task("get_price", "reads the meter's prices", writes=False),
        _task("get_recharge", "reads the meter's counters of recharges", writes=False),
        _task("set_price", "sets the meter's prices", SetPrice, needs_id=True),
        _dangerous("set_balance", "sets the balance inside the meter", SetBalance),
        _dangerous(
            "recharge", "recharges the meter with real money", Recharge, TASK_S + DAY_S, acts=charge_acts
        ),
        _dangerous("open_account", "opens the account on the meter", OpenAccount, acts=charge_acts),
        _dangerous("set_cumulant", "overwrites the meter's register", SetCumulant),
    )


def _steering() -> tuple[CommandSpec, ...]:
    return (
        CommandSpec(
            "cancel",
            "cancels a control task of this meter",
            params=TaskName,
            after_loss=lambda _params: _ONCE_MORE,
            follow=lambda _device: Follow((5.0, 15.0, 30.0, 60.0), then_every_s=120.0, until_s=GRACE_S),
        ),
        CommandSpec(
            "retry",
            "has the platform send the same task once more; not for tasks that must not run twice",
            params=TaskName,
            idempotent=False,
            repeats=lambda params: [params.command_id if params.ctrl_id is None else params.ctrl_id],
            after_loss=lambda _params: AfterLoss(
                (5.0, 66.0), message="no answer, and the task does not show whether it runs again"
            ),
        ),
    )


def account_commands(
    policy: AccountPolicy, can_be_written: Checker, *, control: bool
) -> Mapping[str, CommandSpec]:
    """What the account itself takes. `can_be_written` raises Rejection for a batch that makes no tasks."""
    inventory = CommandSpec(
        "refresh_inventory",
        "reads the list of meters",
        writes=False,
        after_loss=lambda _params: _ASK_AGAIN,
    )
    tasks = _by_control(_looking() + _single_tasks() + _batches(policy, can_be_written))
    specs = [inventory, *(tasks if control else ())]
    return {spec.name: spec for spec in specs}


def _looking() -> tuple[CommandSpec, ...]:
    def look(name: str, description: str, params: type[Params]) -> CommandSpec:
        return CommandSpec(
            name, description, params=params, writes=False, after_loss=lambda _params: _ASK_AGAIN
        )

    return (
        look("list_tasks", "lists control tasks", ListTasks),
        look("get_task", "shows a control task", CtrlIdParam),
        look("describe_task", "the platform's description of a control task, for people", CtrlIdParam),
    )


def _single_tasks() -> tuple[CommandSpec, ...]:
    return (
        _change(
            "update_task",
            "overwrites a control task",
            TaskRecord,
            dangerous=True,
            acts=batch_acts,
            targets=batch_targets,
        ),
        _change(
            "delete_task", "deletes a control task, and with it the trace of it", CtrlIdParam, dangerous=True
        ),
    )


def _batches(policy: AccountPolicy, can_be_written: Checker) -> tuple[CommandSpec, ...]:
    return (
        _change(
            "add_tasks",
            f"queues several control tasks; the `id` has at most {LONGEST_BATCH_ID} characters",
            AddTasks,
            dangerous=True,
            idempotent=False,
            needs_id=True,
            check=_batch_check(policy, can_be_written),
            acts=batch_acts,
            targets=batch_targets,
            claims=batch_claims,
            again=_NEVER_AGAIN,
        ),
        _change(
            "update_tasks",
            "overwrites control tasks",
            TaskRecords,
            dangerous=True,
            acts=batch_acts,
            targets=batch_targets,
        ),
        _change("delete_tasks", "deletes control tasks", CtrlIds, dangerous=True),
        _change("cancel_tasks", "cancels control tasks", CtrlIds),
        _change(
            "retry_tasks",
            "has the platform send the same tasks once more",
            CtrlIds,
            idempotent=False,
            repeats=lambda params: params.ctrl_ids,
            targets=lambda _params: None,
            again=AfterLoss(
                (5.0, 66.0), message="no answer, and the tasks do not show whether they run again"
            ),
        ),
    )


def _change(name: str, description: str, params: type[Params], **rules: Any) -> CommandSpec:
    again = rules.pop(
        "again",
        AfterLoss((5.0, 20.0, 66.0), message="no answer, and the platform does not tell what happened"),
    )
    return CommandSpec(name, description, params=params, after_loss=lambda _params: again, **rules)


def _batch_check(policy: AccountPolicy, can_be_written: Checker) -> Checker:
    """A batch is no way around the configuration: device by device, command by command."""

    def check(order: Order) -> None:
        if len(order.id) > LONGEST_BATCH_ID:
            raise Rejection("invalid_params", f"id: expected at most {LONGEST_BATCH_ID} characters")
        for task in order.params.tasks:
            if not policy.exposes(task.target_comm_no):
                raise Rejection("unknown_device", f"the configuration excludes {task.target_comm_no!r}")
            command = command_of(task.ctrl_type)
            if command is not None and not policy.allows(command):
                raise Rejection("not_allowed", f"the configuration does not allow {command!r}")
        can_be_written(order)

    return check


def device_of(order: Order) -> Device:
    """The device of a command for one. Raises Refused where there is none: a mistake of the caller."""
    if order.device is None:
        raise Refused("this is a command for a device")
    return order.device


def ctrl_type(processor: str, name: str, params: Params) -> str:
    """The command type of a command (6.4)."""
    kinds = SUFFIXES[name]
    closing = isinstance(params, Valve) and params.state == "close"
    return f"{processor}.{kinds[1 if closing else 0]}"


def task_s(order: Order) -> float:
    """How long the task of this order may take, in seconds."""
    if order.timeout_s is not None:
        return order.timeout_s
    opens = isinstance(order.params, Valve) and order.params.state == "open"
    return OPENING_S if opens or order.spec.name == "release_valve" else TASK_S


def task_body(order: Order, device: Device, processor: str, zone: tzinfo, now: datetime) -> dict[str, Json]:
    """The body of `CtrlData/Add` (4.10); V12."""
    return new_task(
        processor=processor,
        define_no=order.id,
        target=device.native_id,
        devtype=RTU if device.kind is DeviceKind.RTU else METER,
        span=(now, ends_at(now, task_s(order))),
        kind=ctrl_type(processor, order.spec.name, order.params),
        data=ctrl_data(order.params, zone, now),
        zone=zone,
    )


def new_task(
    *,
    processor: str,
    define_no: str,
    target: str,
    devtype: int,
    span: tuple[datetime, datetime],
    kind: str,
    data: Json,
    zone: tzinfo,
) -> dict[str, Json]:
    """The eight fields of a new task, `span` being its creation and its time-out; always date and time (Q17)."""
    return {
        "processor_name": processor,
        "ctrl_define_no": define_no,
        "target_comm_no": target,
        "target_devtype": devtype,
        "ctrl_time": local_text(span[0], zone),
        "ctrl_timeout": local_text(span[1], zone),
        "ctrl_type": kind,
        "ctrl_data": encoded(data),
    }


def ends_at(now: datetime, task_for_s: float) -> datetime:
    """A task's time-out: whole seconds, and always later than now."""
    return now + timedelta(seconds=max(1, math.ceil(task_for_s)))
