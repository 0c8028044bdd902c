"""Alarms and events of inverters, and how far they have been read (page saj 7.4). Pure: no I/O, no clock.

The list has no date filter and no documented order. So a first reading takes all pages and finds the order out;
later ones begin at the newest end and stop where only known, settled alarms follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from bridge.domain.observation import AlarmMessage, Event, Origin
from bridge.domain.text import Json, word_of
from bridge.domain.times import from_unix
from bridge.vendors.saj.wire import MAX_PAGES, Row, fields, instant, text, whole

_KEPT = 5000
_HANDLED = 1


class Order(StrEnum):
    """The order of a list by start time."""

    NEWEST_FIRST = "newest_first"
    OLDEST_FIRST = "oldest_first"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One record of 4.13 or 4.26. `started_at` is None where the vendor sent no time that can be read."""

    vendor_code: str
    message: str
    started_at: datetime | None
    ended_at: datetime | None
    cleared: bool
    row: Row = field(repr=False)

    @property
    def code(self) -> str:
        """The gateway's code: there is no catalogue, so every one is `vendor_<code>`."""
        return f"vendor_{word_of(self.vendor_code) or 'unknown'}"

    @property
    def key(self) -> str:
        """What identifies it over polls, beside the inverter."""
        start = "" if self.started_at is None else str(int(self.started_at.timestamp()))
        return f"{start}|{self.vendor_code}"


def occurrences_of(found: Sequence[Row], zone: tzinfo, *, equal_is_cleared: bool) -> list[Occurrence]:
    """The records of a page. `equal_is_cleared`: what an end that equals the start means (7.4)."""
    return [_occurrence(fields(row), row, zone, equal_is_cleared=equal_is_cleared) for row in found]


def _occurrence(known: Mapping[str, Json], row: Row, zone: tzinfo, *, equal_is_cleared: bool) -> Occurrence:
    started_at, ended_at = instant(known.get("start_time"), zone), instant(known.get("end_time"), zone)
    handled = whole(known.get("status")) == _HANDLED
    if started_at is None or ended_at is None or ended_at < started_at:
        over = False
    else:
        over = ended_at > started_at or equal_is_cleared
    return Occurrence(
        vendor_code=text(known.get("alarm_code")) or "",
        message=text(known.get("alarm_message")) or "",
        started_at=started_at,
        ended_at=ended_at if over or (handled and ended_at == started_at) else None,
        cleared=handled or over,
        row=row,
    )


def as_alarm(
    one: Occurrence, device: str, started_at: datetime, received_at: datetime, *, standing: bool = False
) -> AlarmMessage:
    """The alarm as the flow takes it. `standing`: it was told before, and is not over."""
    return AlarmMessage(
        device,
        one.code,
        one.vendor_code,
        received_at,
        Origin.POLL,
        started_at=started_at,
        ended_at=one.ended_at,
        cleared=one.cleared,
        standing=standing,
        message=one.message,
        data=dict(one.row),
    )


def as_event(one: Occurrence, device: str, started_at: datetime, received_at: datetime) -> Event:
    """The event as the flow takes it."""
    return Event(
        device,
        one.code,
        received_at,
        Origin.POLL,
        happened_at=started_at,
        vendor_code=one.vendor_code,
        message=one.message,
        data=dict(one.row),
    )


def order_of(found: Sequence[Occurrence]) -> Order:
    """The order that the start times of a whole list show."""
    starts = [one.started_at for one in found if one.started_at is not None]
    pairs = list(pairwise(starts))
    if starts and starts[0] != starts[-1]:
        if all(one >= other for one, other in pairs):
            return Order.NEWEST_FIRST
        if all(one <= other for one, other in pairs):
            return Order.OLDEST_FIRST
    return Order.UNKNOWN


@dataclass(slots=True)
class Position:
    """How far an inverter's list has been read. `known`: key → start (Unix seconds), and whether it was cleared.
    `order` is UNKNOWN until a whole list showed one; `count` the length of the list then."""

    order: Order = Order.UNKNOWN
    count: int = 0
    known: dict[str, tuple[int, bool]] = field(default_factory=dict)

    def news(self, page: Sequence[Occurrence], received_at: datetime) -> list[tuple[Occurrence, datetime]]:
        """What of a page is new, or was cleared since it was noted, with its start; notes it."""
        found = []
        for one in page:
            before = self.known.get(one.key)
            if before is not None and (before[1] or not one.cleared):
                continue
            start = one.started_at or (from_unix(before[0]) if before else received_at)
            self.known[one.key] = (int(start.timestamp()), one.cleared)
            found.append((one, start))
        return found

    def standing(self, page: Sequence[Occurrence]) -> list[tuple[Occurrence, datetime]]:
        """What of a page was told before and is still not over, with its start."""
        open_ones = [(one, self.known.get(one.key)) for one in page if not one.cleared]
        return [
            (one, one.started_at or from_unix(before[0]))
            for one, before in open_ones
            if before is not None and not before[1]
        ]

    def is_settled(self, one: Occurrence, since: datetime) -> bool:
        """Whether nothing more is to be told of it: it is known, and cleared or older than `since`."""
        before = self.known.get(one.key)
        return before is not None and (before[1] or before[0] < since.timestamp())

    def open_since(self, since: datetime) -> set[str]:
        """The keys of those that are neither cleared nor older."""
        return {
            key for key, (start, cleared) in self.known.items() if not cleared and start >= since.timestamp()
        }

    def pruned(self) -> Position:
        """Without the oldest, where there are very many."""
        newest = sorted(self.known.items(), key=lambda item: item[1][0], reverse=True)[:_KEPT]
        return Position(self.order, self.count, dict(newest))

    def as_json(self) -> Json:
        """For the vault."""
        known = {key: [start, cleared] for key, (start, cleared) in self.known.items()}
        return {"order": str(self.order), "count": self.count, "known": known}


