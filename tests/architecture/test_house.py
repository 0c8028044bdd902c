"""The documents say what the code does, and a vendor is complete: folder, simulator, contract case, example."""

import re
from pathlib import Path

import pytest

from bridge.domain.command import ACK_CODES
from bridge.vendors import VENDORS

ROOT = Path(__file__).parents[2]


def test_the_documented_acknowledgement_codes_are_the_codes() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", (ROOT / "docs/commands.md").read_text(), re.MULTILINE)
    documented = {code: text for code, text in rows if code in ACK_CODES}
    assert documented == ACK_CODES


def test_every_bridge_event_that_the_code_tells_is_in_the_runbook() -> None:
    told = set()
    for path in (ROOT / "bridge").rglob("*.py"):
        told |= set(re.findall(r"reporter\.event\(\s*\"([a-z_]+)\"", path.read_text()))
        told |= set(re.findall(r"self\.event\(\s*\"([a-z_]+)\"", path.read_text()))
    runbook = set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE))
    assert told
    assert told <= runbook


@pytest.mark.parametrize("name", sorted(VENDORS))
def test_a_vendor_has_a_simulator_tests_and_an_example(name: str) -> None:
    assert (ROOT / "bridge/simulators" / name / "__main__.py").is_file()
    assert list((ROOT / "tests/unit/vendors" / name).glob("test_*.py"))
    assert f"vendor: {name}" in (ROOT / "config.example.yaml").read_text()


def test_every_decision_is_in_the_list_of_decisions() -> None:
    pages = {path.name for path in (ROOT / "docs/adr").glob("0*.md")}
    listed = set(re.findall(r"\]\((0\d+[^)]+)\)", (ROOT / "docs/adr/README.md").read_text()))
    assert pages == listed
