"""What the operator is told of broker, store and accounts, on `bridge/event`."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from bridge.app.reporting import Reporter
from bridge.contract.publication import Publication
from bridge.contract.topics import Topics
from bridge.domain.errors import EndpointBarred, StoreError
from bridge.domain.ids import GATEWAY
from bridge.domain.times import unix_ms
from bridge.ports import Clock
from bridge.store.sqlite.database import SqliteStore

log = logging.getLogger("bridge")

TELL_AGAIN_S = 3600.0


class Notices:
    """The other ends of what the parts of a gateway tell."""

    def __init__(self, store: SqliteStore, reporter: Reporter, topics: Topics, clock: Clock) -> None:
        self._store = store
        self._reporter = reporter
        self._topics = topics
        self._clock = clock
        self._keeping: set[asyncio.Task[None]] = set()
        self._told_until: dict[str, float] = {}

    def refused(self, publication: Publication, reason: int) -> None:
        """What the broker does not take for good is kept as a dead letter, so that nothing is lost unseen; told once an
        hour and topic, or what is told would be more than what is refused."""
        self._keep_aside(publication, f"the broker refused it: reason 0x{reason:02x}")
        now_s = self._clock.monotonic()
        if now_s < self._told_until.get(publication.topic, now_s):
            return
        self._told_until[publication.topic] = now_s + TELL_AGAIN_S
        log.error("mqtt.publish_refused", extra={"topic": publication.topic, "reason": f"0x{reason:02x}"})
        if publication.topic != self._topics.bridge("event"):
            self._reporter.event(
                "publish_refused",
                "critical",
                f"the broker refuses messages on {publication.topic}: reason 0x{reason:02x}",
                publication.account or None,
                topic=publication.topic,
            )

    def _keep_aside(self, publication: Publication, reason: str) -> None:
        async def keep() -> None:
            at_ms = unix_ms(self._clock.now())
            with contextlib.suppress(StoreError):
                await self._store.run(
                    lambda tx: tx.dead_letters.add(
                        publication.account or GATEWAY,
                        publication.topic,
                        reason,
                        publication.body,
                        at_ms,
                        replacing=publication.retain,
                    )
                )

        task = asyncio.get_running_loop().create_task(keep(), name="keep-aside")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    def store_replaced(self) -> None:
        """The state database was damaged."""
        aside = self._store.moved_aside
        self._reporter.event(
            "store_replaced",
            "critical",
            "the state database was damaged: it was moved aside, and what could be read of it is in a new one",
            file=aside.name if aside else None,
            saved=self._store.salvaged,
            lost=self._store.lost,
        )

    def subscription_refused(self, topic: str) -> None:
        """The broker does not let us listen."""
        self._reporter.event(
            "subscription_refused",
            "critical",
            f"the broker refuses the subscription to {topic}: what is sent there does not arrive",
            topic=topic,
        )

    def endpoint_barred(self, account: str, error: EndpointBarred) -> None:
        """The account has no right to one kind of data; the other kinds go on."""
        text = f"account {account!r}: {error.message}; {error.operation} is not asked any more for now"
        self._reporter.event("endpoint_barred", "warning", text, account, endpoint=error.operation)

    def auth_failed(self, account: str, message: str) -> None:
        """Wrong credentials, or another program that fetches tokens for the same application (saj 2.3)."""
        text = f"account {account!r}: {message}"
        if message.startswith("token_conflict"):
            self._reporter.event("token_conflict", "critical", text, account)
        else:
            self._reporter.event("auth_failed", "critical", text, account)
