"""How long a task that the vendor cannot serve is left alone, and whether only that one (page saj, section 5). Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.domain.errors import VendorError
from bridge.vendors.saj.faults import BAD_PARAMETER, SERVER_FAULT, VendorFault

_SERVER_S = (30.0, 900.0)
_UNKNOWN_S = (300.0, 3600.0)
_WRONG_S = (3600.0, 6 * 3600.0)


@dataclass(slots=True)
class Patience:
    """Keys are tasks. Only the vendor's own words count: what is lost on the way is the flow's business."""

    monotonic: Callable[[], float]
    _until: dict[str, float] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _served: int = 0
    _served_before: dict[str, int] = field(default_factory=dict)
    """How often the vendor had served a task when it last failed at this one."""

    def wait_s(self, key: str) -> float:
        """Seconds until the task may be tried again, 0 if it may now."""
        return max(0.0, self._until.get(key, 0.0) - self.monotonic())

    def failed(self, key: str, error: VendorError) -> bool:
        """30 s doubling to 15 min for the vendor's own faults, 5 to 60 min for codes that nobody knows, 1 to 6 h for
        parameters that it calls wrong: the same ones do not become right. Whether it is the first time in a row."""
        if error.native_code == BAD_PARAMETER:
            first_s, most_s = _WRONG_S
        elif isinstance(error, VendorFault):
            first_s, most_s = _SERVER_S if error.native_code == SERVER_FAULT else _UNKNOWN_S
        else:
            return False
        failures = self._failures.get(key, 0)
        self._served_before[key] = self._served
        self._failures[key] = failures + 1
        self._until[key] = self.monotonic() + min(most_s, first_s * 2.0 ** min(10, failures))
        return failures == 0

    def is_alone(self, key: str) -> bool:
        """Whether the vendor served other tasks since it failed at this one: then it is this one that it cannot."""
        return self._served > self._served_before.get(key, self._served)

    def succeeded(self, key: str, *, asked: bool) -> None:
        """The task is done. `asked`: by an answer of the vendor."""
        self._served += asked
        self._served_before.pop(key, None)
        self._failures.pop(key, None)
        self._until.pop(key, None)
