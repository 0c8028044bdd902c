"""The simulator's own control surface under `/_sim/`, for tests and demos in other processes. JSON both ways.

No vendor has this; it is neither counted nor met by faults. Mistakes get 400 with {"error": …}.

GET  ledger      {"entries": [{n, at, device, effect, detail, request}], "counts": {effect: n}}. Effects: login,
                 task_queued, task_updated, task_deleted, task_cancelled, task_retried; of meters: recharged,
                 valve_opened, valve_closed, force_released, balance_set, account_opened, cumulant_set, price_set
GET  requests    query endpoint, device, window_s: {"total", "counts": {endpoint: n}, "calls": […], "most_at_once",
                 "busiest" (with window_s: most in any such window)}
GET  deliveries  {"total", "accepted", "waiting", "deliveries": [{n, at, device, path, body, attempts, status,
                 answer, accepted, well_formed, …}]}
GET  bursts      {"bursts": [{burst, planned, done, readings: [{device, std_sum, accepted, status}]}]}
GET  devices     {"devices": [{device, device_type, valve_open, account_open, remain, remote_times, …}]}
GET  tasks       {"tasks": [records as GetModel tells them]}
GET  faults      {"faults": […]}
POST fault       a rule as `bridge.simulators.faults.Fault`: {"kind", "endpoint": "CtrlData/Add", "device", …}
POST clear       {"what": ["faults", "ledger", "requests", "deliveries"]}; without `what`: the faults
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
POST burst       {"rate", "seconds", "devices": […], "wait": false}: 202 at once; with `wait` 200 at the end
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.domain import text
from bridge.simulators.faults import fault_from_json
from bridge.simulators.iotmeter.cloud import IotMeterCloud

Body = dict[str, Any]
Answer = dict[str, Any]


def routes(cloud: IotMeterCloud) -> list[Route]:
    """The control surface of a platform."""
    looks: dict[str, Callable[[Request], Answer]] = {
        "ledger": lambda _request: cloud.ledger.as_json(),
        "requests": lambda request: _requests(cloud, request),
        "deliveries": lambda _request: cloud.pushes.as_json(),
        "bursts": lambda _request: {"bursts": [burst.as_json() for burst in cloud.bursts]},
        "devices": lambda _request: {"devices": _devices(cloud)},
        "tasks": lambda _request: {"tasks": [task.record() for task in cloud.queue.all()]},
        "faults": lambda _request: {"faults": cloud.faults.as_json()},
    }
    deeds: dict[str, Callable[[Body], object]] = {
        "fault": lambda body: cloud.faults.add(fault_from_json(body)),
        "clear": lambda body: _clear(cloud, **body),
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
    return [
        *(Route(f"/_sim/{name}", _look(look), methods=["GET"]) for name, look in looks.items()),
        *(Route(f"/_sim/{name}", _deed(deed), methods=["POST"]) for name, deed in deeds.items()),
        Route("/_sim/burst", _burst(cloud), methods=["POST"]),
    ]


def _look(look: Callable[[Request], Answer]) -> Callable[[Request], Any]:
    async def handler(request: Request) -> Response:
        try:
            return _json(look(request))
        except ValueError as error:
            return _mistake(error)

    return handler


def _deed(deed: Callable[[Body], object]) -> Callable[[Request], Any]:
    async def handler(request: Request) -> Response:
        try:
            deed(await _body(request))
        except Exception as error:  # noqa: BLE001 # a tester's mistake, whatever it is, is told and harms nobody
            return _mistake(error)
        return _json({"ok": True})

    return handler


def _burst(cloud: IotMeterCloud) -> Callable[[Request], Any]:
    async def handler(request: Request) -> Response:
        try:
            body = await _body(request)
            wait = body.pop("wait", False)
            burst, task = cloud.start_burst(body.pop("rate"), body.pop("seconds"), **body)
        except (ValueError, TypeError, KeyError) as error:
            return _mistake(error)
        if wait:
            await task
            return _json(burst.as_json())
        return _json({"burst": burst.n, "planned": burst.planned}, 202)

    return handler


async def _body(request: Request) -> Body:
    raw = await request.body()
    body = text.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise ValueError("the body is no object")
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in body.items()}


def _json(page: Answer, status: int = 200) -> Response:
    # through our own text: records hold decimals
    return Response(text.dumps(page), status, media_type="application/json")


def _mistake(error: Exception) -> Response:
    return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)


def _requests(cloud: IotMeterCloud, request: Request) -> Answer:
    chosen = {
        "endpoint": request.query_params.get("endpoint"),
        "device": request.query_params.get("device"),
    }
    answer = cloud.calls.as_json(cloud.calls.calls(**chosen))
    answer["most_at_once"] = cloud.calls.most_at_once(**chosen)
    if window_s := request.query_params.get("window_s"):
        answer["busiest"] = cloud.calls.busiest(float(window_s), **chosen)
    return answer


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


def _clear(cloud: IotMeterCloud, what: tuple[str, ...] | list[str] = ("faults",)) -> None:
    clears = {
        "faults": cloud.faults.clear,
        "ledger": cloud.ledger.clear,
        "requests": cloud.calls.clear,
        "deliveries": cloud.pushes.clear,
    }
    for name in what:
        clears[name]()


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
