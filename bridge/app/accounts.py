"""One account at run time: its gate, its HTTP client, its adapter, its polling, its door for pushes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from bridge.app.ledgers import StoreLedger, StoreVault
from bridge.config import Configuration, effective_limits
from bridge.domain.account import AccountPolicy
from bridge.domain.device import DeviceKind
from bridge.domain.quantity import duration_text
from bridge.flow.backfill import Backfill, Source
from bridge.flow.gaps import GapLedger
from bridge.flow.health import AccountHealth
from bridge.flow.hearing import Hearing
from bridge.flow.intake import Intake
from bridge.flow.poller import Poller
from bridge.flow.roster import Roster
from bridge.flow.schedule import Stretch
from bridge.ops.metrics import Metrics
from bridge.pace.gate import AccountGate, SharedSlots, SlotNote
from bridge.pace.limits import Lane
from bridge.ports import Clock, Rng, VendorAdapter
from bridge.push.doors import Door
from bridge.store.protocols import Store
from bridge.vendorkit.http import VendorHttp
from bridge.vendorkit.settings import AccountSettings
from bridge.vendorkit.spec import Kit, VendorSpec

log = logging.getLogger("bridge.accounts")

CRASH_PAUSE_S = 5.0
RETIRE_S = 75.0
"""How long the HTTP client of a changed account is kept open for calls that are under way."""


@dataclass(slots=True)
class Surroundings:
    """What all accounts share. `endpoint_closed`: told of an account and in words, see `vendorkit.spec.Kit`."""

    store: Store
    roster: Roster
    intake: Intake
    health: AccountHealth
    metrics: Metrics
    clock: Clock
    rng: Rng
    endpoint_closed: Callable[[str, str], None] = lambda _account, _message: None
    shared_windows: SharedSlots = field(default_factory=dict)
    fresh_store: bool = False
    backfill: Backfill | None = None
    ledger: GapLedger | None = None


@dataclass(slots=True)
class Account:
    """A running account."""

    settings: AccountSettings
    spec: VendorSpec
    policy: AccountPolicy
    gate: AccountGate
    http: VendorHttp
    adapter: VendorAdapter
    poller: Poller
    task: asyncio.Task[None] | None = None
    line: str = ""

    def door(self) -> Door | None:
        """Its entrance for pushes, if it has one."""
        if self.settings.push is None or self.adapter.push is None:
            return None
        return Door.open(
            self.settings.id,
            self.settings.push.secret.get_secret_value(),
            self.settings.push.allow_from,
            self.adapter.push,
        )

    def source(self) -> Source | None:
        """Where its devices' past comes from, if the vendor keeps one."""
        history = self.adapter.history
        if history is None:
            return None
        return Source(history, self.gate.limits(), self.gate.planned, calling=lambda: self.http.calling)

    def start(self) -> None:
        """Begins to poll."""
        self.task = asyncio.get_running_loop().create_task(
            self._supervise(), name=f"account-{self.settings.id}"
        )

    async def stop(self) -> None:
        """Ends polling; calls of commands that are under way go on."""
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
            self.task = None

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.gate.aclose()
        await self.http.aclose()

    async def _supervise(self) -> None:
        """A fault in one account's code is logged and its polling begun anew; the other accounts do not notice."""
        while True:
            try:
                await self.poller.run()
            except Exception:
                log.exception("account.crashed", extra={"account": self.settings.id})
            await asyncio.sleep(CRASH_PAUSE_S)


def build_account(
    settings: AccountSettings,
    spec: VendorSpec,
    configuration: Configuration,
    around: Surroundings,
    notes: Sequence[SlotNote],
) -> Account:
    """All parts of one account, not started."""
    policy = settings.policy(configuration.commands.allow, configuration.commands.confirm)
    limits = effective_limits(settings, spec)
    gate = AccountGate(
        settings.id,
        limits,
        around.clock,
        StoreLedger(around.store),
        notes=notes,
        fresh=around.fresh_store,
        shared=around.shared_windows,
        vendor=settings.vendor,
    )
    http = VendorHttp(
        getattr(settings, "base_url", ""),
        gate,
        around.clock,
        observer=_observer(around.metrics, settings.id),
        waiting=_waiting(around.metrics, settings.id),
    )
    kit = Kit(
        http=http,
        clock=around.clock,
        rng=around.rng,
        log=logging.getLogger(f"bridge.vendors.{settings.vendor}"),
        vault=StoreVault(around.store, settings.id),
        policy=policy,
        endpoint_closed=lambda message: around.endpoint_closed(settings.id, message),
    )
    adapter = spec.build(settings, kit)
    poller = Poller(
        settings.id,
        adapter,
        limits,
        around.intake,
        around.roster,
        around.health,
        around.clock,
        around.rng,
        on_stretched=_stretched(configuration, settings),
        on_planned=gate.plan,
        answers=lambda: http.answers,
        hearing=Hearing(settings.push.poll_factor if settings.push is not None else 1.0),
    )
    return Account(settings, spec, policy, gate, http, adapter, poller)


def default_kind(spec: VendorSpec) -> DeviceKind:
    """The kind of a device of which nothing is known but its vendor."""
    if spec.default_kind is not None:
        return spec.default_kind
    return next(iter(spec.kinds)) if len(spec.kinds) == 1 else DeviceKind.METER


def _observer(metrics: Metrics, account: str) -> Callable[[str, str, float], None]:
    took = metrics.vendor_seconds.labels(account)
    calls = lru_cache(maxsize=None)(lambda *what: metrics.vendor_requests.labels(account, *what))

    def observe(operation: str, outcome: str, seconds: float) -> None:
        calls(operation, outcome).inc()
        took.observe(seconds)

    return observe


def _waiting(metrics: Metrics, account: str) -> Callable[[Lane, float], None]:
    waits = lru_cache(maxsize=None)(lambda lane: metrics.slot_wait_seconds.labels(account, lane.name.lower()))

    def wait(lane: Lane, seconds: float) -> None:
        waits(lane).observe(seconds)

    return wait


def _stretched(configuration: Configuration, settings: AccountSettings) -> Callable[[Stretch], None]:
    index = [account.id for account in configuration.accounts].index(settings.id)
    line = configuration.position(f"accounts[{index}].poll")

    def warn(stretch: Stretch) -> None:
        longer = duration_text(float(int(settings.poll * stretch.factor) + 1))
        log.warning(
            "poll.stretched",
            extra={
                "account": settings.id,
                "line": line,
                "limit": stretch.limit.name,
                "text": f"poll: {duration_text(settings.poll)} is more than the limit of {settings.vendor} "
                f"allows for so many devices; they are read every {longer}. Write poll: {longer}",
            },
        )

    return warn
