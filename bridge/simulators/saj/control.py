"""The simulator's own control surface under `/_sim/`, for tests and demos in other processes. JSON both ways.

No vendor has this; it is neither counted, limited nor met by faults. Mistakes get 400 with {"error": …}.

GET  ledger      {"entries": [{n, at, device, effect, detail, request}], "counts": {effect: n}}
GET  requests    query endpoint, device, window_s: {"total", "counts": {endpoint: n}, "calls": [{n, at,
                 endpoint, device, done_at, status, fault}], "most_at_once", "busiest" (with window_s)}
GET  state       {"users", "plants", "tokens_issued", "used", "options"}
GET  faults      {"faults": […]}
POST fault       a rule as `bridge.simulators.faults.Fault`: {"kind", "endpoint", "device", "count", …};
                 endpoint is the path (`device/inverter/*`), device the id in the request
POST clear       {"what": ["faults", "ledger", "requests"]}; without `what`: the faults
POST status      {"plant_id", "status": code or null}
POST silence     {"sn", "silent": true}
POST alarm       {"sn", "code", "message": "", "started_s": null}
POST end_alarm   {"sn", "code", "handled": false}
POST steal       another program fetches a token: the one in force ends
POST revoke      the token in force ends
POST configure   any field of `bridge.simulators.saj.cloud.Options`
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.domain import text
from bridge.simulators.faults import fault_from_json
from bridge.simulators.saj.cloud import SajCloud

Body = dict[str, Any]
Answer = dict[str, Any]


def routes(cloud: SajCloud) -> list[Route]:
    """The control surface of a cloud."""
    looks: dict[str, Callable[[Request], Answer]] = {
        "ledger": lambda _request: cloud.ledger.as_json(),
        "requests": lambda request: _requests(cloud, request),
        "state": lambda _request: cloud.as_json(),
        "faults": lambda _request: {"faults": cloud.faults.as_json()},
    }
    deeds: dict[str, Callable[[Body], object]] = {
        "fault": lambda body: cloud.faults.add(fault_from_json(body)),
        "clear": lambda body: _clear(cloud, **body),
        "status": lambda body: cloud.set_status(**body),
        "silence": lambda body: cloud.silence(**body),
        "alarm": lambda body: cloud.raise_alarm(**body),
        "end_alarm": lambda body: cloud.end_alarm(**body),
        "steal": lambda _body: cloud.issue(),
        "revoke": lambda _body: cloud.revoke(),
        "configure": lambda body: cloud.configure(**body),
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


def _requests(cloud: SajCloud, request: Request) -> Answer:
    chosen = {
        "endpoint": request.query_params.get("endpoint"),
        "device": request.query_params.get("device"),
    }
    answer = cloud.calls.as_json(cloud.calls.calls(**chosen))
    answer["most_at_once"] = cloud.calls.most_at_once(**chosen)
    if window_s := request.query_params.get("window_s"):
        answer["busiest"] = cloud.calls.busiest(float(window_s), **chosen)
    return answer


def _clear(cloud: SajCloud, what: tuple[str, ...] | list[str] = ("faults",)) -> None:
    clears = {"faults": cloud.faults.clear, "ledger": cloud.ledger.clear, "requests": cloud.calls.clear}
    for name in what:
        clears[name]()
