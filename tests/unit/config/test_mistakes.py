"""Every kind of mistake, with its place."""

from __future__ import annotations

import pytest

from bridge.config import load
from bridge.domain.errors import ConfigError
from bridge.vendors import VENDORS
from tests.unit.config.papers import papers

DURATION = "expected a duration with its unit, such as 500ms, 30s, 5m, 1h or 7d"


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(refused):
    assert refused("""\
mqtt:
  url: http://localhost
  wndow: 3
  window: 2000
  password: ${NOT_SET}
  protocol: 7
  keepalive: 5
  tls: {ca: missing.pem}
http: {listen: 8080, trusted_proxies: [10.0.0.0/8, nowhere]}
log: {level: loud}
accounts:
  - id: Shop
    vendor: acme
    devices: [0123, ~, {a: b}]
    limits: {calls: often}
    page_size: many
    fast: perhaps
    alarm_severity: {"9": bad}
  - vendor: acmee
    id: home
    poll: 5
  - just text
acounts: []
""") == [
        "config.yaml:2:8: mqtt.url: expected a URL such as mqtt://localhost:1883 "
        '(schemes: mqtt, mqtts, ws, wss) (found "http://localhost")',
        'config.yaml:3:3: mqtt.wndow: unknown key; did you mean "window"?',
        'config.yaml:4:11: mqtt.window: expected at most 1000 (found "2000")',
        "config.yaml:5:13: mqtt.password: expected the environment variable NOT_SET to be set",
        'config.yaml:6:13: mqtt.protocol: expected 4 or 5 (found "7")',
        f'config.yaml:7:14: mqtt.keepalive: {DURATION} (found "5")',
        "config.yaml:8:13: mqtt.tls.ca: expected a readable file: No such file or directory "
        '(found "missing.pem")',
        'config.yaml:9:16: http.listen: expected host:port such as "127.0.0.1:8080", "[::1]:8080" or '
        '"0.0.0.0:8080", or off (found "8080")',
        "config.yaml:9:52: http.trusted_proxies[1]: expected an address or a network such as 203.0.113.0/24 "
        '(found "nowhere")',
        "config.yaml:10:14: log.level: expected 'debug', 'info', 'warning' or 'error' (found \"loud\")",
        "config.yaml:12:5: accounts[0].app_key: expected a value: this key is required",
        "config.yaml:12:9: accounts[0].id: expected 1 to 63 of a-z, 0-9, '-' and '_', "
        'beginning with a letter or digit (found "Shop")',
        "config.yaml:14:21: accounts[0].devices[1]: expected text (found nothing)",
        "config.yaml:14:24: accounts[0].devices[2]: expected text (found a mapping)",
        "config.yaml:15:21: accounts[0].limits.calls: expected a rate such as 4/1s, 10/1h or 200/1d "
        '(found "often")',
        'config.yaml:16:16: accounts[0].page_size: expected a whole number (found "many")',
        'config.yaml:17:11: accounts[0].fast: expected true or false (found "perhaps")',
        "config.yaml:18:27: accounts[0].alarm_severity.9: expected 'info', 'warning' or 'critical' "
        '(found "bad")',
        "config.yaml:19:13: accounts[1].vendor: expected one of the vendors acme, other "
        '(found "acmee"); did you mean "acme"?',
        f'config.yaml:21:11: accounts[1].poll: {DURATION} (found "5")',
        "config.yaml:22:5: accounts[2]: expected a mapping",
        'config.yaml:23:1: acounts: unknown key; did you mean "accounts"?',
    ]


def test_unknown_key_that_resembles_none_lists_the_known_ones(refused):
    assert refused("log: {zzz: 1}") == ["config.yaml:1:7: log.zzz: unknown key; known are level, format"]


def test_key_whose_value_sticks_to_its_colon_is_told_so_without_the_value(refused):
    assert refused("mqtt: {username: u, password:FAKE0000, window=5, a@b: 1}\n")[:3] == [
        'config.yaml:1:21: mqtt["password…"]: expected a colon and a space between this key and its value',
        'config.yaml:1:40: mqtt["window…"]: expected a colon and a space between this key and its value',
        'config.yaml:1:50: mqtt["a…"]: unknown key; known are url, username, password, client_id, tls, protocol,'
        " base_topic, flat_metrics, state_interval, keepalive, discovery, window, fast",
    ]


def test_unknown_key_without_a_value_is_still_unknown(refused):
    assert refused("mqtt:\n  windw:\n") == [
        'config.yaml:2:3: mqtt.windw: unknown key; did you mean "window"?'
    ]


