"""Fixtures of all vendors: benches of the class that the vendor's own conftest names, closed at the end."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
async def make(bench_class: type[Any]) -> Any:
    made: list[Any] = []

    def build(**options: Any) -> Any:
        made.append(bench_class(**options))
        return made[-1]

    yield build
    for one in made:
        await one.aclose()
