"""The verbs; imports happen inside, so that `--help` is quick."""

from __future__ import annotations

import os
from pathlib import Path

import click

from bridge import __version__
from bridge.cli.inspection import deadletter, diagnostics, gaps, journal
from bridge.cli.options import broker_options, config_option, duration_option, json_option


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try `meterbridge demo` first: it needs nothing else.",
)
@click.version_option(__version__, prog_name="meterbridge")
def cli() -> None:
    """Maps meters, breakers, valves and inverters of vendor clouds to MQTT."""


@cli.command()
@config_option
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Overrides log.format of the file.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Overrides log.level."
)
def run(path: str, log_format: str | None, log_level: str | None) -> None:
    """Run the gateway.

    SIGTERM stops it in order (exit status 0), SIGHUP reads the configuration again. Exit status 2: the
    configuration has mistakes, and all of them were printed.

    \b
    Example:
      meterbridge run -c /etc/meterbridge/config.yaml --log-format json
    """
    from bridge.cli.first_signals import FirstSignals

    early = FirstSignals()
    from bridge.cli.running import run_gateway

    raise SystemExit(run_gateway(path, log_format, log_level, early))


@cli.command()
@duration_option("--for", "for_s", "Ends by itself after this time.")
@click.option(
    "--devices",
    type=click.IntRange(1, 200),
    default=4,
    show_default=True,
    help="Simulated breakers in the shop.",
)
@click.option("--no-color", "plain", is_flag=True, help="Plain text, also on a terminal.")
@click.option(
    "--broker",
    type=click.Choice(["auto", "mosquitto", "amqtt"]),
    default="auto",
    show_default=True,
    help="The broker to start; auto: Mosquitto where it is installed.",
)
def demo(for_s: float | None, devices: int, plain: bool, broker: str) -> None:
    """Everything on this machine: a broker, simulated vendor clouds, the gateway, its status page.

    Needs no set-up and no network; listens on 127.0.0.1 only, on ports 1883 and 8080 or, where they are taken, on
    free ones. Says what to subscribe to and which commands to try, then shows what passes. Ctrl-C ends all of it.

    \b
    Examples:
      meterbridge demo
      meterbridge demo --for 30s --devices 10
    """
    from bridge.cli.demonstration import demonstrate

    raise SystemExit(demonstrate(for_s, devices, broker, plain=plain))


@cli.command()
@config_option
@click.option("--connect", is_flag=True, help="Also logs in at the broker and at every vendor.")
def check(path: str, connect: bool) -> None:
    """Check the configuration, and with --connect what it leads to.

    Prints all mistakes with file, line and column (exit status 2), or a summary: accounts, devices, and how many
    calls polling will make of what the vendors allow. With --connect the exit status is 1 if the broker or a vendor
    does not take us. The calls that a running gateway made are counted, but it does not count those made here, one or
    two for each account.

    \b
    Examples:
      meterbridge check -c config.yaml
      meterbridge check -c config.yaml --connect
    """
    from bridge.cli.checking import check as work

    raise SystemExit(work(path, connect=connect))


@cli.command()
@config_option
@json_option
def devices(path: str, as_json: bool) -> None:
    """List the devices of all accounts.

    From the state database, also while the gateway runs; a vendor is asked only where nothing is known yet.

    \b
    Examples:
      meterbridge devices -c config.yaml
      meterbridge devices -c config.yaml --json | jq -r '.[].device'
    """
    from bridge.cli.inventory import devices as work

    raise SystemExit(work(path, as_json=as_json))


@cli.command()
@broker_options
@click.option(
    "--filter", "wanted", help="Topic filter below the base topic, such as 'shop/#' or '+/+/alarm'."
)
@duration_option("--for", "for_s", "Ends by itself after this time.")
@json_option
def watch(wanted: str | None, for_s: float | None, as_json: bool, **broker: str | None) -> None:
    """Show live what passes over MQTT, a line for each message.

    \b
    Examples:
      meterbridge watch -c config.yaml
      meterbridge watch --url mqtt://localhost:1883 --filter '+/+/alarm'
      meterbridge watch --filter 'shop/#' --json | jq .payload
    """
    from bridge.cli.broker import BrokerChoice
    from bridge.cli.watching import watch as work

    raise SystemExit(work(BrokerChoice(**broker), wanted, for_s, as_json=as_json))


