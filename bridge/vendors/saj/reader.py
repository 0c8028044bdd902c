"""What is read regularly: plants, inverters, alarms (page saj, sections 3 and 7.2 to 7.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.observation import Availability, Batch, Observation, Origin, Reading, Words
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.ports import PollTask
from bridge.vendorkit.spec import Kit
from bridge.vendors.saj import alarms, codec, wire
from bridge.vendors.saj.alarms import Scan
from bridge.vendors.saj.api import PER_PAGE, SajApi, Told
from bridge.vendors.saj.inventory import Inventory
from bridge.vendors.saj.notes import Notes
from bridge.vendors.saj.privacy import published
from bridge.vendors.saj.rated import RatedPower
from bridge.vendors.saj.settings import SajSettings

LATEST, ALARMS, EVENTS = "latest", "alarms", "events"
_ENDPOINTS: Mapping[str, str] = {ALARMS: "device/inverter/alarm", EVENTS: "device/inverter/eventsign"}
Seen = Availability | Reading | Words
"""What the live reads see."""

_AFTER_MIDNIGHT = timedelta(hours=1)


@dataclass(slots=True)
class Reader:
    """Each method raises VendorError."""

    settings: SajSettings
    kit: Kit
    api: SajApi
    inventory: Inventory
    notes: Notes
    rated: RatedPower

    async def plants(self) -> AsyncIterator[Batch]:
        """The plants' status: as the inventory saw it last, read anew where that is too long ago."""
        at = self.notes.listed_at
        age_s = None if at is None else (self.kit.clock.now() - at).total_seconds()
        if not self.notes.untold and (age_s is None or not 0 <= age_s < self.settings.list_poll):
            await self.inventory.plants(Lane.INVENTORY)
        untold = self.notes.untold
        if untold:
            yield Batch(await self.statuses())
        if self.notes.untold is untold:  # it was taken in, and no newer list was read meanwhile
            self.notes.untold = ()

    async def statuses(self) -> list[Observation]:
        """The status and the rated power of the plants that were read and not told yet."""
        at = self.notes.listed_at or self.kit.clock.now()
        told: list[Observation] = []
        for plant in self.notes.untold:
            if self.kit.policy.exposes(plant.id):
                told += [*await self.rated.words(plant.id, at), *codec.plant_said(plant, at)]
        return told

    async def plant(self, plant_id: str, lane: Lane) -> Sequence[Seen]:
        """A plant's overview (4.6), and its rated power where no overview told one."""
        told = await self.api.plant_data(plant_id, lane)
        self.notes.note_zone(plant_id, codec.zone_of(told.data))
        zone = await self.inventory.zone(plant_id)
        reading = codec.plant_reading(plant_id, self._published(told), zone, told.received_at, Origin.POLL)
        words = await self.rated.heeding(plant_id, reading, told.received_at)
        return words if reading is None else [*words, reading]

    async def latest(self, task: PollTask, device_id: str, plant_id: str) -> Batch:
        """An inverter's latest record. At night the next look is later."""
        key = task.devices[0]
        seen = await self.inverter(key, device_id, plant_id, Lane.POLL)
        now, stale_s = self.kit.clock.now(), self.settings.stale_after
        asleep = self.notes.is_asleep(key, plant_id, now, stale_s)
        return Batch(seen, next_in_s=max(task.interval_s, self.settings.night_poll) if asleep else None)

    async def inverter(self, key: str, device_id: str, plant_id: str, lane: Lane) -> Sequence[Seen]:
        """An inverter's availability and its latest record, which comes last; without one where there is none."""
        zone = await self.inventory.zone(plant_id or None)
        local = self.kit.clock.now().astimezone(zone)
        told = await self.api.latest(device_id, local.date(), lane)
        reading = codec.latest_reading(key, self._published(told), zone, told.received_at)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        if reading is None and (local - midnight < _AFTER_MIDNIGHT or self.notes.is_first_look(key)):
            told = await self.api.latest(device_id, local.date() - timedelta(days=1), lane)
            reading = codec.latest_reading(key, self._published(told), zone, told.received_at)
        if reading is not None:
            self.notes.measured(reading)
        alive = self._alive(key, told.received_at)
        return [alive] if reading is None else [alive, reading]

    def unread(self, task: PollTask, wait_s: float) -> Batch:
        """What a task tells that is not run for so long: whether an inverter's last data, those of the device list
        included, are still fresh."""
        if not task.key.startswith(f"{LATEST}:"):
            return Batch((), next_in_s=wait_s or None)
        alive = self._alive(task.devices[0], self.kit.clock.now())
        return Batch([alive], next_in_s=min(wait_s, task.interval_s) or None, asked=False)

    def _alive(self, key: str, now: datetime) -> Availability:
        fresh = self.notes.is_fresh(key, now, self.settings.stale_after)
        return Availability(key, fresh is True, now, Origin.POLL, said=False)

    async def occurrences(self, kind: str, key: str, device_id: str, plant_id: str) -> AsyncIterator[Batch]:
        """What is new in an inverter's list of alarms or events, page by page. The position is kept when all of it
        was taken in."""
        vault_key = f"{kind}:{device_id}"
        kept = await self.kit.vault.get(vault_key)
        settled_before = self.kit.clock.now() - timedelta(seconds=self.kit.policy.alarm_clear_after_s)
        scan = Scan(alarms.position_from(kept), settled_before, PER_PAGE)
        zone = await self.inventory.zone(plant_id or None)
        make = alarms.as_alarm if kind == ALARMS else alarms.as_event
        while (number := scan.next_page()) is not None:
            told = await self.api.occurrences(_ENDPOINTS[kind], device_id, number, Lane.ALARMS)
            page = wire.page_of(self._published(told), "alarms")
            found = alarms.occurrences_of(
                page.rows, zone, equal_is_cleared=self.settings.alarm_equal_times == "cleared"
            )
            standing = scan.position.standing(found) if kind == ALARMS else []
            news = scan.take(found, page.count, told.received_at)
            seen: list[Observation] = [make(one, key, start, told.received_at) for one, start in news]
            seen += [
                alarms.as_alarm(one, key, start, told.received_at, standing=True) for one, start in standing
            ]
            if seen:
                yield Batch(seen)
        position = scan.finished().as_json()
        if position != kept:
            await self.kit.vault.put(vault_key, position)

    def _published(self, told: Told) -> Json:
        return published(told.data, self.kit.policy)

    @staticmethod
    def holds_reading(seen: Sequence[Observation]) -> bool:
        """Whether a record is among them."""
        return any(isinstance(one, Reading) for one in seen)
