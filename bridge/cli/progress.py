"""How far a backfill is, on a line that is written again and again; plain lines where that is no terminal."""

from __future__ import annotations

import shutil
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import click

from bridge.cli.tables import printable, shortened
from bridge.flow.backfill_progress import Progress

WIDTH = 24
PLAIN_EVERY_S = 10.0
RATE_OVER_S = 60.0


@dataclass(slots=True)
class ProgressLine:
    """Shows progress. `live`: the terminal takes a line that is written over."""

    live: bool
    _seen: deque[tuple[float, int]] = field(default_factory=deque)
    _told_at: float = float("-inf")
    _told: str = ""
    _length: int = 0

    def show(
        self, progress: Progress, now: float | None = None, *, last: bool = False, note: str = ""
    ) -> None:
        """Shows how far it is now. Without a terminal at most every PLAIN_EVERY_S, and the last one."""
        at = time.monotonic() if now is None else now
        self._seen.append((at, progress.records))
        while len(self._seen) > 2 and self._seen[0][0] < at - RATE_OVER_S:
            self._seen.popleft()
        text = ", ".join(part for part in (self.text(progress), note) if part)
        if self.live:
            room = max(20, shutil.get_terminal_size().columns - 1)
            line = shortened(text, room)
            click.echo("\r" + line.ljust(self._length), nl=last)
            self._length = len(line)
        elif last or at - self._told_at >= PLAIN_EVERY_S:
            if text != self._told:
                click.echo(printable(text))
            self._told_at, self._told = at, text

    def text(self, progress: Progress) -> str:
        """The line."""
        full = int(progress.share * WIDTH)
        bar = f"[{'#' * full}{'.' * (WIDTH - full)}] {int(progress.share * 100):3d} %"
        parts = [
            bar,
            f"{progress.records} records",
            f"{progress.calls} of about {progress.calls_total} calls",
            f"{progress.done} of {progress.done + progress.open + progress.failed} devices",
        ]
        if progress.open:
            parts += [self._rate(), _end(progress.eta_s)]
            waits = sorted(set(progress.trouble.values()))
            if waits:
                parts.append(f"waiting: {waits[0]}")
        return ", ".join(part for part in parts if part)

    def _rate(self) -> str:
        first, last = self._seen[0], self._seen[-1]
        took = last[0] - first[0]
        return f"{(last[1] - first[1]) / took:.1f} records/s" if took > 0 else ""


def _end(eta_s: float | None) -> str:
    if eta_s is None:
        return ""
    at = datetime.now().astimezone() + timedelta(seconds=eta_s)
    form = "%H:%M" if eta_s < 20 * 3600 else "%Y-%m-%d %H:%M"
    return f"about {_rough(eta_s)} left, until {at.strftime(form)}"


def _rough(seconds: float) -> str:
    """A duration as precise as a guess may be."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{hours} h" if hours < 48 else f"{round(seconds / 86400)} days"
