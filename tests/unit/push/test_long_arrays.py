"""An array of thousands of tiny records: others have their turn while it is read; it is taken whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.errors import StoreError
from bridge.vendors.iotmeter.push import PIECE
from tests.fakes.receiver import COMPANY, DATA, KEY, Receiver

KEYS = {"company_no": COMPANY, "data_api_key": KEY}
METER = "12345678901234"
COUNT = 5000


def tiny(number: int) -> dict[str, Any]:
    at = f"2024-01-01 {number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
    return {"meter_comm_no": METER, "acquisition_time": at, "std_sum": number}


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with Receiver(tmp_path) as running:
        yield running


class Turns:
    """Counts the turns that another task has until a push has been read."""

    def __init__(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        self.until_read = 0
        doors = receiver.gateway.doors
        take_in = doors._take_in

        async def read(*push: Any) -> None:
            self.until_read = self._count
            await take_in(*push)

        monkeypatch.setattr(doors, "_take_in", read)

    async def go(self) -> None:
        while True:
            self._count += 1
            await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["readings", "nothing of use", "the same again and again"])
async def test_others_have_their_turn_while_a_long_array_is_read(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    body: list[Any] = {
        "readings": [tiny(number) for number in range(COUNT)],
        "nothing of use": [{"number": number} for number in range(COUNT)],
        "the same again and again": [tiny(1)] * COUNT,
    }[kind]
    turns = Turns(receiver, monkeypatch)
    other = asyncio.create_task(turns.go())
    answer = await receiver.gas(DATA, body, **KEYS)
    other.cancel()
    assert (answer.status_code, answer.json()["State"]) == (200, "success")
    assert turns.until_read >= COUNT // PIECE


async def test_long_array_is_answered_when_all_of_it_is_on_disk_in_its_order(receiver: Receiver) -> None:
    answer = await receiver.gas(DATA, [tiny(number) for number in range(COUNT)], **KEYS)
    assert answer.json()["State"] == "success"
    volumes = [doc["metrics"]["gas_volume"] for doc in receiver.docs(f"gas/{METER}/telemetry")]
    assert volumes == list(range(COUNT))


async def test_long_array_that_the_disk_does_not_take_is_refused_as_a_whole(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_push: Any) -> None:
        raise StoreError("the disk is full")

    taking = receiver.gateway.doors._take_in
    monkeypatch.setattr(receiver.gateway.doors, "_take_in", full)
    body = [tiny(number) for number in range(COUNT)]
    answer = await receiver.gas(DATA, body, **KEYS)
    assert (answer.status_code, answer.json()["State"]) == (503, "failed")
    assert receiver.docs(f"gas/{METER}/telemetry") == []
    monkeypatch.setattr(receiver.gateway.doors, "_take_in", taking)
    await receiver.gas(DATA, body, **KEYS)
    assert len(receiver.docs(f"gas/{METER}/telemetry")) == COUNT
