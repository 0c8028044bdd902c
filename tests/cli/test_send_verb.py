"""`meterbridge send` at a real broker, with a stand-in for the gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cli.bench import configuration, free_port, meterbridge, mosquitto
from tests.cli.gateways import BREAKER, Ack, Answers, StandIn, ack

INFO = json.dumps({"commands": {"breaker": BREAKER}})


def _finally(status: str, **more: Any) -> Answers:
    def answers(_topic: str, identity: str, _payload: Any) -> list[Ack]:
        return [ack(identity, "accepted"), ack(identity, status, **more)]

    return answers


def _silent(_topic: str, _identity: str, _payload: Any) -> list[Ack]:
    return []


def _send(port: int, base: str, *words: str) -> Result:
    return meterbridge("send", "--url", f"mqtt://127.0.0.1:{port}", "--base", base, *words)


@pytest.fixture
def base(request: pytest.FixtureRequest) -> str:
    """A base topic of the test's own: retained messages of others do not matter."""
    return str(request.node.name).translate(str.maketrans("[]/", "___"))


def test_success_is_status_0_and_each_ack_is_a_line(broker_port: int, base: str) -> None:
    with StandIn(broker_port, base, _finally("succeeded", result={"remain": 3})) as gateway:
        gateway.retain("bridge/status", "online")
        gateway.retain("shop/D1/info", INFO)
        result = _send(broker_port, base, "shop/D1", "breaker", "off")
        assert (result.exit_code, result.stderr) == (0, "")
        accepted, final = result.stdout.splitlines()
        assert "accepted" in accepted
        assert "succeeded" in final
        assert '{"remain":3}' in final
        ((topic, payload, properties),) = gateway.sent
        assert topic == f"{base}/shop/D1/cmd/breaker"
        body = json.loads(payload)
        assert body.pop("id").startswith("cli-")
        assert body == {"state": "off"}
        assert properties is not None
        assert properties.CorrelationData.decode() == json.loads(payload)["id"]
        assert properties.ResponseTopic.startswith(f"{base}/bridge/reply/")


@pytest.mark.parametrize(
    "status", ["failed", "rejected", "timed_out", "cancelled", "expired", "indeterminate"]
)
def test_any_other_end_is_status_1(broker_port: int, base: str, status: str) -> None:
    answers = _finally(status, code="device_refused", message="no")
    with StandIn(broker_port, base, answers) as gateway:
        gateway.retain("bridge/status", "online")
        result = _send(broker_port, base, "shop/D1", "breaker", "state=off", "--id", "a1")
    assert result.exit_code == 1
    assert f"{status:13}  device_refused  no" in result.stdout


def test_a_message_of_several_lines_is_shown_as_several_lines(broker_port: int, base: str) -> None:
    answers = _finally("failed", code="invalid_params", message="c.yaml:3: no\nc.yaml:5:\x1b[2J neither")
    with StandIn(broker_port, base, answers) as gateway:
        gateway.retain("bridge/status", "online")
        result = _send(broker_port, base, "shop/D1", "breaker", "state=off", "--id", "a1")
    (line, *more) = result.stdout.split("invalid_params")[1].splitlines()
    assert (line.strip(), more[:2]) == ("", ["    c.yaml:3: no", "    c.yaml:5:\ufffd[2J neither"])


def test_json_prints_the_acknowledgements_as_they_are(broker_port: int, base: str) -> None:
    with StandIn(broker_port, base, _finally("succeeded")):
        result = _send(broker_port, base, "shop/D1", "breaker", "off", "--id", "a1", "--json")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        ack("a1", "accepted"),
        ack("a1", "succeeded"),
    ]


def test_without_a_final_ack_the_status_is_3_and_says_what_came_last(broker_port: int, base: str) -> None:
    def answers(_topic: str, identity: str, _payload: Any) -> list[Ack]:
        return [ack(identity, "accepted"), ack(identity, "sent")]

    with StandIn(broker_port, base, answers) as gateway:
        gateway.retain("bridge/status", "online")
        result = _send(broker_port, base, "shop/D1", "breaker", "off", "--id", "a1", "--wait", "700ms")
    assert result.exit_code == 3
    assert "within 700ms: the last acknowledgement was 'sent'" in result.stderr
    assert "journal show a1" in result.stderr


