"""`refresh_inventory` of an account: the same as the gateway's own look at the inventory, when somebody asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from bridge.domain.command import CommandSpec, Order, Outcome, Preview
from bridge.domain.device import Device
from bridge.ports import Effect, Executor


class InventoryExecutor:
    """An account's `ports.Executor`. The devices that an outcome lists are taken in before it is acknowledged: what
    is new is read from now on, what is missing is cleared."""

    def __init__(self, inner: Executor, take: Callable[[Sequence[Device]], Awaitable[object]]) -> None:
        self._inner = inner
        self._take = take

    def commands(self, device: Device | None) -> Mapping[str, CommandSpec]:
        """See `ports.Executor`."""
        return self._inner.commands(device)

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        """See `ports.Executor`."""
        outcome = await self._inner.execute(order, effect)
        if outcome.inventory is not None:
            await self._take(outcome.inventory)
        return outcome

    async def probe(self, order: Order) -> Outcome | None:
        """See `ports.Executor`."""
        return await self._inner.probe(order)

    def preview(self, order: Order) -> Preview:
        """See `ports.Executor`."""
        return self._inner.preview(order)
