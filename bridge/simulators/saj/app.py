"""The ASGI app of the simulated cloud: every path of the vendor's page, and `/_sim/`."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.simulators.exchange import met, page
from bridge.simulators.saj import control, wire
from bridge.simulators.saj.cloud import SajCloud


def app(cloud: SajCloud) -> Starlette:
    """The cloud as an ASGI app. A path that does not exist gets the vendor's own 10005."""

    async def handler(request: Request) -> Response:
        return await _handle(cloud, request)

    everything = Route("/{path:path}", handler, methods=["GET", "POST"])
    return Starlette(routes=[*control.routes(cloud), everything])


async def _handle(cloud: SajCloud, request: Request) -> Response:
    url = request.url
    ask = wire.read(request.method, url.path, url.query, request.headers, await request.body())
    call = cloud.calls.open(cloud.time.real(), ask.endpoint, ask.device)
    return await met(
        cloud,
        call,
        act=lambda: page(cloud.answer(ask, call.n)),
        native=lambda code: page(wire.failure(code)),
    )
