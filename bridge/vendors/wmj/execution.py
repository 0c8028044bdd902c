"""Carrying out commands (page wmj, section 7): the answer of `/send` is final, or it is compared.

Invariant: nothing that changes something leaves before `effect.leaving()`, and once it has left, an error
that leaves the outcome open is a LostAnswer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bridge.domain.account import AccountPolicy
from bridge.domain.command import Order, Outcome, Status
from bridge.domain.errors import DeviceOffline, DeviceSilent, LostAnswer, Refused, VendorError, Withdrawn
from bridge.domain.observation import Event, Observation, Origin, Reading, Value
from bridge.domain.text import Json, flag
from bridge.pace.limits import Lane
from bridge.ports import Clock, Effect
from bridge.vendors.wmj import codec
from bridge.vendors.wmj import frame as frames
from bridge.vendors.wmj.api import Told
from bridge.vendors.wmj.commands import request_of
from bridge.vendors.wmj.framerules import may_repeat, order_frame
from bridge.vendors.wmj.link import Link
from bridge.vendors.wmj.notes import Notes
from bridge.vendors.wmj.points import GROUPS, Frame, describe_points

REPEAT_S = 2.0
"""The pause before a frame is sent once more, and after a pulse before the breaker is read."""


class Execution:
    """The commands of one account; `serials` are its breakers."""

    def __init__(
        self, link: Link, notes: Notes, clock: Clock, policy: AccountPolicy, serials: Sequence[str]
    ) -> None:
        self._link = link
        self._notes = notes
        self._clock = clock
        self._policy = policy
        self._serials = serials
        self._actions: Mapping[str, Callable[[Order, Effect], Awaitable[Outcome]]] = {
            "read": self._read,
            "online": self._online,
            "register": self._register,
            "unregister": self._unregister,
            "refresh_inventory": self._refresh_inventory,
            "set_protection": self._set_protection,
            "set_alarms": self._set_frame,
            "hex_frame": self._set_frame,
        }

    async def run(self, order: Order, effect: Effect) -> Outcome:
        """As `VendorAdapter.execute`."""
        return await self._actions.get(order.spec.name, self._send)(order, effect)

    async def probe(self, order: Order) -> Outcome | None:
        """As `VendorAdapter.probe`: `getdevinfo` tells about switch, thresholds and power-cut behaviour."""
        if order.spec.name not in ("breaker", "set_protection", "retain_state"):
            return None
        serial = _serial_of(order)
        told = await self._link.read(serial, Lane.COMMAND)
        if not _shows(order, told.info):
            return None
        result = codec.protection_of(told.info) if order.spec.name == "set_protection" else None
        return Outcome(Status.SUCCEEDED, result=result, observations=self._state(serial, told))

    async def _send(self, order: Order, effect: Effect) -> Outcome:
        serial = _serial_of(order)
        told = await self._link.send(
            request_of(order.spec.name, order.params, serial, {}), Lane.COMMAND, effect
        )
        if order.spec.name in ("pulse_on", "pulse_off"):
            self._notes.confirm(serial, order.params.delay_s + REPEAT_S)
        seen = [*_new_state(order, told.received_at), _alive(serial, told)]
        return Outcome(Status.SUCCEEDED, vendor_code=0, observations=seen)

    async def _read(self, order: Order, _effect: Effect) -> Outcome:
        serial = _serial_of(order)
        told = await self._link.read(serial, Lane.READ)
        seen = codec.polled(serial, told.info, told.received_at, self._policy, Origin.COMMAND)
        return Outcome(Status.SUCCEEDED, vendor_code=0, observations=seen)

    async def _online(self, order: Order, _effect: Effect) -> Outcome:
        serial = _serial_of(order)
        told = await self._link.online(serial, Lane.COMMAND)
        seen = codec.connected(serial, told.is_online, told.received_at, Origin.COMMAND)
        result = {"online": told.is_online}
        return Outcome(Status.SUCCEEDED, vendor_code=told.code, result=result, observations=[seen])

    async def _register(self, order: Order, effect: Effect) -> Outcome:
        code = await self._link.register(_serial_of(order), effect)
        return Outcome(Status.SUCCEEDED, vendor_code=code)

    async def _unregister(self, order: Order, effect: Effect) -> Outcome:
        code = await self._link.unregister(_serial_of(order), effect)
        return Outcome(Status.SUCCEEDED, vendor_code=code)

    async def _refresh_inventory(self, _order: Order, _effect: Effect) -> Outcome:
        seen: list[Observation] = []
        for serial in self._serials:
            if await self._link.is_released(serial):
                continue
            seen += await self._measured(serial)
            told = await self._link.online(serial, Lane.INVENTORY)
            seen.append(codec.connected(serial, told.is_online, told.received_at, Origin.POLL))
        return Outcome(Status.SUCCEEDED, result={"devices": len(self._serials)}, observations=seen)

    async def _measured(self, serial: str) -> list[Observation]:
        """A breaker that does not answer is no fault of the inventory: it stays configured."""
        try:
            told = await self._link.read(serial, Lane.INVENTORY)
        except (DeviceOffline, LostAnswer):
            return []
        return codec.polled(serial, told.info, told.received_at, self._policy)

    async def _set_protection(self, order: Order, effect: Effect) -> Outcome:
        """Sends all five thresholds, as a partial object is not documented, and reads them back (4.4.5)."""
        serial = _serial_of(order)
        wanted: dict[str, Value] = dict(order.params.given())
        if len(wanted) < len(codec.PROTECTION):
            present = codec.protection_of((await self._link.read(serial, Lane.COMMAND)).info)
            wanted = {**present, **wanted}
        missing = codec.PROTECTION.keys() - wanted.keys()
        if missing:
            raise Refused(f"the device does not tell its {', '.join(sorted(missing))}: give all five")
        await self._link.send(
            request_of("set_protection", order.params, serial, wanted), Lane.COMMAND, effect
        )
        try:
            told = await self._link.read(serial, Lane.COMMAND)
        except VendorError as error:
            # whatever it is, the setting itself has left and was taken
            raise _left_open(error, "sent, but reading it back failed") from error
        return _compared(wanted, codec.protection_of(told.info), self._state(serial, told))

    async def _set_frame(self, order: Order, effect: Effect) -> Outcome:
        serial, request = _serial_of(order), order_frame(order.params)
        told = await self._uart(order, effect)
        if not any(point.sets_alarms for point in request.points):
            outcome = _free_frame_outcome(serial, told)
        else:
            if _match(request, told) is frames.Match.OTHER and may_repeat(request):
                await self._clock.sleep(REPEAT_S)
                told = await self._repeated(order, effect, told)
            outcome = _frame_outcome(serial, request, told)
        return replace(outcome, observations=[*outcome.observations, _alive(serial, told)])

    async def _repeated(self, order: Order, effect: Effect, before: Told) -> Told:
        """The frame once more. It has been out already: what stops the second one does not undo the first."""
        try:
            return await self._uart(order, effect)
        except Withdrawn:
            return before
        except VendorError as error:
            raise _left_open(error, "answered with another data point, the second time not at all") from error

    async def _uart(self, order: Order, effect: Effect) -> Told:
        request = request_of(order.spec.name, order.params, _serial_of(order), {})
        return await self._link.send(request, Lane.COMMAND, effect)

    def _state(self, serial: str, told: Told) -> list[Observation]:
        seen = codec.reading(serial, told.info, told.received_at, Origin.COMMAND, self._policy)
        return [*seen, _alive(serial, told)]


def _left_open(error: VendorError, what: str) -> LostAnswer:
    """An error after which nobody knows the outcome, blamed on the account only where it is the account's."""
    kind = DeviceSilent if isinstance(error, DeviceSilent | DeviceOffline | Refused) else LostAnswer
    return kind(f"{what}: {error.message}", operation=error.operation, native_code=error.native_code)


