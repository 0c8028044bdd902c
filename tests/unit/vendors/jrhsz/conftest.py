"""Fixtures: accounts against a scripted platform (`bench`)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.vendors.jrhsz.bench import Account


@pytest.fixture
def bench_class() -> type[Account]:
    return Account


@pytest.fixture
def account(make: Callable[..., Account]) -> Account:
    return make()
