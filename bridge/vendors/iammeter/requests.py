"""The requests that the vendor takes, one function each (page iammeter, section 4). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import quote

from bridge.vendorkit.http import Use
from bridge.vendors.iammeter.history import Grouping
from bridge.vendors.iammeter.settings import (
    ALL_LATEST,
    DAY_S,
    ENERGY_HISTORY,
    HISTORY,
    HOUR_S,
    LATEST,
    LATEST_ADVANCED,
    OFFLINE_ANALYSIS,
    POWER_ANALYSIS,
    SITES,
)

Days = tuple[date, date]
"""The first and the last day, both included, as the site counts days."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A GET request before it gets its token. `suspend_s`: how long its limit is left alone when nothing comes
    back (section 3)."""

    operation: str
    path: str
    use: Use
    params: Mapping[str, str] = field(default_factory=dict)
    suspend_s: float = HOUR_S


def latest(sn: str, *, advanced: bool, shared: bool) -> Ask:
    """The latest sample of a meter (4.2, 4.3). `shared`: both count against one limit."""
    operation = LATEST_ADVANCED if advanced else LATEST
    return Ask(operation, f"/site/{operation}/{_segment(sn)}", Use(LATEST if shared else operation, sn))


def all_latest() -> Ask:
    """The latest sample of every meter (4.8)."""
    return Ask(ALL_LATEST, "/site/metersdata", Use(ALL_LATEST))


def history(sn: str, days: Days, interval_s: int, *, advanced: bool) -> Ask:
    """Past samples of a meter (4.4, 4.5); the interval is in seconds here."""
    operation = "meterdatalist2" if advanced else "meterdatalist"
    params = _days(days) | {"interval": str(interval_s)}
    return Ask(operation, f"/site/{operation}/{_segment(sn)}", Use(HISTORY, sn), params)


def power_analysis(sn: str, days: Days | None) -> Ask:
    """Power statistics (4.6); without days those of the last seven."""
    params = {"sn": sn} | (_days(days) if days else {})
    return Ask("powerAnalysis", "/site/powerAnalysis", Use(POWER_ANALYSIS, sn), params, DAY_S)


def offline_analysis(sn: str, days: Days | None, interval_min: int) -> Ask:
    """Connection gaps (4.7); the interval is in minutes here."""
    params = {"sn": sn} | (_days(days) if days else {}) | {"interval": str(interval_min)}
    return Ask("offlineAnalysis", "/site/offlineAnalysis", Use(OFFLINE_ANALYSIS, sn), params, DAY_S)


def sites() -> Ask:
    """Sites and their meters (4.9). Its limit is not documented, so an hour's rest must do."""
    return Ask(SITES, "/user/sitelist", Use(SITES))


def energy_history(site: str, days: Days, grouping: Grouping) -> Ask:
    """The energy balance of a site (4.10)."""
    path = f"/site/energyhistory/{_segment(site)}"
    return Ask(ENERGY_HISTORY, path, Use(ENERGY_HISTORY, site), _days(days) | {"groupby": grouping})


def _days(days: Days) -> dict[str, str]:
    return {"startTime": days[0].isoformat(), "endTime": days[1].isoformat()}


def _segment(text: str) -> str:
    return quote(text, safe="")
