"""A simulated iotmeter platform with gas meters and RTUs, written from the vendor page alone.

In process: `httpx.ASGITransport(app(cloud))`. On a port: `async with served(app(cloud)) as url`; both base URLs are
that url. As a process: `python -m bridge.simulators.iotmeter`, steered by `/_sim/` (see `control`).
"""

from bridge.simulators.iotmeter.app import app
from bridge.simulators.iotmeter.cloud import Account, IotMeterCloud
from bridge.simulators.iotmeter.meter import Options

__all__ = ["Account", "IotMeterCloud", "Options", "app"]
