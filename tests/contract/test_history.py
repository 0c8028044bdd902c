"""What every vendor that keeps a past must hold to: the steps of `ports.History`, against its simulated cloud."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bridge.domain.device import Device
from bridge.domain.errors import Rejection
from bridge.domain.history import HistoryStep, Period
from bridge.domain.observation import Origin, Reading
from bridge.domain.text import dumps, restored
from bridge.domain.times import rfc3339
from bridge.pace.limits import Lane
from bridge.vendors import VENDORS
from tests.contract.world import World

KEEPERS = ("iammeter", "jrhsz", "iotmeter", "saj")
SPAN = timedelta(days=9)

every_keeper = pytest.mark.parametrize("name", KEEPERS)


async def aged(name: str, **options: Any) -> World:
    """A world whose cloud has seen some days go by."""
    world = World(name, **options)
    for _ in range(36):
        world.clock.time.advance(3600)
        if hasattr(world.cloud, "tick"):
            world.cloud.tick()
    return world


def kinds(world: World, devices: list[Device]) -> list[Device]:
    """One device of each sort whose past is read in its own way."""
    history = world.adapter.history
    assert history is not None
    sorts = {
        (device.kind, str(device.vendor_info.get("tableType"))): device
        for device in reversed(devices)
        if history.reach(device) is not None
    }
    return list(sorts.values())


def period(world: World) -> Period:
    now = world.clock.now()
    return Period(now - SPAN, now, None)


async def steps(world: World, device: Device, wanted: Period, cursor: Any) -> list[HistoryStep]:
    history = world.adapter.history
    assert history is not None
    return [step async for step in history.read(device, wanted, cursor)]


def calls(world: World) -> list[str]:
    """The requests that are not a login."""
    return [
        f"{request.url.path}?{request.url.query.decode()}"
        for request in world.recorder.requests
        if not request.url.path.endswith(("/login", "/accessToken"))
    ]


def test_those_that_keep_a_past_are_known() -> None:
    assert {name for name in VENDORS if World(name).adapter.history is not None} == set(KEEPERS)


@every_keeper
async def test_a_past_is_complete_in_order_and_costs_a_call_a_step(name: str) -> None:
    async with await aged(name) as world:
        for device in kinds(world, await world.devices()):
            await steps(world, device, period(world), None)  # it may have to learn a zone first
            before, wanted = len(calls(world)), period(world)
            found = await steps(world, device, wanted, None)
            assert found, device
            assert len(calls(world)) - before == found[-1].done == len(found)
            assert found[-1].complete_until == wanted.end
            readings = [one for step in found for one in step.observations if isinstance(one, Reading)]
            assert readings, device
            assert all(one.device == device.native_id for one in readings)
            assert {one.origin for one in readings} == {Origin.BACKFILL}
            times = [one.observed_at for one in readings if one.observed_at is not None]
            assert len(times) == len(readings)
            assert wanted.start <= min(times) <= max(times) < wanted.end
            estimate = world.adapter.history.reach(device).calls(wanted)  # type: ignore[union-attr]
            assert estimate / 3 <= len(found) <= 3 * estimate


@every_keeper
async def test_every_call_of_a_past_has_the_lowest_lane(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await aged(name) as world:
        devices = kinds(world, await world.devices())
        lanes: list[Lane] = []
        slot = world.gate.slot

        def noted(uses: Any, lane: Lane) -> Any:
            lanes.append(lane)
            return slot(uses, lane)

        monkeypatch.setattr(world.gate, "slot", noted)
        for device in devices:
            await steps(world, device, period(world), None)
        assert set(lanes) == {Lane.HISTORY}


@every_keeper
async def test_wherever_a_past_is_left_it_goes_on_with_the_next_call(name: str) -> None:
    """For every place to stop: a new process, knowing nothing but the cursor, makes exactly the remaining calls."""
    async with await aged(name) as world:
        devices = kinds(world, await world.devices())
        wanted = period(world)
        whole = {}
        for device in devices:
            await steps(world, device, wanted, None)
            before = len(calls(world))
            found = await steps(world, device, wanted, None)
            whole[device.native_id] = (found, calls(world)[before:], bodies(world)[before:])
    for device in devices:
        found, made, sent = whole[device.native_id]
        for number in {0, 1, 2, len(found) // 2, len(found) - 2, len(found) - 1} & set(range(len(found))):
            async with await aged(name) as restarted:
                restarted.recorder.requests.clear()
                cursor = restored(dumps(found[number].cursor))
                rest = await steps(restarted, device, wanted, cursor)
                assert calls(restarted) == made[number + 1 :]
                if name != "jrhsz":  # its bodies hold the token
                    assert bodies(restarted) == sent[number + 1 :]
                assert len(rest) == len(found) - number - 1
                assert sum(len(step.observations) for step in rest) == sum(
                    len(step.observations) for step in found[number + 1 :]
                )


def bodies(world: World) -> list[bytes]:
    """What was sent with the requests that are not a login."""
    return [
        request.content
        for request in world.recorder.requests
        if not request.url.path.endswith(("/login", "/accessToken"))
    ]


@every_keeper
async def test_a_command_means_a_period_that_is_over(name: str) -> None:
    async with await aged(name) as world:
        (device, *_) = kinds(world, await world.devices())
        spec = world.adapter.commands(device)["history"]
        assert spec.check is not None
        now = world.clock.now()
        day = timedelta(days=1)
        order = world.order(device, spec, {"start": rfc3339(now - day), "end": rfc3339(now + 5 * day)})
        spec.check(order)
        assert world.adapter.history is not None
        meant = world.adapter.history.period(order)
        assert meant.start == (now - day).replace(microsecond=now.microsecond // 1000 * 1000)
        assert now <= meant.end <= now + timedelta(seconds=1)
        for start, end in ((now + day, now + 2 * day), (now, now - day), (now - day, now - day)):
            with pytest.raises(Rejection) as refused:
                spec.check(world.order(device, spec, {"start": rfc3339(start), "end": rfc3339(end)}))
            assert refused.value.code == "invalid_params"
