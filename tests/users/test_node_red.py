"""The example flows in a real Node-RED, beside the demo, over a real broker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.system.polling import until
from tests.system.stage import free_port
from tests.users.conftest import CACHE, World

FLOWS = sorted((Path(__file__).parents[2] / "examples" / "node-red").glob("*.json"))
PROGRAM = CACHE / "node" / "node_modules" / "node-red" / "red.js"
BREAKER, METER = "shop/W71E0000002", "gas/00000000000003"
SETTINGS = """
module.exports = {{
    uiHost: "127.0.0.1", uiPort: {port}, httpAdminRoot: false, flowFile: "flows.json", credentialSecret: false,
    telemetry: {{enabled: false, updateNotification: false}}, contextStorage: {{default: {{module: "memory"}}}},
    logging: {{console: {{level: "info"}}}}, externalModules: {{palette: {{allowInstall: false}}}},
}};
"""


def nodes() -> list[dict[str, Any]]:
    """All flows as somebody imports them one after the other: what has the same id is there once."""
    found: dict[str, dict[str, Any]] = {}
    for path in FLOWS:
        for node in json.loads(path.read_text(encoding="utf-8")):
            known = found.setdefault(node["id"], node)
            assert known == node, f"{path.name}: {node['id']} differs from that of another flow"
    return list(found.values())


class Notifier:
    """Takes notifications."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []
        outer = self

        class Taker(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.notes.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/"


@dataclass
class NodeRed:
    """One that runs with all example flows."""

    url: str
    notifier: Notifier
    log: Path
    web: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=90, trust_env=False))

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.web.post(self.url + path, json=body)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


@pytest.fixture(scope="module")
def node_red(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeRed]:
    folder, port, notifier = tmp_path_factory.mktemp("node-red"), free_port(), Notifier()
    set_here = {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(world.port), "NOTIFY_URL": notifier.url}
    imported = nodes()
    (variables,) = [node for node in imported if node["type"] == "global-config"]
    variables["env"] = [{"name": name, "type": "str", "value": value} for name, value in set_here.items()]
    (folder / "flows.json").write_text(json.dumps(imported))
    (folder / "settings.js").write_text(SETTINGS.format(port=port))
    log = folder / "node-red.log"
    program = shutil.which("node")
    assert program is not None
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [program, str(PROGRAM), "--userDir", str(folder), "--settings", str(folder / "settings.js")],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
    try:
        made = NodeRed(f"http://127.0.0.1:{port}", notifier, log)
        brokers = [node["name"] for node in imported if node["type"] == "mqtt-broker"]
        until(
            lambda: made.tail().count("Connected to broker") >= len(brokers),
            60,
            "Node-RED is connected",
            made.tail,
        )
        yield made
        made.web.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        notifier.server.shutdown()


def test_the_flows_use_core_nodes_only_and_keep_no_secret() -> None:
    core = {
        "tab", "global-config", "mqtt-broker", "mqtt in", "mqtt out", "function", "template", "inject", "debug",
        "comment", "http in", "http response", "http request", "websocket out", "websocket-listener",
    }  # fmt: skip
    assert {node["type"] for node in nodes()} <= core
    assert not [node for node in nodes() if "credentials" in node]
    for node in nodes():
        if node["type"] == "mqtt in":
            assert node["datatype"] == "auto-detect"


def test_the_dashboard_shows_every_meter_with_its_values_and_units(world: World, node_red: NodeRed) -> None:
    page = node_red.web.get(f"{node_red.url}/meters")
    assert page.status_code == 200
    assert "<title>Meters</title>" in page.text

    def latest() -> dict[str, Any]:
        return {meter["key"]: meter for meter in node_red.web.get(f"{node_red.url}/meters/latest").json()}

    def complete() -> bool:
        return all(
            {"info", "state", "availability"} <= set(latest().get(key, ())) for key in (BREAKER, METER)
        )

    until(complete, 60, "the meters are known", lambda: str(sorted(latest())), node_red.tail)
    meter = latest()[BREAKER]
    assert isinstance(meter["state"]["metrics"]["voltage"], float)
    assert meter["info"]["metrics"]["voltage"]["unit"] == "V"
    assert meter["availability"] == "online"


def test_the_dashboard_is_live(node_red: NodeRed) -> None:
    with connect(node_red.url.replace("http", "ws") + "/meters/live", proxy=None) as socket:
        told = json.loads(socket.recv(timeout=30))
    assert told["key"].count("/") == 1
    assert told["state"]["ts"]


