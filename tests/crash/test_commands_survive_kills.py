"""`kill -9` at any moment: nothing runs twice that must not, every command comes to one end, and the end is true."""

from __future__ import annotations

import concurrent.futures
import random
import time
from pathlib import Path

import pytest

from tests.crash.trial import Trial
from tests.system.stage import Broker

KILLS_EACH = 50
SEED = 20_240_908


@pytest.mark.slow
@pytest.mark.timeout(260)
def test_hundred_kills_leave_every_command_with_one_true_end(broker: Broker, tmp_path: Path) -> None:
    trials = [
        Trial(name, tmp_path / name, broker, random.Random(SEED + number)) for number, name in enumerate("xy")
    ]
    began = time.monotonic()
    try:
        with concurrent.futures.ThreadPoolExecutor(len(trials)) as pool:
            list(pool.map(_run, trials))
        print(f"{time.monotonic() - began:.0f} s for the kills")
        for trial in trials:
            trial.settle(45)
        print(*(trial.summary() for trial in trials), f"{time.monotonic() - began:.0f} s", sep="\n")
        mistakes = [mistake for trial in trials for mistake in trial.mistakes()]
    finally:
        for trial in trials:
            trial.end()
    assert sum(trial.kills for trial in trials) >= 100
    assert not mistakes, "\n".join(mistakes)


def _run(trial: Trial) -> None:
    trial.start()
    for number in range(KILLS_EACH):
        trial.cycle(restarts=number < KILLS_EACH // 2)
