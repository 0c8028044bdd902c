"""How often a device tells something, learnt from its own records, and when its silence is a hole. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FACTOR = 1.75
"""A stretch without a record that is longer than so many of the expected ones has lost at least one."""
SLACK_S = 10.0
"""So late a record may be on a busy machine or line."""
LEARN_FROM, REMEMBERED = 4, 12
_USUAL = 0.75
"""The part of the remembered distances that are no longer than the expected one: some holes do not change it."""

SLEEPY = frozenset({"inverter", "solar_plant"})
"""Kinds that are silent while the sun does not shine."""
LONGEST_NIGHT_S = 20 * 3600.0
_DIM_W, _DIM_PART = 20.0, 0.03


def remembered(distances: Sequence[int], newest: int) -> list[int]:
    """The distances of the newest records, in seconds, with one more."""
    return [*distances, newest][-REMEMBERED:]


def expected_s(distances: Sequence[int], usual_s: float | None, planned_s: float) -> float | None:
    """The distance of records to be expected; None while nothing tells.

    `usual_s`: the vendor's own figure, used until enough is learnt. `planned_s`: how often the device is asked; it
    cannot be heard more often than that.
    """
    if len(distances) >= LEARN_FROM:
        ordered = sorted(distances)
        return max(float(ordered[int(len(ordered) * _USUAL + 0.5) - 1]), planned_s)
    return max(usual_s, planned_s) if usual_s is not None else None


def is_hole(distance_s: float, expected: float | None) -> bool:
    """Whether so long a stretch lacks a record. Never while nothing is expected."""
    return expected is not None and distance_s > max(FACTOR * expected, expected + SLACK_S)


def is_dim(kind: str, metrics: Mapping[str, object], brightest_w: float) -> bool:
    """Whether a solar device is about to sleep, or has just woken up: its power is next to nothing."""
    power = metrics.get("active_power")
    if kind not in SLEEPY or isinstance(power, bool | str) or power is None:
        return False
    return float(power) <= max(_DIM_W, _DIM_PART * brightest_w)  # type: ignore[arg-type] # a number of the catalogue
