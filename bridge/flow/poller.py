"""Reads one account: its inventory, then its devices again and again, as fast as asked and as the limits allow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bridge.domain.device import Device
from bridge.domain.errors import NotSent, RateLimited, Refused, StoreError, VendorError
from bridge.domain.observation import Observation
from bridge.flow.health import AccountHealth
from bridge.flow.hearing import Hearing
from bridge.flow.intake import Intake
from bridge.flow.roster import Roster
from bridge.flow.schedule import Schedule, Stretch, calls_per_s, intervals, lengthened, stretch
from bridge.pace.limits import Limit
from bridge.ports import Clock, PollTask, Rng, VendorAdapter

log = logging.getLogger("bridge.poll")

CONCURRENCY = 8
INVENTORY_EVERY_S = 3600.0
INVENTORY_RETRY_S = 30.0
AGAIN_S = 1.0
"""Where nothing was sent nothing is used up: again at once, but for the pause that the account then takes anyway."""
STORE_RETRY_S = 5.0


@dataclass(slots=True)
class Poller:
    """The polling of one account."""

    account: str
    adapter: VendorAdapter
    limits: Sequence[Limit]
    intake: Intake
    roster: Roster
    health: AccountHealth
    clock: Clock
    rng: Rng
    on_stretched: Callable[[Stretch], None] = lambda _stretch: None
    on_planned: Callable[[Mapping[tuple[str, str], float]], None] = lambda _per_s: None
    """Told how many calls a second the plan takes of which limit and key."""
    answers: Callable[[], int] = lambda: 0
    """How many calls of the account have been answered so far: an inventory from memory tells nothing of the vendor."""
    schedule: Schedule = field(default_factory=Schedule)
    hearing: Hearing = field(default_factory=lambda: Hearing(1.0))
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _intervals: Mapping[str, float] = field(default_factory=dict)
    _stretched: float = 1.0

    async def run(self) -> None:
        """Runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_inventory(), name=f"inventory-{self.account}")
            for number in range(CONCURRENCY):
                group.create_task(self._keep_reading(), name=f"poll-{self.account}-{number}")

    async def refresh(self) -> int:
        """Reads the inventory now; returns the number of devices. Raises VendorError, StoreError."""
        before = self.answers()
        devices = await self.adapter.inventory()
        if self.answers() > before:
            self.health.reached(self.account)
        return await self.enter(devices)

    async def enter(self, devices: Sequence[Device]) -> int:
        """Takes an inventory in and plans its reading; returns the number of devices. Raises StoreError."""
        known = await self.intake.take_inventory(self.account, devices)
        self.plan(known)
        return len(known)

    def plan(self, devices: Sequence[Device]) -> None:
        """Plans the reading of these devices; intervals that the limits do not allow are stretched."""
        tasks = list(self.adapter.poll_tasks(devices))
        too_much = stretch(tasks, self.limits)
        told = too_much or lengthened(tasks, self.limits)
        if told is not None and abs(told.factor - self._stretched) > 0.01:
            self.on_stretched(told)
        if too_much is not None:
            counted = too_much.limit.name
            tasks = [
                replace(task, interval_s=task.interval_s * too_much.factor)
                if task.costs.get(counted)
                else task
                for task in tasks
            ]
        self._stretched = told.factor if told else 1.0
        self.schedule.plan(tasks, self.clock.monotonic())
        self._intervals = intervals(tasks)
        self.on_planned(calls_per_s(tasks, self.limits))
        self.hearing.keep(tasks)
        self._wake.set()

    def interval_s(self, device: str) -> float:
        """How often this device is asked for its readings; 0 where nothing is planned."""
        return self._intervals.get(device, self._intervals.get("", 0.0))

    def heard(self, observation: Observation) -> None:
        """A push told this: what it says need not be asked for."""
        self.hearing.heard(observation, self.clock.monotonic())

    async def _keep_inventory(self) -> None:
        known = self.roster.devices(self.account)
        if known:
            self.plan(known)
        while True:
            wait_s = INVENTORY_EVERY_S
            try:
                await self._rest()
                await self.refresh()
            except VendorError as error:
                self._failed(error)
                wait_s = AGAIN_S if isinstance(error, NotSent) else INVENTORY_RETRY_S
            except StoreError as error:
                log.error("poll.store_failed", extra={"account": self.account, "reason": str(error)})
                wait_s = STORE_RETRY_S
            except Exception:
                log.exception("poll.inventory_crashed", extra={"account": self.account})
                wait_s = INVENTORY_RETRY_S
            await self.clock.sleep(wait_s * self.rng.uniform(0.9, 1.1))

    async def _keep_reading(self) -> None:
        while True:
            await self._rest()
            now = self.clock.monotonic()
            task = self.schedule.take(now)
            if task is None:
                await self._nap()
                continue
            due = self.hearing.narrowed(task, now)
            next_in_s = await self._read(due) if due is not None else None
            self.schedule.done(task, now, self.clock.monotonic(), next_in_s)
            self._wake.set()

    async def _read(self, task: PollTask) -> float | None:
        next_in_s: float | None = None
        try:
            spoke = False
            async for batch in self.adapter.poll(task):
                await self.intake.take(self.account, [batch])
                spoke = spoke or (batch.asked and bool(batch.observations))
                next_in_s = batch.next_in_s if batch.next_in_s is not None else next_in_s
            self.hearing.done(task, self.clock.monotonic())
            if spoke:
                self.health.succeeded(self.account)
        except VendorError as error:
            self._failed(error, task.devices)
            log.debug(
                "poll.failed", extra={"account": self.account, "task": task.key, "reason": error.message}
            )
            if isinstance(error, NotSent):
                return AGAIN_S
            if isinstance(error, RateLimited):
                return min(task.interval_s, max(AGAIN_S, error.retry_after_s))
        except StoreError as error:
            log.error("poll.store_failed", extra={"account": self.account, "reason": str(error)})
            return STORE_RETRY_S
        except Exception:
            log.exception("poll.crashed", extra={"account": self.account, "task": task.key})
        return next_in_s

    def _failed(self, error: VendorError, devices: Sequence[str] = ()) -> None:
        """What a failure means for the account: a no is a word about the devices that were asked for, if any."""
        if isinstance(error, Refused) and not devices:
            self.health.declined(self.account, error)
        else:
            self.health.failed(self.account, error)

    async def _rest(self) -> None:
        """Nothing is asked while the account is paused or parked, or while the answer could not be kept."""
        while (pause_s := self._pause_s()) > 0:
            await self.clock.sleep(pause_s)

    def _pause_s(self) -> float:
        return STORE_RETRY_S if self.intake.is_refusing() else self.health.pause_s(self.account)

    async def _nap(self) -> None:
        """Sleeps until the next task is due or something changed."""
        due = self.schedule.next_due()
        wait_s = 1.0 if due is None else min(1.0, max(0.001, due - self.clock.monotonic()))
        self._wake.clear()
        waker = asyncio.ensure_future(self._wake.wait())
        sleeper = asyncio.ensure_future(self.clock.sleep(wait_s))
        try:
            await asyncio.wait({waker, sleeper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()
            sleeper.cancel()
