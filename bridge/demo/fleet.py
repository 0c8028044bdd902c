"""The clouds of the demo, one entry each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bridge.demo.clouds import DemoCloud
from bridge.demo.wmj import WmjShop

CLOUDS: Sequence[Callable[[int], DemoCloud]] = (WmjShop,)
"""Each makes a cloud with so many devices."""
