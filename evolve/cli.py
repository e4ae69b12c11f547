"""The command line: the only place where things are wired together."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from evolve.commands import (
    ablating,
    auditing,
    confirming,
    converting,
    curing,
    doctoring,
    exchange,
    finding,
    foreseeing,
    looking,
    noise,
    replaying,
    running,
    using,
)
from evolve.errors import EvolveError, StudyError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Tune the hyperparameters of a YOLOv3-style detector: run a study, look at it, train with what it found.",
)
for command in (
    auditing.audit,
    running.run,
    running.train,
    ablating.ablate,
    noise.noise,
    confirming.confirm,
    using.detect,
    using.val,
    using.weights,
    converting.convert,
    looking.studies,
    looking.hyp,
    looking.show,
    replaying.replay,
    curing.cure,
    finding.follow,
    looking.report,
    looking.dashboard,
    foreseeing.backtest,
    looking.note,
    looking.delete,
    doctoring.doctor,
):
    app.command()(command)
app.command()(exchange.export)
app.command("import")(exchange.import_file)
app.command("explain")(exchange.explain_file)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"evolve {version('evolve-yolo')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of `evolve` itself, before any command."""


def main() -> None:
    """Runs the command line: exit status 0 done, 1 failed, 2 misused."""
    try:
        app(standalone_mode=True)
    except EvolveError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, StudyError) else 1)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(1)
    except Exception as error:
        # Full disks and databases that went away are for people to put right; anything else is our mistake.
        if not isinstance(error, OSError) and not type(error).__module__.startswith(("sqlalchemy.", "optuna.")):
            raise
        typer.echo(f"error: {_cause(error)}; nothing finished is lost, run again", err=True)
        sys.exit(1)


def _cause(error: BaseException) -> str:
    """What the database or the disk said, under what libraries made of it."""
    while (cause := getattr(error, "orig", None) or error.__cause__ or error.__context__) is not None:
        error = cause
    return (str(error) or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    main()
