"""What this simulator's control surface has besides `bridge.simulators.controls`.

`clear` also knows deliveries, `burst` the number of "parallel" lanes that share a device's reports (1).

GET  deliveries  {"total", "accepted", "deliveries": [{n, at, device, kind, body, status, accepted, …}]}
GET  bursts      {"bursts": [{burst, planned, done, reports: [{device, total_electricity, accepted, …}]}]}
GET  devices     {"devices": [{device, bound, online, on, energy_kwh, held_by, options}]}
POST trip        {"device", "kind"}: a protection responds (overload, overheat, overcurrent, …)
POST offline     {"device", "power_cut": false}
POST online      {"device"}
POST load        {"device"} and any of watts, volts, celsius, leakage_ma; null: as it comes
POST hold        {"device", "on": false, "index": 0}: a schedule takes the switch
POST release     {"device"}
POST configure   {"device"} and any field of `bridge.simulators.wmj.device.Options`
POST callback    {"url", "retry": false}: where callbacks go from now on
"""

from __future__ import annotations

from dataclasses import asdict

from starlette.routing import Route

from bridge.simulators import controls
from bridge.simulators.controls import Answer, Body, Deed, Look
from bridge.simulators.wmj.cloud import WmjCloud


def routes(cloud: WmjCloud) -> list[Route]:
    """The control surface of a cloud."""
    looks: dict[str, Look] = {
        "deliveries": lambda _query: cloud.deliveries.as_json(),
        "devices": lambda _query: {"devices": _devices(cloud)},
    }
    deeds: dict[str, Deed] = {
        "trip": lambda body: cloud.trip(body["device"], body["kind"]),
        "offline": lambda body: cloud.go_offline(body.pop("device"), **body),
        "online": lambda body: cloud.go_online(body["device"]),
        "load": lambda body: cloud.impose(body.pop("device"), **_numbers(body)),
        "hold": lambda body: cloud.hold_by_schedule(body.pop("device"), **body),
        "release": lambda body: cloud.release(body["device"]),
        "configure": lambda body: cloud.configure(body.pop("device"), **body),
        "callback": lambda body: _callback(cloud, **body),
    }
    own = controls.routes(cloud, looks, deeds, {"deliveries": cloud.deliveries.clear})
    return [*own, *controls.burst_routes(cloud)]


def _numbers(body: Body) -> dict[str, float | None]:
    return {name: None if value is None else float(value) for name, value in body.items()}


def _devices(cloud: WmjCloud) -> list[Answer]:
    return [
        {
            "device": device.sn,
            "bound": device.sn in cloud.bound,
            "online": device.online,
            "on": device.on,
            "energy_kwh": device.energy_kwh,
            "held_by": device.held_by,
            "options": asdict(device.options),
        }
        for device in cloud.fleet.values()
    ]


def _callback(cloud: WmjCloud, url: str, *, retry: bool = False) -> None:
    cloud.deliveries.url = url
    cloud.deliveries.retry = retry
