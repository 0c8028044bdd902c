"""How far the lists of alarms are read (page 7.4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.vendors.saj.alarms import Order, Position, Scan, occurrences_of, position_from

NOW = datetime(2017, 6, 7, 12, 0, tzinfo=UTC)
PER_PAGE = 10


class Listed:
    """A vendor's list; `scan` reads it as the gateway does."""

    def __init__(self, order: Order = Order.NEWEST_FIRST) -> None:
        self.rows: list[dict[str, Any]] = []
        self.order = order
        self.position = Position()
        self.asked: list[int] = []

    def add(self, count: int, *, hours_ago: float, cleared: bool = True) -> None:
        start = NOW - timedelta(hours=hours_ago)
        for number in range(count):
            at = (start + timedelta(seconds=number)).isoformat()
            self.rows.append({"alarm_code": "bit1", "start_time": at, "status": int(cleared)})

    def scan(self, *, count: bool = True) -> list[str]:
        rows = sorted(self.rows, key=lambda row: row["start_time"], reverse=self.order is Order.NEWEST_FIRST)
        if self.order is Order.UNKNOWN:
            rows = rows[1::2] + rows[::2]
        self.position = position_from(self.position.as_json())
        scan, self.asked, told = Scan(self.position, NOW - timedelta(days=1), PER_PAGE), [], []
        while (page := scan.next_page()) is not None:
            self.asked.append(page)
            found = occurrences_of(rows[(page - 1) * PER_PAGE : page * PER_PAGE], UTC, equal_is_cleared=False)
            told += scan.take(found, len(rows) if count else None, NOW)
        self.position = scan.finished()
        return [one.row["start_time"] for one, _start in told]


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("count", [True, False])
def test_the_first_reading_takes_all_pages(order: Order, count: bool) -> None:
    listed = Listed(order)
    listed.add(35, hours_ago=5)
    assert len(listed.scan(count=count)) == 35
    assert listed.asked == [1, 2, 3, 4]
    assert listed.position.order is order


@pytest.mark.parametrize(("order", "first"), [(Order.NEWEST_FIRST, [1]), (Order.OLDEST_FIRST, [4])])
def test_later_ones_begin_at_the_newest_end_and_stop_soon(order: Order, first: list[int]) -> None:
    listed = Listed(order)
    listed.add(35, hours_ago=5)
    listed.scan()
    assert (listed.scan(), listed.asked) == ([], first)
    listed.add(1, hours_ago=1)
    assert len(listed.scan()) == 1
    assert len(listed.asked) <= 2
    assert (listed.scan(), len(listed.asked)) == ([], 1)


@pytest.mark.parametrize("order", list(Order))
def test_many_new_ones_are_all_found(order: Order) -> None:
    listed = Listed(order)
    listed.add(35, hours_ago=20)
    listed.scan()
    listed.add(42, hours_ago=2)
    assert len(listed.scan()) == 42


@pytest.mark.parametrize("order", list(Order))
def test_an_open_alarm_is_followed_to_its_end_behind_many_newer_ones(order: Order) -> None:
    listed = Listed(order)
    listed.add(1, hours_ago=10, cleared=False)
    listed.add(44, hours_ago=5)
    listed.scan()
    assert listed.scan() == []
    assert len(listed.asked) == 5
    listed.rows[0]["status"] = 1
    assert listed.scan() == [listed.rows[0]["start_time"]]
    listed.scan()
    assert len(listed.asked) == (5 if order is Order.UNKNOWN else 1)


def test_alarms_that_nobody_ever_handles_are_not_followed_for_ever() -> None:
    listed = Listed()
    listed.add(45, hours_ago=100, cleared=False)
    listed.scan()
    assert (listed.scan(), listed.asked) == ([], [1])


def test_a_list_that_turns_round_is_noticed() -> None:
    listed = Listed(Order.NEWEST_FIRST)
    listed.add(35, hours_ago=5)
    listed.scan()
    listed.order = Order.OLDEST_FIRST
    listed.add(3, hours_ago=1)
    assert len(listed.scan()) == 3
    assert listed.position.order is Order.OLDEST_FIRST


@pytest.mark.parametrize("order", list(Order))
def test_a_list_that_was_cut_is_no_trouble(order: Order) -> None:
    listed = Listed(order)
    listed.add(35, hours_ago=5, cleared=False)
    listed.scan()
    del listed.rows[:30]
    assert listed.scan() == []
    listed.add(1, hours_ago=1)
    assert len(listed.scan()) == 1


def test_a_page_that_repeats_itself_ends_the_reading() -> None:
    scan = Scan(Position(), NOW, PER_PAGE)
    rows = [{"alarm_code": str(number), "start_time": NOW.isoformat()} for number in range(PER_PAGE)]
    for _ in range(2):
        scan.take(occurrences_of(rows, UTC, equal_is_cleared=False), 900, NOW)
    assert scan.next_page() is None


def test_an_alarm_without_a_start_is_one_alarm_all_the_same() -> None:
    position = Position()
    (raised,) = occurrences_of([{"alarm_code": "x y"}], UTC, equal_is_cleared=False)
    ((_one, start),) = position.news([raised], NOW)
    assert (raised.code, start) == ("vendor_x_y", NOW)
    assert position.news([raised], NOW + timedelta(hours=1)) == []
    (cleared,) = occurrences_of([{"alarm_code": "x y", "status": "1"}], UTC, equal_is_cleared=False)
    ((_one, start),) = position.news([cleared], NOW + timedelta(hours=1))
    assert start == NOW


@pytest.mark.parametrize("kept", [None, [], "x", {"known": 5, "order": 7}, {"known": {"a": 1}}])
def test_a_position_that_cannot_be_read_is_read_anew(kept: Any) -> None:
    assert position_from(kept) == Position()


def test_very_long_memories_lose_the_oldest() -> None:
    position = Position(known={str(number): (number, True) for number in range(6000)})
    assert min(start for start, _ in position.pruned().known.values()) == 1000
