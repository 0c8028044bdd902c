"""How long a task that the vendor cannot serve is left alone (page saj, section 5). Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.domain.errors import LostAnswer
from bridge.vendors.saj.faults import SERVER_FAULT, VendorFault

_SERVER_S = (30.0, 900.0)
_UNKNOWN_S = (300.0, 3600.0)


@dataclass(slots=True)
class Patience:
    """Keys are tasks. Only the vendor's own words count: what is lost on the way is the flow's business."""

    monotonic: Callable[[], float]
    _until: dict[str, float] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)

    def wait_s(self, key: str) -> float:
        """Seconds until the task may be tried again, 0 if it may now."""
        return max(0.0, self._until.get(key, 0.0) - self.monotonic())

    def failed(self, key: str, error: LostAnswer) -> None:
        """30 s doubling to 15 min for the vendor's own faults, 5 to 60 min for codes that nobody knows."""
        if not isinstance(error, VendorFault):
            return
        first_s, most_s = _SERVER_S if error.native_code == SERVER_FAULT else _UNKNOWN_S
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self._until[key] = self.monotonic() + min(most_s, first_s * 2.0 ** min(10, failures))

    def succeeded(self, key: str) -> None:
        """The task was served."""
        self._failures.pop(key, None)
        self._until.pop(key, None)