def test_when_nobody_answers_it_says_where_to_look(broker_port: int, base: str) -> None:
    result = _send(broker_port, base, "shop/D1", "breaker", "off", "--wait", "300ms")
    assert result.exit_code == 3
    assert "no gateway was ever seen below this base topic" in result.stderr
    assert "does a gateway run, with this base topic and this broker?" in result.stderr


def test_a_gateway_that_is_offline_is_told_before(broker_port: int, base: str) -> None:
    with StandIn(broker_port, base, _silent) as gateway:
        gateway.retain("bridge/status", "offline")
        result = _send(broker_port, base, "bridge", "reload", "--wait", "300ms")
    assert "the gateway is offline" in result.stderr
    assert result.exit_code == 3


@pytest.mark.parametrize("options", [("--id", "mine"), ()])
def test_acknowledgements_of_others_are_not_taken_for_ours(
    broker_port: int, base: str, options: tuple[str, ...]
) -> None:
    def answers(_topic: str, _identity: str, _payload: Any) -> list[Ack]:
        gateway.publish("shop/D1/ack", ack("another", "succeeded"))
        gateway.publish("shop/D1/ack", ack("auto-0002", "succeeded"))
        return []

    with StandIn(broker_port, base, answers) as gateway:
        result = _send(broker_port, base, "shop/D1", "breaker", "off", *options, "--wait", "500ms")
        assert len(gateway.sent) == 1
    assert (result.exit_code, result.stdout) == (3, "")


def test_a_repetition_that_was_done_before_is_a_success(broker_port: int, base: str) -> None:
    def answers(_topic: str, identity: str, _payload: Any) -> list[Ack]:
        return [ack(identity, "succeeded", duplicate=True)]

    with StandIn(broker_port, base, answers):
        result = _send(broker_port, base, "shop/D1", "breaker", "off", "--id", "a1")
    assert result.exit_code == 0
    assert "this id was used before" in result.stdout


def test_a_command_that_needs_an_id_gets_none_made_up(broker_port: int, base: str) -> None:
    info = {"commands": {"recharge": {"params": {"required": ["amount"]}, "needs_id": True}}}
    with StandIn(broker_port, base, _finally("rejected", code="id_required")) as gateway:
        gateway.retain("shop/D1/info", json.dumps(info))
        gateway.retain("bridge/status", "online")
        result = _send(broker_port, base, "shop/D1", "recharge", "amount=5")
        ((_, payload, properties),) = gateway.sent
    assert result.exit_code == 1
    assert json.loads(payload) == {"amount": 5}
    assert getattr(properties, "CorrelationData", None) is None


def test_an_account_that_the_gateway_does_not_have_is_never_sent_to(broker_port: int, base: str) -> None:
    with StandIn(broker_port, base, _silent) as gateway:
        gateway.retain("bridge/info", json.dumps({"accounts": [{"id": "shop"}, {"id": "roof"}]}))
        result = _send(broker_port, base, "shoop/D1", "breaker", "off")
        assert gateway.sent == []
    assert result.exit_code == 2
    assert (
        "there is no account 'shoop' in the gateway's configuration; known are: shop, roof" in result.stderr
    )


def test_an_account_that_the_file_does_not_have_lists_the_known(tmp_path: Path) -> None:
    result = meterbridge("send", "-c", str(configuration(tmp_path)), "shoop/D1", "breaker", "off")
    assert result.exit_code == 2
    assert "there is no account 'shoop'" in result.stderr
    assert "known are: shop" in result.stderr


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_broker_of_the_configuration_and_mqtt_3(
    broker_port: int, base: str, tmp_path: Path, protocol: int
) -> None:
    path = configuration(tmp_path, port=broker_port)
    path.write_text(
        path.read_text().replace(
            "username: operator", f"username: operator, protocol: {protocol}, base_topic: {base}"
        )
    )
    with StandIn(broker_port, base, _finally("succeeded")) as gateway:
        gateway.retain("bridge/status", "online")
        result = meterbridge("send", "-c", str(path), "shop/D1", "breaker", "off")
        ((_, payload, properties),) = gateway.sent
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert payload == b"off"
    assert (getattr(properties, "ResponseTopic", None) is not None) == (protocol == 5)


