"""The example, the page and the schema say the same as the models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from bridge.config import load, schema
from bridge.config.model import Sections
from bridge.domain.errors import ConfigError
from bridge.vendors import VENDORS

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "config.example.yaml"
ENV = {
    "MQTT_PASSWORD": "FAKEPASSWORD",
    "HOME_TOKEN": "FAKETOKEN00000000000000000000000",
    "HOME_PASSWORD": "FAKEPASSWORD",
    "FLATS_PASSWORD": "FAKEPASSWORD",
    "ROOF_APP_KEY": "FAKEKEY00000000000000000000000000",
    "ROOF_GRANT_TYPE": "FAKEGRANT000000000000000000000000",
    "GAS_API_KEY": "FAKEKEY0000000000000000000000gas",
    "GAS_PASSWORD": "FAKEPASSWORDGAS",
    "GAS_PUSH_SECRET": "FAKE0000000000000000000000000gas",
    "SHOP_APP_SECRET": "00000000000000000000000000000000",
    "SHOP_PUSH_SECRET": "FAKE0000000000000000000000000000",
}


def models(kind: object) -> Iterator[type[BaseModel]]:
    """The models that a type is made of, and theirs."""
    for argument in get_args(kind):
        yield from models(argument)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for info in kind.model_fields.values():
            yield from models(info.annotation)


ALL_MODELS = {*models(Sections), *(model for spec in VENDORS.values() for model in models(spec.settings))}


def test_example_loads():
    configuration = load(EXAMPLE, VENDORS, ENV)
    assert [(account.id, account.vendor) for account in configuration.accounts] == [
        ("shop", "wmj"),
        ("home", "iammeter"),
        ("flats", "jrhsz"),
        ("roof", "saj"),
        ("gas", "iotmeter"),
    ]
    assert set(configuration.secrets()) == set(ENV.values())


def test_example_needs_exactly_the_variables_that_it_names():
    active = "".join(re.sub(r"(^|\s)#.*", "", line) for line in EXAMPLE.read_text().splitlines())
    assert set(re.findall(r"\$\{(\w+)\}", active)) == set(ENV)
    with pytest.raises(ConfigError) as caught:
        load(EXAMPLE, VENDORS, {})
    assert len(caught.value.problems) == len(ENV)


@pytest.mark.parametrize("model", sorted(ALL_MODELS, key=lambda model: model.__name__))
def test_example_mentions_every_key(model):
    text = EXAMPLE.read_text()
    assert [
        name for name in model.model_fields if not re.search(rf"^[\s#-]*{name}:", text, re.MULTILINE)
    ] == []


def test_example_shows_the_defaults_of_the_sections():
    shown = load(EXAMPLE, VENDORS, ENV)
    own = {"username", "password", "client_id", "requester"}
    for name in ("mqtt", "http", "state", "commands", "log"):
        section = getattr(shown, name)
        default = type(section)()
        for key in set(type(section).model_fields) - own:
            assert getattr(section, key) == getattr(default, key), f"{name}.{key}"


def test_page_explains_every_key_that_is_no_vendors_own():
    page = (ROOT / "docs/configuration.md").read_text()
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", page))))
    names = {name for model in models(Sections) for name in model.model_fields}
    base = {name for spec in VENDORS.values() for name in spec.settings.__mro__[1].model_fields}
    assert (names | base) - words == set()


class _Texts(yaml.SafeLoader):
    """Reads YAML as an editor does, `!file` as text."""


_Texts.add_constructor("!file", lambda loader, node: loader.construct_scalar(node))


def test_schema_accepts_the_example_and_names_every_vendor():
    document = schema(VENDORS)
    jsonschema.Draft202012Validator.check_schema(document)
    example = yaml.load(EXAMPLE.read_text(), Loader=_Texts)
    jsonschema.validate(example, document, cls=jsonschema.Draft202012Validator)
    variants = document["properties"]["accounts"]["items"]["oneOf"]
    assert [variant["properties"]["vendor"]["const"] for variant in variants] == sorted(VENDORS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mqt": {}},
        {"mqtt": {"windw": 3}},
        {"mqtt": {"keepalive": 30}},
        {"mqtt": {"window": "many"}},
        {"http": {"listen": True}},
        {"accounts": [{"id": "a", "vendor": "nobody"}]},
        {"accounts": [{"id": "a", "vendor": "wmj"}]},
    ],
)
def test_schema_refuses_what_the_loader_refuses(wrong, tmp_path):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema(VENDORS), cls=jsonschema.Draft202012Validator)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(ConfigError):
        load(tmp_path / "config.yaml", VENDORS, {})


def test_schema_has_one_variant_for_each_vendor(vendors):
    document = schema(vendors)
    validator = jsonschema.Draft202012Validator(document)
    assert validator.is_valid({"accounts": [{"id": "a", "vendor": "acme", "app_key": "FAKEKEY1"}]})
    assert validator.is_valid({"accounts": [{"id": "a", "vendor": "other"}]})
    assert not validator.is_valid({"accounts": [{"id": "a", "vendor": "other", "app_key": "FAKEKEY1"}]})


def test_schema_shows_durations_as_they_are_written():
    defs = schema(VENDORS)["$defs"]
    assert defs["MqttSettings"]["properties"]["keepalive"]["default"] == "30s"
    assert defs["CommandSettings"]["properties"]["session_expiry"]["default"] == "5m"
    assert defs["WmjSettings"]["properties"]["poll"]["default"] == "1m"
    assert defs["WmjSettings"]["properties"]["read_back"]["default"] == ["5s", "20s", "1m"]
