"""What a broker is known to keep: the retained message that it confirmed last.

After a power cut a broker comes back with what it had on its disk. That may be our session, and yet not the retained
topics of its last half hour. What it holds is as it was at one moment: if the last one is there, all are.
"""

from __future__ import annotations

import asyncio

import aiomqtt
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.contract.publication import Publication
from bridge.mqtt.cancelling import heeding
from bridge.mqtt.incoming import Incoming

LOOK_TIMEOUT_S = 2.0
"""A broker that has no retained message on a topic says nothing of it."""


class Witness:
    """Of one process: nothing is known before something was confirmed. Follows what is sent on all connections, but for
    `presence`, the topic of births and deaths, which says the same again and again."""

    def __init__(self, presence: str) -> None:
        self._presence = presence
        self._flying: dict[int, Publication] = {}
        self._last: Publication | None = None
        self._perhaps: set[bytes] = set()
        self._found: asyncio.Future[bytes] | None = None
        self._asks_in_vain = False

    def sent(self, mid: int, publication: Publication) -> None:
        """A message left under this packet id."""
        if publication.retain and publication.topic != self._presence:
            self._flying[mid] = publication

    def confirmed(self, mid: int, reason: int) -> None:
        """A PUBACK came, of whatever message."""
        publication = self._flying.pop(mid, None)
        if publication is not None and reason < 0x80:
            self._last = publication if publication.body else None
            self._perhaps.clear()

    def broke(self) -> None:
        """The connection is gone. What was in flight there the broker may have taken or not."""
        topic = self._last.topic if self._last is not None else None
        self._perhaps.update(one.body for one in self._flying.values() if one.topic == topic)
        self._flying.clear()

    async def asks(self, client: aiomqtt.Client) -> bool:
        """Whether this broker has what was confirmed last. Raises MqttError; then it is not asked again, for some
        brokers hang up at a subscription that they do not allow."""
        last = self._last
        if last is None or self._asks_in_vain:
            return False
        self._asks_in_vain = True
        found = self._found = asyncio.get_running_loop().create_future()
        options = SubscribeOptions(qos=0, retainAsPublished=True, retainHandling=0)
        try:
            await heeding(client.subscribe([(last.topic, options)]))
            await asyncio.wait({found}, timeout=LOOK_TIMEOUT_S)
            await heeding(client.unsubscribe(last.topic))
            self._asks_in_vain = False
        finally:
            self._found = None
        return found.done() and (found.result() == last.body or found.result() in self._perhaps)

    def hears(self, message: Incoming) -> bool:
        """Whether a message is the answer to `asks`, and nobody else's business."""
        if self._found is None or self._last is None or message.topic != self._last.topic:
            return False
        if message.retained and not self._found.done():
            self._found.set_result(message.payload)
        return True
