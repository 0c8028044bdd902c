"""GET requests with the account's token (page iammeter, sections 2, 3 and 5): renewed once where it is refused,
its limit suspended where nothing comes back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bridge.domain.command import Preview
from bridge.domain.errors import RateLimited, Refused
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.vendorkit.http import Call, VendorHttp
from bridge.vendors.iammeter.auth import MASK, Keys
from bridge.vendors.iammeter.faults import Forbidden, TokenRefused, data_of, nothing
from bridge.vendors.iammeter.requests import Ask
from bridge.vendors.iammeter.settings import IammeterSettings

PATIENCE_S = 60.0
"""How long a call may wait for its slot where somebody waits for the call."""

_ON_REQUEST = frozenset({Lane.COMMAND, Lane.READ, Lane.HISTORY})
"""What is forbidden there is that end point: whether the account is, the regular reading tells."""


@dataclass(frozen=True, slots=True)
class Told:
    """`data` of a good answer."""

    data: Json
    received_at: datetime


class IammeterApi:
    """The vendor's read-only interface."""

    def __init__(self, http: VendorHttp, settings: IammeterSettings, keys: Keys) -> None:
        self._http = http
        self._settings = settings
        self._keys = keys

    def wait_s(self, ask: Ask, lane: Lane) -> float:
        """Seconds until this could be asked; 0 if it could now."""
        return self._http.wait_s([ask.use], lane)

    def refuse_waiting(self, ask: Ask, lane: Lane) -> None:
        """Raises RateLimited if this could not be asked within PATIENCE_S."""
        wait_s = self.wait_s(ask, lane)
        if wait_s > PATIENCE_S:
            raise RateLimited(
                f"the limit of {ask.operation} leaves no room for {round(wait_s)} s",
                retry_after_s=wait_s,
                operation=ask.operation,
            )

    async def get(self, ask: Ask, lane: Lane) -> Told:
        """One answer. Raises what `faults.data_of` and `VendorHttp.call` raise; AuthFailed for a token that
        cannot be renewed."""
        token = await self._keys.token()
        try:
            return await self._once(ask, lane, token.get_secret_value())
        except TokenRefused:
            renewed = await self._keys.renew(token)
        self.refuse_waiting(ask, lane)
        try:
            return await self._once(ask, lane, renewed.get_secret_value())
        except TokenRefused:
            self._keys.despair()
            raise

    def shown(self, ask: Ask, explain: Json) -> Preview:
        """A request as people may see it."""
        return self._http.shown(self._call(ask, Lane.COMMAND, MASK), explain)

    async def _once(self, ask: Ask, lane: Lane, token: str) -> Told:
        reply = await self._http.call(self._call(ask, lane, token))
        try:
            data = data_of(reply.status, self._keys.masked(reply.body), ask.operation)
        except RateLimited as error:
            await self._http.block(ask.use, ask.suspend_s)
            wait_s = max(ask.suspend_s, self.wait_s(ask, lane))
            raise nothing(ask.operation, error.native_code, wait_s) from None
        except Forbidden as error:
            if lane not in _ON_REQUEST:
                raise
            raise Refused(
                error.message, code="auth_failed", operation=ask.operation, native_code=error.native_code
            ) from None
        return Told(data, reply.received_at)

    def _call(self, ask: Ask, lane: Lane, token: str) -> Call:
        in_query = self._settings.token_in == "query"  # noqa: S105 # a place, no secret
        return Call(
            operation=ask.operation,
            method="GET",
            path=ask.path,
            uses=[ask.use],
            lane=lane,
            params={**ask.params, "token": token} if in_query else ask.params,
            headers={} if in_query else {"token": token},
            timeout_s=self._settings.timeout,
        )
