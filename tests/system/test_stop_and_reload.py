"""SIGTERM and SIGHUP: an orderly end within ten seconds whatever hangs, and a configuration that changes alive."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.system.fixtures import DEVICES, MakeBroker, MakeGateway, MakeListener
from tests.system.polling import until
from tests.system.stage import PUSH_SECRET, Broker, Cloud, Gateway, Listener, retained

SHOP = "meterbridge/shop"
STATUS = "meterbridge/bridge/status"
EVENT = "meterbridge/bridge/event"
D1, D2, D3 = DEVICES[:3]
ACK = f"{SHOP}/{D1}/ack"


def ends_well(gateway: Gateway) -> float:
    """SIGTERM ends it with status 0; how many seconds that took."""
    status, seconds = gateway.terminate(15)
    assert status == 0, gateway.tail()
    assert seconds < 10, f"it took {seconds:.1f} s\n{gateway.tail()}"
    assert "STOPPING=1" in gateway.notices.read()
    return seconds


def pushed(gateway: Gateway, energy: float, device: str = D1) -> httpx.Response:
    info = {"total_electricity": str(energy), "switch_state": "1"}
    body = {"device_sn": device, "cmd": "power_report", "info": info}
    return httpx.post(f"{gateway.web}/push/shop/{PUSH_SECRET}", json=body, timeout=10, trust_env=False)


def test_sigterm_says_offline_and_ends_with_status_0(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    listener.wait(f"{SHOP}/{D1}/telemetry")
    assert pushed(gateway, 5.5).status_code == 200
    assert ends_well(gateway) < 3
    assert retained(broker.port)[STATUS] == b"offline"
    assert [one.text for one in listener.all(STATUS)] == ["online", "offline"]
    records = [one.json["metrics"].get("import_energy") for one in listener.all(f"{SHOP}/{D1}/telemetry")]
    assert 5.5 in records
    assert listener.all()[-1].topic == STATUS, "offline is the last word"


def test_command_under_way_comes_to_its_answer_before_the_end(
    gateway: Gateway, listener: Listener, cloud: Cloud
) -> None:
    cloud.do("fault", kind="slow", endpoint="send/delayturnoff", seconds=1.5)
    listener.send(f"{SHOP}/{D1}/cmd/pulse_on", {"delay_s": 700, "id": "slow"})
    until(lambda: cloud.calls("send/delayturnoff"), 5, "the command is at the vendor", gateway.tail)
    ends_well(gateway)
    assert listener.final(ACK, "slow", timeout_s=1)["status"] == "succeeded"


def test_command_that_takes_too_long_is_settled_after_the_next_start(
    gateway: Gateway, listener: Listener, cloud: Cloud
) -> None:
    cloud.do("fault", kind="slow", endpoint="send/turnoff", seconds=15)
    listener.send(f"{SHOP}/{D1}/cmd/breaker", {"state": "off", "id": "endless"})
    until(lambda: cloud.calls("send/turnoff"), 5, "the command is at the vendor", gateway.tail)
    ends_well(gateway)
    assert listener.statuses(ACK, "endless") == ["accepted"]
    gateway.start()
    assert listener.final(ACK, "endless")["status"] == "succeeded"


def test_stop_with_a_stalled_broker_keeps_everything_for_the_next_start(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener
) -> None:
    broker = make_broker()
    listener = make_listener(broker)
    gateway = make_gateway(at=broker)
    listener.wait(f"{SHOP}/{D1}/telemetry")
    broker.pause()
    for energy in (1.5, 2.5, 3.5):
        assert pushed(gateway, energy).status_code == 200
    ends_well(gateway)
    broker.resume()
    listener.wait(STATUS, lambda one: one.text == "offline")
    gateway.start()
    for energy in (1.5, 2.5, 3.5):
        listener.wait(
            f"{SHOP}/{D1}/telemetry", lambda one, e=energy: one.json["metrics"].get("import_energy") == e
        )


def test_stop_without_a_broker_ends_in_time(make_broker: MakeBroker, make_gateway: MakeGateway) -> None:
    absent = make_broker(start=False)
    gateway = make_gateway(at=absent, start=False)
    gateway.spawn()
    gateway.wait_log("mqtt.connect_failed")
    ends_well(gateway)


def test_stop_while_the_broker_does_not_answer_the_connection(
    broker: Broker, make_gateway: MakeGateway
) -> None:
    broker.pause()
    gateway = make_gateway(start=False)
    gateway.spawn()
    gateway.wait_log("http.listening")
    time.sleep(0.5)
    ends_well(gateway)


def test_stop_with_idle_connections_of_senders_ends_in_time(gateway: Gateway, listener: Listener) -> None:
    with httpx.Client(base_url=gateway.web, trust_env=False) as kept:
        assert kept.get("/healthz").status_code == 200
        assert ends_well(gateway) < 5


def test_second_sigterm_does_no_harm(gateway: Gateway, broker: Broker) -> None:
    gateway.signal(15)
    gateway.signal(15)
    ends_well(gateway)
    assert retained(broker.port)[STATUS] == b"offline"


# reload ---------------------------------------------------------------------------------------------------------


def account(gateway: Gateway, **laid: Any) -> dict[str, Any]:
    return {**gateway.configuration["accounts"][0], **laid}


def test_sighup_adds_and_removes_accounts_and_devices(gateway: Gateway, listener: Listener) -> None:
    barn = account(gateway, id="barn", devices=[D3])
    gateway.write({**gateway.configuration, "accounts": [account(gateway, devices=[D2]), barn]})
    gateway.reload()
    done = gateway.wait_log("reload.done")
    assert (done["added"], done["changed"], done["removed"]) == (["barn"], ["shop"], [])
    listener.wait(f"meterbridge/barn/{D3}/telemetry")
    info = listener.wait(
        "meterbridge/bridge/info", lambda one: len(one.json["accounts"]) == 2, timeout_s=5
    ).json
    assert [(one["id"], one["devices"]) for one in info["accounts"]] == [("barn", 1), ("shop", 1)]
    listener.send(f"meterbridge/barn/{D3}/cmd/online", {"id": "b1"})
    assert listener.final(f"meterbridge/barn/{D3}/ack", "b1")["status"] == "succeeded"
    listener.wait(f"{SHOP}/{D1}/state", lambda one: one.payload == b"")
    assert pushed(gateway, 1.0, D2).status_code == 200


@pytest.mark.parametrize("how", ["signal", "command"])
def test_bad_configuration_leaves_the_old_one_running_and_is_told(
    how: str, gateway: Gateway, listener: Listener
) -> None:
    good = dict(gateway.configuration)
    gateway.file.write_text(
        "mqtt: {url: 5, colour: red}\naccounts:\n  - {id: shop, vendor: wmj, app_secret: FAKE-new-secret}\n"
    )
    if how == "signal":
        gateway.reload()
    else:
        listener.send("meterbridge/bridge/cmd/reload", {"id": "bad"})
        done = listener.final("meterbridge/bridge/ack", "bad")
        assert (done["status"], done["code"]) == ("failed", "invalid_params")
        assert "colour" in done["message"]
    told = listener.wait(EVENT, lambda one: one.json["code"] == "reload_refused").json
    assert told["severity"] == "warning"
    problems = "\n".join(told["data"]["problems"])
    assert "mqtt.colour" in problems
    assert "app_id" in problems
    assert "FAKE-new-secret" not in gateway.output.read_text() + problems
    listener.send(f"{SHOP}/{D1}/cmd/online", {"id": "old-one"})
    assert listener.final(ACK, "old-one")["status"] == "succeeded"
    gateway.write(good)
    gateway.reload()
    gateway.wait_log("reload.done")


def test_reload_names_what_needs_a_restart(gateway: Gateway, listener: Listener) -> None:
    gateway.write({**gateway.configuration, "log": {"level": "debug"}, "commands": {"remember": "1d"}})
    listener.send("meterbridge/bridge/cmd/reload", {"id": "r"})
    done = listener.final("meterbridge/bridge/ack", "r")
    assert done["result"]["accounts"] == {"added": [], "changed": [], "removed": []}
    assert set(done["result"]["restart_needed"]) == {"log", "commands"}


def test_stop_right_after_a_reload_ends_in_time(gateway: Gateway, listener: Listener) -> None:
    """Connections of a changed account stay open for its calls; the stop does not wait for that."""
    gateway.write({**gateway.configuration, "accounts": [account(gateway, devices=[D1])]})
    gateway.reload()
    gateway.wait_log("reload.done")
    ends_well(gateway)


def test_reload_while_the_broker_is_away_subscribes_when_it_is_back(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener
) -> None:
    broker = make_broker()
    gateway = make_gateway(at=broker)
    broker.stop()
    gateway.wait_log("mqtt.lost")
    barn = account(gateway, id="barn", devices=[D3])
    gateway.write({**gateway.configuration, "accounts": [account(gateway), barn]})
    gateway.reload()
    gateway.wait_log("reload.done")
    broker.start()
    listener = make_listener(broker)
    until(lambda: len(gateway.events("mqtt.connected")) == 2, 15, "it is connected again", gateway.tail)
    listener.send(f"meterbridge/barn/{D3}/cmd/online", {"id": "b"})
    assert listener.final(f"meterbridge/barn/{D3}/ack", "b")["status"] == "succeeded"


def test_commands_that_wait_are_carried_out_by_the_changed_account(
    gateway: Gateway, listener: Listener, cloud: Cloud
) -> None:
    cloud.do("fault", kind="slow", endpoint="send/turnon", device=D1, seconds=1.5)
    listener.send(f"{SHOP}/{D1}/cmd/breaker", {"state": "on", "id": "under-way"})
    until(lambda: cloud.calls("send/turnon"), 5, "the first is at the vendor", gateway.tail)
    listener.send(f"{SHOP}/{D1}/cmd/pulse_off", {"delay_s": 701, "id": "waits"})
    listener.wait(ACK, lambda one: one.json["id"] == "waits")
    gateway.write({**gateway.configuration, "accounts": [account(gateway, devices=[D1])]})
    gateway.reload()
    gateway.wait_log("reload.done")
    assert listener.final(ACK, "under-way")["status"] == "succeeded"
    assert listener.final(ACK, "waits")["status"] == "succeeded"
    assert cloud.effects(D1) == ["switched_on", "pulse_off"]
