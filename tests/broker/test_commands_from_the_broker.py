"""Command messages: PUBACK only after the admission, in order; redelivered with DUP by a real broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bridge.contract.commands import CommandMessage
from bridge.domain.errors import StoreError
from tests.broker.rig import rigged
from tests.broker.scripted import ScriptedBroker
from tests.system.stage import Broker, Listener

TOPIC = "mb/shop/D1/cmd/breaker"


async def test_puback_waits_for_the_admission(tmp_path: Path) -> None:
    async with ScriptedBroker().serving() as broker, rigged(tmp_path, broker.port) as rig:
        stored = asyncio.Event()
        rig.admit = lambda _message: stored.wait()  # type: ignore[assignment, return-value] # its truth is not used
        await rig.until(lambda: rig.session.connected, "the session stands")
        broker.publish(TOPIC, b"on", 7)
        await rig.until(lambda: rig.commands, "the command is being admitted")
        await asyncio.sleep(0.1)
        assert broker.pubacks == []
        stored.set()
        await broker.until(lambda: broker.pubacks == [7], "the PUBACK")


async def test_pubacks_leave_in_the_order_of_the_messages(tmp_path: Path) -> None:
    async with ScriptedBroker().serving() as broker, rigged(tmp_path, broker.port) as rig:
        first = asyncio.Event()

        async def admit(message: CommandMessage) -> None:
            if message.mid == 1:
                await first.wait()

        rig.admit = admit
        await rig.until(lambda: rig.session.connected, "the session stands")
        for mid in (1, 2, 3):
            broker.publish(TOPIC, b"on", mid)
        await rig.until(lambda: len(rig.commands) == 3, "all are being admitted, side by side")
        assert broker.pubacks == []
        first.set()
        await broker.until(lambda: broker.pubacks == [1, 2, 3], "the PUBACKs")


async def test_command_that_the_disk_does_not_take_gets_its_puback_later(tmp_path: Path) -> None:
    async with ScriptedBroker().serving() as broker, rigged(tmp_path, broker.port) as rig:

        async def admit(_message: CommandMessage) -> None:
            if len(rig.commands) == 1:
                raise StoreError("the disk is full")

        rig.admit = admit
        await rig.until(lambda: rig.session.connected, "the session stands")
        broker.publish(TOPIC, b"on", 9)
        await broker.until(lambda: broker.pubacks == [9], "the PUBACK")
        assert len(rig.commands) == 2


async def test_fault_in_the_admission_does_not_stop_the_commands_behind_it(tmp_path: Path) -> None:
    async with ScriptedBroker().serving() as broker, rigged(tmp_path, broker.port) as rig:

        async def admit(message: CommandMessage) -> None:
            if message.mid == 1:
                raise RuntimeError("a bug")

        rig.admit = admit
        await rig.until(lambda: rig.session.connected, "the session stands")
        broker.publish(TOPIC, b"on", 1)
        broker.publish(TOPIC, b"off", 2)
        await broker.until(lambda: 2 in broker.pubacks, "the PUBACK of the second")


async def test_message_of_a_broken_connection_gets_no_puback_on_the_next(tmp_path: Path) -> None:
    async with ScriptedBroker().serving() as broker, rigged(tmp_path, broker.port) as rig:
        stored = asyncio.Event()
        rig.admit = lambda _message: stored.wait()  # type: ignore[assignment, return-value] # its truth is not used
        await rig.until(lambda: rig.session.connected, "the session stands")
        broker.publish(TOPIC, b"on", 7)
        await rig.until(lambda: rig.commands, "the command is being admitted")
        broker.cut()
        await broker.until(lambda: len(broker.connects) == 2, "it connects again")
        await rig.until(lambda: rig.session.connected, "the session stands again")
        stored.set()
        await asyncio.sleep(0.2)
        assert broker.pubacks == []


async def test_mosquitto_delivers_an_unacknowledged_command_again_with_dup_and_the_same_packet_id(
    tmp_path: Path, broker: Broker, listener: Listener
) -> None:
    never = asyncio.Event()
    async with rigged(tmp_path, broker.port, name="first") as rig:
        rig.admit = lambda _message: never.wait()  # type: ignore[assignment, return-value] # its truth is not used
        await rig.until(lambda: rig.session.connected, "the session stands")
        await asyncio.to_thread(listener.send, TOPIC, "on")
        await rig.until(lambda: rig.commands, "the command came")
        before = rig.commands[0]
        assert not before.dup
        # the connection breaks without a word, as when the process is killed
        connection = rig.session._connection
        assert connection is not None
        connection.paho.socket().shutdown(2)  # type: ignore[union-attr] # it is connected
        await rig.until(lambda: len(rig.commands) == 2, "the command came again")
    after = rig.commands[1]
    assert after.dup
    assert after.mid == before.mid
    assert after.digest == before.digest


async def test_retain_flag_of_a_live_command_is_seen_on_mqtt_5(
    tmp_path: Path, broker: Broker, listener: Listener
) -> None:
    async with rigged(tmp_path, broker.port) as rig:
        await rig.until(lambda: rig.session.connected, "the session stands")
        await asyncio.to_thread(listener.send, TOPIC, "on", retain=True)
        await asyncio.to_thread(listener.send, TOPIC, "off")
        await rig.until(lambda: len(rig.commands) == 2, "both came")
        assert [command.retained for command in rig.commands] == [True, False]


async def test_mqtt_5_properties_of_a_command_are_read(
    tmp_path: Path, broker: Broker, listener: Listener
) -> None:
    async with rigged(tmp_path, broker.port) as rig:
        await rig.until(lambda: rig.session.connected, "the session stands")
        await asyncio.to_thread(
            listener.send,
            TOPIC,
            "on",
            CorrelationData=b"\x00\x01",
            ResponseTopic="answers/me",
            MessageExpiryInterval=60,
            UserProperty=("requester", "Ann"),
        )
        await rig.until(lambda: rig.commands, "it came")
        (command,) = rig.commands
        assert command.correlation == b"\x00\x01"
        assert command.response_topic == "answers/me"
        assert command.expiry_s is not None
        assert 58 <= command.expiry_s <= 60
        assert command.requester == "Ann"


async def test_accounts_added_and_removed_change_the_subscriptions_at_once(
    tmp_path: Path, broker: Broker, listener: Listener
) -> None:
    async with rigged(tmp_path, broker.port) as rig:
        await rig.until(lambda: rig.session.connected, "the session stands")
        await rig.session.set_accounts(["bridge", "other"])
        await asyncio.to_thread(listener.send, "mb/shop/D1/cmd/breaker", "on")
        await asyncio.to_thread(listener.send, "mb/other/D1/cmd/breaker", "on")
        await rig.until(lambda: rig.commands, "the command of the new account came")
        await asyncio.sleep(0.2)
        assert [command.topic for command in rig.commands] == ["mb/other/D1/cmd/breaker"]
