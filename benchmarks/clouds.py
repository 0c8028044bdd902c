"""The fleets: per vendor the simulator's arguments, the account, the devices to expect, and the limits to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.simulators.ledger import most_in_window

APP_ID = "FAKEAPPID00000000000000000000000"
SECRET = "FAKESECRET0000000000000000000000"
PUSH_SECRET = "FAKE-push-secret-0000"


@dataclass(frozen=True, slots=True)
class Kept:
    """A limit that the simulator's call log must show as kept: at most `count` calls in any `window_s` seconds.

    `endpoints`: names of the log, counted together; none: all calls. `each`: each end point, `per_device`: each
    device is counted by itself. `documented`: the vendor states it; otherwise it is the gateway's own caution.
    """

    count: int
    window_s: float
    endpoints: tuple[str, ...] = ()
    each: bool = False
    per_device: bool = False
    documented: bool = True


@dataclass(frozen=True, slots=True)
class Cloud:
    """One vendor of the trial. `account` lacks `base_url`, which the simulator tells; `devices` is how many have a
    `state` when the picture is complete."""

    vendor: str
    arguments: Sequence[str]
    account: Mapping[str, Any]
    devices: int
    kept: Sequence[Kept]
    addresses: Sequence[Sequence[str]] = (("base_url",),)
    push_argument: str = ""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many devices of each vendor; 0: the vendor is left out."""

    wmj: int = 1000
    iammeter: int = 200
    jrhsz: int = 2000
    saj_plants: int = 50
    saj_inverters: int = 3
    iotmeter: int = 2000


def fleets(sizes: Sizes) -> list[Cloud]:
    """All vendors that are asked for."""
    clouds = []
    if sizes.wmj:
        clouds.append(_wmj(sizes.wmj))
    if sizes.iammeter:
        clouds.append(_iammeter(sizes.iammeter))
    if sizes.jrhsz:
        clouds.append(_jrhsz(sizes.jrhsz))
    if sizes.saj_plants:
        clouds.append(_saj(sizes.saj_plants, sizes.saj_inverters))
    if sizes.iotmeter:
        clouds.append(_iotmeter(sizes.iotmeter))
    return clouds


def _wmj(count: int) -> Cloud:
    serials = [f"W71F{number:07d}" for number in range(count)]
    return Cloud(
        "wmj",
        ["--devices", ",".join(serials), "--app-id", APP_ID, "--app-secret", SECRET],
        {"app_id": APP_ID, "app_secret": SECRET, "devices": serials},
        count,
        [Kept(5, 1.0, documented=False), Kept(1, 1.0, ("send",), per_device=True, documented=False)],
        push_argument="--callback",
    )


def _iammeter(count: int) -> Cloud:
    serials = [f"A{number:07X}" for number in range(count)]
    hour, day = 3600.0, 86400.0
    return Cloud(
        "iammeter",
        ["--devices", ",".join(serials), "--token", SECRET],
        {"token": SECRET},
        count,
        [
            Kept(1, 300.0, ("metersdata",)),
            Kept(12, hour, ("metersdata",)),
            Kept(288, day, ("metersdata",)),
            Kept(12, hour, ("meterdata", "meterdata2"), per_device=True),
            Kept(5, hour, ("login",)),
            Kept(5, day, ("poweranalysis",), per_device=True),
            Kept(5, day, ("offlineanalysis",), per_device=True),
            Kept(12, hour, ("meterdatalist",), per_device=True, documented=False),
            Kept(12, day, ("sitelist",), documented=False),
        ],
    )


def _jrhsz(count: int) -> Cloud:
    return Cloud(
        "jrhsz",
        ["--meters", str(count), "--password", SECRET],
        {"username": "demo_user", "password": SECRET},
        count,
        [Kept(1, 2.0, each=True)],
    )


def _saj(plants: int, inverters: int) -> Cloud:
    return Cloud(
        "saj",
        ["--plants", str(plants), "--inverters", str(inverters), "--age", "2", "--app-key", SECRET],
        {"app_id": "15000", "app_key": SECRET},
        plants * (1 + inverters),
        [
            Kept(5, 1.0, documented=False),
            Kept(500, 3600.0, documented=False),
            Kept(6, 3600.0, ("accessToken",), documented=False),
        ],
    )


def _iotmeter(count: int) -> Cloud:
    numbers = [f"{number:010d}" for number in range(1, count + 1)]
    return Cloud(
        "iotmeter",
        ["--devices", ",".join(numbers), "--rtus", "", "--api-key", SECRET, "--password", SECRET],
        {
            "data": {"company_no": "1001", "api_key": SECRET},
            "control": {"login_name": "demo_admin", "password": SECRET},
        },
        count,
        [Kept(4, 1.0, documented=False)],
        addresses=(("data", "base_url"), ("control", "base_url")),
        push_argument="--push",
    )


@dataclass(slots=True)
class Verdict:
    """One limit against the call log: the busiest window of the busiest end point or device."""

    kept: Kept
    busiest: int = 0
    who: str = ""
    shortest_s: float | None = None
    """The shortest time in which one call more than allowed came."""

    @property
    def exceeded(self) -> bool:
        return self.busiest > self.kept.count


def judge(kept: Kept, calls: Sequence[Mapping[str, Any]]) -> Verdict:
    """Compares a limit with the calls that a simulator saw."""
    groups: dict[str, list[float]] = {}
    for call in calls:
        endpoint = str(call["endpoint"])
        if kept.endpoints and not any(
            endpoint == name or endpoint.startswith(f"{name}/") for name in kept.endpoints
        ):
            continue
        parts = [endpoint if kept.each else "", str(call["device"]) if kept.per_device else ""]
        groups.setdefault(":".join(part for part in parts if part), []).append(float(call["at"]))
    verdict = Verdict(kept)
    for name, times in groups.items():
        busiest = most_in_window(times, kept.window_s)
        if busiest > verdict.busiest:
            verdict.busiest, verdict.who = busiest, name
            verdict.shortest_s = _shortest(sorted(times), kept.count)
    return verdict


def _shortest(times: Sequence[float], count: int) -> float | None:
    return min((after - before for before, after in zip(times, times[count:], strict=False)), default=None)
