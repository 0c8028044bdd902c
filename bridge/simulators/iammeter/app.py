"""The ASGI app of the simulated cloud: `/api/v1/…` and `/_sim/`. Paths and query names know no case."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.domain import text
from bridge.simulators.exchange import met, page
from bridge.simulators.iammeter import control, wire
from bridge.simulators.iammeter.answers import answer
from bridge.simulators.iammeter.cloud import IammeterCloud
from bridge.simulators.ledger import Call

_BASE = "/api/v1"
_NOTHING = 0
_WRONG_TOKEN = 1
_STATUSES = (401, 403, 404, 429)


def app(cloud: IammeterCloud) -> Starlette:
    """The cloud as an ASGI app."""

    async def get(request: Request) -> Response:
        return await _get(cloud, request)

    async def post(request: Request) -> Response:
        return await _post(cloud, request)

    return Starlette(
        routes=[
            *control.routes(cloud),
            Route(f"{_BASE}/{{path:path}}", get, methods=["GET"]),
            Route(f"{_BASE}/{{path:path}}", post, methods=["POST"]),
        ]
    )


async def _get(cloud: IammeterCloud, request: Request) -> Response:
    path = request.path_params["path"]
    endpoint = "/".join(path.lower().split("/")[1:2]) or path.lower()
    try:
        ask = wire.read(path, request.query_params.multi_items())
    except wire.Refusal as error:
        refusal = str(error)
        call = cloud.calls.open(cloud.time.real(), endpoint, "")
        return _close(cloud, call, page(wire.failure(refusal)), "")
    if ask is None or ask.endpoint in cloud.missing:
        call = cloud.calls.open(cloud.time.real(), endpoint, "")
        return _close(cloud, call, Response(b"<html>not found</html>", 404, media_type="text/html"), "")
    call = cloud.calls.open(cloud.time.real(), ask.endpoint, ask.key)
    if not cloud.admits(_token(request)):
        return _close(cloud, call, _denied(cloud), "")
    if cloud.exceeds(ask.endpoint, ask.key):
        return _close(cloud, call, Response(b""), "limit")
    return await met(cloud, call, lambda: _answered(cloud, ask), _native)


async def _post(cloud: IammeterCloud, request: Request) -> Response:
    if request.path_params["path"].strip("/").lower() != "user/login":
        call = cloud.calls.open(cloud.time.real(), "post", "")
        return _close(cloud, call, Response(b"<html>not found</html>", 404, media_type="text/html"), "")
    call = cloud.calls.open(cloud.time.real(), "login", "")
    body = await request.body()
    address = request.client.host if request.client else ""
    if cloud.exceeds("login", address):
        return _close(cloud, call, Response(b""), "limit")
    content_type = request.headers.get("content-type", "")
    return await met(cloud, call, lambda: _logged_in(cloud, content_type, body, call.n), _native)


def _close(cloud: IammeterCloud, call: Call, response: Response, fault: str) -> Response:
    cloud.calls.close(call, cloud.time.real(), response.status_code, fault)
    return response


def _token(request: Request) -> str | None:
    """From the header, or from the query."""
    given: str | None = request.headers.get("token")
    if given is not None:
        return given
    return next((value for key, value in request.query_params.multi_items() if key.lower() == "token"), None)


def _answered(cloud: IammeterCloud, ask: wire.Ask) -> Response:
    try:
        return page(wire.success(answer(cloud, ask)))
    except wire.Refusal as error:
        return page(wire.failure(str(error)))


def _logged_in(cloud: IammeterCloud, content_type: str, body: bytes, request: int) -> Response:
    try:
        given = text.loads(body)
    except ValueError:
        given = None
    is_json = content_type.split(";")[0].strip().lower() == "application/json"
    if not is_json or not isinstance(given, dict) or set(given) != {"userName", "password"}:
        return page(wire.failure("Invalid request."))
    data = cloud.login(given["userName"], given["password"], request)
    return page(wire.failure("Invalid username or password") if data is None else wire.success(data))


def _denied(cloud: IammeterCloud) -> Response:
    return page(wire.failure("Invalid token."), 401 if cloud.denial == "401" else 200)


def _native(code: int) -> Response:
    """0: nothing at all; 1: wrong token; an HTTP status; any other: a refusal that names it."""
    if code == _NOTHING:
        return Response(b"")
    if code == _WRONG_TOKEN:
        return page(wire.failure("Invalid token."))
    if code in _STATUSES:
        return Response(b"", code)
    return page(wire.failure(f"Error {code}."))
