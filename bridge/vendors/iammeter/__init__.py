"""IAMMETER Wi-Fi energy meters, by the vendor's cloud (shared page iammeter)."""

from __future__ import annotations

from bridge.domain.device import DeviceKind
from bridge.vendorkit.spec import VendorSpec
from bridge.vendors.iammeter.adapter import IammeterAdapter
from bridge.vendors.iammeter.settings import IammeterSettings, limits

SPEC = VendorSpec(
    name="iammeter",
    title="IAMMETER Wi-Fi energy meters",
    settings=IammeterSettings,
    kinds=frozenset({DeviceKind.ELECTRICITY_METER, DeviceKind.SOLAR_PLANT}),
    limits=limits,
    build=IammeterAdapter,
    specimen={"token": "specimen", "site_history": True},
)
