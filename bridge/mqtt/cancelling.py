"""Waiting for aiomqtt so that no cancellation is lost.

aiomqtt waits by `asyncio.wait_for`, which before Python 3.12 drops a cancellation that comes in the moment in which
what it waits for is done. The task then goes on as if nobody had told it to stop, and who waits for its end waits for
ever: a gateway that is stopped in the moment of a reconnection, a demo that gets Ctrl-C as it begins to look on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def heeding(work: Awaitable[T]) -> T:
    """The result of `work`, unless this task was told to stop meanwhile: then CancelledError, whatever came of it."""
    result = await work
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    return result
