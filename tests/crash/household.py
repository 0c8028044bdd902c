"""A gateway with gas meters, flats and breakers that is killed again and again while money and switches are under way.

Three clouds, one gateway. What must not run twice is counted in the clouds' own ledgers: what a gas meter's platform
was given to queue, what its meters did, what flats and breakers switched.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.system.polling import until
from tests.system.stage import (
    APP_ID,
    APP_SECRET,
    HOST,
    PUSH_SECRET,
    Broker,
    Cloud,
    Gateway,
    Listener,
    free_port,
    retained,
)

API_KEY = "0" * 32
PASSWORD = "not-a-real-password"
GAS = [f"G{number:09d}" for number in range(6)]
PULSES = [f"W71P{number:07d}" for number in range(4)]
ONCE = ("recharge", "open_account", "set_balance", "pulse_on", "on", "open")
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "lose_reply", "probability": 0.15},
    {"kind": "http_500", "probability": 0.05, "acts": True},
    {"kind": "garbage", "probability": 0.05},
    {"kind": "slow", "seconds": 0.2, "probability": 0.3},
)
SWITCHED = {"on": "reclosed", "off": "tripped", "open": "valve_opened", "close": "valve_closed"}


class Simulator(Cloud):
    """A simulated cloud of any vendor."""

    def __init__(self, folder: Path, vendor: str, options: Sequence[str]) -> None:
        super().__init__(folder, [], options=options)
        self.name, self.output = vendor, folder / f"{vendor}.log"
        self._vendor = vendor

    def start(self) -> Simulator:
        self.launch([sys.executable, "-m", f"bridge.simulators.{self._vendor}", *self._options])
        self.base_url = until(self._told_url, 20, f"{self._vendor} listens", self.tail)
        return self


@dataclass(frozen=True, slots=True)
class Wanted:
    """A command that was sent. `deed`: what it does, as `ONCE` and `SWITCHED` name it."""

    account: str
    device: str
    command: str
    payload: dict[str, Any]
    deed: str


@dataclass
class Household:
    """`start`, `cycle` many times, `settle`, then `mistakes`."""

    folder: Path
    broker: Broker
    rng: random.Random
    kills: int = 0
    sent: list[Wanted] = field(default_factory=list)
    recharges: Counter[str] = field(default_factory=Counter)

    def start(self) -> None:
        port = free_port()
        seed = ["--seed", str(self.rng.randrange(10_000))]
        push = f"http://{HOST}:{port}/push/gas/{PUSH_SECRET}"
        gas = ["--devices", ",".join(GAS), "--rtus", "", "--api-key", API_KEY, "--password", PASSWORD]
        self.gas = Simulator(self.folder, "iotmeter", [*gas, "--push", push, "--wake", "0.7", *seed]).start()
        flats = ["--meters", "8", "--password", PASSWORD, "--delay", "0.3", "--spacing", "0", *seed]
        self.flats = Simulator(self.folder, "jrhsz", flats).start()
        shop = ["--devices", ",".join(PULSES), "--app-id", APP_ID, "--app-secret", APP_SECRET, *seed]
        self.shop = Simulator(self.folder, "wmj", shop).start()
        self.meters = [
            (str(one["device"]), "valve" if one["medium"] == "water" else "breaker")
            for one in self.flats.look("devices")["devices"]
            if one["medium"] in ("water", "electricity")
        ]
        for fault in FAULTS:
            self.gas.do("fault", endpoint="CtrlData/Add", count=None, **fault)
            self.flats.do("fault", endpoint="meterInstruct/*", count=None, **fault)
            self.shop.do("fault", endpoint="send/delay*", count=None, **fault)
        self.gateway = Gateway(self.folder, self._configuration(port))
        self.listener = Listener(self.broker.port, topic="house/+/+/ack").start()
        self.listener.tails.append(self.gateway.tail)
        self.gateway.start()
        known = len(GAS) + len(PULSES) + len(self.meters)
        until(
            lambda: len(retained(self.broker.port, "house/+/+/info")) >= known,
            30,
            "every device is known",
            self.gateway.tail,
        )

    def end(self) -> None:
        for name in ("listener", "gateway", "gas", "flats", "shop"):
            if hasattr(self, name):
                getattr(self, name).end()

    def _configuration(self, port: int) -> dict[str, Any]:
        quick = {"limits_unsafe": True}
        gas = {
            "data": {"base_url": self.gas.base_url, "company_no": "1001", "api_key": API_KEY},
            "control": {"base_url": self.gas.base_url, "login_name": "demo_admin", "password": PASSWORD},
            "push": {"secret": PUSH_SECRET},
            "limits": {"data": "500/1s", "control": "500/1s"},
        }
        flats = {"base_url": self.flats.base_url, "username": "demo_user", "password": PASSWORD}
        flats |= {"limits": {"meterInstruct": "500/1s", "readMeter": "500/1s", "account": "500/1s"}}
        flats |= {"read_back": ["500ms", "1s", "2s"]}
        shop = {"base_url": self.shop.base_url, "app_id": APP_ID, "app_secret": APP_SECRET, "devices": PULSES}
        shop |= {"limits": {"requests": "500/1s", "device": "500/1s"}}
        return {
            "mqtt": {"url": self.broker.url, "base_topic": "house"},
            "http": {"listen": f"{HOST}:{port}"},
            "state": {"url": f"sqlite://{self.folder}/house.db"},
            "accounts": [
                {"id": name, "vendor": vendor, "poll": "1d", **quick, **settings}
                for name, vendor, settings in (
                    ("gas", "iotmeter", gas),
                    ("flats", "jrhsz", flats),
                    ("shop", "wmj", shop),
                )
            ],
        }

    # while it runs ----------------------------------------------------------------------------------------------

    def cycle(self) -> None:
        """Commands, a kill at a moment of chance, a new start, and commands meanwhile."""
        for _ in range(self.rng.randrange(2, 6)):
            self.send_one()
        time.sleep(self.rng.uniform(0.0, 0.35))
        self._kill()
        for _ in range(self.rng.randrange(0, 2)):
            self.send_one()
        if self.rng.random() < 0.2:
            self.gateway.spawn()
            time.sleep(self.rng.uniform(0.1, 0.7))
            self._kill()
        self.gateway.spawn()
        self.gateway.wait_ready()

    def _kill(self) -> None:
        self.gateway.kill9()
        self.kills += 1

    def send_one(self) -> None:
        """One command; now and then an old one again."""
        if self.rng.random() < 0.1 and self.sent:
            self._publish(self.rng.choice(self.sent))
            return
        wanted = self.rng.choice([self._money, self._money, self._switch, self._pulse])()
        self.sent.append(wanted)
        self._publish(wanted)

    def _publish(self, wanted: Wanted) -> None:
        self.listener.send(f"house/{wanted.account}/{wanted.device}/cmd/{wanted.command}", wanted.payload)

    def _money(self) -> Wanted:
        device, number = self.rng.choice(GAS), len(self.sent)
        command = self.rng.choice(["recharge", "open_account", "set_balance", "valve"])
        payload: dict[str, Any] = {"id": f"h-{number}"}
        deed = command
        if command == "recharge":
            self.recharges[device] += 1
            payload |= {"charge_value": 5, "total_value": 5000, "charge_times": self.recharges[device]}
        elif command == "open_account":
            prices = {f"price{n}": 2.5 for n in range(1, 6)}
            payload |= {"charge_value": 10, "total_value": 10, **prices}
        elif command == "set_balance":
            payload |= {"remain_value": number + 1}
        else:
            deed = payload["state"] = self.rng.choice(["open", "close"])
        return Wanted("gas", device, command, payload, deed)

    def _switch(self) -> Wanted:
        device, command = self.rng.choice(self.meters)
        state = self.rng.choice(["on", "off"] if command == "breaker" else ["open", "close"])
        return Wanted("flats", device, command, {"id": f"h-{len(self.sent)}", "state": state}, state)

    def _pulse(self) -> Wanted:
        number = len(self.sent)
        payload = {"id": f"h-{number}", "delay_s": 1 + number % 900}
        return Wanted("shop", self.rng.choice(PULSES), "pulse_on", payload, "pulse_on")

    # afterwards -------------------------------------------------------------------------------------------------

    def settle(self, timeout_s: float) -> None:
        """Lets commands come to their ends for so long, and waits for none that only a later look decides."""
        for cloud in (self.gas, self.flats, self.shop):
            cloud.do("clear")
        ends_at = time.monotonic() + timeout_s
        while self.open() and time.monotonic() < ends_at:
            time.sleep(0.5)
        until(lambda: not self._unanswered(), 20, "every command is accepted", self.gateway.tail)
        self.gateway.terminate(20)
        until(lambda: not list(self._untold()), 20, "every end is told", self.gateway.tail)

    def journal(self) -> dict[str, str]:
        """The state of each command as the gateway has it on disk, by id."""
        with contextlib.closing(sqlite3.connect(self.folder / "house.db")) as db:
            return dict(db.execute("SELECT id, state FROM journal"))

    def acks(self) -> dict[str, list[dict[str, Any]]]:
        """The acknowledgements by id, each document once."""
        by_id: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for one in self.listener.all():
            document = one.json
            if not document["duplicate"] and document not in by_id[document["id"]]:
                by_id[document["id"]].append(document)
        return by_id

    def open(self) -> list[Wanted]:
        """Commands without a final acknowledgement."""
        acks = self.acks()
        return [one for one in self.sent if not any(ack["final"] for ack in acks[one.payload["id"]])]

    def _unanswered(self) -> list[Wanted]:
        acks = self.acks()
        return [one for one in self.sent if not acks[one.payload["id"]]]

    def mistakes(self) -> Iterator[str]:
        """Everything that must not be."""
        acks = self.acks()
        deeds = self._deeds()
        for one in self.sent:
            id_ = one.payload["id"]
            finals = [ack for ack in acks[id_] if ack["final"]]
            first = acks[id_][:1]
            if not first or first[0]["status"] != "accepted" or finals not in ([], acks[id_][-1:]):
                yield f"{id_} {one.command}: {[ack['status'] for ack in acks[id_]]}"
            status = finals[0]["status"] if finals else "open"
            if one.account == "flats":
                continue
            count = deeds[id_]
            if count > (1 if one.deed in ONCE else 2):
                yield f"{id_} {one.command}: executed {count} times ({status})"
            if status == "succeeded" and count == 0:
                yield f"{id_} {one.command}: succeeded, and nothing was done"
            if status in ("failed", "cancelled", "expired", "rejected") and count:
                yield f"{id_} {one.command}: {status}, and it was done"
        yield from self._switching()
        yield from self._untold()

    def _untold(self) -> Iterator[str]:
        """Commands without an end that nobody will ever end; days may pass, but then the gateway knows it."""
        journal = self.journal()
        for one in self.open():
            id_ = one.payload["id"]
            state = journal.get(id_)
            if state is None:
                yield f"{id_} {one.command}: no end was told, and the journal does not know it"
            elif state == "final":
                yield f"{id_} {one.command}: it came to its end, and that was not told"

    def _deeds(self) -> Counter[str]:
        """How often each command reached its vendor and had its effect, by id."""
        found: Counter[str] = Counter()
        for entry in self.gas.look("ledger")["entries"]:
            if entry["effect"] == "task_queued":
                found[entry["detail"].split()[1]] += 1
        pulses = {
            (one.device, f"{one.payload['delay_s']} s"): one for one in self.sent if one.account == "shop"
        }
        for entry in self.shop.look("ledger")["entries"]:
            one = pulses.get((entry["device"], str(entry["detail"]).removesuffix(", no_change")))
            if entry["effect"] == "pulse_on" and one is not None:
                found[one.payload["id"]] += 1
        return found

    def _switching(self) -> Iterator[str]:
        """A flat's meter has no name for an instruction: it is counted per meter and direction."""
        done = Counter((one["device"], one["effect"]) for one in self.flats.look("ledger")["entries"])
        for device, _ in self.meters:
            for state, effect in SWITCHED.items():
                asked = sum(one.device == device and one.deed == state for one in self.sent)
                most = asked if state in ONCE else 2 * asked
                if done[device, effect] > most:
                    yield f"{device}: {asked} times {state!r}, {done[device, effect]} times {effect}"

    def summary(self) -> str:
        """For people."""
        ends = Counter(
            (one.command, next((a["status"] for a in self.acks()[one.payload["id"]] if a["final"]), "open"))
            for one in self.sent
        )
        told = ", ".join(f"{command} {status} {count}" for (command, status), count in sorted(ends.items()))
        return f"{self.kills} kills, {len(self.sent)} commands: {told}"
