"""The status page for people: one HTML document, no script, no external resource."""

from __future__ import annotations

from html import escape

from bridge import __version__
from bridge.app.budgets import budget_rows
from bridge.app.reporting import Reporter
from bridge.domain.text import dumps
from bridge.domain.times import from_unix_ms, rfc3339
from bridge.flow.roster import Roster
from bridge.store.protocols import DeviceRow, JournalRow, Store, Tx

MAX_DEVICES = 500
MAX_COMMANDS = 20

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 1.6rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
.good { color: #18794e; } .bad { color: #ce2c31; } .soft { opacity: .7; }
meter { width: 8rem; }
.wide { overflow-x: auto; }
"""


async def status_page(reporter: Reporter, store: Store, roster: Roster) -> str:
    """The page as it is now."""

    def read(tx: Tx) -> tuple[list[DeviceRow], list[JournalRow], dict[tuple[str, str], list[str]]]:
        rows: list[DeviceRow] = []
        alarms: dict[tuple[str, str], list[str]] = {}
        for policy in roster.accounts():
            for row in tx.devices.of_account(policy.account):
                if len(rows) < MAX_DEVICES:
                    rows.append(row)
                    active = [alarm.code for alarm in tx.alarms.active(row.account, row.device)]
                    if active:
                        alarms[row.account, row.device] = active
        return rows, list(tx.journal.recent(MAX_COMMANDS)), alarms

    await reporter.take_snapshot()
    devices, commands, alarms = await store.run(read)
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        "<meta http-equiv=refresh content=5>",
        f"<title>meterbridge</title><style>{_STYLE}</style></head><body>",
        _head(reporter),
        _accounts(reporter),
        _devices(devices, alarms),
        _commands(commands),
        "</body></html>",
    ]
    return "\n".join(parts)


def _head(reporter: Reporter) -> str:
    connected = reporter.session is not None and reporter.session.connected
    broker = "<span class=good>connected</span>" if connected else "<span class=bad>not connected</span>"
    trouble = "" if connected or reporter.session is None else f" ({escape(reporter.session.last_error)})"
    snapshot = reporter.snapshot
    dropped = sum(tally.shed + tally.lost for tally in snapshot.tallies.values())
    return (
        f"<h1>meterbridge {escape(__version__)}</h1>"
        f"<p>Broker: {broker}{trouble} · waiting for it: {snapshot.rows} messages, {snapshot.bytes} bytes"
        f"{_pressure(reporter)}"
        f" · dropped: {dropped} · dead letters: {snapshot.dead_letters}"
        f" · running since {escape(rfc3339(reporter.started_at))}</p>"
    )


def _pressure(reporter: Reporter) -> str:
    age_s = reporter.oldest_s()
    told = f", the oldest for {age_s:.0f} s" if age_s is not None else ""
    if reporter.pressure.disk_low:
        told += " · <span class=bad>the disk has little room left</span>"
    if reporter.pressure.full:
        told += " · <span class=bad>full: nothing more is taken in</span>"
    return told


def _accounts(reporter: Reporter) -> str:
    rows = []
    for name, account in sorted(reporter.accounts.items()):
        state = reporter.health.state(name)
        word = state.word if state else "?"
        css = "good" if word == "online" else "bad"
        since = escape(rfc3339(state.since)) if state and state.since else ""
        budgets = "<br>".join(
            f"<meter min=0 max={row.limit} value={row.used}></meter> {escape(row.endpoint)}"
            f" <span class=soft>{row.used} of {row.limit} in {row.window_s:g} s</span>"
            for row in budget_rows(account)[:5]
        )
        rows.append(
            f"<tr><td>{escape(name)}<td>{escape(account.settings.vendor)}"
            f"<td><span class={css}>{escape(word)}</span> {escape(state.message if state else '')}"
            f"<td>{since}<td>{len(reporter.roster.devices(name))}<td>{budgets}"
        )
    return (
        "<h2>Accounts</h2><div class=wide><table><tr><th>account<th>vendor<th>state<th>since<th>devices<th>limits"
        + "".join(rows)
        + "</table></div>"
    )


def _devices(devices: list[DeviceRow], alarms: dict[tuple[str, str], list[str]]) -> str:
    rows = []
    for row in devices:
        info = row.info or {}
        there = {True: "<span class=good>online</span>", False: "<span class=bad>offline</span>"}
        values = ", ".join(
            f"{escape(name)} {escape(dumps(entry[0]).decode())}"
            for name, entry in list(row.metrics.items())[:8]
        )
        active = ", ".join(escape(code) for code in alarms.get((row.account, row.device), []))
        rows.append(
            f"<tr><td>{escape(row.account)}<td>{escape(row.device)}<br>"
            f"<span class=soft>{escape(str(info.get('name') or ''))}</span>"
            f"<td>{there.get(row.available, '') if row.available is not None else ''}"
            f"<td class=bad>{active}<td>{values}"
        )
    note = f"<p class=soft>The first {MAX_DEVICES} devices.</p>" if len(devices) >= MAX_DEVICES else ""
    return (
        "<h2>Devices</h2><div class=wide><table><tr><th>account<th>device<th><th>alarms<th>last values"
        + "".join(rows)
        + f"</table></div>{note}"
    )


def _commands(commands: list[JournalRow]) -> str:
    rows = []
    for row in commands:
        ack = row.last_ack or {}
        rows.append(
            f"<tr><td>{escape(rfc3339(from_unix_ms(row.created_ms)))}<td>{escape(row.account)}"
            f"/{escape(row.device or '')}<td>{escape(row.command)}<td>{escape(row.id)}"
            f"<td>{escape(str(ack.get('status', '')))}<td>{escape(str(ack.get('message', '')))}"
        )
    return (
        "<h2>Commands</h2><div class=wide><table><tr><th>at<th>device<th>command<th>id<th>status<th>message"
        + "".join(rows)
        + "</table></div>"
    )
