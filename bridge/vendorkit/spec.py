"""What a vendor folder declares (VendorSpec) and what it is given (Kit)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from bridge.domain.account import AccountPolicy
from bridge.domain.device import DeviceKind
from bridge.domain.text import Json
from bridge.pace.limits import Limit
from bridge.ports import Clock, Rng, VendorAdapter
from bridge.vendorkit.http import VendorHttp
from bridge.vendorkit.settings import AccountSettings


class Vault(Protocol):
    """Small values of one account that survive a restart: tokens, positions in a list. Never published."""

    async def get(self, key: str) -> Json:
        """The value kept under this key, or None."""
        ...

    async def put(self, key: str, value: Json) -> None:
        """Keeps a JSON value; on disk when it returns. None forgets the key."""
        ...


@dataclass(frozen=True, slots=True)
class Kit:
    """Everything that a vendor's adapter may touch. `endpoint_closed` tells the operator (`bridge/event`), in words,
    that a part of the vendor's API is closed to the account; each part once, the adapter sees to that."""

    http: VendorHttp
    clock: Clock
    rng: Rng
    log: logging.Logger
    vault: Vault
    policy: AccountPolicy
    endpoint_closed: Callable[[str], None] = lambda _message: None


@runtime_checkable
class HoldsToken(Protocol):
    """An adapter whose vendor says how long its access token lasts."""

    @property
    def token_expires_at(self) -> datetime | None:
        """When the token that it has now expires; None while it has none or nobody said."""
        ...


@dataclass(frozen=True, slots=True)
class VendorSpec:
    """One vendor. `settings` is its account settings class, `limits` its limits for such an account (before the
    account's own `limits` lower them), `build` makes the adapter of one account. `local_inventory`: the devices stand
    in the configuration, no call is needed to know them. `specimen`: the settings of an invented account that uses all
    of what the vendor offers, without `id` and `vendor`; documents are made from it. `default_kind`: that of a device
    of which nothing else is known, where the vendor has several."""

    name: str
    title: str
    settings: type[AccountSettings]
    kinds: frozenset[DeviceKind]
    limits: Callable[[Any], Sequence[Limit]]
    build: Callable[[Any, Kit], VendorAdapter]
    local_inventory: bool = False
    specimen: Mapping[str, Json] = field(default_factory=dict)
    default_kind: DeviceKind | None = None
