"""The running accounts: they begin, they end, and a new configuration is followed without stopping the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridge.app.accounts import RETIRE_S, Account, Surroundings, build_account, default_kind
from bridge.app.ledgers import StoreLedger
from bridge.config import Configuration
from bridge.domain.errors import VendorError
from bridge.domain.observation import Observation
from bridge.flow.backfill import Backfill
from bridge.flow.desk import clear, device_from
from bridge.flow.gaps import Rhythm
from bridge.flow.history import HistoryExecutor
from bridge.flow.inventory import InventoryExecutor
from bridge.pace.gate import SlotNote
from bridge.ports import Executor
from bridge.push.doors import Door
from bridge.store.protocols import Tx
from bridge.vendorkit.settings import AccountSettings
from bridge.vendorkit.spec import VendorSpec


@dataclass(frozen=True, slots=True)
class Difference:
    """What a new configuration means for the accounts, by their ids."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


class Fleet:
    """All accounts of one gateway, by id. `accounts` is read by whoever reports on them."""

    def __init__(self, vendors: Mapping[str, VendorSpec], around: Surroundings) -> None:
        self._vendors = vendors
        self._around = around
        self._retired: set[asyncio.Task[None]] = set()
        self.accounts: dict[str, Account] = {}

    async def begin(self, configuration: Configuration) -> None:
        """All accounts of a configuration, known and not yet polling."""
        notes = await StoreLedger(self._around.store).read()
        for settings in configuration.accounts:
            await self._begin(settings, configuration, notes)

    def start(self) -> None:
        """They begin to poll."""
        for account in self.accounts.values():
            account.start()

    async def stop(self) -> None:
        """They end polling; commands under way go on."""
        for account in self.accounts.values():
            await account.stop()

    async def aclose(self) -> None:
        """Closes all connections."""
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        for account in self.accounts.values():
            await account.aclose()

    async def follow(self, old: Configuration, new: Configuration) -> Difference:
        """Accounts that are gone end and are cleared, changed ones end and begin anew, new ones begin."""
        difference = compare(old, new)
        for name in difference.removed:
            await self._end(name)
            self._around.roster.leave(name)
            self._around.health.leave(name)
            await self._around.store.run(lambda tx, gone=name: clear_account(tx, gone))  # type: ignore[misc] # bound now
        for name in difference.changed:
            await self._end(name)
        self._around.fresh_store = False
        notes = await StoreLedger(self._around.store).read()
        after = {settings.id: settings for settings in new.accounts}
        for name in (*difference.changed, *difference.added):
            (await self._begin(after[name], new, notes)).start()
        return difference

    def doors(self) -> list[Door]:
        """The entrances for pushes."""
        return [door for account in self.accounts.values() if (door := account.door()) is not None]

    async def refresh(self, name: str) -> int:
        """Reads an account's inventory now; returns the number of devices. Raises VendorError, StoreError."""
        return await self.accounts[name].poller.refresh()

    def heard(self, name: str, observation: Observation) -> None:
        """An observation of this account was taken in: what was pushed need not be polled."""
        if name in self.accounts:
            self.accounts[name].poller.heard(observation)

    async def _begin(
        self, settings: AccountSettings, configuration: Configuration, notes: Sequence[SlotNote]
    ) -> Account:
        spec = self._vendors[settings.vendor]
        account = build_account(settings, spec, configuration, self._around, notes)
        self.accounts[settings.id] = account
        executor: Executor = account.adapter
        backfill, source = self._around.backfill, account.source()
        if backfill is not None:
            executor = HistoryExecutor(settings.id, account.adapter, backfill)
        executor = InventoryExecutor(executor, account.poller.enter)
        self._around.roster.enter(account.policy, executor, default_kind(spec))
        self._around.health.enter(settings.id)
        await self._recall_devices(account)
        if spec.local_inventory:
            with contextlib.suppress(VendorError):
                await account.poller.refresh()
        if backfill is not None and source is not None:
            backfill.enter(settings.id, source)
        if backfill is not None and self._around.ledger is not None:
            self._around.ledger.enter(settings.id, _rhythm(account, backfill))
        return account

    async def _recall_devices(self, account: Account) -> None:
        """The devices that were known before: commands to them are understood before the vendor has answered."""
        name, kind = account.settings.id, default_kind(account.spec)
        rows = await self._around.store.run(lambda tx: list(tx.devices.of_account(name)))
        known = [device_from(account.policy, row, kind) for row in rows if account.policy.exposes(row.device)]
        self._around.roster.replace(name, known)
        await self._around.intake.describe_again(name)

    async def _end(self, name: str) -> None:
        """Of a changed account the roster keeps what it knows, so that no command falls into the gap."""
        account = self.accounts.pop(name)
        if self._around.backfill is not None:
            await self._around.backfill.leave(name)
        await account.stop()
        task = asyncio.get_running_loop().create_task(self._retire(account), name=f"retire-{name}")
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def _retire(self, account: Account) -> None:
        """Calls under way get their answer before the connections close."""
        try:
            await self._around.clock.sleep(RETIRE_S)
        finally:
            await account.aclose()


def _rhythm(account: Account, backfill: Backfill) -> Rhythm:
    name = account.settings.id

    def usual_s(device: str) -> float | None:
        reach = backfill.reach(name, device)
        return reach.interval_s if reach is not None else None

    keeps = account.adapter.history is not None
    return Rhythm(account.poller.interval_s, usual_s, lambda _device: keeps)


def compare(old: Configuration, new: Configuration) -> Difference:
    """Which accounts a new configuration adds, changes and removes; other rules for commands change all of them."""
    before = {settings.id: settings for settings in old.accounts}
    after = {settings.id: settings for settings in new.accounts}
    rules = (old.commands.allow, old.commands.confirm) != (new.commands.allow, new.commands.confirm)
    return Difference(
        added=tuple(name for name in after if name not in before),
        changed=tuple(name for name in after if name in before and (rules or before[name] != after[name])),
        removed=tuple(name for name in before if name not in after),
    )


def clear_account(tx: Tx, name: str) -> None:
    """An account is gone: its retained topics are cleared, its devices are known no longer."""
    for kept in tx.retained.all(name):
        clear(tx, kept)
    for row in tx.devices.of_account(name):
        row.gone = True
        row.dirty = False
        tx.devices.save(row)
