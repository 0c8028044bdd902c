"""The judge of the household's kill trial sees every kind of mistake: an honest run is bent, one thing at a time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crash.household import GAS, PULSES, Household, Wanted
from tests.system.stage import Broker, Message

FLAT = "E0001"
Ledger = list[dict[str, Any]]
Bend = Callable[["Run"], None]


class Records:
    """Stands for a cloud whose ledger says what a test wants."""

    def __init__(self) -> None:
        self.entries: Ledger = []

    def look(self, _what: str) -> dict[str, Ledger]:
        return {"entries": self.entries}


class Log:
    """Stands for the listener: acknowledgements in the order of their arrival."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []

    def all(self) -> list[Message]:
        return [
            Message(order, 0.0, "", json.dumps(one).encode(), False, False, None)
            for order, one in enumerate(self.documents)
        ]


class Run:
    """An honest run: each kind of command once, done once, with one end."""

    def __init__(self, folder: Path) -> None:
        self.house = Household(folder, Broker(folder), random.Random(1))
        self.gas, self.flats, self.shop, self.log = Records(), Records(), Records(), Log()
        # in the place of clouds, listener and state database: what a gateway did, as a test bends it
        self.house.gas, self.house.flats, self.house.shop = self.gas, self.flats, self.shop  # type: ignore[assignment]
        self.house.listener = self.log  # type: ignore[assignment]
        self.journal: dict[str, str] = {}
        self.house.journal = lambda: self.journal  # type: ignore[method-assign]
        self.house.meters = [(FLAT, "breaker")]
        for command in ("recharge", "open_account", "set_balance"):
            self.wanted("gas", GAS[0], command, command)
        self.wanted("gas", GAS[1], "valve", "close")
        self.wanted("shop", PULSES[0], "pulse_on", "pulse_on", delay_s=7)
        self.wanted("flats", FLAT, "breaker", "on")
        self.wanted("flats", FLAT, "breaker", "off")
        self.gas.entries = [
            {"device": one.device, "effect": "task_queued", "detail": f"{one.command} {one.payload['id']}"}
            for one in self.house.sent[:4]
        ]
        self.shop.entries = [{"device": PULSES[0], "effect": "pulse_on", "detail": "7 s, no_change"}]
        self.flats.entries = [{"device": FLAT, "effect": effect} for effect in ("reclosed", "tripped")]

    def wanted(self, account: str, device: str, command: str, deed: str, **params: Any) -> None:
        """A command, and what was answered to it."""
        id_ = f"h-{len(self.house.sent)}"
        self.journal[id_] = "final"
        self.house.sent.append(Wanted(account, device, command, {"id": id_, **params}, deed))
        for status in ("accepted", "sent", "succeeded"):
            self.acknowledge(id_, status)

    def acknowledge(self, id_: str, status: str, **more: Any) -> None:
        final = status not in ("accepted", "sent")
        self.log.documents.append({"id": id_, "status": status, "final": final, "duplicate": False, **more})

    def id_of(self, deed: str) -> str:
        return str(next(one.payload["id"] for one in self.house.sent if one.deed == deed))

    def drop(self, id_: str, status: str) -> None:
        self.log.documents = [
            one for one in self.log.documents if (one["id"], one["status"]) != (id_, status)
        ]

    def end_as(self, id_: str, status: str) -> None:
        self.drop(id_, "succeeded")
        self.acknowledge(id_, status)

    def leave_open(self, id_: str, state: str | None) -> None:
        self.drop(id_, "succeeded")
        if state is None:
            del self.journal[id_]
        else:
            self.journal[id_] = state

    def forget(self, id_: str) -> None:
        self.gas.entries = [one for one in self.gas.entries if id_ not in one["detail"]]


def again(cloud: str, index: int, times: int = 1) -> Bend:
    """A ledger's entry stands there more often."""

    def bend(run: Run) -> None:
        entries = getattr(run, cloud).entries
        entries.extend([entries[index]] * times)

    return bend


def ends(deed: str, status: str) -> Bend:
    """A command that was done says this at its end."""
    return lambda run: run.end_as(run.id_of(deed), status)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_honest_run_has_no_mistakes(run: Run) -> None:
    assert list(run.house.mistakes()) == []
    assert run.house.open() == []


@pytest.mark.parametrize(
    "allowed",
    [
        again("gas", 3),  # closing again leaves the same state
        again("flats", 1),
        ends("recharge", "indeterminate"),
        ends("pulse_on", "timed_out"),
        lambda run: (run.forget(run.id_of("recharge")), run.end_as(run.id_of("recharge"), "failed")),
        lambda run: run.leave_open("h-2", "sent"),  # days may pass, and the gateway knows it
        lambda run: run.log.documents.append({**run.log.documents[2], "duplicate": True}),
        lambda run: run.log.documents.append(run.log.documents[2]),  # the broker's second copy
    ],
)
def test_what_the_contract_allows_is_no_mistake(run: Run, allowed: Bend) -> None:
    allowed(run)
    assert list(run.house.mistakes()) == []


@pytest.mark.parametrize(
    ("bend", "told"),
    [
        (again("gas", 0), "h-0 recharge: executed 2 times"),
        (again("gas", 1), "h-1 open_account: executed 2 times"),
        (again("gas", 2), "h-2 set_balance: executed 2 times"),
        (again("gas", 3, times=2), "h-3 valve: executed 3 times"),
        (again("shop", 0), "h-4 pulse_on: executed 2 times"),
        (again("flats", 0), f"{FLAT}: 1 times 'on', 2 times reclosed"),
        (again("flats", 1, times=2), f"{FLAT}: 1 times 'off', 3 times tripped"),
        (lambda run: run.forget("h-0"), "h-0 recharge: succeeded, and nothing was done"),
        (ends("recharge", "failed"), "h-0 recharge: failed, and it was done"),
        (ends("pulse_on", "rejected"), "h-4 pulse_on: rejected, and it was done"),
        (ends("open_account", "cancelled"), "h-1 open_account: cancelled, and it was done"),
        (ends("close", "expired"), "h-3 valve: expired, and it was done"),
        (lambda run: run.acknowledge("h-0", "failed"), "'succeeded', 'failed'"),
        (lambda run: run.acknowledge("h-0", "succeeded", result={"other": 1}), "'succeeded', 'succeeded'"),
        (lambda run: run.acknowledge("h-0", "sent", attempt=2), "'succeeded', 'sent'"),
        (
            lambda run: run.leave_open("h-2", "final"),
            "h-2 set_balance: it came to its end, and that was not told",
        ),
        (
            lambda run: run.leave_open("h-2", None),
            "h-2 set_balance: no end was told, and the journal does not",
        ),
        (lambda run: run.drop("h-5", "accepted"), "h-5 breaker: ['sent', 'succeeded']"),
    ],
)
def test_what_must_not_be_is_told(run: Run, bend: Bend, told: str) -> None:
    bend(run)
    mistakes = list(run.house.mistakes())
    assert len(mistakes) == 1, mistakes
    assert told in mistakes[0]


def test_command_that_was_never_answered_is_a_mistake(run: Run) -> None:
    run.log.documents = [one for one in run.log.documents if one["id"] != "h-2"]
    assert "h-2 set_balance: []" in list(run.house.mistakes())
