"""What was published, as last known: the page shows what the world sees, so nothing is on it that MQTT does not have.

The gateway hands over every committed publication (`take`). Held per device: the last state, whether it is there, and
the last day of some numbers. Bounded: MAX_SERIES series in all, RECENT_ACKS acknowledgements, RECENT_EVENTS events.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.domain.text import Json, restored
from bridge.web.headline import CHARTED
from bridge.web.series import Series

log = logging.getLogger("bridge.web")

MAX_SERIES = 20_000
MAX_SERIES_PER_DEVICE = 8
RECENT_ACKS = 500
RECENT_EVENTS = 50

_WORDS = {"on": 1.0, "open": 1.0, "off": 0.0, "closed": 0.0}

Key = tuple[str, str]
"""Account and the vendor's id of the device."""


class _State(msgspec.Struct):
    ts: str
    metrics: dict[str, bool | float | str]
    alarms: list[str] = []


_states = msgspec.json.Decoder(_State)


@dataclass(slots=True)
class Shown:
    """One device as last published. `state` is the body of its state topic, empty if there was none yet."""

    state: bytes = b""
    available: bool | None = None
    alarms: tuple[str, ...] = ()
    series: dict[str, Series] = field(default_factory=dict)


@dataclass(slots=True)
class Revisions:
    """Counters that grow with every change, by what changed."""

    gateway: int = 0
    devices: int = 0
    alarms: int = 0
    commands: int = 0

    def as_json(self) -> dict[str, Json]:
        """For the stream."""
        return {
            "gateway": self.gateway,
            "devices": self.devices,
            "alarms": self.alarms,
            "commands": self.commands,
        }


class Board:
    """Everything that was published, as far as people look at it."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._devices: dict[Key, Shown] = {}
        self._series = 0
        self._fresh: set[Key] = set()
        self._acks: OrderedDict[tuple[str, str], Json] = OrderedDict()
        self._listeners: set[asyncio.Event] = set()
        self.events: deque[Json] = deque(maxlen=RECENT_EVENTS)
        self.revisions = Revisions()

    def shown(self, account: str, device: str) -> Shown:
        """A device; an empty one if nothing of it was published."""
        return self._devices.get((account, device)) or Shown()

    def ack(self, account: str, command_id: str) -> Json:
        """The last acknowledgement of a command, None if it is not among the recent ones."""
        return self._acks.get((account, command_id))

    def take(self, publications: Iterable[Publication]) -> None:
        """What was just committed."""
        for publication in publications:
            try:
                self._take_one(publication)
            except (msgspec.DecodeError, ValueError, KeyError) as error:
                log.warning("page.not_understood", extra={"topic": publication.topic, "reason": str(error)})
        for listener in self._listeners:
            listener.set()

    def restore(self, account: str, device: str, topic: str, body: bytes) -> None:
        """A retained topic as it was published before this process began."""
        retained = Publication(topic, body, Class.STATE, retain=True, account=account, device=device)
        self.take((retained,))

    # what outlives this process ---------------------------------------------------------------------------------

    def fresh(self) -> set[Key]:
        """The devices whose charts have something new since this was last asked."""
        fresh, self._fresh = self._fresh, set()
        return fresh

    def still_fresh(self, devices: set[Key]) -> None:
        """They could not be kept."""
        self._fresh |= devices

    def latest(self, account: str, device: str) -> tuple[int, dict[str, float]]:
        """The newest point of a device's charts."""
        ends = {name: series.last() for name, series in self.shown(account, device).series.items()}
        at_s = max((at for at, _ in ends.values()), default=0)
        return at_s, {name: float(f"{value:.6g}") for name, (at, value) in ends.items() if at == at_s}

    def recall(self, account: str, device: str, at_s: int, numbers: Mapping[str, float]) -> None:
        """Such a point, of an earlier process; to be called in the order of time. Raises TypeError, ValueError."""
        charted = {name: float(value) for name, value in numbers.items() if name in CHARTED}
        self._add(self._entry(account, device), at_s, charted)

    # changes ----------------------------------------------------------------------------------------------------

    def listen(self) -> asyncio.Event:
        """An event that is set at every change, until `leave`."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        return listener

    def leave(self, listener: asyncio.Event) -> None:
        """Ends `listen`."""
        self._listeners.discard(listener)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def wake(self) -> None:
        """All listeners look up."""
        for listener in self._listeners:
            listener.set()

    def _take_one(self, publication: Publication) -> None:
        match publication.klass:
            case Class.ACK:
                self._take_ack(publication)
            case Class.ALARM:
                self.revisions.alarms += 1
            case Class.EVENT if publication.topic == self._topics.bridge("event"):
                self.events.appendleft(restored(publication.body))
                self.revisions.gateway += 1
            case Class.STATE | Class.META if publication.device:
                self._take_device(publication)
            case Class.META:
                self.revisions.gateway += 1

    def _take_ack(self, publication: Publication) -> None:
        document = restored(publication.body)
        key = (str(document["account"]), str(document["id"]))
        self._acks.pop(key, None)
        self._acks[key] = document
        if len(self._acks) > RECENT_ACKS:
            self._acks.popitem(last=False)
        self.revisions.commands += 1

    def _take_device(self, publication: Publication) -> None:
        account, device = publication.account, publication.device
        if publication.topic == self._topics.device(account, device, "state"):
            if publication.body:
                self._take_state((account, device), publication.body)
            else:
                self._forget(account, device)
            self.revisions.devices += 1
        elif publication.topic == self._topics.device(account, device, "availability"):
            if publication.body:
                self._entry(account, device).available = publication.body == b"online"
            self.revisions.devices += 1

    def _entry(self, account: str, device: str) -> Shown:
        return self._devices.setdefault((account, device), Shown())

    def _forget(self, account: str, device: str) -> None:
        gone = self._devices.pop((account, device), None)
        self._fresh.discard((account, device))
        self._series -= len(gone.series) if gone else 0

    def _take_state(self, key: Key, body: bytes) -> None:
        state, shown = _states.decode(body), self._entry(*key)
        shown.state = body
        alarms = tuple(state.alarms)
        if alarms != shown.alarms:
            shown.alarms = alarms
            self.revisions.alarms += 1
        at_s = int(datetime.fromisoformat(state.ts).timestamp())
        if at_s <= 0:
            return
        self._add(shown, at_s, state.metrics)
        self._fresh.add(key)

    def _add(self, shown: Shown, at_s: int, metrics: Mapping[str, bool | float | str]) -> None:
        for name in self._charted(shown.series, metrics):
            value = _number(metrics[name])
            if value is not None:
                series = shown.series.get(name)
                if series is None:
                    series = shown.series[name] = Series()
                    self._series += 1
                series.add(at_s, value)

    def _charted(self, series: Mapping[str, Series], metrics: Mapping[str, object]) -> Sequence[str]:
        """The metrics that have a series or get one while there is room."""
        room = min(
            MAX_SERIES_PER_DEVICE - len(series),
            max(1, MAX_SERIES // max(1, len(self._devices))) - len(series),
            MAX_SERIES - self._series,
        )
        known = [name for name in series if name in metrics]
        if room <= 0 or len(known) == len(metrics):
            return known
        fresh = [name for name in CHARTED if name in metrics and name not in series]
        return [*known, *fresh[:room]]


def _number(value: bool | float | str) -> float | None:
    return _WORDS.get(value) if isinstance(value, str) else float(value)
