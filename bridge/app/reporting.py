"""What the gateway tells of itself: `bridge/info`, `bridge/event`, account `status` and `budget`, health."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bridge import __version__
from bridge.app.accounts import Account
from bridge.app.asides import Asides
from bridge.app.budgets import Budgets, budget_rows, forecasts
from bridge.app.losses import changes, tell_losses
from bridge.contract import payloads
from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.domain.errors import StoreError
from bridge.domain.text import Json, dumps
from bridge.domain.times import rfc3339
from bridge.flow.backfill import Backfill
from bridge.flow.desk import retain
from bridge.flow.dispatcher import Dispatcher
from bridge.flow.health import AccountHealth
from bridge.flow.repair import GapRepair
from bridge.flow.roster import Roster
from bridge.mqtt.publisher import Publisher
from bridge.mqtt.session import Session
from bridge.ops.pseudonyms import Pseudonyms
from bridge.ports import Clock
from bridge.push.doors import Doors
from bridge.push.room import Room
from bridge.push.server import Health
from bridge.store.protocols import Tally, Tx
from bridge.store.settings import StateSettings
from bridge.store.sqlite.database import Pressure, SqliteStore

log = logging.getLogger("bridge.reporting")

ROUND_EVERY_S = 10.0
STATUS_EVERY_S = 60.0
LAG_EVERY_S = 0.5
TELL_AGAIN_S = 1.0
READY_SHARE = 0.8
"""Of the spool. What is dropped from a full one makes room for a tenth: with that, nothing is within bounds yet."""
CLOCK_STEP_S = 60.0
"""A clock that is set by more than this is told: times of receipt, ages and expiries jump with it."""


@dataclass(slots=True)
class Snapshot:
    """Sums that are read from the store now and then, for what must answer at once."""

    rows: int = 0
    bytes: int = 0
    oldest_ms: int | None = None
    tallies: Mapping[int, Tally] = field(default_factory=dict)
    dead_letters: int = 0
    dead_letter_bytes: int = 0
    dead_letters_evicted: int = 0


class Reporter:
    """Publishes what concerns the gateway as a whole."""

    def __init__(
        self,
        store: SqliteStore,
        topics: Topics,
        clock: Clock,
        roster: Roster,
        health: AccountHealth,
        accounts: Mapping[str, Account],
        state: StateSettings,
        instance: str,
    ) -> None:
        self.store = store
        self.topics = topics
        self._clock = clock
        self.roster = roster
        self.health = health
        self.accounts = accounts
        self._state = state
        self._to_tell: deque[Publication] = deque()
        self._telling: asyncio.Task[None] | None = None
        self.instance = instance
        self.started_at = clock.now()
        self.snapshot = Snapshot()
        self.pseudonyms: Callable[[], Pseudonyms] = Pseudonyms
        self.lag_s = 0.0
        self.on_lag: Callable[[float], None] = lambda _seconds: None
        self.budgets = Budgets(store, topics, clock, accounts, self._reachable)
        self.session: Session | None = None
        self.publisher: Publisher | None = None
        self.doors: Doors | None = None
        self.push_room: Room | None = None
        self.dispatcher: Dispatcher | None = None
        self.repair: GapRepair | None = None
        self.backfill: Backfill | None = None
        self.asides = Asides(self.event, clock)

    # events for the operator ------------------------------------------------------------------------------------

    def event(self, code: str, severity: str, message: str, account: str | None = None, **data: Json) -> None:
        """Something the operator should know. Told as soon as the store takes it."""
        document = payloads.bridge_event(
            ts=self._clock.now(), code=code, severity=severity, message=message, account=account, data=data
        )
        self._soon(Publication(self.topics.bridge("event"), dumps(document), Class.EVENT))

    def presence_heard(self, payload: bytes) -> None:
        """What somebody said on `bridge/status`. Of several gateways with one base topic each says `offline` when it
        goes; as long as one of them is there, it is `online` that holds."""
        if payload != b"online" and self.session is not None and self.session.connected:
            self._soon(Publication(self.topics.bridge("status"), b"online", Class.META, retain=True))

    def _soon(self, publication: Publication) -> None:
        """In the order of the calls, whenever the store takes it: `recovered` must not come before `failing`."""
        self._to_tell.append(publication)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell(), name="bridge-telling")

    async def _tell(self) -> None:
        while self._to_tell:
            try:
                await self.store.run(lambda tx: tx.outbox.add(self._to_tell[0]))
            except StoreError:
                await self._clock.sleep(TELL_AGAIN_S)
            else:
                self._to_tell.popleft()

    def pressure_changed(self, before: Pressure, now: Pressure) -> None:
        """The spool came under pressure, or is out of it."""
        for told in changes(before, now, self._state.min_free):
            self.event(told.code, told.severity, told.message, **told.data)

    # loops ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_status(), name="report-status")
            group.create_task(self._keep_round(), name="report-round")
            group.create_task(self._watch_lag(), name="report-lag")
            group.create_task(self.budgets.run(), name="report-budgets")

    async def publish_info(self) -> None:
        """`bridge/info`, if it changed."""
        protocol = self.session.protocol if self.session else "5"
        document = payloads.bridge_info(
            version=__version__,
            instance=self.instance,
            started_at=self.started_at,
            mqtt_protocol=protocol,
            accounts=[
                (name, account.settings.vendor, len(self.roster.devices(name)))
                for name, account in sorted(self.accounts.items())
            ],
        )
        body = dumps(document)
        await self.store.run(lambda tx: retain(tx, self.topics.bridge("info"), body))

    async def publish_status(self, account: str) -> None:
        """`{account}/status`, if it changed."""
        state = self.health.state(account)
        if state is None or state.since is None:
            return
        body = dumps(payloads.account_status(state.word, state.message, state.since, state.last_success))
        await self.store.run(
            lambda tx: retain(tx, self.topics.account(account, "status"), body, account=account)
        )

    async def _keep_status(self) -> None:
        while True:
            for account in await self.health.changed():
                await self._patiently(lambda name=account: self.publish_status(name))  # type: ignore[misc] # bound now

    async def _keep_round(self) -> None:
        count = 0
        while True:
            await self._patiently(self.round)
            if count % int(STATUS_EVERY_S / ROUND_EVERY_S) == 0:
                for account in list(self.accounts):
                    await self._patiently(lambda name=account: self.publish_status(name))  # type: ignore[misc] # bound now
            count += 1
            await self._clock.sleep(ROUND_EVERY_S)

    async def round(self) -> None:
        """`bridge/info`, the budgets that are due, and what was dropped, as far as it changed."""
        self.asides.round()
        await self.publish_info()
        await self.budgets.look()
        await self.store.run(
            lambda tx: tell_losses(tx, self.topics, self._clock.now(), self.spool_bound_bytes)
        )

    async def take_snapshot(self) -> None:
        """Reads the sums again."""

        def read(tx: Tx) -> Snapshot:
            rows, size, oldest = tx.outbox.waiting()
            return Snapshot(
                rows,
                size,
                oldest,
                tx.outbox.tallies(),
                tx.dead_letters.count(),
                tx.dead_letters.size(),
                tx.dead_letters.evicted(),
            )

        self.snapshot = await self.store.run(read)

    async def _watch_lag(self) -> None:
        while True:
            before, wall = self._clock.monotonic(), self._clock.now()
            await self._clock.sleep(LAG_EVERY_S)
            passed_s = self._clock.monotonic() - before
            self.lag_s = max(0.0, passed_s - LAG_EVERY_S)
            self.on_lag(self.lag_s)
            self._look_at_clock((self._clock.now() - wall).total_seconds() - passed_s)

    def _look_at_clock(self, stepped_s: float) -> None:
        if abs(stepped_s) >= CLOCK_STEP_S:
            self.event(
                "clock_stepped",
                "warning",
                f"the clock of this machine was set {'back' if stepped_s < 0 else 'forward'} by {abs(stepped_s):.0f} s",
                seconds=round(stepped_s),
            )

    async def _patiently(self, work: Callable[[], Any]) -> None:
        try:
            await work()
        except StoreError as error:
            log.error("report.store_failed", extra={"reason": str(error)})

    @property
    def pressure(self) -> Pressure:
        """How the spool stands."""
        return self.store.pressure

    @property
    def spool_bound_bytes(self) -> int:
        """How much may wait now: `spool_max`, or less while the disk has no room."""
        return self.store.pressure.bound_bytes or self._state.spool_max

    def oldest_s(self) -> float | None:
        """How long the oldest message waits; None if none does."""
        if self.snapshot.oldest_ms is None:
            return None
        return max(0.0, round(self._clock.now().timestamp() - self.snapshot.oldest_ms / 1000, 3))

    # questions --------------------------------------------------------------------------------------------------

    async def healthz(self) -> Health:
        """Well while the store takes changes."""
        failing = self.store.failing
        reasons = {"status": "ok" if failing is None else "failing"}
        if failing is not None:
            reasons["store"] = failing
        return Health(failing is None, reasons)

    async def readyz(self) -> Health:
        """Ready while the broker is connected, or what waits for it stays within bounds."""
        await self._patiently(self.take_snapshot)
        connected = self.session is not None and self.session.connected
        pressure = self.pressure
        room = self.snapshot.bytes < self._state.spool_max * READY_SHARE and not pressure.disk_low
        well = self.store.failing is None and not pressure.full and (connected or room)
        reasons: dict[str, Json] = {
            "status": "ready" if well else "not ready",
            "broker": "connected" if connected else f"not connected: {self.broker_trouble() or 'not yet'}",
            "spool": {
                "messages": self.snapshot.rows,
                "bytes": self.snapshot.bytes,
                "max_bytes": self.spool_bound_bytes,
                "oldest_s": self.oldest_s(),
            },
        }
        if pressure.full:
            reasons["intake"] = "refused: the spool is full of messages that are never dropped"
        if pressure.disk_low:
            reasons["disk"] = f"{pressure.free_bytes} bytes free, less than state.min_free"
        if self.store.failing is not None:
            reasons["store"] = self.store.failing
        return Health(well, reasons)

    async def diagnostics(self) -> Json:
        """What a bug report needs; no secret, no customer data, devices as tokens."""
        names = self.pseudonyms()
        for account in self.accounts:
            for device in self.roster.devices(account):
                names.learn("device", [device.native_id])
                names.learn("name", [device.name, device.address])
        return names.clean(await self._diagnosis())

    async def _diagnosis(self) -> Json:
        await self.take_snapshot()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "version": __version__,
            "instance": self.instance,
            "started_at": rfc3339(self.started_at),
            "now": rfc3339(self._clock.now()),
            "mqtt": {
                "connected": self.session is not None and self.session.connected,
                "protocol": self.session.protocol if self.session else None,
                "reconnects": self.session.reconnects if self.session else 0,
                "last_error": self.broker_trouble() or None,
            },
            "outbox": {
                "messages": self.snapshot.rows,
                "bytes": self.snapshot.bytes,
                "max_bytes": self.spool_bound_bytes,
                "oldest_s": self.oldest_s(),
                "by_class": {
                    Class(klass).name.lower(): asdict(tally) for klass, tally in self.snapshot.tallies.items()
                },
                "refusing": self.pressure.full,
                "disk_free_bytes": self.pressure.free_bytes,
                "disk_low": self.pressure.disk_low,
            },
            "commands_under_way": self.dispatcher.under_way() if self.dispatcher else 0,
            "dead_letters": self.snapshot.dead_letters,
            "max_rss_bytes": usage.ru_maxrss * 1024,
            "event_loop_lag_s": round(self.lag_s, 4),
            "accounts": {name: self._account_diagnostics(name) for name in sorted(self.accounts)},
        }

    def _account_diagnostics(self, name: str) -> Json:
        account, state = self.accounts[name], self.health.state(name)
        document = payloads.budget(self._clock.now(), budget_rows(account))
        return {
            "vendor": account.settings.vendor,
            "devices": len(self.roster.devices(name)),
            "state": state.word if state else None,
            "message": state.message if state else None,
            "calls_waiting": account.gate.waiting(),
            "windows": document["windows"],
            "forecast": forecasts(account),
            "gaps": {
                str(row_state): count
                for (owner, row_state), count in (self.repair.counts if self.repair else {}).items()
                if owner == name
            },
        }

    def _reachable(self) -> bool:
        return self.session is None or self.session.connected

    def broker_trouble(self) -> str:
        """Why the broker is not connected, as far as it is known."""
        return self.session.last_error if self.session else ""
