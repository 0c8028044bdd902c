"""What the platform stores, end point by end point (page jrhsz 4.4, 4.5, 4.7, 4.8): how to ask, how far back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.device import DeviceKind
from bridge.domain.observation import Observation, Origin
from bridge.vendors.jrhsz.codec import Codec
from bridge.vendors.jrhsz.wire import Query, Row

OVERLAP = timedelta(hours=2)
"""Each window begins so long before the last one ended (9): records may arrive late."""

FIRST = timedelta(hours=24)
LONGEST = timedelta(days=31)
SLICE = timedelta(hours=48)
SHORTEST_SLICE = timedelta(hours=6)
ROWS_AT_ONCE = 5000
"""About so many hourly rows are held in memory at once, to be sorted by time: of many meters only a few hours."""

Decoder = Callable[[Codec, Row, DeviceKind, datetime, Origin], Sequence[Observation]]


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of stored records. `key` names its poll task; `span` is read again every time. `around`: a row has two
    times that lie at most so far apart, and which of them the platform goes by is not stated."""

    key: str
    query: Query
    decode: Decoder
    span: timedelta = OVERLAP
    first_in_s: float = 3.0
    around: timedelta = timedelta(0)

    def begin(self, now: datetime, complete_until: datetime | None) -> datetime:
        """Where the next window begins; `complete_until` is the end of the last one."""
        since = now - FIRST if complete_until is None else complete_until - OVERLAP
        return max(now - LONGEST, min(since, now - self.span))


STORED = Source("stored", Query("readMeterList"), Codec.stored, first_in_s=30.0)
"""Last, because it only fills gaps."""

CONSUMED = Source("consumption", Query("readMeterDataList", {"type": "1"}), Codec.consumed)
TIME_OF_USE = Source(
    "time_of_use",
    Query("peaksValleysRead"),
    Codec.time_of_use,
    timedelta(hours=48),
    first_in_s=15.0,
    around=timedelta(days=1),
)
CAMERA = Source("camera", Query("cameraRead"), Codec.camera, timedelta(hours=48), first_in_s=15.0)


def sources(daily_type: str | None) -> Mapping[str, Source]:
    """By key; with the daily data set where the account knows its code (Q16)."""
    all_sources = [STORED, CONSUMED, TIME_OF_USE, CAMERA]
    if daily_type is not None:
        daily = Query("readMeterDataList", {"type": daily_type})
        all_sources.append(Source("daily", daily, Codec.consumed, timedelta(hours=48)))
    return {source.key: source for source in all_sources}


def slice_of(meters: int, *, whole_days: bool) -> timedelta:
    """How long a stretch of all meters is held in memory at once. `whole_days`: shorter ones cannot be asked for."""
    shortest = timedelta(days=1) if whole_days else SHORTEST_SLICE
    return max(shortest, min(SLICE, timedelta(hours=ROWS_AT_ONCE // max(1, meters))))


def slices(begin: datetime, end: datetime, length: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """The stretch in parts of at most `length`, in order."""
    while begin < end:
        until = min(end, begin + length)
        yield begin, until
        begin = until
