"""The simulator's own control surface under `/_sim/`, for tests and demos in other processes. JSON both ways.

No vendor has this; it is neither counted, limited nor met by faults. Mistakes get 400 with {"error": …}.

GET  ledger      {"entries": [{n, at, device, effect, detail, request}], "counts": {effect: n}}
GET  requests    query endpoint, device, window_s: {"total", "counts": {endpoint: n}, "calls": [{n, at,
                 endpoint, device, done_at, status, fault}], "most_at_once", "busiest" (with window_s:
                 most in any such window)}
GET  deliveries  {"total", "accepted", "deliveries": [{n, at, device, kind, body, status, accepted, …}]}
GET  bursts      {"bursts": [{burst, planned, done, reports: [{device, total_electricity, accepted, …}]}]}
GET  devices     {"devices": [{device, bound, online, on, energy_kwh, held_by, options}]}
GET  faults      {"faults": […]}
POST fault       a rule as `bridge.simulators.faults.Fault`: {"kind", "endpoint", "device", "count", …}
POST clear       {"what": ["faults", "ledger", "requests", "deliveries"]}; without `what`: the faults
POST trip        {"device", "kind"}: a protection responds (overload, overheat, overcurrent, …)
POST offline     {"device", "power_cut": false}
POST online      {"device"}
POST load        {"device"} and any of watts, volts, celsius, leakage_ma; null: as it comes
POST hold        {"device", "on": false, "index": 0}: a schedule takes the switch
POST release     {"device"}
POST configure   {"device"} and any field of `bridge.simulators.wmj.device.Options`
POST callback    {"url", "retry": false}: where callbacks go from now on
POST burst       {"rate", "seconds", "devices": […], "parallel": 1, "wait": false}: 202 at once; with `wait`
                 200 and the reports when all are answered
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
from bridge.simulators.wmj.cloud import WmjCloud

Body = dict[str, Any]
Answer = dict[str, Any]


def routes(cloud: WmjCloud) -> list[Route]:
    """The control surface of a cloud."""
    looks: dict[str, Callable[[Request], Answer]] = {
        "ledger": lambda _request: cloud.ledger.as_json(),
        "requests": lambda request: _requests(cloud, request),
        "deliveries": lambda _request: cloud.deliveries.as_json(),
        "bursts": lambda _request: {"bursts": [burst.as_json() for burst in cloud.bursts]},
        "devices": lambda _request: {"devices": _devices(cloud)},
        "faults": lambda _request: {"faults": cloud.faults.as_json()},
    }
    deeds: dict[str, Callable[[Body], object]] = {
        "fault": lambda body: cloud.faults.add(fault_from_json(body)),
        "clear": lambda body: _clear(cloud, **body),
        "trip": lambda body: cloud.trip(body["device"], body["kind"]),
        "offline": lambda body: cloud.go_offline(body.pop("device"), **body),
        "online": lambda body: cloud.go_online(body["device"]),
        "load": lambda body: cloud.impose(body.pop("device"), **_numbers(body)),
        "hold": lambda body: cloud.hold_by_schedule(body.pop("device"), **body),
        "release": lambda body: cloud.release(body["device"]),
        "configure": lambda body: cloud.configure(body.pop("device"), **body),
        "callback": lambda body: _callback(cloud, **body),
    }
    return [
        *(Route(f"/_sim/{name}", _look(look), methods=["GET"]) for name, look in looks.items()),
        *(Route(f"/_sim/{name}", _deed(deed), methods=["POST"]) for name, deed in deeds.items()),
        Route("/_sim/burst", _burst(cloud), methods=["POST"]),
    ]


def _look(look: Callable[[Request], Answer]) -> Callable[[Request], Any]:
    async def handler(request: Request) -> Response:
        try:
            return JSONResponse(look(request))
        except ValueError as error:
            return _mistake(error)

    return handler


def _deed(deed: Callable[[Body], object]) -> Callable[[Request], Any]:
    async def handler(request: Request) -> Response:
        try:
            deed(await _body(request))
        except (ValueError, TypeError, KeyError) as error:
            return _mistake(error)
        return JSONResponse({"ok": True})

    return handler


def _burst(cloud: WmjCloud) -> Callable[[Request], Any]:
    async def handler(request: Request) -> Response:
        try:
            body = await _body(request)
            wait = body.pop("wait", False)
            burst, task = cloud.start_burst(body.pop("rate"), body.pop("seconds"), **body)
        except (ValueError, TypeError, KeyError) as error:
            return _mistake(error)
        if wait:
            await task
            return JSONResponse(burst.as_json())
        return JSONResponse({"burst": burst.n, "planned": burst.planned}, 202)

    return handler


async def _body(request: Request) -> Body:
    raw = await request.body()
    body = text.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise ValueError("the body is no object")
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in body.items()}


def _mistake(error: Exception) -> Response:
    return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)


def _numbers(body: Body) -> dict[str, float | None]:
    return {name: None if value is None else float(value) for name, value in body.items()}


def _requests(cloud: WmjCloud, request: Request) -> Answer:
    chosen = {
        "endpoint": request.query_params.get("endpoint"),
        "device": request.query_params.get("device"),
    }
    answer = cloud.calls.as_json(cloud.calls.calls(**chosen))
    answer["most_at_once"] = cloud.calls.most_at_once(**chosen)
    if window_s := request.query_params.get("window_s"):
        answer["busiest"] = cloud.calls.busiest(float(window_s), **chosen)
    return answer


def _devices(cloud: WmjCloud) -> list[Answer]:
    return [
        {
            "device": device.sn,
            "bound": device.sn in cloud.bound,
            "online": device.online,
            "on": device.on,
            "energy_kwh": device.energy_kwh,
            "held_by": device.held_by,
            "options": asdict(device.options),
        }
        for device in cloud.fleet.values()
    ]


def _clear(cloud: WmjCloud, what: tuple[str, ...] | list[str] = ("faults",)) -> None:
    clears = {
        "faults": cloud.faults.clear,
        "ledger": cloud.ledger.clear,
        "requests": cloud.calls.clear,
        "deliveries": cloud.deliveries.clear,
    }
    for name in what:
        clears[name]()


def _callback(cloud: WmjCloud, url: str, *, retry: bool = False) -> None:
    cloud.deliveries.url = url
    cloud.deliveries.retry = retry
