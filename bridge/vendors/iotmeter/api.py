"""The end points of both APIs, one method each (page iotmeter, section 4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

from bridge.domain.errors import (
    AuthFailed,
    BadReply,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    VendorError,
)
from bridge.domain.text import Json, dumps
from bridge.pace.limits import Lane
from bridge.ports import Clock, Effect, Rng
from bridge.vendorkit.http import Call, Reply, Use, VendorHttp
from bridge.vendors.iotmeter.auth import MASK, TokenKeeper, masked
from bridge.vendors.iotmeter.faults import Missing, TokenRefused, http_fault, refusal
from bridge.vendors.iotmeter.settings import MAX_PAGE_ROWS, ControlSettings, IotMeterSettings
from bridge.vendors.iotmeter.wire import Answer, Record, answer_of, records_of, whole

TRIES = 3
READINGS = "MeterData/GetRealList2"

_FIRST_PAUSE_S = 1.0
_REFUSED_FROM_THE_START = 3
_REFUSED_SUDDENLY = 12
MOST_PAGES = 10_000
_JSON = {"Content-Type": "application/json"}


class Page(NamedTuple):
    """One page of a list."""

    records: Sequence[Record]
    total: int | None
    received_at: datetime


def _rows(start: int, count: int) -> dict[str, str]:
    return {"startrow": str(start), "rowcount": str(count)}


def _readable(reply: Reply, operation: str, secrets: Sequence[str]) -> Answer:
    """Raises BadReply. Our own secrets are masked in the message, which people may get to see; a short password
    may well be part of a meter's number, so data stay as they are."""
    try:
        answer = answer_of(reply.body)
    except ValueError as error:
        raise BadReply(f"the answer cannot be read: {error}", operation=operation) from None
    return replace(answer, message=masked(answer.message, secrets))


def _records(answer: Answer, operation: str) -> list[Record]:
    try:
        return records_of(answer.data)
    except ValueError as error:
        raise BadReply(str(error), operation=operation) from None


