"""Who is there: accounts with their adapters and rules, devices with what they take. In memory, read by every door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bridge.contract.payloads import command_info
from bridge.domain.account import AccountPolicy
from bridge.domain.command import CommandSpec
from bridge.domain.device import Device, DeviceKind
from bridge.domain.ids import topic_level
from bridge.domain.text import Json
from bridge.ports import Executor


@dataclass(slots=True)
class _Account:
    policy: AccountPolicy
    executor: Executor
    kind: DeviceKind
    devices: dict[str, Device] = field(default_factory=dict)
    levels: dict[str, str] = field(default_factory=dict)


class Roster:
    """Accounts and devices. Changed in the event loop only; single look-ups may come from the store's thread."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._infos: dict[tuple[str, str], Json] = {}

    def enter(self, policy: AccountPolicy, executor: Executor, kind: DeviceKind) -> None:
        """An account begins, or goes on under other rules: the devices it had stay until `replace`."""
        before = self._accounts.get(policy.account)
        entry = _Account(policy, executor, kind)
        if before is not None:
            entry.devices, entry.levels = before.devices, before.levels
        self._accounts[policy.account] = entry

    def leave(self, account: str) -> None:
        """An account ends."""
        self._accounts.pop(account, None)

    def accounts(self) -> Sequence[AccountPolicy]:
        """The rules of all accounts."""
        return [entry.policy for entry in self._accounts.values()]

    def has(self, account: str) -> bool:
        """Whether this gateway has such an account."""
        return account in self._accounts

    def policy(self, account: str) -> AccountPolicy:
        """The rules of an account that is there."""
        return self._accounts[account].policy

    def executor(self, account: str) -> Executor | None:
        """Who carries out the account's commands."""
        entry = self._accounts.get(account)
        return entry.executor if entry else None

    def default_kind(self, account: str) -> DeviceKind:
        """The kind of a device that has no description yet. The account may just have left: the store's thread asks."""
        entry = self._accounts.get(account)
        return entry.kind if entry else DeviceKind.METER

    def devices(self, account: str) -> Sequence[Device]:
        """The devices of an account."""
        entry = self._accounts.get(account)
        return list(entry.devices.values()) if entry else []

    def device(self, account: str, native_id: str) -> Device | None:
        """By the vendor's id."""
        entry = self._accounts.get(account)
        return entry.devices.get(native_id) if entry else None

    def by_level(self, account: str, level: str) -> Device | None:
        """By its topic level."""
        entry = self._accounts.get(account)
        if entry is None or level not in entry.levels:
            return None
        return entry.devices.get(entry.levels[level])

    def learn(self, device: Device) -> None:
        """A device is new or better known."""
        entry = self._accounts.get(device.account)
        if entry is not None:
            entry.devices[device.native_id] = device
            entry.levels[topic_level(device.native_id)] = device.native_id

    def replace(self, account: str, devices: Sequence[Device]) -> None:
        """The inventory: these devices and no others."""
        entry = self._accounts.get(account)
        if entry is None:
            return
        entry.devices = {device.native_id: device for device in devices}
        entry.levels = {topic_level(device.native_id): device.native_id for device in devices}

    def command_infos(self, device: Device) -> Mapping[str, Json]:
        """The `commands` of a device's `info`: what it takes and the configuration allows."""
        entry = self._accounts.get(device.account)
        if entry is None:
            return {}
        return {
            name: self._info(device.vendor, spec)
            for name, spec in entry.executor.commands(device).items()
            if entry.policy.allows(name)
        }

    def _info(self, vendor: str, spec: CommandSpec) -> Json:
        key = (vendor, f"{spec.name}:{spec.params.__qualname__}:{spec.description}")
        if key not in self._infos:
            self._infos[key] = command_info(spec)
        return self._infos[key]
