"""The past of a device as its vendor keeps it: which stretch of time is wanted, and what one call brought of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.domain.observation import Observation
from bridge.domain.text import Json

EARLIEST = 2000
"""The first year that may be asked for: no vendor keeps anything older, and its calendar may not reach further."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` until just before `end`, aware UTC. `interval_s` is the distance of records that is asked for
    where the vendor lets one choose; None: the vendor's usual one."""

    start: datetime
    end: datetime
    interval_s: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """What one vendor call (one page) brought, in any order, and where to go on after it.

    `observations` holds `Reading`s of origin BACKFILL and the events that belong to them. `cursor`, given to
    `ports.History.read` later, goes on right after this step without making its call again. `complete_until`: the
    vendor's records before this instant have all been brought by now (None: as before). `done` of `total` calls are
    made; `total` is an estimate and may grow.
    """

    observations: Sequence[Observation]
    cursor: Json
    complete_until: datetime | None = None
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Reach:
    """How much of a device's past the vendor keeps, and what reading it costs.

    `back`: how far it reaches back from now, None where the vendor names no bound. `interval_s`: the usual distance
    of its records, None where they come as they come. `costs`: what one call takes of which limit (names of the
    vendor's `Limit`s). `calls` says about how many calls a period takes.
    """

    back: timedelta | None
    calls: Callable[[Period], int]
    costs: Mapping[str, float] = field(default_factory=dict)
    interval_s: int | None = None
