"""The charts of the status page go on after a restart."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.app.charts import EVERY_S, ChartKeeper
from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.domain.errors import StoreError
from bridge.domain.times import rfc3339
from bridge.web.board import Board
from tests.fakes.harness import FragileStore, HarnessClock

TOPICS = Topics("mb")


class World:
    """A board, and what keeps it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = HarnessClock()
        self.begin()

    def begin(self) -> None:
        """A process begins."""
        self.store = FragileStore(self.path, self.clock)
        self.board = Board(TOPICS)
        self.keeper = ChartKeeper(self.store, self.board, self.clock)

    def tell(self, device: str = "d1", account: str = "home", **metrics: object) -> None:
        document = {"ts": rfc3339(self.clock.now()), "metrics": metrics, "alarms": []}
        topic = TOPICS.device(account, device, "state")
        body = json.dumps(document).encode()
        self.board.take([Publication(topic, body, Class.STATE, True, account, device)])

    async def restart(self) -> None:
        await self.store.close()
        self.begin()
        await self.store.open()
        await self.keeper.recall("home", {"d1", "d2"})

    def points(self, metric: str, device: str = "d1") -> list[float]:
        series = self.board.shown("home", device).series
        return [round(value, 3) for _, value in series[metric].points(0)] if metric in series else []

    def rows(self) -> int:
        with sqlite3.connect(self.path) as db:
            return int(db.execute("SELECT count(*) FROM chart").fetchone()[0])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "state.db")
    await made.store.open()
    yield made
    await made.store.close()


async def test_charts_go_on_after_a_restart(world: World) -> None:
    for power in (1.25, 2.5, 3):
        world.tell(active_power=power, switch_state="on")
        world.tell("d2", active_power=power * 10)
        await world.keeper.keep()
        await world.clock.advance(EVERY_S)
    await world.restart()
    assert (world.points("active_power"), world.points("switch_state")) == ([1.25, 2.5, 3], [1, 1, 1])
    assert world.points("active_power", "d2") == [12.5, 25, 30]
    world.tell(active_power=4)
    assert world.points("active_power") == [1.25, 2.5, 3, 4]


async def test_what_is_kept_is_written_every_quarter_of_an_hour_in_one_row_per_account(world: World) -> None:

    running = asyncio.ensure_future(world.keeper.run())
    for _ in range(90):
        world.tell(active_power=1)
        world.tell("d2", active_power=2)
        world.tell(account="shop", active_power=3)
        await world.clock.advance(EVERY_S / 45)
    assert world.rows() == 4
    await world.clock.advance(3 * EVERY_S)  # nothing new, nothing written
    assert world.rows() == 4
    running.cancel()


async def test_no_more_than_a_day_is_kept_even_where_the_clock_was_wrong(world: World) -> None:
    world.clock.step_wall(30 * 86400)
    world.tell(active_power=99)
    await world.keeper.keep()
    world.clock.step_wall(-30 * 86400)
    await world.restart()
    for hour in range(30):
        world.tell(active_power=hour)
        await world.keeper.keep()
        await world.clock.advance(3600)
    await world.restart()
    assert world.points("active_power") == list(range(5, 30))


async def test_devices_and_metrics_that_are_gone_and_rows_that_are_spoiled_do_not_come_back(
    world: World,
) -> None:
    world.tell("gone", active_power=1)
    world.tell(active_power=2)
    await world.keeper.keep()
    await world.clock.advance(10)
    await world.store.run(lambda tx: tx.charts.put("home", 1, b"spoiled"))
    await world.restart()
    assert world.points("active_power") == [2]
    assert world.board.shown("home", "gone").series == {}
    world.board.recall("home", "d1", 2_000_000_000, {"no_such_metric": 1.0})
    assert list(world.board.shown("home", "d1").series) == ["active_power"]


async def test_what_the_disk_did_not_take_is_kept_the_next_time(world: World) -> None:
    world.tell(active_power=7)
    world.store.fails = lambda: True
    with pytest.raises(StoreError):
        await world.keeper.keep()
    world.store.fails = lambda: False
    await world.keeper.keep()
    await world.restart()
    assert world.points("active_power") == [7]
