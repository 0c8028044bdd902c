"""A spool that fills while the broker is away: what is dropped is counted to the record, the rest arrives."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx

from benchmarks.platform import Load, meters, reading
from tests.faults.gas import alarm, arrived, base_url, bridge_events, configuration, copies, metrics
from tests.system.fixtures import MakeBroker, MakeListener
from tests.system.polling import until
from tests.system.stage import Gateway

TELEMETRY = '{class="telemetry"}'


def started(make_broker: MakeBroker, folder: Path, ending: ExitStack, spool_max: str):
    """A gateway whose broker is not there yet."""
    broker = make_broker(start=False)
    gateway = Gateway(folder, configuration(broker, folder / "state.db", state={"spool_max": spool_max}))
    ending.callback(gateway.end)
    gateway.spawn()
    gateway.wait_log("http.listening")
    return broker, gateway


async def test_taken_is_published_waiting_and_dropped_to_the_record(
    make_broker: MakeBroker, make_listener: MakeListener, tmp_path: Path, ending: ExitStack
) -> None:
    broker, gateway = started(make_broker, tmp_path, ending, "400KiB")
    pushed = await Load(base_url(gateway), meters(10), connections=10, rate=400, seconds=3).run()
    assert pushed.others == {}
    before = metrics(gateway)
    taken, waiting, dropped = (
        int(before[f"meterbridge_{name}{TELEMETRY}"])
        for name in ("outbox_taken_total", "outbox_messages", "dropped_total")
    )
    assert taken == pushed.count
    assert dropped > 0
    assert waiting + dropped == taken
    assert before["meterbridge_outbox_bytes"] <= before["meterbridge_spool_max_bytes"] == 400 * 1024
    first, last = (
        before[f"meterbridge_dropped_{word}_timestamp_seconds{TELEMETRY}"] for word in ("first", "last")
    )
    assert first <= last
    gateway.kill9()
    broker.start()
    listener = make_listener(broker)
    gateway.start()
    until(lambda: _count(arrived(listener)) >= waiting, 30, "what waits arrives", gateway.tail)
    came = arrived(listener)
    assert copies(came) == 0
    assert _count(came) == taken - dropped
    for meter, numbers in pushed.taken.items():
        assert came[meter] == numbers[-len(came[meter]) :], f"{meter}: the newest are kept, in order"
    until(lambda: bridge_events(listener, "data_dropped"), 20, "the loss is told", gateway.tail)
    (told,) = bridge_events(listener, "data_dropped")
    assert told["data"]["dropped"] == told["data"]["total"] == {"telemetry": dropped}
    assert told["data"]["first_ts"]["telemetry"] <= told["data"]["last_ts"]["telemetry"]
    until(lambda: metrics(gateway)[f"meterbridge_outbox_messages{TELEMETRY}"] == 0, 10, "nothing waits")
    after = metrics(gateway)
    assert after[f"meterbridge_outbox_published_total{TELEMETRY}"] == waiting
    assert after[f"meterbridge_outbox_lost_total{TELEMETRY}"] == 0


async def test_gateway_is_not_ready_as_soon_as_the_spool_dropped_something(
    make_broker: MakeBroker, tmp_path: Path, ending: ExitStack
) -> None:
    _, gateway = started(make_broker, tmp_path, ending, "64KiB")
    address = f"{base_url(gateway)}/api/Data/MeterData/Add"
    with httpx.Client(timeout=15, trust_env=False) as web:
        for number in range(1, 400):
            assert web.post(address, content=reading("12345678901234", number)).status_code == 200
            if metrics(gateway).get(f"meterbridge_dropped_total{TELEMETRY}", 0):
                break
        assert number > 10
        assert web.get(f"{gateway.web}/readyz").status_code == 503


async def test_broker_that_stalls_gets_all_that_was_not_counted_as_dropped(
    make_broker: MakeBroker, make_listener: MakeListener, tmp_path: Path, ending: ExitStack
) -> None:
    broker = make_broker()
    gateway = Gateway(tmp_path, configuration(broker, tmp_path / "state.db", state={"spool_max": "64KiB"}))
    ending.callback(gateway.end)
    gateway.start()
    listener = make_listener(broker)
    broker.pause()
    ending.callback(broker.resume)
    with httpx.Client(timeout=15, trust_env=False) as web:
        for number in range(1, 300):
            answer = web.post(
                f"{base_url(gateway)}/api/Data/MeterData/Add", content=reading("12345678901234", number)
            )
            assert answer.status_code == 200
    broker.resume()
    until(lambda: 299 in arrived(listener).get("12345678901234", []), 30, "the newest arrives", gateway.tail)
    numbers = metrics(gateway)
    assert numbers[f"meterbridge_dropped_total{TELEMETRY}"] > 0
    assert _count(arrived(listener)) == 299 - numbers[f"meterbridge_dropped_total{TELEMETRY}"]


async def test_alarms_that_fill_the_spool_make_the_platform_keep_the_rest_and_none_is_lost(
    make_broker: MakeBroker, make_listener: MakeListener, tmp_path: Path, ending: ExitStack
) -> None:
    broker, gateway = started(make_broker, tmp_path, ending, "64KiB")
    address = f"{base_url(gateway)}/api/Data/DeviceAlarm/Add"
    told: list[int] = []
    with httpx.Client(timeout=15, trust_env=False) as web:
        for number in range(1, 400):
            answer = web.post(address, content=alarm("12345678901234", number))
            if answer.status_code != 200:
                break
            told.append(number)
        assert (answer.status_code, answer.json()["State"]) == (503, "failed")
        assert int(answer.headers["Retry-After"]) > 0
        assert web.get(f"{gateway.web}/readyz").status_code == 503
        assert "intake" in web.get(f"{gateway.web}/readyz").json()
        assert web.get(f"{gateway.web}/healthz").status_code == 200
        assert metrics(gateway)["meterbridge_intake_refusing"] == 1
        broker.start()
        listener = make_listener(broker)
        gateway.wait_ready(40)
        until(
            lambda: web.post(address, content=alarm("12345678901234", 999)).status_code == 200,
            20,
            "alarms are taken again",
            gateway.tail,
        )
    topic = "meterbridge/gas/12345678901234/alarm"
    until(
        lambda: [one.json["data"]["number"] for one in listener.all(topic)] == [*told, 999],
        20,
        "all alarms arrive, in order",
        gateway.tail,
    )
    for code in ("spool_full", "spool_recovered"):
        until(lambda code=code: bridge_events(listener, code), 10, code, gateway.tail)


def _count(came: Mapping[str, list[int]]) -> int:
    return sum(len(numbers) for numbers in came.values())
