"""The one door for observations: everything that comes from a vendor passes here, in one transaction per batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, assert_never

from bridge.contract.topics import Topics
from bridge.domain.account import AccountPolicy
from bridge.domain.device import Device
from bridge.domain.errors import SpoolFull
from bridge.domain.observation import (
    AlarmMessage,
    Availability,
    Batch,
    Confirmation,
    Described,
    Event,
    Observation,
    Reading,
    Words,
)
from bridge.flow.desk import Announces, Desk, SeriesWatch, Told, device_from
from bridge.flow.occurrences import take_alarm, take_availability, take_event
from bridge.flow.records import take_reading, take_words
from bridge.flow.roster import Roster
from bridge.ports import Clock
from bridge.store.protocols import Store, Tx

log = logging.getLogger("bridge.intake")

SPOOL_FULL = "the spool is full of messages that are never dropped, and the broker takes none"
INVENTORY_ROWS = 200
"""How many devices of an inventory are taken in by one transaction."""


class Confirms(Protocol):
    """What may settle a command that is under way (`flow.settle`)."""

    def by_evidence(self, desk: Desk, observation: Observation) -> None:
        """Settles the commands that this observation proves."""
        ...

    def by_confirmation(self, desk: Desk, confirmation: Confirmation) -> None:
        """Applies a vendor's own word on a command; keeps it a while if it may have come before the answer."""
        ...

    def review(self, desk: Desk) -> None:
        """Looks again at the words that were kept: they match something now, or they are told."""
        ...


@dataclass(slots=True)
class IntakeOptions:
    """How records are published."""

    state_interval_s: float = 1.0
    flat_metrics: bool = False


@dataclass(slots=True)
class Taken:
    """What became of a batch: its records (also those known before), how many of them were new and published, and
    whether the whole message was known."""

    records: list[dict[str, Any]] = field(default_factory=list)
    duplicate: bool = False
    fresh: int = 0


