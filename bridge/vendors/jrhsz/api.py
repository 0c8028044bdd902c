"""The end points below `/meter/`: token in the body, one call per 2 s each, all pages (page jrhsz 2 to 5).

A token that is not taken any more is renewed and the call repeated once, also in the middle of pages. Code 1011 is
waited for; a command is handed back instead, so that its deadline is looked at again before it leaves.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from bridge.domain.command import Preview
from bridge.domain.errors import AuthFailed, BadReply, LostAnswer, Refused, VendorError, Withdrawn
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.ports import Effect
from bridge.vendorkit.http import TOO_MANY, Call, Reply, Use
from bridge.vendorkit.spec import Kit
from bridge.vendors.jrhsz.auth import Session
from bridge.vendors.jrhsz.faults import (
    DUPLICATE,
    GOOD,
    TOKEN_TROUBLE,
    TOO_FAST,
    backoff_s,
    error_of,
    too_fast,
)
from bridge.vendors.jrhsz.notes import DateStyle
from bridge.vendors.jrhsz.settings import ACCOUNT_LIMIT, JrhszSettings
from bridge.vendors.jrhsz.wire import PAGE_SIZE, Answer, Query, Row, answer_of, body_of, rows_of

MASK = "***"
PAGES_MAX = 500
"""Half a million meters: a walk that is longer goes in circles (4.9)."""

TOO_FAST_TRIES = 5
ONE_LIMIT_FOR_S = 3600.0
"""How long all calls share one limit after a 1011 although every spacing was kept (section 3, rule 3)."""


@dataclass(frozen=True, slots=True)
class Told:
    """A good answer: its rows (objects only), how many entries it had, when it came. `counts_none`: there are
    none, and the platform says so."""

    code: int
    rows: Sequence[Row]
    entries: int
    received_at: datetime
    counts_none: bool = False


@dataclass(slots=True)
class _Asking:
    """What one call has been through."""

    renewed: bool = False
    slowed: int = 0


@dataclass(slots=True)
class JrhszApi:
    """The platform as this account sees it."""

    kit: Kit
    settings: JrhszSettings
    session: Session
    dates: DateStyle
    _slowed: dict[str, int] = field(default_factory=dict)
    _one_limit_until: float = 0.0

    async def ask(self, query: Query, lane: Lane, effect: Effect | None = None) -> Told:
        """One request and its good answer: 200, for an instruction also 1010. `effect` where it changes something.

        Raises VendorError by code (section 5). With `effect`, code 1011 is a RateLimited at once.
        """
        asking = _Asking()
        while True:
            token = await self.session.token()
            answer, received_at = await self._answer(query, token, lane, effect, asking)
            if answer.code != TOO_FAST:
                self._slowed.pop(query.endpoint, None)
            if answer.code == GOOD or (answer.code == DUPLICATE and effect is not None):
                entries = rows_of(answer, query.endpoint)
                rows = [row for row in entries if isinstance(row, dict)]
                counts_none = not entries and answer.count == 0
                return Told(answer.code, rows, len(entries), received_at, counts_none)
            await self._remedy(query, answer, token, asking, effect)

    async def pages(self, query: Query, lane: Lane) -> AsyncGenerator[Told, None]:
        """All pages, one after the other. `totalCount` is not to be trusted (Q6): a page that is not full ends it."""
        before: Sequence[Row] | None = None
        for page_no in range(1, PAGES_MAX + 1):
            told = await self.ask(query.page(page_no), lane)
            if told.rows == before and told.rows:
                return
            yield told
            if told.entries != PAGE_SIZE:
                return
            before = told.rows
        self.kit.log.warning(
            "jrhsz.too_many_pages", extra={"account": self.settings.id, "endpoint": query.endpoint}
        )

    async def records(self, query: Query, begin: datetime, end: datetime, lane: Lane) -> Told:
        """All rows of a query between two instants. The form of the dates is not stated: where answers stay empty,
        dates without a time are tried once and kept if they bring something (Q18)."""
        await self.dates.load()
        told = await self._gathered(self._between(query, begin, end), lane)
        if self.dates.wants_days(query.endpoint, end - begin, found=bool(told.entries)):
            other = await self._gathered(self._between(query, begin, end, days=True), lane)
            if other.entries:
                await self.dates.keep_days()
                return other
        return told

    async def page(self, query: Query, begin: datetime, end: datetime, number: int, lane: Lane) -> Told:
        """One page of a query between two instants. The first page tries the form of the dates as `records` does."""
        await self.dates.load()
        told = await self.ask(self._between(query, begin, end).page(number), lane)
        if number == 1 and self.dates.wants_days(query.endpoint, end - begin, found=bool(told.entries)):
            other = await self.ask(self._between(query, begin, end, days=True).page(number), lane)
            if other.entries:
                await self.dates.keep_days()
                return other
        return told

    def first_page(self, query: Query, begin: datetime, end: datetime) -> Query:
        """The first request of `records`."""
        return self._between(query, begin, end).page(1)

    def call(self, query: Query, token: str, lane: Lane) -> Call:
        """The HTTP request."""
        content, content_type = body_of(self._params(query, token), self.session.encoding)
        uses = [Use(query.endpoint)]
        if self.kit.clock.monotonic() < self._one_limit_until:
            uses.append(Use(ACCOUNT_LIMIT))
        return Call(
            operation=query.endpoint,
            method="POST",
            path=query.path,
            uses=uses,
            lane=lane,
            headers={"Content-Type": content_type},
            content=content,
            timeout_s=self.settings.timeout,
        )

    def shown(self, query: Query, explain: Json) -> Preview:
        """A request as it may be shown to people: the token masked."""
        return self.kit.http.shown(self.call(query, MASK, Lane.COMMAND), explain)

    def _params(self, query: Query, token: str) -> dict[str, Json]:
        return {"token": token, "admin_user_name": self.settings.username, **query.params}

    async def _answer(
        self, query: Query, token: str, lane: Lane, effect: Effect | None, asking: _Asking
    ) -> tuple[Answer, datetime]:
        call = self.call(query, token, lane)
        try:
            reply = await self.kit.http.call(call, effect)
        except Withdrawn as error:
            if not asking.renewed and not asking.slowed:
                raise
            # it left before and was refused: nothing happened, and nothing will
            raise Refused(
                f"refused by the platform, and not sent once more: {error}",
                code="expired",
                operation=query.endpoint,
            ) from error
        if reply.status == TOO_MANY:
            raise await self.kit.http.too_many(call)
        return _read(reply, query.endpoint), reply.received_at

    async def _remedy(
        self, query: Query, answer: Answer, token: str, asking: _Asking, effect: Effect | None
    ) -> None:
        """Returns if the same request may be sent again now; raises what the code means if not."""
        error = error_of(answer.code, self.session.masked(answer.message), query.endpoint)
        if answer.code in TOKEN_TROUBLE and not asking.renewed:
            asking.renewed = True
            await self.session.renew(token)
            return
        if answer.code == TOO_FAST:
            await self._wait_longer(query, asking, effect)
            return
        if isinstance(error, AuthFailed):
            await self.session.refuse(error)
        raise error

    async def _wait_longer(self, query: Query, asking: _Asking, effect: Effect | None) -> None:
        """The spacing was kept, so somebody else uses the account: all calls share one limit for a while."""
        times = self._slowed[query.endpoint] = self._slowed.get(query.endpoint, 0) + 1
        wait_s = backoff_s(times)
        self._one_limit_until = self.kit.clock.monotonic() + ONE_LIMIT_FOR_S
        await self.kit.http.block(Use(query.endpoint), wait_s)
        if asking.slowed >= TOO_FAST_TRIES or (effect is not None and not asking.renewed):
            raise too_fast(wait_s, query.endpoint)
        asking.slowed += 1
        await self.kit.clock.sleep(wait_s)

    def _between(self, query: Query, begin: datetime, end: datetime, *, days: bool = False) -> Query:
        form = "%Y-%m-%d" if days or self.dates.days else "%Y-%m-%d %H:%M:%S"
        zone = self.settings.zone()
        return query.given(BeginDate=_local(begin, zone, form), EndDate=_local(end, zone, form))

    async def _gathered(self, query: Query, lane: Lane) -> Told:
        rows: list[Row] = []
        entries, received_at = 0, self.kit.clock.now()
        async with aclosing(self.pages(query, lane)) as pages:
            async for told in pages:
                rows += told.rows
                entries += told.entries
                received_at = told.received_at
        return Told(GOOD, rows, entries, received_at)


def _local(at: datetime, zone: tzinfo, form: str) -> str:
    return at.astimezone(zone).strftime(form)


def _read(reply: Reply, operation: str) -> Answer:
    """The envelope, whatever the HTTP status (section 1); a page of somebody else is no answer."""
    try:
        return answer_of(reply.body, operation)
    except BadReply:
        if reply.status == 200:
            raise
        raise LostAnswer(
            f"HTTP status {reply.status}", operation=operation, native_code=reply.status
        ) from None


def no_right(error: VendorError) -> bool:
    """Whether the account may not use the end point, although it logged in anew (section 5, code 1009)."""
    return isinstance(error, Refused) and error.native_code == 1009
