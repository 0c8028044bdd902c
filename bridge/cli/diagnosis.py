"""`meterbridge diagnostics`: what a bug report needs. No secret, no customer data, no command's parameters; devices,
users and ids of commands as tokens that are the same throughout."""

from __future__ import annotations

import importlib.metadata
import platform
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
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
from bridge.ops.log import Redactor
from bridge.ops.pseudonyms import Pseudonyms
from bridge.store.protocols import DeviceRow, JournalRow

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
COMMANDS, DEVICES = 50, 500
USER_KEYS = ("username", "login_name", "app_id", "company_no")


def diagnostics(path: str) -> int:
    """Prints one JSON document; the exit status. Raises BadConfiguration, Failure."""
    configuration = read_configuration(path)
    names = Pseudonyms(configuration.secrets())
    _learn_configured(names, configuration)
    with opened(configuration.state.path) as archive:
        if archive is not None:
            _learn_met(names, archive)
        document = {
            "versions": _versions(),
            "now": rfc3339(datetime.now(UTC)),
            "configuration": _configuration(configuration),
            "state": None if archive is None else _state(archive, names),
        }
    redactor = Redactor()
    redactor.add(configuration.secrets())
    click.echo(dumps(redactor.clean_value(names.clean(document))).decode())
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
    document["accounts"] = [_account(settings) for settings in configuration.accounts]
    return document


def _account(settings: BaseModel) -> dict[str, Any]:
    """Names of devices are the customer's; of addresses only the host is told."""
    document: dict[str, Any] = settings.model_dump(mode="json")
    document["devices"]["names"] = len(document["devices"]["names"])
    return {name: _seen(name, value) for name, value in document.items()}


def _seen(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _seen(key, part) for key, part in value.items()}
    if name == "base_url" and isinstance(value, str):
        return urlsplit(value).hostname
    return value


def _learn_configured(names: Pseudonyms, configuration: Configuration) -> None:
    names.learn("user", [configuration.mqtt.username])
    for settings in configuration.accounts:
        names.learn("user", _users(settings))
        names.learn("device", settings.devices.include)
        names.learn("device", settings.devices.names)
        names.learn("name", settings.devices.names.values())


def _users(part: BaseModel) -> Iterator[str]:
    """What names the customer at the vendor."""
    for name, value in part:
        if isinstance(value, BaseModel):
            yield from _users(value)
        elif name in USER_KEYS and isinstance(value, str):
            yield value


def _learn_met(names: Pseudonyms, archive: Archive) -> None:
    for account in archive.devices.accounts():
        for row in archive.devices.of_account(account):
            names.learn("device", [row.device])
            info = row.info or {}
            names.learn("name", [info.get("name"), info.get("vendor_name"), info.get("address")])
    names.learn("command", [row.id for row in archive.journal.recent(COMMANDS)])


def _state(archive: Archive, names: Pseudonyms) -> dict[str, Any]:
    letters = archive.dead_letters.list(1_000_000)
    return {
        "schema": archive.version,
        "bytes": archive.path.stat().st_size,
        "rows": archive.rows,
        "dropped": {Class(klass).name.lower(): count for klass, count in archive.losses.items()},
        "slots": dict(Counter(f"{note.owner}: {note.limit}" for note in archive.slots())),
        "dead_letters": dict(Counter(letter.account for letter in letters)),
        "locks": len(archive.locks.all()),
        "devices": [_device(row, names) for row in _devices(archive)],
        "commands": [_command(archive, row, names) for row in archive.journal.recent(COMMANDS)],
    }


def _devices(archive: Archive) -> list[DeviceRow]:
    every = (row for account in archive.devices.accounts() for row in archive.devices.of_account(account))
    return list(islice(every, DEVICES))


def _device(row: DeviceRow, names: Pseudonyms) -> dict[str, Any]:
    info = row.info or {}
    return {
        "account": row.account,
        "device": names.token("device", row.device),
        **{key: info.get(key) for key in ("kind", "model", "manufacturer", "firmware")},
        "available": row.available,
        "newest": rfc3339(from_unix_ms(row.clock_ms)) if row.clock_ms is not None else None,
        "metrics": sorted(row.metrics),
        "held_back": sorted(row.held),
    }


def _command(archive: Archive, row: JournalRow, names: Pseudonyms) -> dict[str, Any]:
    ack = row.last_ack or {}
    return {
        "at": rfc3339(from_unix_ms(row.created_ms)),
        "changed_at": rfc3339(from_unix_ms(row.updated_ms)),
        "account": row.account,
        "device": names.token("device", row.device) if row.device else None,
        "command": row.command,
        "id": names.token("command", row.id),
        "has_id": row.has_id,
        "state": str(row.state),
        "status": ack.get("status"),
        "code": ack.get("code"),
        "vendor_code": row.vendor_code,
        "attempt": row.attempt,
        "asks": row.asks,
        "resends": row.resends,
        "history": [
            [rfc3339(from_unix_ms(step.at_ms)), step.state] for step in archive.journal.steps(row.key)
        ],
    }
