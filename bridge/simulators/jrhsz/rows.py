"""The rows that the platform shows of a meter (page 4.2 to 4.8), with the oddities of its samples. Pure."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any

from bridge.simulators.jrhsz.meter import Hourly, Meter, Record
from bridge.simulators.jrhsz.wire import local

PROJECT = "demo"
_GOOD_IMAGE = "解析正常"
_POWER_FACTOR = Decimal("0.95")

Row = dict[str, Any]


def listed(meter: Meter, now_s: int, type_key: str) -> Row:
    """4.2."""
    return {
        "project_code": PROJECT,
        "deviceId": meter.device_id,
        "deviceName": f"Meter {meter.table_no}",
        "tableNo": meter.table_no,
        "tableAddress": f"{zlib.crc32(meter.table_no.encode()) % 20 + 1}栋",
        type_key: str(meter.type_code),
        "onlineAt": local(now_s if meter.online else meter.lost_s),
        "netStatis": meter.options.net_word or ("在线" if meter.online else "不在线"),
        "gate": gate(meter),
        "user_code": f"user{meter.table_no}",
        "user_name": f"Customer {meter.table_no}",
        "house_number": f"Flat {meter.table_no[-3:]}",
    }


def latest(meter: Meter) -> Row:
    """4.3. A meter that never reported has empty values."""
    last = meter.records[-1] if meter.records else None
    return {
        "deviceId": meter.device_id,
        "tableNo": meter.table_no,
        "reading": "" if last is None else str(last.reading),
        "readTime": "" if last is None else local(last.at_s),
        "gate": gate(meter),
    }


def stored(meter: Meter, record: Record) -> Row:
    """4.4."""
    return {
        "deviceId": meter.device_id,
        "tableNo": meter.table_no,
        "reading": str(record.reading),
        "readTime": local(record.at_s),
        "imei": "",
        "user_code": f"user{meter.table_no}",
        "tableAddress": meter.table_no,
        "deviceName": meter.table_no,
    }


def consumed(meter: Meter, record: Record, amount_key: str) -> Row:
    """4.5."""
    return {
        "project_code": PROJECT,
        "deviceId": meter.device_id,
        "tableNo": meter.table_no,
        "reading": str(record.reading),
        "readTime": local(record.at_s),
        "dosage": _short(record.dosage),
        amount_key: _short(record.amount),
        "type": meter.type_code,
    }


def time_of_use(meter: Meter, report: Hourly) -> Row:
    """4.7: registers as numbers, the rest as text, powers in kW."""
    registers = report.registers
    row: Row = {
        "project_code": PROJECT,
        "deviceId": meter.device_id,
        "tableNo": meter.table_no,
        "createTime": local(report.created_s),
        "freezeTime": local(report.frozen_s),
        "positiveActivePower": sum(registers.values(), Decimal(0)),
    }
    for number, period in enumerate(("sharp", "peak", "flat", "valley"), 1):
        row[f"positiveActivePower{number}"] = registers[period]
    volts = Decimal("238.90")
    for phase, percent in (("A", 50), ("B", 30), ("C", 20)):
        watts = Decimal(report.watts * percent) / 100
        row[f"volt{phase}"] = str(volts)
        row[f"electric{phase}"] = _decimals(watts / (volts * _POWER_FACTOR))
        row[f"activePower{phase}"] = _decimals(watts / 1000)
        row[f"reactivePower{phase}"] = _decimals(watts / 3000)
    row["totalActivePower"] = _decimals(Decimal(report.watts) / 1000)
    row["totalReactivePower"] = _decimals(Decimal(report.watts) / 3000)
    return row


def pictured(meter: Meter, record: Record) -> Row:
    """4.8: no device id, and no reading that could be trusted where the picture could not be read."""
    status = record.status or _GOOD_IMAGE
    return {
        "project_code": PROJECT,
        "tableNo": meter.table_no,
        "imageReadTime": local(record.at_s),
        "imageStatus": status,
        "imageUrl": f"https://images.example.invalid/{meter.table_no}/{record.at_s}.jpg",
        "basicReading": record.reading if status == _GOOD_IMAGE else 0,
    }


def gate(meter: Meter) -> str:
    """The gate word: those of electricity for water, too, unless the meter's options say otherwise."""
    if meter.options.gate_word:
        return meter.options.gate_word
    if meter.medium == "water" and meter.options.valve_words:
        return "开阀" if meter.on else "关阀"
    return "合闸" if meter.on else "跳闸"


def _short(value: Decimal) -> str:
    return "0" if value == 0 else str(value)


def _decimals(value: Decimal) -> str:
    return str(value.quantize(Decimal("0.01")))
