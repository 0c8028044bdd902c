"""What is under way at once is bounded, and what finds no room is refused in the vendor's own form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from bridge.push import receiver as receiving
from bridge.push.room import NoRoom, Room
from tests.fakes.receiver import ALARM, DATA, GAS, REPORT, SECRET, SHOP, Receiver
from tests.unit.vendors.iotmeter.bench import METER, fixture_bytes

CALLBACK = {"device_sn": "W71E0000001", "cmd": "power_report", "info": {"total_electricity": "12.34"}}


def test_places_and_bytes_are_given_back_whatever_happens() -> None:
    room = Room(2, 100)
    with room.place() as place:
        place.grow(60)
        with room.place() as other, pytest.raises(NoRoom):
            other.grow(41)
        assert (room.under_way, room.held) == (1, 60)
        with pytest.raises(ZeroDivisionError):
            _fails_inside(room)
        assert (room.under_way, room.held) == (1, 60)
    assert (room.under_way, room.held) == (0, 0)


def _fails_inside(room: Room) -> float:
    with room.place() as place:
        place.grow(40)
        return 1 / 0


def test_a_full_room_takes_nobody() -> None:
    room = Room(1, 100)
    with room.place():
        with pytest.raises(NoRoom), room.place():
            pass
        assert room.under_way == 1


class Slow:
    """A body that comes piece by piece, as it is let."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.begun, self.rest = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[:10]
        self.begun.set()
        await self.rest.wait()
        yield self._body[10:]


def failed(answer: httpx.Response, status: int) -> object:
    assert answer.status_code == status
    assert answer.json()["State"] == "failed"
    return answer.json()["Data"]


async def test_what_is_too_much_at_once_gets_503_in_the_vendors_form_and_the_next_is_taken(
    tmp_path: Path,
) -> None:
    async with Receiver(tmp_path, http="max_pushes: 1") as receiver:
        slow = Slow(fixture_bytes("v1"))
        first = asyncio.ensure_future(receiver.web.post(GAS + DATA, content=slow))
        await slow.begun.wait()
        for endpoint, empty in ((DATA, None), (ALARM, 0), (REPORT, [])):
            refused = await receiver.gas(endpoint, fixture_bytes("v5"))
            assert failed(refused, 503) == empty
            assert int(refused.headers["retry-after"]) > 0
        other = await receiver.post(SHOP, CALLBACK)
        assert (other.status_code, other.json()["code"]) == (503, 1)
        assert (await receiver.post(f"/push/gas/{SECRET}x", b"")).status_code == 404
        slow.rest.set()
        assert (await first).json()["State"] == "success"
        assert (await receiver.post(SHOP, CALLBACK)).status_code == 200
        assert len(receiver.docs(f"gas/{METER}/telemetry")) == 1
        assert receiver.gateway.doors.counters.counts["gas", "no_room"] == 3
        assert receiver.gateway.push_limits.room == Room(1, 32 * 1024**2)


@pytest.mark.parametrize("announced", [True, False])
async def test_bytes_in_memory_are_bounded_announced_or_not(tmp_path: Path, *, announced: bool) -> None:
    body = fixture_bytes("v1") + b" " * 700
    async with Receiver(tmp_path, http="max_body: 2KiB, max_push_bytes: 3KiB") as receiver:
        slow = Slow(body)
        headers = {"Content-Length": str(len(body))} if announced else {}
        first = asyncio.ensure_future(receiver.web.post(GAS + DATA, content=slow, headers=headers))
        await slow.begun.wait()
        refused = await receiver.gas(DATA, body)
        assert refused.status_code == (503 if announced else 200)
        if not announced:
            second = Slow(body)
            other = asyncio.ensure_future(receiver.web.post(GAS + DATA, content=second))
            await second.begun.wait()
            second.rest.set()
            slow.rest.set()
            assert sorted([(await first).status_code, (await other).status_code]) == [200, 503]
        else:
            slow.rest.set()
            assert (await first).status_code == 200
        assert (await receiver.gas(DATA, body)).status_code == 200
        assert receiver.gateway.push_limits.room.held == 0


async def test_a_sender_that_gets_stuck_loses_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "READ_TIMEOUT_S", 0.05)
    async with Receiver(tmp_path, http="max_pushes: 1") as receiver:
        slow = Slow(fixture_bytes("v1"))
        assert failed(await receiver.web.post(GAS + DATA, content=slow), 408) is None
        assert receiver.gateway.push_limits.room.under_way == 0
        assert (await receiver.gas(DATA, fixture_bytes("v1"))).status_code == 200


async def test_a_body_that_is_too_large_is_refused_in_the_form_of_its_receiver(tmp_path: Path) -> None:
    async with Receiver(tmp_path, http="max_body: 1KiB") as receiver:
        for endpoint, empty in ((DATA, None), (ALARM, 0), (REPORT, [])):
            assert failed(await receiver.gas(endpoint, b" " * 1025), 413) == empty


async def test_a_week_of_backlog_at_full_speed_is_taken_within_the_bounds(tmp_path: Path) -> None:
    """What is refused is sent again, as the platform does; nothing is lost and nothing is taken twice."""
    async with Receiver(tmp_path, http="max_pushes: 8") as receiver:
        room = receiver.gateway.push_limits.room
        most = 0

        async def push(hour: int) -> int:
            nonlocal most
            body = b'{"meter_comm_no":"%d","acquisition_time":"2021-04-%02d %02d:00","std_sum":%d}' % (
                hour % 7, 1 + hour // 24, hour % 24, hour,
            )  # fmt: skip
            tries = 1
            while (await receiver.gas(DATA, body)).status_code == 503:
                tries += 1
                await asyncio.sleep(0.01)  # a sender that asks again without a break leaves nobody a turn
                most = max(most, room.under_way)
            return tries

        tries = await asyncio.gather(*(push(hour) for hour in range(7 * 24)))
        assert max(tries) > 1, "the room was too small for all at once"
        assert most <= 8
        records = [*receiver.docs("gas/+/telemetry"), *receiver.docs("gas/+/history")]
        assert sorted(doc["metrics"]["gas_volume"] for doc in records) == list(range(7 * 24))


async def test_guessing_is_slowed_and_the_platform_that_knows_the_secret_is_not(tmp_path: Path) -> None:
    async with Receiver(tmp_path, http="max_wrong_secrets: 3") as receiver:
        wrong = [await receiver.post("/push/gas/FAKE-guess" + DATA, b"{}") for _ in range(5)]
        assert [answer.status_code for answer in wrong] == [404, 404, 404, 429, 429]
        assert {answer.content for answer in wrong} == {b""}
        assert wrong[-1].headers["retry-after"] == "60"
        assert (await receiver.gas(DATA, fixture_bytes("v1"))).status_code == 429, (
            "not even a right one is looked at"
        )
        await receiver.clock.advance(60)
        assert (await receiver.gas(DATA, fixture_bytes("v1"))).status_code == 200
        for _ in range(9):
            assert (await receiver.post("/push/gas/FAKE-guess" + DATA, b"{}")).status_code == 404
        assert (await receiver.gas(DATA, fixture_bytes("v1"))).status_code == 200
        assert receiver.gateway.doors.counters.counts["", "wrong_secret"] == 12
        assert receiver.gateway.doors.counters.counts["", "slowed"] == 3
