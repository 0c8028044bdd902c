"""A dry run shows, for every command of every vendor, the very request that the simulated cloud then receives; the
journal is given the same when it leaves. Secrets are masked, nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from bridge.domain.command import CommandSpec, Order
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import VendorError
from bridge.domain.observation import Reading, Value
from bridge.domain.secrecy import MASK
from bridge.domain.text import Json, dumps, loads
from bridge.vendors import VENDORS
from tests.contract.cases import CASES
from tests.contract.world import World

LEARNT = {"modify_plant", "set_protection"}
"""What is filled in from the vendor is shown as far as it is known."""


def matches(shown: Any, sent: Any, *, part: bool = False) -> bool:
    """Equal but for masks; `part`: what is shown may lack keys."""
    if isinstance(shown, str) and isinstance(sent, str):
        pattern = re.escape(shown).replace(re.escape(MASK), ".*").replace(re.escape("{ctrl_id}"), r"\d+")
        return re.fullmatch(pattern, sent, re.DOTALL) is not None
    if isinstance(shown, dict) and isinstance(sent, dict):
        keys = shown.keys() <= sent.keys() if part else shown.keys() == sent.keys()
        return keys and all(matches(value, sent[key], part=part) for key, value in shown.items())
    if isinstance(shown, list) and isinstance(sent, list):
        return len(shown) == len(sent) and all(map(matches, shown, sent))
    return bool(shown == sent)


def received(request: httpx.Request) -> dict[str, Any]:
    """What the cloud got."""
    kind, body = request.headers.get("content-type", ""), None
    if request.content:
        form = "form" in kind
        body = (
            dict(parse_qsl(request.content.decode(), keep_blank_values=True))
            if form
            else loads(request.content)
        )
    return {"method": request.method, "url": str(request.url), "body": body}


def same(shown: Any, request: httpx.Request, *, part: bool) -> bool:
    headers = shown.get("headers", {})
    given = {name: value for name, value in shown.items() if name != "headers"}
    return matches(given, received(request), part=part) and all(
        matches(value, request.headers.get(name, "")) for name, value in headers.items()
    )


async def prepare(world: World, devices: list[Device]) -> None:
    """The cloud as the examples of the commands want it: their tasks are queued, all slots are free."""
    world.clock.time.advance(3600)
    if world.spec.name == "iotmeter":
        meter = next(one for one in devices if one.kind is DeviceKind.GAS_METER)
        spec = world.adapter.commands(meter)["valve"]
        order = replace(world.order(meter, spec, {"state": "close"}), id="pay-1", dispatched_at=None)
        await world.adapter.execute(order, world.effect)
        world.effect.requests.clear()
        world.clock.time.advance(2)


def example_for(world: World, devices: list[Device], example: dict[str, Any]) -> dict[str, Any]:
    """With a plant that there is."""
    plants = [one.native_id for one in devices if one.kind is DeviceKind.SOLAR_PLANT]
    return {**example, "plant_id": int(plants[0])} if plants and "plant_id" in example else example


async def known(world: World, device: Device | None) -> dict[str, Value]:
    """What the gateway knows of the device from its last reading."""
    if device is None or world.spec.name != "wmj":
        return {}
    spec = world.adapter.commands(device)["read"]
    outcome = await world.adapter.execute(world.order(device, spec, {}), world.effect)
    return {
        name: value
        for one in outcome.observations
        if isinstance(one, Reading)
        for name, value in one.metrics.items()
    }


async def carried_out(world: World, order: Order) -> None:
    """As the gateway does it; the past has a door of its own."""
    history = world.adapter.history
    if order.spec.name != "history" or history is None or order.device is None:
        await world.adapter.execute(order, world.effect)
        return
    async for _step in history.read(order.device, history.period(order), None):
        pass


async def shown_and_sent(world: World, order: Order) -> tuple[Json, list[httpx.Request]]:
    shown = loads(dumps(world.adapter.preview(order).request()))
    before = len(world.recorder.requests)
    try:
        await carried_out(world, order)
    except VendorError:
        assert world.recorder.requests[before:], f"{order.spec.name}: nothing was sent"
    return shown, world.recorder.requests[before:]


def offered(world: World, devices: list[Device]) -> list[tuple[Device | None, CommandSpec, int]]:
    return [
        (device, spec, number)
        for device, spec, row in world.commands(devices)
        for number in range(len(row.examples))
    ]


@pytest.mark.parametrize("name", sorted(VENDORS))
async def test_what_a_dry_run_shows_is_what_is_sent(name: str) -> None:
    async with World(name) as world:
        orders = [(one, spec.name, number) for one, spec, number in offered(world, await world.devices())]
    assert orders
    for device, command, number in orders:
        async with World(name) as world:
            devices = await world.devices()
            spec = world.adapter.commands(device)[command]
            rows = CASES[name].account_commands if device is None else CASES[name].device_commands
            params = example_for(world, devices, rows[command].examples[number])
            facts = await known(world, device)
            order = replace(world.order(device, spec, params), known=facts, dispatched_at=None)
            await prepare(world, devices)
            shown, sent = await shown_and_sent(world, order)
            part = command in LEARNT
            what = f"{command} {params}: {shown} is not among {[received(one) for one in sent]}"
            assert any(same(shown, request, part=part) for request in sent), what
            noted = [request for request in world.effect.requests if request is not None]
            assert noted or not spec.writes, command
            for request in noted:
                assert any(same(request, one, part=False) for one in sent), f"{command}: {request}"
            assert not [secret for secret in CASES[name].secrets if secret in dumps([shown, noted]).decode()]
