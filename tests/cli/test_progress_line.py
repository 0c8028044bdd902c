"""The line of `meterbridge backfill`."""

from __future__ import annotations

import pytest

from bridge.cli.progress import ProgressLine
from bridge.flow.backfill_progress import Progress

HALF = Progress(open=2, done=1, failed=1, calls=5, calls_total=10, records=1000, eta_s=5400.0)


def test_it_tells_share_rate_and_end(capsys: pytest.CaptureFixture[str]) -> None:
    line = ProgressLine(live=False)
    line.show(HALF, 0.0)
    line.show(Progress(open=2, records=1250, calls=6, calls_total=10, eta_s=30.0), 10.0)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "[############............]  50 %, 1000 records, 5 of about 10 calls, 1 of 4 devices"
    )
    assert "about 90 min left, until " in first
    assert "25.0 records/s, about 30 s left" in second


def test_without_a_terminal_it_is_a_line_every_ten_seconds_and_the_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ProgressLine(live=False)
    for second in range(25):
        line.show(Progress(open=1, records=second, calls=1, calls_total=2), float(second))
    line.show(Progress(done=1, records=25, calls=2, calls_total=2), 25.0, last=True)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 4
    assert told[-1] == "[########################] 100 %, 25 records, 2 of about 2 calls, 1 of 1 devices"


def test_on_a_terminal_it_is_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    line = ProgressLine(live=True)
    line.show(HALF, 0.0)
    line.show(Progress(done=4, calls=10, calls_total=10, records=2000), 1.0, last=True)
    out = capsys.readouterr().out
    assert out.count("\r") == 2
    assert out.count("\n") == 1


def test_what_holds_it_up_is_told_without_steering_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    waiting = Progress(open=1, calls_total=2, trouble={"home/A": "the vendor\x1b[2J says no"})
    line = ProgressLine(live=False)
    line.show(waiting, 0.0)
    out = capsys.readouterr().out
    assert "waiting: the vendor" in out
    assert "\x1b" not in out
