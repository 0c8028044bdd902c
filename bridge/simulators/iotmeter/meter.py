"""A simulated gas meter or RTU: what it measures, its prepayment, its valve, what tasks do to it. No I/O.

It executes whatever reaches it, also the same recharge twice: that is what the ledger is there to show.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from bridge.simulators.iotmeter.wire import spaced

_KEPT_RECORDS = 20_000
_DAY_S = 86_400
_UTC_OFFSET_S = 8 * 3600

Kind = Literal["meter", "rtu"]


@dataclass(slots=True)
class Options:
    """How a device behaves.

    `wake_every_s`: simulated seconds between its wake-ups. `asleep`: it never wakes. `deaf`: it does what it is
    told, but its answer is lost (the task stays sent and times out). `fails`: it answers each task with a failure
    (state 4). `refuses`: state 3 with a bad result flag. `mute_flag`: state 3 without one. `checks_counter`: it
    refuses a recharge whose `charge_times` is not the next.
    """

    wake_every_s: float = 60.0
    asleep: bool = False
    deaf: bool = False
    fails: bool = False
    refuses: bool = False
    mute_flag: bool = False
    checks_counter: bool = False

    def set(self, name: str, value: Any) -> None:
        """Raises ValueError for another name or type."""
        kinds = {item.name: type(getattr(self, item.name)) for item in fields(self)}
        if name not in kinds:
            raise ValueError(f"no such option: {name!r}")
        if kinds[name] is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kinds[name]:
            raise ValueError(f"{name} has the wrong type")
        setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class Done:
    """What a task did: final state, `return_data`, and the effect for the ledger (empty: none)."""

    state: int
    returned: Mapping[str, Any] = field(default_factory=dict)
    effect: str = ""
    detail: str = ""


@dataclass(slots=True)
class Meter:
    """`remain` is money in CNY or volume in m³ by `counts`."""

    comm_no: str
    now_s: float
    device_type: int = 1
    counts: Literal["money", "volume"] = "money"
    std_sum: float = 1234.567
    valve_open: bool = True
    forced: bool = False
    account_open: bool = True
    remain: float = 88.5
    prices: dict[str, Any] = field(default_factory=dict)
    remote_times: int = 0
    remote_last: float = 0.0
    remote_total: float = 0.0
    battery_v: float = 3.6
    flags: dict[str, Any] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    records: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_KEPT_RECORDS))
    next_wake_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.prices:
            self.prices = {
                **{f"price{n}": 2.63 for n in range(1, 6)},
                **{f"ladder{n}": 100 * n for n in range(1, 5)},
                "cycle_start": "2021-01-01 00:00:00",
                "cycle_month": 12,
            }
        self.next_wake_s = self.now_s + self.options.wake_every_s

    # measuring ----------------------------------------------------------------------------------------------------

    def flow_m3h(self, now_s: float) -> float:
        """A believable consumption: cooking in the morning and the evening."""
        if not self.valve_open or self.device_type != 1:
            return 0.0
        hour = ((now_s + _UTC_OFFSET_S) % _DAY_S) / 3600
        return round(sum(0.8 * math.exp(-((hour - at) ** 2)) for at in (7.5, 12.0, 18.5)), 3)

    def advance(self, now_s: float) -> None:
        """Lets time pass: gas flows, and is paid for."""
        if now_s <= self.now_s:
            return
        used = self.flow_m3h(now_s) * (now_s - self.now_s) / 3600
        self.std_sum += used
        price = float(self.prices["price1"]) if self.counts == "money" else 1.0
        self.remain = max(0.0, self.remain - used * price)
        if self._day(now_s) != self._day(self.now_s):
            midnight_s = self._day(now_s) * _DAY_S - _UTC_OFFSET_S
            self.records.append(self.record(midnight_s, now_s, frozen=True))
        self.now_s = now_s

    def take_reading(self, now_s: float) -> dict[str, Any]:
        """Measures now; the record is kept for the queries."""
        self.advance(now_s)
        record = self.record(now_s, now_s, frozen=False)
        self.records.append(record)
        return record

    def record(self, acquired_s: float, received_s: float, *, frozen: bool) -> dict[str, Any]:
        """A record of 4.1 (times as in a push, `ext_data` as object)."""
        volume, money = (0, round(self.remain, 3)) if self.counts == "money" else (round(self.remain, 3), 0)
        flow = self.flow_m3h(acquired_s)
        return {
            "meter_comm_no": self.comm_no,
            "device_type": self.device_type,
            "device_type_name": "物联网表" if self.device_type == 1 else "RTU",
            "factory_code": "F001",
            "meter_area_no": "A01",
            "meter_define_no1": f"U-{self.comm_no[-4:]}",
            "meter_define_no2": "",
            "meter_define_no3": "",
            "meter_define_no4": "",
            "data_type": int(frozen),
            "data_type_name": "冻结数据" if frozen else "实时数据",
            "acquisition_time": spaced(acquired_s),
            "receive_time": spaced(received_s),
            "std_sum": round(self.std_sum, 3),
            "work_sum": round(self.std_sum * 0.98, 3),
            "std_flow": flow,
            "work_flow": round(flow * 0.98, 3),
            "temperature": 18.5,
            "pressure": 101.325,
            "magatt_times": 0,
            "this_month_sum": 12.3,
            "last_month_sum": 45.6,
            "this_cycle_sum": 57.9,
            "last_cycle_sum": 120.0,
            "remain_money": money,
            "remain_volume": volume,
            "curr_price": self.prices["price1"],
            "meter_state": 0,
            "meter_stat_emsg": "正常",
            "rssi": 21,
            "battery_voltage": self.battery_v,
            "battery_level": 95,
            "ext_data": {
                "open_state": self.account_open,
                "valve_open": self.valve_open,
                "total_buy_value": round(self.remote_total, 3),
                "power_level": 0,
                "force_valve_on": self.forced,
                "magnetic_attack": False,
                "calc_type": 0,
                **self.flags,
            },
        }

    # executing ----------------------------------------------------------------------------------------------------

    def execute(self, suffix: str, data: Mapping[str, Any]) -> Done:
        """What a task of this type does to the meter."""
        if self.options.fails:
            return Done(4)
        match suffix:
            case "common.setvalveon" | "common.setvalveoff":
                return self._turn(opens=suffix.endswith("on"))
            case "common.releaseforce":
                self.forced = False
                return Done(3, effect="force_released")
            case "common.setcumulant":
                self.std_sum = float(data["std_sum"])
                return Done(3, effect="cumulant_set", detail=str(data["std_sum"]))
            case "prepay.setprice":
                self.prices = dict(data)
                return Done(3, effect="price_set", detail=str(data["price1"]))
            case "prepay.getprice":
                return Done(3, dict(self.prices))
            case "prepay.setremain":
                self.remain = float(data["remain_value"])
                return Done(3, dict(data), "balance_set", str(data["remain_value"]))
            case "prepay.remotecharge":
                return self._recharge(data)
            case "prepay.getchargestate":
                return Done(3, self._charge_state())
            case _:
                return self._open_account(data)

    def _turn(self, *, opens: bool) -> Done:
        self.valve_open = opens
        return Done(3, effect="valve_opened" if opens else "valve_closed")

    def _recharge(self, data: Mapping[str, Any]) -> Done:
        late = self.options.checks_counter and data["charge_times"] != self.remote_times + 1
        if self.options.refuses or late:
            return Done(3, self._charged(187, 2))
        value = float(data["charge_value"])
        self.remain += value
        self.remote_times += 1
        self.remote_last = value
        self.remote_total += value
        returned = {} if self.options.mute_flag else self._charged(170, 0)
        return Done(3, returned, "recharged", f"{data['charge_value']} #{data['charge_times']}")

    def _charged(self, flag: int, reason: int) -> dict[str, Any]:
        return {"success": flag, "reason": reason, "calc_type": 0, "remain": round(self.remain, 3)}

    def _charge_state(self) -> dict[str, Any]:
        return {
            "card_charge_times": 0,
            "card_charge_value": 0,
            "card_total_value": 0,
            "remote_charge_times": self.remote_times,
            "remote_charge_value": round(self.remote_last, 3),
            "remote_total_value": round(self.remote_total, 3),
        }

    def _open_account(self, data: Mapping[str, Any]) -> Done:
        if self.options.refuses:
            return Done(
                3, {"success": 1, "reason": 5, "reason_msg": "已开户", "remain": round(self.remain, 3)}
            )
        self.account_open = True
        self.remain = float(data["charge_value"])
        returned = {"success": 0, "reason": 0, "reason_msg": "", "remain": round(self.remain, 3)}
        return Done(
            3,
            {} if self.options.mute_flag else returned,
            "account_opened",
            str(data["charge_value"]),
        )

    @staticmethod
    def _day(unix_s: float) -> int:
        return int((unix_s + _UTC_OFFSET_S) // _DAY_S)
