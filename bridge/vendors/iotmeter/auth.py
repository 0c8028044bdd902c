"""The token of the control API: fetched once for all who need it, kept over restarts, renewed in time (2.2).

The password's MD5 stands in the query of one URL, and in nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

from bridge.domain.errors import AuthFailed, BadReply, LostAnswer, NotSent, RateLimited, Refused, VendorError
from bridge.domain.text import Json
from bridge.domain.times import parse_rfc3339, rfc3339
from bridge.pace.limits import Lane
from bridge.ports import Clock
from bridge.vendorkit.http import Call, Use, VendorHttp
from bridge.vendorkit.spec import Vault
from bridge.vendors.iotmeter.faults import http_fault, refusal
from bridge.vendors.iotmeter.settings import ControlSettings
from bridge.vendors.iotmeter.wire import Login, answer_of, login_of

LOGIN_PATH = "/api/Conf/Account/Login"
RENEW_PART = 0.1
RENEW_S = 300.0
FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 900.0

MASK = "***"

_UNTOLD_LIFE = timedelta(hours=1)
_KEY = "token"


def masked(message: str, secrets: Sequence[str]) -> str:
    """A message of the platform without what nobody must see."""
    for secret in secrets:
        message = message.replace(secret, MASK)
    return message


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the stretch of time for which it was given."""

    text: str
    issued_at: datetime
    expires_at: datetime

    def is_fresh(self, now: datetime) -> bool:
        """Whether it need not be renewed yet: more than 10 % of its life and 5 minutes remain, whichever is longer.
        One that lives shorter than ten minutes is used for half of its life."""
        life_s = (self.expires_at - self.issued_at).total_seconds()
        margin_s = min(max(life_s * RENEW_PART, RENEW_S), life_s / 2)
        return self.issued_at <= now < self.expires_at - timedelta(seconds=margin_s)


class TokenKeeper:
    """One per account."""

    def __init__(
        self,
        http: VendorHttp,
        settings: ControlSettings,
        clock: Clock,
        vault: Vault,
        zone: tzinfo,
        timeout_s: float,
    ) -> None:
        self._http = http
        self._settings = settings
        self._clock = clock
        self._vault = vault
        self._zone = zone
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._token: Token | None = None
        self._loaded = False
        self._failures = 0
        self._rest_until = 0.0
        self._last_error: VendorError | None = None

    async def token(self, refused: str | None = None) -> str:
        """A token to use now. `refused`: one that the platform did not take; it is not given again.

        Raises AuthFailed (the credentials are wrong) or NotSent (nobody can be asked now). After a failed login the
        next one is tried 30 s later, then 60 s, up to 15 min.
        """
        # single-flight: whoever waits here finds the token that the first one fetched
        async with self._lock:
            if not self._loaded:
                self._token, self._loaded = self._read(await self._vault.get(_KEY)), True
            if self._token is not None and self._token.text == refused:
                self._token = None
            if self._token is None or not self._token.is_fresh(self._clock.now()):
                self._token = await self._renewed()
            return self._token.text

    @property
    def expires_at(self) -> datetime | None:
        """When the token expires."""
        return self._token.expires_at if self._token is not None else None

    def secrets(self) -> tuple[str, ...]:
        """What must not stand in any message of the control API."""
        password = self._settings.password.get_secret_value()
        token = (self._token.text,) if self._token is not None else ()
        return (*token, self._digest(), password)

    def login_call(self) -> Call:
        """The request of a login."""
        return Call(
            operation="Account/Login",
            method="POST",
            path=LOGIN_PATH,
            uses=(Use("control"),),
            lane=Lane.COMMAND,
            params={"loginName": self._settings.login_name, "pwd": self._digest()},
            headers={"Content-Type": "application/json"},
            content=b"{}",
            timeout_s=self._timeout_s,
            base_url=self._settings.base_url,
        )

    async def _renewed(self) -> Token:
        if self._last_error is not None and self._clock.monotonic() < self._rest_until:
            raise _again(self._last_error)
        try:
            login = await self._login()
        except VendorError as error:
            raise self._failed(error) from None
        self._failures, self._last_error = 0, None
        now = self._clock.now()
        # one that has passed already tells only that the clocks differ; a token that is over gets refused
        told = login.expires_at if login.expires_at is not None and login.expires_at > now else None
        token = Token(login.token, now, told or now + _UNTOLD_LIFE)
        await self._vault.put(_KEY, self._written(token))
        return token

    async def _login(self) -> Login:
        reply = await self._http.call(self.login_call())
        operation = "Account/Login"
        if reply.status != 200:
            fault = http_fault(reply.status, operation, control=True)
            raise AuthFailed(fault.message, operation=operation) if isinstance(fault, AuthFailed) else fault
        try:
            answer = answer_of(reply.body)
            if answer.good:
                return login_of(answer.data, self._zone)
        except ValueError as error:
            raise BadReply(f"the answer cannot be read: {error}", operation=operation) from None
        told = refusal(
            replace(answer, message=masked(answer.message, self.secrets())), operation, control=True
        )
        raise AuthFailed(f"the login is refused ({told.message})", operation=operation)

    def _failed(self, error: VendorError) -> VendorError:
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(10, self._failures))
        if isinstance(error, RateLimited):
            pause_s = max(pause_s, error.retry_after_s)
        self._failures += 1
        self._rest_until = self._clock.monotonic() + pause_s
        self._last_error = error
        return _again(error)

    def _digest(self) -> str:
        password = self._settings.password.get_secret_value().encode()
        digest = hashlib.md5(password, usedforsecurity=False).hexdigest()
        return digest.upper() if self._settings.md5_upper else digest

    def _owner(self) -> str:
        """Changes with the credentials, so that a token of others is not used."""
        parts = (self._settings.base_url, self._settings.login_name, self._digest())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _written(self, token: Token) -> Json:
        return {
            "token": token.text,
            "issued_at": rfc3339(token.issued_at),
            "expires_at": rfc3339(token.expires_at),
            "owner": self._owner(),
        }

    def _read(self, kept: Json) -> Token | None:
        try:
            if kept["owner"] != self._owner():
                return None
            return Token(
                str(kept["token"]), parse_rfc3339(kept["issued_at"]), parse_rfc3339(kept["expires_at"])
            )
        except (TypeError, KeyError, ValueError):
            return None


def _again(error: VendorError) -> VendorError:
    """A failed login as the caller has to see it: nothing of what it wanted has left."""
    if isinstance(error, AuthFailed):
        return AuthFailed(error.message, operation=error.operation, native_code=error.native_code)
    if isinstance(error, LostAnswer | NotSent | RateLimited | Refused):
        return NotSent(f"no token: {error.message}", operation=error.operation, native_code=error.native_code)
    return error
