"""What a configuration file becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.papers import papers

ACCOUNT = "accounts:\n  - id: home\n    vendor: acme\n    app_key: FAKEKEY1\n"


def test_defaults_hold_where_nothing_is_written(read):
    configuration = read("mqtt: {}\n")
    assert configuration.mqtt.url == "mqtt://localhost:1883"
    assert (configuration.mqtt.state_interval, configuration.mqtt.keepalive) == (1.0, 30.0)
    assert (configuration.mqtt.protocol, configuration.mqtt.window) == (5, 100)
    assert configuration.http.address == ("127.0.0.1", 8080)
    assert configuration.http.max_body == 1024**2
    assert configuration.state.path == Path("/var/lib/meterbridge/state.db")
    assert configuration.state.spool_max == 512 * 1024**2
    assert configuration.commands.remember == 7 * 86400
    assert configuration.commands.allow == ("*",)
    assert (configuration.log.level, configuration.log.format) == ("info", "text")
    assert configuration.accounts == ()


@pytest.mark.parametrize(
    "word", ["0123", "12345678901234", "1e5", "2024-01-01", "0x1F", "1_000", "off", "12:30"]
)
def test_device_id_stays_the_text_that_was_written(read, word):
    devices = f"    devices: {{include: [{word}], names: {{{word}: {word}}}}}\n"
    account = read(ACCOUNT + devices).accounts[0]
    assert account.devices.include == (word,)
    assert account.devices.names == {word: word}


def test_list_of_devices_is_what_is_included(read):
    assert read(ACCOUNT + "    devices: [0123, W*]\n").accounts[0].devices.include == ("0123", "W*")


def test_account_is_an_instance_of_its_vendors_settings(read, vendors):
    account = read(ACCOUNT + "    page_size: 20\n    fast: yes\n").accounts[0]
    assert isinstance(account, vendors["acme"].settings)
    assert (account.page_size, account.fast) == (20, True)


@pytest.mark.parametrize(("word", "truth"), [("true", True), ("on", True), ("no", False), ('"off"', False)])
def test_words_are_truths_where_a_truth_is_wanted(read, word, truth):
    assert read(f"mqtt: {{flat_metrics: {word}}}").mqtt.flat_metrics is truth


@pytest.mark.parametrize("null", ["", " ~", " null", " !!null ''"])
def test_key_without_a_value_has_its_default(read, null):
    configuration = read(f"mqtt:\n  username:{null}\n  window:{null}\nhttp:{null}\n")
    assert configuration.mqtt.username is None
    assert configuration.mqtt.window == 100
    assert configuration.http.address == ("127.0.0.1", 8080)


@pytest.mark.parametrize("null", ["~", "null"])
def test_quoted_null_is_text(read, null):
    assert read(f'mqtt: {{username: "{null}"}}').mqtt.username == null


def test_variables_stand_anywhere_in_a_value(read):
    configuration = read(
        "mqtt:\n  url: mqtt://${HOST}:${PORT}\n  window: ${WINDOW}\n  flat_metrics: ${FLAT}\n"
        "  username: $${HOST} $5\n"
        "http:\n  listen: ${LISTEN}\n",
        HOST="broker.invalid",
        PORT="1884",
        WINDOW="7",
        FLAT="on",
        LISTEN="off",
    )
    assert (configuration.mqtt.host, configuration.mqtt.port) == ("broker.invalid", 1884)
    assert (configuration.mqtt.window, configuration.mqtt.flat_metrics) == (7, True)
    assert configuration.mqtt.username == "${HOST} $5"
    assert configuration.http.address is None


def test_value_of_a_variable_is_never_read_as_yaml(read):
    text = "mqtt: {username: u, password: '${PW}'}"
    for secret in ("*x: !y # {z", "~", "null", "${HOST}", "'\"", "a\nb"):
        assert read(text, PW=secret).mqtt.password.get_secret_value() == secret


def test_empty_variable_without_quotes_counts_as_not_written(read):
    configuration = read('mqtt:\n  username: ${U}\n  base_topic: ${B}\n  client_id: "x${U}"\n', U="", B="")
    assert configuration.mqtt.username is None
    assert configuration.mqtt.base_topic == "meterbridge"
    assert configuration.mqtt.client_id == "x"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_file_is_taken_without_the_newline_at_its_end(read, tmp_path, end):
    (tmp_path / "pw").write_bytes(f" FAKE ${{X}}\n{end}".encode())
    text = read("mqtt: {username: u, password: !file pw}").mqtt.password.get_secret_value()
    assert text == (" FAKE ${X}\n" if end else " FAKE ${X}")


def test_file_of_a_credentials_directory_is_found(read, tmp_path):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "mqtt").write_text("FAKEPASSWORD\n")
    text = "mqtt:\n  username: u\n  password: !file ${CREDENTIALS_DIRECTORY}/mqtt\n"
    configuration = read(text, CREDENTIALS_DIRECTORY=str(tmp_path / "credentials"))
    assert configuration.mqtt.password.get_secret_value() == "FAKEPASSWORD"


def test_paths_are_relative_to_the_file(read, tmp_path):
    papers(tmp_path, "ca")
    configuration = read("mqtt: {tls: {ca: ca.pem}}\nstate: {url: 'sqlite:./var/s.db'}")
    assert configuration.mqtt.tls.ca == tmp_path / "ca.pem"
    assert configuration.state.path == tmp_path / "var/s.db"


def test_certificate_and_key_may_be_one_file(read, tmp_path):
    papers(tmp_path, "me")
    (tmp_path / "both.pem").write_text((tmp_path / "me.pem").read_text() + (tmp_path / "me.key").read_text())
    assert read("mqtt: {tls: {cert: me.pem, key: me.key}}").mqtt.tls.key == tmp_path / "me.key"
    assert read("mqtt: {tls: {cert: both.pem}}").mqtt.tls.key is None


def test_aliases_and_merge_keys_are_followed(read):
    configuration = read(
        "accounts:\n"
        "  - &first {id: a, vendor: acme, app_key: FAKEKEY1, poll: 5m, devices: [1]}\n"
        "  - {<<: *first, id: b, poll: 7m}\n"
        "  - {<<: [{id: c, poll: 9m}, *first]}\n"
    )
    assert [(account.id, account.poll) for account in configuration.accounts] == [
        ("a", 300.0),
        ("b", 420.0),
        ("c", 540.0),
    ]
    assert configuration.accounts[1].devices.include == ("1",)


def test_byte_order_mark_is_no_mistake(read):
    assert read(b"\xef\xbb\xbfmqtt: {window: 3}").mqtt.window == 3


def test_secrets_are_all_secret_texts_longest_first(read):
    text = (
        "mqtt: {username: visible, password: FAKE1}\n" + ACCOUNT + "    push: {secret: FAKEPUSH0000}\n"
        "  - {id: b, vendor: acme, app_key: FAKEKEY1}\n"
    )
    assert read(text).secrets() == ("FAKEPUSH0000", "FAKEKEY1", "FAKE1")


def test_position_names_the_line_of_a_key_or_of_what_is_above_it(read, tmp_path):
    configuration = read("mqtt:\n  window: 5\n" + ACCOUNT + "    poll: 5m\n    devices: {names: {a.b: x}}\n")
    file = tmp_path / "config.yaml"
    assert configuration.position("accounts[0].poll") == f"{file}:7"
    assert configuration.position('accounts[0].devices.names["a.b"]') == f"{file}:8"
    assert configuration.position("accounts[0].limits.calls") == f"{file}:4"
    assert configuration.position("mqtt.window") == f"{file}:2"
    assert configuration.position("http.listen") == f"{file}:1"
    for odd in ("accounts[7].poll", "[[\n", "..", "]"):
        assert configuration.position(odd).startswith(f"{file}:")


def test_configuration_cannot_be_changed(read):
    configuration = read("mqtt: {}")
    with pytest.raises(AttributeError):
        configuration.accounts = ()
    with pytest.raises(ValueError, match="frozen"):
        configuration.mqtt.window = 5
