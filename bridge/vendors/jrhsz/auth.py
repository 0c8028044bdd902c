"""The login and its token (page jrhsz, section 2).

Invariant: one login at a time, and none with credentials that the platform refused: 1005 ends it until the account
is set up anew, 1002 for a quarter of an hour. A refusal is kept on disk: a restart asks again only some time later.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime

from bridge.domain.errors import AuthFailed, LostAnswer, NotSent
from bridge.domain.text import Json
from bridge.ports import Clock
from bridge.vendorkit.http import Call, VendorHttp
from bridge.vendorkit.spec import Vault
from bridge.vendors.jrhsz.faults import GOOD, MISSING_PARAMETER, WRONG_PASSWORD, error_of
from bridge.vendors.jrhsz.flight import SharedCall
from bridge.vendors.jrhsz.settings import JrhszSettings
from bridge.vendors.jrhsz.wire import Answer, Encoding, Token, answer_of, body_of, token_of

LOGIN_AGAIN_S = 900.0
RESTARTED_S = 3600.0
"""So long after a wrong password a restarted gateway does not try it again: restarts may come in a loop."""

VAULT_KEY = "token"
REFUSAL_KEY = "refusal"

_LOGIN = "login"
_MASKABLE_CHARS = 4


class Session:
    """The one holder of this account's token."""

    def __init__(self, http: VendorHttp, vault: Vault, clock: Clock, settings: JrhszSettings) -> None:
        self._http = http
        self._vault = vault
        self._clock = clock
        self._settings = settings
        self._obtaining = SharedCall(self._obtain, f"login-{settings.id}")
        self._token: Token | None = None
        self._loaded = False
        self._refusal: AuthFailed | None = None
        self._refused_until = 0.0
        self.encoding: Encoding = settings.body_encoding

    async def token(self) -> str:
        """A token that should be valid; logs in where there is none.

        Raises AuthFailed, other VendorErrors by their code, and NotSent where the login brought no answer: what
        the token was wanted for did not leave then.
        """
        token = self._token
        if token is not None and self._clock.now() < token.renew_at:
            return token.text
        return (await self._obtaining.result()).text

    @property
    def expires_at(self) -> datetime | None:
        """When the token expires."""
        return self._token.expires_at if self._token is not None else None

    async def renew(self, stale: str) -> None:
        """The platform does not take this token any more: the next one will be another."""
        if self._token is not None and self._token.text == stale:
            self._token = None
        await self.token()

    async def refuse(self, error: AuthFailed) -> None:
        """The platform refuses the credentials: no login before it makes sense."""
        self._refusal = error
        wait_s = math.inf if error.native_code == WRONG_PASSWORD else LOGIN_AGAIN_S
        self._refused_until = self._clock.monotonic() + wait_s
        kept = {"of": self._fingerprint(), "code": error.native_code, "message": error.message}
        await self._vault.put(REFUSAL_KEY, {**kept, "at": int(self._clock.now().timestamp())})

    async def insist(self) -> None:
        """A person wants to know now: a refusal that an earlier process met is tried once more."""
        await self._load()
        self._refusal = None

    def masked(self, text: str) -> str:
        """A text of the platform without our secrets, should it echo them."""
        secrets = [self._settings.password.get_secret_value()]
        if self._token is not None:
            secrets.append(self._token.text)
        for secret in secrets:
            if len(secret) >= _MASKABLE_CHARS:
                text = text.replace(secret, "***")
        return text

    async def _obtain(self) -> Token:
        """The token of an earlier process, if it belongs to these credentials and still lives, else a new one."""
        if not self._loaded:
            await self._load()
            if self._token is not None:
                return self._token
        return await self._log_in()

    async def _load(self) -> None:
        self._loaded = True
        kept = await self._vault.get(VAULT_KEY)
        token = _token_from(kept, self._fingerprint())
        if token is not None:
            self.encoding = "form" if kept.get("encoding") == "form" else self.encoding
            if self._clock.now() < token.renew_at:
                self._token = token
        self._load_refusal(await self._vault.get(REFUSAL_KEY))

    def _load_refusal(self, kept: Json) -> None:
        if not isinstance(kept, dict) or kept.get("of") != self._fingerprint():
            return
        code, message, at_s = kept.get("code"), kept.get("message"), kept.get("at")
        if not isinstance(message, str) or not isinstance(at_s, int):
            return
        rest_s = RESTARTED_S if code == WRONG_PASSWORD else LOGIN_AGAIN_S
        left_s = min(rest_s, at_s + rest_s - self._clock.now().timestamp())
        self._refusal = AuthFailed(message, operation=_LOGIN, native_code=code)
        self._refused_until = self._clock.monotonic() + left_s

    async def _log_in(self) -> Token:
        refusal = self._refusal
        if refusal is not None and self._clock.monotonic() < self._refused_until:
            raise AuthFailed(refusal.message, operation=_LOGIN, native_code=refusal.native_code)
        try:
            answer, received_at = await self._asked(self.encoding)
            if answer.code == MISSING_PARAMETER and self.encoding == "json":
                answer, received_at = await self._other_encoding(answer, received_at)
            if answer.code != GOOD:
                raise error_of(answer.code, self.masked(answer.message), _LOGIN)
            token = token_of(answer, received_at)
        except AuthFailed as error:
            await self.refuse(error)
            raise
        except LostAnswer as error:
            raise NotSent(f"the login brought no answer: {error.message}", operation=_LOGIN) from error
        self._token, self._refusal = token, None
        await self._keep(token)
        return token

    async def _other_encoding(self, refused: Answer, at: datetime) -> tuple[Answer, datetime]:
        """The login once more as a form, because how bodies are encoded is not stated (Q1)."""
        answer, received_at = await self._asked("form")
        if answer.code == MISSING_PARAMETER:
            return refused, at
        self.encoding = "form"
        return answer, received_at

    async def _asked(self, encoding: Encoding) -> tuple[Answer, datetime]:
        params = {
            "admin_user_name": self._settings.username,
            "api_password": self._settings.password.get_secret_value(),
        }
        content, content_type = body_of(params, encoding)
        reply = await self._http.call(
            Call(
                operation=_LOGIN,
                method="POST",
                path="/user/login",
                headers={"Content-Type": content_type},
                content=content,
                timeout_s=self._settings.timeout,
            )
        )
        return answer_of(reply.body, _LOGIN), reply.received_at

    async def _keep(self, token: Token) -> None:
        if await self._vault.get(REFUSAL_KEY) is not None:
            await self._vault.put(REFUSAL_KEY, None)
        await self._vault.put(
            VAULT_KEY,
            {
                "token": token.text,
                "expires": int(token.expires_at.timestamp()),
                "of": self._fingerprint(),
                "encoding": self.encoding,
            },
        )

    def _fingerprint(self) -> str:
        settings = self._settings
        parts = (settings.base_url, settings.username, settings.password.get_secret_value())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _token_from(kept: Json, fingerprint: str) -> Token | None:
    if not isinstance(kept, dict) or kept.get("of") != fingerprint:
        return None
    text, expires = kept.get("token"), kept.get("expires")
    if not isinstance(text, str) or not isinstance(expires, int):
        return None
    return Token(text, datetime.fromtimestamp(expires, tz=UTC))
