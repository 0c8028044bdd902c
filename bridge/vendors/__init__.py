"""The vendors: one folder each, one entry here. Nothing else in the gateway names a vendor."""

from __future__ import annotations

from bridge.vendorkit.spec import VendorSpec
from bridge.vendors import iammeter, iotmeter, jrhsz, saj, wmj

VENDORS: dict[str, VendorSpec] = {
    spec.name: spec for spec in (iammeter.SPEC, iotmeter.SPEC, jrhsz.SPEC, saj.SPEC, wmj.SPEC)
}
