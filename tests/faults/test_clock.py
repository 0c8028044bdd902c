"""The machine's clock is set while the gateway runs: told, survived; neither limits nor ids nor expiries are fooled.

The gateway is composed as `meterbridge run` does it, before a real broker and a simulated cloud; only the clock is
ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bridge.app.gateway import Gateway, Source
from bridge.ops.clock import SystemClock
from bridge.vendors import VENDORS
from tests.system.polling import until
from tests.system.stage import PUSH_SECRET, Broker, Cloud, Listener, configuration
from tests.system.test_outages import report

HOUR = 3600.0
SLOTS = {"requests": "500/1s", "device": "3/1h"}


class SetClock(SystemClock):
    """The system's clock as somebody sets it."""

    def __init__(self) -> None:
        self.off_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.off_s)


class World:
    """One gateway in this process. What waits does so in a thread: the gateway goes on."""

    def __init__(self, broker: Broker, cloud: Cloud, listener: Listener, folder: Path) -> None:
        laid = configuration(broker, cloud, folder, account={"limits": SLOTS, "poll": "1d"})
        self.listener, self.clock = listener, SetClock()
        self.web = f"http://{laid['http']['listen']}"
        file = folder / "meterbridge.yaml"
        file.write_text(yaml.safe_dump(laid))
        source = Source(file, VENDORS, {})
        self.gateway = Gateway(source, source.read(), clock=self.clock)

    async def until(self, look: Callable[[], Any], what: str) -> Any:
        return await asyncio.to_thread(until, look, 60, what)

    async def push(self, device: str, energy: float) -> None:
        """Answered with success."""
        async with httpx.AsyncClient(timeout=30, trust_env=False) as web:
            answer = await web.post(f"{self.web}/push/shop/{PUSH_SECRET}", json=report(device, energy))
        assert answer.status_code == 200, answer.text

    async def switch(self, device: str, command_id: str, state: str, **mqtt: Any) -> None:
        topic, wish = f"meterbridge/shop/{device}/cmd/breaker", {"id": command_id, "state": state}
        await asyncio.to_thread(self.listener.send, topic, wish, **mqtt)

    async def ack(self, device: str, command_id: str, status: str, *, duplicate: bool = False) -> None:
        """Waits for it."""

        def look() -> bool:
            acks = [one.json for one in self.listener.all(f"meterbridge/shop/{device}/ack")]
            return any(
                (one["id"], one["status"], one["duplicate"]) == (command_id, status, duplicate)
                for one in acks
            )

        await self.until(look, f"{command_id} {status}")

    def told(self, code: str) -> list[dict[str, Any]]:
        events = [one.json for one in self.listener.all("meterbridge/bridge/event")]
        return [one for one in events if one["code"] == code]

    def pushed(self, device: str, *leaves: str) -> list[float]:
        """The counters that came, in order."""
        records = [
            one.json
            for one in self.listener.all(f"meterbridge/shop/{device}/+")
            if one.topic.rpartition("/")[2] in leaves
        ]
        return [one["metrics"]["import_energy"] for one in records if one["source"] == "push"]


@pytest.fixture
async def world(broker: Broker, cloud: Cloud, listener: Listener, tmp_path: Path) -> AsyncIterator[World]:
    made = World(broker, cloud, listener, tmp_path)
    running = asyncio.create_task(made.gateway.run())
    await asyncio.wait_for(made.gateway.ready.wait(), 60)
    yield made
    made.gateway.request_stop()
    await asyncio.wait_for(running, 60)


@pytest.mark.parametrize("step_s", [-HOUR, HOUR], ids=["an hour back", "an hour forward"])
async def test_clock_that_is_set_is_told_and_fools_nobody(world: World, cloud: Cloud, step_s: float) -> None:
    device, other = cloud.devices[:2]
    for name in (device, other):  # the first poll is one call of the three
        await world.until(lambda name=name: world.listener.all(f"meterbridge/shop/{name}/state"), "a poll")
    for command_id, state in (("one", "on"), ("two", "off")):
        await world.switch(device, command_id, state)
        await world.ack(device, command_id, "succeeded")
    await world.switch(device, "three", "on")  # a fourth call in an hour has to wait
    await world.ack(device, "three", "accepted")
    await world.push(device, 1)
    done = cloud.effects(device)
    assert len(done) == 2
    world.clock.off_s += step_s
    await world.push(device, 2)
    told = (await world.until(lambda: world.told("clock_stepped"), "the step is told"))[0]
    assert told["severity"] == "warning"
    assert abs(told["data"]["seconds"] - step_s) < 30
    await world.push(device, 3)
    await world.until(lambda: len(world.pushed(device, "telemetry", "history")) >= 3, "every push arrives")
    # telemetry never steps back in time: what is measured "before" goes to history, and is not lost
    assert world.pushed(device, "telemetry", "history") == [1, 2, 3]
    assert world.pushed(device, "history") == ([2, 3] if step_s < 0 else [])
    await world.switch(device, "one", "on")  # an id stays used
    await world.ack(device, "one", "succeeded", duplicate=True)
    await world.switch(other, "soon", "on", MessageExpiryInterval=60)  # a minute is a minute
    await world.ack(other, "soon", "succeeded")
    assert cloud.effects(device) == done, "the hour of the limit is an hour"
    assert len(world.told("clock_stepped")) == 1
