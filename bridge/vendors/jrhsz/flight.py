"""One call under way for all who want its result (page jrhsz 2.3: one login at a time)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedCall(Generic[T]):
    """Invariant: `work` runs at most once at a time, and ends when nobody waits for it any more."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], name: str) -> None:
        self._work = work
        self._name = name
        self._task: asyncio.Task[T] | None = None
        self._waiting = 0

    async def result(self) -> T:
        """The result of the call that is under way, or of a new one. Raises what the work raises."""
        task = self._task
        if task is None or task.done() or task.cancelling():
            task = asyncio.get_running_loop().create_task(self._work(), name=self._name)
            task.add_done_callback(_look_at)
            self._task, self._waiting = task, 0
        self._waiting += 1
        try:
            return await asyncio.shield(task)
        finally:
            if task is self._task:
                self._waiting -= 1
                if not self._waiting and not task.done():
                    task.cancel()


def _look_at(task: asyncio.Task[Any]) -> None:
    """An error that nobody waits for any more is not worth a warning."""
    if not task.cancelled():
        task.exception()
