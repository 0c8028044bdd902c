"""`kill -9` while recharges, accounts, balances, valves, breakers and pulses are under way: none happens twice.

METERBRIDGE_KILLS=300 is the full trial (`make crash`); every test run does a short one.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.crash.household import Household
from tests.system.stage import Broker

KILLS = int(os.environ.get("METERBRIDGE_KILLS", "20"))
SETTLE_S = 25.0 if KILLS < 100 else 150.0
SEED = int(os.environ.get("METERBRIDGE_SEED", "20240908"))


@pytest.mark.slow
@pytest.mark.timeout(240 + 8 * KILLS)
def test_no_kill_makes_anything_happen_twice_or_makes_an_ending_a_lie(broker: Broker, tmp_path: Path) -> None:
    house = Household(tmp_path, broker, random.Random(SEED))
    began = time.monotonic()
    try:
        house.start()
        while house.kills < KILLS:
            house.cycle()
        house.settle(SETTLE_S)
        print(f"{time.monotonic() - began:.0f} s: {house.summary()}")
        mistakes = list(house.mistakes())
        still_open = house.open()
    finally:
        house.end()
    assert not mistakes, "\n".join(mistakes)
    assert len(still_open) < len(house.sent) / 2
