"""Every command of every vendor from the message to the last acknowledgement: the exact requests, the states, the
result; and what becomes of it when the answer is lost, when it comes again, when it is only tried.

The rows are in a table per vendor. iotmeter's asynchronous tasks have tests of their own beside its adapter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.domain.secrecy import MASK
from bridge.domain.text import dumps
from bridge.simulators.faults import Fault
from tests.commands import iammeter, jrhsz, saj, wmj
from tests.commands.rows import LOSSES, End, Loss, Row, unclear
from tests.commands.stage import Stage, sent
from tests.contract.cases import CASES, NEW_USER_PASSWORD

TABLES = {"iammeter": iammeter.ROWS, "jrhsz": jrhsz.ROWS, "saj": saj.ROWS, "wmj": wmj.ROWS}
UNCLEAR = {"saj": unclear(10001), "wmj": unclear(1001)}
EVERY = [
    pytest.param(vendor, row, id=f"{vendor}-{number}-{row.command}")
    for vendor, rows in TABLES.items()
    for number, row in enumerate(rows)
]
LOST = [
    pytest.param(vendor, row, loss, id=f"{vendor}-{number}-{row.command}-{loss.name}")
    for vendor, rows in TABLES.items()
    for number, row in enumerate(rows)
    for loss in (*LOSSES, *UNCLEAR.get(vendor, ()))
]
TWICE = [one for one in EVERY if one.values[1].idle.sends == 2]


@pytest.fixture
async def staged(tmp_path: Path) -> Any:
    """Starts a vendor as a row wants it: `await staged(vendor, row)`."""
    running: list[Stage] = []

    async def make(vendor: str, row: Row) -> Stage:
        stage = Stage(tmp_path, vendor)
        await stage.__aenter__()
        running.append(stage)
        row.prepare(stage.cloud)
        stage.cloud.ledger.clear()
        return stage

    yield make
    for stage in running:
        await stage.__aexit__(None, None, None)


def is_result(found: Any, wanted: Any) -> bool:
    """A set names the keys, a table a part of the record of `read`, or all."""
    if isinstance(wanted, set):
        return isinstance(found, dict) and set(found) == wanted
    if isinstance(wanted, dict) and "kind" in wanted:
        return found["kind"] == wanted["kind"] and bool(found["metrics"]) and found["source"] == "command"
    return bool(found == wanted)


@pytest.mark.parametrize(("vendor", "row"), EVERY)
async def test_the_requests_are_those_of_the_page_and_every_state_is_told(
    staged: Any, vendor: str, row: Row
) -> None:
    stage = await staged(vendor, row)
    await row.ordered(stage)
    final = await stage.carried("c-1")
    assert stage.sent() == list(row.requests)
    assert tuple(stage.told("c-1")) == row.acks
    assert is_result(final["result"], row.result), final["result"]
    assert (final["attempt"], final["duplicate"], final["command"]) == (1, False, row.command)
    assert final["device"] == row.target
    assert stage.effects() == list(row.effects)


@pytest.mark.parametrize(("vendor", "row"), EVERY)
async def test_the_same_id_again_is_answered_and_not_executed(staged: Any, vendor: str, row: Row) -> None:
    stage = await staged(vendor, row)
    await row.ordered(stage)
    last = await stage.carried("c-1")
    asked, done = len(stage.wire.requests), stage.effects()
    await row.ordered(stage)
    (again,) = [doc for doc in stage.acks("c-1", duplicates=True) if doc["duplicate"]]
    assert {**again, "duplicate": False} == last
    await stage.order(row.target, row.command, {**row.payload, "expires_at": "2023-12-31T00:00:00Z"})
    await stage.advance(120)
    assert (len(stage.wire.requests), stage.effects()) == (asked, done)


@pytest.mark.parametrize(("vendor", "row"), EVERY)
async def test_what_is_late_retained_or_superfluous_is_rejected_and_leaves_nothing(
    staged: Any, vendor: str, row: Row
) -> None:
    stage = await staged(vendor, row)
    await row.ordered(stage, expires_at="2023-12-31T00:00:00Z")
    await stage.order(row.target, row.command, {**row.payload, "id": "c-2"}, retained=True)
    await row.ordered(stage, id="c-3", superfluous=1)
    await row.ordered(stage, id="c-4", dry_run="yes")
    await stage.advance(120)
    codes = {doc["id"]: (doc["status"], doc["code"]) for doc in stage.acks()}
    assert codes["c-1"] == ("rejected", "expired")
    assert ("rejected", "retained") in codes.values()
    assert codes["c-3"] == ("rejected", "invalid_params")
    assert "superfluous" in stage.final("c-3")["message"]
    assert codes["c-4"][0] == "rejected"
    assert (stage.sent(), stage.effects(), stage.journal()) == ([], [], [])


@pytest.mark.parametrize(("vendor", "row"), EVERY)
async def test_a_dry_run_shows_the_request_sends_nothing_and_leaves_the_id_free(
    staged: Any, vendor: str, row: Row
) -> None:
    stage = await staged(vendor, row)
    await row.ordered(stage, dry_run=True)
    (shown,) = stage.acks("c-1")
    assert (shown["status"], shown["final"], shown["dry_run"]) == ("succeeded", True, True)
    request = shown["result"]["request"]
    line = f"{request['method']} {request['url']}"
    assert any(line.endswith(one.split("?")[0].split(" ")[1]) or "?" in one for one, _ in row.requests), line
    text = dumps(shown).decode()
    assert not [
        secret for secret in (*CASES[vendor].secrets, "FAKE0000", NEW_USER_PASSWORD) if secret in text
    ]
    assert MASK in text or vendor == "iammeter"
    await stage.advance(120)
    assert (stage.sent(), stage.effects(), stage.journal()) == ([], [], [])
    await row.ordered(stage)
    assert (await stage.carried("c-1"))["status"] == "succeeded"


@pytest.mark.parametrize(("vendor", "row", "loss"), LOST)
async def test_a_lost_answer_is_resolved_as_the_catalogue_says(
    staged: Any, vendor: str, row: Row, loss: Loss
) -> None:
    stage = await staged(vendor, row)
    loss.strike(stage, row)
    await row.ordered(stage)
    end: End = row.acted if loss.acts else row.idle
    final = await stage.carried("c-1")
    assert (final["status"], final["code"], row.sends(stage)) == (end.status, end.code, end.sends)
    assert [doc["final"] for doc in stage.acks("c-1")].count(True) == 1
    happened = [one for one in stage.effects() if one in row.effects]
    done = int(loss.acts) + end.sends - 1 if row.leaves_trace else 1
    assert len(happened) == (done if row.effects else 0)


@pytest.mark.parametrize(("vendor", "row"), TWICE)
async def test_where_no_answer_ever_comes_the_end_is_honest_and_the_sending_stops(
    staged: Any, vendor: str, row: Row
) -> None:
    stage = await staged(vendor, row)
    LOSSES[1].strike(stage, row, count=1000)
    await row.ordered(stage)
    final = await stage.carried("c-1")
    assert (final["status"], final["code"]) == ("timed_out", "no_answer")
    tries = sum(row.is_it(sent(one)) for one in stage.wire.requests)
    writes = bool(row.effects) or row.command == "register"
    assert tries == (2 if writes else 3)
    assert stage.effects() == []


@pytest.mark.parametrize(("vendor", "row"), EVERY)
async def test_a_crash_while_the_answer_is_awaited_changes_nothing_of_that(
    staged: Any, vendor: str, row: Row
) -> None:
    """The request is out and did its work; the process that waits for the answer dies."""
    stage = await staged(vendor, row)
    stage.cloud.faults.add(Fault("lose_reply", endpoint=row.fault, seconds=30.0))
    await row.ordered(stage)
    for _ in range(10):
        if row.sends(stage):
            break
        await stage.advance(1)
    before = stage.effects()
    first = row.sends(stage)
    stage.cloud.faults.clear()
    await stage.restart()
    final = await stage.carried("c-1")
    end = row.acted if row.effects or row.command == "register" else End("succeeded", sends=2)
    assert (final["status"], final["code"]) == (end.status, end.code), final
    happened = [one for one in stage.effects() if one in row.effects]
    assert first == 1
    assert len(happened) <= (1 if end.sends == 1 or not row.leaves_trace else 2)
    assert stage.effects()[: len(before)] == before


@pytest.mark.parametrize(("vendor", "row"), EVERY)
async def test_a_cloud_that_refuses_the_connection_is_tried_again_and_told(
    staged: Any, vendor: str, row: Row
) -> None:
    """Nothing left, so that trying again is harmless, money and switches included."""
    stage = await staged(vendor, row)
    stage.wire.refuse(row.is_it, 1)
    await row.ordered(stage)
    assert (await stage.carried("c-1"))["status"] == "succeeded"
    assert stage.effects() == list(row.effects)
    stage.wire.refuse(row.is_it, 1000)
    await stage.advance(1000)  # a water meter is not woken more often
    await row.ordered(stage, id="c-2")
    final = await stage.carried("c-2")
    assert (final["status"], final["code"]) == ("failed", "vendor_unreachable")
    assert stage.effects() == list(row.effects)
