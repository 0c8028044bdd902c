"""`journal`, `deadletter`, `diagnostics`: what is on disk, also while a gateway has it open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from click.testing import Result

from bridge.domain.command import CommandState
from bridge.store.protocols import RetainedRow
from bridge.store.sqlite.database import SqliteStore
from tests.cli.bench import APP_SECRET, PUSH_SECRET, configuration, meterbridge
from tests.cli.shelf import SPOOL_BYTES, command, letter, lock, read, slot, stored

REPORT: dict[str, Any] = {
    "device_sn": "W71E0000001", "msg_id": "0", "type": "2", "cmd": "power_report", "app_id": "",
    "cmd_type": "power_report", "info": {"voltage": "230.1", "switch_state": "1", "total_electricity": "12.5"},
}  # fmt: skip
SUCCEEDED = {"status": "succeeded", "code": None, "message": "told by Erika Mustermann"}


def _while_open(folder: Path, *calls: tuple[str, ...]) -> list[Result]:
    """The verbs while another process has the database, as a gateway that runs."""

    async def run() -> list[Result]:
        store = SqliteStore(folder / "state.db", SPOOL_BYTES)
        await store.open()
        try:
            await store.run(command("late"))
            return [await asyncio.to_thread(meterbridge, *call) for call in calls]
        finally:
            await store.close()

    return asyncio.run(run())


def test_the_journal_is_listed_newest_first(tmp_path: Path) -> None:
    final = command("one", state=CommandState.FINAL, last_ack=SUCCEEDED)
    stored(tmp_path, final, command("two"), command("three", account="bridge"))
    path = str(configuration(tmp_path))
    listed = json.loads(meterbridge("journal", "list", "--json", "-c", path).stdout)
    assert [(row["id"], row["state"], row["status"]) for row in listed] == [
        ("three", "accepted", None), ("two", "accepted", None), ("one", "final", "succeeded"),
    ]  # fmt: skip
    opened = json.loads(
        meterbridge("journal", "list", "--json", "--open", "--account", "shop", "-c", path).stdout
    )
    assert [row["id"] for row in opened] == ["two"]
    shown = meterbridge("journal", "list", "--limit", "2", "-c", path).stdout
    assert [line.split()[3] for line in shown.splitlines()] == ["id", "three", "two"]


def test_a_command_is_shown_with_its_history_and_without_secrets(tmp_path: Path) -> None:
    params = {"user": "x", "password": "FAKE0000hidden"}
    stored(tmp_path, command("one", state=CommandState.FINAL, last_ack=SUCCEEDED, params=params))
    path = str(configuration(tmp_path))
    for words in (("one",), ("shop/one",), ("--json", "one")):
        result = meterbridge("journal", "show", *words, "-c", path)
        assert result.exit_code == 0
        assert "FAKE0000hidden" not in result.output
        assert '"password":"***"' in result.output
    history = json.loads(result.stdout)["history"]
    assert [(step["state"], step["note"]) for step in history] == [("accepted", ""), ("final", "done")]
    assert [(step["status"], step["code"]) for step in history] == [(None, None), (None, None)]
    missing = meterbridge("journal", "show", "four", "-c", path)
    assert missing.exit_code == 1
    assert "no command with the id 'four'" in missing.stderr


def _left(identity: str, request: Any) -> Any:
    """A command whose request has left."""

    def work(tx: Any) -> None:
        row = tx.journal.find("shop", identity)
        tx.journal.save(row, "attempt 1 leaves", request=request)

    return work


def test_the_journal_is_listed_by_account_device_state_and_time(tmp_path: Path) -> None:
    stored(
        tmp_path,
        command("one", state=CommandState.FINAL, last_ack=SUCCEEDED),
        command("two", account="bridge", device=None),
        command("three", device="W71E0000002"),
    )
    path = str(configuration(tmp_path))
    for words, wanted in (
        (("--device", "W71E0000002"), ["three"]),
        (("--account", "bridge"), ["two"]),
        (("--state", "succeeded"), ["one"]),
        (("--state", "accepted"), ["three", "two"]),
        (("--state", "final", "--account", "shop"), ["one"]),
        (("--since", "2026-01-01T00:00:00Z"), ["three", "two", "one"]),
        (("--since", "2026-01-01T00:00:01Z"), []),
        (("--since", "1s"), []),
        (("--since", "5200w"), ["three", "two", "one"]),
    ):
        result = meterbridge("journal", "list", "--json", *words, "-c", path)
        assert [row["id"] for row in json.loads(result.stdout)] == wanted, words
    for words in (("--since", "yesterday"), ("--state", "lost")):
        assert meterbridge("journal", "list", *words, "-c", path).exit_code == 2


def test_what_left_for_the_vendor_is_shown_with_the_step(tmp_path: Path) -> None:
    request = {"method": "POST", "url": "https://x.invalid/send", "body": {"app_secret": "***"}}
    stored(tmp_path, command("one"), _left("one", request))
    path = str(configuration(tmp_path))
    document = json.loads(meterbridge("journal", "show", "one", "--json", "-c", path).stdout)
    assert [step.get("request") for step in document["history"]] == [None, request]
    told = meterbridge("journal", "show", "one", "-c", path).stdout
    assert '{"method":"POST","url":"https://x.invalid/send","body":{"app_secret":"***"}}' in told


def test_the_journal_is_exported_line_by_line(tmp_path: Path) -> None:
    params = {"password": "FAKE0000hidden", "text": APP_SECRET}
    stored(
        tmp_path,
        command("one", state=CommandState.FINAL, last_ack=SUCCEEDED, params=params),
        command("two", account="bridge", device=None),
        _left("one", {"url": APP_SECRET}),
    )
    path = str(configuration(tmp_path))
    result = meterbridge("journal", "export", "-c", path)
    assert result.exit_code == 0
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["seq"], one["id"], one["state"]) for one in told] == [
        (1, "one", "accepted"), (2, "one", "final"), (3, "two", "accepted"), (4, "two", "accepted"),
        (5, "one", "final"),
    ]  # fmt: skip
    assert told[4]["request"] == {"url": "***"}
    assert "FAKE0000hidden" not in result.stdout
    assert APP_SECRET not in result.stdout
    for words, wanted in (
        (("--account", "bridge"), [3, 4]),
        (("--device", "W71E0000001", "--since", "2026-01-01T00:00:01Z"), [2, 5]),
    ):
        lines = meterbridge("journal", "export", *words, "-c", path).stdout.splitlines()
        assert [json.loads(line)["seq"] for line in lines] == wanted


def test_an_unknown_account_lists_the_known(tmp_path: Path) -> None:
    stored(tmp_path, command("one"))
    result = meterbridge("journal", "list", "--account", "shoop", "-c", str(configuration(tmp_path)))
    assert result.exit_code == 2
    assert "known are: shop" in result.stderr


def test_without_a_state_database_nothing_is_made(tmp_path: Path) -> None:
    path = str(configuration(tmp_path))
    for words in (
        ("journal", "list"),
        ("deadletter", "list"),
        ("deadletter", "drop", "1"),
        ("journal", "show", "x"),
    ):
        result = meterbridge(*words, "-c", path)
        assert result.exit_code == 1
        assert "there is no state database" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database at all" * 100)
    result = meterbridge("journal", "list", "-c", str(configuration(tmp_path)))
    assert result.exit_code == 1
    assert "cannot be read: file is not a database" in result.stderr


def test_a_database_of_a_newer_version_is_told_with_its_file(tmp_path: Path) -> None:
    """Its tables may mean something else."""
    path, file = str(configuration(tmp_path)), stored(tmp_path, command("one"))
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version=9999")
    looks: list[tuple[str, ...]] = [
        ("journal", "list"), ("journal", "show", "one"), ("journal", "export"), ("gaps",), ("devices",),
        ("deadletter", "list"), ("deadletter", "drop", "1"), ("diagnostics",), ("check",),
    ]  # fmt: skip
    for words in looks:
        result = meterbridge(*words, "-c", path)
        assert (result.exit_code, f"{file} is of a newer version (9999)" in result.stderr) == (1, True), words


def test_looking_leaves_no_files_behind(tmp_path: Path) -> None:
    stored(tmp_path, command("one"))
    path = str(configuration(tmp_path))
    before = sorted(path.name for path in tmp_path.iterdir())
    assert meterbridge("journal", "list", "-c", path).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_looking_works_while_a_gateway_runs_and_changing_does_not(tmp_path: Path) -> None:
    stored(tmp_path, command("one"), letter(b"{}"))
    path = str(configuration(tmp_path))
    listed, letters, bundle, dropped, replayed = _while_open(
        tmp_path,
        ("journal", "list", "--json", "-c", path),
        ("deadletter", "list", "--json", "-c", path),
        ("diagnostics", "-c", path),
        ("deadletter", "drop", "1", "-c", path),
        ("deadletter", "replay", "1", "-c", path),
    )
    assert [row["id"] for row in json.loads(listed.stdout)] == ["late", "one"]
    assert len(json.loads(letters.stdout)) == 1
    assert bundle.exit_code == 0
    for refused in (dropped, replayed):
        assert refused.exit_code == 1
        assert "stop the gateway first" in refused.stderr
    assert read(tmp_path, lambda tx: tx.dead_letters.count()) == 1


def test_dead_letters_are_listed_shown_and_dropped(tmp_path: Path) -> None:
    stored(tmp_path, letter(b'{"a": "\x1b[2J"}', "no serial"), letter(b"\xff\x00", "no JSON"))
    path = str(configuration(tmp_path))
    listed = meterbridge("deadletter", "list", "-c", path).stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["key", "2", "1"]
    shown = meterbridge("deadletter", "show", "1", "-c", path)
    assert "no serial" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert (
        json.loads(meterbridge("deadletter", "show", "--json", "2", "-c", path).stdout)["body"]
        == "\ufffd\x00"
    )
    assert meterbridge("deadletter", "show", "7", "-c", path).exit_code == 1
    dropped = meterbridge("deadletter", "drop", "1", "7", "-c", path)
    assert (dropped.exit_code, dropped.stdout) == (1, "dropped: 1\n")
    assert [one.key for one in read(tmp_path, lambda tx: list(tx.dead_letters.list(9)))] == [2]


def test_a_replayed_letter_goes_through_door_and_intake(tmp_path: Path) -> None:
    stranger = {**REPORT, "device_sn": "W71E0000099"}
    stored(tmp_path, letter(json.dumps(REPORT).encode()), letter(json.dumps(stranger).encode()))
    result = meterbridge("deadletter", "replay", "--all", "-c", str(configuration(tmp_path)))
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:2] == [
        "1  taken in",
        "2  still not usable: the serial number is none of the account's devices",
    ]
    assert [one.key for one in read(tmp_path, lambda tx: list(tx.dead_letters.list(9)))] == [2]
    rows = read(tmp_path, lambda tx: list(tx.outbox.read(0, 100)))
    records = [
        json.loads(row.publication.body) for row in rows if row.publication.topic.endswith("/telemetry")
    ]
    assert [(record["source"], record["metrics"]["voltage"]) for record in records] == [("push", 230.1)]
    assert records[0]["received_ts"] == "2026-01-01T00:00:00Z", "when it came, not when it was replayed"


def test_a_message_that_the_broker_refused_goes_back_into_the_outbox(tmp_path: Path) -> None:
    base = "meterbridge/shop/W71E0000001"
    refused = [
        letter(b'{"n": 1}', "the broker refused it", account="shop", source=f"{base}/telemetry"),
        letter(b'{"n": 2}', "the broker refused it", account="shop", source=f"{base}/alarm"),
        letter(b'{"n": 3}', "the broker refused it", account="shop", source=f"{base}/state"),
        letter(b'{"n": 4}', "the broker refused it", account="bridge", source="meterbridge/bridge/event"),
        letter(b'{"n": 5}', "the broker refused it", account="shop", source="elsewhere/shop/x/alarm"),
    ]
    latest = RetainedRow(f"{base}/state", "shop", "W71E0000001", b'{"n": "latest"}')
    stored(tmp_path, *refused, lambda tx: tx.retained.put(latest))
    result = meterbridge("deadletter", "replay", "--all", "-c", str(configuration(tmp_path)))
    assert "elsewhere/shop/x/alarm" in result.stdout
    rows = [row.publication for row in read(tmp_path, lambda tx: list(tx.outbox.read(0, 100)))]
    assert [(one.topic, one.body, one.retain) for one in rows] == [
        (f"{base}/history", b'{"n": 1}', False),
        (f"{base}/alarm", b'{"n": 2}', False),
        (f"{base}/state", b'{"n": "latest"}', True),
        ("meterbridge/bridge/event", b'{"n": 4}', False),
    ]
    assert [one.key for one in read(tmp_path, lambda tx: list(tx.dead_letters.list(9)))] == [5]


def test_replay_of_all_where_there_are_none_says_so(tmp_path: Path) -> None:
    stored(tmp_path)
    result = meterbridge("deadletter", "replay", "--all", "-c", str(configuration(tmp_path)))
    assert (result.exit_code, result.output) == (0, "no dead letters\n")


def test_replay_wants_to_know_which(tmp_path: Path) -> None:
    stored(tmp_path, letter(b"{}"))
    path = str(configuration(tmp_path))
    assert meterbridge("deadletter", "replay", "-c", path).exit_code == 2
    assert meterbridge("deadletter", "replay", "1", "--all", "-c", path).exit_code == 2
    assert meterbridge("deadletter", "replay", "5", "-c", path).exit_code == 1


def test_a_letter_of_an_account_that_is_gone_stays(tmp_path: Path) -> None:
    stored(tmp_path, letter(json.dumps(REPORT).encode(), account="former"))
    result = meterbridge("deadletter", "replay", "--all", "-c", str(configuration(tmp_path)))
    assert result.exit_code == 1
    assert "the configuration has no account 'former'" in result.stdout


def test_diagnostics_hold_neither_secrets_nor_what_is_the_customers(tmp_path: Path) -> None:
    stored(
        tmp_path,
        command("invoice-4711", state=CommandState.FINAL, last_ack=SUCCEEDED, params={"note": "Mustermann"}),
        letter(b"Mustermann", "reason with Mustermann"),
        slot("requests", 1.0, blocked=False),
        lock(),
    )
    result = meterbridge("diagnostics", "-c", str(configuration(tmp_path)))
    assert result.exit_code == 0
    hidden = (APP_SECRET, PUSH_SECRET, "FAKE0000brokerpassword", "FAKE0000appid", "operator", "Cold store")
    for word in (*hidden, "invoice-4711", "Mustermann"):
        assert word not in result.output, word
    document = json.loads(result.stdout)
    assert document["state"]["rows"]["journal"] == 1
    assert document["state"]["dead_letters"] == {"shop": 1}
    assert document["state"]["slots"] == {"shop: requests": 1}
    (told,) = document["state"]["commands"]
    assert told["status"] == "succeeded"
    assert told["id"].startswith("command-")
    again = json.loads(meterbridge("diagnostics", "-c", str(configuration(tmp_path))).stdout)
    assert again["state"]["commands"][0]["id"] == told["id"], "a token is the same in every bundle"
    assert document["configuration"]["accounts"][0]["poll"] == "1m"
    assert document["versions"]["aiomqtt"]


def test_diagnostics_work_before_the_gateway_ever_ran(tmp_path: Path) -> None:
    result = meterbridge("diagnostics", "-c", str(configuration(tmp_path)))
    assert json.loads(result.stdout)["state"] is None
