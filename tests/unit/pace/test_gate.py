"""Who gets a slot first, and what happens to slots of calls that never leave."""

from __future__ import annotations

import asyncio

import pytest

from bridge.domain.errors import StoreError
from bridge.pace.gate import SlotNote, Wall
from bridge.pace.limits import Lane, SlidingWindows, Window
from tests.fakes.clock import FakeClock
from tests.unit.pace.bench import Bench, limit


async def test_calls_within_the_limit_start_at_once_the_others_when_their_slot_comes(bench: Bench):
    gate = bench.gate(limit("calls", (2, 60.0)))
    for name in "abcd":
        bench.call(gate, name)
    await bench.clock.advance(0)
    assert bench.names == ["a", "b"]
    assert gate.waiting() == 2
    await bench.clock.advance(59.9)
    assert bench.names == ["a", "b"]
    await bench.clock.advance(0.2)
    assert bench.names == ["a", "b", "c", "d"]
    assert gate.waiting() == 0


async def test_slots_go_to_the_most_urgent_lane_first(bench: Bench):
    gate = bench.gate(limit("calls", (1, 10.0)))
    bench.call(gate, "first")
    await bench.clock.advance(0)
    for lane in reversed(Lane):
        bench.call(gate, lane.name, lane=lane)
    await bench.clock.advance(100)
    assert bench.names == ["first", "COMMAND", "READ", "ALARMS", "POLL", "INVENTORY", "HISTORY"]


async def test_command_that_comes_late_overtakes_all_that_wait(bench: Bench):
    gate = bench.gate(limit("calls", (1, 10.0)))
    for number in range(5):
        bench.call(gate, f"poll{number}")
    await bench.clock.advance(15)
    bench.call(gate, "command", lane=Lane.COMMAND)
    await bench.clock.advance(5.5)
    assert bench.names == ["poll0", "poll1", "command"]


async def test_within_a_lane_first_come_is_first_served(bench: Bench):
    gate = bench.gate(limit("calls", (1, 1.0)))
    names = [f"poll{number}" for number in range(30)]
    for name in names:
        bench.call(gate, name)
    await bench.clock.advance(40)
    assert bench.names == names


async def test_call_that_waits_for_one_limit_does_not_hold_up_those_that_need_another(bench: Bench):
    gate = bench.gate(limit("tight", (1, 60.0)), limit("wide", (100, 60.0)))
    bench.call(gate, "a", "tight", "wide")
    bench.call(gate, "b", "tight", "wide", lane=Lane.COMMAND)
    bench.call(gate, "c", "wide", lane=Lane.HISTORY)
    await bench.clock.advance(1)
    assert bench.names == ["a", "c"]
    used = {row.limit.name: row.used for row in gate.usage()}
    assert used == {"tight": 1, "wide": 2}


async def test_call_without_limits_starts_at_once(bench: Bench):
    gate = bench.gate()
    assert gate.wait_s([], Lane.POLL) == 0.0
    async with gate.slot([], Lane.POLL):
        bench.started.append(("free", 0.0))
    assert (bench.names, bench.ledger.notes) == (["free"], [])


async def test_limit_per_key_counts_each_key_alone_the_other_all_together(bench: Bench):
    gate = bench.gate(limit("device", (1, 60.0), per_key=True), limit("account", (3, 60.0)))
    for name, key in (("a1", "A"), ("a2", "A"), ("b1", "B"), ("c1", "C"), ("d1", "D")):
        bench.call(gate, name, f"device:{key}", f"account:{key}")
    await bench.clock.advance(1)
    assert bench.names == ["a1", "b1", "c1"]
    await bench.clock.advance(60)
    assert sorted(bench.names) == ["a1", "a2", "b1", "c1", "d1"]


async def test_concurrency_is_per_key_and_ends_with_the_call(bench: Bench):
    gate = bench.gate(limit("device", (100, 1.0), per_key=True, concurrency=1))
    bench.call(gate, "a1", "device:A", lasts_s=5)
    bench.call(gate, "a2", "device:A", lasts_s=5)
    bench.call(gate, "b1", "device:B", lasts_s=5)
    await bench.clock.advance(1)
    assert bench.names == ["a1", "b1"]
    assert gate.wait_s([("device", "A")], Lane.COMMAND) == float("inf")
    await bench.clock.advance(4.5)
    assert bench.names == ["a1", "b1", "a2"]


