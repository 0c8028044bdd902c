"""The desk: one transaction's view of an account, where observations become publications.

It loads each device row once, collects what changes, and writes it back at the end (`close`). All documents of a
device leave through `publish` and `retain`, so the ledger of retained topics is always exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from bridge.contract import payloads
from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.domain.account import AccountPolicy
from bridge.domain.device import BY_MEDIUM, Device, DeviceKind
from bridge.domain.observation import Value
from bridge.domain.text import Json, dumps
from bridge.domain.times import from_unix_ms, unix_ms
from bridge.store.protocols import DeviceRow, RetainedRow, Tx

CommandInfos = Callable[[Device], Mapping[str, Json]]
"""The `commands` of a device's `info`."""


class Announces(Protocol):
    """Who tells others of a device (`flow.discovery`)."""

    def announce(self, desk: Desk, row: DeviceRow, info: Mapping[str, Json]) -> None:
        """Within the desk's transaction; `info` is the device's document as it is published."""
        ...


class SeriesWatch(Protocol):
    """Who looks at the times of a device's records (`flow.gaps`)."""

    def live(
        self, desk: Desk, row: DeviceRow, before_ms: int | None, ts_ms: int, metrics: Mapping[str, Value]
    ) -> None:
        """A record that goes to `telemetry`; `before_ms` is the time of the one before it there."""
        ...

    def past(self, desk: Desk, row: DeviceRow, ts_ms: int, metrics: Mapping[str, Value]) -> None:
        """A record that goes to `history`, or that was known when a backfill brought it."""
        ...


Told = tuple[Device, Json, AccountPolicy]
"""A description, the row's `info` after it, and the rules under which that was made: the same again changes nothing."""
TOLD_MOST = 2048


