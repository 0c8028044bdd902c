"""What the platform already knows of a meter: its latest reading (page iotmeter 4.2)."""

from __future__ import annotations

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.errors import LostAnswer, VendorError
from bridge.domain.observation import Availability, Origin, Reading
from bridge.pace.limits import Lane
from bridge.vendors.iotmeter.api import DataApi
from bridge.vendors.iotmeter.codec import Codec
from bridge.vendors.iotmeter.commands import device_of


class Reader:
    """`read`, and the reading that proves a command."""

    def __init__(self, data: DataApi, codec: Codec) -> None:
        self._data = data
        self._codec = codec

    async def read(self, order: Order) -> Outcome:
        """The platform's latest reading; the meter itself cannot be asked."""
        device = device_of(order)
        record, at = await self._data.latest(device.native_id, Lane.READ, tries=1)
        if record is None:
            # the platform does not know it: an answer, not a fault (V10)
            return Outcome(
                Status.FAILED,
                code="unknown_device",
                message="the platform knows no reading of this device",
                observations=[Availability(device.native_id, False, at, Origin.COMMAND, said=False)],
            )
        try:
            seen = self._codec.seen(record, at, Origin.COMMAND, device.kind)
        except ValueError as error:
            raise LostAnswer(
                f"the reading cannot be used: {error}", operation="MeterData/GetRealModel"
            ) from None
        return Outcome(Status.SUCCEEDED, observations=seen)

    async def proof(self, order: Order) -> list[Reading]:
        """The platform's latest reading if the meter took it after the command left; nothing if that is not so, or
        cannot be told."""
        try:
            record, at = await self._data.latest(device_of(order).native_id, Lane.COMMAND, tries=1)
            reading = self._codec.reading(record, at, Origin.COMMAND) if record is not None else None
        except (VendorError, ValueError):
            return []
        if reading is None or reading.observed_at is None or order.dispatched_at is None:
            return []
        return [reading] if order.dispatched_at < reading.observed_at <= at else []
