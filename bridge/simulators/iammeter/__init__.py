"""A simulated IAMMETER-cloud with Wi-Fi energy meters, written from the vendor page alone.

In process: `httpx.ASGITransport(app(cloud))`. On a port: `async with served(app(cloud)) as url`.
As a process: `python -m bridge.simulators.iammeter`, steered by `/_sim/` (see `control`).
"""

from bridge.simulators.iammeter.app import app
from bridge.simulators.iammeter.cloud import Account, IammeterCloud, Site, household
from bridge.simulators.iammeter.meter import Meter, Options, Phase

__all__ = ["Account", "IammeterCloud", "Meter", "Options", "Phase", "Site", "app", "household"]