class Intake:
    """Takes batches in. One instance serves all accounts."""

    def __init__(
        self,
        store: Store,
        roster: Roster,
        topics: Topics,
        clock: Clock,
        options: IntakeOptions,
    ) -> None:
        self._store = store
        self._roster = roster
        self._topics = topics
        self._clock = clock
        self._options = options
        self.confirms: Confirms | None = None
        self.series: SeriesWatch | None = None
        self._told: dict[tuple[str, str], Told] = {}
        self._unlisted: dict[str, tuple[str, ...]] = {}
        self.is_refusing: Callable[[], bool] = lambda: False
        self.announces: Announces | None = None
        self.on_behind: Callable[[str, str, float], None] = lambda _account, _device, _seconds: None
        self.on_taken: Callable[[str, Sequence[Observation]], None] = lambda _account, _observations: None

    async def take(self, account: str, batches: Sequence[Batch]) -> list[Taken]:
        """Takes batches in, all in one transaction; on disk when it returns. Raises StoreError: then none is."""
        policy = self._roster.policy(account)
        return await self._store.run(lambda tx: [self.take_in(tx, policy, batch) for batch in batches])

    def take_in(self, tx: Tx, policy: AccountPolicy, batch: Batch) -> Taken:
        """The same inside a transaction that is under way. Raises SpoolFull: the sender keeps it."""
        if tx.outbox.full():
            raise SpoolFull(SPOOL_FULL)
        desk = self.desk(tx, policy)
        taken = self.take_batch(desk, batch)
        self.close(desk)
        return taken

    def take_batch(self, desk: Desk, batch: Batch) -> Taken:
        """The same onto an open desk, whose spool has room."""
        taken = Taken()
        if batch.body_key is not None and not desk.tx.seen.body(
            desk.policy.account, batch.body_key, desk.now_ms, batch.body_window_s
        ):
            taken.duplicate = True
            return taken
        self.take_onto(desk, batch.observations, taken)
        return taken

    def take_onto(self, desk: Desk, observations: Sequence[Observation], taken: Taken) -> None:
        """Takes observations onto an open desk."""
        before = desk.fresh
        for observation in observations:
            self._take_one(desk, observation, taken)
            if self.confirms is not None:
                self.confirms.by_evidence(desk, observation)
        desk.tx.after_commit(partial(self.on_taken, desk.policy.account, observations))
        taken.fresh += desk.fresh - before

    def desk(self, tx: Tx, policy: AccountPolicy) -> Desk:
        """An empty desk for an account."""
        return Desk(
            tx=tx,
            policy=policy,
            topics=self._topics,
            now=self._clock.now(),
            kind=self._roster.default_kind(policy.account),
            infos=self._roster.command_infos,
            state_interval_ms=int(self._options.state_interval_s * 1000),
            flat_metrics=self._options.flat_metrics,
            told=self._told,
            announces=self.announces,
            series=self.series,
        )

    def close(self, desk: Desk) -> None:
        """Ends a desk: states go out or are noted as behind, the roster learns the descriptions after the commit."""
        desk.close()
        account = desk.policy.account
        behind, described = dict(desk.behind), dict(desk.described)
        for text in desk.anomalies:
            log.warning("observation.anomaly", extra={"account": account, "text": text})

        def after() -> None:
            for device, age_ms in behind.items():
                self.on_behind(account, device, age_ms / 1000)
            for known in described.values():
                self._roster.learn(known)

        if behind or described:
            desk.tx.after_commit(after)

    async def flush_states(self, account: str, devices: Sequence[str]) -> None:
        """Publishes the states that were held back."""
        policy = self._roster.policy(account)

        def work(tx: Tx) -> None:
            desk = self.desk(tx, policy)
            for device in devices:
                row = desk.known_row(device)
                if row is not None and row.dirty:
                    desk.publish_state(row)
            desk.close()

        await self._store.run(work)

    async def describe_again(self, account: str) -> None:
        """Publishes what is known of the account's devices as today's rules want it: they may allow other commands
        than yesterday's, and the vendor may not answer for long."""
        policy = self._roster.policy(account)
        rows = await self._store.run(lambda tx: tx.devices.of_account(account))
        known = [row.device for row in rows if row.info is not None and policy.exposes(row.device)]

        def describe(tx: Tx, devices: Sequence[str]) -> None:
            desk = self.desk(tx, policy)
            for device in devices:
                row = desk.known_row(device)
                if row is not None:
                    desk.publish_info(row)
            self.close(desk)

        for at in range(0, len(known), INVENTORY_ROWS):
            some = known[at : at + INVENTORY_ROWS]
            await self._store.run(lambda tx, some=some: describe(tx, some))  # type: ignore[misc] # bound now

    async def take_inventory(self, account: str, devices: Sequence[Device]) -> list[Device]:
        """The account's devices as they are now: new ones are described, gone ones cleared. Returns them as they
        are known after the merge, in the given order. Several transactions where there are many: a command that
        arrives meanwhile waits for one of them only, and what a crash leaves undone the next inventory does."""
        policy = self._roster.policy(account)
        wanted = [device for device in devices if policy.exposes(device.native_id)]
        ids = {device.native_id for device in wanted}
        self._tell_unlisted(account, policy.unlisted(ids))

        def drop(tx: Tx) -> None:
            desk = self.desk(tx, policy)
            for row in tx.devices.of_account(account):
                if row.device not in ids:
                    desk.clear_device(row)

        await self._store.run(drop)
        known: list[Device] = []
        for at in range(0, len(wanted), INVENTORY_ROWS):
            some = wanted[at : at + INVENTORY_ROWS]
            known += await self._store.run(lambda tx, some=some: self._enter(tx, policy, some))  # type: ignore[misc] # bound now
        self._roster.replace(account, known)
        return known

    def _tell_unlisted(self, account: str, names: tuple[str, ...]) -> None:
        """Once per set: a serial number that is misspelt in the configuration would otherwise just never appear."""
        if names and self._unlisted.get(account) != names:
            extra = {"account": account, "devices": list(names), "key": "devices"}
            log.warning("inventory.unlisted", extra=extra)
        self._unlisted[account] = names

    def _enter(self, tx: Tx, policy: AccountPolicy, devices: Sequence[Device]) -> list[Device]:
        """Describes devices; returns them as they are known after the merge."""
        desk = self.desk(tx, policy)
        for device in devices:
            desk.describe(device)
            desk.publish_info(desk.row(device.native_id))
        self.close(desk)
        kind = self._roster.default_kind(policy.account)
        return [device_from(policy, desk.row(device.native_id), kind) for device in devices]

    def _take_one(self, desk: Desk, observation: Observation, taken: Taken) -> None:
        match observation:
            case Reading():
                taken.records.append(take_reading(desk, observation))
            case Words():
                take_words(desk, observation)
            case AlarmMessage():
                take_alarm(desk, observation)
            case Event():
                take_event(desk, observation)
            case Availability():
                take_availability(desk, observation)
            case Described():
                desk.describe(observation.device)
            case Confirmation():
                if self.confirms is not None:
                    self.confirms.by_confirmation(desk, observation)
            case _:
                assert_never(observation)
