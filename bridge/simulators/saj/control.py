"""What this simulator's control surface has besides `bridge.simulators.controls`.

In a fault, endpoint is the path (`device/inverter/*`), device the id in the request.

GET  state       {"users", "plants", "tokens_issued", "used", "options"}
POST status      {"plant_id", "status": code or null}
POST silence     {"sn", "silent": true}
POST alarm       {"sn", "code", "message": "", "started_s": null}
POST end_alarm   {"sn", "code", "handled": false}
POST steal       another program fetches a token: the one in force ends
POST revoke      the token in force ends
POST configure   any field of `bridge.simulators.saj.cloud.Options`
"""

from __future__ import annotations

from starlette.routing import Route

from bridge.simulators import controls
from bridge.simulators.controls import Deed, Look
from bridge.simulators.saj.cloud import SajCloud


def routes(cloud: SajCloud) -> list[Route]:
    """The control surface of a cloud."""
    looks: dict[str, Look] = {
        "state": lambda _query: cloud.as_json(),
    }
    deeds: dict[str, Deed] = {
        "status": lambda body: cloud.set_status(**body),
        "silence": lambda body: cloud.silence(**body),
        "alarm": lambda body: cloud.raise_alarm(**body),
        "end_alarm": lambda body: cloud.end_alarm(**body),
        "steal": lambda _body: cloud.issue(),
        "revoke": lambda _body: cloud.revoke(),
        "configure": lambda body: cloud.configure(**body),
    }
    return controls.routes(cloud, looks, deeds)
