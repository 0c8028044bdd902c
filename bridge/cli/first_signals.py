"""Signals to a gateway that is still being loaded: what comes before its event loop takes them is not lost.

Importing takes up to a second on a small machine. A process without handlers dies of SIGTERM with a status that is no
success, of SIGHUP as well, and as process 1 of a container it would not even notice SIGTERM.
"""

from __future__ import annotations

import signal
from types import FrameType


class FirstSignals:
    """From now on SIGTERM and SIGINT end the process with status 0, and SIGHUP is noted in `hung_up`, until others take
    these signals. Only for a process that has done nothing yet."""

    def __init__(self) -> None:
        self.hung_up = False
        signal.signal(signal.SIGTERM, self._leave)
        signal.signal(signal.SIGINT, self._leave)
        signal.signal(signal.SIGHUP, self._note)

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.hung_up = True
