"""Gas meters and RTUs of the iotmeter platform: it pushes, we ask, it queues commands (shared page iotmeter)."""

from __future__ import annotations

from bridge.domain.device import DeviceKind
from bridge.vendorkit.spec import VendorSpec
from bridge.vendors.iotmeter.adapter import IotMeterAdapter
from bridge.vendors.iotmeter.settings import IotMeterSettings, limits

SPEC = VendorSpec(
    name="iotmeter",
    title="iotmeter gas meters",
    settings=IotMeterSettings,
    kinds=frozenset({DeviceKind.GAS_METER, DeviceKind.RTU}),
    default_kind=DeviceKind.GAS_METER,
    limits=limits,
    build=IotMeterAdapter,
    specimen={
        "data": {"base_url": "http://iotmeter.invalid", "company_no": "1", "api_key": "specimen"},
        "control": {"base_url": "http://iotmeter.invalid", "login_name": "specimen", "password": "specimen"},
    },
)
