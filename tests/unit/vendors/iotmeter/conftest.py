"""Fixtures: accounts against a scripted platform and against the simulator (`bench`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.unit.vendors.iotmeter.bench import Scripted, Simulated


@pytest.fixture
def bench_class() -> type[Scripted]:
    return Scripted


@pytest.fixture
def bench(make: Callable[..., Scripted]) -> Scripted:
    return make()


@pytest.fixture
async def sim() -> AsyncIterator[Simulated]:
    simulated = Simulated()
    yield simulated
    await simulated.aclose()
