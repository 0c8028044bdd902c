"""What `/metrics` reads at the moment it is asked: connection, outbox, accounts, budgets, pushes."""

from __future__ import annotations

from collections.abc import Iterator

from bridge import __version__
from bridge.app.accounts import Account
from bridge.app.budgets import budget_rows
from bridge.app.reporting import Reporter, Snapshot
from bridge.contract.publication import SHEDDABLE, Class
from bridge.ops.metrics import Sample
from bridge.ports import Clock
from bridge.store.protocols import Tally
from bridge.vendorkit.spec import HoldsToken

STATES = ("online", "degraded", "rate_limited", "unreachable", "auth_failed")
NOTHING = Tally(0, 0, 0, 0, 0, 0, None, None, 0, 0)
_ENDS = (
    ("taken", "meterbridge_outbox_taken", "Messages ever taken into the outbox"),
    ("published", "meterbridge_outbox_published", "Messages that the broker confirmed"),
    ("refused", "meterbridge_outbox_refused", "Messages that the broker refused for good"),
    (
        "superseded",
        "meterbridge_outbox_superseded",
        "Retained messages replaced by a newer one while they waited",
    ),
    ("lost", "meterbridge_outbox_lost", "Messages on a damaged part of the disk"),
)


def samples(reporter: Reporter, clock: Clock) -> list[Sample]:
    """All of them."""
    return [
        *_connection(reporter),
        *_outbox(reporter),
        *_pushes(reporter),
        *_gaps(reporter),
        *_backfills(reporter),
        *(
            sample
            for name, account in reporter.accounts.items()
            for sample in _account(reporter, name, account, clock)
        ),
    ]


def _connection(reporter: Reporter) -> Iterator[Sample]:
    session = reporter.session
    connected = session is not None and session.connected
    yield Sample(
        "meterbridge_build_info",
        "1; version, instance and MQTT protocol in force",
        1.0,
        (
            ("version", __version__),
            ("instance", reporter.instance),
            ("mqtt_protocol", (session.protocol if session else None) or ""),
        ),
    )
    under_way = float(reporter.dispatcher.under_way() if reporter.dispatcher else 0)
    yield Sample("meterbridge_commands_under_way", "Commands that are not final", under_way)
    yield Sample("meterbridge_mqtt_connected", "1 while the broker is connected", float(connected))
    lost = float(session.reconnects if session else 0)
    yield Sample("meterbridge_mqtt_reconnects", "Connections lost", lost, counter=True)
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
    yield from _dead_letters(snapshot)
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
    for key, name, text in _ENDS:
        yield Sample(name, text, float(getattr(tally, key)), labels, counter=True)
    if (
        klass in SHEDDABLE
    ):  # from 0 on: of a counter that begins with its first count, `increase` sees nothing
        text = "Messages dropped from a full spool"
        yield Sample("meterbridge_dropped", text, float(tally.shed), labels, counter=True)
    if tally.first_ms is not None and tally.last_ms is not None:
        text = "Unix time of the {} dropped message"
        first, last = (
            "meterbridge_dropped_first_timestamp_seconds",
            "meterbridge_dropped_last_timestamp_seconds",
        )
        yield Sample(first, text.format("first"), tally.first_ms / 1000, labels)
        yield Sample(last, text.format("last"), tally.last_ms / 1000, labels)


def _dead_letters(snapshot: Snapshot) -> Iterator[Sample]:
    yield Sample("meterbridge_dead_letters", "Unusable input kept", float(snapshot.dead_letters))
    yield Sample("meterbridge_dead_letter_bytes", "Bytes of it", float(snapshot.dead_letter_bytes))
    gone = float(snapshot.dead_letters_evicted)
    text = "Unusable input that had to go for newer one"
    yield Sample("meterbridge_dead_letters_evicted", text, gone, counter=True)


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


def _backfills(reporter: Reporter) -> Iterator[Sample]:
    counts = reporter.backfill.counts() if reporter.backfill else {}
    for (account, origin), count in counts.items():
        labels = (("account", account), ("origin", origin))
        yield Sample("meterbridge_backfills", "Devices whose past is being read", float(count), labels)


def _account(reporter: Reporter, name: str, account: Account, clock: Clock) -> Iterator[Sample]:
    state = reporter.health.state(name)
    mine = (("account", name),)
    yield Sample(
        "meterbridge_account_online",
        "1 while the vendor answers as it should",
        float(state is not None and state.word == "online"),
        (*mine, ("vendor", account.settings.vendor)),
    )
    for word in STATES:
        yield Sample(
            "meterbridge_account_state",
            "1 for the state that the account is in, 0 for the others",
            float(state is not None and state.word == word),
            (*mine, ("state", word)),
        )
    if state is not None and state.last_success is not None:
        text = "Unix time of the vendor's last good answer"
        at_s = state.last_success.timestamp()
        yield Sample("meterbridge_account_last_success_timestamp_seconds", text, at_s, mine)
    if isinstance(account.adapter, HoldsToken) and account.adapter.token_expires_at is not None:
        text = "Unix time when the vendor's access token expires; it is renewed before"
        at_s = account.adapter.token_expires_at.timestamp()
        yield Sample("meterbridge_token_expiry_timestamp_seconds", text, at_s, mine)
    devices = float(len(reporter.roster.devices(name)))
    yield Sample("meterbridge_devices", "Devices of the account", devices, mine)
    yield Sample(
        "meterbridge_calls_waiting",
        "Calls that wait for a slot in the vendor's limits",
        float(account.gate.waiting()),
        mine,
    )
    yield Sample(
        "meterbridge_polls_spared",
        "Device readings that were not asked for because pushes had told them",
        float(account.poller.hearing.spared),
        mine,
        counter=True,
    )
    yield from _budgets(mine, account, clock)


def _budgets(mine: tuple[tuple[str, str], ...], account: Account, clock: Clock) -> Iterator[Sample]:
    now = clock.now().timestamp()
    for usage in account.gate.usage():
        if usage.exhausted_at is not None and not usage.key:
            yield Sample(
                "meterbridge_budget_exhausted_in_seconds",
                "When a rate-limit window will be used up if calls go on as lately; absent if it will not",
                max(0.0, usage.exhausted_at - now),
                (*mine, ("limit", usage.limit.name), ("window_s", f"{usage.window.seconds:g}")),
            )
    for row in budget_rows(account):
        if ":" in row.scope:
            continue  # one series per device would drown the rest; the budget topic has them
        labels = (
            *mine,
            ("endpoint", row.endpoint),
            ("scope", row.scope),
            ("window_s", f"{row.window_s:g}"),
        )
        used, left = float(row.used), float(max(0, row.limit - row.used))
        yield Sample("meterbridge_budget_used", "Calls in a rate-limit window", used, labels)
        yield Sample("meterbridge_budget_remaining", "Calls that the window still allows", left, labels)
        ratio = row.used / row.limit
        yield Sample("meterbridge_budget_used_ratio", "Used part of a rate-limit window", ratio, labels)
