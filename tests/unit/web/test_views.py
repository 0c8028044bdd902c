"""What the page is told: found, sorted, paged, and nothing that is a secret or a customer's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.text import dumps, loads
from bridge.store.protocols import GapRow, GapState, OutboxRow, Tx
from bridge.web.board import Board
from bridge.web.views import Filter, Views
from tests.fakes.harness import Harness
from tests.fakes.vendor import ACCOUNT


class Bench:
    """A gateway whose publications go to a board."""

    def __init__(self, gateway: Harness) -> None:
        self.gateway = gateway
        self.board = Board(gateway.topics)
        self.views = Views(self.board, gateway.roster, gateway.store, gateway.topics, gateway.clock)
        gateway.store.outgoing = self._outgoing

    def _outgoing(self, added: list[OutboxRow], _gone: list[int]) -> None:
        self.board.take(row.publication for row in added)

    def found(self, **wanted: Any) -> list[str]:
        return [row["device"] for row in self.views.devices(Filter(**wanted), 0, 50)["devices"]]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Harness(tmp_path, devices=[f"D{number}" for number in range(1, 6)]) as gateway:
        yield Bench(gateway)


async def test_devices_are_paged_and_counted(bench: Bench) -> None:
    first, second = (bench.views.devices(Filter(), offset, 3) for offset in (0, 3))
    assert [first["total"], first["fitting"], len(first["devices"]), len(second["devices"])] == [5, 5, 3, 2]
    assert bench.views.devices(Filter(), 99, 3)["devices"] == []
    assert first["kinds"] == ["breaker"]


async def test_every_word_of_a_search_must_occur_somewhere(bench: Bench) -> None:
    assert bench.found(words=("d3",)) == ["D3"]
    assert bench.found(words=("home", "breaker", "d4")) == ["D4"]
    assert bench.found(words=("d3", "d4")) == []
    assert bench.found(account="other") == []
    assert len(bench.found(account=ACCOUNT, kind="breaker")) == 5


async def test_newest_values_are_shown_with_their_digits_and_units(bench: Bench) -> None:
    await bench.gateway.take(bench.gateway.reading({"voltage": Decimal("230.10"), "switch_state": "on"}, 0))
    (row,) = (one for one in bench.views.devices(Filter(), 0, 9)["devices"] if one["device"] == "D1")
    assert [(one["name"], one["value"], one["unit"]) for one in row["values"]] == [
        ("switch_state", "on", ""),
        ("voltage", Decimal("230.10"), "V"),
    ]
    assert row["chart"]["metric"] == "voltage"


async def test_a_numeric_chart_comes_back_for_a_device(bench: Bench) -> None:
    for minute in range(3):
        await bench.gateway.advance(60)
        await bench.gateway.take(bench.gateway.reading({"active_power": Decimal(minute)}, 60 * minute + 60))
    device = await bench.views.device(ACCOUNT, "D1")
    assert [value for _, value in device["charts"]["active_power"]] == [0, 1, 2]
    assert device["info"]["device"] == "D1"
    assert device["commands"]["breaker"]["params"]["required"] == ["state"]
    assert await bench.views.device(ACCOUNT, "D9") is None
    assert await bench.views.device("bridge", "D1") is None
    assert await bench.views.device("nobody", "D1") is None


async def test_journal_is_told_with_every_state(bench: Bench) -> None:
    await bench.gateway.command("home/D1/cmd/breaker", {"state": "on", "id": "c1"})
    told = await bench.views.command(ACCOUNT, "c1")
    assert [step["state"] for step in told["steps"]] == ["accepted", "dispatched", "final"]
    assert (told["status"], told["params"]) == ("succeeded", {"state": "on"})
    assert await bench.views.command(ACCOUNT, "c2") is None


async def test_free_text_of_a_command_is_shown_only_with_customer_data(bench: Bench) -> None:
    order = {"charge_value": 5, "note": "for Mrs Example", "id": "r1"}
    await bench.gateway.command("home/D1/cmd/recharge", order)
    (told,) = (await bench.views.commands(9))["commands"]
    assert told["params"] == {"charge_value": "5", "note": "…"}
    bench.gateway.set_policy(customer_data=True)
    await bench.gateway.enter_account()
    (told,) = (await bench.views.commands(9))["commands"]
    assert told["params"]["note"] == "for Mrs Example"


async def test_documents_are_json(bench: Bench) -> None:
    await bench.gateway.take(bench.gateway.reading({"active_power": Decimal("1.5")}, 0))
    for document in (
        bench.views.devices(Filter(), 0, 9),
        await bench.views.device(ACCOUNT, "D1"),
        await bench.views.alarms(),
        bench.views.offered("bridge"),
    ):
        assert loads(dumps(document)) is not None


async def test_counts_are_those_of_the_account(bench: Bench) -> None:
    assert bench.views.counts(ACCOUNT) == {"devices": 5, "offline": 0, "alarms": 0}
    assert bench.views.counts("nobody") == {"devices": 0, "offline": 0, "alarms": 0}


async def test_known_holes_are_told_the_newest_first_and_counted_by_state(bench: Bench) -> None:
    assert await bench.views.gaps() == {"states": {}, "gaps": []}

    def note(tx: Tx) -> None:
        tx.gaps.insert(GapRow(0, ACCOUNT, "D1", 1_704_000_000_000, 1_704_000_600_000))
        tx.gaps.insert(
            GapRow(
                0,
                ACCOUNT,
                "D2",
                1_704_003_600_000,
                1_704_007_200_000,
                state=GapState.UNFILLABLE,
                certain=False,
            )
        )

    await bench.gateway.store.run(note)
    told = await bench.views.gaps()
    assert told["states"] == {"missing": 1, "unfillable": 1}
    assert [(gap["device"], gap["state"], gap["certain"]) for gap in told["gaps"]] == [
        ("D2", "unfillable", False),
        ("D1", "missing", True),
    ]
    assert told["gaps"][1]["start"] == "2023-12-31T05:20:00Z"
