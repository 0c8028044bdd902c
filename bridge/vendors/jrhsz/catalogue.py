"""The platform's code tables: meter types (page jrhsz 6.1), gate words (6.2), connection words (6.3)."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.domain.device import DeviceKind

ELECTRICITY = frozenset({1, 3, 5, 7, 9, 11, 13, 15, 16, 18, 21, 26, 30, 42, 43, 46, 48})
WATER = frozenset(
    {2, 4, 6, 8, 10, 12, 14, 17, 19, 20, 22, 23, 24, 27, 28, 31, 32, *range(35, 42), 44, 45, 47, 49}
)
TIME_OF_USE = frozenset({7, 11, 15})
"""The types for which 4.7 makes sense."""

MODELS: Mapping[int, str] = {
    1: "NB meter, RS-485 protocol",
    2: "ordinary water meter",
    3: "ordinary electricity meter",
    4: "NB wet-type water meter",
    5: "4G electricity meter",
    6: "NB photoelectric remote water meter",
    7: "time-of-use electricity meter",
    8: "wired water meter",
    9: "wired electricity meter",
    10: "LXS cold-water meter",
    11: "4G time-of-use electricity meter",
    12: "LXS-UDP cold-water meter",
    13: "industrial-computer electricity meter",
    14: "industrial-computer cold-water meter",
    15: "4G time-of-use electricity meter (new)",
    16: "type-3 concentrator electricity meter",
    17: "type-3 concentrator water meter",
    18: "type-2 concentrator electricity meter",
    19: "type-2 concentrator RS-485 water meter",
    20: "type-2 concentrator M-Bus water meter",
    21: "non-transparent concentrator electricity meter",
    22: "non-transparent concentrator RS-485 water meter",
    23: "non-transparent concentrator M-Bus water meter",
    24: "4G water meter",
    26: "concentrator electricity meter (weekly)",
    27: "concentrator RS-485 water meter (weekly)",
    28: "concentrator M-Bus water meter (weekly)",
    30: "4G electricity meter with local fee control",
    31: "NB terminal water meter",
}

GATE_METRIC: Mapping[DeviceKind, str] = {
    DeviceKind.ELECTRICITY_METER: "switch_state",
    DeviceKind.WATER_METER: "valve_state",
}

GATE_WORDS: Mapping[DeviceKind, Mapping[str, str]] = {
    DeviceKind.ELECTRICITY_METER: {"跳闸": "off", "合闸": "on"},
    DeviceKind.WATER_METER: {"跳闸": "closed", "合闸": "open", "关阀": "closed", "开阀": "open"},
}
"""Water meters use the words of the electricity meters, too (11-Q11)."""

NET_WORDS: Mapping[str, bool] = {"在线": True, "不在线": False, "离线": False}
"""Whole words only: the word for off line contains the one for on line (11-Q12)."""

IMAGE_GOOD = "解析正常"
"""The only `imageStatus` with a reading to be trusted (6.5)."""


def kind_of(code: int | None) -> DeviceKind:
    """The kind of a meter type; `meter` where the medium is not known."""
    if code in ELECTRICITY:
        return DeviceKind.ELECTRICITY_METER
    return DeviceKind.WATER_METER if code in WATER else DeviceKind.METER
