"""What every verb says of itself, and how quickly."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from bridge.cli.main import cli
from tests.cli.bench import meterbridge


def _verbs(group: click.Group, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*above, name))
        if isinstance(command, click.Group):
            found += _verbs(command, (*above, name))
    return found


@pytest.mark.parametrize("verb", _verbs(cli), ids=" ".join)
def test_every_verb_explains_itself(verb: tuple[str, ...]) -> None:
    result = meterbridge(*verb, "--help")
    assert result.exit_code == 0
    whole = result.output if len(verb) == 1 else meterbridge(verb[0], "--help").output + result.output
    assert f"meterbridge {verb[0]}" in whole.partition("Example")[2], "an example to copy"


def test_help_loads_nothing_that_takes_long() -> None:
    heavy = "{'pydantic', 'aiomqtt', 'httpx', 'starlette', 'yaml', 'msgspec', 'asyncio'}"
    program = f"import sys, bridge.cli.main; print(sorted({heavy} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_an_unknown_verb_is_a_usage_error() -> None:
    assert meterbridge("fly").exit_code == 2
