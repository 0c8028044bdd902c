"""The documents say what the code does, and a vendor is complete: folder, simulator, contract case, example."""

import ast
import re
from pathlib import Path

import pytest

from bridge.app.samples import STATES
from bridge.domain.command import ACK_CODES
from bridge.vendors import VENDORS

ROOT = Path(__file__).parents[2]


def test_the_documented_acknowledgement_codes_are_the_codes() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", (ROOT / "docs/commands.md").read_text(), re.MULTILINE)
    documented = {code: text for code, text in rows if code in ACK_CODES}
    assert documented == ACK_CODES


def told_codes() -> set[str]:
    """The codes of every call that looks like an event: a word, then a severity; or the keyword `code`."""
    severities = {"info", "warning", "critical"}
    found: set[str] = set()
    for path in [*(ROOT / "bridge/app").glob("*.py"), *(ROOT / "bridge/flow").glob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call):
                first = [getattr(one, "value", None) for one in call.args[:2]]
                named = {one.arg: getattr(one.value, "value", None) for one in call.keywords}
                if len(first) == 2 and first[1] in severities and isinstance(first[0], str):
                    found.add(first[0])
                if named.get("severity") in severities and isinstance(named.get("code"), str):
                    found.add(str(named["code"]))
    return found


def test_runbook_tells_exactly_the_events_that_the_code_tells() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    rows = text.partition("## Events of the gateway")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| .+ \| .+ \| .+ \|$", rows, re.MULTILINE)
    assert {code for cell in cells for code in re.findall(r"`([a-z_]+)`", cell)} == told_codes()


def test_runbook_tells_every_state_of_an_account() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    rows = text.partition("## States of an account")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", rows, re.MULTILINE)) == set(STATES)


@pytest.mark.parametrize("name", sorted(VENDORS))
def test_a_vendor_has_a_simulator_tests_and_an_example(name: str) -> None:
    assert (ROOT / "bridge/simulators" / name / "__main__.py").is_file()
    assert list((ROOT / "tests/unit/vendors" / name).glob("test_*.py"))
    assert f"vendor: {name}" in (ROOT / "config.example.yaml").read_text()


def test_every_decision_is_in_the_list_of_decisions() -> None:
    pages = {path.name for path in (ROOT / "docs/adr").glob("0*.md")}
    listed = set(re.findall(r"\]\((0\d+[^)]+)\)", (ROOT / "docs/adr/README.md").read_text()))
    assert pages == listed
