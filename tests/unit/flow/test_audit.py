"""The audit trail: each step once, in order, in the file before the position moves; rotation and failures survived."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.flow.audit import BATCH, AuditTrail
from bridge.ops.trail import Trail
from tests.fakes.harness import Harness
from tests.fakes.vendor import lost, taken


def trail_of(harness: Harness, file: Path) -> AuditTrail:
    return AuditTrail(
        harness.store, Trail(file), harness.clock, lambda text: text.replace("FAKEhidden", "***")
    )


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_every_step_is_a_line_with_who_what_and_when(harness: Harness, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    harness.vendor.will("recharge", lost(acted=True))
    payload = {"id": "p1", "charge_value": 5, "note": "FAKEhidden"}
    await harness.command("home/D1/cmd/recharge", payload, requester="Erika")
    await harness.advance(10)
    trail = trail_of(harness, file)
    await trail.finish()
    told = lines(file)
    assert [(one["state"], one["status"]) for one in told] == [
        ("accepted", "accepted"), ("dispatched", None), ("unknown", None), ("final", "succeeded"),
    ]  # fmt: skip
    assert {(one["account"], one["device"], one["command"], one["id"], one["requester"]) for one in told} == {
        ("home", "D1", "recharge", "p1", "Erika")
    }
    assert told[0]["params"] == {"charge_value": "5", "note": "***"}
    assert told[0]["expires_at"] is None
    assert [one["at"] for one in told] == [*["2024-01-01T12:00:00Z"] * 3, "2024-01-01T12:00:05Z"]
    assert [one["seq"] for one in told] == sorted({one["seq"] for one in told})
    assert all("params" not in one for one in told[1:])
    assert "no answer" in told[2]["note"]


async def test_the_request_that_leaves_is_in_the_line_of_its_leaving(
    harness: Harness, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await trail_of(harness, file).finish()
    asked, left, done = lines(file)
    assert left["request"] == {"method": "POST", "url": "https://vendor.example.invalid/send", "body": "c1"}
    assert "request" not in asked
    assert (done["status"], done["code"]) == ("succeeded", None)
    (row,) = harness.journal()
    steps = await harness.store.run(lambda tx: list(tx.journal.steps(row.key)))
    assert [step.request is not None for step in steps] == [False, True, False]


async def test_after_a_restart_it_goes_on_where_the_file_ends(harness: Harness, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await trail_of(harness, file).finish()
    await harness.store.run(lambda tx: tx.vault.put("", "audit.seq", None))  # a crash before it was noted
    await harness.restart()
    await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "on"})
    await trail_of(harness, file).finish()
    told = lines(file)
    assert [one["id"] for one in told] == ["c1"] * 3 + ["c2"] * 3
    assert len({one["seq"] for one in told}) == 6


async def test_a_file_that_is_rotated_away_is_begun_anew(harness: Harness, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    trail = trail_of(harness, file)
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await trail.finish()
    file.rename(tmp_path / "audit.jsonl.1")
    await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "on"})
    await trail_of(harness, file).finish()
    assert {one["id"] for one in lines(tmp_path / "audit.jsonl.1")} == {"c1"}
    assert {one["id"] for one in lines(file)} == {"c2"}
    assert file.stat().st_mode & 0o077 == 0


async def test_what_is_forgotten_from_the_journal_does_not_bring_numbers_back(
    harness: Harness, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    await trail_of(harness, file).finish()
    await harness.advance(8 * 86400)
    await harness.janitor.round()
    assert harness.journal() == []
    await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "on"})
    await trail_of(harness, file).finish()
    assert [one["id"] for one in lines(file)] == ["c1"] * 3 + ["c2"] * 3


async def test_a_file_that_takes_no_lines_is_told_once_and_loses_nothing(
    harness: Harness, tmp_path: Path
) -> None:
    file = tmp_path / "absent" / "audit.jsonl"
    trail, told = trail_of(harness, file), []
    trail.on_failed = told.append
    running = asyncio.ensure_future(trail.run())
    await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"})
    for _ in range(1000):  # the file is written in a thread, which a busy machine runs late
        if told:
            break
        await harness.advance(11)
        await asyncio.sleep(0.01)
    for _ in range(2):
        await harness.advance(11)
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    assert len(told) == 1
    assert "No such file" in told[0]
    file.parent.mkdir()
    running.cancel()
    await trail.finish()
    assert [one["id"] for one in lines(file)] == ["c1"] * 3


async def test_many_steps_are_carried_over_in_pieces(harness: Harness, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    harness.vendor.will("valve", taken("t1"))
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "open"})
    (row,) = harness.journal()

    def fill(tx: Any) -> None:
        for number in range(BATCH + 10):
            tx.journal.save(row, f"note {number}")

    await harness.store.run(fill)
    trail = trail_of(harness, file)
    assert await trail.carry_over() == BATCH
    await trail.finish()
    told = lines(file)
    assert len(told) == BATCH + 13
    assert told[-1]["note"] == f"note {BATCH + 9}"


def test_a_line_that_a_crash_cut_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    trail = Trail(file)
    assert trail.last() is None
    trail.append([b'{"seq":1}', b'{"seq":2}'])
    with file.open("ab") as torn:
        torn.write(b'{"seq":3,"a')
    assert trail.last() == b'{"seq":2}'
    trail.append([b'{"seq":3}'])
    assert file.read_bytes().splitlines() == [b'{"seq":1}', b'{"seq":2}', b'{"seq":3,"a', b'{"seq":3}']
    assert trail.last() == b'{"seq":3}'


async def test_what_was_rejected_or_only_tried_is_in_it_with_who_asked_and_uses_up_no_id(
    harness: Harness, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    await harness.command("home/D1/cmd/recharge", {"id": "p1", "charge_value": -5}, requester="Erika")
    await harness.command("home/D1/cmd/recharge", {"charge_value": 5, "expires_at": "2024-01-01T13:00:00Z"})
    payload = {"id": "p1", "charge_value": 5, "note": "FAKEhidden"}
    await harness.command("home/D1/cmd/recharge", {**payload, "dry_run": True}, requester="Egon")
    await harness.command("home/D9/cmd/breaker", "on")
    assert (await harness.command("home/D1/cmd/recharge", payload))[-1]["status"] == "succeeded"
    await trail_of(harness, file).finish()
    told = lines(file)
    assert [(one["state"], one["status"], one["code"], one["requester"]) for one in told[:4]] == [
        ("rejected", "rejected", "invalid_params", "Erika"),
        ("rejected", "rejected", "id_required", None),
        ("dry_run", "succeeded", None, "Egon"),
        ("rejected", "rejected", "unknown_device", None),
    ]
    refused, nameless, tried, unknown = told[:4]
    assert (refused["account"], refused["device"], refused["command"], refused["id"]) == (
        "home", "D1", "recharge", "p1",
    )  # fmt: skip
    assert "charge_value" in refused["note"]
    assert (nameless["params"], nameless["expires_at"]) == ({"charge_value": "5"}, "2024-01-01T13:00:00Z")
    assert tried["request"]["url"] == "https://vendor.example.invalid/send"
    assert tried["params"] == {"charge_value": "5", "note": "***"}
    assert (unknown["device"], unknown["params"]) == ("D9", None)
    assert [one["state"] for one in told[4:]] == ["accepted", "dispatched", "final"]
    assert [one["seq"] for one in told] == sorted({one["seq"] for one in told})
    assert [row.id for row in harness.journal()] == ["p1"]


async def test_a_rejection_that_is_delivered_twice_is_one_line(harness: Harness, tmp_path: Path) -> None:
    message = harness.message("home/D1/cmd/breaker", "maybe")
    await harness.admit(message)
    await harness.admit(replace(message, dup=True))
    await trail_of(harness, tmp_path / "audit.jsonl").finish()
    assert len(lines(tmp_path / "audit.jsonl")) == 1


async def test_of_nonsense_only_the_newest_is_kept_and_that_not_for_ever(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.flow.janitor.ASIDES_AT_MOST", 3)
    for number in range(5):
        await harness.command("home/D1/cmd/breaker", f"nonsense {number}")
    await harness.janitor.round()
    kept = await harness.store.run(lambda tx: list(tx.journal.history(0, 99)))
    assert [step.seq for _row, step in kept] == [3, 4, 5]
    await harness.advance(8 * 86400)
    await harness.janitor.round()
    assert await harness.store.run(lambda tx: list(tx.journal.history(0, 99))) == []
    await harness.command("home/D1/cmd/breaker", "nonsense")
    ((_row, step),) = await harness.store.run(lambda tx: list(tx.journal.history(0, 99)))
    assert step.seq == 6, "a number is never used twice"
