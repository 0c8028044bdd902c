"""The simulated SAJ cloud: tokens, quotas, what was asked, what happened, what a test may do to it.

Single-threaded: every method runs to its end inside the event loop.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from bridge.simulators.faults import FaultPlan
from bridge.simulators.ledger import CallLog, Ledger
from bridge.simulators.saj import wire
from bridge.simulators.saj.fleet import Alarm, Fleet
from bridge.simulators.saj.reads import Reads
from bridge.simulators.saj.wire import Ask, Refusal
from bridge.simulators.saj.writes import write
from bridge.simulators.simtime import SimTime

_QUOTA_ZONE = timezone(timedelta(hours=8))
_TOKEN_PARAMS = frozenset({"client_id", "client_secret", "grant_type", "scope"})


@dataclass(frozen=True, slots=True)
class Application:
    """The application that the cloud knows. `scopes` may be granted."""

    app_id: str
    app_key: str = field(repr=False)
    uid: int = 15000
    grant_type: str = "client_credentials"
    scopes: frozenset[str] = frozenset({"read", "write"})


@dataclass(slots=True)
class Options:
    """How the cloud behaves where the page leaves it open. 0 calls: no limit. `closed`: end points that do not exist
    for this application, by code."""

    hourly_calls: int = 0
    daily_calls: int = 0
    expires_in: int = 604800
    alarm_order: str = "newest_first"
    cursor_end: str = "repeat"
    latest: str = "upto"
    closed: dict[str, int] = field(default_factory=dict)

    def set(self, name: str, value: Any) -> None:
        """Raises ValueError for another name or kind of value."""
        known = {item.name: type(getattr(self, item.name)) for item in fields(self)}
        if name not in known or type(value) is not known[name]:
            raise ValueError(f"no such option, or another type: {name}")
        words = {
            "alarm_order": ("newest_first", "oldest_first"),
            "cursor_end": ("repeat", "zero", "empty"),
            "latest": ("upto", "day"),
        }
        if name in words and value not in words[name]:
            raise ValueError(f"{name}: expected one of {', '.join(words[name])}")
        setattr(self, name, value)


@dataclass(slots=True)
class Grant:
    """The token in force. Only one ever is: a new one ends it."""

    access: str = field(repr=False)
    scopes: frozenset[str]
    expires_at: float


class SajCloud:
    """State of the cloud. Quotas count good tokens' calls per clock hour and per day of UTC+8."""

    def __init__(
        self, application: Application, fleet: Fleet, *, time: SimTime, rng: random.Random, **options: Any
    ) -> None:
        self.application = application
        self.fleet = fleet
        self.time = time
        self.options = Options()
        self.ledger = Ledger()
        self.calls = CallLog()
        self.faults = FaultPlan(rng)
        self.tokens_issued = 0
        self._rng = rng
        self._grant: Grant | None = None
        self._used: dict[tuple[str, int], int] = {}
        for name, value in options.items():
            self.options.set(name, value)

    def now(self) -> datetime:
        """The simulated time."""
        return datetime.fromtimestamp(self.time.now(), UTC)

    def answer(self, ask: Ask, request: int) -> dict[str, Any]:
        """Does what call number `request` asks and gives the JSON answer."""
        try:
            if ask.endpoint == "accessToken":
                return wire.success(self._token(ask))
            self._admit(ask)
            wire.check(ask)
            if ask.method == "GET":
                return wire.success(
                    Reads(self.fleet, self.now(), self.options).data(ask.endpoint, ask.params)
                )
            done = write(ask.endpoint, ask.params, self.fleet, self.now())
        except Refusal as refusal:
            return wire.failure(refusal.code, refusal.detail)
        self.ledger.add(self.time.real(), done.device, done.effect, done.detail, request)
        if ask.endpoint == "user/modifysign":
            return {"data": {}}
        return wire.success(done.data)

    def _token(self, ask: Ask) -> dict[str, Any]:
        if ask.method != "GET" or not ask.params.keys() <= _TOKEN_PARAMS:
            raise Refusal(wire.BAD_PARAMETER)
        known = self.application
        given = (ask.params.get("client_id"), ask.params.get("client_secret"))
        if given != (known.app_id, known.app_key):
            raise Refusal(wire.BAD_LOGIN)
        if ask.params.get("grant_type") != known.grant_type:
            raise Refusal(wire.TOKEN_FAILED)
        scopes = frozenset(ask.params.get("scope", "read").replace(",", " ").split())
        if not scopes or not scopes <= known.scopes:
            raise Refusal(wire.TOKEN_FAILED)
        return self.issue(scopes)

    def issue(self, scopes: frozenset[str] = frozenset({"read"})) -> dict[str, Any]:
        """A new token, which ends the one before."""
        self.tokens_issued += 1
        access = f"{self._rng.getrandbits(128):032x}"
        self._grant = Grant(access, scopes, self.time.real() + self.options.expires_in)
        return {
            "uid": self.application.uid,
            "scope": " ".join(sorted(scopes)),
            "token": "bearer",
            "expires_in": self.options.expires_in,
            "refresh_token": f"{self._rng.getrandbits(128):032x}",
            "access_token": access,
        }

    def revoke(self) -> None:
        """The token in force ends."""
        self._grant = None

    def _admit(self, ask: Ask) -> None:
        """Token, user id, quota, end point, scope, in this order. Raises Refusal."""
        if not ask.token:
            raise Refusal(wire.NO_TOKEN)
        grant = self._grant
        if grant is None or ask.token != grant.access:
            raise Refusal(wire.TOKEN_UNKNOWN)
        if self.time.real() >= grant.expires_at:
            raise Refusal(wire.TOKEN_EXPIRED)
        if ask.uid != str(self.application.uid):
            raise Refusal(wire.WRONG_UID)
        self._count()
        if ask.endpoint in self.options.closed:
            raise Refusal(self.options.closed[ask.endpoint])
        if ask.method == "POST" and ask.endpoint in wire.WRITES and "write" not in grant.scopes:
            raise Refusal(wire.FORBIDDEN)

    def _count(self) -> None:
        now_s = self.time.real()
        day = datetime.fromtimestamp(now_s, _QUOTA_ZONE).toordinal()
        hour, today = ("hour", int(now_s // 3600)), ("day", day)
        if self.options.daily_calls and self._used.get(today, 0) >= self.options.daily_calls:
            raise Refusal(wire.DAY_LIMIT)
        if self.options.hourly_calls and self._used.get(hour, 0) >= self.options.hourly_calls:
            raise Refusal(wire.HOUR_LIMIT)
        self._used = {key: count for key, count in self._used.items() if key in (hour, today)}
        for key in (hour, today):
            self._used[key] = self._used.get(key, 0) + 1

    # What a test or a demo does to the cloud. An unknown plant or serial number is a KeyError.

    def set_status(self, plant_id: int, status: int | None) -> None:
        """A plant shows this status from now on (None: the sun's). With 10 its inverters fall silent."""
        plant = self.fleet.plants[plant_id]
        plant.status = status
        for inverter in plant.inverters:
            inverter.silent_from = self.now() if status == 10 else None

    def silence(self, sn: str, *, silent: bool = True) -> None:
        """An inverter sends nothing any more, or again."""
        _plant, inverter = self.fleet.by_sn(sn)
        inverter.silent_from = self.now() if silent else None

    def raise_alarm(self, sn: str, code: str, message: str = "", *, started_s: float | None = None) -> None:
        """An alarm begins, now or at this time."""
        _plant, inverter = self.fleet.by_sn(sn)
        at = self.now() if started_s is None else datetime.fromtimestamp(started_s, UTC)
        inverter.alarms.append(Alarm(code, message, at.replace(microsecond=0)))

    def end_alarm(self, sn: str, code: str, *, handled: bool = False) -> None:
        """The newest open alarm with this code ends, or is noted as handled."""
        _plant, inverter = self.fleet.by_sn(sn)
        still = [
            one for one in inverter.alarms if one.code == code and not one.handled and one.ended_at is None
        ]
        if not still:
            raise ValueError(f"no open alarm {code!r}")
        if handled:
            still[-1].handled = True
        else:
            still[-1].ended_at = self.now().replace(microsecond=0)

    def configure(self, **options: Any) -> None:
        """Sets fields of `Options`. Raises ValueError for another name or type."""
        for name, value in options.items():
            self.options.set(name, value)

    def as_json(self) -> dict[str, Any]:
        """For the control surface; no secrets."""
        return {
            **self.fleet.as_json(self.now()),
            "tokens_issued": self.tokens_issued,
            "used": {kind: count for (kind, _number), count in self._used.items()},
            "options": asdict(self.options),
        }
