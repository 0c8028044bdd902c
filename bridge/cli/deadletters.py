"""`meterbridge deadletter`: input that could not be used; looked at, dropped, or taken in once more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click

from bridge.cli.archive import opened, required
from bridge.cli.failures import Failure, read_configuration
from bridge.cli.replaying import replay_letter
from bridge.cli.tables import printable, shortened, table
from bridge.config import Configuration
from bridge.domain.errors import StoreError
from bridge.domain.text import dumps, loads
from bridge.domain.times import from_unix_ms, rfc3339
from bridge.store.protocols import DeadLetter
from bridge.store.sqlite.database import SqliteStore

T = TypeVar("T")
MOST = 1000


def show_list(path: str, *, as_json: bool) -> int:
    """The newest first; the exit status."""
    letters = _read(read_configuration(path))
    if as_json:
        click.echo(dumps([_summary(letter) for letter in letters]).decode())
    elif letters:
        rows = [
            (
                str(letter.key),
                letter.account,
                rfc3339(from_unix_ms(letter.last_ms)),
                str(letter.count),
                f"{len(letter.body)} B",
                shortened(letter.reason, 100),
            )
            for letter in letters
        ]
        click.echo(table(("key", "account", "last seen", "times", "size", "reason"), rows))
    else:
        click.echo("no dead letters")
    return 0


def show_one(path: str, key: int, *, as_json: bool) -> int:
    """One of them, with its body. Raises Failure."""
    letter = _one(_read(read_configuration(path)), key)
    if as_json:
        click.echo(dumps({**_summary(letter), "body": _body(letter.body)}).decode())
        return 0
    for name, value in _summary(letter).items():
        click.echo(f"{name:12}{printable(str(value))}")
    body = letter.body.decode(errors="replace")
    click.echo("\n" + "\n".join(printable(line) for line in body.splitlines()))
    return 0


def drop(path: str, keys: Sequence[int]) -> int:
    """Deletes them; the exit status: 1 if one was not there. Raises Failure while a gateway runs."""

    async def work(store: SqliteStore) -> list[int]:
        return await store.run(lambda tx: [key for key in keys if not tx.dead_letters.drop(key)])

    missing = _changed(read_configuration(path), work)
    for key in missing:
        click.echo(f"meterbridge: there is no dead letter {key}", err=True)
    click.echo(f"dropped: {len(keys) - len(missing)}")
    return 1 if missing else 0


def replay(path: str, keys: Sequence[int], *, everything: bool) -> int:
    """Takes them in through their account's push door, as if they came now; what is taken is no dead letter any
    more. The exit status: 1 if one was not taken. Raises Failure while a gateway runs."""
    configuration = read_configuration(path)
    if bool(keys) == everything:
        raise click.UsageError("name the keys of the dead letters, or --all")
    letters = _read(configuration)
    chosen = list(reversed(letters)) if everything else [_one(letters, key) for key in keys]

    async def work(store: SqliteStore) -> list[str | None]:
        return [await replay_letter(store, configuration, letter) for letter in chosen]

    if not chosen:
        click.echo("no dead letters")
        return 0
    problems = _changed(configuration, work)
    for letter, problem in zip(chosen, problems, strict=True):
        click.echo(
            f"{letter.key}  {'taken in' if problem is None else f'still not usable: {printable(problem)}'}"
        )
    if any(problem is None for problem in problems):
        click.echo("What it gave is published when the gateway runs again.")
    return 1 if any(problem is not None for problem in problems) else 0


def _read(configuration: Configuration) -> list[DeadLetter]:
    with opened(configuration.state.path) as found:
        return list(required(found, configuration.state.path).dead_letters.list(MOST))


def _one(letters: Sequence[DeadLetter], key: int) -> DeadLetter:
    for letter in letters:
        if letter.key == key:
            return letter
    raise Failure(f"there is no dead letter {key}: see `meterbridge deadletter list`")


def _changed(configuration: Configuration, work: Callable[[SqliteStore], Awaitable[T]]) -> T:
    """Runs work that changes the state database, which only one process may do at a time."""
    path = configuration.state.path
    with opened(path) as found:
        required(found, path)

    async def run() -> T:
        store = SqliteStore(path, configuration.state.spool_max)
        try:
            await store.open()
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except StoreError as error:
        hint = (
            ": stop the gateway first; looking (list, show) works while it runs"
            if "in use" in str(error)
            else ""
        )
        raise Failure(f"{error}{hint}") from None


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return {
        "key": letter.key,
        "account": letter.account,
        "source": letter.source,
        "reason": letter.reason,
        "count": letter.count,
        "first_at": rfc3339(from_unix_ms(letter.first_ms)),
        "last_at": rfc3339(from_unix_ms(letter.last_ms)),
    }


def _body(body: bytes) -> Any:
    try:
        return loads(body)
    except ValueError:
        return body.decode(errors="replace")
