"""A stand-in for a gateway at a real broker: says what a test tells it to say, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

Ack = dict[str, Any]
Answers = Callable[[str, str, Any], Sequence[Ack]]
"""Topic, id and payload of a command → its acknowledgements."""

BREAKER = {"params": {"required": ["state"], "properties": {"state": {"type": "string"}}}, "needs_id": False}


def ack(identity: str, status: str, **more: Any) -> Ack:
    """An acknowledgement of `breaker`."""
    final = status not in ("accepted", "sent")
    return {"id": identity, "command": "breaker", "status": status, "final": final, **more}


class StandIn:
    """Answers commands of the account `shop` below the base topic, on both topics where the sender wants it."""

    def __init__(self, port: int, base: str, answers: Answers, *, protocol: int = 5) -> None:
        self.sent: list[tuple[str, bytes, Properties | None]] = []
        self._base = base
        self._answers = answers
        self._ready = threading.Event()
        version = paho.MQTTv5 if protocol == 5 else paho.MQTTv311
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(
            [(f"{base}/shop/+/cmd/+", 1), (f"{base}/shop/cmd/+", 1), (f"{base}/bridge/cmd/+", 1)]
        )
        assert self._ready.wait(5)

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def retain(self, topic: str, payload: str) -> None:
        """A retained message below the base topic."""
        self._client.publish(f"{self._base}/{topic}", payload, qos=1, retain=True).wait_for_publish(5)

    def publish(self, topic: str, document: Any) -> None:
        """A message below the base topic."""
        self._client.publish(f"{self._base}/{topic}", json.dumps(document), qos=1)

    def _take(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        properties = message.properties
        self.sent.append((message.topic, bytes(message.payload), properties))
        correlation = getattr(properties, "CorrelationData", None)
        try:
            payload = json.loads(message.payload)
        except ValueError:
            payload = message.payload.decode()
        named = payload.get("id") if isinstance(payload, dict) else None
        identity = named or (correlation.decode() if correlation else "auto-0001")
        place = message.topic.split("/cmd/")[0]
        for document in self._answers(message.topic, identity, payload):
            self._answer(f"{place}/ack", document, None)
            if (reply := getattr(properties, "ResponseTopic", None)) is not None:
                self._answer(reply, document, correlation)

    def _answer(self, topic: str, document: Ack, correlation: bytes | None) -> None:
        properties = None
        if correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)
            properties.CorrelationData = correlation
        self._client.publish(topic, json.dumps(document), qos=1, properties=properties)
