"""The status page, put together: what it shows of gateway and accounts, and the doors that it uses."""

from __future__ import annotations

from bridge import __version__
from bridge.app.accounts import Account
from bridge.app.budgets import budget_rows
from bridge.app.charts import ChartKeeper
from bridge.app.reporting import Reporter
from bridge.contract import payloads
from bridge.contract.publication import Class
from bridge.domain.text import Json
from bridge.domain.times import rfc3339
from bridge.flow.admission import Admission
from bridge.ports import Clock
from bridge.push.doors import Doors
from bridge.push.settings import HttpSettings
from bridge.store.protocols import LockRow, RetainedRow, Tx
from bridge.web.access import Access
from bridge.web.board import Board
from bridge.web.routes import Page, Sources
from bridge.web.views import Views

FRESH_S = 2.0
"""How old the sums read from the store may be: many readers cost no more than one."""
BUDGETS = 12


async def build_page(
    http: HttpSettings,
    reporter: Reporter,
    board: Board,
    charts: ChartKeeper,
    admission: Admission,
    doors: Doors,
    clock: Clock,
) -> Page:
    """The page of this gateway, with what was retained and charted before this start."""
    password = http.page_password.get_secret_value() if http.page_password else None
    overview = Overview(reporter, clock)
    await _restore(reporter, board, charts)
    return Page(
        Access(http.page, password, http.page_hosts, clock),
        board,
        Views(board, reporter.roster, reporter.store, reporter.topics, clock),
        Sources(overview.read, admission.admit, doors.peer),
        reporter.topics,
        clock,
    )


async def _restore(reporter: Reporter, board: Board, charts: ChartKeeper) -> None:
    for account in reporter.accounts:

        def read(tx: Tx, account: str = account) -> list[RetainedRow]:
            return [
                row
                for row in tx.retained.all(account)
                if row.device and row.topic.endswith(("/state", "/availability"))
            ]

        rows = await reporter.store.run(read)
        await charts.recall(account, {row.device for row in rows})
        for row in rows:
            board.restore(row.account, row.device, row.topic, row.body)


class Overview:
    """The gateway and its accounts as the page shows them."""

    def __init__(self, reporter: Reporter, clock: Clock) -> None:
        self._reporter = reporter
        self._clock = clock
        self._read_at = -FRESH_S
        self._locks: list[LockRow] = []

    async def read(self) -> dict[str, Json]:
        """As of now, the sums of the store as of FRESH_S ago at most. Raises StoreError."""
        now = self._clock.monotonic()
        if now - self._read_at >= FRESH_S:
            self._read_at = now
            await self._reporter.take_snapshot()
            self._locks = await self._reporter.store.run(lambda tx: list(tx.locks.all()))
        return {
            "gateway": self._gateway(),
            "accounts": [
                self._account(name, account) for name, account in sorted(self._reporter.accounts.items())
            ],
        }

    def _gateway(self) -> Json:
        reporter, session, snapshot = self._reporter, self._reporter.session, self._reporter.snapshot
        pressure = reporter.pressure
        return {
            "version": __version__,
            "instance": reporter.instance,
            "now": rfc3339(self._clock.now()),
            "started_at": rfc3339(reporter.started_at),
            "broker": {
                "connected": session is not None and session.connected,
                "protocol": session.protocol if session else None,
                "lost": session.reconnects if session else 0,
                "trouble": reporter.broker_trouble(),
            },
            "store": reporter.store.failing,
            "outbox": {
                "messages": snapshot.rows,
                "bytes": snapshot.bytes,
                "max_bytes": reporter.spool_bound_bytes,
                "oldest_s": reporter.oldest_s(),
                "disk_low": pressure.disk_low,
                "full": pressure.full,
                "by_class": {
                    Class(klass).name.lower(): tally.rows
                    for klass, tally in snapshot.tallies.items()
                    if tally.rows
                },
                "dropped": {
                    Class(klass).name.lower(): tally.shed + tally.lost
                    for klass, tally in snapshot.tallies.items()
                    if tally.shed + tally.lost
                },
            },
            "dead_letters": snapshot.dead_letters,
            "commands_under_way": reporter.dispatcher.under_way() if reporter.dispatcher else 0,
            "locks": [
                {"account": lock.account, "device": lock.device, "reason": lock.reason}
                for lock in self._locks
            ],
        }

    def _account(self, name: str, account: Account) -> dict[str, Json]:
        state = self._reporter.health.state(name)
        windows = payloads.budget(self._clock.now(), budget_rows(account))["windows"]
        return {
            "id": name,
            "vendor": account.settings.vendor,
            "state": state.word if state else "unknown",
            "message": state.message if state else "",
            "since": rfc3339(state.since) if state and state.since else None,
            "last_success": rfc3339(state.last_success) if state and state.last_success else None,
            "waiting": account.gate.waiting(),
            "budgets": windows[:BUDGETS],
            "budgets_beyond": max(0, len(windows) - BUDGETS),
        }
