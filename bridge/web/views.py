"""The documents behind the page, as JSON: devices (searched, filtered, paged), one device, the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.contract.topics import Topics
from bridge.domain.command import CommandSpec
from bridge.domain.device import Device
from bridge.domain.ids import GATEWAY
from bridge.domain.metrics import METRICS, Form
from bridge.domain.secrecy import masked
from bridge.domain.text import Json, restored
from bridge.domain.times import from_unix_ms, rfc3339, unix_ms
from bridge.flow.roster import Roster
from bridge.ports import Clock
from bridge.store.protocols import AlarmRow, GapRow, JournalRow, JournalStep, Store, Tx
from bridge.web.board import Board, Shown
from bridge.web.headline import HEADLINE
from bridge.web.series import DAY_S, Series

MAX_PAGE = 100
MAX_ALARMS = 200
MAX_COMMANDS = 100
MAX_GAPS = 50
MOST_GAPS_READ = 2000
GAPS_LATELY_MS = 7 * 86_400_000
"""Where there are more holes than MOST_GAPS_READ, those of the last week are looked through."""
SPARK_POINTS = 40


@dataclass(frozen=True, slots=True)
class Filter:
    """What the reader looks for. `words` must all occur in what is known of a device; empty fields allow all."""

    words: tuple[str, ...] = ()
    account: str = ""
    kind: str = ""
    only: str = ""

    def fits(self, device: Device, shown: Shown) -> bool:
        """Whether this device is to be shown."""
        if (self.account and device.account != self.account) or (self.kind and device.kind != self.kind):
            return False
        match self.only:
            case "offline" if shown.available is not False:
                return False
            case "online" if shown.available is not True:
                return False
            case "alarms" if not shown.alarms:
                return False
        return not self.words or all(word in _text(device) for word in self.words)


class Views:
    """Reads board, roster and store; changes nothing."""

    def __init__(self, board: Board, roster: Roster, store: Store, topics: Topics, clock: Clock) -> None:
        self._board = board
        self._roster = roster
        self._store = store
        self._topics = topics
        self._clock = clock

    def devices(self, wanted: Filter, offset: int, limit: int) -> Json:
        """One page of the devices that fit, those with alarms first, then those that are offline, then by name."""
        fitting: list[tuple[tuple[Any, ...], Device, Shown]] = []
        total = 0
        for device in self._all():
            total += 1
            shown = self._board.shown(device.account, device.native_id)
            if wanted.fits(device, shown):
                fitting.append((_order(device, shown), device, shown))
        fitting.sort(key=lambda one: one[0])
        page = fitting[offset : offset + min(limit, MAX_PAGE)]
        return {
            "total": total,
            "fitting": len(fitting),
            "offset": offset,
            "kinds": sorted({str(device.kind) for device in self._all()}),
            "devices": [self._row(device, shown) for _, device, shown in page],
        }

    async def device(self, account: str, native_id: str) -> Json:
        """Everything of one device; None if there is none."""
        device = self._roster.device(account, native_id)
        if device is None or account == GATEWAY:
            return None
        shown = self._board.shown(account, native_id)

        def read(tx: Tx) -> tuple[bytes | None, Sequence[AlarmRow]]:
            info = tx.retained.get(self._topics.device(account, native_id, "info"))
            return info, tx.alarms.active(account, native_id)

        info, alarms = await self._store.run(read)
        state = restored(shown.state) if shown.state else {"metrics": {}}
        since_s = int(self._clock.now().timestamp()) - DAY_S
        return {
            **self._row(device, shown),
            "info": restored(info) if info else {},
            "metrics": [_value(name, value) for name, value in state["metrics"].items()],
            "charts": {name: series.points(since_s) for name, series in shown.series.items()},
            "active_alarms": [_alarm(alarm) for alarm in alarms],
            "commands": self._offered(account, device),
        }

    async def alarms(self) -> Json:
        """The active alarms, the newest first."""
        keys = [
            (device.account, device.native_id)
            for device in self._all()
            if self._board.shown(device.account, device.native_id).alarms
        ]

        def read(tx: Tx) -> list[AlarmRow]:
            return [alarm for key in keys[:MAX_ALARMS] for alarm in tx.alarms.active(*key)]

        rows = sorted(await self._store.run(read), key=lambda row: -row.raised_ms)
        return {
            "devices": len(keys),
            "alarms": [
                {**_alarm(row), "name": self._name(row.account, row.device)} for row in rows[:MAX_ALARMS]
            ],
        }

    async def commands(self, limit: int) -> Json:
        """The newest commands."""
        rows = await self._store.run(lambda tx: list(tx.journal.recent(min(limit, MAX_COMMANDS))))
        return {"commands": [self._command(row) for row in rows]}

    async def command(self, account: str, command_id: str) -> Json:
        """One command with every state it went through; None if the journal does not have it."""

        def read(tx: Tx) -> tuple[JournalRow, Sequence[JournalStep]] | None:
            row = tx.journal.find(account, command_id)
            return None if row is None else (row, tx.journal.steps(row.key))

        found = await self._store.run(read)
        if found is None:
            return None
        row, steps = found
        return {
            **self._command(row),
            "steps": [
                {"at": rfc3339(from_unix_ms(step.at_ms)), "state": step.state, "note": step.note}
                for step in steps
            ],
            "attempt": row.attempt,
            "asks": row.asks,
            "resends": row.resends,
            "vendor_code": row.vendor_code,
            "vendor_ref": row.vendor_ref,
            "requester": row.requester,
            "expires_at": rfc3339(from_unix_ms(row.expires_ms)) if row.expires_ms is not None else None,
        }

    async def gaps(self) -> Json:
        """The known holes in the series, the newest first, and how many there are by state."""

        def read(tx: Tx) -> tuple[list[GapRow], dict[str, int]]:
            states: dict[str, int] = {}
            for (_account, state), count in tx.gaps.count().items():
                states[str(state)] = states.get(str(state), 0) + count
            few = sum(states.values()) <= MOST_GAPS_READ
            since_ms = None if few else unix_ms(self._clock.now()) - GAPS_LATELY_MS
            return list(tx.gaps.find(start_ms=since_ms)), states

        rows, states = await self._store.run(read)
        rows.sort(key=lambda row: -row.end_ms)
        return {"states": states, "gaps": [self._gap(row) for row in rows[:MAX_GAPS]]}

    def offered(self, account: str) -> Json:
        """The commands of an account, or of the gateway."""
        return self._offered(account, None)

    def counts(self, account: str) -> Json:
        """How many devices an account has, how many are offline, how many have alarms."""
        shown = [self._board.shown(account, one.native_id) for one in self._roster.devices(account)]
        return {
            "devices": len(shown),
            "offline": sum(one.available is False for one in shown),
            "alarms": sum(bool(one.alarms) for one in shown),
        }

    def _all(self) -> Iterator[Device]:
        for policy in self._roster.accounts():
            if policy.account != GATEWAY:
                yield from self._roster.devices(policy.account)

    def _name(self, account: str, native_id: str | None) -> str | None:
        device = self._roster.device(account, native_id) if native_id else None
        return device.name if device else None

    def _row(self, device: Device, shown: Shown) -> dict[str, Json]:
        state = restored(shown.state) if shown.state else {"metrics": {}}
        metrics = state["metrics"]
        since_s = int(self._clock.now().timestamp()) - DAY_S
        named = next(
            iter(sorted(shown.series.items(), key=lambda one: METRICS[one[0]].form is not Form.NUMBER)), None
        )
        return {
            "account": device.account,
            "device": device.native_id,
            "vendor": device.vendor,
            "kind": str(device.kind),
            "name": device.name,
            "model": device.model,
            "available": shown.available,
            "alarms": list(shown.alarms),
            "ts": state.get("ts"),
            "values": [_value(name, metrics[name]) for name in HEADLINE if name in metrics][:4],
            "chart": {"metric": named[0], "points": _spark(named[1], since_s)} if named else None,
        }

    def _gap(self, row: GapRow) -> Json:
        return {
            "key": row.key,
            "account": row.account,
            "device": row.device,
            "name": self._name(row.account, row.device),
            "start": rfc3339(from_unix_ms(row.start_ms)),
            "end": rfc3339(from_unix_ms(row.end_ms)),
            "state": str(row.state),
            "certain": row.certain,
            "tries": row.tries,
            "message": row.message,
        }

    def _command(self, row: JournalRow) -> dict[str, Json]:
        ack = row.last_ack or {}
        return {
            "at": rfc3339(from_unix_ms(row.created_ms)),
            "changed_at": rfc3339(from_unix_ms(row.updated_ms)),
            "account": row.account,
            "device": row.device,
            "name": self._name(row.account, row.device),
            "command": row.command,
            "id": row.id,
            "params": self._shown_params(row),
            "state": str(row.state),
            "status": ack.get("status"),
            "code": ack.get("code"),
            "message": ack.get("message", ""),
        }

    def _offered(self, account: str, device: Device | None) -> Json:
        executor = self._roster.executor(account)
        if executor is None:
            return {}
        policy = self._roster.policy(account)
        return {
            name: _offer(spec, spec.dangerous or name in policy.confirm)
            for name, spec in sorted(executor.commands(device).items())
            if policy.allows(name)
        }

    def _shown_params(self, row: JournalRow) -> dict[str, Json]:
        """Numbers, truths and words of a closed list; other text may be a customer's name, so it is shown only where
        the account publishes customer data."""
        if not isinstance(row.params, dict):
            return {}
        if self._roster.has(row.account) and self._roster.policy(row.account).customer_data:
            return masked(row.params)  # type: ignore[no-any-return] # a dict stays one
        closed = self._closed_words(row)
        return {
            name: value if _is_plain(value) or name in closed else "…"
            for name, value in masked(row.params).items()
        }

    def _closed_words(self, row: JournalRow) -> frozenset[str]:
        executor = self._roster.executor(row.account)
        device = self._roster.device(row.account, row.device) if row.device else None
        if executor is None or (row.device and device is None):
            return frozenset()
        spec = executor.commands(device).get(row.command)
        properties: Mapping[str, Any] = spec.schema().get("properties", {}) if spec else {}
        return frozenset(name for name, schema in properties.items() if _is_closed(schema))


def _offer(spec: CommandSpec, confirm: bool) -> Json:
    return {
        "description": spec.description,
        "params": spec.schema(),
        "idempotent": spec.idempotent,
        "needs_id": spec.needs_id,
        "writes": spec.writes,
        "confirm": confirm,
    }


def _text(device: Device) -> str:
    texts = (device.account, device.native_id, device.name or "", device.model or "", device.vendor)
    return f"{' '.join(texts)} {device.address or ''} {device.kind.value}".lower()


def _order(device: Device, shown: Shown) -> tuple[Any, ...]:
    return (not shown.alarms, shown.available is not False, device.account, device.name or device.native_id)


def _value(name: str, value: Json) -> Json:
    metric = METRICS.get(name)
    return {
        "name": name,
        "value": value,
        "unit": metric.unit if metric else "",
        "meaning": metric.meaning if metric else "",
    }


def _is_closed(schema: Mapping[str, Any]) -> bool:
    """Whether a parameter is a word of a list or a number (which the journal keeps as text where it is a decimal)."""
    choices = [schema, *schema.get("anyOf", ())]
    return any("enum" in one or "const" in one or one.get("type") in ("number", "integer") for one in choices)


def _is_plain(value: Json) -> bool:
    return not isinstance(value, str | dict | list)


def _spark(series: Series, since_s: int) -> list[tuple[int, float]]:
    points = series.points(since_s)
    step = max(1, -(-len(points) // SPARK_POINTS))
    return points[::-1][::step][::-1]


def _alarm(row: AlarmRow) -> dict[str, Json]:
    document = row.document or {}
    return {
        "id": row.id,
        "account": row.account,
        "device": row.device,
        "code": row.code,
        "severity": row.severity,
        "since": rfc3339(from_unix_ms(row.raised_ms)),
        "vendor_code": document.get("vendor_code"),
        "message": document.get("message", ""),
    }