@pytest.mark.parametrize(("word", "has_properties"), [("5", True), ("4", False), ("3.1.1", False)])
def test_the_protocol_can_be_chosen_and_says_who_asks(
    broker_port: int, base: str, word: str, has_properties: bool
) -> None:
    with StandIn(broker_port, base, _finally("succeeded")) as gateway:
        gateway.retain("bridge/status", "online")
        gateway.retain("shop/D1/info", INFO)
        result = _send(
            broker_port, base, "--protocol", word, "--requester", "Erika", "shop/D1", "breaker", "off"
        )
        ((_, payload, properties),) = gateway.sent
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert json.loads(payload)["state"] == "off"
    assert getattr(properties, "UserProperty", None) == ([("requester", "Erika")] if has_properties else None)


def test_a_text_that_looks_like_a_number_stays_a_text(broker_port: int, base: str) -> None:
    with StandIn(broker_port, base, _finally("succeeded")) as gateway:
        gateway.retain("bridge/status", "online")
        result = _send(
            broker_port, base, "bridge", "lock", "account=gas", "device=00123456789012", "reason=7"
        )
        number = _send(broker_port, base, "bridge", "lock", "account=gas", "device=12345678901234")
        sent = [json.loads(payload) for _, payload, _ in gateway.sent]
    assert (result.exit_code, number.exit_code) == (0, 0)
    assert [(one["device"], one.get("reason")) for one in sent] == [
        ("00123456789012", "7"),
        ("12345678901234", None),
    ]


def test_what_cannot_be_sent_as_written_is_a_usage_error(tmp_path: Path) -> None:
    url = ("--url", "mqtt://127.0.0.1:1")
    for words in (
        ("shop/D1", "breaker", "off"),
        (*url, "shop/D1", "breaker", "off", "now"),
        (*url, "/D1", "breaker", "off"),
        (*url, "shop/D1", "bre/aker"),
        (*url, "shop/D1", "breaker", "--wait", "5"),
        (*url, "-c", str(configuration(tmp_path)), "shop/D1", "breaker"),
        ("--url", "mqtt://me:word@127.0.0.1:1", "shop/D1", "breaker"),
        ("--url", "http://127.0.0.1:1", "shop/D1", "breaker"),
    ):
        assert meterbridge("send", *words).exit_code == 2, words


def test_a_password_file_that_is_no_text_is_told_without_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "word").write_bytes(b"\xffsecret")
    login = ("--username", "me", "--password-file", str(tmp_path / "word"))
    result = meterbridge("send", "--url", "mqtt://127.0.0.1:1", *login, "shop/D1", "breaker", "off")
    assert result.exit_code == 2
    assert "--password-file: expected a readable text in UTF-8" in result.stderr
    assert "xff" not in result.stderr


def test_a_broker_that_is_not_there_is_told() -> None:
    port = free_port()
    result = _send(port, "base", "shop/D1", "breaker", "off")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"meterbridge: cannot connect to the broker at 127.0.0.1:{port}: ")


def test_a_broker_that_refuses_is_told_with_the_user(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("FAKE0000word\n")
    with mosquitto(tmp_path, ["allow_anonymous false"]) as port:
        anonymous = _send(port, "base", "shop/D1", "breaker", "off")
        options = ("--username", "me", "--password-file", str(tmp_path / "password"))
        named = _send(port, "base", *options, "shop/D1", "breaker", "off")
    assert (anonymous.exit_code, named.exit_code) == (1, 1)
    assert "refuses a client without user and password: Not authorized" in anonymous.stderr
    assert "refuses the user 'me': Not authorized" in named.stderr
    assert "FAKE0000word" not in named.output


def test_a_topic_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "access").write_text("topic read #\n")
    (tmp_path / "access").chmod(0o644)
    tmp_path.chmod(0o755)
    with mosquitto(tmp_path, ["allow_anonymous true", f"acl_file {tmp_path / 'access'}"]) as port:
        result = _send(port, "base", "shop/D1", "breaker", "off", "--wait", "2s")
    assert result.exit_code == 1
    assert "does not let this user publish to base/shop/D1/cmd/breaker" in result.stderr
