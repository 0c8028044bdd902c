"""Readings, alarms and events of the platform as observations (page iotmeter 4.1, 4.5, 4.7 and 8).

Pure: no I/O, no clock. Units are the vendor's: they are ours. What is missing, null, empty or of the wrong kind is
left out; class defaults of `ext_data` are never applied. Every metric name is one of `domain.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo

from bridge.domain.account import AccountPolicy
from bridge.domain.device import Device, DeviceKind
from bridge.domain.metrics import METRICS
from bridge.domain.observation import (
    AlarmMessage,
    Availability,
    Described,
    Event,
    Observation,
    Origin,
    Reading,
    Value,
)
from bridge.domain.text import Json, flag, word_of
from bridge.vendors.iotmeter.wire import Record, decoded, device_id, instant, measured, text_of, whole

RTU_TYPE = 2


def _text(value: Json) -> Value | None:
    return text_of(value) or None


def _valve(value: Json) -> Value | None:
    state = flag(value)
    return None if state is None else ("open" if state else "closed")


def _billing(value: Json) -> Value | None:
    code = whole(value)
    if code is not None:
        return {0: "ladder", 1: "metering_only"}.get(code, f"unknown_{word_of(code)}")
    word = word_of(value) if isinstance(value, str) else ""
    return f"unknown_{word}" if word else None


_Converters = Mapping[str, tuple[str, Callable[[Json], Value | None]]]

_FIELDS: _Converters = {
    "std_sum": ("gas_volume", measured),
    "work_sum": ("gas_volume_uncorrected", measured),
    "std_flow": ("gas_flow", measured),
    "work_flow": ("gas_flow_uncorrected", measured),
    "temperature": ("temperature", measured),
    "pressure": ("pressure", measured),
    "magatt_times": ("magnetic_attack_count", measured),
    "this_month_sum": ("gas_volume_this_month", measured),
    "last_month_sum": ("gas_volume_last_month", measured),
    "this_cycle_sum": ("gas_volume_this_cycle", measured),
    "last_cycle_sum": ("gas_volume_last_cycle", measured),
    "remain_money": ("balance_money", measured),
    "remain_volume": ("balance_volume", measured),
    "curr_price": ("price", measured),
    "meter_state": ("status_bits", measured),
    "meter_stat_emsg": ("status_text", _text),
    "rssi": ("rssi", measured),
    "battery_voltage": ("battery_voltage", measured),
    "battery_level": ("battery_level", measured),
}
"""Field of a reading → metric and converter (section 8)."""

_EXT_FIELDS: _Converters = {
    "rtu_state": ("rtu_status", measured),
    "rtu_state_msg": ("rtu_status_text", _text),
    "base_volume": ("gas_volume_base", measured),
    "total_buy_value": ("purchase_total", measured),
    "open_state": ("account_open", flag),
    "valve_open": ("valve_state", _valve),
    "power_level": ("battery_low_level", measured),
    "remote_valve_off": ("valve_closed_remote", flag),
    "apart_valve_off": ("valve_closed_dismantled", flag),
    "max_flow_valve_off": ("valve_closed_overflow", flag),
    "min_flow_valve_off": ("valve_closed_leak_flow", flag),
    "dead_valve_off": ("valve_closed_stalled", flag),
    "magnetic_attack": ("magnetic_attack", flag),
    "ext_power": ("external_power", flag),
    "calc_type": ("billing_type", _billing),
    "pulse_fault": ("pulse_fault", flag),
    "battery_cut": ("battery_disconnected", flag),
    "force_valve_on": ("valve_forced_open", flag),
    "rtu_door_open": ("door_open", flag),
    "rtu_power": ("mains_power", flag),
    "rtu_fence_alarm": ("fence_alarm", flag),
    "rtu_vibrate_alarm": ("vibration_alarm", flag),
}
"""Field of `ext_data` → metric and converter (section 8)."""

_CUSTOMER = ("meter_define_no1", "meter_define_no2", "meter_define_no3", "meter_define_no4")
_VENDOR_INFO = ("meter_area_no", "company_no")
_DESCRIPTION = frozenset(
    {"meter_comm_no", "device_type", "device_type_name", "factory_code", "acquisition_time", "ext_data"}
    | {*_CUSTOMER, *_VENDOR_INFO}
)
_DESCRIBING = ("meter_comm_no", "device_type", "device_type_name", "factory_code", *_VENDOR_INFO, *_CUSTOMER)
_KEPT_DEVICES = 4096
_PURCHASES = "purchase_total"
_CUBIC_METRES = METRICS["gas_volume"].unit

_MESSAGE_FIELDS = frozenset({"device_comm_no", "device_type", "receive_time", "company_no"})


def kind_of(device_type: Json) -> DeviceKind | None:
    """The kind behind a `device_type`, sent as number or text (Q3); None where it tells none."""
    code = whole(device_type)
    if code is None:
        return None
    return DeviceKind.RTU if code == RTU_TYPE else DeviceKind.GAS_METER


def metrics_of(record: Record) -> dict[str, Value]:
    """The metrics of a reading, those of its `ext_data` included."""
    return _sorted_out(record)[0]


def extra_of(record: Record) -> dict[str, Json]:
    """What a record keeps beside its metrics, as sent: `data_type`, `receive_time`, `data_guid`, fields that the
    page does not know, unknown keys of `ext_data`, and an `ext_data` that is no JSON object (METRICS 1.9)."""
    return _sorted_out(record)[1]


def _sorted_out(record: Record) -> tuple[dict[str, Value], dict[str, Json], Record]:
    """Metrics, extra and `ext_data` in one pass: fleets push thousands of these."""
    found: dict[str, Value] = {}
    extra: dict[str, Json] = {}
    for name, sent in record.items():
        if sent is None:
            continue
        field = _FIELDS.get(name)
        if field is not None:
            value = field[1](sent)
            if value is not None:
                found[field[0]] = value
        elif name not in _DESCRIPTION:
            extra[name] = sent
    ext = decoded(record.get("ext_data"))
    if not isinstance(ext, dict):
        extra["ext_data"] = record["ext_data"]
        return found, extra, {}
    for name, sent in ext.items():
        if sent is None:
            continue
        field = _EXT_FIELDS.get(name)
        if field is None:
            extra[name if name not in extra else f"ext_data.{name}"] = sent
            continue
        value = field[1](sent)
        if value is not None:
            found[field[0]] = value
    return found, extra, ext


def _series(record: Record) -> str:
    """Real-time or frozen: one record per device, kind of data and time (9.5), pushed and polled."""
    code = whole(record.get("data_type"))
    return f"data_type {code}" if code is not None else "data_type"


@dataclass(frozen=True, slots=True)
class Codec:
    """What the account's rules add to the records: time zone, silence, customer data."""

    policy: AccountPolicy
    zone: tzinfo
    offline_after_s: float
    purchase_unit: str | None = None
    _devices: dict[str, tuple[object, Device]] = field(default_factory=dict, repr=False, compare=False)

    def device(self, record: Record, kind: DeviceKind, metrics: Mapping[str, Value] | None = None) -> Device:
        """The device of a record of 4.1 or 4.2; `metrics` are the record's where they are known already. A record that
        describes it as the last one did gives the same object. Raises ValueError without a communication number."""
        native_id = device_id(record.get("meter_comm_no"))
        names = tuple(metrics_of(record) if metrics is None else metrics)
        told = tuple(map(record.get, _DESCRIBING))
        # 1 is equal to true, but it is not the same word
        mark = kind, names, told, tuple(map(type, told))
        known = self._devices.get(native_id)
        if known is not None and known[0] == mark:
            return known[1]
        device = self._described(record, native_id, kind, names)
        while len(self._devices) >= _KEPT_DEVICES:
            self._devices.pop(next(iter(self._devices)))
        self._devices[native_id] = mark, device
        return device

    def _described(
        self, record: Record, native_id: str, kind: DeviceKind, metrics: tuple[str, ...]
    ) -> Device:
        info: dict[str, Json] = {name: text for name in _VENDOR_INFO if (text := text_of(record.get(name)))}
        return Device(
            account=self.policy.account,
            vendor=self.policy.vendor,
            native_id=native_id,
            kind=kind_of(record.get("device_type")) or kind,
            model=text_of(record.get("device_type_name")) or None,
            manufacturer=text_of(record.get("factory_code")) or None,
            serial=native_id,
            metrics=metrics,
            units=self._units(metrics),
            vendor_info=info,
            customer_info={name: text for name in _CUSTOMER if (text := text_of(record.get(name)))},
        )

    def _units(self, metrics: tuple[str, ...]) -> Mapping[str, str]:
        """Whether purchases are money or volume only the account's settings know (Q20)."""
        if self.purchase_unit is None or _PURCHASES not in metrics:
            return {}
        return {_PURCHASES: _CUBIC_METRES if self.purchase_unit == "m3" else self.purchase_unit}

    def reading(self, record: Record, received_at: datetime, origin: Origin) -> Reading:
        """A record of 4.1 or 4.2, real-time or frozen alike. Raises ValueError where the communication number or
        the acquisition time is missing or unreadable."""
        native_id = device_id(record.get("meter_comm_no"))
        observed_at = instant(record.get("acquisition_time"), self.zone)
        if observed_at is None:
            raise ValueError("acquisition_time is missing or unreadable")
        metrics, extra, ext = _sorted_out(record)
        return Reading(
            native_id,
            received_at,
            origin,
            metrics,
            observed_at=observed_at,
            extra=extra,
            series=_series(record),
            sent={"valve_state": {"valve_open": ext["valve_open"]}} if "valve_state" in metrics else {},
        )

    def seen(
        self, record: Record, received_at: datetime, origin: Origin, kind: DeviceKind
    ) -> list[Observation]:
        """A reading with what it tells of the device: its description and its being alive. Raises as `reading`."""
        reading = self.reading(record, received_at, origin)
        heard_at = instant(record.get("receive_time"), self.zone) or reading.observed_at or received_at
        return [
            Described(self.device(record, kind, reading.metrics)),
            reading,
            self.availability(reading.device, heard_at, received_at, origin),
        ]

    def availability(
        self, device: str, heard_at: datetime, received_at: datetime, origin: Origin
    ) -> Availability:
        """Concluded from the time at which the platform last heard of the device (section 8)."""
        heard_at = min(heard_at, received_at)
        silent = received_at - heard_at >= timedelta(seconds=self.offline_after_s)
        return Availability(
            device, online=not silent, received_at=received_at, origin=origin, said=False, at=heard_at
        )

    def alarm(
        self, record: Record, received_at: datetime, origin: Origin, kind: DeviceKind
    ) -> list[Observation]:
        """An alarm of 4.5 or 4.6. Raises ValueError where device, time or code is missing or unreadable."""
        device, at, code = self._occurrence(record, "alarm")
        message = AlarmMessage(
            device,
            f"vendor_{word_of(code) or 'unknown'}",
            code,
            received_at,
            origin,
            started_at=at,
            message=text_of(record.get("alarm_content")),
            data=_data(record, "alarm"),
        )
        return [*self._about(record, device, at, received_at, origin, kind), message]

    def event(
        self, record: Record, received_at: datetime, origin: Origin, kind: DeviceKind
    ) -> list[Observation]:
        """An event of 4.7 or 4.8. Raises as `alarm`."""
        device, at, code = self._occurrence(record, "event")
        event = Event(
            device,
            f"vendor_{word_of(code) or 'unknown'}",
            received_at,
            origin,
            happened_at=at,
            vendor_code=code,
            message=text_of(record.get("event_content")),
            data=_data(record, "event"),
        )
        return [*self._about(record, device, at, received_at, origin, kind), event]

    def _occurrence(self, record: Record, word: str) -> tuple[str, datetime, str]:
        device = device_id(record.get("device_comm_no"))
        at = instant(record.get(f"{word}_time"), self.zone)
        if at is None:
            raise ValueError(f"{word}_time is missing or unreadable")
        native = record.get(f"{word}_code")
        code = text_of(native if isinstance(native, str) else measured(native))
        if not code:
            raise ValueError(f"{word}_code is missing or unreadable")
        return device, at, code

    def _about(
        self,
        record: Record,
        device: str,
        at: datetime,
        received_at: datetime,
        origin: Origin,
        kind: DeviceKind,
    ) -> list[Observation]:
        heard_at = instant(record.get("receive_time"), self.zone) or at
        described = Device(
            account=self.policy.account,
            vendor=self.policy.vendor,
            native_id=device,
            kind=kind_of(record.get("device_type")) or kind,
            serial=device,
        )
        return [Described(described), self.availability(device, heard_at, received_at, origin)]


def _data(record: Record, word: str) -> dict[str, Json]:
    """`alarm_data` as an object, with the fields that the page does not know; what is no object under its name."""
    inner = decoded(record.get(f"{word}_data"))
    known = _MESSAGE_FIELDS | {f"{word}_{part}" for part in ("id", "time", "code", "content", "data")}
    unknown = {name: value for name, value in record.items() if name not in known and value is not None}
    return unknown | (dict(inner) if isinstance(inner, dict) else {f"{word}_data": inner})
