"""`history` from the message to the last acknowledgement: what was published is what is counted, also where an answer
is lost on the way or the command comes again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.simulators.faults import Fault
from tests.commands import iammeter, jrhsz, saj
from tests.commands.stage import Stage

SPAN = {"start": "2023-12-31T22:00:00Z", "end": "2024-01-01T02:00:00Z"}
DEVICES = [
    ("iammeter", iammeter.METER), ("iammeter", "12345"), ("jrhsz", jrhsz.POWER), ("jrhsz", jrhsz.WATER),
    ("saj", str(saj.PLANT)), ("saj", saj.INVERTER), ("iotmeter", "00000000000001"),
]  # fmt: skip


async def prepared(stage: Stage) -> None:
    """There is a past: the meters of two of the clouds begin to measure when the test does."""
    await stage.advance(18 * 3600)
    stage.wire.requests.clear()


def span(vendor: str) -> dict[str, str]:
    if vendor in ("jrhsz", "iotmeter"):
        return {"start": "2024-01-01T13:00:00Z", "end": "2024-01-01T23:00:00Z"}
    return SPAN


def published(stage: Stage, device: str) -> list[Any]:
    return [one.doc for one in stage.published(f"home/{device}/history")]


@pytest.mark.parametrize(("vendor", "device"), DEVICES)
async def test_the_records_that_were_published_are_counted(tmp_path: Path, vendor: str, device: str) -> None:
    async with Stage(tmp_path, vendor) as stage:
        await prepared(stage)
        await stage.order(device, "history", {"id": "h-1", **span(vendor)})
        final = await stage.carried("h-1")
        records = published(stage, device)
        assert [one["status"] for one in stage.acks("h-1")] == ["accepted", "succeeded"]
        assert final["result"] == {"records": len(records)}
        assert records
        assert {one["source"] for one in records} == {"backfill"}
        given = span(vendor)
        assert all(given["start"] <= one["ts"] < given["end"] for one in records)
        times = [one["ts"] for one in records]
        assert times == sorted(times)
        asked = len(stage.wire.requests)
        await stage.order(device, "history", {"id": "h-1", **span(vendor)})
        await stage.advance(60)
        assert stage.acks("h-1", duplicates=True)[-1]["duplicate"] is True
        assert (len(stage.wire.requests), len(published(stage, device))) == (asked, len(records))


@pytest.mark.parametrize("fault", ["lose_reply", "http_500", "garbage", "truncated_json"])
@pytest.mark.parametrize(("vendor", "device"), DEVICES)
async def test_an_answer_that_is_lost_on_the_way_is_asked_for_again(
    tmp_path: Path, vendor: str, device: str, fault: Any
) -> None:
    counts = []
    for number, faulty in enumerate((False, True)):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with Stage(folder, vendor) as stage:
            await prepared(stage)
            if faulty:
                stage.cloud.faults.add(Fault(fault))
            await stage.order(device, "history", {"id": "h-1", **span(vendor)})
            final = await stage.carried("h-1")
            assert final["status"] == "succeeded"
            counts.append([one["ts"] for one in published(stage, device)])
            assert final["result"] == {"records": len(counts[-1])}
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("vendor", "device"), DEVICES)
async def test_a_dry_run_asks_for_nothing(tmp_path: Path, vendor: str, device: str) -> None:
    async with Stage(tmp_path, vendor) as stage:
        await prepared(stage)
        await stage.order(device, "history", {"id": "h-1", **span(vendor), "dry_run": True})
        shown = stage.final("h-1")
        assert (shown["status"], shown["dry_run"]) == ("succeeded", True)
        assert shown["result"]["request"]["url"].startswith("http")
        await stage.advance(60)
        assert (stage.sent(), published(stage, device)) == ([], [])
