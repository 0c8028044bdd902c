"""The lists of plants and devices as the vendor gave them last, and when an empty one is believed (page saj 5, 8).

Missing data are an empty list, says the page; but what empties an account clears everything that is retained of it.
So a list that held something is empty when the vendor counts 0, or when a second one without a word of it agrees.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from bridge.pace.limits import Lane
from bridge.vendorkit.spec import Kit
from bridge.vendors.saj.privacy import published
from bridge.vendors.saj.wire import Row

DOUBT_S = 600.0
"""How much later the second list must be."""

ASKED_AGAIN_S = 10.0
"""The same where somebody waits for the answer: at least so long after the first empty list of all that are read."""

_ONE_LOOK_S = 60.0


@dataclass(frozen=True, slots=True)
class Listed:
    """A list with all its pages, and how many the vendor says there are: None where it does not."""

    rows: list[Row]
    count: int | None

    @property
    def is_clear(self) -> bool:
        """Whether it says what it means: there is something, or the vendor counts nothing."""
        return bool(self.rows) or self.count == 0


Fetch = Callable[[], Awaitable[Listed]]


@dataclass(slots=True)
class Lists:
    """Kept over restarts, without what is customer data. Keys are `plants`, and `devices:<plant>`."""

    kit: Kit
    _known: dict[str, list[Row]] = field(default_factory=dict)
    _doubted: dict[str, float] = field(default_factory=dict)
    _waited_at: float = -math.inf

    async def known(self, key: str) -> list[Row]:
        """The list that was believed last."""
        if key not in self._known:
            kept = await self.kit.vault.get(f"list:{key}")
            self._known[key] = (
                [row for row in kept if isinstance(row, dict)] if isinstance(kept, list) else []
            )
        return self._known[key]

    async def believed(self, key: str, fetch: Fetch, lane: Lane) -> list[Row] | None:
        """The list of now; None where it is empty and not believed yet."""
        found = await fetch()
        if not found.is_clear and await self.known(key):
            if lane is Lane.COMMAND:
                await self._wait_once()
                found = await fetch()
            elif self._is_doubtful(key):
                return None
        await self._believe(key, found.rows)
        return found.rows

    async def _wait_once(self) -> None:
        """Many lists may be empty: who waits does not wait for each of them."""
        if self.kit.clock.monotonic() - self._waited_at > _ONE_LOOK_S:
            await self.kit.clock.sleep(ASKED_AGAIN_S)
        self._waited_at = self.kit.clock.monotonic()

    def _is_doubtful(self, key: str) -> bool:
        now_s = self.kit.clock.monotonic()
        if key not in self._doubted:
            self._doubted[key] = now_s
            self.kit.log.warning("saj.empty_list_doubted", extra={"list": key})
        return now_s - self._doubted[key] < DOUBT_S

    async def _believe(self, key: str, found: Sequence[Row]) -> None:
        self._doubted.pop(key, None)
        rows: list[Row] = [published(row, self.kit.policy) for row in found]
        if rows != await self.known(key):
            self._known[key] = rows
            await self.kit.vault.put(f"list:{key}", rows or None)
