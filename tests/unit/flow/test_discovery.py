"""Announcements to Home Assistant: with every description, exactly withdrawn, repeated after a birth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.device import DeviceKind
from bridge.domain.observation import Described
from tests.fakes.harness import Harness
from tests.fakes.vendor import device

D1, D2 = (f"homeassistant/device/mb_home_{name}/config" for name in ("D1", "D2"))


@pytest.fixture
async def announcing(tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path, discovery=True) as harness:
        yield harness


def documents(harness: Harness, topic: str = D1) -> list[Any]:
    """What was announced there, in order."""
    return [one.doc for one in harness.published("#") if one.topic == topic]


async def broker_confirms(harness: Harness) -> None:
    """The broker has everything that waited."""

    def confirm(tx: Any) -> None:
        tx.outbox.confirm([row.seq for row in tx.outbox.read(0, 1_000_000)])

    await harness.store.run(confirm)


async def test_every_device_is_announced_once_and_retained(announcing: Harness) -> None:
    for topic in (D1, D2):
        (one,) = [one for one in announcing.published("#") if one.topic == topic]
        assert one.retain
        assert "switch_switch_state" in one.doc["cmps"]
    await announcing.restart()
    await announcing.intake.take_inventory("home", announcing.vendor.devices)
    assert len(documents(announcing)) == 1


async def test_without_discovery_nothing_is_announced(harness: Harness) -> None:
    assert not [one for one in harness.published("#") if one.topic.startswith("homeassistant/")]


async def test_what_becomes_known_is_announced(announcing: Harness) -> None:
    await announcing.take(Described(device("D1", metrics=("current",), model="W71")))
    assert documents(announcing)[-1]["cmps"]["sensor_current"]["dev_cla"] == "current"
    assert documents(announcing)[-1]["dev"]["mdl"] == "W71"


async def test_a_component_that_goes_is_withdrawn_first_and_left_out_later(announcing: Harness) -> None:
    announcing.set_policy(allow=("read",))
    await announcing.enter_account()
    first = documents(announcing)[-1]["cmps"]
    assert first["switch_switch_state"] == {"p": "switch"}
    assert first["sensor_switch_state"]["uniq_id"] == "mb_home_D1_sensor_switch_state"
    await broker_confirms(announcing)
    await announcing.advance(61)
    (last,) = documents(announcing)
    assert "switch_switch_state" not in last["cmps"]
    assert last["cmps"]["sensor_switch_state"] == first["sensor_switch_state"]


async def test_the_second_step_waits_until_the_broker_has_had_the_first(announcing: Harness) -> None:
    announcing.set_policy(allow=("read",))
    await announcing.enter_account()
    await announcing.advance(600)
    assert documents(announcing)[-1]["cmps"]["switch_switch_state"] == {"p": "switch"}
    await broker_confirms(announcing)
    await announcing.advance(61)
    assert "switch_switch_state" not in documents(announcing)[-1]["cmps"]


async def test_a_withdrawal_that_a_crash_interrupts_is_completed(announcing: Harness) -> None:
    announcing.set_policy(allow=("read",))
    await announcing.enter_account()
    await broker_confirms(announcing)
    await announcing.restart()
    assert documents(announcing) == []
    await announcing.advance(61)
    assert "switch_switch_state" not in documents(announcing)[-1]["cmps"]


async def test_a_component_that_comes_back_before_it_was_left_out_stays(announcing: Harness) -> None:
    announcing.set_policy(allow=("read",))
    await announcing.enter_account()
    announcing.set_policy(allow=("*",))
    await announcing.enter_account()
    await broker_confirms(announcing)
    await announcing.advance(61)
    (last,) = documents(announcing)
    assert last["cmps"]["switch_switch_state"]["cmd_t"] == "mb/home/D1/cmd/breaker"
    assert "sensor_switch_state" not in last["cmps"]


async def test_a_kind_that_becomes_known_changes_the_entities(announcing: Harness) -> None:
    await announcing.take(Described(device("D1", kind=DeviceKind.ELECTRICITY_METER)))
    last = documents(announcing)[-1]["cmps"]
    assert last["binary_sensor_alarms"] == {"p": "binary_sensor"}


async def test_a_device_that_is_gone_leaves_home_assistant_and_no_other(announcing: Harness) -> None:
    await announcing.intake.take_inventory("home", announcing.vendor.devices[:1])
    cleared = [one.topic for one in announcing.published("#") if one.retain and not one.body]
    assert D2 in cleared
    assert D1 not in cleared
    await announcing.intake.take_inventory("home", announcing.vendor.devices)
    assert documents(announcing, D2)[-1]["dev"]["ids"] == ["mb_home_D2"]


async def test_after_a_birth_everything_is_repeated_once_after_a_while(announcing: Harness) -> None:
    await broker_confirms(announcing)
    for word in (b"online", b"online", b"offline"):
        announcing.announcer.born(word)
    await announcing.clock.settle()
    assert documents(announcing) == []
    await announcing.advance(11)
    assert len(documents(announcing, D1)) == len(documents(announcing, D2)) == 1
    await broker_confirms(announcing)
    announcing.announcer.born(b"offline")
    await announcing.advance(60)
    assert documents(announcing) == []


async def test_a_store_that_fails_delays_the_second_step_and_does_not_lose_it(announcing: Harness) -> None:
    announcing.set_policy(allow=("read",))
    await announcing.enter_account()
    await broker_confirms(announcing)
    failing = True
    announcing.store.fails = lambda: failing
    await announcing.advance(70)
    failing = False
    await announcing.advance(120)
    assert "switch_switch_state" not in documents(announcing)[-1]["cmps"]


async def test_the_announcement_of_a_device_is_told_from_any_other_topic(announcing: Harness) -> None:
    kept = await announcing.store.run(lambda tx: list(tx.retained.all()))
    assert {row.topic for row in kept if announcing.announcer.owns(row)} == {D1, D2}
