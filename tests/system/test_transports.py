"""How the broker may be reached, and what it may forbid: TLS, WebSockets, access lists, limits, other MQTT versions."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from tests.system.fixtures import DEVICES, MakeBroker, MakeGateway, MakeListener
from tests.system.polling import until
from tests.system.stage import HOST, Broker, Cloud, Gateway, Process, _listens, free_port, retained

SHOP = "meterbridge/shop"
D1 = DEVICES[0]
ACK = f"{SHOP}/{D1}/ack"
STATUS = "meterbridge/bridge/status"


AMQTT = """
import asyncio
from amqtt.broker import Broker
async def main():
    config = {
        "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:PORT"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    await Broker(config).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away authority with a server's and a client's certificate, and a stranger's authority."""
    folder = tmp_path_factory.mktemp("papers")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "stranger"):
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN=FAKE {name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )
    (folder / "san.cnf").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", "san.cnf", "-out", f"{name}.pem"),
        )
    return folder


def tls_lines(papers: Path, port: int, *, client_certificates: bool = False) -> str:
    return "\n".join(
        [
            f"listener {port} {HOST}",
            f"cafile {papers}/ca.pem",
            f"certfile {papers}/server.pem",
            f"keyfile {papers}/server.key",
            f"require_certificate {str(client_certificates).lower()}",
        ]
    )


def works(gateway: Gateway, broker: Broker, make_listener: MakeListener, qos: int = 1) -> None:
    """A command goes through."""
    listener = make_listener(broker)
    listener.tails.append(gateway.tail)
    listener.send(f"{SHOP}/{D1}/cmd/breaker", {"state": "on", "id": "works"}, qos=qos)
    assert listener.final(ACK, "works")["status"] == "succeeded"


def test_tls_with_an_authority_of_ones_own(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener, papers: Path
) -> None:
    port = free_port()
    broker = make_broker(listener=tls_lines(papers, port))
    mqtt = {"url": f"mqtts://{HOST}:{port}", "tls": {"ca": f"{papers}/ca.pem"}}
    works(make_gateway(at=broker, mqtt=mqtt), broker, make_listener)


def test_tls_with_a_client_certificate(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener, papers: Path
) -> None:
    port = free_port()
    broker = make_broker(listener=tls_lines(papers, port, client_certificates=True))
    tls = {"ca": f"{papers}/ca.pem", "cert": f"{papers}/client.pem", "key": f"{papers}/client.key"}
    mqtt = {"url": f"mqtts://{HOST}:{port}", "tls": tls}
    works(make_gateway(at=broker, mqtt=mqtt), broker, make_listener)


def test_broker_with_a_strangers_certificate_is_not_spoken_to(
    make_broker: MakeBroker, make_gateway: MakeGateway, papers: Path
) -> None:
    port = free_port()
    broker = make_broker(listener=tls_lines(papers, port))
    mqtt = {"url": f"mqtts://{HOST}:{port}", "tls": {"ca": f"{papers}/stranger.pem"}}
    gateway = make_gateway(at=broker, mqtt=mqtt, start=False)
    gateway.spawn()
    assert "certificate" in gateway.wait_log("mqtt.connect_failed")["reason"].lower()
    assert gateway.alive
    assert retained(broker.port) == {}


def test_broker_that_wants_a_client_certificate_refuses_a_gateway_without_one(
    make_broker: MakeBroker, make_gateway: MakeGateway, papers: Path
) -> None:
    port = free_port()
    broker = make_broker(listener=tls_lines(papers, port, client_certificates=True))
    mqtt = {"url": f"mqtts://{HOST}:{port}", "tls": {"ca": f"{papers}/ca.pem"}}
    gateway = make_gateway(at=broker, mqtt=mqtt, start=False)
    gateway.spawn()
    gateway.wait_log("mqtt.connect_failed")
    assert gateway.alive
    assert retained(broker.port) == {}


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
def test_certificate_of_another_host_is_refused(
    scheme: str, make_broker: MakeBroker, make_gateway: MakeGateway, papers: Path
) -> None:
    port = free_port()
    lines = tls_lines(papers, port) + ("\nprotocol websockets" if scheme == "wss" else "")
    broker = make_broker(listener=lines)
    mqtt = {"url": f"{scheme}://localhost:{port}", "tls": {"ca": f"{papers}/ca.pem"}}
    gateway = make_gateway(at=broker, mqtt=mqtt, start=False)
    gateway.spawn()
    assert "certificate" in gateway.wait_log("mqtt.connect_failed")["reason"].lower()
    assert retained(broker.port) == {}


def test_websockets(make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener) -> None:
    port = free_port()
    broker = make_broker(listener=f"listener {port} {HOST}\nprotocol websockets")
    gateway = make_gateway(at=broker, mqtt={"url": f"ws://{HOST}:{port}/mqtt"})
    works(gateway, broker, make_listener)
    assert gateway.terminate()[0] == 0
    assert retained(broker.port)[STATUS] == b"offline"


def test_websockets_over_tls(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener, papers: Path
) -> None:
    port = free_port()
    broker = make_broker(listener=tls_lines(papers, port) + "\nprotocol websockets")
    mqtt = {"url": f"wss://{HOST}:{port}", "tls": {"ca": f"{papers}/ca.pem"}}
    works(make_gateway(at=broker, mqtt=mqtt), broker, make_listener)


