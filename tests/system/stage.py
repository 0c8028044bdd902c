"""The stage of the black-box tests: a real Mosquitto, the simulated cloud and the gateway as processes of their own,
and a listener that writes down every message.

Every wait has a deadline; what failed shows the last lines of the gateway's log. Only processes started here are
signalled, by their id.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import yaml
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.system.polling import until

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
APP_ID = "FAKEAPPID00000000000000000000000"
APP_SECRET = "FAKEAPPSECRET0000000000000000000"
PUSH_SECRET = "FAKE-push-secret-0000"
MOSQUITTO = "/usr/sbin/mosquitto"


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


class Process:
    """A child process whose output goes to a file."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.output = folder / f"{name}.log"
        self.child: subprocess.Popen[bytes] | None = None

    def launch(self, command: Sequence[str], **env: str) -> None:
        with self.output.open("ab") as sink:
            self.child = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env},
            )

    @property
    def alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def signal(self, number: int) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """The exit status. Fails if the process does not end in time."""
        assert self.child is not None
        try:
            return self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended after {timeout_s} s\n{self.tail()}") from None

    def end(self) -> None:
        """Ends it, whatever state it is in."""
        if self.child is None:
            return
        for number in (signal.SIGCONT, signal.SIGKILL):
            self.signal(number)
        self.child.wait(10)

    def tail(self, lines: int = 40) -> str:
        """The last lines of its output."""
        text = self.output.read_text(errors="replace") if self.output.exists() else ""
        return f"--- {self.name} ---\n" + "\n".join(text.splitlines()[-lines:])


class Broker(Process):
    """A Mosquitto on a free port. `lines` are added to its configuration; `secure` replaces the plain listener."""

    def __init__(
        self, folder: Path, *, persistence: bool = False, lines: Iterable[str] = (), listener: str = ""
    ) -> None:
        super().__init__("mosquitto", folder)
        self.port = free_port()
        self.file = folder / "mosquitto.conf"
        self.persistence = persistence
        self.lines = list(lines)
        self.listener = listener

    @property
    def url(self) -> str:
        return f"mqtt://{HOST}:{self.port}"

    def configure(self, lines: Iterable[str] | None = None) -> None:
        """Writes the configuration; `lines` replace those given before."""
        if lines is not None:
            self.lines = list(lines)
        text = [
            "user root",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            f"listener {self.port} {HOST}",
            *([self.listener] if self.listener else []),
            "max_queued_messages 100000",  # with 0, Mosquitto 2.0.11 cuts off whoever it denies a topic
            *self.lines,
        ]
        if not any(line.startswith(("allow_anonymous", "password_file")) for line in self.lines):
            text.append("allow_anonymous true")
        if self.persistence:
            text += ["persistence true", f"persistence_location {self.folder}/"]
        self.file.write_text("\n".join(text) + "\n")

    def start(self) -> Broker:
        self.configure()
        self.launch([MOSQUITTO, "-c", str(self.file)])
        until(lambda: _listens(self.port), 10, "mosquitto listens", self.tail)
        return self

    def stop(self) -> None:
        """An orderly stop: what is to persist is written."""
        self.signal(signal.SIGTERM)
        self.wait(10)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait(10)

    def restart(self, away_s: float = 0.0) -> None:
        self.stop()
        time.sleep(away_s)
        self.start()

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)


