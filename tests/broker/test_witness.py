"""What is asked of a broker that remembers our session, to see whether it has our retained topics too."""

from __future__ import annotations

from typing import Any

import aiomqtt
import pytest

from bridge.contract.publication import Class, Publication
from bridge.mqtt.incoming import Incoming
from bridge.mqtt.witness import Witness

STATUS, STATE, INFO = "mb/bridge/status", "mb/shop/D1/state", "mb/shop/D1/info"


class Broker:
    """Answers a subscription with what it keeps; `hangs_up`: with the end of the connection."""

    def __init__(self, witness: Witness, hangs_up: bool = False, **kept: bytes) -> None:
        self.witness = witness
        self.hangs_up = hangs_up
        self.kept = kept
        self.asked: list[str] = []

    async def subscribe(self, topics: list[tuple[str, Any]]) -> tuple[int, ...]:
        ((topic, _),) = topics
        self.asked.append(topic)
        if self.hangs_up:
            raise aiomqtt.MqttError("hung up")
        body = self.kept.get(topic.rsplit("/", 1)[1])
        assert body is not None
        assert self.witness.hears(Incoming(topic, body, 0, 0, retained=True, dup=False))
        return (0,)

    async def unsubscribe(self, _topic: str) -> None:
        return None


def confirmed(witness: Witness, *messages: tuple[str, bytes]) -> None:
    for mid, (topic, body) in enumerate(messages, 1):
        witness.sent(mid, Publication(topic, body, Class.META, retain=True))
        witness.confirmed(mid, 0)


async def asks(witness: Witness, broker: Any) -> bool:
    return await witness.asks(broker)


async def test_the_message_that_was_confirmed_last_is_looked_for() -> None:
    witness = Witness(STATUS)
    confirmed(witness, (INFO, b"1"), (STATE, b"2"), (STATUS, b"online"))
    assert await asks(witness, Broker(witness, state=b"2"))
    assert not await asks(witness, Broker(witness, state=b"1"))


async def test_what_was_in_flight_when_the_connection_broke_may_have_arrived() -> None:
    witness = Witness(STATUS)
    confirmed(witness, (STATE, b"2"))
    witness.sent(7, Publication(STATE, b"3", Class.STATE, retain=True))
    witness.broke()
    for body, kept in ((b"2", True), (b"3", True), (b"1", False)):
        assert await asks(witness, Broker(witness, state=body)) is kept


async def test_nothing_is_asked_where_nothing_is_known() -> None:
    witness = Witness(STATUS)
    broker = Broker(witness)
    assert not await asks(witness, broker)
    confirmed(witness, (STATE, b"2"), (STATE, b""))
    assert not await asks(witness, broker)
    assert broker.asked == []


async def test_a_broker_that_hangs_up_at_the_question_is_not_asked_a_second_time() -> None:
    witness = Witness(STATUS)
    confirmed(witness, (STATE, b"2"))
    broker = Broker(witness, hangs_up=True)
    with pytest.raises(aiomqtt.MqttError):
        await asks(witness, broker)
    assert not await asks(witness, broker)
    assert broker.asked == [STATE]
