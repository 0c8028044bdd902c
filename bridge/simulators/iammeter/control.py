"""The simulator's own control surface under `/_sim/`, for tests and demos in other processes. JSON both ways.

No vendor has this; it is neither counted, limited nor met by faults. Mistakes get 400 with {"error": …}.
Endpoints are the last words of the paths, in lower case: meterdata2, metersdata, poweranalysis, login, …

GET  ledger      {"entries": [{n, at, effect: login or login_refused, …}], "counts": {effect: n}}
GET  requests    query endpoint, device, window_s: {"total", "counts": {endpoint: n}, "calls": [{n, at,
                 endpoint, device, done_at, status, fault}], "most_at_once", "busiest" (with window_s:
                 most in any such window), "refused" (calls that met a limit)}
GET  devices     {"devices": [{device, name, site, online, options, values}]}
GET  faults      {"faults": […]}
POST fault       a rule as `bridge.simulators.faults.Fault`: {"kind", "endpoint", "device", "count", …};
                 native_code 0: nothing at all; 1: wrong token; 401, 403, 404, 429: the status
POST clear       {"what": ["faults", "ledger", "requests", "limits"]}; without `what`: the faults
POST offline     {"device", "for_s": 0}: uploads nothing any more, and did not for so long already
POST online      {"device"}
POST load        {"device", "watts"}: the first phase's power; null: as it comes
POST replace     {"device"}: its counters start at zero
POST configure   {"device"} and any field of `bridge.simulators.iammeter.meter.Options`; or without device any of
                 enforce, keep_tokens, denial, missing, spelling
POST revoke      {}: no token is good any more
POST add         {"device", "name", "site"}: one more single-phase meter at a site
POST remove      {"device"}
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
from bridge.simulators.iammeter.cloud import IammeterCloud
from bridge.simulators.iammeter.meter import Meter, Phase

Body = dict[str, Any]
Answer = dict[str, Any]

_SWITCHES = ("enforce", "keep_tokens", "denial", "missing", "spelling")


def routes(cloud: IammeterCloud) -> list[Route]:
    """The control surface of a cloud."""
    looks: dict[str, Callable[[Request], Answer]] = {
        "ledger": lambda _request: cloud.ledger.as_json(),
        "requests": lambda request: _requests(cloud, request),
        "devices": lambda _request: {"devices": _devices(cloud)},
        "faults": lambda _request: {"faults": cloud.faults.as_json()},
    }
    deeds: dict[str, Callable[[Body], object]] = {
        "fault": lambda body: cloud.faults.add(fault_from_json(body)),
        "clear": lambda body: _clear(cloud, **body),
        "offline": lambda body: _offline(cloud, **body),
        "online": lambda body: cloud.meter(body["device"]).go_online(cloud.time.now()),
        "load": lambda body: _impose(cloud, **body),
        "replace": lambda body: cloud.meter(body["device"]).replace(cloud.time.now()),
        "configure": lambda body: _configure(cloud, body),
        "revoke": lambda _body: cloud.revoke(),
        "add": lambda body: _add(cloud, **body),
        "remove": lambda body: _remove(cloud, **body),
    }
    return [
        *(Route(f"/_sim/{name}", _look(look), methods=["GET"]) for name, look in looks.items()),
        *(Route(f"/_sim/{name}", _deed(deed), methods=["POST"]) for name, deed in deeds.items()),
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


async def _body(request: Request) -> Body:
    raw = await request.body()
    body = text.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise ValueError("the body is no object")
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in body.items()}


def _mistake(error: Exception) -> Response:
    return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)


def _requests(cloud: IammeterCloud, request: Request) -> Answer:
    chosen = {
        "endpoint": request.query_params.get("endpoint"),
        "device": request.query_params.get("device"),
    }
    answer = cloud.calls.as_json(cloud.calls.calls(**chosen))
    answer["most_at_once"] = cloud.calls.most_at_once(**chosen)
    answer["refused"] = cloud.refused()
    if window_s := request.query_params.get("window_s"):
        answer["busiest"] = cloud.calls.busiest(float(window_s), **chosen)
    return answer


def _devices(cloud: IammeterCloud) -> list[Answer]:
    now_s = cloud.time.now()
    return [
        {
            "device": meter.sn,
            "name": meter.name,
            "site": site.id,
            "online": meter.is_online(),
            "options": asdict(meter.options),
            "values": [asdict(row) for row in meter.values(int(now_s // 60))],
        }
        for site in cloud.sites
        for meter in site.meters
    ]


def _clear(cloud: IammeterCloud, what: list[str] | tuple[str, ...] = ("faults",)) -> None:
    clears = {
        "faults": cloud.faults.clear,
        "ledger": cloud.ledger.clear,
        "requests": cloud.calls.clear,
        "limits": cloud.forget_limits,
    }
    for name in what:
        clears[name]()


def _offline(cloud: IammeterCloud, device: str, for_s: float = 0.0) -> None:
    cloud.meter(device).go_offline(cloud.time.now() - for_s)


def _impose(cloud: IammeterCloud, device: str, watts: float | None) -> None:
    cloud.meter(device).impose(None if watts is None else float(watts), cloud.time.now())


def _configure(cloud: IammeterCloud, body: Body) -> None:
    if "device" in body:
        cloud.meter(body.pop("device")).configure(**body)
        return
    if unknown := set(body) - set(_SWITCHES):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    for name, value in body.items():
        setattr(cloud, name, {str(one).lower() for one in value} if name == "missing" else value)


def _add(cloud: IammeterCloud, device: str, site: int, name: str = "Meter") -> None:
    place = cloud.site(str(site))
    if place is None or device in cloud.meters:
        raise ValueError("no such site, or such a meter already")
    phases = (Phase("house", 0.0, len(cloud.meters) + 1),)
    place.meters.append(Meter(device, name, phases, offset_min=place.offset_min, now_s=cloud.time.now()))


def _remove(cloud: IammeterCloud, device: str) -> None:
    meter = cloud.meter(device)
    for site in cloud.sites:
        if meter in site.meters:
            site.meters.remove(meter)
