"""The system's clock. The only place, with the tests' fake, that reads time or sleeps."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """Clock of `ports`, on this machine."""

    def now(self) -> datetime:
        """See `ports.Clock.now`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See `ports.Clock.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `ports.Clock.sleep`."""
        await asyncio.sleep(seconds)
