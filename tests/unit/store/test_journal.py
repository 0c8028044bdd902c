"""The journal: commands with every state they went through, and deliveries."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest

from bridge.domain.command import CommandState
from bridge.store.protocols import JournalStep
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.file import migrate
from bridge.store.sqlite.journal import SqliteJournal
from tests.unit.store.bench import command, opened


async def test_command_comes_back_with_every_field(store: SqliteStore, path: Path):
    row = command(
        "付款 7",
        params={"charge_value": Decimal("100.10"), "deep": [None, {"a": True}]},
        state=CommandState.SENT,
        writes=False,
        has_id=False,
        expires_ms=5,
        timeout_s=2.5,
        dispatched_ms=6,
        sent_ms=7,
        lost_ms=8,
        attempt=2,
        asks=3,
        resends=1,
        vendor_ref=4711,
        vendor_code="E-21",
        last_ack={"status": "sent"},
        reply_topic="r",
        correlation=b"\x00\xff",
        requester="who",
        evidence={"metric": "switch_state", "value": "on"},
    )
    key = await store.run(lambda tx: tx.journal.insert(row))
    assert key == row.key > 0
    await store.close()
    async with opened(path) as again:
        found = await again.run(lambda tx: tx.journal.get(key))
        assert found == row
        assert isinstance(found.state, CommandState)
        assert (found.writes, found.has_id) == (False, False)
        assert await again.run(lambda tx: tx.journal.find("shop", "付款 7")) == row
        assert await again.run(lambda tx: tx.journal.find("home", "付款 7")) is None
        assert await again.run(lambda tx: tx.journal.get(key + 1)) is None


async def test_command_without_device_and_answers_comes_back(store: SqliteStore):
    row = command(device=None, device_level=None)
    key = await store.run(lambda tx: tx.journal.insert(row))
    assert await store.run(lambda tx: tx.journal.get(key)) == row


async def test_every_save_is_a_step_of_the_history(store: SqliteStore):
    row = command()
    key = await store.run(lambda tx: tx.journal.insert(row))
    row.state, row.updated_ms, row.attempt = CommandState.DISPATCHED, 2000, 1
    await store.run(lambda tx: tx.journal.save(row, "leaves"))
    row.state, row.updated_ms = CommandState.FINAL, 3000
    await store.run(lambda tx: tx.journal.save(row))
    assert await store.run(lambda tx: tx.journal.steps(key)) == [
        JournalStep(1000, "accepted", "", seq=1),
        JournalStep(2000, "dispatched", "leaves", seq=2),
        JournalStep(3000, "final", "", seq=3),
    ]
    assert await store.run(lambda tx: tx.journal.get(key)) == row


async def test_id_is_taken_once_per_account(store: SqliteStore):
    await store.run(lambda tx: tx.journal.insert(command("c1")))
    await store.run(lambda tx: tx.journal.insert(command("c1", account="home")))
    with pytest.raises(sqlite3.IntegrityError):
        await store.run(lambda tx: tx.journal.insert(command("c1")))
    assert store.failing is None
    assert len(await store.run(lambda tx: tx.journal.recent(10))) == 2


async def test_unfinished_commands_are_listed_oldest_first(store: SqliteStore):
    for number, state in enumerate(CommandState):
        await store.run(lambda tx, n=number, s=state: tx.journal.insert(command(f"c{n}", state=s)))
    await store.run(lambda tx: tx.journal.insert(command("h", account="home")))
    everything = await store.run(lambda tx: tx.journal.unfinished())
    assert [row.id for row in everything] == ["c0", "c1", "c2", "c3", "h"]
    assert [row.id for row in await store.run(lambda tx: tx.journal.unfinished("home"))] == ["h"]
    open_now = await store.run(lambda tx: tx.journal.open_for("shop", "W71E"))
    assert [row.state for row in open_now] == [
        CommandState.DISPATCHED, CommandState.SENT, CommandState.UNKNOWN,
    ]  # fmt: skip
    assert await store.run(lambda tx: tx.journal.open_for("shop", "other")) == []
    assert [row.id for row in await store.run(lambda tx: tx.journal.recent(2))] == ["h", "c4"]


@pytest.mark.parametrize("reference", [4711, "4711", {"ctrl_id": 1}, Decimal("1.5"), 0, False])
async def test_commands_are_found_by_what_the_vendor_calls_them_the_newest_first(
    store: SqliteStore, reference
):
    await store.run(lambda tx: tx.journal.insert(command("old", vendor_ref=reference)))
    await store.run(lambda tx: tx.journal.insert(command("new", vendor_ref=reference)))
    await store.run(lambda tx: tx.journal.insert(command("other", vendor_ref=4712)))
    found = await store.run(lambda tx: tx.journal.by_vendor_ref("shop", reference))
    assert [(row.id, row.vendor_ref) for row in found] == [("new", reference), ("old", reference)]
    assert await store.run(lambda tx: tx.journal.by_vendor_ref("home", reference)) == []


async def test_number_and_text_are_different_references(store: SqliteStore):
    await store.run(lambda tx: tx.journal.insert(command(vendor_ref=4711)))
    assert await store.run(lambda tx: tx.journal.by_vendor_ref("shop", "4711")) == []


async def test_last_time_that_one_of_some_commands_left_is_found(store: SqliteStore):
    rows = [
        command("a", command="read", dispatched_ms=10),
        command("b", command="read", dispatched_ms=30),
        command("c", command="breaker", dispatched_ms=50),
        command("d", command="read", dispatched_ms=90, device="other"),
        command("e", command="valve"),
    ]
    await store.run(lambda tx: [tx.journal.insert(row) for row in rows])

    def last(*commands: str) -> object:
        return store.run(lambda tx: tx.journal.last_finished_ms("shop", "W71E", commands))

    assert await last("read") == 30
    assert await last("read", "breaker") == 50
    assert await last("valve") is None
    assert await last("none") is None
    assert await last() is None


async def test_only_old_final_commands_are_forgotten_with_their_steps(store: SqliteStore):
    rows = [
        command("old", state=CommandState.FINAL, updated_ms=10),
        command("young", state=CommandState.FINAL, updated_ms=50),
        command("open", state=CommandState.UNKNOWN, updated_ms=10),
    ]
    await store.run(lambda tx: [tx.journal.insert(row) for row in rows])
    assert await store.run(lambda tx: tx.journal.forget_before(50)) == 1
    assert [row.id for row in await store.run(lambda tx: tx.journal.recent(9))] == ["open", "young"]
    assert await store.run(lambda tx: tx.journal.steps(rows[0].key)) == []
    assert len(await store.run(lambda tx: tx.journal.steps(rows[1].key))) == 1


async def test_key_of_a_forgotten_command_is_never_used_again(store: SqliteStore):
    first = await store.run(lambda tx: tx.journal.insert(command("a", state=CommandState.FINAL)))
    await store.run(lambda tx: tx.journal.forget_before(10**15))
    assert await store.run(lambda tx: tx.journal.insert(command("b"))) > first


async def test_delivery_is_known_by_packet_id_and_bytes(store: SqliteStore, path: Path):
    await store.run(lambda tx: tx.deliveries.put(7, b"digest", 1))
    await store.close()
    async with opened(path) as again:
        assert await again.run(lambda tx: tx.deliveries.matches(7, b"digest"))
        assert not await again.run(lambda tx: tx.deliveries.matches(7, b"other"))
        assert not await again.run(lambda tx: tx.deliveries.matches(8, b"digest"))


async def test_settled_delivery_goes_unless_its_packet_id_stands_for_something_newer(store: SqliteStore):
    await store.run(lambda tx: tx.deliveries.put(7, b"old", 1))
    await store.run(lambda tx: tx.deliveries.put(8, b"one", 1))
    await store.run(lambda tx: tx.deliveries.put(7, b"new", 2))
    await store.run(lambda tx: tx.deliveries.settled([(7, b"old"), (8, b"one")]))
    assert await store.run(lambda tx: tx.deliveries.matches(7, b"new"))
    assert not await store.run(lambda tx: tx.deliveries.matches(8, b"one"))
    await store.run(lambda tx: tx.deliveries.clear())
    assert not await store.run(lambda tx: tx.deliveries.matches(7, b"new"))


def test_the_numbers_of_the_steps_go_on_over_the_change_of_their_table(tmp_path: Path) -> None:
    """Migration 0009: also where the last steps were forgotten before."""
    db = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    db.execute("PRAGMA foreign_keys=ON")
    folder = resources.files("bridge.store").joinpath("migrations")
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".sql") and int(entry.name[:4]) < 9:
            db.executescript(entry.read_text())
    db.execute("PRAGMA user_version=8")
    db.execute(
        "INSERT INTO journal (key, account, id, command, params, mark, state, created_ms, updated_ms, writes, has_id,"
        " attempt, asks, resends) VALUES (1, 'a', 'c', 'read', '{}', '', 'final', 1, 1, 0, 1, 0, 0, 0)"
    )
    for number in range(1, 5):
        db.execute("INSERT INTO journal_step (key, at_ms, state, note) VALUES (1, ?, 'final', '')", (number,))
    db.execute("DELETE FROM journal_step WHERE seq = 4")
    migrate(db, tmp_path)
    journal = SqliteJournal(db)
    journal.note_aside(JournalStep(9, "rejected", "no", "rejected", "expired", aside={"id": "x"}))
    assert [(row and row.id, step.seq, step.at_ms) for row, step in journal.history(0, 9)] == [
        ("c", 1, 1), ("c", 2, 2), ("c", 3, 3), (None, 5, 9),
    ]  # fmt: skip
    db.execute("DELETE FROM journal")
    assert [step.aside for _row, step in journal.history(0, 9)] == [{"id": "x"}]
    db.close()