def test_topic_that_an_access_list_denies_is_told_and_the_others_go_on(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener, tmp_path: Path
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"topic deny {SHOP}/{D1}/telemetry\ntopic readwrite #\n")
    broker = make_broker(lines=[f"acl_file {rules}"])
    listener = make_listener(broker)
    gateway = make_gateway(at=broker)
    listener.tails.append(gateway.tail)
    told = listener.wait("meterbridge/bridge/event", lambda one: one.json["code"] == "publish_refused").json
    assert told["severity"] == "critical"
    assert told["account"] == "shop"
    assert told["data"]["topic"] == f"{SHOP}/{D1}/telemetry"
    assert "0x87" in told["message"]
    listener.wait(f"{SHOP}/{DEVICES[1]}/telemetry")
    listener.wait(f"{SHOP}/{D1}/state")
    works(gateway, broker, make_listener)
    assert gateway.events("mqtt.lost") == []


def test_retained_topic_that_is_denied_again_and_again_is_told_once_and_kept_once(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener, tmp_path: Path
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"topic deny {SHOP}/{D1}/state\ntopic readwrite #\n")
    broker = make_broker(lines=[f"acl_file {rules}"])
    listener = make_listener(broker)
    gateway = make_gateway(at=broker, account={"devices": [D1]}, mqtt={"state_interval": "100ms"})
    listener.tails.append(gateway.tail)
    refused = 'meterbridge_outbox_refused_total{class="state"}'
    for number in range(5):
        listener.send(
            f"{SHOP}/{D1}/cmd/breaker", {"state": "off" if number % 2 else "on", "id": f"c{number}"}
        )
        listener.final(ACK, f"c{number}")
        time.sleep(0.2)
    until(lambda: _metric(gateway, refused) >= 3, 20, "states are refused", gateway.tail)
    assert _metric(gateway, "meterbridge_dead_letters") == 1
    told = [one for one in listener.all("meterbridge/bridge/event") if one.json["code"] == "publish_refused"]
    assert len(told) == len(gateway.events("mqtt.publish_refused")) == 1


def _metric(gateway: Gateway, name: str) -> float:
    text = httpx.get(f"{gateway.web}/metrics", timeout=20, trust_env=False).text
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


def test_access_list_that_denies_everything_but_the_commands_does_not_stop_the_gateway(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener, tmp_path: Path
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read meterbridge/#\ntopic write meterbridge/+/+/ack\ntopic write +/+/+/cmd/+\n")
    broker = make_broker(lines=[f"acl_file {rules}"])
    gateway = make_gateway(at=broker)
    works(gateway, broker, make_listener)
    refused = {entry["topic"] for entry in gateway.events("mqtt.publish_refused")}
    assert {STATUS, f"{SHOP}/{D1}/state", f"{SHOP}/{D1}/info"} <= refused


def test_limits_of_a_mosquitto_are_kept(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener
) -> None:
    broker = make_broker(lines=["max_inflight_messages 1", "max_packet_size 3000"])
    listener = make_listener(broker)
    gateway = make_gateway(at=broker, account={"devices": DEVICES})
    listener.tails.append(gateway.tail)
    for device in DEVICES:
        listener.wait(f"{SHOP}/{device}/state")
    told = listener.wait("meterbridge/bridge/event", lambda one: one.json["code"] == "publish_refused").json
    assert told["data"]["topic"].endswith("/info")
    assert "0x95" in told["message"]
    works(gateway, broker, make_listener)
    assert gateway.events("mqtt.lost") == []


@pytest.mark.parametrize(("line", "qos"), [("retain_available false", 1), ("max_qos 0", 0)])
def test_broker_without_retained_messages_or_qos_1_is_served_as_well_as_it_can_be(
    line: str, qos: int, make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener
) -> None:
    broker = make_broker(lines=[line])
    listener = make_listener(broker)
    gateway = make_gateway(at=broker)
    listener.tails.append(gateway.tail)
    assert gateway.events("mqtt.will_reduced")
    listener.wait(STATUS, lambda one: one.payload == b"online")
    works(gateway, broker, make_listener, qos)
    gateway.kill9()
    listener.wait(STATUS, lambda one: one.payload == b"offline")


@pytest.mark.slow
def test_broker_that_only_speaks_3_1_1_is_spoken_to_in_3_1_1(
    make_gateway: MakeGateway, cloud: Cloud, tmp_path: Path
) -> None:
    """amqtt, the broker of the demo."""
    port = free_port()
    program = tmp_path / "amqtt_broker.py"
    program.write_text(AMQTT.replace("PORT", str(port)))
    old = Process("amqtt", tmp_path)
    old.launch([sys.executable, str(program)])
    try:
        until(lambda: _listens(port), 15, "amqtt listens", old.tail)
        gateway = make_gateway(mqtt={"url": f"mqtt://{HOST}:{port}"})
        assert gateway.events("mqtt.fallback")
        assert gateway.events("mqtt.connected")[0]["protocol"] == "3.1.1"
        publish.single(
            f"{SHOP}/{D1}/cmd/pulse_on",
            '{"delay_s": 640, "id": "old"}',
            qos=1,
            hostname=HOST,
            port=port,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        until(lambda: "pulse_on" in cloud.effects(D1), 10, "the command runs", gateway.tail, old.tail)
        assert gateway.terminate()[0] == 0
    finally:
        old.end()


def test_connection_is_taken_up_again_when_the_broker_is_killed(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener
) -> None:
    broker = make_broker(persistence=True)
    gateway = make_gateway(at=broker)
    broker.signal(signal.SIGKILL)
    broker.wait(5)
    broker.start()
    gateway.wait_log("mqtt.lost")
    until(lambda: len(gateway.events("mqtt.connected")) == 2, 15, "it is connected again", gateway.tail)
    works(gateway, broker, make_listener)
