"""Fixtures: accounts against a scripted platform and against the simulator (`bench`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.unit.vendors.iotmeter.bench import Scripted, Simulated


@pytest.fixture
async def make() -> Any:
    made: list[Scripted] = []

    def build(**options: Any) -> Scripted:
        made.append(Scripted(**options))
        return made[-1]

    yield build
    for bench in made:
        await bench.http.aclose()


@pytest.fixture
def bench(make: Callable[..., Scripted]) -> Scripted:
    return make()


@pytest.fixture
async def sim() -> AsyncIterator[Simulated]:
    simulated = Simulated()
    yield simulated
    await simulated.aclose()
