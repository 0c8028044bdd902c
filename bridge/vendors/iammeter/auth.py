"""The account's token: the one of the settings, or one by login, kept over restarts (page iammeter, section 2).

Invariant: at most one login is under way, and none while the token at hand was not refused: a new one may end the
old one for every other user of the account.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field

from pydantic import SecretStr

from bridge.domain.errors import AuthFailed, BadReply, NotSent, RateLimited, Refused, VendorError
from bridge.domain.text import Json
from bridge.domain.times import rfc3339
from bridge.pace.limits import Lane
from bridge.ports import Clock
from bridge.vendorkit.http import Call, Use, VendorHttp
from bridge.vendorkit.spec import Vault
from bridge.vendors.iammeter.faults import data_of
from bridge.vendors.iammeter.settings import HOUR_S, LOGIN, IammeterSettings

VAULT_KEY = "token"
MASK = "***"

_USE = Use(LOGIN)
_PATIENCE_S = 5.0
_MASKABLE_CHARS = 8


@dataclass(slots=True)
class Keys:
    """Whoever calls the vendor asks `token` for one, and `renew` when it was refused."""

    http: VendorHttp
    settings: IammeterSettings
    vault: Vault
    clock: Clock
    _token: SecretStr | None = None
    _refused_until: float = 0.0
    _refusal: str = ""
    _flight: asyncio.Future[SecretStr] | None = field(default=None, repr=False)

    async def token(self) -> SecretStr:
        """The token to use. Raises VendorError where it takes a login and that fails."""
        if self._token is None:
            self._token = await self._kept() or self.settings.token
        return self._token if self._token is not None else await self._fetched()

    async def renew(self, refused: SecretStr) -> SecretStr:
        """Another token than the one that was just refused. Raises AuthFailed where there is no way to one."""
        if self._token is not None and self._token != refused:
            return self._token
        return await self._fetched()

    def despair(self) -> None:
        """Even a new token is refused: no more logins for an hour."""
        self._refuse("the vendor refuses a token that it has just given out")

    def masked(self, body: bytes) -> bytes:
        """An answer without our secrets: what a cloud echoes could end up in a message or a record."""
        for secret in (self._token, self.settings.token, self.settings.password):
            text = secret.get_secret_value() if secret is not None else ""
            if len(text) >= _MASKABLE_CHARS:
                body = body.replace(text.encode(), MASK.encode())
        return body

    async def _fetched(self) -> SecretStr:
        """Logs in, or waits for the login that is under way and shares what becomes of it."""
        if self._flight is not None:
            return await asyncio.shield(self._flight)
        flight = self._flight = asyncio.get_running_loop().create_future()
        try:
            self._token = await self._login()
            flight.set_result(self._token)
        except VendorError as error:
            flight.set_exception(error)
            raise
        finally:
            if not flight.done():
                flight.set_exception(NotSent("the login was interrupted", operation="login"))
            flight.exception()  # fetched here: nobody need be waiting for it
            self._flight = None
        return self._token

    async def _login(self) -> SecretStr:
        username, password = self.settings.username, self.settings.password
        if username is None or password is None:
            raise AuthFailed("the token is refused: copy the present one from the web page of IAMMETER-cloud")
        if self.clock.monotonic() < self._refused_until:
            raise AuthFailed(self._refusal, operation="login")
        wait_s = self.http.wait_s([_USE], Lane.COMMAND)
        if wait_s > _PATIENCE_S:
            raise RateLimited("no login is left of 5 an hour", retry_after_s=wait_s, operation="login")
        fields = await self._answer(username, password)
        token = fields.get("token") if isinstance(fields, dict) else None
        if not isinstance(token, str) or not token.strip():
            raise BadReply("the login brought no token", operation="login")
        await self._keep(token.strip(), fields.get("refreshToken"))
        return SecretStr(token.strip())

    async def _answer(self, username: str, password: SecretStr) -> Json:
        body = {"userName": username, "password": password.get_secret_value()}
        reply = await self.http.call(
            Call(
                "login",
                "POST",
                "/user/login",
                [_USE],
                Lane.COMMAND,
                json=body,
                timeout_s=self.settings.timeout,
            )
        )
        try:
            # the token is what is wanted here, so only the password is masked
            text = password.get_secret_value().encode()
            clean = reply.body.replace(text, MASK.encode()) if len(text) >= _MASKABLE_CHARS else reply.body
            return data_of(reply.status, clean, "login")
        except RateLimited as error:
            await self.http.block(_USE, HOUR_S)
            wait_s = max(HOUR_S, self.http.wait_s([_USE], Lane.COMMAND))
            raise RateLimited(error.message, retry_after_s=wait_s, operation="login") from None
        except (AuthFailed, Refused) as error:
            raise self._refuse(f"username or password is refused: {error.native_code}") from None

    def _refuse(self, message: str) -> AuthFailed:
        """Asking again would only use up the logins (4.1)."""
        self._refused_until = self.clock.monotonic() + HOUR_S
        self._refusal = message
        return AuthFailed(message, operation="login")

    async def _kept(self) -> SecretStr | None:
        """The token of an earlier login, if it was for this user and the settings have no newer one."""
        entry = await self.vault.get(VAULT_KEY)
        if not isinstance(entry, dict) or entry.get("for") != self._identity():
            return None
        token = entry.get("token")
        return SecretStr(token) if isinstance(token, str) and token else None

    async def _keep(self, token: str, refresh_token: Json) -> None:
        entry = {
            "token": token,
            "refresh_token": refresh_token,  # no documented use
            "at": rfc3339(self.clock.now()),
            "for": self._identity(),
        }
        await self.vault.put(VAULT_KEY, entry)

    def _identity(self) -> str:
        """Whom a kept token belongs to. The settings' own token is part of it: one that was refused is not tried
        again after a restart, and a new one comes first."""
        own = self.settings.token.get_secret_value() if self.settings.token is not None else ""
        parts = (self.settings.base_url, self.settings.username or "", own)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
