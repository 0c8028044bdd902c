"""The broker comes, goes, stalls and forgets; nothing that was taken is lost, and what is retained is there again."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import httpx
import pytest

from bridge.domain.text import loads
from tests.system.fixtures import DEVICES, MakeBroker, MakeGateway, MakeListener
from tests.system.polling import until
from tests.system.stage import HOST, PUSH_SECRET, Broker, Cloud, Gateway, Listener, retained

SHOP = "meterbridge/shop"
STATUS = "meterbridge/bridge/status"
D1, D2 = DEVICES[0], DEVICES[1]
RETAINED = {
    STATUS,
    "meterbridge/bridge/info",
    f"{SHOP}/status",
    f"{SHOP}/budget",
    *(f"{SHOP}/{device}/{leaf}" for device in (D1, D2) for leaf in ("info", "availability", "state")),
}


def report(device: str, energy: float) -> dict[str, object]:
    """A `power_report` callback; `energy` makes it one of a kind."""
    info = {
        "device_sn": device,
        "total_electricity": f"{energy:.2f}",
        "voltage": "230.1",
        "switch_state": "1",
    }
    return {"device_sn": device, "msg_id": "0", "type": "2", "cmd": "power_report", "info": info}


def push(gateway: Gateway, body: object, secret: str = PUSH_SECRET) -> httpx.Response:
    return httpx.post(f"{gateway.web}/push/shop/{secret}", json=body, timeout=15, trust_env=False)


def energies(listener: Listener, device: str) -> list[float]:
    """The pushed counters that came on `telemetry`, in order."""
    records = [one.json for one in listener.all(f"{SHOP}/{device}/telemetry")]
    return [record["metrics"]["import_energy"] for record in records if record["source"] == "push"]


def test_will_says_offline_after_a_kill_and_the_birth_says_online_again(
    gateway: Gateway, listener: Listener
) -> None:
    listener.wait(STATUS, lambda one: one.text == "online" and one.retain)
    gateway.kill9()
    listener.wait(STATUS, lambda one: one.text == "offline" and one.retain)
    gateway.start()
    until(lambda: len(listener.all(STATUS)) >= 3, 30, "the status says online again", gateway.tail)
    assert [one.text for one in listener.all(STATUS)] == ["online", "offline", "online"]


def test_broker_that_forgot_everything_gets_the_retained_topics_again(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    listener.wait(f"{SHOP}/{D2}/state")
    listener.wait(f"{SHOP}/{D1}/state")
    before = retained(broker.port)
    assert before.keys() == RETAINED
    broker.restart()
    until(lambda: seen_all(broker), 15, "all retained topics are back", gateway.tail)
    after = retained(broker.port)
    same = [topic for topic in RETAINED if topic != f"{SHOP}/budget"]
    assert {topic: after[topic] for topic in same} == {topic: before[topic] for topic in same}


def seen_all(broker: Broker) -> bool:
    return retained(broker.port).keys() == RETAINED


@pytest.mark.slow
def test_broker_that_stalls_for_ten_seconds_gets_everything_afterwards(
    make_gateway: MakeGateway, listener: Listener, broker: Broker
) -> None:
    """Longer than the keep-alive: the connection is given up, and tried again while nobody answers."""
    gateway = make_gateway(mqtt={"keepalive": "3s"})
    listener.tails.append(gateway.tail)
    listener.wait(f"{SHOP}/{D1}/telemetry")
    broker.pause()
    paused_at = time.monotonic()
    sent = [float(number) for number in range(1, 41)]
    for energy in sent:
        assert push(gateway, report(D1, energy)).json() == {"code": 0, "msg": "success"}
    assert httpx.get(f"{gateway.web}/readyz", trust_env=False).status_code == 200
    time.sleep(max(0.0, 10 - (time.monotonic() - paused_at)))
    broker.resume()
    until(lambda: set(energies(listener, D1)) >= set(sent), 30, "all pushes arrive", gateway.tail)
    assert list(dict.fromkeys(energies(listener, D1))) == sent
    listener.send(f"{SHOP}/{D1}/cmd/online", {"id": "after"})
    assert listener.final(f"{SHOP}/{D1}/ack", "after")["status"] == "succeeded"
    assert len(gateway.events("mqtt.lost")) == 1
    assert {entry["protocol"] for entry in gateway.events("mqtt.connected")} == {"5"}


def test_gateway_starts_without_a_broker_spools_and_recovers(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener
) -> None:
    absent = make_broker(start=False)
    gateway = make_gateway(at=absent, start=False)
    gateway.spawn()
    gateway.wait_log("mqtt.connect_failed")
    assert push(gateway, report(D1, 7.25)).status_code == 200
    ready = httpx.get(f"{gateway.web}/readyz", trust_env=False)
    assert ready.status_code == 200
    assert ready.json()["broker"].startswith("not connected")
    assert ready.json()["spool"]["messages"] > 0
    assert "READY=1" not in gateway.notices.read()
    absent.start()
    listener = make_listener(absent)
    listener.tails.append(gateway.tail)
    gateway.wait_ready()
    listener.wait(f"{SHOP}/{D1}/telemetry", lambda one: one.json["metrics"].get("import_energy") == 7.25)
    until(lambda: seen_all(absent), 15, "the retained topics are there", gateway.tail)


def test_wrong_password_is_told_and_the_right_one_lets_the_gateway_in(
    make_broker: MakeBroker, make_gateway: MakeGateway, tmp_path: Path
) -> None:
    def passwords(word: str) -> None:
        file = tmp_path / "passwords"
        command = ["mosquitto_passwd", "-b", "-c", str(file), "bridge-user", word]
        subprocess.run(command, check=True, capture_output=True)

    passwords("FAKE-other-0000")
    locked = make_broker(lines=[f"password_file {tmp_path / 'passwords'}", "allow_anonymous false"])
    login = {"username": "bridge-user", "password": "FAKE-mqtt-0000"}
    gateway = make_gateway(at=locked, mqtt=login, start=False)
    gateway.spawn()
    failed = gateway.wait_log("mqtt.connect_failed")
    assert "ot authori" in failed["reason"]
    assert push(gateway, report(D1, 3.5)).status_code == 200
    passwords("FAKE-mqtt-0000")
    locked.signal(1)  # Mosquitto reads its password file again
    gateway.wait_ready()
    topics = retained(locked.port, username="bridge-user", password="FAKE-mqtt-0000")
    assert topics[STATUS] == b"online"
    assert "FAKE-mqtt-0000" not in gateway.output.read_text()


async def _pusher(
    gateway: Gateway, devices: list[str], rate: float, seconds: float
) -> tuple[dict[str, list[float]], list[str]]:
    """Pushes reports, per device one after the other on connections that are kept; what was answered with success,
    per device in order, and the other answers."""
    taken: dict[str, list[float]] = defaultdict(list)
    other: list[str] = []
    numbers = itertools.count(1)
    limits = httpx.Limits(max_connections=40, max_keepalive_connections=40)
    address = f"{gateway.web}/push/shop/{PUSH_SECRET}"
    async with httpx.AsyncClient(limits=limits, timeout=20, trust_env=False) as web:

        async def lane(mine: list[str], offset_s: float) -> None:
            step_s = 40 / rate
            began = asyncio.get_running_loop().time() + offset_s
            for turn in itertools.count():
                due = began + turn * step_s
                if due > began - offset_s + seconds:
                    return
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
                device, energy = mine[turn % len(mine)], float(next(numbers))
                try:
                    answer = await web.post(address, json=report(device, energy))
                except httpx.HTTPError as error:
                    other.append(type(error).__name__)
                    continue
                if answer.status_code == 200 and answer.content == b'{"code":0,"msg":"success"}':
                    taken[device].append(energy)
                else:
                    other.append(f"{answer.status_code} {answer.text}")

        await asyncio.gather(*(lane(devices[n::40], n / rate) for n in range(40)))
    return taken, other


@pytest.mark.slow
async def test_every_callback_answered_with_success_arrives_although_the_broker_was_away_for_20_s(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener, cloud: Cloud
) -> None:
    broker = make_broker(persistence=True)
    listener = make_listener(broker, client_id="patient-listener")
    fleet = [f"W71F00000{number:02d}" for number in range(100)]
    gateway = make_gateway(at=broker, account={"devices": fleet, "poll": "1d"})
    listener.tails.append(gateway.tail)
    pushing = asyncio.create_task(_pusher(gateway, fleet, rate=200, seconds=25))
    await asyncio.sleep(2)
    await asyncio.to_thread(broker.stop)
    await asyncio.sleep(20)
    await asyncio.to_thread(broker.start)
    taken, other = await pushing
    assert other == []
    total = sum(len(energies) for energies in taken.values())
    assert total > 4500
    await asyncio.to_thread(
        until,
        lambda: _missing(listener, taken) == 0,
        60,
        "everything that was answered with success has arrived",
        lambda: f"missing {_missing(listener, taken)} of {total}",
        gateway.tail,
        pause_s=0.3,
    )
    twice = 0
    for device, sent in taken.items():
        came = energies(listener, device)
        assert list(dict.fromkeys(came)) == sent, f"{device}: the order"
        twice += len(came) - len(sent)
    assert twice <= 100, "more came twice than can have been in flight"
    assert httpx.get(f"{gateway.web}/healthz", trust_env=False).status_code == 200


def _missing(listener: Listener, taken: dict[str, list[float]]) -> int:
    came: dict[str, set[float]] = defaultdict(set)
    for one in listener.all(f"{SHOP}/+/telemetry"):
        record = loads(one.payload)
        if record["source"] == "push":
            came[record["device"]].add(float(record["metrics"]["import_energy"]))
    return sum(len(set(sent) - came[device]) for device, sent in taken.items())


def test_state_goes_out_at_most_once_a_second_per_device_and_the_last_one_always(
    gateway: Gateway, listener: Listener
) -> None:
    listener.wait(f"{SHOP}/{D1}/state")
    time.sleep(1.0)
    start = listener.mark()
    last = 0.0
    ends_at = time.monotonic() + 2.3
    while time.monotonic() < ends_at:
        last += 1
        assert push(gateway, report(D1, last)).status_code == 200
        time.sleep(0.02)
    listener.wait(
        f"{SHOP}/{D1}/state", lambda one: one.json["metrics"].get("import_energy") == last, timeout_s=3
    )
    states = [one for one in listener.all(f"{SHOP}/{D1}/state") if one.order >= start]
    assert 2 <= len(states) <= 4
    gaps = [after.at - before.at for before, after in itertools.pairwise(states)]
    assert min(gaps) > 0.9
    time.sleep(1.2)
    assert len([one for one in listener.all(f"{SHOP}/{D1}/state") if one.order >= start]) == len(states)


def test_two_gateways_with_one_address_is_an_error_that_names_it(
    gateway: Gateway, make_gateway: MakeGateway
) -> None:
    second = make_gateway(
        start=False,
        base="second",
        http={"listen": gateway.configuration["http"]["listen"]},
    )
    second.spawn()
    assert second.wait(10) == 1
    assert HOST in second.tail()
    assert "http.listen" in second.tail()
