"""An account as a visitor builds it: outside of the gateway, but within the vendor's limits and its own tokens.

What the gateway has on disk is read (calls made, tokens fetched) and never written: the gateway may be running.
"""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from bridge.app.accounts import default_kind
from bridge.cli.archive import Archive
from bridge.config import Configuration, effective_limits
from bridge.domain.account import AccountPolicy
from bridge.domain.device import Device
from bridge.domain.text import Json
from bridge.flow.desk import device_from
from bridge.ops.clock import SystemClock
from bridge.pace.gate import AccountGate, SharedSlots, SlotNote
from bridge.pace.limits import Limit
from bridge.ports import VendorAdapter
from bridge.store.protocols import DeviceRow
from bridge.vendorkit.http import VendorHttp
from bridge.vendorkit.settings import AccountSettings
from bridge.vendorkit.spec import Kit, VendorSpec
from bridge.vendors import VENDORS


class _MemoryLedger:
    """SlotLedger of one short visit."""

    async def add(self, notes: Sequence[SlotNote]) -> None:
        return None

    async def remove(self, notes: Sequence[SlotNote]) -> None:
        return None


@dataclass(slots=True)
class _BorrowedVault:
    """Vault that reads the gateway's values and keeps new ones to itself."""

    account: str
    archive: Archive | None
    own: dict[str, Json] = field(default_factory=dict)

    async def get(self, key: str) -> Json:
        if key in self.own or self.archive is None:
            return self.own.get(key)
        return self.archive.vault.get(self.account, key)

    async def put(self, key: str, value: Json) -> None:
        self.own[key] = value


@dataclass(slots=True)
class Visit:
    """One account. `aclose` it."""

    settings: AccountSettings
    spec: VendorSpec
    policy: AccountPolicy
    limits: tuple[Limit, ...]
    gate: AccountGate
    http: VendorHttp
    adapter: VendorAdapter
    rows: dict[str, DeviceRow]

    async def devices(self) -> list[Device] | None:
        """The devices as far as they are known without asking anybody; None if nothing is known."""
        if self.spec.local_inventory:
            known = [device for device in await self.adapter.inventory() if self.exposes(device.native_id)]
            return [self._completed(device) for device in known]
        if self.rows:
            return [device_from(self.policy, row, default_kind(self.spec)) for row in self.rows.values()]
        return None

    def named_devices(self) -> list[Device]:
        """Where nothing is known: the devices that the configuration names one by one, of the vendor's usual kind."""
        plain = [name for name in self.policy.include if not any(mark in name for mark in "*?[")]
        kind = default_kind(self.spec)
        return [
            Device(self.settings.id, self.settings.vendor, name, kind) for name in plain if self.exposes(name)
        ]

    async def ask_devices(self) -> list[Device]:
        """The devices as the vendor tells them, within its limits. Raises VendorError."""
        return [device for device in await self.adapter.inventory() if self.exposes(device.native_id)]

    def exposes(self, native_id: str) -> bool:
        """Whether the configuration wants this device."""
        return self.policy.exposes(native_id)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.gate.aclose()
        await self.http.aclose()

    def _completed(self, device: Device) -> Device:
        row = self.rows.get(device.native_id)
        return device if row is None else device_from(self.policy, row, device.kind)


def visits(configuration: Configuration, archive: Archive | None) -> list[Visit]:
    """All accounts, in the order of the configuration. No call leaves before something is asked."""
    shared: SharedSlots = {}
    tls = ssl.create_default_context()
    notes = archive.slots() if archive else []
    return [
        _visit(settings, configuration, archive, notes, shared, tls) for settings in configuration.accounts
    ]


def _visit(
    settings: AccountSettings,
    configuration: Configuration,
    archive: Archive | None,
    notes: Sequence[SlotNote],
    shared: SharedSlots,
    tls: ssl.SSLContext,
) -> Visit:
    spec = VENDORS[settings.vendor]
    clock = SystemClock()
    policy = settings.policy(configuration.commands.allow, configuration.commands.confirm)
    limits = effective_limits(settings, spec)
    gate = AccountGate(
        settings.id,
        limits,
        clock,
        _MemoryLedger(),
        notes=notes,
        fresh=archive is None,
        shared=shared,
        vendor=settings.vendor,
    )
    http = VendorHttp(getattr(settings, "base_url", ""), gate, clock, tls=tls)
    kit = Kit(
        http=http,
        clock=clock,
        rng=random.Random(),  # noqa: S311 - spreads load, hides nothing
        log=logging.getLogger(f"bridge.vendors.{settings.vendor}"),
        vault=_BorrowedVault(settings.id, archive),
        policy=policy,
    )
    rows = archive.devices.of_account(settings.id) if archive else ()
    known = {row.device: row for row in rows if policy.exposes(row.device)}
    return Visit(settings, spec, policy, limits, gate, http, spec.build(settings, kit), known)
