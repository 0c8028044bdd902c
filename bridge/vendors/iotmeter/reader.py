"""What the platform already knows of a meter: its latest reading and its past (page iotmeter 4.2 and 4.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, tzinfo

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.errors import LostAnswer, VendorError
from bridge.domain.observation import Availability, Origin, Reading
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.vendors.iotmeter.api import DataApi
from bridge.vendors.iotmeter.codec import Codec
from bridge.vendors.iotmeter.commands import device_of
from bridge.vendors.iotmeter.params import moment_at
from bridge.vendors.iotmeter.wire import Record, month_windows

HISTORY = "MeterData/GetHistoryList2"


class Reader:
    """`read`, `history`, and the reading that proves a command."""

    def __init__(self, data: DataApi, codec: Codec, zone: tzinfo) -> None:
        self._data = data
        self._codec = codec
        self._zone = zone

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

    async def history(self, order: Order) -> Outcome:
        """All readings of a stretch of time, real-time and frozen."""
        start = moment_at(order.params.start, self._zone)
        end = moment_at(order.params.end, self._zone)
        readings = [one async for one in self._past(device_of(order).native_id, start, end)]
        return Outcome(Status.SUCCEEDED, result={"records": len(readings)}, observations=readings)

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

    async def _past(self, meter: str, start: datetime, end: datetime) -> AsyncIterator[Reading]:
        """The readings from `start` until before `end`."""
        for conditions in history_bodies(meter, month_windows(start, end, self._zone)):
            async for page in self._data.pages(HISTORY, conditions, Lane.HISTORY):
                for record in page.records:
                    reading = self._past_reading(record, page.received_at)
                    at = reading.observed_at if reading is not None and reading.device == meter else None
                    if reading is not None and at is not None and start <= at < end:
                        yield reading

    def _past_reading(self, record: Record, received_at: datetime) -> Reading | None:
        try:
            return self._codec.reading(record, received_at, Origin.BACKFILL)
        except ValueError:
            return None


def history_bodies(meter: str, windows: list[dict[str, int]]) -> list[dict[str, Json]]:
    """The conditions of 4.4: one call per month and kind of data, every field sent."""
    return [
        {"meter_comm_no": meter, "data_type": data_type, **window}
        for window in windows
        for data_type in (0, 1)
    ]
