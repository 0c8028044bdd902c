"""What the platform keeps of a meter (page iotmeter 4.4): per calendar month real-time and frozen readings, a page
per step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from bridge.domain.command import Order
from bridge.domain.device import Device
from bridge.domain.errors import BadReply, Rejection
from bridge.domain.history import HistoryStep, Period, Reach
from bridge.domain.observation import Origin, Reading
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.ports import Clock
from bridge.vendorkit.http import Call
from bridge.vendorkit.period import period_of
from bridge.vendors.iotmeter.api import MOST_PAGES, DataApi, Page
from bridge.vendors.iotmeter.codec import Codec
from bridge.vendors.iotmeter.faults import Missing
from bridge.vendors.iotmeter.params import moment_at
from bridge.vendors.iotmeter.wire import month_windows

HISTORY = "MeterData/GetHistoryList2"
REAL_TIME, FROZEN = 0, 1
"""The kinds of data, in the order of asking."""

Window = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Place:
    """The next call: the page that begins at `row`, of one kind of data of one month. `done` calls were made before."""

    year: int
    month: int
    data_type: int = REAL_TIME
    row: int = 0
    page: int = 1
    done: int = 0

    def as_json(self) -> Json:
        """For the cursor."""
        return {name: getattr(self, name) for name in self.__slots__}

    def reaches(self, window: Window) -> bool:
        """Whether this window is still to be read."""
        return (window["year"], window["month"]) >= (self.year, self.month)


@dataclass(frozen=True, slots=True)
class Past:
    """What the platform keeps of one account's meters. Implements `ports.History`."""

    data: DataApi
    codec: Codec
    zone: tzinfo
    clock: Clock

    def reach(self, device: Device) -> Reach:
        """No bound is documented."""
        return Reach(None, lambda period: 2 * len(self._windows(period)), {"data": 1.0})

    def period(self, order: Order) -> Period:
        """As the port says."""
        try:
            start, end = (moment_at(text, self.zone) for text in (order.params.start, order.params.end))
        except ValueError as error:
            raise Rejection("invalid_params", str(error)) from None
        return period_of(start, end, self.clock.now())

    def first(self, device: Device, period: Period) -> Call:
        """The first request as people may see it."""
        conditions = _conditions(device, REAL_TIME, self._windows(period)[0])
        return self.data.list_call(HISTORY, conditions, 0, Lane.HISTORY, masked=True)

    async def read(self, device: Device, period: Period, cursor: Json) -> AsyncIterator[HistoryStep]:
        """As the port says."""
        place = _place(cursor)
        windows = [one for one in self._windows(period) if place is None or place.reaches(one)]
        while windows:
            window = windows[0]
            place = place or _Place(window["year"], window["month"])
            page = await self._page(device, window, place)
            ended = page is None or not page.records
            if page is not None and not ended:
                place = replace(place, row=place.row + len(page.records), page=place.page + 1)
                ended = page.total is not None and place.row >= page.total
            place = replace(place, done=place.done + 1)
            complete: datetime | None = None
            if ended and place.data_type == REAL_TIME:
                place = replace(place, data_type=FROZEN, row=0, page=1)
            elif ended:
                windows = windows[1:]
                place = _begin(windows, place)
                complete = self._start(windows[0]) if windows else period.end
            left = 2 * len(windows) - place.data_type if windows else 0
            seen = self._seen(device, period, page) if page is not None else []
            yield HistoryStep(seen, place.as_json(), complete, place.done, place.done + left)

    async def _page(self, device: Device, window: Window, place: _Place) -> Page | None:
        """One page; None where the platform finds nothing and calls that a failure."""
        if place.page > MOST_PAGES:
            raise BadReply("the list has no end", operation=HISTORY)
        conditions = _conditions(device, place.data_type, window)
        try:
            return await self.data.page(HISTORY, conditions, place.row, Lane.HISTORY)
        except Missing:
            return None

    def _seen(self, device: Device, period: Period, page: Page) -> Sequence[Reading]:
        seen = []
        for record in page.records:
            try:
                reading = self.codec.reading(record, page.received_at, Origin.BACKFILL)
            except ValueError:
                continue  # a record that cannot be used
            at = reading.observed_at if reading.device == device.native_id else None
            if at is not None and period.start <= at < period.end:
                seen.append(reading)
        return seen

    def _windows(self, period: Period) -> list[dict[str, int]]:
        return month_windows(period.start, period.end, self.zone)

    def _start(self, window: Window) -> datetime:
        start = datetime(
            window["year"], window["month"], window["start_day"], window["start_hour"],
            window["start_minute"], tzinfo=self.zone,
        )  # fmt: skip
        # a minute earlier: whether the end minute of the window before counts is not known
        return start.astimezone(UTC) - timedelta(minutes=1)


def _conditions(device: Device, data_type: int, window: Window) -> dict[str, Json]:
    """Every field of 4.4 is sent: which ones are required is not stated."""
    return {"meter_comm_no": device.native_id, "data_type": data_type, **window}


def _begin(windows: Sequence[Window], place: _Place) -> _Place:
    """The first call of the next window; behind the last one where there is none left."""
    if windows:
        return _Place(windows[0]["year"], windows[0]["month"], done=place.done)
    return _Place(place.year + 1, place.month, done=place.done)


def _place(cursor: Json) -> _Place | None:
    kept: dict[str, Any] = cursor or {}
    return _Place(**{name: int(value) for name, value in kept.items()}) if kept else None
