"""Which MQTT is spoken: 5 where the broker speaks it, 3.1.1 where it refuses 5, and never the wrong one for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.mqtt import session as session_module
from tests.broker.rig import BASE, rigged
from tests.broker.scripted import Script, ScriptedBroker


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CONNECT_TIMEOUT_S", 0.4)
    monkeypatch.setattr(session_module, "BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(session_module, "BACKOFF_MAX_S", 0.2)


async def test_broker_that_refuses_mqtt_5_by_reason_code_is_spoken_to_in_3_1_1(tmp_path: Path) -> None:
    script = Script(refuse_protocol=5)
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        await rig.say("a/telemetry", "1")
        await rig.until_empty()
        assert broker.connects == [5, 4]
        assert rig.session.protocol == "3.1.1"
        assert broker.clean_starts[-1] is True
        assert broker.bodies(f"{BASE}/a/telemetry") == [b"1"]
        assert set(broker.subscriptions) == {"mb/bridge/cmd/+", "mb/shop/cmd/+", "mb/shop/+/cmd/+"}


async def test_broker_that_answers_in_the_old_form_is_spoken_to_in_3_1_1(tmp_path: Path) -> None:
    script = Script(refuse_protocol=5, refuse_with=1, old_connack=True)
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        await rig.until(lambda: rig.session.connected, "the session stands", 15)
        assert broker.connects[-1] == 4


async def test_mqtt_5_is_tried_again_after_the_broker_was_replaced(tmp_path: Path) -> None:
    script = Script(refuse_protocol=5)
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        await rig.until(lambda: rig.session.connected, "the session stands")
        assert rig.session.protocol == "3.1.1"
        script.refuse_protocol = None
        broker.cut()
        await rig.until(lambda: len(broker.connects) > 2 and rig.session.connected, "it stands again")
        assert rig.session.protocol == "5"


async def test_broker_that_keeps_silent_for_a_while_does_not_lose_its_mqtt_5_session(tmp_path: Path) -> None:
    script = Script()
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        await rig.until(lambda: rig.session.connected, "the session stands")
        script.silent = True
        broker.cut()
        await broker.until(lambda: len(broker.connects) >= 4, "it was tried again and again", 15)
        script.silent, script.session_present = False, True
        await rig.until(lambda: rig.session.connected, "it stands again", 20)
        assert set(broker.connects) == {5}
        assert not any(broker.clean_starts)


async def test_silence_at_the_start_does_not_make_the_gateway_give_up_its_session(tmp_path: Path) -> None:
    """A clean 3.1.1 connection with the same client id would throw away the commands that wait at the broker."""
    script = Script(silent=True)
    async with (
        ScriptedBroker(script).serving() as broker,
        rigged(tmp_path, broker.port, knows_mqtt5=True) as rig,
    ):
        await broker.until(lambda: len(broker.connects) >= 3, "it was tried again", 15)
        script.silent = False
        await rig.until(lambda: rig.session.connected, "the session stands", 20)
        assert not any(broker.clean_starts)
        assert rig.session.protocol == "5"


async def test_broker_that_never_answers_mqtt_5_is_spoken_to_in_3_1_1(tmp_path: Path) -> None:
    """amqtt reads on for ever after a CONNECT of version 5."""
    script = Script(silent_for=5)
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        await rig.until(lambda: rig.session.connected, "the session stands")
        assert broker.connects == [5, 4]
        assert rig.session.protocol == "3.1.1"


async def test_broker_that_hangs_up_instead_of_answering_is_tried_again_at_once(tmp_path: Path) -> None:
    """As a proxy does whose broker is not there: no time-out is waited for."""
    script = Script(hangs_up=True)
    async with (
        ScriptedBroker(script).serving() as broker,
        rigged(tmp_path, broker.port, knows_mqtt5=True) as rig,
    ):
        await broker.until(lambda: len(broker.connects) >= 4, "it is tried again and again", 1.5)
        script.hangs_up = False
        await rig.until(lambda: rig.session.connected, "the session stands")
        assert set(broker.connects) == {5}


async def test_configured_3_1_1_is_never_left(tmp_path: Path) -> None:
    async with ScriptedBroker().serving() as broker, rigged(tmp_path, broker.port, protocol=4) as rig:
        await rig.until(lambda: rig.session.connected, "the session stands")
        broker.cut()
        await rig.until(lambda: len(broker.connects) > 1 and rig.session.connected, "it stands again")
        assert broker.connects == [4, 4]
        assert broker.clean_starts == [True, True]
