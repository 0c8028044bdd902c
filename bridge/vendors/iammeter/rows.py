"""Rows of numbers to metrics (page iammeter 6.1, 6.2 and 7.1). Pure.

Units are ours already: V, A, W (positive: import), kWh, Hz. What is null or no number is left out, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from bridge.domain.observation import Value
from bridge.domain.text import Json, number, plain

SUMMED = ("active_power", "import_energy", "export_energy")
"""The metrics that a three-phase meter also gets as the sum of its phases (METRICS rule 5)."""

SHORTEST_ROW = 5

_BASIC = ("voltage", "current", "active_power", "import_energy", "export_energy")
_BASIC_7 = (*_BASIC, "frequency", "power_factor")
_ADVANCED = ("voltage", "current", "active_power", "power_factor", "import_energy", "export_energy")
_SUFFIXES = ("_a", "_b", "_c", "_net")


class Layout(StrEnum):
    """What the elements of a row mean: the advanced layout has the power factor at index 3 (4.2, 4.3)."""

    BASIC = "basic"
    ADVANCED = "advanced"


@dataclass(frozen=True, slots=True)
class Measured:
    """`values` of one sample. `rows` is their number as sent, `unusable` how many of them were too short;
    `extra` holds what lies beyond the known layout, as sent, under `row_<n>`."""

    rows: int
    metrics: Mapping[str, Value] = field(default_factory=dict)
    extra: Mapping[str, Json] = field(default_factory=dict)
    unusable: int = 0


def measured(rows: Sequence[Json], layout: Layout) -> Measured:
    """The metrics of one row (single phase), two or three (phases A, B, C) or four (and the net-metering row).

    A row that is shorter than five elements, or none at all, gives nothing. Rows beyond four are `extra`.
    """
    metrics: dict[str, Value] = {}
    extra: dict[str, Json] = {}
    unusable = 0
    suffixes = ("",) if len(rows) == 1 else _SUFFIXES
    for index, row in enumerate(rows):
        if index >= len(suffixes):
            extra[f"row_{index}"] = row
        elif not isinstance(row, list) or len(row) < SHORTEST_ROW:
            unusable += 1
        else:
            names = _names(layout, len(row))
            metrics |= _named(row, names, suffixes[index])
            if len(row) > len(names):
                extra[f"row_{index}"] = row[len(names) :]
    return Measured(len(rows), metrics | _sums(metrics), extra, unusable)


def rows_of(values: Json) -> list[Json] | None:
    """`values` as rows: one flat array counts as one row (6.2); None where it is no array at all."""
    if values is None:
        return []
    if not isinstance(values, list):
        return None
    if values and not any(isinstance(value, list) for value in values):
        return [values]
    return values


def guessed_layout(rows: Sequence[Json]) -> Layout:
    """The layout of `metersdata`, which is not told: basic, unless rows of six can only be advanced (6.2)."""
    whole = [row for row in rows if isinstance(row, list) and len(row) == 6]
    if not whole or len(whole) != len(rows):
        return Layout.BASIC
    factors = [found for row in whole if (found := number(row[3])) is not None]  # null tells neither way
    energies = [number(row[4]) for row in whole]
    if not factors or not all(-1 <= factor <= 1 for factor in factors):
        return Layout.BASIC
    is_advanced = any(energy is not None and energy > 1 for energy in energies)
    return Layout.ADVANCED if is_advanced else Layout.BASIC


def _names(layout: Layout, length: int) -> tuple[str, ...]:
    if layout is Layout.ADVANCED:
        return _ADVANCED if length > SHORTEST_ROW else _BASIC
    return _BASIC_7 if length >= len(_BASIC_7) else _BASIC


def _named(row: Sequence[Json], names: Sequence[str], suffix: str) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, value in zip(names, row, strict=False):
        sent = number(value)
        if sent is not None and not (suffix == "_net" and name == "current"):  # not meaningful there (7.1)
            found[name + suffix] = sent
    return found


def _sums(metrics: Mapping[str, Value]) -> dict[str, Value]:
    sums: dict[str, Value] = {}
    for name in SUMMED:
        phases = [metrics.get(f"{name}_{phase}") for phase in "abc"]
        parts = [Decimal(part) for part in phases if part is not None and not isinstance(part, str)]
        total = plain(sum(parts, Decimal(0))) if len(parts) == 3 else None
        if total is not None:
            sums[name] = total
    return sums
