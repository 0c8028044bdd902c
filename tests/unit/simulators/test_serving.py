"""Serving on a port: the loop's own, with connections that can be cut, and the simulator as a process."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.simulators.faults import Fault
from bridge.simulators.serving import served
from bridge.simulators.simtime import RunningTime
from bridge.simulators.wmj import Account, WmjCloud, app
from tests.unit.simulators.bench import CELLULAR, KEYS, WIFI, Receiver, send_page


def _cloud(speed: float = 1.0) -> tuple[WmjCloud, Receiver]:
    receiver = Receiver()
    cloud = WmjCloud(
        Account(KEYS["app_id"], KEYS["app_secret"]),
        [WIFI, CELLULAR],
        time=RunningTime(speed),
        rng=random.Random(1),
        callback_url="http://gateway.example.invalid/",
        client=httpx.AsyncClient(transport=httpx.MockTransport(receiver)),
    )
    return cloud, receiver


async def test_signals_are_left_alone_and_the_port_is_free_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    cloud, _ = _cloud()
    async with served(app(cloud)) as url, httpx.AsyncClient() as client:
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
        answer = await client.post(f"{url}/deviceApi/send", json=send_page("turnon"))
        assert answer.json()["data"]["device_sn"] == WIFI
    async with served(app(cloud), int(url.rpartition(":")[2])) as again:
        assert again == url


async def test_a_port_taken_is_an_error() -> None:
    async def ok(_request: Request) -> Response:
        return Response(b"ok")

    async with served(Starlette(routes=[Route("/", ok)])) as url:
        with pytest.raises(OSError, match="in use"):
            async with served(Starlette(), int(url.rpartition(":")[2])):
                pytest.fail("two on one port")


async def test_an_app_that_does_not_start_is_an_error() -> None:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        raise ValueError("no")
        yield

    with pytest.raises(RuntimeError, match="did not start"):
        async with served(Starlette(lifespan=lifespan)):
            pytest.fail("it started")


async def test_a_lost_reply_cuts_the_connection_after_acting() -> None:
    cloud, _ = _cloud()
    cloud.faults.add(Fault("lose_reply"))
    cloud.faults.add(Fault("refuse_before_acting"))
    async with served(app(cloud)) as url, httpx.AsyncClient() as client:
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
                await client.post(f"{url}/deviceApi/send", json=send_page("turnoff"))
        answer = await client.post(f"{url}/deviceApi/send", json=send_page("turnon"))
    assert answer.status_code == 200
    assert [entry.effect for entry in cloud.ledger.entries()] == ["switched_off", "switched_on"]


async def test_silence_lasts_until_the_caller_gives_up() -> None:
    cloud, _ = _cloud()
    cloud.faults.add(Fault("lose_reply", seconds=100))
    async with served(app(cloud)) as url, httpx.AsyncClient(timeout=0.2) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"{url}/deviceApi/send", json=send_page("turnoff"))
    assert cloud.ledger.counts() == {"switched_off": 1}


async def test_simulated_time_passes_by_itself_when_served() -> None:
    cloud, receiver = _cloud(speed=1000.0)
    async with served(app(cloud)) as url, httpx.AsyncClient() as client:
        await client.post(f"{url}/deviceApi/send", json=send_page("delayturnon", {"delaytime": 100}))
        started = time.monotonic()
        while len(receiver.bodies) < 2 and time.monotonic() - started < 5:
            await asyncio.sleep(0.02)
    assert [page["info"]["state"] for page in receiver.pages] == ["0", "1"]


async def test_the_process_serves_is_steered_and_ends_on_sigterm() -> None:
    arguments = f"--devices {WIFI} --app-id {KEYS['app_id']} --app-secret {KEYS['app_secret']} --unbound"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge.simulators.wmj", *arguments.split(), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        word, url = line.split()
        assert word == "listening"
        assert url.endswith("/deviceApi")
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{url}/register", json={**KEYS, "device_sn": WIFI})
            assert answer.json()["code"] == 0
            ledger = await client.get(url.replace("/deviceApi", "/_sim/ledger"))
            assert ledger.json()["counts"] == {"registered": 1}
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
