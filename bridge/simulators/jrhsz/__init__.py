"""A simulated JRHSZ platform with electricity and water meters, written from the vendor page alone.

In process: `httpx.ASGITransport(app(cloud))`. On a port: `async with served(app(cloud)) as url`.
As a process: `python -m bridge.simulators.jrhsz`, steered by `/_sim/` (see `control`).
"""

from bridge.simulators.jrhsz.app import app
from bridge.simulators.jrhsz.cloud import Account, JrhszCloud, Quirks
from bridge.simulators.jrhsz.meter import Meter, Options, fleet

__all__ = ["Account", "JrhszCloud", "Meter", "Options", "Quirks", "app", "fleet"]
