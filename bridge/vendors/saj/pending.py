"""What is remembered of management commands under way, so that a look-up after a lost answer, or after a restart, knows
what there was before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from bridge.vendorkit.spec import Kit

_KEY = "pending"
_FOR_S = 86400.0


@dataclass(frozen=True, slots=True)
class Pending:
    """By the command's id, for a day at most. Commands of one account run side by side: a change is read, made and
    kept before the next."""

    kit: Kit
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def of(self, command_id: str) -> dict[str, Any]:
        """What was noted of this command; empty if nothing was."""
        return (await self._all()).get(command_id, {})

    async def note(self, command_id: str, **what: Any) -> None:
        """Adds to what is noted."""
        async with self._turn:
            pending = await self._all()
            entry = {**pending.get(command_id, {}), "at": self._now_s(), **what}
            await self.kit.vault.put(_KEY, {**pending, command_id: entry})

    async def forget(self, command_id: str) -> None:
        """The command has ended."""
        async with self._turn:
            pending = await self._all()
            if pending.pop(command_id, None) is not None:
                await self.kit.vault.put(_KEY, pending or None)

    async def _all(self) -> dict[str, dict[str, Any]]:
        kept = await self.kit.vault.get(_KEY)
        if not isinstance(kept, dict):
            return {}
        since_s = self._now_s() - _FOR_S
        return {name: entry for name, entry in kept.items() if entry["at"] > since_s}

    def _now_s(self) -> int:
        return int(self.kit.clock.now().timestamp())
