"""`meterbridge backfill`: the past of devices to MQTT, by this process, or by the gateway that has the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import sys
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import click
from pydantic import ValidationError

from bridge.app.backfilling import Backfilling, NoBroker
from bridge.cli.asking import Watch, ask_gateway
from bridge.cli.failures import Failure, Mistake, read_configuration
from bridge.cli.progress import ProgressLine
from bridge.cli.tables import printable
from bridge.config import Configuration
from bridge.domain.errors import Rejection, StoreError, StoreInUse
from bridge.domain.times import parse_rfc3339, rfc3339
from bridge.flow.backfill_progress import Progress
from bridge.flow.history import BackfillParams
from bridge.vendors import VENDORS

T = TypeVar("T")

LOOK_S = 0.5
DRAIN_S = 10.0
INTERRUPTED = 130

_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?\Z", re.ASCII)


def backfill(path: str, since: str, until: str, devices: Sequence[str], *, again: bool) -> int:
    """Reads, or watches; the exit status. Raises Failure, BadConfiguration, UsageError."""
    configuration = read_configuration(path)
    params = wanted(since, until, devices)
    logging.getLogger("bridge").setLevel(logging.CRITICAL)  # what it would say is said in the messages here
    return asyncio.run(_backfill(configuration, params, again=again))


def wanted(since: str, until: str, devices: Sequence[str]) -> BackfillParams:
    """What the arguments mean. Raises UsageError."""
    start, end = instant("--from", since), instant("--to", until, is_end=True)
    if end <= start:
        raise click.UsageError("--to: expected a time after --from")
    given: dict[str, object] = {"start": rfc3339(start), "end": rfc3339(end)}
    if devices:
        given["devices"] = sorted(set(devices))
    try:
        return BackfillParams.model_validate(given)
    except ValidationError as error:
        raise click.UsageError("; ".join(item["msg"] for item in error.errors())) from None


def instant(option: str, text: str, *, is_end: bool = False) -> datetime:
    """A time of the command line as an instant; a day as an end is included. Raises UsageError."""
    try:
        if _DAY.match(text):
            day = datetime.fromisoformat(text) + timedelta(days=int(is_end))
            return day.astimezone()
        if _LOCAL.match(text):
            return datetime.fromisoformat(text).astimezone()
        return parse_rfc3339(text)
    except (ValueError, OverflowError):
        raise click.UsageError(
            f"{option}: {printable(text)!r}: expected YYYY-MM-DD, 'YYYY-MM-DD HH:MM' in this machine's time zone, or "
            "RFC 3339 such as 2026-06-01T00:00:00Z"
        ) from None


async def _backfill(configuration: Configuration, params: BackfillParams, *, again: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    work = Backfilling(configuration, VENDORS)
    line = ProgressLine(live=sys.stdout.isatty())
    try:
        await work.open()
        return await _read(work, configuration, params, line, stop, again=again)
    except StoreInUse:
        return await ask_gateway(Watch(configuration, params, line, stop, again=again))
    except (NoBroker, StoreError) as error:
        raise Failure(str(error)) from None
    except Rejection as error:
        raise Mistake(error.message) from None
    finally:
        await work.stop()


async def _read(
    work: Backfilling,
    configuration: Configuration,
    params: BackfillParams,
    line: ProgressLine,
    stop: asyncio.Event,
    *,
    again: bool,
) -> int:
    trouble = await _unless(stop, work.learn_devices(_accounts(configuration, params)))
    if trouble is None:
        click.echo("interrupted: nothing has been read yet", err=True)
        return INTERRUPTED
    for account, message in trouble.items():
        click.echo(f"meterbridge: account {account!r}: its devices cannot be listed: {message}", err=True)
    ref = await work.begin(params, anew=again)
    progress = await work.progress(ref)
    if not progress.open and not progress.failed and not trouble:
        click.echo(
            f"complete already: {progress.records} records were published; --again reads them once more"
        )
        return 0 if await _delivered(work, stop) else 1
    while progress.open and not stop.is_set():
        line.show(progress, note="" if work.connected else "the broker is away")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await stop.wait()
        progress = await work.progress(ref)
    line.show(progress, last=True)
    if progress.open:
        return await _interrupted(work)
    _tell_failures(progress)
    delivered = await _delivered(work, stop)
    return 0 if delivered and not progress.failed and not trouble else 1


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """What the work gives; None if `stop` came first, which ends it."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


def _accounts(configuration: Configuration, params: BackfillParams) -> list[str]:
    """The accounts that may have the devices."""
    known = [settings.id for settings in configuration.accounts]
    if params.devices is None:
        return known
    named = {name.partition("/")[0] for name in params.devices}
    exact = all(name.partition("/")[0] in known and "/" in name for name in params.devices)
    return [name for name in known if name in named] if exact else known


async def _interrupted(work: Backfilling) -> int:
    """What has been read goes out; the rest waits for the same command."""
    await work.halt()
    await work.drain(DRAIN_S)
    click.echo("interrupted: the same command goes on where it stopped", err=True)
    return INTERRUPTED


def _tell_failures(progress: Progress) -> None:
    for row in progress.failures:
        text = f"{row.account}/{row.device}: {row.message or row.code or 'failed'}"
        click.echo(f"meterbridge: {printable(text)}", err=True)
    if progress.failures:
        click.echo("meterbridge: the same command tries these once more", err=True)


async def _delivered(work: Backfilling, stop: asyncio.Event) -> bool:
    """Whether the broker has everything; waits for it until interrupted."""
    told = False
    while not await work.drain(DRAIN_S):
        if not told:
            click.echo(f"{await work.unsent()} messages wait for the broker", err=True)
            told = True
        if stop.is_set():
            click.echo("what the broker has not taken goes out when a gateway runs", err=True)
            return False
    return True