def test_account_without_vendor_is_told_so_and_its_common_keys_are_checked(refused):
    assert refused("accounts:\n- id: a\n  app_key: FAKEKEY1\n  poll: 1\n") == [
        "config.yaml:2:3: accounts[0].vendor: expected a value: this key is required",
        f'config.yaml:4:9: accounts[0].poll: {DURATION} (found "1")',
    ]


def test_required_key_without_a_value_is_named_where_it_stands(refused):
    text = "accounts:\n- id: a\n  vendor: acme\n  app_key: ${EMPTY}\n"
    assert refused(text, EMPTY="") == [
        "config.yaml:4:12: accounts[0].app_key: expected a value: this key is required"
    ]


def test_same_id_twice_names_both_lines(refused):
    text = "accounts:\n- {id: a, vendor: other}\n- {id: b, vendor: other}\n- {id: a, vendor: other}\n"
    assert refused(text) == [
        "config.yaml:4:8: accounts[2].id: expected an id of its own; accounts[0] has the same in line 2"
    ]


@pytest.mark.parametrize("section", ["mqtt", "http", "state", "commands", "log"])
@pytest.mark.parametrize("value", ["text", "[1]"])
def test_section_that_is_no_mapping_is_a_mistake(refused, section, value):
    (line,) = refused(f"{section}: {value}")
    assert line.startswith(f"config.yaml:1:{len(section) + 3}: {section}: expected a mapping")


@pytest.mark.parametrize("value", ["text", "{a: b}"])
def test_accounts_that_are_no_list_are_a_mistake(refused, value):
    (line,) = refused(f"accounts: {value}")
    assert line.startswith("config.yaml:1:11: accounts: expected a list")


def test_limits_of_the_vendor_bound_those_of_the_account(refused):
    text = """\
accounts:
- id: a
  vendor: acme
  app_key: FAKEKEY1
  limits:
    calls: 5/1s
    logins: 11/60m
    call: 1/1s
"""
    assert refused(text) == [
        "config.yaml:6:12: accounts[0].limits.calls: expected at most 4/1s, the vendor's limit, "
        'unless limits_unsafe is true (found "5/1s")',
        "config.yaml:7:13: accounts[0].limits.logins: expected at most 10/1h, the gateway's own caution, "
        'as the vendor names no limit, unless limits_unsafe is true (found "11/60m")',
        "config.yaml:8:5: accounts[0].limits.call: expected the name of a limit of acme; "
        'did you mean "calls"?',
    ]


def test_limits_are_checked_also_where_the_account_has_other_mistakes(refused):
    text = """\
accounts:
- id: a
  vendor: acme
  poll: often
  limits:
    calls: 5/1s
    logins: rarely
    call: 1/1s
"""
    assert [line.split(": ")[1] for line in refused(text)] == [
        "accounts[0].app_key", "accounts[0].poll", "accounts[0].limits.calls", "accounts[0].limits.logins",
        "accounts[0].limits.call",
    ]  # fmt: skip
    unsafe = text.replace("poll: often", "limits_unsafe: maybe")
    assert [line.split(": ")[1] for line in refused(unsafe)] == [
        "accounts[0].app_key", "accounts[0].limits_unsafe", "accounts[0].limits.logins", "accounts[0].limits.call",
    ]  # fmt: skip
    assert "limits.calls" not in "".join(refused(unsafe.replace("maybe", "true")))


