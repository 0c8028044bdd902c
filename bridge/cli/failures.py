"""How a verb ends when it cannot do its work: words on standard error and an exit status."""

from __future__ import annotations

import errno
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bridge.config import Configuration


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class Failure(click.ClickException):
    """Exit status 1, one message for people."""

    def show(self, file: IO[Any] | None = None) -> None:
        """See click."""
        click.echo(f"meterbridge: {self.message}", file=file, err=file is None)


class Mistake(Failure):
    """Exit status 2: what was asked for makes no sense."""

    exit_code = 2


class BadConfiguration(click.ClickException):
    """Exit status 2; every mistake on a line of its own, as the loader wrote it."""

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))

    def show(self, file: IO[Any] | None = None) -> None:
        """See click."""
        click.echo(self.message, file=file, err=file is None)


class UnknownAccount(Failure):
    """Exit status 2; lists the accounts there are."""

    exit_code = 2

    def __init__(self, name: str, known: list[str], where: str) -> None:
        super().__init__(f"there is no account {name!r} in {where}; known are: {', '.join(known) or 'none'}")


def is_of_output(error: BaseException) -> bool:
    """Whether what is printed finds no reader or no room any more."""
    return isinstance(error, OSError) and error.errno in (errno.EPIPE, *NO_ROOM)


def read_configuration(path: str) -> Configuration:
    """The configuration in a file. Raises BadConfiguration."""
    import os
    from pathlib import Path

    from bridge.config import load
    from bridge.domain.errors import ConfigError
    from bridge.vendors import VENDORS

    try:
        return load(Path(path), VENDORS, os.environ)
    except ConfigError as error:
        raise BadConfiguration(error.problems) from None


def known_account(configuration: Configuration, name: str) -> str:
    """The name, if it is an account's. Raises UnknownAccount."""
    known = [settings.id for settings in configuration.accounts]
    if name not in known:
        raise UnknownAccount(name, known, str(configuration.source))
    return name
