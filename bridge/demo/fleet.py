"""The clouds of the demo, one entry each."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.demo.clouds import DemoCloud
from bridge.demo.iammeter import IammeterHome
from bridge.demo.iotmeter import IotMeterGas
from bridge.demo.jrhsz import JrhszFlats
from bridge.demo.saj import SajRoof
from bridge.demo.wmj import WmjShop


def clouds(breakers: int) -> Sequence[DemoCloud]:
    """A shop with so many breakers; the others have what belongs to their place."""
    return WmjShop(breakers), IammeterHome(), JrhszFlats(), SajRoof(), IotMeterGas()
