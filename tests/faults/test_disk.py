"""The disk under the gateway: full, locked by somebody, damaged. Told, survived, nothing that was answered is lost."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from benchmarks.platform import Load, Pushed, meters
from tests.faults.gas import (
    arrived,
    base_url,
    bridge_events,
    configuration,
    copies,
    missing,
    out_of_order,
)
from tests.system.fixtures import MakeBroker, MakeListener
from tests.system.polling import until
from tests.system.stage import Broker, Gateway, Listener

PAGE = 4096
FULL_BYTES = 32 * 1024


def started(broker: Broker, folder: Path, ending: ExitStack) -> Gateway:
    gateway = Gateway(folder, configuration(broker, folder / "state.db"))
    ending.callback(gateway.end)
    return gateway


async def all_of_it_arrives(listener: Listener, pushed: Pushed, gateway: Gateway) -> None:
    """Everything answered with success, in order, once."""
    await asyncio.to_thread(
        until,
        lambda: missing(listener, pushed) == 0,
        60,
        "everything that was answered with success has arrived",
        lambda: f"missing {missing(listener, pushed)} of {pushed.count}",
        gateway.tail,
        pause_s=0.3,
    )
    came = arrived(listener)
    assert out_of_order(came) == []
    assert copies(came) == 0


async def test_full_disk_is_told_and_nothing_answered_is_lost(
    broker: Broker, listener: Listener, tmp_path: Path, ending: ExitStack
) -> None:
    """The limit of the process for the size of a file stands for the disk: SQLite meets the same failing writes."""
    gateway = started(broker, tmp_path, ending).start()
    assert gateway.child is not None
    load = Load(base_url(gateway), meters(40), connections=20, rate=200)
    pushing = asyncio.create_task(load.run(60))
    await asyncio.sleep(1)
    assert max(file.stat().st_size for file in tmp_path.glob("state.db*")) > FULL_BYTES
    resource.prlimit(gateway.child.pid, resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))
    await asyncio.to_thread(until, lambda: load.pushed.others["503"] > 5, 30, "pushes are refused")
    assert httpx.get(f"{gateway.web}/healthz", trust_env=False, timeout=20).status_code == 503
    resource.prlimit(
        gateway.child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    await asyncio.sleep(1)
    load.stop()
    pushed = await pushing
    assert set(pushed.others) == {"503"}
    await all_of_it_arrives(listener, pushed, gateway)
    for code in ("store_failing", "store_recovered"):
        until(lambda code=code: bridge_events(listener, code), 15, code, gateway.tail)
    assert httpx.get(f"{gateway.web}/healthz", trust_env=False).status_code == 200


async def test_database_that_another_program_holds_is_told_and_nothing_answered_is_lost(
    broker: Broker, listener: Listener, tmp_path: Path, ending: ExitStack
) -> None:
    gateway = started(broker, tmp_path, ending).start()
    load = Load(base_url(gateway), meters(40), connections=20, rate=200)
    pushing = asyncio.create_task(load.run(60))
    await asyncio.sleep(1)
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        await asyncio.to_thread(until, lambda: load.pushed.others["503"] > 0, 30, "pushes are refused")
    finally:
        other.close()
    await asyncio.sleep(1)
    load.stop()
    pushed = await pushing
    assert set(pushed.others) == {"503"}
    await all_of_it_arrives(listener, pushed, gateway)
    until(lambda: bridge_events(listener, "store_recovered"), 15, "it is told", gateway.tail)
    assert "locked" in bridge_events(listener, "store_failing")[0]["data"]["reason"]


@pytest.mark.parametrize("damage", ["header", "a page"])
async def test_damaged_database_is_replaced_and_only_what_lay_on_damaged_pages_is_missing(
    make_broker: MakeBroker, make_listener: MakeListener, tmp_path: Path, ending: ExitStack, damage: str
) -> None:
    broker = make_broker(start=False)
    gateway = started(broker, tmp_path, ending)
    gateway.spawn()
    gateway.wait_log("http.listening")
    pushed = await Load(base_url(gateway), meters(20), connections=20, rate=400, seconds=3).run()
    assert pushed.others == {}
    assert gateway.terminate()[0] == 0
    file = tmp_path / "state.db"
    spoil(file, damage)
    broker.start()
    listener = make_listener(broker)
    gateway.start()
    until(lambda: bridge_events(listener, "store_replaced"), 15, "it is told", gateway.tail)
    data = bridge_events(listener, "store_replaced")[0]["data"]
    assert (tmp_path / data["file"]).exists()
    lost = data["lost"].get("telemetry", 0)
    assert (lost == 0) == (damage == "header")
    assert lost < 20
    await asyncio.to_thread(
        until, lambda: missing(listener, pushed) == lost, 30, "all but what is told as lost", gateway.tail
    )
    came = arrived(listener)
    assert (out_of_order(came), copies(came)) == ([], 0)
    again = await Load(base_url(gateway), meters(20), connections=20, rate=100, seconds=1).run()
    assert again.others == {}


def spoil(file: Path, damage: str) -> None:
    """Writes over the header, or over a page in the middle of the messages that wait."""
    if damage == "header":
        at, junk = 0, b"\x00" * 100
    else:
        db = sqlite3.connect(file)
        (middle,) = db.execute("SELECT body FROM outbox WHERE klass = 0 LIMIT 1 OFFSET 300").fetchone()
        db.close()
        at, junk = file.read_bytes().index(middle) // PAGE * PAGE, b"\xa5" * PAGE
    with file.open("r+b") as spoiled:
        spoiled.seek(at)
        spoiled.write(junk)
