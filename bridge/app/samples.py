"""What `/metrics` reads at the moment it is asked: connection, outbox, accounts, budgets, pushes."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.app.accounts import Account
from bridge.app.budgets import budget_rows
from bridge.app.reporting import Reporter
from bridge.contract.publication import Class
from bridge.ops.metrics import Sample
from bridge.ports import Clock
from bridge.store.protocols import Tally

NOTHING = Tally(0, 0, 0, 0, 0, 0, None, None, 0, 0)
_ENDS = (
    ("taken", "Messages ever taken into the outbox"),
    ("published", "Messages that the broker confirmed"),
    ("refused", "Messages that the broker refused for good"),
    ("superseded", "Retained messages replaced by a newer one while they waited"),
    ("lost", "Messages on a damaged part of the disk"),
)


def samples(reporter: Reporter, clock: Clock) -> list[Sample]:
    """All of them."""
    return [
        *_connection(reporter),
        *_outbox(reporter),
        *_pushes(reporter),
        *_gaps(reporter),
        *(
            sample
            for name, account in reporter.accounts.items()
            for sample in _account(reporter, name, account, clock)
        ),
    ]


def _connection(reporter: Reporter) -> Iterator[Sample]:
    session = reporter.session
    connected = session is not None and session.connected
    yield Sample("meterbridge_mqtt_connected", "1 while the broker is connected", float(connected))
    lost = float(session.reconnects if session else 0)
    yield Sample("meterbridge_mqtt_reconnects", "Connections lost", lost, counter=True)
    yield Sample("meterbridge_event_loop_lag_seconds", "Last lag of the event loop", reporter.lag_s)
    if reporter.publisher is None:
        return
    counters = reporter.publisher.counters
    for outcome in ("published", "refused", "resent"):
        yield Sample(
            "meterbridge_messages",
            "Messages by what the broker made of them",
            float(getattr(counters, outcome)),
            (("outcome", outcome),),
            counter=True,
        )


def _outbox(reporter: Reporter) -> Iterator[Sample]:
    snapshot = reporter.snapshot
    age_s = reporter.oldest_s() or 0.0
    yield Sample("meterbridge_outbox_bytes", "Bytes that wait for the broker", float(snapshot.bytes))
    yield Sample("meterbridge_outbox_age_seconds", "Age of the oldest message that waits", age_s)
    yield Sample("meterbridge_dead_letters", "Unusable input kept", float(snapshot.dead_letters))
    pressure = reporter.pressure
    yield Sample("meterbridge_spool_max_bytes", "Bytes that may wait", float(reporter.spool_bound_bytes))
    yield Sample("meterbridge_intake_refusing", "1 while nothing more is taken in", float(pressure.full))
    yield Sample(
        "meterbridge_disk_low", "1 while the disk has less room than min_free", float(pressure.disk_low)
    )
    if pressure.free_bytes is not None:
        yield Sample("meterbridge_disk_free_bytes", "Room on the disk", float(pressure.free_bytes))
    for klass in Class:
        yield from _class(klass, snapshot.tallies.get(int(klass), NOTHING))


def _class(klass: Class, tally: Tally) -> Iterator[Sample]:
    labels = (("class", klass.name.lower()),)
    yield Sample(
        "meterbridge_outbox_messages", "Messages that wait for the broker", float(tally.rows), labels
    )
    for name, text in _ENDS:
        value = float(getattr(tally, name))
        yield Sample(f"meterbridge_outbox_{name}", text, value, labels, counter=True)
    if tally.shed:
        text = "Messages dropped from a full spool"
        yield Sample("meterbridge_dropped", text, float(tally.shed), labels, counter=True)
    if tally.first_ms is not None and tally.last_ms is not None:
        text = "Unix time of the {} dropped message"
        for word, at_ms in (("first", tally.first_ms), ("last", tally.last_ms)):
            name = f"meterbridge_dropped_{word}_timestamp_seconds"
            yield Sample(name, text.format(word), at_ms / 1000, labels)


def _pushes(reporter: Reporter) -> Iterator[Sample]:
    for (account, outcome), count in (reporter.doors.counters.counts if reporter.doors else {}).items():
        labels = (("account", account), ("outcome", outcome))
        yield Sample("meterbridge_pushes", "Pushes by outcome", float(count), labels, counter=True)
    room = reporter.push_room
    if room is not None:
        yield Sample("meterbridge_pushes_under_way", "Pushes not answered yet", float(room.under_way))
        yield Sample("meterbridge_push_bytes_under_way", "Bytes of pushes not answered yet", float(room.held))


def _gaps(reporter: Reporter) -> Iterator[Sample]:
    for (account, state), count in (reporter.repair.counts if reporter.repair else {}).items():
        labels = (("account", account), ("state", str(state)))
        yield Sample("meterbridge_gaps", "Known holes in the series of devices", float(count), labels)


def _account(reporter: Reporter, name: str, account: Account, clock: Clock) -> Iterator[Sample]:
    state = reporter.health.state(name)
    yield Sample(
        "meterbridge_account_online",
        "1 while the vendor answers as it should",
        float(state is not None and state.word == "online"),
        (("account", name), ("vendor", account.settings.vendor)),
    )
    yield Sample(
        "meterbridge_calls_waiting",
        "Calls that wait for a slot in the vendor's limits",
        float(account.gate.waiting()),
        (("account", name),),
    )
    now = clock.now().timestamp()
    for usage in account.gate.usage():
        if usage.exhausted_at is not None and not usage.key:
            yield Sample(
                "meterbridge_budget_exhausted_in_seconds",
                "When a rate-limit window will be used up if calls go on as lately; absent if it will not",
                max(0.0, usage.exhausted_at - now),
                (("account", name), ("limit", usage.limit.name), ("window_s", f"{usage.window.seconds:g}")),
            )
    yield Sample(
        "meterbridge_polls_spared",
        "Device readings that were not asked for because pushes had told them",
        float(account.poller.hearing.spared),
        (("account", name),),
        counter=True,
    )
    for row in budget_rows(account):
        if ":" in row.scope:
            continue  # one series per device would drown the rest; the budget topic has them
        labels = (
            ("account", name),
            ("endpoint", row.endpoint),
            ("scope", row.scope),
            ("window_s", f"{row.window_s:g}"),
        )
        yield Sample(
            "meterbridge_budget_used_ratio", "Used part of a rate-limit window", row.used / row.limit, labels
        )
