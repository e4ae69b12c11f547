"""Commands that look at studies, leave a note on a trial, and remove a study."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolve.commands.options import DEFAULT_STORAGE, RUNS, STUDY_HELP, JsonOption, StorageOption, StudyName
from evolve.commands.output import (
    check_exists,
    chosen_study,
    found_in,
    is_missing,
    opened_storage,
    say,
    say_next,
    standing_text,
    terminal_width,
    write_report,
)
from evolve.errors import EvolveError, StudyError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from evolve.storage.trial_rows import TrialRow


def studies(
    name: Annotated[str | None, typer.Argument(help="Describe this study.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the studies that can be run, or describe one.

    Example: `evolve studies lr_sweep`
    """
    from evolve.commands.plan_text import describe
    from evolve.study.file import available_studies, read_study

    if name is not None:
        file = read_study(name)
        definition = file.preview()
        say(dict(file.raw), as_json=as_json, text=lambda: describe(definition, file.open_keys))
        return
    found = {name: read_study(str(path)).preview() for name, path in available_studies()}
    summaries = {name: first_sentence(study.description) for name, study in found.items()}
    width = max(map(len, summaries), default=0)
    say(
        {name: study.to_mapping() for name, study in found.items()},
        as_json=as_json,
        text=lambda: "\n".join(f"{name:<{width}}  {text}" for name, text in summaries.items()),
    )
    say_next("evolve run --study lr_sweep --dry-run", as_json=as_json)


