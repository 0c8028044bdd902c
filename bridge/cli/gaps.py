"""`meterbridge gaps`: the holes in the series of the devices, as the ledger holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from bridge.cli.archive import Archive, opened, required
from bridge.cli.failures import Failure, Mistake, known_account, read_configuration
from bridge.cli.tables import table
from bridge.domain.quantity import duration_text
from bridge.domain.text import dumps
from bridge.domain.times import from_unix_ms, parse_rfc3339, rfc3339, unix_ms
from bridge.flow.gaps import is_night
from bridge.store.protocols import GapRow

FIRST_VERSION = 7
"""Of the database: older ones hold no ledger."""


def show_gaps(
    path: str, account: str | None, device: str | None, start: str | None, end: str | None, *, as_json: bool
) -> int:
    """The gaps that overlap a stretch of time, oldest first per device; the exit status. Raises Failure."""
    configuration = read_configuration(path)
    if account is not None:
        known_account(configuration, account)
    since, until = _instant("--from", start), _instant("--to", end)
    accounts = [account] if account is not None else [settings.id for settings in configuration.accounts]
    with opened(configuration.state.path) as found:
        archive = required(found, configuration.state.path)
        if archive.version < FIRST_VERSION:
            raise Failure(
                "the state database is of an older version: run the gateway once, it brings it up to date"
            )
        rows = [row for name in accounts for row in archive.gaps.find(name, device, since, until)]
        if device is not None and not rows and not _knows(archive, accounts, device):
            whose = f"account {account!r} has no" if account is not None else "no account has a"
            raise Mistake(f"{whose} device {device!r}: see `meterbridge devices`")
        rows = [row for row in rows if not is_night(row)]
    if as_json:
        click.echo(dumps([_document(row) for row in rows]).decode())
        return 0
    if not rows:
        click.echo("no gaps")
        return 0
    head = ("device", "from", "to", "lasts", "state", "tries", "note")
    click.echo(table(head, [_cells(row) for row in rows]))
    return 0


def _knows(archive: Archive, accounts: Sequence[str], device: str) -> bool:
    return any(row.device == device for name in accounts for row in archive.devices.of_account(name))


def _instant(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return unix_ms(parse_rfc3339(text))
    except ValueError as error:
        raise Failure(f"{option}: {error}") from None


def _document(row: GapRow) -> dict[str, Any]:
    return {
        "account": row.account,
        "device": row.device,
        "start": rfc3339(from_unix_ms(row.start_ms)),
        "end": rfc3339(from_unix_ms(row.end_ms)),
        "state": str(row.state),
        "tries": row.tries,
        "message": row.message,
    }


def _cells(row: GapRow) -> list[str]:
    document = _document(row)
    lasts = duration_text(float((row.end_ms - row.start_ms) // 1000))
    return [
        f"{row.account}/{row.device}",
        document["start"],
        document["end"],
        lasts,
        document["state"],
        str(row.tries),
        row.message,
    ]
