"""The simulated JRHSZ platform: accounts, tokens, meters, instructions under way, what a test may do to it.

Single-threaded: every method runs to its end inside the event loop.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from bridge.domain import text
from bridge.simulators.faults import FaultPlan
from bridge.simulators.jrhsz import rows, wire
from bridge.simulators.jrhsz.meter import Meter
from bridge.simulators.jrhsz.wire import Ask
from bridge.simulators.ledger import CallLog, Ledger
from bridge.simulators.simtime import SimTime

TOKEN_LIFE_S = 7200.0
INSTRUCTIONS = ("1", "2", "3")

Page = dict[str, Any]
T = TypeVar("T")


@dataclass(slots=True)
class Account:
    """An API account. `forbidden`: end points to which it has no right (1009)."""

    username: str
    password: str = field(repr=False)
    forbidden: frozenset[str] = frozenset()


@dataclass(slots=True)
class Quirks:
    """How the platform behaves where the page leaves it open; may be changed at any time.

    `spacing_s`: calls of an end point closer than this are 1011. `encoding`: json, form or both (11-Q1). `type_key`,
    `amount_key`: Q4, Q5. `single_object`: 4.3 answers one match as an object. `single_token`: a login ends the
    earlier token. `refuse_duplicates`: an equal instruction under way is 1010. `days`: dates without a time (Q18).
    """

    spacing_s: float = 2.0
    encoding: str = "json"
    type_key: str = "tableType"
    amount_key: str = "amout"
    single_object: bool = True
    single_token: bool = True
    refuse_duplicates: bool = True
    days: bool = False

    def set(self, name: str, value: object) -> None:
        """Changes one quirk. Raises ValueError for another name or type."""
        present = getattr(self, name, None) if name in {item.name for item in fields(self)} else None
        if present is None:
            raise ValueError(f"no such quirk: {name!r}")
        if type(value) is not type(present) and not (type(present) is float and type(value) is int):
            raise ValueError(f"{name} must be {type(present).__name__}")
        setattr(self, name, value)


@dataclass(slots=True)
class _Token:
    username: str
    issued_at: float
    alive: bool = True


@dataclass(slots=True)
class _Instruction:
    meter: Meter
    type: str
    due_at: float
    request: int


class JrhszCloud:
    """State of the platform. One project: every account sees all meters."""

    def __init__(
        self,
        accounts: Account | Iterable[Account],
        meters: Iterable[Meter],
        *,
        time: SimTime,
        rng: random.Random,
        **quirks: Any,
    ) -> None:
        listed = [accounts] if isinstance(accounts, Account) else list(accounts)
        self.accounts = {account.username: account for account in listed}
        self.meters = {meter.table_no: meter for meter in meters}
        self.time = time
        self.quirks = Quirks(**quirks)
        self.ledger = Ledger()
        self.calls = CallLog()
        self.faults = FaultPlan(rng)
        self._tokens: dict[str, _Token] = {}
        self._issued: set[str] = set()
        self._last_at: dict[tuple[str, str], float] = {}
        self._under_way: list[_Instruction] = []
        self._answers: dict[str, Callable[[Ask, int], Page]] = {
            "meterList": self._meter_list,
            "readMeter": self._read_meter,
            "readMeterList": self._stored,
            "readMeterDataList": self._consumed,
            "meterInstruct": self._instruct,
            "peaksValleysRead": self._time_of_use,
            "cameraRead": self._pictures,
        }

    def answer(self, ask: Ask, request: int) -> Page:
        """Does what call number `request` asks and gives the JSON answer."""
        self.tick()
        if ask.endpoint == "login":
            return self._log_in(ask)
        code = self._refusal(ask)
        return wire.envelope(code) if code is not None else self._answers[ask.endpoint](ask, request)

    def tick(self) -> None:
        """Carries out the instructions that are due and whose meters are on line."""
        now = self.time.real()
        due = [one for one in self._under_way if one.due_at <= now and one.meter.online]
        self._under_way = [one for one in self._under_way if one.due_at > now or not one.meter.online]
        for instruction in due:
            self._carry_out(instruction)

    def _carry_out(self, instruction: _Instruction) -> None:
        meter, now_s = instruction.meter, int(self.time.now())
        meter.advance(now_s)
        detail = ""
        if instruction.type == "3":
            meter.read(now_s)
            effect = "read"
        else:
            on = instruction.type == "2"
            detail = "" if meter.switch(on, now_s) else "no_change"
            names = ("valve_closed", "valve_opened") if meter.medium == "water" else ("tripped", "reclosed")
            effect = names[on]
        self.ledger.add(self.time.real(), meter.table_no, effect, detail, instruction.request)

    def _log_in(self, ask: Ask) -> Page:
        account = self.accounts.get(ask.params["admin_user_name"])
        if account is None:
            return wire.envelope(wire.UNKNOWN_ACCOUNT)
        if ask.params["api_password"] != account.password:
            return wire.envelope(wire.WRONG_PASSWORD)
        if self.quirks.single_token:
            self.expire_tokens(wire.NO_TOKEN, account.username)
        token = self._make_token(account)
        self._tokens[token] = _Token(account.username, self.time.real())
        return wire.envelope(data=token, msg="登录成功")

    def _make_token(self, account: Account) -> str:
        """As the page's sample: Base64 of name, password and time; made unique by that time."""
        issued = int(self.time.real())
        while True:
            page = {"admin_user_name": account.username, "api_password": account.password, "time": issued}
            token = base64.b64encode(text.dumps(page)).decode()
            if token not in self._issued:
                self._issued.add(token)
                return token
            issued += 1

    def _refusal(self, ask: Ask) -> int | None:
        token = self._tokens.get(ask.params["token"])
        now = self.time.real()
        if token is None:
            return wire.NO_TOKEN
        if not token.alive or now - token.issued_at >= TOKEN_LIFE_S:
            return wire.EXPIRED
        username = ask.params["admin_user_name"]
        if username != token.username or ask.endpoint in self.accounts[username].forbidden:
            return wire.NO_RIGHT
        last = self._last_at.get((username, ask.endpoint))
        if last is not None and now - last < self.quirks.spacing_s:
            return wire.TOO_FAST
        self._last_at[username, ask.endpoint] = now
        return None

    # answers ----------------------------------------------------------------------------------------------------

    def _meter_list(self, ask: Ask, _request: int) -> Page:
        now_s = int(self.time.now())
        found = (rows.listed(meter, now_s, self.quirks.type_key) for meter in self.meters.values())
        return self._paged(ask, found, len(self.meters))

    def _read_meter(self, ask: Ask, _request: int) -> Page:
        number = ask.params.get("tableNo")
        chosen = self.meters.values() if number is None else self._named([number])
        page = self._paged(ask, (rows.latest(meter) for meter in self._present(chosen)), len(self.meters))
        data = page.get("data")
        if self.quirks.single_object and isinstance(data, list) and len(data) == 1:
            page["data"] = data[0]
        return page

    def _stored(self, ask: Ask, _request: int) -> Page:
        return self._history(ask, self._chosen(ask), Meter.records_between, rows.stored)

    def _consumed(self, ask: Ask, _request: int) -> Page:
        if ask.params["type"] != "1":
            return wire.envelope(wire.FAILED)
        number = ask.params.get("tableNo")
        chosen = list(self.meters.values()) if number is None else self._named([number])
        row_of = partial(rows.consumed, amount_key=self.quirks.amount_key)
        return self._history(ask, chosen, Meter.records_between, row_of)

    def _time_of_use(self, ask: Ask, _request: int) -> Page:
        chosen = [meter for meter in self._chosen(ask) if meter.time_of_use]
        return self._history(ask, chosen, Meter.hourly_between, rows.time_of_use)

    def _pictures(self, ask: Ask, _request: int) -> Page:
        chosen = [meter for meter in self._chosen(ask) if meter.camera]
        return self._history(ask, chosen, Meter.records_between, rows.pictured)

    def _instruct(self, ask: Ask, request: int) -> Page:
        target, kind = ask.params["deviceId"], ask.params["type"]
        meter = next((one for one in self.meters.values() if one.device_id == target), None)
        if meter is None or kind not in INSTRUCTIONS:
            return wire.envelope(wire.FAILED)
        equal = any(one.meter is meter and one.type == kind for one in self._under_way)
        if equal and self.quirks.refuse_duplicates:
            return wire.envelope(wire.DUPLICATE)
        due_at = self.time.real() + meter.options.delay_s
        self._under_way.append(_Instruction(meter, kind, due_at, request))
        return wire.envelope()

    # parts of answers -------------------------------------------------------------------------------------------

    def _history(
        self,
        ask: Ask,
        meters: list[Meter],
        items_of: Callable[[Meter, int, int], Sequence[T]],
        row_of: Callable[[Meter, T], Page],
    ) -> Page:
        """`totalCount` 1, whatever was found: as in the samples (Q6)."""
        days = self.quirks.days
        begin_s = wire.unix(ask.params["BeginDate"], days=days)
        end_s = wire.unix(ask.params["EndDate"], days=days)
        if begin_s is None or end_s is None:
            return wire.envelope(data=[], totalCount=0)
        last_s = min(end_s + 86_399 if days else end_s, int(self.time.now()))
        items = (
            (meter, item) for meter in self._present(meters) for item in items_of(meter, begin_s, last_s)
        )
        page = self._paged(ask, items, 1)
        if isinstance(page.get("data"), list):
            page["data"] = [row_of(meter, item) for meter, item in page["data"]]
        return page

    def _paged(self, ask: Ask, found: Iterable[Any], total: int) -> Page:
        number, size = ask.page
        if number < 1 or not 1 <= size <= wire.MAX_PAGE_SIZE:
            return wire.envelope(wire.FAILED)
        first = (number - 1) * size
        return wire.envelope(data=list(islice(found, first, first + size)), totalCount=total)

    def _chosen(self, ask: Ask) -> list[Meter]:
        numbers = ask.params.get("tableNo")
        return list(self.meters.values()) if numbers is None else self._named(numbers.split(","))

    def _named(self, numbers: Iterable[str]) -> list[Meter]:
        return [self.meters[number] for number in numbers if number in self.meters]

    def _present(self, meters: Iterable[Meter]) -> Iterator[Meter]:
        now_s = int(self.time.now())
        for meter in meters:
            meter.advance(now_s)
            yield meter

    # What a test or a demo does to the platform. An unknown meter number is a KeyError.

    def under_way(self) -> int:
        """How many instructions were accepted and not carried out yet."""
        return len(self._under_way)

    def expire_tokens(self, code: int = wire.EXPIRED, username: str | None = None) -> None:
        """From now on the tokens in use are answered with 1007 or 1006."""
        for name, token in list(self._tokens.items()):
            if username in (None, token.username):
                token.alive = False
                if code == wire.NO_TOKEN:
                    del self._tokens[name]

    def switch(self, table_no: str, *, on: bool) -> None:
        """Somebody else moves relay or valve."""
        now_s = int(self.time.now())
        self.meters[table_no].advance(now_s)
        self.meters[table_no].switch(on, now_s)

    def read(self, table_no: str) -> None:
        """The meter reports a reading now."""
        now_s = int(self.time.now())
        self.meters[table_no].advance(now_s)
        self.meters[table_no].read(now_s)

    def go_offline(self, table_no: str) -> None:
        """The meter cannot be reached: it reports nothing and instructions wait."""
        now_s = int(self.time.now())
        self.meters[table_no].advance(now_s)
        self.meters[table_no].go_offline(now_s)

    def go_online(self, table_no: str) -> None:
        """The meter is back; instructions that are due are carried out."""
        self.meters[table_no].advance(int(self.time.now()))
        self.meters[table_no].online = True
        self.tick()

    def configure(self, table_no: str, **options: Any) -> None:
        """Sets fields of `Options`. Raises ValueError for another name or type."""
        meter = self.meters[table_no]
        meter.advance(int(self.time.now()))
        meter.configure(**options)

    def add_meter(self, table_no: str, type_code: int, *, camera: bool = False, device_id: str = "") -> None:
        """A meter is installed, with one reading."""
        meter = Meter(table_no, type_code, int(self.time.now()), device_id=device_id, camera=camera)
        meter.read(int(self.time.now()))
        self.meters[table_no] = meter

    def remove_meter(self, table_no: str) -> None:
        """A meter is gone."""
        del self.meters[table_no]
