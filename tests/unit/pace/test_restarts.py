"""Counters outlive the process: not even a restart loop exceeds a limit, and no account forgets another's calls."""

from __future__ import annotations

import pytest

from bridge.pace.gate import SlotNote
from bridge.pace.limits import TRANSIT_S, Lane
from tests.fakes.clock import FakeClock
from tests.unit.pace.bench import Bench, limit, most_in_any


@pytest.mark.parametrize(("between_s", "in_all"), [(0.5, 4), (5.9, 10)])
async def test_ten_restarts_in_a_minute_never_exceed_the_windows(
    bench: Bench, clock: FakeClock, between_s, in_all
):
    calls = limit("calls", (10, 60.0), (4, 1.0))
    gate = bench.gate(calls)
    for restart in range(10):
        for number in range(20):
            bench.call(gate, f"{restart}.{number}")
        await clock.advance(between_s)
        await bench.kill()
        gate = bench.restarted(calls)
    assert len(bench.started) == in_all
    await clock.advance(70)
    for number in range(40):
        bench.call(gate, f"after.{number}")
    await clock.advance(200)
    assert len(bench.started) >= in_all + 30
    assert most_in_any(bench.times, 60.0) == 10
    assert most_in_any(bench.times, 1.0) <= 4


async def test_calls_that_started_in_the_same_instant_are_all_remembered(bench: Bench, clock: FakeClock):
    gate = bench.gate(limit("calls", (10, 3600.0)))
    for number in range(10):
        bench.call(gate, f"{number}")
    await clock.advance(1)
    assert len(bench.started) == 10
    await bench.kill()
    gate = bench.restarted(limit("calls", (10, 3600.0)))
    assert gate.usage()[0].used == 10
    assert gate.wait_s([("calls", "")], Lane.COMMAND) == pytest.approx(3599 + TRANSIT_S)


async def test_short_windows_count_as_used_up_after_a_restart_only(bench: Bench, clock: FakeClock):
    short = limit("short", (4, 1.0))
    gate = bench.gate(short)
    assert gate.wait_s([("short", "")], Lane.COMMAND) == 0
    gate = bench.restarted(short)
    assert gate.wait_s([("short", "")], Lane.COMMAND) == pytest.approx(1.0 + TRANSIT_S)
    bench.call(gate, "a", "short")
    await clock.advance(1.2)
    assert bench.names == []
    await clock.advance(0.1)
    assert bench.names == ["a"]
    assert gate.wait_s([("short", "")], Lane.POLL) == 0


async def test_short_window_is_counted_from_the_start_of_the_process_not_of_the_key(
    bench: Bench, clock: FakeClock
):
    gate = bench.restarted(limit("short", (4, 1.0), per_key=True))
    await clock.advance(10)
    assert gate.wait_s([("short", "new device")], Lane.POLL) == 0


async def test_long_window_without_notes_is_free_after_a_restart(bench: Bench):
    gate = bench.restarted(limit("calls", (10, 60.0)))
    assert gate.wait_s([("calls", "")], Lane.POLL) == 0


async def test_block_survives_a_restart(bench: Bench, clock: FakeClock):
    calls = limit("device", (100, 60.0), per_key=True)
    gate = bench.gate(calls)
    await gate.block("device", "A", 600.0)
    await clock.advance(100)
    await bench.kill()
    gate = bench.restarted(calls)
    assert gate.wait_s([("device", "A")], Lane.COMMAND) == pytest.approx(500)
    assert gate.wait_s([("device", "B")], Lane.COMMAND) == 0


async def test_block_of_a_clock_that_was_wrong_once_ends_within_a_day(bench: Bench, clock: FakeClock):
    now = clock.now().timestamp()
    bench.ledger.notes.append(SlotNote("home", "calls", "", now + 10 * 365 * 86400, blocked=True))
    gate = bench.restarted(limit("calls", (100, 60.0)))
    assert gate.wait_s([("calls", "")], Lane.POLL) == pytest.approx(86400)


async def test_clock_set_back_an_hour_between_processes_costs_a_window_not_an_hour(
    bench: Bench, clock: FakeClock
):
    calls = limit("calls", (3, 60.0))
    gate = bench.gate(calls)
    for name in "abc":
        bench.call(gate, name)
    await clock.advance(1)
    await bench.kill()
    clock.step_wall(-3600)
    gate = bench.restarted(calls)
    for name in "def":
        bench.call(gate, name)
    await clock.advance(59)
    assert bench.names == ["a", "b", "c"]
    await clock.advance(2)
    assert bench.names == ["a", "b", "c", "d", "e", "f"]


