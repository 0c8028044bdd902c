"""Whatever the file holds: a Configuration, or a ConfigError with one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.config import Configuration, load
from bridge.domain.errors import ConfigError
from bridge.vendors import VENDORS

EXAMPLE = (Path(__file__).parents[3] / "config.example.yaml").read_text()
SEEDS = {
    "MQTT_PASSWORD": "FAKESEED-mqtt",
    "SHOP_APP_SECRET": "FAKESEED-app",
    "SHOP_PUSH_SECRET": "FAKESEED-push",
    "A": "1",
    "B": "\udcff",
    "HOME_TOKEN": "FAKESEED-home-token",
    "HOME_PASSWORD": "FAKESEED-home-password",
    "FLATS_PASSWORD": "FAKESEED-flats-password",
    "ROOF_APP_KEY": "FAKESEED-roof-key",
    "ROOF_GRANT_TYPE": "FAKESEED-roof-grant",
    "GAS_API_KEY": "FAKESEED-gas-key",
    "GAS_PASSWORD": "FAKESEED-gas-password",
    "GAS_PUSH_SECRET": "FAKESEED-gas-push-secret",
}
SIGNS = list(":-[]{}&*!|>'\"%@#,?$~<0x \n\t\r\0\x85\u2028\ufeffé𝟘")
PARTS = [
    "\n  ",
    "\n- ",
    ": ",
    "!file ",
    "!!set ",
    "${A}",
    "${B}",
    "${",
    "<<: ",
    "&a ",
    "*a",
    "\\ud800",
    "\\UFFFFFFFF",
]
WORDS = [
    "mqtt",
    "accounts",
    "id",
    "vendor",
    "acme",
    "limits",
    "calls",
    "push",
    "off",
    "1/1s",
    "5m",
    "9" * 400,
]
PIECES = st.sampled_from([*SIGNS, *PARTS, *WORDS])
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, vendors):
    path = tmp_path_factory.mktemp("any") / "config.yaml"

    def outcome(raw: bytes) -> Configuration | None:
        path.write_bytes(raw)
        try:
            return load(path, {**vendors, **VENDORS}, SEEDS)
        except ConfigError as error:
            problems = error.problems
        assert problems
        for line in problems:
            assert line.startswith(str(path))
            assert len(line.splitlines()) == 1
            assert "FAKESEED" not in line
            line.encode()
        return None

    return outcome


@QUICK
@given(raw=st.binary(max_size=60))
def test_no_bytes_raise_anything_else(outcome, raw):
    outcome(raw)


@QUICK
@given(pieces=st.lists(PIECES, max_size=30))
def test_no_text_that_resembles_yaml_raises_anything_else(outcome, pieces):
    outcome("".join(pieces).encode("utf-8", "surrogatepass"))


@settings(QUICK, max_examples=100)
@given(
    start=st.integers(0, len(EXAMPLE)),
    length=st.integers(0, 40),
    pieces=st.lists(PIECES, max_size=4),
)
def test_no_mutation_of_the_example_raises_anything_else_or_shows_a_secret(outcome, start, length, pieces):
    mutated = EXAMPLE[:start] + "".join(pieces) + EXAMPLE[start + length :]
    assert "FAKESEED" not in repr(outcome(mutated.encode("utf-8", "surrogatepass")))


def test_example_itself_loads_with_the_seeds(outcome):
    configuration = outcome(EXAMPLE.encode())
    assert {text for text in configuration.secrets() if text.startswith("FAKESEED")} == {
        text for name, text in SEEDS.items() if f"${{{name}}}" in EXAMPLE
    }
    assert "FAKESEED" not in repr(configuration)
