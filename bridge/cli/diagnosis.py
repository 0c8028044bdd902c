"""`meterbridge diagnostics`: what a bug report needs. No secret, no customer data, no command's parameters."""

from __future__ import annotations

import importlib.metadata
import platform
import sqlite3
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import click
from pydantic import BaseModel

from bridge import __version__
from bridge.cli.archive import Archive, opened
from bridge.cli.failures import read_configuration
from bridge.config import Configuration
from bridge.contract.publication import Class
from bridge.domain.text import dumps
from bridge.domain.times import from_unix_ms, rfc3339
from bridge.ops.log import MASK, Redactor
from bridge.store.protocols import JournalRow

PACKAGES = (
    "aiomqtt",
    "paho-mqtt",
    "httpx",
    "pydantic",
    "msgspec",
    "PyYAML",
    "starlette",
    "uvicorn",
    "uvloop",
)
COMMANDS = 50


def diagnostics(path: str) -> int:
    """Prints one JSON document; the exit status. Raises BadConfiguration, Failure."""
    configuration = read_configuration(path)
    with opened(configuration.state.path) as archive:
        document = {
            "versions": _versions(),
            "now": rfc3339(datetime.now(UTC)),
            "configuration": _configuration(configuration),
            "state": None if archive is None else _state(archive),
        }
    redactor = Redactor()
    redactor.add(configuration.secrets())
    click.echo(redactor.clean(dumps(document).decode()))
    return 0


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {
        "meterbridge": __version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
    }
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _configuration(configuration: Configuration) -> dict[str, Any]:
    sections: dict[str, BaseModel] = {
        name: getattr(configuration, name) for name in ("mqtt", "http", "state", "commands", "log")
    }
    document: dict[str, Any] = {name: part.model_dump(mode="json") for name, part in sections.items()}
    document["mqtt"]["username"] = _hidden(document["mqtt"]["username"])
    document["accounts"] = [_account(settings) for settings in configuration.accounts]
    return document


def _account(settings: BaseModel) -> dict[str, Any]:
    """Names of devices and of users are the customer's; of addresses only the host is told."""
    document: dict[str, Any] = settings.model_dump(mode="json")
    document["devices"]["names"] = len(document["devices"]["names"])
    return {name: _seen(name, value) for name, value in document.items()}


def _seen(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _seen(key, part) for key, part in value.items()}
    if name in ("username", "login_name", "app_id", "company_no"):
        return _hidden(value)
    if name == "base_url" and isinstance(value, str):
        return urlsplit(value).hostname
    return value


def _hidden(value: Any) -> Any:
    return None if value is None else MASK


def _state(archive: Archive) -> dict[str, Any]:
    letters = archive.dead_letters.list(1_000_000)
    return {
        "schema": archive.version,
        "bytes": archive.path.stat().st_size,
        "rows": archive.rows,
        "dropped": {Class(klass).name.lower(): count for klass, count in archive.losses.items()},
        "slots": dict(Counter(f"{note.owner}: {note.limit}" for note in archive.slots())),
        "dead_letters": dict(Counter(letter.account for letter in letters)),
        "locks": len(archive.locks.all()),
        "commands": [_command(row) for row in archive.journal.recent(COMMANDS)],
    }


def _command(row: JournalRow) -> dict[str, Any]:
    ack = row.last_ack or {}
    return {
        "at": rfc3339(from_unix_ms(row.created_ms)),
        "changed_at": rfc3339(from_unix_ms(row.updated_ms)),
        "account": row.account,
        "command": row.command,
        "has_id": row.has_id,
        "state": str(row.state),
        "status": ack.get("status"),
        "code": ack.get("code"),
        "vendor_code": row.vendor_code,
        "attempt": row.attempt,
        "asks": row.asks,
        "resends": row.resends,
    }
