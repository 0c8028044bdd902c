"""The connection to the broker, and the only owner of aiomqtt: connects, subscribes, tells births and deaths, again
and again; hands command messages to the admission and gives each its PUBACK only after that has it on disk.

aiomqtt gives the life cycle. Its own publish and message queue are not used: they wait per message, ignore the
reason code of a PUBACK, and acknowledge before anything is stored (docs/adr/0003).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.domain.errors import StoreError
from bridge.mqtt.arrivals import RECEIVE_MAXIMUM, Admit, Arrivals
from bridge.mqtt.cancelling import heeding
from bridge.mqtt.connection import WORDS, Connection, code_of, described, drop, ended, is_reset, read_connack
from bridge.mqtt.fast import FastClient
from bridge.mqtt.incoming import Incoming, from_paho
from bridge.mqtt.publisher import Publisher
from bridge.mqtt.refusals import refusal
from bridge.mqtt.settings import MqttSettings
from bridge.mqtt.witness import Witness
from bridge.mqtt.writing import guard_writing
from bridge.ports import Clock, Rng

log = logging.getLogger("bridge.mqtt")

CONNECT_TIMEOUT_S = 10.0
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 10.0
UNANSWERED = "the connection was closed before an answer came"
LOST = "the connection was lost"
UNSUPPORTED_PROTOCOL = frozenset({1, 0x84})
NO_RETAINED, NO_QOS = 0x9A, 0x9B
"""A broker without retained messages, or without QoS 1, refuses a Last Will that asks for them."""
STOP_TIMEOUT_S = 1.0
LOOK_EVERY_S = 1.0
SETTLED_S = 5.0
"""A connection that stood for less did not prove that the next one will: the pauses between tries go on growing."""


class Session:
    """Keeps the gateway connected. `run` it; `connected` tells."""

    def __init__(
        self,
        settings: MqttSettings,
        topics: Topics,
        client_id: str,
        session_expiry_s: float,
        publisher: Publisher,
        admit: Admit,
        clock: Clock,
        rng: Rng,
        *,
        visiting: bool = False,
    ) -> None:
        """`visiting`: only publishes what the outbox holds; it is no gateway, and tells nothing of one."""
        self._visiting = visiting
        self._settings = settings
        self._topics = topics
        self._client_id = client_id
        self._session_expiry_s = session_expiry_s
        self._publisher = publisher
        self._clock = clock
        self._rng = rng
        self._protocol = settings.protocol
        self._will_qos, self._will_retained = 1, True
        self._witness = Witness(topics.bridge("status"))
        self._accounts: list[str] = []
        self._connection: Connection | None = None
        self._arrivals = Arrivals(admit, publisher, clock)
        self._stopping = False
        self._watched: dict[str, Callable[[bytes], None]] = {}
        self.knows_mqtt5 = False  # whether this broker has ever spoken MQTT 5 to us, also before a restart
        self.reconnects = 0
        self.last_error = ""
        self.refusal = ""
        """Why there was no connection at the last try, with the broker and the user."""
        self.on_connected: Callable[[Connection], Awaitable[None]] = _nothing
        self.on_ready: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], None] = lambda: None
        self.on_subscription_refused: Callable[[str], None] = lambda _topic: None

    @property
    def connected(self) -> bool:
        """Whether the broker is there and the subscriptions stand."""
        return self._connection is not None

    @property
    def protocol(self) -> str:
        """The protocol in use, as `bridge/info` shows it."""
        return "5" if self._protocol == 5 else "3.1.1"

    async def run(self) -> None:
        """Connects, serves, and connects again, until it is cancelled."""
        taker = asyncio.get_running_loop().create_task(self._arrivals.run(), name="mqtt-commands")
        tries = 0
        try:
            while not self._stopping:
                began = self._clock.monotonic()
                stood = await self._serve_once()
                lasted = self._clock.monotonic() - began >= SETTLED_S
                tries = 0 if stood and lasted else tries + 1
                if not self._stopping:
                    await self._clock.sleep(self._backoff_s(tries))
        finally:
            taker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await taker

    def watch(self, topic: str, tell: Callable[[bytes], None]) -> None:
        """Subscribes to a topic on which others speak, from the next connection on: `tell` gets every payload that
        comes live, none that the broker kept, and nothing after `stop`."""
        self._watched[topic] = tell

    async def set_accounts(self, accounts: Sequence[str]) -> None:
        """The accounts whose commands are ours; subscriptions follow at once if the broker is there."""
        gone = [account for account in self._accounts if account not in accounts]
        new = [account for account in accounts if account not in self._accounts]
        self._accounts = list(accounts)
        connection = self._connection
        if connection is None:
            return
        with contextlib.suppress(aiomqtt.MqttError):
            await self._subscribe(connection, new)
            old = [topic for account in gone for topic in self._topics.commands(account)]
            if old:
                await heeding(connection.client.unsubscribe(old))

    async def stop(self) -> None:
        """Says `offline` and goes. What is unconfirmed stays in the outbox. A broker that takes no more messages
        now, or does not answer, sees the connection break, and says it itself: the Last Will."""
        self._stopping = True
        connection = self._connection
        if connection is None:
            return
        has_room = self._publisher.in_flight() < connection.window
        self._publisher.detach()
        if has_room:
            if not self._visiting:
                connection.send(self._presence("offline"))
            await self._clock.sleep(0.05)
            await self._leave(connection, STOP_TIMEOUT_S)
        drop(connection)
        connection.lost.set()

    # one connection ---------------------------------------------------------------------------------------------

    async def _serve_once(self) -> bool:
        """One connection from its start to its end; whether it ever stood."""
        connection: Connection | None = None
        try:
            connection = await self._connect()
            connection.retained_kept = connection.session_present and await self._witness.asks(
                connection.client
            )
            await self.on_connected(connection)
            await self._subscribe_all(connection)
            await self._announce(connection)
            self._connection = connection
            self.knows_mqtt5 = self.knows_mqtt5 or connection.protocol == 5
            self.last_error = ""
            self._publisher.attach(connection)
            log.info(
                "mqtt.connected", extra={"protocol": self.protocol, "session": connection.session_present}
            )
            self.on_ready()
            await self._until_lost(connection)
        except (aiomqtt.MqttError, OSError) as error:  # OSError: the files of mqtt.tls
            self._note_failure(error)
        except StoreError as error:
            self.last_error = str(error)
            log.error("mqtt.store_failed", extra={"reason": str(error)})
        except Exception as error:
            self.last_error = f"a fault of the gateway ({type(error).__name__})"
            log.exception("mqtt.crashed")
        finally:
            stood = self._connection is not None
            if not self._stopping:
                self._connection = None
                self._publisher.detach()
                self._witness.broke()
                if connection is not None:
                    drop(connection)
        if stood and not self._stopping:
            # the next broker at this address may speak MQTT 5, and have what this one has not
            self._protocol = self._settings.protocol
            self._will_qos, self._will_retained = 1, True
            self.reconnects += 1
            why = connection.end if connection else ""
            self.last_error = why or LOST
            log.warning("mqtt.lost", extra={"reason": why})
            self.on_lost()
        return stood

    async def _until_lost(self, connection: Connection) -> None:
        """uvloop ends the watching of a socket that was reset and tells nobody: paho notices by its keep-alive only.
        So the socket is looked at once a second."""
        lost = asyncio.ensure_future(connection.lost.wait())
        try:
            while not lost.done():
                await asyncio.wait({lost}, timeout=LOOK_EVERY_S)
                if not lost.done() and is_reset(connection):
                    connection.end = "the connection was reset"
                    connection.lost.set()
        finally:
            lost.cancel()

    async def _leave(self, connection: Connection, timeout_s: float) -> None:
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                await connection.client.__aexit__(None, None, None)

    async def _announce(self, connection: Connection) -> None:
        """Says `online` and waits until that is confirmed: a broker may allow a single message in flight."""
        if self._visiting:
            return
        connection.birth = connection.send(self._presence("online"))
        waits = [asyncio.ensure_future(event.wait()) for event in (connection.born, connection.lost)]
        try:
            await asyncio.wait(waits, timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not connection.born.is_set():
            raise aiomqtt.MqttError("the broker does not confirm messages")

    async def _connect(self) -> Connection:
        client = aiomqtt.Client(
            self._settings.host,
            self._settings.port,
            username=self._settings.username,
            password=self._settings.password.get_secret_value() if self._settings.password else None,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if self._protocol == 5 else aiomqtt.ProtocolVersion.V311,
            will=None if self._visiting else self._will(),
            clean_session=None if self._protocol == 5 else True,
            clean_start=self._visiting if self._protocol == 5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            transport=self._settings.transport,
            timeout=CONNECT_TIMEOUT_S,
            keepalive=int(self._settings.keepalive),
            max_inflight_messages=0,
            properties=self._connect_properties(),
            tls_context=self._settings.tls_context(),
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            websocket_path=self._settings.path or None,
            logger=logging.getLogger("bridge.mqtt.client"),
        )
        connection = Connection(client, self._protocol, self._settings.window)
        connection.on_sent = self._witness.sent
        if self._settings.fast and self._settings.transport == "tcp":
            connection.fast = FastClient.adopt(
                connection.paho,
                lambda mid, reason: self._published(connection, mid, reason),
                lambda message: self._received(connection, message),
            )
        connection.paho.manual_ack_set(True)
        connection.paho.on_message = lambda _client, _data, message: self._received(
            connection, from_paho(message)
        )
        connection.paho.on_publish = lambda _client, _data, mid, reason, _properties: self._published(
            connection, mid, code_of(reason)
        )
        aiomqtts_own: Any = connection.paho.on_connect

        def connected(client_: Any, data: Any, flags: Any, reason: Any, properties: Any = None) -> None:
            read_connack(connection, flags, properties)
            aiomqtts_own(client_, data, flags, reason, properties)

        connection.paho.on_connect = connected
        aiomqtts_end: Any = connection.paho.on_disconnect

        def disconnected(*told: Any) -> None:
            if not client._connected.done():  # noqa: SLF001 - aiomqtt would wait on until its time-out
                client._connected.set_exception(aiomqtt.MqttError(UNANSWERED))  # noqa: SLF001 - as above
            aiomqtts_end(*told)

        connection.paho.on_disconnect = disconnected
        guard_writing(client)
        try:
            await heeding(client.__aenter__())
        except BaseException:
            drop(connection)  # else a broker that wakes up later would find us connected twice
            raise
        client._disconnected.add_done_callback(lambda done: ended(connection, done))  # noqa: SLF001 - see module
        return connection

    def _will(self) -> aiomqtt.Will:
        properties = described(PacketTypes.WILLMESSAGE, WORDS) if self._protocol == 5 else None
        return aiomqtt.Will(
            self._topics.bridge("status"),
            b"offline",
            qos=self._will_qos,
            retain=self._will_retained,
            properties=properties,
        )

    def _connect_properties(self) -> Properties | None:
        if self._protocol != 5:
            return None
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # as above
        properties.SessionExpiryInterval = 0 if self._visiting else int(self._session_expiry_s)
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        return properties

    async def _subscribe_all(self, connection: Connection) -> None:
        """All accounts, also those that a reload adds meanwhile."""
        done: list[str] = []
        while done != self._accounts:
            done = list(self._accounts)
            await self._subscribe(connection, done)
        live_only = SubscribeOptions(qos=0, retainAsPublished=False, retainHandling=2)
        await self._subscribe_to(connection, list(self._watched), live_only)

    async def _subscribe(self, connection: Connection, accounts: Sequence[str]) -> None:
        topics = [topic for account in accounts for topic in self._topics.commands(account)]
        options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=1)
        await self._subscribe_to(connection, topics, options)

    async def _subscribe_to(
        self, connection: Connection, topics: Sequence[str], options: SubscribeOptions
    ) -> None:
        for start in range(0, len(topics), 50):
            some = topics[start : start + 50]
            if connection.protocol == 5:
                asking = connection.client.subscribe([(topic, options) for topic in some])
            else:
                asking = connection.client.subscribe([(topic, options.QoS) for topic in some])
            codes = await heeding(asking)
            for topic, code in zip(some, codes, strict=False):
                if code_of(code) >= 0x80:
                    log.error("mqtt.subscription_refused", extra={"topic": topic, "reason": str(code)})
                    self.on_subscription_refused(topic)

    def _presence(self, word: str) -> Publication:
        return Publication(self._topics.bridge("status"), word.encode(), Class.META, retain=True)

    def _note_failure(self, error: aiomqtt.MqttError | OSError) -> None:
        code = code_of(getattr(error, "rc", 0) or 0)
        text = str(error) or type(error).__name__
        if self._protocol == 5 and code in UNSUPPORTED_PROTOCOL:
            self._fall_back(text)
        elif self._protocol == 5 and not self.knows_mqtt5 and (text == UNANSWERED or "timed out" in text):
            self._fall_back(f"{text}; a broker that neither speaks nor refuses it needs mqtt.protocol: 4")
        else:
            self._protocol = self._settings.protocol
            if code in (NO_RETAINED, NO_QOS):
                self._reduce_will(code)
        if text != self.last_error:
            log.error(
                "mqtt.connect_failed",
                extra={"broker": f"{self._settings.host}:{self._settings.port}", "reason": text},
            )
        self.last_error = text
        self.refusal = refusal(self._settings, error)

    def _fall_back(self, reason: str) -> None:
        """Never from a broker that has spoken MQTT 5 to us and is only slow: a clean 3.1.1 session would throw away
        the commands that wait in ours."""
        log.warning("mqtt.fallback", extra={"reason": f"no MQTT 5 ({reason}): trying MQTT 3.1.1"})
        self._protocol = 4

    def _reduce_will(self, code: int) -> None:
        if code == NO_RETAINED:
            self._will_retained = False
        else:
            self._will_qos = 0
        lacks = "retained messages" if code == NO_RETAINED else "QoS 1"
        log.warning("mqtt.will_reduced", extra={"reason": f"the broker has no {lacks}: trying without"})

    def _backoff_s(self, tries: int) -> float:
        most = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(tries, 10))
        return most * self._rng.uniform(0.5, 1.0)

    # messages ---------------------------------------------------------------------------------------------------

    def _published(self, connection: Connection, mid: int, reason: int) -> None:
        connection.heard()
        self._witness.confirmed(mid, reason)
        if mid != connection.birth:
            self._publisher.acknowledged(mid, reason)
            return
        connection.birth = None  # packet ids come round again
        connection.born.set()
        if reason >= 0x80:
            self._publisher.on_refused(self._presence("online"), reason)

    def _received(self, connection: Connection, message: Incoming) -> None:
        connection.heard()
        if self._witness.hears(message):
            return
        tell = self._watched.get(message.topic)
        if tell is not None:
            if not message.retained and not self._stopping:
                tell(message.payload)
            if message.qos:
                connection.paho.ack(message.mid, message.qos)
            return
        self._arrivals.put(connection, message)


async def _nothing(_connection: Connection) -> None:
    return None
