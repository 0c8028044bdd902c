"""The simulator's own control surface under `/_sim/`, for tests and demos in other processes. JSON both ways.

No vendor has this; it is neither counted, limited nor met by faults. Mistakes get 400 with {"error": …}. `device` is
always the meter number.

GET  ledger      {"entries": [{n, at, device, effect, detail, request}], "counts": {effect: n}}
GET  requests    query endpoint, device, window_s: {"total", "counts": {endpoint: n}, "calls": [{n, at,
                 endpoint, device, done_at, status, fault}], "most_at_once", "busiest" (with window_s:
                 most in any such window)}
GET  devices     {"devices": [{device, device_id, type, medium, camera, online, on, reading, records, options}],
                 "under_way": instructions accepted and not carried out}
GET  faults      {"faults": […]}
POST fault       a rule as `bridge.simulators.faults.Fault`: {"kind", "endpoint", "device", "count", …}; instructions
                 are `meterInstruct/1` to `/3` with the device id as device
POST clear       {"what": ["faults", "ledger", "requests"]}; without `what`: the faults
POST gate        {"device", "on"}: somebody else moves relay or valve
POST read        {"device"}: a reading is reported now
POST register    {"device", "value"}: the register jumps there
POST offline     {"device"}
POST online      {"device"}
POST configure   {"device"} and any field of `bridge.simulators.jrhsz.meter.Options`
POST add         {"device", "type", "camera": false, "device_id": ""}: a meter is installed
POST remove      {"device"}
POST expire      {"code": 1007}: the tokens in use end; 1006 or 1007 is their answer
POST account     {"username"} and any of "password", "forbidden": [end points]
POST quirks      any field of `bridge.simulators.jrhsz.cloud.Quirks`
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.domain import text
from bridge.simulators.faults import fault_from_json
from bridge.simulators.jrhsz import wire
from bridge.simulators.jrhsz.cloud import JrhszCloud

Body = dict[str, Any]
Answer = dict[str, Any]


def routes(cloud: JrhszCloud) -> list[Route]:
    """The control surface of a platform."""
    looks: dict[str, Callable[[Request], Answer]] = {
        "ledger": lambda _request: cloud.ledger.as_json(),
        "requests": lambda request: _requests(cloud, request),
        "devices": lambda _request: _devices(cloud),
        "faults": lambda _request: {"faults": cloud.faults.as_json()},
    }
    deeds: dict[str, Callable[[Body], object]] = {
        "fault": lambda body: cloud.faults.add(fault_from_json(body)),
        "clear": lambda body: _clear(cloud, **body),
        "gate": lambda body: cloud.switch(body.pop("device"), **body),
        "read": lambda body: cloud.read(body["device"]),
        "register": lambda body: cloud.meters[body["device"]].replace_register(Decimal(str(body["value"]))),
        "offline": lambda body: cloud.go_offline(body["device"]),
        "online": lambda body: cloud.go_online(body["device"]),
        "configure": lambda body: cloud.configure(body.pop("device"), **body),
        "add": lambda body: cloud.add_meter(body.pop("device"), body.pop("type"), **body),
        "remove": lambda body: cloud.remove_meter(body["device"]),
        "expire": lambda body: cloud.expire_tokens(body.get("code", wire.EXPIRED)),
        "account": lambda body: _account(cloud, **body),
        "quirks": lambda body: _quirks(cloud, body),
    }
    return [
        *(Route(f"/_sim/{name}", _look(look), methods=["GET"]) for name, look in looks.items()),
        *(Route(f"/_sim/{name}", _deed(deed), methods=["POST"]) for name, deed in deeds.items()),
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
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            return _mistake(error)
        return _json({"ok": True})

    return handler


async def _body(request: Request) -> Body:
    raw = await request.body()
    body = text.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise ValueError("the body is no object")
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in body.items()}


def _json(page: Answer, status: int = 200) -> Response:
    return Response(text.dumps(page), status, media_type="application/json; charset=utf-8")


def _mistake(error: Exception) -> Response:
    return _json({"error": f"{type(error).__name__}: {error}"}, 400)


def _requests(cloud: JrhszCloud, request: Request) -> Answer:
    chosen = {
        "endpoint": request.query_params.get("endpoint"),
        "device": request.query_params.get("device"),
    }
    answer = cloud.calls.as_json(cloud.calls.calls(**chosen))
    answer["most_at_once"] = cloud.calls.most_at_once(**chosen)
    if window_s := request.query_params.get("window_s"):
        answer["busiest"] = cloud.calls.busiest(float(window_s), **chosen)
    return answer


def _devices(cloud: JrhszCloud) -> Answer:
    listed = [
        {
            "device": meter.table_no,
            "device_id": meter.device_id,
            "type": meter.type_code,
            "medium": meter.medium,
            "camera": meter.camera,
            "online": meter.online,
            "on": meter.on,
            "reading": meter.reading(),
            "records": len(meter.records),
            "options": asdict(meter.options),
        }
        for meter in cloud.meters.values()
    ]
    return {"devices": listed, "under_way": cloud.under_way()}


def _clear(cloud: JrhszCloud, what: tuple[str, ...] | list[str] = ("faults",)) -> None:
    clears = {"faults": cloud.faults.clear, "ledger": cloud.ledger.clear, "requests": cloud.calls.clear}
    for name in what:
        clears[name]()


def _quirks(cloud: JrhszCloud, body: Body) -> None:
    for name, value in body.items():
        cloud.quirks.set(name, value)


def _account(
    cloud: JrhszCloud, username: str, password: str | None = None, forbidden: list[str] | None = None
) -> None:
    account = cloud.accounts[username]
    if password is not None:
        account.password = password
    if forbidden is not None:
        account.forbidden = frozenset(forbidden)
