"""Carrying out the management commands of an account (page saj 7.5, METRICS 4.3).

Invariant: a request that changes something leaves once. After a lost answer only look-ups decide, and "it is not
there" counts only after two of them, a minute apart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.errors import LostAnswer, Refused, VendorError
from bridge.domain.text import Json
from bridge.pace.limits import Lane
from bridge.ports import Effect
from bridge.vendorkit.spec import Kit
from bridge.vendors.saj.api import Request, SajApi, Told
from bridge.vendors.saj.auth import Auth
from bridge.vendors.saj.commands import LOOK_AGAIN_S, request_of, twin_of
from bridge.vendors.saj.faults import EndpointClosed
from bridge.vendors.saj.inventory import Inventory, all_pages
from bridge.vendors.saj.params import AddPlant, AddUser, ModifyPlant
from bridge.vendors.saj.pending import Pending
from bridge.vendors.saj.sealed import is_sealed
from bridge.vendors.saj.settings import SajSettings
from bridge.vendors.saj.wire import Row, fields, measured, text, whole

_LANE = Lane.COMMAND
_NOT_THERE = "no answer, and the vendor shows after a minute that it was not done"

_NO_OWNER = "added without an owner: use assign_plant"

_USER_FIELDS: Mapping[str, str] = {
    "name": "c_user_name",
    "mobile": "c_user_phone",
    "user_Country": "c_user_country",
    "user_City": "c_user_city",
    "user_Address": "c_user_address",
    "user_Postcode": "c_user_postcode",
    "user_Fax": "c_user_fax",
}
"""Parameter of `modify_user` → lower-case field of 4.22."""

_UNSEEN = frozenset({"currency", "b_user_id", "price", "is_public", "timezone_id", "use_dst"})
"""Parameters of `modify_plant` that the master data do not tell."""

_RESULT_IDS: Mapping[str, str] = {"add_user": "c_user_id", "add_plant": "plant_id"}


@dataclass(slots=True)
class Execution:
    """The management commands of one account."""

    settings: SajSettings
    kit: Kit
    api: SajApi
    auth: Auth
    inventory: Inventory
    _pending: Pending = field(init=False)
    _looks: dict[str, Callable[[Any, Order], Awaitable[Outcome | None]]] = field(init=False)

    def __post_init__(self) -> None:
        self._pending = Pending(self.kit)
        self._looks = {
            "add_user": self._look_for_user,
            "modify_user": self._look_at_user,
            "delete_user": self._look_for_deleted_user,
            "add_plant": self._look_for_plant,
            "modify_plant": self._look_at_plant,
            "delete_plant": self._look_for_deleted_plant,
            "assign_plant": self._look_at_owner,
            "add_datalogger": self._look_for_logger,
            "modify_datalogger": self._look_for_logger,
            "delete_datalogger": self._look_for_deleted_logger,
        }

    async def run(self, order: Order, effect: Effect) -> Outcome:
        """As `VendorAdapter.execute`."""
        if isinstance(order.params, AddUser) and is_sealed(order.params.user_password.get_secret_value()):
            raise Refused(
                "the password was kept in memory only, and the gateway was restarted before the command "
                "left: send it again with a new id",
                code="internal",
            )
        await self.auth.allow_writing(_LANE)
        master = await self._master(order)
        request = request_of(order.spec.name, order.params, master)
        if "" in request.params.values():
            raise Refused("the plant's Country or City is not known: give both", code="invalid_params")
        if order.spec.name == "delete_datalogger":
            shown = order.params.sn in await self.inventory.loggers(str(order.params.plant_id), _LANE)
            await self._pending.note(order.id, shown=shown)
        if isinstance(order.params, AddPlant):
            await self._note_plants(order, order.params)
        if isinstance(order.params, ModifyPlant) and _shows_nothing(master, order.params):
            await self._pending.note(order.id, alike=True)
        try:
            outcome = await self._sent(order, request, master, effect)
        except LostAnswer:
            raise
        except VendorError:
            await self._pending.forget(order.id)
            raise
        await self._pending.forget(order.id)
        return outcome

    def instead_of(self, request: Request, order: Order) -> Request | None:
        """The request that takes the place of one whose end point is known to be closed, as far as it is known now."""
        if not self.api.is_closed(request.endpoint):
            return None
        return self._twin(order, {})

    async def probe(self, order: Order) -> Outcome | None:
        """As `VendorAdapter.probe`: the last column of the table in 7.5."""
        outcome = await self._looks[order.spec.name](order.params, order)
        if outcome is not None:
            await self._pending.forget(order.id)
        return outcome

    async def _sent(
        self, order: Order, request: Request, master: Mapping[str, Json], effect: Effect
    ) -> Outcome:
        try:
            return _done(order, await self.api.write(request, effect))
        except EndpointClosed:
            twin = self._twin(order, master)
            if twin is None or twin.endpoint == request.endpoint:
                raise
        if isinstance(order.params, AddPlant):
            await self._pending.note(order.id, ownerless=True)
        told = await self.api.write(twin, effect)
        if isinstance(order.params, AddPlant):
            return await self._added(order, order.params)
        return _done(order, told)

    def _twin(self, order: Order, master: Mapping[str, Json]) -> Request | None:
        return twin_of(order.spec.name, order.params, master, plant_id=self.settings.addsign_plant_id)

    async def _note_plants(self, order: Order, params: AddPlant) -> None:
        """Which such plants there are before one more is added: none of them may be taken for it later."""
        try:
            before: list[str] | None = [_plant_id(row) for row in await self._plants_like(params)]
        except VendorError:
            before = None
        await self._pending.note(order.id, before=before)

    async def _added(self, order: Order, params: AddPlant) -> Outcome:
        """The end of `plant/addsign`: the list may know the id."""
        try:
            new = await self._new_plants(order, params)
        except VendorError:
            new = None
        return Outcome(
            Status.SUCCEEDED,
            message=_NO_OWNER,
            vendor_code=0,
            result={"plant_id": int(new[0])} if new is not None and len(new) == 1 else None,
        )

    async def _new_plants(self, order: Order, params: AddPlant) -> list[str] | None:
        """The ids of such plants that were not there before; None where it is not known which were."""
        before = (await self._pending.of(order.id)).get("before")
        if before is None:
            return None
        ids = [_plant_id(row) for row in await self._plants_like(params)]
        return [plant_id for plant_id in ids if plant_id and plant_id not in before]

    async def _master(self, order: Order) -> Mapping[str, Json]:
        if not isinstance(order.params, ModifyPlant):
            return {}
        return fields((await self.api.plant_details(str(order.params.plant_id), _LANE)).data)

    # looking for what became of a command ------------------------------------------------------------------------

    async def _look_for_user(self, params: Any, order: Order) -> Outcome | None:
        for row in await all_pages(lambda page: self.api.users(page, _LANE), "c_user_id"):
            known = fields(row)
            if (text(known.get("c_user_email")) or "").lower() == params.user_email.lower():
                return _found({"c_user_id": whole(known.get("c_user_id"))})
        return await self._second_no(order)

    async def _look_at_user(self, params: Any, _order: Order) -> Outcome | None:
        page = await self.api.user(str(params.c_user_id), _LANE)
        for row in page.rows:
            known = fields(row)
            shown = {name: text(known.get(key)) for name, key in _USER_FIELDS.items()}
            if all(shown[name] == value.strip() for name, value in params.changes().items()):
                return _found()
        return None

    async def _look_for_deleted_user(self, params: Any, order: Order) -> Outcome | None:
        rows = await all_pages(lambda page: self.api.users(page, _LANE), "c_user_id")
        if any(whole(fields(row).get("c_user_id")) == params.c_user_id for row in rows):
            return await self._second_no(order)
        return _found()

    async def _look_for_plant(self, params: Any, order: Order) -> Outcome | None:
        noted = await self._pending.of(order.id)
        if noted.get("ownerless"):
            return await self._look_for_ownerless(params, order)
        before = noted.get("before") or ()
        for row in await self._plants_like(params):
            if whole(fields(row).get("user_id")) == params.c_user_id and _plant_id(row) not in before:
                return _found({"plant_id": whole(fields(row).get("plant_id"))})
        return await self._second_no(order)

    async def _look_for_ownerless(self, params: AddPlant, order: Order) -> Outcome | None:
        """After `plant/addsign`, whose plants have no owner: only what was not there before can be the new one."""
        new = await self._new_plants(order, params)
        if new is None:
            return None
        if not new:
            return await self._second_no(order)
        result = {"plant_id": int(new[0])} if len(new) == 1 else None
        return replace(_found(result), message=f"seen at the vendor, {_NO_OWNER}")

    async def _plants_like(self, params: AddPlant) -> list[Row]:
        """The plants with this name and peak power."""
        rows = await all_pages(lambda page: self.api.plants(page, _LANE, name=params.name), "plant_id")
        return [row for row in rows if _is_plant(fields(row), params)]

    async def _look_at_plant(self, params: Any, order: Order) -> Outcome | None:
        if (await self._pending.of(order.id)).get("alike"):
            return None
        told = await self.api.plant_details(str(params.plant_id), _LANE)
        return _found() if _is_as_wanted(fields(told.data), params) else None

    async def _look_for_deleted_plant(self, params: Any, order: Order) -> Outcome | None:
        if await self._plant_row(params.plant_id) is None:
            return _found()
        return await self._second_no(order)

    async def _look_at_owner(self, params: Any, _order: Order) -> Outcome | None:
        row = await self._plant_row(params.plant_id)
        if row is not None and whole(fields(row).get("user_id")) == params.user_id:
            return _found()
        return None

    async def _look_for_logger(self, params: Any, _order: Order) -> Outcome | None:
        """A logger without inverters does not show, so that it is absent tells nothing."""
        shown = params.sn in await self.inventory.loggers(str(params.plant_id), _LANE)
        return _found() if shown else None

    async def _look_for_deleted_logger(self, params: Any, order: Order) -> Outcome | None:
        if params.sn in await self.inventory.loggers(str(params.plant_id), _LANE):
            return await self._second_no(order)
        return _found() if (await self._pending.of(order.id)).get("shown") is True else None

    async def _plant_row(self, plant_id: int) -> Row | None:
        rows = await all_pages(lambda page: self.api.plants(page, _LANE), "plant_id")
        return next((row for row in rows if whole(fields(row).get("plant_id")) == plant_id), None)

    async def _second_no(self, order: Order) -> Outcome | None:
        """FAILED where an earlier look, at least a minute ago, said the same; else None."""
        now_s = int(self.kit.clock.now().timestamp())
        first_at = (await self._pending.of(order.id)).get("no_at")
        if first_at is None:
            await self._pending.note(order.id, no_at=now_s)
            return None
        if now_s - first_at < LOOK_AGAIN_S - 1:
            return None
        return Outcome(Status.FAILED, "no_answer", _NOT_THERE)


def _done(order: Order, told: Told) -> Outcome:
    """A yes of the vendor, with the id that it gave."""
    key = _RESULT_IDS.get(order.spec.name)
    found = whole(fields(told.data).get(key)) if key else None
    result = {key: found} if key and found is not None else None
    return Outcome(Status.SUCCEEDED, vendor_code=0, result=result)


def _found(result: Json = None) -> Outcome:
    return Outcome(Status.SUCCEEDED, message="seen at the vendor", vendor_code=0, result=result)


def _plant_id(row: Row) -> str:
    found = whole(fields(row).get("plant_id"))
    return "" if found is None else str(found)


def _is_plant(known: Mapping[str, Json], params: AddPlant) -> bool:
    return (
        text(known.get("name")) == params.name.strip()
        and measured(known.get("peak_power")) == params.peak_power
    )


def _is_as_wanted(known: Mapping[str, Json], params: ModifyPlant) -> bool:
    """Whether the master data have all that they can tell of what is wanted."""
    wanted = {"name": params.name, "peak_power": params.peak_power, "postal": params.postal}
    wanted |= {"longitude": params.longitude, "latitude": params.latitude}
    wanted |= {"country": params.Country, "city": params.City}
    return all(value is None or _equals(known.get(name), value) for name, value in wanted.items())


def _shows_nothing(before: Mapping[str, Json], params: ModifyPlant) -> bool:
    """Whether the master data look the same before and after, though something is changed that they do not tell."""
    return bool(params.model_fields_set & _UNSEEN) and _is_as_wanted(before, params)


def _equals(shown: Json, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return text(shown) == wanted.strip()
    return bool(measured(shown) == wanted)
