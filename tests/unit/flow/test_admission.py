"""What is never executed, and how it is said; what counts as the same command (CONTRACT section 6)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.ids import id_from_correlation
from bridge.domain.times import rfc3339
from tests.fakes.harness import Harness
from tests.fakes.vendor import hangs, lost, taken

PAY = {"id": "pay-7", "charge_value": 128.5}


def finals(harness: Harness) -> list[dict[str, Any]]:
    return [ack for ack in harness.acks() if ack["final"]]


# what is never executed -----------------------------------------------------------------------------------------------

REJECTED: list[tuple[str, Any, str]] = [
    ("home/D1/cmd/breaker", b'{"state": "on"', "invalid_payload"),
    ("home/D1/cmd/breaker", b'["on"]', "invalid_payload"),
    ("home/D1/cmd/breaker", b"null", "invalid_payload"),
    ("home/D1/cmd/breaker", b"\xff\xfe", "invalid_payload"),
    ("home/D1/cmd/read", b"now", "invalid_payload"),
    ("home/D1/cmd/breaker", b"", "invalid_params"),
    ("home/D1/cmd/breaker", b"toggle", "invalid_params"),
    ("home/D1/cmd/breaker", {"state": "ON"}, "invalid_params"),
    ("home/D1/cmd/breaker", {"state": "on", "delay": 5}, "invalid_params"),
    ("home/D1/cmd/pulse_on", {"delay_s": 0}, "invalid_params"),
    ("home/D1/cmd/pulse_on", {"delay_s": 901}, "invalid_params"),
    ("home/D1/cmd/pulse_on", {"delay_s": "5"}, "invalid_params"),
    ("home/D1/cmd/pulse_on", {"delay_s": 5.5}, "invalid_params"),
    ("home/D1/cmd/pulse_on", {"delay_s": True}, "invalid_params"),
    ("home/D1/cmd/read", {"state": "on"}, "invalid_params"),
    ("home/D1/cmd/read", {"expires_at": "soon"}, "invalid_params"),
    ("home/D1/cmd/read", {"expires_at": "2024-01-01T12:00:00"}, "invalid_params"),
    ("home/D1/cmd/read", {"timeout_s": 0}, "invalid_params"),
    ("home/D1/cmd/read", {"timeout_s": "5"}, "invalid_params"),
    ("home/D1/cmd/read", {"confirm": "yes"}, "invalid_params"),
    ("home/D1/cmd/read", {"dry_run": 1}, "invalid_params"),
    ("home/D1/cmd/read", {"id": ""}, "invalid_params"),
    ("home/D1/cmd/read", {"id": "x" * 51}, "invalid_params"),
    ("home/D1/cmd/read", {"id": 5}, "invalid_params"),
    ("home/D1/cmd/read", {"id": "a\nb"}, "invalid_params"),
    ("home/D9/cmd/read", b"", "unknown_device"),
    ("home/D1/cmd/fly", b"", "unknown_command"),
    ("home/cmd/breaker", b"on", "unknown_command"),
    ("home/D1/cmd/register", b"D5", "unknown_command"),
    ("home/D1/cmd/recharge", {"charge_value": 5}, "id_required"),
    ("home/D1/cmd/wipe", b"", "confirm_required"),
    ("home/D1/cmd/wipe", {"confirm": False}, "confirm_required"),
    ("home/D1/cmd/threshold", {"amps": 5, "trip": False}, "confirm_required"),
    ("home/D1/cmd/frame", {"hex": "00"}, "bad_frame"),
    ("home/D1/cmd/read", {"expires_at": "2024-01-01T11:59:59Z"}, "expired"),
    ("home/D1/cmd/read", {"expires_at": "2024-01-01T12:00:00Z"}, "expired"),
    ("bridge/cmd/explode", b"", "unknown_command"),
    ("bridge/cmd/lock", {"device": "D1"}, "invalid_params"),
    ("bridge/cmd/lock", {"account": "nobody"}, "invalid_params"),
]


@pytest.mark.parametrize(("topic", "payload", "code"), REJECTED)
async def test_what_must_not_be_executed_is_rejected_and_nothing_else(
    harness: Harness, topic: str, payload: Any, code: str
) -> None:
    (ack,) = await harness.command(topic, payload)
    assert (ack["status"], ack["code"], ack["final"]) == ("rejected", code, True)
    assert ack["message"]
    assert ack["attempt"] == 0
    assert harness.vendor.executed == []
    assert harness.journal() == []


async def test_a_retained_command_is_rejected(harness: Harness) -> None:
    (ack,) = await harness.command("home/D1/cmd/breaker", {"id": "c1", "state": "on"}, retained=True)
    assert (ack["id"], ack["status"], ack["code"]) == ("c1", "rejected", "retained")
    assert harness.vendor.executed == []


async def test_a_message_whose_expiry_has_passed_is_rejected(harness: Harness) -> None:
    (ack,) = await harness.command("home/D1/cmd/breaker", "on", expiry_s=0)
    assert ack["code"] == "expired"


async def test_the_earlier_of_two_expiries_counts(harness: Harness) -> None:
    harness.vendor.will("breaker", hangs(acted=True))
    await harness.command("home/D1/cmd/breaker", "on")
    await harness.command(
        "home/D1/cmd/breaker",
        {"id": "c2", "state": "on", "expires_at": rfc3339(harness.at(500))},
        expiry_s=10,
    )
    assert harness.journal()[0].expires_ms == int(harness.at(10).timestamp() * 1000)


async def test_the_allow_list_forbids(tmp_path: Path) -> None:
    async with Harness(tmp_path, allow=("read",)) as harness:
        (ack,) = await harness.command("home/D1/cmd/breaker", "on")
        assert ack["code"] == "not_allowed"
        assert (await harness.command("home/D1/cmd/read"))[-1]["status"] == "succeeded"


async def test_the_configuration_can_ask_for_a_confirmation(tmp_path: Path) -> None:
    async with Harness(tmp_path, confirm=frozenset({"breaker"})) as harness:
        (ack,) = await harness.command("home/D1/cmd/breaker", "on")
        assert ack["code"] == "confirm_required"
        acks = await harness.command("home/D1/cmd/breaker", {"state": "on", "confirm": True})
        assert acks[-1]["status"] == "succeeded"


async def test_a_confirmed_dangerous_command_runs(harness: Harness) -> None:
    assert (await harness.command("home/D1/cmd/wipe", {"confirm": True}))[-1]["status"] == "succeeded"
    safe = await harness.command("home/D1/cmd/threshold", {"amps": 5})
    assert safe[-1]["status"] == "succeeded"
    unsafe = await harness.command("home/D1/cmd/threshold", {"amps": 5, "trip": False, "confirm": True})
    assert unsafe[-1]["status"] == "succeeded"


@pytest.mark.parametrize(
    "topic",
    ["nobody/D1/cmd/breaker", "nobody/cmd/register", "home/D1/state", "home/D1/cmd", "home/D1/x/y/cmd/z"],
)
async def test_what_is_no_command_to_an_account_of_ours_gets_no_answer(harness: Harness, topic: str) -> None:
    before = len(harness.published("#"))
    await harness.command(topic, "on")
    assert len(harness.published("#")) == before


async def test_a_rejection_to_an_unknown_device_goes_to_its_own_topic(harness: Harness) -> None:
    (ack,) = await harness.command("home/D%2F9/cmd/read", {"id": "c1"})
    assert harness.published("home/D%2F9/ack")
    assert ack["device"] == "D%2F9"


async def test_a_fault_while_judging_is_answered(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_device: object) -> object:
        raise RuntimeError("a bug")

    monkeypatch.setattr(harness.vendor, "commands", broken)
    (ack,) = await harness.command("home/D1/cmd/read", {"id": "c1"})
    assert (ack["status"], ack["code"]) == ("rejected", "internal")


# what it is taken as --------------------------------------------------------------------------------------------------


async def test_a_command_without_an_id_gets_one(harness: Harness) -> None:
    accepted, final = await harness.command("home/D1/cmd/breaker", "on")
    assert accepted["id"].startswith("auto-")
    assert final["id"] == accepted["id"]
    assert (accepted["status"], accepted["final"], final["status"], final["final"]) == (
        "accepted",
        False,
        "succeeded",
        True,
    )


@pytest.mark.parametrize("payload", [b"on", b'"on"', b' "on" ', b'{"state": "on"}', b'{ "state" : "on" }'])
async def test_a_bare_payload_is_the_same_as_an_object(harness: Harness, payload: bytes) -> None:
    await harness.command("home/D1/cmd/breaker", {"state": "on"}, correlation=b"c1")
    (again,) = await harness.command("home/D1/cmd/breaker", payload, correlation=b"c1")
    assert (again["duplicate"], again["code"]) == (True, None)
    assert harness.vendor.times("c1") == 1


async def test_a_bare_number_is_a_number(harness: Harness) -> None:
    await harness.command("home/D1/cmd/pulse_on", b"15")
    await harness.command("home/D1/cmd/pulse_on", {"delay_s": 15.0})
    assert [done.params for done in harness.vendor.effects] == [{"delay_s": 15}, {"delay_s": 15}]


async def test_decimals_reach_the_vendor_exactly(harness: Harness) -> None:
    await harness.command("home/D1/cmd/recharge", b'{"id": "c1", "charge_value": 123456789.123456}')
    assert harness.vendor.effects[0].params["charge_value"] == Decimal("123456789.123456")


async def test_commands_of_the_account_go_to_the_account(harness: Harness) -> None:
    acks = await harness.command("home/cmd/register", b"D7")
    assert [(ack["device"], ack["status"]) for ack in acks] == [(None, "accepted"), (None, "succeeded")]


# ids ------------------------------------------------------------------------------------------------------------------


async def test_a_duplicate_republishes_the_last_acknowledgement_and_is_not_executed(harness: Harness) -> None:
    await harness.command("home/D1/cmd/recharge", PAY)
    first = harness.final("pay-7")
    (again,) = await harness.command("home/D1/cmd/recharge", PAY)
    assert again == {**first, "duplicate": True}
    assert harness.vendor.executed == ["pay-7"]


async def test_a_duplicate_before_the_end_republishes_what_is_known(harness: Harness) -> None:
    harness.vendor.will("valve", taken("t1"))
    await harness.command("home/D1/cmd/valve", {"id": "c1", "state": "open"})
    (again,) = await harness.command("home/D1/cmd/valve", {"id": "c1", "state": "open"})
    assert (again["status"], again["duplicate"], again["vendor_ref"]) == ("sent", True, "t1")
    harness.vendor.will("breaker", hangs(acted=True))
    await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "on"})
    (again,) = await harness.command("home/D1/cmd/breaker", {"id": "c2", "state": "on"})
    assert (again["status"], again["duplicate"]) == ("accepted", True)
    assert harness.vendor.executed == ["c1", "c2"]


async def test_a_duplicate_is_known_after_a_restart(harness: Harness) -> None:
    await harness.command("home/D1/cmd/recharge", PAY)
    await harness.restart()
    (again,) = await harness.command("home/D1/cmd/recharge", PAY)
    assert (again["status"], again["duplicate"]) == ("succeeded", True)
    assert harness.vendor.times("pay-7") == 1


async def test_a_duplicate_is_no_rejection_even_if_it_would_be_one_now(harness: Harness) -> None:
    payload = {**PAY, "expires_at": rfc3339(harness.at(60))}
    await harness.command("home/D1/cmd/recharge", payload)
    await harness.advance(120)
    await harness.command("bridge/cmd/lock", {})
    (again,) = await harness.command("home/D1/cmd/recharge", payload)
    assert (again["status"], again["duplicate"]) == ("succeeded", True)


async def test_the_envelope_does_not_make_it_another_command(harness: Harness) -> None:
    await harness.command("home/D1/cmd/recharge", PAY)
    (again,) = await harness.command("home/D1/cmd/recharge", {**PAY, "timeout_s": 60, "confirm": True})
    assert again["duplicate"] is True


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("home/D1/cmd/recharge", {"id": "pay-7", "charge_value": 128.6}),
        ("home/D1/cmd/recharge", {"id": "pay-7", "charge_value": 128.5, "note": "x"}),
        ("home/D2/cmd/recharge", {"id": "pay-7", "charge_value": 128.5}),
        ("home/D1/cmd/read", {"id": "pay-7"}),
        ("home/cmd/refresh_inventory", {"id": "pay-7"}),
    ],
)
async def test_the_same_id_for_something_else_is_rejected(harness: Harness, topic: str, payload: Any) -> None:
    await harness.command("home/D1/cmd/recharge", PAY)
    (ack,) = await harness.command(topic, payload)
    assert (ack["status"], ack["code"], ack["duplicate"]) == ("rejected", "id_reused", False)
    assert harness.vendor.executed == ["pay-7"]


async def test_ids_belong_to_an_account(harness: Harness) -> None:
    await harness.command("bridge/cmd/diagnostics", {"id": "same"})
    acks = await harness.command("home/D1/cmd/breaker", {"id": "same", "state": "on"})
    assert acks[-1]["status"] == "succeeded"


async def test_a_rejected_command_does_not_use_up_its_id(harness: Harness) -> None:
    await harness.command("home/D1/cmd/wipe", {"id": "c1"})
    assert (await harness.command("home/D1/cmd/wipe", {"id": "c1", "confirm": True}))[-1][
        "status"
    ] == "succeeded"


async def test_a_dry_run_sends_nothing_shows_the_request_and_does_not_use_up_its_id(harness: Harness) -> None:
    (ack,) = await harness.command("home/D1/cmd/recharge", {**PAY, "dry_run": True})
    assert (ack["status"], ack["dry_run"], ack["id"], ack["final"]) == ("succeeded", True, "pay-7", True)
    assert ack["result"]["request"]["body"]["charge_value"] == "128.5"
    assert harness.vendor.executed == []
    assert harness.journal() == []
    acks = await harness.command("home/D1/cmd/recharge", PAY)
    assert [one["duplicate"] for one in acks] == [False, False]
    assert harness.vendor.times("pay-7") == 1


async def test_a_dry_run_needs_neither_id_nor_confirmation(harness: Harness) -> None:
    for topic, payload in (("recharge", {"charge_value": 1}), ("wipe", {})):
        (ack,) = await harness.command(f"home/D1/cmd/{topic}", {**payload, "dry_run": True})
        assert (ack["status"], ack["dry_run"]) == ("succeeded", True)


async def test_a_dry_run_of_a_bad_command_is_rejected(harness: Harness) -> None:
    (ack,) = await harness.command("home/D1/cmd/frame", {"hex": "00", "dry_run": True})
    assert ack["code"] == "bad_frame"
    (ack,) = await harness.command("bridge/cmd/lock", {"device": "D1", "dry_run": True})
    assert ack["code"] == "invalid_params"


async def test_an_id_is_forgotten_after_its_time(harness: Harness) -> None:
    await harness.command("home/D1/cmd/recharge", PAY)
    await harness.advance(7 * 86400 + 1)
    await harness.janitor.round()
    acks = await harness.command("home/D1/cmd/recharge", PAY)
    assert [ack["status"] for ack in acks] == ["accepted", "succeeded"]
    assert harness.vendor.times("pay-7") == 2


# deliveries -----------------------------------------------------------------------------------------------------------


async def test_a_redelivery_is_the_same_command(harness: Harness) -> None:
    await harness.command("home/D1/cmd/pulse_on", b"5", mid=77)
    await harness.restart()
    assert await harness.command("home/D1/cmd/pulse_on", b"5", mid=77, dup=True) == []
    assert len(harness.vendor.effects) == 1
    assert len(finals(harness)) == 1


async def test_a_redelivery_of_what_was_rejected_is_not_rejected_twice(harness: Harness) -> None:
    await harness.command("home/D1/cmd/wipe", mid=77)
    assert await harness.command("home/D1/cmd/wipe", mid=77, dup=True) == []
    assert len(finals(harness)) == 1


async def test_a_redelivery_of_a_dry_run_is_not_answered_twice(harness: Harness) -> None:
    await harness.command("home/D1/cmd/breaker", {"state": "on", "dry_run": True}, mid=77)
    assert (
        await harness.command("home/D1/cmd/breaker", {"state": "on", "dry_run": True}, mid=77, dup=True) == []
    )


@pytest.mark.parametrize(
    "other",
    [
        {"payload": b"6"},
        {"topic": "home/D2/cmd/pulse_on"},
        {"correlation": b"x"},
        {"mid": 78},
        {"dup": False},
    ],
)
async def test_what_differs_in_bytes_packet_or_mark_is_another_command(
    harness: Harness, other: dict[str, Any]
) -> None:
    await harness.command("home/D1/cmd/pulse_on", b"5", mid=77)
    again: dict[str, Any] = {
        "topic": "home/D1/cmd/pulse_on",
        "payload": b"5",
        "mid": 77,
        "dup": True,
        **other,
    }
    await harness.command(**again)
    assert len(harness.vendor.effects) == 2


async def test_a_redelivery_that_was_never_taken_is_executed(harness: Harness) -> None:
    await harness.command("home/D1/cmd/pulse_on", b"5", mid=77, dup=True)
    assert len(harness.vendor.effects) == 1


# MQTT 5 ---------------------------------------------------------------------------------------------------------------


async def test_correlation_data_serves_as_id(harness: Harness) -> None:
    accepted, _ = await harness.command("home/D1/cmd/recharge", {"charge_value": 1}, correlation=b"pay-1")
    assert accepted["id"] == "pay-1"
    assert harness.vendor.times("pay-1") == 1


async def test_an_id_in_the_payload_wins(harness: Harness) -> None:
    accepted, _ = await harness.command("home/D1/cmd/recharge", PAY, correlation=b"other")
    assert accepted["id"] == "pay-7"


@pytest.mark.parametrize("data", [b"\x00\x01", b"x" * 51, b""])
async def test_correlation_data_that_is_no_id_is_hashed(harness: Harness, data: bytes) -> None:
    accepted, _ = await harness.command("home/D1/cmd/breaker", "on", correlation=data)
    assert accepted["id"] == id_from_correlation(data)
    assert accepted["id"].startswith("cd-")
    assert len(accepted["id"]) == 35


async def test_every_acknowledgement_is_copied_to_the_response_topic(harness: Harness) -> None:
    await harness.command(
        "home/D1/cmd/breaker", "on", response_topic="mb/answers/me", correlation=b"\x01\x02"
    )
    copies = harness.published("answers/me")
    assert [one.doc["status"] for one in copies] == ["accepted", "succeeded"]
    assert [one.correlation for one in copies] == [b"\x01\x02", b"\x01\x02"]
    assert [one.doc for one in copies] == harness.docs("home/D1/ack")


async def test_a_caller_who_names_the_topic_of_the_acknowledgements_gets_each_once(harness: Harness) -> None:
    await harness.command("home/D1/cmd/breaker", "on", response_topic="mb/home/D1/ack", correlation=b"c1")
    acks = harness.published("home/D1/ack")
    assert [(one.doc["status"], one.correlation) for one in acks] == [
        ("accepted", b"c1"),
        ("succeeded", b"c1"),
    ]


async def test_a_rejection_and_a_duplicate_are_copied_too(harness: Harness) -> None:
    await harness.command("home/D1/cmd/wipe", response_topic="mb/answers/me", correlation=b"c0")
    await harness.command("home/D1/cmd/recharge", PAY)
    await harness.command("home/D1/cmd/recharge", PAY, response_topic="mb/answers/you", correlation=b"c9")
    assert harness.docs("answers/me")[0]["status"] == "rejected"
    (copy,) = harness.published("answers/you")
    assert (copy.doc["duplicate"], copy.correlation) == (True, b"c9")


@pytest.mark.parametrize(
    "topic", ["mb/home/D2/cmd/breaker", "mb/bridge/cmd/lock", "a/+/b", "a/#", "", "a/" * 100]
)
async def test_a_response_topic_that_is_a_command_or_a_filter_is_ignored(
    harness: Harness, topic: str
) -> None:
    before = len(harness.published("#"))
    await harness.command("home/D1/cmd/read", response_topic=topic)
    after = [one.topic for one in harness.published("#")[before:]]
    assert set(after) == {"mb/home/D1/ack", "mb/home/D1/telemetry", "mb/home/D1/state"}


async def test_the_copies_go_on_after_a_restart(harness: Harness) -> None:
    harness.vendor.will("breaker", lost(acted=True))
    await harness.command("home/D1/cmd/breaker", "on", response_topic="mb/answers/me", correlation=b"c1")
    await harness.restart()
    await harness.advance(10)
    assert [one["status"] for one in harness.docs("answers/me")] == ["accepted", "succeeded"]


# the store ------------------------------------------------------------------------------------------------------------


async def test_what_the_store_does_not_take_is_neither_accepted_nor_rejected(harness: Harness) -> None:
    message = harness.message("home/D1/cmd/recharge", PAY)
    harness.store.fails = lambda: True
    with pytest.raises(Exception, match="disk"):
        await harness.admission.admit(message)
    harness.store.fails = lambda: False
    await harness.clock.settle()
    assert harness.acks() == []
    assert harness.vendor.executed == []
    await harness.admit(message)
    assert harness.statuses("pay-7") == ["accepted", "succeeded"]
