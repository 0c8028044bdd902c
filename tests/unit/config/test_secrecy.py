"""No message and no repr shows a secret."""

from __future__ import annotations

import traceback
from dataclasses import replace

import pytest
from pydantic import SecretStr, field_validator

from bridge.config import load
from bridge.domain.errors import ConfigError
from bridge.vendorkit.settings import AccountSettings

SEED = "FAKEhunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"mqtt: {{password: {SEED}}}",
        f"mqtt: {{username: u, password: [{SEED}]}}",
        f"mqtt: {{username: u, password: {{{SEED}: x}}, window: 0}}",
        f"mqtt: {SEED}",
        f"mqtt: {{url: 'mqtt://user:{SEED}@localhost'}}",
        f"mqtt: {{url: 'http://user:{SEED}@localhost'}}",
        f"mqtt: {{pasword: {SEED}}}",
        f"mqtt: {{password: *{SEED}}}",
        f"mqtt: {{password: !{SEED}}}",
        f"mqtt: {{password: !{SEED}!x y}}",
        f"mqtt: {{password: &{SEED} x, username: &{SEED} y, window: 0}}",
        f"mqtt: {{password: '{SEED}}}",
        f"mqtt: {{username: u, password: {SEED}: x}}",
        f"state: {{url: 'postgresql://u:{SEED}@db/x'}}",
        f"state: {{url: 'mysql://u:{SEED}@db/x'}}",
        f"mqtt: {{username: u, password:{SEED}}}",
        f"mqtt: {{username: u, password={SEED}}}",
        f"accounts: [{{id: a, vendor: acme, app_key:{SEED}}}]",
        f"accounts: [{{id: a, vendor: acme, app_key: FAKE0000, push: {{secret:{SEED}}}}}]",
        f"mqtt: {{url: 'http://h/?token={SEED}'}}",
        f"accounts: {SEED}",
        f"accounts: [{SEED}]",
        f"accounts: [{{id: a, vendor: acme, app_key: FAKE0000, push: {SEED}}}]",
        f"accounts: [{{id: a, vendor: acme, app_key: FAKE0000, push: {{secret: '{SEED}/'}}}}]",
        f"accounts: [{{id: a, vendor: acme, app_key: {{x: {SEED}}}}}]",
        f"accounts: [{{id: a, vendor: nobody, app_key: {SEED}}}]",
    ],
)
def test_no_mistake_shows_a_secret(read, text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    shown = str(caught.value) + "".join(traceback.format_exception(caught.value))
    assert SEED.casefold() not in shown.casefold()


@pytest.mark.parametrize(
    "key",
    [
        "mqtt: {url: '%s'}",
        "mqtt: {window: '%s'}",
        "mqtt: {protocol: '%s'}",
        "mqtt: {flat_metrics: '%s'}",
        "mqtt: {base_topic: '%s/#'}",
        "mqtt: {tls: {ca: '%s'}}",
        "http: {listen: '%s'}",
        "http: {trusted_proxies: ['%s']}",
        "http: {max_body: '%s'}",
        "http: {page: '%s'}",
        "http: {page_hosts: ['%s:']}",
        "state: {url: '%s'}",
        "commands: {remember: '%s'}",
        "log: {level: '%s'}",
        "accounts: [{id: a, vendor: '%s'}]",
        "accounts: [{id: 'A%s', vendor: other}]",
        "accounts: [{id: a, vendor: other, timezone: '%s'}]",
        "accounts: [{id: a, vendor: acme, app_key: FAKE0000, limits: {calls: '%s'}}]",
        "accounts: [{id: a, vendor: acme, app_key: FAKE0000, limits: {cals: '1/%s'}}]",
        "accounts: [{id: a, vendor: other, push: {secret: FAKE0000, allow_from: ['%s']}}]",
    ],
)
@pytest.mark.parametrize("reference", ["${SECRET}", "file"])
def test_no_mistake_shows_what_came_from_outside_the_file(read, tmp_path, key, reference):
    (tmp_path / "secret").write_text(SEED + "/")
    text = (
        key % reference
        if reference != "file"
        else key.replace("'%s'", "!file secret").replace("%s", reference)
    )
    with pytest.raises(ConfigError) as caught:
        read(text, SECRET=SEED + "/")
    assert SEED.casefold() not in str(caught.value).casefold()


class Talkative(AccountSettings):
    """Settings whose validators tell what they should not."""

    base_url: str
    app_key: SecretStr

    @field_validator("app_key", "base_url")
    @classmethod
    def _tells(cls, value):
        text = value if isinstance(value, str) else value.get_secret_value()
        raise ValueError(f"{text.upper()!r} is wrong")


def test_message_of_a_vendors_validator_is_held_back_if_it_tells_a_secret(tmp_path, vendors):
    spec = replace(vendors["acme"], settings=Talkative)
    path = tmp_path / "config.yaml"
    path.write_text(f"accounts: [{{id: a, vendor: acme, app_key: {SEED}, base_url: '${{U}}'}}]")
    with pytest.raises(ConfigError) as caught:
        load(path, {"acme": spec}, {"U": f"u {SEED}"})
    assert [line.partition(": ")[2] for line in caught.value.problems] == [
        "accounts[0].app_key: expected another value (the reason would show a secret)",
        "accounts[0].base_url: expected another value (the reason would show a secret)",
    ]


def test_repr_of_a_configuration_shows_no_secret(read, tmp_path):
    (tmp_path / "pw").write_text(SEED + "-1")
    configuration = read(
        "mqtt: {username: u, password: !file pw}\n"
        "accounts:\n- {id: a, vendor: acme, app_key: '${KEY}', push: {secret: "
        f"{SEED}-3}}}}\n",
        KEY=SEED + "-2",
    )
    assert sorted(configuration.secrets()) == [f"{SEED}-{n}" for n in (1, 2, 3)]
    for shown in (repr(configuration), str(configuration), repr(configuration.accounts[0])):
        assert SEED not in shown
