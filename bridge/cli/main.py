"""The verbs, each in a module of its own; imports happen inside, so that `--help` is quick."""

from __future__ import annotations

import click

from bridge import __version__


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try `meterbridge demo` first: it needs nothing else.",
)
@click.version_option(__version__, prog_name="meterbridge")
def cli() -> None:
    """Maps meters, breakers, valves and inverters of vendor clouds to MQTT."""


@cli.command()
@click.option(
    "-c", "--config", "path", required=True, type=click.Path(dir_okay=False), help="Configuration file."
)
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
    from bridge.cli.running import run_gateway

    raise SystemExit(run_gateway(path, log_format, log_level))


def main() -> None:
    """Entry point of the command."""
    cli(prog_name="meterbridge")
