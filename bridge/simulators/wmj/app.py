"""The ASGI app of the simulated cloud: `POST /deviceApi/{register,logout,getOnLine,send}` and `/_sim/`.

Mounted in httpx it answers at once; served (`bridge.simulators.serving`) its lifespan also lets time pass.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.simulators.exchange import met, page
from bridge.simulators.process import ticking
from bridge.simulators.wmj import control, wire
from bridge.simulators.wmj.cloud import WmjCloud

_ENDPOINTS = ("register", "logout", "getOnLine", "send")


def app(cloud: WmjCloud) -> Starlette:
    """The cloud as an ASGI app. Its lifespan closes the cloud at the end."""

    def route(endpoint: str) -> Route:
        async def handler(request: Request) -> Response:
            return await _handle(cloud, endpoint, request)

        return Route(f"/deviceApi/{endpoint}", handler, methods=["POST"])

    return Starlette(
        routes=[*map(route, _ENDPOINTS), *control.routes(cloud)], lifespan=ticking(cloud.tick, cloud.aclose)
    )


async def _handle(cloud: WmjCloud, endpoint: str, request: Request) -> Response:
    body = await request.body()
    ask, refusal = _read(endpoint, request.headers.get("content-type", ""), body)
    name, sn = (endpoint, "") if ask is None else (ask.endpoint, ask.device_sn)
    call = cloud.calls.open(cloud.time.real(), name, sn)
    if cloud.limited():
        cloud.calls.close(call, cloud.time.real(), 429)
        return page({"code": 429, "msg": "too many requests"}, 429)
    return await met(
        cloud,
        call,
        act=lambda: page(refusal if ask is None else cloud.answer(ask, call.n)),
        native=lambda code: page(wire.failure(code)),
    )


def _read(endpoint: str, content_type: str, body: bytes) -> tuple[wire.Ask | None, dict[str, Any]]:
    try:
        return wire.read(endpoint, content_type, body), {}
    except wire.Malformed as error:
        return None, wire.failure(wire.BAD_PARAMETER, str(error))
