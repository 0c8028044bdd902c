"""What a dry run shows: the request of a command, key and token masked (METRICS 4). Pure."""

from __future__ import annotations

from datetime import datetime

from bridge.domain.command import Order
from bridge.domain.errors import Refused, Rejection
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.vendorkit.http import Call
from bridge.vendors.iotmeter.api import READINGS, ControlApi, DataApi
from bridge.vendors.iotmeter.auth import MASK
from bridge.vendors.iotmeter.batch import add_bodies
from bridge.vendors.iotmeter.commands import task_body
from bridge.vendors.iotmeter.past import Past
from bridge.vendors.iotmeter.settings import IotMeterSettings
from bridge.vendors.iotmeter.tasks import SUFFIXES

_ONE_TASK = {
    "cancel": "CtrlData/Cancel",
    "retry": "CtrlData/Retry",
    "get_task": "CtrlData/GetModel",
    "describe_task": "CtrlData/GetDetial",
    "delete_task": "CtrlData/Delete",
}
_MANY_TASKS = {
    "delete_tasks": "CtrlData/DeleteMulti",
    "cancel_tasks": "CtrlData/CancelMulti",
    "retry_tasks": "CtrlData/RetryMulti",
}


def request_of(
    order: Order,
    settings: IotMeterSettings,
    data: DataApi,
    past: Past,
    control: ControlApi | None,
    now: datetime,
) -> Call:
    """The first request that the command itself makes; a login, and what only looks around, are not shown."""
    name = order.spec.name
    if order.device is not None and name == "read":
        return data.latest_call(order.device.native_id, Lane.READ, masked=True)
    if order.device is not None and name == "history":
        return past.first(order.device, past.period(order))
    if name == "refresh_inventory":
        conditions = {"orderby": "meter_comm_no", "sequence": "asc"}
        return data.list_call(READINGS, conditions, 0, Lane.INVENTORY, masked=True)
    if control is None:
        raise Refused("the account has no control API", code="unsupported")
    return _control_call(order, settings, control, now)


def _control_call(order: Order, settings: IotMeterSettings, control: ControlApi, now: datetime) -> Call:
    name, params, zone = order.spec.name, order.params, settings.zone
    if name in SUFFIXES and order.device is not None:
        body = task_body(order, order.device, settings.processor, zone, now)
        return control.call("CtrlData/Add", "CtrlData/Add", MASK, body)
    if name in _ONE_TASK:
        return control.call(_ONE_TASK[name], f"{_ONE_TASK[name]}/{_task_name(params)}", MASK, None)
    if name in _MANY_TASKS:
        return control.call(_MANY_TASKS[name], _MANY_TASKS[name], MASK, list(params.ctrl_ids))
    if name == "update_task":
        return control.call("CtrlData/Update", "CtrlData/Update", MASK, params.body(zone))
    if name == "update_tasks":
        bodies = [task.body(zone) for task in params.tasks]
        return control.call("CtrlData/UpdateMulti", "CtrlData/UpdateMulti", MASK, bodies)
    if name == "add_tasks":
        return control.call(
            "CtrlData/AddMulti", "CtrlData/AddMulti", MASK, add_bodies(order, settings.processor, zone, now)
        )
    if name == "list_tasks":
        rows = {"startrow": str(params.startrow), "rowcount": str(params.rowcount)}
        return control.call("CtrlData/GetList", "CtrlData/GetList", MASK, params.conditions(zone), rows)
    raise Rejection("unknown_command", f"no request is known for {name!r}")


def _task_name(params: Json) -> str:
    command_id = getattr(params, "command_id", None)
    return str(params.ctrl_id) if command_id is None else "{ctrl_id}"


def explanation(order: Order, settings: IotMeterSettings) -> Json:
    """What else would be asked."""
    name = order.spec.name
    if name == "history":
        return "one call per month and kind of data (real-time, frozen), each with all its pages"
    if name == "refresh_inventory":
        return "and all further pages"
    if getattr(order.params, "command_id", None) is not None:
        return "the ctrl_id is looked up by command_id (GetList) before"
    if name == "recharge" and settings.recharge_check:
        return "the meter's counters are read (prepay.getchargestate) and compared before"
    return None