class DataApi:
    """Readings, alarms and events. Only reads, so a failed call is made up to three times (section 5)."""

    def __init__(self, http: VendorHttp, settings: IotMeterSettings, clock: Clock, rng: Rng) -> None:
        self._http = http
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._refused = 0
        self._accepted = False

    async def latest(self, meter: str, lane: Lane, tries: int = TRIES) -> tuple[Record | None, datetime]:
        """The platform's latest reading of one meter (4.2), and when it said so; None if it knows none (V10)."""
        call = self.latest_call(meter, lane)
        try:
            answer, at = await self._answer(call, tries)
        except Missing:
            return None, self._clock.now()
        records = _records(answer, call.operation)
        return (records[0] if records else None), at

    async def page(self, path: str, conditions: Json, start: int, lane: Lane, tries: int = TRIES) -> Page:
        """One page of a list of section 4. Raises Missing where the platform finds nothing and calls that a failure."""
        call = self.list_call(path, conditions, start, lane)
        answer, at = await self._answer(call, tries)
        return Page(_records(answer, call.operation), answer.total, at)

    async def pages(self, path: str, conditions: Json, lane: Lane, tries: int = TRIES) -> AsyncIterator[Page]:
        """All pages. The counters that the platform sends back contradict each other: what arrived counts. "Not found"
        is no page at all, but for the list of all meters, where it is hardly true: there it raises Missing."""
        everything = path == READINGS and "meter_comm_nos" not in conditions
        start = 0
        for _ in range(MOST_PAGES):
            try:
                page = await self.page(path, conditions, start, lane, tries)
            except Missing:
                if everything:
                    raise
                return
            if not page.records:
                return
            yield page
            start += len(page.records)
            if page.total is not None and start >= page.total:
                return
        raise BadReply("the list has no end", operation=path)

    def latest_call(self, meter: str, lane: Lane, *, masked: bool = False) -> Call:
        """The request of 4.2; `masked`: as it may be shown to people."""
        path = f"MeterData/GetRealModel/{quote(meter, safe='')}"
        return self._call("MeterData/GetRealModel", path, {}, {}, lane, masked=masked)

    def list_call(self, path: str, conditions: Json, start: int, lane: Lane, *, masked: bool = False) -> Call:
        """The request of one page."""
        rows = _rows(start, self._settings.data.page_rows)
        return self._call(path, path, rows, conditions, lane, masked=masked)

    def _call(
        self,
        operation: str,
        path: str,
        params: Mapping[str, str],
        body: Json,
        lane: Lane,
        *,
        masked: bool,
    ) -> Call:
        data = self._settings.data
        return Call(
            operation=operation,
            method="POST",
            path=f"/api/Data/{path}",
            uses=(Use("data"),),
            lane=lane,
            params=params,
            headers={
                **_JSON,
                "company_no": data.company_no,
                "data_api_key": MASK if masked else data.api_key.get_secret_value(),
            },
            content=dumps(body),
            timeout_s=self._settings.timeout,
            base_url=data.base_url,
        )

    async def _answer(self, call: Call, tries: int) -> tuple[Answer, datetime]:
        """`tries` is for lost answers, which some callers see to themselves; a refusal is met with three (page 5)."""
        made = 0
        while True:
            made += 1
            try:
                return await self._once(call)
            except (AuthFailed, Missing, RateLimited):
                raise
            except VendorError as error:
                if made >= (TRIES if isinstance(error, Refused) else tries):
                    raise
            pause_s = _FIRST_PAUSE_S * 2.0 ** (made - 1)
            await self._clock.sleep(pause_s * self._rng.uniform(0.5, 1.0))

    async def _once(self, call: Call) -> tuple[Answer, datetime]:
        reply = await self._http.call(call)
        if reply.status != 200:
            raise http_fault(reply.status, call.operation, control=False)
        secret = self._settings.data.api_key.get_secret_value()
        answer = _readable(reply, call.operation, (secret,))
        if answer.good:
            self._refused, self._accepted = 0, True
            return answer, reply.received_at
        raise self._judged(refusal(answer, call.operation, control=False))

    def _judged(self, error: VendorError) -> VendorError:
        """A platform that refuses whatever it is asked does not know our key (2.1)."""
        if isinstance(error, Missing):
            return error
        self._refused += 1
        patience = _REFUSED_SUDDENLY if self._accepted else _REFUSED_FROM_THE_START
        if isinstance(error, Refused) and self._refused >= patience:
            return AuthFailed(
                f"the platform refuses every call; are company_no and api_key right? ({error.message})",
                operation=error.operation,
            )
        return error


