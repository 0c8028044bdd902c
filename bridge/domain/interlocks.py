"""What a command does to a device, and what the operator forbids beyond the vendor's own rules. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase

LONGEST_SWITCH_INTERVAL_S = 86400.0
"""The largest `min_switch_interval_s`: what moved something is remembered for twice as long."""


class Deed(StrEnum):
    """What a command does to a device, as far as interlocks care."""

    SWITCH_ON = "switch_on"
    SWITCH_OFF = "switch_off"
    VALVE_OPEN = "valve_open"
    VALVE_CLOSE = "valve_close"
    RECHARGE = "recharge"

    @property
    def switches(self) -> bool:
        """Whether a contact or a valve moves."""
        return self is not Deed.RECHARGE


@dataclass(frozen=True, slots=True)
class Act:
    """One deed of a command. `amount`: what is recharged, as the meter counts; None where it cannot be read.
    `after_s`: so long after the command. `device`: another one than the command's own."""

    deed: Deed
    amount: Decimal | None = None
    after_s: int = 0
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What is forbidden for one device; None and empty: nothing.

    `min_switch_interval_s`: least time between two switchings. `max_recharge`, `max_recharge_per_day`: largest amounts.
    `max_load_w`, `max_load_a`: nothing is switched on above this last known load, nor when it is not known or older
    than `max_load_age_s`. `confirm`: commands that need a confirmation.
    """

    min_switch_interval_s: float | None = None
    max_recharge: Decimal | None = None
    max_recharge_per_day: Decimal | None = None
    max_load_w: Decimal | None = None
    max_load_a: Decimal | None = None
    max_load_age_s: float | None = None
    confirm: frozenset[str] = frozenset()

    def under(self, wider: Rules) -> Rules:
        """These rules, and where they say nothing the wider ones; confirmations add up."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "confirm"}
        own = {name: value for name, value in given.items() if value is not None}
        return replace(wider, **own, confirm=wider.confirm | self.confirm)

    @property
    def watch_switching(self) -> bool:
        """Whether a switching can be refused."""
        return any(
            rule is not None for rule in (self.min_switch_interval_s, self.max_load_w, self.max_load_a)
        )

    @property
    def watch_recharges(self) -> bool:
        """Whether a recharge can be refused."""
        return self.max_recharge is not None or self.max_recharge_per_day is not None


@dataclass(frozen=True, slots=True)
class Interlocks:
    """The rules of an account, and of single devices (ids or patterns). `zone`: where its days begin."""

    rules: Rules = field(default_factory=Rules)
    devices: Mapping[str, Rules] = field(default_factory=dict)
    zone: str = "UTC"

    @property
    def watching(self) -> bool:
        """Whether what happened before decides about anything."""
        return any(
            rules.watch_switching or rules.watch_recharges for rules in (self.rules, *self.devices.values())
        )

    def of(self, device: str | None) -> Rules:
        """The rules of a device: its own over the account's. The id itself wins over patterns, and of these the first
        that matches."""
        if device is None or not self.devices:
            return self.rules
        own = self.devices.get(device)
        if own is None:
            own = next((rules for name, rules in self.devices.items() if fnmatchcase(device, name)), Rules())
        return own.under(self.rules)
