"""`meterbridge journal`: the commands that the gateway was given, with every state they went through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from bridge.cli.archive import Archive, opened, required
from bridge.cli.failures import Failure, known_account, read_configuration
from bridge.cli.tables import printable, table
from bridge.domain.command import CommandState
from bridge.domain.text import dumps
from bridge.domain.times import from_unix_ms, rfc3339
from bridge.ops.masking import masked
from bridge.store.protocols import JournalRow

ALL = 1_000_000


def show_list(path: str, account: str | None, limit: int, *, only_open: bool, as_json: bool) -> int:
    """The newest commands first; the exit status."""
    configuration = read_configuration(path)
    if account is not None and account != "bridge":
        known_account(configuration, account)
    with opened(configuration.state.path) as found:
        archive = required(found, configuration.state.path)
        rows = [
            row
            for row in archive.journal.recent(ALL if account or only_open else limit)
            if account in (None, row.account) and not (only_open and row.state is CommandState.FINAL)
        ][:limit]
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
        rows = _find(archive, wanted, ["bridge", *(settings.id for settings in configuration.accounts)])
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
        "history": [
            {"at": rfc3339(from_unix_ms(step.at_ms)), "state": step.state, "note": step.note}
            for step in archive.journal.steps(row.key)
        ],
    }


def _told(document: dict[str, Any]) -> str:
    history = document["history"]
    lines = [
        f"{name:12}{printable(value if isinstance(value, str) else dumps(value).decode())}"
        for name, value in document.items()
        if name != "history" and value is not None
    ]
    steps = [[str(step["at"]), str(step["state"]), str(step["note"])] for step in history]
    return "\n".join([*lines, "", table(("at", "state", "note"), steps)])
