"""One saj account as the flow sees it: plants and inverters, what is polled, its commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bridge.domain.command import CommandSpec, Order, Outcome, Preview, Status
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import LostAnswer, Refused
from bridge.domain.observation import Batch, Origin
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.ports import Effect, History, PollTask, PushDoor
from bridge.vendorkit.spec import Kit
from bridge.vendors.saj.api import Request, SajApi
from bridge.vendors.saj.auth import Auth
from bridge.vendors.saj.commands import MANAGEMENT, account_commands, device_commands, request_of
from bridge.vendors.saj.faults import VendorFault
from bridge.vendors.saj.inventory import Inventory
from bridge.vendors.saj.lists import Lists
from bridge.vendors.saj.management import Execution
from bridge.vendors.saj.notes import Notes
from bridge.vendors.saj.params import ModifyPlant
from bridge.vendors.saj.past import Past
from bridge.vendors.saj.patience import Patience
from bridge.vendors.saj.rated import RatedPower
from bridge.vendors.saj.reader import ALARMS, EVENTS, LATEST, Reader
from bridge.vendors.saj.sealed import Wallet
from bridge.vendors.saj.settings import REQUESTS, SajSettings
from bridge.vendors.saj.throttle import Throttle

LIST_CHECK_S = 60.0
"""How soon what an inventory saw of the plants' status is told."""

PLANTS = "plants"
"""The task of the plants' status, which mostly tells what an inventory saw."""

_PLANNED_SHARE = 0.8


