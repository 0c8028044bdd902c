"""What the store keeps in memory is never truer than the disk: commands, locks, early words."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from bridge.domain.command import CommandState
from bridge.store.protocols import JournalRow, LockRow, Tx
from bridge.store.sqlite.database import SqliteStore
from tests.unit.store.bench import command, opened


class Undone(Exception):
    pass


async def undone(store: SqliteStore, work) -> None:
    def failing(tx: Tx) -> None:
        work(tx)
        raise Undone

    with pytest.raises(Undone):
        await store.run(failing)


async def test_step_of_a_command_that_is_undone_was_never_there(store: SqliteStore):
    key = await store.run(lambda tx: tx.journal.insert(command("c")))

    def leave(tx: Tx) -> None:
        row = tx.journal.get(key)
        row.state, row.attempt = CommandState.DISPATCHED, 1
        tx.journal.save(row)
        assert tx.journal.get(key).attempt == 1

    await undone(store, leave)
    row = await store.run(lambda tx: tx.journal.get(key))
    assert (row.state, row.attempt) == (CommandState.ACCEPTED, 0)


async def test_command_whose_insertion_is_undone_is_not_there(store: SqliteStore):
    keys = []
    await undone(store, lambda tx: keys.append(tx.journal.insert(command("c"))))
    assert await store.run(lambda tx: tx.journal.get(keys[0])) is None


async def test_row_that_is_changed_and_not_saved_changes_nothing(store: SqliteStore):
    key = await store.run(lambda tx: tx.journal.insert(command("c")))

    def change(tx: Tx) -> None:
        tx.journal.get(key).attempt = 7

    await store.run(change)
    assert (await store.run(lambda tx: tx.journal.get(key))).attempt == 0


@pytest.mark.parametrize("seed", range(10))
async def test_commands_read_as_they_are_on_disk_whatever_is_undone(path: Path, seed: int):
    dice = random.Random(seed)
    keys: list[int] = []

    def some(tx: Tx) -> None:
        for _ in range(dice.randrange(1, 4)):
            if not keys or dice.random() < 0.3:
                keys.append(tx.journal.insert(command(f"c{len(keys)}")))
            row = tx.journal.get(dice.choice(keys))
            if row is not None:
                row.asks += 1
                row.state = dice.choice((CommandState.ACCEPTED, CommandState.SENT, CommandState.FINAL))
                tx.journal.save(row)
        for key in keys:
            assert tx.journal.get(key) == on_disk(tx, key)
        if dice.random() < 0.4:
            raise Undone

    async with opened(path) as store:
        for _ in range(60):
            with contextlib.suppress(Undone):
                await store.run(some, light=dice.random() < 0.5)
        assert keys
        for key in keys:
            assert await store.run(lambda tx, key=key: tx.journal.get(key) == on_disk(tx, key))


def on_disk(tx: Tx, key: int) -> JournalRow | None:
    return tx.journal._one(" WHERE key = ?", (key,))


async def test_lock_that_is_undone_stops_nothing_and_one_whose_removal_is_undone_stays(store: SqliteStore):
    assert await store.run(lambda tx: tx.locks.covering("shop", "d")) is None
    await undone(store, lambda tx: (tx.locks.put(LockRow("shop", "", "work", 1)), tx.locks.all()))
    assert await store.run(lambda tx: tx.locks.covering("shop", "d")) is None
    await store.run(lambda tx: tx.locks.put(LockRow("shop", "", "work", 1)))
    await undone(store, lambda tx: (tx.locks.drop("shop", ""), tx.locks.all()))
    assert (await store.run(lambda tx: tx.locks.covering("shop", "d"))).reason == "work"


async def test_early_word_is_found_also_after_there_were_none(store: SqliteStore):
    assert await store.run(lambda tx: list(tx.early_words.of_account("gas"))) == []
    await store.run(lambda tx: tx.early_words.keep("gas", {"no": 1}, 5))
    assert await store.run(lambda tx: list(tx.early_words.of_account("home"))) == []
    (word,) = await store.run(lambda tx: tx.early_words.of_account("gas"))
    assert word.word == {"no": 1}

    def dropped(tx: Tx) -> None:
        tx.early_words.drop(word.key)
        assert list(tx.early_words.of_account("gas")) == []

    await undone(store, dropped)
    assert len(await store.run(lambda tx: tx.early_words.of_account("gas"))) == 1
