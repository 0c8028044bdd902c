"""The adapter with the real gate against the simulated platform: nothing is ever too fast, and it all adds up."""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import httpx
import pytest

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import LostAnswer, RateLimited
from bridge.domain.observation import Event, Observation, Reading, Words
from bridge.pace.gate import AccountGate
from bridge.simulators.faults import Fault
from bridge.simulators.jrhsz import Account, JrhszCloud, Meter, app, fleet
from bridge.vendorkit.http import VendorHttp
from bridge.vendorkit.spec import Kit
from bridge.vendors.jrhsz.adapter import JrhszAdapter
from bridge.vendors.jrhsz.settings import ENDPOINTS, JrhszSettings, limits
from tests.fakes.adapters import CloudTime, FakeEffect, FakeVault, NoLedger
from tests.unit.vendors.jrhsz.bench import PASSWORD, USERNAME

T = TypeVar("T")
START = datetime(2025, 7, 1, 4, 0, tzinfo=UTC)
ROUNDS = 60


class DrivenClock:
    """A clock that jumps to its next sleeper when everybody waits. It is the simulator's time, too."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._sleepers, (self.seconds + seconds, self._number, future))
        await future

    def pass_to_next(self) -> None:
        while self._sleepers:
            due, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                self.seconds = max(self.seconds, due)
                future.set_result(None)
                return
        raise AssertionError("everybody waits for nothing")

    async def drive(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        """Runs these together to their end, letting time pass whenever nothing else is left to do."""
        tasks = [asyncio.ensure_future(one) for one in work]
        idle = 0
        while not all(task.done() for task in tasks):
            before = self._number, sum(task.done() for task in tasks)
            await asyncio.sleep(0)
            idle = idle + 1 if before == (self._number, sum(task.done() for task in tasks)) else 0
            if idle > ROUNDS:
                idle = 0
                self.pass_to_next()
        return [task.result() for task in tasks]


class World:
    """A platform with meters, and the adapter of one account before it."""

    def __init__(self, meters: int | Sequence[Meter], **options: Any) -> None:
        self.clock = DrivenClock()
        time = CloudTime(self.clock)
        fields = {"id": "flats", "vendor": "jrhsz", "username": USERNAME, "password": PASSWORD}
        settings = JrhszSettings.model_validate(fields | {"base_url": "http://simulator.invalid"} | options)
        self.cloud = JrhszCloud(
            Account(USERNAME, PASSWORD),
            fleet(meters, time.now()) if isinstance(meters, int) else meters,
            time=time,
            rng=random.Random(5),
        )
        self.gate = AccountGate("flats", limits(settings), self.clock, NoLedger())
        transport = httpx.ASGITransport(app(self.cloud))
        self.http = VendorHttp(settings.base_url, self.gate, self.clock, transport=transport)
        policy = settings.policy(("*",), ())
        log = logging.getLogger("test.jrhsz")
        self.adapter = JrhszAdapter(
            settings, Kit(self.http, self.clock, random.Random(1), log, FakeVault(), policy)
        )
        self.devices: list[Device] = []

    async def aclose(self) -> None:
        await self.gate.aclose()
        await self.http.aclose()

    async def inventory(self) -> list[Device]:
        (found,) = await self.clock.drive(self.adapter.inventory())
        self.devices = list(found)
        return self.devices

    async def run_task(self, key: str) -> list[Observation]:
        task = next(task for task in self.adapter.poll_tasks(self.devices) if task.key == key)
        return [one async for batch in self.adapter.poll(task) for one in batch.observations]

    async def poll_all(self) -> dict[str, list[Observation]]:
        keys = [task.key for task in self.adapter.poll_tasks(self.devices)]
        found = await self.clock.drive(*(self.run_task(key) for key in keys))
        return dict(zip(keys, found, strict=True))

    def order(self, table_no: str, command: str, **params: Any) -> Order:
        device = next(device for device in self.devices if device.native_id == table_no)
        spec = self.adapter.commands(device)[command]
        model = spec.params.model_validate(params)
        return Order("c1", "flats", device, spec, model, dispatched_at=self.clock.now())

    async def carry(self, order: Order) -> tuple[Outcome, Outcome | None]:
        """What the carrier does: sends, then looks at the planned ages."""
        sent = await self.adapter.execute(order, FakeEffect())
        since_s = self.clock.seconds
        for age_s in order.spec.follow(order.device).ask_at_s:
            await self.clock.sleep(since_s + age_s - self.clock.seconds)
            if (end := await self.adapter.probe(order)) is not None:
                return sent, end
        return sent, None

    def spacing_kept(self) -> bool:
        """Whether no end point was called twice within 2 s or twice at once, seen from the platform."""
        calls = self.cloud.calls
        return all(
            calls.busiest(2.0, endpoint=name) <= 1 and calls.most_at_once(endpoint=name) <= 1
            for name in ENDPOINTS
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(6)
    await made.inventory()
    yield made
    await made.aclose()


async def test_two_thousand_meters_are_read_and_switched_within_every_limit() -> None:
    world = World(fleet(2000, START.timestamp(), past_s=6 * 3600))
    devices = await world.inventory()
    assert len(devices) == 2000
    world.cloud.faults.add(Fault("slow", seconds=3, probability=0.2, count=None))
    chosen = [device for device in devices if device.kind is DeviceKind.ELECTRICITY_METER][:40]
    orders = [world.order(device.native_id, "breaker", state="off") for device in chosen]
    keys = [task.key for task in world.adapter.poll_tasks(devices)]
    polls: list[Coroutine[Any, Any, Any]] = [world.run_task(key) for key in keys]
    *found, ended = await world.clock.drive(*polls, _all(world, orders))
    seen = dict(zip(keys, found, strict=True))
    assert len({one.device for one in seen["readings"]}) == 2000
    assert sum(isinstance(one, Words) for one in seen["meters"]) == 2000
    assert all(end is not None and end.status is Status.SUCCEEDED for _, end in ended)
    assert world.cloud.ledger.counts() == {"tripped": 40}
    assert world.cloud.calls.counts()["login"] == 1
    assert world.spacing_kept()
    assert world.gate.usage()[0].limit.documented
    await world.aclose()


async def _all(world: World, orders: Sequence[Order]) -> Any:
    return await asyncio.gather(*(world.carry(order) for order in orders))


async def test_consumption_adds_up_to_the_registers(world: World) -> None:
    seen = await world.poll_all()
    by_device: dict[str, list[Reading]] = defaultdict(list)
    for one in seen["consumption"]:
        assert isinstance(one, Reading)
        by_device[one.device].append(one)
    assert len(by_device) == 6
    for records in by_device.values():
        counter = "water_volume" if "water_volume" in records[0].metrics else "import_energy"
        used = sum(Decimal(one.metrics[f"{counter}_interval"]) for one in records[1:])
        assert used == Decimal(records[-1].metrics[counter]) - Decimal(records[0].metrics[counter])
        assert used > 0
        times = [one.observed_at for one in records]
        assert times == sorted(times, key=str)
    for one in seen["time_of_use"]:
        assert isinstance(one, Reading)
        if "import_energy" in one.metrics:
            parts = ("sharp", "peak", "flat", "valley")
            total = sum(Decimal(one.metrics[f"import_energy_{part}"]) for part in parts)
            assert total == one.metrics["import_energy"]
    (gaps,) = await world.clock.drive(world.run_task("stored"))
    assert gaps == []


async def test_a_camera_that_sees_nothing_makes_an_event(world: World) -> None:
    blind = next(meter for meter in world.cloud.meters.values() if meter.camera)
    world.cloud.configure(blind.table_no, image_status="解析异常")
    world.cloud.read(blind.table_no)
    (seen,) = await world.clock.drive(world.run_task("camera"))
    assert [one.code for one in seen if isinstance(one, Event)] == ["image_unreadable"]
    assert any(isinstance(one, Reading) and one.metrics["water_volume"] for one in seen)


@pytest.mark.parametrize(
    ("table_no", "command", "state", "effect"),
    [("000000000001", "breaker", "off", "tripped"), ("000000000002", "valve", "close", "valve_closed")],
)
async def test_a_command_is_accepted_carried_out_later_and_proved_by_the_gate(
    world: World, table_no: str, command: str, state: str, effect: str
) -> None:
    before = world.clock.seconds
    ((sent, end),) = await world.clock.drive(world.carry(world.order(table_no, command, state=state)))
    assert (sent.status, end and end.status) == (Status.SENT, Status.SUCCEEDED)
    assert world.clock.seconds - before >= 10
    assert [(entry.device, entry.effect) for entry in world.cloud.ledger.entries()] == [(table_no, effect)]


async def test_a_reading_on_demand_is_newer_than_the_request(world: World) -> None:
    ((_, end),) = await world.clock.drive(world.carry(world.order("000000000001", "read")))
    assert end is not None
    (reading,) = end.observations
    assert isinstance(reading, Reading)
    assert reading.observed_at is not None
    assert reading.observed_at > START
    assert world.cloud.ledger.counts() == {"read": 1}


async def test_a_meter_that_sleeps_proves_nothing_until_it_wakes(world: World) -> None:
    world.cloud.go_offline("000000000002")
    order = world.order("000000000002", "valve", state="close")
    ((_, end),) = await world.clock.drive(world.carry(order))
    assert end is None
    world.cloud.go_online("000000000002")
    world.clock.seconds += 900
    (late,) = await world.clock.drive(world.adapter.probe(order))
    assert late is not None
    assert late.status is Status.SUCCEEDED


async def test_a_lost_answer_is_found_at_the_gate(world: World) -> None:
    world.cloud.faults.add(Fault("lose_reply", endpoint="meterInstruct/1"))
    order = world.order("000000000001", "breaker", state="off")
    with pytest.raises(LostAnswer):
        await world.clock.drive(world.adapter.execute(order, FakeEffect()))
    world.clock.seconds += 10
    (found,) = await world.clock.drive(world.adapter.probe(order))
    assert found is not None
    assert found.status is Status.SUCCEEDED
    assert world.cloud.calls.counts()["meterInstruct/1"] == 1


async def test_tokens_that_end_are_renewed_and_nothing_is_missing(world: World) -> None:
    world.cloud.expire_tokens()
    assert len((await world.poll_all())["readings"]) == 6
    world.cloud.expire_tokens(1006)
    world.clock.seconds += 7300
    assert len((await world.poll_all())["readings"]) == 6
    assert world.cloud.calls.counts()["login"] == 3


async def test_another_user_of_the_account_slows_all_calls_down_and_breaks_none(world: World) -> None:
    for endpoint in ("meterList", "readMeter"):
        world.cloud.faults.add(Fault("native_code", endpoint=endpoint, code=1011, count=2))
    world.clock.seconds += 61
    seen = await world.poll_all()
    assert len(seen["readings"]) == 6
    assert world.spacing_kept()
    late = [call.at for call in world.cloud.calls.calls() if call.at > START.timestamp() + 61]
    order = world.order("000000000001", "breaker", state="off")
    world.cloud.faults.add(Fault("native_code", endpoint="meterInstruct/*", code=1011))
    with pytest.raises(RateLimited):
        await world.clock.drive(world.adapter.execute(order, FakeEffect()))
    (sent,) = await world.clock.drive(world.adapter.execute(order, FakeEffect()))
    assert (sent.status, len(late) > 6) == (Status.SENT, True)
