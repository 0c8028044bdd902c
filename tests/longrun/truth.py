"""What the simulated meters really measured, straight from the simulators: (Unix seconds, value) per device."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.simulators.iotmeter.wire import unix_of
from bridge.simulators.saj.fleet import Inverter

Series = dict[int, float]


def iammeter(cloud: Any, device: str, since: float, until: float) -> Series:
    """The first sample of every five minutes, which is what the cloud tells of the past: total power in W."""
    meter = cloud.meter(device)
    found: Series = {}
    for start in range(int(since // 300) * 5, int(until // 60) + 1, 5):
        minute = next(
            (one for one in range(start, start + 5) if meter.has_sample(one, cloud.time.now())), None
        )
        if minute is not None:
            phases = meter.values(minute)[: len(meter.phases)]
            found[int(meter.uploaded_s(minute))] = round(sum(one.watts for one in phases), 6)
    return _within(found, since, until)


def jrhsz(cloud: Any, device: str, since: float, until: float) -> Series:
    """Every stored reading, and what a time-of-use meter freezes at midnight: the counter."""
    meter = cloud.meters[device]
    frozen = {one.frozen_s: float(sum(one.registers.values())) for one in meter.hourly}
    return _within(frozen | {one.at_s: float(one.reading) for one in meter.records}, since, until)


def saj(cloud: Any, device: str, since: float, until: float) -> Series:
    """Every record of an inverter: its power in W."""
    plant, inverter = cloud.fleet.by_sn(device)
    assert isinstance(inverter, Inverter)
    now = datetime.fromtimestamp(cloud.time.now(), UTC)
    day = datetime.fromtimestamp(since, UTC).date() - timedelta(days=1)
    found: Series = {}
    while day <= now.date() + timedelta(days=1):
        found |= {int(one.at.timestamp()): one.watts for one in inverter.samples(day, plant.zone, now)}
        day += timedelta(days=1)
    return _within(found, since, until)


def iotmeter(cloud: Any, device: str, since: float, until: float) -> Series:
    """Every reading that the platform keeps: the counter."""
    records = cloud.fleet[device].records
    return _within({int(unix_of(one["acquisition_time"])): one["std_sum"] for one in records}, since, until)


def _within(found: Series, since: float, until: float) -> Series:
    return {at: value for at, value in sorted(found.items()) if since < at < until}


TRUTHS = {"iammeter": iammeter, "jrhsz": jrhsz, "saj": saj, "iotmeter": iotmeter}
METRIC = {
    "iammeter": ("active_power",),
    "jrhsz": ("import_energy", "water_volume", "reading"),
    "saj": ("active_power",),
    "iotmeter": ("gas_volume",),
}
