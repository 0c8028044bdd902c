"""iammeter: page 4.3, 4.6, 4.7, 4.9, 7.3; METRICS 4.1. An analysis that failed is not asked for again: five a day."""

from __future__ import annotations

from typing import Any

from tests.commands.rows import AGAIN, READ_ACKS, End, Row

METER = "A1B2C3D4"
NOT_AGAIN = End("failed", code="no_answer")
POWER = {"window_start", "window_end", "power_avg", "power_avg_daytime", "power_min", "power_max"}
OFFLINE = {"window_start", "window_end", "offline_minutes", "window_minutes", "gaps"}
DAYS = {"start": "2023-12-29", "end": "2023-12-30"}
WINDOW = "&startTime=2023-12-29&endTime=2023-12-30"


def _get(
    command: str, params: dict[str, Any], path: str, end: End, result: Any, target: str | None = METER
) -> Row:
    word = path.split("?")[0].split("/")[2]
    return Row(command, params, target, ((f"GET /api/v1{path}", None),), f"/{word}", word.lower(), acted=end,
               idle=end, acks=READ_ACKS, result=result)  # fmt: skip


ROWS = (
    _get("read", {}, f"/site/meterdata2/{METER}", AGAIN, {"kind": "electricity_meter"}),
    _get("power_analysis", {}, f"/site/powerAnalysis?sn={METER}", NOT_AGAIN, POWER),
    _get("power_analysis", DAYS, f"/site/powerAnalysis?sn={METER}{WINDOW}", NOT_AGAIN, POWER),
    _get("offline_analysis", {}, f"/site/offlineAnalysis?sn={METER}&interval=5", NOT_AGAIN, OFFLINE),
    _get("offline_analysis", {**DAYS, "interval_min": 30},
         f"/site/offlineAnalysis?sn={METER}{WINDOW}&interval=30", NOT_AGAIN, OFFLINE),
    _get("refresh_inventory", {}, "/user/sitelist", AGAIN, {"devices": 5}, None),
)  # fmt: skip
