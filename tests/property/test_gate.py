"""A gate under any load, with calls that fail, go away or never leave, and with restarts in between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.pace.limits import Lane
from tests.fakes.clock import FakeClock
from tests.unit.pace.bench import Bench, limit, most_in_any

LONG = limit("calls", (5, 60.0), (2, 1.0), reserve=1)
PER_KEY = limit("device", (2, 30.0), per_key=True, concurrency=1)


@dataclass(frozen=True)
class Step:
    """One thing that happens: calls come, time passes, one that waits goes away, the process is killed."""

    kind: str
    lane: Lane
    key: str
    seconds: float


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            ["call", "call", "call", "call", "never leaves", "cancel", "pass", "pass", "kill", "jump"]
        ),
        st.sampled_from(Lane),
        st.sampled_from("AB"),
        st.sampled_from([0.0, 0.3, 1.0, 7.0, 31.0]),
    ),
    max_size=40,
)


async def play(steps: list[Step]) -> tuple[Bench, dict[str, Step]]:
    """Lets all of it happen and then enough time pass for everything that still waits."""
    clock = FakeClock()
    bench = Bench(clock)
    gate = bench.gate(LONG, PER_KEY)
    calls: dict[str, Step] = {}
    for number, step in enumerate(steps):
        name = f"{number}"
        match step.kind:
            case "call":
                calls[name] = step
                bench.call(gate, name, "calls", f"device:{step.key}", lane=step.lane, lasts_s=step.seconds)
            case "never leaves":
                bench.call(gate, name, "calls", f"device:{step.key}", lane=step.lane, refund=True)
            case "cancel" if bench.tasks:
                bench.tasks[max(bench.tasks, key=int)].cancel()
            case "pass":
                await clock.advance(step.seconds)
            case "jump":
                clock.step_wall(-step.seconds)
            case "kill":
                await bench.kill()
                gate = bench.restarted(LONG, PER_KEY)
        await clock.settle(3)
    await clock.advance(3600)
    return bench, calls


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_windows_and_concurrency_hold_whatever_happens(steps: list[Step]):
    async def run() -> None:
        bench, calls = await play(steps)
        assert most_in_any(bench.times, 60.0) <= 5
        assert most_in_any(bench.times, 1.0) <= 2
        for key in "AB":
            times = [at for name, at in bench.started if calls[name].key == key]
            assert most_in_any(times, 30.0) <= 2
            assert bench.at_once[f"device:{key}"] <= 1
        await bench.kill()

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_no_slot_leaks_and_nobody_starves(steps: list[Step]):
    async def run() -> None:
        bench, _calls = await play(steps)
        gate = bench.gates[-1]
        assert gate.waiting() == 0
        assert all(task.done() for task in bench.tasks.values())
        for lane in Lane:
            assert gate.wait_s([("calls", ""), ("device", "A"), ("device", "B")], lane) == 0
        assert gate.usage() == []
        await bench.kill()

    asyncio.run(run())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(Lane), min_size=2, max_size=25))
def test_those_that_wait_start_by_lane_and_then_by_arrival(lanes: list[Lane]):
    async def run() -> None:
        bench = Bench(FakeClock())
        gate = bench.gate(limit("calls", (1, 1.0)))
        bench.call(gate, "first")
        await bench.clock.advance(0)
        for number, lane in enumerate(lanes):
            bench.call(gate, f"{number}", lane=lane)
        await bench.clock.advance(len(lanes) + 2)
        wanted = sorted(range(len(lanes)), key=lambda number: (lanes[number], number))
        assert bench.names == ["first", *(f"{number}" for number in wanted)]
        await bench.kill()

    asyncio.run(run())
