"""Slows the guessing of secrets: so many wrong ones a minute and address, then nothing of that address is looked at.

An address that knew a secret lately is never slowed: a stranger who shares it (behind one proxy or one NAT) must not be
able to lock the vendor's platform out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from bridge.ports import Clock

WINDOW_S = 60.0
TRUST_S = 3600.0
MOST_ADDRESSES = 10_000
"""More are not remembered: the one heard of longest ago is forgotten first."""

_NEIGHBOURS = 64
"""Whoever has one IPv6 address has all that share its first bits."""


@dataclass(slots=True)
class _Tries:
    since: float
    wrong: int = 0


class Guesses:
    """Wrong secrets by address. `most`: how many a minute; 0: any number."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()
        self._trusted: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """How long nothing of this address is looked at; 0: it may try."""
        tries = self._tries.get(_key(address))
        if tries is None or not self._most or tries.wrong < self._most:
            return 0.0
        now = self._clock.monotonic()
        if now - self._trusted.get(_key(address), -TRUST_S) < TRUST_S:
            return 0.0
        return max(0.0, tries.since + WINDOW_S - now)

    def wrong(self, address: str) -> None:
        """It tried a wrong secret."""
        now, key = self._clock.monotonic(), _key(address)
        tries = self._tries.get(key)
        if tries is None or now - tries.since >= WINDOW_S:
            tries = self._tries[key] = _Tries(now)
        tries.wrong += 1
        _touch(self._tries, key)

    def right(self, address: str) -> None:
        """It knew a secret."""
        key = _key(address)
        self._trusted[key] = self._clock.monotonic()
        _touch(self._trusted, key)


def _touch(kept: OrderedDict[str, Any], key: str) -> None:
    kept.move_to_end(key)
    if len(kept) > MOST_ADDRESSES:
        kept.popitem(last=False)


def _key(address: str) -> str:
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address.split("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, _NEIGHBOURS), strict=False))