def _serial_of(order: Order) -> str:
    return order.device.native_id if order.device is not None else str(order.params.device_sn).upper()


def _alive(serial: str, told: Told) -> Observation:
    return codec.alive(serial, told.received_at, Origin.COMMAND)


def _new_state(order: Order, received_at: datetime) -> list[Observation]:
    """What a plain yes of the device says about its state."""
    serial = _serial_of(order)
    if order.spec.name == "breaker":
        return [codec.switched(serial, order.params.state == "on", received_at)]
    if order.spec.name in ("pulse_on", "pulse_off"):
        return [codec.switched(serial, order.spec.name == "pulse_on", received_at)]
    if order.spec.name == "retain_state":
        return [Reading(serial, received_at, Origin.COMMAND, {"retain_state": order.params.enabled})]
    return []


def _shows(order: Order, info: Mapping[str, Json]) -> bool:
    if order.spec.name == "breaker":
        return bool(codec.metrics_of(info).get("switch_state") == order.params.state)
    if order.spec.name == "retain_state":
        return flag(info.get("retainstate")) is order.params.enabled
    present = codec.protection_of(info)
    return all(present.get(name) == value for name, value in order.params.given().items())


def _compared(
    wanted: Mapping[str, Value], present: Mapping[str, Value], seen: Sequence[Observation]
) -> Outcome:
    differing = [name for name, value in wanted.items() if present.get(name) != value]
    if not differing:
        return Outcome(Status.SUCCEEDED, vendor_code=0, result=dict(present), observations=seen)
    told = ", ".join(
        f"{name} {present.get(name, 'not told')} instead of {wanted[name]}" for name in differing
    )
    return Outcome(
        Status.FAILED,
        code="values_differ",
        message=f"the device has other values: {told}",
        vendor_code=0,
        result=dict(present),
        observations=seen,
    )


