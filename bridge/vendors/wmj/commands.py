"""The commands of a breaker and of its account (METRICS 4.1 and 4.3, wmj), and the request of each.

Pure. What happens after a lost answer follows the last column of METRICS 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bridge.domain.command import AfterLoss, CommandSpec, Evidence, NoParams, Order, Status
from bridge.domain.errors import Rejection
from bridge.domain.interlocks import Act, Deed
from bridge.domain.text import Json
from bridge.vendors.wmj import framerules
from bridge.vendors.wmj.codec import PROTECTION
from bridge.vendors.wmj.frame import FrameError, encode
from bridge.vendors.wmj.framerules import may_repeat, order_frame
from bridge.vendors.wmj.params import (
    Alarms,
    Breaker,
    HexFrame,
    Pulse,
    Registration,
    RetainState,
    alarms_model,
    protection_model,
)
from bridge.vendors.wmj.settings import WmjSettings
from bridge.vendors.wmj.wire import CloudRequest

RESTART_S = 120.0
DELAY_FIRMWARE = (71, 0, 33)

_NO_ANSWER = "no answer, and the device does not show what was asked for"
_ONCE_MORE = AfterLoss(send_again=1, otherwise=Status.TIMED_OUT, message="no answer, sent twice")
_READ_AGAIN = AfterLoss(send_again=2, otherwise=Status.TIMED_OUT, message="no answer, asked three times")
_NEVER_AGAIN = AfterLoss(message="no answer, and nothing that the vendor tells would show what happened")


def device_commands(settings: WmjSettings) -> Mapping[str, CommandSpec]:
    """What a breaker takes, for an account with these settings."""
    specs = (
        *_switching(settings),
        *_protecting(settings),
        CommandSpec(
            "read",
            "reads measurements and settings now",
            writes=False,
            after_loss=lambda _params: _READ_AGAIN,
        ),
        CommandSpec(
            "online",
            "asks the cloud whether the breaker is connected",
            writes=False,
            after_loss=lambda _params: _READ_AGAIN,
        ),
        CommandSpec("register", "binds the breaker to the account", after_loss=lambda _params: _ONCE_MORE),
        CommandSpec(
            "unregister",
            "takes the breaker off the account: no data and no callbacks until it is registered again",
            after_loss=lambda _params: _ONCE_MORE,
        ),
    )
    return {spec.name: spec for spec in specs}


def account_commands() -> Mapping[str, CommandSpec]:
    """What the account itself takes."""
    specs = (
        CommandSpec(
            "refresh_inventory",
            "asks for the connection and the measurements of every configured breaker",
            writes=False,
            after_loss=lambda _params: _READ_AGAIN,
        ),
        CommandSpec(
            "register",
            "binds a breaker to the account",
            params=Registration,
            targets=lambda params: (params.device_sn.upper(),),
            after_loss=lambda _params: _ONCE_MORE,
        ),
    )
    return {spec.name: spec for spec in specs}


def _switching(settings: WmjSettings) -> tuple[CommandSpec, ...]:
    def after_switching(params: Breaker) -> AfterLoss:
        again = 1 if params.state == "off" else 0
        return AfterLoss(settings.read_back, again, otherwise=Status.TIMED_OUT, message=_NO_ANSWER)

    retained = AfterLoss(settings.read_back, 1, otherwise=Status.TIMED_OUT, message=_NO_ANSWER)
    restarted = AfterLoss(wait_s=RESTART_S, message="no answer, and the breaker did not report back")
    return (
        CommandSpec(
            "breaker",
            "switches the supply on or off",
            direct=True,
            params=Breaker,
            after_loss=after_switching,
            evidence=lambda params: Evidence("switch_state", params.state),
            acts=lambda params: (Act(_DEEDS[params.state]),),
        ),
        CommandSpec(
            "pulse_on",
            "switches on now and off after the delay; meant for a breaker that is off",
            direct=True,
            params=Pulse,
            idempotent=False,
            check=_delays,
            acts=lambda params: (Act(Deed.SWITCH_ON), Act(Deed.SWITCH_OFF, after_s=params.delay_s)),
            after_loss=lambda _params: _NEVER_AGAIN,
        ),
        CommandSpec(
            "pulse_off",
            "switches off now and on again after the delay; meant for a breaker that is on",
            direct=True,
            params=Pulse,
            idempotent=False,
            check=_delays,
            acts=lambda params: (Act(Deed.SWITCH_OFF), Act(Deed.SWITCH_ON, after_s=params.delay_s)),
            after_loss=lambda _params: _NEVER_AGAIN,
        ),
        CommandSpec(
            "retain_state",
            "sets what the breaker does when power returns after a cut",
            direct=True,
            params=RetainState,
            after_loss=lambda _params: retained,
            evidence=lambda params: Evidence("retain_state", params.enabled),
        ),
        CommandSpec(
            "restart",
            "restarts the breaker's module; whether the contact moves is not stated",
            direct=True,
            idempotent=False,
            after_loss=lambda _params: restarted,
            evidence=lambda _params: Evidence(events=frozenset({"online", "registered"})),
            timeout_s=RESTART_S,
        ),
        CommandSpec(
            "wifi_config",
            "starts the Wi-Fi set-up: the breaker leaves the network until it is set up again on site",
            direct=True,
            idempotent=False,
            after_loss=lambda _params: _NEVER_AGAIN,
        ),
    )


def _protecting(settings: WmjSettings) -> tuple[CommandSpec, ...]:
    protected = AfterLoss(settings.read_back, 1, otherwise=Status.TIMED_OUT, message=_NO_ANSWER)
    return (
        CommandSpec(
            "set_protection",
            "sets trip thresholds; those not given stay as they are",
            params=protection_model(settings),
            after_loss=lambda _params: protected,
        ),
        CommandSpec(
            "set_alarms",
            "sets thresholds and whether the breaker trips; one group complete. "
            "`trip` false on anything but low_balance_kwh switches that protection off and needs `confirm`",
            direct=True,
            params=alarms_model(settings),
            dangerous_if=framerules.switches_protection_off,
            after_loss=lambda _params: _ONCE_MORE,
        ),
        CommandSpec(
            "hex_frame",
            "sends a raw frame to the breaker's controller. One that switches a protection off, or writes a "
            "data point other than 0x10, 0x11 and 0x12, needs `confirm`",
            direct=True,
            params=HexFrame,
            idempotent=False,
            dangerous_if=framerules.is_dangerous,
            check=framerules.within(settings),
            after_loss=_after_frame,
            acts=framerules.acts,
        ),
    )


def _after_frame(params: Any) -> AfterLoss:
    try:
        return _ONCE_MORE if may_repeat(order_frame(params)) else _NEVER_AGAIN
    except FrameError:
        return _NEVER_AGAIN


_DEEDS = {"on": Deed.SWITCH_ON, "off": Deed.SWITCH_OFF}


def _delays(order: Order) -> None:
    """Delayed switching needs firmware 71.0.33 (4.4.3); a firmware that is not known yet is let pass."""
    firmware = order.device.firmware if order.device else None
    if firmware and re.fullmatch(r"\d+(\.\d+)*", firmware):
        version = tuple(int(part) for part in firmware.split("."))
        if version < DELAY_FIRMWARE:
            raise Rejection(
                "unsupported", f"delayed switching needs firmware 71.0.33, this one has {firmware}"
            )


_SIMPLE: Mapping[str, str] = {
    "read": "getdevinfo",
    "restart": "restart",
    "wifi_config": "wifi_config",
    "pulse_on": "delayturnoff",
    "pulse_off": "delayturnon",
    "set_protection": "setting",
    "set_alarms": "uart_cmd",
    "hex_frame": "uart_cmd",
    "retain_state": "set_retainstate",
}
"""Command → `cmd_type`. The vendor's delay words name what comes last, ours what comes first (Q9)."""

_PATHS: Mapping[str, str] = {
    "register": "/register",
    "unregister": "/logout",
    "online": "/getOnLine",
    "refresh_inventory": "/getOnLine",
}


def request_of(name: str, params: Any, serial: str, protection: Mapping[str, Json]) -> CloudRequest:
    """The request of a command. `protection`: all thresholds of `set_protection`, by parameter."""
    if name in _PATHS:
        return CloudRequest(_PATHS[name], serial)
    if name == "breaker":
        return CloudRequest("/send", serial, "turnon" if params.state == "on" else "turnoff")
    return CloudRequest("/send", serial, _SIMPLE[name], _info_of(params, protection))


def _info_of(params: Any, protection: Mapping[str, Json]) -> dict[str, Json]:
    if isinstance(params, Pulse):
        return {"delaytime": params.delay_s}
    if isinstance(params, RetainState):
        return {"retainstate": int(params.enabled)}
    if isinstance(params, Alarms | HexFrame):
        return {"hex_cmd": encode(order_frame(params))}
    if isinstance(params, NoParams):
        return {}
    return {field: protection[name] for name, field in PROTECTION.items() if name in protection}
