"""The disk under the gateway: full, locked by somebody, damaged. Told, survived, nothing that was answered is lost."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Callable
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
from tests.faults.small_disk import SmallDisk, either_way, small_disk
from tests.system.fixtures import MakeBroker, MakeListener
from tests.system.polling import until
from tests.system.stage import Broker, Gateway, Listener

PAGE = 4096
MIB = 1024**2
WINDOW = 100
FULL_BYTES = 32 * 1024


def started(broker: Broker, folder: Path, ending: ExitStack) -> Gateway:
    gateway = Gateway(folder, configuration(broker, folder / "state.db"))
    ending.callback(gateway.end)
    return gateway


async def all_of_it_arrives(
    listener: Listener, pushed: Pushed, gateway: Gateway, most_copies: int = 0
) -> None:
    """Everything answered with success, in order, once, but for so many."""
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
    assert copies(came) <= most_copies


@either_way
async def test_full_disk_is_told_and_nothing_answered_is_lost(
    make_broker: MakeBroker, make_listener: MakeListener, tmp_path: Path, ending: ExitStack
) -> None:
    """The disk is full to the last byte while the broker is away, and still when it comes back."""
    broker = make_broker(persistence=True)
    listener = make_listener(broker)
    disk = small_disk(tmp_path / "disk", 24 * MIB, ending)
    gateway = Gateway(tmp_path, configuration(broker, tmp_path / "disk/state.db", state={"min_free": "0"}))
    gateway.within = disk.within if disk is not None else ()
    ending.callback(gateway.end)
    gateway.start()
    load = Load(base_url(gateway), meters(40), connections=20, rate=300)
    pushing = asyncio.create_task(load.run(60))
    await asyncio.to_thread(until, lambda: load.pushed.count > 100, 30, "pushes are taken", gateway.tail)
    await asyncio.to_thread(broker.stop)
    full, room_again = _filling(disk, gateway)
    full()
    refused = "pushes are refused"
    await asyncio.to_thread(until, lambda: load.pushed.others["503"] > 5, 60, refused, gateway.tail)
    assert disk is None or disk.free_bytes == 0
    health = httpx.get(f"{gateway.web}/healthz", trust_env=False, timeout=20)
    assert (health.status_code, "store" in health.json()) == (503, True)
    came = sum(map(len, arrived(listener).values()))
    await asyncio.to_thread(broker.start)
    await asyncio.to_thread(
        until,
        lambda: sum(map(len, arrived(listener).values())) > came,
        60,
        "what waits leaves while the disk is full",
        gateway.tail,
    )
    listener.send(
        "meterbridge/bridge/cmd/gaps", {"id": "while-full"}
    )  # no PUBACK from us while it cannot be kept
    taken = load.pushed.count
    room_again()
    await asyncio.to_thread(
        until, lambda: load.pushed.count > taken + 100, 60, "pushes are taken again", gateway.tail
    )
    load.stop()
    pushed = await pushing
    assert set(pushed.others) == {"503"}
    # the connection broke, and what the broker confirmed could not be noted while the disk was full
    await all_of_it_arrives(listener, pushed, gateway, most_copies=WINDOW)
    assert listener.final("meterbridge/bridge/ack", "while-full", 60)["status"] == "succeeded"
    assert listener.statuses("meterbridge/bridge/ack", "while-full").count("succeeded") == 1
    for code in ("store_failing", "store_recovered"):
        until(lambda code=code: bridge_events(listener, code), 30, code, gateway.tail)
    if disk is not None:
        assert "full" in bridge_events(listener, "store_failing")[0]["data"]["reason"]
    until(
        lambda: httpx.get(f"{gateway.web}/healthz", trust_env=False, timeout=20).status_code == 200,
        20,
        "healthy again",
        gateway.tail,
    )


def _filling(disk: SmallDisk | None, gateway: Gateway) -> tuple[Callable[[], None], Callable[[], None]]:
    """How the disk becomes full and has room again. Without a disk of its own, the limit of the process for the size of
    a file stands for it: SQLite meets the same failing writes."""
    if disk is not None:
        return disk.fill, disk.make_room
    assert gateway.child is not None
    pid, free = gateway.child.pid, resource.RLIM_INFINITY
    return (
        lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_BYTES, free)) and None,
        lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (free, free)) and None,
    )


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
    told = [one.json["code"] for one in listener.all("meterbridge/bridge/event")]
    assert told.index("store_failing") < told.index("store_recovered")


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
