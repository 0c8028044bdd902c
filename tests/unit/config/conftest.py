"""A vendor of the tests' own, and a file to write configurations into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from bridge.config import Configuration, load
from bridge.domain.errors import ConfigError
from bridge.pace.limits import Limit, Window
from bridge.vendorkit.settings import AccountSettings
from bridge.vendorkit.spec import VendorSpec


class AcmeCloud(AccountSettings):
    """Settings with what vendors have: a nested section, a secret, a number, a truth."""

    base_url: str = "https://acme.invalid/api"
    app_key: SecretStr
    page_size: int = 50
    fast: bool = False


def _limits(_settings: AcmeCloud) -> tuple[Limit, ...]:
    return (
        Limit("calls", "all", "account", (Window(4, 1.0), Window(200, 86400.0)), reserve=1),
        Limit("logins", "login", "ip", (Window(10, 3600.0),), documented=False),
    )


@pytest.fixture(scope="session")
def vendors() -> Mapping[str, VendorSpec]:
    def build(_settings: object, _kit: object) -> object:
        raise AssertionError("a configuration builds no adapter")

    acme = VendorSpec("acme", "Acme", AcmeCloud, frozenset(), _limits, build)
    other = VendorSpec("other", "Other", AccountSettings, frozenset(), lambda _settings: (), build)
    return {"acme": acme, "other": other}


Read = Callable[..., Configuration]
Refused = Callable[..., list[str]]


@pytest.fixture
def read(tmp_path: Path, vendors: Mapping[str, VendorSpec]) -> Read:
    """Loads a text as `config.yaml`, with variables."""

    def reader(text: str | bytes, **env: str) -> Configuration:
        path = tmp_path / "config.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(path, vendors, env)

    return reader


@pytest.fixture
def refused(read: Read, tmp_path: Path) -> Refused:
    """The problems of a text, each without the folder before `config.yaml`."""

    def problems(text: str | bytes, **env: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, **env)
        return [line.removeprefix(f"{tmp_path}/") for line in caught.value.problems]

    return problems
