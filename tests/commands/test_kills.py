"""A kill after every transaction of every command that changes something: at most one effect (two where the
catalogue lets it be sent once more), exactly one final acknowledgement, and an honest one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.commands import jrhsz, saj, wmj
from tests.commands.rows import Row
from tests.commands.stage import Stage

MOST_TRANSACTIONS = 20
TABLES = {"jrhsz": jrhsz.ROWS, "saj": saj.ROWS, "wmj": wmj.ROWS}
CHANGING = [
    pytest.param(vendor, row, id=f"{vendor}-{number}-{row.command}")
    for vendor, rows in TABLES.items()
    for number, row in enumerate(rows)
    if row.effects
]


async def killed(stage: Stage, row: Row, transaction: int) -> bool:
    """Sends the command to a process that dies after its so-many-th transaction; whether it came so far."""
    stage.store.dies_at = stage.store.count + transaction
    stage.store.dies_after_commit = True
    level = f"home/{row.target}" if row.target else "home"
    message = stage.message(f"{level}/cmd/{row.command}", row.payload)
    admitting = asyncio.ensure_future(stage.admission.admit(message))
    for _ in range(60):
        await stage.advance(2)
        if stage.store.dead or (admitting.done() and stage.is_final("c-1")):
            break
    admitting.cancel()
    return stage.store.dead


@pytest.mark.parametrize(("vendor", "row"), CHANGING)
async def test_a_kill_at_any_transaction_leaves_one_honest_end(tmp_path: Path, vendor: str, row: Row) -> None:
    once = row.idle.sends == 1 or not row.leaves_trace
    for transaction in range(1, MOST_TRANSACTIONS):
        folder = tmp_path / str(transaction)
        folder.mkdir()
        async with Stage(folder, vendor) as stage:
            row.prepare(stage.cloud)
            stage.cloud.ledger.clear()
            if not await killed(stage, row, transaction):
                assert transaction > 2, "it was never killed"
                return
            await stage.restart()
            if not stage.journal():
                await row.ordered(stage)  # the broker delivers again what got no PUBACK
            final = await stage.carried("c-1")
            done = [one for one in stage.effects() if one in row.effects]
            assert [doc["final"] for doc in stage.acks("c-1")].count(True) == 1
            assert len(done) <= (1 if once else 2)
            assert done or final["status"] != "succeeded"
            assert not done or final["status"] != "failed"
    raise AssertionError("more transactions than expected")
