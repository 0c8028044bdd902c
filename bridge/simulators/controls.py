"""The simulators' own control surface under `/_sim/`, for tests and demos in other processes. JSON both ways.

No vendor has this; it is neither counted, limited nor met by faults. Mistakes get 400 with {"error": …}. Every
simulator has the following; what else it has stands in its own `control`.

GET  ledger      {"entries": [{n, at, device, effect, detail, request}], "counts": {effect: n}}
GET  requests    query endpoint, device, window_s: {"total", "counts": {endpoint: n}, "calls": [{n, at,
                 endpoint, device, done_at, status, fault}], "most_at_once", "busiest" (with window_s:
                 most in any such window)}
GET  faults      {"faults": […]}
POST fault       a rule as `bridge.simulators.faults.Fault`: {"kind", "endpoint", "device", "count", …}
POST clear       {"what": ["faults", "ledger", "requests"]}; without `what`: the faults

Those that call back also have

GET  bursts      {"bursts": [{burst, planned, done, …}]}
POST burst       {"rate", "seconds", "devices": […], "wait": false}: 202 at once; with `wait` 200 and the burst when
                 all is answered
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.domain import text
from bridge.simulators.exchange import Cloud
from bridge.simulators.faults import fault_from_json

Query = Mapping[str, str]
Body = dict[str, Any]
Answer = dict[str, Any]
Look = Callable[[Query], Answer]
Deed = Callable[[Body], object]
Handler = Callable[[Request], Awaitable[Response]]


class Burst(Protocol):
    """Callbacks sent at a rate."""

    n: int
    planned: int

    def as_json(self) -> Answer: ...


class BurstingCloud(Protocol):
    """A cloud that calls back."""

    @property
    def bursts(self) -> Sequence[Burst]: ...

    @property
    def start_burst(self) -> Callable[..., tuple[Burst, asyncio.Task[None]]]: ...


def routes(
    cloud: Cloud,
    looks: Mapping[str, Look],
    deeds: Mapping[str, Deed],
    clears: Mapping[str, Callable[[], None]] | None = None,
) -> list[Route]:
    """What every cloud has, and this one's own `looks` (GET), `deeds` (POST) and `clears` (words for `clear`)."""
    all_clears: dict[str, Callable[[], None]] = {
        "faults": cloud.faults.clear,
        "ledger": cloud.ledger.clear,
        "requests": cloud.calls.clear,
        **(clears or {}),
    }

    def clear(what: Sequence[str] = ("faults",)) -> None:
        for name in what:
            all_clears[name]()

    all_looks: dict[str, Look] = {
        "ledger": lambda _query: cloud.ledger.as_json(),
        "requests": lambda query: requests(cloud, query),
        "faults": lambda _query: {"faults": cloud.faults.as_json()},
        **looks,
    }
    all_deeds: dict[str, Deed] = {
        "fault": lambda body: cloud.faults.add(fault_from_json(body)),
        "clear": lambda body: clear(**body),
        **deeds,
    }
    return [
        *(Route(f"/_sim/{name}", _look(look), methods=["GET"]) for name, look in all_looks.items()),
        *(Route(f"/_sim/{name}", _deed(deed), methods=["POST"]) for name, deed in all_deeds.items()),
    ]


def burst_routes(cloud: BurstingCloud) -> list[Route]:
    """What a cloud that calls back has besides."""

    async def start(request: Request) -> Response:
        body = await _body(request)
        wait = body.pop("wait", False)
        burst, task = cloud.start_burst(body.pop("rate"), body.pop("seconds"), **body)
        if wait:
            await task
            return _json(burst.as_json())
        return _json({"burst": burst.n, "planned": burst.planned}, 202)

    shown = _look(lambda _query: {"bursts": [burst.as_json() for burst in cloud.bursts]})
    return [
        Route("/_sim/bursts", shown, methods=["GET"]),
        Route("/_sim/burst", _forgiving(start), methods=["POST"]),
    ]


def requests(cloud: Cloud, query: Query) -> Answer:
    """The calls that the query chooses."""
    chosen = {"endpoint": query.get("endpoint"), "device": query.get("device")}
    answer = cloud.calls.as_json(cloud.calls.calls(**chosen))
    answer["most_at_once"] = cloud.calls.most_at_once(**chosen)
    if window_s := query.get("window_s"):
        answer["busiest"] = cloud.calls.busiest(float(window_s), **chosen)
    return answer


def _look(look: Look) -> Handler:
    async def handler(request: Request) -> Response:
        return _json(look(request.query_params))

    return _forgiving(handler)


def _deed(deed: Deed) -> Handler:
    async def handler(request: Request) -> Response:
        deed(await _body(request))
        return _json({"ok": True})

    return _forgiving(handler)


def _forgiving(inner: Handler) -> Handler:
    async def handler(request: Request) -> Response:
        try:
            return await inner(request)
        except Exception as error:  # noqa: BLE001 # a tester's mistake, whatever it is, is told and harms nobody
            return _json({"error": f"{type(error).__name__}: {error}"}, 400)

    return handler


async def _body(request: Request) -> Body:
    raw = await request.body()
    body = text.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise ValueError("the body is no object")
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in body.items()}


def _json(page: Answer, status: int = 200) -> Response:
    # through our own text: records hold decimals
    return Response(text.dumps(page), status, media_type="application/json")
