"""The gateway as a whole: built from a configuration, run until it is told to stop, reloaded while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets as tokens
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bridge import __version__
from bridge.app.accounts import Surroundings
from bridge.app.charts import ChartKeeper
from bridge.app.fleet import Fleet
from bridge.app.notices import Notices
from bridge.app.page import build_page
from bridge.app.reporting import Reporter
from bridge.app.retained import clear_strangers, last_successes, publish_again
from bridge.app.samples import samples
from bridge.config import Configuration, load
from bridge.contract.discovery import Scheme
from bridge.contract.topics import Topics
from bridge.domain.account import AccountPolicy
from bridge.domain.command import CommandState
from bridge.domain.device import DeviceKind
from bridge.domain.errors import ConfigError, StoreError
from bridge.domain.ids import GATEWAY
from bridge.domain.observation import Observation
from bridge.domain.text import Json
from bridge.domain.times import unix_ms
from bridge.flow.admission import Admission
from bridge.flow.audit import AuditTrail
from bridge.flow.backfill import Backfill
from bridge.flow.backfill_book import BackfillBook, BackfillOrigin
from bridge.flow.carrier import Carrier
from bridge.flow.discovery import Announcer
from bridge.flow.dispatcher import Dispatcher
from bridge.flow.gaps import GapLedger
from bridge.flow.gateway import GatewayExecutor
from bridge.flow.health import AccountHealth
from bridge.flow.history import GatewayBackfill, wake_on_end
from bridge.flow.intake import Intake, IntakeOptions
from bridge.flow.janitor import Janitor, StateFlusher
from bridge.flow.pushes import Pushes
from bridge.flow.repair import GapRepair, Repairs
from bridge.flow.roster import Roster
from bridge.flow.settle import Settler
from bridge.mqtt.connection import Connection
from bridge.mqtt.publisher import Publisher
from bridge.mqtt.session import Session
from bridge.ops.clock import SystemClock
from bridge.ops.log import Redactor
from bridge.ops.metrics import Metrics
from bridge.ops.pseudonyms import Pseudonyms
from bridge.ops.systemd import Notifier
from bridge.ops.trail import Trail
from bridge.ports import Clock
from bridge.push.doors import Doors
from bridge.push.receiver import PushLimits
from bridge.push.room import Room
from bridge.push.server import HttpServer, Pages, build_app
from bridge.store.protocols import JournalRow, OutboxRow, Tx
from bridge.store.sqlite.database import SqliteStore
from bridge.vendorkit.spec import VendorSpec
from bridge.web.board import Board
from bridge.web.routes import Page

log = logging.getLogger("bridge")

STOP_COMMANDS_S = 3.0
STOP_HISTORY_S = 2.0
STOP_DRAIN_S = 3.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from, so that it can be read again."""

    path: Path
    vendors: Mapping[str, VendorSpec]
    env: Mapping[str, str]

    def read(self) -> Configuration:
        """Raises ConfigError."""
        return load(self.path, self.vendors, self.env)


