"""A file that is damaged, foreign, newer, in use or not ours to write: what becomes of it."""

from __future__ import annotations

import random
import re
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.contract.publication import Class
from bridge.domain.errors import StoreError
from bridge.domain.text import dumps
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.file import migrate
from tests.unit.store.bench import command, opened, publication

BODY = b'"' + b"x" * 498 + b'"'


async def filled(path: Path) -> None:
    """A database with something on many pages."""
    async with opened(path) as store:
        await store.run(lambda tx: [tx.outbox.add(publication(Class.ALARM, BODY)) for _ in range(400)])


def overwritten(path: Path, at: int, junk: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(junk)


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no database": lambda path: path.write_bytes(b"these are not the bytes you are looking for\n" * 200),
    "short text": lambda path: path.write_bytes(b"hello"),
    "header overwritten": lambda path: overwritten(path, 0, b"\x00" * 100),
    "pages overwritten": lambda path: overwritten(path, 4096, b"\xa5" * 8192),
    "middle overwritten": lambda path: overwritten(path, path.stat().st_size // 2, b"\x00" * 20000),
    "cut in the middle": lambda path: cut(path, path.stat().st_size // 2),
    "cut off a page": lambda path: cut(path, path.stat().st_size - 1000),
    "cut to a page": lambda path: cut(path, 4096),
    "cut to the header": lambda path: cut(path, 100),
}


UNREADABLE = {"no database", "short text", "cut to a page", "cut to the header"}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_file_is_moved_aside_and_what_can_be_read_is_in_a_new_one(path: Path, damage: str):
    await filled(path)
    DAMAGES[damage](path)
    spoiled = path.read_bytes()
    async with opened(path) as store:
        assert store.moved_aside is not None
        assert store.moved_aside.name.startswith("state.db.damaged-")
        assert store.moved_aside.read_bytes() == spoiled
        assert [file.name for file in path.parent.glob("*salvage*")] == []
        rows = await store.run(lambda tx: tx.outbox.read(0, 1000))
        assert {row.publication.body for row in rows} <= {BODY}
        seqs = [row.seq for row in rows]
        assert seqs == sorted(set(seqs))
        assert (len(rows) == 0) == (damage in UNREADABLE)
        if damage in ("header overwritten", "pages overwritten"):
            assert len(rows) >= 390
        if rows:
            tally = (await store.run(lambda tx: tx.outbox.tallies()))[Class.ALARM]
            assert (tally.taken, tally.rows + tally.lost) == (400, 400)
            assert store.lost == ({"alarm": tally.lost} if tally.lost else {})
            assert await store.run(lambda tx: tx.outbox.add(publication())) > 400
        await store.run(lambda tx: tx.vault.put("o", "k", 1))
    async with opened(path) as again:
        assert again.moved_aside is None
        assert await again.run(lambda tx: tx.vault.get("o", "k")) == 1


@pytest.mark.parametrize("count", [1, 3, 10])
async def test_only_the_rows_of_damaged_pages_are_lost(path: Path, count: int):
    """Pages of 4 KiB hold some seven of these rows."""
    await filled(path)
    dice = random.Random(count)
    pages = path.stat().st_size // 4096
    for page in dice.sample(range(pages // 2, pages), count):
        overwritten(path, page * 4096, dice.randbytes(4096))
    async with opened(path) as store:
        rows = await store.run(lambda tx: tx.outbox.read(0, 1000))
        assert 400 - 20 * count <= len(rows) < 400
        assert store.lost == {"alarm": 400 - len(rows)}
        assert store.salvaged["outbox"] == len(rows)


async def test_commands_and_everything_else_survive_a_header_that_is_overwritten(path: Path):
    async with opened(path) as store:
        key = await store.run(lambda tx: tx.journal.insert(command("pay-1")))
        await store.run(lambda tx: tx.vault.put("o", "k", {"a": 1}))
        await store.run(lambda tx: tx.seen.record("gas", "d", 1, "print", 1))
        await store.run(lambda tx: tx.outbox.add(publication(Class.ACK)))
        before = await store.run(lambda tx: (tx.journal.find("shop", "pay-1"), tx.journal.steps(key)))
    overwritten(path, 0, b"\xff" * 4096)
    async with opened(path) as again:
        assert again.moved_aside is not None
        assert await again.run(lambda tx: (tx.journal.find("shop", "pay-1"), tx.journal.steps(key))) == before
        assert await again.run(lambda tx: tx.vault.get("o", "k")) == {"a": 1}
        assert not await again.run(lambda tx: tx.seen.record("gas", "d", 1, "print", 2))
        assert await again.run(lambda tx: tx.journal.insert(command("pay-2"))) > key
        assert again.lost == {}


async def test_damage_that_shows_while_the_store_is_open_is_repaired_without_a_restart(path: Path):
    async with opened(path) as store:
        told: list[str] = []
        store.on_replaced = lambda: told.append(str(store.moved_aside))
        seqs = await store.run(
            lambda tx: [tx.outbox.add(publication(body=dumps("y" * 900))) for _ in range(900)]
        )
        await store.run(lambda tx: tx.vault._db.execute("PRAGMA shrink_memory").fetchall())  # type: ignore[attr-defined] # SQLite's own cache
        other = sqlite3.connect(path)
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        pages = path.stat().st_size // 4096
        for page in range(pages - 40, pages - 20):
            overwritten(path, page * 4096, b"\xa5" * 4096)
        with pytest.raises(StoreError, match="malformed"):
            await store.run(lambda tx: tx.outbox.read(0, 1000))
        rows = await store.run(lambda tx: tx.outbox.read(0, 1000))
        assert store.failing is None
        assert len(told) == 1
        assert 700 < len(rows) < 900
        assert {row.seq for row in rows} < set(seqs)
        assert store.lost == {"telemetry": 900 - len(rows)}
        await store.run(lambda tx: tx.outbox.confirm(seqs))
        assert (await store.run(lambda tx: tx.outbox.waiting()))[0] == 0


async def test_what_lay_beside_a_damaged_file_does_not_get_into_the_new_one(path: Path):
    path.write_bytes(b"no database " * 500)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).write_bytes(b"leftover" * 500)
    async with opened(path) as store:
        assert store.moved_aside is not None
        await store.run(lambda tx: tx.vault.put("o", "k", 1))
        assert b"leftover" not in path.with_name(path.name + "-wal").read_bytes()
    async with opened(path) as again:
        assert again.moved_aside is None
        assert await again.run(lambda tx: tx.vault.get("o", "k")) == 1


async def test_file_that_a_crash_left_is_taken_up_with_everything_that_was_committed(path: Path):
    script = """
        import asyncio, os, sys
        from pathlib import Path
        from bridge.store.sqlite.database import SqliteStore

        async def main():
            store = SqliteStore(Path(sys.argv[1]), 1000)
            await store.open()
            await store.run(lambda tx: tx.vault.put("o", "k", 1))
            os._exit(0)

        asyncio.run(main())
    """
    run_script(script, path)
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    async with opened(path) as store:
        assert store.moved_aside is None
        assert await store.run(lambda tx: tx.vault.get("o", "k")) == 1


async def test_empty_file_is_a_new_database(path: Path):
    path.touch()
    async with opened(path) as store:
        assert store.moved_aside is None
        await store.run(lambda tx: tx.vault.put("o", "k", 1))


async def test_database_of_a_newer_version_is_left_alone(path: Path):
    async with opened(path) as store:
        await store.run(lambda tx: tx.vault.put("o", "k", 1))
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=9999")
    db.close()
    before = path.read_bytes()
    store = SqliteStore(path, 1000)
    with pytest.raises(StoreError, match=rf"{re.escape(str(path))} is of a newer version \(9999\)"):
        await store.open()
    with pytest.raises(StoreError):
        await store.run(lambda tx: None)
    await store.close()
    assert store.moved_aside is None
    assert path.read_bytes() == before


async def test_file_is_free_again_after_an_opening_that_failed(path: Path):
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=9999")
    db.close()
    for _ in range(2):
        with pytest.raises(StoreError, match="newer version"):
            await SqliteStore(path, 1000).open()


async def test_file_in_use_is_refused_and_not_touched(path: Path):
    async with opened(path) as first:
        await first.run(lambda tx: tx.vault.put("o", "k", 1))
        second = SqliteStore(path, 1000)
        with pytest.raises(StoreError, match="in use by another meterbridge"):
            await second.open()
        assert second.moved_aside is None
        assert await first.run(lambda tx: tx.vault.get("o", "k")) == 1
    async with opened(path) as third:
        assert await third.run(lambda tx: tx.vault.get("o", "k")) == 1


async def test_folders_are_made_and_one_that_is_a_file_is_a_store_error(tmp_path: Path):
    async with opened(tmp_path / "a" / "b" / "state.db") as store:
        await store.run(lambda tx: None)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        await SqliteStore(tmp_path / "file" / "state.db", 1000).open()
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StoreError, match=r"folder\.db"):
        await SqliteStore(tmp_path / "folder.db", 1000).open()
    assert (tmp_path / "folder.db").is_dir()


async def test_only_the_owner_may_read_the_state(path: Path):
    path.touch(mode=0o644)
    async with opened(path) as store:
        await store.run(lambda tx: tx.vault.put("o", "token", "FAKE"))
        names = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.glob("state.db*")}
        assert names.pop("state.db.lock")
        assert names == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm"), "0o600")


def test_migration_is_run_once_and_makes_what_the_tables_need(path: Path):
    db = sqlite3.connect(path, isolation_level=None)
    migrate(db, path)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    tables = db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    migrate(db, path)
    assert version >= 1
    assert db.execute("PRAGMA user_version").fetchone() == (version,)
    assert db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall() == tables
    assert {"outbox", "journal", "journal_step", "device", "alarm", "slot", "vault"} <= {
        name for name, _ in tables
    }
    db.close()


async def test_readers_do_not_block_and_commits_are_left_to_our_own_flush(path: Path):
    async with opened(path) as store:
        found = await store.run(
            lambda tx: [
                tx.vault._db.execute(f"PRAGMA {name}").fetchone()[0]  # type: ignore[attr-defined] # SQLite's own settings
                for name in ("journal_mode", "synchronous", "foreign_keys", "auto_vacuum")
            ]
        )
    assert found == ["wal", 1, 1, 2], (
        "NORMAL: what a checkpoint writes is flushed by SQLite, commits by flusher"
    )


# what only another process can show ------------------------------------------------------------------------------


def run_script(script: str, path: Path) -> str:
    """Runs this with the path as its argument; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_full_disk_is_told_and_after_room_returns_everything_works_again(path: Path):
    script = """
        import asyncio, resource, sys
        from pathlib import Path
        from bridge.contract.publication import Class, Publication
        from bridge.domain.errors import StoreError
        from bridge.store.sqlite.database import SqliteStore
        from bridge.store.sqlite.outbox import ROW_BYTES

        def room(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        def work(number, told):
            def run(tx):
                tx.outbox.add(Publication("t", b"x" * 20000, Class.ALARM))
                tx.vault.put("o", str(number), number)
                tx.after_commit(lambda: told.append(number))
            return run

        async def main():
            store = SqliteStore(Path(sys.argv[1]), 10**9)
            await store.open()
            told, sent = [], []
            store.outgoing = lambda added, shed: sent.extend(added)
            await store.run(work(0, told))
            room(300_000)
            refused = 0
            for number in range(1, 40):
                try:
                    await store.run(work(number, told))
                except StoreError as error:
                    refused += 1
                    assert store.failing, error
            assert refused > 10, refused
            kept = list(told)
            assert len(sent) == len(kept)
            group = await asyncio.gather(*(store.run(work(n, told)) for n in range(100, 110)), return_exceptions=True)
            assert {type(one) for one in group} == {StoreError}, group
            assert told == kept
            room(resource.RLIM_INFINITY)
            await store.run(work(40, told))
            assert store.failing is None
            assert told == [*kept, 40]
            rows, size, _ = await store.run(lambda tx: tx.outbox.waiting())
            assert (rows, size) == (len(told), len(told) * (20001 + ROW_BYTES)), (rows, size)
            await store.close()
            again = SqliteStore(Path(sys.argv[1]), 10**9)
            await again.open()
            assert again.moved_aside is None
            found = await again.run(lambda tx: [n for n in range(120) if tx.vault.get("o", str(n)) is not None])
            assert found == told, (found, told)
            assert (await again.run(lambda tx: tx.outbox.waiting()))[:2] == (rows, size)
            await again.close()
            print("well")

        asyncio.run(main())
    """
    assert run_script(script, path) == "well\n"


def test_folder_that_may_not_be_written_is_a_store_error():
    script = """
        import asyncio, os, tempfile
        from pathlib import Path
        from bridge.domain.errors import StoreError
        from bridge.store.sqlite.database import SqliteStore

        folder = Path(tempfile.mkdtemp())
        try:
            folder.chmod(0o555)
            if os.geteuid() == 0:
                os.seteuid(65534)  # root may write everywhere
            try:
                asyncio.run(SqliteStore(folder / "state.db", 1000).open())
            except StoreError as error:
                print("refused", "state.db" in str(error), list(folder.iterdir()))
        finally:
            os.seteuid(os.getuid())
            folder.rmdir()
    """
    assert run_script(script, Path()) == "refused True []\n"
