"""A `history` command without the flow: every step of an adapter, put together as `flow.backfill` publishes them."""

from __future__ import annotations

from typing import Any

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.observation import Observation, Reading
from bridge.domain.text import dumps, restored
from bridge.flow.backfill_book import saying_something
from bridge.ports import VendorAdapter


async def past(adapter: VendorAdapter, order: Order) -> Outcome:
    """All records of the period of an order, in the order of time; every cursor is JSON, and progress only grows."""
    assert adapter.history is not None
    assert order.device is not None
    period = adapter.history.period(order)
    readings: list[Reading] = []
    others: list[Observation] = []
    done = 0
    complete: Any = None
    async for step in adapter.history.read(order.device, period, None):
        assert restored(dumps(step.cursor)) == step.cursor
        assert done <= step.done <= max(step.total, step.done)
        done = step.done
        known = {(one.observed_at, str(one.metrics)) for one in readings}
        told = [one for one in step.observations if isinstance(one, Reading)]
        fresh = [one for one in told if (one.observed_at, str(one.metrics)) not in known]
        assert complete is None or all(one.observed_at and one.observed_at >= complete for one in fresh)
        complete = step.complete_until or complete
        readings += fresh
        others += [one for one in step.observations if not isinstance(one, Reading)]
    in_order = saying_something(sorted(readings, key=lambda one: one.observed_at or one.received_at))
    return Outcome(Status.SUCCEEDED, result={"records": len(in_order)}, observations=[*in_order, *others])
