"""Our shortcuts through paho: messages of all sizes arrive whole and once, commands come in, whatever the split."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from bridge.contract.publication import Class, Publication
from bridge.mqtt.fast import FastClient
from bridge.mqtt.incoming import Incoming
from tests.broker.rig import BASE, rigged
from tests.broker.scripted import ScriptedBroker
from tests.system.fixtures import MakeBroker, MakeListener

SIZES = [0, 1, 2, 100, 127, 128, 129, 300, 16383, 16384, 70_000, 300_000]


def bodies(count: int) -> list[bytes]:
    dice = random.Random(7)
    return [
        b"%d:" % number + dice.randbytes(dice.choice(SIZES) if number % 15 == 0 else dice.randrange(400))
        for number in range(count)
    ]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("protocol", [5, 4])
async def test_messages_of_all_sizes_arrive_whole_once_and_in_order(
    make_broker: MakeBroker, make_listener: MakeListener, tmp_path: Path, protocol: int, *, fast: bool
) -> None:
    broker = make_broker()
    listener = make_listener(broker)
    sent = bodies(600)
    async with rigged(tmp_path, broker.port, protocol=protocol, fast=fast) as rig:
        await rig.until(lambda: rig.session.connected, "the session stands")
        topics = [f"{BASE}/a/{'é' * (number % 40)}/telemetry" for number in range(600)]
        for at in range(0, 600, 50):
            await rig.publish(
                *(
                    Publication(topic, body, Class.TELEMETRY)
                    for topic, body in zip(topics[at : at + 50], sent[at : at + 50], strict=True)
                )
            )
        # commands between them: what is read is not only PUBACKs
        for number in range(40):
            await asyncio.to_thread(
                listener.send,
                f"{BASE}/shop/cmd/read",
                json.dumps({"id": f"c{number}", "pad": "x" * number * 50}),
            )
        await rig.until_empty(30)
        await rig.until(lambda: len(rig.commands) == 40, "the commands came")
        assert [json.loads(one.payload)["id"] for one in rig.commands] == [f"c{n}" for n in range(40)]
        assert rig.publisher.counters.published == 600
    got = [one for one in listener.all() if one.topic.endswith("/telemetry")]
    assert [(one.topic, one.payload) for one in got] == list(zip(topics, sent, strict=True))


class Fed(FastClient):
    """A client that reads what a test gives it, in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        paho.Client.__init__(self, paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.acks: list[tuple[int, int]] = []
        self.incoming: list[Incoming] = []
        self._ahead, self._at = b"", 0
        self.on_puback = lambda mid, reason: self.acks.append((mid, reason))
        self.on_incoming = self.incoming.append
        self.pieces = list(pieces)
        self._sock: Any = self

    def close(self) -> None:
        pass

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]


@pytest.mark.parametrize("seed", range(20))
def test_acknowledgements_and_messages_are_read_whatever_the_pieces_they_come_in(seed: int) -> None:
    dice = random.Random(seed)
    stream, acks, messages = b"", [], []
    for number in range(1, 200):
        kind = dice.randrange(4)
        if kind == 0:
            body = dice.randbytes(dice.choice((0, 3, 120, 200, 20_000)))
            told = dice.choice((b"\x00", b"\x07\x26\x00\x01a\x00\x01b", b"\x05\x02\x00\x00\x00\x09"))
            qos = dice.randrange(2)
            rest = b"\x00\x01t" + (number.to_bytes(2, "big") if qos else b"") + told + body
            stream += bytes([0x30 | qos << 1]) + encoded(len(rest)) + rest
            messages.append((body, number if qos else 0))
        else:
            reason = dice.choice((0x10, 0x87))
            mid = number.to_bytes(2, "big")
            tail = [b"", bytes([reason]), bytes([reason, 0])][kind - 1]
            stream += b"\x40" + bytes([2 + len(tail)]) + mid + tail
            acks.append((number, reason if tail else 0))
    pieces = []
    while stream:
        size = dice.choice((1, 2, 3, 5, 64, 4096, 70_000))
        pieces.append(stream[:size])
        stream = stream[size:]
    client = Fed(pieces)
    for _ in range(100_000):
        if not client.pieces and client._at >= len(client._ahead):
            break
        assert client.loop_read() == paho.MQTT_ERR_SUCCESS
    assert client.acks == acks
    assert [(one.payload, one.mid) for one in client.incoming] == messages


def encoded(size: int) -> bytes:
    out = bytearray()
    while True:
        size, low = divmod(size, 128)
        out.append(low | (128 if size else 0))
        if not size:
            return bytes(out)


async def test_connection_that_breaks_in_the_middle_of_many_loses_and_reorders_nothing(
    tmp_path: Path,
) -> None:
    async with ScriptedBroker().serving() as broker, rigged(tmp_path, broker.port) as rig:
        await rig.until(lambda: rig.session.connected, "the session stands")
        words = [str(number) for number in range(1500)]
        await rig.say("a/telemetry", *words)
        for _ in range(4):
            await asyncio.sleep(0.02)
            broker.cut()
            await rig.until(lambda: rig.session.connected, "it stands again", 20)
        await rig.until_empty(30)
        came = [body.decode() for body in broker.bodies(f"{BASE}/a/telemetry")]
        assert list(dict.fromkeys(came)) == words
