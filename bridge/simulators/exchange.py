"""One request and its answer: on record with its times, and met by the fault that is planned for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from starlette.responses import Response

from bridge.domain import text
from bridge.simulators.faults import FaultPlan, respond
from bridge.simulators.ledger import Call, CallLog, Ledger
from bridge.simulators.simtime import SimTime


class Cloud(Protocol):
    """What every simulated cloud has."""

    time: SimTime
    ledger: Ledger
    calls: CallLog
    faults: FaultPlan


async def met(
    cloud: Cloud, call: Call, act: Callable[[], Response], native: Callable[[int], Response]
) -> Response:
    """The answer to an open call, which is closed with it; `act` and `native` as in `faults.respond`."""
    fault = cloud.faults.take(call.endpoint, call.device)
    response = await respond(fault, act, native, cloud.time.sleep)
    if fault is None:
        cloud.calls.close(call, cloud.time.real(), response.status_code)
        return response
    silent = fault.kind in ("lose_reply", "refuse_before_acting")
    cloud.calls.close(call, cloud.time.real(), 0 if silent else response.status_code, fault.kind)
    return response


def page(value: dict[str, Any], status: int = 200) -> Response:
    """A JSON answer as all the vendors label it."""
    return Response(text.dumps(value), status, media_type="application/json; charset=utf-8")
