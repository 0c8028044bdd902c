"""What one account remembers in memory. Nothing of it has to survive a restart: the inventory finds it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from bridge.domain.observation import Reading, Value
from bridge.vendors.saj.codec import ASLEEP, Inverter, Plant


@dataclass(slots=True)
class Notes:
    """Keys are device ids of the gateway. `listed_at`: when the plant list was read last; `untold`: its plants whose
    status has not been told since."""

    listed_at: datetime | None = None
    untold: Sequence[Plant] = ()
    plants: dict[str, Plant] = field(default_factory=dict)
    zones: dict[str, tzinfo] = field(default_factory=dict)
    _updated: dict[str, datetime] = field(default_factory=dict)
    _power: dict[str, Value | None] = field(default_factory=dict)

    def note_zone(self, plant_id: str, zone: tzinfo | None) -> None:
        """The vendor told a plant's offset from UTC, which changes with daylight saving: the newest word counts."""
        if zone is not None:
            self.zones[plant_id] = zone

    def list_plants(self, plants: Sequence[Plant], at: datetime) -> None:
        """The plant list was read."""
        self.listed_at, self.untold = at, plants
        self.plants = {plant.id: plant for plant in plants}

    def list_inverters(self, inverters: Sequence[Inverter]) -> None:
        """A device list was read."""
        for one in inverters:
            if one.updated_at is not None:
                self._heard(one.key, one.updated_at)

    def measured(self, reading: Reading) -> None:
        """An inverter was read."""
        self._heard(reading.device, reading.observed_at or reading.received_at)
        self._power[reading.device] = reading.metrics.get("active_power")

    def is_first_look(self, inverter: str) -> bool:
        """Whether nothing of this inverter was read yet; true at most once."""
        met = inverter in self._power
        self._power.setdefault(inverter, None)
        return not met

    def is_fresh(self, inverter: str, now: datetime, within_s: float) -> bool | None:
        """Whether its newest data are no older than that; None where there never were any."""
        at = self._updated.get(inverter)
        return None if at is None else (now - at).total_seconds() <= within_s

    def is_asleep(self, inverter: str, plant_id: str, now: datetime, stale_s: float) -> bool:
        """Night: the plant says so, or power was 0 and nothing came since (section 3). An inverter that produces is
        awake, whatever the plant list said an hour ago."""
        fresh = self.is_fresh(inverter, now, stale_s)
        power = self._power.get(inverter)
        if fresh and power:
            return False
        plant = self.plants.get(plant_id)
        if plant is not None and plant.status in ASLEEP:
            return True
        return fresh is False and not power

    def _heard(self, inverter: str, at: datetime) -> None:
        before = self._updated.get(inverter)
        if before is None or at > before:
            self._updated[inverter] = at