def hyp(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As the page of the documentation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List all hyperparameters with default, range and meaning.

    Example: `evolve hyp`
    """
    from evolve.commands import hyp_text

    if as_markdown:
        typer.echo(hyp_text.as_markdown(), nl=False)
        return
    say(hyp_text.as_json(), as_json=as_json, text=hyp_text.as_text)
    say_next("evolve studies", as_json=as_json)


def show(
    study: StudyName,
    trial: Annotated[int | None, typer.Argument(min=0, help="Number of a trial: all about it.")] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Rows of the table; the best come first.")] = 50,
    wide: Annotated[
        bool, typer.Option("--wide", help="All hyperparameters and whole reasons, wider than the terminal.")
    ] = False,
    where_time_went: Annotated[
        bool, typer.Option("--time", help="Where the time of its workers went, in place of the trials.")
    ] = False,
    findings: Annotated[
        bool, typer.Option("--findings", help="What should be known of the search, in place of the trials.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a study's trials, best first, each with its verdict and why, and what was found; or all about one of them.

    Lines are cut to the width of the terminal, and are whole where they go to a file or another program.

    Example: `evolve show lr_sweep`, `evolve show lr_sweep 7`, `evolve show latest --findings --json`
    """
    from evolve.commands.compared_text import compared_of
    from evolve.commands.finding_text import finding_lines
    from evolve.commands.noise import noise_line
    from evolve.commands.rung_text import rung_line
    from evolve.commands.screened_text import screening_of
    from evolve.commands.time_text import time_line, time_table
    from evolve.commands.trial_table import best_line, heading, trial_table
    from evolve.storage.confirmations import standing_of
    from evolve.storage.time_spent import time_spent
    from evolve.storage.trial_rows import description_of, trial_rows

    with opened_storage(storage, reads_only=True) as opened:
        name = chosen_study(opened.engine, study)
        rows = trial_rows(opened.engine, name, number=trial)
        description = first_sentence(description_of(opened.engine, name))
        with opened.engine.connect() as connection:
            spent = time_spent(connection, opened.study_id(name))
        definition = opened.stored_study(name)
        rungs = "" if definition is None or as_json else rung_line(opened.engine, definition)
        noise = "" if definition is None or as_json else noise_line(opened.engine, definition)
        proof = standing_of(opened.engine, name)
        found = found_in(opened.engine, name) if trial is None and (findings or not as_json) else ()
    width = None if wide else terminal_width()
    if trial is not None:
        _say_trial(rows[0], width, storage, as_json=as_json)
        return
    screened = "" if definition is None or as_json else screening_of(definition, rows, width=width)
    rows, compared, then = compared_of(storage, definition, rows)

    def text() -> str:
        said = {"noise": noise, "rungs": rungs, "proof": standing_text(proof, storage)}
        is_search = not compared and (definition is None or definition.noise is None)
        best = best_line(rows, {} if definition is None else definition.to_mapping()) if is_search else ""
        more = [best, *compared, *(f"{key:<8}{text}" for key, text in said.items() if text), time_line(spent)]
        head = heading(name, description, rows, more=more, width=width)
        table = trial_table(rows, limit=limit, width=width) if rows else ""
        parts = [head, screened, table, finding_lines(found, name, storage)]
        return "\n\n".join(part for part in parts if part)

    if findings:
        result = {"study": name, "standing": proof.text, "findings": [finding.as_mapping(name) for finding in found]}
        say(
            result,
            as_json=as_json,
            text=lambda: finding_lines(found, name, storage) or f"study   {name}: nothing was found",
        )
    elif where_time_went:
        say({"study": name} | spent.as_json(), as_json=as_json, text=lambda: time_table(name, spent))
    else:
        say(lambda: [row.as_json() for row in rows], as_json=as_json, text=text)
    say_next(["evolve", then, name], as_json=as_json, storage=storage)


def _say_trial(row: TrialRow, width: int | None, storage: str, *, as_json: bool) -> None:
    from evolve.commands.trial_text import trial_text

    say(row.as_json(), as_json=as_json, text=lambda: trial_text(row, RUNS / row.study, width=width))
    number = str(row.number)
    can_be_replayed = "step" in (row.diagnosis or {})
    then = ["replay", row.study, number] if can_be_replayed else ["note", row.study, number, "what to remember"]
    say_next(["evolve", *then], as_json=as_json, storage=storage)


def report(
    study: StudyName,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Write a study's report: one HTML file that needs no network.

    Example: `evolve report lr_sweep`
    """
    with opened_storage(storage, reads_only=True) as opened:
        name = chosen_study(opened.engine, study)
        path = write_report(opened, name, output or RUNS / name / "report.html")
        definition = opened.stored_study(name)
    say({"study": name, "report": str(path)}, as_json=as_json, text=lambda: f"report  {path}")
    is_comparison = definition is not None and definition.ablation is not None
    say_next(["evolve", "ablate" if is_comparison else "export", name], as_json=as_json, storage=storage)


def dashboard(
    context: typer.Context,
    study: Annotated[str | None, typer.Argument(help=f"{STUDY_HELP} Without it the list of studies.")] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than this machine's need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8050,
    token: Annotated[
        str,
        typer.Option(
            "--token",
            envvar="EVOLVE_TOKEN",
            help="What readers must know; 12 characters or more. Better set as EVOLVE_TOKEN: all users of this "
            "machine can read the options of a running command.",
        ),
    ] = "",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the pages in a browser.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show all studies in a browser, live, or one of them; Ctrl-C ends it.

    It may run beside a study: it writes nothing but notes.

    Example: `evolve dashboard`, `evolve dashboard lr_sweep --no-browser`
    """
    from dashboards.live.server import serve
    from dashboards.state import PageState

    name = None if study is None else _readable_study(storage, study)
    if name is None and not is_missing(storage):  # a file may come later
        with _readable(storage):
            pass
    source = context.get_parameter_source("token")
    if token and source is not None and source.name == "COMMANDLINE":
        typer.echo("note    --token shows in the list of processes, as of `ps`; EVOLVE_TOKEN does not", err=True)

    def announce(address: str) -> None:
        result = {"address": address} | ({} if name is None else {"study": name})
        say(result, as_json=as_json, text=lambda: f"dashboard  {address}\nCtrl-C ends it")

    page = PageState() if name is None else PageState(page="/study", study=name)
    serve(storage, host=host, port=port, token=token, page=page, opens_browser=browser, announce=announce)


def _readable_study(storage: str, word: str) -> str:
    """Name of the study that a word means, asked of a database that is only read."""
    check_exists(storage)
    with _readable(storage) as engine:
        return chosen_study(engine, word)


@contextmanager
def _readable(storage: str) -> Iterator[Engine]:
    """A database that is only read, and is there."""
    from dashboards.data.reader import UnavailableError, reading_engine
    from evolve.storage.opening import opening

    try:
        engine = reading_engine(storage)
    except UnavailableError as error:
        raise EvolveError(str(error)) from None
    try:
        with opening(storage), engine.connect():
            yield engine
    finally:
        engine.dispose()


def note(
    study: StudyName,
    trial: Annotated[int, typer.Argument(help="Number of the trial.", show_default=False)],
    text: Annotated[str, typer.Argument(help="What to remember.")] = "",
    tag: Annotated[str, typer.Option("--tag", help="A word by which the trial is found again.")] = "",
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Leave a note on a trial; `show` and the dashboard show it.

    Example: `evolve note lr_sweep 7 "loss spikes at the end of warm-up" --tag odd`
    """
    from evolve.storage.notes import add_note

    with opened_storage(storage, must_exist=True) as opened:
        name = chosen_study(opened.engine, study)
        add_note(opened.engine, name, trial, text, tag=tag)
    result = {"study": name, "trial": trial, "text": text, "tag": tag}
    say(result, as_json=as_json, text=lambda: f"noted   study {name}, trial {trial}")
    say_next(["evolve", "show", name, str(trial)], as_json=as_json, storage=storage)


def delete(
    study: Annotated[str, typer.Argument(help="Whole name of a stored study.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Remove a study: all its rows in the database, and its run folder with weights, report and hyp.yaml.

    Example: `evolve delete lr_sweep-raccoon-10ep`
    """
    from evolve.storage.choosing import exact_study
    from evolve.storage.removal import removable, remove_study

    with opened_storage(storage, must_exist=True) as opened:
        found = removable(opened.engine, exact_study(opened.engine, study), RUNS)
        text, is_there = found.text(), found.folder.exists()
        if not yes:
            _ask(f"delete {text}? This cannot be taken back")
        remove_study(opened.engine, found)
    folder = str(found.folder) if is_there else None
    result = {
        "study": found.name,
        "trials": found.trials,
        "folder": folder,
        "bytes": found.size,
        "confirmed_by": found.confirmed_by,
    }
    say(result, as_json=as_json, text=lambda: f"deleted {text}")
    say_next("evolve studies", as_json=as_json)


def _ask(question: str) -> None:
    """Goes on if a person at a terminal says yes.

    Raises:
        StudyError: Nobody sits at a terminal.
    """
    if not sys.stdin.isatty():
        raise StudyError("delete: nobody is at a terminal to be asked, and --yes is not given; nothing was deleted")
    if not typer.confirm(question, err=True):
        typer.echo("nothing was deleted", err=True)
        raise typer.Exit(1)


def first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".")
