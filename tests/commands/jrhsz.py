"""jrhsz: page 4.2, 4.3, 4.6, 7; METRICS 4.1."""

from __future__ import annotations

from typing import Any

from tests.commands.rows import AGAIN, READ_ACKS, TIMED_OUT, Row
from tests.commands.stage import Sent

POWER, WATER = "000000000001", "000000000002"
USER = {"token": "<token>", "admin_user_name": "demo_user"}


def _instruct(meter: str, kind: str) -> Sent:
    return ("POST /meter/meterInstruct", {**USER, "deviceId": f"1{meter[1:]}", "type": kind})


def _look(meter: str) -> Sent:
    return ("POST /meter/readMeter", {**USER, "tableNo": meter, "pageNo": 1, "pageSize": 1000})


def _gate(on: bool) -> Any:
    def prepare(cloud: Any) -> None:
        for meter in (POWER, WATER):
            cloud.switch(meter, on=on)

    return prepare


def _silent(cloud: Any) -> None:
    """No meter reads itself before it is told to."""
    for meter in cloud.meters:
        cloud.configure(meter, read_every_s=10_000_000)


ACKS = (("accepted", None, None), ("sent", None, 200), ("succeeded", None, 200))


def _instruction(
    command: str, params: dict[str, Any], meter: str, kind: str, effect: str, **more: Any
) -> Row:
    requests = (_instruct(meter, kind), _look(meter))
    return Row(command, params, meter, requests, "/meterInstruct", f"meterInstruct/{kind}", effects=(effect,),
               acks=ACKS, **more)  # fmt: skip


ROWS = (
    _instruction("breaker", {"state": "off"}, POWER, "1", "tripped", prepare=_gate(on=True)),
    _instruction("breaker", {"state": "on"}, POWER, "2", "reclosed", idle=TIMED_OUT, prepare=_gate(on=False)),
    _instruction("valve", {"state": "close"}, WATER, "1", "valve_closed", prepare=_gate(on=True)),
    _instruction("valve", {"state": "open"}, WATER, "2", "valve_opened", idle=TIMED_OUT, prepare=_gate(on=False)),
    _instruction("read", {}, POWER, "3", "read", idle=TIMED_OUT, result={"kind": "electricity_meter"},
                 prepare=_silent),
    _instruction("read", {}, WATER, "3", "read", idle=TIMED_OUT, result={"kind": "water_meter"},
                 prepare=_silent),
    Row("refresh_inventory", {}, None, (("POST /meter/meterList", {**USER, "pageNo": 1, "pageSize": 1000}),),
        "/meterList", "meterList", acted=AGAIN, acks=READ_ACKS,
        result={"devices": 6}),
)  # fmt: skip