def test_whether_a_limit_exists_is_not_guessed_from_a_key_that_cannot_be_read(tmp_path):
    file = tmp_path / "config.yaml"

    def told(account: str) -> str:
        file.write_text(f"accounts: [{{id: a, poll: never, {account}}}]")
        with pytest.raises(ConfigError) as refused:
            load(file, VENDORS, {})
        return str(refused.value)

    data = "data: {base_url: 'http://h', company_no: '1', api_key: k}"
    for control in ("5", "{base_url: 5}"):
        assert "limits.control" not in told(
            f"vendor: iotmeter, {data}, control: {control}, limits: {{control: 1/1s}}"
        )
    assert "limits.control: expected the name" in told(f"vendor: iotmeter, {data}, limits: {{control: 1/1s}}")
    latest = "vendor: iammeter, token: t, limits: {meterdata2: 13/1h}"
    assert "limits.meterdata2: expected at most 12/1h" in told(f"{latest}, share_latest_budget: false")
    assert "limits.meterdata2: expected the name" in told(f"{latest}, share_latest_budget: true")
    assert "limits.meterdata2" not in told(f"{latest}, share_latest_budget: perhaps")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: expected a mapping with accounts, mqtt and so on; the file is empty"),
        ("# only this\n", "1:1: expected a mapping with accounts, mqtt and so on; the file is empty"),
        ("- a\n", "1:1: expected a mapping (found a list)"),
        ("mqtt: {window: 3}\nmqtt: {}\n", "2:1: mqtt: expected each key once; this one is already in line 1"),
        (
            "mqtt:\n  window: 3\n  window: 4\n",
            "3:3: mqtt.window: expected each key once; this one is already in line 2",
        ),
        ("? [a]\n: b\n", "1:3: expected a text as key"),
        ("~: b\n", "1:1: expected a text as key"),
        ('"\\0": b\n', "1:1: expected a key without control characters"),
        (
            "log:\n  level: !vault x\n",
            "2:10: log.level: expected no tag but !file; a text that begins with ! needs quotes",
        ),
        (
            "log: !!set {level}\n",
            "1:6: log: expected no tag but !file; a text that begins with ! needs quotes",
        ),
        (
            'mqtt: {username: "\\ud800"}',
            "1:18: mqtt.username: expected text; it holds half a character (a lone surrogate)",
        ),
        ("<<: 5\n", '1:5: ["<<"]: expected a mapping (or a list of them) to merge'),
        ("&a [*a]", "1:1: nested too deeply: expected at most 40 levels"),
        ("a: &a {<<: *a}", "1:4: nested too deeply: expected at most 40 levels"),
        ("[" * 5000, "1:1: nested too deeply"),
        ("log:\n  level: a\x07b\n", "2:11: not valid YAML: the character U+0007 is not allowed"),
        (
            "log: {level: info\n",
            "2:1: not valid YAML: expected ',' or '}', but got '<stream end>' (while parsing a flow mapping)",
        ),
        (
            "log:\n\tlevel: info\n",
            "2:1: not valid YAML: found character … that cannot start any token "
            "(while scanning for the next token); YAML is indented with spaces",
        ),
        (
            "mqtt: {password: ${PW}}",
            "1:19: not valid YAML: expected ',' or '}', but got '{' (while parsing a flow mapping); "
            'between { } or [ ] write it with quotes: "${NAME}"',
        ),
        (
            "mqtt: {password: @x}",
            "1:18: not valid YAML: found character '@' that cannot start any token (while scanning for "
            "the next token); a text that begins with a special character needs quotes",
        ),
        (
            "mqtt: {password: *hunter2}",
            "1:18: not valid YAML: found undefined alias …; "
            "a text that begins with a special character needs quotes",
        ),
        (
            "--- {}\n--- {}\n",
            "2:1: not valid YAML: but found another document (expected a single document in the stream)",
        ),
        (
            'a: "\\UFFFFFFFF"',
            "1:1: not valid YAML: a number in an escape or a directive is too large",
        ),
    ],
)
def test_text_that_is_no_configuration_is_refused_with_its_place(refused, text, expected):
    assert refused(text) == [f"config.yaml:{expected}"]


def test_aliases_that_unfold_without_end_are_refused(refused):
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (line,) = refused("\n".join(rows))
    assert line.endswith("aliases unfold into more than 10000 nodes")


def test_file_that_is_not_utf_8_is_refused_with_the_place_of_the_byte(refused):
    assert refused(b"log:\n  level: inf\xff\n") == ["config.yaml:2:13: expected UTF-8 text"]
    assert refused("mqtt: {}".encode("utf-16")) == ["config.yaml:1:1: expected UTF-8 text"]


def test_file_that_is_too_large_is_refused(refused):
    assert refused(b"#" * (1024**2 + 1)) == ["config.yaml: expected a file of at most 1 MiB"]


@pytest.mark.parametrize(
    ("name", "reason"), [("missing.yaml", "No such file or directory"), (".", "Is a directory")]
)
def test_file_that_cannot_be_read_is_refused(tmp_path, vendors, name, reason):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / name, vendors, {})
    assert caught.value.problems == [f"{tmp_path / name}: expected a readable file: {reason}"]


