"""What the simulated breaker does: effects, timers, protection, frames."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulators.wmj import ALARMS, WmjCloud, frames
from tests.unit.simulators.bench import CELLULAR, WIFI, Bench

F1_AS_PRINTED = "55AA00060014120000100101003F030100FA040100960800001E32"
F1 = "55AA00060014120000100101003F030100FA040100960800001E3B"
F1_REPORT = "55AA03070014120000100101003F030100FA040100960800001E3F"
F2 = "55AA030700101100000C0300000D0400001E05000050BD"
F3 = "55AA00060014120000100100003F030000FA040000960800001E38"
F4 = "55AA03070014120000100100003F030000FA040000960800001E3C"
F5 = "55AA000600101100000C0301000D0401001E05010050BC"
F6 = "55AA030700101100000C0301000D0401001E05010050C0"
F7 = "55AA000600101100000C0300000D0400001E05000050B9"
F8 = "55AA030700101100000C030000060400001E05000050B6"
F9 = "55AA03070005100100010020"
SWITCH_ON = "55AA0006000510010001011D"
SWITCH_OFF = "55AA0006000510010001001C"
FAULT_BITMAP = "55AA000600080905000400000800" + "27"
SETTING = {"leakage_current": 20, "overcurrent": 32, "overheat": 70, "overvoltage": 260, "undervoltage": 170}


async def _ack(bench: Bench, hex_cmd: str) -> str:
    info = (await bench.send("uart_cmd", {"hex_cmd": hex_cmd}))["data"]["info"]
    assert (info["code"], info["msg"]) == (0, "")
    return info["hex_ack"]


async def test_every_executed_command_is_one_effect_even_without_a_change(bench: Bench) -> None:
    for cmd_type in ("turnon", "turnoff", "turnoff", "turnon"):
        await bench.send(cmd_type)
    assert bench.effects() == [
        (WIFI, "switched_on", "no_change"),
        (WIFI, "switched_off", ""),
        (WIFI, "switched_off", "no_change"),
        (WIFI, "switched_on", ""),
    ]
    assert [entry.request for entry in bench.cloud.ledger.entries()] == [1, 2, 3, 4]


async def test_reading_has_no_effect(bench: Bench) -> None:
    await bench.info()
    await bench.ask("getOnLine")
    assert bench.effects() == []


async def test_pulse_on_switches_on_at_once_and_off_after_the_delay(bench: Bench) -> None:
    await bench.send("turnoff")
    await bench.send("delayturnoff", {"delaytime": 15})
    states = [(await bench.info())["switch_state"]]
    for seconds in (14.9, 0.2):
        bench.time.advance(seconds)
        states.append((await bench.info())["switch_state"])
    assert states == [1, 1, 0]
    assert bench.effects()[1:] == [(WIFI, "pulse_on", "15 s")]


async def test_pulse_off_switches_off_at_once_and_on_after_the_delay(bench: Bench) -> None:
    await bench.send("delayturnon", {"delaytime": 900})
    states = [(await bench.info())["switch_state"]]
    bench.time.advance(900)
    states.append((await bench.info())["switch_state"])
    assert states == [0, 1]
    assert bench.effects() == [(WIFI, "pulse_off", "900 s")]


async def test_a_second_pulse_starts_the_timer_anew_and_a_switch_command_ends_it(bench: Bench) -> None:
    await bench.send("delayturnoff", {"delaytime": 10})
    bench.time.advance(8)
    await bench.send("delayturnoff", {"delaytime": 10})
    bench.time.advance(8)
    assert (await bench.info())["switch_state"] == 1
    await bench.send("turnon")
    bench.time.advance(60)
    assert (await bench.info())["switch_state"] == 1
    assert bench.effects()[1] == (WIFI, "pulse_on", "10 s, no_change")


@pytest.mark.parametrize("delay_s", [0, 901])
async def test_a_delay_out_of_range_is_refused_by_the_device(bench: Bench, delay_s: int) -> None:
    answer = await bench.send("delayturnon", {"delaytime": delay_s})
    assert answer["info"] == {"code": 1, "msg": "delaytime out of range"}
    assert bench.effects() == []


async def test_old_firmware_knows_no_delayed_switching(bench: Bench) -> None:
    bench.cloud.configure(WIFI, sw_ver="71.0.32")
    assert (await bench.send("delayturnoff", {"delaytime": 5}))["info"]["code"] == 1
    bench.cloud.configure(WIFI, sw_ver="71.0.33")
    assert (await bench.send("delayturnoff", {"delaytime": 5}))["info"]["code"] == 0


async def test_a_schedule_refuses_switching_with_code_2(bench: Bench) -> None:
    bench.cloud.hold_by_schedule(WIFI, on=False, index=3)
    answer = await bench.send("turnon")
    info = await bench.info()
    assert answer["data"]["info"] == {"code": 2, "msg": "controlled by schedule"}
    assert (await bench.send("delayturnoff", {"delaytime": 5}))["info"]["code"] == 2
    assert (info["switch_state"], info["controlled_by_schedule"], info["scheduled_state"]) == (0, 3, 0)
    assert bench.effects() == []
    bench.cloud.release(WIFI)
    assert (await bench.send("turnon"))["data"]["info"]["code"] == 0


async def test_a_restart_takes_the_device_off_line_for_a_while(bench: Bench) -> None:
    await bench.send("restart")
    assert (await bench.send("turnoff"))["code"] == 1002
    bench.time.advance(5)
    assert (await bench.ask("getOnLine"))["data"]["on_line"] == 1
    assert (await bench.info())["switch_state"] == 1
    assert [page["cmd"] for page in await bench.told()] == ["OffLine", "OnLine", "dev_reg"]
    assert bench.effects() == [(WIFI, "restart", "")]


async def test_provisioning_mode_leaves_the_network_and_needs_wifi(bench: Bench) -> None:
    await bench.send("wifi_config")
    assert (await bench.send("wifi_config"))["code"] == 1002
    assert (await bench.send("wifi_config", sn=CELLULAR))["data"]["info"]["code"] == 1
    assert bench.effects() == [(WIFI, "wifi_config", "")]


async def test_settings_are_read_back(bench: Bench) -> None:
    await bench.send("setting", SETTING)
    info = await bench.info()
    assert {name: info[name] for name in SETTING} == SETTING
    await bench.send("setting", SETTING)
    assert [detail == "no_change" for _, _, detail in bench.effects()] == [False, True]


@pytest.mark.parametrize(("name", "value"), [("overcurrent", 0), ("overvoltage", 500), ("undervoltage", 99)])
async def test_a_setting_out_of_range_changes_nothing(bench: Bench, name: str, value: int) -> None:
    answer = await bench.send("setting", {**SETTING, name: value})
    assert answer["data"]["info"] == {"code": 1, "msg": f"{name} out of range"}
    assert (await bench.info())["overcurrent"] == 40
    assert bench.effects() == []


async def test_retain_state_decides_what_a_power_cut_leaves(bench: Bench) -> None:
    bench.cloud.go_offline(WIFI, power_cut=True)
    bench.cloud.go_online(WIFI)
    kept = (await bench.info())["switch_state"]
    await bench.send("set_retainstate", {"retainstate": 0})
    bench.cloud.go_offline(WIFI, power_cut=True)
    bench.cloud.go_online(WIFI)
    assert (kept, (await bench.info())["switch_state"]) == (1, 0)
    assert bench.effects() == [(WIFI, "retain_set", "0")]
    assert (await bench.send("set_retainstate", {"retainstate": 2}))["data"]["info"]["code"] == 1


@pytest.mark.parametrize(("hex_cmd", "ack"), [(F1, F1_REPORT), (F3, F4), (F5, F6), (F5.lower(), F6)])
async def test_alarm_frames_are_answered_with_the_report_of_the_page(
    bench: Bench, hex_cmd: str, ack: str
) -> None:
    assert await _ack(bench, hex_cmd) == ack
    assert bench.effects() == [(WIFI, "alarms_set", hex_cmd)]


async def test_too_high_an_overload_threshold_is_limited_silently(bench: Bench) -> None:
    bench.cloud.configure(WIFI, overload_max_kw=6)
    assert await _ack(bench, F7) == F8
    assert bench.effects() == [(WIFI, "alarms_set", F7)]


async def test_a_wrong_checksum_is_ignored_and_the_next_unrelated_report_comes_back(bench: Bench) -> None:
    await _ack(bench, F7)
    assert await _ack(bench, F1_AS_PRINTED) == F2
    assert (await bench.info())["overcurrent"] == 40
    assert bench.effects() == [(WIFI, "alarms_set", F7)]


@pytest.mark.parametrize("hex_cmd", [F6, F5[:-2], F5 + "00", "55AB" + F5[4:], "", "55AA000600000" + "5"])
async def test_other_than_sound_set_frames_are_ignored(bench: Bench, hex_cmd: str) -> None:
    assert (await _ack(bench, hex_cmd)).startswith("55AA0307")
    assert bench.effects() == []


async def test_text_that_is_no_hex_is_refused(bench: Bench) -> None:
    answer = await bench.send("uart_cmd", {"hex_cmd": "55AAxx"})
    assert answer["data"]["info"] == {"code": 1, "msg": "bad hex"}


async def test_data_point_0x10_switches(bench: Bench) -> None:
    assert await _ack(bench, SWITCH_OFF) == F9
    await _ack(bench, SWITCH_ON)
    await _ack(bench, SWITCH_ON)
    assert bench.effects() == [
        (WIFI, "switched_off", "by frame"),
        (WIFI, "switched_on", "by frame"),
        (WIFI, "switched_on", "by frame, no_change"),
    ]


async def test_another_data_point_is_an_effect_of_its_own(bench: Bench) -> None:
    assert await _ack(bench, FAULT_BITMAP) == "55AA0307000809050004000008002B"
    assert bench.effects() == [(WIFI, "frame", FAULT_BITMAP)]


@pytest.mark.parametrize(
    ("alarm", "conditions"),
    [
        ("overload", {"watts": 13_001}),
        ("overheat", {"celsius": 80.5}),
        ("overcurrent", {"watts": 9_000}),
        ("overvoltage", {"volts": 276}),
        ("undervoltage", {"volts": 159}),
        ("leakage", {"leakage_ma": 31}),
    ],
)
async def test_an_exceeded_threshold_trips_once(
    bench: Bench, alarm: str, conditions: dict[str, float]
) -> None:
    bench.cloud.impose(WIFI, **conditions)
    bench.time.advance(60)
    bench.cloud.tick()
    told = [page["info"].get("alarm_detail", page["info"].get("state")) for page in await bench.told()]
    assert told == [alarm, "0"]
    assert (await bench.info())["switch_state"] == 0
    assert bench.effects() == []


async def test_a_limit_without_trip_only_tells(bench: Bench) -> None:
    await _ack(bench, F3)
    bench.cloud.impose(WIFI, volts=260)
    bench.time.advance(60)
    assert (await bench.info())["switch_state"] == 1
    assert [page["info"]["alarm_detail"] for page in await bench.told()] == ["overvoltage"]


async def test_switching_on_into_an_overload_trips_again(bench: Bench) -> None:
    bench.cloud.set_load(WIFI, 9_000)
    await bench.send("turnon")
    bench.time.advance(1)
    bench.cloud.tick()
    told = [page["info"].get("alarm_detail", page["info"].get("state")) for page in await bench.told()]
    assert told == ["overcurrent", "0", "1", "overcurrent", "0"]


async def test_low_balance_tells_without_tripping(bench: Bench) -> None:
    device = bench.cloud.fleet[WIFI]
    device.prepay, device.balance_kwh = True, 10.5
    bench.cloud.set_load(WIFI, 1_000)
    bench.time.advance(3_600)
    info = await bench.info()
    assert (info["prepay"], info["balance"], info["switch_state"]) == (True, 9.5, 1)
    assert [page["info"]["alarm_detail"] for page in await bench.told()] == ["low_balance"]


async def test_energy_is_power_over_time(bench: Bench) -> None:
    bench.cloud.set_load(WIFI, 2_000)
    before = (await bench.info())["total_electricity"]
    bench.time.advance(1_800)
    running = (await bench.info())["total_electricity"]
    await bench.send("turnoff")
    bench.time.advance(1_800)
    stopped = await bench.info()
    assert (running - before, stopped["total_electricity"]) == (pytest.approx(1.0), running)
    assert (stopped["power"], stopped["electric_current"]) == (0, 0)


async def test_a_pulse_is_charged_only_for_its_time(bench: Bench) -> None:
    bench.cloud.set_load(WIFI, 3_600)
    await bench.send("turnoff")
    before = bench.cloud.fleet[WIFI].energy_kwh
    await bench.send("delayturnoff", {"delaytime": 100})
    bench.time.advance(10_000)
    await bench.info()
    assert bench.cloud.fleet[WIFI].energy_kwh - before == pytest.approx(0.1)


async def test_consumption_follows_the_day_and_never_trips_by_itself(bench: Bench) -> None:
    powers = []
    for _ in range(96):
        bench.time.advance(900)
        info = await bench.info()
        powers.append(info["power"])
        assert 220 < info["voltage"] < 240
        assert info["electric_current"] == pytest.approx(info["power"] / info["voltage"] / 0.97, abs=0.02)
        assert round(info["power"], 2) == info["power"]
    assert max(powers) > 3 * min(powers) > 0
    assert await bench.told() == []


@pytest.mark.parametrize("alarm", ALARMS)
async def test_trip_works_for_every_alarm(bench: Bench, alarm: str) -> None:
    bench.cloud.trip(WIFI, alarm)
    told = await bench.told()
    assert told[0]["info"]["alarm_detail"] == alarm
    assert (await bench.info())["switch_state"] == int(alarm == "low_balance")


@pytest.mark.parametrize(
    "mistake",
    [
        lambda cloud: cloud.trip(WIFI, "flood"),
        lambda cloud: cloud.impose(WIFI, hertz=50),
        lambda cloud: cloud.configure(WIFI, shape="round"),
        lambda cloud: cloud.configure(WIFI, sw_ver="new"),
        lambda cloud: cloud.configure(WIFI, set=1),
        lambda cloud: cloud.configure(WIFI, overload_max_kw="6"),
        lambda cloud: cloud.start_burst(0, 1),
    ],
)
async def test_mistakes_of_a_test_are_named(bench: Bench, mistake: Callable[[WmjCloud], object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        mistake(bench.cloud)


def test_other_serial_numbers_are_refused() -> None:
    bench = Bench()
    with pytest.raises(ValueError, match="W76"):
        WmjCloud(bench.cloud.account, ["W7600000001"], time=bench.time, rng=bench.cloud.faults._rng)


@given(st.binary(max_size=40))
def test_only_a_frame_with_its_own_checksum_is_heard(noise: bytes) -> None:
    frame = b"\x55\xaa\x00\x06" + len(noise).to_bytes(2, "big") + noise
    assert frames.parse_set(noise) is None
    assert frames.parse_set(frame + bytes(((frames.checksum(frame) + 1) % 256,))) is None
    points = frames.parse_set(frame + bytes((frames.checksum(frame),)))
    if points is not None:
        heard = frames.report(*points)
        assert bytes.fromhex(heard)[6:-1] == noise
