"""`gaps`: the ledger of holes, as it stands on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.store.protocols import GapRow, GapState, Tx
from tests.cli.bench import configuration, meterbridge
from tests.cli.shelf import AT_MS, device, stored

HOUR_MS = 3_600_000


def gap(device: str, hour: int, hours: int, account: str = "shop", **values: Any) -> Callable[[Tx], Any]:
    start = AT_MS + hour * HOUR_MS
    row = GapRow(0, account, device, start, start + hours * HOUR_MS, **values)
    return lambda tx: tx.gaps.insert(row)


def test_gaps_are_listed_by_device_and_time_with_what_becomes_of_them(tmp_path: Path) -> None:
    stored(
        tmp_path,
        gap("B", 5, 1, state=GapState.UNFILLABLE, tries=4, message="the vendor has nothing there"),
        gap("A", 8, 2),
        gap("A", 0, 6, state=GapState.FILLING, tries=1),
        gap("A", 0, 1, account="gone"),
    )
    path = str(configuration(tmp_path))
    lines = meterbridge("gaps", "-c", path).stdout.splitlines()
    assert [line.split()[:5] for line in lines[1:]] == [
        ["shop/A", "2026-01-01T00:00:00Z", "2026-01-01T06:00:00Z", "6h", "filling"],
        ["shop/A", "2026-01-01T08:00:00Z", "2026-01-01T10:00:00Z", "2h", "missing"],
        ["shop/B", "2026-01-01T05:00:00Z", "2026-01-01T06:00:00Z", "1h", "unfillable"],
    ]
    assert lines[-1].endswith("the vendor has nothing there")


def test_gaps_can_be_chosen_by_device_and_time_and_read_by_programs(tmp_path: Path) -> None:
    stored(tmp_path, gap("A", 0, 6), gap("A", 8, 2), gap("B", 8, 2))
    path = str(configuration(tmp_path))

    def found(*options: str) -> list[tuple[str, str]]:
        told = json.loads(meterbridge("gaps", "-c", path, "--json", *options).stdout)
        return [(one["device"], one["start"][11:13]) for one in told]

    assert found() == [("A", "00"), ("A", "08"), ("B", "08")]
    assert found("--device", "A", "--account", "shop") == [("A", "00"), ("A", "08")]
    assert found("--from", "2026-01-01T06:00:00Z") == [("A", "08"), ("B", "08")]
    assert found("--to", "2026-01-01T08:00:00Z") == [("A", "00")]


def test_what_cannot_be_answered_says_why(tmp_path: Path) -> None:
    path = str(configuration(tmp_path))
    result = meterbridge("gaps", "-c", path)
    assert (result.exit_code, "meterbridge run" in result.stderr) == (1, True)
    stored(tmp_path)
    assert meterbridge("gaps", "-c", path).stdout == "no gaps\n"
    assert json.loads(meterbridge("gaps", "-c", path, "--json").stdout) == []
    result = meterbridge("gaps", "-c", path, "--from", "yesterday")
    assert result.exit_code == 1
    assert "--from: expected a time as in RFC 3339" in result.stderr
    assert meterbridge("gaps", "-c", path, "--account", "nobody").exit_code == 2


def test_a_device_that_is_not_there_is_an_error_and_one_without_gaps_is_not(tmp_path: Path) -> None:
    stored(tmp_path, device("A"), gap("GONE", 0, 6))
    path = str(configuration(tmp_path))
    assert meterbridge("gaps", "-c", path, "--device", "A").stdout == "no gaps\n"
    assert meterbridge("gaps", "-c", path, "--device", "GONE").exit_code == 0
    for words in ((), ("--json",), ("--account", "shop")):
        result = meterbridge("gaps", "-c", path, "--device", "B", *words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "device 'B'" in result.stderr
