"""The ASGI app of the simulated platform: `POST /user/login`, `POST /meter/…` and `/_sim/`.

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
from bridge.simulators.jrhsz import control, wire
from bridge.simulators.jrhsz.cloud import JrhszCloud

_TICK_S = 0.1


def app(cloud: JrhszCloud) -> Starlette:
    """The platform as an ASGI app."""

    def route(endpoint: str) -> Route:
        async def handler(request: Request) -> Response:
            return await _handle(cloud, endpoint, request)

        folder = "user" if endpoint == "login" else "meter"
        return Route(f"/{folder}/{endpoint}", handler, methods=["POST"])

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        ticker = asyncio.create_task(_tick(cloud), name="simulator:ticker")
        try:
            yield
        finally:
            ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticker

    return Starlette(routes=[*map(route, wire.REQUIRED), *control.routes(cloud)], lifespan=lifespan)


async def _tick(cloud: JrhszCloud) -> None:
    while True:
        cloud.tick()
        await asyncio.sleep(_TICK_S)


async def _handle(cloud: JrhszCloud, endpoint: str, request: Request) -> Response:
    body = await request.body()
    ask, refusal = _read(cloud, endpoint, request.headers.get("content-type", ""), body)
    name, device = (endpoint, "") if ask is None else (ask.logged, ask.device)
    call = cloud.calls.open(cloud.time.real(), name, device)
    fault = cloud.faults.take(name, device)
    response = await respond(
        fault,
        act=lambda: _json(refusal if ask is None else cloud.answer(ask, call.n)),
        native=lambda code: _json(wire.envelope(code)),
        sleep=cloud.time.sleep,
    )
    silent = fault is not None and fault.kind in ("lose_reply", "refuse_before_acting")
    cloud.calls.close(
        call, cloud.time.real(), 0 if silent else response.status_code, "" if fault is None else fault.kind
    )
    return response


def _read(
    cloud: JrhszCloud, endpoint: str, content_type: str, body: bytes
) -> tuple[wire.Ask | None, dict[str, Any]]:
    try:
        return wire.read(endpoint, content_type, body, cloud.quirks.encoding), {}
    except wire.Malformed as error:
        return None, wire.envelope(wire.MISSING, msg=f"{wire.MESSAGES[wire.MISSING]}: {error}")


def _json(page: dict[str, Any]) -> Response:
    return Response(text.dumps(page), 200, media_type="application/json; charset=utf-8")
