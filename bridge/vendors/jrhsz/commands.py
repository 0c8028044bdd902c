"""The commands of a meter and of its account (METRICS 4.1 and 4.3, jrhsz), and the instruction of each.

Pure. An answer of the platform is acceptance only; `Follow` and `AfterLoss` say when the gate or the reading is
looked at. What restores a supply is never sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from bridge.domain.command import (
    AfterLoss,
    Checker,
    CommandSpec,
    Evidence,
    Follow,
    Order,
    Status,
)
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import Rejection
from bridge.domain.interlocks import Act, Deed
from bridge.domain.observation import Value
from bridge.vendors.jrhsz.codec import device_id_of
from bridge.vendors.jrhsz.params import Breaker, History, Valve
from bridge.vendors.jrhsz.settings import JrhszSettings
from bridge.vendors.jrhsz.wire import Query

METER_S = 600.0
WATER_S = 86400.0
"""How long a meter may take; water meters answer at their next wake-up (page jrhsz, section 7)."""

HISTORY_CHUNK = timedelta(days=31)
"""The longest stretch to ask for at once (4.4)."""

_METER_EVERY_S = 300.0
_WATER_EVERY_S = 900.0
_NO_ANSWER = "no answer, and the meter does not show what was asked for"
_READ_AGAIN = AfterLoss(send_again=2, otherwise=Status.TIMED_OUT, message="no answer, asked three times")

_INSTRUCTIONS: Mapping[str, str] = {"off": "1", "close": "1", "on": "2", "open": "2"}
_READ = "3"
_DEEDS = {
    "on": Deed.SWITCH_ON,
    "off": Deed.SWITCH_OFF,
    "open": Deed.VALVE_OPEN,
    "close": Deed.VALVE_CLOSE,
}
_WANTED: Mapping[str, tuple[str, Value]] = {
    "on": ("switch_state", "on"),
    "off": ("switch_state", "off"),
    "open": ("valve_state", "open"),
    "close": ("valve_state", "closed"),
}


def device_commands(
    settings: JrhszSettings, may_wake: Checker, in_reach: Checker
) -> Mapping[DeviceKind, Mapping[str, CommandSpec]]:
    """What a meter of each kind takes. `may_wake` raises Rejection while a water meter must be left alone, `in_reach`
    for a stretch of the past that makes no sense."""
    history = CommandSpec(
        "history",
        "reads the stored readings of a period again",
        params=History,
        writes=False,
        check=in_reach,
        after_loss=lambda _params: _READ_AGAIN,
    )
    by_kind = {
        DeviceKind.ELECTRICITY_METER: (_breaker(settings), _read(settings, water=False)),
        DeviceKind.WATER_METER: (_valve(settings), replace(_read(settings, water=True), check=may_wake)),
        DeviceKind.METER: (_read(settings, water=False),),
    }
    return {kind: {spec.name: spec for spec in (*specs, history)} for kind, specs in by_kind.items()}


def account_commands() -> Mapping[str, CommandSpec]:
    """What the account itself takes."""
    spec = CommandSpec(
        "refresh_inventory",
        "reads the list of meters with gate and connection now",
        writes=False,
        after_loss=lambda _params: _READ_AGAIN,
    )
    return {spec.name: spec}


def _breaker(settings: JrhszSettings) -> CommandSpec:
    return CommandSpec(
        "breaker",
        "cuts or restores the supply",
        direct=True,
        params=Breaker,
        check=addressed,
        after_loss=lambda params: _after_switching(settings, params.state, water=False),
        acts=lambda params: (Act(_DEEDS[params.state]),),
        evidence=lambda params: Evidence(*_WANTED[params.state]),
        follow=_follow(settings, water=False),
    )


def _valve(settings: JrhszSettings) -> CommandSpec:
    return CommandSpec(
        "valve",
        "opens or closes the valve; a battery meter does it at its next wake-up",
        direct=True,
        params=Valve,
        check=addressed,
        after_loss=lambda params: _after_switching(settings, params.state, water=True),
        acts=lambda params: (Act(_DEEDS[params.state]),),
        evidence=lambda params: Evidence(*_WANTED[params.state]),
        follow=_follow(settings, water=True),
    )


def _read(settings: JrhszSettings, *, water: bool) -> CommandSpec:
    lost = AfterLoss(_ages(settings, water=water), otherwise=Status.TIMED_OUT, message=_NO_ANSWER)
    return CommandSpec(
        "read",
        "makes the meter read itself now; a water meter at most once per 15 minutes",
        writes=False,
        check=addressed,
        after_loss=lambda _params: lost,
        follow=_follow(settings, water=water),
    )


def _follow(settings: JrhszSettings, *, water: bool) -> Callable[[Device | None], Follow]:
    plan = Follow(
        settings.read_back,
        then_every_s=_WATER_EVERY_S if water else _METER_EVERY_S,
        until_s=WATER_S if water else METER_S,
    )
    return lambda _device: plan


def _after_switching(settings: JrhszSettings, state: str, *, water: bool) -> AfterLoss:
    """Cutting is sent once more after the last of the first looks; restoring is only looked for."""
    if state in ("off", "close"):
        return AfterLoss(settings.read_back, 1, otherwise=Status.TIMED_OUT, message=_NO_ANSWER)
    return AfterLoss(_ages(settings, water=water), otherwise=Status.TIMED_OUT, message=_NO_ANSWER)


def _ages(settings: JrhszSettings, *, water: bool) -> tuple[float, ...]:
    """When to look, up to the time that the meter has."""
    until_s, every_s = (WATER_S, _WATER_EVERY_S) if water else (METER_S, _METER_EVERY_S)
    ages = [age for age in settings.read_back if age < until_s]
    while ages and ages[-1] + every_s < until_s:
        ages.append(ages[-1] + every_s)
    return (*ages, until_s)


def addressed(order: Order) -> None:
    """Raises Rejection where the inventory names no target for the meter."""
    if order.device is None or device_id_of(order.device) is None:
        raise Rejection("unknown_device", "the platform's inventory names no deviceId for this meter")


def wanted(order: Order) -> tuple[str, Value]:
    """The metric and value that prove a `breaker` or `valve`."""
    return _WANTED[order.params.state]


def instruction(order: Order) -> Query:
    """The request of `breaker`, `valve` and `read` (4.6). Raises Rejection without a target."""
    addressed(order)
    target = device_id_of(order.device) if order.device is not None else None
    code = _READ if order.spec.name == "read" else _INSTRUCTIONS[order.params.state]
    return Query("meterInstruct", {"deviceId": target, "type": code})
