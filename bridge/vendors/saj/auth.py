"""The one access token of an account: fetched once for all, kept over restarts, never fetched in a loop.

Invariant: a token that was refused is replaced by whoever is first; the others find the new one (page, 2.3).
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlencode

from bridge.domain.errors import AuthFailed, LostAnswer, NotSent, RateLimited, Refused, VendorError
from bridge.domain.times import from_unix
from bridge.pace.limits import Lane
from bridge.vendorkit.http import Call, Use
from bridge.vendorkit.spec import Kit
from bridge.vendors.saj import tokens
from bridge.vendors.saj.faults import BAD_CREDENTIALS, NO_TOKEN, EndpointClosed, TokenRefused, verified
from bridge.vendors.saj.settings import REQUESTS, TOKEN, SajSettings
from bridge.vendors.saj.throttle import Throttle
from bridge.vendors.saj.tokens import Token

OPERATION = "accessToken"
_CAP_PATIENCE_S = 5.0
_WRITE_REFUSED_FOR_S = 3600.0
_CONFLICT = "token_conflict: another program fetches tokens for the same app_id"


@dataclass(slots=True)
class _Pause:
    """Why no token request leaves before `until`."""

    until: float = 0.0
    failures: int = 0
    error: VendorError | None = None


@dataclass(slots=True)
class Auth:
    """Raises NotSent where a token is not to be had now, AuthFailed where the operator must act, RateLimited."""

    settings: SajSettings
    kit: Kit
    throttle: Throttle
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _loaded: bool = False
    _token: Token | None = None
    _distrusted: AuthFailed | None = None
    _refusals: list[float] = field(default_factory=list)
    _may_write: bool = False
    _write_refused_until: float = 0.0
    _pause: _Pause = field(default_factory=_Pause)

    @property
    def expires_at(self) -> datetime | None:
        """When the token expires, if the vendor said so."""
        expires_s = self._token.expires_at if self._token is not None else None
        return from_unix(expires_s) if expires_s is not None else None

    async def token(self, lane: Lane) -> Token:
        """The token in force; a new one where there is none, or where nine tenths of its life are over."""
        async with self._lock:
            await self._load()
            now_s = self._now_s()
            token = self._token
            if token is None or token.is_over(now_s):
                return await self._fetch(lane)
            if self._distrusted is not None:
                return await self._slowly(token, self._distrusted, lane)
            return await self._renewed(token, lane) if token.is_due(now_s) else token

    async def replaced(self, used: Token, error: TokenRefused, lane: Lane) -> Token:
        """The token to repeat a refused call with: the one that came meanwhile, else a new one."""
        async with self._lock:
            if self._token is not None and self._token.access != used.access:
                return self._token
            if self._distrusted is not None:
                return await self._slowly(used, self._distrusted, lane)
            if not used.is_due(self._now_s()):
                await self._note_refusal()
            if len(self._refusals) <= tokens.CONFLICT_REFUSALS:
                return await self._fetch(lane)
            conflict = AuthFailed(
                f"{_CONFLICT}; one request every 10 minutes from now on ({error.message})",
                operation=error.operation,
                native_code=error.native_code,
            )
            self.kit.log.warning("saj.token_conflict", extra={"account": self.kit.policy.account})
            self._distrusted = conflict
            return await self._slowly(used, conflict, lane)

    async def distrusted(self, used: Token, error: TokenRefused) -> AuthFailed:
        """What a refusal of a token just fetched means: there is no third try before some minutes have passed."""
        async with self._lock:
            if self._token is None or self._token.access == used.access:
                await self._note_refusal()
                self._distrusted = AuthFailed(
                    f"{_CONFLICT}, or app_id and user do not fit: a new token was refused at once "
                    f"({error.message})",
                    operation=error.operation,
                    native_code=error.native_code,
                )
            return self._distrusted or error

    async def allow_writing(self, lane: Lane) -> None:
        """Makes sure that the token in force was asked for with the scope `write`, from now on and for good (2.1).
        Raises Refused `auth_failed` where the vendor does not grant it."""
        async with self._lock:
            await self._load()
            token = self._token
            if self._may_write and token is not None and token.writes:
                return
            if self._now_s() < self._write_refused_until:
                raise _no_writing()
            await self._set_writing(True)
            await self._fetch(lane)
            if not self._may_write:
                raise _no_writing()

    async def _slowly(self, token: Token, error: AuthFailed, lane: Lane) -> Token:
        if self._now_s() < token.obtained_at + tokens.CONFLICT_PAUSE_S:
            raise error
        return await self._fetch(lane)

    async def _renewed(self, token: Token, lane: Lane) -> Token:
        """A renewal that fails is tried again later: the old token is still good."""
        try:
            return await self._fetch(lane)
        except VendorError as error:
            self.kit.log.warning(
                "saj.token_not_renewed",
                extra={"account": self.kit.policy.account, "reason": error.message},
            )
            return token

    async def _fetch(self, lane: Lane) -> Token:
        """A new token with the scope that is due; without `write` where the vendor refuses that."""
        self._refuse_pause()
        token = await self._requested(lane, writes=self._may_write)
        if token is None:
            await self._set_writing(False)
            self._write_refused_until = self._now_s() + _WRITE_REFUSED_FOR_S
            token = await self._requested(lane, writes=False)
        if token is None:
            raise NotSent("no access token", operation=OPERATION)
        self._token, self._distrusted, self._pause = token, None, _Pause()
        await self.kit.vault.put("token", token.as_json())
        return token

    async def _requested(self, lane: Lane, *, writes: bool) -> Token | None:
        """One token request. None where the scope `write` was asked for and the vendor said no."""
        try:
            return await self._request(lane, writes=writes)
        except (NotSent, RateLimited):
            raise
        except LostAnswer as error:
            if writes and error.native_code == NO_TOKEN:
                return None
            raise self._paused(error) from None
        except VendorError as error:
            if writes:
                return None
            raise self._denied(error) from None

    async def _request(self, lane: Lane, *, writes: bool) -> Token:
        uses = [Use(REQUESTS), Use(TOKEN)]
        wait_s = self.kit.http.wait_s(uses, lane)
        if _CAP_PATIENCE_S < wait_s < math.inf:
            raise RateLimited(
                f"no access token: its requests are used up, the next one can leave in {wait_s:.0f} s",
                retry_after_s=wait_s,
                operation=OPERATION,
            )
        call = Call(
            operation=OPERATION,
            method="GET",
            path=f"/accessToken?{self._query(writes=writes)}",
            uses=uses,
            lane=lane,
            timeout_s=self.settings.timeout,
            any_status=True,
        )
        self.throttle.count()
        reply = await self.kit.http.call(call)
        body = self._masked(reply.body)
        try:
            answer = verified(reply.status, body, OPERATION, writes=False)
        except RateLimited as error:
            raise await self.throttle.refused(error) from None
        return tokens.token_of(answer.data, self._now_s(), self._application(), writes=writes)

    def _query(self, *, writes: bool) -> str:
        scopes = ["read", "write"] if writes else ["read"]
        grant = self.settings.grant_type
        return urlencode(
            {
                "client_id": self.settings.app_id,
                "client_secret": self.settings.app_key.get_secret_value(),
                "grant_type": grant.get_secret_value() if grant else "client_credentials",
                "scope": self.settings.scope_separator.join(scopes),
            },
            quote_via=quote,
        )

    def _masked(self, body: bytes) -> bytes:
        """The body without our key: what a cloud echoes could end up in a message."""
        key = self.settings.app_key.get_secret_value().encode()
        return body.replace(key, b"***") if len(key) >= 8 else body

    def _paused(self, error: LostAnswer) -> VendorError:
        """An unanswered request, or 10099: later again, each time more slowly."""
        failures = self._pause.failures + 1
        if error.native_code == NO_TOKEN:
            pauses = tokens.REFUSED_PAUSES_S
            pause_s = pauses[min(failures, len(pauses)) - 1]
            kind = AuthFailed if failures > len(pauses) else NotSent
        else:
            pause_s, kind = tokens.lost_pause_s(failures), NotSent
        told = kind(f"no access token: {error.message}", operation=OPERATION, native_code=error.native_code)
        self._pause = _Pause(self._now_s() + pause_s, failures, told)
        return told

    def _denied(self, error: VendorError) -> VendorError:
        """A no to the request itself. Wrong credentials stay wrong until the configuration changes."""
        if isinstance(error, EndpointClosed) and error.code == "unsupported":
            return self._paused(LostAnswer(f"{error.message}: check base_url", native_code=error.native_code))
        denied = AuthFailed(
            f"no access token: {error.message}", operation=OPERATION, native_code=error.native_code
        )
        until = math.inf if error.native_code == BAD_CREDENTIALS else self._now_s() + 900.0
        self._pause = _Pause(until, self._pause.failures + 1, denied)
        return denied

    def _refuse_pause(self) -> None:
        if self._pause.error is not None and self._now_s() < self._pause.until:
            raise self._pause.error

    async def _note_refusal(self) -> None:
        now_s = self._now_s()
        self._refusals = [*tokens.recent(self._refusals, now_s), now_s]
        await self.kit.vault.put("refusals", self._refusals)

    async def _set_writing(self, allowed: bool) -> None:
        self._may_write = allowed
        await self.kit.vault.put("writing", True if allowed else None)

    async def _load(self) -> None:
        if self._loaded:
            return
        token = tokens.token_from(await self.kit.vault.get("token"))
        if token is not None and token.application == self._application():
            self._token = token
        refusals = await self.kit.vault.get("refusals")
        self._refusals = [float(at) for at in refusals] if isinstance(refusals, list) else []
        self._may_write = await self.kit.vault.get("writing") is True
        self._loaded = True

    def _application(self) -> str:
        return f"{self.settings.app_id}@{self.settings.base_url}"

    def _now_s(self) -> float:
        return self.kit.clock.now().timestamp()


def _no_writing() -> Refused:
    return Refused(
        "the vendor does not grant the scope write: management commands are not possible",
        code="auth_failed",
        operation=OPERATION,
    )
