"""Carrying out commands (page jrhsz, section 7): an instruction is accepted, and the meter shows later what it did.

Invariant: nothing is sent to a meter before `effect.leaving()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import LostAnswer, Refused, Rejection, VendorError
from bridge.domain.observation import Observation, Origin, Reading, Words
from bridge.pace.limits import Lane
from bridge.ports import Effect
from bridge.vendors.jrhsz.api import JrhszApi, no_right
from bridge.vendors.jrhsz.catalogue import TIME_OF_USE
from bridge.vendors.jrhsz.codec import Codec, gate_of, table_no_of, type_code_of
from bridge.vendors.jrhsz.commands import HISTORY_CHUNK, instruction, wanted
from bridge.vendors.jrhsz.notes import Wakes
from bridge.vendors.jrhsz.params import moment
from bridge.vendors.jrhsz.roll import Roll
from bridge.vendors.jrhsz.sources import CAMERA, CONSUMED, STORED, Source, slices
from bridge.vendors.jrhsz.sources import TIME_OF_USE as HOURLY
from bridge.vendors.jrhsz.wire import Query, Row

READ_BACK = Query("readMeter")


class Execution:
    """The commands of one account."""

    def __init__(self, api: JrhszApi, codec: Codec, roll: Roll, wakes: Wakes) -> None:
        self._api = api
        self._codec = codec
        self._roll = roll
        self._wakes = wakes

    async def run(self, order: Order, effect: Effect) -> Outcome:
        """As `VendorAdapter.execute`."""
        if order.spec.name == "refresh_inventory":
            return await self._refresh()
        if order.spec.name == "history":
            return await self._history(order)
        return await self._instruct(order, effect)

    async def probe(self, order: Order) -> Outcome | None:
        """As `VendorAdapter.probe`: the latest reading of this one meter (4.3)."""
        if order.device is None or order.spec.name not in ("breaker", "valve", "read"):
            return None
        device = order.device
        query = READ_BACK.given(tableNo=device.native_id)
        told = await self._api.ask(query.page(1), Lane.READ)
        row = next((row for row in told.rows if table_no_of(row) == device.native_id), None)
        if row is None or not self._proves(order, device, row):
            return None
        return Outcome(
            Status.SUCCEEDED,
            observations=self._read_back(device, row, told.received_at, switched=order.spec.name != "read"),
        )

    def _proves(self, order: Order, device: Device, row: Row) -> bool:
        if order.spec.name == "read":
            read_at, asked_at = self._codec.instant(row.get("readTime")), order.dispatched_at
            # the platform's times have no fractions of seconds
            return read_at is not None and asked_at is not None and read_at >= asked_at.replace(microsecond=0)
        metric, value = wanted(order)
        return gate_of(row, device.kind)[0].get(metric) == value

    def _read_back(
        self, device: Device, row: Row, received_at: datetime, *, switched: bool
    ) -> list[Observation]:
        """The record of the reading with its gate. The gate moved after that reading, perhaps: as a word it is
        that of now, and comes first so that the event has the time of now."""
        seen = self._codec.latest(row, device.kind, received_at, Origin.COMMAND)
        gate, _ = gate_of(row, device.kind)
        if not switched or not any(isinstance(one, Reading) for one in seen):
            return seen
        return [Words(device.native_id, received_at, Origin.COMMAND, gate), *seen]

    async def _instruct(self, order: Order, effect: Effect) -> Outcome:
        query = instruction(order)
        device = order.device
        wakes = order.spec.name == "read" and device is not None and device.kind is DeviceKind.WATER_METER
        if device is not None and wakes:
            await self._wakes.load()
            self._wakes.verify(device.native_id)
        try:
            told = await self._api.ask(query, Lane.COMMAND, effect)
        except LostAnswer:
            if device is not None and wakes:
                await self._wakes.note(device.native_id)
            raise
        if device is not None and wakes:
            await self._wakes.note(device.native_id)
        return Outcome(Status.SENT, vendor_code=told.code)

    async def _refresh(self) -> Outcome:
        walk = await self._roll.read()
        seen = [one for meter in walk.meters.values() for one in self._roll.tell(meter)]
        return Outcome(Status.SUCCEEDED, result={"devices": len(walk.meters)}, observations=seen)

    async def _history(self, order: Order) -> Outcome:
        if order.device is None:
            raise Rejection("unknown_device", "history is a command of a meter")
        zone = self._codec.zone
        begin, end = moment(order.params.start, zone), moment(order.params.end, zone)
        found: dict[tuple[object, ...], Observation] = {}
        for source in _sources_of(order.device):
            try:
                for since, until in slices(begin, end, HISTORY_CHUNK):
                    await self._gather(found, source, order.device, since, until)
            except Refused as error:
                _forgive_camera(source, error)
        seen = sorted(_distinct(found), key=_time_of)
        records = sum(isinstance(one, Reading) for one in seen)
        return Outcome(Status.SUCCEEDED, result={"records": records}, observations=seen)

    async def _gather(
        self,
        found: dict[tuple[object, ...], Observation],
        source: Source,
        device: Device,
        begin: datetime,
        end: datetime,
    ) -> None:
        query = source.query.given(tableNo=device.native_id)
        told = await self._api.records(query, begin, end, Lane.HISTORY)
        for row in told.rows:
            if table_no_of(row) != device.native_id:
                continue
            for one in source.decode(self._codec, row, device.kind, told.received_at, Origin.BACKFILL):
                found.setdefault((source.key, *_identity(one)), one)


def _sources_of(device: Device) -> list[Source]:
    """Where the past of this meter is stored. Which water meters have a camera only 4.8 tells."""
    chosen = [CONSUMED, STORED]
    if type_code_of(device.vendor_info) in TIME_OF_USE:
        chosen.append(HOURLY)
    if device.kind is not DeviceKind.ELECTRICITY_METER:
        chosen.append(CAMERA)
    return chosen


def _forgive_camera(source: Source, error: VendorError) -> None:
    """An account without the right to 4.8 has no camera meters."""
    if source is not CAMERA or not no_right(error):
        raise error


def _identity(one: Observation) -> tuple[object, ...]:
    if isinstance(one, Reading):
        return (one.observed_at, tuple(sorted(one.metrics.items(), key=str)))
    return (type(one).__name__, _time_of(one))


def _distinct(found: Mapping[tuple[object, ...], Observation]) -> list[Observation]:
    """Without the readings of 4.4 that 4.5 has, too, together with their consumption."""
    consumed = {
        one.observed_at for key, one in found.items() if key[0] == CONSUMED.key and isinstance(one, Reading)
    }
    return [
        one
        for key, one in found.items()
        if not (key[0] == STORED.key and isinstance(one, Reading) and one.observed_at in consumed)
    ]


def _time_of(one: Observation) -> datetime:
    at = getattr(one, "observed_at", None) or getattr(one, "happened_at", None)
    received: datetime = one.received_at  # type: ignore[union-attr] # readings and events only
    return at or received
