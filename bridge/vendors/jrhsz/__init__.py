"""JRHSZ prepaid electricity and water meters, by the vendor's polled platform (shared page jrhsz)."""

from __future__ import annotations

from bridge.domain.device import DeviceKind
from bridge.vendorkit.spec import VendorSpec
from bridge.vendors.jrhsz.adapter import JrhszAdapter
from bridge.vendors.jrhsz.settings import JrhszSettings, limits

SPEC = VendorSpec(
    name="jrhsz",
    title="JRHSZ electricity and water meters",
    settings=JrhszSettings,
    kinds=frozenset({DeviceKind.ELECTRICITY_METER, DeviceKind.WATER_METER, DeviceKind.METER}),
    limits=limits,
    build=JrhszAdapter,
    specimen={"username": "specimen", "password": "specimen"},
)
