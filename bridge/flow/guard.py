"""`counter_guard: hold`: a lifetime counter that falls is held back until the next reading says whether to believe it.

Without the guard (the default) the value is published as sent. Either way the event `counter_reset` comes with the
publication, and nothing is ever clamped.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.domain.metrics import LIFETIME_COUNTERS
from bridge.domain.observation import Value
from bridge.flow.desk import Desk
from bridge.store.protocols import DeviceRow


def guard_counters(desk: Desk, row: DeviceRow, metrics: Mapping[str, Value], ts_ms: int) -> dict[str, Value]:
    """The metrics without the counters that are held back.

    A fallen counter is believed when the next reading goes on from it (a meter change, a roll-over): equal or higher,
    and still below what was there before. A next reading at or above the old value shows a glitch: what was held
    is dropped. One that is lower again is held in its turn.
    """
    if desk.policy.counter_guard != "hold":
        return dict(metrics)
    kept = dict(metrics)
    for name in LIFETIME_COUNTERS & metrics.keys():
        before = row.metrics.get(name)
        if before is None or int(before[1]) >= ts_ms:
            continue
        held = row.held.pop(name, None)
        fell = metrics[name] < before[0]
        if fell and not (held is not None and metrics[name] >= held[0] and ts_ms > int(held[1])):
            row.held[name] = [metrics[name], ts_ms]
            del kept[name]
            desk.anomalies.append(f"{row.device}: {name} fell from {before[0]} to {metrics[name]}: held back")
    return kept
