"""One case per vendor: an account's settings, its simulated cloud, and parameters for every command.

The tables of commands are those of METRICS.md 4.1 and 4.3. A vendor without a case fails the suite.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.domain.errors import RateLimited, VendorError
from bridge.simulators import iammeter, iotmeter, jrhsz, saj, wmj
from bridge.simulators.simtime import SimTime

SECRETS = {
    "wmj": ("FAKEwmjsecret0000000000000000000",),
    "iammeter": ("FAKEiammetertoken000000000000000", "FAKEiammeterpassword"),
    "jrhsz": ("FAKEjrhszpassword",),
    "iotmeter": ("FAKEiotmeterkey00000000000000000", "FAKEiotmeterpassword"),
    "saj": ("FAKEsajappkey0000000000000000000",),
}
NEW_USER_PASSWORD = "FAKEnewuserpassword"
Rows = Mapping[str, "Row"]


@dataclass(frozen=True)
class Row:
    """A command in the tables of METRICS.md, and parameters that it takes: `examples` first the plain ones."""

    idempotent: bool = True
    needs_id: bool = False
    dangerous: bool = False
    writes: bool = True
    examples: tuple[dict[str, Any], ...] = ({},)


def _reads(*examples: dict[str, Any]) -> Row:
    return Row(writes=False, examples=examples or ({},))


def _sets(*examples: dict[str, Any]) -> Row:
    return Row(examples=examples or ({},))


def _once(*examples: dict[str, Any], needs_id: bool = False, dangerous: bool = False) -> Row:
    return Row(idempotent=False, needs_id=needs_id, dangerous=dangerous, examples=examples or ({},))


def _careful(*examples: dict[str, Any]) -> Row:
    return Row(dangerous=True, examples=examples or ({},))


@dataclass(frozen=True)
class Case:
    """What the suite needs to know of a vendor. `cloud` is its simulated cloud, `app` makes an ASGI application of it.
    `device_commands` are those of all its kinds of devices together. `meanings`: a ruin that the vendor's page gives
    a meaning of its own."""

    settings: dict[str, Any]
    cloud: Callable[[SimTime], Any]
    app: Callable[[Any], Any]
    device_commands: Rows
    account_commands: Rows
    secrets: tuple[str, ...] = field(repr=False, default=())
    meanings: Mapping[str, type[VendorError]] = field(default_factory=dict)


_READ = {"read": _reads()}
_SPAN = {"start": "2024-09-08T00:00:00Z", "end": "2024-09-08T12:00:00Z"}
_HISTORY = {"history": _reads(_SPAN, {**_SPAN, "interval_s": 3600})}
_INVENTORY = {"refresh_inventory": _reads()}
_SWITCH = {"breaker": _sets({"state": "on"}, {"state": "off"})}
_VALVE = {"valve": _sets({"state": "open"}, {"state": "close"})}


def _rng() -> random.Random:
    return random.Random(1)


# wmj ------------------------------------------------------------------------------------------------------------------

_SERIALS = ["W7100000001", "W7200000002"]


def _wmj(time: SimTime) -> wmj.WmjCloud:
    account = wmj.Account("0" * 32, SECRETS["wmj"][0])
    return wmj.WmjCloud(account, _SERIALS, time=time, rng=_rng())


_ALARMS = {
    "overload_kw": {"threshold": 8, "trip": True},
    "leakage_current_ma": {"threshold": 30, "trip": True},
    "overheat_c": {"threshold": 80, "trip": True},
}

WMJ = Case(
    settings={
        "id": "shop",
        "vendor": "wmj",
        "base_url": "https://wmj.example.invalid/deviceApi",
        "app_id": "0" * 32,
        "app_secret": SECRETS["wmj"][0],
        "devices": _SERIALS,
        "push": {"secret": "FAKEpush0000"},
    },
    cloud=_wmj,
    app=wmj.app,
    secrets=SECRETS["wmj"],
    device_commands={
        **_READ,
        **_SWITCH,
        "restart": _once(),
        "wifi_config": _once(),
        "pulse_on": _once({"delay_s": 5}),
        "pulse_off": _once({"delay_s": 900}),
        "set_protection": _sets({"overheat_c": 70}, {"overcurrent_a": 20, "overvoltage_v": 270}),
        "set_alarms": _sets(_ALARMS),
        "hex_frame": _once(
            {"hex": "55AA03060005100100010120"}, {"hex": "55AA03060005100100010100", "fix_checksum": True}
        ),
        "retain_state": _sets({"enabled": True}, {"enabled": False}),
        "register": _sets(),
        "unregister": _sets(),
        "online": _reads(),
    },
    account_commands={**_INVENTORY, "register": _sets({"device_sn": "W7100000001"})},
)

# iammeter -------------------------------------------------------------------------------------------------------------


def _iammeter(time: SimTime) -> iammeter.IammeterCloud:
    account = iammeter.Account("demo-user", SECRETS["iammeter"][1], SECRETS["iammeter"][0])
    return iammeter.IammeterCloud(account, iammeter.household(time.now()), time=time, rng=_rng())


_DAYS = {"start": "2024-09-05", "end": "2024-09-07"}

IAMMETER = Case(
    settings={
        "id": "home",
        "vendor": "iammeter",
        "base_url": "https://iammeter.example.invalid/api/v1",
        "token": SECRETS["iammeter"][0],
        "username": "demo-user",
        "password": SECRETS["iammeter"][1],
        "site_history": True,
        "timezone": "Europe/Berlin",
    },
    cloud=_iammeter,
    app=iammeter.app,
    secrets=SECRETS["iammeter"],
    device_commands={
        **_READ,
        **_HISTORY,
        "power_analysis": _reads({}, _DAYS),
        "offline_analysis": _reads({}, {**_DAYS, "interval_min": 30}),
    },
    account_commands=_INVENTORY,
    meanings={"nothing": RateLimited},  # section 3: a used-up limit is answered with nothing at all
)

# jrhsz ----------------------------------------------------------------------------------------------------------------


def _jrhsz(time: SimTime) -> jrhsz.JrhszCloud:
    account = jrhsz.Account("demo_user", SECRETS["jrhsz"][0])
    return jrhsz.JrhszCloud(account, jrhsz.fleet(6, time.now()), time=time, rng=_rng())


JRHSZ = Case(
    settings={
        "id": "flats",
        "vendor": "jrhsz",
        "base_url": "http://jrhsz.example.invalid",
        "username": "demo_user",
        "password": SECRETS["jrhsz"][0],
    },
    cloud=_jrhsz,
    app=jrhsz.app,
    secrets=SECRETS["jrhsz"],
    device_commands={**_READ, **_HISTORY, **_SWITCH, **_VALVE},
    account_commands=_INVENTORY,
)

# iotmeter -------------------------------------------------------------------------------------------------------------

_METER = "00000000000001"


def _iotmeter(time: SimTime) -> iotmeter.IotMeterCloud:
    account = iotmeter.Account("1001", SECRETS["iotmeter"][0], "demo_admin", SECRETS["iotmeter"][1])
    return iotmeter.IotMeterCloud(account, [_METER], time=time, rng=_rng(), rtus=["R000000001"])


_PRICES = {f"price{number}": 2.5 + number for number in range(1, 6)}
_LADDERS = {f"ladder{number}": 100 * number for number in range(1, 5)}
_TASK = {
    "ctrl_id": 1,
    "upper_ctrl_id": 0,
    "company_no": "1001",
    "processor_name": "iotmeterv1",
    "ctrl_define_no": "x-1",
    "target_comm_no": _METER,
    "target_devtype": 1,
    "ctrl_time": "2024-09-08T00:00:00Z",
    "ctrl_timeout": "2024-09-11T00:00:00Z",
    "ctrl_state": 0,
    "ctrl_state_msg": "",
    "ctrl_feedback_msg": "",
    "ctrl_type": "iotmeterv1.common.setvalveoff",
    "ctrl_data": {},
    "return_data": "",
    "sync_flag": 0,
    "sync_time": "2024-09-08 00:00:00",
    "sync_msg": "",
}
_NEW_TASK = {"target_comm_no": _METER, "ctrl_type": "iotmeterv1.common.setvalveoff", "ctrl_data": {}}
_NAMES = ({"command_id": "pay-1"}, {"ctrl_id": 1})

IOTMETER = Case(
    settings={
        "id": "gas",
        "vendor": "iotmeter",
        "data": {
            "base_url": "http://iotmeter.example.invalid",
            "company_no": "1001",
            "api_key": SECRETS["iotmeter"][0],
        },
        "control": {
            "base_url": "http://iotmeter.example.invalid",
            "login_name": "demo_admin",
            "password": SECRETS["iotmeter"][1],
        },
        "push": {"secret": "FAKEpush0000"},
    },
    cloud=_iotmeter,
    app=iotmeter.app,
    secrets=SECRETS["iotmeter"],
    device_commands={
        **_READ,
        **_HISTORY,
        **_VALVE,
        "set_price": Row(
            needs_id=True,
            examples=({**_PRICES, **_LADDERS, "cycle_start": "2024-09-01T00:00:00Z", "cycle_month": 12},),
        ),
        "get_price": _reads(),
        "set_balance": _once({"remain_value": 12.5}, needs_id=True),
        "recharge": _once({"charge_value": 50.25, "total_value": 150, "charge_times": 3}, needs_id=True),
        "get_recharge": _reads(),
        "open_account": _once({}, {"charge_value": 10, **_PRICES, **_LADDERS}, needs_id=True),
        "set_cumulant": _once({"std_sum": 1.5, "work_sum": 1.4}, needs_id=True),
        "release_valve": _sets(),
        "cancel": _sets(*_NAMES),
        "retry": _once(*_NAMES),
    },
    account_commands={
        **_INVENTORY,
        "list_tasks": _reads({}, {"target_comm_no": _METER, "rowcount": 10}),
        "get_task": _reads({"ctrl_id": 1}),
        "describe_task": _reads({"ctrl_id": 1}),
        "update_task": _careful(_TASK),
        "delete_task": _careful({"ctrl_id": 1}),
        "add_tasks": _once({"tasks": [_NEW_TASK]}, needs_id=True, dangerous=True),
        "update_tasks": _careful({"tasks": [_TASK]}),
        "delete_tasks": _careful({"ctrl_ids": [1]}),
        "cancel_tasks": _sets({"ctrl_ids": [1]}),
        "retry_tasks": _once({"ctrl_ids": [1]}),
    },
)

# saj ------------------------------------------------------------------------------------------------------------------


def _saj(time: SimTime) -> saj.SajCloud:
    fleet = saj.demo_fleet(time.now(), plants=1, rng=_rng(), age_days=3)
    return saj.SajCloud(saj.Application("15000", SECRETS["saj"][0]), fleet, time=time, rng=_rng())


_PLANT = {"name": "Barn", "peak_power": 9.9}

SAJ = Case(
    settings={
        "id": "roof",
        "vendor": "saj",
        "base_url": "https://saj.example.invalid",
        "app_id": "15000",
        "app_key": SECRETS["saj"][0],
    },
    cloud=_saj,
    app=saj.app,
    secrets=(*SECRETS["saj"], NEW_USER_PASSWORD),
    device_commands={**_READ, **_HISTORY},
    account_commands={
        **_INVENTORY,
        "add_user": _once(
            {
                "user_email": "a@example.invalid",
                "user_password": NEW_USER_PASSWORD,
                "user_name": "A",
                "user_tel": "0",
            },
            needs_id=True,
        ),
        "modify_user": _sets({"c_user_id": 1, "name": "B"}, {"c_user_id": 1, "user_City": "C"}),
        "delete_user": _careful({"c_user_id": 1}),
        "add_plant": _once(
            {"c_user_id": 1, **_PLANT}, {"c_user_id": 1, **_PLANT, "price": 0.5}, needs_id=True
        ),
        "modify_plant": _sets({"plant_id": 1, **_PLANT}),
        "delete_plant": _careful({"plant_id": 1}),
        "assign_plant": _sets({"plant_id": 1, "user_id": 2}),
        "add_datalogger": _once({"plant_id": 1, "sn": "L1"}, needs_id=True),
        "modify_datalogger": _once({"plant_id": 1, "original_sn": "L1", "sn": "L2"}, needs_id=True),
        "delete_datalogger": _careful({"plant_id": 1, "sn": "L1"}),
    },
)

CASES: Mapping[str, Case] = {
    "wmj": WMJ,
    "iammeter": IAMMETER,
    "jrhsz": JRHSZ,
    "iotmeter": IOTMETER,
    "saj": SAJ,
}