class ControlApi:
    """The queue of commands. A refused token is renewed once; reads are then repeated, changes only where told."""

    def __init__(
        self, http: VendorHttp, settings: ControlSettings, keeper: TokenKeeper, timeout_s: float
    ) -> None:
        self._http = http
        self._settings = settings
        self._keeper = keeper
        self._timeout_s = timeout_s

    @property
    def token_expires_at(self) -> datetime | None:
        """When the token that it has now expires."""
        return self._keeper.expires_at

    async def login(self) -> None:
        """Proves the credentials."""
        await self._keeper.token()

    async def add(self, task: Record, effect: Effect | None) -> int:
        """Queues one task (4.10); returns its `ctrl_id`. Not repeated: raises TokenRefused instead, with a new token
        at hand. Without `effect`: a task that only reads the meter."""
        answer = await self._change("CtrlData/Add", "CtrlData/Add", task, effect)
        ctrl_id = whole(answer.data)
        if ctrl_id is None or ctrl_id <= 0:
            raise BadReply("the answer has no ctrl_id", operation="CtrlData/Add")
        return ctrl_id

    async def model(self, ctrl_id: int, lane: Lane = Lane.COMMAND) -> Record:
        """One task (4.13). Raises Missing where there is none."""
        operation = "CtrlData/GetModel"
        answer = await self._read(operation, f"{operation}/{ctrl_id}", {}, None, lane)
        if not isinstance(answer.data, dict):
            raise Missing("the platform does not find the task", operation=operation)
        return answer.data

    async def text(self, ctrl_id: int) -> str:
        """The description for people (4.20; the path is misspelled in the product)."""
        operation = "CtrlData/GetDetial"
        answer = await self._read(operation, f"{operation}/{ctrl_id}", {}, None, Lane.COMMAND)
        return answer.data if isinstance(answer.data, str) else ""

    async def listed(self, conditions: Record, start: int, count: int) -> tuple[list[Record], int | None]:
        """One page of tasks (4.14), and how many there are; "not found" counts as none."""
        operation = "CtrlData/GetList"
        try:
            answer = await self._read(operation, operation, _rows(start, count), conditions, Lane.COMMAND)
        except Missing:
            return [], 0
        return _records(answer, operation), answer.total

    async def search(self, conditions: Record) -> list[Record]:
        """All tasks that these conditions leave; a platform that does not filter is a BadReply before long."""
        found: list[Record] = []
        for _ in range(50):
            rows, total = await self.listed(conditions, len(found), MAX_PAGE_ROWS)
            found += rows
            if not rows or (total is not None and len(found) >= total):
                return found
        raise BadReply("the search for a task has no end", operation="CtrlData/GetList")

    async def change(self, endpoint: str, path: str, body: Json, effect: Effect) -> Answer:
        """A change that leaves the same state if it is made twice: repeated once if the token was refused."""
        try:
            return await self._change(endpoint, path, body, effect)
        except TokenRefused:
            return await self._change(endpoint, path, body, effect)

    async def change_once(self, endpoint: str, path: str, body: Json, effect: Effect) -> Answer:
        """A change that is never repeated; a refused token is then a Refused with code `auth_failed`."""
        try:
            return await self._change(endpoint, path, body, effect)
        except TokenRefused as error:
            raise Refused(
                f"{error.message}; not done, and not tried again by itself",
                code="auth_failed",
                operation=endpoint,
                native_code=error.native_code,
            ) from None

    def call(
        self,
        operation: str,
        path: str,
        token: str,
        body: Json,
        params: Mapping[str, str] | None = None,
        lane: Lane = Lane.COMMAND,
    ) -> Call:
        """A request. `body` None: none is sent, as the page says of the calls on one task (4.12 to 4.16)."""
        return Call(
            operation=operation,
            method="POST",
            path=f"/api/Conf/{path}",
            uses=(Use("control"),),
            lane=lane,
            params=params or {},
            headers={**_JSON, "token": token},
            content=None if body is None else dumps(body),
            timeout_s=self._timeout_s,
            base_url=self._settings.base_url,
        )

    async def _read(
        self, operation: str, path: str, params: Mapping[str, str], body: Json, lane: Lane
    ) -> Answer:
        token = await self._keeper.token()
        try:
            return await self._answer(self.call(operation, path, token, body, params, lane))
        except TokenRefused:
            token = await self._keeper.token(refused=token)
            return await self._answer(self.call(operation, path, token, body, params, lane))

    async def _change(self, operation: str, path: str, body: Json, effect: Effect | None) -> Answer:
        token = await self._keeper.token()
        try:
            return await self._answer(self.call(operation, path, token, body), effect)
        except TokenRefused:
            await self._keeper.token(refused=token)
            raise

    async def _answer(self, call: Call, effect: Effect | None = None) -> Answer:
        reply = await self._http.call(call, effect)
        if reply.status != 200:
            raise http_fault(reply.status, call.operation, control=True)
        answer = _readable(reply, call.operation, self._keeper.secrets())
        if not answer.good:
            raise refusal(answer, call.operation, control=True)
        return answer


def left_open(error: VendorError, what: str) -> LostAnswer:
    """An error after which nobody knows the outcome of what has left already."""
    if isinstance(error, LostAnswer | NotSent | AuthFailed | RateLimited | Refused):
        return LostAnswer(
            f"{what}: {error.message}", operation=error.operation, native_code=error.native_code
        )
    return LostAnswer(what)
