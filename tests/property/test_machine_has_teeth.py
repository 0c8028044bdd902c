"""The state machine of the commands fails where the gateway would do one of the things that it must never do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from bridge.domain.command import AfterLoss, CommandState, Outcome, Status
from bridge.flow.carrier import Carrier
from bridge.flow.effect import JournalEffect
from bridge.flow.settle import Settler
from bridge.store.protocols import JournalRow, Tx
from tests.fakes import vendor
from tests.property.test_commands_machine import Commands

HUNT = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
Patch = pytest.MonkeyPatch


def sends_everything_again(patch: Patch) -> None:
    """`on`, pulses and money are repeated after a lost answer."""
    again = AfterLoss((5.0,), 1, otherwise=Status.TIMED_OUT)
    for name, spec in vendor.DEVICE_COMMANDS.items():
        patch.setitem(vendor.DEVICE_COMMANDS, name, replace(spec, after_loss=lambda _params: again))


def forgets_the_journal(patch: Patch) -> None:
    """A request leaves without the journal saying so before."""

    async def leaving(self: JournalEffect, *_request: object) -> None:
        self.times += 1

    patch.setattr(JournalEffect, "leaving", leaving)


def begins_again_after_a_crash(patch: Patch) -> None:
    """What was under way when the process died is sent as if it had never left."""

    async def lost(self: Carrier, row: JournalRow, *_what: object, **_named: object) -> None:
        def work(tx: Tx) -> None:
            current = tx.journal.get(row.key)
            if current is not None and current.state is CommandState.DISPATCHED:
                current.state = CommandState.ACCEPTED
                tx.journal.save(current)

        await self._book.kept(work)

    patch.setattr(Carrier, "_lost", lost)


def says_done_to_everything(patch: Patch) -> None:
    """An unknown outcome is acknowledged as a success."""
    true = Settler.settle

    def settle(
        self: Settler, tx: Tx, row: JournalRow, outcome: Outcome, *more: object, **named: object
    ) -> None:
        if outcome.status in (Status.TIMED_OUT, Status.INDETERMINATE):
            outcome = Outcome(Status.SUCCEEDED)
        true(self, tx, row, outcome, *more, **named)  # type: ignore[arg-type] # passed on as it came

    patch.setattr(Settler, "settle", settle)


@pytest.mark.parametrize(
    "sin", [sends_everything_again, forgets_the_journal, begins_again_after_a_crash, says_done_to_everything]
)
def test_a_gateway_that_sins_is_caught(sin: Callable[[Patch], None], monkeypatch: Patch) -> None:
    sin(monkeypatch)
    with pytest.raises((AssertionError, ValueError, ExceptionGroup)):
        run_state_machine_as_test(seed(7)(Commands), settings=HUNT)