def _answer_frames(told: Told) -> tuple[Frame, ...]:
    """The frames of `hex_ack`; none where it cannot be read."""
    text = told.info.get("hex_ack")
    try:
        return frames.decode(text) if isinstance(text, str) else ()
    except frames.FrameError:
        return ()


def _match(request: Frame, told: Told) -> frames.Match:
    return frames.compare(request, _answer_frames(told))


def _raw_result(told: Told) -> dict[str, Json]:
    return {"hex_ack": told.info.get("hex_ack"), "data_points": describe_points(_answer_frames(told))}


def _free_frame_outcome(serial: str, told: Told) -> Outcome:
    """The end of a frame that sets no alarms: both codes were 0, the answer frame is only told."""
    state = codec.alarm_metrics(_answer_frames(told)).get("switch_state")
    seen = [] if state is None else [codec.switched(serial, state == "on", told.received_at)]
    return Outcome(Status.SUCCEEDED, vendor_code=0, result=_raw_result(told), observations=seen)


def _frame_outcome(serial: str, request: Frame, told: Told) -> Outcome:
    """The end of a frame that sets alarms, by its answer frame (section 7)."""
    answer = _answer_frames(told)
    match = frames.compare(request, answer)
    if match is frames.Match.OTHER:
        return Outcome(
            Status.INDETERMINATE,
            code="no_answer",
            message="the device said yes, but its answer frame is about something else",
            vendor_code=0,
            result=_raw_result(told),
        )
    ours = {name for point in request.points if point.sets_alarms for name in GROUPS[point.id]}
    present = {name: value for name, value in frames.alarm_settings(answer).items() if name in ours}
    result = {**present, **_raw_result(told)}
    seen: list[Observation] = [
        Reading(serial, told.received_at, Origin.COMMAND, codec.alarm_metrics(answer)),
    ]
    if match is frames.Match.DIFFERENT:
        return Outcome(
            Status.FAILED,
            code="values_differ",
            message="the values differ: the device took others than those asked for",
            vendor_code=0,
            result=result,
            observations=seen,
        )
    names = frames.disabled(request)
    if names:
        event = Event(serial, "protection_disabled", told.received_at, Origin.COMMAND, data={"names": names})
        seen.append(event)
    return Outcome(Status.SUCCEEDED, vendor_code=0, result=result, observations=seen)
