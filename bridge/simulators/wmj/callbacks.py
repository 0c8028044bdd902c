"""The bodies of the cloud's callbacks, as the samples of page 4.6: every scalar is a string. Pure."""

from __future__ import annotations

from typing import Any

from bridge.simulators.wmj import frames
from bridge.simulators.wmj.commands import rounded
from bridge.simulators.wmj.device import ALARMS, Breaker, Happening

_ADDRESS = "203.0.113.10"


def callback(device: Breaker, happening: Happening, now_s: float) -> tuple[str, dict[str, Any]]:
    """The callback's `cmd` and body for something that happened."""
    match happening.kind:
        case "online":
            return _body(device.sn, "0", "OnLine", {"ipaddress": _ADDRESS, "time": str(int(now_s))})
        case "offline":
            return _body(device.sn, "0", "OffLine", {"time": str(int(now_s))})
        case "registered":
            return _body(device.sn, "2", "dev_reg", _registration(device))
        case "switch":
            frame = frames.report(frames.switch_point(happening.on))
            state = str(int(happening.on))
            return _body(device.sn, "2", "notify", {"data": frame, "notify_type": "on-off", "state": state})
        case "alarm":
            return _body(device.sn, "2", "notify", _alarm(happening.alarm))
        case "report":
            return _body(device.sn, "2", "power_report", _power(device, now_s))


def _body(sn: str, kind: str, cmd: str, info: dict[str, str]) -> tuple[str, dict[str, Any]]:
    return cmd, {
        "device_sn": sn,
        "msg_id": "0",
        "type": kind,
        "cmd": cmd,
        "app_id": "",
        "cmd_type": cmd,
        "info": info,
    }


def _registration(device: Breaker) -> dict[str, str]:
    return {
        "hw_ver": "1.0.0",
        "iccid": device.iccid,
        "imei": device.imei,
        "model": device.model,
        "project": device.model,
        "rssi": str(device.rssi_dbm),
        "sw_ver": device.options.sw_ver,
        "username": device.sn,
    }


def _alarm(alarm: str) -> dict[str, str]:
    kind = ALARMS[alarm]
    return {
        "alarm_detail": alarm,
        "bitmap": kind.bitmap,
        "code": kind.number,
        "msg": "",
        "notify_type": "alarm",
    }


def _power(device: Breaker, now_s: float) -> dict[str, str]:
    seen = device.measure(now_s)
    return {
        "device_sn": device.sn,
        "total_electricity": str(rounded(device.energy_kwh)),
        "balance": str(rounded(device.balance_kwh)) if device.prepay else "0",
        "switch_state": str(int(device.on)),
        "heartbeat": str(int(device.healthy)),
        "voltage": str(rounded(seen.volts)),
        "electric_current": str(rounded(seen.amperes)),
        "power": str(rounded(seen.watts)),
        "temperature": str(rounded(seen.celsius)),
        "prepay": "true" if device.prepay else "false",
        "retainstate": str(int(device.retain)),
    }