@dataclass(slots=True)
class Desk:
    """Everything that taking in an account's observations needs, for the length of one transaction."""

    tx: Tx
    policy: AccountPolicy
    topics: Topics
    now: datetime
    kind: DeviceKind
    infos: CommandInfos
    state_interval_ms: int = 1000
    flat_metrics: bool = False
    announces: Announces | None = None
    series: SeriesWatch | None = None
    changed: set[str] = field(default_factory=set)
    behind: dict[str, int] = field(default_factory=dict)
    described: dict[str, Device] = field(default_factory=dict)
    undescribed: set[str] = field(default_factory=set)
    """Devices whose `info` does not yet name a metric that they have."""
    anomalies: list[str] = field(default_factory=list)
    fresh: int = 0
    """How many records were published."""
    told: dict[tuple[str, str], Told] = field(default_factory=dict)
    _rows: dict[str, DeviceRow] = field(default_factory=dict)
    now_ms: int = field(init=False)
    """The time of this transaction in Unix milliseconds."""

    def __post_init__(self) -> None:
        self.now_ms = unix_ms(self.now)

    def row(self, device: str) -> DeviceRow:
        """The device's row; made if the gateway meets it now."""
        row = self._rows.get(device)
        if row is None:
            row = self.tx.devices.open(self.policy.account, device) or DeviceRow(
                self.policy.account, device, met_ms=self.now_ms
            )
            if row.gone:  # it is back: its retained topics were cleared, and it may say nothing new for long
                row.gone, row.dirty = False, bool(row.metrics)
            self._rows[device] = row
        self.changed.add(device)
        return row

    def known_row(self, device: str) -> DeviceRow | None:
        """The row of a device that is there: unlike `row`, this brings no device back."""
        if device not in self._rows:
            kept = self.tx.devices.open(self.policy.account, device)
            if kept is None or kept.gone:
                return None
        return self.row(device)

    def device(self, row: DeviceRow) -> Device:
        """The device as it is described so far."""
        return device_from(self.policy, row, self.kind)

    def kind_of(self, row: DeviceRow) -> str:
        """The device's kind as it is described so far."""
        return str((row.info or {}).get("kind", self.kind))

    def describe(self, device: Device) -> None:
        """Merges a description; publishes `info` if it changed."""
        row = self.row(device.native_id)
        key = self.policy.account, device.native_id
        if row.info is not None and device.metrics and row.info["kind"] != device.kind:
            self._change_medium(row, device)
        known = self.told.get(key)
        if known is None or known[0] != device or known[1] is not row.info or known[2] is not self.policy:
            merged = merge_description(row.info, device, self.policy)
            merged["metrics"] += [name for name in row.metrics if name not in merged["metrics"]]
            row.info = merged if merged != row.info else row.info
            self._remember(key, (device, row.info, self.policy))
            if row.info is not merged and self.tx.retained.holds(self._topic(row, "info")):
                return
        elif self.tx.retained.holds(self._topic(row, "info")):
            return
        self.publish_info(row)

    def _change_medium(self, row: DeviceRow, device: Device) -> None:
        """What was the energy of an electricity meter is no number of a water meter: it goes, and nothing is kept of
        it that a metric of the new kind could be compared with."""
        if not {row.info["kind"], device.kind} <= BY_MEDIUM:
            return
        stays = frozenset(device.metrics)
        for name in [name for name in row.metrics if name not in stays]:
            for kept in (row.metrics, row.held, row.evented):
                kept.pop(name, None)
            if self.tx.retained.holds(topic := self._topic(row, f"state/{name}")):
                clear(self.tx, RetainedRow(topic, self.policy.account, row.device, b""))
        row.info = {**row.info, "metrics": [], "units": {}}
        row.dirty = row.dirty or self.tx.retained.holds(self._topic(row, "state"))

    def _remember(self, key: tuple[str, str], told: Told) -> None:
        while len(self.told) >= TOLD_MOST:
            self.told.pop(next(iter(self.told)))
        self.told[key] = told

    def met(self, row: DeviceRow, names: Sequence[str]) -> None:
        """The device has these metrics for the first time. They join its `info` when the desk is closed: what
        describes the device may follow in the same transaction."""
        if not names or row.info is None:
            return
        known = row.info.get("metrics", [])
        if more := [name for name in names if name not in known]:
            row.info = {**row.info, "metrics": [*known, *more]}
            self.undescribed.add(row.device)

    def publish_info(self, row: DeviceRow) -> None:
        """`info` of the device and its announcement, as far as they differ from what is published."""
        self.undescribed.discard(row.device)
        device = self.device(row)
        self.described[row.device] = device
        document = payloads.info(device, self.infos(device), self.policy.customer_data)
        self.retain(row, "info", dumps(document), Class.META)
        if self.announces is not None:
            self.announces.announce(self, row, document)

    def publish(self, row: DeviceRow, leaf: str, document: Mapping[str, Any], klass: Class) -> None:
        """One message of a device, not retained."""
        self.tx.outbox.add(
            Publication(
                self._topic(row, leaf),
                dumps(document),
                klass,
                account=self.policy.account,
                device=row.device,
            )
        )

    def retain(self, row: DeviceRow, leaf: str, body: bytes, klass: Class) -> None:
        """One retained message of a device, if it differs from what is published there."""
        retain(self.tx, self._topic(row, leaf), body, klass, self.policy.account, row.device)

    def mark_dirty(self, row: DeviceRow) -> None:
        """The state topic is behind: it goes out at once if the interval has passed, else later."""
        row.dirty = True

    def close(self) -> None:
        """Publishes the descriptions that grew and the states that are due, and writes the rows back."""
        for device in sorted(self.changed):
            row = self._rows[device]
            if device in self.undescribed:
                self.publish_info(row)
            if row.dirty:
                age_ms = self.now_ms - row.state_ms
                if 0 <= age_ms < self.state_interval_ms:
                    self.behind[device] = self.state_interval_ms - age_ms
                else:
                    self.publish_state(row)
            self.tx.devices.save(row)

    def publish_state(self, row: DeviceRow) -> None:
        """The merged state, and with `flat_metrics` each metric alone."""
        newest = max((int(entry[1]) for entry in row.metrics.values()), default=self.now_ms)
        values = {name: entry[0] for name, entry in row.metrics.items()}
        document = payloads.state(
            account=self.policy.account,
            vendor=self.policy.vendor,
            device=row.device,
            kind=self.kind_of(row),
            ts=from_unix_ms(newest),
            metrics=values,
            alarms=[alarm.code for alarm in self.tx.alarms.active(self.policy.account, row.device)],
        )
        self.retain(row, "state", dumps(document), Class.STATE)
        if self.flat_metrics:
            for name, value in values.items():
                self.retain(row, f"state/{name}", dumps(value), Class.STATE)
        row.dirty = False
        row.state_ms = self.now_ms

    def clear_device(self, row: DeviceRow) -> None:
        """The device is gone: its retained topics are cleared, exactly those of the ledger."""
        for kept in self.tx.retained.all(self.policy.account, row.device):
            clear(self.tx, kept)
        row.gone = True
        row.dirty = False
        self.changed.discard(row.device)
        self.tx.devices.save(row)

    def _topic(self, row: DeviceRow, leaf: str) -> str:
        return self.topics.device(self.policy.account, row.device, leaf)