async def test_notes_of_other_accounts_and_of_limits_that_are_gone_do_not_count(
    bench: Bench, clock: FakeClock
):
    now = clock.now().timestamp()
    bench.ledger.notes += [
        SlotNote("other", "calls", "", now),
        SlotNote("home", "was renamed", "", now),
        SlotNote("@acme", "calls", "", now),
        SlotNote("home", "calls", "", now - 61),
    ]
    assert bench.restarted(limit("calls", (1, 60.0))).usage() == []


async def test_accounts_of_a_vendor_share_the_limits_of_their_address(bench: Bench, clock: FakeClock):
    login, own = limit("login", (3, 3600.0), scope="ip"), limit("own", (3, 3600.0))
    shared: dict = {}
    one = bench.gate(login, own, account="one", shared=shared)
    two = bench.gate(login, own, account="two", shared=shared)
    for number in range(2):
        bench.call(one, f"one{number}", "login", "own")
        bench.call(two, f"two{number}", "login", "own")
    await clock.advance(1)
    assert len(bench.names) == 3
    assert {row.used for row in one.usage() if row.limit.name == "login"} == {3}
    logins = [[row for row in gate.usage() if row.limit.name == "login"] for gate in (one, two)]
    assert logins[0] == logins[1]
    assert {note.owner for note in bench.ledger.notes if note.limit == "login"} == {"@acme"}
    await clock.advance(3600)
    assert len(bench.names) == 4


async def test_lowered_limit_of_an_address_binds_its_account_and_no_other(bench: Bench, clock: FakeClock):
    shared: dict = {}
    low = bench.gate(limit("login", (2, 3600.0), scope="ip"), account="low", shared=shared)
    high = bench.gate(limit("login", (5, 3600.0), scope="ip"), account="high", shared=shared)
    for number in range(2):
        bench.call(high, f"high{number}", "login")
    bench.call(low, "low", "login")
    await clock.advance(1)
    assert bench.names == ["high0", "high1"]
    bench.call(high, "high2", "login")
    await clock.advance(1)
    assert bench.names == ["high0", "high1", "high2"]
    assert [(gate.usage()[0].used, gate.usage()[0].window.count) for gate in (low, high)] == [(3, 2), (3, 5)]


async def test_shared_limit_is_restored_once_for_all_accounts(bench: Bench, clock: FakeClock):
    login = limit("login", (5, 3600.0), scope="ip")
    shared: dict = {}
    one = bench.gate(login, account="one", shared=shared)
    two = bench.gate(login, account="two", shared=shared)
    for name, gate in (("a", one), ("b", one), ("c", two)):
        bench.call(gate, name, "login")
    await clock.advance(1)
    await bench.kill()
    clock.step_wall(-3600)
    again: dict = {}
    gates = [bench.restarted(login, account=name, shared=again) for name in ("one", "two", "three")]
    assert [gate.usage()[0].used for gate in gates] == [3, 3, 3]
    for number, gate in enumerate(gates):
        bench.call(gate, f"later{number}", "login")
    await clock.advance(1)
    assert bench.names == ["a", "b", "c", "later0", "later1"]


async def test_account_that_is_built_anew_in_a_running_process_finds_its_own_calls(
    bench: Bench, clock: FakeClock
):
    login, own = limit("login", (5, 3600.0), scope="ip"), limit("own", (5, 3600.0))
    shared: dict = {}
    gate = bench.gate(login, own, account="one", shared=shared)
    await bench.call(gate, "a", "login", "own")
    await clock.advance(1)
    await gate.aclose()
    gate = bench.restarted(login, own, account="one", shared=shared)
    assert {row.limit.name: row.used for row in gate.usage()} == {"login": 1, "own": 1}


async def test_end_of_one_accounts_call_lets_the_others_start(bench: Bench, clock: FakeClock):
    login = limit("login", (100, 60.0), scope="ip", concurrency=1)
    shared: dict = {}
    one = bench.gate(login, account="one", shared=shared)
    two = bench.gate(login, account="two", shared=shared)
    bench.call(one, "one", "login", lasts_s=5)
    bench.call(two, "two", "login")
    await clock.advance(4.9)
    assert bench.names == ["one"]
    await clock.advance(1)
    assert bench.names == ["one", "two"]


async def test_call_that_never_left_is_not_remembered(bench: Bench):
    calls = limit("calls", (2, 3600.0))
    gate = bench.gate(calls)
    await bench.call(gate, "a")
    await bench.call(gate, "b", refund=True)
    await bench.kill()
    assert bench.restarted(calls).usage()[0].used == 1
