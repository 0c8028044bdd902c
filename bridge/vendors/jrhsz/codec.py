"""The platform's rows as observations (page jrhsz, sections 4, 6 and 8). Pure: times and rules come in.

Units: registers are kWh or m³, powers arrive in kW and kvar and leave in W and var. Local times leave as UTC.
A value that is missing, empty or no number is absent, never 0 (Q7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal

from bridge.domain.account import AccountPolicy
from bridge.domain.device import Device, DeviceKind
from bridge.domain.observation import Availability, Event, Observation, Origin, Reading, Value, Words
from bridge.domain.text import Json, number, plain
from bridge.domain.times import rfc3339
from bridge.vendors.jrhsz.catalogue import (
    GATE_METRIC,
    GATE_WORDS,
    IMAGE_GOOD,
    MODELS,
    NET_WORDS,
    TIME_OF_USE,
    kind_of,
)
from bridge.vendors.jrhsz.wire import Row

COUNTER: Mapping[DeviceKind, str] = {
    DeviceKind.ELECTRICITY_METER: "import_energy",
    DeviceKind.WATER_METER: "water_volume",
    DeviceKind.METER: "reading",
}

_REGISTERS: Mapping[str, str] = {
    "positiveActivePower": "import_energy",
    "positiveActivePower1": "import_energy_sharp",
    "positiveActivePower2": "import_energy_peak",
    "positiveActivePower3": "import_energy_flat",
    "positiveActivePower4": "import_energy_valley",
}
_PLAIN: Mapping[str, str] = {
    f"{field}{phase}": f"{name}_{phase.lower()}"
    for field, name in (("volt", "voltage"), ("electric", "current"))
    for phase in "ABC"
}
_KILO: Mapping[str, str] = {
    "totalActivePower": "active_power",
    "totalReactivePower": "reactive_power",
    **{f"activePower{phase}": f"active_power_{phase.lower()}" for phase in "ABC"},
    **{f"reactivePower{phase}": f"reactive_power_{phase.lower()}" for phase in "ABC"},
}
_CUSTOMER = frozenset({"user_code", "user_name", "house_number"})
_LIKE_CUSTOMER = frozenset(name.replace("_", "") for name in _CUSTOMER)
_IDENTITY = frozenset(
    {"project_code", "deviceId", "deviceName", "tableNo", "tableAddress", "tableType", "typeType", "imei"}
)
_KNOWN_METER = _IDENTITY | {"onlineAt", "netStatis", "gate", "type"}
_KNOWN_STORED = _IDENTITY | {"reading", "readTime"}
_KNOWN_LATEST = _KNOWN_STORED | {"gate"}
_KNOWN_CONSUMED = _KNOWN_STORED | {"dosage", "amount", "amout", "type"}
_KNOWN_HOURLY = _IDENTITY | {"createTime", "freezeTime", *_REGISTERS, *_PLAIN, *_KILO}
_KNOWN_IMAGE = _IDENTITY | {"imageReadTime", "basicReading"}
_TYPES = ("tableType", "typeType", "type")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)\Z", re.ASCII)
_LARGEST = 10**30


@dataclass(frozen=True, slots=True)
class Meter:
    """One row of the inventory (4.2): the device, and what is said about it without a time of its own."""

    device: Device
    type_code: int | None
    words: Words
    availability: Availability | None
    extra: Mapping[str, Json] = field(default_factory=dict)

    def observations(self) -> list[Observation]:
        """What the platform says about it now."""
        said: list[Observation] = [] if self.availability is None else [self.availability]
        return [*said, self.words] if self.words.metrics else said


@dataclass(frozen=True, slots=True)
class Codec:
    """The rows of one account. `kind` is always the device's, by the inventory."""

    policy: AccountPolicy
    zone: tzinfo
    power_scale: Decimal = Decimal(1)

    def meter(self, row: Row, received_at: datetime) -> Meter | None:
        """A row of 4.2; None without a meter number."""
        table_no = table_no_of(row)
        if table_no is None:
            return None
        code = type_code_of(row)
        kind = kind_of(code)
        words, extra = gate_of(row, kind)
        last_online = self.instant(row.get("onlineAt"))
        if last_online is not None:
            words["last_online"] = rfc3339(last_online)
        said = _availability(row, table_no, received_at)
        device = self._device(row, table_no, kind, code)
        return Meter(device, code, Words(table_no, received_at, Origin.POLL, words), said, extra)

    def latest(
        self,
        row: Row,
        kind: DeviceKind,
        received_at: datetime,
        origin: Origin,
        extra: Mapping[str, Json] | None = None,
    ) -> list[Observation]:
        """A row of 4.3, at most one observation: gate and register belong to the record of `readTime`.

        A gate without reading and time is a word without a time of its own. `extra` is what the inventory adds.
        """
        at = self.instant(row.get("readTime"))
        gate, raw = gate_of(row, kind)
        register = _numbers(row, {"reading": COUNTER[kind]})
        table_no = table_no_of(row)
        if table_no is None:
            return []
        if at is None and not register:
            return [Words(table_no, received_at, origin, gate)] if gate else []
        said = {} if _said(row.get("gate")) else extra or {}
        more = {**said, **self._beyond(row, _KNOWN_LATEST), **raw}
        return _readings(table_no, received_at, origin, {**register, **gate}, at, more, covers=bool(register))

    def stored(
        self, row: Row, kind: DeviceKind, received_at: datetime, origin: Origin
    ) -> Sequence[Observation]:
        """A row of 4.4: the register at `readTime`. It fills the gaps that 4.3 and 4.5 leave."""
        table_no = table_no_of(row)
        if table_no is None:
            return []
        metrics = _numbers(row, {"reading": COUNTER[kind]})
        at = self.instant(row.get("readTime"))
        return _readings(
            table_no, received_at, origin, metrics, at, self._beyond(row, _KNOWN_STORED), fills=True
        )

    def consumed(
        self, row: Row, kind: DeviceKind, received_at: datetime, origin: Origin
    ) -> Sequence[Observation]:
        """A row of 4.5: register, consumption and cost of the record. Its `type` tells the medium where the
        inventory does not; the documented `amount` goes before the `amout` of the sample (Q5)."""
        table_no = table_no_of(row)
        if table_no is None:
            return []
        if kind is DeviceKind.METER:
            kind = kind_of(type_code_of(row))
        counter = COUNTER[kind]
        metrics = _numbers(
            row, {"reading": counter, "dosage": f"{counter}_interval", "amout": "cost_interval"}
        )
        metrics |= _numbers(row, {"amount": "cost_interval"})
        at = self.instant(row.get("readTime"))
        return _readings(
            table_no,
            received_at,
            origin,
            metrics,
            at,
            self._beyond(row, _KNOWN_CONSUMED),
            covers=counter in metrics,
        )

    def time_of_use(
        self, row: Row, _kind: DeviceKind, received_at: datetime, origin: Origin
    ) -> Sequence[Observation]:
        """A row of 4.7: the registers at `freezeTime`, the instantaneous values at `createTime`, each at the other
        time where its own is missing; one record where both are the same, or where there are only registers."""
        table_no = table_no_of(row)
        if table_no is None:
            return []
        created, frozen = self.instant(row.get("createTime")), self.instant(row.get("freezeTime"))
        created, frozen = created or frozen, frozen or created
        registers = _numbers(row, _REGISTERS)
        now = _numbers(row, _PLAIN) | self._powers(row)
        extra = self._beyond(row, _KNOWN_HOURLY)
        if created == frozen or not now:
            return _readings(table_no, received_at, origin, registers | now, frozen, extra)
        return [
            *_readings(table_no, received_at, origin, registers, frozen, {}),
            *_readings(table_no, received_at, origin, now, created, extra),
        ]

    def camera(
        self, row: Row, _kind: DeviceKind, received_at: datetime, origin: Origin
    ) -> Sequence[Observation]:
        """A row of 4.8: a reading where the picture could be read, else the event `image_unreadable` (6.5)."""
        table_no = table_no_of(row)
        if table_no is None:
            return []
        at = self.instant(row.get("imageReadTime"))
        extra = self._beyond(row, _KNOWN_IMAGE)
        status = _text(row.get("imageStatus"))
        if status != IMAGE_GOOD:
            return [
                Event(
                    table_no,
                    "image_unreadable",
                    received_at,
                    origin,
                    happened_at=at,
                    vendor_code=status,
                    data=extra,
                )
            ]
        metrics = _numbers(row, {"basicReading": "water_volume"})
        return _readings(table_no, received_at, origin, metrics, at, extra) if metrics else []

    def instant(self, value: Json) -> datetime | None:
        """A local `YYYY-MM-DD HH:MM:SS` as UTC; None where it is none, or before 1970."""
        match = _TIME.match(value.strip()) if isinstance(value, str) else None
        if match is None:
            return None
        try:
            local = datetime(*(int(part) for part in match.groups()), tzinfo=self.zone)  # type: ignore[arg-type, misc] # six numbers
            at = local.astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        return at if at.year >= 1970 else None

    def imei_of(self, row: Row, kind: DeviceKind) -> Device | None:
        """What a row of 4.4 adds to the description of its meter, if anything."""
        table_no, imei = table_no_of(row), _text(row.get("imei"))
        if table_no is None or not imei:
            return None
        return Device(
            self.policy.account, self.policy.vendor, table_no, kind, vendor_info={"imei": row["imei"]}
        )

    def _device(self, row: Row, table_no: str, kind: DeviceKind, code: int | None) -> Device:
        vendor_info = {
            name: row[name] for name in ("deviceId", "project_code", "imei") if _said(row.get(name))
        }
        sent = [row[name] for name in _TYPES if _said(row.get(name))]
        if sent:
            vendor_info["tableType"] = next((one for one in sent if _code(one) == code), sent[0])
        return Device(
            account=self.policy.account,
            vendor=self.policy.vendor,
            native_id=table_no,
            kind=kind,
            name=_text(row.get("deviceName")) or None,
            model=MODELS.get(code) if code is not None else None,
            address=_text(row.get("tableAddress")) or None,
            serial=table_no,
            metrics=declared(kind, code),
            vendor_info=vendor_info | self._beyond(row, _KNOWN_METER),
            customer_info={name: value for name, value in row.items() if _private(name) and _said(value)},
        )

    def _powers(self, row: Row) -> dict[str, Value]:
        """kW and kvar to W and var, times the account's scale (Q9)."""
        factor = 1000 * self.power_scale
        found: dict[str, Value] = {}
        for name, value in _numbers(row, _KILO).items():
            scaled = plain(Decimal(value) * factor)
            if scaled is not None:
                found[name] = scaled
        return found

    def _beyond(self, row: Row, known: Iterable[str]) -> dict[str, Json]:
        """Fields that the page does not know, as sent; customers' only where the account publishes them."""
        skip = frozenset(known) | _CUSTOMER
        return {
            name: value
            for name, value in row.items()
            if name not in skip and (self.policy.customer_data or not _private(name))
        }


