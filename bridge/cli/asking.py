"""A backfill that the running gateway does: asked for over MQTT, its progress looked up in the store beside it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import click

from bridge.cli.archive import backfill_rows, opened
from bridge.cli.broker import Line, connected
from bridge.cli.failures import Failure, Mistake
from bridge.cli.progress import ProgressLine
from bridge.cli.tables import printable
from bridge.cli.visits import Visit, visits
from bridge.config import Configuration
from bridge.contract.topics import Topics
from bridge.domain.command import CommandState
from bridge.domain.device import Device
from bridge.domain.errors import VendorError
from bridge.domain.ids import GATEWAY
from bridge.domain.text import dumps, loads
from bridge.domain.times import parse_rfc3339, unix_ms
from bridge.flow.backfill_progress import Pace, Progress, progress_of
from bridge.flow.history import BackfillParams, backfill_ref, wished
from bridge.flow.schedule import calls_per_s
from bridge.store.protocols import BackfillRow, BackfillState

ANSWER_S = 15.0
LOOK_S = 1.0
INTERRUPTED = 130
MOST_TRIES = 10_000


@dataclass(slots=True)
class Watch:
    """What is asked for, and where its progress is shown."""

    configuration: Configuration
    params: BackfillParams
    line: ProgressLine
    stop: asyncio.Event
    again: bool = False
    began: float = field(default_factory=time.monotonic)
    devices: dict[tuple[str, str], tuple[Visit, Device]] = field(default_factory=dict)
    polling: dict[str, Mapping[tuple[str, str], float]] = field(default_factory=dict)
    first_calls: dict[str, int] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """The name of the group in the store."""
        return backfill_ref(wished(self.params))

    def rows(self) -> list[BackfillRow]:
        """How far it is on disk."""
        return list(backfill_rows(self.configuration.state.path, self.ref))

    def progress(self) -> Progress:
        """The same, summed up; how fast calls go is that of the time since this watch began."""
        rows = self.rows()
        calls: dict[str, int] = {}
        for row in rows:
            calls[row.account] = calls.get(row.account, 0) + row.done
        paces = {}
        for account, count in calls.items():
            made = count - self.first_calls.setdefault(account, count)
            step_s = (time.monotonic() - self.began) / made if made > 0 else None
            visit = next((one for one, _ in self.devices.values() if one.settings.id == account), None)
            limits = visit.limits if visit is not None else ()
            polling = self.polling.get(account, {})
            paces[account] = Pace(limits, step_s, lambda polling=polling: polling)  # type: ignore[misc] # bound now
        return progress_of(rows, self._costs, paces)

    def _costs(self, row: BackfillRow) -> Mapping[str, float]:
        visit, device = self.devices.get((row.account, row.device), (None, None))
        history = visit.adapter.history if visit is not None else None
        reach = history.reach(device) if history is not None and device is not None else None
        return reach.costs if reach is not None else {}


async def ask_gateway(watch: Watch) -> int:
    """Asks and watches; the exit status. Raises Failure."""
    rows = watch.rows()
    if rows and not watch.again and _is_complete(rows, watch.params):
        records = sum(row.records for row in rows)
        click.echo(f"complete already: {records} records were published; --again reads them once more")
        return 0
    identity = _identity(watch)
    found = await _learn_costs(watch)
    click.echo("a gateway has this state database: it does the work, its progress follows", err=True)
    try:
        async with connected(watch.configuration.mqtt, "backfill") as line:
            topics = Topics(watch.configuration.mqtt.base_topic)
            ack = topics.ack(GATEWAY, None)
            await line.subscribe([ack])
            payload = {"id": identity, **watch.params.model_dump(exclude_none=True)}
            await line.publish(f"{topics.base}/{GATEWAY}/cmd/backfill", dumps(payload), None)
            return await _follow(watch, line, ack, identity)
    except aiomqtt.MqttError as error:
        raise Failure(
            f"the connection to the broker was lost ({error}); the gateway goes on, and the same command follows it"
        ) from None
    finally:
        for visit in found:
            await visit.aclose()


def _is_complete(rows: list[BackfillRow], params: BackfillParams) -> bool:
    until_ms = min(unix_ms(parse_rfc3339(params.end)), int(time.time() * 1000))
    return max(row.end_ms for row in rows) >= until_ms and all(
        row.state is BackfillState.DONE for row in rows
    )


def _identity(watch: Watch) -> str:
    """The id of the command that is under way for this wish, else of the next one."""
    name = watch.ref.partition(":")[2]
    with opened(watch.configuration.state.path) as archive:
        for number in range(1, MOST_TRIES):
            identity = f"backfill-{name}-{number}"
            row = archive.journal.find(GATEWAY, identity) if archive is not None else None
            if row is None or row.state is not CommandState.FINAL:
                return identity
    raise Failure("this was asked for too often")


async def _learn_costs(watch: Watch) -> list[Visit]:
    """What calls cost of which limit, without asking anybody: for the estimate of the end."""
    with opened(watch.configuration.state.path) as archive:
        found = visits(watch.configuration, archive)
        for visit in found:
            with contextlib.suppress(VendorError):
                known = await visit.devices() or []
                watch.polling[visit.settings.id] = calls_per_s(visit.adapter.poll_tasks(known), visit.limits)
                for device in known:
                    watch.devices[visit.settings.id, device.native_id] = (visit, device)
    return found


async def _follow(watch: Watch, line: Line, ack: str, identity: str) -> int:
    """Acknowledgements and progress, until the final one."""
    acks: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue()
    reader = asyncio.ensure_future(_read(line, ack, identity, acks))
    stopped = asyncio.ensure_future(watch.stop.wait())
    heard = False
    try:
        while True:
            taking = asyncio.ensure_future(acks.get())
            await asyncio.wait({taking, stopped}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                taking.cancel()
                if watch.stop.is_set():
                    click.echo("the gateway goes on; the same command follows it again", err=True)
                    return INTERRUPTED
                if not heard and time.monotonic() - watch.began > ANSWER_S:
                    raise Failure(
                        "another meterbridge has the state database, but no gateway answers at the broker"
                    )
                if heard:
                    watch.line.show(watch.progress())
                continue
            document = taking.result()
            if isinstance(document, Exception):
                raise document
            heard = True
            if document.get("final") is True:
                return _ended(watch, document)
    finally:
        reader.cancel()
        stopped.cancel()


async def _read(line: Line, ack: str, identity: str, acks: asyncio.Queue[dict[str, Any] | Exception]) -> None:
    try:
        async for message in line.messages:
            if message.retain or message.topic.value != ack:
                continue
            try:
                document = loads(message.payload)
            except ValueError:
                continue
            if isinstance(document, dict) and document.get("id") == identity:
                acks.put_nowait(document)
    except aiomqtt.MqttError as error:
        acks.put_nowait(error)


def _ended(watch: Watch, document: dict[str, Any]) -> int:
    if document.get("status") != "rejected":
        watch.line.show(watch.progress(), last=True)
    if document.get("status") == "succeeded":
        return 0
    words = printable(str(document.get("message") or document.get("code") or "no reason given"))
    if document.get("status") == "rejected":
        raise Mistake(words)
    click.echo(f"meterbridge: {document.get('status')}: {words}", err=True)
    return 1
