"""What was published is what the page shows."""

from __future__ import annotations

import json

import pytest

from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.web import board as boards
from bridge.web.board import Board

TOPICS = Topics("mb")


@pytest.fixture
def board() -> Board:
    return Board(TOPICS)


def state(
    device: str = "d1", minute: int = 0, alarms: list[str] | None = None, **metrics: object
) -> Publication:
    document = {"ts": f"2024-01-01T10:{minute:02d}:00Z", "metrics": metrics, "alarms": alarms or []}
    topic = TOPICS.device("home", device, "state")
    return Publication(topic, json.dumps(document).encode(), Class.STATE, True, "home", device)


def test_state_and_availability_of_a_device_are_shown(board: Board) -> None:
    topic = TOPICS.device("home", "d1", "availability")
    board.take([state(active_power=5), Publication(topic, b"offline", Class.META, True, "home", "d1")])
    shown = board.shown("home", "d1")
    assert json.loads(shown.state)["metrics"] == {"active_power": 5}
    assert shown.available is False
    assert board.shown("home", "other").state == b""


def test_numbers_and_switches_get_a_series_and_other_words_none(board: Board) -> None:
    board.take(
        [
            state(minute=m, active_power=m, switch_state="on" if m else "off", plant_status="running")
            for m in (0, 1)
        ]
    )
    series = board.shown("home", "d1").series
    assert [value for _, value in series["active_power"].points(0)] == [0, 1]
    assert [value for _, value in series["switch_state"].points(0)] == [0, 1]
    assert "plant_status" not in series


def test_series_are_bounded_per_device_and_in_all(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {
        "active_power": 1,
        "voltage": 2,
        "current": 3,
        "import_energy": 4,
        "temperature": 5,
        "frequency": 6,
    }
    monkeypatch.setattr(boards, "MAX_SERIES_PER_DEVICE", 3)
    monkeypatch.setattr(boards, "MAX_SERIES", 5)
    board.take([state("d1", **many), state("d2", **many), state("d3", **many)])
    assert [len(board.shown("home", name).series) for name in ("d1", "d2", "d3")] == [3, 2, 0]
    assert next(iter(board.shown("home", "d1").series)) == "active_power"


def test_device_that_is_cleared_is_forgotten_and_gives_its_series_back(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "MAX_SERIES", 1)
    cleared = Publication(TOPICS.device("home", "d1", "state"), b"", Class.META, True, "home", "d1")
    board.take([state("d1", active_power=1), cleared, state("d2", active_power=1)])
    assert board.shown("home", "d1").state == b""
    assert list(board.shown("home", "d2").series) == ["active_power"]


def test_each_kind_of_change_moves_its_own_revision(board: Board) -> None:
    ack = {"account": "home", "id": "c1", "status": "accepted"}
    event = {"code": "auth_failed", "severity": "critical", "message": "no", "ts": "2024-01-01T10:00:00Z"}
    for publication, moved in (
        (state(active_power=1), {"devices"}),
        (state(active_power=1, alarms=["overload"]), {"devices", "alarms"}),
        (Publication(TOPICS.device("home", "d1", "ack"), json.dumps(ack).encode(), Class.ACK), {"commands"}),
        (Publication(TOPICS.bridge("event"), json.dumps(event).encode(), Class.EVENT), {"gateway"}),
        (Publication(TOPICS.account("home", "status"), b"{}", Class.META, True, "home"), {"gateway"}),
        (
            Publication(
                TOPICS.device("home", "d1", "telemetry"), b"{}", Class.TELEMETRY, False, "home", "d1"
            ),
            set(),
        ),
    ):
        before = board.revisions.as_json()
        board.take([publication])
        after = board.revisions.as_json()
        assert {name for name in after if after[name] != before[name]} == moved
    assert board.ack("home", "c1") == ack
    assert list(board.events) == [event]


def test_acknowledgements_and_events_are_bounded(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "RECENT_ACKS", 2)
    for number in range(3):
        body = json.dumps({"account": "home", "id": f"c{number}"}).encode()
        board.take([Publication("mb/home/ack", body, Class.ACK)])
        board.take([Publication(TOPICS.bridge("event"), b"{}", Class.EVENT)] * 30)
    assert [board.ack("home", f"c{number}") is None for number in range(3)] == [True, False, False]
    assert len(board.events) == boards.RECENT_EVENTS


def test_body_that_cannot_be_read_disturbs_nobody(board: Board) -> None:
    broken = Publication(TOPICS.device("home", "d1", "state"), b"{", Class.STATE, True, "home", "d1")
    board.take([broken, state("d2", active_power=1)])
    assert board.shown("home", "d2").state


def test_listeners_hear_of_every_change_until_they_leave(board: Board) -> None:
    listener = board.listen()
    board.take([state(active_power=1)])
    assert listener.is_set()
    listener.clear()
    board.leave(listener)
    board.take([state(active_power=2)])
    assert not listener.is_set()
    assert board.listeners == 0
