"""The settings classes that the sections of the file are made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.domain.quantity import duration_s, size_bytes
from bridge.flow.settings import CommandSettings
from bridge.mqtt.settings import MqttSettings
from bridge.push.settings import HttpSettings
from bridge.store.settings import StateSettings


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "transport", "tls"),
    [
        ("mqtt://localhost", "localhost", 1883, "", "tcp", False),
        ("mqtt://localhost:1884/", "localhost", 1884, "", "tcp", False),
        ("mqtts://broker.invalid", "broker.invalid", 8883, "", "tcp", True),
        ("mqtt://[::1]:1885", "::1", 1885, "", "tcp", False),
        ("ws://broker.invalid", "broker.invalid", 80, "/mqtt", "websockets", False),
        ("wss://broker.invalid:8084/a/b", "broker.invalid", 8084, "/a/b", "websockets", True),
        ("wss://broker.invalid/", "broker.invalid", 443, "/", "websockets", True),
    ],
)
def test_broker_url_tells_how_to_connect(url, host, port, path, transport, tls):
    mqtt = MqttSettings(url=url)
    assert (mqtt.host, mqtt.port, mqtt.path, mqtt.transport, mqtt.uses_tls) == (
        host,
        port,
        path,
        transport,
        tls,
    )


def test_tls_key_switches_tls_on_whatever_the_scheme():
    mqtt = MqttSettings.model_validate({"url": "mqtt://localhost", "tls": {}})
    assert (mqtt.uses_tls, mqtt.port) == (True, 8883)
    assert MqttSettings.model_validate({"url": "mqtt://localhost:1883", "tls": {}}).port == 1883


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:1883", "expected a URL such as"),
        ("http://localhost", "expected a URL such as"),
        ("mqtt://", "expected a URL such as"),
        ("mqtt://:1883", "expected a URL such as"),
        ("mqtt://localhost:0", "expected a URL such as"),
        ("mqtt://localhost:65536", "expected a URL such as"),
        ("mqtt://localhost:port", "expected a URL such as"),
        ("mqtt://[::1", "expected a URL such as"),
        ("mqtt://local host", "expected a URL such as"),
        ("mqtt://user@localhost", "they belong to the keys username, password"),
        ("mqtt://localhost/path", "only ws:// and wss:// have one"),
        ("ws://localhost/mqtt?x=1", "without '\\?' and '#'"),
    ],
)
def test_unusable_broker_url_is_refused(url, reason):
    with pytest.raises(ValidationError, match=reason):
        MqttSettings(url=url)


@pytest.mark.parametrize("topic", ["meterbridge", "site/1/meters", "Zähler", "a b"])
def test_base_topic_may_have_levels(topic):
    assert MqttSettings(base_topic=topic).base_topic == topic


@pytest.mark.parametrize("topic", ["", "/a", "a/", "a//b", "a/+", "#", "a#", "$SYS", "a\0b", "x" * 1025])
def test_base_topic_that_mqtt_would_not_carry_is_refused(topic):
    with pytest.raises(ValidationError, match="base_topic"):
        MqttSettings(base_topic=topic)
    with pytest.raises(ValidationError, match="prefix"):
        MqttSettings.model_validate({"discovery": {"prefix": topic}})


@pytest.mark.parametrize(("written", "protocol"), [("5", 5), (5, 5), ("5.0", 5), ("4", 4), ("3.1.1", 4)])
def test_protocol_has_several_names(written, protocol):
    assert MqttSettings.model_validate({"protocol": written}).protocol == protocol


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"protocol": "3"}, "protocol"),
        ({"keepalive": "500ms"}, "whole seconds from 1s to 65535s"),
        ({"keepalive": "1500ms"}, "whole seconds from 1s to 65535s"),
        ({"keepalive": "19h"}, "whole seconds from 1s to 65535s"),
        ({"window": "0"}, "window"),
        ({"client_id": ""}, "client_id"),
        ({"password": "FAKE"}, "expected username beside password"),
        ({"tls": {"key": "client.key"}}, "expected cert beside key"),
        ({"tls": {"insecure": "true"}}, "insecure"),
        ({"discovery": {"prefix": "meterbridge"}}, "not below base_topic"),
        ({"base_topic": "home", "discovery": {"prefix": "home/ha"}}, "not below base_topic"),
    ],
)
def test_what_mqtt_cannot_do_is_refused(written, reason):
    with pytest.raises(ValidationError, match=reason):
        MqttSettings.model_validate(written)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
        ("[::1]:8080", ("::1", 8080)),
        ("[::]:80", ("::", 80)),
        ("off", None),
        ("False", None),
        (False, None),
    ],
)
def test_listen_is_an_address_or_off(listen, address):
    assert HttpSettings(listen=listen).address == address


@pytest.mark.parametrize(
    "listen",
    ["8080", ":8080", "localhost", "[::1]", "::1:8080", "[::g]:1", "a:65536", "a b:1", "", "on", True],
)
def test_listen_without_host_and_port_is_refused(listen):
    with pytest.raises(ValidationError, match="expected host:port"):
        HttpSettings(listen=listen)


@pytest.mark.parametrize("model", [HttpSettings, StateSettings])
def test_size_of_nothing_is_refused(model):
    key = "max_body" if model is HttpSettings else "spool_max"
    assert getattr(model.model_validate({key: "2KiB"}), key) == 2048
    with pytest.raises(ValidationError, match="expected a size above 0"):
        model.model_validate({key: "0"})


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:////var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:/var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:./x.db", "x.db"),
        ("sqlite:var/x.db", "var/x.db"),
        ("sqlite:///var/a b%20.db", "/var/a b%20.db"),
    ],
)
def test_state_url_names_a_file(url, path):
    state = StateSettings(url=url)
    assert state.path == Path(path)
    assert StateSettings(url=state.url) == state


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://localhost/x", "not yet in PostgreSQL"),
        ("postgres://localhost/x", "not yet in PostgreSQL"),
        ("postgresql+psycopg://localhost/x", "not yet in PostgreSQL"),
        ("sqlite:///./x.db", "for a relative path"),
        ("sqlite://host/x.db", "expected a URL such as"),
        ("sqlite:///", "expected a URL such as"),
        ("sqlite://", "expected a URL such as"),
        ("sqlite:", "expected a URL such as"),
        ("sqlite:.", "expected a URL such as"),
        ("sqlite::memory:", "expected a URL such as"),
        ("sqlite:///x.db?mode=ro", "expected a URL such as"),
        ("sqlite:///x\0.db", "expected a URL such as"),
        ("/var/lib/x.db", "expected a URL such as"),
    ],
)
def test_state_that_is_no_sqlite_file_is_refused(url, reason):
    with pytest.raises(ValidationError, match=reason):
        StateSettings(url=url)


def test_commands_may_be_closed_altogether():
    assert CommandSettings.model_validate({"allow": []}).allow == ()


@pytest.mark.parametrize("text", ["9" * 400 + "d", "5201w", "9999999999s"])
def test_duration_beyond_all_dates_is_refused(text):
    with pytest.raises(ValueError, match="expected a duration"):
        duration_s(text)


def test_size_beyond_all_disks_is_refused():
    with pytest.raises(ValueError, match="expected a size"):
        size_bytes("9" * 400)


@pytest.mark.parametrize("written", ["off", "OFF", False])
def test_page_can_be_off_however_yaml_reads_it(written):
    assert HttpSettings(page=written).page == "off"


def test_page_with_commands_needs_a_password_of_some_length():
    with pytest.raises(ValidationError, match="expected page_password beside page: control"):
        HttpSettings(page="control")
    with pytest.raises(ValidationError, match="at least 8 characters") as caught:
        HttpSettings(page="control", page_password="FAKE-7c")
    assert "FAKE-7c" not in str(caught.value)
    assert HttpSettings(page="control", page_password="FAKE-8ch").page == "control"


@pytest.mark.parametrize("host", ["http://page.example.org", "page.example.org:80", "", "a b"])
def test_page_host_is_a_plain_name(host):
    with pytest.raises(ValidationError, match="page_hosts"):
        HttpSettings(page_hosts=(host,))


def test_a_command_must_be_remembered_for_a_while():
    assert CommandSettings.model_validate({"remember": "1m"}).remember == 60
    with pytest.raises(ValidationError, match="expected at least 1m"):
        CommandSettings.model_validate({"remember": "59s"})
