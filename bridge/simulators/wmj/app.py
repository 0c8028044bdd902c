"""The ASGI app of the simulated cloud: `POST /deviceApi/{register,logout,getOnLine,send}` and `/_sim/`.

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
from bridge.simulators.wmj import control, wire
from bridge.simulators.wmj.cloud import WmjCloud

_ENDPOINTS = ("register", "logout", "getOnLine", "send")
_TICK_S = 0.1


def app(cloud: WmjCloud) -> Starlette:
    """The cloud as an ASGI app. Its lifespan closes the cloud at the end."""

    def route(endpoint: str) -> Route:
        async def handler(request: Request) -> Response:
            return await _handle(cloud, endpoint, request)

        return Route(f"/deviceApi/{endpoint}", handler, methods=["POST"])

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

    return Starlette(routes=[*map(route, _ENDPOINTS), *control.routes(cloud)], lifespan=lifespan)


async def _tick(cloud: WmjCloud) -> None:
    while True:
        cloud.tick()
        await asyncio.sleep(_TICK_S)


async def _handle(cloud: WmjCloud, endpoint: str, request: Request) -> Response:
    body = await request.body()
    ask, refusal = _read(endpoint, request.headers.get("content-type", ""), body)
    name, sn = (endpoint, "") if ask is None else (ask.endpoint, ask.device_sn)
    call = cloud.calls.open(cloud.time.real(), name, sn)
    if cloud.limited():
        cloud.calls.close(call, cloud.time.real(), 429)
        return _json({"code": 429, "msg": "too many requests"}, 429)
    fault = cloud.faults.take(name, sn)
    response = await respond(
        fault,
        act=lambda: _json(refusal if ask is None else cloud.answer(ask, call.n)),
        native=lambda code: _json(wire.failure(code)),
        sleep=cloud.time.sleep,
    )
    silent = fault is not None and fault.kind in ("lose_reply", "refuse_before_acting")
    cloud.calls.close(
        call, cloud.time.real(), 0 if silent else response.status_code, "" if fault is None else fault.kind
    )
    return response


def _read(endpoint: str, content_type: str, body: bytes) -> tuple[wire.Ask | None, dict[str, Any]]:
    try:
        return wire.read(endpoint, content_type, body), {}
    except wire.Malformed as error:
        return None, wire.failure(wire.BAD_PARAMETER, str(error))


def _json(page: dict[str, Any], status: int = 200) -> Response:
    return Response(text.dumps(page), status, media_type="application/json; charset=utf-8")
