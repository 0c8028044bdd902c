"""What is exposed: anything with an id of its own under an account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.domain.text import Json


class DeviceKind(StrEnum):
    """The kinds of CONTRACT section 4."""

    ELECTRICITY_METER = "electricity_meter"
    WATER_METER = "water_meter"
    GAS_METER = "gas_meter"
    INVERTER = "inverter"
    SOLAR_PLANT = "solar_plant"
    BREAKER = "breaker"
    RTU = "rtu"
    METER = "meter"


BY_MEDIUM = frozenset({DeviceKind.ELECTRICITY_METER, DeviceKind.WATER_METER, DeviceKind.METER})
"""Kinds of which one says what the numbers of a meter are: called another one, it has none of the metrics it had."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device as the vendor and the configuration describe it.

    `vendor_info` holds the rest as the vendor sent it, without secrets; `customer_info` what CONTRACT section 3
    calls customer data and what is published only with `customer_data: true`. `metrics` are the names (of
    `domain.metrics`) that this device is known to deliver; `units` those of them whose unit the configuration tells.
    """

    account: str
    vendor: str
    native_id: str
    kind: DeviceKind
    name: str | None = None
    model: str | None = None
    manufacturer: str | None = None
    address: str | None = None
    serial: str | None = None
    firmware: str | None = None
    parent: str | None = None
    metrics: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    vendor_info: Mapping[str, Json] = field(default_factory=dict)
    customer_info: Mapping[str, Json] = field(default_factory=dict)
