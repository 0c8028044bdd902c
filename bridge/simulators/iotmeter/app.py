"""The ASGI app of the simulated platform: `POST /api/Data/…`, `POST /api/Conf/…` and `/_sim/`.

Mounted in httpx it answers at once; served (`bridge.simulators.serving`) its lifespan also lets time pass.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.domain import text
from bridge.simulators.exchange import met, page
from bridge.simulators.iotmeter import control, wire
from bridge.simulators.iotmeter.cloud import Ask, IotMeterCloud
from bridge.simulators.process import ticking

_NAMED = (
    "MeterData/GetRealModel", "CtrlData/Delete", "CtrlData/GetModel", "CtrlData/Cancel", "CtrlData/Retry",
    "CtrlData/GetDetial",
)  # fmt: skip
"""End points with a name or number behind them in the path."""


def app(cloud: IotMeterCloud) -> Starlette:
    """The platform as an ASGI app. Its lifespan closes the platform at the end."""

    def route(prefix: str, endpoint: str) -> Route:
        async def handler(request: Request) -> Response:
            return await _handle(cloud, endpoint, request)

        name = "/{name}" if endpoint in _NAMED else ""
        return Route(f"/api/{prefix}/{endpoint}{name}", handler, methods=["POST"])

    routes = [
        *(route("Data", endpoint) for endpoint in cloud.data.endpoints()),
        *(route("Conf", endpoint) for endpoint in ("Account/Login", *cloud.desk.endpoints())),
    ]
    return Starlette(routes=[*routes, *control.routes(cloud)], lifespan=ticking(cloud.tick, cloud.aclose))


async def _handle(cloud: IotMeterCloud, endpoint: str, request: Request) -> Response:
    body = await request.body()
    name = request.path_params.get("name", "")
    ask = Ask(endpoint, name, dict(request.query_params), dict(request.headers), body)
    device = _device(ask)
    call = cloud.calls.open(cloud.time.real(), endpoint, device)
    return await met(cloud, call, act=lambda: _answered(cloud, ask, call.n), native=_native)


def _answered(cloud: IotMeterCloud, ask: Ask, request: int) -> Response:
    status, told = cloud.answer(ask, request)
    return page(told, status)


def _native(code: int) -> Response:
    """The vendor has no numeric codes: 401, 403 and 429 are HTTP statuses, anything else a `failed`."""
    if code in (401, 403, 429):
        return page(wire.bad(None, "无效"), code)
    return page(wire.bad(None, "系统错误"))


def _device(ask: Ask) -> str:
    """The device that a request is about, where it can be told without judging it."""
    if ask.endpoint == "MeterData/GetRealModel":
        return ask.name
    try:
        body = text.loads(ask.body) if ask.body else {}
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    for field in ("target_comm_no", "meter_comm_no", "device_comm_no"):
        if isinstance(body.get(field), str):
            return str(body[field])
    return ""
