"""SAJ solar plants and inverters, by the vendor's open API 2.3 (shared page saj)."""

from __future__ import annotations

from bridge.domain.device import DeviceKind
from bridge.vendorkit.spec import VendorSpec
from bridge.vendors.saj.adapter import SajAdapter
from bridge.vendors.saj.settings import SajSettings, limits

SPEC = VendorSpec(
    name="saj",
    title="SAJ solar plants and inverters",
    settings=SajSettings,
    kinds=frozenset({DeviceKind.SOLAR_PLANT, DeviceKind.INVERTER}),
    limits=limits,
    build=SajAdapter,
    specimen={"app_id": "specimen", "app_key": "specimen"},
)
