"""Which plants and inverters an account has (page saj 7.1): 4.4 all pages, 4.5 once a day, 4.11 per plant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo

from bridge.domain.device import Device
from bridge.domain.errors import Refused
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.vendorkit.spec import Kit
from bridge.vendors.saj import codec, wire
from bridge.vendors.saj.api import PER_PAGE, SajApi
from bridge.vendors.saj.codec import Inverter, Plant
from bridge.vendors.saj.faults import VendorFault
from bridge.vendors.saj.lists import Listed, Lists
from bridge.vendors.saj.notes import Notes
from bridge.vendors.saj.privacy import published
from bridge.vendors.saj.rated import RatedPower
from bridge.vendors.saj.settings import SajSettings
from bridge.vendors.saj.wire import Page, Row

DETAILS_FOR_S = 86400.0
_FAULTS_BORNE = 3


@dataclass(slots=True)
class Inventory:
    """Each method raises VendorError. Master data are kept over restarts, without what is customer data. `_round`: the
    lists that were read since an inventory was complete; `_faults`: how often in a row the vendor failed, by plant."""

    settings: SajSettings
    kit: Kit
    api: SajApi
    notes: Notes
    rated: RatedPower
    lists: Lists
    _details: dict[str, dict[str, Json]] = field(default_factory=dict)
    _faults: dict[str, int] = field(default_factory=dict)
    _round: set[str] = field(default_factory=set)

    async def devices(self, lane: Lane, *, anew: bool = False) -> list[Device]:
        """Every plant and every inverter, each id once; plants come first. Of several plants that name an inverter the
        first one whose list is of now has it. `anew`: also the master data, of whatever age those are that were read
        last."""
        plants = await self.plants(lane)
        devices = {plant.id: await self._plant(plant, lane, anew=anew) for plant in plants}
        plant_ids = list(devices)
        now: list[Device] = []
        before: list[Device] = []
        for plant_id in plant_ids:
            inverters, is_of_now = await self._inverters(plant_id, plant_ids, lane)
            found = [codec.inverter_device(one, plant_id, self.kit.policy) for one in inverters]
            if is_of_now:
                now += found
            else:
                before += found
        for device in (*now, *before):
            devices.setdefault(device.native_id, device)
        self._round.clear()
        return list(devices.values())

    async def plants(self, lane: Lane) -> list[Plant]:
        """The plant list; that of before, without the status of then, where the one of now is doubted."""
        found = await self.lists.believed(
            "plants", lambda: listed(lambda page: self.api.plants(page, lane), "plant_id"), lane
        )
        if found is None:
            return codec.plants_of(await self.lists.known("plants"))
        plants = codec.plants_of(found)
        self.notes.list_plants(plants, self.kit.clock.now())
        for plant in plants:
            self.rated.learn(plant.id, codec.rated_w(plant.row))
        return plants

    async def loggers(self, plant_id: str, lane: Lane) -> set[str]:
        """The serials of the data loggers that a plant's devices name."""
        rows = await all_pages(lambda page: self.api.devices(plant_id, page, lane), "device_id")
        return {sn for row in rows if (sn := wire.text(wire.fields(row).get("datalogger_sn"))) is not None}

    async def zone(self, plant_id: str | None) -> tzinfo:
        """The zone of a plant as its master data told it, else the account's."""
        if plant_id is None:
            return self.settings.zone
        if plant_id not in self.notes.zones:
            kept = await self._kept(plant_id)
            zone = codec.zone_of(kept.get("data"))
            if zone is None:
                return self.settings.zone
            self.notes.zones[plant_id] = zone
        return self.notes.zones[plant_id]

    async def _plant(self, plant: Plant, lane: Lane, *, anew: bool) -> Device:
        if not self.kit.policy.exposes(plant.id):
            return codec.plant_device(plant, None, self.kit.policy)
        kept = await self._kept(plant.id)
        now_s = self.kit.clock.now().timestamp()
        is_short = self.kit.policy.customer_data and not kept.get("whole")
        if anew or is_short or not 0 <= now_s - float(kept.get("at", 0)) < DETAILS_FOR_S:
            kept = await self._read_details(plant.id, lane) or kept
        data = kept.get("data")
        if plant.id not in self.notes.zones:
            self.notes.note_zone(plant.id, codec.zone_of(data))
        if not self.rated.knows(plant.id):
            self.rated.learn(plant.id, codec.rated_w(data))
        return codec.plant_device(plant, data, self.kit.policy)

    async def _read_details(self, plant_id: str, lane: Lane) -> dict[str, Json] | None:
        """None where they are not to be had: a plant is a plant all the same, with those of before."""
        try:
            told = await self.api.plant_details(plant_id, lane)
        except Refused:
            return None
        except VendorFault:
            if lane is Lane.COMMAND:
                raise
            return None
        if not isinstance(told.data, dict) or not told.data:
            return None
        data = published(told.data, self.kit.policy)
        kept = {"at": int(told.received_at.timestamp()), "data": data, "whole": self.kit.policy.customer_data}
        self._details[plant_id] = kept
        self.notes.note_zone(plant_id, codec.zone_of(data))
        await self.kit.vault.put(f"details:{plant_id}", kept)
        return kept

    async def _kept(self, plant_id: str) -> dict[str, Json]:
        if plant_id not in self._details:
            kept = await self.kit.vault.get(f"details:{plant_id}")
            self._details[plant_id] = kept if isinstance(kept, dict) else {}
        return self._details[plant_id]

    async def _inverters(
        self, plant_id: str, plant_ids: Collection[str], lane: Lane
    ) -> tuple[list[Inverter], bool]:
        """The inverters of a plant, and whether that is of now: where their list is not to be had, or doubted, it is
        that of before. One that bears the id of a plant goes by another key."""
        rows, is_of_now = await self._rows(plant_id, lane)
        found = [
            replace(one, key=f"inverter-{one.device_id}") if one.key in plant_ids else one
            for one in codec.inverters_of(rows, await self.zone(plant_id))
        ]
        self.notes.list_inverters(found)
        return found, is_of_now

    async def _rows(self, plant_id: str, lane: Lane) -> tuple[Sequence[Row], bool]:
        """A plant that the vendor cannot list again and again does not hold up the others for ever; nor do very many
        plants: an inventory that was cut off by a limit goes on where it was."""
        key = f"devices:{plant_id}"
        known = await self.lists.known(key)
        if key in self._round and lane is not Lane.COMMAND:
            return known, True
        try:
            found = await self.lists.believed(
                key,
                lambda: listed(lambda page: self.api.devices(plant_id, page, lane), "device_id"),
                lane,
            )
        except (Refused, VendorFault) as error:
            faults = self._faults[plant_id] = self._faults.get(plant_id, 0) + 1
            if isinstance(error, VendorFault) and (
                lane is Lane.COMMAND or (not known and faults < _FAULTS_BORNE)
            ):
                raise
            self.kit.log.warning(
                "saj.plant_without_device_list", extra={"plant": plant_id, "reason": error.message}
            )
            return known, False
        self._faults.pop(plant_id, None)
        self._round.add(key)
        return (known, False) if found is None else (found, True)


async def all_pages(fetch: Callable[[int], Awaitable[Page]], id_field: str) -> list[Row]:
    """The rows of `listed`."""
    return (await listed(fetch, id_field)).rows


async def listed(fetch: Callable[[int], Awaitable[Page]], id_field: str) -> Listed:
    """The rows of every page, each id once, until the last page or one that repeats the ids of the one before
    (section 4). A list may shift while it is read."""
    found: dict[Json, Row] = {}
    before: list[Json] = []
    count = None
    for number in range(1, wire.MAX_PAGES + 1):
        page = await fetch(number)
        count = page.count
        ids = [wire.text(wire.fields(row).get(id_field)) for row in page.rows]
        for row_id, row in zip(ids, page.rows, strict=True):
            found.setdefault(row_id if row_id is not None else f"row {len(found)}", row)
        if page.is_last(number, PER_PAGE) or ids == before:
            break
        before = ids
    return Listed(list(found.values()), count)
