"""The rated power of plants as list and master data tell it (page saj 7.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bridge.domain.observation import Reading, Value, Words
from bridge.vendorkit.spec import Kit
from bridge.vendors.saj import codec

_KEY = "peaks"


@dataclass(slots=True)
class RatedPower:
    """It counts until the overview of a plant gave a peak power, once and for all: kept over restarts."""

    kit: Kit
    _known: dict[str, Value] = field(default_factory=dict)
    _overruled: set[str] | None = None

    def learn(self, plant_id: str, peak_w: Value | None) -> None:
        """A list or master data told it."""
        if peak_w is not None:
            self._known[plant_id] = peak_w

    def knows(self, plant_id: str) -> bool:
        """Whether it was ever told."""
        return plant_id in self._known

    async def words(self, plant_id: str, at: datetime) -> list[Words]:
        """What is to be told of it, if anything."""
        peak_w = self._known.get(plant_id)
        if peak_w is None or plant_id in await self._loaded():
            return []
        return codec.rated_power(plant_id, peak_w, at)

    async def heeding(self, plant_id: str, overview: Reading | None, at: datetime) -> list[Words]:
        """What is to be told of it beside an overview: the first peak power of an overview takes its place, though the
        time of the overview is mostly earlier than that at which the list was read."""
        peak_w = None if overview is None else overview.metrics.get("peak_power")
        overruled = await self._loaded()
        if peak_w is None or plant_id in overruled:
            return await self.words(plant_id, at)
        overruled.add(plant_id)
        await self.kit.vault.put(_KEY, sorted(overruled))
        return codec.rated_power(plant_id, peak_w, at) if plant_id in self._known else []

    async def _loaded(self) -> set[str]:
        if self._overruled is None:
            kept = await self.kit.vault.get(_KEY)
            self._overruled = (
                {one for one in kept if isinstance(one, str)} if isinstance(kept, list) else set()
            )
        return self._overruled
