"""The floor of free room, `state.min_free`, on a real small disk: the oldest telemetry goes, nothing else, counted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx

from benchmarks.platform import Load, meters, reading
from tests.crash.household import Simulator
from tests.faults.gas import (
    alarm,
    arrived,
    base_url,
    bridge_events,
    configuration,
    copies,
    event,
    metrics,
    out_of_order,
)
from tests.faults.small_disk import either_way, small_disk
from tests.system.fixtures import MakeBroker, MakeListener
from tests.system.polling import until
from tests.system.stage import Gateway, Listener

MIB = 1024**2
DISK, FLOOR = (
    96 * MIB,
    40 * MIB,
)  # far more than a second of pushes writes: the disk is looked at once a second
HELD = 4 * MIB
TELEMETRY = '{class="telemetry"}'
METER = "12345678901234"
SWITCHED = "12345678900000"
ALARMS = 20


def long_reading(meter: str, number: int) -> bytes:
    """A reading that takes much room: what a vendor sends beyond the known is kept as sent."""
    return reading(meter, number).replace(
        b'{"meter_comm_no"', b'{"beyond":"%s","meter_comm_no"' % (b"x" * 4000)
    )


@either_way
async def test_below_the_floor_the_oldest_telemetry_goes_and_every_record_is_accounted_for(
    make_broker: MakeBroker, make_listener: MakeListener, tmp_path: Path, ending: ExitStack
) -> None:
    """Where no small disk can be mounted, a floor above any disk stands for it, which never has room again."""
    broker = make_broker(persistence=True)
    listener = make_listener(broker)
    platform = Simulator(tmp_path, "iotmeter", ["--devices", SWITCHED, "--rtus", "", "--wake", "86400"])
    ending.callback(platform.end)
    disk = small_disk(tmp_path / "disk", DISK, ending)
    floor = str(FLOOR) if disk is not None else "1048576GiB"
    laid = configuration(broker, tmp_path / "disk/state.db", state={"min_free": floor})
    login = {"login_name": "demo_admin", "password": "FAKE0000"}
    laid["accounts"][0]["control"] = {"base_url": platform.start().base_url, **login}
    gateway = Gateway(tmp_path, laid)
    gateway.within = disk.within if disk is not None else ()
    ending.callback(gateway.end)
    gateway.start(60)
    first = await Load(base_url(gateway), meters(10), connections=10, rate=200, seconds=0.5).run()
    until(lambda: _count(arrived(listener)) == first.count, 30, "the first arrive", gateway.tail)
    meter = f"meterbridge/gas/{SWITCHED}"
    httpx.post(f"{base_url(gateway)}/api/Data/DeviceEvent/Add", content=event(SWITCHED, 0), trust_env=False)
    listener.wait(f"{meter}/info", timeout_s=30)
    listener.send(f"{meter}/cmd/valve", {"id": "held", "state": "close"})
    listener.wait(f"{meter}/ack", lambda one: one.json["status"] == "sent", 30)
    broker.stop()
    if disk is not None:
        assert metrics(gateway)["meterbridge_disk_low"] == 0
        disk.fill(leave_bytes=FLOOR - 8 * MIB)
    platform.do("push", url=base_url(gateway))
    platform.do("settle", ctrl_id=1, state=3, report=True)
    acks = 'meterbridge_outbox_messages{class="ack"}'
    until(lambda: metrics(gateway)[acks] == 1, 30, "the end of the command waits", gateway.tail)
    told = _tell_of_alarms_and_events(gateway)
    until(lambda: metrics(gateway)["meterbridge_disk_low"] == 1, 20, "the disk is low", gateway.tail)
    load = Load(base_url(gateway), meters(10), connections=10, first=1000, body=long_reading)
    pushing = asyncio.create_task(load.run(60))
    await asyncio.to_thread(
        until,
        lambda: _dropped(metrics(gateway)) > 300,
        120,
        "telemetry is dropped",
        gateway.tail,
        pause_s=0.3,
    )
    load.stop()
    pushed = await pushing
    assert (first.others, pushed.others) == ({}, {})
    now = metrics(gateway)
    taken = int(now[f"meterbridge_outbox_taken_total{TELEMETRY}"])
    waiting, dropped = int(now[f"meterbridge_outbox_messages{TELEMETRY}"]), _dropped(now)
    published = int(now[f"meterbridge_outbox_published_total{TELEMETRY}"])
    valve = 1  # the record of its new state: the oldest that waited
    assert taken == first.count + pushed.count + valve == published + waiting + dropped
    assert now[acks] == 1
    assert now["meterbridge_outbox_bytes"] <= now["meterbridge_spool_max_bytes"]
    assert now["meterbridge_spool_max_bytes"] < HELD + MIB
    assert [name for name in now if name.startswith("meterbridge_dropped_total") and now[name]] == [
        f"meterbridge_dropped_total{TELEMETRY}"
    ]
    ready = httpx.get(f"{gateway.web}/readyz", timeout=20, trust_env=False)
    assert (ready.status_code, "less than state.min_free" in ready.json()["disk"]) == (503, True)
    gateway.kill9()
    broker.start()
    gateway.start(60)
    waits = f"meterbridge_outbox_messages{TELEMETRY}"
    until(lambda: metrics(gateway)[waits] == 0, 60, "what waits leaves", gateway.tail)
    after = metrics(gateway)
    dropped = _dropped(after)  # what a start adds may have cost some more
    assert after[f"meterbridge_outbox_published_total{TELEMETRY}"] == taken - dropped
    until(lambda: _count(arrived(listener)) >= taken - dropped, 30, "it arrives", gateway.tail)
    came = arrived(listener)
    assert (_count(came), copies(came), out_of_order(came)) == (taken - dropped, 0, [])
    for name, numbers in came.items():
        everything = first.taken[name] + pushed.taken[name]
        alive = len(first.taken[name])
        assert numbers == everything[:alive] + everything[alive - len(numbers) :], (
            f"{name}: the newest are kept"
        )
    for kind, numbers in told.items():
        until(
            lambda kind=kind, numbers=numbers: _numbers(listener, kind) == numbers,
            30,
            f"every {kind}",
            gateway.tail,
        )
    assert listener.final(f"{meter}/ack", "held", 30)["status"] == "succeeded"
    until(lambda: bridge_events(listener, "data_dropped"), 30, "the loss is told", gateway.tail)
    until(lambda: bridge_events(listener, "disk_low"), 30, "the low disk is told", gateway.tail)
    assert (
        sum(one["data"]["dropped"]["telemetry"] for one in bridge_events(listener, "data_dropped")) == dropped
    )
    if disk is not None:
        disk.make_room()
        until(lambda: bridge_events(listener, "disk_recovered"), 30, "the room is told", gateway.tail)
        until(lambda: metrics(gateway)["meterbridge_disk_low"] == 0, 20, "no longer low", gateway.tail)


def _tell_of_alarms_and_events(gateway: Gateway) -> dict[str, list[int]]:
    """Pushed before the telemetry that presses: the oldest of all."""
    told: dict[str, list[int]] = {"alarm": [], "event": []}
    bodies = (("alarm", "DeviceAlarm", alarm), ("event", "DeviceEvent", event))
    with httpx.Client(timeout=20, trust_env=False) as web:
        for number in range(1, ALARMS + 1):
            for kind, word, body in bodies:
                answer = web.post(f"{base_url(gateway)}/api/Data/{word}/Add", content=body(METER, number))
                assert answer.status_code == 200, answer.text
                told[kind].append(number)
    return told


def _numbers(listener: Listener, kind: str) -> list[int]:
    """In the order of their arrival; that an alarm is over is another message."""
    documents = [one.json for one in listener.all(f"meterbridge/gas/{METER}/{kind}")]
    return [one["data"]["number"] for one in documents if one.get("state") != "cleared"]


def _dropped(now: Mapping[str, float]) -> int:
    return int(now.get(f"meterbridge_dropped_total{TELEMETRY}", 0))


def _count(came: Mapping[str, list[int]]) -> int:
    return sum(len(numbers) for numbers in came.values())
