"""`meterbridge devices`: the devices of all accounts, from the state database where they are known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from bridge.cli.archive import opened
from bridge.cli.failures import read_configuration
from bridge.cli.tables import printable, table
from bridge.cli.visits import Visit, visits
from bridge.domain.device import Device
from bridge.domain.errors import VendorError
from bridge.domain.text import dumps
from bridge.domain.times import from_unix_ms, rfc3339
from bridge.store.protocols import DeviceRow

ANSWER_S = 120.0
HEAD = ("account", "device", "vendor", "kind", "name", "model", "availability", "last_record")


def devices(path: str, *, as_json: bool) -> int:
    """Prints the inventory; the exit status: 1 if a vendor had to be asked and did not answer."""
    configuration = read_configuration(path)
    with opened(configuration.state.path) as archive:
        rows, failures = asyncio.run(_collect(visits(configuration, archive)))
    if as_json:
        click.echo(dumps(rows).decode())
    elif rows:
        head = [name.replace("_", " ") for name in HEAD]
        click.echo(table(head, [[str(row[name] or "") for name in HEAD] for row in rows]))
    else:
        click.echo("no devices")
    for failure in failures:
        click.echo(f"meterbridge: {printable(failure)}", err=True)
    return 1 if failures else 0


async def _collect(accounts: Sequence[Visit]) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    failures = []
    for account in accounts:
        try:
            async with asyncio.timeout(ANSWER_S):
                found = await account.devices()
                found = await account.ask_devices() if found is None else found
            rows += [_row(device, account.rows.get(device.native_id)) for device in found]
        except VendorError as error:
            failures.append(f"account {account.settings.id!r}: {error.message}")
        except TimeoutError:
            why = "the vendor's limit leaves no room now" if account.gate.waiting() else "no answer"
            failures.append(f"account {account.settings.id!r}: {why}")
        finally:
            await account.aclose()
    return rows, failures


def _row(device: Device, known: DeviceRow | None) -> dict[str, Any]:
    there = {True: "online", False: "offline", None: None}[known.available if known else None]
    return {
        "account": device.account,
        "device": device.native_id,
        "vendor": device.vendor,
        "kind": str(device.kind),
        "name": device.name,
        "model": device.model,
        "availability": there,
        "last_record": _last_record(known),
    }


def _last_record(known: DeviceRow | None) -> str | None:
    if known is None or known.clock_ms is None:
        return None
    return rfc3339(from_unix_ms(known.clock_ms))
