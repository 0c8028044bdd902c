"""The retained topics as a whole: cleared where nothing stands behind them, published again at a new broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import datetime

from bridge.app.fleet import clear_account
from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.domain.text import loads
from bridge.domain.times import parse_rfc3339
from bridge.flow.desk import clear
from bridge.flow.discovery import Announcer
from bridge.store.protocols import RetainedRow, Tx


def clear_strangers(
    tx: Tx, topics: Topics, accounts: Set[str], announcer: Announcer | None, *, flat: bool
) -> None:
    """Clears what the ledger says is ours but nothing stands behind any more: of accounts that are gone from the
    configuration, of another base topic, of single metrics (not `flat`) and of announcements when those are off."""
    base = topics.base + "/"
    for name in set(tx.devices.accounts()) - accounts:
        clear_account(tx, name)
    for kept in tx.retained.all():
        gone = kept.account != "" and kept.account not in accounts
        announced = announcer is not None and announcer.owns(kept)
        elsewhere = not (announced or kept.topic.startswith(base))
        single = not announced and "/state/" in kept.topic.removeprefix(base) and not flat
        if gone or elsewhere or single:
            clear(tx, kept)
    # the session and the Last Will write it, past the outbox: noted so that it is cleared with its base topic
    tx.retained.put(RetainedRow(topics.bridge("status"), "", "", b""))


def publish_again(tx: Tx) -> None:
    """All of them, but for those that wait anyway: it may be a new broker, without our retained topics."""
    waiting = tx.outbox.waiting_retained()
    for kept in tx.retained.all():
        if kept.topic not in waiting and kept.body:
            again = Publication(
                kept.topic, kept.body, Class.META, retain=True, account=kept.account, device=kept.device
            )
            tx.outbox.add(again)


def last_successes(tx: Tx, topics: Topics, accounts: Iterable[str]) -> Mapping[str, datetime]:
    """When these accounts' vendors answered last, as their `status` told before this run (a minute old at most)."""
    found: dict[str, datetime] = {}
    for account in accounts:
        body = tx.retained.get(topics.account(account, "status"))
        told = loads(body).get("last_success") if body else None
        if told is not None:
            found[account] = parse_rfc3339(told)
    return found
