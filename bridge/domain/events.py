"""The catalogue of events (METRICS.md section 3). A vendor's own word becomes `vendor_<code>` and stands in no list."""

from __future__ import annotations

EVENTS: dict[str, str] = {
    "online": "the vendor says that the device is connected",
    "offline": "the vendor says that the device is not connected",
    "registered": "the device was registered at the vendor",
    "switch_on": "the supply was switched on",
    "switch_off": "the supply was switched off",
    "valve_opened": "the valve was opened",
    "valve_closed": "the valve was closed",
    "protection_disabled": "a protection was set to alarm only",
    "image_unreadable": "the picture of the meter could not be read",
    "offline_gap": "the device was not connected for a while",
    "counter_reset": "a lifetime counter is lower than before",
    "clock_suspect": "a record's time lies in the future",
    "foreign_command": "a control task that this gateway did not create",
    "late_result": "a result came after the final acknowledgement",
}
"""Code → meaning."""
