"""A simulated SAJ cloud (open API 2.3) with plants and inverters, written from the vendor page alone.

In process: `httpx.ASGITransport(app(cloud))`. On a port: `async with served(app(cloud)) as url`.
As a process: `python -m bridge.simulators.saj`, steered by `/_sim/` (see `control`).
"""

from bridge.simulators.saj.app import app
from bridge.simulators.saj.cloud import Application, Options, SajCloud
from bridge.simulators.saj.fleet import Fleet, demo_fleet

__all__ = ["Application", "Fleet", "Options", "SajCloud", "app", "demo_fleet"]
