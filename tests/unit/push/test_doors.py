"""Who may push, from where, and what the sender is told when a push is not taken as it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.errors import PushDenied, PushMalformed, PushUnusable, StoreError
from bridge.domain.observation import Batch
from bridge.ports import PushAnswer, Pushed, PushRequest
from bridge.push.doors import Door, Doors, lower_headers
from tests.fakes.clock import FakeClock

SECRET = "0000-FAKE-SECRET"
SUCCESS, FAILURE = b'{"State": "success"}', b'{"State": "failed"}'
REQUEST = PushRequest(
    "/api/Data", {"content-type": "application/json"}, b'{"a": 1}', datetime(2024, 1, 1, tzinfo=UTC)
)
BATCH = Batch(())


@dataclass
class ToldDoor:
    """A vendor's door that does what it is told to."""

    does: Exception | Pushed = field(default_factory=lambda: Pushed([BATCH], PushAnswer(200, SUCCESS)))
    failures: list[tuple[int, str]] = field(default_factory=list)

    def parse(self, request: PushRequest) -> Pushed:
        if isinstance(self.does, Exception):
            raise self.does
        return self.does

    def success(self, request: PushRequest) -> PushAnswer:
        return PushAnswer(200, SUCCESS)

    def failure(self, request: PushRequest | None, status: int, reason: str) -> PushAnswer:
        self.failures.append((status, reason))
        return PushAnswer(status, FAILURE)


@dataclass
class Intake:
    """What was taken in; fails as often as it is told to."""

    taken: list[tuple[str, Sequence[Batch], Sequence[tuple[bytes, str]], str]] = field(default_factory=list)
    error: Exception | None = None
    fails: int = 1_000_000

    async def __call__(
        self, account: str, batches: Sequence[Batch], unusable: Sequence[tuple[bytes, str]], source: str
    ) -> None:
        if self.error is not None and self.fails > 0:
            self.fails -= 1
            raise self.error
        self.taken.append((account, batches, unusable, source))


@pytest.fixture
def intake() -> Intake:
    return Intake()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def told() -> ToldDoor:
    return ToldDoor()


@pytest.fixture
def doors(intake: Intake, clock: FakeClock, told: ToldDoor) -> Doors:
    made = Doors(intake, clock, ())
    made.set([Door.open("gas", SECRET, (), told)])
    return made


def guarded(*allow_from: str, trusted: Sequence[str] = ()) -> Doors:
    doors = Doors(Intake(), FakeClock(), trusted)
    doors.set([Door.open("gas", SECRET, allow_from, ToldDoor())])
    return doors


def status_of(doors: Doors, account: str, secret: str, peer: str = "203.0.113.9") -> int:
    """200 where the request may come in."""
    try:
        doors.admit(account, secret, peer)
    except PushDenied as denied:
        return denied.status
    return 200


@pytest.mark.parametrize("error", [None, StoreError("the disk is full")])
async def test_what_a_door_has_to_remember_is_kept_before_the_answer(
    doors: Doors, intake: Intake, told: ToldDoor, error: Exception | None
) -> None:
    seen: list[int] = []

    async def keep() -> None:
        seen.append(len(intake.taken))
        if error is not None:
            raise error

    told.does = Pushed([BATCH], PushAnswer(200, SUCCESS), keep=keep)
    answer = await doors.take(doors.admit("gas", SECRET, ""), REQUEST)
    assert (answer.status, seen) == (200 if error is None else 503, [1])


# secret ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "secret", "status"),
    [
        ("gas", SECRET, 200),
        ("gas", SECRET + "x", 404),
        ("gas", SECRET[:-1], 404),
        ("gas", SECRET.lower(), 404),
        ("gas", "", 404),
        ("gas", "密码", 404),
        ("none", SECRET, 404),
        ("none", "", 404),
        ("none", "\x00" * 32, 404),
        ("", SECRET, 404),
    ],
)
def test_only_the_exact_secret_of_a_known_account_opens(doors: Doors, account, secret, status):
    assert status_of(doors, account, secret) == status