def test_an_alarm_becomes_one_notification_however_often_it_comes(world: World, node_red: NodeRed) -> None:
    raised = world.listener.wait("meterbridge/shop/+/alarm", lambda one: one.json["state"] == "raised", 90)
    again = {**raised.json, "id": "wmj:test:overheat:1", "code": "overheat"}

    def send(document: dict[str, Any]) -> None:
        world.listener.send(raised.topic, document, ContentType="application/json", PayloadFormatIndicator=1)

    def mine() -> list[dict[str, Any]]:
        return [note for note in node_red.notifier.notes if note["alarm"] == again["id"]]

    send(again)
    send(again)
    # each notification is a request of its own: two that are under way at once may overtake each other
    until(lambda: mine(), 30, "the first notification", node_red.tail)
    send({**again, "state": "cleared"})
    until(lambda: len(mine()) >= 2, 30, "both notifications", node_red.tail)
    name = next(one.json["name"] for one in world.listener.all(raised.topic.replace("/alarm", "/info")))
    assert [(note["state"], note["title"]) for note in mine()] == [
        ("raised", f"{name}: overheat"),
        ("cleared", f"{name}: overheat is over"),
    ]
    assert mine()[0]["priority"] == 5


@pytest.mark.parametrize("variant", ["breaker", "breaker5"])
def test_a_breaker_is_switched_and_the_answer_is_the_final_ack(
    world: World, node_red: NodeRed, variant: str
) -> None:
    for word in ("off", "on"):
        before = world.listener.mark()
        answer = node_red.post(f"/{variant}/{BREAKER}/{word}")
        told = answer.json()
        assert (answer.status_code, told["status"], told["final"]) == (200, "succeeded", True), (
            node_red.tail()
        )
        assert told["device"] == BREAKER.partition("/")[2]
        world.listener.wait(
            f"meterbridge/{BREAKER}/state",
            lambda one, word=word: one.json["metrics"]["switch_state"] == word,
            after=before,
        )
        commands = [
            one for one in world.listener.all(f"meterbridge/{BREAKER}/cmd/breaker") if one.order >= before
        ]
        assert len(commands) == 1
        assert not commands[0].retain
        if variant == "breaker5":
            assert commands[0].text == word
            copies = world.listener.all("node-red/replies/breaker")
            mine = [one for one in copies if one.order >= before]
            assert [one.json["status"] for one in mine] == ["accepted", "succeeded"]
            assert {bytes(one.properties.CorrelationData).decode() for one in mine} == {told["id"]}


@pytest.mark.parametrize("variant", ["breaker", "breaker5"])
def test_what_the_gateway_rejects_is_answered_with_its_reason(node_red: NodeRed, variant: str) -> None:
    answer = node_red.post(f"/{variant}/shop/W71E0999999/on")
    assert (answer.status_code, answer.json()["code"]) == (409, "unknown_device")


def test_a_recharge_that_is_ordered_again_and_delivered_again_charges_once(
    world: World, node_red: NodeRed
) -> None:
    account, device = METER.split("/")
    order = {
        "order": "order-77", "account": account, "device": device,
        "charge_value": 20, "total_value": 20, "charge_times": 1,
    }  # fmt: skip
    with ThreadPoolExecutor(2) as pool:  # the customer presses twice
        first = list(pool.map(lambda _: node_red.post("/recharge", order), range(2)))
    for answer in first:
        assert (answer.status_code, answer.json()["status"]) == (200, "succeeded"), answer.text
    assert [answer.json()["id"] for answer in first] == ["order-77", "order-77"]
    charged = world.listener.wait(f"meterbridge/{METER}/cmd/recharge")
    world.listener.send(charged.topic, charged.payload)  # the broker delivers it again
    later = node_red.post("/recharge", order).json()  # the shop's job runs again
    assert (later["status"], later["duplicate"], later["id"]) == ("succeeded", True, "order-77")
    other = node_red.post("/recharge", {**order, "charge_value": 50, "total_value": 50})
    assert (other.status_code, other.json()["code"]) == (409, "id_reused")
    nameless = node_red.post("/recharge", {**order, "order": ""})
    assert nameless.status_code == 400
    acks = [
        one.json for one in world.listener.all(f"meterbridge/{METER}/ack") if one.json["id"] == "order-77"
    ]
    assert (
        len([ack for ack in acks if ack["final"] and not ack["duplicate"] and ack["status"] == "succeeded"])
        == 1
    )
    world.listener.send(f"meterbridge/{METER}/cmd/get_recharge", {"id": "look-77"})
    seen = world.listener.final(f"meterbridge/{METER}/ack", "look-77", 60)
    assert seen["result"]["remote_charge_times"] == 1
    assert float(seen["result"]["remote_charge_value"]) == 20
