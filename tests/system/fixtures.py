"""Fixtures around `stage`, for the conftest files of the folders that play on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.system.stage import Broker, Cloud, Gateway, Listener, configuration

DEVICES = [f"W71000000{number:02d}" for number in range(1, 9)]

MakeBroker = Callable[..., Broker]
MakeGateway = Callable[..., Gateway]
MakeListener = Callable[..., Listener]


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    """Ends what tests start, the last first, whatever happens."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def make_broker(ending: ExitStack, tmp_path: Path) -> MakeBroker:
    """Starts a Mosquitto of its own: `make_broker(persistence=True, lines=[…])`."""

    def make(*, start: bool = True, **options: Any) -> Broker:
        folder = tmp_path / f"broker-{len(list(tmp_path.glob('broker-*')))}"
        folder.mkdir()
        made = Broker(folder, **options)
        ending.callback(made.end)
        return made.start() if start else made

    return make


@pytest.fixture
def broker(make_broker: MakeBroker) -> Broker:
    """A Mosquitto without persistence."""
    return make_broker()


@pytest.fixture(scope="module")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One simulated cloud for a module; use `cloud`."""
    made = Cloud(tmp_path_factory.mktemp("cloud"), DEVICES)
    try:
        yield made.start()
    finally:
        made.end()


@pytest.fixture
def cloud(shared_cloud: Cloud) -> Cloud:
    """The simulated cloud, with nothing planned and nothing remembered; its devices are as the last test left them."""
    shared_cloud.do("clear", what=["faults", "ledger", "requests", "deliveries"])
    shared_cloud.do("callback", url="")
    return shared_cloud


@pytest.fixture
def make_listener(ending: ExitStack) -> MakeListener:
    """Starts a listener at a broker."""

    def make(broker: Broker, **options: Any) -> Listener:
        made = Listener(broker.port, **options).start()
        ending.callback(made.end)
        return made

    return make


@pytest.fixture
def listener(make_listener: MakeListener, broker: Broker) -> Listener:
    """A listener at the test's broker."""
    return make_listener(broker)


@pytest.fixture
def make_gateway(ending: ExitStack, tmp_path: Path, broker: Broker, cloud: Cloud) -> MakeGateway:
    """Starts a gateway: `make_gateway(mqtt={…}, account={…}, at=other_broker, start=False)`."""

    def make(*, at: Broker | None = None, start: bool = True, level: str = "info", **laid: Any) -> Gateway:
        name = f"gateway-{len(list(tmp_path.glob('gateway-*.yaml')))}"
        made = Gateway(tmp_path, configuration(at or broker, cloud, tmp_path, **laid), name=name)
        made.level = level
        ending.callback(made.end)
        return made.start() if start else made

    return make


@pytest.fixture
def gateway(make_gateway: MakeGateway, listener: Listener) -> Gateway:
    """A gateway with one account of two breakers, READY; the listener hears it from its first word on."""
    made = make_gateway()
    listener.tails.append(made.tail)
    return made