def test_admitted_request_gets_the_door_of_its_account(doors: Doors, told: ToldDoor):
    other = ToldDoor()
    doors.set([Door.open("gas", SECRET, (), told), Door.open("shop", "0000-FAKE-OTHER", (), other)])
    assert doors.admit("gas", SECRET, "").door is told
    assert doors.admit("shop", "0000-FAKE-OTHER", "").door is other
    assert status_of(doors, "shop", SECRET) == 404


def test_doors_that_are_set_anew_replace_the_old_ones(doors: Doors, told: ToldDoor):
    doors.set([Door.open("gas", "0000-FAKE-NEWER", (), told)])
    assert status_of(doors, "gas", SECRET) == 404
    assert status_of(doors, "gas", "0000-FAKE-NEWER") == 200
    doors.set([])
    assert status_of(doors, "gas", "0000-FAKE-NEWER") == 404


# address ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allow_from", "peer", "status"),
    [
        ((), "203.0.113.9", 200),
        ((), "", 200),
        (("203.0.113.0/24",), "203.0.113.9", 200),
        (("203.0.113.0/24",), "203.0.114.9", 403),
        (("203.0.113.9",), "203.0.113.9", 200),
        (("203.0.113.9/24",), "203.0.113.1", 200),
        (("203.0.113.0/24",), "::ffff:203.0.113.9", 200),
        (("203.0.113.0/24",), "::ffff:203.0.114.9", 403),
        (("203.0.113.0/24",), "2001:db8::1", 403),
        (("2001:db8::/32",), "2001:db8::1", 200),
        (("2001:db8::/32",), "2001:DB8:0:0::1", 200),
        (("2001:db8::/32",), "2001:db9::1", 403),
        (("2001:db8::/32",), "203.0.113.9", 403),
        (("fe80::/10",), "fe80::1%eth0", 200),
        (("10.0.0.0/8", "2001:db8::/32"), "2001:db8::7", 200),
        (("10.0.0.0/8",), "", 403),
        (("10.0.0.0/8",), "unknown", 403),
        (("10.0.0.0/8",), "10.0.0.1, 10.0.0.2", 403),
        (("10.0.0.0/8",), "010.0.0.1", 403),
        (("0.0.0.0/0",), "203.0.113.9", 200),
        (("0.0.0.0/0",), "2001:db8::1", 403),
        (("::/0",), "2001:db8::1", 200),
    ],
)
def test_address_must_lie_in_an_allowed_network(allow_from, peer, status):
    assert status_of(guarded(*allow_from), "gas", SECRET, peer) == status


def test_wrong_secret_is_told_before_a_wrong_address():
    assert status_of(guarded("10.0.0.0/8"), "gas", "wrong", "203.0.113.9") == 404


@pytest.mark.parametrize(
    ("address", "forwarded_for", "peer"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", " , ,", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1,10.0.0.3 , 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1:4711, 10.0.0.2:80", "198.51.100.1"),
        ("fd00::1", "[fd00::2]:1, 198.51.100.1", "198.51.100.1"),
        ("fd00::1", "198.51.100.1, [fd00::2]:1", "198.51.100.1"),
    ],
)
def test_sender_is_the_last_hop_that_is_no_trusted_proxy(address, forwarded_for, peer):
    assert guarded(trusted=("10.0.0.0/24", "fd00::/8")).peer(address, forwarded_for) == peer


