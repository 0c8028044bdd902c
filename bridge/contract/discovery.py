"""The discovery messages of Home Assistant: one retained document per device, and how a component leaves it.

A component that is only left out stays in Home Assistant. It goes in two steps: first it is there as its platform
alone, then it is left out (`withdrawn`, `without_withdrawn`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.contract.entities import Places, components
from bridge.contract.topics import Topics
from bridge.domain.text import Json

_FORBIDDEN = re.compile(r"[^A-Za-z0-9-]")


@dataclass(frozen=True, slots=True)
class Scheme:
    """How this gateway names its devices to Home Assistant."""

    prefix: str
    topics: Topics
    version: str

    def unique(self, account: str, native_id: str) -> str:
        """The id of a device: letters, digits, `-` and `_`. Two gateways with different base topics may share a
        broker, so the base belongs to it. What had to be replaced is told apart by a hash."""
        parts = (self.topics.base, account, native_id)
        plain = "_".join(_FORBIDDEN.sub("-", part) for part in parts)
        if not any(_FORBIDDEN.search(part) for part in parts):
            return plain
        return f"{plain}_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:10]}"

    def topic(self, account: str, native_id: str) -> str:
        """Where the device is announced."""
        return f"{self.prefix}/device/{self.unique(account, native_id)}/config"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.prefix}/status"

    def document(
        self,
        info: Mapping[str, Json],
        *,
        confirm: frozenset[str] = frozenset(),
        expire_after_s: int | None = None,
    ) -> dict[str, Any]:
        """The announcement of a device, from its `info` (CONTRACT section 4)."""
        account, device = info["account"], info["device"]
        unique = self.unique(account, device)
        places = Places(
            state=self.topics.device(account, device, "state"),
            alarm=self.topics.device(account, device, "alarm"),
            event=self.topics.device(account, device, "event"),
            commands=self.topics.device(account, device, "cmd"),
            unique=unique,
        )
        return {
            "dev": self._device(info, unique),
            "o": {"name": "meterbridge", "sw": self.version},
            "avty": [
                {"t": self.topics.bridge("status")},
                {"t": self.topics.device(account, device, "availability")},
            ],
            "avty_mode": "all",
            "cmps": components(info, places, confirm, expire_after_s),
        }

    def _device(self, info: Mapping[str, Json], unique: str) -> dict[str, Any]:
        device = {
            "ids": [unique],
            "name": info.get("name") or info["device"],
            "mf": info.get("manufacturer") or info["vendor"],
            "mdl": info.get("model") or info["kind"].replace("_", " "),
            "sn": info.get("serial"),
            "sw": info.get("firmware"),
        }
        if info.get("parent"):
            device["via_device"] = self.unique(info["account"], info["parent"])
        return {key: value for key, value in device.items() if value}


def withdrawn(before: Mapping[str, Json], after: Mapping[str, Json]) -> dict[str, Any]:
    """The components that were announced (or are being withdrawn) and are no longer: each as its platform alone."""
    return {
        key: {"p": component["p"]} for key, component in before["cmps"].items() if key not in after["cmps"]
    }


def without_withdrawn(document: Mapping[str, Json]) -> dict[str, Any]:
    """The second step: the components that are being withdrawn are left out."""
    kept = {key: component for key, component in document["cmps"].items() if set(component) != {"p"}}
    return {**document, "cmps": kept}
