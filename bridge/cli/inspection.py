"""The verbs that look at what is on disk; imports happen inside, so that `--help` is quick."""

from __future__ import annotations

import click

from bridge.cli.options import Command, config_option, json_option

STATES = (
    "accepted", "dispatched", "sent", "unknown", "final",
    "succeeded", "failed", "timed_out", "cancelled", "expired", "indeterminate",
)  # fmt: skip


def since_ms(text: str | None) -> int:
    """`--since`: an instant in RFC 3339, or how long ago."""
    from datetime import UTC, datetime, timedelta

    from bridge.domain.quantity import duration_s
    from bridge.domain.times import parse_rfc3339, unix_ms

    if text is None:
        return 0
    try:
        return unix_ms(parse_rfc3339(text))
    except ValueError:
        try:
            return unix_ms(datetime.now(UTC) - timedelta(seconds=duration_s(text)))
        except (ValueError, OverflowError):
            raise click.BadParameter(
                "expected a time such as 2026-11-21T09:30:00Z, or how long ago, such as 30m or 7d",
                param_hint="--since",
            ) from None


def _about(command: Command) -> Command:
    for option in (
        click.option("--since", metavar="TIME", help="Only those since then: RFC 3339, or 30m, 7d ago."),
        click.option("--device", help="Only those of this device."),
        click.option("--account", help="Only those of this account (or of `bridge`)."),
    ):
        command = option(command)
    return command


@click.group()
def journal() -> None:
    """The commands that the gateway was given, with every state. Works while it runs.

    \b
    Examples:
      meterbridge journal list -c config.yaml --open
      meterbridge journal list -c config.yaml --account gas --state indeterminate --since 7d
      meterbridge journal show pay-0007 -c config.yaml
      meterbridge journal export -c config.yaml --since 2026-01-01T00:00:00Z > audit.jsonl
    """


@journal.command("list")
@config_option
@_about
@click.option("--state", type=click.Choice(STATES), help="Only those in this state, or with this status.")
@click.option("--open", "only_open", is_flag=True, help="Only those that have no final acknowledgement yet.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most so many."
)
@json_option
def journal_list(
    path: str,
    account: str | None,
    device: str | None,
    since: str | None,
    state: str | None,
    only_open: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List the newest commands."""
    from bridge.cli.journal import Choice, show_list

    choice = Choice(account, device, since_ms(since), state, only_open)
    raise SystemExit(show_list(path, choice, limit, as_json=as_json))


@journal.command("show")
@click.argument("identity", metavar="ID")
@config_option
@json_option
def journal_show(identity: str, path: str, as_json: bool) -> None:
    """Show one command and its history. ID is the command's id, or ACCOUNT/ID."""
    from bridge.cli.journal import show_one

    raise SystemExit(show_one(path, identity, as_json=as_json))


@journal.command("export")
@config_option
@_about
def journal_export(path: str, account: str | None, device: str | None, since: str | None) -> None:
    """Write every step of every command as one line of JSON, the oldest first.

    Each line bears `seq`, `at`, account, device, command, id, requester, state, status, code and note; the first of a
    command also its parameters, one with which a request left for the vendor also that request. No secrets.
    """
    from bridge.cli.journal import Choice, export

    raise SystemExit(export(path, Choice(account, device, since_ms(since))))


@click.command()
@config_option
@click.option("--account", help="Only those of this account.")
@click.option("--device", help="Only those of this device.")
@click.option("--from", "start", metavar="TIME", help="Only those that last longer than this, RFC 3339.")
@click.option("--to", "end", metavar="TIME", help="Only those that began before this, RFC 3339.")
@json_option
def gaps(
    path: str, account: str | None, device: str | None, start: str | None, end: str | None, as_json: bool
) -> None:
    """List the holes in the series of the devices, and what becomes of them. Works while the gateway runs.

    A hole that is `missing` or `filling` will be filled from the vendor's past as its limits allow; one that is
    `unfillable` stays: the vendor has nothing there.

    \b
    Examples:
      meterbridge gaps -c config.yaml
      meterbridge gaps -c config.yaml --account home --from 2026-11-01T00:00:00Z --json
    """
    from bridge.cli.gaps import show_gaps

    raise SystemExit(show_gaps(path, account, device, start, end, as_json=as_json))


@click.group()
def deadletter() -> None:
    """Pushes that could not be used, kept for a look. Looking works while the gateway runs.

    \b
    Examples:
      meterbridge deadletter list -c config.yaml
      meterbridge deadletter show 12 -c config.yaml
      meterbridge deadletter replay --all -c config.yaml
    """


@deadletter.command("list")
@config_option
@json_option
def deadletter_list(path: str, as_json: bool) -> None:
    """List them, the newest first."""
    from bridge.cli.deadletters import show_list

    raise SystemExit(show_list(path, as_json=as_json))


@deadletter.command("show")
@click.argument("key", type=int)
@config_option
@json_option
def deadletter_show(key: int, path: str, as_json: bool) -> None:
    """Show one with its body."""
    from bridge.cli.deadletters import show_one

    raise SystemExit(show_one(path, key, as_json=as_json))


@deadletter.command("replay")
@click.argument("keys", type=int, nargs=-1, metavar="[KEY]...")
@click.option("--all", "everything", is_flag=True, help="All of them, the oldest first.")
@config_option
def deadletter_replay(keys: tuple[int, ...], everything: bool, path: str) -> None:
    """Take some in once more, after an update or a change of the configuration that makes them usable.

    The gateway must be stopped. What comes of it is published when it runs again. Exit status 1: one of them is
    still not usable and stays.
    """
    from bridge.cli.deadletters import replay

    raise SystemExit(replay(path, keys, everything=everything))


@deadletter.command("drop")
@click.argument("keys", type=int, nargs=-1, required=True, metavar="KEY...")
@config_option
def deadletter_drop(keys: tuple[int, ...], path: str) -> None:
    """Delete some. The gateway must be stopped."""
    from bridge.cli.deadletters import drop

    raise SystemExit(drop(path, keys))


@click.command()
@config_option
def diagnostics(path: str) -> None:
    """Print what a bug report needs, as JSON: configuration without secrets, versions, what is on disk.

    No customer data and no parameters of commands. Works while the gateway runs.

    \b
    Example:
      meterbridge diagnostics -c config.yaml > diagnostics.json
    """
    from bridge.cli.diagnosis import diagnostics as work

    raise SystemExit(work(path))
