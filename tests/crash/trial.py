"""A gateway that is killed again and again while commands stream in, and what came of it."""

from __future__ import annotations

import itertools
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.judge import Deed, Sent, unexplained
from tests.system.polling import until
from tests.system.stage import HOST, PUSH_SECRET, Broker, Cloud, Gateway, Listener, configuration, free_port

KINDS = {
    "B": "breaker",
    "P": "pulse",
    "S": "set_protection",
    "A": "set_alarms",
    "T": "retain_state",
    "R": "restart",
}
HOW_MANY = {"B": 5, "P": 4, "S": 3, "A": 3, "T": 2, "R": 2}
RETAIN_AT_FIRST = "1"
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "lose_reply", "probability": 0.12},
    {"kind": "refuse_before_acting", "probability": 0.06},
    {"kind": "http_500", "probability": 0.04, "acts": True},
    {"kind": "native_code", "code": 1001, "probability": 0.04, "acts": True},
    {"kind": "garbage", "probability": 0.04},
    {"kind": "slow", "seconds": 0.25, "probability": 0.3},
)
SENDS = (
    "turnon",
    "turnoff",
    "delayturnoff",
    "delayturnon",
    "setting",
    "uart_cmd",
    "set_retainstate",
    "restart",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A command to send, and what it would do."""

    device: str
    command: str
    payload: dict[str, Any]
    deed: Deed | None


@dataclass
class Trial:
    """One gateway with a cloud, devices and topics of its own."""

    name: str
    folder: Path
    broker: Broker
    rng: random.Random
    kills: int = 0
    sent: list[Wanted] = field(default_factory=list)
    again: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        port = free_port()
        self.devices = {
            f"W71{kind}{self.name.upper()}{number:06d}": kind
            for kind, many in HOW_MANY.items()
            for number in range(many)
        }
        self.cloud = Cloud(
            self.folder,
            list(self.devices),
            callback=f"http://{HOST}:{port}/push/shop/{PUSH_SECRET}",
            options=["--seed", str(self.rng.randrange(10_000))],
        )
        self._numbers = itertools.count(300)
        self._toggle: dict[str, bool] = defaultdict(bool)
        self._port = port

    def start(self) -> None:
        self.cloud.start()
        for device, kind in self.devices.items():
            options = {"extended_info": True} if kind == "T" else {"restart_for_s": 0.5}
            self.cloud.do("configure", device=device, **options)
        there = self.cloud.look("devices")["devices"]
        self._switches = {one["device"]: "on" if one["on"] else "off" for one in there}
        self.base = f"crash/{self.name}"
        account = {"devices": list(self.devices), "poll": "1d"}
        laid = configuration(
            self.broker,
            self.cloud,
            self.folder,
            base=self.base,
            account=account,
            http={"listen": f"{HOST}:{self._port}"},
        )
        self.gateway = Gateway(self.folder, laid)
        self.listener = Listener(self.broker.port, topic=f"{self.base}/+/+/ack").start()
        self.listener.tails.append(self.gateway.tail)
        self.gateway.start()
        for sends in SENDS:
            for fault in FAULTS:
                if sends == "restart" and fault["kind"] == "refuse_before_acting":
                    continue  # would only wait for a report that never comes
                self.cloud.do("fault", endpoint=f"send/{sends}", count=None, **fault)

    def end(self) -> None:
        self.listener.end()
        self.gateway.end()
        self.cloud.end()

    # while it runs ----------------------------------------------------------------------------------------------

    def cycle(self, restarts: bool) -> None:
        """Commands, a kill at a moment of chance, a new start, and more commands meanwhile."""
        for _ in range(self.rng.randrange(2, 6)):
            self.send_one(restarts)
        if self.rng.random() < 0.75:
            self._await_activity()
        time.sleep(self.rng.uniform(0.0, 0.4))
        self.gateway.kill9()
        self.kills += 1
        for _ in range(self.rng.randrange(0, 3)):
            self.send_one(restarts)
        if self.rng.random() < 0.15:
            self.gateway.spawn()
            time.sleep(self.rng.uniform(0.1, 0.7))
            self.gateway.kill9()
            self.kills += 1
        self.gateway.spawn()
        self.gateway.wait_ready()

    def _await_activity(self) -> None:
        """The vendor is asked for something that changes a device, or a second and a half have passed."""
        before = self._calls()
        ends_at = time.monotonic() + 1.5
        while time.monotonic() < ends_at and self._calls() == before:
            time.sleep(0.02)

    def _calls(self) -> int:
        counts = self.cloud.look("requests", endpoint="none")["counts"]
        return sum(count for endpoint, count in counts.items() if not endpoint.endswith("getdevinfo"))

    def send_one(self, restarts: bool) -> None:
        """One command; now and then an old one again, or one that must be rejected."""
        chance = self.rng.random()
        if chance < 0.08 and self.sent:
            self.again += 1
            self._publish(self.rng.choice(self.sent))
            return
        kinds = [kind for kind in HOW_MANY if kind != "R" or restarts]
        kind = self.rng.choice(kinds)
        device = self.rng.choice([name for name, its in self.devices.items() if its == kind])
        command, params, deed = self._make(device, kind)
        if chance > 0.96:
            params, deed = {**params, "surplus": 1}, None
        wanted = Wanted(device, command, {**params, "id": f"{self.name}-{len(self.sent)}"}, deed)
        self.sent.append(wanted)
        self._publish(wanted)

    def _publish(self, wanted: Wanted) -> None:
        self.listener.send(f"{self.base}/shop/{wanted.device}/cmd/{wanted.command}", wanted.payload)

    def _make(self, device: str, kind: str) -> tuple[str, dict[str, Any], Deed]:
        """A command and its mark in the ledger, as far as possible unlike any other."""
        number = next(self._numbers)
        if kind == "B":
            state = self.rng.choice(["on", "off"])
            return "breaker", {"state": state}, (f"switched_{state}", "")
        if kind == "P":
            word = self.rng.choice(["on", "off"])
            return f"pulse_{word}", {"delay_s": number}, (f"pulse_{word}", f"{number} s")
        if kind == "S":
            values = (number - 200, 40, 80, 230 + number % 71, 100 + number % 97)
            names = ("leakage_current_ma", "overcurrent_a", "overheat_c", "overvoltage_v", "undervoltage_v")
            fields = ("leakage_current", "overcurrent", "overheat", "overvoltage", "undervoltage")
            detail = ", ".join(f"{name} {value}" for name, value in zip(fields, values, strict=True))
            return "set_protection", dict(zip(names, values, strict=True)), ("settings_changed", detail)
        if kind == "A":
            limits = {
                "overcurrent_a": 63,
                "overvoltage_v": 270,
                "undervoltage_v": 150,
                "low_balance_kwh": number,
            }
            params = {name: {"threshold": value, "trip": True} for name, value in limits.items()}
            return "set_alarms", params, ("alarms_set", _frame(limits.values()))
        if kind == "T":
            self._toggle[device] = not self._toggle[device]
            enabled = self._toggle[device]
            return "retain_state", {"enabled": enabled}, ("retain_set", str(int(enabled)))
        return "restart", {"timeout_s": 3}, ("restart", "")

    # afterwards -------------------------------------------------------------------------------------------------

    def settle(self, timeout_s: float) -> None:
        """Waits until every command has its end."""
        self.cloud.do("clear")
        until(
            lambda: not self.open(),
            timeout_s,
            "every command has its end",
            self._open_text,
            self.gateway.tail,
        )

    def open(self) -> list[str]:
        """The ids without a final acknowledgement."""
        ended = {id_ for id_, acks in self.acks().items() if any(ack["final"] for ack in acks)}
        return [wanted.payload["id"] for wanted in self.sent if wanted.payload["id"] not in ended]

    def _open_text(self) -> str:
        acks = self.acks()
        return "\n".join(f"open: {id_}: {[ack['status'] for ack in acks[id_]]}" for id_ in self.open())

    def acks(self) -> dict[str, list[dict[str, Any]]]:
        """The acknowledgements by id, in order; those of a repeated `id` are not among them."""
        by_id: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for one in self.listener.all():
            if not one.json["duplicate"]:
                by_id[one.json["id"]].append(one.json)
        return by_id

    def mistakes(self) -> Iterator[str]:
        """Everything that must not be."""
        acks = self.acks()
        ends: dict[str, str] = {}
        for wanted in self.sent:
            id_ = wanted.payload["id"]
            finals = _distinct([ack for ack in acks[id_] if ack["final"]])
            if len(finals) != 1 and wanted.deed is not None:
                yield f"{id_} {wanted.command}: {len(finals)} ends: {finals}"
            if wanted.deed is None and {ack["status"] for ack in finals} != {"rejected"}:
                yield f"{id_} {wanted.command}: should have been rejected: {finals}"
            if wanted.deed is not None and acks[id_][0]["status"] != "accepted":
                yield f"{id_} {wanted.command}: began with {acks[id_][0]}"
            ends[id_] = finals[0]["status"] if finals else "none"
        ledger: dict[str, list[Deed]] = defaultdict(list)
        for entry in self.cloud.look("ledger")["entries"]:
            mine = ledger[entry["device"]]
            mine.append((entry["effect"], _plain(entry, mine)))
        for device in self.devices:
            mine = [
                Sent(wanted.payload["id"], wanted.deed, ends[wanted.payload["id"]])
                for wanted in self.sent
                if wanted.device == device
            ]
            why = unexplained(
                mine, ledger[device], {"switch": self._switches[device], "retain": RETAIN_AT_FIRST}
            )
            if why:
                yield f"{device}: {why}\n  commands: {[(one.id, one.deed, one.status) for one in mine]}"

    def summary(self) -> str:
        words: dict[str, int] = defaultdict(int)
        for acks in self.acks().values():
            for ack in _distinct([ack for ack in acks if ack["final"]]):
                words[f"{ack['status']} {ack['code'] or ''}".strip()] += 1
        entries = len(self.cloud.look("ledger")["entries"])
        return f"{self.name}: {self.kills} kills, {len(self.sent)} commands, {entries} effects, ends {dict(words)}"


def _distinct(acks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what the broker got twice: a repetition is the same document."""
    return [ack for index, ack in enumerate(acks) if ack not in acks[:index]]


def _plain(entry: dict[str, Any], before: list[Deed]) -> str:
    """The detail of a ledger entry as a command can know it; `before`: the entries of the same device so far."""
    effect, detail = entry["effect"], str(entry["detail"])
    if effect in ("switched_on", "switched_off", "restart"):
        return ""
    if detail == "no_change":
        return next((known for its, known in reversed(before) if its == effect), RETAIN_AT_FIRST)
    return detail.removesuffix(", no_change")


def _frame(thresholds: Any) -> str:
    """The frame that sets data point 0x12, as page wmj, section 10 describes it."""
    codes = (0x01, 0x03, 0x04, 0x08)
    records = b"".join(
        bytes([code, 1]) + value.to_bytes(2, "big") for code, value in zip(codes, thresholds, strict=True)
    )
    head = bytes.fromhex("55AA0006") + (len(records) + 4).to_bytes(2, "big")
    frame = head + b"\x12\x00" + len(records).to_bytes(2, "big") + records
    return (frame + bytes([sum(frame) % 256])).hex().upper()
