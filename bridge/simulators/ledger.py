"""What really happened in a simulated cloud: every effect once, every call with its time.

The ledger is the truth a test compares the gateway's acknowledgements with; nothing in it is ever merged.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from typing import Any

_KEPT_CALLS = 200_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One effect: `n` counts from 1, `at` is true Unix seconds, `request` the number of its call."""

    n: int
    at: float
    device: str
    effect: str
    detail: str
    request: int


class Ledger:
    """Effects in the order in which they happened."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def add(self, at: float, device: str, effect: str, detail: str, request: int) -> Entry:
        entry = Entry(len(self._entries) + 1, at, device, effect, detail, request)
        self._entries.append(entry)
        return entry

    def entries(self, *, device: str | None = None, effect: str | None = None) -> list[Entry]:
        """The entries of a device (None: all) with an effect (None: all)."""
        return [
            entry
            for entry in self._entries
            if device in (None, entry.device) and effect in (None, entry.effect)
        ]

    def counts(self) -> dict[str, int]:
        """Effect → how many."""
        return dict(Counter(entry.effect for entry in self._entries))

    def clear(self) -> None:
        self._entries.clear()

    def as_json(self) -> dict[str, Any]:
        return {"entries": [asdict(entry) for entry in self._entries], "counts": self.counts()}


@dataclass(slots=True)
class Call:
    """One request: `status` is the HTTP status answered (0: none), `fault` the name of the fault it met."""

    n: int
    at: float
    endpoint: str
    device: str
    done_at: float | None = None
    status: int = 0
    fault: str = ""


class CallLog:
    """Every request with its time, to check afterwards whether a limit was kept. Keeps the last 200 000."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=_KEPT_CALLS)
        self._seen = 0

    def open(self, at: float, endpoint: str, device: str) -> Call:
        self._seen += 1
        call = Call(self._seen, at, endpoint, device)
        self._calls.append(call)
        return call

    def close(self, call: Call, at: float, status: int, fault: str = "") -> None:
        call.done_at, call.status, call.fault = at, status, fault

    def calls(self, *, endpoint: str | None = None, device: str | None = None) -> list[Call]:
        """The calls of an endpoint (None: all; `send` includes every `send/…`) and a device (None: all)."""
        return [
            call
            for call in self._calls
            if device in (None, call.device)
            and (endpoint in (None, call.endpoint) or call.endpoint.startswith(f"{endpoint}/"))
        ]

    def busiest(self, window_s: float, *, endpoint: str | None = None, device: str | None = None) -> int:
        """The most calls in any `window_s` seconds; two calls exactly so far apart share no window."""
        return most_in_window([call.at for call in self.calls(endpoint=endpoint, device=device)], window_s)

    def most_at_once(self, *, endpoint: str | None = None, device: str | None = None) -> int:
        """The most calls that were under way at the same time."""
        under_way: list[float] = []
        most = 0
        for call in sorted(self.calls(endpoint=endpoint, device=device), key=lambda call: call.at):
            while under_way and under_way[0] <= call.at:
                heappop(under_way)
            heappush(under_way, math.inf if call.done_at is None else call.done_at)
            most = max(most, len(under_way))
        return most

    def recent(self, since: float) -> int:
        """How many calls came after `since`, those refused with 429 not counted."""
        count = 0
        for call in reversed(self._calls):
            if call.at <= since:
                break
            count += call.status != 429
        return count

    def counts(self) -> dict[str, int]:
        """Endpoint → how many."""
        return dict(Counter(call.endpoint for call in self._calls))

    def clear(self) -> None:
        """Forgets the calls; numbering goes on."""
        self._calls.clear()

    def as_json(self, calls: Iterable[Call] | None = None) -> dict[str, Any]:
        listed = list(self._calls if calls is None else calls)
        return {"total": len(listed), "counts": self.counts(), "calls": [asdict(call) for call in listed]}


def most_in_window(times_s: Iterable[float], window_s: float) -> int:
    """The most of `times_s` in any half-open window of `window_s` seconds."""
    window: deque[float] = deque()
    most = 0
    for at in sorted(times_s):
        window.append(at)
        while at - window[0] >= window_s:
            window.popleft()
        most = max(most, len(window))
    return most
