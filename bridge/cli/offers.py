"""Every command that a gateway takes, from the models that take them: a gateway with one invented account per vendor is
put together, asked, and taken apart. It calls nobody and never meets a broker."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.app.gateway import Gateway, Source
from bridge.domain.command import CommandSpec
from bridge.domain.device import Device
from bridge.domain.ids import GATEWAY
from bridge.ports import Executor
from bridge.vendorkit.spec import VendorSpec


@dataclass(frozen=True, slots=True)
class Offer:
    """One command of one vendor (or of the gateway: `vendor` None) under one set of parameters."""

    vendor: str | None
    kinds: tuple[str, ...]
    spec: CommandSpec


@dataclass(frozen=True, slots=True)
class Offers:
    """Command name → who offers it, for devices, accounts and the gateway."""

    device: Mapping[str, list[Offer]]
    account: Mapping[str, list[Offer]]
    gateway: Mapping[str, list[Offer]]


async def offers(vendors: Mapping[str, VendorSpec]) -> Offers:
    """All of them. Raises ConfigError if a vendor's `specimen` is none."""
    with tempfile.TemporaryDirectory(prefix="meterbridge-offers-") as folder:
        source = Source(_written(Path(folder), vendors), vendors, {})
        gateway = Gateway(source, source.read())
        try:
            await gateway.start()
            return _read(gateway, vendors)
        finally:
            await gateway.stop()


def _written(folder: Path, vendors: Mapping[str, VendorSpec]) -> Path:
    """A configuration file; JSON is YAML too."""
    accounts = [{"id": name, "vendor": name, **spec.specimen} for name, spec in vendors.items()]
    whole = {
        "mqtt": {"url": "mqtt://localhost:1"},
        "http": {"listen": "off"},
        "state": {"url": f"sqlite:///{folder}/state.db"},
        "accounts": accounts,
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


def _read(gateway: Gateway, vendors: Mapping[str, VendorSpec]) -> Offers:
    device: dict[str, list[Offer]] = {}
    account: dict[str, list[Offer]] = {}
    for name, vendor in vendors.items():
        executor = _executor(gateway, name)
        for kind in sorted(vendor.kinds):
            for spec in executor.commands(Device(name, name, "specimen", kind)).values():
                _add(device.setdefault(spec.name, []), name, str(kind), spec)
        for spec in executor.commands(None).values():
            _add(account.setdefault(spec.name, []), name, "", spec)
    own = _executor(gateway, GATEWAY).commands(None)
    mine = {spec.name: [Offer(None, (), spec)] for spec in own.values()}
    return Offers(dict(sorted(device.items())), dict(sorted(account.items())), mine)


def _executor(gateway: Gateway, account: str) -> Executor:
    executor = gateway.roster.executor(account)
    if executor is None:
        raise LookupError(account)
    return executor


def _add(known: list[Offer], vendor: str, kind: str, spec: CommandSpec) -> None:
    """The same command on another kind of the vendor's devices is the same offer."""
    for at, offer in enumerate(known):
        if offer.vendor == vendor and offer.spec.schema() == spec.schema():
            known[at] = Offer(vendor, (*offer.kinds, kind), offer.spec)
            return
    known.append(Offer(vendor, (kind,) if kind else (), spec))
