"""One wmj account as the flow sees it: configured inventory, polling, commands, the callback door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from bridge.domain.command import CommandSpec, Order, Outcome, Preview
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import DeviceOffline, Refused
from bridge.domain.observation import Availability, Batch, Origin
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.ports import Effect, PollTask, PushDoor
from bridge.vendorkit.spec import Kit
from bridge.vendors.wmj import codec, frame
from bridge.vendors.wmj.api import WmjApi
from bridge.vendors.wmj.commands import account_commands, device_commands, request_of
from bridge.vendors.wmj.execution import Execution
from bridge.vendors.wmj.faults import NOT_REGISTERED
from bridge.vendors.wmj.framerules import order_frame
from bridge.vendors.wmj.link import Link
from bridge.vendors.wmj.notes import Notes
from bridge.vendors.wmj.params import Protection
from bridge.vendors.wmj.push import CallbackDoor
from bridge.vendors.wmj.settings import WmjSettings

CONFIRM_INTERVAL_S = 1.0


class WmjAdapter:
    """Implements `ports.VendorAdapter`."""

    def __init__(self, settings: WmjSettings, kit: Kit) -> None:
        self._settings = settings
        self._kit = kit
        self._serials = tuple(serial for serial in settings.devices.include if kit.policy.exposes(serial))
        self._api = WmjApi(kit.http, settings)
        self._notes = Notes(kit.clock.monotonic)
        self._link = Link(self._api, kit.vault, self._notes)
        self._execution = Execution(self._link, self._notes, kit.clock, kit.policy, self._serials)
        self._device_commands = device_commands(settings)
        self._account_commands = account_commands()
        door = CallbackDoor(frozenset(self._serials), kit.policy, self._notes)
        self._push = door if settings.push is not None else None

    @property
    def push(self) -> PushDoor | None:
        """The callback door, where the account has one configured."""
        return self._push

    @property
    def history(self) -> None:
        """The vendor keeps no past."""
        return

    def commands(self, device: Device | None) -> Mapping[str, CommandSpec]:
        """The same for every breaker."""
        return self._account_commands if device is None else self._device_commands

    async def inventory(self) -> Sequence[Device]:
        """The configured breakers: the cloud cannot list them. Model, firmware come later, as Described."""
        return [
            Device(
                account=self._kit.policy.account,
                vendor=self._kit.policy.vendor,
                native_id=serial,
                kind=DeviceKind.BREAKER,
                serial=serial,
                metrics=codec.DECLARED,
            )
            for serial in self._serials
        ]

    def poll_tasks(self, devices: Sequence[Device]) -> Sequence[PollTask]:
        """Per breaker its measurements and a look at its connection; one task for the readings that are due
        shortly after an alarm or a pulse."""
        if not devices:
            return []
        costs = {"requests": 1.0}
        silence_s = self._settings.online_check
        tasks = [PollTask("confirm", CONFIRM_INTERVAL_S, lane="alarms")]
        for serial in (device.native_id for device in devices):
            tasks.append(PollTask(f"getdevinfo:{serial}", self._settings.poll, costs, (serial,)))
            tasks.append(PollTask(f"online:{serial}", silence_s, costs, (serial,), first_in_s=silence_s))
        return tasks

    async def poll(self, task: PollTask) -> AsyncIterator[Batch]:
        """A breaker off line is an observation; one that does not answer, a LostAnswer."""
        kind, _, serial = task.key.partition(":")
        if kind == "confirm":
            while (due := self._notes.next_due()) is not None:
                yield await self._read(due, Lane.ALARMS)
        elif kind == "online":
            if self._notes.is_silent(serial, self._settings.online_check):
                yield await self._connection(serial)
        else:
            yield await self._read(serial, Lane.POLL)

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        """As the port says."""
        return await self._execution.run(order, effect)

    async def probe(self, order: Order) -> Outcome | None:
        """As the port says."""
        return await self._execution.probe(order)

    def preview(self, order: Order) -> Preview:
        """The request, the secret masked. What `set_protection` would read first is filled in where known."""
        first = next(iter(self._serials), "")
        named = getattr(order.params, "device_sn", first)
        serial = order.device.native_id if order.device is not None else str(named).upper()
        request = request_of(order.spec.name, order.params, serial, _known_protection(order))
        call = self._api.call(request, Lane.COMMAND, masked=True)
        return self._kit.http.shown(call, _explanation(order))

    async def check(self) -> str:
        """Asks for the connection of the first breaker: the cheapest call that the cloud checks."""
        if not self._serials:
            return "no breaker is configured that is not excluded: nothing to ask for"
        serial = self._serials[0]
        try:
            told = await self._link.online(serial, Lane.COMMAND)
        except Refused as error:
            if error.native_code != NOT_REGISTERED:
                raise
            return f"credentials accepted; {serial} will be registered when it is first read"
        return f"credentials accepted; {serial} is {'on line' if told.is_online else 'off line'}"

    async def _read(self, serial: str, lane: Lane) -> Batch:
        try:
            told = await self._link.read(serial, lane)
        except DeviceOffline:
            return Batch([codec.connected(serial, False, self._kit.clock.now(), Origin.POLL)])
        except Refused as error:
            return await self._released(serial, error)
        return Batch(codec.polled(serial, told.info, told.received_at, self._kit.policy))

    async def _connection(self, serial: str) -> Batch:
        try:
            told = await self._link.online(serial, Lane.POLL)
        except Refused as error:
            return await self._released(serial, error)
        return Batch([codec.connected(serial, told.is_online, told.received_at, Origin.POLL)])

    async def _released(self, serial: str, error: Refused) -> Batch:
        """A breaker taken off the account by command is out of reach, and no fault of the account."""
        if error.native_code != NOT_REGISTERED or not await self._link.is_released(serial):
            raise error
        now = self._kit.clock.now()
        return Batch([Availability(serial, online=False, received_at=now, origin=Origin.POLL, said=False)])


def _known_protection(order: Order) -> dict[str, Json]:
    if not isinstance(order.params, Protection):
        return {}
    known = {name: order.known.get(metric) for name, metric in codec.PROTECTION_METRIC.items()}
    return {name: value for name, value in known.items() if value is not None} | order.params.given()


def _explanation(order: Order) -> Json:
    if order.spec.name in ("set_alarms", "hex_frame"):
        return frame.explain(frame.encode(order_frame(order.params)))
    if order.spec.name == "refresh_inventory":
        return "the same for every configured breaker, and getdevinfo for each"
    if not isinstance(order.params, Protection):
        return None
    missing = sorted(codec.PROTECTION.keys() - _known_protection(order).keys())
    read = f"; {', '.join(missing)} are read from the breaker before" if missing else ""
    return f"all five are sent, those not given with their latest known value{read}"
