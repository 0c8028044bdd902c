"""WMJ W71 and W72 smart circuit breakers, by the vendor's cloud (shared page wmj)."""

from __future__ import annotations

from bridge.domain.device import DeviceKind
from bridge.vendorkit.spec import VendorSpec
from bridge.vendors.wmj.adapter import WmjAdapter
from bridge.vendors.wmj.settings import WmjSettings, limits

SPEC = VendorSpec(
    name="wmj",
    title="WMJ W71/W72 smart breakers",
    settings=WmjSettings,
    kinds=frozenset({DeviceKind.BREAKER}),
    limits=limits,
    build=WmjAdapter,
    local_inventory=True,
    specimen={"app_id": "specimen", "app_secret": "specimen", "devices": ["W7100000001"]},
)
