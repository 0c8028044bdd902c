"""The world of the gateway's users: the demo as it is started by a newcomer, and everything that passes there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.bench import Running
from tests.system.stage import Listener

CACHE = Path(__file__).parents[2] / ".cache"
HOME_ASSISTANT = CACHE / "homeassistant" / "bin" / "python"

OFFICIAL = CACHE / "node" / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json"

collect_ignore = [] if HOME_ASSISTANT.exists() else ["test_home_assistant.py"]
"""`make test` installs it where that is possible, and says so where not."""


@dataclass(frozen=True)
class World:
    """A demo that runs, and a listener that has heard all of it since the gateway was ready."""

    process: Running
    listener: Listener
    port: int
    config: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All five vendors, on whatever ports are free."""
    folder = tmp_path_factory.mktemp("demo")
    process = Running("demo", "--for", "600s", "--devices", "3", temporary=folder)
    try:
        url = re.search(r"mqtt://127\.0\.0\.1:(\d+)", process.shows("  broker  ", 60))
        assert url is not None
        listener = Listener(int(url.group(1))).start()
        listener.tails.append(lambda: process.text[-3000:])
        (config,) = folder.glob("meterbridge-demo-*/config.yaml")
        yield World(process, listener, int(url.group(1)), config)
        listener.end()
    finally:
        process.end()
