"""The ASGI app of the simulated platform: `POST /user/login`, `POST /meter/…` and `/_sim/`.

Mounted in httpx it answers at once; served (`bridge.simulators.serving`) its lifespan also lets time pass.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.simulators.exchange import met, page
from bridge.simulators.jrhsz import control, wire
from bridge.simulators.jrhsz.cloud import JrhszCloud
from bridge.simulators.process import ticking


def app(cloud: JrhszCloud) -> Starlette:
    """The platform as an ASGI app."""

    def route(endpoint: str) -> Route:
        async def handler(request: Request) -> Response:
            return await _handle(cloud, endpoint, request)

        folder = "user" if endpoint == "login" else "meter"
        return Route(f"/{folder}/{endpoint}", handler, methods=["POST"])

    return Starlette(
        routes=[*map(route, wire.REQUIRED), *control.routes(cloud)], lifespan=ticking(cloud.tick)
    )


async def _handle(cloud: JrhszCloud, endpoint: str, request: Request) -> Response:
    body = await request.body()
    ask, refusal = _read(cloud, endpoint, request.headers.get("content-type", ""), body)
    name, device = (endpoint, "") if ask is None else (ask.logged, ask.device)
    call = cloud.calls.open(cloud.time.real(), name, device)
    return await met(
        cloud,
        call,
        act=lambda: page(refusal if ask is None else cloud.answer(ask, call.n)),
        native=lambda code: page(wire.envelope(code)),
    )


def _read(
    cloud: JrhszCloud, endpoint: str, content_type: str, body: bytes
) -> tuple[wire.Ask | None, dict[str, Any]]:
    try:
        return wire.read(endpoint, content_type, body, cloud.quirks.encoding), {}
    except wire.Malformed as error:
        return None, wire.envelope(wire.MISSING, msg=f"{wire.MESSAGES[wire.MISSING]}: {error}")
