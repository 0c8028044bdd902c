"""`meterbridge journal`: the commands that the gateway was given, with every state they went through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from bridge.cli.archive import Archive, opened, required
from bridge.cli.failures import Failure, known_account, read_configuration
from bridge.cli.tables import printable, table
from bridge.config import Configuration
from bridge.domain.command import CommandState
from bridge.domain.ids import GATEWAY
from bridge.domain.secrecy import masked
from bridge.domain.text import dumps
from bridge.domain.times import from_unix_ms, rfc3339
from bridge.flow.audit import cleaned, entry
from bridge.ops.log import Redactor
from bridge.store.protocols import JournalRow, JournalStep

ALL = 1_000_000
EXPORT_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Choice:
    """Which commands: of an account, of a device, taken since then, in a state or with a status, not final."""

    account: str | None = None
    device: str | None = None
    since_ms: int = 0
    state: str | None = None
    only_open: bool = False

    def takes(self, row: JournalRow) -> bool:
        """Whether a command is meant; account, device and time aside."""
        if self.only_open and row.state is CommandState.FINAL:
            return False
        return self.state in (None, str(row.state), (row.last_ack or {}).get("status"))


def show_list(path: str, choice: Choice, limit: int, *, as_json: bool) -> int:
    """The newest commands first; the exit status."""
    configuration = _configuration(path, choice)
    with opened(configuration.state.path) as found:
        archive = required(found, configuration.state.path)
        most = ALL if choice.only_open or choice.state else limit
        given = archive.journal.recent(
            most, account=choice.account, device=choice.device, since_ms=choice.since_ms
        )
        rows = [row for row in given if choice.takes(row)][:limit]
    if as_json:
        click.echo(dumps([_summary(row) for row in rows]).decode())
        return 0
    if not rows:
        click.echo("no commands")
        return 0
    head = ("at", "target", "command", "id", "state", "status", "code")
    click.echo(table(head, [_cells(_summary(row)) for row in rows]))
    return 0


def show_one(path: str, wanted: str, *, as_json: bool) -> int:
    """One command (`ID`, or `ACCOUNT/ID` where several accounts have it) and its history. Raises Failure."""
    configuration = read_configuration(path)
    with opened(configuration.state.path) as found:
        archive = required(found, configuration.state.path)
        rows = _find(archive, wanted, [GATEWAY, *(settings.id for settings in configuration.accounts)])
        if not rows:
            raise Failure(
                f"the journal has no command with the id {wanted!r}: see `meterbridge journal list`"
            )
        documents = [_detail(archive, row) for row in rows]
    if as_json:
        click.echo(dumps(documents if len(documents) > 1 else documents[0]).decode())
        return 0
    click.echo("\n\n".join(_told(document) for document in documents))
    return 0


def export(path: str, choice: Choice) -> int:
    """Every step of the chosen commands as one line of JSON, the oldest first; the exit status."""
    configuration = _configuration(path, choice)
    redactor = Redactor()
    redactor.add(configuration.secrets())
    with opened(configuration.state.path) as found:
        archive = required(found, configuration.state.path)
        after = 0
        while steps := archive.journal.history(after, EXPORT_PAGE):
            for row, step in steps:
                if _is_chosen(choice, row, step):
                    click.echo(dumps(cleaned(entry(row, step), redactor.clean)).decode())
            after = steps[-1][1].seq
    return 0


def _is_chosen(choice: Choice, row: JournalRow | None, step: JournalStep) -> bool:
    account, device = (
        (row.account, row.device) if row is not None else (step.aside["account"], step.aside["device"])
    )
    return (
        choice.account in (None, account)
        and choice.device in (None, device)
        and step.at_ms >= choice.since_ms
    )


def _configuration(path: str, choice: Choice) -> Configuration:
    configuration = read_configuration(path)
    if choice.account is not None and choice.account != GATEWAY:
        known_account(configuration, choice.account)
    return configuration


def _find(archive: Archive, wanted: str, accounts: Sequence[str]) -> list[JournalRow]:
    rows = [row for name in accounts if (row := archive.journal.find(name, wanted)) is not None]
    if not rows and "/" in wanted:
        account, _, identity = wanted.partition("/")
        row = archive.journal.find(account, identity)
        rows = [row] if row is not None else []
    return rows


def _summary(row: JournalRow) -> dict[str, Any]:
    ack = row.last_ack or {}
    return {
        "at": rfc3339(from_unix_ms(row.created_ms)),
        "account": row.account,
        "device": row.device,
        "command": row.command,
        "id": row.id,
        "state": str(row.state),
        "status": ack.get("status"),
        "code": ack.get("code"),
    }


def _cells(summary: dict[str, Any]) -> list[str]:
    target = "/".join(str(summary[name]) for name in ("account", "device") if summary[name])
    return [
        str(summary["at"]),
        target,
        *(str(summary[name] or "") for name in ("command", "id", "state", "status", "code")),
    ]


def _detail(archive: Archive, row: JournalRow) -> dict[str, Any]:
    return {
        **_summary(row),
        "params": masked(row.params),
        "requester": row.requester,
        "expires_at": rfc3339(from_unix_ms(row.expires_ms)) if row.expires_ms is not None else None,
        "attempt": row.attempt,
        "vendor_ref": row.vendor_ref,
        "vendor_code": row.vendor_code,
        "last_ack": masked(row.last_ack),
        "history": [_step(step) for step in archive.journal.steps(row.key)],
    }


def _step(step: JournalStep) -> dict[str, Any]:
    document: dict[str, Any] = {
        "at": rfc3339(from_unix_ms(step.at_ms)),
        "state": step.state,
        "status": step.status,
        "code": step.code,
        "note": step.note,
    }
    return document | ({"request": step.request} if step.request is not None else {})


def _told(document: dict[str, Any]) -> str:
    history = document["history"]
    lines = [
        f"{name:12}{printable(value if isinstance(value, str) else dumps(value).decode())}"
        for name, value in document.items()
        if name != "history" and value is not None
    ]
    names = ("at", "state", "status", "code", "note")
    steps = [[str(step[name] or "") for name in names] for step in history]
    sent = [
        f"left at {step['at']}: {printable(dumps(step['request']).decode())}"
        for step in history
        if "request" in step
    ]
    return "\n".join([*lines, "", table(names, steps), *(["", *sent] if sent else [])])