@pytest.mark.parametrize(
    ("address", "forwarded_for"),
    [
        ("198.51.100.66", "203.0.113.9"),
        ("198.51.100.66", "203.0.113.9, 10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.66"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.66, 10.0.0.2"),
        ("10.0.0.1", "203.0.113.9, unknown"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.1x, 10.0.0.2"),
        ("10.0.0.1", "203.0.113.9, _hidden, 10.0.0.2"),
    ],
)
def test_address_that_a_sender_claims_for_itself_is_not_believed(address, forwarded_for):
    doors = guarded("203.0.113.0/24", trusted=("10.0.0.0/24",))
    assert status_of(doors, "gas", SECRET, doors.peer(address, forwarded_for)) == 403


@given(st.text(max_size=60))
def test_header_without_trusted_proxies_is_never_looked_at(forwarded_for):
    assert guarded().peer("203.0.113.9", forwarded_for) == "203.0.113.9"


@given(st.lists(st.ip_addresses().map(str), max_size=4))
def test_whatever_is_claimed_the_last_untrusted_hop_counts(claimed):
    doors = guarded(trusted=("10.0.0.0/24",))
    assert doors.peer("10.0.0.1", ", ".join([*claimed, "198.51.100.66", "10.0.0.9"])) == "198.51.100.66"


# what is logged --------------------------------------------------------------------------------------------------


def denials(caplog: pytest.LogCaptureFixture) -> list[tuple[object, ...]]:
    return [
        (record.what, record.account, record.peer)  # type: ignore[attr-defined] # fields of this event
        for record in caplog.records
        if record.getMessage() == "push.denied"
    ]


async def test_denied_pushes_are_logged_once_a_minute_and_kind(clock: FakeClock, caplog):
    doors = Doors(Intake(), clock, ())
    doors.set([Door.open("gas", SECRET, ("10.0.0.0/8",), ToldDoor())])
    for _ in range(50):
        status_of(doors, "gas", "wrong", "203.0.113.9")
        status_of(doors, "guessed", "wrong", "203.0.113.9")
        status_of(doors, "gas", SECRET, "203.0.113.9")
        await clock.advance(1)
    assert denials(caplog) == [("secret", "gas", "203.0.113.9"), ("address", "gas", "203.0.113.9")]
    await clock.advance(10)
    status_of(doors, "guessed", "wrong", "203.0.113.10")
    assert denials(caplog)[2:] == [("secret", "(unknown)", "203.0.113.10")]


def test_log_tells_neither_the_secret_nor_what_was_tried_for_it(doors: Doors, caplog):
    status_of(doors, "gas", "tried-SECRET-text")
    status_of(doors, "gas", SECRET)
    everything = " ".join(str(record.__dict__) for record in caplog.records)
    assert denials(caplog)
    assert "tried" not in everything
    assert SECRET not in everything
    assert SECRET not in repr(doors)


# what becomes of a push ------------------------------------------------------------------------------------------


async def test_push_that_is_understood_is_taken_in_and_answered_as_the_vendor_wants(
    doors: Doors, intake: Intake, told: ToldDoor
):
    unusable = [(b"part", "no device")]
    told.does = Pushed([BATCH, BATCH], PushAnswer(200, b"own answer"), unusable)
    answer = await doors.take(doors.admit("gas", SECRET, ""), REQUEST)
    assert answer == PushAnswer(200, b"own answer")
    assert intake.taken == [("gas", [BATCH, BATCH], unusable, "/api/Data")]
    assert doors.counters.counts == {("gas", "taken"): 1, ("gas", "unusable"): 1}


async def test_push_that_is_not_on_disk_is_answered_with_503(
    doors: Doors, intake: Intake, told: ToldDoor, caplog
):
    intake.error = StoreError("disk full")
    answer = await doors.take(doors.admit("gas", SECRET, ""), REQUEST)
    assert answer == PushAnswer(503, FAILURE)
    assert [status for status, _ in told.failures] == [503]
    assert "disk" not in told.failures[0][1], "the inside is not told to strangers"
    assert doors.counters.counts == {("gas", "not_stored"): 1}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_thousand_refusals_are_one_line_a_minute_that_counts_them(
    doors: Doors, intake: Intake, told: ToldDoor, clock: FakeClock, caplog
):
    intake.error = StoreError("disk full")
    door = doors.admit("gas", SECRET, "")
    for _ in range(1000):
        await doors.take(door, REQUEST)
    await clock.advance(60)
    for does in (told.does, PushUnusable("no time")):
        told.does = does
        await doors.take(door, REQUEST)
    intake.error = None
    for _ in range(3):
        await doors.take(door, REQUEST)
        doors.no_room(door)
    lines = [(record.getMessage(), record.times) for record in caplog.records]  # type: ignore[attr-defined] # a field of these events
    assert lines == [
        ("push.not_stored", 1),
        ("push.not_stored", 1000),
        ("push.dead_letter", 1),
        ("push.no_room", 1),
    ]


async def test_push_that_cannot_be_read_is_answered_with_400_and_not_kept(
    doors: Doors, intake: Intake, told: ToldDoor
):
    told.does = PushMalformed("no JSON")
    answer = await doors.take(doors.admit("gas", SECRET, ""), REQUEST)
    assert answer == PushAnswer(400, FAILURE)
    assert told.failures == [(400, "no JSON")]
    assert intake.taken == []
    assert doors.counters.counts == {("gas", "malformed"): 1}


async def test_push_that_is_of_no_use_becomes_a_dead_letter_and_is_answered_with_success(
    doors: Doors, intake: Intake, told: ToldDoor
):
    told.does = PushUnusable("no acquisition_time")
    answer = await doors.take(doors.admit("gas", SECRET, ""), REQUEST)
    assert answer == PushAnswer(200, SUCCESS)
    assert intake.taken == [("gas", (), ((b'{"a": 1}', "no acquisition_time"),), "/api/Data")]
    assert told.failures == []
    assert doors.counters.counts == {("gas", "unusable"): 1}


@pytest.mark.parametrize("in_the_door", [True, False])
async def test_a_push_that_meets_a_fault_of_ours_is_kept_until_it_is_mended(
    doors: Doors, intake: Intake, told: ToldDoor, caplog, in_the_door
):
    if in_the_door:
        told.does = KeyError("FAKEKEY")
    else:
        intake.error = ZeroDivisionError("x")
        intake.fails = 1
    answer = await doors.take(doors.admit("gas", SECRET, ""), REQUEST)
    assert answer == PushAnswer(200, SUCCESS)
    ((_account, batches, ((body, reason),), _source),) = intake.taken
    assert (batches, body) == ((), REQUEST.body)
    assert "a fault of the gateway" in reason
    assert "FAKEKEY" not in reason
    assert doors.counters.counts == {("gas", "crashed"): 1, ("gas", "unusable"): 1}
    assert "push.crashed" in [record.getMessage() for record in caplog.records]


async def test_dead_letter_that_is_not_on_disk_is_answered_with_503(
    doors: Doors, intake: Intake, told: ToldDoor
):
    told.does, intake.error = PushUnusable("no time"), StoreError("disk full")
    answer = await doors.take(doors.admit("gas", SECRET, ""), REQUEST)
    assert answer == PushAnswer(503, FAILURE)
    assert doors.counters.counts == {("gas", "not_stored"): 1}


async def test_push_with_a_wrong_key_is_answered_by_its_status_and_nothing_else(
    doors: Doors, intake: Intake, told: ToldDoor, caplog
):
    told.does = PushDenied(401, "wrong data_api_key FAKEKEY")
    answers = [await doors.take(doors.admit("gas", SECRET, ""), REQUEST) for _ in range(3)]
    assert answers == [PushAnswer(401, b"")] * 3
    assert (intake.taken, told.failures) == ([], [])
    assert doors.counters.counts == {("gas", "denied"): 3}
    assert denials(caplog) == [("key", "gas", "")]
    assert "FAKEKEY" not in caplog.text


async def test_forbidden_addresses_are_counted():
    doors = guarded("10.0.0.0/8")
    for _ in range(3):
        status_of(doors, "gas", SECRET, "203.0.113.9")
    assert doors.counters.counts == {("gas", "forbidden"): 3}


def test_header_names_are_lower_case_and_the_last_of_equal_ones_counts():
    raw = [(b"Content-Type", b"a/b"), (b"X-Key", b"one"), (b"x-key", b"two"), (b"X-Bytes", b"\xe9")]
    assert lower_headers(raw) == {"content-type": "a/b", "x-key": "two", "x-bytes": "é"}
