"""Every table gives back what was put into it, also after the file was closed and opened again."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest

from bridge.contract.publication import Class
from bridge.domain.text import loads
from bridge.store.protocols import CadenceRow, DeviceRow, LockRow, OutboxRow, RetainedRow, SlotRow, Tx
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.outbox import ROW_BYTES
from bridge.store.sqlite.tables import MAX_DEAD_LETTER_BYTES, MAX_DEAD_LETTERS
from tests.unit.store.bench import alarm, opened, publication


async def test_publications_are_read_in_order_with_all_their_fields(store: SqliteStore, path: Path):
    sent = [
        publication(Class.TELEMETRY, b"\x00\xff", account="shop", device="电/1"),
        publication(Class.META, b"", topic="m/a/电/info", retain=True),
        publication(Class.ACK, b"{}", correlation=b"\x00c"),
    ]
    seqs = await store.run(lambda tx: [tx.outbox.add(one) for one in sent])
    assert seqs == sorted(seqs)
    await store.close()
    async with opened(path) as again:
        rows = await again.run(lambda tx: tx.outbox.read(0, 10))
        assert rows == [OutboxRow(seq, one) for seq, one in zip(seqs, sent, strict=True)]
        assert isinstance(rows[0].publication.klass, Class)
        assert await again.run(lambda tx: tx.outbox.read(seqs[0], 1)) == rows[1:2]
        assert await again.run(lambda tx: tx.outbox.read(seqs[-1], 10)) == []


async def test_sequence_goes_on_after_everything_was_confirmed(store: SqliteStore, path: Path):
    first = await store.run(lambda tx: tx.outbox.add(publication()))
    await store.run(lambda tx: tx.outbox.confirm([first]))
    await store.close()
    async with opened(path) as again:
        assert await again.run(lambda tx: tx.outbox.add(publication())) > first


async def test_what_waits_is_counted_in_rows_bytes_age_and_class(store: SqliteStore, path: Path):
    seqs = await store.run(
        lambda tx: [
            tx.outbox.add(publication(klass, "12345", topic="电"))
            for klass in (Class.ALARM, Class.TELEMETRY, Class.ALARM)
        ]
    )
    rows, size, oldest_ms = await store.run(lambda tx: tx.outbox.waiting())
    one = 5 + len("电".encode()) + ROW_BYTES
    assert (rows, size) == (3, 3 * one)
    assert oldest_ms is not None
    tallies = await store.run(lambda tx: tx.outbox.tallies())
    assert {klass: tally.rows for klass, tally in tallies.items()} == {Class.ALARM: 2, Class.TELEMETRY: 1}
    await store.run(lambda tx: tx.outbox.confirm([seqs[0], seqs[0], 999]))
    assert (await store.run(lambda tx: tx.outbox.waiting()))[:2] == (2, 2 * one)
    await store.close()
    async with opened(path) as again:
        assert (await again.run(lambda tx: tx.outbox.waiting()))[:2] == (2, 2 * one)
        await again.run(lambda tx: tx.outbox.confirm(seqs))
        assert await again.run(lambda tx: tx.outbox.waiting()) == (0, 0, None)
        assert {tally.shed for tally in (await again.run(lambda tx: tx.outbox.tallies())).values()} == {0}


async def test_device_comes_back_with_every_digit(store: SqliteStore, path: Path):
    full = DeviceRow(
        account="shop",
        device="电/1",
        met_ms=1000,
        info={"name": "x"},
        metrics={"voltage": [Decimal("233.41"), 1000]},
        clock_ms=5,
        prints=["a", "b"],
        available=False,
        said="offline",
        said_ms=6,
        evented={"switch_state": ["on", "poll"]},
        held={"import_energy": [Decimal("1.50"), 9]},
        dirty=True,
        suspect_day=19000,
        state_ms=7,
        gone=False,
    )
    empty = DeviceRow("shop", "W71E", 2000)
    await store.run(lambda tx: [tx.devices.save(row) for row in (full, empty)])
    await store.close()
    async with opened(path) as again:
        assert await again.run(lambda tx: tx.devices.get("shop", "电/1")) == full
        assert await again.run(lambda tx: tx.devices.get("shop", "W71E")) == empty
        assert await again.run(lambda tx: tx.devices.get("home", "W71E")) is None
        assert await again.run(lambda tx: tx.devices.of_account("shop")) == [empty, full]


async def test_devices_that_are_gone_are_not_listed_and_dirty_ones_are(store: SqliteStore):
    await store.run(lambda tx: tx.devices.save(DeviceRow("shop", "A", 1, dirty=True)))
    await store.run(lambda tx: tx.devices.save(DeviceRow("shop", "B", 1, gone=True)))
    await store.run(lambda tx: tx.devices.save(DeviceRow("old", "C", 1, gone=True)))
    assert [row.device for row in await store.run(lambda tx: tx.devices.of_account("shop"))] == ["A"]
    assert await store.run(lambda tx: tx.devices.accounts()) == ["shop"]
    assert await store.run(lambda tx: tx.devices.dirty()) == [("shop", "A")]
    await store.run(lambda tx: tx.devices.save(DeviceRow("shop", "A", 1, available=True)))
    assert await store.run(lambda tx: tx.devices.dirty()) == []
    saved = await store.run(lambda tx: tx.devices.get("shop", "A"))
    assert saved is not None
    assert saved.available is True


async def test_alarm_comes_back_raised_and_cleared(store: SqliteStore, path: Path):
    raised = alarm("a1", document={"data": {"v": Decimal("1.5")}}, condition=True)
    await store.run(lambda tx: tx.alarms.save(raised))
    await store.close()
    async with opened(path) as again:
        assert await again.run(lambda tx: tx.alarms.get("a1")) == raised
        assert await again.run(lambda tx: tx.alarms.get("a2")) is None
        raised.cleared_ms = 2000
        await again.run(lambda tx: tx.alarms.save(raised))
        assert await again.run(lambda tx: tx.alarms.get("a1")) == raised
        assert await again.run(lambda tx: tx.alarms.active("shop", "W71E")) == []


async def test_active_alarms_are_those_neither_cleared_nor_silent_oldest_first(store: SqliteStore):
    rows = [
        alarm("late", raised_ms=30),
        alarm("early", raised_ms=10, condition=True),
        alarm("over", cleared_ms=20),
        alarm("silent", silent=True),
        alarm("elsewhere", device="other"),
        alarm("foreign", account="home"),
    ]
    await store.run(lambda tx: [tx.alarms.save(row) for row in rows])
    assert [row.id for row in await store.run(lambda tx: tx.alarms.active("shop", "W71E"))] == [
        "early",
        "late",
    ]


async def test_message_alarms_raised_before_a_time_are_found_conditions_are_not(store: SqliteStore):
    rows = [
        alarm("old", raised_ms=10),
        alarm("young", raised_ms=50),
        alarm("condition", raised_ms=10, condition=True),
        alarm("over", raised_ms=10, cleared_ms=20),
        alarm("foreign", raised_ms=10, account="home"),
    ]
    await store.run(lambda tx: [tx.alarms.save(row) for row in rows])
    assert [row.id for row in await store.run(lambda tx: tx.alarms.raised_before("shop", 50))] == ["old"]


async def test_event_is_new_once_and_remembered_from_its_last_sight(store: SqliteStore, path: Path):
    assert await store.run(lambda tx: tx.alarms.first_sight("e1", 1000))
    await store.close()
    async with opened(path) as again:
        assert not await again.run(lambda tx: tx.alarms.first_sight("e1", 2000))
        await again.run(lambda tx: tx.seen.forget_before(1001))
        assert not await again.run(lambda tx: tx.alarms.first_sight("e1", 2000))
        await again.run(lambda tx: tx.seen.forget_before(2001))
        assert await again.run(lambda tx: tx.alarms.first_sight("e1", 3000))


async def test_record_is_new_once_per_time_and_values(store: SqliteStore):
    def see(device: str, ts_ms: int, values: str) -> object:
        return store.run(lambda tx: tx.seen.record("shop", device, ts_ms, values, 1000))

    assert await see("A", 1, "x")
    assert not await see("A", 1, "x")
    assert await see("A", 1, "y")
    assert await see("A", 2, "x")
    assert await see("B", 1, "x")
    await store.run(lambda tx: tx.seen.forget_before(1000))
    assert not await see("A", 1, "x")
    await store.run(lambda tx: tx.seen.forget_before(1001))
    assert await see("A", 1, "x")


async def test_equal_body_is_the_same_message_within_the_window_only(store: SqliteStore):
    def see(at_ms: int, key: str = "k", account: str = "shop") -> object:
        return store.run(lambda tx: tx.seen.body(account, key, at_ms, 3.0))

    assert await see(10_000)
    assert not await see(12_999)
    assert await see(13_000), "the window begins with the message that was taken, not with its repetition"
    assert not await see(12_000), "a clock that stepped back a little does not make it new"
    assert await see(13_500, key="other")
    assert await see(13_500, account="home")
    assert await see(5_000)


async def test_retained_topics_are_a_ledger_of_exactly_ours(store: SqliteStore, path: Path):
    rows = [
        RetainedRow("m/home/status", "home", "", b"{}"),
        RetainedRow("m/shop/A/info", "shop", "A", b"\x00"),
        RetainedRow("m/shop/B/info", "shop", "B", b"b"),
    ]
    await store.run(lambda tx: [tx.retained.put(row) for row in reversed(rows)])
    await store.run(lambda tx: tx.retained.put(RetainedRow("m/home/status", "home", "", b"new")))
    await store.close()
    async with opened(path) as again:
        assert await again.run(lambda tx: tx.retained.get("m/home/status")) == b"new"
        assert await again.run(lambda tx: tx.retained.get("m/none")) is None
        assert await again.run(lambda tx: tx.retained.all("shop")) == rows[1:]
        assert await again.run(lambda tx: tx.retained.all("shop", "B")) == rows[2:]
        assert len(await again.run(lambda tx: tx.retained.all())) == 3
        await again.run(lambda tx: tx.retained.drop("m/shop/A/info"))
        assert await again.run(lambda tx: tx.retained.all("shop", "A")) == []


async def test_dead_letter_is_kept_once_and_counted(store: SqliteStore):
    def add(body: bytes, at_ms: int, reason: str = "r", source: str = "/push") -> object:
        return store.run(lambda tx: tx.dead_letters.add("shop", source, reason, body, at_ms))

    assert await add(b"\xff\x00", 1000)
    assert not await add(b"\xff\x00", 3000, reason="another reason")
    assert await add(b"\xff\x00", 3000, source="/other")
    assert await add(b"b", 4000)
    newest, _, oldest = await store.run(lambda tx: tx.dead_letters.list(10))
    assert (newest.body, newest.count) == (b"b", 1)
    assert (oldest.body, oldest.count, oldest.reason) == (b"\xff\x00", 2, "another reason")
    assert (oldest.first_ms, oldest.last_ms, oldest.account, oldest.source) == (1000, 3000, "shop", "/push")
    assert await store.run(lambda tx: tx.dead_letters.get(oldest.key)) == oldest
    assert len(await store.run(lambda tx: tx.dead_letters.list(2))) == 2
    assert await store.run(lambda tx: tx.dead_letters.drop(oldest.key))
    assert not await store.run(lambda tx: tx.dead_letters.drop(oldest.key))
    assert await store.run(lambda tx: tx.dead_letters.get(oldest.key)) is None
    assert await store.run(lambda tx: tx.dead_letters.count()) == 2


async def test_dead_letters_are_bounded_and_the_oldest_go(store: SqliteStore):
    await store.run(
        lambda tx: [
            tx.dead_letters.add("shop", "", "r", b"%d" % number, number)
            for number in range(MAX_DEAD_LETTERS + 5)
        ]
    )
    assert await store.run(lambda tx: tx.dead_letters.count()) == MAX_DEAD_LETTERS
    kept = await store.run(lambda tx: tx.dead_letters.list(MAX_DEAD_LETTERS))
    assert (kept[0].body, kept[-1].body) == (b"%d" % (MAX_DEAD_LETTERS + 4), b"5")
    assert await store.run(lambda tx: tx.dead_letters.evicted()) == 5


async def test_letters_that_were_dropped_make_room_for_as_many(store: SqliteStore):
    def add(first: int, count: int) -> object:
        return store.run(
            lambda tx: [
                tx.dead_letters.add("shop", "", "r", b"%d" % n, n) for n in range(first, first + count)
            ]
        )

    await add(0, MAX_DEAD_LETTERS)
    await store.run(lambda tx: [tx.dead_letters.drop(letter.key) for letter in tx.dead_letters.list(100)])
    await add(5000, 100)
    assert await store.run(lambda tx: (tx.dead_letters.count(), tx.dead_letters.evicted())) == (
        MAX_DEAD_LETTERS,
        0,
    )


async def test_bodies_of_dead_letters_are_bounded_together_but_the_newest_stays(store: SqliteStore):
    third = MAX_DEAD_LETTER_BYTES // 3

    def bodies() -> object:
        return store.run(lambda tx: [letter.body[:1] for letter in tx.dead_letters.list(10)])

    for name in (b"a", b"b", b"c", b"d"):
        await store.run(lambda tx, body=name * third: tx.dead_letters.add("shop", "", "r", body, 1))
    assert await bodies() == [b"d", b"c", b"b"]
    assert await store.run(lambda tx: tx.dead_letters.size()) == 3 * third
    await store.run(lambda tx: tx.dead_letters.add("shop", "", "r", b"e" * (MAX_DEAD_LETTER_BYTES + 1), 2))
    assert await bodies() == [b"e"]
    assert await store.run(lambda tx: tx.dead_letters.evicted()) == 4


@pytest.mark.parametrize(
    ("lock", "account", "device", "stopped"),
    [
        (("", ""), "shop", "A", True),
        (("", ""), "shop", None, True),
        (("shop", ""), "shop", "A", True),
        (("shop", ""), "shop", None, True),
        (("shop", ""), "home", "A", False),
        (("shop", "A"), "shop", "A", True),
        (("shop", "A"), "shop", "B", False),
        (("shop", "A"), "shop", None, False),
        (("shop", "A"), "home", "A", False),
    ],
)
async def test_lock_stops_what_lies_below_it(store: SqliteStore, lock, account, device, stopped):
    row = LockRow(*lock, "work", 1000)
    await store.run(lambda tx: tx.locks.put(row))
    assert await store.run(lambda tx: tx.locks.covering(account, device)) == (row if stopped else None)


async def test_lock_survives_a_restart_and_is_replaced_by_a_newer_one(store: SqliteStore, path: Path):
    await store.run(lambda tx: tx.locks.put(LockRow("shop", "A", "old", 1)))
    await store.run(lambda tx: tx.locks.put(LockRow("shop", "A", "new", 2)))
    await store.close()
    async with opened(path) as again:
        assert await again.run(lambda tx: tx.locks.all()) == [LockRow("shop", "A", "new", 2)]


@pytest.mark.parametrize(
    ("drop", "left"),
    [
        (("", ""), []),
        (("shop", ""), [("", ""), ("home", "A")]),
        (("shop", "A"), [("", ""), ("home", "A"), ("shop", ""), ("shop", "B")]),
        (("none", ""), [("", ""), ("home", "A"), ("shop", ""), ("shop", "A"), ("shop", "B")]),
    ],
)
async def test_unlock_takes_away_the_lock_and_all_below_it(store: SqliteStore, drop, left):
    places = [("", ""), ("shop", ""), ("shop", "A"), ("shop", "B"), ("home", "A")]
    await store.run(lambda tx: [tx.locks.put(LockRow(*place, "", 1)) for place in places])
    assert await store.run(lambda tx: tx.locks.drop(*drop)) == len(places) - len(left)
    assert [(row.account, row.device) for row in await store.run(lambda tx: tx.locks.all())] == left


async def test_slots_come_back_to_the_microsecond_and_one_refund_takes_one(store: SqliteStore, path: Path):
    at = 1700000000.123456
    rows = [SlotRow("shop", "calls", "A", at), SlotRow("shop", "calls", "A", at)]
    block = SlotRow("@acme", "login", "", at + 600, blocked=True)
    await store.run(lambda tx: tx.budgets.add([block, *rows]))
    await store.close()
    async with opened(path) as again:
        assert await again.run(lambda tx: tx.budgets.all()) == [*rows, block]
        await again.run(lambda tx: tx.budgets.remove(rows[0]))
        assert await again.run(lambda tx: tx.budgets.all()) == [rows[1], block]
        await again.run(lambda tx: tx.budgets.remove(SlotRow("shop", "calls", "B", at)))
        assert await again.run(lambda tx: tx.budgets.all()) == [rows[1], block]


async def test_slots_before_a_time_are_forgotten_per_owner_and_limit(store: SqliteStore):
    rows = [
        SlotRow("a", "x", "", 10.0), SlotRow("a", "y", "", 11.0), SlotRow("b", "x", "", 12.0),
        SlotRow("a", "x", "", 20.0),
    ]  # fmt: skip
    await store.run(lambda tx: tx.budgets.add(rows))
    await store.run(lambda tx: tx.budgets.forget_before("a", "x", 20.0))
    assert await store.run(lambda tx: tx.budgets.all()) == rows[1:]


@pytest.mark.parametrize(
    "value", [0, False, "", [], {"token": "FAKE", "n": Decimal("0.10")}, "电", 10**30, Decimal("1E+400")]
)
async def test_vault_keeps_json_values_by_owner_and_key(store: SqliteStore, path: Path, value):
    await store.run(lambda tx: tx.vault.put("shop", "k", "old"))
    await store.run(lambda tx: tx.vault.put("shop", "k", value))
    await store.close()
    async with opened(path) as again:
        assert await again.run(lambda tx: tx.vault.get("shop", "k")) == value
        assert await again.run(lambda tx: tx.vault.get("home", "k")) is None
        await again.run(lambda tx: tx.vault.put("shop", "k", None))
        await again.run(lambda tx: tx.vault.put("shop", "k", None))
        assert await again.run(lambda tx: tx.vault.get("shop", "k")) is None


async def test_document_that_wraps_the_deepest_input_comes_back(store: SqliteStore):
    deep = {"result": {"record": {"extra": loads("[" * 100 + "]" * 100)}}}
    await store.run(lambda tx: tx.vault.put("shop", "deep", deep))
    assert await store.run(lambda tx: tx.vault.get("shop", "deep")) == deep


async def test_rhythm_is_read_from_memory_and_is_as_true_as_the_disk(path: Path):
    async with opened(path) as store:

        def learn(tx: Tx, distances: list[int], fails: bool = False) -> None:
            row = tx.cadences.get("gas", "d") or CadenceRow("gas", "d")
            row.distances = distances
            tx.cadences.save(row)
            if fails:
                raise ZeroDivisionError

        async def known() -> list[int] | None:
            row = await store.run(lambda tx: tx.cadences.get("gas", "d"))
            return row.distances if row is not None else None

        with pytest.raises(ZeroDivisionError):
            await store.run(lambda tx: learn(tx, [9], fails=True))
        assert await known() is None
        await store.run(lambda tx: learn(tx, [1, 2]))
        with pytest.raises(ZeroDivisionError):
            await store.run(lambda tx: learn(tx, [3], fails=True))
        assert await known() == [1, 2]
        row = await store.run(lambda tx: tx.cadences.get("gas", "d"))
        assert row is not None
        row.distances.append(5)
        assert await known() == [1, 2], "what is handed out is a copy"
    async with opened(path) as again:
        row = await again.run(lambda tx: tx.cadences.get("gas", "d"))
        assert row is not None
        assert row.distances == [1, 2]


async def test_records_seen_by_an_older_version_are_seen(path: Path):
    db = sqlite3.connect(path, isolation_level=None)
    files = resources.files("bridge.store").joinpath("migrations").iterdir()
    for file in sorted((one for one in files if one.name < "0008"), key=lambda one: one.name):
        db.executescript(file.read_text())
    db.execute("PRAGMA user_version=7")
    db.execute("INSERT INTO seen_record VALUES ('gas', 'd', 5, 'print', 1), ('gas', 'c', 6, 'print', 9)")
    db.close()
    async with opened(path) as store:
        assert not await store.run(lambda tx: tx.seen.record("gas", "d", 5, "print", 10))
        assert await store.run(lambda tx: tx.seen.record("gas", "d", 6, "print", 10))
        assert await store.run(lambda tx: tx.seen.any_record("gas", "c", 6))
        assert await store.run(lambda tx: tx.seen.has_record("gas", "c", 6, "print"))
        assert not await store.run(lambda tx: tx.seen.has_record("gas", "c", 6, "other"))
        await store.run(lambda tx: tx.seen.forget_records_before(9))
        assert await store.run(lambda tx: tx.seen.record("gas", "d", 5, "print", 10))
