"""What this simulator's control surface has besides `bridge.simulators.controls`.

Effects in the ledger: login, task_queued, task_updated, task_deleted, task_cancelled, task_retried; of meters:
recharged, valve_opened, valve_closed, force_released, balance_set, account_opened, cumulant_set, price_set.
Endpoints in a fault are as `CtrlData/Add`. `clear` also knows deliveries.

GET  deliveries  {"total", "accepted", "waiting", "deliveries": [{n, at, device, path, body, attempts, status,
                 answer, accepted, well_formed, …}]}
GET  bursts      {"bursts": [{burst, planned, done, readings: [{device, std_sum, accepted, status}]}]}
GET  devices     {"devices": [{device, device_type, valve_open, account_open, remain, remote_times, …}]}
GET  tasks       {"tasks": [records as GetModel tells them]}
POST wake        {"device"}, or {} for all: tasks that wait are executed, a reading is taken and pushed
POST settle      {"ctrl_id", "state", "returned": "{}", "report": true}: a task gets this state
POST foreign     {"device", "suffix": "common.setvalveoff", "data": {}}: somebody else queues a task
POST alarm       {"device", "code", "content": "", "data": {}, "at_s": Unix seconds, "push": true}
POST event       the same
POST state       {"device"} and any of valve_open, account_open, remain, battery_v, forced, remote_times,
                 remote_total; other names go into `ext_data`
POST configure   {"device"} and any field of `bridge.simulators.iotmeter.meter.Options`
POST platform    any of reports, refuse_by_body, lower_counters, ext_as_object, false_results, single_session,
                 report_headers (bool), token_life_s
POST expire      {}: no token is good any more
POST push        {"url", "retry_s": 2}: where pushes go from now on
POST repush      {}: what failed is pushed again now
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from starlette.routing import Route

from bridge.simulators import controls
from bridge.simulators.controls import Answer, Body, Deed, Look
from bridge.simulators.iotmeter.cloud import IotMeterCloud


def routes(cloud: IotMeterCloud) -> list[Route]:
    """The control surface of a platform."""
    looks: dict[str, Look] = {
        "deliveries": lambda _query: cloud.pushes.as_json(),
        "devices": lambda _query: {"devices": _devices(cloud)},
        "tasks": lambda _query: {"tasks": [task.record() for task in cloud.queue.all()]},
    }
    deeds: dict[str, Deed] = {
        "wake": lambda body: _wake(cloud, **body),
        "settle": lambda body: cloud.settle(**body),
        "foreign": lambda body: cloud.foreign(**body),
        "alarm": lambda body: cloud.alarm(**body),
        "event": lambda body: cloud.event(**body),
        "state": lambda body: cloud.set_state(body.pop("device"), **body),
        "configure": lambda body: cloud.configure(body.pop("device"), **body),
        "platform": lambda body: _platform(cloud, body),
        "expire": lambda body: _no_more(body, cloud.sessions.expire),
        "push": lambda body: _push(cloud, **body),
        "repush": lambda body: _no_more(body, cloud.pushes.repush),
    }
    own = controls.routes(cloud, looks, deeds, {"deliveries": cloud.pushes.clear})
    return [*own, *controls.burst_routes(cloud)]


def _devices(cloud: IotMeterCloud) -> list[Answer]:
    return [
        {
            "device": meter.comm_no,
            "device_type": meter.device_type,
            "std_sum": round(meter.std_sum, 3),
            "valve_open": meter.valve_open,
            "forced": meter.forced,
            "account_open": meter.account_open,
            "remain": round(meter.remain, 3),
            "remote_times": meter.remote_times,
            "remote_total": round(meter.remote_total, 3),
            "records": len(meter.records),
            "options": asdict(meter.options),
        }
        for meter in cloud.fleet.values()
    ]


def _wake(cloud: IotMeterCloud, device: str | None = None) -> None:
    if device is None:
        cloud.wake_all()
    else:
        cloud.wake(device)


def _platform(cloud: IotMeterCloud, body: Body) -> None:
    owners: dict[str, tuple[object, str, type]] = {
        "reports": (cloud, "reports", bool),
        "refuse_by_body": (cloud, "refuse_by_body", bool),
        "lower_counters": (cloud.data, "lower_counters", bool),
        "ext_as_object": (cloud.data, "ext_as_object", bool),
        "false_results": (cloud.desk, "false_results", bool),
        "single_session": (cloud.sessions, "single", bool),
        "report_headers": (cloud.pushes, "report_headers", bool),
        "token_life_s": (cloud.sessions, "life_s", float),
    }
    for name, value in body.items():
        owner, attribute, kind = owners[name]
        given = float(value) if kind is float else value
        if type(given) is not kind:
            raise ValueError(f"{name} has the wrong type")
        setattr(owner, attribute, given)


def _push(cloud: IotMeterCloud, url: str, *, retry_s: float = 2.0) -> None:
    cloud.pushes.url = url
    cloud.pushes.retry_s = float(retry_s)


def _no_more(body: Body, act: Callable[[], None]) -> None:
    if body:
        raise ValueError("takes no parameters")
    act()
