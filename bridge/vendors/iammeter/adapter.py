"""One iammeter account as the flow sees it: inventory, polling, commands that read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, timedelta

from bridge.domain.command import CommandSpec, Order, Outcome, Preview
from bridge.domain.device import Device, DeviceKind
from bridge.domain.observation import Batch
from bridge.pace.limits import Lane
from bridge.ports import Effect, History, PollTask, PushDoor
from bridge.vendorkit.spec import Kit
from bridge.vendors.iammeter import codec, requests
from bridge.vendors.iammeter.api import IammeterApi
from bridge.vendors.iammeter.auth import Keys
from bridge.vendors.iammeter.commands import (
    Counter,
    account_commands,
    meter_commands,
    serial_of,
    site_commands,
)
from bridge.vendors.iammeter.execution import Execution
from bridge.vendors.iammeter.faults import WrongShape
from bridge.vendors.iammeter.inventory import Inventory
from bridge.vendors.iammeter.latest import Latest
from bridge.vendors.iammeter.notes import Notes
from bridge.vendors.iammeter.params import AnalysisSpan, analysis_days
from bridge.vendors.iammeter.past import Past
from bridge.vendors.iammeter.polling import Polling
from bridge.vendors.iammeter.requests import Ask
from bridge.vendors.iammeter.settings import IammeterSettings
from bridge.vendors.iammeter.zones import Zones


class IammeterAdapter:
    """Implements `ports.VendorAdapter`."""

    def __init__(self, settings: IammeterSettings, kit: Kit) -> None:
        self._settings = settings
        self._kit = kit
        self._api = IammeterApi(kit.http, settings, Keys(kit.http, settings, kit.vault, kit.clock))
        notes = Notes(kit.clock.monotonic)
        self._latest = Latest(self._api, notes, settings.share_latest_budget)
        self._inventory = Inventory(self._api, notes, settings, kit)
        self._zones = Zones(
            notes, settings.timezone, self._inventory.meters_of, self._inventory.neighbours_of
        )
        self._polling = Polling(self._api, self._latest, notes, self._zones, settings, kit)
        self._execution = Execution(self._api, self._latest, self._inventory, self._zones, settings, kit)
        self._past = Past(self._api, self._latest, self._zones, settings, kit)
        counter = Counter(self._api, self._latest, self._zones, self._past, kit.clock)
        self._meter_commands = meter_commands(counter)
        self._site_commands = site_commands(counter)
        self._account_commands = account_commands(counter)

    @property
    def push(self) -> PushDoor | None:
        """The vendor never calls."""
        return None

    @property
    def history(self) -> History:
        """See `past`."""
        return self._past

    def commands(self, device: Device | None) -> Mapping[str, CommandSpec]:
        """By kind: meter or site."""
        if device is None:
            return self._account_commands
        return self._site_commands if device.kind is DeviceKind.SOLAR_PLANT else self._meter_commands

    async def inventory(self) -> Sequence[Device]:
        """The meters, and the sites where the account wants their history. May come from memory (`inventory`)."""
        return await self._inventory.look()

    def poll_tasks(self, devices: Sequence[Device]) -> Sequence[PollTask]:
        """See `Polling.tasks`."""
        return self._polling.tasks(devices)

    def poll(self, task: PollTask) -> AsyncIterator[Batch]:
        """See `Polling`. A limit that is used up is RateLimited once, when the vendor returns nothing."""
        return self._polling.run(task)

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        """As the port says. `effect` has nothing to do: nothing is changed."""
        return await self._execution.run(order)

    async def probe(self, order: Order) -> Outcome | None:
        """No command is ever worked on later."""
        return None

    def preview(self, order: Order) -> Preview:
        """The first request of the command, the token masked."""
        ask, count = self._first(order)
        return self._api.shown(ask, {"requests": count} if count > 1 else None)

    async def check(self) -> str:
        """Reads the site list; where the cloud has none, all meters."""
        try:
            told = await self._api.get(requests.sites(), Lane.COMMAND)
            found = codec.sites(told.data)
        except WrongShape:
            told = await self._api.get(requests.all_latest(), Lane.COMMAND)
            return f"token accepted; {len(codec.all_latest(told.data, None))} meters"
        meters = sum(len(site.meters) for site in found)
        return f"token accepted; {len(found)} sites, {meters} meters"

    def _first(self, order: Order) -> tuple[Ask, int]:
        """The first of how many requests. Raises Rejection."""
        sn, name, params = serial_of(order), order.spec.name, order.params
        if order.device is None:
            return requests.sites(), 1
        if name == "read":
            return self._latest.ask(sn), 1
        if name == "history":
            return self._first_past(order, order.device)
        zone = self._zones.of_meter(order.device)
        slack = timedelta() if zone is not None else timedelta(days=1)
        days = analysis_days(params, zone or UTC, self._kit.clock.now(), slack=slack)
        if name == "power_analysis":
            return requests.power_analysis(sn, days), 1
        return requests.offline_analysis(sn, days, _minutes(params)), 1

    def _first_past(self, order: Order, device: Device) -> tuple[Ask, int]:
        return self._past.first(device, self._past.period(order))


def _minutes(params: AnalysisSpan) -> int:
    return params.interval_min
