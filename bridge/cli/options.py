"""What several verbs take. Only click is imported, so that `--help` is quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    from bridge.domain.quantity import duration_s

    if value is None:
        return None
    try:
        return duration_s(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def duration_option(
    name: str, to: str, text: str, default: str | None = None
) -> Callable[[Command], Command]:
    """An option that is written `30s` or `5m` and read as seconds into the argument `to`."""
    return click.option(
        name,
        to,
        callback=_seconds,
        metavar="DURATION",
        default=default,
        show_default=bool(default),
        help=text,
    )


config_option = click.option(
    "-c", "--config", "path", required=True, type=click.Path(dir_okay=False), help="Configuration file."
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


def broker_options(command: Command) -> Command:
    """`-c FILE`, or the broker in so many words."""
    for option in (
        click.option(
            "--protocol",
            type=click.Choice(["5", "4", "3.1.1"]),
            help="MQTT 5, or 4, which is MQTT 3.1.1.  [default: the configuration's; 5 where the broker speaks it]",
        ),
        click.option(
            "--password-file", type=click.Path(exists=True, dir_okay=False), help="File with the password."
        ),
        click.option("--username", help="Name to log in with."),
        click.option("--base", help="Base topic, with --url.  [default: meterbridge]"),
        click.option("--url", help="Broker, such as mqtt://localhost:1883 or mqtts://broker.example.org."),
        click.option(
            "-c", "--config", "path", type=click.Path(dir_okay=False), help="Takes the broker from this file."
        ),
    ):
        command = option(command)
    return command
