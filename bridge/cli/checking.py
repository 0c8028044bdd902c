"""`meterbridge check`: what the configuration means, and with `--connect` whether broker and vendors take us."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from bridge.cli.archive import opened
from bridge.cli.broker import connected
from bridge.cli.failures import Failure, read_configuration
from bridge.cli.planning import deaf, planned, stretched
from bridge.cli.tables import printable, table
from bridge.cli.visits import Visit, visits
from bridge.config import Configuration
from bridge.domain.errors import VendorError
from bridge.domain.quantity import duration_text
from bridge.mqtt.settings import MqttSettings
from bridge.ops.log import Redactor

NO_ROOM_S = 15.0
"""How long a call may wait for a slot in the vendor's limits before that is what is told."""
ANSWER_S = 70.0


def check(path: str, *, connect: bool) -> int:
    """Prints what was found; the exit status. Raises BadConfiguration."""
    configuration = read_configuration(path)
    with opened(configuration.state.path) as archive:
        click.echo(f"{path}: no mistakes\n")
        click.echo(_frame(configuration, archive is not None))
        return asyncio.run(_check(configuration, visits(configuration, archive), connect))


def _frame(configuration: Configuration, has_state: bool) -> str:
    mqtt, address = configuration.mqtt, configuration.http.address
    protocol = "MQTT 5" if mqtt.protocol == 5 else "MQTT 3.1.1"
    rows = [
        (
            "broker",
            f"{mqtt.url} ({protocol}{', TLS' if mqtt.uses_tls else ''}), base topic {mqtt.base_topic}",
        ),
        ("http", "off" if address is None else f"{address[0]}:{address[1]}"),
        ("state", f"{configuration.state.path}{'' if has_state else ' (not there yet)'}"),
    ]
    return "\n".join(f"{name:8}{printable(text)}" for name, text in rows)


async def _check(configuration: Configuration, accounts: Sequence[Visit], connect: bool) -> int:
    try:
        await _summary(configuration, accounts)
        if not connect:
            return 0
        broker, *vendors = await asyncio.gather(
            _broker(configuration.mqtt), *(_vendor(account) for account in accounts)
        )
        return _report(configuration, [("broker", *broker)], accounts, vendors)
    finally:
        for account in accounts:
            await account.aclose()


async def _summary(configuration: Configuration, accounts: Sequence[Visit]) -> None:
    rows: list[tuple[str, ...]] = []
    warnings = []
    for account in accounts:
        settings = account.settings
        devices = await account.devices()
        named = account.named_devices() if devices is None else []
        tasks = account.adapter.poll_tasks(devices or named)
        calls = [row.words() for row in planned(tasks, account.limits)] or ["none known yet"]
        count = str(len(devices or named)) if devices is not None or named else "not known yet"
        rows.append((settings.id, settings.vendor, count, duration_text(settings.poll), calls[0]))
        rows += [("", "", "", "", words) for words in calls[1:]]
        warnings += [
            warning
            for warning in (
                stretched(configuration, settings, tasks, account.limits),
                deaf(configuration, settings, account.adapter.push),
            )
            if warning is not None
        ]
    click.echo()
    if not rows:
        click.echo("no accounts")
        return
    click.echo(table(("account", "vendor", "devices", "poll", "planned calls"), rows))
    for warning in warnings:
        click.echo(f"\n{warning}")


async def _broker(settings: MqttSettings) -> tuple[bool, str]:
    where = f"{settings.host}:{settings.port}"
    try:
        async with connected(settings, "check") as line:
            return True, f"MQTT {'5' if line.protocol == 5 else '3.1.1'} at {where}"
    except Failure as error:
        return False, error.message


async def _vendor(account: Visit) -> tuple[bool, str]:
    asking = asyncio.create_task(account.adapter.check(), name=f"check-{account.settings.id}")
    await asyncio.wait({asking}, timeout=NO_ROOM_S)
    if not asking.done() and account.gate.waiting():
        asking.cancel()
        await asyncio.wait({asking})
        return False, "not asked: the vendor's limit leaves no room now, because of the calls made before"
    await asyncio.wait({asking}, timeout=ANSWER_S)
    if not asking.done():
        asking.cancel()
        await asyncio.wait({asking})
        return False, f"no answer within {duration_text(NO_ROOM_S + ANSWER_S)}"
    try:
        return True, asking.result()
    except VendorError as error:
        return False, error.message


def _report(
    configuration: Configuration,
    results: list[tuple[str, bool, str]],
    accounts: Sequence[Visit],
    answers: Sequence[tuple[bool, str]],
) -> int:
    results += [
        (f"account {account.settings.id}", *answer) for account, answer in zip(accounts, answers, strict=True)
    ]
    redactor = Redactor()
    redactor.add(configuration.secrets())
    rows = [(name, "ok" if well else "FAILED", redactor.clean(text)) for name, well, text in results]
    click.echo("\n" + table(("connection", "", ""), rows))
    return 0 if all(well for _, well, _ in results) else 1
