"""The gateway's own commands (METRICS 4.4): they pass the same doors and the same journal as a device's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from bridge.domain.command import (
    AfterLoss,
    Checker,
    CommandSpec,
    CommandState,
    NoParams,
    Order,
    Outcome,
    Params,
    Preview,
    Status,
)
from bridge.domain.device import Device
from bridge.domain.errors import ConfigError, Rejection, VendorError
from bridge.domain.text import Json
from bridge.domain.times import parse_rfc3339, unix_ms
from bridge.flow.history import GatewayBackfill
from bridge.flow.roster import Roster
from bridge.flow.settle import Settler
from bridge.flow.verdicts import code_of
from bridge.ports import Clock, Effect
from bridge.store.protocols import LockRow, Store, Tx

Account = Annotated[str, Field(min_length=1, max_length=63, description="account id; all accounts if absent")]


class RefreshParams(Params):
    """Of `refresh`."""

    account: Account | None = None


class LockParams(Params):
    """Of `lock` and `unlock`."""

    account: Account | None = None
    device: str | None = Field(
        default=None, min_length=1, max_length=200, description="device id; all devices if absent"
    )
    reason: str | None = Field(default=None, max_length=200, description="shown in every refusal")

    @model_validator(mode="after")
    def _device_has_account(self) -> LockParams:
        if self.device is not None and self.account is None:
            raise ValueError("device needs the account that it belongs to")
        return self


def _instant(text: str) -> str:
    parse_rfc3339(text)
    return text


Instant = Annotated[str, AfterValidator(_instant), Field(description="RFC 3339")]


class GapsParams(Params):
    """Of `gaps`: those that overlap the time from `start` to `end`."""

    account: Account | None = None
    device: str | None = Field(
        default=None, min_length=1, max_length=200, description="device id; all devices if absent"
    )
    start: Instant | None = None
    end: Instant | None = None

    @model_validator(mode="after")
    def _in_order(self) -> GapsParams:
        if (
            self.start is not None
            and self.end is not None
            and parse_rfc3339(self.start) >= parse_rfc3339(self.end)
        ):
            raise ValueError("end must be later than start")
        return self


KnownGaps = Callable[[Tx, datetime, Sequence[str], str | None, int | None, int | None], list[Json]]
"""The holes of these accounts, of one device, that overlap a stretch of time in Unix milliseconds."""


class GatewayExecutor:
    """Executor of `bridge/cmd/…`. The app gives it what only the app can do."""

    def __init__(
        self,
        store: Store,
        roster: Roster,
        settler: Settler,
        clock: Clock,
        *,
        reload: Callable[[], Awaitable[Json]],
        refresh: Callable[[str], Awaitable[int]],
        diagnostics: Callable[[], Awaitable[Json]],
        backfill: GatewayBackfill,
        gaps: KnownGaps,
        accounts: Callable[[], Sequence[str]],
    ) -> None:
        self._store = store
        self._roster = roster
        self._settler = settler
        self._clock = clock
        self._reload = reload
        self._refresh = refresh
        self._diagnostics = diagnostics
        self._backfill = backfill
        self._gaps = gaps
        self._accounts = accounts
        self._specs = self._offer()

    def commands(self, device: Device | None) -> Mapping[str, CommandSpec]:
        """See `ports.Executor`."""
        return self._specs if device is None else {}

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        """See `ports.Executor`."""
        match order.spec.name:
            case "reload":
                return await self._do_reload()
            case "refresh":
                return await self._do_refresh(order.params)
            case "lock":
                return await self._store.run(lambda tx: self._lock(tx, order.params))
            case "unlock":
                return await self._store.run(lambda tx: self._unlock(tx, order.params))
            case "diagnostics":
                return Outcome(Status.SUCCEEDED, result=await self._diagnostics())
            case "gaps":
                return await self._do_gaps(order.params)
            case "backfill":
                return await self._backfill.execute(order, effect)
        raise Rejection("unknown_command", order.spec.name)

    async def probe(self, order: Order) -> Outcome | None:
        """See `ports.Executor`."""
        return await self._backfill.probe(order) if order.spec.name == "backfill" else None

    def preview(self, order: Order) -> Preview:
        """See `ports.Executor`. No vendor is asked but by `refresh`, whose requests are those of the accounts."""
        if order.spec.name != "refresh":
            return Preview("", "", explain="the gateway's own command: no vendor is asked")
        shown: dict[str, Json] = {}
        for account in self._named(order.params):
            executor = self._roster.executor(account)
            spec = executor.commands(None).get("refresh_inventory") if executor is not None else None
            if executor is not None and spec is not None:
                own = executor.preview(Order(order.id, account, None, spec, NoParams()))
                shown[account] = {"request": own.request(), "explain": own.explain}
        return Preview("", "", explain=shown)

    def _named(self, params: RefreshParams | GapsParams) -> Sequence[str]:
        return [params.account] if params.account else self._accounts()

    def _offer(self) -> dict[str, CommandSpec]:
        def spec(
            name: str, text: str, params: type[Params] = NoParams, check: Checker = self._check_account
        ) -> CommandSpec:
            return CommandSpec(
                name,
                text,
                params,
                writes=False,
                check=check,
                after_loss=lambda _params: AfterLoss(send_again=1, otherwise=Status.TIMED_OUT),
            )

        offers = (
            spec("reload", "Reads the configuration file again; a bad one changes nothing."),
            spec("refresh", "Reads the inventory of all accounts, or of one, again.", RefreshParams),
            spec(
                "lock",
                "From now on every command that changes a device is rejected.",
                LockParams,
                self._check_lock,
            ),
            spec("unlock", "Takes maintenance locks away.", LockParams),
            spec("diagnostics", "Versions, queues, budgets, accounts; no secret."),
            self._backfill.spec(),
            spec("gaps", "The known holes in the series of the devices.", GapsParams, self._check_gaps),
        )
        return {offer.name: offer for offer in offers}

    def _check_lock(self, order: Order) -> None:
        """A lock of what is not there would let people believe that something is locked."""
        self._check_account(order)
        params: LockParams = order.params
        if params.account and params.device and self._roster.device(params.account, params.device) is None:
            raise Rejection("unknown_device", f"account {params.account!r} has no device {params.device!r}")

    def _check_gaps(self, order: Order) -> None:
        """That a device has no holes must not be said of one that is not there."""
        self._check_account(order)
        params: GapsParams = order.params
        named = self._named(params)
        if params.device and all(self._roster.device(name, params.device) is None for name in named):
            whose = f"account {params.account!r} has no" if params.account else "no account has a"
            raise Rejection("unknown_device", f"{whose} device {params.device!r}")

    def _check_account(self, order: Order) -> None:
        account = getattr(order.params, "account", None)
        if account is not None and account not in self._accounts():
            known = ", ".join(self._accounts()) or "none"
            raise Rejection("invalid_params", f"account: there is no {account!r} (there are: {known})")

    async def _do_reload(self) -> Outcome:
        try:
            return Outcome(Status.SUCCEEDED, result=await self._reload())
        except ConfigError as error:
            return Outcome(Status.FAILED, "invalid_params", "\n".join(error.problems))

    async def _do_gaps(self, params: GapsParams) -> Outcome:
        accounts = self._named(params)
        start, end = (
            unix_ms(parse_rfc3339(at)) if at is not None else None for at in (params.start, params.end)
        )
        now = self._clock.now()
        found = await self._store.run(lambda tx: self._gaps(tx, now, accounts, params.device, start, end))
        return Outcome(Status.SUCCEEDED, result={"gaps": found})

    async def _do_refresh(self, params: RefreshParams) -> Outcome:
        devices: dict[str, int] = {}
        failed: dict[str, str] = {}
        codes: set[str] = set()
        for account in self._named(params):
            try:
                devices[account] = await self._refresh(account)
            except VendorError as error:
                failed[account] = error.message
                codes.add(code_of(error))
        result: dict[str, Json] = {"devices": devices}
        if failed:
            message = "; ".join(f"{account}: {text}" for account, text in failed.items())
            code = codes.pop() if len(codes) == 1 else "vendor_error"
            return Outcome(Status.FAILED, code, message, result={**result, "failed": failed})
        return Outcome(Status.SUCCEEDED, result=result)

    def _lock(self, tx: Tx, params: LockParams) -> Outcome:
        account, device = params.account or "", params.device or ""
        tx.locks.put(LockRow(account, device, params.reason or "", unix_ms(self._clock.now())))
        cancelled = 0
        for row in tx.journal.unfinished():
            waits = row.state is CommandState.ACCEPTED and row.writes
            if waits and account in ("", row.account) and device in ("", row.device):
                text = f"locked: {params.reason or 'no reason given'}"
                self._settler.settle(tx, row, Outcome(Status.CANCELLED, "interlock", text))
                cancelled += 1
        return Outcome(Status.SUCCEEDED, result={"cancelled": cancelled, "locks": _locks(tx)})

    def _unlock(self, tx: Tx, params: LockParams) -> Outcome:
        removed = tx.locks.drop(params.account or "", params.device or "")
        return Outcome(Status.SUCCEEDED, result={"removed": removed, "locks": _locks(tx)})


def _locks(tx: Tx) -> list[Json]:
    return [
        {"account": lock.account or None, "device": lock.device or None, "reason": lock.reason}
        for lock in tx.locks.all()
    ]
