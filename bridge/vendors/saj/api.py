"""The cloud's end points (page saj, section 4): each call with its token, its slot, and one repetition where the
token was refused.

Invariant: a token that is refused costs at most one new one and one repetition per call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from urllib.parse import quote, urlencode

from bridge.domain.errors import RateLimited, Refused, Withdrawn
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.ports import Effect
from bridge.vendorkit.http import Call, Reply
from bridge.vendorkit.spec import Kit
from bridge.vendors.saj.auth import Auth
from bridge.vendors.saj.faults import EndpointClosed, TokenRefused, verified
from bridge.vendors.saj.settings import SajSettings
from bridge.vendors.saj.throttle import Throttle
from bridge.vendors.saj.tokens import Token
from bridge.vendors.saj.wire import Page, page_of

MASK = "***"
PER_PAGE = 100
HISTORY_PER_PAGE = 1000
LOCALE = "en-US"

_FALLBACKS: Mapping[str, str] = {
    "device/list": "device/listsign",
    "device/inverter/alarm": "device/inverter/alarmsign",
    "plant/list": "plant/listsign",
}
"""Reads and the newer twins that are asked where the application may not call them (7.1, 7.4)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request before it gets its token. `endpoint` is the path without its first slash."""

    endpoint: str
    params: Mapping[str, str] = field(default_factory=dict)
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """The `data` of a good answer, None where it has none."""

    data: Json
    received_at: datetime


class SajApi:
    """Each method makes its requests and raises VendorError (section 5) unless the answers are good."""

    def __init__(self, settings: SajSettings, kit: Kit, auth: Auth, throttle: Throttle) -> None:
        self._settings = settings
        self._kit = kit
        self._auth = auth
        self._throttle = throttle
        self._closed: dict[str, EndpointClosed] = {}
        self._empty: set[str] = set()
        self._told: set[str] = set()

    async def plants(
        self, page: int, lane: Lane, *, name: str | None = None, per_page: int = PER_PAGE
    ) -> Page:
        """One page of the plants; with `name` those that the vendor's search finds (4.4)."""
        search = {} if name is None else {"search_type": "name", "search_keyword": name}
        told = await self.read("plant/list", {**_page(page, per_page), **search, "locale": LOCALE}, lane)
        return page_of(told.data, "plants", "c_user")

    async def plant_details(self, plant_id: str, lane: Lane) -> Told:
        """Master data (4.5)."""
        return await self.read("plant/details", {"plant_id": plant_id, "locale": LOCALE}, lane)

    async def plant_data(self, plant_id: str, lane: Lane) -> Told:
        """The overview with the live values (4.6)."""
        return await self.read("plant/data", {"plant_id": plant_id}, lane)

    async def plant_energy(
        self, plant_id: str, start: date, end: date, unit: str, page: int, lane: Lane
    ) -> Told:
        """Yields per `day`, `month` or `year`, both days included (4.7)."""
        span = {"start_date": start.isoformat(), "end_date": end.isoformat(), "time_unit": unit}
        return await self.read("plant/energy", {"plant_id": plant_id, **span, **_page(page, PER_PAGE)}, lane)

    async def plant_power(self, plant_id: str, day: date, lane: Lane) -> Told:
        """The power curve of one UTC day (4.8)."""
        return await self.read("plant/power", {"plant_id": plant_id, "date": day.isoformat()}, lane)

    async def devices(self, plant_id: str, page: int, lane: Lane) -> Page:
        """One page of a plant's devices (4.11)."""
        told = await self.read("device/list", {"plant_id": plant_id, **_page(page, PER_PAGE)}, lane)
        return page_of(told.data, "devices")

    async def latest(self, device_id: str, day: date, lane: Lane) -> Told:
        """An inverter's latest record up to a day of its plant (4.20)."""
        params = {"device_id": device_id, "end_date": day.isoformat()}
        return await self.read("device/inverter/datasigns", params, lane)

    async def inverter_history(
        self, device_id: str, start: date, end: date, cursor: str | None, lane: Lane
    ) -> Told:
        """One page of an inverter's records, UTC days, at most 7 days apart (4.12)."""
        params = {"device_id": device_id, "start_date": start.isoformat(), "end_date": end.isoformat()}
        if cursor is not None:
            params["start_id"] = cursor
        params["perpage"] = str(HISTORY_PER_PAGE)
        return await self.read("device/inverter/data", params, lane)

    async def occurrences(self, endpoint: str, device_id: str, page: int, lane: Lane) -> Told:
        """One page of an inverter's alarms (4.13) or events (4.26)."""
        params = {"device_id": device_id, "locale": LOCALE, **_page(page, PER_PAGE)}
        return await self.read(endpoint, params, lane)

    async def users(self, page: int, lane: Lane) -> Page:
        """One page of the end users (4.3)."""
        return page_of((await self.read("user/c_user_list", _page(page, PER_PAGE), lane)).data, "c_user")

    async def user(self, c_user_id: str, lane: Lane) -> Page:
        """One end user (4.22)."""
        return page_of((await self.read("user/sigleuser", {"c_user_id": c_user_id}, lane)).data, "c_user")

    async def read(self, endpoint: str, params: Mapping[str, str], lane: Lane) -> Told:
        """A GET. An endpoint that is closed is asked no more; its newer twin takes its place."""
        try:
            told = await self._answer(Request(endpoint, params), lane, None)
        except EndpointClosed as error:
            if endpoint not in _FALLBACKS:
                self._tell(error)
                raise
            return await self.read(_FALLBACKS[endpoint], params, lane)
        if told.data is None and endpoint not in self._empty:
            self._empty.add(endpoint)
            self._kit.log.info("saj.answer_without_data", extra={"endpoint": endpoint})
        return told

    def _tell(self, error: EndpointClosed) -> None:
        """Nothing takes the place of this end point: what it tells is missing from now on."""
        if error.operation not in self._told:
            self._told.add(error.operation)
            self._kit.endpoint_closed(
                f"account {self._kit.policy.account!r}: {error.message}; it is not asked again before a restart or a "
                "change of the account's configuration",
            )

    def is_closed(self, endpoint: str) -> bool:
        """Whether the vendor has refused this end point to the application."""
        return endpoint in self._closed

    async def write(self, request: Request, effect: Effect) -> Told:
        """A POST, once: only a refused token is followed by a second one. `effect` as the port says."""
        return await self._answer(request, Lane.COMMAND, effect)

    def call(self, request: Request, lane: Lane, token: Token | None) -> Call:
        """The HTTP request; without a token as it may be shown to people."""
        headers = {"token": token.access if token else MASK, "uid": token.uid if token else MASK}
        query = "" if self._in_body(request) else _encoded(request.params)
        if self._settings.token_in == "query":  # noqa: S105 # the name of a place, no secret
            query = "&".join(part for part in (query, f"access_token={headers.pop('token')}") if part)
        content = None
        if self._in_body(request):
            content = _encoded(request.params).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
        return Call(
            operation=request.endpoint,
            method="POST" if request.writes else "GET",
            path=f"/{request.endpoint}" + (f"?{query}" if query else ""),
            uses=self._throttle.uses(request.endpoint),
            lane=lane,
            headers=headers,
            content=content,
            timeout_s=self._settings.timeout,
            any_status=True,
        )

    def _in_body(self, request: Request) -> bool:
        return request.writes and self._settings.post_encoding == "form"

    async def _answer(self, request: Request, lane: Lane, effect: Effect | None) -> Told:
        if request.endpoint in self._closed:
            raise self._closed[request.endpoint]
        token = await self._auth.token(lane)
        try:
            return await self._once(request, token, lane, effect)
        except TokenRefused as error:
            fresh = await self._auth.replaced(token, error, lane)
        try:
            return await self._once(request, fresh, lane, effect)
        except TokenRefused as error:
            raise await self._auth.distrusted(fresh, error) from None
        except Withdrawn as reason:
            # the first request was refused before it was executed: the outcome is known
            raise Refused(f"not sent again with a new token: {reason}", code="expired") from None

    async def _once(self, request: Request, token: Token, lane: Lane, effect: Effect | None) -> Told:
        await self._throttle.pass_through(request.endpoint, lane)
        self._throttle.count()
        reply = await self._kit.http.call(self.call(request, lane, token), effect)
        try:
            answer = verified(
                reply.status, self._masked(reply, token), request.endpoint, writes=request.writes
            )
        except RateLimited as error:
            raise await self._throttle.refused(error) from None
        except EndpointClosed as error:
            self._closed[request.endpoint] = error
            self._kit.log.warning(
                "saj.endpoint_closed", extra={"endpoint": request.endpoint, "reason": error.message}
            )
            raise
        return Told(answer.data, reply.received_at)

    def _masked(self, reply: Reply, token: Token) -> bytes:
        """The body without our token: what a cloud echoes could end up in a message or a record."""
        return (
            reply.body.replace(token.access.encode(), MASK.encode()) if len(token.access) >= 8 else reply.body
        )


def _page(page: int, per_page: int) -> dict[str, str]:
    return {"page": str(page), "perpage": str(per_page)}


def _encoded(params: Mapping[str, str]) -> str:
    return urlencode(params, quote_via=quote)