class Cloud(Process):
    """The simulated wmj cloud with its control surface."""

    def __init__(
        self, folder: Path, devices: Sequence[str], *, callback: str = "", options: Sequence[str] = ()
    ) -> None:
        super().__init__("cloud", folder)
        self.devices = list(devices)
        self._options = list(options)
        self._callback = callback
        self.base_url = ""
        self.web = httpx.Client(timeout=30, trust_env=False)

    def start(self) -> Cloud:
        callback = ["--callback", self._callback] if self._callback else []
        self.launch(
            [
                *(sys.executable, "-m", "bridge.simulators.wmj", "--devices", ",".join(self.devices)),
                *("--app-id", APP_ID, "--app-secret", APP_SECRET, *callback, *self._options),
            ]
        )
        self.base_url = until(self._told_url, 20, "the cloud listens", self.tail)
        return self

    def _told_url(self) -> str:
        for line in self.output.read_text().splitlines():
            if line.startswith("listening "):
                return line.removeprefix("listening ")
        return ""

    def end(self) -> None:
        self.web.close()
        super().end()

    def look(self, what: str, /, **query: Any) -> Any:
        """`GET /_sim/…`."""
        answer = self.web.get(self._sim(what), params=query)
        answer.raise_for_status()
        return answer.json()

    def do(self, deed: str, /, **body: Any) -> Any:
        """`POST /_sim/…`."""
        answer = self.web.post(self._sim(deed), json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def _sim(self, what: str) -> str:
        return f"{self.base_url.removesuffix('/deviceApi')}/_sim/{what}"

    def effects(self, device: str | None = None) -> list[str]:
        """The effects so far, in order, of one device or all."""
        return [
            entry["effect"] for entry in self.look("ledger")["entries"] if device in (None, entry["device"])
        ]

    def calls(self, endpoint: str) -> int:
        """How often an end point was called."""
        return int(self.look("requests", endpoint=endpoint)["total"])


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the listener got it; `order` counts all messages."""

    order: int
    at: float
    topic: str
    payload: bytes
    retain: bool
    dup: bool
    properties: Any

    @property
    def json(self) -> Any:
        return json.loads(self.payload)

    @property
    def text(self) -> str:
        return self.payload.decode()


class Listener:
    """A client that writes down everything below `#`, with the retain flag as published, over reconnects."""

    def __init__(self, port: int, *, topic: str = "#", client_id: str = "", **login: Any) -> None:
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=client_id or f"listener-{os.urandom(4).hex()}",
            protocol=paho.MQTTv5,
        )
        if login:
            self.client.username_pw_set(login["username"], login["password"])
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(0)
        self.client.on_connect = self._connected
        self.client.on_message = self._received
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self._topic = topic
        self._port = port
        self._subscribed = threading.Event()
        self._lock = threading.Lock()
        self._messages: list[Message] = []
        self.tails: list[Callable[[], str]] = []

    def start(self) -> Listener:
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 600
        session.ReceiveMaximum = 1000
        # never a clean start: a broker that restarts must keep for us what comes before we are back, and Mosquitto
        # keeps no session over its end that began with a clean start
        self.client.connect(HOST, self._port, keepalive=60, clean_start=False, properties=session)
        self.client.loop_start()
        assert self._subscribed.wait(10), "the listener could not subscribe"
        return self

    def end(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _connected(self, client: Any, _data: Any, flags: Any, _reason: Any, _properties: Any) -> None:
        if not flags.session_present:
            client.subscribe(self._topic, options=SubscribeOptions(qos=1, retainAsPublished=True))

    def _received(self, _client: Any, _data: Any, message: Any) -> None:
        with self._lock:
            self._messages.append(
                Message(
                    len(self._messages),
                    time.time(),
                    message.topic,
                    bytes(message.payload),
                    bool(message.retain),
                    bool(message.dup),
                    message.properties,
                )
            )

    def all(self, topic: str | None = None) -> list[Message]:
        """What came so far, on topics that match a filter such as `+/bridge/#`."""
        with self._lock:
            seen = list(self._messages)
        return [one for one in seen if topic is None or paho.topic_matches_sub(topic, one.topic)]

    def mark(self) -> int:
        """The order that the next message will have."""
        with self._lock:
            return len(self._messages)

    def wait(
        self,
        topic: str,
        fits: Callable[[Message], bool] = lambda _message: True,
        timeout_s: float = 15.0,
        after: int = 0,
    ) -> Message:
        """The first message on such a topic that fits."""

        def look() -> Message | None:
            return next((one for one in self.all(topic) if one.order >= after and fits(one)), None)

        return until(look, timeout_s, f"a message on {topic} that fits", self._recent, *self.tails)

    def _recent(self) -> str:
        lines = [f"{one.topic} {one.payload[:300]!r}" for one in self.all()[-15:]]
        return "--- the listener's last ---\n" + "\n".join(lines)

    def send(
        self,
        topic: str,
        payload: Any = "",
        *,
        retain: bool = False,
        qos: int = 1,
        timeout_s: float = 10.0,
        **properties: Any,
    ) -> None:
        """Publishes and waits for the broker's PUBACK. `properties` are those of MQTT 5, in paho's names."""
        body = payload if isinstance(payload, str | bytes) else json.dumps(payload)
        carried = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(carried, name, value)
        info = self.client.publish(topic, body, qos=qos, retain=retain, properties=carried)
        info.wait_for_publish(timeout_s)
        assert info.is_published(), f"the broker does not take a message on {topic}"

    def final(self, ack_topic: str, command_id: str, timeout_s: float = 20.0, after: int = 0) -> Any:
        """The final acknowledgement of a command."""
        found = self.wait(
            ack_topic, lambda one: one.json["id"] == command_id and one.json["final"], timeout_s, after
        )
        return found.json

    def statuses(self, ack_topic: str, command_id: str) -> list[str]:
        """The words of a command's acknowledgements, in order."""
        return [one.json["status"] for one in self.all(ack_topic) if one.json["id"] == command_id]


def retained(port: int, topic: str = "#", quiet_s: float = 0.3, **login: Any) -> dict[str, bytes]:
    """What the broker holds retained below a filter."""
    looker = Listener(port, topic=topic, **login).start()
    try:
        count = -1
        while count != looker.mark():
            count = looker.mark()
            time.sleep(quiet_s)
        return {one.topic: one.payload for one in looker.all() if one.retain}
    finally:
        looker.end()


@dataclass
class Notifications:
    """The service manager's end of sd_notify."""

    path: Path
    channel: socket.socket = field(init=False)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(str(self.path))
        self.channel.setblocking(False)

    def read(self) -> list[str]:
        while True:
            try:
                self.words.append(self.channel.recv(4096).decode())
            except BlockingIOError:
                return self.words

    def clear(self) -> None:
        self.read()
        self.words.clear()


class Gateway(Process):
    """`python -m bridge run` with a configuration of its own."""

    def __init__(self, folder: Path, configuration: Mapping[str, Any], *, name: str = "gateway") -> None:
        super().__init__(name, folder)
        self.configuration = dict(configuration)
        self.file = folder / f"{name}.yaml"
        self.level = "info"
        self.within: Sequence[
            str
        ] = ()  # a command that runs the rest of its line elsewhere, such as on a disk of its own
        # a socket's path is limited to 108 bytes: not below pytest's long folders
        self.notices = Notifications(Path(f"/tmp/mb-notify-{os.urandom(6).hex()}"))
        self.write()

    @property
    def base(self) -> str:
        return str(self.configuration["mqtt"]["base_topic"])

    @property
    def web(self) -> str:
        """The address of its HTTP side."""
        return f"http://{self.configuration['http']['listen']}"

    def write(self, configuration: Mapping[str, Any] | None = None) -> None:
        """Writes the configuration file."""
        if configuration is not None:
            self.configuration = dict(configuration)
        self.file.write_text(yaml.safe_dump(self.configuration, sort_keys=False))

    def spawn(self) -> None:
        """Starts it and does not wait."""
        self.notices.clear()
        self.launch(
            [
                *self.within,
                *(sys.executable, "-m", "bridge", "run", "-c", str(self.file)),
                *("--log-format", "json", "--log-level", self.level),
            ],
            NOTIFY_SOCKET=str(self.notices.path),
        )

    def start(self, timeout_s: float = 20.0) -> Gateway:
        """Starts it and waits for READY=1."""
        self.spawn()
        self.wait_ready(timeout_s)
        return self

    def wait_ready(self, timeout_s: float = 20.0) -> None:
        def ready() -> bool:
            assert self.alive, f"the gateway has ended: {self.child and self.child.returncode}\n{self.tail()}"
            return "READY=1" in self.notices.read()

        until(ready, timeout_s, "the gateway is ready", self.tail, pause_s=0.01)

    def kill9(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait(10)

    def terminate(self, timeout_s: float = 10.0) -> tuple[int, float]:
        """SIGTERM; the exit status and how long it took."""
        started = time.monotonic()
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s), time.monotonic() - started

    def restart(self) -> None:
        status, _ = self.terminate()
        assert status == 0, self.tail()
        self.start()

    def reload(self) -> None:
        self.signal(signal.SIGHUP)

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Its log so far, or the lines of one event."""
        found = []
        for line in self.output.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if name in (None, entry.get("event")):
                found.append(entry)
        return found

    def wait_log(self, name: str, timeout_s: float = 15.0, **fields: Any) -> dict[str, Any]:
        """The first such line of the log."""

        def look() -> dict[str, Any] | None:
            fits = (e for e in self.events(name) if all(e.get(k) == v for k, v in fields.items()))
            return next(fits, None)

        return until(look, timeout_s, f"the log says {name}", self.tail)

    def rss_bytes(self) -> int:
        """Resident memory now."""
        assert self.child is not None
        text = Path(f"/proc/{self.child.pid}/status").read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024

    def end(self) -> None:
        super().end()
        self.notices.channel.close()
        self.notices.path.unlink(missing_ok=True)


def configuration(
    broker: Broker,
    cloud: Cloud,
    folder: Path,
    *,
    base: str = "meterbridge",
    mqtt: Mapping[str, Any] | None = None,
    account: Mapping[str, Any] | None = None,
    **sections: Any,
) -> dict[str, Any]:
    """A configuration with one wmj account `shop`; keys given are laid over it (None takes one away)."""
    shop: dict[str, Any] = {
        "id": "shop",
        "vendor": "wmj",
        "base_url": cloud.base_url,
        "app_id": APP_ID,
        "app_secret": APP_SECRET,
        "devices": cloud.devices[:2],
        "poll": "1h",
        "push": {"secret": PUSH_SECRET},
        "limits": {"requests": "500/1s", "device": "500/1s"},
        "limits_unsafe": True,
        "read_back": ["200ms", "500ms", "1s"],
        **(account or {}),
    }
    return {
        "mqtt": {"url": broker.url, "base_topic": base, **(mqtt or {})},
        "http": {"listen": f"{HOST}:{free_port()}"},
        "state": {"url": f"sqlite://{folder}/{base.replace('/', '_')}.db"},
        "accounts": [{key: value for key, value in shop.items() if value is not None}],
        **sections,
    }
