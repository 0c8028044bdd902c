"""The ASGI app of the simulated platform: `POST /api/Data/…`, `POST /api/Conf/…` and `/_sim/`.

Mounted in httpx it answers at once; served (`bridge.simulators.serving`) its lifespan also lets time pass.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.domain import text
from bridge.simulators.faults import respond
from bridge.simulators.iotmeter import control, wire
from bridge.simulators.iotmeter.cloud import Ask, IotMeterCloud

_TICK_S = 0.1
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

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        ticker = asyncio.create_task(_tick(cloud), name="simulator:ticker")
        try:
            yield
        finally:
            ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticker
            await cloud.aclose()

    routes = [
        *(route("Data", endpoint) for endpoint in cloud.data.endpoints()),
        *(route("Conf", endpoint) for endpoint in ("Account/Login", *cloud.desk.endpoints())),
    ]
    return Starlette(routes=[*routes, *control.routes(cloud)], lifespan=lifespan)


async def _tick(cloud: IotMeterCloud) -> None:
    while True:
        cloud.tick()
        await asyncio.sleep(_TICK_S)


async def _handle(cloud: IotMeterCloud, endpoint: str, request: Request) -> Response:
    body = await request.body()
    name = request.path_params.get("name", "")
    ask = Ask(endpoint, name, dict(request.query_params), dict(request.headers), body)
    device = _device(ask)
    call = cloud.calls.open(cloud.time.real(), endpoint, device)
    fault = cloud.faults.take(endpoint, device)
    response = await respond(
        fault,
        act=lambda: _json(*cloud.answer(ask, call.n)),
        native=_native,
        sleep=cloud.time.sleep,
    )
    silent = fault is not None and fault.kind in ("lose_reply", "refuse_before_acting")
    cloud.calls.close(
        call, cloud.time.real(), 0 if silent else response.status_code, "" if fault is None else fault.kind
    )
    return response


def _native(code: int) -> Response:
    """The vendor has no numeric codes: 401, 403 and 429 are HTTP statuses, anything else a `failed`."""
    if code in (401, 403, 429):
        return _json(code, wire.bad(None, "无效"))
    return _json(200, wire.bad(None, "系统错误"))


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


def _json(status: int, page: dict[str, Any]) -> Response:
    return Response(text.dumps(page), status, media_type="application/json; charset=utf-8")
