"""How each account fares: its `status` topic, and when nothing may be asked because it would only do harm.

States: online, degraded (some calls fail), rate_limited, unreachable, auth_failed. An account whose credentials are
refused is parked: no call leaves until PARK_FIRST_S have passed, then one is tried, then twice as long, and so on.
A part of the API with a login of its own (`CommandSpec.part`) is parked alone, from PART_FIRST_S to PART_MAX_S: the
account goes on, degraded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.domain.errors import (
    AuthFailed,
    DeviceOffline,
    DeviceSilent,
    EndpointBarred,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    VendorError,
)
from bridge.domain.times import rfc3339
from bridge.ports import Clock, Rng

log = logging.getLogger("bridge.accounts")

PARK_FIRST_S = 900.0
PARK_MAX_S = 6 * 3600.0
PART_FIRST_S = 30.0
PART_MAX_S = 900.0
"""As the one vendor with such a part says of its logins (page iotmeter 3)."""
PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 60.0
FAILURES_UNTIL_UNREACHABLE = 3
RATE_TOLD_FROM_S = 5.0
"""A shorter wait is over before anybody has read of it."""
SAME_END = timedelta(seconds=5)


@dataclass(slots=True)
class Parking:
    """Why, and until when (monotonic seconds), nothing is asked; the next time for `park_s`."""

    parked_for: AuthFailed | None = None
    parked_until: float = 0.0
    park_s: float = PARK_FIRST_S
    most_s: float = PARK_MAX_S

    def reason(self, now: float) -> AuthFailed | None:
        """The refusal that stands now."""
        return self.parked_for if now < self.parked_until else None

    def park(self, error: AuthFailed, now: float) -> None:
        """The credentials were refused (again)."""
        self.parked_for = error
        self.parked_until = now + self.park_s
        self.park_s = min(self.most_s, self.park_s * 2)


@dataclass(slots=True)
class AccountState:
    """What `status` says, and what follows from it. `heard`: whether `last_success` is of this run, not of an earlier
    one. `paused_until` is monotonic seconds; `parts`: parked alone."""

    word: str = "degraded"
    message: str = "no answer from the vendor yet"
    since: datetime | None = None
    last_success: datetime | None = None
    heard: bool = False
    failures: int = 0
    pauses: int = 0
    paused_until: float = 0.0
    limited_until: datetime | None = None
    parking: Parking = field(default_factory=Parking)
    parts: dict[str, Parking] = field(default_factory=dict)


class AccountHealth:
    """Implements `casebook.Health` for all accounts."""

    def __init__(self, clock: Clock, rng: Rng) -> None:
        self._clock = clock
        self._rng = rng
        self._states: dict[str, AccountState] = {}
        self.recalled: dict[str, datetime] = {}
        """When the vendors answered last before this run, for `enter`."""
        self._changed: dict[str, bool] = {}
        self._wake = asyncio.Event()
        self.on_auth_failed: Callable[[str, str], None] = lambda _account, _message: None
        self.on_barred: Callable[[str, EndpointBarred], None] = lambda _account, _error: None

    def enter(self, account: str) -> None:
        """An account begins (again): what was parked may be tried. When its vendor answered last stays known."""
        before = self._states.get(account)
        last_success = before.last_success if before is not None else self.recalled.pop(account, None)
        self._states[account] = AccountState(since=self._clock.now(), last_success=last_success)
        self._touch(account, at_once=True)

    def leave(self, account: str) -> None:
        """An account ends."""
        self._states.pop(account, None)
        self._changed.pop(account, None)

    def state(self, account: str) -> AccountState | None:
        """How it fares now."""
        return self._states.get(account)

    def states(self) -> dict[str, AccountState]:
        """All accounts."""
        return dict(self._states)

    def parked(self, account: str, part: str = "") -> AuthFailed | None:
        """See `casebook.Health.parked`."""
        state = self._states.get(account)
        if state is None:
            return None
        parking = state.parts.get(part) if part else state.parking
        return parking.reason(self._clock.monotonic()) if parking is not None else None

    def pause_s(self, account: str) -> float:
        """How long polling of this account rests, in seconds."""
        state = self._states.get(account)
        if state is None:
            return 0.0
        now = self._clock.monotonic()
        return max(0.0, state.paused_until - now, state.parking.parked_until - now)

    def succeeded(self, account: str, part: str = "") -> None:
        """The vendor answered as it should."""
        state = self._states.get(account)
        if state is None:
            return
        state.last_success, state.heard = self._clock.now(), True
        if part:
            if state.parts.pop(part, None) is not None and state.word == "degraded":
                self._become(account, state, "online", "")
            return
        state.failures = state.pauses = 0
        state.paused_until = 0.0
        state.parking = Parking()
        self._become(account, state, "online", "")

    def reached(self, account: str) -> None:
        """The vendor listed the devices: that ends `unreachable`, and the time before the first answer. What else is
        wrong, only a reading that succeeds can end."""
        state = self._states.get(account)
        first = state is not None and state.word == "degraded" and not state.heard
        if state is not None and (state.word == "unreachable" or first):
            self.succeeded(account)

    def failed(self, account: str, error: VendorError, part: str = "") -> None:
        """A call failed; what that means for the account. Of a part, only refused credentials do: whatever else is
        amiss with it, the command tells."""
        state = self._states.get(account)
        if state is None:
            return
        if part:
            self._part_failed(account, state, error, part)
            return
        match error:
            case AuthFailed():
                self._park(account, state, error)
            case RateLimited():
                self._become(account, state, "rate_limited", self._until(state, error))
            case DeviceOffline() | DeviceSilent() | Refused():
                self.succeeded(account)  # the cloud itself is well
            case NotSent():
                self._unreachable(account, state, error)
            case LostAnswer():
                self._degraded(account, state, error)
            case _:
                self._become(account, state, "degraded", error.message)

    def declined(self, account: str, error: Refused) -> None:
        """A no to what was asked for the whole account, not for one device: some calls fail. An end point to which
        the account has no right is not asked any more, so nothing fails: that is told once."""
        state = self._states.get(account)
        if state is None:
            return
        if isinstance(error, EndpointBarred):
            log.error(
                "account.endpoint_barred",
                extra={"account": account, "endpoint": error.operation, "reason": error.message},
            )
            self.on_barred(account, error)
            return
        self._become(account, state, "degraded", error.message)

    async def changed(self) -> list[str]:
        """Waits for accounts whose `status` should be published."""
        await self._wake.wait()
        self._wake.clear()
        names = [name for name, due in self._changed.items() if due and name in self._states]
        self._changed.clear()
        return names

    def _park(self, account: str, state: AccountState, error: AuthFailed) -> None:
        now = self._clock.monotonic()
        if state.parking.reason(now) is not None:
            return
        told = state.word == "auth_failed"
        state.parking.park(error, now)
        self._become(account, state, "auth_failed", error.message)
        if not told:
            self._tell(account, error.message)

    def _part_failed(self, account: str, state: AccountState, error: VendorError, part: str) -> None:
        if isinstance(error, DeviceOffline | DeviceSilent | Refused):
            self.succeeded(account, part)
        if not isinstance(error, AuthFailed):
            return
        now = self._clock.monotonic()
        told = part in state.parts
        parking = state.parts.setdefault(part, Parking(park_s=PART_FIRST_S, most_s=PART_MAX_S))
        if parking.reason(now) is not None:
            return
        parking.park(error, now)
        if state.word == "online":
            self._become(account, state, "online", "")
        if not told:
            self._tell(account, f"{part}: {error.message}")

    def _tell(self, account: str, message: str) -> None:
        log.error("account.auth_failed", extra={"account": account, "reason": message})
        self.on_auth_failed(account, message)

    def _until(self, state: AccountState, error: RateLimited) -> str:
        """The error, and when it ends; what was said before where the end is the same: who finds the limit used up
        while it lasts has nothing to add."""
        if error.retry_after_s < RATE_TOLD_FROM_S:
            state.limited_until = None
            return error.message
        until = self._clock.now() + timedelta(seconds=error.retry_after_s)
        if state.limited_until is None or abs(until - state.limited_until) > SAME_END:
            state.limited_until = until
        elif state.word == "rate_limited":
            return state.message
        at = state.limited_until.replace(microsecond=0) + timedelta(seconds=1)
        return f"{error.message}; again from {rfc3339(at)}"

    def _unreachable(self, account: str, state: AccountState, error: VendorError) -> None:
        self._pause(state)
        self._become(account, state, "unreachable", error.message)

    def _degraded(self, account: str, state: AccountState, error: VendorError) -> None:
        self._pause(state)
        many = state.failures >= FAILURES_UNTIL_UNREACHABLE
        self._become(account, state, "unreachable" if many else "degraded", error.message)

    def _pause(self, state: AccountState) -> None:
        state.failures += 1
        now = self._clock.monotonic()
        if now < state.paused_until:
            return  # of a call that was under way: many devices that fail together are one trouble
        state.pauses += 1
        pause_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(10, state.pauses - 1))
        state.paused_until = now + pause_s * self._rng.uniform(0.5, 1.0)

    def _become(self, account: str, state: AccountState, word: str, message: str) -> None:
        refused = {part: one.parked_for for part, one in state.parts.items() if one.parked_for is not None}
        if word == "online" and refused:
            word, message = "degraded", "; ".join(f"{part}: {one.message}" for part, one in refused.items())
        if state.word != word:
            state.since = self._clock.now()
            log.info("account.status", extra={"account": account, "state": word, "reason": message})
        elif state.message == message:
            return
        state.word, state.message = word, message
        self._touch(account, at_once=True)

    def _touch(self, account: str, at_once: bool) -> None:
        self._changed[account] = at_once
        self._wake.set()
