"""`kill -9` while callbacks stream in: what was answered with success arrives, in order, per device."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.fixtures import MakeGateway
from tests.system.polling import until
from tests.system.stage import HOST, PUSH_SECRET, Broker, Cloud, Gateway, Listener, free_port

KILLS = 22
LANES = 6
DEVICES = [f"W71D0000{number:03d}" for number in range(LANES)]


class Pusher(threading.Thread):
    """Reports of one device, one after the other. What is not answered is not sent again: the vendor may not."""

    def __init__(self, address: str, device: str, stop: threading.Event) -> None:
        super().__init__(name=f"pusher-{device}")
        self.address, self.device, self.halt = address, device, stop
        self.taken: list[int] = []
        self.unanswered = 0

    def run(self) -> None:
        with httpx.Client(timeout=5, trust_env=False) as web:
            number = 0
            while not self.halt.wait(0.01):
                number += 1
                try:
                    answer = web.post(self.address, json=report(self.device, number))
                except httpx.HTTPError:
                    self.unanswered += 1
                    continue
                if answer.json() == {"code": 0, "msg": "success"} and answer.status_code == 200:
                    self.taken.append(number)


def report(device: str, number: int) -> dict[str, Any]:
    info = {"device_sn": device, "total_electricity": str(number), "switch_state": "1"}
    return {"device_sn": device, "cmd": "power_report", "info": info}


@pytest.mark.slow
def test_callbacks_answered_with_success_survive_twenty_kills(
    broker: Broker, cloud: Cloud, listener: Listener, make_gateway: MakeGateway, tmp_path: Path
) -> None:
    rng = random.Random(71)
    gateway: Gateway = make_gateway(
        account={"devices": DEVICES, "poll": "1d"}, http={"listen": f"{HOST}:{free_port()}"}
    )
    listener.tails.append(gateway.tail)
    stop = threading.Event()
    address = f"{gateway.web}/push/shop/{PUSH_SECRET}"
    pushers = [Pusher(address, device, stop) for device in DEVICES]
    for pusher in pushers:
        pusher.start()
    try:
        for _ in range(KILLS):
            more = sum(len(pusher.taken) for pusher in pushers) + 1
            _until_taken(pushers, more, gateway)
            time.sleep(rng.uniform(0.0, 0.4))
            gateway.kill9()
            gateway.spawn()
            gateway.wait_ready()
    finally:
        stop.set()
        for pusher in pushers:
            pusher.join(10)
    total = sum(len(pusher.taken) for pusher in pushers)
    print(f"{total} callbacks taken, {sum(pusher.unanswered for pusher in pushers)} without an answer")
    assert total > 300
    missing = until_nothing_is_missing(listener, gateway, pushers)
    assert missing == {}
    for pusher in pushers:
        order = arrived(listener)[pusher.device]
        assert order == sorted(order), f"{pusher.device}: not in order"


def _until_taken(pushers: list[Pusher], count: int, gateway: Gateway) -> None:
    until(lambda: sum(len(p.taken) for p in pushers) >= count, 10, "a callback is taken", gateway.tail)


def arrived(listener: Listener) -> dict[str, list[int]]:
    """The counters per device in the order of their first arrival."""
    came: dict[str, list[int]] = defaultdict(list)
    for one in listener.all("meterbridge/shop/+/telemetry"):
        record = one.json
        if record["source"] == "push":
            came[record["device"]].append(int(record["metrics"]["import_energy"]))
    return {device: list(dict.fromkeys(numbers)) for device, numbers in came.items()}


def until_nothing_is_missing(
    listener: Listener, gateway: Gateway, pushers: list[Pusher]
) -> dict[str, list[int]]:
    def missing() -> dict[str, list[int]]:
        came = arrived(listener)
        lost = {p.device: sorted(set(p.taken) - set(came.get(p.device, []))) for p in pushers}
        return {device: numbers for device, numbers in lost.items() if numbers}

    until(lambda: not missing(), 20, "everything arrives", lambda: str(missing()), gateway.tail, pause_s=0.2)
    return missing()