class Gateway:
    """One running gateway. `start`, then `serve` until `request_stop`, then `stop`; `run` does all three."""

    def __init__(
        self,
        source: Source,
        configuration: Configuration,
        *,
        clock: Clock | None = None,
        redactor: Redactor | None = None,
        notifier: Notifier | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._source = source
        self.configuration = configuration
        self._clock = clock or SystemClock()
        self._redactor = redactor or Redactor()
        self._notifier = notifier or Notifier()
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, hides nothing
        self._topics = Topics(configuration.mqtt.base_topic)
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._observed: dict[tuple[str, type], Any] = {}
        self._reloading = asyncio.Lock()
        self._stands = asyncio.Event()
        self.ready = asyncio.Event()
        self.http: HttpServer | None = None
        self.page: Page | None = None
        self.audit: AuditTrail | None = None
        self.store = SqliteStore(
            configuration.state.path,
            configuration.state.spool_max,
            min_free_bytes=configuration.state.min_free,
            clock_ms=lambda: unix_ms(self._clock.now()),
        )
        self._build_flow()

    def _build_flow(self) -> None:
        configuration, clock, topics = self.configuration, self._clock, self._topics
        self.metrics = Metrics()
        self.roster = Roster()
        self.health = AccountHealth(clock, self._rng)
        self.intake = Intake(
            self.store,
            self.roster,
            topics,
            clock,
            IntakeOptions(configuration.mqtt.state_interval, configuration.mqtt.flat_metrics),
        )
        self.settler = Settler(self.roster, topics, self.intake, clock)
        self.carrier = Carrier(self.store, self.roster, self.settler, clock, self.health)
        self.dispatcher = Dispatcher(self.store, self.carrier, clock)
        self.admission = Admission(self.store, self.roster, self.settler, topics, clock)
        self.admission.requester = configuration.commands.requester
        self.book = BackfillBook(self.intake, clock)
        self.backfill = Backfill(self.store, self.book, self.roster, self.health, clock)
        self.ledger = GapLedger()
        self.repair = GapRepair(self.store, self.ledger, self.backfill, self.health, clock, self._repairs)
        self.flusher = StateFlusher(self.intake, self.roster, clock)
        self.janitor = Janitor(self.store, self.intake, self.roster, clock, configuration.commands.remember)
        self.publisher = Publisher(self.store, clock)
        self.announcer = self._build_announcer()
        self.intake.announces = self.announcer
        self.board = Board(topics)
        self.charts = ChartKeeper(self.store, self.board, clock)
        http = configuration.http
        self.pushes = Pushes(self.store, self.roster, self.intake, clock)
        self.doors = Doors(self.pushes.take, clock, http.trusted_proxies, http.max_wrong_secrets)
        self.push_limits = PushLimits(
            http.max_body, Room(http.max_pushes, max(http.max_body, http.max_push_bytes))
        )
        self.intake.confirms = self.settler
        self.intake.series = self.ledger
        self.intake.is_refusing = lambda: self.store.pressure.full
        self.intake.on_behind = self.flusher.behind
        self.intake.on_taken = self._count_observations
        self.settler.on_settled = self._command_settled
        self.settler.on_nudge = self.carrier.wake
        self.admission.on_accepted = self.dispatcher.submit
        for origin in (BackfillOrigin.HISTORY, BackfillOrigin.COMMAND):
            self.book.on_ended(origin, wake_on_end(self.carrier.wake))
        self.admission.on_rejected = lambda code: self.metrics.rejected.labels(code).inc()

    def _build_announcer(self) -> Announcer | None:
        discovery = self.configuration.mqtt.discovery
        if not discovery.enabled:
            return None
        scheme = Scheme(discovery.prefix, self._topics, __version__)
        return Announcer(self.store, scheme, self._clock, self._rng)

    async def run(self) -> None:
        """Starts, serves and stops. Raises StoreError or ServerError if it cannot start."""
        try:
            await self.start()
            await self.serve()
        finally:
            await self.stop()

    def request_stop(self) -> None:
        """Ends `serve`."""
        self._stop.set()

    # start ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Everything stands when it returns, but for the connection to the broker."""
        self._redactor.add(self.configuration.secrets())
        await self.store.open()
        identity, fresh = await self.store.run(_identity)
        around = Surroundings(
            self.store,
            self.roster,
            self.intake,
            self.health,
            self.metrics,
            self._clock,
            self._rng,
            lambda account, message: self.reporter.event("endpoint_closed", "warning", message, account),
            fresh_store=fresh,
            backfill=self.backfill,
            ledger=self.ledger,
        )
        self.fleet = Fleet(self._source.vendors, around)
        self.reporter = Reporter(
            self.store,
            self._topics,
            self._clock,
            self.roster,
            self.health,
            self.fleet.accounts,
            self.configuration.state,
            identity,
        )
        self.session = Session(
            self.configuration.mqtt,
            self._topics,
            self.configuration.mqtt.client_id or f"meterbridge-{identity}",
            self.configuration.commands.session_expiry,
            self.publisher,
            self.admission.admit,
            self._clock,
            self._rng,
        )
        self._broker = f"{self.configuration.mqtt.host}:{self.configuration.mqtt.port}"
        self.session.knows_mqtt5 = await self.store.run(lambda tx: tx.vault.get("", "mqtt5")) == self._broker
        self._connect_parts()
        self._enter_gateway()
        await self._adopt_retained()
        await self.store.run(self.settler.load_open)
        await self.fleet.begin(self.configuration)
        if self.announcer is not None:
            await self.announcer.adopt()
        await self.repair.recall()
        self.doors.set(self.fleet.doors())
        await self.session.set_accounts([GATEWAY, *self.fleet.accounts])
        await self._start_http()
        await self.dispatcher.adopt()
        for account, device in await self.store.run(lambda tx: list(tx.devices.dirty())):
            self.flusher.behind(account, device, 0.0)
        self._stands.set()

    def _connect_parts(self) -> None:
        reporter = self.reporter
        notices = Notices(self.store, reporter, self._topics, self._clock)
        reporter.session, reporter.publisher = self.session, self.publisher
        reporter.doors, reporter.dispatcher = self.doors, self.dispatcher
        reporter.push_room = self.push_limits.room
        reporter.repair, reporter.backfill = self.repair, self.backfill
        self.pushes.on_aside = reporter.asides.told
        self.metrics.read_from(lambda: samples(reporter, self._clock))
        reporter.pseudonyms = lambda: Pseudonyms(self.configuration.secrets())
        reporter.on_lag = self.metrics.loop_lag_seconds.observe
        self.store.outgoing = self._outgoing
        self.store.sent_upto = self.publisher.sent_upto
        self.store.on_pressure = reporter.pressure_changed
        self.session.on_connected = self._connected
        self.session.on_ready = self._session_ready
        self.publisher.on_refused = notices.refused
        self.session.on_subscription_refused = notices.subscription_refused
        self.health.on_auth_failed = notices.auth_failed
        self.health.on_barred = notices.endpoint_barred
        self.store.on_replaced = notices.store_replaced
        self.session.watch(self._topics.bridge("status"), reporter.presence_heard)
        if self.announcer is not None:
            self.session.watch(self.announcer.scheme.birth, self.announcer.born)
        if self.store.moved_aside is not None:
            notices.store_replaced()

    def _repairs(self) -> dict[str, Repairs]:
        return {name: account.settings.gaps for name, account in self.fleet.accounts.items()}

    def _enter_gateway(self) -> None:
        commands = self.configuration.commands
        self._past = GatewayBackfill(
            self.backfill, self.roster, lambda: sorted(self.fleet.accounts), self._clock
        )
        self._executor = GatewayExecutor(
            self.store,
            self.roster,
            self.settler,
            self._clock,
            reload=self.reload,
            refresh=self.fleet.refresh,
            diagnostics=self.reporter.diagnostics,
            backfill=self._past,
            gaps=self.ledger.known,
            accounts=lambda: sorted(self.fleet.accounts),
        )
        policy = AccountPolicy(GATEWAY, GATEWAY, allow=commands.allow, confirm=frozenset(commands.confirm))
        self.roster.enter(policy, self._executor, DeviceKind.METER)

    async def _start_http(self) -> None:
        address = self.configuration.http.address
        if address is None:
            return
        http = self.configuration.http
        if http.page != "off":
            self.page = await build_page(
                http, self.reporter, self.board, self.charts, self.admission, self.doors, self._clock
            )
        app = build_app(self.doors, self._pages(), self.push_limits, self._clock)
        server = HttpServer(app, *address)
        await server.start()
        self.http = server
        log.info("http.listening", extra={"address": f"{address[0]}:{server.port}"})

    def _pages(self) -> Pages:
        async def metrics() -> tuple[bytes, str]:
            with contextlib.suppress(StoreError):
                await self.reporter.take_snapshot()
            return self.metrics.exposition()

        more = self.page.routes() if self.page is not None else ()
        return Pages(self.reporter.healthz, self.reporter.readyz, metrics, more)

    # serving ----------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Runs until `request_stop`."""
        self._tasks = [
            asyncio.get_running_loop().create_task(work, name=name)
            for name, work in (
                ("mqtt-session", self.session.run()),
                ("publisher", self.publisher.run()),
                ("state-flusher", self.flusher.run()),
                ("janitor", self.janitor.run()),
                ("reporter", self.reporter.run()),
                ("gap-repair", self.repair.run()),
                ("watchdog", self._watchdog()),
                *((("discovery", self.announcer.run()),) if self.announcer else ()),
                *((("charts", self.charts.run()),) if self.page else ()),
            )
        ]
        self._tasks += self._audit()
        self.fleet.start()
        await self.backfill.start()
        stop = asyncio.get_running_loop().create_task(self._stop.wait())
        done, _ = await asyncio.wait({stop, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in done - {stop}:
            log.critical("task.ended", extra={"task": task.get_name()})
            task.result()

    def _audit(self) -> list[asyncio.Task[None]]:
        file = self.configuration.audit.file
        if file is None:
            return []
        trail = AuditTrail(self.store, Trail(file), self._clock, self._redactor.clean)
        trail.on_failed = lambda reason: self.reporter.event(
            "audit_failed", "critical", f"the audit file {file} takes no lines: {reason}"
        )
        self.audit = trail
        return [asyncio.get_running_loop().create_task(trail.run(), name="audit")]

    async def stop(self) -> None:
        """Stops in order: no new pushes, no new commands; what is under way comes to an answer; the outbox drains;
        `offline` is said; the store is closed. Takes less than ten seconds."""
        self._notifier.stopping()
        if self.page is not None:
            self.page.close()
        if self.http is not None:
            await self.http.stop()
        if hasattr(self, "fleet"):
            await self.fleet.stop()
            await self.backfill.aclose(STOP_HISTORY_S)
        await self.dispatcher.aclose(STOP_COMMANDS_S)
        with contextlib.suppress(StoreError):
            for name, device in await self.store.run(lambda tx: list(tx.devices.dirty())):
                if self.roster.has(name):
                    await self.intake.flush_states(name, [device])
        if hasattr(self, "session"):
            if self.session.connected:
                await self.publisher.drain(STOP_DRAIN_S)
            await self.session.stop()
        if self.audit is not None:
            await self.audit.finish()
        if self.page is not None:
            with contextlib.suppress(StoreError):
                await self.charts.keep()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "fleet"):
            await self.fleet.aclose()
        await self.store.close()

    async def _adopt_retained(self) -> None:
        accounts = {settings.id for settings in self.configuration.accounts}
        flat = self.configuration.mqtt.flat_metrics

        def work(tx: Tx) -> Mapping[str, datetime]:
            clear_strangers(tx, self._topics, accounts, self.announcer, flat=flat)
            return last_successes(tx, self._topics, accounts)

        self.health.recalled.update(await self.store.run(work))

    # reload -----------------------------------------------------------------------------------------------------

    async def reload(self) -> Json:
        """Reads the configuration again and follows it: accounts are added, changed, removed. What of it needs a
        restart is named in the result. Waits for the end of `start`. Raises ConfigError: then nothing has changed."""
        await self._stands.wait()
        async with self._reloading:
            try:
                new = self._source.read()
            except ConfigError as error:
                self.reporter.event(
                    "reload_refused",
                    "warning",
                    "the new configuration has mistakes; the old one goes on",
                    problems=list(error.problems),
                )
                log.error("reload.refused", extra={"problems": error.problems})
                raise
            return await self._follow(new)

    async def _follow(self, new: Configuration) -> Json:
        old, self.configuration = self.configuration, new
        self._redactor.add(new.secrets())
        difference = await self.fleet.follow(old, new)
        self.doors.set(self.fleet.doors())
        self._enter_gateway()
        self.admission.requester = new.commands.requester
        await self.session.set_accounts([GATEWAY, *self.fleet.accounts])
        await self.reporter.round()
        await self.dispatcher.adopt(difference.added)
        restart = _needing_restart(old, new)
        accounts = {name: list(ids) for name, ids in asdict(difference).items()}
        log.info("reload.done", extra={**accounts, "restart_needed": restart})
        return {"accounts": accounts, "restart_needed": restart}

    # what the parts tell ----------------------------------------------------------------------------------------

    def _outgoing(self, added: list[OutboxRow], gone: list[int]) -> None:
        if gone:
            self.publisher.gone(gone)
        if added:
            self.publisher.added(added)
            if self.page is not None:
                self.board.take(row.publication for row in added)

    async def _connected(self, connection: Connection) -> None:
        if connection.retained_kept:
            return
        broker = self._broker if connection.protocol == 5 else None

        def work(tx: Tx) -> None:
            if not connection.session_present:
                tx.vault.put("", "mqtt5", broker)
                tx.deliveries.clear()  # a new session: the broker delivers nothing again
            publish_again(tx)

        await self.store.run(work)

    def _session_ready(self) -> None:
        self.ready.set()
        self._notifier.ready()
        self._notifier.status(f"connected, {len(self.fleet.accounts)} accounts")

    def _command_settled(self, row: JournalRow) -> None:
        self.carrier.wake(row.key)
        if row.state is CommandState.FINAL:
            self.backfill.unwanted(row.account, row.id)
        if row.state is CommandState.FINAL and row.last_ack is not None:
            seconds = max(0, row.updated_ms - row.created_ms) / 1000
            self.metrics.command_ended(row.account, row.command, row.last_ack["status"], seconds)

    def _count_observations(self, account: str, observations: Sequence[Observation]) -> None:
        for observation in observations:
            key = account, type(observation)
            counter = self._observed.get(key)
            if counter is None:
                counter = self.metrics.observations.labels(account, type(observation).__name__.lower())
                self._observed[key] = counter
            counter.inc()
            self.fleet.heard(account, observation)

    async def _watchdog(self) -> None:
        """Tells the service manager that the loop turns and the store writes; stops telling when it does not."""
        every_s = self._notifier.watchdog_s
        while True:
            await self._clock.sleep(min(every_s or 60.0, 60.0))
            if every_s is not None:
                with contextlib.suppress(StoreError):
                    await self.store.run(lambda tx: tx.vault.get("", "instance"))
                    self._notifier.alive()


def _needing_restart(old: Configuration, new: Configuration) -> list[str]:
    """The sections in which something changed that is read at the start only."""
    parts = [
        part for part in ("mqtt", "http", "state", "audit", "log") if getattr(old, part) != getattr(new, part)
    ]
    lasting = ("remember", "session_expiry")
    if any(getattr(old.commands, key) != getattr(new.commands, key) for key in lasting):
        parts.append("commands")
    return parts


def _identity(tx: Tx) -> tuple[str, bool]:
    """The gateway's own name, made up once; and whether the store is new."""
    known = tx.vault.get("", "instance")
    if isinstance(known, str):
        return known, False
    made = tokens.token_hex(4)
    tx.vault.put("", "instance", made)
    return made, True