def table_no_of(row: Row) -> str | None:
    """The meter number, a text also where it was sent as a number (Q20)."""
    return _text(row.get("tableNo")) or None


def device_id_of(device: Device) -> str | None:
    """The target of instructions (4.6), which need not be the meter number."""
    return _text(device.vendor_info.get("deviceId")) or None


def type_code_of(row: Row) -> int | None:
    """The type by `tableType`, else `typeType` (Q4), else the `type` of 4.5 (Q14)."""
    return next((code for name in _TYPES if (code := _code(row.get(name))) is not None), None)


def gate_of(row: Row, kind: DeviceKind) -> tuple[dict[str, Value], dict[str, Json]]:
    """The gate as metric, or, where the word or the medium is unknown, as `extra` (6.2)."""
    raw = row.get("gate")
    word = GATE_WORDS.get(kind, {}).get(_text(raw))
    if word is not None:
        return {GATE_METRIC[kind]: word}, {}
    return {}, ({"gate": raw} if _said(raw) else {})


def declared(kind: DeviceKind, code: int | None) -> tuple[str, ...]:
    """The metrics that a meter of this type delivers."""
    counter = COUNTER[kind]
    names = [counter, f"{counter}_interval", "cost_interval", "last_online"]
    if kind in GATE_METRIC:
        names.append(GATE_METRIC[kind])
    if code in TIME_OF_USE:
        names += [name for name in _REGISTERS.values() if name != counter]
        names += [*_PLAIN.values(), *_KILO.values()]
    return tuple(names)