@cli.command()
@broker_options
@click.argument("target", metavar="ACCOUNT/DEVICE")
@click.argument("command")
@click.argument("params", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--id", "identity", help="The command's id: the same id is never executed twice.")
@duration_option("--timeout", "timeout_s", "How long the device may take.")
@duration_option("--expires-in", "expires_in_s", "Not executed if it has not left for the vendor by then.")
@click.option("--confirm", is_flag=True, help="Confirms a dangerous command.")
@click.option("--dry-run", is_flag=True, help="Sends nothing to the vendor; shows the request.")
@click.option(
    "--requester",
    default="meterbridge send",
    show_default=True,
    help="Who asks, for the journal (MQTT 5 only).",
)
@duration_option("--wait", "wait_s", "How long to wait for the final acknowledgement.", default="120s")
@json_option
def send(
    target: str,
    command: str,
    params: tuple[str, ...],
    identity: str | None,
    timeout_s: float | None,
    expires_in_s: float | None,
    confirm: bool,
    dry_run: bool,
    requester: str,
    wait_s: float,
    as_json: bool,
    **broker: str | None,
) -> None:
    """Send a command and follow its acknowledgements.

    ACCOUNT alone is for an account's own commands, `bridge` for the gateway's. A value is JSON if it reads as JSON,
    else text; a command with one parameter takes its value alone. Which commands a device takes, its retained
    `info` topic tells.

    Acknowledgements are followed on the reply topic of MQTT 5 or on the plain ack topic, which is all that MQTT 3.1.1
    has; they are the same documents.

    Exit status: 0 the command succeeded; 1 it did not; 2 it could not be sent as written; 3 there was no final
    acknowledgement within --wait.

    \b
    Examples:
      meterbridge send -c config.yaml shop/W71E0000001 breaker off
      meterbridge send -c config.yaml shop/W71E0000001 pulse_off delay_s=10 --id reset-17 --expires-in 30s
      meterbridge send -c config.yaml shop/W71E0000001 set_protection overcurrent_a=32 --dry-run
      meterbridge send --url mqtt://localhost:1883 shop refresh_inventory
      meterbridge send --url mqtt://localhost:1883 bridge lock account=shop reason='work on the line'
    """
    from bridge.cli.broker import BrokerChoice
    from bridge.cli.orders import Wish, read_words, typed
    from bridge.cli.sending import send as work

    if broker["path"] is None and broker["url"] is None:
        raise click.UsageError("say which broker: -c FILE, or --url mqtt://HOST:PORT")
    values, bare = read_words(params)
    wish = Wish(
        command, values, bare, identity, timeout_s, expires_in_s, confirm, dry_run, requester, typed(params)
    )
    raise SystemExit(work(BrokerChoice(**broker), target, wish, wait_s=wait_s, as_json=as_json))


@cli.command()
@config_option
@click.option("--from", "since", required=True, metavar="TIME", help="Where it begins.")
@click.option("--to", "until", required=True, metavar="TIME", help="Where it ends; a day alone is included.")
@click.option("--again", is_flag=True, help="Reads once more what was read completely before.")
@click.argument("devices", nargs=-1, metavar="[DEVICE]...")
def backfill(path: str, since: str, until: str, again: bool, devices: tuple[str, ...]) -> None:
    """Publish the past of the devices on `history`, as far as their vendors keep it.

    DEVICE is ACCOUNT/DEVICE or the device's id alone; without any, all devices are read. A TIME is RFC 3339, or
    YYYY-MM-DD[ HH:MM[:SS]] in the time zone of this machine. Oldest first, each record once, never what was published
    before, and inside the vendors' limits: it may take its time, and says how much.

    After Ctrl-C, or however it ended, the same command goes on where it stopped. Where a gateway runs on the same
    state database, it is asked to do the work, and its progress is shown: Ctrl-C then only ends the watching.

    Exit status: 0 everything is read and the broker has it; 1 something is missing, and it says what; 2 mistakes in
    the configuration or the arguments; 130 interrupted.

    \b
    Examples:
      meterbridge backfill -c config.yaml --from 2026-06-01 --to 2026-06-30
      meterbridge backfill -c config.yaml --from 2026-06-01T00:00:00Z --to 2026-06-02T00:00:00Z home/SN123
    """
    from bridge.cli.backfilling import backfill as work

    raise SystemExit(work(path, since, until, devices, again=again))


@cli.group()
def frame() -> None:
    """The hex frames of wmj breakers.

    \b
    Examples:
      meterbridge frame decode 55AA000600101100000C0301000D0401001E05010050BC
      meterbridge frame encode overload_kw=13 leakage_current_ma=30 overheat_c=80
    """


@frame.command("decode")
@click.argument("digits", nargs=-1, required=True, metavar="HEX...")
@json_option
def frame_decode(digits: tuple[str, ...], as_json: bool) -> None:
    """Say what every part of a frame means; blanks do not matter, several frames may follow each other.

    \b
    Example:
      meterbridge frame decode 55 AA 00 06 00 05 10 01 00 01 01 1D
    """
    from bridge.cli.frames import show

    raise SystemExit(show(digits, as_json=as_json))


@frame.command("encode")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=THRESHOLD...")
@click.option("--no-trip", multiple=True, metavar="NAME", help="Alarm only: the breaker does not trip on it.")
def frame_encode(settings: tuple[str, ...], no_trip: tuple[str, ...]) -> None:
    """Print the frame that sets alarms: one complete group of the names of the command set_alarms.

    The groups: overload_kw, leakage_current_ma, overheat_c; or overcurrent_a, overvoltage_v, undervoltage_v,
    low_balance_kwh.

    \b
    Examples:
      meterbridge frame encode overload_kw=13 leakage_current_ma=30 overheat_c=80
      meterbridge frame encode overcurrent_a=40 overvoltage_v=275 undervoltage_v=160 low_balance_kwh=10 \\
        --no-trip low_balance_kwh
    """
    from bridge.cli.frames import build

    raise SystemExit(build(settings, no_trip))


@cli.command()
@click.argument("name", required=False)
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="a file for each in this folder"
)
def schema(name: str | None, into: Path | None) -> None:
    """Print the JSON Schemas of the configuration and the payloads, or the one called NAME.

    \b
    Examples:
      meterbridge schema configuration > meterbridge.schema.json
      meterbridge schema telemetry
      meterbridge schema --into docs/schemas
    """
    from bridge.cli.failures import Failure
    from bridge.cli.schemas import all_schemas, write
    from bridge.domain.text import dumps
    from bridge.vendors import VENDORS

    schemas = all_schemas(VENDORS)
    if name is not None and name not in schemas:
        raise click.UsageError(f"there is no schema {name!r}; known are: {', '.join(schemas)}")
    if into is not None:
        try:
            write(schemas if name is None else {name: schemas[name]}, into)
        except OSError as error:
            raise Failure(f"--into: cannot write there: {error.strerror} ({error.filename})") from None
        return
    click.echo(dumps(schemas if name is None else schemas[name]).decode())


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML")
def asyncapi(*, as_json: bool) -> None:
    """Print the AsyncAPI 3 document: every topic, message and command.

    \b
    Examples:
      meterbridge asyncapi > asyncapi.yaml
      meterbridge asyncapi --json
    """
    import asyncio

    from bridge.cli.asyncapi import as_yaml, document
    from bridge.cli.offers import offers
    from bridge.domain.text import dumps
    from bridge.vendors import VENDORS

    whole = document(asyncio.run(offers(VENDORS)))
    click.echo(dumps(whole).decode() if as_json else as_yaml(whole), nl=as_json)


for group in (journal, deadletter, gaps, diagnostics):
    cli.add_command(group)


def main() -> None:
    """Entry point of the command."""
    from bridge.cli.failures import NO_ROOM

    try:
        cli(prog_name="meterbridge")
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        click.echo(f"meterbridge: cannot write the output: {error.strerror}", err=True)
        os._exit(1)  # what is left in the buffer would fail once more at the end, with a traceback
