"""Waiting for something with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    look: Callable[[], T], timeout_s: float, what: str, *tails: Callable[[], str], pause_s: float = 0.03
) -> T:
    """What `look` gives as soon as it is true; fails after `timeout_s` with `what` and the texts of `tails`."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            told = "\n".join(tail() for tail in tails)
            raise AssertionError(f"not within {timeout_s:g} s: {what}\n{told}")
        time.sleep(pause_s)
