"""Reading an account again and again: what fails is counted, nothing ends the reading but its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.domain.errors import AuthFailed, LostAnswer, NotSent, RateLimited, Refused
from bridge.domain.observation import Batch, Origin
from bridge.flow.hearing import Hearing
from bridge.flow.poller import Poller
from bridge.flow.schedule import Stretch
from bridge.pace.limits import Limit, Window
from bridge.ports import PollTask
from tests.fakes.harness import Harness
from tests.fakes.vendor import device


class Vendor:
    """Only what a poller asks for; `answers` are played in order, then readings come."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.answers: list[Exception | None] = []
        self.inventories: list[Exception] = []
        self.reads: list[float] = []
        self.asked: list[float] = []
        self.interval_s = 60.0
        self.wanted_s = 0.0
        self.next_in_s: float | None = None
        self.pushed = False
        self.asks = True
        self.devices: tuple[str, ...] = ("D1",)

    async def inventory(self) -> Any:
        self.asked.append(self.harness.clock.monotonic() - 1000)
        if self.inventories:
            raise self.inventories.pop(0)
        return [device("D1")]

    def poll_tasks(self, devices: Any) -> list[PollTask]:
        given = {"wanted_s": self.wanted_s, "pushed": self.pushed}
        task = PollTask("one", self.interval_s, {"calls": 1.0}, self.devices, **given)
        return [task] if devices else []

    async def poll(self, _task: PollTask) -> AsyncIterator[Batch]:
        self.reads.append(self.harness.clock.monotonic() - 1000)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        reading = self.harness.reading({"voltage": len(self.reads)})
        yield Batch([reading], next_in_s=self.next_in_s, asked=self.asks)


@pytest.fixture
def vendor(harness: Harness) -> Vendor:
    return Vendor(harness)


def poller(harness: Harness, vendor: Vendor, **fields: Any) -> Poller:
    made = Poller(
        "home",
        vendor,  # type: ignore[arg-type] # only what a poller asks for
        fields.pop("limits", ()),
        harness.intake,
        harness.roster,
        harness.health,
        harness.clock,
        random.Random(1),
        **fields,
    )
    task = asyncio.ensure_future(made.run())
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return made


async def test_devices_are_read_at_their_interval(harness: Harness, vendor: Vendor) -> None:
    poller(harness, vendor)
    await harness.advance(185)
    assert len(vendor.reads) == 4
    assert [round(b - a) for a, b in zip(vendor.reads, vendor.reads[1:], strict=False)] == [60, 60, 60]
    assert len(harness.docs("home/D1/telemetry")) == 4


async def test_a_poll_can_say_when_asking_again_makes_sense(harness: Harness, vendor: Vendor) -> None:
    vendor.next_in_s = 20.0
    poller(harness, vendor)
    await harness.advance(65)
    assert len(vendor.reads) == 4


async def test_what_is_no_word_of_the_vendor_says_nothing_of_the_account(
    harness: Harness, vendor: Vendor
) -> None:
    harness.health.enter("home")
    vendor.asks = False
    poller(harness, vendor)
    await harness.advance(65)
    state = harness.health.state("home")
    assert state is not None
    assert (state.word, state.last_success, len(vendor.reads)) == ("degraded", None, 2)


async def test_what_the_limits_do_not_allow_is_stretched_and_told(harness: Harness, vendor: Vendor) -> None:
    told: list[Stretch] = []
    vendor.interval_s = 1.0
    limit = Limit("calls", "all", "account", (Window(6, 60.0),))
    poller(harness, vendor, limits=(limit,), on_stretched=told.append)
    await harness.advance(119)
    assert len(vendor.reads) <= 12
    assert len(told) == 1


async def test_an_interval_that_the_adapter_lengthened_is_told_once(harness: Harness, vendor: Vendor) -> None:
    told: list[Stretch] = []
    vendor.interval_s, vendor.wanted_s = 60.0, 10.0
    limit = Limit("calls", "one", "device", (Window(1, 60.0),), per_key=True)
    one = poller(harness, vendor, limits=(limit,), on_stretched=told.append)
    await harness.advance(70)
    one.plan(harness.roster.devices("home"))
    assert [(stretch.limit.name, stretch.factor) for stretch in told] == [("calls", 6.0)]
    assert len(vendor.reads) == 2


@pytest.mark.parametrize("error", [NotSent("n"), LostAnswer("l"), RuntimeError("a bug")])
async def test_a_poll_that_fails_is_tried_again(harness: Harness, vendor: Vendor, error: Exception) -> None:
    vendor.answers = [error, error]
    poller(harness, vendor)
    await harness.advance(300)
    assert len(vendor.reads) >= 4
    state = harness.health.state("home")
    assert state is not None
    assert state.word == "online"


