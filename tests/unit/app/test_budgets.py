"""The retained `budget` topic says the truth at every moment and does not flood the broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.app.budgets import EVERY_S, LOOK_S, Budgets, forecasts
from bridge.pace.gate import AccountGate
from bridge.pace.limits import Lane, Limit, Window
from bridge.store.protocols import SlotRow
from tests.fakes.harness import Harness
from tests.unit.pace.bench import MemoryLedger

HOURLY = Limit("calls", "/all", "account", (Window(12, 3600.0),))
BURST = Limit("burst", "/burst", "account", (Window(5, 1.0),))


@dataclass
class Account:
    """Only what `Budgets` asks for."""

    gate: AccountGate


@dataclass
class Rig:
    harness: Harness
    accounts: dict[str, Any]
    budgets: Budgets
    connected: bool = True

    async def call(self, *limits: str) -> None:
        async with self.accounts["home"].gate.slot([(name, "") for name in limits], Lane.POLL):
            pass

    @property
    def told(self) -> list[dict[str, Any]]:
        return self.harness.docs("home/budget")

    @property
    def windows(self) -> list[dict[str, Any]]:
        return self.told[-1]["windows"]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Harness(tmp_path) as harness:
        gate = AccountGate("home", [HOURLY, BURST], harness.clock, MemoryLedger(), vendor="acme")
        accounts: dict[str, Any] = {"home": Account(gate)}
        made = Rig(harness, accounts, None)  # type: ignore[arg-type] # set in the next line
        made.budgets = Budgets(harness.store, harness.topics, harness.clock, accounts, lambda: made.connected)
        running = asyncio.ensure_future(made.budgets.run())
        await harness.advance(0)
        yield made
        running.cancel()


async def test_a_budget_is_there_from_the_start_and_shows_each_call_soon(rig: Rig) -> None:
    assert rig.windows == []
    await rig.harness.advance(60)
    assert len(rig.told) == 1
    await rig.call("calls")
    await rig.harness.advance(LOOK_S)
    (row,) = rig.windows
    assert (row["endpoint"], row["limit"], row["scope"], row["window_s"]) == ("/all", 12, "account", 3600)
    assert (row["used"], row["remaining"], row["resets_at"]) == (1, 11, "2024-01-01T13:01:00Z")


async def test_windows_that_slide_are_told_without_any_call(rig: Rig) -> None:
    await rig.call("calls")
    await rig.harness.advance(600)
    await rig.call("calls")
    await rig.harness.advance(10)
    assert rig.windows[0]["used"] == 2
    await rig.harness.advance(3600 - 610 + EVERY_S)
    assert rig.windows[0]["used"] == 1
    await rig.harness.advance(600)
    assert rig.windows == []
    assert len(rig.told) == 5


async def test_an_account_that_calls_all_the_time_sends_no_flood(rig: Rig) -> None:
    for _ in range(100):
        await rig.call("burst")
        await rig.harness.advance(0.5)
    assert 8 <= len(rig.told) <= 50 / EVERY_S + 2
    await rig.harness.advance(EVERY_S + LOOK_S)
    assert rig.windows == []


async def test_a_hit_shows_at_once_that_nothing_is_left_and_when_it_ends(rig: Rig) -> None:
    await rig.call("calls")
    await rig.harness.advance(LOOK_S)
    before = len(rig.told)
    await rig.accounts["home"].gate.block("calls", "", 1800.0)
    await rig.harness.advance(LOOK_S)
    assert len(rig.told) == before + 1
    (row,) = rig.windows
    assert (row["used"], row["remaining"]) == (1, 0)
    assert row["resets_at"].startswith("2024-01-01T12:30:0")
    await rig.harness.advance(1800 + EVERY_S)
    assert (rig.windows[0]["used"], rig.windows[0]["remaining"]) == (1, 11)


async def test_while_the_broker_is_away_nothing_piles_up(rig: Rig) -> None:
    rig.connected = False
    before = len(rig.told)
    for _ in range(10):
        await rig.call("calls")
        await rig.harness.advance(30)
    assert len(rig.told) == before
    rig.connected = True
    await rig.harness.advance(LOOK_S)
    assert len(rig.told) == before + 1
    assert rig.windows[0]["used"] == 10


async def test_an_account_that_is_gone_is_told_of_no_more(rig: Rig) -> None:
    account = rig.accounts.pop("home")
    await rig.harness.advance(LOOK_S)
    before = len(rig.told)
    async with account.gate.slot([("calls", "")], Lane.POLL):
        pass
    await rig.budgets.publish("home")
    await rig.harness.advance(60)
    assert len(rig.told) == before


async def test_a_window_that_runs_out_is_logged_once_and_forecast(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "bridge.budgets"):
        for _ in range(8):
            await rig.call("calls")
            await rig.harness.advance(60)
    told = [record for record in caplog.records if record.getMessage() == "budget.running_out"]
    assert len(told) == 1
    (row,) = forecasts(rig.accounts["home"])
    assert row["limit"] == "calls"
    assert "2024-01-01T12:08" < row["exhausted_at"] < "2024-01-01T12:20"


async def test_slots_that_no_window_reaches_are_forgotten_on_disk(rig: Rig) -> None:
    now = rig.harness.clock.now().timestamp()
    rows = [SlotRow("home", "calls", "", now - 3601), SlotRow("home", "calls", "", now + 3500)]
    await rig.harness.store.run(lambda tx: tx.budgets.add(rows))
    await rig.call("calls")
    await rig.harness.advance(3600 + 2 * LOOK_S)
    assert await rig.harness.store.run(lambda tx: list(tx.budgets.all())) == rows[1:]
