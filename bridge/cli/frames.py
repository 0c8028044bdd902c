"""`meterbridge frame`: the hex frames of wmj breakers, taken apart and put together."""

from __future__ import annotations

from collections.abc import Sequence

import click

from bridge.cli.failures import Failure
from bridge.cli.tables import table
from bridge.domain.text import dumps
from bridge.vendors.wmj.frame import FrameError, alarm_frame, decode, disabled, encode, explain
from bridge.vendors.wmj.points import GROUPS
from bridge.vendors.wmj.settings import SANITY


def show(words: Sequence[str], *, as_json: bool) -> int:
    """Prints what every part means; several frames in a row are taken apart one by one. Raises Failure."""
    text = "".join(words)
    try:
        frames = explain(text)
        warned = [disabled(frame) for frame in decode(text)]
    except FrameError as error:
        raise Failure(f"no frame: {error}") from None
    if as_json:
        click.echo(dumps(frames).decode())
        return 0
    for number, (frame, names) in enumerate(zip(frames, warned, strict=True)):
        if number:
            click.echo()
        rows = [(str(part["bytes"]), str(part["meaning"])) for part in frame["parts"]]
        click.echo(table(("bytes", "meaning"), rows))
        if names:
            click.echo(f"protection switched off: {', '.join(names)}")
    return 0


def build(words: Sequence[str], no_trip: Sequence[str]) -> int:
    """Prints the frame that sets one group of alarms. Raises Failure, UsageError."""
    settings = {name: (threshold, name not in no_trip) for name, threshold in map(_assignment, words)}
    if len(settings) < len(words):
        raise click.UsageError("a name is given twice")
    unknown = [name for name in no_trip if name not in settings]
    if unknown:
        raise click.UsageError(f"--no-trip {unknown[0]}: it has no threshold here")
    try:
        frame = alarm_frame(settings)
    except FrameError as error:
        raise Failure(str(error)) from None
    names = disabled(frame)
    if names:
        click.echo(
            f"meterbridge: warning: with this frame the breaker no longer trips on {', '.join(names)}: "
            "that protection is off",
            err=True,
        )
    click.echo(encode(frame))
    return 0


def _assignment(word: str) -> tuple[str, int]:
    name, _, number = word.partition("=")
    known = [parameter for group in GROUPS.values() for parameter in group]
    if name not in known:
        raise click.UsageError(f"{word!r}: expected NAME=THRESHOLD with one of the names {', '.join(known)}")
    low, high = SANITY[name]
    if not number.isascii() or not number.isdigit() or not low <= int(number) <= high:
        raise click.UsageError(f"{word!r}: expected a whole number from {low} to {high}")
    return name, int(number)
