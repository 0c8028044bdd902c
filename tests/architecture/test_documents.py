"""What the documents show is true: configurations load, commands are understood, links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from bridge.cli.main import cli
from bridge.config import load
from bridge.config.model import Sections
from bridge.vendors import VENDORS
from tests.contract.cases import CASES, Row

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "docs/vendors/*.md", "examples/**/*.md")
    for page in ROOT.glob(pattern)
    if "node_modules" not in page.parts
)
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"…|\||\[--|(?<![\w/.-])[A-Z]{2,}(?![\w.-])")
PEM = ("ca.pem", "client.pem", "client.key")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*kinds: str) -> Iterator[Block]:
    """The blocks of these kinds on all pages."""
    for page in PAGES:
        text = page.read_text()
        for found in FENCE.finditer(text):
            if found[1] in kinds:
                yield Block(page, text[: found.start()].count("\n") + 1, found[2])


class _Tolerant(yaml.SafeLoader):
    """Reads `!file` and Home Assistant's tags as text."""


_Tolerant.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_scalar(node))


def is_configuration(block: Block) -> bool:
    told = yaml.load(block.text, Loader=_Tolerant)
    if not isinstance(told, dict) or not told or told.keys() - Sections.model_fields.keys():
        return False
    return "routers" not in told.get("http", {})  # Traefik's


@dataclass(frozen=True)
class Line:
    """A command line that a page shows, without the program's name."""

    where: str
    arguments: list[str]
    inline: bool


def command_lines() -> Iterator[Line]:
    """Every `meterbridge …` in a block, or as code in a line of text; not those with placeholders such as FILE."""
    for page in PAGES:
        text = page.read_text()
        found = [
            (line, False)
            for block in blocks("", "sh", "console")
            if block.page == page
            for line in block.text.splitlines()
        ]
        found += [(line, True) for line in re.findall(r"`(meterbridge [^`]+)`", FENCE.sub("", text))]
        for line, inline in found:
            shown = re.match(r"\s*(?:\$ )?(?:sudo )?(?:\.venv/bin/)?meterbridge ([a-z].*)", line)
            if shown and not PLACEHOLDER.search(shown[1]):
                arguments = shlex.split(shown[1].partition(" > ")[0], comments=True)
                yield Line(f"{page.relative_to(ROOT)}: {line.strip()}", arguments, inline)


def understood(
    command: click.Command, name: str, arguments: list[str], above: click.Context | None = None
) -> click.Context:
    """Parses as the command line does; the context of the verb. Raises click.UsageError."""
    context = command.make_context(name, list(arguments), parent=above)
    if not isinstance(command, click.Group):
        return context
    sub_name, sub, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    assert sub is not None
    return understood(sub, sub_name or "", rest, context)


def known_commands() -> dict[str, Row]:
    """Every command of every vendor, of accounts and of the gateway."""
    known = dict.fromkeys(("reload", "refresh", "backfill", "gaps", "lock", "unlock", "diagnostics"), Row())
    for case in CASES.values():
        known |= {**case.account_commands, **case.device_commands}
    return known


@pytest.mark.parametrize("block", list(blocks("yaml")), ids=str)
def test_yaml_that_is_shown_is_yaml_and_a_configuration_without_mistakes(
    block: Block, tmp_path: Path
) -> None:
    if not is_configuration(block):
        return  # it is somebody else's: that it can be read was proved on the way here
    env = dict.fromkeys(re.findall(r"\$\{(\w+)\}", block.text), "FAKE0000") | {
        "CREDENTIALS_DIRECTORY": str(tmp_path)
    }
    for name in [*re.findall(r"!file \S*?([\w.-]+)(?=[\s,]|$)", block.text), *PEM]:
        (tmp_path / name).write_text("FAKE0000\n")
    (tmp_path / "config.yaml").write_text(block.text)
    loaded = load(tmp_path / "config.yaml", VENDORS, env)
    assert loaded.accounts or "accounts" not in block.text


@pytest.mark.parametrize("block", [one for one in blocks("json") if "…" not in one.text], ids=str)
def test_json_that_is_shown_is_json(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("line", list(command_lines()), ids=lambda line: line.where)
def test_command_that_is_shown_is_understood(line: Line) -> None:
    try:
        context = understood(cli, "meterbridge", line.arguments)
    except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
        assert line.inline, "only in running text a verb may stand without what it needs"
        return
    if line.arguments[0] in ("frame", "schema", "asyncapi"):
        assert CliRunner().invoke(cli, line.arguments).exit_code == 0
    if line.arguments[0] == "send":
        row = known_commands()[context.params["command"]]
        named = {one.partition("=")[0] for one in context.params["params"] if "=" in one}
        assert not row.examples[0] or named <= {name for example in row.examples for name in example}
        assert not row.needs_id or context.params["identity"]


def test_there_are_commands_and_configurations_to_look_at() -> None:
    assert len(list(command_lines())) > 25
    assert sum(is_configuration(block) for block in blocks("yaml")) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files_that_are_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", FENCE.sub("", page.read_text()))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_make_targets_that_are_shown_are_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for found in FENCE.finditer(page.read_text()):
            shown = re.findall(r"^\s*(?:sudo )?make ([\w-]+)", found[2], re.MULTILINE)
            assert set(shown) <= targets, page


def test_every_vendor_has_a_page_with_its_configuration() -> None:
    for name in VENDORS:
        text = (ROOT / f"docs/vendors/{name}.md").read_text()
        assert f"vendor: {name}" in text
        assert "**Credentials.**" in text
        assert f"({name}.md)" in (ROOT / "docs/vendors/README.md").read_text()


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    queue = [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        queue += [(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#\s:]+)", page.read_text())]
    assert {page for page in PAGES if page.parent != ROOT} - seen == set()
