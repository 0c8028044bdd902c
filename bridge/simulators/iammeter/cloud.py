"""The simulated IAMMETER-cloud: one account with its sites and meters, tokens, limits, and what a test may do.

Single-threaded: every method runs to its end inside the event loop.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.simulators.faults import FaultPlan
from bridge.simulators.iammeter.meter import Meter, Phase
from bridge.simulators.ledger import CallLog, Ledger
from bridge.simulators.simtime import SimTime

HOURLY, DAILY = (12, 3600.0), (288, 86400.0)

LIMITS: Mapping[str, tuple[str, tuple[tuple[int, float], ...]]] = {
    "login": ("login", ((5, 3600.0), (30, 86400.0))),
    "meterdata": ("latest", (HOURLY, DAILY)),
    "meterdata2": ("latest", (HOURLY, DAILY)),
    "meterdatalist": ("history", (HOURLY,)),
    "meterdatalist2": ("history", (HOURLY,)),
    "poweranalysis": ("power", ((5, 86400.0),)),
    "offlineanalysis": ("offline", ((5, 86400.0),)),
    "metersdata": ("all", ((1, 300.0), HOURLY, DAILY)),
    "sitelist": ("sites", ((12, 86400.0),)),
    "energyhistory": ("energy", (HOURLY,)),
}
"""Endpoint → the counter that it shares, and its windows (section 3; what is not documented as the page assumes)."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who may come in. `token` is the one that the web page shows."""

    username: str
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(slots=True)
class Site:
    """A place with meters, `offset_min` ahead of UTC."""

    id: int
    name: str
    meters: list[Meter]
    offset_min: int = 60


class IammeterCloud:
    """State of the cloud. `enforce`: an exceeded limit returns nothing, and the call counts all the same.

    `keep_tokens`: a login leaves earlier tokens valid. `denial`: how a wrong one is answered, by a message or
    with HTTP 401. `missing`: endpoints that this cloud does not have. `spelling`: keys of the analyses.
    """

    def __init__(
        self,
        account: Account,
        sites: Sequence[Site],
        *,
        time: SimTime,
        rng: random.Random,
        enforce: bool = True,
        keep_tokens: bool = False,
        denial: str = "message",
        missing: Iterable[str] = (),
        spelling: str = "documented",
    ) -> None:
        self.account = account
        self.sites = list(sites)
        self.time = time
        self.enforce = enforce
        self.keep_tokens = keep_tokens
        self.denial = denial
        self.missing = {name.lower() for name in missing}
        self.spelling = spelling
        self.tokens = {account.token}
        self.ledger = Ledger()
        self.calls = CallLog()
        self.faults = FaultPlan(rng)
        self._rng = rng
        self._taken: dict[tuple[str, str], deque[float]] = {}

    @property
    def meters(self) -> dict[str, Meter]:
        """Serial number → meter."""
        return {meter.sn: meter for site in self.sites for meter in site.meters}

    def site(self, site_id: str) -> Site | None:
        """The site with this id."""
        return next((site for site in self.sites if str(site.id) == site_id), None)

    def meter(self, sn: str) -> Meter:
        """Raises ValueError for a number that is not there."""
        if sn not in self.meters:
            raise ValueError(f"no such meter: {sn!r}")
        return self.meters[sn]

    def admits(self, token: str | None) -> bool:
        """Whether the token is good."""
        return token in self.tokens

    def login(self, username: str, password: str, request: int) -> dict[str, object] | None:
        """A new token; None for wrong credentials."""
        if (username, password) != (self.account.username, self.account.password):
            self.ledger.add(self.time.real(), "", "login_refused", "", request)
            return None
        if not self.keep_tokens:
            self.tokens.clear()
        token, refresh = (f"{self._rng.getrandbits(128):032x}" for _ in range(2))
        self.tokens.add(token)
        self.ledger.add(self.time.real(), "", "login", "", request)
        return {"id": 2025, "token": token, "refreshToken": refresh}

    def revoke(self) -> None:
        """No token is good any more."""
        self.tokens.clear()

    def exceeds(self, endpoint: str, key: str) -> bool:
        """Counts a call; whether it is one too many. Refused calls count, too."""
        counter, windows = LIMITS[endpoint]
        taken = self._taken.setdefault((counter, key), deque())
        now = self.time.real()
        taken.append(now)
        while taken and taken[0] <= now - 86400.0:
            taken.popleft()
        return self.enforce and any(
            sum(1 for at in taken if at > now - seconds) > count for count, seconds in windows
        )

    def refused(self) -> int:
        """How many calls met a limit."""
        return sum(call.fault == "limit" for call in self.calls.calls())

    def forget_limits(self) -> None:
        """All windows are empty."""
        self._taken.clear()


def household(now_s: float, offset_min: int = 60) -> list[Site]:
    """A home with a roof and its inverter, and a workshop with three phases in net-metering mode."""

    def meter(sn: str, name: str, phases: tuple[Phase, ...], *, nem: bool = False) -> Meter:
        return Meter(sn, name, phases, offset_min=offset_min, now_s=now_s, nem=nem)

    home = [
        meter("A1B2C3D4", "Grid meter", (Phase("house", 4800.0, 3),)),
        meter("E5F6A7B8", "Inverter meter", (Phase("inverter", 4800.0, 3),)),
    ]
    phases = (Phase("house", 6000.0, 5), Phase("house", 0.0, 8), Phase("unused"))
    return [
        Site(12345, "Demo site", home, offset_min),
        Site(12346, "Demo workshop", [meter("C9D0E1F2", "Workshop", phases, nem=True)], offset_min),
    ]
