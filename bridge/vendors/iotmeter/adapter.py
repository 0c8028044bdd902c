"""One iotmeter account as the flow sees it: inventory, polling, commands, the door for pushes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta

from bridge.domain.command import CommandSpec, Order, Outcome, Preview, Status
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import Refused
from bridge.domain.observation import (
    AlarmMessage,
    Availability,
    Batch,
    Described,
    Event,
    Observation,
    Origin,
)
from bridge.domain.text import Json
from bridge.domain.times import parse_rfc3339, rfc3339
from bridge.pace.limits import Lane
from bridge.ports import Effect, History, PollTask, PushDoor
from bridge.vendorkit.spec import Kit
from bridge.vendors.iotmeter.api import READINGS, ControlApi, DataApi
from bridge.vendors.iotmeter.auth import TokenKeeper
from bridge.vendors.iotmeter.batch import Batches, add_bodies
from bridge.vendors.iotmeter.checks import Queue
from bridge.vendors.iotmeter.codec import Codec
from bridge.vendors.iotmeter.commands import account_commands, device_commands, rtu_commands
from bridge.vendors.iotmeter.execution import Execution
from bridge.vendors.iotmeter.notes import Notes
from bridge.vendors.iotmeter.past import Past
from bridge.vendors.iotmeter.preview import explanation, request_of
from bridge.vendors.iotmeter.push import PlatformDoor
from bridge.vendors.iotmeter.reader import Reader
from bridge.vendors.iotmeter.settings import IotMeterSettings
from bridge.vendors.iotmeter.steering import Steering
from bridge.vendors.iotmeter.tasks import METER, RTU, SUFFIXES
from bridge.vendors.iotmeter.wire import Record, device_id, month_windows

_SORTED: Record = {"orderby": "meter_comm_no", "sequence": "asc"}

SAVE_INTERVAL_S = 5.0
LIST_OVERLAP = timedelta(hours=48)
"""How far the lists of alarms and events are read back: a meter tells an alarm when it wakes up, hours later."""

_LISTS = {"alarms": "DeviceAlarm/GetList2", "events": "DeviceEvent/GetList2"}


class IotMeterAdapter:
    """Implements `ports.VendorAdapter`."""

    def __init__(self, settings: IotMeterSettings, kit: Kit) -> None:
        self._settings = settings
        self._kit = kit
        self._notes = Notes(kit.vault)
        self._codec = Codec(kit.policy, settings.zone, settings.offline_after, settings.purchase_unit)
        self._data = DataApi(kit.http, settings, kit.clock, kit.rng)
        self._control = self._control_api()
        queue = self._task_queue()
        has_control = queue is not None
        self._reader = Reader(self._data, self._codec)
        self._past = Past(self._data, self._codec, settings.zone, kit.clock)
        self._tasks = Execution(queue, self._reader, self._notes, kit, settings) if queue else None
        self._steering = Steering(queue, kit.policy.interlocks) if queue else None
        self._batches = Batches(queue, kit, self._notes, settings) if queue else None
        self._device_commands = device_commands(self._in_reach, control=has_control)
        self._rtu_commands = rtu_commands(self._device_commands)
        self._account_commands = account_commands(kit.policy, self._can_be_written, control=has_control)
        door = PlatformDoor(settings, kit.policy, self._codec, self._notes, kit.log)
        self._push = door if settings.push is not None else None

    def _can_be_written(self, order: Order) -> None:
        settings = self._settings
        add_bodies(order, settings.processor, settings.zone, self._kit.clock.now())

    def _control_api(self) -> ControlApi | None:
        control, kit, timeout_s = self._settings.control, self._kit, self._settings.timeout
        if control is None:
            return None
        keeper = TokenKeeper(kit.http, control, kit.clock, kit.vault, self._settings.zone, timeout_s)
        return ControlApi(kit.http, control, keeper, timeout_s)

    def _task_queue(self) -> Queue | None:
        if self._control is None:
            return None
        return Queue(
            self._control, self._kit.clock, self._notes, self._settings.zone, self._settings.processor
        )

    @property
    def token_expires_at(self) -> datetime | None:
        """See `vendorkit.spec.HoldsToken`: of the control API, the only one with tokens."""
        return self._control.token_expires_at if self._control is not None else None

    @property
    def push(self) -> PushDoor | None:
        """The receivers, where the account has them configured."""
        return self._push

    @property
    def history(self) -> History:
        """See `past`."""
        return self._past

    def commands(self, device: Device | None) -> Mapping[str, CommandSpec]:
        """By kind of device; an account without the control API only reads."""
        if device is None:
            return self._account_commands
        return self._rtu_commands if device.kind is DeviceKind.RTU else self._device_commands

    async def inventory(self) -> Sequence[Device]:
        """The meters of the platform's list of readings, and what only pushes know (RTUs)."""
        devices: dict[str, Device] = {}
        async for page in self._data.pages(READINGS, _SORTED, Lane.INVENTORY):
            for record in page.records:
                device = self._described(record)
                if device is not None:
                    devices[device.native_id] = device
        self._notes.listed(devices)
        for native_id in await self._notes.met(self._kit.clock.now()):
            if self._kit.policy.exposes(native_id):
                devices.setdefault(native_id, self._met(native_id))
        await self._notes.save()
        return list(devices.values())

    def poll_tasks(self, devices: Sequence[Device]) -> Sequence[PollTask]:
        """One task for all readings, two per device for its lists of alarms and events; those are more urgent, so the
        first time they wait until the readings have had their pages."""
        saving = [PollTask("save", SAVE_INTERVAL_S)] if self._push is not None else []
        if not devices:
            return saving
        pages = math.ceil(len(devices) / self._settings.data.page_rows)
        ids = tuple(device.native_id for device in devices)
        every_s = self._settings.alarm_interval_s
        tasks = [PollTask("readings", self._settings.poll, {"data": float(pages)}, ids, pushed=True), *saving]
        for device in devices:
            number = RTU if device.kind is DeviceKind.RTU else METER
            tasks += [
                PollTask(
                    f"{name}:{number}:{device.native_id}",
                    every_s,
                    {"data": 1.0},
                    (device.native_id,),
                    "alarms",
                    first_in_s=float(pages),
                    pushed=True,
                )
                for name in _LISTS
            ]
        return tasks

    async def poll(self, task: PollTask) -> AsyncIterator[Batch]:
        """A record that cannot be used is left out, not an error."""
        name, _, rest = task.key.partition(":")
        if name == "save":
            await self._notes.save()
        elif name == "readings":
            async for batch in self._readings(task):
                yield batch
        else:
            number, _, native_id = rest.partition(":")
            async for batch in self._occurrences(name, native_id, int(number)):
                yield batch

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        """As the port says."""
        match order.spec.name:
            case "read":
                return await self._reader.read(order)
            case "refresh_inventory":
                return await self._refreshed()
            case "cancel" if self._steering is not None:
                return await self._steering.cancel(order, effect)
            case "retry" if self._steering is not None:
                return await self._steering.retry(order, effect)
        if self._tasks is None or self._batches is None:
            raise Refused("the account has no control API", code="unsupported")
        if order.spec.name in SUFFIXES:
            return await self._tasks.run(order, effect)
        return await self._batches.run(order, effect)

    async def probe(self, order: Order) -> Outcome | None:
        """As the port says. A recharge whose end is not known has the meter's counters read, by a task that changes
        nothing (page 7.2)."""
        if self._tasks is None or self._batches is None or self._steering is None:
            return None
        if order.spec.name in SUFFIXES:
            return await self._tasks.probe(order)
        if order.spec.name in ("cancel", "retry"):
            return await self._steering.probe(order)
        return await self._batches.probe(order)

    def _in_reach(self, order: Order) -> None:
        self._past.period(order)

    async def _refreshed(self) -> Outcome:
        devices = await self.inventory()
        return Outcome(
            Status.SUCCEEDED,
            result={"devices": len(devices)},
            inventory=devices,
        )

    def preview(self, order: Order) -> Preview:
        """The request, key and token masked."""
        call = request_of(order, self._settings, self._data, self._past, self._control, self._kit.clock.now())
        return self._kit.http.shown(call, explanation(order, self._settings))

    async def check(self) -> str:
        """Asks for one reading, and logs in."""
        page = await self._data.page(READINGS, _SORTED, 0, Lane.COMMAND, tries=1)
        total = len(page.records) if page.total is None else page.total
        if self._control is None:
            return f"data API: key accepted, {total} meters; no control API configured"
        await self._control.login()
        return f"data API: key accepted, {total} meters; control API: logged in"

    async def _readings(self, task: PollTask) -> AsyncIterator[Batch]:
        """All meters, or by their numbers those that have not pushed lately."""
        rows = self._settings.data.page_rows
        parts = [task.devices[at : at + rows] for at in range(0, len(task.devices), rows)]
        for conditions in [_numbered(part) for part in parts] if task.partial else [_SORTED]:
            async for page in self._data.pages(READINGS, conditions, Lane.POLL):
                seen: list[Observation] = []
                for record in page.records:
                    seen += self._taken(record, page.received_at)
                yield Batch(seen)
        silent = await self._silent()
        if silent:
            yield Batch(silent)

    def _taken(self, record: Record, received_at: datetime) -> list[Observation]:
        device = self._described(record)
        if device is None:
            return []
        try:
            return self._codec.seen(record, received_at, Origin.POLL, device.kind)
        except ValueError as error:
            self._kit.log.debug("reading.unusable", extra={"device": device.native_id, "reason": str(error)})
            return [Described(device)]

    async def _silent(self) -> list[Observation]:
        """Devices that only pushes know have nobody else to say that they fell silent."""
        now = self._kit.clock.now()
        met = await self._notes.met(now)
        seen: list[Availability] = [
            self._codec.availability(device, at, now, Origin.POLL)
            for device, at in met.items()
            if self._kit.policy.exposes(device)
        ]
        return [one for one in seen if not one.online]

    async def _occurrences(self, name: str, native_id: str, number: int) -> AsyncIterator[Batch]:
        """A list of 4.6 or 4.8 from the kept position on. The position moves once everything is taken in."""
        now = self._kit.clock.now()
        key = f"{name}:{native_id}"
        start = self._position(await self._kit.vault.get(key), now) - LIST_OVERLAP
        for window in month_windows(start, now, self._settings.zone):
            conditions: Json = {"device_comm_no": native_id, "device_type": number, **window}
            async for page in self._data.pages(_LISTS[name], conditions, Lane.POLL):
                yield Batch(self._listed(name, native_id, page.records, page.received_at))
        await self._kit.vault.put(key, rfc3339(now))

    def _position(self, kept: Json, now: datetime) -> datetime:
        try:
            return min(now, parse_rfc3339(kept))
        except ValueError:
            return now

    def _listed(
        self, name: str, native_id: str, records: Sequence[Record], received_at: datetime
    ) -> list[Observation]:
        read = self._codec.alarm if name == "alarms" else self._codec.event
        kind = self._notes.kind(native_id) or DeviceKind.GAS_METER
        seen: list[Observation] = []
        for record in records:
            try:
                *_, told = read(record, received_at, Origin.POLL, kind)
            except ValueError as error:
                self._kit.log.debug(
                    "list.unusable", extra={"list": name, "device": native_id, "reason": str(error)}
                )
                continue
            # the filter is the platform's: what is of another device comes with that one's list
            if isinstance(told, AlarmMessage | Event) and told.device == native_id:
                seen.append(told)
        return seen

    def _described(self, record: Record) -> Device | None:
        """The device of a record, if it is one that the account wants."""
        try:
            native_id = device_id(record.get("meter_comm_no"))
        except ValueError:
            return None
        if not self._kit.policy.exposes(native_id):
            return None
        device = self._codec.device(record, self._notes.kind(native_id) or DeviceKind.GAS_METER)
        self._notes.learn(native_id, device.kind)
        return device

    def _met(self, native_id: str) -> Device:
        return Device(
            account=self._kit.policy.account,
            vendor=self._kit.policy.vendor,
            native_id=native_id,
            kind=self._notes.kind(native_id) or DeviceKind.GAS_METER,
            serial=native_id,
        )


def _numbered(devices: Sequence[str]) -> Record:
    return {"meter_comm_nos": list(devices), **_SORTED}
