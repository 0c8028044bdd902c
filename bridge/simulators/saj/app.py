"""The ASGI app of the simulated cloud: every path of the vendor's page, and `/_sim/`."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.domain import text
from bridge.simulators.faults import respond
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
    fault = cloud.faults.take(ask.endpoint, ask.device)
    response = await respond(
        fault,
        act=lambda: _json(cloud.answer(ask, call.n)),
        native=lambda code: _json(wire.failure(code)),
        sleep=cloud.time.sleep,
    )
    silent = fault is not None and fault.kind in ("lose_reply", "refuse_before_acting")
    cloud.calls.close(
        call, cloud.time.real(), 0 if silent else response.status_code, "" if fault is None else fault.kind
    )
    return response


def _json(page: dict[str, Any]) -> Response:
    return Response(text.dumps(page), media_type="application/json; charset=utf-8")