def _readings(
    table_no: str,
    received_at: datetime,
    origin: Origin,
    metrics: Mapping[str, Value],
    at: datetime | None,
    extra: Mapping[str, Json],
    *,
    covers: bool = False,
    fills: bool = False,
) -> list[Observation]:
    """One record, or none where there is nothing in it: unknown fields alone need a time to be a record."""
    if not metrics and (not extra or at is None):
        return []
    return [
        Reading(
            table_no, received_at, origin, metrics, observed_at=at, extra=extra, covers=covers, fills=fills
        )
    ]


def _availability(row: Row, table_no: str, received_at: datetime) -> Availability | None:
    """What `netStatis` says; None for a word that is not known (6.3)."""
    word = _text(row.get("netStatis"))
    online = NET_WORDS.get(word)
    if online is None:
        return None
    return Availability(
        table_no,
        online=online,
        received_at=received_at,
        origin=Origin.POLL,
        said=True,
        vendor_code=word,
        data={"netStatis": row["netStatis"]},
    )


def _numbers(row: Row, names: Mapping[str, str]) -> dict[str, int | Decimal]:
    found: dict[str, int | Decimal] = {}
    for source, name in names.items():
        value = number(row.get(source))
        if value is not None and -_LARGEST < value < _LARGEST:
            found[name] = value
    return found


def _code(value: Json) -> int | None:
    code = number(value)
    return code if isinstance(code, int) else None


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return ""
    if isinstance(value, int) and -_LARGEST < value < _LARGEST:
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _said(value: Json) -> bool:
    return value is not None and value != ""


def _private(name: str) -> bool:
    """Customer data (section 8), and what looks like it, however it is spelled."""
    lower = name.lower()
    return lower.startswith("user_") or lower.replace("_", "") in _LIKE_CUSTOMER
