"""Fixtures: accounts against a scripted cloud (`bench`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.vendors.saj.bench import Account


@pytest.fixture
async def make() -> Any:
    made: list[Account] = []

    def build(**options: Any) -> Account:
        made.append(Account(**options))
        return made[-1]

    yield build
    for account in made:
        await account.http.aclose()


@pytest.fixture
def account(make: Callable[..., Account]) -> Account:
    return make()
