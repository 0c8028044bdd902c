"""A dead letter taken in once more: the same push door, the same intake, one transaction; nothing is sent to anybody.

What comes of it waits in the outbox until a gateway runs. A message that the broker refused goes back into the outbox.
"""

from __future__ import annotations

import random

from bridge.app.accounts import Account, Surroundings, build_account, default_kind
from bridge.config import Configuration
from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.domain.errors import PushError
from bridge.domain.ids import GATEWAY
from bridge.domain.times import from_unix_ms
from bridge.flow.desk import device_from
from bridge.flow.health import AccountHealth
from bridge.flow.intake import Intake, IntakeOptions
from bridge.flow.roster import Roster
from bridge.flow.settle import Settler
from bridge.ops.clock import SystemClock
from bridge.ops.metrics import Metrics
from bridge.ports import Pushed, PushRequest
from bridge.store.protocols import DeadLetter, Tx
from bridge.store.sqlite.database import SqliteStore
from bridge.vendors import VENDORS


async def replay_letter(store: SqliteStore, configuration: Configuration, letter: DeadLetter) -> str | None:
    """None if it was taken in and is no dead letter any more, else why not (then nothing has changed).

    Its time of receipt stays the one that it had. Raises StoreError.
    """
    if letter.account != GATEWAY and letter.account not in {one.id for one in configuration.accounts}:
        return f"the configuration has no account {letter.account!r}"
    if not letter.source.startswith("/"):
        return await _republish(store, configuration.mqtt.base_topic, letter)
    around = await _surroundings(store, configuration)
    account = await _account(around, configuration, letter.account)
    if account is None:
        return f"{letter.account!r} takes no pushes"
    try:
        door = account.adapter.push
        if door is None:
            return f"the account {letter.account!r} takes no pushes: its key `push` is missing"
        pushed = door.parse(_request(letter))
        if pushed.unusable:
            return "; ".join(reason for _, reason in pushed.unusable)
        await store.run(lambda tx: _take(tx, around.intake, account, pushed, letter.key))
    except PushError as error:
        return str(error)
    finally:
        await account.aclose()
    return None


def _request(letter: DeadLetter) -> PushRequest:
    tail = "" if letter.source == "/" else letter.source
    return PushRequest(tail, {}, letter.body, from_unix_ms(letter.last_ms), vouched=True)


async def _republish(store: SqliteStore, base: str, letter: DeadLetter) -> str | None:
    """`telemetry` must not step back, so what was refused there goes to `history`; of a retained topic the latest."""
    if not letter.source.startswith(base + "/"):
        return f"its topic {letter.source!r} is not below {base!r}"
    parts = letter.source.split("/")
    late = parts[-1] == "telemetry"
    topic = "/".join([*parts[:-1], "history"]) if late else letter.source

    def work(tx: Tx) -> None:
        latest = tx.retained.get(topic)
        klass = Class.EVENT if latest is None else Class.META
        body = letter.body if latest is None else latest
        account = "" if letter.account == GATEWAY else letter.account
        tx.outbox.add(Publication(topic, body, Class.HISTORY if late else klass, latest is not None, account))
        tx.dead_letters.drop(letter.key)

    await store.run(work)
    return None


def _take(tx: Tx, intake: Intake, account: Account, pushed: Pushed, key: int) -> None:
    for batch in pushed.batches:
        intake.take_in(tx, account.policy, batch)
    tx.dead_letters.drop(key)


async def _surroundings(store: SqliteStore, configuration: Configuration) -> Surroundings:
    clock, rng, roster = SystemClock(), random.Random(), Roster()  # noqa: S311 - hides nothing
    topics = Topics(configuration.mqtt.base_topic)
    options = IntakeOptions(configuration.mqtt.state_interval, configuration.mqtt.flat_metrics)
    intake = Intake(store, roster, topics, clock, options)
    settler = Settler(roster, topics, intake, clock)
    intake.confirms = settler
    await store.run(settler.load_open)
    return Surroundings(store, roster, intake, AccountHealth(clock, rng), Metrics(), clock, rng)


async def _account(around: Surroundings, configuration: Configuration, name: str) -> Account | None:
    """The account with its devices as they are known; it asks its vendor nothing."""
    settings = next((one for one in configuration.accounts if one.id == name), None)
    if settings is None:
        return None
    spec = VENDORS[settings.vendor]
    account = build_account(settings, spec, configuration, around, notes=())
    kind = default_kind(spec)
    around.roster.enter(account.policy, account.adapter, kind)
    rows = await around.store.run(lambda tx: list(tx.devices.of_account(name)))
    known = [device_from(account.policy, row, kind) for row in rows if account.policy.exposes(row.device)]
    around.roster.replace(name, known)
    return account
