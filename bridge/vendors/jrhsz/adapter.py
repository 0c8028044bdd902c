"""One jrhsz account as the flow sees it: inventory, polling, commands. The platform never calls (page jrhsz 2.5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from bridge.domain.command import CommandSpec, Order, Outcome, Preview
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import (
    AuthFailed,
    EndpointBarred,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    VendorError,
)
from bridge.domain.observation import Batch, Described, Observation, Origin, Reading
from bridge.domain.times import from_unix
from bridge.pace.limits import Lane
from bridge.ports import Effect, History, PollTask, PushDoor
from bridge.vendorkit.spec import Kit
from bridge.vendors.jrhsz.api import JrhszApi, no_right
from bridge.vendors.jrhsz.auth import Session
from bridge.vendors.jrhsz.catalogue import TIME_OF_USE as TIME_OF_USE_TYPES
from bridge.vendors.jrhsz.codec import Codec, table_no_of, type_code_of
from bridge.vendors.jrhsz.commands import (
    account_commands,
    addressed,
    device_commands,
    instruction,
)
from bridge.vendors.jrhsz.execution import READ_BACK, Execution
from bridge.vendors.jrhsz.faults import MISSING_PARAMETER
from bridge.vendors.jrhsz.notes import Covered, DateStyle, Overlap, Wakes
from bridge.vendors.jrhsz.past import Past
from bridge.vendors.jrhsz.roll import INVENTORY, Roll, Walk
from bridge.vendors.jrhsz.settings import JrhszSettings
from bridge.vendors.jrhsz.sources import (
    CAMERA,
    CONSUMED,
    OVERLAP,
    STORED,
    TIME_OF_USE,
    Source,
    slice_of,
    sources,
)
from bridge.vendors.jrhsz.wire import PAGE_SIZE, Query, Row

METERS, READINGS = "meters", "readings"
BATCH = 500
DECODED_AT_ONCE = 100
RETRY_S = (5.0, 30.0, 300.0)
"""After a failure a poll is tried again so soon (section 5, code 1001), the last again and again."""

BARRED_S = 86400.0
"""How long an end point is left alone to which the account has no right (2.3)."""


class JrhszAdapter:
    """Implements `ports.VendorAdapter`."""

    def __init__(self, settings: JrhszSettings, kit: Kit) -> None:
        self._settings = settings
        self._kit = kit
        self._session = Session(kit.http, kit.vault, kit.clock, settings)
        self._dates = DateStyle(kit.vault)
        self._api = JrhszApi(kit, settings, self._session, self._dates)
        self._codec = Codec(kit.policy, settings.zone(), settings.power_scale)
        self._roll = Roll(self._api, self._codec, kit.clock, kit.vault)
        self._wakes = Wakes(kit.vault, kit.clock)
        self._execution = Execution(self._api, self._codec, self._roll, self._wakes)
        self._sources = sources(settings.daily_type)
        self._overlaps = {key: Overlap() for key in self._sources}
        self._covered = Covered()
        self._consumed = asyncio.Event()
        self._consumed.set()
        self._modules: dict[str, Device] = {}
        self._failures: dict[str, int] = {}
        self._barred: dict[str, float] = {}
        self._past = Past(self._api, self._codec, kit.clock)
        self._device_commands = device_commands(settings, self._may_wake, self._in_reach)
        self._account_commands = account_commands()

    @property
    def token_expires_at(self) -> datetime | None:
        """See `vendorkit.spec.HoldsToken`."""
        return self._session.expires_at

    @property
    def push(self) -> PushDoor | None:
        """The platform calls nobody."""
        return None

    @property
    def history(self) -> History:
        """See `past`."""
        return self._past

    def commands(self, device: Device | None) -> Mapping[str, CommandSpec]:
        """By the meter's medium; where that is unknown, only what reads."""
        if device is None:
            return self._account_commands
        return self._device_commands.get(device.kind, self._device_commands[DeviceKind.METER])

    async def inventory(self) -> Sequence[Device]:
        """As the port says (4.2)."""
        await self._wakes.load()
        try:
            walk = await self._roll.read()
        except Refused as error:
            raise _hopeless(error) if no_right(error) else error from None
        return self._roll.describe(walk)

    def poll_tasks(self, devices: Sequence[Device]) -> Sequence[PollTask]:
        """One task per end point for all meters together (9); time-of-use and camera records only where meters may
        have them. A camera meter shows only by its records, so all that are not electric are asked for. An account
        without meters may get some: it is looked for them as often as ever, and for their readings."""
        pages = float(len(devices) // PAGE_SIZE + 1)
        tasks = [
            PollTask(READINGS, self._settings.poll, {READ_BACK.endpoint: pages}),
            PollTask(METERS, self._settings.inventory, {INVENTORY.endpoint: pages}, lane="inventory"),
        ]
        if not devices:
            return tasks
        absent = set()
        if not any(type_code_of(device.vendor_info) in TIME_OF_USE_TYPES for device in devices):
            absent.add(TIME_OF_USE.key)
        if all(device.kind is DeviceKind.ELECTRICITY_METER for device in devices):
            absent.add(CAMERA.key)
        for key, source in self._sources.items():
            if key not in absent:
                costs = {source.query.endpoint: pages}
                tasks.append(
                    PollTask(key, self._settings.records, costs, first_in_s=source.first_in_s),
                )
        return tasks

    async def poll(self, task: PollTask) -> AsyncIterator[Batch]:
        """Runs one task. A failure says when to try again, and is raised."""
        if self._kit.clock.monotonic() < self._barred.get(task.key, 0.0):
            return
        try:
            async with aclosing(self._run(task.key)) as batches:
                async for batch in batches:
                    yield batch
            self._failures.pop(task.key, None)
        except VendorError as error:
            if no_right(error):
                raise self._barring(task.key, error) from None
            next_in_s = self._retry_s(task, error)
            if next_in_s is not None:
                yield Batch((), next_in_s=next_in_s)
            raise

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        """As the port says."""
        return await self._execution.run(order, effect)

    async def probe(self, order: Order) -> Outcome | None:
        """As the port says."""
        return await self._execution.probe(order)

    def preview(self, order: Order) -> Preview:
        """The request, the token masked; of `history` and `refresh_inventory` the first of several."""
        query, explain = self._first_query(order)
        return self._api.shown(query, explain)

    async def check(self) -> str:
        """Logs in where there is no token, and reads the first page of the inventory."""
        await self._session.insist()
        try:
            told = await self._api.ask(INVENTORY.page(1), Lane.COMMAND)
        except Refused as error:
            raise _hopeless(error) if no_right(error) else error from None
        more = " on the first page" if told.entries == PAGE_SIZE else ""
        return f"credentials accepted; {told.entries} meters{more}"

    async def _run(self, key: str) -> AsyncGenerator[Batch, None]:
        steps = {METERS: self._meters, READINGS: self._readings}
        step = steps[key]() if key in steps else self._stored(self._sources[key])
        if key == CONSUMED.key:
            self._consumed.clear()
        try:
            async with aclosing(step) as batches:
                async for batch in batches:
                    yield batch
        finally:
            if key == CONSUMED.key:
                self._consumed.set()

    async def _meters(self) -> AsyncGenerator[Batch, None]:
        walk = await self._roll.untold()
        seen: list[Observation] = []
        for meter in walk.meters.values():
            seen += self._roll.tell(meter)
            if len(seen) >= BATCH:
                yield Batch(seen)
                seen = []
        if seen:
            yield Batch(seen)

    async def _readings(self) -> AsyncGenerator[Batch, None]:
        walk = await self._roll.known()
        async with aclosing(self._api.pages(READ_BACK, Lane.POLL)) as pages:
            async for told in pages:
                seen: list[Observation] = []
                for row in told.rows:
                    seen += self._latest(row, walk, told.received_at)
                for batch in _batches(seen):
                    yield batch
                    self._note_covered(batch)

    def _latest(self, row: Row, walk: Walk, received_at: datetime) -> list[Observation]:
        kind = self._roll.kind_of(row, walk)
        if kind is None:
            return []
        extra = walk.meters[table_no_of(row) or ""].extra
        return self._codec.latest(row, kind, received_at, Origin.POLL, extra)

    async def _stored(self, source: Source) -> AsyncGenerator[Batch, None]:
        """Everything since the last complete walk; only then the next one begins later."""
        walk = await self._roll.known()
        if source is STORED:
            await self._consumed.wait()
        mark = f"until:{source.key}"
        now = self._kit.clock.now()
        kept = await self._kit.vault.get(mark)
        begin = source.begin(now, _instant(kept))
        overlap = self._overlaps[source.key]
        overlap.begin()
        await self._dates.load()
        since = begin
        while since < now:
            length = slice_of(len(walk.meters), whole_days=self._dates.days or not self._dates.decided)
            until = min(now, since + length)
            told = await self._api.records(source.query, since, until, Lane.POLL)
            seen: list[Observation] = []
            for number, row in enumerate(told.rows, start=1):
                if number % DECODED_AT_ONCE == 0:
                    await asyncio.sleep(0)  # only gives way: there may be tens of thousands
                kind = self._roll.kind_of(row, walk)
                if kind is None or not overlap.is_new(row):
                    continue
                seen += self._decoded(source, row, kind, told.received_at)
            for batch in _batches(sorted(seen, key=_order)):
                yield batch
                if source is CONSUMED:
                    self._note_covered(batch)
            since = until
        overlap.end()
        if source is STORED:
            self._covered.forget(now - OVERLAP - OVERLAP)
        await self._kit.vault.put(mark, int(now.timestamp()))

    def _decoded(
        self, source: Source, row: Row, kind: DeviceKind, received_at: datetime
    ) -> Sequence[Observation]:
        seen = source.decode(self._codec, row, kind, received_at, Origin.POLL)
        if source is not STORED:
            return seen
        gaps: list[Observation] = [
            one
            for one in seen
            if not (isinstance(one, Reading) and self._covered.has(one.device, one.observed_at))
        ]
        described = self._codec.imei_of(row, kind)
        if described is not None and self._modules.get(described.native_id) != described:
            self._modules[described.native_id] = described
            gaps.append(Described(described))
        return gaps

    def _note_covered(self, batch: Batch) -> None:
        for one in batch.observations:
            if isinstance(one, Reading):
                self._covered.add(one.device, one.observed_at)

    def _barring(self, key: str, error: VendorError) -> VendorError:
        """The account has no right to this end point: it is left alone while the rest goes on. Without the inventory
        nothing does."""
        if key == METERS:
            return _hopeless(error)
        self._barred[key] = self._kit.clock.monotonic() + BARRED_S
        return EndpointBarred(
            error.message, code="auth_failed", operation=error.operation, native_code=error.native_code
        )

    def _retry_s(self, task: PollTask, error: VendorError) -> float | None:
        """When to try again; None: as planned, or as the account's health says."""
        if isinstance(error, RateLimited):
            return min(task.interval_s, error.retry_after_s)
        unchanged_is_useless = error.native_code == MISSING_PARAMETER
        if unchanged_is_useless or not isinstance(error, Refused | LostAnswer | NotSent):
            return None
        times = self._failures.get(task.key, 0)
        self._failures[task.key] = times + 1
        return min(task.interval_s, RETRY_S[min(times, len(RETRY_S) - 1)])

    def _may_wake(self, order: Order) -> None:
        addressed(order)
        if order.device is not None:
            self._wakes.verify(order.device.native_id)

    def _in_reach(self, order: Order) -> None:
        self._past.period(order)

    def _first_query(self, order: Order) -> tuple[Query, str | None]:
        if order.spec.name == "refresh_inventory":
            return INVENTORY.page(1), "and so on while a page is full"
        if order.spec.name != "history" or order.device is None:
            return instruction(order), None
        first = self._past.first(order.device, self._past.period(order))
        return first, "and so on for all pages, months and kinds of records"


def _hopeless(error: VendorError) -> AuthFailed:
    return AuthFailed(error.message, operation=error.operation, native_code=error.native_code)


def _batches(seen: Sequence[Observation]) -> list[Batch]:
    return [Batch(seen[at : at + BATCH]) for at in range(0, len(seen), BATCH)]


def _instant(kept: object) -> datetime | None:
    return from_unix(kept) if isinstance(kept, int) else None


def _order(one: Observation) -> datetime:
    """Records leave in the order of their times; the platform states none (4.9)."""
    at = getattr(one, "observed_at", None) or getattr(one, "happened_at", None)
    return at if isinstance(at, datetime) else datetime.max.replace(tzinfo=UTC)
