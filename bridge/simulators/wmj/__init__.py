"""A simulated WMJ cloud with W71/W72 breakers, written from the vendor page alone.

In process: `httpx.ASGITransport(app(cloud))`. On a port: `async with served(app(cloud)) as url`.
As a process: `python -m bridge.simulators.wmj`, steered by `/_sim/` (see `control`).
"""

from bridge.simulators.wmj.app import app
from bridge.simulators.wmj.cloud import Account, WmjCloud
from bridge.simulators.wmj.device import ALARMS, Options

__all__ = ["ALARMS", "Account", "Options", "WmjCloud", "app"]
