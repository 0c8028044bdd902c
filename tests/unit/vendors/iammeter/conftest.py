"""Fixtures: accounts against a scripted cloud or the simulator (`bench`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.vendors.iammeter.bench import Account, Stage


@pytest.fixture
def bench_class() -> type[Account]:
    return Account


@pytest.fixture
def account(make: Callable[..., Account]) -> Account:
    return make()


@pytest.fixture
async def stage() -> Any:
    made: list[Stage] = []

    def build(**options: Any) -> Stage:
        made.append(Stage(**options))
        return made[-1]

    yield build
    for one in made:
        await one.account.aclose()
