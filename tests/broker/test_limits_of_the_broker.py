"""What a broker allows is obeyed to the letter: receive maximum, packet size, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.contract.publication import Class, Publication
from bridge.mqtt import session as session_module
from tests.broker.rig import BASE, rigged
from tests.broker.scripted import Script, ScriptedBroker, Taken

ONE_TO_FIVE = [str(number) for number in range(1, 6)]


async def test_receive_maximum_is_never_exceeded_not_even_by_the_birth(tmp_path: Path) -> None:
    script = Script(receive_maximum=2, puback_after_s=0.01)
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        bodies = [str(number) for number in range(60)]
        await rig.say("a/telemetry", *bodies)
        await rig.until_empty()
        assert broker.sins == []
        assert broker.most_in_flight == 2
        assert [body.decode() for body in broker.bodies(f"{BASE}/a/telemetry")] == bodies
        assert len(broker.connects) == 1


async def test_receive_maximum_of_one_lets_births_and_deaths_through(tmp_path: Path) -> None:
    script = Script(receive_maximum=1, puback_after_s=0.02)
    async with ScriptedBroker(script).serving() as broker:
        async with rigged(tmp_path, broker.port) as rig:
            await rig.say("a/telemetry", *ONE_TO_FIVE)
            await rig.until_empty()
        await broker.until(lambda: not broker.connected, "the client says good-bye")
        assert broker.sins == []
        assert broker.bodies(f"{BASE}/bridge/status") == [b"online", b"offline"]


async def test_window_bounds_what_is_in_flight_where_the_broker_names_no_maximum(tmp_path: Path) -> None:
    script = Script(puback_after_s=0.05)
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port, window=7) as rig:
        await rig.say("a/telemetry", *(str(number) for number in range(40)))
        await rig.until_empty()
        assert 2 <= broker.most_in_flight <= 7


async def test_message_above_the_packet_size_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    script = Script(maximum_packet_size=400)
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        await rig.say("a/telemetry", "before", "x" * 380, "after")
        await rig.until_empty()
        assert broker.sins == []
        assert broker.bodies(f"{BASE}/a/telemetry") == [b"before", b"after"]
        assert rig.refused == [(f"{BASE}/a/telemetry", 0x95)]


async def test_a_topic_longer_than_mqtt_can_say_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    async with ScriptedBroker(Script()).serving() as broker, rigged(tmp_path, broker.port) as rig:
        fits, too_long = "d" * (65_535 - len(f"{BASE}//info")), "ü" * 33_000
        await rig.say(f"{fits}/info", "1")
        await rig.say(f"{too_long}/info", "2")
        await rig.say("a/info", "3")
        await rig.until_empty()
        assert rig.refused == [(f"{BASE}/{too_long}/info", 0x95)]
        assert broker.bodies(f"{BASE}/{fits}/info") == [b"1"]
        assert broker.bodies(f"{BASE}/a/info") == [b"3"]


async def test_largest_acknowledgement_with_correlation_data_still_fits_or_is_told(tmp_path: Path) -> None:
    script = Script(maximum_packet_size=600)
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        acks = [
            Publication(f"{BASE}/a/ack", b"y" * size, Class.ACK, correlation=b"c" * 300)
            for size in (10, 200, 240, 280, 400)
        ]
        await rig.publish(*acks)
        await rig.until_empty()
        assert broker.sins == []
        assert len(broker.bodies(f"{BASE}/a/ack")) + len(rig.refused) == len(acks)
        assert len(broker.bodies(f"{BASE}/a/ack")[0]) == 10


async def test_topic_that_is_not_authorised_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    script = Script(reason_for=lambda taken: 0x87 if taken.topic.endswith("/secret") else 0)
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        await rig.say("a/telemetry", "1")
        await rig.say("a/secret", "2")
        await rig.say("a/telemetry", "3")
        await rig.until_empty()
        assert broker.bodies(f"{BASE}/a/telemetry") == [b"1", b"3"]
        assert rig.refused == [(f"{BASE}/a/secret", 0x87)]
        assert rig.publisher.counters.refused == 1


async def test_message_refused_for_a_full_quota_is_sent_again_until_it_is_taken(tmp_path: Path) -> None:
    answers = iter([0x97, 0x97])

    def reason(taken: Taken) -> int:
        return next(answers, 0) if taken.topic.endswith("telemetry") else 0

    async with (
        ScriptedBroker(Script(reason_for=reason)).serving() as broker,
        rigged(tmp_path, broker.port) as rig,
    ):
        await rig.say("a/telemetry", "1")
        await rig.until_empty()
        assert broker.bodies(f"{BASE}/a/telemetry") == [b"1", b"1", b"1"]
        assert rig.refused == []


async def test_several_messages_refused_for_a_full_quota_keep_their_order(tmp_path: Path) -> None:
    full = set(ONE_TO_FIVE)

    def reason(taken: Taken) -> int:
        body = taken.body.decode()
        if taken.topic.endswith("telemetry") and body in full:
            full.remove(body)
            return 0x97
        return 0

    async with (
        ScriptedBroker(Script(reason_for=reason)).serving() as broker,
        rigged(tmp_path, broker.port) as rig,
    ):
        await rig.say("a/telemetry", *ONE_TO_FIVE)
        await rig.until_empty()
        sent = [body.decode() for body in broker.bodies(f"{BASE}/a/telemetry")]
        assert sent == ONE_TO_FIVE + ONE_TO_FIVE


async def test_message_at_which_the_broker_always_hangs_up_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(session_module, "BACKOFF_MAX_S", 0.05)
    script = Script(hangs_up_on=lambda taken: taken.body == b"poison")
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        await rig.say("a/telemetry", "1", "2", "poison", "3", "4")
        await rig.until_empty()
        topic = f"{BASE}/a/telemetry"
        assert rig.refused == [(topic, 0x80)]
        last = {body: index for index, body in enumerate(broker.bodies(topic))}
        assert sorted(last, key=last.__getitem__)[-2:] == [b"3", b"4"]
        assert {b"1", b"2"} <= last.keys()


async def test_connection_that_breaks_again_and_again_is_not_blamed_on_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time something was confirmed in between: it is the network."""
    monkeypatch.setattr(session_module, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(session_module, "BACKOFF_MAX_S", 0.05)
    count = iter(range(10_000))
    script = Script(hangs_up_on=lambda taken: taken.topic.endswith("telemetry") and next(count) % 3 == 2)
    async with ScriptedBroker(script).serving() as broker, rigged(tmp_path, broker.port) as rig:
        bodies = [str(number) for number in range(30)]
        await rig.say("a/telemetry", *bodies)
        await rig.until_empty(20)
        assert rig.refused == []
        assert {body.decode() for body in broker.bodies(f"{BASE}/a/telemetry")} == set(bodies)


async def test_reason_that_nobody_matched_a_subscription_counts_as_taken(tmp_path: Path) -> None:
    async with (
        ScriptedBroker(Script(reason_for=lambda _taken: 0x10)).serving() as broker,
        rigged(tmp_path, broker.port) as rig,
    ):
        await rig.say("a/telemetry", *ONE_TO_FIVE)
        await rig.until_empty()
        assert len(broker.bodies(f"{BASE}/a/telemetry")) == 5
        assert rig.publisher.counters.published == 5


async def test_what_was_unconfirmed_at_a_break_is_sent_again_from_the_oldest_on(tmp_path: Path) -> None:
    held = Script(reason_for=lambda taken: None if taken.topic.endswith("telemetry") else 0)
    async with ScriptedBroker(held).serving() as broker, rigged(tmp_path, broker.port) as rig:
        await rig.say("a/telemetry", *ONE_TO_FIVE)
        topic = f"{BASE}/a/telemetry"
        await broker.until(lambda: len(broker.bodies(topic)) == 5, "all five are in flight")
        mids = [taken.mid for taken in broker.taken if taken.topic == topic]
        broker.puback(mids[1])
        broker.puback(mids[3])
        await rig.until(lambda: rig.publisher.in_flight() == 3, "two are confirmed")
        held.reason_for = lambda _taken: 0
        broker.cut()
        await rig.until_empty()
        assert broker.bodies(topic) == [b"1", b"2", b"3", b"4", b"5", b"1", b"3", b"5"]


async def test_rows_beyond_memory_come_from_the_disk_in_order_and_once(tmp_path: Path) -> None:
    async with ScriptedBroker().serving() as broker, rigged(tmp_path, broker.port) as rig:
        bodies = [str(number) for number in range(5000)]
        for start in range(0, len(bodies), 1000):
            await rig.say("a/telemetry", *bodies[start : start + 1000])
        await rig.until_empty(30)
        assert [body.decode() for body in broker.bodies(f"{BASE}/a/telemetry")] == bodies
