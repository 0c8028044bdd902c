"""A task that is told to stop in the very moment in which the broker answers: it stops."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

import bridge.mqtt.session as session_module
from bridge.cli.broker import connected
from bridge.contract.topics import Topics
from bridge.mqtt.cancelling import heeding
from bridge.mqtt.publisher import Publisher
from bridge.mqtt.session import Session
from bridge.mqtt.settings import MqttSettings
from bridge.ops.clock import SystemClock
from bridge.store.sqlite.database import SqliteStore
from tests.system.stage import Broker


async def test_a_result_and_a_cancellation_in_one_moment_are_a_cancellation() -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    client = aiomqtt.Client("127.0.0.1")
    task = asyncio.create_task(heeding(client._wait_for(answer, None)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    answer.set_result("connected")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_result_alone_is_given() -> None:
    async def answered() -> str:
        return "connected"

    assert await heeding(answered()) == "connected"


async def test_a_session_that_is_told_to_stop_as_it_connects_ends(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[asyncio.Task[None]] = []
    read = session_module.read_connack

    def read_and_cancel(*told: Any) -> None:
        read(*told)
        tasks[0].cancel()

    monkeypatch.setattr(session_module, "read_connack", read_and_cancel)
    clock = SystemClock()
    store = SqliteStore(tmp_path / "state.db", 64 * 1024**2)
    await store.open()
    settings = MqttSettings.model_validate({"url": f"mqtt://127.0.0.1:{broker.port}"})

    async def admit(_message: object) -> None:
        raise AssertionError("nobody commands here")

    session = Session(
        settings, Topics("mb"), "told", 300.0, Publisher(store, clock), admit, clock, random.Random(1)
    )
    tasks.append(asyncio.create_task(session.run()))
    await asyncio.wait(tasks, timeout=20)
    assert tasks[0].cancelled()
    await store.close()


@pytest.mark.parametrize("moment", ["_on_connect", "_on_subscribe"])
async def test_a_visitor_that_is_told_to_stop_as_the_broker_answers_ends(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    tasks: list[asyncio.Task[None]] = []
    own = getattr(aiomqtt.Client, moment)

    def answered(*told: Any) -> None:
        tasks[0].cancel()
        own(*told)

    monkeypatch.setattr(aiomqtt.Client, moment, answered)

    async def look_on() -> None:
        settings = MqttSettings.model_validate({"url": f"mqtt://127.0.0.1:{broker.port}"})
        async with connected(settings, "test") as line:
            await line.subscribe(["mb/#"])
            async for _message in line.messages:
                pass

    tasks.append(asyncio.create_task(look_on()))
    await asyncio.wait(tasks, timeout=20)
    assert tasks[0].cancelled()
