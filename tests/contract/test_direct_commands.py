"""A command that calls itself direct asks the vendor nothing before its request leaves: it may begin before it is on
disk, so nothing of it may be seen outside until then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.domain.errors import Withdrawn
from bridge.domain.text import Json
from bridge.vendors import VENDORS
from tests.contract.cases import CASES
from tests.contract.test_dry_runs import example_for, offered, prepare
from tests.contract.world import World


class Closed:
    """An effect that lets nothing leave."""

    left = False

    def __init__(self) -> None:
        self.asked: list[Json] = []

    async def leaving(self, request: Json = None) -> None:
        self.asked.append(request)
        raise Withdrawn("not on disk yet")


async def direct(name: str) -> list[tuple[str, str, int]]:
    async with World(name) as world:
        devices = await world.devices()
        return [
            (device.native_id if device else "", spec.name, number)
            for device, spec, number in offered(world, devices)
            if spec.direct
        ]


@pytest.mark.parametrize("name", sorted(VENDORS))
async def test_a_direct_command_asks_nothing_before_it_leaves(name: str) -> None:
    for native_id, command, number in await direct(name):
        async with World(name) as world:
            devices = await world.devices()
            device = next((one for one in devices if one.native_id == native_id), None)
            spec = world.adapter.commands(device)[command]
            rows = CASES[name].account_commands if device is None else CASES[name].device_commands
            params = example_for(world, devices, rows[command].examples[number])
            await prepare(world, devices)
            before, effect = len(world.recorder.requests), Closed()
            with pytest.raises(Withdrawn):
                await world.adapter.execute(
                    replace(world.order(device, spec, params), dispatched_at=None), effect
                )
            assert len(effect.asked) == 1
            assert len(world.recorder.requests) == before, f"{command} asks before it leaves"


async def test_switching_is_direct_where_a_switch_answers_at_once() -> None:
    assert {command for _, command, _ in await direct("wmj")} >= {"breaker", "pulse_on", "pulse_off"}
    assert {command for _, command, _ in await direct("jrhsz")} == {"breaker", "valve"}


async def test_what_only_reads_is_never_direct() -> None:
    for name in sorted(VENDORS):
        async with World(name) as world:
            for _, spec, _ in world.commands(await world.devices()):
                assert spec.writes or not spec.direct, spec.name