def retain(
    tx: Tx, topic: str, body: bytes, klass: Class = Class.META, account: str = "", device: str = ""
) -> bool:
    """A retained message and its line in the ledger; False if exactly this is published there already."""
    if tx.retained.holds(topic, body):
        return False
    tx.retained.put(RetainedRow(topic, account, device, body))
    tx.outbox.add(Publication(topic, body, klass, retain=True, account=account, device=device))
    return True


def clear(tx: Tx, kept: RetainedRow) -> None:
    """A retained topic of ours that is no longer: an empty retained message, and out of the ledger."""
    tx.outbox.add(
        Publication(kept.topic, b"", Class.META, retain=True, account=kept.account, device=kept.device)
    )
    tx.retained.drop(kept.topic)


_TEXTS = ("name", "model", "manufacturer", "address", "serial", "firmware", "parent")


def merge_description(before: Json, device: Device, policy: AccountPolicy) -> dict[str, Any]:
    """What is known of a device after one more description. What is None or empty erases nothing; the name of the
    configuration wins; customer data is not even kept unless the account wants it."""
    merged: dict[str, Any] = dict(before or {})
    merged["kind"] = str(device.kind)
    for key in _TEXTS:
        if getattr(device, key) is not None:
            merged[key] = getattr(device, key)
    # the vendor's own name is kept beside the configured one, which may go again
    merged["vendor_name"] = device.name if device.name is not None else merged.get("vendor_name")
    merged["name"] = policy.names.get(device.native_id, merged["vendor_name"])
    known = merged.get("metrics", [])
    merged["metrics"] = [*known, *(name for name in device.metrics if name not in known)]
    told = {name: unit for name, unit in merged.get("units", {}).items() if name not in device.metrics}
    merged["units"] = {**told, **device.units}
    merged["vendor_info"] = {**merged.get("vendor_info", {}), **device.vendor_info}
    customer = {**merged.get("customer_info", {}), **device.customer_info} if policy.customer_data else {}
    merged["customer_info"] = customer
    return merged


def device_from(policy: AccountPolicy, row: DeviceRow, kind: DeviceKind) -> Device:
    """The row's description as a Device; `kind` where it has none yet."""
    info = row.info or {}
    return Device(
        account=policy.account,
        vendor=policy.vendor,
        native_id=row.device,
        kind=DeviceKind(info.get("kind", kind)),
        metrics=tuple(info.get("metrics", ())),
        units=info.get("units", {}),
        vendor_info=info.get("vendor_info", {}),
        customer_info=info.get("customer_info", {}) if policy.customer_data else {},
        **{key: info.get(key) for key in _TEXTS},
    )
