"""A vendor's words on commands: early, late, twice, in any order, and about what somebody else asked for."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.command import Outcome, Status
from bridge.domain.observation import Confirmation
from bridge.flow.confirmations import KEEP_MS
from bridge.flow.janitor import ROUND_S
from bridge.ports import OWN_REFERENCES
from tests.fakes.harness import Harness
from tests.fakes.vendor import ACCOUNT, Script, lost, taken

VALVE = frozenset({"valve"})
DOUBTFUL = frozenset({6, 7, 99})


def word(harness: Harness, ref: Any, state: int = 3, **fields: Any) -> Confirmation:
    given: dict[str, Any] = {
        "command_id": None,
        "device": "D1",
        "data": {"ctrl_id": ref, "ctrl_state": state},
        "commands": VALVE,
        "replaces": DOUBTFUL if state == 3 else frozenset(),
    }
    return Confirmation(vendor_ref=ref, native_state=state, received_at=harness.clock.now(), **given | fields)


def told(harness: Harness, code: str, device: str = "D1") -> list[Any]:
    return [doc for doc in harness.docs(f"home/{device}/event") if doc["code"] == code]


async def sending(harness: Harness, ref: Any, slow_s: float = 20.0) -> None:
    """A command whose answer, with its reference, is on its way."""
    harness.vendor.will("valve", Script(acts=False, slow_s=slow_s, outcome=taken(ref).outcome))
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "open"})


async def ended(harness: Harness, status: Status, vendor_code: int, ref: Any = 77) -> None:
    """A command that the vendor took and that has ended so."""
    harness.vendor.will("valve", taken(ref))
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "open"})
    harness.vendor.tasks[ref] = Outcome(status, vendor_code=vendor_code, vendor_ref=ref)
    await harness.advance(11)
    assert harness.final("v1")["status"] == status


# foreign --------------------------------------------------------------------------------------------------------------


async def test_a_word_on_what_nobody_here_asked_for_is_an_event_once(harness: Harness) -> None:
    for _ in range(3):
        await harness.take(word(harness, 500), word(harness, 500))
        await harness.advance(60)
    (event,) = told(harness, "foreign_command")
    assert (event["data"], event["vendor_code"]) == ({"ctrl_id": 500, "ctrl_state": 3}, "3")
    assert event["id"] == f"fake:D1:foreign_command:{1704110400}"
    assert "500" in event["message"]
    await harness.restart()
    await harness.take(word(harness, 500))
    assert len(told(harness, "foreign_command")) == 1


async def test_a_device_of_which_only_such_a_word_is_known_is_a_new_one(harness: Harness) -> None:
    await harness.take(word(harness, 500, device="D9"))
    (event,) = told(harness, "foreign_command", "D9")
    (info,) = harness.docs("home/D9/info")
    assert (info["device"], info["serial"], info["kind"]) == ("D9", "D9", event["kind"])
    await harness.take(word(harness, 501, device="D1"))
    assert len(harness.docs("home/D1/info")) == 1


async def test_each_state_of_a_foreign_task_is_news_and_no_event_takes_the_place_of_another(
    harness: Harness,
) -> None:
    await harness.take(word(harness, 500, 1), word(harness, 501, 1), word(harness, 500, 3))
    events = told(harness, "foreign_command")
    assert [doc["data"] for doc in events] == [
        {"ctrl_id": 500, "ctrl_state": 1},
        {"ctrl_id": 501, "ctrl_state": 1},
        {"ctrl_id": 500, "ctrl_state": 3},
    ]
    assert len({doc["id"] for doc in events}) == 3
    for event in events:
        assert event["id"].rsplit(":", 1)[1] == str(1704110400 + events.index(event))
        assert event["ts"] == f"2024-01-01T12:00:0{events.index(event)}Z"


async def test_a_foreign_task_is_told_at_once_while_other_commands_are_followed(harness: Harness) -> None:
    harness.vendor.will("valve", taken(77))
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "open"})
    await harness.take(word(harness, 500))
    assert len(told(harness, "foreign_command")) == 1


async def test_who_asks_about_a_foreign_task_or_works_on_it_did_not_make_it(harness: Harness) -> None:
    asked = Outcome(Status.SUCCEEDED, vendor_ref=500)
    harness.vendor.will("ask", Script(outcome=asked))
    await harness.command("home/D1/cmd/ask", {"id": "q1"})
    await harness.take(word(harness, 500))
    assert len(told(harness, "foreign_command")) == 1


async def test_what_the_adapter_asked_for_by_itself_is_not_foreign(harness: Harness) -> None:
    await harness.store.run(lambda tx: tx.vault.put(ACCOUNT, OWN_REFERENCES, [499, 500]))
    await harness.take(word(harness, 500), word(harness, 501))
    assert [doc["data"]["ctrl_id"] for doc in told(harness, "foreign_command")] == [501]


async def test_a_foreign_word_without_a_device_is_logged(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    await harness.take(word(harness, 500, device=None))
    assert harness.docs("home/+/event") == []
    assert any("500" in str(getattr(record, "text", "")) for record in caplog.records)


# early ----------------------------------------------------------------------------------------------------------------


async def test_a_word_that_overtakes_the_answer_is_matched_when_the_reference_comes(harness: Harness) -> None:
    await sending(harness, 77)
    harness.vendor.tasks[77] = Outcome(Status.SUCCEEDED, vendor_code=3)
    await harness.take(word(harness, 77))
    assert (harness.vendor.probed, told(harness, "foreign_command")) == ([], [])
    await harness.advance(20)
    assert harness.vendor.probed == ["v1"], "asked at once, not when it would have been due"
    assert harness.statuses("v1") == ["accepted", "sent", "succeeded"]
    await harness.advance(ROUND_S)
    await harness.janitor.round()
    assert told(harness, "foreign_command") == []
    assert await harness.store.run(lambda tx: tx.early_words.of_account(ACCOUNT)) == []


async def test_an_early_word_survives_a_restart(harness: Harness) -> None:
    harness.vendor.will("valve", lost(acted=False))
    harness.vendor.answers_probes = False
    await sending(harness, 77)
    await harness.take(word(harness, 77))
    await harness.restart()
    (early,) = await harness.store.run(lambda tx: tx.early_words.of_account(ACCOUNT))
    assert early.word["vendor_ref"] == 77
    assert told(harness, "foreign_command") == []


async def test_a_word_of_another_task_is_told_once_the_answer_is_known(harness: Harness) -> None:
    await sending(harness, 77)
    await harness.take(word(harness, 500))
    assert told(harness, "foreign_command") == []
    await harness.advance(20)
    (event,) = told(harness, "foreign_command")
    assert event["received_ts"] == "2024-01-01T12:00:00Z"


async def test_a_word_on_another_device_or_another_kind_of_command_does_not_wait(harness: Harness) -> None:
    await sending(harness, 77)
    await harness.take(word(harness, 500, device="D2"), word(harness, 501, commands=frozenset({"recharge"})))
    assert len(told(harness, "foreign_command")) == 1
    assert len(told(harness, "foreign_command", "D2")) == 1


async def test_a_word_waits_for_minutes_only(harness: Harness) -> None:
    await sending(harness, 77, slow_s=KEEP_MS / 1000 + 200)
    await harness.take(word(harness, 500))
    await harness.advance(KEEP_MS / 1000 - 1)
    await harness.janitor.round()
    assert told(harness, "foreign_command") == []
    await harness.advance(2)
    await harness.janitor.round()
    assert len(told(harness, "foreign_command")) == 1


# late -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status.TIMED_OUT, 6),
        (Status.FAILED, 7),
        (Status.TIMED_OUT, 99),
        (Status.INDETERMINATE, 6),
        (Status.TIMED_OUT, 1),
    ],
)
async def test_a_result_after_the_final_ack_is_an_event_and_no_second_ack(
    harness: Harness, status: Status, state: int
) -> None:
    await ended(harness, status, state)
    for _ in range(3):
        await harness.take(word(harness, 77), word(harness, 77))
    (event,) = told(harness, "late_result")
    assert event["data"] == {"ctrl_id": 77, "ctrl_state": 3, "command_id": "v1", "command": "valve"}
    assert "'v1'" in event["message"]
    assert harness.final("v1")["status"] == status
    assert told(harness, "foreign_command") == []


@pytest.mark.parametrize(
    ("status", "state"), [(Status.SUCCEEDED, 3), (Status.FAILED, 4), (Status.CANCELLED, 5)]
)
async def test_a_word_that_changes_nothing_is_no_late_result(
    harness: Harness, status: Status, state: int
) -> None:
    await ended(harness, status, state)
    await harness.take(word(harness, 77, 3), word(harness, 77, 6), word(harness, 77, 1))
    assert harness.docs("home/D1/event") == []


async def test_a_bad_end_after_a_bad_end_is_no_late_result(harness: Harness) -> None:
    await ended(harness, Status.TIMED_OUT, 6)
    await harness.take(word(harness, 77, 99), word(harness, 77, 6), word(harness, 77, 0))
    assert harness.docs("home/D1/event") == []


async def test_words_in_any_order_end_a_command_once(harness: Harness) -> None:
    harness.vendor.will("valve", taken(77))
    await harness.command("home/D1/cmd/valve", {"id": "v1", "state": "open"})
    harness.vendor.tasks[77] = Outcome(Status.SUCCEEDED, vendor_code=3, vendor_ref=77)
    for state in (3, 1, 3, 0, 2, 3):
        await harness.take(word(harness, 77, state))
    assert harness.statuses("v1") == ["accepted", "sent", "succeeded"]
    assert harness.docs("home/D1/event") == []
