"""What all commands do: open the storage, print a result for people or machines, name the next command."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from evolve.commands.options import DEFAULT_STORAGE
from evolve.errors import EvolveError
from evolve.storage.typed import as_typed

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from evolve.confirmed import Standing
    from evolve.findings import Finding
    from evolve.storage.database import Storage
    from evolve.study import Study

Item = TypeVar("Item")


@contextmanager
def opened_storage(url: str, *, must_exist: bool = False, reads_only: bool = False) -> Iterator[Storage]:
    """The database of a command.

    Args:
        url: SQLAlchemy's URL of the database.
        must_exist: Whether a file that is not there is an error, as it always is where nothing is written.
        reads_only: Whether nothing may be written.
    """
    from evolve.storage.database import Storage

    if must_exist or reads_only:
        check_exists(url)
    if must_exist and not reads_only:  # a database of others gets none of our tables
        Storage(url, reads_only=True).close()
    storage = Storage(url, reads_only=reads_only)
    try:
        yield storage
    finally:
        storage.close()


def stored_study(url: str, name: str) -> Study | None:
    """The study stored under a name; a database that is not there is not made."""
    from evolve.errors import StorageError

    if is_missing(url):
        return None
    with suppress(StorageError), opened_storage(url, reads_only=True) as opened:
        return opened.stored_study(name)
    return None


def check_exists(url: str) -> None:
    if is_missing(url):
        from evolve.storage.sqlite import without_password

        raise EvolveError(
            f"storage {without_password(url)}: there is no such file; run a study first, or name another with --storage"
        )


def is_missing(url: str) -> bool:
    """Whether a database is a file that is not there."""
    from evolve.storage.opening import opening
    from evolve.storage.sqlite import sqlite_file

    file = sqlite_file(url)
    with opening(url):  # a folder that may not be looked into
        return file is not None and not file.exists()


def chosen_study(engine: Engine, word: str) -> str:
    """Name of the study that a word of the command line means, said on standard error where it is another one."""
    from evolve.storage.choosing import choose_study

    choice = choose_study(engine, word)
    if choice.why:
        typer.echo(f"study   {choice.name} ({choice.why})", err=True)
    return choice.name


def found_in(engine: Engine, study: str) -> tuple[Finding, ...]:
    """What should be known of a stored study; nothing where it is no search of evolve's."""
    from dashboards.blocks import Empty
    from dashboards.data.searched import search_of
    from dashboards.data.study_loading import load

    search = search_of(load(engine, study))
    if isinstance(search, Empty):
        return ()
    from evolve.findings import findings_of  # statistics, which what is no search has no need of

    return findings_of(search)


def write_report(storage: Storage, study: str, path: Path) -> Path:
    from dashboards.report import write_report

    path.parent.mkdir(parents=True, exist_ok=True)
    return write_report(storage.engine, study, path)


def terminal_width() -> int | None:
    """Characters of a line of the terminal, or of COLUMNS where that is set; None where there is no terminal."""
    return shutil.get_terminal_size(fallback=(0, 0)).columns or None


def say(result: Any, *, as_json: bool, text: Any) -> None:
    """Prints a result.

    Args:
        result: Result for machines, or a function that makes it where that takes time.
        as_json: Whether the result is printed as JSON, for machines.
        text: Function that makes the text for people.
    """
    if not as_json:
        typer.echo(text())
        return
    typer.echo(json.dumps(without_nan(result() if callable(result) else result), indent=2))


def without_nan(value: Any) -> Any:
    """A value as strict JSON can hold it: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value


def say_next(command: str | Sequence[str], *, as_json: bool, storage: str | None = None) -> None:
    """Names the next command, which works as it is printed.

    Args:
        command: The next command as it is typed, or its words.
        as_json: Whether the output is for machines, which need none.
        storage: URL of the database of this command, which the next one reads too; None where it reads none.
    """
    if not as_json:
        words = command if isinstance(command, str) else shlex.join(command)
        typer.echo(f"next    {words if storage is None else typed_for(words, storage)}")


def typed_for(command: str, storage: str) -> str:
    """A command as it is typed for a database in the shell of this one, whose environment may name the database."""
    return as_typed(command, storage, known=(os.environ.get("EVOLVE_STORAGE") or DEFAULT_STORAGE,))


def standing_text(standing: Standing, storage: str) -> str:
    """How far the best of a study can be trusted, and the command that tells more as it is typed for a database."""
    return typed_for(standing.text, storage) if standing.command else standing.text


def watched(items: Iterable[Item], what: str, count: int) -> Iterator[Item]:
    """The same items, with a bar on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(items, what, count, console=console, transient=True, disable=not console.is_terminal)