def test_file_name_that_none_can_have_is_refused(tmp_path, vendors):
    with pytest.raises(ConfigError, match="expected the name of a file"):
        load(tmp_path / "a\0b", vendors, {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${NAME", "expected ${NAME} with the name of an environment variable; write $${ for the text ${"),
        ("${}", "expected ${NAME} with the name of an environment variable; write $${ for the text ${"),
        ("${A:-b}", "expected ${NAME} with the name of an environment variable; write $${ for the text ${"),
        ("x${NOT_SET}y", "expected the environment variable NOT_SET to be set"),
        ("${BAD}", "expected text; it holds half a character (a lone surrogate)"),
        ("!file none", 'expected a readable file; "none": No such file or directory'),
        ("!file ${DIR}/none", 'expected a readable file; "${DIR}/none": No such file or directory'),
        ("!file .", 'expected a readable file; ".": Is a directory'),
        ('!file "\\0"', "expected the name of a file"),
        ("!file empty", 'expected some text in the file; "empty" is empty'),
        ("!file latin", 'expected UTF-8 text in the file "latin"'),
        ("!file large", 'expected a file of at most 64 KiB; "large" is larger'),
        ("!file ${NOT_SET}", "expected the environment variable NOT_SET to be set"),
    ],
)
def test_reference_that_leads_nowhere_is_one_mistake(refused, tmp_path, value, expected):
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "latin").write_bytes(b"\xe4")
    (tmp_path / "large").write_bytes(b"x" * (64 * 1024 + 1))
    text = f"accounts:\n- id: a\n  vendor: acme\n  app_key: {value}\n"
    assert refused(text, BAD="\udcff", DIR="FAKE-DIR") == [
        f"config.yaml:4:12: accounts[0].app_key: {expected}"
    ]


def test_reference_that_leads_nowhere_hides_no_other_mistake(refused):
    text = """\
mqtt: {pasword: "${NOT_SET}"}
accounts:
- id: a
  vendor: acme
  base_url: ${NOT_SET}
  timezone: [x, "${NOT_SET}"]
"""
    unset = "expected the environment variable NOT_SET to be set"
    assert refused(text) == [
        'config.yaml:1:8: mqtt.pasword: unknown key; did you mean "password"?',
        f"config.yaml:1:17: mqtt.pasword: {unset}",
        "config.yaml:3:3: accounts[0].app_key: expected a value: this key is required",
        f"config.yaml:5:13: accounts[0].base_url: {unset}",
        "config.yaml:6:13: accounts[0].timezone: expected text (found a list)",
        f"config.yaml:6:17: accounts[0].timezone[1]: {unset}",
    ]


def test_a_command_that_nobody_has_is_a_mistake_since_it_would_forbid_nothing(refused):
    told = refused("""\
mqtt: {url: "mqtt://localhost"}
commands: {allow: [valve, "set_*", "st_*"], confirm: [brekaer]}
accounts:
  - id: home
    vendor: acme
    app_key: k
    commands: {allow: [reed], confirm: ["set_*"]}
    interlocks: {confirm: [x1], devices: {D1: {confirm: [valves]}}}
""")
    name = "expected the name of a command, such as breaker or recharge"
    pattern = "expected a command's name, or a pattern such as set_* that fits one"
    assert [line.partition(": ")[2] for line in told] == [
        f'commands.allow[2]: {pattern} (found "st_*")',
        f'commands.confirm[0]: {name}; did you mean breaker? (found "brekaer")',
        f'accounts[0].commands.allow[0]: {pattern}; did you mean read? (found "reed")',
        f'accounts[0].commands.confirm[0]: {name} (found "set_*")',
        f'accounts[0].interlocks.confirm[0]: {name} (found "x1")',
        f'accounts[0].interlocks.devices.D1.confirm[0]: {name}; did you mean valve? (found "valves")',
    ]


ADDRESS = "expected an address such as https://cloud.example or http://platform.example:2102"
KEYS = {
    "iammeter": "token: T",
    "jrhsz": "username: u, password: p",
    "saj": "app_id: a, app_key: k",
    "wmj": "app_id: a, app_secret: s, devices: [W71E0000001]",
}


@pytest.mark.parametrize("vendor", sorted(KEYS))
@pytest.mark.parametrize(
    "address", ["banana", "", "-1", "ftp://a.invalid", "http://", "https://a b", "http://a:x"]
)
def test_a_base_url_that_leads_nowhere_is_a_mistake(tmp_path, vendor, address):
    path = tmp_path / "config.yaml"
    path.write_text(f"accounts:\n- {{id: a, vendor: {vendor}, {KEYS[vendor]},\n   base_url: '{address}'}}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, VENDORS, {})
    assert caught.value.problems == [
        f'{path}:3:14: accounts[0].base_url: {ADDRESS} (found "{address}")',
    ]


def test_every_kind_of_wrong_value_of_a_vendor_is_told_in_our_words(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("""\
audit: {file: ""}
accounts:
  - id: gas
    vendor: iotmeter
    processor: "a b"
    data: {base_url: "http://u:FAKEPASS@a.invalid", company_no: "1", api_key: "", page_rows: {a: 1}}
    interlocks: {max_recharge: [1]}
  - id: gas2
    vendor: iotmeter
    data: {base_url: "http://a.invalid", company_no: "1", api_key: k, page_rows: many}
  - id: shop
    vendor: wmj
    app_id: a
    app_secret: s
    devices: [W71E0000001, W81E0000001, ""]
  - {id: home, vendor: iammeter, token: T, devices: {include: [""], exclude: [""]}}
""")
    with pytest.raises(ConfigError) as caught:
        load(path, VENDORS, {})
    serial = "expected W71 or W72 and what follows: a serial number"
    assert [line.removeprefix(f"{path}:") for line in caught.value.problems] == [
        '1:15: audit.file: expected the name of a file (found "")',
        "5:16: accounts[0].processor: expected text that matches the pattern '^[A-Za-z0-9_]{1,50}$' (found \"a b\")",
        "6:22: accounts[0].data.base_url: expected an address without user and password",
        "6:79: accounts[0].data.api_key: expected a value that is not empty",
        "6:94: accounts[0].data.page_rows: expected a whole number (found a mapping)",
        "7:32: accounts[0].interlocks.max_recharge: expected a number (found a list)",
        '10:82: accounts[1].data.page_rows: expected a whole number (found "many")',
        f'15:28: accounts[2].devices[1]: {serial} (found "W81E0000001")',
        f'15:41: accounts[2].devices[2]: {serial} (found "")',
        '16:64: accounts[3].devices.include[0]: expected text with at least 1 character (found "")',
        '16:79: accounts[3].devices.exclude[0]: expected text with at least 1 character (found "")',
    ]


def test_what_is_wrong_between_keys_is_told_beside_what_is_wrong_with_others(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("""\
mqtt:
  password: FAKE
  windo: 3
  window: many
  discovery: {prefix: meterbridge/x}
http: {page: control, max_bdy: 3}
accounts:
  - {id: a, vendor: iammeter, username: u, poll: 1x, devices: [~]}
  - {id: b, vendor: iammeter, poll: 1x}
""")
    with pytest.raises(ConfigError) as caught:
        load(path, VENDORS, {})
    told = [line.removeprefix(f"{path}:") for line in caught.value.problems]
    assert "2:3: mqtt: expected username beside password" in told
    assert "6:7: http: expected page_password beside page: control" in told
    assert "8:5: accounts[0]: expected username and password: they belong together" in told
    assert "9:5: accounts[1]: expected a token, or username and password" in told
    assert len(told) == 10


@pytest.mark.parametrize(
    "text",
    [
        "mqtt: {username: [x], password: FAKE}",
        "mqtt: {base_topic: [x], discovery: {prefix: meterbridge/x}}",
        "http: {page: control, page_password: short}",
        "accounts:\n- {id: a, vendor: iammeter, token: [x]}",
        "accounts:\n- {id: a, vendor: iammeter, username: u, password: [x]}",
        "mqtt: {tls: {key: [x], cert: nowhere}}",
    ],
)
def test_what_may_be_right_once_another_key_is_right_is_not_told(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, VENDORS, {})
    assert all(
        "beside" not in line and "together" not in line and "a token" not in line
        for line in caught.value.problems
    )


def test_a_mapping_in_the_place_of_a_required_key_is_one_mistake(refused):
    (line,) = refused("accounts:\n- {id: a, vendor: acme, app_key: {a: b}}")
    assert "this key is required" not in line


def test_files_of_tls_that_cannot_be_used_are_a_mistake(refused, tmp_path):
    papers(tmp_path, "me")
    papers(tmp_path, "other")
    papers(tmp_path, "locked", phrase="FAKE0000")
    (tmp_path / "words").write_text("no certificate")
    assert refused("mqtt: {tls: {ca: words}}") == [
        "config.yaml:1:18: mqtt.tls.ca: expected a PEM file with the certificates of authorities "
        '(found "words")'
    ]
    pair = "config.yaml:1:13: mqtt.tls: expected cert and its own key as PEM files, the key without a pass phrase"
    for written in (
        "cert: me.pem, key: other.key",
        "cert: me.key, key: me.pem",
        "cert: me.pem",
        "cert: words",
        "cert: locked.pem, key: locked.key",
    ):
        assert refused(f"mqtt: {{tls: {{{written}}}}}") == [pair], written