async def test_an_account_that_was_only_ever_refused_is_not_online(harness: Harness, vendor: Vendor) -> None:
    vendor.devices = ()
    vendor.inventories, vendor.answers = [Refused("code 1001")], [Refused("code 1001")]
    poller(harness, vendor)
    await harness.advance(5)
    state = harness.health.state("home")
    assert state is not None
    assert (state.word, state.message, state.last_success) == ("degraded", "code 1001", None)
    await harness.advance(65)
    assert state.word == "online"


@pytest.mark.parametrize(("devices", "word"), [((), "degraded"), (("D1",), "online")])
async def test_a_no_is_about_the_devices_that_were_asked_for_or_about_the_account(
    harness: Harness, vendor: Vendor, devices: tuple[str, ...], word: str
) -> None:
    vendor.devices = devices
    vendor.answers = [None, Refused("code 1001")]
    poller(harness, vendor)
    await harness.advance(65)
    state = harness.health.state("home")
    assert state is not None
    assert (len(vendor.reads), state.word) == (2, word)


async def test_refused_credentials_stop_the_reading_for_a_while(harness: Harness, vendor: Vendor) -> None:
    vendor.answers = [AuthFailed("refused")]
    poller(harness, vendor)
    await harness.advance(890)
    assert len(vendor.reads) == 1
    await harness.advance(100)
    assert len(vendor.reads) >= 2


async def test_an_inventory_that_fails_is_read_again_soon_and_the_known_devices_are_read_meanwhile(
    harness: Harness, vendor: Vendor
) -> None:
    vendor.inventories = [LostAnswer("l"), RuntimeError("a bug")]
    poller(harness, vendor)
    await harness.advance(100)
    assert len(vendor.asked) == 3
    assert vendor.reads
    assert "home/D2/info" not in harness.retained()  # the third one says that it is gone


async def test_a_store_that_fails_takes_the_reading_later(harness: Harness, vendor: Vendor) -> None:
    poller(harness, vendor)
    await harness.advance(30)
    harness.store.fails = lambda: True
    await harness.advance(40)
    harness.store.fails = lambda: False
    before = len(harness.docs("home/D1/telemetry"))
    await harness.advance(6)
    assert len(harness.docs("home/D1/telemetry")) == before + 1


async def test_a_vendor_that_was_away_is_read_as_soon_as_it_is_back_however_long_the_interval(
    harness: Harness, vendor: Vendor
) -> None:
    vendor.interval_s = 3600.0
    vendor.answers = [NotSent("n"), NotSent("n")]
    poller(harness, vendor)
    await harness.advance(60)
    assert len(vendor.reads) == 3
    state = harness.health.state("home")
    assert state is not None
    assert state.word == "online"


async def test_an_inventory_that_could_not_be_asked_for_is_asked_for_again_after_the_pause(
    harness: Harness, vendor: Vendor
) -> None:
    vendor.inventories = [NotSent("n"), NotSent("n")]
    poller(harness, vendor)
    await harness.advance(20)
    assert len(vendor.asked) == 3


async def test_a_vendor_that_says_when_to_come_back_is_asked_then_and_not_before(
    harness: Harness, vendor: Vendor
) -> None:
    vendor.interval_s = 3600.0
    vendor.answers = [RateLimited("too many", retry_after_s=300.0)]
    poller(harness, vendor)
    await harness.advance(299)
    assert len(vendor.reads) == 1
    await harness.advance(5)
    assert len(vendor.reads) == 2


@pytest.mark.parametrize(("from_memory", "word"), [(False, "online"), (True, "unreachable")])
async def test_a_list_of_devices_that_the_vendor_answers_ends_unreachable(
    harness: Harness, vendor: Vendor, *, from_memory: bool, word: str
) -> None:
    vendor.poll_tasks = lambda _devices: []  # type: ignore[method-assign] # nothing is read
    harness.health.failed("home", NotSent("no route"))
    poller(harness, vendor, answers=lambda: 0 if from_memory else len(vendor.asked))
    await harness.advance(10)
    assert vendor.asked
    state = harness.health.state("home")
    assert state is not None
    assert state.word == word


async def test_a_device_that_pushes_is_read_less_often_until_it_falls_silent(
    harness: Harness, vendor: Vendor
) -> None:
    vendor.pushed = True
    reading = poller(harness, vendor, hearing=Hearing(4.0))
    await harness.advance(1)
    for _ in range(16):
        await harness.advance(30)
        reading.heard(harness.reading({"voltage": 1}, origin=Origin.PUSH))
    assert len(vendor.reads) == 3, "at the start, and every fourth minute"
    await harness.advance(241)
    assert len(vendor.reads) == 6, "silent for a minute: every minute again"


async def test_nothing_is_asked_while_the_answer_could_not_be_kept(harness: Harness, vendor: Vendor) -> None:
    refusing = [True]
    harness.intake.is_refusing = lambda: refusing[0]
    poller(harness, vendor)
    await harness.advance(300)
    assert (vendor.asked, vendor.reads) == ([], [])
    refusing[0] = False
    await harness.advance(20)
    assert len(vendor.asked) == 1
    assert vendor.reads
