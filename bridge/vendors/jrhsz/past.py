"""What the platform stores of a meter (page jrhsz 4.4, 4.5, 4.7, 4.8), one page per step.

Invariant: a window of at most 31 days is complete when all end points have told all their pages of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bridge.domain.command import Order
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import Refused
from bridge.domain.history import HistoryStep, Period, Reach
from bridge.domain.observation import Observation, Origin
from bridge.domain.text import Json
from bridge.domain.times import from_unix_ms, unix_ms
from bridge.pace.limits import Lane
from bridge.ports import Clock
from bridge.vendorkit.period import period_of
from bridge.vendors.jrhsz.api import PAGES_MAX, JrhszApi, Told, no_right
from bridge.vendors.jrhsz.catalogue import TIME_OF_USE
from bridge.vendors.jrhsz.codec import Codec, table_no_of, type_code_of
from bridge.vendors.jrhsz.commands import HISTORY_CHUNK
from bridge.vendors.jrhsz.sources import CAMERA, CONSUMED, STORED, Source, slices
from bridge.vendors.jrhsz.sources import TIME_OF_USE as HOURLY
from bridge.vendors.jrhsz.wire import PAGE_SIZE, Query, Row


@dataclass(frozen=True, slots=True)
class _Place:
    """The next call: `page` of the `source` in the window that begins at `since`. `done` calls were made before.
    `barred`: the sources to which the account has no right."""

    since: datetime
    source: int = 0
    page: int = 1
    done: int = 0
    barred: frozenset[str] = frozenset()

    def as_json(self) -> Json:
        """For the cursor."""
        return {
            "since_ms": unix_ms(self.since),
            "source": self.source,
            "page": self.page,
            "done": self.done,
            "barred": sorted(self.barred),
        }


@dataclass(frozen=True, slots=True)
class Past:
    """What the platform keeps of one account's meters. Implements `ports.History`."""

    api: JrhszApi
    codec: Codec
    clock: Clock

    def reach(self, device: Device) -> Reach:
        """No bound is stated. Every end point has its own limit; they take turns."""
        sources = sources_of(device)
        return Reach(
            None,
            lambda period: len(sources) * _windows(sources, period.start, period.end),
            {source.query.endpoint: 1.0 / len(sources) for source in sources},
        )

    def period(self, order: Order) -> Period:
        """As the port says."""
        zone = self.codec.zone
        start, end = order.params.moments(zone)
        return period_of(start, end, self.clock.now())

    def first(self, device: Device, period: Period) -> Query:
        """The first request."""
        query = CONSUMED.query.given(tableNo=device.native_id)
        since, until = next(slices(period.start, period.end, _longest(sources_of(device))))
        return self.api.first_page(query, since, until)

    async def read(self, device: Device, period: Period, cursor: Json) -> AsyncIterator[HistoryStep]:
        """As the port says."""
        sources = sources_of(device)
        place = _place(period, cursor)
        before: Sequence[Row] | None = None
        while place.since < period.end:
            until = min(period.end, place.since + _longest(sources))
            source = sources[place.source]
            told = await self._page(source, device, place, until)
            rows: Sequence[Observation] = ()
            if told is None:
                place, ended = replace(place, barred=place.barred | {source.key}), True
            else:
                seen = () if told.rows == before else self._seen(source, device, told, place.since, until)
                rows = [one for one in seen if (at := _time_of(one)) is not None and at < period.end]
                ended = told.entries != PAGE_SIZE or told.rows == before or place.page >= PAGES_MAX
                before = None if ended else told.rows
                place = replace(place, page=place.page + 1, done=place.done + 1)
            if ended:
                place = replace(place, source=place.source + 1, page=1)
            complete = place.source == len(sources)
            if complete:
                place = replace(place, since=until, source=0)
            left = len(sources) * _windows(sources, place.since, period.end) - place.source
            yield HistoryStep(
                rows, place.as_json(), until if complete else None, place.done, place.done + left
            )

    async def _page(self, source: Source, device: Device, place: _Place, until: datetime) -> Told | None:
        """One page; None where the account has no right to what not every meter has: the readings themselves are there
        all the same."""
        if source.key in place.barred:
            return None
        query = source.query.given(tableNo=device.native_id)
        try:
            since, until = place.since - source.around, until + source.around
            return await self.api.page(query, since, until, place.page, Lane.HISTORY)
        except Refused as error:
            if source not in (CAMERA, HOURLY) or not no_right(error):
                raise
            self.api.kit.log.warning(
                "jrhsz.history_without",
                extra={
                    "account": device.account,
                    "device": device.native_id,
                    "endpoint": source.query.endpoint,
                    "reason": error.message,
                },
            )
            return None

    def _seen(
        self, source: Source, device: Device, told: Told, since: datetime, until: datetime
    ) -> Sequence[Observation]:
        return [
            one
            for row in told.rows
            if table_no_of(row) == device.native_id
            for one in source.decode(self.codec, row, device.kind, told.received_at, Origin.BACKFILL)
            if (at := _time_of(one)) is not None and since <= at <= until
        ]


def sources_of(device: Device) -> list[Source]:
    """Where the past of this meter is stored. Which water meters have a camera only 4.8 tells."""
    chosen = [CONSUMED, STORED]
    if type_code_of(device.vendor_info) in TIME_OF_USE:
        chosen.append(HOURLY)
    if device.kind is not DeviceKind.ELECTRICITY_METER:
        chosen.append(CAMERA)
    return chosen


def _longest(sources: Sequence[Source]) -> timedelta:
    """The longest window of which all sources can be asked in one go."""
    return HISTORY_CHUNK - 2 * max(source.around for source in sources)


def _windows(sources: Sequence[Source], start: datetime, end: datetime) -> int:
    return sum(1 for _ in slices(start, end, _longest(sources)))


def _place(period: Period, cursor: Json) -> _Place:
    if not cursor:
        return _Place(period.start)
    kept: dict[str, Any] = cursor
    since = from_unix_ms(int(kept["since_ms"]))
    barred = kept["barred"]
    if isinstance(barred, bool):  # of an older version, which knew no other one
        barred = [CAMERA.key] if barred else []
    return _Place(since, int(kept["source"]), int(kept["page"]), int(kept["done"]), frozenset(barred))


def _time_of(one: Observation) -> datetime | None:
    return getattr(one, "observed_at", None) or getattr(one, "happened_at", None)
