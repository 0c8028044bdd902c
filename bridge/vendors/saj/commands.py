"""The commands of plants, inverters and their account (METRICS 4.1 and 4.3, saj), and the request of each.

Pure. What happens after a lost answer follows the last column of METRICS 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bridge.domain.command import AfterLoss, CommandSpec, Order, Params, Status
from bridge.domain.text import Json
from bridge.vendors.saj import params as forms
from bridge.vendors.saj.api import MASK, Request
from bridge.vendors.saj.sealed import Wallet

LOOK_AGAIN_S = 60.0
"""The time between two looks after which something that is not there was not made (7.5)."""

_READ_AGAIN = AfterLoss(send_again=2, otherwise=Status.TIMED_OUT, message="no answer, asked three times")
_ONCE_MORE = AfterLoss(
    (1.0,),
    1,
    otherwise=Status.TIMED_OUT,
    message="no answer, and the vendor does not show what was asked for",
)
_NEVER_AGAIN = AfterLoss(
    (1.0, 1.0 + LOOK_AGAIN_S, 300.0, 900.0), message="no answer, and the vendor does not tell what happened"
)
_TWO_LOOKS = AfterLoss(
    (1.0, 1.0 + LOOK_AGAIN_S), message="no answer, and the vendor's lists cannot tell what happened"
)


@dataclass(frozen=True, slots=True)
class Management:
    """A management command: what `info` shows of it, and its model."""

    description: str
    params: type[Params]
    after_loss: AfterLoss
    idempotent: bool = True
    dangerous: bool = False


def device_commands(in_reach: Callable[[Order], None]) -> Mapping[str, CommandSpec]:
    """What plants and inverters take. `in_reach` rejects a span of time that makes no sense."""
    read = CommandSpec(
        "read", "reads the latest values of the vendor's cloud now", writes=False, after_loss=_reading
    )
    history = CommandSpec(
        "history",
        "reads past records of the vendor's cloud and publishes them on `history`",
        params=forms.History,
        writes=False,
        check=in_reach,
        after_loss=_reading,
    )
    return {spec.name: spec for spec in (read, history)}


def _reading(_params: Any) -> AfterLoss:
    return _READ_AGAIN


def account_commands(wallet: Wallet) -> Mapping[str, CommandSpec]:
    """What the account itself takes."""
    specs = [
        CommandSpec(
            "refresh_inventory",
            "reads plants, master data and devices again",
            writes=False,
            after_loss=_reading,
        )
    ]
    specs += [_spec(name, one) for name, one in _management(wallet).items()]
    return {spec.name: spec for spec in specs}


def _spec(name: str, one: Management) -> CommandSpec:
    return CommandSpec(
        name,
        one.description,
        params=one.params,
        idempotent=one.idempotent,
        needs_id=not one.idempotent,
        dangerous=one.dangerous,
        after_loss=lambda _params: one.after_loss,
        targets=_plants,
    )


def _plants(params: Any) -> Sequence[str]:
    """The plant that is changed, which is a device of the account."""
    plant = getattr(params, "plant_id", None)
    return () if plant is None else (str(plant),)


def _management(wallet: Wallet) -> Mapping[str, Management]:
    return {
        "add_user": Management(
            "registers an end user", forms.add_user_model(wallet), _NEVER_AGAIN, idempotent=False
        ),
        "modify_user": Management("changes an end user's name or address", forms.ModifyUser, _ONCE_MORE),
        "delete_user": Management("deletes an end user", forms.User, _NEVER_AGAIN, dangerous=True),
        "add_plant": Management(
            "adds a plant; private unless `is_public`", forms.AddPlant, _NEVER_AGAIN, idempotent=False
        ),
        "modify_plant": Management(
            "changes a plant; what is not given is filled in from its master data, but `is_public` is false "
            "and price, installer and zone are the vendor's defaults unless given",
            forms.ModifyPlant,
            _ONCE_MORE,
        ),
        "delete_plant": Management("deletes a plant", forms.Plant, _NEVER_AGAIN, dangerous=True),
        "assign_plant": Management("gives a plant to a user", forms.AssignPlant, _ONCE_MORE),
        "add_datalogger": Management(
            "adds a data logger to a plant", forms.Logger, _TWO_LOOKS, idempotent=False
        ),
        "modify_datalogger": Management(
            "replaces a data logger of a plant", forms.ReplaceLogger, _TWO_LOOKS, idempotent=False
        ),
        "delete_datalogger": Management(
            "takes a data logger off a plant", forms.Logger, _TWO_LOOKS, dangerous=True
        ),
    }


_ENDPOINTS: Mapping[str, str] = {
    "add_user": "user/user_register",
    "modify_user": "user/modify",
    "delete_user": "user/delete",
    "add_plant": "plant/add",
    "modify_plant": "plant/modify",
    "delete_plant": "plant/delete",
    "assign_plant": "device/datalogger/addPlantUser",
    "add_datalogger": "device/datalogger/add",
    "modify_datalogger": "device/datalogger/modify",
    "delete_datalogger": "device/datalogger/delete",
}

_TWINS: Mapping[str, str] = {
    "modify_user": "user/modifysign",
    "modify_plant": "plant/modifysign",
    "add_plant": "plant/addsign",
    "add_datalogger": "device/datalogger/addsign",
    "modify_datalogger": "device/datalogger/modifysign",
}
"""Newer end points for an application that may not call the older one (4.27, 4.29 to 4.32)."""

MANAGEMENT = frozenset(_ENDPOINTS)


def request_of(name: str, params: Any, master: Mapping[str, Json], *, masked: bool = False) -> Request:
    """The request of a management command. `master`: the plant's master data for `modify_plant`, by lower-case
    key. `masked`: as it may be shown to people."""
    if isinstance(params, forms.AddUser):
        fields: dict[str, Any] = params.model_dump(exclude={"user_password"})
        fields["user_password"] = MASK if masked else params.user_password.get_secret_value()
        order = ("user_email", "user_password", "user_type", "user_name", "user_tel")
        fields = {key: fields[key] for key in order}
    elif isinstance(params, forms.ModifyUser):
        fields = {"c_user_id": params.c_user_id, **params.changes()}
    elif isinstance(params, forms.AddPlant):
        fields = {"c_user_id": params.c_user_id, **_plant_fields(params)}
    elif isinstance(params, forms.ModifyPlant):
        return _modify_plant(params, master)
    else:
        fields = params.model_dump()
    endpoint = _ENDPOINTS[name]
    if name == "modify_user" and not fields.keys() <= {"c_user_id", "name", "mobile"}:
        endpoint = _TWINS[name]
    return Request(endpoint, _texts(fields), writes=True)


def twin_of(name: str, params: Any, master: Mapping[str, Json], *, plant_id: str) -> Request | None:
    """The request to the newer end point, None where there is none or something it needs is not known. `master`: as
    for `request_of`. `plant_id`: `omit` or `send`, what `plant/addsign` gets for the id that it asks for (section 8).
    """
    if name not in _TWINS:
        return None
    if isinstance(params, forms.ModifyPlant):
        request = _modify_plant(params, master, newer=True)
        return None if "" in request.params.values() else request
    if isinstance(params, forms.ModifyUser):
        return Request(_TWINS[name], _texts({"c_user_id": params.c_user_id, **params.changes()}), writes=True)
    if not isinstance(params, forms.AddPlant):
        return Request(_TWINS[name], _texts(params.model_dump()), writes=True)
    if params.Country is None or params.City is None:
        return None
    place = {"name": params.name, "Country": params.Country, "City": params.City}
    fields = {"plant_id": 0} if plant_id == "send" else {}
    return Request(_TWINS[name], _texts({**fields, **place, **_plant_fields(params)}), writes=True)


def _plant_fields(params: forms.AddPlant | forms.ModifyPlant) -> dict[str, Any]:
    return {"name": params.name, "peak_power": params.peak_power, **params.options()}


def _modify_plant(params: forms.ModifyPlant, master: Mapping[str, Json], *, newer: bool = False) -> Request:
    """What an omitted parameter would become is not documented, so all that is known is sent (4.16)."""
    kept = {key: master.get(key) for key in ("longitude", "latitude", "postal")}
    if master.get("currency") == "RMB":
        kept["currency"] = 1
    fields = {
        **{key: value for key, value in kept.items() if value not in (None, "")},
        **_plant_fields(params),
    }
    place = {"Country": params.Country, "City": params.City}
    endpoint = _ENDPOINTS["modify_plant"]
    if newer or any(place.values()):
        endpoint = _TWINS["modify_plant"]
        fields |= {key: value or master.get(key.lower()) or "" for key, value in place.items()}
    return Request(endpoint, _texts({"plant_id": params.plant_id, **fields}), writes=True)


def _texts(fields: Mapping[str, Any]) -> dict[str, str]:
    """The values as the vendor takes them: ids as decimal text, truth as `true` and `false` (6.17)."""
    return {name: _as_text(value) for name, value in fields.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
