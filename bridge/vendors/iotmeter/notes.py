"""What one account remembers between its calls: kinds of devices, devices met in pushes, searches without result."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from bridge.domain.device import DeviceKind
from bridge.domain.text import Json
from bridge.domain.times import parse_rfc3339, rfc3339
from bridge.ports import OWN_REFERENCES
from bridge.vendorkit.spec import Vault

MET_FOR = timedelta(days=30)
"""How long a device that only pushes know stays in the inventory after the last push about it."""

OWN_KEPT = 1000
"""How many of the gateway's own tasks are remembered."""

_KEY = "met"


class Notes:
    """RTUs have no readings, so the platform's list of readings does not name them: those met in pushes are kept.

    `has_new`: a push spoke of a device that nobody else knows. It has to be saved before the push is answered, else the
    next start would not find it in the inventory, and clear it until it pushes again.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._kinds: dict[str, DeviceKind] = {}
        self._listed: frozenset[str] = frozenset()
        self._met: dict[str, datetime] = {}
        self._told: dict[str, datetime] = {}
        self._loaded = False
        self._unsaved = False
        self._saving = asyncio.Lock()
        self._knows_list = False
        self.has_new = False
        self._absent: dict[str, float] = {}

    def kind(self, device: str) -> DeviceKind | None:
        """What is known of the device's kind."""
        return self._kinds.get(device)

    def learn(self, device: str, kind: DeviceKind) -> None:
        """The platform told the kind of a device."""
        self._kinds[device] = kind

    def listed(self, devices: Iterable[str]) -> None:
        """The platform's own list, complete."""
        self._listed = frozenset(devices)
        self._knows_list = True
        for device in self._listed & self._met.keys():
            del self._met[device]
            self._unsaved = True

    def meet(self, device: str, heard_at: datetime, told_at: datetime) -> None:
        """A push of `told_at` spoke of this device, of which the platform last heard at `heard_at`."""
        if device in self._listed:
            return
        before = self._met.get(device)
        self._met[device] = max(before, heard_at) if before is not None else heard_at
        self._told[device] = told_at
        self._unsaved = True
        self.has_new = self.has_new or (before is None and self._knows_list)

    async def met(self, now: datetime) -> dict[str, datetime]:
        """The devices that pushes spoke of and the platform does not list, with the time of their last word."""
        await self._load()
        gone = [device for device, at in self._met.items() if self._told.get(device, at) < now - MET_FOR]
        for device in gone:
            del self._met[device]
            self._unsaved = True
        return dict(self._met)

    async def save(self) -> None:
        """Keeps the devices met over a restart, on disk when it returns; writes only what changed."""
        async with self._saving:
            if not self._unsaved:
                return
            await self._load()
            self._unsaved = self.has_new = False
            kept: Json = {
                device: [
                    rfc3339(at),
                    str(self._kinds.get(device, DeviceKind.GAS_METER)),
                    rfc3339(self._told.get(device, at)),
                ]
                for device, at in self._met.items()
            }
            try:
                await self._vault.put(_KEY, kept)
            except BaseException:
                self._unsaved = self.has_new = True
                raise

    def absent(self, order_id: str, monotonic_s: float) -> float:
        """A search for a task found nothing; returns for how many seconds that has been so."""
        return monotonic_s - self._absent.setdefault(order_id, monotonic_s)

    def present(self, order_id: str) -> None:
        """The task was found, or its command has ended."""
        self._absent.pop(order_id, None)

    async def own(self, ctrl_ids: Iterable[int]) -> None:
        """These tasks were made by the gateway, beside the commands themselves: a report of them is nobody else's."""
        kept = await self._vault.get(OWN_REFERENCES)
        known: list[Json] = kept if isinstance(kept, list) else []
        new = [ctrl_id for ctrl_id in ctrl_ids if ctrl_id > 0 and ctrl_id not in known]
        if new:
            await self._vault.put(OWN_REFERENCES, [*known, *new][-OWN_KEPT:])

    async def _load(self) -> None:
        if self._loaded:
            return
        kept = await self._vault.get(_KEY)
        self._loaded = True
        for device, entry in kept.items() if isinstance(kept, dict) else ():
            try:
                at, kind = parse_rfc3339(entry[0]), DeviceKind(entry[1])
                told_at = parse_rfc3339(entry[2]) if len(entry) > 2 else at
            except (ValueError, TypeError, IndexError):
                continue
            self._kinds.setdefault(device, kind)
            if device not in self._listed and device not in self._met:
                self._met[device], self._told[device] = at, told_at
