"""The judge of the crash tests sees every kind of mistake that it is there for."""

from __future__ import annotations

import pytest

from tests.crash.judge import Deed, Sent, unexplained

ON: Deed = ("switched_on", "")
OFF: Deed = ("switched_off", "")
PULSE: Deed = ("pulse_on", "301 s")
SET: Deed = ("settings_changed", "a")


@pytest.mark.parametrize(
    ("sent", "ledger"),
    [
        ([Sent("1", ON, "succeeded")], [ON]),
        ([Sent("1", ON, "timed_out")], []),
        ([Sent("1", ON, "timed_out")], [ON]),
        ([Sent("1", OFF, "succeeded")], [OFF, OFF]),
        ([Sent("1", SET, "timed_out")], [SET, SET]),
        ([Sent("1", ON, "succeeded"), Sent("2", ON, "succeeded")], [ON]),
        ([Sent("1", PULSE, "indeterminate"), Sent("2", PULSE, "succeeded")], [PULSE]),
        ([Sent("1", OFF, "rejected"), Sent("2", ON, "succeeded")], [ON]),
    ],
)
def test_what_the_contract_allows_is_explained(sent: list[Sent], ledger: list[Deed]) -> None:
    assert unexplained(sent, ledger, {"switch": "off"} if sent[0].deed == ON else {"switch": "on"}) == ""


@pytest.mark.parametrize(
    ("sent", "ledger"),
    [
        ([Sent("1", ON, "succeeded")], [ON, ON]),
        ([Sent("1", ON, "timed_out")], [ON, ON]),
        ([Sent("1", PULSE, "indeterminate")], [PULSE, PULSE]),
        ([Sent("1", ("restart", ""), "succeeded")], [("restart", ""), ("restart", "")]),
        ([Sent("1", OFF, "succeeded")], [OFF, OFF, OFF]),
        ([Sent("1", PULSE, "succeeded")], []),
        ([Sent("1", ON, "succeeded")], []),
        ([Sent("1", PULSE, "rejected")], [PULSE]),
        ([Sent("1", ON, "succeeded"), Sent("2", OFF, "succeeded")], [OFF, ON]),
        ([Sent("1", ON, "succeeded")], [ON, PULSE]),
    ],
)
def test_what_the_contract_forbids_is_not_explained(sent: list[Sent], ledger: list[Deed]) -> None:
    assert unexplained(sent, ledger, {"switch": "off"}) != ""
