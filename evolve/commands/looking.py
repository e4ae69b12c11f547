"""Commands that look at studies, and leave a note on a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evolve.commands.options import DEFAULT_STORAGE, RUNS, JsonOption, StorageOption, StudyName
from evolve.commands.output import opened_storage, say, say_next, write_report


def studies(
    name: Annotated[str | None, typer.Argument(help="Describe this study.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the studies that can be run, or describe one.

    Example: `evolve studies lr_sweep`
    """
    from evolve.plan_text import describe
    from evolve.study_file import available_studies, read_study

    if name is not None:
        file = read_study(name)
        definition = file.preview()
        say(dict(file.raw) | {}, as_json=as_json, text=lambda: describe(definition, file.open_keys))
        return
    found = {each: read_study(str(path)).preview() for each, path in available_studies()}
    summaries = {each: first_sentence(study.description) for each, study in found.items()}
    width = max(map(len, summaries), default=0)
    say(
        {each: study.to_mapping() for each, study in found.items()},
        as_json=as_json,
        text=lambda: "\n".join(f"{each:<{width}}  {text}" for each, text in summaries.items()),
    )
    say_next("evolve run --study lr_sweep --dry-run", as_json=as_json)


def show(
    study: StudyName,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", help="Rows of the table; the best come first.")] = 50,
) -> None:
    """Show a study's trials: best first, each with its verdict and why.

    Example: `evolve show lr_sweep`
    """
    from evolve.trial_table import trial_rows, trial_table

    with opened_storage(storage, must_exist=True) as opened:
        rows = trial_rows(opened, study)
    say(rows, as_json=as_json, text=lambda: trial_table(study, rows, limit=limit))
    say_next(f"evolve report {study}", as_json=as_json)


def report(
    study: StudyName,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Write a study's report: one HTML file that needs no network.

    Example: `evolve report lr_sweep`
    """
    with opened_storage(storage, must_exist=True) as opened:
        path = write_report(opened, study, output or RUNS / study / "report.html")
    say({"report": str(path)}, as_json=as_json, text=lambda: f"report  {path}")
    say_next(f"evolve export {study}", as_json=as_json)


def dashboard(
    storage: StorageOption = DEFAULT_STORAGE,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than this machine's need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8050,
    token: Annotated[
        str, typer.Option("--token", envvar="EVOLVE_TOKEN", help="What readers must know; 12 characters or more.")
    ] = "",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the pages in a browser.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show all studies in a browser, live. It only reads, so it may run beside a study; Ctrl-C ends it.

    Example: `evolve dashboard --no-browser`
    """
    from dashboards.server import serve

    def announce(address: str) -> None:
        say({"address": address}, as_json=as_json, text=lambda: f"dashboard  {address}\nCtrl-C ends it")

    serve(storage, host=host, port=port, token=token, opens_browser=browser, announce=announce)


def note(
    study: StudyName,
    trial: Annotated[int, typer.Argument(help="Number of the trial.", show_default=False)],
    text: Annotated[str, typer.Argument(help="What to remember.")] = "",
    tag: Annotated[str, typer.Option("--tag", help="A word by which the trial is found again.")] = "",
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Leave a note on a trial; the dashboard shows it.

    Example: `evolve note lr_sweep 7 "loss spikes at the end of warm-up" --tag odd`
    """
    from evolve.notes import add_note

    with opened_storage(storage, must_exist=True) as opened:
        add_note(opened.engine, study, trial, text, tag=tag)
    result = {"study": study, "trial": trial, "text": text, "tag": tag}
    say(result, as_json=as_json, text=lambda: f"noted   study {study}, trial {trial}")
    say_next("evolve dashboard", as_json=as_json)


def first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".")
