"""The simulated cloud's callbacks: bodies as the samples of page 4.6, in order, each on record."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.unit.simulators.bench import CELLULAR, WIFI, Bench

HEAD = '{"device_sn":"W7100000001","msg_id":"0",'
ON_OFF = HEAD + '"type":"2","cmd":"notify","app_id":"","cmd_type":"notify","info":'
ONLINE = (
    HEAD + '"type":"0","cmd":"OnLine","app_id":"","cmd_type":"OnLine",'
    '"info":{"ipaddress":"203.0.113.10","time":"1725825684"}}'
)
OFFLINE = HEAD + '"type":"0","cmd":"OffLine","app_id":"","cmd_type":"OffLine","info":{"time":"1725825680"}}'
DEV_REG = (
    HEAD + '"type":"2","cmd":"dev_reg","app_id":"","cmd_type":"dev_reg","info":{"hw_ver":"1.0.0",'
    '"iccid":"EXAMPLE_WIFI/001122334455","imei":"001100000001","model":"W71","project":"W71","rssi":"-45",'
    '"sw_ver":"71.1.47","username":"W7100000001"}}'
)
OFF = ON_OFF + '{"data":"55AA03070005100100010020","notify_type":"on-off","state":"0"}}'
ON = ON_OFF + '{"data":"55AA03070005100100010121","notify_type":"on-off","state":"1"}}'
REPORT = (
    HEAD + '"type":"2","cmd":"power_report","app_id":"","cmd_type":"power_report","info":{'
    '"device_sn":"W7100000001","total_electricity":"12.34","balance":"0","switch_state":"1","heartbeat":"1",'
    '"voltage":"229.8","electric_current":"1.53","power":"340","temperature":"31","prepay":"false",'
    '"retainstate":"1"}}'
)


async def _bodies(bench: Bench) -> list[str]:
    await bench.cloud.deliveries.settled()
    return bench.receiver.bodies


async def test_going_off_line_and_on_line_is_told_as_in_the_samples(bench: Bench) -> None:
    bench.time.advance(80)
    bench.cloud.go_offline(WIFI)
    bench.time.advance(4)
    bench.cloud.go_online(WIFI)
    assert await _bodies(bench) == [OFFLINE, ONLINE, DEV_REG]


async def test_the_slash_may_be_escaped(bench: Bench) -> None:
    bench.cloud.configure(WIFI, escape_slash=True)
    bench.cloud.go_online(WIFI)
    assert (await _bodies(bench))[1] == DEV_REG.replace("/", "\\/")


async def test_a_switch_moved_by_command_is_told_once_as_in_the_samples(bench: Bench) -> None:
    for cmd_type in ("turnon", "turnoff", "turnoff", "turnon"):
        await bench.send(cmd_type)
    assert await _bodies(bench) == [OFF, ON]


async def test_a_timer_tells_when_it_switches(bench: Bench) -> None:
    await bench.send("delayturnon", {"delaytime": 5})
    bench.time.advance(5)
    bench.cloud.tick()
    assert await _bodies(bench) == [OFF, ON]


async def test_the_switch_callback_can_be_withheld_but_not_that_of_a_trip(bench: Bench) -> None:
    bench.cloud.configure(WIFI, on_off_callback=False)
    await bench.send("turnoff")
    await bench.send("turnon")
    assert await _bodies(bench) == []
    bench.cloud.trip(WIFI, "overload")
    assert (await _bodies(bench))[1:] == [OFF]


@pytest.mark.parametrize(
    ("alarm", "number", "bitmap"),
    [
        ("overload", "1", "55"),
        ("overheat", "3", "55"),
        ("overcurrent", "4", "55AA0307"),
        ("undervoltage", "6", "0800"),
        ("overvoltage", "6", "0800"),
    ],
)
async def test_an_alarm_is_told_as_in_the_samples(bench: Bench, alarm: str, number: str, bitmap: str) -> None:
    bench.cloud.trip(WIFI, alarm)
    info = (
        f'{{"alarm_detail":"{alarm}","bitmap":"{bitmap}","code":"{number}","msg":"","notify_type":"alarm"}}}}'
    )
    assert await _bodies(bench) == [ON_OFF + info, OFF]


async def test_a_periodic_report_is_as_in_the_sample(bench: Bench) -> None:
    bench.cloud.configure(WIFI, report_every_s=300)
    bench.cloud.impose(WIFI, watts=340, volts=229.8, celsius=31)
    bench.cloud.fleet[WIFI].energy_kwh = 12.34 - 0.34 / 12
    bench.cloud.tick()
    bench.time.advance(299)
    bench.cloud.tick()
    assert await _bodies(bench) == []
    bench.time.advance(1)
    bench.cloud.tick()
    bench.cloud.tick()
    assert await _bodies(bench) == [REPORT]


async def test_an_unbound_device_is_silent(bench: Bench) -> None:
    await bench.ask("logout")
    bench.cloud.trip(WIFI, "overload")
    assert await _bodies(bench) == []


async def test_an_off_line_device_is_silent_while_its_timer_runs(bench: Bench) -> None:
    await bench.send("delayturnon", {"delaytime": 5})
    bench.cloud.go_offline(WIFI)
    bench.time.advance(5)
    bench.cloud.tick()
    assert [page["cmd"] for page in await bench.told()] == ["notify", "OffLine"]
    assert bench.cloud.fleet[WIFI].on


async def test_without_a_callback_url_nothing_is_sent() -> None:
    bench = Bench(callback_url="")
    bench.cloud.trip(WIFI, "overload")
    assert await _bodies(bench) == []
    assert list(bench.cloud.deliveries.sent) == []


async def test_a_failed_delivery_is_on_record_and_not_repeated(bench: Bench) -> None:
    bench.receiver.status = 503
    bench.cloud.go_offline(WIFI)
    await bench.cloud.deliveries.settled()
    (delivery,) = bench.cloud.deliveries.sent
    assert (delivery.kind, delivery.status, delivery.attempts, delivery.accepted) == (
        "OffLine",
        503,
        1,
        False,
    )
    assert delivery.body == bench.receiver.bodies[0]
    assert delivery.answer == bench.receiver.page


@pytest.mark.parametrize(
    ("page", "accepted"),
    [('{"code":0,"msg":"success"}', True), ('{"code":1}', False), ("ok", False), ("[]", False)],
)
async def test_only_a_success_in_json_counts_as_accepted(bench: Bench, page: str, accepted: bool) -> None:
    bench.receiver.page = page
    bench.cloud.go_offline(WIFI)
    await bench.cloud.deliveries.settled()
    assert [delivery.accepted for delivery in bench.cloud.deliveries.sent] == [accepted]


async def test_with_retry_a_delivery_is_repeated_in_its_place_until_accepted() -> None:
    codes = [503, 503, 200, 200]
    seen: list[str] = []

    def receive(request: httpx.Request) -> httpx.Response:
        seen.append(request.content.decode())
        return httpx.Response(codes.pop(0), text="{}")

    bench = Bench(retry=True, client=httpx.AsyncClient(transport=httpx.MockTransport(receive)))
    await bench.send("turnoff")
    await bench.send("turnon")
    await bench.cloud.deliveries.settled()
    assert seen == [OFF, OFF, OFF, ON]
    assert [(d.attempts, d.accepted) for d in bench.cloud.deliveries.sent] == [(3, True), (1, True)]


async def test_an_unreachable_receiver_is_on_record() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    bench = Bench(client=httpx.AsyncClient(transport=httpx.MockTransport(refuse)))
    bench.cloud.go_offline(WIFI)
    await bench.cloud.deliveries.settled()
    (delivery,) = bench.cloud.deliveries.sent
    assert (delivery.status, delivery.answer) == (0, "ConnectError: refused")


async def test_a_burst_is_unique_rising_and_knows_what_was_accepted(bench: Bench) -> None:
    codes = iter([200] * 30 + [503] * 10)
    bodies: list[str] = []

    def receive(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content.decode())
        return httpx.Response(next(codes), text='{"code":0}')

    bench = Bench(client=httpx.AsyncClient(transport=httpx.MockTransport(receive)))
    started = bench.time.now()
    burst = await bench.cloud.burst(20, 2)
    assert bench.time.now() - started == pytest.approx(39 / 20)
    assert len(bodies) == len(set(bodies)) == 40
    for sn in (WIFI, CELLULAR):
        totals = [float(total) for device, total, _ in burst.deliveries if device == sn]
        assert len(totals) == 20
        assert totals == sorted(set(totals))
    assert len(burst.accepted()) == 30
    assert all(
        f'"total_electricity":"{total}"' in body
        for (_, total), body in zip(burst.accepted(), bodies, strict=False)
    )


async def test_a_burst_without_callback_url_is_refused() -> None:
    with pytest.raises(ValueError, match="callback URL"):
        await Bench(callback_url="").cloud.burst(1, 1)


async def test_closing_ends_a_burst_and_drops_what_waits() -> None:
    answered = asyncio.Event()

    async def hang(_request: httpx.Request) -> httpx.Response:
        await answered.wait()
        raise AssertionError("nobody answers")

    bench = Bench(client=httpx.AsyncClient(transport=httpx.MockTransport(hang)))
    burst, task = bench.cloud.start_burst(10, 1)
    while len(burst.deliveries) < 10:
        await asyncio.sleep(0)
    await bench.cloud.aclose()
    assert task.cancelled()
    assert (burst.done, burst.accepted()) == (False, [])
    assert [delivery.done_at for delivery in bench.cloud.deliveries.sent] == [None] * 10