async def test_call_that_fails_frees_its_place_and_keeps_its_slot_used(bench: Bench):
    gate = bench.gate(limit("calls", (5, 60.0), concurrency=1))
    with pytest.raises(ZeroDivisionError):
        async with gate.slot([("calls", "")], Lane.POLL):
            raise ZeroDivisionError
    bench.call(gate, "next")
    await bench.clock.advance(0)
    assert bench.names == ["next"]
    assert gate.usage()[0].used == 2
    assert len(bench.ledger.notes) == 2


async def test_refund_gives_the_slot_back_here_and_on_disk(bench: Bench):
    gate = bench.gate(limit("calls", (1, 3600.0)))
    await bench.call(gate, "never left", refund=True)
    assert (gate.usage(), bench.ledger.notes) == ([], [])
    bench.call(gate, "next")
    await bench.clock.advance(0)
    assert bench.names == ["next"]


async def test_refund_of_one_call_does_not_touch_those_that_started_with_it(bench: Bench):
    gate = bench.gate(limit("calls", (3, 3600.0)))
    bench.call(gate, "a")
    bench.call(gate, "b", refund=True)
    bench.call(gate, "c")
    await bench.clock.advance(0)
    assert len(bench.ledger.notes) == 2
    assert gate.usage()[0].used == 2


