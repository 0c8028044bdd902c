"""What this simulator's control surface has besides `bridge.simulators.controls`.

Endpoints are the last words of the paths, in lower case: meterdata2, metersdata, poweranalysis, login, …
The ledger has the effects login and login_refused. `native_code` 0: nothing at all; 1: wrong token; 401, 403, 404,
429: the status. `clear` also knows limits; `requests` tells how many calls met one: "refused".

GET  devices     {"devices": [{device, name, site, online, options, values}]}
POST offline     {"device", "for_s": 0}: uploads nothing any more, and did not for so long already
POST online      {"device"}
POST load        {"device", "watts"}: the first phase's power; null: as it comes
POST replace     {"device"}: its counters start at zero
POST configure   {"device"} and any field of `bridge.simulators.iammeter.meter.Options`; or without device any of
                 enforce, keep_tokens, denial, missing, spelling
POST revoke      {}: no token is good any more
POST add         {"device", "name", "site"}: one more single-phase meter at a site
POST remove      {"device"}
"""

from __future__ import annotations

from dataclasses import asdict

from starlette.routing import Route

from bridge.simulators import controls
from bridge.simulators.controls import Answer, Body, Deed, Look
from bridge.simulators.iammeter.cloud import IammeterCloud
from bridge.simulators.iammeter.meter import Meter, Phase

_SWITCHES = ("enforce", "keep_tokens", "denial", "missing", "spelling")


def routes(cloud: IammeterCloud) -> list[Route]:
    """The control surface of a cloud."""
    looks: dict[str, Look] = {
        "requests": lambda query: controls.requests(cloud, query) | {"refused": cloud.refused()},
        "devices": lambda _query: {"devices": _devices(cloud)},
    }
    deeds: dict[str, Deed] = {
        "offline": lambda body: _offline(cloud, **body),
        "online": lambda body: cloud.meter(body["device"]).go_online(cloud.time.now()),
        "load": lambda body: _impose(cloud, **body),
        "replace": lambda body: cloud.meter(body["device"]).replace(cloud.time.now()),
        "configure": lambda body: _configure(cloud, body),
        "revoke": lambda _body: cloud.revoke(),
        "add": lambda body: _add(cloud, **body),
        "remove": lambda body: _remove(cloud, **body),
    }
    return controls.routes(cloud, looks, deeds, {"limits": cloud.forget_limits})


def _devices(cloud: IammeterCloud) -> list[Answer]:
    now_s = cloud.time.now()
    return [
        {
            "device": meter.sn,
            "name": meter.name,
            "site": site.id,
            "online": meter.is_online(),
            "options": asdict(meter.options),
            "values": [asdict(row) for row in meter.values(int(now_s // 60))],
        }
        for site in cloud.sites
        for meter in site.meters
    ]


def _offline(cloud: IammeterCloud, device: str, for_s: float = 0.0) -> None:
    cloud.meter(device).go_offline(cloud.time.now() - for_s)


def _impose(cloud: IammeterCloud, device: str, watts: float | None) -> None:
    cloud.meter(device).impose(None if watts is None else float(watts), cloud.time.now())


def _configure(cloud: IammeterCloud, body: Body) -> None:
    if "device" in body:
        cloud.meter(body.pop("device")).configure(**body)
        return
    if unknown := set(body) - set(_SWITCHES):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    for name, value in body.items():
        setattr(cloud, name, {str(one).lower() for one in value} if name == "missing" else value)


def _add(cloud: IammeterCloud, device: str, site: int, name: str = "Meter") -> None:
    place = cloud.site(str(site))
    if place is None or device in cloud.meters:
        raise ValueError("no such site, or such a meter already")
    phases = (Phase("house", 0.0, len(cloud.meters) + 1),)
    place.meters.append(Meter(device, name, phases, offset_min=place.offset_min, now_s=cloud.time.now()))


def _remove(cloud: IammeterCloud, device: str) -> None:
    meter = cloud.meter(device)
    for site in cloud.sites:
        if meter in site.meters:
            site.meters.remove(meter)
