"""The commands that read the past: `history` of a device and `backfill` of the gateway, both by way of the backfill.

Once their wish is on disk they are under way, without an acknowledgement (it is not the vendor that works on it), and
final when it has been fulfilled: a restart in between changes nothing, and other commands of the device do not wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from bridge.domain.command import AfterLoss, CommandSpec, Follow, Order, Outcome, Params, Preview, Status
from bridge.domain.device import Device
from bridge.domain.errors import Rejection
from bridge.domain.history import EARLIEST, Period
from bridge.domain.ids import GATEWAY
from bridge.domain.text import canonical
from bridge.domain.times import parse_rfc3339
from bridge.flow.backfill import Backfill
from bridge.flow.backfill_book import BackfillOrigin, Wish
from bridge.flow.backfill_progress import Progress
from bridge.flow.roster import Roster
from bridge.ports import Clock, Effect, VendorAdapter
from bridge.store.protocols import BackfillRow, BackfillState, Tx

COMMAND = "history"
UNDER_WAY = Outcome(Status.SENT, quiet=True)
_LOOK_S = 600.0
_FOREVER_S = 1e9

_WHILE_READING = Follow((), then_every_s=_LOOK_S, until_s=_FOREVER_S)
_ASK_THE_STORE = AfterLoss((0.0,), send_again=1, again_after_s=0.0, otherwise=Status.TIMED_OUT)


class HistoryExecutor:
    """An account's `ports.Executor` whose `history` is read by the backfill; everything else is the adapter's."""

    def __init__(self, account: str, adapter: VendorAdapter, backfill: Backfill) -> None:
        self._account = account
        self._adapter = adapter
        self._backfill = backfill
        self._specs: dict[str, tuple[CommandSpec, CommandSpec]] = {}

    def commands(self, device: Device | None) -> Mapping[str, CommandSpec]:
        """See `ports.Executor`."""
        specs = self._adapter.commands(device)
        theirs = specs.get(COMMAND)
        if theirs is None or self._adapter.history is None:
            return specs
        key = str(device.kind) if device is not None else ""
        known = self._specs.get(key)
        if known is None or known[0] is not theirs:
            known = self._specs[key] = (theirs, followed(theirs))
        return {**specs, COMMAND: known[1]}

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        """See `ports.Executor`."""
        history, device = self._adapter.history, order.device
        if order.spec.name != COMMAND or history is None or device is None:
            return await self._adapter.execute(order, effect)
        period = history.period(order)
        reach = history.reach(device)
        wish = Wish(self._account, device.native_id, period, reach.calls(period) if reach is not None else 0)
        await effect.leaving()
        ref = self._ref(order)
        await self._backfill.submit(
            ref, BackfillOrigin.HISTORY, [wish], asked_by=order.id, expires_at=order.expires_at
        )
        return outcome_of(await self._backfill.progress(ref)) or UNDER_WAY

    async def probe(self, order: Order) -> Outcome | None:
        """See `ports.Executor`."""
        if order.spec.name != COMMAND or self._adapter.history is None:
            return await self._adapter.probe(order)
        return outcome_of(await self._backfill.progress(self._ref(order)))

    def preview(self, order: Order) -> Preview:
        """See `ports.Executor`."""
        return self._adapter.preview(order)

    def _ref(self, order: Order) -> str:
        return f"history:{self._account}/{order.device.native_id if order.device else ''}:{order.id}"


def followed(spec: CommandSpec) -> CommandSpec:
    """A command that the backfill works on after it was sent."""
    return replace(
        spec, follow=lambda _device: _WHILE_READING, after_loss=lambda _params: _ASK_THE_STORE, evidence=_none
    )


def _none(_params: object) -> None:
    return None


def outcome_of(progress: Progress) -> Outcome | None:
    """What has become of a wish; None if nobody knows it."""
    count = progress.open + progress.done + progress.failed
    if count == 0:
        return None
    if progress.open:
        return UNDER_WAY
    result = {"records": progress.records}
    if progress.failed:
        first = progress.failures[0]
        texts = [f"{row.account}/{row.device}: {row.message}" for row in progress.failures[:5]]
        message = first.message if count == 1 else f"{progress.failed} of {count} devices: {'; '.join(texts)}"
        state = Status.CANCELLED if first.state is BackfillState.CANCELLED else Status.FAILED
        state = Status.EXPIRED if first.code == "expired" else state
        return Outcome(state, first.code or "vendor_error", message, result=result)
    told = f"{progress.known} more had been published before" if progress.known else ""
    return Outcome(Status.SUCCEEDED, message=told, result=result)


def wake_on_end(wake: Callable[[int], None]) -> Callable[[Tx, BackfillRow], None]:
    """For `BackfillBook.on_ended`: whoever follows the command looks again."""

    def ended(tx: Tx, row: BackfillRow) -> None:
        account = row.account if row.origin == BackfillOrigin.HISTORY else GATEWAY
        command = tx.journal.find(account, row.asked_by)
        if command is not None:
            key = command.key
            tx.after_commit(lambda: wake(key))

    return ended


# the gateway's own command ----------------------------------------------------------------------------------------


def _moment(text: str) -> str:
    parse_rfc3339(text)
    return text


Moment = Annotated[str, AfterValidator(_moment), Field(description="RFC 3339: 2026-11-21T09:30:00Z")]


class BackfillParams(Params):
    """Of `backfill`."""

    start: Moment
    end: Moment
    account: str | None = Field(
        default=None, min_length=1, max_length=63, description="account id; all accounts if absent"
    )
    devices: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None,
        min_length=1,
        max_length=10_000,
        description="device ids, or account/device; all devices that keep a past if absent",
    )


class GatewayBackfill:
    """`backfill` of `bridge/cmd` (METRICS 4.4)."""

    def __init__(
        self, backfill: Backfill, roster: Roster, accounts: Callable[[], Sequence[str]], clock: Clock
    ) -> None:
        self._backfill = backfill
        self._roster = roster
        self._accounts = accounts
        self._clock = clock

    def spec(self) -> CommandSpec:
        """As the gateway offers it."""
        return followed(
            CommandSpec(
                "backfill",
                "Reads the past of all devices, or of some, and publishes it on `history`.",
                BackfillParams,
                writes=False,
                check=self.check,
            )
        )

    def check(self, order: Order) -> None:
        """Raises Rejection for what cannot be read."""
        self.wishes(order.params)

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        """As `ports.Executor.execute`."""
        wishes = self.wishes(order.params)
        await effect.leaving()
        ref = backfill_ref(wished(order.params))
        await self._backfill.submit(
            ref, BackfillOrigin.COMMAND, wishes, asked_by=order.id, expires_at=order.expires_at
        )
        return outcome_of(await self._backfill.progress(ref)) or UNDER_WAY

    async def probe(self, order: Order) -> Outcome | None:
        """As `ports.Executor.probe`. The command line may have worked on it while no gateway ran."""
        ref = backfill_ref(wished(order.params))
        await self._backfill.claim(ref, BackfillOrigin.COMMAND, order.id)
        return outcome_of(await self._backfill.progress(ref))

    def wishes(self, params: BackfillParams) -> list[Wish]:
        """The devices and what of their past is to be read. Raises Rejection."""
        start, end = parse_rfc3339(params.start), parse_rfc3339(params.end)
        now = self._clock.now()
        if end <= start:
            raise Rejection("invalid_params", "end: expected a time after start")
        if start.year < EARLIEST:
            raise Rejection("invalid_params", f"start: expected the year {EARLIEST} or later")
        if start > now:
            raise Rejection("invalid_params", "start: that time has not come yet")
        period = Period(start, min(end, now + timedelta(milliseconds=1)))
        wishes = []
        for account, device in self._chosen(params):
            reach = self._backfill.reach(account, device)
            if reach is None:
                if params.devices is not None:
                    raise Rejection("unsupported", f"devices: the vendor keeps no past of {account}/{device}")
                continue
            since = max(start, now - reach.back) if reach.back is not None else start
            if since < period.end:
                mine = replace(period, start=since)
                wishes.append(Wish(account, device, mine, reach.calls(mine)))
        if not wishes:
            raise Rejection("invalid_params", "no device whose vendor keeps anything of that time")
        return wishes

    def _chosen(self, params: BackfillParams) -> list[tuple[str, str]]:
        accounts = self._accounts()
        if params.account is not None and params.account not in accounts:
            known = ", ".join(accounts) or "none"
            raise Rejection("invalid_params", f"account: there is no {params.account!r} (there are: {known})")
        there = [
            (account, device.native_id)
            for account in accounts
            if params.account in (None, account)
            for device in self._roster.devices(account)
        ]
        if params.devices is None:
            return there
        chosen: list[tuple[str, str]] = []
        for name in params.devices:
            found = [pair for pair in there if name in (pair[1], f"{pair[0]}/{pair[1]}")]
            if not found:
                raise Rejection("unknown_device", f"devices: there is no {name!r}")
            chosen += [pair for pair in found if pair not in chosen]
        return chosen


def wished(params: BackfillParams) -> tuple[datetime, datetime, str | None, Sequence[str] | None]:
    """What makes two backfills the same one."""
    return parse_rfc3339(params.start), parse_rfc3339(params.end), params.account, params.devices


def backfill_ref(wish: tuple[datetime, datetime, str | None, Sequence[str] | None]) -> str:
    """The name under which a backfill goes on where it stopped: the same span of the same devices."""
    start, end, account, devices = wish
    mark = canonical(
        [start.isoformat(), end.isoformat(), account, sorted(devices) if devices is not None else None]
    )
    return "backfill:" + hashlib.blake2b(mark, digest_size=10).hexdigest()
