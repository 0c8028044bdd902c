"""What this simulator's control surface has besides `bridge.simulators.controls`.

`device` is always the meter number; but in a fault instructions are `meterInstruct/1` to `/3` with the device id
as device.

GET  devices     {"devices": [{device, device_id, type, medium, camera, online, on, reading, records, options}],
                 "under_way": instructions accepted and not carried out}
POST gate        {"device", "on"}: somebody else moves relay or valve
POST read        {"device"}: a reading is reported now
POST register    {"device", "value"}: the register jumps there
POST offline     {"device"}
POST online      {"device"}
POST configure   {"device"} and any field of `bridge.simulators.jrhsz.meter.Options`
POST add         {"device", "type", "camera": false, "device_id": ""}: a meter is installed
POST remove      {"device"}
POST expire      {"code": 1007}: the tokens in use end; 1006 or 1007 is their answer
POST account     {"username"} and any of "password", "forbidden": [end points]
POST quirks      any field of `bridge.simulators.jrhsz.cloud.Quirks`
"""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal

from starlette.routing import Route

from bridge.simulators import controls
from bridge.simulators.controls import Answer, Body, Deed, Look
from bridge.simulators.jrhsz import wire
from bridge.simulators.jrhsz.cloud import JrhszCloud


def routes(cloud: JrhszCloud) -> list[Route]:
    """The control surface of a platform."""
    looks: dict[str, Look] = {
        "devices": lambda _query: _devices(cloud),
    }
    deeds: dict[str, Deed] = {
        "gate": lambda body: cloud.switch(body.pop("device"), **body),
        "read": lambda body: cloud.read(body["device"]),
        "register": lambda body: cloud.meters[body["device"]].replace_register(Decimal(str(body["value"]))),
        "offline": lambda body: cloud.go_offline(body["device"]),
        "online": lambda body: cloud.go_online(body["device"]),
        "configure": lambda body: cloud.configure(body.pop("device"), **body),
        "add": lambda body: cloud.add_meter(body.pop("device"), body.pop("type"), **body),
        "remove": lambda body: cloud.remove_meter(body["device"]),
        "expire": lambda body: cloud.expire_tokens(body.get("code", wire.EXPIRED)),
        "account": lambda body: _account(cloud, **body),
        "quirks": lambda body: _quirks(cloud, body),
    }
    return controls.routes(cloud, looks, deeds)


def _devices(cloud: JrhszCloud) -> Answer:
    listed = [
        {
            "device": meter.table_no,
            "device_id": meter.device_id,
            "type": meter.type_code,
            "medium": meter.medium,
            "camera": meter.camera,
            "online": meter.online,
            "on": meter.on,
            "reading": meter.reading(),
            "records": len(meter.records),
            "options": asdict(meter.options),
        }
        for meter in cloud.meters.values()
    ]
    return {"devices": listed, "under_way": cloud.under_way()}


def _quirks(cloud: JrhszCloud, body: Body) -> None:
    for name, value in body.items():
        cloud.quirks.set(name, value)


def _account(
    cloud: JrhszCloud, username: str, password: str | None = None, forbidden: list[str] | None = None
) -> None:
    account = cloud.accounts[username]
    if password is not None:
        account.password = password
    if forbidden is not None:
        account.forbidden = frozenset(forbidden)
