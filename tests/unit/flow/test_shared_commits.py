"""A command's commits: accepted and leaving in one, its end and the leaving of the next one in one; and whatever
becomes of such a commit, nothing leaves that is not on disk, and nothing overtakes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from bridge.domain.command import CommandState
from bridge.domain.errors import StoreError
from bridge.domain.text import Json
from bridge.store.protocols import Tx
from bridge.store.sqlite.outbox import SqliteOutbox
from tests.fakes.harness import Harness
from tests.fakes.vendor import Script, lost

ON = {"state": "on"}
OFF = {"state": "off"}
QUICK = Script(slow_s=0.0)
SLOW = Script(slow_s=10.0)


class Commits:
    """What a commit brought onto the disk: (command, state) as the journal's steps tell, one list for each commit."""

    def __init__(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        self._harness = harness
        self.fails: Callable[[], bool] = lambda: False
        self.seen: list[list[tuple[str, str]]] = []
        self._known = 0
        save = SqliteOutbox.save

        def saved(outbox: SqliteOutbox) -> None:
            if self.fails():
                raise sqlite3.OperationalError("disk I/O error")
            save(outbox)

        monkeypatch.setattr(SqliteOutbox, "save", saved)
        deliver = harness.store._deliver

        def delivered(*args: Any) -> None:
            self._look()
            deliver(*args)

        monkeypatch.setattr(harness.store, "_deliver", delivered)

    def _look(self) -> None:
        with self._harness._database() as db:
            rows = db.execute(
                "SELECT journal_step.seq, journal.id, journal_step.state FROM journal_step"
                " JOIN journal USING (key) WHERE journal_step.seq > ? ORDER BY journal_step.seq",
                (self._known,),
            ).fetchall()
        if rows:
            self._known = rows[-1][0]
            self.seen.append([(name, state) for _, name, state in rows])

    def together(self, *steps: tuple[str, str]) -> bool:
        return any(set(steps) <= set(one) for one in self.seen)


@pytest.fixture
def commits(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Commits:
    return Commits(harness, monkeypatch)


async def test_a_command_to_a_free_device_is_accepted_and_leaves_in_one_commit(
    harness: Harness, commits: Commits
) -> None:
    await harness.command("home/D1/cmd/breaker", {"id": "c1", **ON})
    assert commits.seen == [[("c1", "accepted"), ("c1", "dispatched")], [("c1", "final")]]
    assert harness.statuses("c1") == ["accepted", "succeeded"]


async def test_nothing_of_a_command_leaves_before_that_commit_is_on_disk(
    harness: Harness, commits: Commits
) -> None:
    def on_effect(_done: object) -> None:
        (row,) = harness.journal()
        states.append(row.state)

    states: list[CommandState] = []
    harness.vendor.on_effect = on_effect
    await harness.command("home/D1/cmd/breaker", {"id": "c1", **ON})
    assert states == [CommandState.DISPATCHED]


async def test_what_only_reads_begins_once_it_is_on_disk(harness: Harness, commits: Commits) -> None:
    """Nothing notes it before it leaves."""
    began: list[int] = []
    play = harness.vendor._play

    async def seen(*args: Any) -> Any:
        began.append(len(harness.journal()))
        return await play(*args)

    harness.vendor._play = seen  # type: ignore[method-assign] # looks in on it
    await harness.command("home/D1/cmd/read", {"id": "r1"})
    assert began == [1]


async def test_the_end_of_a_command_and_the_leaving_of_the_next_share_a_commit(
    harness: Harness, commits: Commits
) -> None:
    harness.vendor.will("breaker", SLOW)
    for name in ("c1", "c2", "c3"):
        await harness.command("home/D1/cmd/breaker", {"id": name, **ON})
    await harness.advance(60)
    assert commits.together(("c1", "final"), ("c2", "dispatched"))
    assert commits.together(("c2", "final"), ("c3", "dispatched"))
    assert harness.vendor.executed == ["c1", "c2", "c3"]
    assert harness.vendor.most_under_way == {"D1": 1}


async def test_exclusive_commands_wait_for_the_disk(harness: Harness, commits: Commits) -> None:
    for name in ("c1", "c2"):
        message = harness.message("home/D1/cmd/calibrate", {"id": name})
        await harness.admission.admit(message)
    await harness.advance(3600)
    assert not commits.together(("c1", "final"), ("c2", "dispatched"))
    assert harness.vendor.executed == ["c1", "c2"]


async def test_a_command_whose_acceptance_does_not_get_onto_the_disk_does_not_leave(
    harness: Harness, commits: Commits
) -> None:
    commits.fails = lambda: True
    message = harness.message("home/D1/cmd/breaker", {"id": "c1", **ON})
    with pytest.raises(StoreError):
        await harness.admission.admit(message)
    await harness.advance(5)
    assert (harness.vendor.effects, harness.journal()) == ([], [])
    commits.fails = lambda: False
    await harness.admit(message)
    await harness.advance(5)
    assert harness.vendor.times("c1") == 1
    assert harness.statuses("c1") == ["accepted", "succeeded"]


async def test_one_that_was_accepted_meanwhile_is_not_taken_for_one_that_was_not(
    harness: Harness, commits: Commits
) -> None:
    failing = iter([True])
    commits.fails = lambda: next(failing, False)
    with pytest.raises(StoreError):
        await harness.admission.admit(harness.message("home/D1/cmd/breaker", {"id": "lost", **ON}))
    harness.vendor.will("breaker", SLOW)
    await harness.command("home/D2/cmd/breaker", {"id": "c2", **ON})
    await harness.advance(60)
    assert harness.vendor.executed.count("c2") == 1
    assert harness.final("c2")["status"] == "succeeded"
    await harness.command("home/D1/cmd/breaker", {"id": "c1", **ON})
    await harness.advance(5)
    assert harness.final("c1")["status"] == "succeeded"


async def test_the_next_one_does_not_leave_while_the_end_of_the_one_before_is_not_on_disk(
    harness: Harness, commits: Commits
) -> None:
    """Else, after a crash, the first one would be asked about, and perhaps repeated, behind the second one."""
    harness.vendor.will("breaker", SLOW)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", **OFF})
    await harness.command("home/D1/cmd/breaker", {"id": "c2", **ON})
    commits.fails = lambda: True
    await harness.advance(10)
    await harness.advance(5)
    assert [done.id for done in harness.vendor.effects] == ["c1"]
    assert {row.id: row.state for row in harness.journal()} == {
        "c1": CommandState.DISPATCHED,
        "c2": CommandState.ACCEPTED,
    }
    commits.fails = lambda: False
    await harness.advance(30)
    assert [done.id for done in harness.vendor.effects] == ["c1", "c2"]
    assert [harness.final(name)["status"] for name in ("c1", "c2")] == ["succeeded"] * 2
    acks = [(ack["id"], ack["status"]) for ack in harness.acks() if ack["final"]]
    assert acks == [("c1", "succeeded"), ("c2", "succeeded")]


async def test_the_next_one_waits_also_where_only_the_end_of_the_one_before_fails(
    harness: Harness, commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end fails, and the leaving of the next one, which has come later, would find a disk that works again."""
    harness.vendor.will("breaker", SLOW, Script(slow_before_s=0.5))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", **OFF})
    await harness.command("home/D1/cmd/breaker", {"id": "c2", **ON})
    failing = iter([True])
    settle = harness.settler.settle

    def fails_once(tx: Tx, *args: Any) -> None:
        settle(tx, *args)
        if next(failing, False):
            commits.fails = lambda: True

    monkeypatch.setattr(harness.settler, "settle", fails_once)
    deliver = harness.store._deliver

    def works_again(*args: Any) -> None:
        commits.fails = lambda: False
        deliver(*args)

    monkeypatch.setattr(harness.store, "_deliver", works_again)
    order: list[tuple[str, Json]] = []
    harness.vendor.on_effect = lambda done: order.append(
        (done.id, {row.id: str(row.state) for row in harness.journal()})
    )
    await harness.advance(60)
    assert order == [("c2", {"c1": "final", "c2": "dispatched"})]
    assert [harness.final(name)["status"] for name in ("c1", "c2")] == ["succeeded"] * 2


async def test_a_crash_between_is_resolved_before_the_next_one_leaves(
    harness: Harness, commits: Commits
) -> None:
    harness.vendor.will("breaker", SLOW)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", **OFF})
    await harness.command("home/D1/cmd/breaker", {"id": "c2", **ON})
    commits.fails = lambda: True
    await harness.advance(11)
    commits.fails = lambda: False
    await harness.restart()
    await harness.advance(120)
    assert [done.id for done in harness.vendor.effects] == ["c1", "c2"]
    assert [harness.final(name)["status"] for name in ("c1", "c2")] == ["succeeded"] * 2


async def test_a_lost_answer_holds_the_next_one_as_before(harness: Harness, commits: Commits) -> None:
    harness.vendor.will("breaker", lost(acted=False))
    await harness.command("home/D1/cmd/breaker", {"id": "c1", **ON})
    await harness.command("home/D1/cmd/breaker", {"id": "c2", **ON})
    assert harness.vendor.executed == ["c1"]
    await harness.advance(61)
    assert harness.final("c1")["status"] == "timed_out"
    assert harness.final("c2")["status"] == "succeeded"


async def test_what_the_vendor_works_on_frees_its_device_ahead_too(
    harness: Harness, commits: Commits
) -> None:
    harness.vendor.will("valve", Script(slow_s=10.0, acts=False))
    await harness.command("home/D1/cmd/valve", {"id": "c1", "state": "open"})
    await harness.command("home/D1/cmd/breaker", {"id": "c2", **ON})
    await harness.advance(60)
    assert harness.vendor.executed == ["c1", "c2"]
    assert harness.final("c2")["status"] == "succeeded"


async def test_closing_waits_for_an_end_that_is_on_its_way_to_the_disk(
    harness: Harness, commits: Commits
) -> None:
    harness.vendor.will("breaker", SLOW, SLOW)
    for name in ("c1", "c2"):
        await harness.command("home/D1/cmd/breaker", {"id": name, **ON})
    closing = asyncio.ensure_future(harness.dispatcher.aclose(grace_s=30))
    await harness.advance(20)
    await closing
    assert harness.final("c1")["status"] == "succeeded"
    assert harness.statuses("c2") == ["accepted"]