async def test_refund_lets_the_next_in_line_start(bench: Bench):
    gate = bench.gate(limit("calls", (1, 3600.0)))
    bench.call(gate, "never left", refund=True)
    bench.call(gate, "next")
    await bench.clock.advance(0)
    assert bench.names == ["next"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_cancelled_waiters_leak_no_slot_and_no_place(bench: Bench, at_once):
    gate = bench.gate(limit("calls", (1, 10.0), concurrency=1))
    bench.call(gate, "first", lasts_s=20)
    await bench.clock.advance(0)
    waiters = [bench.call(gate, f"waiter{number}") for number in range(5)]
    if not at_once:
        await bench.clock.advance(5)
    for waiter in waiters:
        waiter.cancel()
    await bench.clock.advance(0)
    assert gate.waiting() == 0
    bench.call(gate, "last")
    await bench.clock.advance(30)
    assert bench.names == ["first", "last"]
    assert len(bench.ledger.notes) == 2


async def test_waiter_cancelled_at_the_moment_of_its_grant_gives_the_slot_to_the_next(bench: Bench):
    gate = bench.gate(limit("calls", (10, 60.0), concurrency=1))
    held = asyncio.Event()

    async def hold() -> None:
        async with gate.slot([("calls", "")], Lane.POLL):
            await held.wait()
        granted.cancel()  # its future has its result, its task has not run yet

    holder = asyncio.get_running_loop().create_task(hold())
    await bench.clock.advance(0)
    granted = bench.call(gate, "granted")
    bench.call(gate, "next")
    await bench.clock.advance(0)
    held.set()
    await bench.clock.advance(0)
    await holder
    assert granted.cancelled()
    assert bench.names == ["next"]
    assert gate.usage()[0].used == 2
    assert gate.wait_s([("calls", "")], Lane.POLL) == 0


async def test_call_cancelled_while_its_slot_is_written_gives_it_back(bench: Bench):
    gate = bench.gate(limit("calls", (1, 60.0)))
    bench.ledger.stuck = asyncio.Event()
    call = bench.call(gate, "writing")
    await bench.clock.advance(0)
    call.cancel()
    await bench.clock.advance(0)
    bench.ledger.stuck = None
    bench.call(gate, "next")
    await bench.clock.advance(0)
    assert bench.names == ["next"]


async def test_ledger_that_fails_gives_the_slot_back_and_the_call_does_not_leave(bench: Bench):
    gate = bench.gate(limit("calls", (1, 60.0), concurrency=1))
    bench.ledger.failing = True
    with pytest.raises(StoreError):
        await bench.call(gate, "must not leave")
    assert (bench.names, gate.usage()) == ([], [])
    bench.ledger.failing = False
    bench.call(gate, "next")
    await bench.clock.advance(0)
    assert bench.names == ["next"]


async def test_error_of_the_call_is_told_even_if_its_slot_cannot_be_taken_off_the_disk(bench: Bench):
    gate = bench.gate(limit("calls", (1, 60.0)))

    async def leave() -> None:
        async with gate.slot([("calls", "")], Lane.POLL) as slot:
            slot.refund()
            bench.ledger.failing = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await leave()
    assert gate.wait_s([("calls", "")], Lane.POLL) == 0


async def test_slot_is_on_disk_before_the_call_leaves(bench: Bench):
    gate = bench.gate(limit("calls", (1, 60.0)), limit("short", (1, 1.0)))
    bench.ledger.stuck = asyncio.Event()
    bench.call(gate, "a", "calls", "short")
    await bench.clock.advance(5)
    assert (bench.names, bench.ledger.notes) == ([], [])
    bench.ledger.stuck.set()
    await bench.clock.advance(0)
    assert bench.names == ["a"]
    assert [(note.owner, note.limit, note.key, note.blocked) for note in bench.ledger.notes] == [
        ("home", "calls", "", False)
    ]


async def test_windows_shorter_than_ten_seconds_are_not_written(bench: Bench):
    gate = bench.gate(limit("short", (1, 9.9)), limit("long", (1, 10.0)))
    await bench.call(gate, "a", "short")
    assert bench.ledger.notes == []
    await bench.call(gate, "b", "long")
    assert [note.limit for note in bench.ledger.notes] == ["long"]


async def test_wait_tells_the_longest_of_all_limits_and_takes_nothing(bench: Bench):
    gate = bench.gate(limit("a", (1, 60.0)), limit("b", (1, 30.0)))
    await bench.call(gate, "x", "a")
    await bench.clock.advance(10)
    await bench.call(gate, "y", "b")
    uses = [("a", ""), ("b", "")]
    assert gate.wait_s(uses, Lane.POLL) == pytest.approx(50)
    assert gate.wait_s(uses, Lane.POLL) == pytest.approx(50)
    assert gate.wait_s([("b", "")], Lane.POLL) == pytest.approx(30)
    assert {row.limit.name: row.used for row in gate.usage()} == {"a": 1, "b": 1}


async def test_block_holds_calls_that_come_and_those_that_wait(bench: Bench):
    gate = bench.gate(limit("calls", (1, 10.0)))
    bench.call(gate, "first")
    bench.call(gate, "waiting")
    await bench.clock.advance(5)
    await gate.block("calls", "", 100.0)
    bench.call(gate, "command", lane=Lane.COMMAND)
    await bench.clock.advance(99)
    assert bench.names == ["first"]
    assert gate.wait_s([("calls", "")], Lane.COMMAND) == pytest.approx(1)
    await bench.clock.advance(1.1)
    assert bench.names == ["first", "command"]


async def test_block_of_one_key_leaves_the_others_alone(bench: Bench):
    gate = bench.gate(limit("device", (10, 60.0), per_key=True))
    await gate.block("device", "A", 100.0)
    bench.call(gate, "a", "device:A")
    bench.call(gate, "b", "device:B")
    await bench.clock.advance(1)
    assert bench.names == ["b"]


async def test_changes_are_counted_so_that_nobody_has_to_compare(bench: Bench):
    gate = bench.gate(limit("calls", (5, 60.0)))
    counts = [gate.changes]
    await bench.call(gate, "a")
    counts.append(gate.changes)
    await gate.block("calls", "", 5.0)
    counts.append(gate.changes)
    gate.learn("calls", "", Window(3, 60.0), 600.0)
    counts.append(gate.changes)
    assert counts == sorted(set(counts))
    assert gate.hits == 1
    assert [(row.window.count, row.blocked) for row in gate.usage()] == [(3, True)]


async def test_gate_knows_when_its_usage_changes_by_time_alone(bench: Bench, clock: FakeClock):
    gate = bench.gate(limit("calls", (5, 60.0)))
    assert gate.next_change_in_s() == float("inf")
    await bench.call(gate, "a")
    await clock.advance(10)
    assert gate.next_change_in_s() == pytest.approx(50)
    await gate.block("calls", "", 5.0)
    assert gate.next_change_in_s() == pytest.approx(5)
    assert gate.blocked_s([("calls", "")]) == pytest.approx(5)


async def test_slots_that_matter_no_longer_are_named_by_limit(bench: Bench, clock: FakeClock):
    login, own = limit("login", (5, 3600.0), scope="ip"), limit("own", (5, 600.0))
    gate = bench.gate(login, own, limit("idle", (5, 60.0)))
    await bench.call(gate, "a", "login", "own")
    now = clock.now().timestamp()
    assert gate.outdated() == [
        ("@acme", "login", pytest.approx(now - 3600)),
        ("home", "own", pytest.approx(now - 600)),
    ]


async def test_usage_shows_windows_in_use_with_unix_times(bench: Bench, clock: FakeClock):
    gate = bench.gate(limit("device", (5, 60.0), (100, 3600.0), per_key=True), limit("idle", (5, 60.0)))
    began = clock.now().timestamp()
    await bench.call(gate, "a", "device:A")
    await gate.block("device", "B", 30.0)
    rows = [(row.limit.name, row.key, row.window, row.used, row.resets_at) for row in gate.usage()]
    assert rows == [
        ("device", "A", Window(5, 60.0), 1, pytest.approx(began + 60)),
        ("device", "A", Window(100, 3600.0), 1, pytest.approx(began + 3600)),
        ("device", "B", Window(5, 60.0), 0, pytest.approx(began + 30)),
        ("device", "B", Window(100, 3600.0), 0, pytest.approx(began + 30)),
    ]
    await clock.advance(61)
    assert [(row.key, row.window.seconds) for row in gate.usage()] == [("A", 3600.0)]
    assert [one.name for one in gate.limits()] == ["device", "idle"]


async def test_reserve_lets_a_command_pass_where_polling_waits(bench: Bench):
    gate = bench.gate(limit("calls", (4, 60.0), reserve=1))
    for number in range(4):
        bench.call(gate, f"poll{number}")
    await bench.clock.advance(1)
    assert bench.names == ["poll0", "poll1", "poll2"]
    bench.call(gate, "command", lane=Lane.COMMAND)
    await bench.clock.advance(1)
    assert bench.names[-1] == "command"


async def test_wall_clock_that_jumps_changes_nothing_in_a_running_process(bench: Bench, clock: FakeClock):
    gate = bench.gate(limit("calls", (1, 60.0)))
    for name in "abcd":
        bench.call(gate, name)
    await clock.advance(30)
    clock.step_wall(-3600)
    await clock.advance(40)
    assert bench.names == ["a", "b"]
    clock.step_wall(7200)
    await clock.advance(30)
    assert bench.names == ["a", "b"]
    await clock.advance(90)
    assert bench.names == ["a", "b", "c", "d"]
    ats = [note.at for note in bench.ledger.notes]
    assert ats == sorted(ats)


def test_wall_follows_monotonic_time_only(clock: FakeClock):
    wall = Wall(clock)
    before = wall.now()
    clock.step_wall(-3600)
    assert wall.now() == before == clock.now().timestamp() + 3600


async def test_closed_gate_leaves_no_timer_behind(bench: Bench):
    gate = bench.gate(limit("calls", (1, 60.0)))
    bench.call(gate, "a")
    bench.call(gate, "b")
    await bench.clock.advance(1)
    assert bench.clock.sleeping() == 1
    await gate.aclose()
    assert bench.clock.sleeping() == 0
    await gate.aclose()


def test_note_of_a_slot_is_a_plain_value():
    assert SlotNote("home", "calls", "", 1.0) == SlotNote("home", "calls", "", 1.0, blocked=False)


async def test_a_thousand_calls_that_wait_are_not_looked_at_one_by_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    looks = 0
    own = SlidingWindows.wait_s

    def counted(windows: SlidingWindows, now: float, lane: Lane) -> float:
        nonlocal looks
        looks += 1
        return own(windows, now, lane)

    gate = bench.gate(limit("calls", (1, 1.0)), limit("device", (1, 60.0), per_key=True))
    for number in range(1000):
        bench.call(gate, f"command{number}", "calls", f"device:d{number}", lane=Lane.COMMAND)
    await bench.clock.advance(10)
    bench.call(gate, "poll", "calls", "device:d9", lane=Lane.POLL)
    began = len(bench.names)
    monkeypatch.setattr(SlidingWindows, "wait_s", counted)
    await bench.clock.advance(30)
    assert len(bench.names) - began >= 20
    assert looks < 1000
    assert bench.names == [f"command{number}" for number in range(len(bench.names))]


async def test_a_call_that_gave_up_or_whose_own_limit_is_used_up_lets_those_behind_it_pass(bench: Bench):
    gate = bench.gate(limit("calls", (3, 10.0)), limit("device", (1, 60.0), per_key=True))
    for name, device in (("a1", "a"), ("a2", "a"), ("b", "b"), ("c", "c"), ("d", "d"), ("e", "e")):
        bench.call(gate, name, "calls", f"device:{device}")
    await bench.clock.advance(0)
    assert bench.names == ["a1", "b", "c"]
    bench.tasks["d"].cancel()
    await bench.clock.advance(15)
    assert bench.names == ["a1", "b", "c", "e"]
    assert gate.waiting() == 1
    await bench.clock.advance(60)
    assert bench.names == ["a1", "b", "c", "e", "a2"]
