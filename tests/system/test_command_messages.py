"""Command messages as the broker hands them over: redelivered, retained, expired, with MQTT 5 properties."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest

from tests.broker.scripted import ScriptedBroker
from tests.system.fixtures import DEVICES, MakeGateway, MakeListener
from tests.system.polling import until
from tests.system.stage import Broker, Cloud, Gateway, Listener, configuration

SHOP = "meterbridge/shop"
D1, D2 = DEVICES[0], DEVICES[1]
ACK = f"{SHOP}/{D1}/ack"


def cmd(command: str, device: str = D1) -> str:
    return f"{SHOP}/{device}/cmd/{command}"


def finals(scripted: ScriptedBroker) -> set[str]:
    """The ids of the commands that have ended."""
    acks = [json.loads(body) for body in scripted.bodies(ACK)]
    return {ack["id"] for ack in acks if ack["final"]}


def pulses(cloud: Cloud) -> list[str]:
    entries = cloud.look("ledger")["entries"]
    return [entry["detail"].split(",")[0] for entry in entries if entry["effect"] == "pulse_on"]


def test_command_that_the_gateway_never_read_comes_again_after_a_kill_and_runs_once(
    gateway: Gateway, listener: Listener, cloud: Cloud
) -> None:
    gateway.signal(signal.SIGSTOP)
    listener.send(cmd("pulse_on"), {"delay_s": 811, "id": "kill-1"})
    gateway.kill9()
    gateway.start()
    assert listener.final(ACK, "kill-1")["status"] == "succeeded"
    assert cloud.effects(D1).count("pulse_on") == 1
    assert listener.statuses(ACK, "kill-1") == ["accepted", "succeeded"]


def test_command_sent_while_the_gateway_is_away_is_carried_out_when_it_is_back(
    gateway: Gateway, listener: Listener, cloud: Cloud
) -> None:
    gateway.kill9()
    listener.wait(
        "meterbridge/bridge/status", lambda one: one.text == "offline"
    )  # the broker knows that it is away
    listener.send(cmd("pulse_on"), {"delay_s": 812})
    gateway.start()
    done = listener.wait(ACK, lambda one: one.json["final"]).json
    assert done["status"] == "succeeded"
    assert done["id"].startswith("auto-")
    assert cloud.effects(D1).count("pulse_on") == 1


def test_more_commands_than_the_broker_may_send_at_once_all_run(
    gateway: Gateway, listener: Listener, cloud: Cloud
) -> None:
    gateway.kill9()
    sent = [f"many-{number}" for number in range(260)]
    for name in sent:
        listener.send(cmd("online", D1 if name[-1] in "02468" else D2), {"id": name})
    gateway.start()

    def ended() -> set[str]:
        return {one.json["id"] for one in listener.all(f"{SHOP}/+/ack") if one.json["status"] == "succeeded"}

    until(lambda: ended() == set(sent), 20, "all have run", lambda: f"{len(ended())} ended", gateway.tail)
    for ack in (ACK, f"{SHOP}/{D2}/ack"):
        order = [one.json["id"] for one in listener.all(ack) if one.json["final"]]
        assert order == [name for name in sent if name in order]


async def test_redelivery_of_a_command_without_an_id_is_the_same_command(
    tmp_path: Path, cloud: Cloud
) -> None:
    """On disk, but the PUBACK was lost with the process: DUP, the same packet identifier, the same bytes."""
    async with ScriptedBroker().serving() as scripted:
        broker = Broker(tmp_path)
        broker.port = scripted.port
        gateway = Gateway(tmp_path, configuration(broker, cloud, tmp_path))
        try:
            await asyncio.to_thread(gateway.start)
            pulse = b'{"delay_s": 813}'
            # a broker that confirms what was sent after the PUBACK has the PUBACK: this one has got nothing
            scripted.script.reason_for = lambda _taken: None
            scripted.publish(cmd("pulse_on"), pulse, 7)
            await scripted.until(lambda: len(finals(scripted)) == 1, "the command runs")
            gateway.kill9()
            scripted.script.reason_for = lambda _taken: 0
            scripted.script.session_present = True
            await asyncio.to_thread(gateway.start)
            scripted.publish(cmd("pulse_on"), pulse, 7, dup=True)
            await scripted.until(lambda: scripted.pubacks.count(7) == 2, "the repetition gets its PUBACK")
            scripted.publish(cmd("pulse_on"), b'{"delay_s": 814}', 8, dup=True)
            await scripted.until(lambda: len(finals(scripted)) == 2, "a new command runs, DUP or not")
            assert pulses(cloud) == ["813 s", "814 s"]
            scripted.publish(cmd("pulse_on"), pulse, 7)
            await scripted.until(lambda: len(finals(scripted)) == 3, "the same bytes without DUP are new")
            assert pulses(cloud)[2:] == ["813 s"]
        finally:
            gateway.end()


@pytest.mark.parametrize("protocol", [5, 4])
def test_retained_command_in_the_broker_is_refused_and_the_vendor_sees_nothing(
    protocol: int, make_gateway: MakeGateway, listener: Listener, cloud: Cloud
) -> None:
    listener.send(cmd("pulse_on"), {"delay_s": 815, "id": "kept"}, retain=True)
    make_gateway(mqtt={"protocol": protocol})
    refused = listener.final(ACK, "kept")
    assert (refused["status"], refused["code"]) == ("rejected", "retained")
    listener.send(cmd("pulse_on"), {"delay_s": 816, "id": "plain"})
    assert listener.final(ACK, "plain")["status"] == "succeeded"
    assert cloud.effects(D1).count("pulse_on") == 1


def test_retained_command_is_refused_live_too_on_mqtt_5(
    gateway: Gateway, listener: Listener, cloud: Cloud
) -> None:
    listener.send(cmd("pulse_on"), {"delay_s": 817, "id": "live"}, retain=True)
    refused = listener.final(ACK, "live")
    assert (refused["status"], refused["code"]) == ("rejected", "retained")
    assert cloud.effects(D1) == []
    # a rejected command does not use up its id
    listener.send(cmd("pulse_on"), {"delay_s": 817, "id": "live"})
    assert (
        listener.wait(ACK, lambda one: one.json["id"] == "live" and one.json["status"] == "succeeded").json[
            "duplicate"
        ]
        is False
    )


def test_retained_commands_do_not_come_again_at_a_reconnect_with_the_session(
    gateway: Gateway, listener: Listener
) -> None:
    listener.send(cmd("breaker"), {"state": "on", "id": "kept"}, retain=True)
    listener.final(ACK, "kept")
    # what the broker just took may be sent once more after a kill (QoS 1): only what is settled is counted
    time.sleep(1)
    gateway.kill9()
    gateway.start()
    time.sleep(1)
    assert listener.statuses(ACK, "kept") == ["rejected"]


def test_mqtt_3_1_1_carries_commands_and_says_so(
    make_gateway: MakeGateway, listener: Listener, cloud: Cloud
) -> None:
    gateway = make_gateway(mqtt={"protocol": 4})
    listener.send(cmd("breaker"), "off")
    assert listener.wait(ACK, lambda one: one.json["final"]).json["status"] == "succeeded"
    assert listener.wait("meterbridge/bridge/info").json["mqtt_protocol"] == "3.1.1"
    assert gateway.events("mqtt.connected")[0]["protocol"] == "3.1.1"


def test_mqtt_3_1_1_session_is_clean_so_that_nothing_runs_late(
    make_gateway: MakeGateway, listener: Listener, cloud: Cloud
) -> None:
    gateway = make_gateway(mqtt={"protocol": 4})
    gateway.terminate()
    listener.send(cmd("breaker"), {"state": "on", "id": "while-away"})
    gateway.start()
    listener.send(cmd("online"), {"id": "after"})
    assert listener.final(ACK, "after")["status"] == "succeeded"
    assert listener.statuses(ACK, "while-away") == []
    assert cloud.effects(D1) == []


def test_expired_message_is_not_carried_out(gateway: Gateway, listener: Listener, cloud: Cloud) -> None:
    """The Message Expiry Interval runs on while the command waits for the one before it."""
    cloud.do("fault", kind="slow", endpoint="send/turnon", device=D1, seconds=2.5)
    listener.send(cmd("breaker"), {"state": "on", "id": "slow"})
    until(lambda: cloud.calls("send/turnon"), 5, "the first command is at the vendor", gateway.tail)
    listener.send(cmd("pulse_on"), {"delay_s": 818, "id": "short"}, MessageExpiryInterval=1)
    listener.send(cmd("pulse_off"), {"delay_s": 818, "id": "long"}, MessageExpiryInterval=60)
    ended = listener.final(ACK, "short")
    assert (ended["status"], ended["code"]) == ("expired", "expired")
    assert listener.final(ACK, "long")["status"] == "succeeded"
    assert cloud.effects(D1) == ["switched_on", "pulse_off"]


def test_message_that_expired_in_the_broker_is_never_seen(
    gateway: Gateway, listener: Listener, cloud: Cloud
) -> None:
    gateway.kill9()
    listener.send(cmd("breaker"), {"state": "on", "id": "old"}, MessageExpiryInterval=1)
    time.sleep(2.1)
    gateway.start()
    listener.send(cmd("online"), {"id": "new"})
    listener.final(ACK, "new")
    assert listener.statuses(ACK, "old") == []
    assert cloud.effects(D1) == []


def test_response_topic_gets_a_copy_of_every_acknowledgement_with_the_correlation_data(
    gateway: Gateway, listener: Listener
) -> None:
    listener.send(cmd("breaker"), "on", ResponseTopic="flows/node-7", CorrelationData=b"corr-7")
    done = listener.wait("flows/node-7", lambda one: one.json["final"])
    assert done.json["id"] == "corr-7"
    listener.final(ACK, "corr-7")
    copies, originals = listener.all("flows/node-7"), listener.all(ACK)
    assert [one.payload for one in copies] == [one.payload for one in originals]
    assert [one.json["status"] for one in copies] == ["accepted", "succeeded"]
    assert [one.properties.CorrelationData for one in copies] == [b"corr-7"] * 2
    assert not any(one.retain for one in copies)


def test_response_topic_hears_rejections_and_duplicates_too(gateway: Gateway, listener: Listener) -> None:
    answer = {"ResponseTopic": "flows/x", "CorrelationData": b"\xff\xfe\x00"}
    listener.send(cmd("breaker"), '{"state": "sideways"}', **answer)
    rejected = listener.wait("flows/x").json
    assert (rejected["status"], rejected["code"]) == ("rejected", "invalid_params")
    assert rejected["id"].startswith("cd-")
    assert len(rejected["id"]) == 35
    listener.send(cmd("breaker"), "on", **answer)
    listener.wait("flows/x", lambda one: one.json["status"] == "succeeded")
    listener.send(cmd("breaker"), "on", **answer)
    again = listener.wait("flows/x", lambda one: one.json["duplicate"]).json
    assert (again["status"], again["id"]) == ("succeeded", rejected["id"])


@pytest.mark.parametrize(
    "topic",
    [
        "$SYS/answers",
        "$share/group/x",
        "$CONTROL/dynamic-security/v1",
        f"{SHOP}/{D2}/cmd/breaker",
        "a/" * 300,
    ],
)
def test_unusable_response_topic_harms_nobody(
    topic: str, gateway: Gateway, listener: Listener, cloud: Cloud
) -> None:
    listener.send(cmd("breaker"), {"state": "on", "id": "odd"}, ResponseTopic=topic)
    assert listener.final(ACK, "odd")["status"] == "succeeded"
    listener.send(cmd("breaker"), {"state": "off", "id": "next"})
    assert listener.final(ACK, "next")["status"] == "succeeded"
    assert gateway.events("mqtt.lost") == []
    assert cloud.effects(D2) == []


def test_commands_of_other_accounts_and_bases_are_nobodys_business(
    make_listener: MakeListener, gateway: Gateway, listener: Listener, cloud: Cloud
) -> None:
    listener.send(f"meterbridge/other/{D1}/cmd/breaker", "on")
    listener.send(f"elsewhere/shop/{D1}/cmd/breaker", "on")
    listener.send(cmd("online"), {"id": "last"})
    listener.final(ACK, "last")
    assert listener.all("meterbridge/other/#")[1:] == []
    assert listener.all("elsewhere/#")[1:] == []
    assert cloud.effects() == []