class SajAdapter:
    """Implements `ports.VendorAdapter`."""

    def __init__(self, settings: SajSettings, kit: Kit) -> None:
        self._settings = settings
        self._kit = kit
        self._notes = Notes()
        self._throttle = Throttle(settings, kit)
        self._auth = Auth(settings, kit, self._throttle)
        self._api = SajApi(settings, kit, self._auth, self._throttle)
        rated = RatedPower(kit)
        self._inventory = Inventory(settings, kit, self._api, self._notes, rated, Lists(kit))
        self._reader = Reader(settings, kit, self._api, self._inventory, self._notes, rated)
        self._past = Past(
            self._api, self._inventory, self._notes, settings.zone, kit.clock, kit.policy, _vendor_id
        )
        self._execution = Execution(settings, kit, self._api, self._auth, self._inventory)
        self._patience = Patience(kit.clock.monotonic)
        self._device_commands = device_commands(self._in_reach)
        self._account_commands = account_commands(Wallet(settings.app_key))

    @property
    def token_expires_at(self) -> datetime | None:
        """See `vendorkit.spec.HoldsToken`."""
        return self._auth.expires_at

    @property
    def push(self) -> PushDoor | None:
        """The vendor never calls."""
        return None

    @property
    def history(self) -> History:
        """See `past`."""
        return self._past

    def commands(self, device: Device | None) -> Mapping[str, CommandSpec]:
        """The same for every plant and inverter."""
        return self._account_commands if device is None else self._device_commands

    async def inventory(self) -> Sequence[Device]:
        """As the port says."""
        return await self._inventory.devices(Lane.INVENTORY)

    def poll_tasks(self, devices: Sequence[Device]) -> Sequence[PollTask]:
        """Per plant its overview, per inverter its latest record and its alarms; for all the plants' status. The
        intervals are longer where a smaller hourly budget was learnt."""
        if not devices:
            return []
        look_s = min(LIST_CHECK_S, self._settings.list_poll)
        listed = {REQUESTS: look_s / self._settings.list_poll}
        tasks = [PollTask(PLANTS, look_s, listed, lane="inventory")]
        for device in devices:
            tasks += self._tasks_of(device)
        return self._throttle.stretched(tasks, _PLANNED_SHARE)

    async def poll(self, task: PollTask) -> AsyncIterator[Batch]:
        """One run of a task; one that the vendor cannot serve now is asked for less and less often. While it serves the
        others, that is no fault of the account."""
        wait_s = self._patience.wait_s(task.key)
        if wait_s > 0:
            yield self._reader.unread(task, wait_s)
            return
        try:
            async for batch in self._run(task):
                yield batch
        except (LostAnswer, Refused) as error:
            is_alone = isinstance(error, VendorFault) and self._patience.is_alone(task.key)
            if self._patience.failed(task.key, error):
                self._kit.log.warning("saj.not_served", extra={"task": task.key, "reason": error.message})
            if isinstance(error, Refused) or is_alone:
                yield self._reader.unread(task, self._patience.wait_s(task.key))
            if is_alone:
                return
            raise
        self._patience.succeeded(task.key, asked=task.key != PLANTS)

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        """As the port says."""
        if order.spec.name in MANAGEMENT:
            return await self._execution.run(order, effect)
        if order.device is None:
            devices = await self._inventory.devices(Lane.COMMAND, anew=True)
            shown = [device for device in devices if self._kit.policy.exposes(device.native_id)]
            return Outcome(
                Status.SUCCEEDED,
                result={"devices": len(shown)},
                observations=await self._reader.statuses(),
                inventory=shown,
            )
        return await self._read(order.device)

    async def probe(self, order: Order) -> Outcome | None:
        """As the port says: the vendor's lists tell about management commands; readings are just repeated."""
        return await self._execution.probe(order) if order.spec.name in MANAGEMENT else None

    def preview(self, order: Order) -> Preview:
        """The request, token and password masked; of several the first."""
        request = self._previewed(order)
        call = self._api.call(request, Lane.COMMAND, None)
        return self._kit.http.shown(call, _explanation(order))

    async def check(self) -> str:
        """Fetches a token if there is none, and asks for one plant."""
        page = await self._api.plants(1, Lane.COMMAND, per_page=1)
        count = page.count if page.count is not None else len(page.rows)
        return f"credentials accepted; {count} plants"

    def _tasks_of(self, device: Device) -> list[PollTask]:
        one, mine = {REQUESTS: 1.0}, (device.native_id,)
        if device.kind is DeviceKind.SOLAR_PLANT:
            return [PollTask(f"plant:{device.native_id}", self._settings.plant_poll, one, mine)]
        device_id = device.vendor_info.get("device_id")
        if device_id is None:
            return []
        whose = f"{device_id}:{device.parent or ''}"
        tasks = [
            PollTask(f"{LATEST}:{whose}", self._settings.poll, one, mine),
            PollTask(f"{ALARMS}:{whose}", self._settings.alarm_poll, one, mine, lane="alarms"),
        ]
        if self._settings.events:
            tasks.append(PollTask(f"{EVENTS}:{whose}", self._settings.alarm_poll, one, mine, lane="alarms"))
        return tasks

    async def _run(self, task: PollTask) -> AsyncIterator[Batch]:
        kind, _, whose = task.key.partition(":")
        device_id, _, plant_id = whose.partition(":")
        if kind == PLANTS:
            async for batch in self._reader.plants():
                yield batch
        elif kind == "plant":
            yield Batch(await self._reader.plant(device_id, Lane.POLL))
        elif kind == LATEST:
            yield await self._reader.latest(task, device_id, plant_id)
        else:
            async for batch in self._reader.occurrences(kind, task.devices[0], device_id, plant_id):
                yield batch

    async def _read(self, device: Device) -> Outcome:
        if device.kind is DeviceKind.SOLAR_PLANT:
            seen = await self._reader.plant(device.native_id, Lane.READ)
        else:
            seen = await self._reader.inverter(
                device.native_id, _vendor_id(device), device.parent or "", Lane.READ
            )
        if not Reader.holds_reading(seen):
            raise Refused("the vendor has no data of this device", code="no_answer", operation="read")
        asked = [replace(one, origin=Origin.COMMAND) for one in seen]
        return Outcome(Status.SUCCEEDED, vendor_code=0, observations=asked)

    def _in_reach(self, order: Order) -> None:
        self._past.period(order)

    def _previewed(self, order: Order) -> Request:
        device = order.device
        if order.spec.name in MANAGEMENT:
            request = request_of(order.spec.name, order.params, {}, masked=True)
            return self._execution.instead_of(request, order) or request
        if device is None:
            return Request("plant/list", {"page": "1", "perpage": "100", "locale": "en-US"})
        is_plant = device.kind is DeviceKind.SOLAR_PLANT
        zone = self._notes.zones.get(
            device.native_id if is_plant else device.parent or "", self._settings.zone
        )
        today = self._kit.clock.now().astimezone(zone).date()
        if order.spec.name == "read" and is_plant:
            return Request("plant/data", {"plant_id": device.native_id})
        if order.spec.name == "read":
            params = {"device_id": _vendor_id(device), "end_date": today.isoformat()}
            return Request("device/inverter/datasigns", params)
        return self._past.first(device, self._past.period(order))


def _vendor_id(device: Device) -> str:
    """The id by which the vendor knows a device. Raises Refused where none was ever seen."""
    if device.kind is DeviceKind.SOLAR_PLANT:
        return device.native_id
    device_id = device.vendor_info.get("device_id")
    if device_id is None:
        raise Refused("the device's id at the vendor is not known yet", code="unsupported")
    return str(device_id)


def _explanation(order: Order) -> Json:
    if isinstance(order.params, ModifyPlant):
        return "what is not given is filled in from the plant's master data, which are read before"
    if order.spec.name == "refresh_inventory":
        return "all pages; then the master data and the devices of every plant"
    if order.spec.name == "history":
        return "the first of several requests"
    return None
