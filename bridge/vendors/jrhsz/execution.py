"""Carrying out commands (page jrhsz, section 7): an instruction is accepted, and the meter shows later what it did.

Invariant: nothing is sent to a meter before `effect.leaving()`.
"""

from __future__ import annotations

from datetime import datetime

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import LostAnswer
from bridge.domain.observation import Observation, Origin, Reading, Words
from bridge.pace.limits import Lane
from bridge.ports import Effect
from bridge.vendors.jrhsz.api import JrhszApi
from bridge.vendors.jrhsz.codec import Codec, gate_of, table_no_of
from bridge.vendors.jrhsz.commands import instruction, wanted
from bridge.vendors.jrhsz.notes import Wakes
from bridge.vendors.jrhsz.roll import Roll
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
        walk = await self._roll.insist()
        devices = self._roll.describe(walk)
        seen = [one for meter in walk.meters.values() for one in self._roll.tell(meter)]
        return Outcome(
            Status.SUCCEEDED, result={"devices": len(devices)}, observations=seen, inventory=devices
        )