def position_from(kept: Json) -> Position:
    """The inverse of `Position.as_json`; what cannot be read is read again from the vendor."""
    if not isinstance(kept, dict):
        return Position()
    order = kept.get("order")
    known = {
        key: (int(entry[0]), bool(entry[1]))
        for key, entry in fields_of(kept.get("known"))
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], int | Decimal)
    }
    return Position(
        Order(order) if order in list(Order) else Order.UNKNOWN, whole(kept.get("count")) or 0, known
    )


def fields_of(value: Json) -> Iterator[tuple[str, Json]]:
    """The members of an object, none of anything else."""
    yield from value.items() if isinstance(value, dict) else ()


@dataclass(slots=True)
class Scan:
    """Which pages are to be read: ask `next_page`, make the request, tell the page with `take`, again until None.

    `settled_before` is the time before which an alarm is past telling. A list that grew by more than what the pages
    showed is read on: its order is not what it was taken for.
    """

    position: Position
    settled_before: datetime
    per_page: int
    _page: int = 1
    _over: bool = False
    _whole: bool = False
    _seen: dict[int, Sequence[Occurrence]] = field(default_factory=dict)
    _missing: set[str] = field(default_factory=set)
    _keys: list[str] = field(default_factory=list)
    _fresh: int = 0
    _count_before: int = 0

    def __post_init__(self) -> None:
        self._missing = self.position.open_since(self.settled_before)
        self._count_before = self.position.count
        if self.position.order is Order.OLDEST_FIRST:
            self._page = max(1, -(-self.position.count // self.per_page))

    def next_page(self) -> int | None:
        """The page to read now, None at the end."""
        return None if self._over else self._page

    def take(
        self, page: Sequence[Occurrence], count: int | None, received_at: datetime
    ) -> list[tuple[Occurrence, datetime]]:
        """What a page tells anew, each with its start."""
        keys = [one.key for one in page]
        repeats = bool(keys) and keys == self._keys
        self._keys = keys
        self._missing -= set(keys)
        self._seen[self._page] = page
        self._fresh += sum(key not in self.position.known for key in keys)
        quiet = all(self.position.is_settled(one, self.settled_before) for one in page)
        found = self.position.news(page, received_at)
        self.position.count = count if count is not None else self.position.count
        if repeats or len(self._seen) >= MAX_PAGES:
            self._over = True
        elif self.position.order is Order.OLDEST_FIRST:
            self._step_back(len(page), count, enough=quiet and self._is_complete())
        else:
            self._step_on(len(page), count, enough=quiet and self._is_complete())
        return found

    def finished(self) -> Position:
        """The position to keep. A scan of the whole list learns its order, and forgets what is gone from it."""
        if self._whole:
            self.position.order = order_of(
                [one for number in sorted(self._seen) for one in self._seen[number]]
            )
            for key in self._missing:
                self.position.known.pop(key, None)
        return self.position.pruned()

    def _is_complete(self) -> bool:
        """Whether the pages so far showed all that is open and all by which the list grew."""
        return not self._missing and self._fresh >= self.position.count - self._count_before

    def _step_on(self, length: int, count: int | None, *, enough: bool) -> None:
        is_last = length < self.per_page or (count is not None and self._page * self.per_page >= count)
        self._whole = is_last
        self._over = is_last or (enough and self.position.order is Order.NEWEST_FIRST)
        self._page += 1

    def _step_back(self, length: int, count: int | None, *, enough: bool) -> None:
        """From the newest page, which may be a later one than last time, back to the older ones."""
        later, earlier = max(self._seen) + 1, min(self._seen) - 1
        is_newest_read = self._page == later - 1
        more = length >= self.per_page if count is None else later <= -(-count // self.per_page)
        if is_newest_read and more:
            self._page = later
            return
        self._whole = earlier < 1
        self._over = enough or self._whole
        self._page = earlier
