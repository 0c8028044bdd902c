"""The users, plants, data loggers and inverters behind a simulated SAJ cloud."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from bridge.simulators.saj import sun

RUNNING, LOW_LIGHT, OFFLINE = 1, 5, 10
_AGE_DAYS = 400


@dataclass(slots=True)
class Alarm:
    """One alarm of an inverter; times are aware."""

    code: str
    message: str
    started_at: datetime
    ended_at: datetime | None = None
    handled: bool = False


@dataclass(slots=True)
class Sample:
    """One record of an inverter."""

    at: datetime
    day: date
    step: int
    watts: int


@dataclass(slots=True)
class Inverter:
    """An inverter. `silent_from`: since when it sends nothing (None: it sends)."""

    device_id: int
    sn: str
    logger: str
    peak_w: int
    seed: int
    phases: int = 1
    strings: int = 2
    carried_units: int = 0
    silent_from: datetime | None = None
    alarms: list[Alarm] = field(default_factory=list)

    def samples(self, day: date, zone: timezone, now: datetime) -> list[Sample]:
        """Its records of a local day up to now, oldest first."""
        until = min(now, self.silent_from) if self.silent_from else now
        return [
            Sample(at, day, step, sun.watts_at(self.peak_w, self.seed, day, step))
            for step, at in sun.sample_times(day, zone)
            if at <= until
        ]

    def latest(self, zone: timezone, now: datetime, upto: date, born: date) -> Sample | None:
        """Its newest record of the local days up to `upto`, not older than it is."""
        day = min(upto, now.astimezone(zone).date())
        if self.silent_from is not None:
            day = min(day, self.silent_from.astimezone(zone).date())
        while day >= born:
            found = self.samples(day, zone, now)
            if found:
                return found[-1]
            day -= timedelta(days=1)
        return None

    def units(self, sample: Sample, since: date) -> int:
        """Energy from the beginning of the day `since` until a sample, in units of 10 Wh."""
        days = (sample.day - since).days
        before = sum(
            sun.whole_day_units(self.peak_w, self.seed, since + timedelta(days=number))
            for number in range(days)
        )
        return before + sun.day_units(self.peak_w, self.seed, sample.day)[sample.step]


@dataclass(slots=True)
class User:
    """An end user."""

    id: int
    email: str
    name: str
    tel: str
    registered_at: datetime
    password: str = field(default="", repr=False)
    address: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Plant:
    """A plant. `status`: what it shows instead of the sun's (None). `born`: when it was built, in local time."""

    id: int
    name: str
    user_id: int
    peak_kw: str
    zone: timezone
    born: date
    options: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    loggers: set[str] = field(default_factory=set)
    inverters: list[Inverter] = field(default_factory=list)

    def status_at(self, now: datetime) -> int:
        """Its status code: the one that was set, else 1 by day and 5 at night."""
        if self.status is not None:
            return self.status
        return RUNNING if self.watts(now) else LOW_LIGHT

    def watts(self, now: datetime) -> int:
        """What its inverters give now; an old record is no power."""
        found = [self.latest(inverter, now) for inverter in self.inverters]
        return sum(one.watts for one in found if one is not None and now - one.at < timedelta(minutes=30))

    def latest(self, inverter: Inverter, now: datetime, upto: date | None = None) -> Sample | None:
        """An inverter's newest record."""
        return inverter.latest(self.zone, now, upto or now.astimezone(self.zone).date(), self.born)

    def units(self, inverter: Inverter, sample: Sample) -> dict[str, int]:
        """Energies until a sample: `today`, `month`, `year`, `total`, in units of 10 Wh."""
        month, year = sample.day.replace(day=1), sample.day.replace(month=1, day=1)
        return {
            "today": inverter.units(sample, sample.day),
            "month": inverter.units(sample, max(month, self.born)),
            "year": inverter.units(sample, max(year, self.born)),
            "total": inverter.carried_units + inverter.units(sample, self.born),
        }

    def day_units(self, day: date, now: datetime) -> int:
        """What its inverters gave on a local day, as far as it has passed."""
        found = 0
        for inverter in self.inverters:
            samples = inverter.samples(day, self.zone, now) if day >= self.born else []
            if samples:
                found += inverter.units(samples[-1], day)
        return found


@dataclass(slots=True)
class Fleet:
    """Everything that an application sees. `spares`: data logger → inverter that appears when it is added."""

    users: dict[int, User] = field(default_factory=dict)
    plants: dict[int, Plant] = field(default_factory=dict)
    spares: dict[str, Inverter] = field(default_factory=dict)
    next_id: int = 900_001

    def inverters(self) -> Iterator[tuple[Plant, Inverter]]:
        """Every inverter with its plant."""
        for plant in self.plants.values():
            for inverter in plant.inverters:
                yield plant, inverter

    def inverter(self, device_id: int) -> tuple[Plant, Inverter] | None:
        """By the vendor's id."""
        return next((pair for pair in self.inverters() if pair[1].device_id == device_id), None)

    def by_sn(self, sn: str) -> tuple[Plant, Inverter]:
        """By serial number. Raises KeyError."""
        for plant, inverter in self.inverters():
            if inverter.sn == sn:
                return plant, inverter
        raise KeyError(sn)

    def new_id(self) -> int:
        """The id of the next user or plant."""
        self.next_id += 1
        return self.next_id - 1

    def as_json(self, now: datetime) -> dict[str, Any]:
        """For the control surface."""
        return {
            "users": [{"c_user_id": user.id, "email": user.email} for user in self.users.values()],
            "plants": [
                {
                    "plant_id": plant.id,
                    "name": plant.name,
                    "user_id": plant.user_id,
                    "status": plant.status_at(now),
                    "loggers": sorted(plant.loggers),
                    "inverters": [inverter.sn for inverter in plant.inverters],
                }
                for plant in self.plants.values()
            ],
        }


def demo_fleet(
    now_s: float,
    *,
    plants: int = 2,
    inverters: int = 2,
    offset_hours: float = 8.0,
    rng: random.Random | None = None,
    age_days: int = _AGE_DAYS,
) -> Fleet:
    """A few homes: each plant with its owner and its inverters, in a zone so many hours east of Greenwich."""
    rng = rng or random.Random(1)
    now = datetime.fromtimestamp(now_s, UTC)
    zone = timezone(timedelta(hours=offset_hours))
    fleet = Fleet()
    for number in range(1, plants + 1):
        user = User(
            300_000_000 + number, f"owner{number}@example.com", f"Demo Owner {number}", "0000000000", now
        )
        fleet.users[user.id] = user
        made = [_inverter(number, index, rng) for index in range(1, inverters + 1)]
        peak_kw = f"{sum(one.peak_w for one in made) / 1000:g}"
        born = (now - timedelta(days=age_days)).astimezone(zone).date()
        plant = Plant(10_000_000 + number, f"Demo plant {number}", user.id, peak_kw, zone, born)
        plant.inverters = made
        plant.loggers = {one.logger for one in made}
        fleet.plants[plant.id] = plant
    return fleet


def _inverter(plant: int, index: int, rng: random.Random) -> Inverter:
    number = plant * 100 + index
    return Inverter(
        device_id=100_010_000 + number,
        sn=f"INVTEST{number:05d}",
        logger=f"6010{number:05d}",
        peak_w=rng.choice((2750, 5000, 8000)),
        seed=rng.randrange(1, 10_000),
        phases=3 if index == 2 else 1,
        strings=2,
        carried_units=rng.randrange(10_000, 90_000),
    )
