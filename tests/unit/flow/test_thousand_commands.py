"""A thousand commands to a thousand devices at once: as fast as the limit allows, in order, and polling goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bridge.domain.command import Order, Outcome
from bridge.pace.gate import STARVED_S, TURN_EVERY, AccountGate
from bridge.pace.limits import Lane, Limit, Window
from bridge.ports import Effect
from tests.fakes.clock import FakeClock
from tests.fakes.harness import Harness
from tests.unit.pace.bench import Bench, MemoryLedger

MANY = 1000
PER_S = 20
LIMIT = Limit("calls", "all", "account", (Window(PER_S, 1.0),), reserve=2)
SLOW = Limit("calls", "all", "account", (Window(5, 1.0),), reserve=1)
DEVICES = [f"D{number:04d}" for number in range(MANY)]


async def test_a_thousand_commands_are_done_as_fast_as_the_limit_allows(tmp_path: Path) -> None:
    async with Harness(tmp_path, devices=DEVICES) as harness:
        bench = Bench(harness.clock)
        gate = AccountGate("home", [LIMIT], harness.clock, MemoryLedger(), vendor="acme")
        execute = harness.vendor.execute

        async def limited(order: Order, effect: Effect) -> Outcome:
            async with gate.slot([("calls", "")], Lane.COMMAND):
                bench.started.append((order.id, harness.clock.monotonic()))
                return await execute(order, effect)

        harness.vendor.execute = limited  # type: ignore[method-assign] # the vendor with a limit before it
        for number in range(PER_S):
            bench.call(gate, f"poll{number}")
        began = harness.clock.monotonic()
        for name in DEVICES:
            await harness.admission.admit(
                harness.message(f"home/{name}/cmd/pulse_on", {"id": name, "delay_s": 1})
            )
        await harness.advance(0)
        least_s = MANY / PER_S
        await harness.advance(least_s * 1.15 + 2)
        starts = [(name, at - began) for name, at in bench.started if not name.startswith("poll")]
        assert [name for name, _ in starts] == DEVICES, "in the order of their taking"
        assert starts[-1][1] <= least_s * 1.15 + 2
        assert max(Counter(int(at) for _, at in bench.started).values()) <= PER_S + 1
        assert Counter(done.id for done in harness.vendor.effects) == Counter(DEVICES)
        assert Counter(ack["status"] for ack in harness.acks()) == {"accepted": MANY, "succeeded": MANY}


async def test_polls_get_their_turn_while_commands_never_end_and_a_lone_command_waits_for_none() -> None:
    bench = Bench(FakeClock())
    gate = bench.gate(SLOW)
    for number in range(450):
        bench.call(gate, f"command{number}", lane=Lane.COMMAND)
    for number in range(20):
        bench.call(gate, f"poll{number}")
    await bench.clock.advance(STARVED_S - 1)
    assert not any(name.startswith("poll") for name in bench.names)
    await bench.clock.advance(20)
    polls = sum(name.startswith("poll") for name in bench.names)
    assert 15 * 5 // TURN_EVERY <= polls <= 20 * 5 // TURN_EVERY + 1
    await bench.clock.advance(200)
    for number in range(100):
        bench.call(gate, f"later{number}")
    await bench.clock.advance(3)
    before = len(bench.names)
    bench.call(gate, "urgent", lane=Lane.COMMAND)
    await bench.clock.advance(0)
    assert bench.names[before:] == ["urgent"]
    await bench.kill()
