"""One broker and one demo for all tests of the command line: each takes a while to start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.bench import Running, mosquitto


@pytest.fixture(scope="session")
def broker_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Mosquitto without a gateway."""
    with mosquitto(tmp_path_factory.mktemp("broker")) as port:
        yield port


@dataclass(frozen=True)
class Demo:
    """A demo that runs."""

    process: Running
    url: str
    page: str
    config: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo with two breakers, on whatever ports are free."""
    folder = tmp_path_factory.mktemp("demo")
    process = Running("demo", "--for", "120s", "--devices", "2", temporary=folder)
    try:
        url = re.search(r"mqtt://\S+", process.shows("  broker  "))
        page = re.search(r"http://\S+", process.shows("status page  http"))
        process.shows("What passes now")
        (config,) = folder.glob("meterbridge-demo-*/config.yaml")
        assert url is not None
        assert page is not None
        yield Demo(process, url.group(), page.group(), config)
    finally:
        process.end()
